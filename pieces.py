"""The pieces of ink on a page, in lines of writing, cut wherever one digit may end.

    mask -> connected ink, without dirt -> lines, from top to bottom -> cut where a cut is cheap

Nothing is recognised here: which pieces make up one digit is decided in `segment.py`.

    >>> for pieces, size in divide_into_lines(mask):
    ...     print([piece.box for piece in pieces], size)
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from cuts import cut_apart
from errors import ImageError
from masks import bounding_box, stroke_width
from ruling import LARGE, usual_height, weighted_median
from signs import is_percent, weigh_signs

SPECK = 0.13  # of a digit's height; smaller ink by itself is dirt,
DOT = 0.75  # squares of the stroke's width, unless there is as much of it as of a decimal point
RIM = 0.15  # of a digit's height; ink that reaches only so far into the picture is dirt
SMALL, NEAR = 0.30, 0.10  # of a digit's height: ink so small belongs to what is so near
FOOT = 0.25  # of a digit's height, from below: there a point or a comma has its middle
LOOSE = 0.6  # of a digit's height; how far small ink may be from its line
BESIDE = 0.35  # of the lower one's height that two neighbours in a line have in common
LEAST_SIZE = 0.75  # of the usual height of a digit: that of a line of smaller ones
MOST_MARKS = 1500  # a picture with more is a page of print, or noise

CUT_FROM = 0.5  # of a digit's height; narrower ink is not cut
# Of the usual height of a digit: few digits are lower, and none is wider.
USUAL_HEIGHT, WIDEST = 0.65, 1.5
# A digit that was scratched out is a blot: ink broader than the pen that wrote its line. Of 3,752
# digits in 600 photographed rows none was, of 191 that were scratched out 163 were.
BLOT, LEAST_LINE = 1.6, 3  # times the usual stroke; marks that tell it
MOST_SIGN_PARTS = 3  # of a percent sign: two rings and a slash


@dataclass(frozen=True)
class Piece:
    """Connected ink, or what a cut has left of it.

    Attributes
    ----------
    box : tuple of four ints
        Left, top, right and bottom in pixels of the working picture.
    mask : ndarray of shape (height, width), uint8, 0 or 1
        As large as the box.
    strokes_cut : float
        How many strokes the cut on its left goes through; 0.0 where there is white.
    sign_odds : float
        How much likelier it is a slash or a bracket than a 1, in nats; see `signs.weigh_signs`.
    is_blot : bool
        Whether its strokes are much broader than those of its line.
    """

    box: tuple[int, int, int, int]
    mask: np.ndarray
    strokes_cut: float = 0.0
    sign_odds: float = -math.inf
    is_blot: bool = False

    @property
    def width(self) -> int:
        """Of the box, in pixels."""
        return self.box[2] - self.box[0]

    @property
    def height(self) -> int:
        """Of the box, in pixels."""
        return self.box[3] - self.box[1]

    @property
    def middle(self) -> float:
        """The column in its middle."""
        return (self.box[0] + self.box[2]) / 2

    @property
    def level(self) -> float:
        """The row in its middle."""
        return (self.box[1] + self.box[3]) / 2


def divide_into_lines(mask: np.ndarray) -> list[tuple[list[Piece], float]]:
    """Find the lines of writing on a page, and cut their ink wherever a digit may end.

    Parameters
    ----------
    mask : ndarray of shape (height, width), uint8, 0 or 1

    Returns
    -------
    list of (list of Piece, float)
        Lines from top to bottom, pieces from left to right; with each line the usual height of
        its digits in pixels.

    Raises
    ------
    ImageError
        If there are far more marks than a page of digits has.
    """
    stroke = stroke_width(mask)
    pieces, size = find_pieces(mask)
    lines = []
    for line in group_into_lines(pieces, size):
        own = max(_median_height(line), LEAST_SIZE * size)
        line = _join_percents(line, own)
        lines.append((_cut_all(_mark_others(line, own), own, stroke), own))
    return lines


def find_pieces(mask: np.ndarray) -> tuple[list[Piece], float]:
    """Find connected ink, with small parts given to what they are close to, and without dirt.

    Parameters
    ----------
    mask : ndarray of shape (height, width), uint8, 0 or 1

    Returns
    -------
    pieces : list of Piece
    size : float
        The usual height of a digit in pixels; 0.0 if there is no ink.

    Raises
    ------
    ImageError
        If there are more than `MOST_MARKS` of them.
    """
    stroke = stroke_width(mask)
    size = usual_height(mask, stroke=stroke)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    longest = stats[:, [cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT]].max(axis=1)
    if np.count_nonzero(longest > SPECK * size) > MOST_MARKS:
        raise ImageError(
            f"the picture has more than {MOST_MARKS:,} marks: cut it to the digits that you want"
        )
    family = _adopt_small(labels, stats, size)
    pieces = []
    for parent in np.unique(family[family > 0]):
        members = np.flatnonzero(family == parent)
        left, top = stats[members, :2].min(axis=0)
        right, bottom = (stats[members, :2] + stats[members, 2:4]).max(axis=0)
        box = int(left), int(top), int(right), int(bottom)
        longest_of_all = max(right - left, bottom - top)
        is_dot = stats[members, cv2.CC_STAT_AREA].sum() >= DOT * stroke**2
        too_small = longest_of_all < (3 if is_dot else max(3, SPECK * size))
        if too_small or _lies_along_rim(box, mask.shape, RIM * size):
            continue
        own = np.isin(labels[top:bottom, left:right], members)
        pieces.append(Piece(box, own.astype(np.uint8)))
    return pieces, size


def _adopt_small(labels: np.ndarray, stats: np.ndarray, size: float) -> np.ndarray:
    """Give each component the label of its family: small parts go to the nearest; 0 for dust."""
    longest = stats[:, [cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT]].max(axis=1)
    family = np.where(longest > 0.3 * SPECK * size, np.arange(len(stats)), 0)
    family[0] = 0
    reach = int(np.ceil(NEAR * size))
    for label in np.argsort(longest, kind="stable").tolist():
        if not family[label] or longest[label] >= SMALL * size:
            continue
        left, top, wide, tall, _ = stats[label]
        x, y = max(0, left - reach), max(0, top - reach)
        window = family[labels[y : top + tall + reach, x : left + wide + reach]]
        own = window == family[label]
        other = (window > 0) & ~own
        if not other.any():
            continue
        distance = cv2.distanceTransform((~own).astype(np.uint8), cv2.DIST_L2, 3)
        distance[~other] = np.inf
        nearest = int(distance.argmin())
        if distance.flat[nearest] <= reach and not _is_beside_foot(
            stats[label], stats[window.flat[nearest]], size
        ):
            family[family == family[label]] = window.flat[nearest]
    return family


def _is_beside_foot(small: np.ndarray, large: np.ndarray, size: float) -> bool:
    """Tell whether something small stands where a point or a comma does: right of a digit, low."""
    left, top, wide, tall, _ = large
    return bool(small[0] > left + wide and small[1] + small[3] / 2 > top + tall - FOOT * size)


def _lies_along_rim(
    box: tuple[int, int, int, int], shape: tuple[int, ...], thickness: float
) -> bool:
    """Tell whether ink at the rim reaches no farther than `thickness` into the picture."""
    left, top, right, bottom = box
    height, width = shape
    sides = (left, right), (top, bottom), (width - right, width - left)
    reaches = [*sides, (height - bottom, height - top)]
    return any(near <= 1 and far <= thickness for near, far in reaches)


def group_into_lines(pieces: Sequence[Piece], size: float) -> list[list[Piece]]:
    """Sort pieces into lines of writing, which may climb or fall.

    Parameters
    ----------
    pieces : sequence of Piece
    size : float
        The usual height of a digit in pixels.

    Returns
    -------
    list of list of Piece
        Lines from top to bottom, pieces from left to right.
    """
    large = [piece for piece in pieces if piece.height >= LARGE * size] or list(pieces)
    small = [piece for piece in pieces if not any(piece is other for other in large)]
    lines: list[list[Piece]] = []
    for piece in sorted(large, key=lambda piece: piece.middle):
        overlaps = [_overlap_down(piece, line[-1]) for line in lines]
        if overlaps and max(overlaps) > BESIDE:
            lines[int(np.argmax(overlaps))].append(piece)
        else:
            lines.append([piece])
    for piece in sorted(small, key=lambda piece: -piece.height):
        # Beside the nearest member of a line, or else close to it, as the bar above a 5.
        nearest = [min(line, key=lambda other: _distance(piece, other)) for line in lines]
        overlaps = [_overlap_down(piece, other) for other in nearest]
        distances = [_distance(piece, other) for other in nearest]
        if max(overlaps) > BESIDE:
            lines[int(np.argmax(overlaps))].append(piece)
        elif min(distances) < LOOSE * size:
            lines[int(np.argmin(distances))].append(piece)
        else:
            lines.append([piece])
    for line in lines:
        line.sort(key=lambda piece: piece.middle)
    lines.sort(key=lambda line: float(np.mean([piece.box[1] + piece.box[3] for piece in line])))
    return lines


def _overlap_down(a: Piece, b: Piece) -> float:
    """Tell how much two pieces are beside each other, as a share of the lower one's height."""
    shared = min(a.box[3], b.box[3]) - max(a.box[1], b.box[1])
    return shared / min(a.height, b.height)


def _distance(a: Piece, b: Piece) -> float:
    """Measure the white between two boxes."""
    across = max(a.box[0], b.box[0]) - min(a.box[2], b.box[2])
    down = max(a.box[1], b.box[1]) - min(a.box[3], b.box[3])
    return float(np.hypot(max(0, across), max(0, down)))


def _median_height(pieces: Sequence[Piece]) -> float:
    """Return the height that half of the ink is in pieces of."""
    areas = [int(piece.mask.sum()) for piece in pieces]
    return weighted_median(np.array([piece.height for piece in pieces]), np.array(areas))


def _join_percents(line: Sequence[Piece], size: float) -> list[Piece]:
    """Put the rings and slashes of percent signs together; alone they look like 0s, 9s and 6s."""
    result: list[Piece] = []
    start = 0
    while start < len(line):
        stop = start + 1
        for end in range(start + MOST_SIGN_PARTS, start + 1, -1):
            group = line[start:end]
            left, top = (min(piece.box[side] for piece in group) for side in (0, 1))
            right, bottom = (max(piece.box[side] for piece in group) for side in (2, 3))
            if max(right - left, bottom - top) > WIDEST * size:
                continue
            mask = np.zeros((bottom - top, right - left), np.uint8)
            for piece in group:
                x, y = piece.box[0] - left, piece.box[1] - top
                mask[y : y + piece.height, x : x + piece.width] |= piece.mask
            if is_percent(mask):
                result.append(Piece((left, top, right, bottom), mask))
                stop = min(end, len(line))
                break
        else:
            result.append(line[start])
        start = stop
    return result


def _mark_others(line: Sequence[Piece], size: float) -> list[Piece]:
    """Note which pieces of a line may be slashes, brackets and blots."""
    odds = weigh_signs([piece.box for piece in line], [piece.mask for piece in line], size=size)
    blots = _find_blots(line, size)
    return [
        replace(piece, sign_odds=sign, is_blot=blot)
        for piece, sign, blot in zip(line, odds, blots, strict=True)
    ]


def _find_blots(line: Sequence[Piece], size: float) -> list[bool]:
    """Tell which pieces as tall as digits are much broader in their strokes than the others."""
    tall = np.array([piece.height >= USUAL_HEIGHT * size for piece in line])
    if tall.sum() < LEAST_LINE:
        return [False] * len(line)
    usual = np.median([stroke_width(piece.mask) for piece in itertools.compress(line, tall)])
    # The pen leaves white between its ways over a digit, which would make each a stroke of its own.
    pad = max(1, round(usual / 2))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (pad, pad))
    closed = [cv2.morphologyEx(np.pad(each.mask, pad), cv2.MORPH_CLOSE, kernel) for each in line]
    strokes = np.array([stroke_width(mask) for mask in closed])
    # What is larger than a digit is rather one that hangs together with glare or a shadow.
    small = np.array([max(piece.width, piece.height) <= WIDEST * size for piece in line])
    blots: list[bool] = (tall & small & (strokes > BLOT * np.median(strokes[tall]))).tolist()
    return blots


def _cut_all(line: Sequence[Piece], size: float, stroke: float) -> list[Piece]:
    """Cut every piece of a line that is wide enough to be more than one digit."""
    result = []
    for piece in line:
        is_whole = piece.is_blot or piece.sign_odds > -math.inf
        if is_whole or piece.width <= CUT_FROM * size:
            result.append(piece)
            continue
        left, top = piece.box[:2]
        for mask, strokes in cut_apart(piece.mask, size=size, stroke=stroke):
            x, y, right, bottom = bounding_box(mask.astype(np.uint8))
            box = left + x, top + y, left + right, top + bottom
            result.append(Piece(box, mask[y:bottom, x:right].astype(np.uint8), strokes))
    return sorted(result, key=lambda piece: piece.middle)
