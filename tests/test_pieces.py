"""Pieces: ink that hangs together, without dirt, in the line of writing that it belongs to."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from pieces import Piece, divide_into_lines, find_pieces, group_into_lines

Box = tuple[int, int, int, int]


@pytest.mark.parametrize("top", [10, 0])
def test_a_small_part_belongs_to_what_it_is_close_to(top: int):
    mask = np.zeros((top + 90, 200), np.uint8)
    mask[top + 10 : top + 70, 30:38] = 1
    mask[top + 10 : top + 70, 120:128] = 1
    mask[top : top + 6, 122:130] = 1  # close to the second, as a torn stroke

    pieces, size = find_pieces(mask)

    boxes = [(30, top + 10, 38, top + 70), (120, top, 130, top + 70)]
    assert [piece.box for piece in pieces] == boxes
    assert size == pytest.approx(60, abs=12)


def test_a_point_close_to_the_foot_of_a_digit_is_no_torn_part_of_it():
    """The digit before took it in, and 9.50 in narrow writing was read as 950, and surely."""
    mask = np.zeros((90, 200), np.uint8)
    mask[10:70, 30:38] = 1
    mask[62:70, 41:49] = 1
    mask[10:70, 120:128] = 1

    pieces, _ = find_pieces(mask)

    assert sorted(piece.box[0] for piece in pieces) == [30, 41, 120]


@pytest.mark.parametrize("turns", range(4))
def test_what_hardly_reaches_into_the_picture_is_no_piece(turns: int):
    mask = np.zeros((200, 200), np.uint8)
    mask[60:120, 70:130] = cv2.circle(np.zeros((60, 60), np.uint8), (30, 30), 26, 1, 6)
    mask[50:150, :5] = 1

    pieces, _ = find_pieces(np.rot90(mask, turns).copy())

    assert len(pieces) == 1


def test_dust_is_no_piece():
    mask = np.zeros((100, 200), np.uint8)
    mask[20:80, 30:38] = 1
    mask[50:52, 100:102] = 1

    pieces, _ = find_pieces(mask)

    assert len(pieces) == 1


@pytest.mark.parametrize(("side", "count"), [(3, 1), (8, 2)])
def test_a_speck_is_no_piece_unless_it_is_as_much_ink_as_a_point(side: int, count: int):
    mask = np.zeros((100, 200), np.uint8)
    mask[20:80, 30:38] = 1
    mask[72 : 72 + side, 100 : 100 + side] = 1

    assert len(find_pieces(mask)[0]) == count


def test_pieces_beside_each_other_are_a_line():
    mask = np.zeros((260, 200), np.uint8)
    for top, left in ((10, 20), (18, 80), (140, 30), (132, 100)):
        mask[top : top + 60, left : left + 10] = 1
    pieces, size = find_pieces(mask)

    lines = group_into_lines(pieces, size)

    assert [[piece.box[0] for piece in line] for line in lines] == [[20, 80], [30, 100]]


def blocks(*boxes: Box) -> list[Piece]:
    return [Piece(box, np.ones((box[3] - box[1], box[2] - box[0]), np.uint8)) for box in boxes]


@pytest.mark.parametrize(
    ("small", "lines"),
    [
        ((50, 90, 58, 98), [[20, 50, 80], [30]]),  # a point
        ((82, 15, 92, 20), [[20, 80, 82], [30]]),  # a bar above the second digit
        ((60, 145, 68, 153), [[20, 80], [60], [30]]),  # near to none
    ],
)
def test_small_ink_joins_the_line_that_it_stands_in_or_close_to(small: Box, lines: list[list[int]]):
    pieces = blocks((80, 42, 90, 102), (20, 40, 30, 100), small, (30, 200, 40, 260))

    found = group_into_lines(pieces, 60.0)

    assert [[piece.box[0] for piece in line] for line in found] == lines


def test_a_page_is_divided_into_lines_and_wide_ink_is_cut_without_losing_any():
    mask = np.zeros((300, 300), np.uint8)
    joined = ((20, 20), (60, 20)), ((20, 75), (70, 75)), ((65, 20), (65, 80))
    for start, stop in joined:
        cv2.line(mask, start, stop, 1, 9)
    for left in (40, 70, 100):
        mask[200:230, left : left + 6] = 1

    (upper, size), (lower, small) = divide_into_lines(mask)

    assert len(upper) > 1
    assert len(lower) == 3
    assert sum(int(piece.mask.sum()) for piece in [*upper, *lower]) == mask.sum()
    assert small == 0.75 * size  # however low its own ink is
