"""Find the sheet that somebody has written on, where a picture shows more than the sheet.

    grey plane -> levels that divide it -> compact regions with sharp edges, brighter or darker
        one digit: the smallest with something like it -> that alone, its ground continued
        a number:  the largest that is unlike all around it -> that alone, turned level

A note on a table, a page whose edge is in the picture, a label, a button, a ring around a digit:
what lies outside is not the ground that the digit stands on, and its edge is no ink.

    >>> sheet = find_sheet(grey)
    >>> if sheet is not None:
    ...     pixels, (left, top) = cut_out(pixels, sheet)

    >>> page = find_page(grey)
    >>> if page is not None:
    ...     pixels, view = straighten(pixels, page)
"""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np

from pixels import DEVIATION, median, rescale, shrink

SIDE = 128  # pixels; longer side of the copy in which sheets are looked for
LEAST_STEP = 10  # of 255 levels, from darkest to brightest: less is no edge
LEAST, MOST = 0.03, 0.93  # of the picture; what is smaller may be the inside of a 0
NARROW = 14  # pixels of the copy; nothing can be read on a narrower sheet
COMPACT = 0.93  # of its convex hull
GAP = 7  # pixels of the copy; a ring may be open so far
SHARP = 0.45  # of the step from the sheet to what lies around it is at its very edge
SIMILAR = 3.0  # times as large; another sheet beside this one means that none was meant

# What is written there, see `_is_written_on`.
CLEAR = 6.0  # times the noise of the sheet
INKED, ABOVE_NOISE = 0.4, 4.0  # of the strongest ink; times the noise
LEAST_MARK, MOST_INK = 0.16, 0.5  # of the sheet's shorter side; of its area
SOLID, SLIM = 0.72, 0.36  # of its convex hull; width over length
ROOM = 4.0  # times half of its width: from the middle of a slim mark to the edge of the sheet
DIRT = 0.35  # of the mark's ink: so much may hang on the edge of the sheet

# The sheet of a number, see `find_page`.
# The edge of a shadow divides a picture, and so cuts off two or three sides of what lies beyond.
MOST_CUT = 2  # sides of a page, that are outside the picture
BENT = 0.3  # the deviation of the edge that is to be seen, across over along its longest extent
LEAST_PAGE = 0.1  # of the picture; a smaller one may be a digit whose loops are filled
NARROW_PAGE = 24  # pixels of the copy; strips are too narrow to tell their edge from their middle
NEAR_EDGE, FAR_FROM_EDGE = 3, 6  # pixels of the copy; so far out a page is told from its ground
UNLIKE = 16  # of 255 levels, by which a page differs from what lies around it
ALIKE = 0.15  # of a page's edge, on which it may be less

STRAIGHT = 0.03  # of a sheet's outline; so far it may stray from the lines between its corners

MARGIN = 0.02  # of the longer side, that is cut off along the edge of a sheet, where it is blurred
GROUND_SIDE, GROUND_BLUR = 24, 4.0  # pixels of the copy that tells how the ground goes on

_KERNEL = np.ones((3, 3), np.uint8)


def find_sheet(grey: np.ndarray) -> np.ndarray | None:
    """Find the smallest sheet with something like a digit on it.

    Parameters
    ----------
    grey : ndarray of shape (height, width), float32

    Returns
    -------
    ndarray of shape (height, width), uint8, 0 or 1, or None
        1 on the sheet. None if there is none, or several beside each other.
    """
    levels, sheets = _find_all(grey)
    written = [each for each in sheets if _is_written_on(each, levels)]
    return _choose(sorted(written, key=np.count_nonzero), grey.shape)


def find_page(grey: np.ndarray) -> np.ndarray | None:
    """Find the largest sheet that differs from what lies around it, whatever is written there.

    A frame that was drawn around a number has the same paper on both sides, and is none.

    Parameters
    ----------
    grey : ndarray of shape (height, width), float32

    Returns
    -------
    ndarray of shape (height, width), uint8, 0 or 1, or None
        1 on the page. None if there is none, or several beside each other.
    """
    levels, sheets = _find_all(grey)
    pages = [
        each
        for each in sheets
        if each.mean() >= LEAST_PAGE
        and min(cv2.boundingRect(each)[2:]) >= NARROW_PAGE
        and _has_corners(each)
        and _is_unlike_around(each, levels)
    ]
    return _choose(sorted(pages, key=np.count_nonzero, reverse=True), grey.shape)


def _find_all(grey: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """Give a small copy of a picture, from 0 to 255, and all sheets in it, one in another, too."""
    small = shrink(grey, SIDE)
    low, high = float(small.min()), float(small.max())
    if high <= low:
        return small, []
    levels = np.rint((small - low) * (255 / (high - low))).astype(np.uint8)
    sheets = [sheet for region in _divide(levels) for sheet in _find_compact(region)]
    brightness = levels.astype(np.float32)
    return brightness, [each for each in sheets if _is_sharp(each, brightness)]


def _choose(sheets: list[np.ndarray], shape: tuple[int, ...]) -> np.ndarray | None:
    """Give the first sheet in its picture's size, if none of about its size lies beside it."""
    if not sheets:
        return None
    best, *others = sheets
    own = best.sum()
    for other in others:
        if not (other & best).any() and 1 / SIMILAR < other.sum() / own < SIMILAR:
            return None
    return cv2.resize(best, shape[::-1], interpolation=cv2.INTER_NEAREST)


def cut_out(pixels: np.ndarray, sheet: np.ndarray) -> tuple[np.ndarray, tuple[int, int]]:
    """Cut a sheet out of its picture, and continue its ground to a rectangle.

    Parameters
    ----------
    pixels : ndarray of shape (height, width) or (height, width, 3), float32
    sheet : ndarray of shape (height, width), uint8, 0 or 1

    Returns
    -------
    pixels : ndarray, float32
    left, top : int
        Where they lay in the picture.
    """
    inner = _take_off_edge(sheet)
    left, top, wide, tall = cv2.boundingRect(inner)
    place = slice(top, top + tall), slice(left, left + wide)
    return _make_ground(np.ascontiguousarray(pixels[place]), inner[place] > 0), (left, top)


def straighten(pixels: np.ndarray, sheet: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cut a sheet out of its picture, level and as if it had been photographed from above.

    Parameters
    ----------
    pixels : ndarray of shape (height, width) or (height, width, 3), float32
    sheet : ndarray of shape (height, width), uint8, 0 or 1

    Returns
    -------
    pixels : ndarray, float32
        Turned by less than 45 degrees. Around a sheet that has not four corners lies its ground.
    view : ndarray of shape (3, 3), float64
        Takes a place (x, y, 1) in there to (x, y, 1) in the picture, but for a common factor.
    """
    inner = _take_off_edge(sheet)
    corners = _find_corners(inner)
    sides = np.linalg.norm(np.roll(corners, -1, axis=0) - corners, axis=1)
    wide, tall = (max(1, round(float(sides[n::2].max()))) for n in (0, 1))
    rectangle = np.array([[0, 0], [wide, 0], [wide, tall], [0, tall]], np.float32)
    view = cv2.getPerspectiveTransform(rectangle, corners)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    ground = _make_ground(pixels, inner > 0)
    border = cv2.BORDER_REPLICATE
    return cv2.warpPerspective(ground, view, (wide, tall), flags=flags, borderMode=border), view


def take_away(pixels: np.ndarray, sheet: np.ndarray) -> np.ndarray | None:
    """Make ground of a sheet, so that only what lies around it is left.

    Parameters
    ----------
    pixels : ndarray of shape (height, width) or (height, width, 3), float32
    sheet : ndarray of shape (height, width), uint8, 0 or 1

    Returns
    -------
    ndarray of the same shape, float32, or None
        None if nothing lies around it.
    """
    around = cv2.dilate(sheet, _KERNEL, iterations=_edge_width(sheet)) == 0
    return _make_ground(pixels, around) if around.any() else None


def _find_corners(sheet: np.ndarray) -> np.ndarray:
    """Give the corners of a sheet, or of the rectangle around it, clockwise from the upper left."""
    corners = _reduce_to_corners(sheet)
    if _count_cut_sides(sheet) or len(corners) != 4:
        corners = cv2.boxPoints(cv2.minAreaRect(cv2.findNonZero(sheet)))
    corners = corners.astype(np.float32)
    around = corners - corners.mean(axis=0)
    corners = corners[np.argsort(np.arctan2(around[:, 1], around[:, 0]))]
    # The upper side is the one that leads to the right, and not down or up.
    ways = np.roll(corners, -1, axis=0) - corners
    slopes = ways[:, 0] / np.maximum(np.linalg.norm(ways, axis=1), 1e-6)
    return np.roll(corners, -int(slopes.argmax()), axis=0)


def _take_off_edge(sheet: np.ndarray) -> np.ndarray:
    """Take off a sheet's edge, where it is blurred."""
    return _erode(sheet, _edge_width(sheet))


def _edge_width(sheet: np.ndarray) -> int:
    """Tell how many pixels of a sheet's edge are blurred, or were not found exactly."""
    return max(1, round(MARGIN * max(sheet.shape)))


def _make_ground(pixels: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Make ground of all that is not inside."""
    planes = [np.where(inside, each, _continue_ground(each, inside)) for each in cv2.split(pixels)]
    return cv2.merge(planes).astype(np.float32).reshape(pixels.shape)


def _continue_ground(plane: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Guess the ground around a sheet: near it as there, farther away as on the whole sheet."""
    scale = min(1.0, GROUND_SIDE / max(plane.shape))
    share, some = (
        cv2.GaussianBlur(rescale(each, scale), (0, 0), GROUND_BLUR)
        for each in (inside.astype(np.float32), np.where(inside, plane, np.float32(0)))
    )
    usual = 0.05  # so much the whole sheet counts
    ground = (some + usual * median(plane[inside])) / (share + usual)
    return cv2.resize(ground, plane.shape[::-1], interpolation=cv2.INTER_LINEAR)


def _divide(levels: np.ndarray) -> Iterator[np.ndarray]:
    """Yield what is brighter, and what is darker, than the levels that divide a picture best."""
    first = cv2.threshold(levels, 0, 255, cv2.THRESH_OTSU)[0]
    thresholds = [first]
    for part in (levels[levels > first], levels[levels <= first]):
        if part.size and np.ptp(part) > LEAST_STEP:
            thresholds.append(cv2.threshold(part[:, None], 0, 255, cv2.THRESH_OTSU)[0])
    for threshold in thresholds:
        bright = (levels > threshold).astype(np.uint8)
        yield bright
        yield 1 - bright


def _find_compact(region: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the compact parts of a region, each with all that lies within it."""
    # The inside of a ring that was not closed runs out through its gap.
    for each in (region, cv2.morphologyEx(region, cv2.MORPH_OPEN, np.ones((GAP, GAP), np.uint8))):
        for outline in cv2.findContours(each, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)[0]:
            _, _, wide, tall = cv2.boundingRect(outline)
            if min(wide, tall) < NARROW or wide * tall < LEAST * region.size:
                continue
            filled = cv2.drawContours(np.zeros_like(region), [outline], -1, 1, -1)
            smooth = cv2.morphologyEx(filled, cv2.MORPH_OPEN, _KERNEL)
            edges, _ = cv2.findContours(smooth, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
            if not edges:
                continue
            edge = max(edges, key=cv2.contourArea)
            hull = cv2.convexHull(edge)
            if cv2.contourArea(edge) < COMPACT * cv2.contourArea(hull):
                continue
            sheet = cv2.fillPoly(np.zeros_like(region), [hull], 1)
            if LEAST <= sheet.mean() <= MOST:
                yield sheet


def _erode(sheet: np.ndarray, reach: int) -> np.ndarray:
    """Take off a sheet's edge, but not where it runs out of the picture."""
    framed = cv2.copyMakeBorder(sheet, 1, 1, 1, 1, cv2.BORDER_REPLICATE)
    return np.ascontiguousarray(cv2.erode(framed, _KERNEL, iterations=reach)[1:-1, 1:-1])


def _is_sharp(sheet: np.ndarray, levels: np.ndarray) -> bool:
    """Tell the edge of a sheet from that of a shadow: most of the step is within a few pixels."""
    inner, middle = _erode(sheet, 2), _erode(sheet, 5)
    outer = cv2.dilate(sheet, _KERNEL, iterations=2)
    outside = cv2.dilate(outer, _KERNEL) > outer
    inside = inner > middle
    if not (outside.any() and inside.any() and middle.any()):
        return False
    around = median(levels[outside])
    step = abs(around - median(levels[inside]))
    return bool(step > max(LEAST_STEP, SHARP * abs(around - median(levels[middle > 0]))))


def _has_corners(sheet: np.ndarray) -> bool:
    """Tell a page from the bright side of a shadow's edge, and from a digit whose loop is filled.

    Of a page that is whole, four corners are to be seen; of one that leaves the picture, at least
    one, or two edges: what is to be seen of its outline is not straight.
    """
    cut = _count_cut_sides(sheet)
    if cut == 0:
        return len(_reduce_to_corners(sheet)) == 4
    points = np.argwhere(_erode(sheet, 1) < sheet)
    if cut > MOST_CUT or len(points) < 3:
        return False
    across, along = np.linalg.eigvalsh(np.cov(points.T))
    return bool(across > BENT**2 * along)


def _count_cut_sides(sheet: np.ndarray) -> int:
    """Count the sides of the picture on which a sheet goes on."""
    return sum(bool(side.any()) for side in (sheet[0], sheet[-1], sheet[:, 0], sheet[:, -1]))


def _reduce_to_corners(sheet: np.ndarray) -> np.ndarray:
    """Give the fewest corners (N, 2) whose connecting lines follow the outline of a sheet."""
    hull = cv2.convexHull(cv2.findNonZero(sheet))
    return cv2.approxPolyDP(hull, STRAIGHT * cv2.arcLength(hull, closed=True), closed=True)[:, 0]


def _is_unlike_around(sheet: np.ndarray, levels: np.ndarray) -> bool:
    """Tell a sheet from what a frame encloses: nearly everywhere its edge is a step.

    Both what lies near the edge and the whole sheet must differ from what lies outside, beyond the
    line of a frame: the one is right where light changes, the other where the line is broad.
    """
    inside = (_erode(sheet, NEAR_EDGE) > _erode(sheet, FAR_FROM_EDGE)).astype(np.float32)
    near, far = (cv2.dilate(sheet, _KERNEL, iterations=n) for n in (NEAR_EDGE, FAR_FROM_EDGE))
    share, some = (
        cv2.GaussianBlur(each, (0, 0), FAR_FROM_EDGE - NEAR_EDGE + 1)
        for each in (inside, inside * levels)
    )
    outside = (far > near) & (share > 1e-3)
    middle = _erode(sheet, NEAR_EDGE) > 0
    if not (outside.any() and middle.any()):
        return False
    steps = some[outside] / share[outside] - levels[outside]
    sign = 1 if median(steps) > 0 else -1
    steps = np.minimum(sign * steps, sign * (median(levels[middle]) - levels[outside]))
    return bool(np.quantile(steps, ALIKE) > UNLIKE)


def _is_written_on(sheet: np.ndarray, levels: np.ndarray) -> bool:
    """Tell whether there is a mark on a sheet that may be a digit, and little else at its edge."""
    inner = _erode(sheet, 2)
    left, top, wide, tall = cv2.boundingRect(inner)
    place = slice(top, top + tall), slice(left, left + wide)
    inner, levels = inner[place], levels[place]
    if not inner.any():
        return False
    away = np.where(inner > 0, np.abs(levels - median(levels[inner > 0])), 0)
    noise = DEVIATION * float(median(away[inner > 0]))
    strongest = float(np.quantile(away[inner > 0], 0.995))
    if strongest < max(LEAST_STEP, CLEAR * noise):
        return False
    mask = (away > max(INKED * strongest, ABOVE_NOISE * noise)).astype(np.uint8)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    edge = cv2.erode(inner, _KERNEL, borderType=cv2.BORDER_CONSTANT, borderValue=0) < inner
    at_edge = np.unique(labels[edge & (mask > 0)])
    area = stats[:, cv2.CC_STAT_AREA]
    longest = stats[:, [cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT]].max(axis=1)
    worthy = longest >= LEAST_MARK * min(wide, tall)
    worthy[[0, *at_edge]] = False
    room = cv2.distanceTransform(inner, cv2.DIST_L2, 3)
    marks = [each for each in np.flatnonzero(worthy) if _may_be_digit(labels == each, room)]
    most = area[marks].max(initial=0)
    return bool(0 < most < MOST_INK * inner.sum() and area[at_edge].sum() <= DIRT * most)


def _may_be_digit(part: np.ndarray, room: np.ndarray) -> bool:
    """Tell a digit from a blot and from a hole: it bends, has a loop, or is slim with much room.

    The hole of a narrow 0 is slim too, but as far from the edge as the strokes around it are wide.
    """
    outlines, tree = cv2.findContours(part.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    outline = max(outlines, key=len)
    hull = cv2.fillPoly(np.zeros(part.shape, np.uint8), [cv2.convexHull(outline)], 1)
    sides = [side + 1 for side in cv2.minAreaRect(outline)[1]]
    has_loop = any(
        parent >= 0 and cv2.contourArea(each) >= 3
        for each, (_, _, _, parent) in zip(outlines, tree[0], strict=True)
    )
    own = cv2.distanceTransform(np.pad(part.astype(np.uint8), 1), cv2.DIST_L2, 3).max()
    is_slim = min(sides) < SLIM * max(sides) and room[part].max() > ROOM * own
    return bool(part.sum() < SOLID * hull.sum() or has_loop or is_slim)
