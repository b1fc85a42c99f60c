"""Masks of ink: where it is, which parts hang together, how wide its strokes are.

mask: uint8 of shape (height, width), 1 for ink and 0 for ground

>>> bounding_box(mask)
(12, 30, 84, 118)
"""

from __future__ import annotations

import cv2
import numpy as np


def bounding_box(mask: np.ndarray) -> tuple[int, int, int, int]:
    """Left, top, right and bottom (the last two outside) of what is not zero."""
    left, top, wide, tall = cv2.boundingRect(mask)
    return left, top, left + wide, top + tall


def stroke_width(mask: np.ndarray) -> float:
    """Estimate the width of the strokes: twice the area over the length of the outline, pixels."""
    contours, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    outline = sum(cv2.arcLength(contour, True) for contour in contours)
    return 2 * float(mask.sum()) / max(outline, 1.0)


def inked_window(mask: np.ndarray) -> tuple[slice, slice]:
    """Frame what is not zero: most of a photograph is ground, which need not be looked at.

    It begins at even places, because the labels of connected parts are numbered by 2x2 blocks.
    """
    left, top, right, bottom = bounding_box(mask)
    return slice(top & ~1, max(bottom, 1)), slice(left & ~1, max(right, 1))


def find_parts(
    mask: np.ndarray,
) -> tuple[tuple[slice, slice], np.ndarray, np.ndarray, np.ndarray]:
    """Find connected ink: the window with all of it, labels there, stats and centres of the whole.

    Stats and centres are those that `cv2.connectedComponentsWithStats` gives for the whole mask,
    but for the ground (label 0).
    """
    window = inked_window(mask)
    _, labels, stats, centres = cv2.connectedComponentsWithStats(mask[window], connectivity=8)
    top, left = window[0].start, window[1].start
    stats[:, :2] += left, top
    area = np.maximum(stats[:, cv2.CC_STAT_AREA, None], 1)  # no ground: a window full of ink
    # From the sums of the coordinates, which are whole numbers, as OpenCV does it.
    centres = (np.rint(centres * area) + area * (left, top)) / area
    return window, labels, stats, centres
