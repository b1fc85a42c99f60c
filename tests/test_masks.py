"""Masks are measured as OpenCV measures them, in less time."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from masks import find_parts, stroke_width


@pytest.mark.parametrize("place", [(0, 0), (7, 12), (30, 41)])
def test_parts_found_in_a_window_are_those_of_the_whole_mask(place):
    top, left = place
    mask = np.zeros((80, 90), np.uint8)
    inked = np.random.default_rng(0).random((40, 30)) > 0.7
    mask[top : top + 40, left : left + 30] = inked

    window, labels, stats, centres = find_parts(mask)

    _, whole, whole_stats, whole_centres = cv2.connectedComponentsWithStats(mask, connectivity=8)
    assert np.array_equal(labels, whole[window])
    assert np.array_equal(stats[1:], whole_stats[1:])
    assert np.array_equal(centres[1:], whole_centres[1:])


def test_without_ink_there_are_no_parts_and_no_strokes() -> None:
    mask = np.zeros((9, 7), np.uint8)

    window, labels, stats, _ = find_parts(mask)

    assert len(stats) == 1  # the ground
    assert labels.shape == mask[window].shape
    assert not labels.any()
    assert stroke_width(mask) == 0


@pytest.mark.parametrize("width", [3, 5, 9])
def test_the_width_of_a_stroke_is_what_it_was_drawn_with(width: int) -> None:
    mask = np.zeros((100, 40), np.uint8)
    mask[10:90, 10 : 10 + width] = 1

    assert stroke_width(mask) == pytest.approx(width, abs=1.5)
