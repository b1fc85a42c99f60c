"""Ruled lines and boxes go, strokes stay: also the stem of a 4 and the bar of a 7."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

import ruling
from fonts import draw_font_digit
from masks import stroke_width
from ruling import (
    find_rules,
    find_strikes,
    remove_paper_lines,
    remove_ruling,
    usual_height,
    weighted_median,
)
from strokes import draw_digit, draw_number

STROKE = 5


def digits(text: str = "40375", *, seed: int = 1, height: int = 80) -> np.ndarray:
    ink, _ = draw_number(text, np.random.default_rng(seed), height=height)
    return (cv2.copyMakeBorder(ink, 30, 30, 60, 60, cv2.BORDER_CONSTANT) > 100).astype(np.uint8)


def kept(before: np.ndarray, after: np.ndarray) -> float:
    """Tell which part of the ink is still there."""
    return float((before & after).sum() / before.sum())


def clean(mask: np.ndarray) -> np.ndarray:
    return remove_ruling(mask, stroke=stroke_width(mask))


@pytest.mark.parametrize("seed", range(5))
def test_digits_without_any_lines_stay_as_they_are(seed: int):
    mask = digits("4071953", seed=seed)

    assert np.array_equal(clean(mask), mask)


@pytest.mark.parametrize("thickness", [1, 2, 3])
@pytest.mark.parametrize("lean", [-0.05, 0.0, 0.03])
def test_ruled_lines_go_and_the_strokes_that_cross_them_stay(thickness: int, lean: float):
    mask = digits()
    ruled = mask.copy()
    height, width = mask.shape
    for row in range(20, height, 45):
        cv2.line(ruled, (0, row), (width, round(row + lean * width)), 1, thickness)

    result = clean(ruled)

    assert kept(mask, result) > 0.96
    assert (result & (1 - mask)).sum() < 0.06 * (ruled & (1 - mask)).sum()


@pytest.mark.parametrize("seed", range(4))
def test_the_tops_and_feet_of_small_digits_are_no_lines(seed: int):
    """With the white between them filled they made lines, and 93072 became 43072."""
    mask = np.zeros((700, 1000), np.uint8)
    for number, top in enumerate(range(60, 640, 80)):
        row = [draw_font_digit(each, np.random.default_rng(seed)) for each in (7, 5, 0, 2, 7, 3)]
        small = np.hstack([cv2.resize(each, (18, 24)) for each in row]) > 127
        mask[top : top + 24, 80 + 20 * number : 80 + 20 * number + small.shape[1]] = small

    assert np.array_equal(clean(mask), mask)


def test_squared_paper_goes():
    mask = digits()
    squared = mask.copy()
    squared[::25] = 1
    squared[:, ::25] = 1

    result = clean(squared)

    assert kept(mask, result) > 0.93
    assert (result & (1 - mask)).sum() < 0.06 * (squared & (1 - mask)).sum()


def on_paper(
    pen: float, printed: float, *, squared: bool, digit: int = 5
) -> tuple[np.ndarray, np.ndarray]:
    """Write on lined paper; return the ink, and where that of the pen is."""
    drawn = draw_digit(digit, np.random.default_rng(3), size=200) > 100
    ink = np.zeros((280, 280), np.float32)
    ink[20::41] = ink[21::41] = printed
    if squared:
        ink[:, 15::41] = ink[:, 16::41] = printed
    written = np.zeros(ink.shape, bool)
    written[40:240, 40:240] = drawn
    ink[written] = pen
    return ink, written.astype(np.uint8)


@pytest.mark.parametrize("digit", range(10))
@pytest.mark.parametrize("squared", [False, True])
def test_paper_that_is_lighter_than_the_pen_goes_and_no_stroke_is_cut(digit: int, squared: bool):
    ink, written = on_paper(1.6, 1.0, squared=squared, digit=digit)

    ink, mask = remove_paper_lines(ink, (ink > 0).astype(np.uint8))

    assert kept(written, mask) == 1
    assert mask.sum() <= 1.02 * written.sum()
    assert ink.max() == pytest.approx(1.0)


@pytest.mark.parametrize("lean", [-0.17, -0.05, 0.12])
def test_paper_that_is_held_at_a_slant_goes_but_for_its_corners(lean: float):
    _, written = on_paper(1.0, 0.0, squared=False)
    ink = np.zeros((280, 280), np.float32)
    for start in range(-60, 340, 41):
        reach = round(280 * lean)
        cv2.line(ink, (0, start), (280, start + reach), 0.6, 2)
        cv2.line(ink, (start, 0), (start - reach, 280), 0.6, 2)
    ink[written > 0] = 1.0

    _, mask = remove_paper_lines(ink, (ink > 0).astype(np.uint8))

    assert kept(written, mask) == 1
    assert mask[60:220, 60:220].sum() <= 1.05 * written[60:220, 60:220].sum()


def test_squared_paper_as_dark_as_the_pen_goes_where_it_is_thinner():
    ink, written = on_paper(1.0, 1.0, squared=True)

    _, mask = remove_paper_lines(ink, (ink > 0).astype(np.uint8))

    assert kept(written, mask) > 0.9
    assert (mask & (1 - written)).sum() < 0.06 * ((ink > 0) & (written == 0)).sum()


@pytest.mark.parametrize("digit", range(10))
def test_a_digit_that_is_cut_out_tightly_is_no_lined_paper(digit: int):
    drawn = draw_digit(digit, np.random.default_rng(4), size=120)
    rows, columns = np.nonzero(drawn)
    tight = drawn[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    ink, mask = tight.astype(np.float32) / 255, (tight > 60).astype(np.uint8)

    assert remove_paper_lines(ink, mask) == (ink, mask)


@pytest.mark.parametrize("pen", [0.0, 1.0])
def test_empty_paper_and_ruled_lines_as_dark_as_the_pen_stay_as_they_are(pen: float):
    ink, _ = on_paper(pen, 1.0, squared=False)
    mask = (ink > 0).astype(np.uint8)

    assert remove_paper_lines(ink, mask) == (ink, mask)


def test_empty_squared_paper_stays_as_it_is():
    ink = np.zeros((280, 280), np.float32)
    ink[20::41] = ink[:, 15::41] = 1.0
    mask = (ink > 0).astype(np.uint8)

    assert remove_paper_lines(ink, mask) == (ink, mask)


def test_the_boxes_of_a_form_go_and_the_digits_in_them_stay():
    boxed = np.zeros((140, 470), np.uint8)
    ink = np.zeros_like(boxed)
    rng = np.random.default_rng(2)
    for place, text in enumerate("4017"):
        digit = (draw_number(text, rng, height=60)[0] > 100).astype(np.uint8)
        tall, wide = digit.shape
        left = 35 + 100 * place + (100 - wide) // 2
        ink[70 - tall // 2 : 70 - tall // 2 + tall, left : left + wide] |= digit
        cv2.rectangle(boxed, (35 + 100 * place, 20), (135 + 100 * place, 120), 1, 2)

    result = clean(boxed | ink)

    assert kept(ink, result) > 0.97
    assert (result & (1 - ink)).sum() < 0.08 * boxed.sum()


@pytest.mark.parametrize("text", ["1", "4", "7"])
def test_the_straight_stroke_of_a_digit_that_fills_its_picture_is_no_line(text: str):
    ink, _ = draw_number(text, np.random.default_rng(0), height=120)
    mask = (ink > 100).astype(np.uint8)
    left, top, wide, tall = cv2.boundingRect(mask)
    mask = np.ascontiguousarray(mask[top : top + tall, left : left + wide])

    assert kept(mask, clean(mask)) > 0.97


def test_a_dark_bar_along_the_rim_goes():
    mask = digits()
    barred = mask.copy()
    barred[:9] = 1

    assert np.array_equal(clean(barred), mask)


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (50, 1), (2, 2), (60, 60)])
@pytest.mark.parametrize("value", [0, 1])
def test_masks_of_any_size_empty_or_full_are_taken(shape: tuple[int, int], value: int):
    mask = np.full(shape, value, np.uint8)

    result = remove_ruling(mask, stroke=max(1.0, stroke_width(mask)))

    assert result.shape == shape
    assert not (result & (1 - mask)).any()


def full_page(side: int = 640) -> np.ndarray:
    """Draw rows of rings that touch: each has sides that look like those of boxes."""
    mask = np.zeros((side, side), np.uint8)
    for row in range(20, side - 20, 44):
        for column in range(10, side - 10, 30):
            cv2.ellipse(mask, (column, row), (17, 14), 0, 0, 360, 1, 3)
    return mask


def test_what_looks_like_a_side_is_judged_in_its_own_window(monkeypatch: pytest.MonkeyPatch):
    """A page of 1,280 pixels with 1,200 such strokes was labelled 2,400 times: 28 seconds."""
    mask, label, sizes = full_page(), cv2.connectedComponentsWithStats, []

    def count(image: np.ndarray, *, connectivity: int) -> object:
        sizes.append(image.size)
        return label(image, connectivity=connectivity)

    monkeypatch.setattr(cv2, "connectedComponentsWithStats", count)
    clean(mask)

    assert len(sizes) > 200
    assert sum(sizes) < 30 * mask.size


def test_a_side_is_judged_in_its_window_as_on_the_whole_page(monkeypatch: pytest.MonkeyPatch):
    """Crumbs, long and low ink, and digits beside a stroke, at the rim as well as within."""
    rng = np.random.default_rng(0)
    whole = ruling._stands_alone
    told: list[bool] = []

    def compare(
        without: np.ndarray, removed: np.ndarray, window: tuple[slice, slice], size: float
    ) -> bool:
        mask = without.copy()
        mask[window] += removed
        _, labels = cv2.connectedComponents(mask, connectivity=8)
        touched = np.unique(labels[(mask > 0) & (without == 0)])
        left_over = np.isin(labels, touched[touched > 0]) & (without > 0)
        stats = cv2.connectedComponentsWithStats(left_over.astype(np.uint8), connectivity=8)[2]
        longest = stats[1:, [cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT]].max(initial=0)
        tallest = stats[1:, cv2.CC_STAT_WIDTH].max(initial=0)  # the masks are transposed
        told.append(whole(without, removed, window, size))
        assert told[-1] == (longest < ruling.CRUMB * size or tallest >= ruling.LARGE * size)
        return told[-1]

    monkeypatch.setattr(ruling, "_stands_alone", compare)
    for _ in range(40):
        mask = np.zeros((240, 320), np.uint8)
        for row in range(0, 241, 60):
            mask[row : row + 2] = 1
        for column in rng.integers(0, 318, 12):
            top, wide, low = rng.integers(0, 180), rng.integers(2, 120), rng.integers(1, 60)
            mask[top - top % 60 :, column : column + 2][:62] = 1
            mask[top : top + low, column : column + wide] |= rng.random() < 0.4
        remove_ruling(mask, stroke=2.0)

    assert 30 < sum(told) < len(told) - 30


def test_lines_that_lie_beside_others_are_given_up_before_their_ink_is_listed(
    monkeypatch: pytest.MonkeyPatch,
):
    """Near 200 lines close together 24,000 others were tried, and the ink of each was listed."""
    height, width = 240, 960
    mask, along = np.zeros((height, width), np.uint8), np.arange(height)
    mask[4::6], mask[:, 20::60] = 1, 1
    for middle in range(50, width - 8, 60):
        wave = (middle + 3 * np.sin(along / 9)).astype(int)
        mask[along, wave] = mask[along, wave + 1] = 1
    listed, lines = [], []
    nonzero, fit = np.nonzero, ruling._fit

    def count_line(*args: Any) -> object:
        lines.append(args)
        return fit(*args)

    def count_list(values: np.ndarray) -> object:
        listed.extend([values.size] * (values.ndim == 2))
        return nonzero(values)

    monkeypatch.setattr(ruling, "_fit", count_line)
    monkeypatch.setattr(ruling.np, "nonzero", count_list)
    rules = find_rules(mask, 800, stroke=2)

    assert len(rules) >= 40
    assert len(lines) > 1000
    assert len(listed) < len(lines) / 4


def test_a_line_is_found_with_its_slope_its_place_and_its_thickness():
    mask = np.zeros((200, 400), np.uint8)
    cv2.line(mask, (0, 100), (399, 120), 1, 3)

    rules = find_rules(mask, 340, stroke=STROKE)

    assert len(rules) == 1
    assert rules[0].slope == pytest.approx(0.05, abs=0.005)
    assert rules[0].start == pytest.approx(100, abs=2)
    assert rules[0].thickness == pytest.approx(np.median(mask.sum(axis=0)), abs=1)
    assert rules[0].middle == pytest.approx(110, abs=2)


@pytest.mark.parametrize(("start", "left"), [(150, 0), (260, 260)])
def test_a_line_of_which_much_is_found_goes_on_to_both_rims(start: int, left: int):
    mask = np.zeros((200, 400), np.uint8)
    cv2.line(mask, (start, 100 + start // 20), (399, 120), 1, 3)

    (rule,) = find_rules(mask, 120, stroke=STROKE)

    assert (rule.left, rule.right) == pytest.approx((left, 400), abs=6)
    assert rule.slope == pytest.approx(0.05, abs=0.005)
    assert rule.start == pytest.approx(100, abs=2)


@pytest.mark.parametrize("thickness", [12, 30])
def test_what_is_much_thicker_than_a_stroke_is_no_ruled_line(thickness: int):
    mask = np.zeros((200, 400), np.uint8)
    mask[80 : 80 + thickness] = 1

    assert find_rules(mask, 340, stroke=STROKE) == []


@pytest.mark.parametrize("height", [40, 80, 150])
def test_the_usual_height_is_that_of_the_digits(height: int):
    mask = digits("123456", height=height)

    found = usual_height(mask, stroke=stroke_width(mask))

    assert found == pytest.approx(height, rel=0.25)


def test_without_ink_there_is_no_usual_height():
    assert usual_height(np.zeros((20, 20), np.uint8), stroke=1) == 0


@pytest.mark.parametrize(
    ("values", "weights", "expected"),
    [([5], [1], 5), ([1, 2, 3], [1, 1, 1], 2), ([1, 2, 3], [1, 1, 9], 3), ([3, 1], [1, 9], 1)],
)
def test_half_of_the_weight_lies_below_the_weighted_median(
    values: list[float], weights: list[float], expected: float
):
    assert weighted_median(np.array(values), np.array(weights)) == expected


@pytest.mark.parametrize("climb", [-18, 0, 25])
def test_a_line_through_the_middle_of_digits_that_ends_near_them_strikes_them_out(climb: int):
    mask = digits()
    middle, end = mask.shape[0] // 2, mask.shape[1] - 48
    cv2.line(mask, (48, middle + climb // 2), (end, middle - climb // 2), 1, STROKE)

    [(left, top, right, bottom)] = find_strikes(mask, stroke=STROKE)

    assert left == pytest.approx(48, abs=4)
    assert right == pytest.approx(end, abs=4)
    assert top < middle < bottom


def draw_table(mask: np.ndarray) -> None:
    for row in (10, mask.shape[0] // 2, mask.shape[0] - 10):
        cv2.line(mask, (10, row), (mask.shape[1] - 10, row), 1, 3)
    for column in (10, mask.shape[1] // 2, mask.shape[1] - 10):
        cv2.line(mask, (column, 10), (column, mask.shape[0] - 10), 1, 3)


@pytest.mark.parametrize(
    ("from_column", "down"),
    [(0, 0.5), (48, 0.97), (48, 0.75), (48, 0.02)],
    ids=["ruled", "under", "through the feet", "over"],
)
def test_a_line_that_runs_on_or_lies_at_the_edge_of_digits_strikes_nothing_out(
    from_column: int, down: float
):
    mask = digits()
    row = round(30 + down * (mask.shape[0] - 60))
    cv2.line(mask, (from_column, row), (mask.shape[1] - 1 - from_column, row), 1, STROKE)

    assert find_strikes(mask, stroke=STROKE) == []


def test_neither_digits_alone_nor_a_table_are_struck_out():
    table = np.zeros((200, 400), np.uint8)
    draw_table(table)

    assert find_strikes(digits(), stroke=STROKE) == []
    assert find_strikes(table, stroke=STROKE) == []
