"""Take ruled lines, squared paper and printed boxes out of a mask of ink, and leave the strokes.

    mask -> thin straight runs, nearly level or upright and longer than any stroke
         -> erased where the ink is as thin as the line: where a stroke crosses it, it is thicker

Lines that run through the whole picture are found first. What is left shows how large the digits
are, and so which other lines are too long to be strokes, and which upright ones are box sides.

    >>> mask = remove_ruling(mask, stroke=stroke_width(mask))

Around a single digit, where nothing shows how large digits are, and on squared paper, lines are
told from the pen by what is between them, which is mostly darker:

    >>> ink, mask = remove_paper_lines(ink, mask)

A line through the middle of digits that ends near them is no ruling, but strikes them out:

    >>> boxes = find_strikes(mask, stroke=stroke_width(mask))

Finding lines by runs of ink, and removing them where they are no thicker than usual, is what
readers of sheet music do with staves (Dalitz et al., "A comparative study of staff removal
algorithms", IEEE PAMI 30(5), 2008, section 3).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from masks import bounding_box, find_parts, stroke_width
from pixels import rescale

COPY_SIDE = 640  # pixels of the reduced copy in which lines are looked for
SPAN = 0.86  # of the picture: what runs through so much of it is printed
GOES_ON = 0.4  # of the picture: a line as long as this, found faint, is erased through all of it
LONG = 2.5  # digit heights: no stroke is as long and straight
SLOPE = 0.1  # a line is at least this level, 6 degrees
PAPER_SLOPE = 0.2  # and one behind a single digit, 11 degrees: its paper may be held at a slant
SLOPE_STEP = 3.0  # pixels of the copy by which neighbouring slopes differ over its width
GAP = 0.06  # of its length that may be missing
# Pixels of the copy: in a line, holes up to twice as long are filled. Where it may be as short as a
# few digits, hardly any: the tops and feet of a row of small ones would make a line.
HOLE, SMALL_HOLE = 3, 1
THIN = 0.35  # of its length that has to be thin; the rest is hidden by strokes that cross it
THICKNESS = 1.5  # stroke widths; a line is no thicker

TIGHT = 0.06  # digit heights: a digit that is so close to the rim was cut out tightly
NARROW = 0.6  # width over height; in such a picture there is no room for two digits side by side
LARGE = 0.65  # of a digit's height; smaller ink is part of one, or dirt
MANY = 4  # lines are a pattern, and no strokes
BAR = 0.15  # of the picture's shorter side; a dark bar along its edge is no wider

AT_RIM = (0.01, 0.03, 0.05)  # of the picture: where it is looked for lines that run out of it
DARKER = 1.25  # times as dark as the lines is a pen that is told from them by that
LEAST_BETWEEN = 0.004  # of the picture; with less ink between its lines the paper is empty

ROOM = 0.95  # digit heights: the least distance of two lines with a box between them
SIDE_SPAN = 0.92  # of that distance: the least length of the box's side
SIDE_LEAN = 0.05  # how far a side may be from a right angle with the lines
CRUMB = 0.2  # digit heights; what hangs on a side and is smaller means nothing
# Of a number that is struck out, times its height, wider than two 4s that touch; times the stroke.
STRUCK_WIDTH, STRUCK_HEIGHT = 1.7, 4
STRUCK_SPAN, STRUCK_SLOPE = 0.9, 0.2  # of the number's width, 11 degrees: the line through it
STRUCK_REACH = 0.3  # of the number's height that a digit reaches beyond the line, above and below
WIDEST_DIGIT, SLIM = 1.5, 0.25  # times its height: no digit is as wide, and no 4 as slim

SIDE_IN_STROKES = 0.6  # stroke widths: so thick a side may be, even if the lines are thinner


@dataclass(frozen=True)
class Rule:
    """A ruled line: row = slope * column + start, from column `left` up to `right`, in pixels."""

    slope: float
    start: float
    left: int
    right: int
    thickness: float

    @property
    def middle(self) -> float:
        """The row of its middle."""
        return self.slope * (self.left + self.right) / 2 + self.start


def remove_ruling(mask: np.ndarray, *, stroke: float) -> np.ndarray:
    """Take away ruled lines, squares and boxes, and leave the strokes that cross them.

    Parameters
    ----------
    mask : ndarray of shape (height, width), uint8, 0 or 1
    stroke : float
        The usual width of a stroke in pixels; see `masks.stroke_width`.

    Returns
    -------
    ndarray of shape (height, width), uint8, 0 or 1
    """
    height, width = mask.shape
    mask = _drop_bars(mask)
    across = find_rules(mask, SPAN * width, stroke=stroke)
    down = find_rules(np.ascontiguousarray(mask.T), SPAN * height, stroke=stroke)
    rest = erase_rules(mask, across, down)
    # In a picture that is cut out tightly, the bar of a 7 or the stem of a 4 is as long as it.
    size = usual_height(rest, stroke=stroke)
    if len(across) < MANY and _fills(rest, size, axis=0):
        across = []
    if len(down) < MANY and (_fills(rest, size, axis=1) or _is_upright_stroke(mask, rest)):
        down = []
    rest = erase_rules(mask, across, down)
    size = usual_height(rest, stroke=stroke)
    if not size:
        return rest
    across += find_rules(rest, LONG * size, stroke=stroke, hole=SMALL_HOLE)
    rest = erase_rules(rest, across, [])
    across.sort(key=lambda rule: rule.middle)
    # Turned once and changed in place: a page may have a thousand strokes that look like sides.
    turned = np.ascontiguousarray(rest.T)
    for above, below in zip(*_with_rims(across, height), strict=True):
        for side in _find_sides(turned, above, below, size=size, stroke=stroke):
            _erase_side(turned, side, size)
    return np.ascontiguousarray(turned.T)


def find_strikes(mask: np.ndarray, *, stroke: float) -> list[tuple[int, int, int, int]]:
    """Find numbers that are struck out: a line runs through the middle of their digits.

    A printed line goes on beyond the digits, to the rim or to other lines; this one ends near them.

    Parameters
    ----------
    mask : ndarray of shape (height, width), uint8, 0 or 1
    stroke : float
        The usual width of a stroke in pixels.

    Returns
    -------
    list of (left, top, right, bottom)
        In pixels, one for each number.
    """
    window, labels, stats, _ = find_parts(mask)
    height, width = mask.shape
    found = []
    for label, (left, top, wide, tall, _) in enumerate(stats.tolist()):
        right, bottom = left + wide, top + tall
        at_rim = min(left, top) <= 0 or right >= width or bottom >= height
        if not label or at_rim or wide < STRUCK_WIDTH * tall or tall < STRUCK_HEIGHT * stroke:
            continue
        down, across = top - window[0].start, left - window[1].start
        part = labels[down : down + tall, across : across + wide] == label
        if _is_struck(part.astype(np.uint8), stroke):
            found.append((left, top, right, bottom))
    return found


def _is_struck(part: np.ndarray, stroke: float) -> bool:
    """Whether a line runs along connected ink, and through the middle of at least two digits."""
    rules = find_rules(
        part, STRUCK_SPAN * part.shape[1], stroke=stroke, slopes=(-STRUCK_SLOPE, STRUCK_SLOPE)
    )
    if not rules:
        return False
    rest = erase_rules(part, rules, [])
    left, top, wide, tall, _ = cv2.connectedComponentsWithStats(rest, connectivity=8)[2][1:].T
    for rule in rules:
        row = rule.slope * (left + wide / 2) + rule.start
        reach = np.minimum(row - top, top + tall - row)
        crossed = (reach > STRUCK_REACH * len(part)) & (wide < WIDEST_DIGIT * tall)
        # The lines of a table are crossed by others, and these are slim.
        if crossed.sum() >= 2 and (crossed & (wide > SLIM * tall)).any():
            return True
    return False


def remove_paper_lines(
    ink: np.ndarray, mask: np.ndarray, *, only_squared: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Take the lines of ruled or squared paper from behind digits, and leave their strokes.

    Most pens are darker than the print: then a line goes where it is no darker than elsewhere,
    also if a stroke runs along it. Where both are alike, the lines of squared paper go where the
    ink is as thin as they are; ruled ones stay, as they may be the bars of a 2.

    Parameters
    ----------
    ink : ndarray of shape (height, width), float32
        From 0.0 (ground); 1.0 is full ink, which may be that of the lines, and less than the pen's.
    mask : ndarray of shape (height, width), uint8, 0 or 1
    only_squared : bool, default=False
        Leave everything as it is where lines do not cross, or are as dark as the pen: on a page,
        `remove_ruling` does that better, as boxes show by the lines between them.

    Returns
    -------
    ink, mask : ndarray
        As they came, if there are not two parallel lines through the picture, and other ink
        between them; else without the lines, and 1.0 is the pen's ink.
    """
    height, width = mask.shape
    left, top, right, bottom = bounding_box(mask)
    slopes = (SLOPE,) if only_squared else (SLOPE, PAPER_SLOPE)
    # Most pictures have no ink at two opposite edges: then there is nothing to look for.
    is_wide, is_tall = right - left >= SPAN * width, bottom - top >= SPAN * height
    across = _find_paper_lines(mask, slopes) if is_wide else []
    down = _find_paper_lines(mask.T, slopes) if is_tall else []
    is_squared = bool(across and down)
    if not is_squared and (only_squared or not (across or down)):
        return ink, mask
    # Beside ruled lines a single one that crosses them is printed, too: that of the margin.
    if is_tall and not down:
        down = _find_paper_lines(mask.T, slopes, least=1)
    elif is_wide and not across:
        across = _find_paper_lines(mask, slopes, least=1)
    lines = _cover(mask.shape, across) | _cover(mask.shape[::-1], down).T
    cores = np.concatenate(
        [_along(ink, rule) for rule in across] + [_along(ink.T, rule) for rule in down]
    )
    between = (mask > 0) & ~lines
    if between.mean() < LEAST_BETWEEN:
        return ink, mask
    printed, pen = float(np.median(cores)), float(np.quantile(ink[between], 0.75))
    if pen > DARKER * printed:
        rest = np.where(lines & (ink < (printed + pen) / 2), np.uint8(0), mask)
    elif is_squared and not only_squared:
        rest = erase_rules(mask, across, down)
    else:
        return ink, mask
    return ink / max(1.0, pen), rest


def _find_paper_lines(mask: np.ndarray, slopes: Sequence[float], *, least: int = 2) -> list[Rule]:
    """Find lines through the whole picture, if there are at least so many; level ones first.

    They are looked for only where ink leaves at the left and at the right in as many places.
    """
    for columns in (mask.T, mask.T[::-1]):
        near = columns[[round(share * len(columns)) for share in AT_RIM]]
        starts = np.diff(near, axis=1, prepend=np.uint8(0)) == 1
        if starts.sum(axis=1).max() < least:
            return []
    level = np.ascontiguousarray(mask)
    stroke = stroke_width(level)
    for steepest in slopes:
        span = SPAN * level.shape[1]
        rules = find_rules(level, span, stroke=stroke, slopes=(-steepest, steepest))
        if len(rules) >= least:
            return rules
    return []


def _cover(shape: tuple[int, ...], rules: Sequence[Rule]) -> np.ndarray:
    """Mark the pixels that lie on lines, and beside them."""
    rows, columns = np.arange(shape[0])[:, None], np.arange(shape[1])
    covered = np.zeros(shape, bool)
    for rule in rules:
        distance = np.abs(rows - rule.slope * columns - rule.start)
        covered |= distance <= rule.thickness / 2 + 1.5
    return covered


def _along(ink: np.ndarray, rule: Rule) -> np.ndarray:
    """Read the ink along the middle of a line."""
    columns = np.arange(ink.shape[1])
    rows = np.rint(rule.slope * columns + rule.start).astype(int)
    inside = (rows >= 0) & (rows < len(ink))
    return ink[rows[inside], columns[inside]]


def usual_height(mask: np.ndarray, *, stroke: float) -> float:
    """Estimate the height of a digit: that of most ink, torn strokes put together.

    Parameters
    ----------
    mask : ndarray of shape (height, width), uint8, 0 or 1
    stroke : float
        The usual width of a stroke in pixels.

    Returns
    -------
    float
        In pixels; 0.0 if there is no ink.
    """
    reach = max(1, round(0.5 * stroke))
    joined = cv2.dilate(mask, np.ones((2 * reach + 1, 2 * reach + 1), np.uint8))
    _, _, stats, _ = cv2.connectedComponentsWithStats(joined, connectivity=8)
    left, top, wide, tall, area = stats[1:].T
    if not area.size:
        return 0.0
    at_rim = (left == 0) | (top == 0)
    at_rim |= (left + wide == mask.shape[1]) | (top + tall == mask.shape[0])
    tall, wide = tall - 2 * reach, wide - 2 * reach
    use = ~at_rim & ((tall > 0.25 * wide) | (tall > 3 * stroke))
    if not use.any():
        use[:] = True
    return max(1.0, weighted_median(tall[use], area[use]))


def weighted_median(values: np.ndarray, weights: np.ndarray) -> float:
    """Return the value that half of the weight lies below."""
    order = np.argsort(values, kind="stable")
    share = np.cumsum(weights[order], dtype=float)
    return float(values[order][np.searchsorted(share, share[-1] / 2)])


def find_rules(
    mask: np.ndarray,
    length: float,
    *,
    stroke: float,
    slopes: tuple[float, float] = (-SLOPE, SLOPE),
    hole: int = HOLE,
) -> list[Rule]:
    """Find straight, nearly level lines.

    The mask is sheared by every slope in turn, so that lines of that slope lie in one row.

    Parameters
    ----------
    mask : ndarray of shape (height, width), uint8, 0 or 1
    length : float
        The least length in pixels.
    stroke : float
        The usual width of a stroke in pixels.
    slopes : tuple of two floats
        The least and the greatest slope.
    hole : int, default=HOLE
        Half of the longest hole in a line, in pixels of the copy.
    """
    thickest = max(2.0, THICKNESS * stroke)
    thin = mask & (1 - _long_runs_down(mask, round(thickest)))
    scale = min(1.0, COPY_SIDE / max(mask.shape))
    small, small_thin = _reduce(mask, scale), _reduce(thin, scale)
    width = small.shape[1]
    run = max(3, round(length * scale * (1 - GAP)))
    found: list[tuple[int, float, float, int, int]] = []
    for slope in np.arange(slopes[0], slopes[1] + 1e-9, SLOPE_STEP / width).tolist():
        # Few rows have so much ink; only these are looked at closely.
        rows = _shear(small, slope)
        is_inked = _sum_along(rows) >= 0.8 * run
        if not is_inked.any():
            continue
        thin_rows = _shear(small_thin, slope)
        inked = np.flatnonzero(is_inked & (_sum_along(thin_rows) >= THIN * run))
        for row, runs in zip(inked.tolist(), _runs_along(rows[inked], run, hole), strict=True):
            columns = np.flatnonzero(runs)
            if not columns.size:
                continue
            left, right = int(columns[0]), int(columns[-1]) + 1
            ink = int(thin_rows[row, left:right].sum())
            if ink >= THIN * (right - left):
                found.append((ink, slope, row - slope * width / 2, left, right))
    rules: list[Rule] = []
    known = np.empty((0, 3))  # slope, start and thickness of each: there may be thousands to ask
    near = 2 / scale + 1
    for _, slope, start, left, right in sorted(found, reverse=True):
        ends = [(column / scale, (slope * column + start) / scale) for column in (left, right)]
        slopes_of, starts_of, thickness_of = known.T
        is_known = np.ones(len(known), bool)
        for column, row in ends:
            is_known &= np.abs(slopes_of * column + starts_of - row) <= near + thickness_of
        if is_known.any():
            continue
        first = Rule(slope, start / scale, round(left / scale), round(right / scale), thickest)
        rule = _fit(thin, first, near)
        if rule is not None:
            rules.append(rule)
            known = np.vstack((known, (rule.slope, rule.start, rule.thickness)))
            _erase(thin, rule)
    return rules


def erase_rules(mask: np.ndarray, across: Sequence[Rule], down: Sequence[Rule]) -> np.ndarray:
    """Remove lines, but not the strokes that cross them, which are thicker.

    Parameters
    ----------
    mask : ndarray of shape (height, width), uint8, 0 or 1
    across, down : sequence of Rule
        Those in `down` are given for the transposed mask.

    Returns
    -------
    ndarray of shape (height, width), uint8, 0 or 1
    """
    for rules, is_upright in ((across, False), (down, True)):
        if not rules:
            continue
        mask = np.ascontiguousarray(mask.T) if is_upright else mask.copy()
        for rule in rules:
            _erase(mask, rule)
        mask = np.ascontiguousarray(mask.T) if is_upright else mask
    return mask


def _erase(mask: np.ndarray, rule: Rule) -> tuple[tuple[slice, slice], np.ndarray]:
    """Remove one line from a mask, in place; return its window, and what was removed there."""
    window, middle = _frame(mask, rule, 2 * rule.thickness + 5)
    strip = mask[window]
    if not strip.size:
        return window, strip
    thick = _long_runs_down(strip, round(1.4 * rule.thickness + 1))
    near = np.abs(np.arange(len(strip))[:, None] - middle) <= rule.thickness / 2 + 1.5
    removed = np.where(near & (thick == 0), strip, np.uint8(0))
    strip -= removed
    return window, removed


def _erase_side(turned: np.ndarray, side: Rule, size: float) -> None:
    """Remove the side of a box from a transposed mask, in place; a stem is left as it is."""
    window, removed = _erase(turned, side)
    if removed.any() and not _stands_alone(turned, removed, window, size):
        turned[window] += removed


def _frame(mask: np.ndarray, rule: Rule, reach: float) -> tuple[tuple[slice, slice], np.ndarray]:
    """Frame the rows around a line; return their window, and where in it the line runs."""
    columns = np.arange(max(0, rule.left - 3), min(mask.shape[1], rule.right + 3))
    middle = rule.slope * columns + rule.start
    top, bottom = max(0, int(middle.min() - reach)), int(middle.max() + reach) + 2
    # As the mask has it: beyond its last row there is nothing.
    rows = slice(min(top, len(mask)), min(max(top, bottom), len(mask)))
    return (rows, slice(int(columns[0]), int(columns[-1]) + 1)), middle - top


def _fit(thin: np.ndarray, rule: Rule, near_px: float) -> Rule | None:
    """Lay a line exactly through the thin ink within `near_px` of it; None if there is little."""
    window, middle = _frame(thin, rule, 4 * rule.thickness)
    strip = thin[window]
    length = rule.right - rule.left
    # Most of thousands of lines that lie beside others are given up here, before the ink is listed.
    beside = np.abs(np.arange(len(strip))[:, None] - middle) <= near_px + 1
    if np.count_nonzero((strip.view(bool) & beside).any(axis=0)) < THIN * length:
        return None
    rows, columns = np.nonzero(strip)
    offset = rule.slope, float(middle[0])
    reach, thickness = near_px, rule.thickness
    before = None
    for _ in range(4):
        near = np.abs(rows - offset[0] * columns - offset[1]) <= reach
        if before is not None and np.array_equal(near, before):
            break  # the same ink gives the same line
        before = near
        by_column = np.bincount(columns[near])
        if (by_column > 0).sum() < THIN * length:
            return None
        slope, start = np.polyfit(columns[near], rows[near], 1)
        offset = float(slope), float(start)
        # The strokes that cross the line make it look thicker, in fewer than half of its columns.
        thickness = float(np.quantile(by_column[by_column > 0], 0.4))
        reach = min(rule.thickness, thickness / 2 + 2)
    left, right = rule.left, rule.right
    first_column = max(0, left - 3)
    top = rule.slope * first_column + rule.start - float(middle[0])  # of the strip
    if length >= GOES_ON * thin.shape[1]:
        left, right = 0, thin.shape[1]
    start_row = offset[1] + top - offset[0] * first_column
    return Rule(offset[0], start_row, left, right, thickness)


def _shear(mask: np.ndarray, slope: float) -> np.ndarray:
    """Move columns up or down so that lines of this slope become rows, 3 pixels thick at least."""
    matrix = np.array([[1, 0, 0], [slope, 1, -slope * mask.shape[1] / 2]])
    flags = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
    level = cv2.warpAffine(mask, matrix, mask.shape[::-1], flags=flags)
    return cv2.dilate(level, np.ones((3, 1), np.uint8))


def _sum_along(mask: np.ndarray) -> np.ndarray:
    """Count the ink of each row."""
    return cv2.reduce(mask, 1, cv2.REDUCE_SUM, dtype=cv2.CV_32S)[:, 0]


def _runs_along(rows: np.ndarray, length: int, hole: int) -> np.ndarray:
    """Keep the ink that goes on for at least `length` pixels from left to right."""
    if not len(rows):
        return rows
    filled = cv2.morphologyEx(rows, cv2.MORPH_CLOSE, np.ones((1, 2 * hole + 1), np.uint8))
    return cv2.morphologyEx(filled, cv2.MORPH_OPEN, np.ones((1, length), np.uint8), borderValue=0)


def _long_runs_down(mask: np.ndarray, longest: int) -> np.ndarray:
    """Mark the ink that goes on for more than `longest` pixels from top to bottom."""
    # Nothing goes on beyond the rim: a line that lies along it is not thick.
    run = np.ones((longest + 1, 1), np.uint8)
    return cv2.morphologyEx(
        mask, cv2.MORPH_OPEN, run, borderType=cv2.BORDER_CONSTANT, borderValue=0
    )


def _reduce(mask: np.ndarray, scale: float) -> np.ndarray:
    """Shrink a mask; thin lines stay."""
    if scale >= 1:
        return mask
    return (rescale(mask * np.uint8(255), scale) > 40).astype(np.uint8)


def _drop_bars(mask: np.ndarray) -> np.ndarray:
    """Drop ink that lies along a whole side of the picture: the edge of the paper, or a shadow."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    thickness = stats[:, [cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT]].min(axis=1)
    drop = np.zeros(len(stats), bool)
    for side in (labels[:2].T, labels[-2:].T, labels[:, :2], labels[:, -2:]):
        along = np.bincount(side.max(axis=1), minlength=len(stats))
        drop |= (along >= SPAN * len(side)) & (thickness < BAR * min(mask.shape))
    drop[0] = False
    return np.where(drop[labels], np.uint8(0), mask)


def _fills(mask: np.ndarray, size: float, *, axis: int) -> bool:
    """Tell whether digits fill a small picture from one end to the other, across (0) or down."""
    length = mask.shape[1 - axis]
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    large = stats[1:][stats[1:, cv2.CC_STAT_HEIGHT] >= LARGE * size]
    if not len(large) or length > 2 * size:
        return False
    start, stop = large[:, axis].min(), (large[:, axis] + large[:, axis + 2]).max()
    return bool(min(start, length - stop) < TIGHT * size)


def _is_upright_stroke(mask: np.ndarray, rest: np.ndarray) -> bool:
    """Tell whether what runs down a narrow picture is a 1: nothing as large as a digit is left."""
    height, width = mask.shape
    _, _, stats, _ = cv2.connectedComponentsWithStats(rest, connectivity=8)
    tallest = int(stats[1:, cv2.CC_STAT_HEIGHT].max(initial=0))
    return width < NARROW * height and tallest < LARGE * height


def _with_rims(across: Sequence[Rule], height: int) -> tuple[list[Rule], list[Rule]]:
    """Pair each line with the next; a box may also be cut off by the picture's rim."""
    if not across:
        return [], []
    first, last = across[0], across[-1]
    top = replace(first, start=first.start - first.middle)
    bottom = replace(last, start=last.start + height - 1 - last.middle)
    return [top, *across], [*across, bottom]


def _stands_alone(
    without: np.ndarray, removed: np.ndarray, window: tuple[slice, slice], size: float
) -> bool:
    """Tell whether what was removed is the side of a box, and not the stem of a 7 or a 4.

    A box touches whole digits or nothing; a stem has a part of its digit attached. Both masks are
    transposed; `removed` lies in the window.

    Only what the removed ink touched is looked at, in a window that is widened until that does not
    run out of it: two labellings of the whole page for each of 1,200 strokes took 20 seconds.
    """
    rows, columns = window
    # What reaches beyond this from the side's end is as tall as a digit.
    room = math.ceil(LARGE * size) + 1
    left, right = max(0, columns.start - room), min(without.shape[1], columns.stop + room)
    while True:
        top, bottom = max(0, rows.start - room), min(len(without), rows.stop + room)
        part = without[top:bottom, left:right]
        _, labels, stats, _ = cv2.connectedComponentsWithStats(part, connectivity=8)
        near = np.zeros_like(part)
        near[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left] = (
            removed
        )
        beside = cv2.dilate(near, np.ones((3, 3), np.uint8)) > 0
        touched = stats[1:][np.bincount(labels[beside], minlength=len(stats))[1:] > 0]
        across, along = touched[:, cv2.CC_STAT_HEIGHT], touched[:, cv2.CC_STAT_WIDTH]
        if along.max(initial=0) >= LARGE * size:
            return True
        starts = touched[:, cv2.CC_STAT_TOP]
        goes_on = (starts == 0) & (top > 0)
        goes_on |= (starts + across == len(part)) & (bottom < len(without))
        if not goes_on.any():
            return bool(max(across.max(initial=0), along.max(initial=0)) < CRUMB * size)
        room *= 4


def _find_sides(
    turned: np.ndarray, above: Rule, below: Rule, *, size: float, stroke: float
) -> list[Rule]:
    """Find the upright sides of boxes between two lines, which are about as thin as these.

    The mask is transposed.
    """
    room = below.middle - above.middle
    # Where little is written, the sides tell `size`, and they reach to the far edges of the lines.
    if room + (above.thickness + below.thickness) / 2 < ROOM * size:
        return []
    width = len(turned)
    top = max(0, int(min(above.start, above.slope * width + above.start)))
    bottom = int(max(below.start, below.slope * width + below.start)) + 1
    upright = -(above.slope + below.slope) / 2
    sides = find_rules(
        np.ascontiguousarray(turned[:, top:bottom]),
        SIDE_SPAN * room,
        stroke=stroke,
        slopes=(upright - SIDE_LEAN, upright + SIDE_LEAN),
    )
    thickest = max(1.25 * max(above.thickness, below.thickness) + 0.75, SIDE_IN_STROKES * stroke)
    return [
        replace(
            side, start=side.start - side.slope * top, left=side.left + top, right=side.right + top
        )
        for side in sides
        if side.thickness <= thickest
    ]
