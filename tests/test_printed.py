"""What looks like a printed line or a frame, and is part of a digit, stays."""

from __future__ import annotations

import cv2
import numpy as np

from printed import remove_boxes, remove_printed_lines


def test_the_stem_of_a_tightly_cut_four_is_not_taken_for_a_line() -> None:
    four = np.zeros((60, 40), np.uint8)
    cv2.polylines(four, [np.array([[20, 2], [2, 36], [38, 36]])], False, 1, 4)
    four[:, 26:31] = 1

    assert np.array_equal(remove_printed_lines(four), four)


def test_a_calculator_eight_is_not_taken_for_a_frame() -> None:
    eight = np.zeros((100, 100), np.uint8)
    cv2.rectangle(eight, (30, 10), (70, 90), 1, 3)
    eight[48:52, 30:71] = 1

    assert np.array_equal(remove_boxes(eight), eight)


def test_a_line_through_the_picture_goes_and_leaves_what_it_crosses() -> None:
    one = np.zeros((90, 60), np.uint8)
    one[15:75, 28:33] = 1
    lined = one.copy()
    lined[44:46] = 1

    assert np.array_equal(remove_printed_lines(lined), one)


def test_a_frame_with_something_in_it_goes() -> None:
    one = np.zeros((90, 60), np.uint8)
    one[25:65, 28:33] = 1
    framed = cv2.rectangle(one.copy(), (6, 8), (53, 81), 1, 2)

    assert np.array_equal(remove_boxes(framed), one)
