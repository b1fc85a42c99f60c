"""What looks like a printed line or a frame, and is part of a digit, stays."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from printed import (
    remove_boxes,
    remove_cells,
    remove_printed_lines,
    remove_rings,
    remove_underlines,
)


def test_the_stem_of_a_tightly_cut_four_is_not_taken_for_a_line() -> None:
    four = np.zeros((60, 40), np.uint8)
    cv2.polylines(four, [np.array([[20, 2], [2, 36], [38, 36]])], False, 1, 4)
    four[:, 26:31] = 1

    assert np.array_equal(remove_printed_lines(four), four)


@pytest.mark.parametrize("turned", [False, True])
def test_a_calculator_eight_is_not_taken_for_a_frame(turned: bool) -> None:
    eight = np.zeros((100, 100), np.uint8)
    cv2.rectangle(eight, (30, 10), (70, 90), 1, 3)
    eight[48:52, 30:71] = 1
    eight = eight.T if turned else eight

    assert np.array_equal(remove_boxes(eight), eight)


def test_a_square_zero_stays_though_there_is_dirt_beside_it() -> None:
    zero = cv2.rectangle(np.zeros((100, 100), np.uint8), (30, 20), (70, 80), 1, 3)
    zero[85:90, 85:90] = 1

    assert np.array_equal(remove_boxes(zero), zero)


def test_a_sheet_in_whose_ink_a_digit_has_an_island_is_no_frame() -> None:
    """Of a note on a dark table nothing was left but the inside of a 4."""
    note = cv2.rectangle(np.zeros((100, 100), np.uint8), (10, 10), (90, 90), 1, -1)
    cv2.circle(note, (50, 50), 20, 0, 6)

    assert np.array_equal(remove_boxes(note), note)


def test_two_strokes_around_each_other_are_no_frames() -> None:
    """Each had ink along two sides and the other inside, so a square 0 was a blank picture."""
    zero = np.zeros((170, 160), np.uint8)
    cv2.polylines(zero, [np.array([[40, 30], [40, 126], [108, 126]])], False, 1, 5)
    cv2.polylines(zero, [np.array([[50, 30], [120, 30], [120, 138]])], False, 1, 5)

    assert np.array_equal(remove_boxes(zero), zero)


@pytest.mark.parametrize("upright", [False, True])
def test_a_line_through_the_picture_goes_and_leaves_what_it_crosses(upright: bool) -> None:
    one = np.zeros((90, 60), np.uint8)
    one[15:75, 28:33] = 1
    lined = one.copy()
    lined[44:46] = 1
    one, lined = (each.T if upright else each for each in (one, lined))

    assert np.array_equal(remove_printed_lines(lined), one)


def test_a_frame_with_something_in_it_goes() -> None:
    one = np.zeros((90, 60), np.uint8)
    one[25:65, 28:33] = 1
    framed = cv2.rectangle(one.copy(), (6, 8), (53, 81), 1, 2)

    assert np.array_equal(remove_boxes(framed), one)


@pytest.mark.parametrize("turns", range(4))
def test_a_frame_that_the_digit_touches_at_one_side_goes(turns: int) -> None:
    one = np.zeros((100, 100), np.uint8)
    one[30:80, 48:53] = 1
    framed = cv2.rectangle(one.copy(), (15, 10), (85, 80), 1, 2)
    one, framed = (np.rot90(each, turns) for each in (one, framed))

    result = remove_boxes(framed)

    assert not (result & (1 - one)).any()
    assert result.sum() > 0.8 * one.sum()


def leaning_box(degrees: float, corners: int) -> np.ndarray:
    """Draw a box that leans, as far as it takes to reach so many corners."""
    points = cv2.boxPoints(((90, 90), (130, 100), degrees)).round().astype(np.int32)
    box = np.zeros((180, 180), np.uint8)
    return cv2.polylines(box, [points[:corners]], corners == 4, 1, 2)


@pytest.mark.parametrize("degrees", [-14, -8, -3, 2, 6, 12])
def test_a_box_that_leans_goes_as_well(degrees: float) -> None:
    one = np.zeros((180, 180), np.uint8)
    one[65:115, 85:93] = 1

    assert np.array_equal(remove_boxes(one | leaning_box(degrees, corners=4)), one)


@pytest.mark.parametrize(
    ("degrees", "corners"), [(30, 4), (8, 3)], ids=["leans too far", "has two sides"]
)
def test_what_leans_and_is_no_box_stays(degrees: float, corners: int) -> None:
    mask = leaning_box(degrees, corners)
    mask[65:115, 85:93] = 1

    assert np.array_equal(remove_boxes(mask), mask)


def test_a_slanted_zero_around_a_dot_is_no_box() -> None:
    zero = cv2.ellipse(np.zeros((180, 180), np.uint8), (90, 90), (40, 60), 10, 0, 360, 1, 8)
    zero[70:110, 87:93] = 1

    assert np.array_equal(remove_boxes(zero), zero)


def form(*, crossed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Draw a row of four boxes, three of them filled; return the page, and what was written."""
    written = np.zeros((120, 480), np.uint8)
    for place, left in enumerate((40, 150, 260)):
        tall = 45 if place < crossed else 25
        cv2.ellipse(written, (left + 35, 60), (14, tall), 0, 0, 360, 1, 5)
    page = written.copy()
    for left in (40, 150, 260, 370):
        cv2.rectangle(page, (left, 25), (left + 70, 95), 1, 2)
    return page, written


def test_the_boxes_of_a_form_go_filled_or_empty() -> None:
    page, written = form()

    assert np.array_equal(remove_cells(page), written)


@pytest.mark.parametrize("crossed", [1, 3])
def test_boxes_stay_where_a_digit_crosses_their_lines(crossed: int) -> None:
    page, _ = form(crossed=crossed)

    assert np.array_equal(remove_cells(page), page)


def test_an_empty_square_by_itself_may_be_a_zero() -> None:
    page, written = form()
    alone = page & (1 - written)

    assert np.array_equal(remove_cells(alone), alone)


def write_digits() -> np.ndarray:
    """Write a 7 and a 0, with room around them."""
    page = np.zeros((160, 260), np.uint8)
    cv2.polylines(page, [np.array([[80, 50], [115, 50], [95, 110]])], False, 1, 5)
    cv2.ellipse(page, (165, 80), (20, 30), 0, 0, 360, 1, 5)
    return page


@pytest.mark.parametrize(("start", "end"), [(0, 360), (20, 350), (-60, 280)])
@pytest.mark.parametrize("lean", [0, 8])
def test_a_ring_around_a_number_is_none_of_its_digits(start: int, end: int, lean: int) -> None:
    written = write_digits()
    page = written.copy()
    cv2.ellipse(page, (130, 80), (110, 62), lean, start, end, 1, 4)

    assert np.array_equal(remove_rings(page), written)


def ring_that_is_half() -> np.ndarray:
    return cv2.ellipse(write_digits(), (130, 80), (110, 62), 0, 0, 200, 1, 4)


def ring_with_a_stroke_on_it() -> np.ndarray:
    page = cv2.ellipse(write_digits(), (130, 80), (110, 62), 0, 0, 360, 1, 4)
    return cv2.line(page, (20, 80), (60, 80), 1, 4)


def ring_with_a_speck_in_it() -> np.ndarray:
    page = cv2.ellipse(np.zeros((160, 260), np.uint8), (130, 80), (50, 70), 0, 0, 360, 1, 6)
    return cv2.circle(page, (130, 80), 8, 1, -1)


def zero_with_a_stroke_in_it() -> np.ndarray:
    page = cv2.ellipse(np.zeros((160, 260), np.uint8), (130, 80), (40, 60), 0, 0, 360, 1, 6)
    return cv2.line(page, (115, 105), (145, 55), 1, 5)


def zero_with_a_stroke_in_it_in_line() -> np.ndarray:
    page = write_digits()  # the 0 of it is not larger than the 7
    return cv2.line(page, (160, 90), (170, 70), 1, 8)


def box_around_it() -> np.ndarray:
    return cv2.rectangle(write_digits(), (30, 20), (230, 140), 1, 4)


@pytest.mark.parametrize(
    "draw",
    [
        ring_that_is_half,
        ring_with_a_stroke_on_it,
        ring_with_a_speck_in_it,
        zero_with_a_stroke_in_it,
        zero_with_a_stroke_in_it_in_line,
        box_around_it,
    ],
)
def test_what_may_be_a_digit_or_hold_one_is_no_ring(draw: Callable[[], np.ndarray]) -> None:
    page = draw()

    assert np.array_equal(remove_rings(page), page)


def underline(*lines: tuple[tuple[int, int], tuple[int, int]]) -> np.ndarray:
    page = write_digits()
    for start, end in lines:
        cv2.line(page, start, end, 1, 4)
    return page


@pytest.mark.parametrize(
    "lines",
    [
        [((70, 125), (195, 125))],
        [((70, 122), (195, 128))],
        [((70, 122), (195, 124)), ((75, 134), (190, 132))],
        [((140, 125), (190, 125))],  # below the 0 alone
    ],
)
def test_a_line_below_a_number_is_none_of_its_digits(lines: list) -> None:
    assert np.array_equal(remove_underlines(underline(*lines)), write_digits())


@pytest.mark.parametrize(
    "line",
    [
        ((152, 125), (178, 125)),  # no longer than the 0 is wide, as the foot of a 1
        ((70, 158), (195, 158)),  # far below
        ((70, 35), (195, 35)),  # above
        ((0, 125), (259, 125)),  # from rim to rim
        ((70, 108), (195, 108)),  # through their feet
    ],
)
def test_what_may_be_part_of_a_digit_or_of_the_paper_is_no_underline(line: tuple) -> None:
    page = underline(line)

    assert np.array_equal(remove_underlines(page), page)


def test_a_page_of_lines_is_not_searched_for_underlines() -> None:
    page = np.zeros((3_000, 40), np.uint8)
    page[10:20, 15:20] = 1
    page[25::10, 10:30] = 1

    assert remove_underlines(page) is page
