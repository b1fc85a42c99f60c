"""Which connected pieces of ink are the digit, when a picture shows more than one.

    mask -> its components -> not ink at all? -> the best -> what belongs to it -> how many others

A component is foreign if it is no handwriting: a ruled line or the side of a box that runs into the
rim, a line below the digit, a corner that the light does not reach. Of the rest, size and place
decide which is the digit; its bar, its dot and its torn strokes are kept with it.

    >>> digit, others = choose_digit(mask, ink)
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from errors import BlankImageError
from masks import find_parts
from pixels import median, shrink

# A thin straight component that runs into the rim is a line: its width over its length is below
# the first, and its length over the shorter side of the picture above the second.
LINE_SLIMNESS, LINE_LENGTH = 0.08, 0.35
# An underline is so many times as long as it is high, longer than the digit at both ends, and so
# close below it; the bar below a 1 is shorter. All in digit heights but the first.
UNDERLINE_SLIM, UNDERLINE_GAP, UNDERLINE_LENGTH = 4, 0.5, 0.6
UNDERLINE_OVERLAP = 0.1  # of the digit's height, by which its foot may hang over the line
# Seen from so far that it has `SHADE_SIDE` pixels, ink begins with a step of so much of full ink.
SHADE_SIDE, SHADE_STEP = 24, 0.25
SHADE_MIN = 10  # pixels; of what is smaller the outline says nothing

# The best is large and near the middle: in a corner, 0.7 of the picture away, a component counts
# 0.4 of what it would in the middle. What the rim may cut off, or is foreign, counts so much less.
MIDDLE = 1.2
AT_RIM, FOREIGN = 0.35, 0.1

# All of the best one's longer side or ink: what belongs to it.
SPECK, SPECK_AREA = 0.06, 0.004  # smaller components are dirt
JOIN_GAP, JOIN_GAP_AT_RIM = 0.30, 0.09  # what is farther away belongs to something else
SMALL, SMALL_GAP = 0.25, 0.04  # torn strokes, but not captions
JOINS = 3  # a component may hang on one that hangs on the digit
OTHER, WHOLE_AREA = 0.55, 0.5  # as large is another digit


@dataclass(frozen=True)
class _Components:
    """All components of a mask; each attribute is an ndarray of shape (count,).

    Attributes
    ----------
    left, top, right, bottom, width, height : float
        Their boxes, in pixels.
    side : float
        The longer sides of their boxes, in pixels.
    area : float
        Their ink, in pixels.
    off_centre : float
        How far from the middle of the picture: 0.0, to 0.7 in a corner.
    at_rim : bool
        Whether the rim of the picture may cut them off.
    """

    left: np.ndarray
    top: np.ndarray
    right: np.ndarray
    bottom: np.ndarray
    width: np.ndarray
    height: np.ndarray
    side: np.ndarray
    area: np.ndarray
    off_centre: np.ndarray
    at_rim: np.ndarray


def choose_digit(mask: np.ndarray, ink: np.ndarray) -> tuple[np.ndarray, int]:
    """Keep the components of one digit: the best one, and what belongs to it.

    Parameters
    ----------
    mask : ndarray of shape (height, width), uint8, 0 or 1
    ink : ndarray of the same shape, float32
        Share of full ink, as `ink.find_ink` gives it.

    Returns
    -------
    mask : ndarray of shape (height, width), uint8
        Only the digit.
    others : int
        How many components of similar size were left out.

    Raises
    ------
    BlankImageError
        If there is no component at all.
    """
    window, labels, stats, centres = find_parts(mask)
    count = len(stats) - 1
    if count == 0:
        raise BlankImageError
    if count == 1:
        return mask, 0
    found = _describe(stats[1:].astype(float), centres[1:], mask.shape)
    foreign = _find_lines(found, mask.shape) | _find_underlines(found)
    start = np.array([window[1].start, window[0].start, 0, 0])
    for each in _may_be_shade(found, foreign):
        box = stats[1 + each, :4] - start
        foreign[each] = _is_shade(ink[window], labels == 1 + each, box)
    best = _find_best(found, foreign)
    kept = _join(found, foreign, best)
    result = np.zeros_like(mask)
    result[window] = np.concatenate([[False], kept])[labels]
    return result, _count_others(found, foreign, best, kept)


def _describe(stats: np.ndarray, centres: np.ndarray, shape: tuple[int, ...]) -> _Components:
    """Describe components by what OpenCV tells of them."""
    left, top, width, height, area = stats.T
    right, bottom = left + width, top + height
    x, y = (centres / shape[::-1]).T
    return _Components(
        left=left,
        top=top,
        right=right,
        bottom=bottom,
        width=width,
        height=height,
        side=np.maximum(width, height),
        area=area,
        off_centre=np.hypot(x - 0.5, y - 0.5),
        at_rim=(np.minimum(left, top) <= 1) | (right >= shape[1] - 1) | (bottom >= shape[0] - 1),
    )


# ---- What is no handwriting ---------------------------------------------------------------------


def _find_lines(found: _Components, shape: tuple[int, ...]) -> np.ndarray:
    """Mark ruled lines and sides of boxes: thin, straight, and running into the rim."""
    is_slim = np.minimum(found.width, found.height) < LINE_SLIMNESS * found.side
    return found.at_rim & is_slim & (found.side > LINE_LENGTH * min(shape))


def _find_underlines(found: _Components) -> np.ndarray:
    """Mark lines below another component."""
    is_line = np.zeros(len(found.area), bool)
    for each in np.flatnonzero(found.width > UNDERLINE_SLIM * found.height):
        gap = found.top[each] - found.bottom
        above = (-UNDERLINE_OVERLAP * found.height < gap) & (gap < UNDERLINE_GAP * found.height)
        above &= (found.left[each] < found.left) & (found.right < found.right[each])
        above &= found.width[each] > UNDERLINE_LENGTH * found.height
        above &= found.height > 0.5 * found.width  # a digit, not another line
        is_line[each] = above.any()
    return is_line


def _may_be_shade(found: _Components, foreign: np.ndarray) -> np.ndarray:
    """Choose those that come in from the rim, and are large enough to be told from ink."""
    large = found.side >= max(SHADE_MIN, SMALL * found.side.max())
    return np.flatnonzero(found.at_rim & large & ~foreign)


def _is_shade(ink: np.ndarray, component: np.ndarray, box: np.ndarray) -> bool:
    """Tell a shadow from ink by its soft outline, seen from so far that noise does not matter."""
    left, top, width, height = box.tolist()
    beside = max(width, height) // 8
    place = (
        slice(max(top - beside, 0), top + height + beside),
        slice(max(left - beside, 0), left + width + beside),
    )
    kernel = np.ones((3, 3), np.uint8)
    inked = (shrink(component[place].astype(np.float32), SHADE_SIDE) > 0.5).view(np.uint8)
    outline = cv2.morphologyEx(inked, cv2.MORPH_GRADIENT, kernel) > 0
    steps = cv2.morphologyEx(shrink(ink[place], SHADE_SIDE), cv2.MORPH_GRADIENT, kernel)
    return bool(outline.any()) and bool(median(steps[outline]) < SHADE_STEP)


# ---- The digit ----------------------------------------------------------------------------------


def _find_best(found: _Components, foreign: np.ndarray) -> int:
    """Find the component that is most likely the digit, or its largest part."""
    score = found.side * np.sqrt(found.area) * (MIDDLE - found.off_centre)
    score *= np.where(foreign, FOREIGN, np.where(found.at_rim, AT_RIM, 1.0))
    return int(score.argmax())


def _join(found: _Components, foreign: np.ndarray, best: int) -> np.ndarray:
    """Mark the best component, and those that belong to it."""
    side = found.side[best]
    worthy = (found.side > SPECK * side) & (found.area > SPECK_AREA * found.area[best]) & ~foreign
    # What the rim cuts off is rather a part of a neighbour.
    neighbour = found.at_rim & ~found.at_rim[best]
    reach = np.where(neighbour, JOIN_GAP_AT_RIM, JOIN_GAP) * side
    small = found.side < SMALL * side
    kept = np.arange(len(worthy)) == best
    for _ in range(JOINS):
        kept |= worthy & ~small & (_gaps(found, kept) <= reach)
    # Small ones do not reach for others, or a line of print would be drawn in letter by letter.
    return kept | (worthy & small & (_gaps(found, kept) <= SMALL_GAP * side))


def _gaps(found: _Components, kept: np.ndarray) -> np.ndarray:
    """Distance of each box from the box around all those that are kept, pixels."""
    left, right = found.left[kept].min(), found.right[kept].max()
    top, bottom = found.top[kept].min(), found.bottom[kept].max()
    across = np.maximum(found.left - right, left - found.right)
    down = np.maximum(found.top - bottom, top - found.bottom)
    return np.hypot(np.maximum(across, 0), np.maximum(down, 0))


def _count_others(found: _Components, foreign: np.ndarray, best: int, kept: np.ndarray) -> int:
    """Count what may be other digits."""
    # What the rim cuts off is a part of a neighbour, unless it is about as much ink as a digit.
    whole = ~found.at_rim | (found.area > WHOLE_AREA * found.area[best])
    as_large = found.side > OTHER * found.side[best]
    return int((~kept & ~foreign & whole & as_large).sum())
