"""Tell a slash or a bracket from a 1, by the digits beside it in its line; know percent signs.

    marks of a line -> bare strokes -> how they bow, lean, and reach beyond the digits around them
        -> how much likelier each is a sign than a 1

Taken by itself a slash is a 1, also for people. In its line it stands between two digits, reaches
above and below them, and leans more than they do; a bracket bows as no 1 does. A stroke that does
neither stays a 1. A bracket behind a single digit, as in 3), is known by its bow and its place. A
percent sign is known by itself: a small ring on either side of a slash.

    >>> odds = weigh_signs(boxes, masks, size=60.0)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from masks import find_parts, stroke_width

TALL = 0.65  # of a digit's height; lower strokes are no slash, and no 1
SHORTEST = 12  # pixels; of lower strokes the bow says nothing
THICKEST = 0.35  # of its height; a bare stroke is no thicker,
UNEVEN = 1.6  # times its usual width in nearly all rows,
STRAY = 0.04  # of its height that its middle strays from a bow,
FILLED = 0.9  # of what lies between its sides is ink
NEIGHBOURS = 4  # that tell where a line runs
STEEPEST = 0.27  # of a line, 15 degrees

# Nats. Chosen on 240 generated rows with signs, and 300 in which every third digit is a 1 without a
# flag: they doubt 58 % of the rows with slashes, 99 % of those with brackets, 3 % of the others.
PRIOR = -4.5  # a stroke as tall and as upright as its neighbours
ABOVE, BELOW = 17.0, 34.0  # for each digit height beyond them, which 1s have rather above
# Degrees: a hand seldom leans as far, but the shape of a 2, a 5, a 6 or a 7 often does. With two of
# them beside it, no slash leaned more.
LEAST_LEAN, MOST_LEAN = -10.0, 12.0
LEAN_FACTOR = (0.0, 20.0, 30.0), (0.4, 1.0, 1.3)  # degrees more than they lean; times the reach
FARTHEST = -0.15, 0.5  # digit heights of reach that count
BOW, BOW_FROM = 80.0, 0.06  # for each part of its height that a stroke bows beyond this
# At the ends of a line, where brackets stand, only what bows outwards counts: to the left at the
# start, to the right at the end. There, so much of it makes the reach count: 1s seldom do both.
BOW_FACTOR = (0.03, 0.08), (0.0, 1.0)
PERCENT_ODDS = 10.0  # no digit looks like it

# Beside a single digit, in its heights: how much a bracket bows, how tall it is, and how far away.
BRACKET_BOW, BRACKET_HEIGHT, BRACKET_GAP = (0.1, 0.25), (0.8, 1.6), 0.08
BRACKET_MIDDLE = 0.3, 0.7  # of its height; there it is farthest from the line between its ends
MOST_PARTS = 4  # of a digit and its brackets

PERCENT_WIDTH = 0.6, 1.25  # of its height
# Of the sign's height: the root of each hole's area, which is 0.06 where the pen nearly fills it
# and less than 0.03 in a torn stroke, and at most the hole's height.
RING_HOLE = 0.04, 0.4
SLASH_THICK = 1.6  # times the stroke's width is between the rings; of 9 and 6 it would be two


class Stroke(NamedTuple):
    """A line of the pen without flag, bar or loop."""

    lean: float  # degrees to the right
    bow: float  # how far its middle is beside its ends, as a part of its height


def weigh_signs(
    boxes: Sequence[tuple[int, int, int, int]], masks: Sequence[np.ndarray], *, size: float
) -> list[float]:
    """Tell for each mark of a line how much likelier it is a slash or a bracket than a 1.

    Parameters
    ----------
    boxes : sequence of (left, top, right, bottom)
        In pixels, from left to right.
    masks : sequence of ndarray of shape (height, width), uint8, 0 or 1
        Each as large as its box.
    size : float
        The usual height of a digit, pixels.

    Returns
    -------
    list of float
        Nats: 0.0 is as likely the one as the other; -inf is no sign, or a stroke that stands alone.
    """
    strokes = [measure_stroke(mask) if len(mask) >= TALL * size else None for mask in masks]
    tall = [i for i, mask in enumerate(masks) if len(mask) >= TALL * size]
    digits = [i for i in tall if strokes[i] is None] or tall
    odds = [-math.inf] * len(boxes)
    for i, stroke in enumerate(strokes):
        if i in tall and is_percent(masks[i]):
            odds[i] = PERCENT_ODDS
        others = sorted((j for j in digits if j != i), key=lambda j: abs(boxes[i][0] - boxes[j][0]))
        if stroke is None or not others:
            continue
        near = others[:NEIGHBOURS]
        above, below = np.clip(_reach(boxes[i], [boxes[j] for j in near]), *FARTHEST)
        bow = stroke.bow if i == tall[0] else -stroke.bow if i == tall[-1] else abs(stroke.bow)
        odds[i] = PRIOR + BOW * max(0.0, bow - BOW_FROM)
        if i == tall[-1]:
            odds[i] += float(np.interp(bow, *BOW_FACTOR) * (ABOVE * above + BELOW * below))
        elif i > tall[0]:
            leans = np.clip([measure_lean(masks[j]) for j in near], LEAST_LEAN, MOST_LEAN)
            more = stroke.lean - leans.mean()
            odds[i] += float(np.interp(more, *LEAN_FACTOR) * (ABOVE * above + BELOW * below))
    return odds


def measure_stroke(mask: np.ndarray) -> Stroke | None:
    """Measure an upright stroke; None if the mask shows anything else.

    Parameters
    ----------
    mask : ndarray of shape (height, width), uint8, 0 or 1
        Connected ink, cut out tightly.
    """
    height, width = mask.shape
    inked = mask > 0
    if height < SHORTEST or not inked.any(axis=1).all():
        return None
    left = inked.argmax(axis=1)
    spans = width - inked[:, ::-1].argmax(axis=1) - left
    usual = float(np.median(spans))
    # The ends of a slanted stroke are cut level, and so their middles lie beside its own.
    end = max(1, min(math.ceil(usual / 2), round(0.12 * height)))
    rows = (np.arange(height) - (height - 1) / 2) / height
    middles = (left + spans / 2) / height
    curve = np.polyfit(rows[end:-end], middles[end:-end], 2)
    strays = np.abs(middles - np.polyval(curve, rows))[end:-end]
    is_bare = (
        usual / math.hypot(1, curve[1]) <= THICKEST * height
        and np.percentile(spans, 95) <= UNEVEN * usual
        and strays.max() <= STRAY
        and inked.sum() >= FILLED * spans.sum()
    )
    return Stroke(-math.degrees(math.atan(curve[1])), curve[0] / 4) if is_bare else None


def is_percent(mask: np.ndarray) -> bool:
    """Tell whether ink is a percent sign: a hole at the top left, one at the bottom right, a slash.

    Parameters
    ----------
    mask : ndarray of shape (height, width), uint8, 0 or 1
        Ink, cut out tightly; rings and slash may touch or not.
    """
    height, width = mask.shape
    if height < SHORTEST or not PERCENT_WIDTH[0] <= width / height <= PERCENT_WIDTH[1]:
        return False
    ground = np.pad(1 - mask, 1, constant_values=1)
    stats = cv2.connectedComponentsWithStats(ground, connectivity=4)[2]
    if len(stats) < 4:  # ink, what is around it, and fewer than two holes
        return False
    holes = stats[2:][np.argsort(-stats[2:, cv2.CC_STAT_AREA], kind="stable")[:2]]
    upper, lower = holes[np.argsort(holes[:, 1])]
    apart = upper[0] + upper[2] <= lower[0] and upper[1] + upper[3] <= lower[1]
    least = math.sqrt(holes[:, cv2.CC_STAT_AREA].min()) / height
    most = holes[:, cv2.CC_STAT_HEIGHT].max() / height
    if not apart or least < RING_HOLE[0] or most > RING_HOLE[1]:
        return False
    between = mask[(upper[1] + upper[3] + lower[1]) // 2 - 1]
    runs = np.flatnonzero(np.diff(between, prepend=0, append=0))
    return len(runs) == 2 and bool(runs[1] - runs[0] <= SLASH_THICK * stroke_width(mask))


def remove_brackets(mask: np.ndarray) -> np.ndarray:
    """Take the bracket behind a digit out of a mask, as in 3), and the one before it, as in (3).

    It bows outwards, is about as tall as the digit and keeps away from it; the halves of a torn 0,
    or the bow of a D, do not. One before a digit alone is rather a 1.

    Parameters
    ----------
    mask : ndarray of shape (height, width), uint8, 0 or 1
        The ink of a digit, and maybe of brackets.

    Returns
    -------
    ndarray of shape (height, width), uint8, 0 or 1
    """
    window, labels, stats, _ = find_parts(mask)
    if len(stats) - 1 > MOST_PARTS:
        return mask
    bows = np.zeros(len(stats))
    for label, (left, top, width, height, _) in enumerate(stats[1:], start=1):
        down, across = top - window[0].start, left - window[1].start
        part = labels[down : down + height, across : across + width] == label
        stroke = measure_stroke(part.astype(np.uint8))
        if stroke and _bends_in_its_middle(part):
            bows[label] = stroke.bow
    is_bracket = (BRACKET_BOW[0] <= np.abs(bows)) & (np.abs(bows) <= BRACKET_BOW[1])
    digit = np.flatnonzero(~is_bracket)[1:]
    if not (is_bracket.any() and digit.size):
        return mask
    left, top, width, height, _ = stats.T
    right, bottom = left + width, top + height
    tall = bottom[digit].max() - top[digit].min()
    is_bracket &= (BRACKET_HEIGHT[0] * tall <= height) & (height <= BRACKET_HEIGHT[1] * tall)
    gap = BRACKET_GAP * tall
    closes = is_bracket & (bows < 0) & (left >= right[digit].max() + gap)
    opens = is_bracket & (bows > 0) & (right <= left[digit].min() - gap)
    if not closes.any():
        return mask
    result = mask.copy()
    result[window][(closes | opens)[labels]] = 0
    return result


def _bends_in_its_middle(part: np.ndarray) -> bool:
    """Whether a stroke is farthest from the line between its ends half-way; a 7 is near its top."""
    rows, columns = np.arange(len(part)), np.arange(part.shape[1])
    middles = part @ columns / part.sum(axis=1)
    chord = np.interp(rows, (0, len(part) - 1), (middles[0], middles[-1]))
    low, high = BRACKET_MIDDLE
    return bool(low * len(part) <= np.abs(middles - chord).argmax() <= high * len(part))


def measure_lean(mask: np.ndarray) -> float:
    """Tell by how many degrees the ink of a digit leans to the right."""
    rows, columns = np.nonzero(mask)
    rows, columns = rows - rows.mean(), columns - columns.mean()
    return -math.degrees(math.atan((rows @ columns) / max(rows @ rows, 1e-6)))


def _reach(
    box: tuple[int, int, int, int], near: Sequence[tuple[int, int, int, int]]
) -> tuple[float, float]:
    """Tell how far a mark reaches above and below those near it, in their height."""
    left, top, right, bottom = np.array(near).T
    away = (left + right - box[0] - box[2]) / 2
    usual = float(np.median(bottom - top))
    climb = 0.0
    if len(near) > 2:  # two may differ by chance
        climb = float(np.clip(np.polyfit(away, (top + bottom) / 2, 1)[0], -STEEPEST, STEEPEST))
    shift = climb * float(away.mean())
    return (top.mean() - shift - box[1]) / usual, (box[3] - bottom.mean() + shift) / usual
