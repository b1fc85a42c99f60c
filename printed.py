"""Take what stands around digits out of a mask: lines, the cells of forms, frames, rings.

    mask -> straight lines through the whole picture gone -> boxes with something in them gone

A line goes, and the strokes that cross it stay. `ruling.py` does the same for whole pages, where
what a line is shows in how it goes on beyond the digits.

    >>> mask = remove_boxes(remove_printed_lines(mask))
"""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np

from masks import bounding_box, find_parts

LINE_LEAN = 0.03  # height over length of a line that is not quite level, 1.7 degrees
LINE_SPAN = 0.92  # of the frame: what runs through all of it is printed, not written
FRAME_SIDE = 0.3  # of the frame's shorter side; a drawn box is at least as large
FRAME_SIDE_PX = 12  # pixels; in less there is no room for a digit
FRAME_BAND = 0.09  # of the box's shorter side; its lines lie so close to its bounding box
FRAME_COVER = 0.9  # of each side that has to have ink
FRAME_SOLID = 0.6  # of its box's area; with more ink it is a sheet, and what is in it are holes
HOLLOW = 0.5  # of its box's area; a frame has less ink
CELL_LIKE = 0.9  # of a form's box; what is as large is another one
FRAME_LEANS = 1.0, 15.0  # degrees; more is a handwritten slant
RING_CORE = 0.6  # of its box: what goes around has no ink in the middle, ...
RING_ROUND = 0.85  # ... and ink in at least so many directions as seen from there, ...
RING_TURNS = 36  # ... of so many, ...
RING_THICK = 0.35  # ... in none of them thicker than that, where half of the box is 1
RINGED, RINGED_ALONE = 0.25, 0.4  # of its shorter side; digits in a ring, or one, are as large
STROKE_SLIM = 3  # times as long as wide; a stroke in a 0 is, at least
RING_LARGE = 1.4  # times as high as the digits beside it
# An underline is so many times as long as it is high, and below more than one digit, or longer than
# its only one at both ends, as the bar below a 1 is not. The others in heights of the digit.
UNDERLINE_SLIM, UNDERLINE_GAP, UNDERLINE_OVERLAP, UNDERLINE_LENGTH = 4, 0.6, 0.1, 0.6
MOST_UNDERLINES = 200  # on a page; more are its ruling, or hatching
UNDERLINED = 2.0  # times the height of the line; what is lower is no digit above it
SMALLEST_DIGIT = 0.12  # of the frame's shorter side; what is left of lines is smaller


def remove_printed_lines(mask: np.ndarray) -> np.ndarray:
    """Take away ruled lines and the sides of boxes, and leave the strokes that cross them.

    A line is printed if it is straight, runs through the whole frame, and either touches no
    other ink or reaches beyond it at both ends: the stem of a 4 or the bar of a 7 that was cut
    out tightly does neither.

    Parameters
    ----------
    mask : ndarray of shape (height, width), uint8, 0 or 1

    Returns
    -------
    ndarray of shape (height, width), uint8, 0 or 1
    """
    height, width = mask.shape
    left, top, right, bottom = bounding_box(mask)
    lines = []
    # Most pictures have no ink at two opposite edges: then there is nothing to look for.
    if _runs_through(left, right - left, width):
        lines += [(line, False) for line in _lines_through(mask)]
    if _runs_through(top, bottom - top, height):
        lines += [(line.T, True) for line in _lines_through(mask.T)]
    while lines:
        rest = mask.copy()
        for line, _ in lines:
            rest[line > 0] = 0
        rest = _drop_small(rest)
        printed = [pair for pair in lines if _is_printed(pair[0], rest, vertical=pair[1])]
        if len(printed) == len(lines):
            break
        lines = printed  # what is not printed is ink, which the others may touch
    if not lines or not rest.any():
        return mask
    result, gone = mask.copy(), np.zeros_like(mask)
    for line, is_vertical in lines:
        thickness = int(np.ceil(line.sum() / max(line.shape[not is_vertical], 1))) + 2
        reach = 2 * thickness + 1
        bridge = np.ones((1, reach) if is_vertical else (reach, 1), np.uint8)
        crossing = cv2.morphologyEx(rest, cv2.MORPH_CLOSE, bridge) & line
        result[(line > 0) & (crossing == 0)] = 0
        gone |= line
    # The ragged edge of a line is not ink either.
    beside = cv2.dilate(gone, np.ones((5, 5), np.uint8)) & result
    ragged = result & (1 - _drop_small(result))
    _, labels = cv2.connectedComponents(ragged, connectivity=8)
    result[np.isin(labels, np.unique(labels[beside > 0])) & (ragged > 0)] = 0
    return result


def _lines_through(mask: np.ndarray) -> list[np.ndarray]:
    """Find the straight, nearly level lines that run through the whole width of a mask."""
    height, width = mask.shape
    # A line that leans leaves its row; a dilation by a few pixels keeps it whole.
    lean = max(1, round(LINE_LEAN * width))
    thick = cv2.dilate(mask, np.ones((lean, 1), np.uint8))
    runs = cv2.morphologyEx(thick, cv2.MORPH_OPEN, np.ones((1, max(3, width // 3)), np.uint8))
    if not runs.any():
        return []
    count, labels, stats, _ = cv2.connectedComponentsWithStats(runs, connectivity=8)
    lines = []
    for label in range(1, count):
        left, _, run, tall, _ = stats[label]
        if _runs_through(left, run, width) and tall <= max(4, 0.16 * height):
            lines.append(((labels == label) & (mask > 0)).astype(np.uint8))
    return lines


def _runs_through(start: int, run: int, length: int) -> bool:
    """Whether something reaches from one side of the frame to the other."""
    return start <= (1 - LINE_SPAN) * length and start + run >= LINE_SPAN * length


def _is_printed(line: np.ndarray, rest: np.ndarray, *, vertical: bool) -> bool:
    """Whether a line through the frame is printed; see `remove_printed_lines`."""
    near = cv2.dilate(line, np.ones((5, 5), np.uint8))
    _, labels = cv2.connectedComponents(rest, connectivity=8)
    touching = np.unique(labels[(near > 0) & (rest > 0)])
    if not touching.size:
        return True
    along = np.flatnonzero(np.isin(labels, touching).any(axis=int(vertical)))
    length = line.shape[0 if vertical else 1]
    margin = 0.08 * length
    return bool(along[0] >= margin and along[-1] < length - margin)


def remove_boxes(mask: np.ndarray) -> np.ndarray:
    """Take away frames drawn around the digit, whole or cut off by the picture's rim.

    A frame is a component with straight ink along at least two sides of its bounding box, and
    with something inside that is large enough to be a digit. If the two touch, all four sides
    have to be there, and the inside must not reach from side to side: the middle bar of a
    calculator's 8 does. A frame may lean, if what is inside does not touch it; then at least three
    sides have to be there. If nothing would be left, all stays.

    Parameters
    ----------
    mask : ndarray of shape (height, width), uint8, 0 or 1

    Returns
    -------
    ndarray of shape (height, width), uint8, 0 or 1
    """
    result = mask.copy()
    for window, part in _large_parts(mask, max(FRAME_SIDE * min(mask.shape), FRAME_SIDE_PX)):
        others = _drop_small(mask[window] & (1 - part))
        sides = _inked_sides(part)
        is_frame = others.any() and (sides >= 2 or _is_leaning_frame(part, others))
        if is_frame and part.mean() <= FRAME_SOLID:
            result[window][part > 0] = 0
        elif sides == 4:
            core, band = _inside(part)
            ends = core[band], core[-band - 1], core[:, band], core[:, -band - 1]
            above, below, before, after = (bool(end.any()) for end in ends)
            if core.any() and not (above and below) and not (before and after):
                result[window] *= core
    # Two strokes that embrace each other, as a square 0 is drawn, would each be the other's frame.
    return result if result.any() else mask


def remove_cells(mask: np.ndarray) -> np.ndarray:
    """Take away the frames on a page that stand by themselves around something: a form's boxes.

    Such a frame has ink along all four sides of its bounding box and hardly any elsewhere. If
    across the lines of any of them something is written, all stay: `ruling.py` sees their lines
    better if none is missing.

    Parameters
    ----------
    mask : ndarray of shape (height, width), uint8, 0 or 1

    Returns
    -------
    ndarray of shape (height, width), uint8, 0 or 1
    """
    frames, filled, others = [], [], []
    for window, part in _large_parts(mask, FRAME_SIDE_PX):
        is_hollow = part.mean() <= HOLLOW and not _inside(part)[0].any()
        if not (is_hollow and _inked_sides(part) == 4):
            others.append(part.shape)
            continue
        frames.append((window, part))
        if _drop_small(mask[window] & (1 - part)).any():
            filled.append(part.shape)
    if not filled:
        return mask
    least = CELL_LIKE * np.median(filled, axis=0)
    if any((shape > least).all() for shape in others):
        return mask
    result = mask.copy()
    for window, part in frames:
        # Frames as large as those with something in them are boxes that were left empty.
        if part.shape in filled or (part.shape > least).all():
            result[window][part > 0] = 0
    return result


def remove_rings(mask: np.ndarray) -> np.ndarray:
    """Take away rings drawn around a digit or a number, closed or nearly, if nothing touches them.

    Straight lines are left to `ruling.py`, which keeps the strokes that touch them.

    Parameters
    ----------
    mask : ndarray of shape (height, width), uint8, 0 or 1

    Returns
    -------
    ndarray of shape (height, width), uint8, 0 or 1
    """
    result = mask
    for window, part in _large_parts(mask, FRAME_SIDE_PX / RINGED):
        if (
            _is_ring(part)
            and _embraces(part, mask[window] & (1 - part))
            and _is_larger_than_digits(window, mask)
        ):
            result = mask.copy() if result is mask else result
            result[window][part > 0] = 0
    return result


def _is_larger_than_digits(window: tuple[slice, slice], mask: np.ndarray) -> bool:
    """Whether a ring is higher than what stands in line with it; rings stand alone as well."""
    rows, columns = window
    line = mask[rows].copy()
    line[:, columns] = 0
    stats = find_parts(line)[2]
    heights = stats[1:, cv2.CC_STAT_HEIGHT]
    tall = rows.stop - rows.start
    digits = heights[heights > RINGED_ALONE * tall]
    return bool(not digits.size or tall >= RING_LARGE * np.median(digits))


def remove_underlines(mask: np.ndarray) -> np.ndarray:
    """Take away lines drawn below a number that touch none of its digits.

    Lines that run into the rim are left to `ruling.py`, and so is what may be the foot of a 1.

    Parameters
    ----------
    mask : ndarray of shape (height, width), uint8, 0 or 1

    Returns
    -------
    ndarray of shape (height, width), uint8, 0 or 1
    """
    window, labels, stats, _ = find_parts(mask)
    left, top, width, height, _ = stats.T
    right, bottom = left + width, top + height
    is_line = np.zeros(len(stats), bool)
    is_slim = (width > UNDERLINE_SLIM * height) & (left > 0) & (right < mask.shape[1])
    is_slim[0] = False
    if is_slim.sum() > MOST_UNDERLINES:
        return mask
    for line in np.flatnonzero(is_slim):
        gap = top[line] - bottom
        above = (-UNDERLINE_OVERLAP * height < gap) & (gap < UNDERLINE_GAP * height)
        above &= (left[line] < left + width / 2) & (left + width / 2 < right[line])
        above &= height > UNDERLINED * height[line]
        above[0] = False
        reaches = (left[line] < left[above]) & (right[above] < right[line])
        wide = width[line] > UNDERLINE_LENGTH * height[above]
        is_line[line] = above.sum() > 1 or bool((reaches & wide).any())
    if not is_line.any():
        return mask
    result = mask.copy()
    result[window][is_line[labels]] = 0
    return result


def _is_ring(part: np.ndarray) -> bool:
    """Whether a component goes around its middle, has no corners, and nothing hangs on it."""
    if _inked_sides(part) >= 2:
        return False
    down, across = np.nonzero(part)
    # From -1 to 1 in both, so that a long ring is as round as any.
    y, x = (2 * (at + 0.5) / side - 1 for at, side in zip((down, across), part.shape, strict=True))
    distance = np.hypot(x, y)
    if distance.min() < RING_CORE:
        return False
    turn = np.floor((np.arctan2(y, x) / (2 * np.pi) + 0.5) * RING_TURNS).astype(int) % RING_TURNS
    nearest, farthest = np.full(RING_TURNS, np.inf), np.zeros(RING_TURNS)
    np.minimum.at(nearest, turn, distance)
    np.maximum.at(farthest, turn, distance)
    is_inked = farthest > 0
    is_thin = (farthest - nearest)[is_inked] <= RING_THICK
    return bool(is_inked.mean() >= RING_ROUND and is_thin.all())


def _embraces(part: np.ndarray, others: np.ndarray) -> bool:
    """Whether there is other ink within the outline of a component, and more than a stroke or dot.

    A 0 may be crossed by a stroke that does not touch it, or have a dot in it.
    """
    outline = cv2.findContours(part, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0][0]
    inside = cv2.fillConvexPoly(np.zeros_like(part), cv2.convexHull(outline), 1)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(others, connectivity=8)
    longest = stats[:, [cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT]].max(axis=1)
    held = np.bincount(labels[inside > 0], minlength=len(stats)) == stats[:, cv2.CC_STAT_AREA]
    held &= longest >= RINGED * min(part.shape)
    held[0] = False
    if held.sum() != 1:
        return bool(held.any())
    alone = (labels == held.argmax()).astype(np.uint8)
    wide, tall = cv2.minAreaRect(cv2.findNonZero(alone))[1]
    is_large = longest[held][0] >= RINGED_ALONE * min(part.shape)
    return bool(is_large and max(wide, tall) < STROKE_SLIM * min(wide, tall))


def _large_parts(
    mask: np.ndarray, least: float
) -> Iterator[tuple[tuple[slice, slice], np.ndarray]]:
    """Yield connected ink whose box has no side shorter than `least`: its window, and itself."""
    whole, labels, stats, _ = find_parts(mask)
    for label in range(1, len(stats)):
        left, top, wide, tall, _ = stats[label]
        if min(wide, tall) < least:
            continue
        down, across = top - whole[0].start, left - whole[1].start
        part = (labels[down : down + tall, across : across + wide] == label).astype(np.uint8)
        yield (slice(top, top + tall), slice(left, left + wide)), part


def _inked_sides(part: np.ndarray) -> int:
    """Count the sides of its bounding box along which a component has ink nearly everywhere."""
    band = max(2, round(FRAME_BAND * min(part.shape)))
    sides = (part[:band], part[-band:], part[:, :band].T, part[:, -band:].T)
    return sum(bool(side.any(axis=0).mean() >= FRAME_COVER) for side in sides)


def _is_leaning_frame(part: np.ndarray, others: np.ndarray) -> bool:
    """Whether a component is a leaning rectangle with other ink in it."""
    outline = cv2.findContours(part, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0][0]
    rectangle = cv2.minAreaRect(cv2.convexHull(outline))
    if min(rectangle[1]) < FRAME_SIDE_PX:
        return False
    lean = (rectangle[2] + 45) % 90 - 45  # the angle may be that of any of its sides
    if not FRAME_LEANS[0] <= abs(lean) <= FRAME_LEANS[1]:
        return False
    # Turned upright around its middle, it is a frame like any other.
    turn = cv2.getRotationMatrix2D(rectangle[0], lean, 1.0)
    across, down = cv2.transform(outline, turn)[:, 0].T
    turn[:, 2] += 1 - across.min(), 1 - down.min()
    size = int(np.ptp(across)) + 3, int(np.ptp(down)) + 3
    upright, inside = (
        cv2.warpAffine(each, turn, size, flags=cv2.INTER_NEAREST) for each in (part, others)
    )
    return _inked_sides(upright[1:-1, 1:-1]) >= 3 and bool(_drop_small(inside).any())


def _inside(part: np.ndarray) -> tuple[np.ndarray, int]:
    """Keep what a component has inside its rim, if that is large enough to be a digit."""
    band = max(2, round(FRAME_BAND * min(part.shape)))
    inside = np.zeros_like(part)
    inside[band:-band, band:-band] = part[band:-band, band:-band]
    return _drop_small(inside), band


def _drop_small(mask: np.ndarray) -> np.ndarray:
    """Drop connected ink that is too small to be a digit by itself."""
    if not mask.any():  # as mostly, beside a digit of one part
        return mask
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    longest = stats[:, [cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT]].max(axis=1)
    large = longest > SMALLEST_DIGIT * min(mask.shape)
    large[0] = False
    return large[labels].astype(np.uint8)
