"""Tell ink from ground on a page, where other things may be darker than the ink.

    grey plane -> which of both is ink -> height above the ground nearby -> parts of full ink

`ink.py` does this for a picture of one digit, which the digit may fill. Here what is looked for is
small beside the picture, so the ground can be found under it, in the light of each place.

    >>> ink, dark_ink = find_page_ink(to_grey(picture.pixels))
"""

from __future__ import annotations

import cv2
import numpy as np

from errors import BlankImageError
from ink import BLURRED_FACTOR, MIN_CONTRAST, NOISE_FACTOR, full_ink
from masks import stroke_width
from pixels import DEVIATION, rescale, shrink
from ruling import remove_paper_lines, weighted_median

PAGE_BLUR = 2.0  # pixels, deviations; where noise hides the ink
POLARITY_SIDE = 160  # pixels of the longer side of the small copy that tells the ground
POLARITY_BLUR = 0.1  # of the shorter side; light changes over more than this, ink over less
WINDOW = 0.45  # of the shorter side: no stroke is as wide
WINDOW_IN_STROKES = 5  # stroke widths: the same, once we know the pen
GROUND_WINDOW = 15  # pixels of the small copy on which the ground is estimated
BOLD = 0.6  # of full ink: where reflections that lie across it do not reach
THICKEST = 0.16  # of the shorter side; what is thicker and runs out of the picture is no ink
LARGEST_MARKS = 300  # so many tell how dark ink is
SMALLEST_MARK = 0.30  # of the usual length of a mark; what is smaller says nothing about ink


def find_page_ink(grey: np.ndarray) -> tuple[np.ndarray, bool]:
    """Tell ink from ground on a page.

    Parameters
    ----------
    grey : ndarray of shape (height, width), float32

    Returns
    -------
    ink : ndarray of shape (height, width), float32
        From 0.0 (ground); 1.0 is the ink of most marks, and the darkest has more.
    dark_ink : bool
        Whether ink is darker than the ground.

    Raises
    ------
    BlankImageError
        If nothing stands out from the ground.
    """
    noise = DEVIATION * float(np.median(np.abs(grey - cv2.GaussianBlur(grey, (0, 0), 1.5))))
    try:
        return _find_ink_above(grey, NOISE_FACTOR * noise)
    except BlankImageError:
        # Perhaps only for the noise. See `ink.BLURRED_FACTOR`.
        calm = cv2.GaussianBlur(grey, (0, 0), PAGE_BLUR)
        wide = max(POLARITY_BLUR * min(grey.shape), 4 * PAGE_BLUR)
        strays = np.abs(calm - cv2.GaussianBlur(calm, (0, 0), wide))
        return _find_ink_above(calm, BLURRED_FACTOR * DEVIATION * float(np.median(strays)))


def _find_ink_above(grey: np.ndarray, least: float) -> tuple[np.ndarray, bool]:
    """As `find_page_ink`, for ink that stands out at least so far."""
    least = max(MIN_CONTRAST, least)
    dark_ink = _is_minority_dark(grey)
    bright = -grey if dark_ink else grey
    window = WINDOW * min(grey.shape)
    ink = _stand_out(bright, window, least)
    # Now that the strokes are known, narrower shadows and reflections can be told from them. Those
    # of the pen: the lines of squared paper are thinner, and there may be more of them.
    _, pen = remove_paper_lines(ink, (ink > BOLD).astype(np.uint8), only_squared=True)
    stroke = stroke_width(pen)
    return _stand_out(bright, min(window, WINDOW_IN_STROKES * stroke), least), dark_ink


def _is_minority_dark(grey: np.ndarray) -> bool:
    """Decide whether ink is darker than its ground: it covers less of the page, wherever it is.

    The third moment of what differs from its surroundings is wrong for none of 240 generated
    photographs of rows, seed 0; `ink.is_ink_dark`, made for single digits, for 12.
    """
    # So blurred, the ground looks the same on a small copy, which takes no time to blur.
    small = shrink(grey, POLARITY_SIDE)
    ground = cv2.GaussianBlur(small, (0, 0), POLARITY_BLUR * min(small.shape))
    height = grey - cv2.resize(ground, grey.shape[::-1], interpolation=cv2.INTER_LINEAR)
    return bool(np.mean(height * height * height) <= 0)


def _stand_out(bright: np.ndarray, window: float, least: float) -> np.ndarray:
    """Tell how far each pixel stands out from its ground, in parts of full ink."""
    scale = min(1.0, GROUND_WINDOW / window)
    small = rescale(bright, scale)
    side = max(3, round(window * scale))
    ground = cv2.morphologyEx(small, cv2.MORPH_OPEN, np.ones((side, side), np.uint8))
    ground = cv2.blur(ground, (5, 5))
    height = bright - cv2.resize(ground, bright.shape[::-1], interpolation=cv2.INTER_LINEAR)
    height -= np.median(height)
    return np.maximum(height / _usual_ink(height, least), 0)


def _usual_ink(height: np.ndarray, least: float) -> float:
    """Estimate how far ink stands out: what most connected things have, not the darkest one."""
    peak = full_ink(height)
    if peak < least:
        raise BlankImageError("the picture is blank: write something, or raise the contrast")
    mask = (height > max(least, 0.25 * peak)).astype(np.uint8)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    left, top, wide, tall, area = stats.T
    at_rim = (left <= 1) | (top <= 1)
    at_rim |= (left + wide >= mask.shape[1] - 1) | (top + tall >= mask.shape[0] - 1)
    # What runs out of the picture is no ink, a table or a thumb, unless it is as thin as a line.
    depth = cv2.distanceTransform(mask, cv2.DIST_L2, 3)
    is_thick = np.zeros(len(stats), bool)
    is_thick[labels[depth > THICKEST / 2 * min(mask.shape)]] = True
    is_ink = ~(at_rim & is_thick)
    is_ink[0] = False
    if not is_ink.any():
        is_ink[1:] = True
    longest = np.maximum(wide, tall)
    usual = weighted_median(longest[is_ink], area[is_ink])
    is_ink &= longest >= SMALLEST_MARK * usual
    largest = np.flatnonzero(is_ink)
    largest = largest[np.argsort(-area[largest], kind="stable")][:LARGEST_MARKS]
    levels = []
    for label in largest.tolist():
        rows = slice(top[label], top[label] + tall[label])
        columns = slice(left[label], left[label] + wide[label])
        own = labels[rows, columns] == label
        levels.append(full_ink(np.where(own, height[rows, columns], 0)))
    return max(least, weighted_median(np.array(levels), np.sqrt(area[largest])))
