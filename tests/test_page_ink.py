"""Ink on a page: found in either polarity, in uneven light, and not where there is none."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from errors import BlankImageError
from page_ink import find_page_ink
from strokes import draw_number


def write() -> np.ndarray:
    """Write a number black on white."""
    return 255 - draw_number("4071", np.random.default_rng(11), height=70)[0]


@pytest.mark.parametrize("dark_ink", [True, False])
def test_ink_is_told_from_ground_in_either_polarity(dark_ink: bool):
    pixels = write()
    grey = pixels.astype(np.float32) / 255
    grey = 0.2 + 0.5 * (grey if dark_ink else 1 - grey)

    ink, is_dark = find_page_ink(grey)

    assert is_dark == dark_ink
    assert np.abs(ink - (1 - pixels / 255)).mean() < 0.02


def test_a_shadow_over_half_of_the_page_is_no_ink():
    pixels = write()
    grey = pixels.astype(np.float32) / 255
    grey[:, grey.shape[1] // 2 :] *= 0.6

    ink, _ = find_page_ink(grey)

    ground = cv2.erode(pixels, np.ones((9, 9), np.uint8)) == 255
    ground[:, grey.shape[1] // 2 - 6 : grey.shape[1] // 2 + 6] = False
    assert ink[ground].max() < 0.2


def test_an_even_page_has_no_ink():
    with pytest.raises(BlankImageError, match="blank"):
        find_page_ink(np.full((90, 120), 0.7, np.float32))
