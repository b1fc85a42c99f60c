"""Find the digits in a picture of several, line by line, in reading order.

    picture -> ink -> ruled lines gone -> pieces of ink -> lines of writing
            -> candidates: pieces that may be one digit, each brought to MNIST's form
            -> (the network reads them all) -> the best way through each line

Where one digit ends and the next begins cannot be told from ink alone: a 5 may have lost its bar,
two 0 may touch. So ink is cut wherever a cut is cheap, neighbouring pieces are put together again
in every plausible way, and what the network makes of each decides.

    >>> for line in find_lines(open_picture("phone.jpg", working_side=PAGE_SIDE)):
    ...     confidences = [network(candidate.prepared.digit).max() for candidate in line.candidates]
    ...     chosen = choose_candidates(line, confidences)

This is the classic way to read hand-written amounts: to cut too often, and to search the lattice
of hypotheses (Casey and Lecolinet, "A survey of methods and strategies in character
segmentation", IEEE PAMI 18(7), 1996).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from cuts import cut_apart
from errors import BlankImageError, ImageError
from ink import ink_mask, to_grey
from masks import bounding_box, stroke_width
from page_ink import find_page_ink
from picture import Picture
from preprocess import Prepared, centre_by_mass, scale_to_box
from printed import remove_cells
from ruling import LARGE, remove_paper_lines, remove_ruling, usual_height, weighted_median
from signs import weigh_signs

PAGE_SIDE = 1280  # pixels; a page is read at four times the size of a single digit
SMALLEST_SIDE = 96  # pixels; smaller pictures are enlarged, so that masks have smooth edges
MOST_MARKS = 1500  # a picture with more is a page of print, or noise

SPECK = 0.13  # of a digit's height; smaller ink by itself is dirt,
DOT = 0.75  # squares of the stroke's width, unless there is as much of it as of a decimal point
RIM = 0.15  # of a digit's height; ink that reaches only so far into the picture is dirt
SMALL, NEAR = 0.30, 0.10  # of a digit's height: ink so small belongs to what is so near
LOOSE = 0.6  # of a digit's height; how far small ink may be from its line
BESIDE = 0.35  # of the lower one's height that two neighbours in a line have in common
LEAST_SIZE = 0.75  # of the usual height of a digit: that of a line of smaller ones

CUT_FROM = 0.5  # of a digit's height; narrower ink is not cut
WIDEST = 1.5  # of a digit's height; a candidate is no wider
MOST_PIECES = 8  # that may make up one digit

# What speaks against a candidate, in nats: 0.7 more is half as likely. These weights make the right
# readings of 1,080 photographed rows likeliest among all ways through their lines. Of the rows,
# far apart to overlapping, `strokes.py` wrote 750, and 330 are made of MNIST's validation digits.
# (A semi-Markov conditional random field, fitted by maximum likelihood: Sarawagi and Cohen, 2004.)
COST_OF_CUT = 1.0  # for each stroke that a cut goes through
COST_OF_GAP = 9.0  # for each digit height of white between two of its pieces
# Two things side by side with white between them, both as tall as a digit, are rather two digits:
# the network takes a 1 beside a 7 for a 7. The hook of an open 4 is mostly lower than this.
COST_OF_PAIR, PAIR_FROM, PAIR_FULL = 1.7, 0.7, 0.9  # parts of the height of both together
COST_OF_WIDTH, USUAL_WIDTH = 8.7, 0.95  # for each digit height beyond the usual width
COST_OF_SMALLNESS, USUAL_HEIGHT = 11.7, 0.65  # for each digit height below the usual height
COST_OF_SKIP = 6.75  # for a piece as large as a digit that is taken for dirt; less if smaller
COST_OF_DIGIT = 0.6  # for each digit: few are likelier than many
# A digit that was scratched out is a blot: ink broader than the pen that wrote its line. Of 3,752
# digits in 600 photographed rows none was, of 191 that were scratched out 163 were. It is left out
# unless the network recognises it all the same, as it does an 8 whose loops have filled.
BLOT, LEAST_LINE, COST_OF_BLOT = 1.6, 3, 1.5  # times the usual stroke; marks that tell it; nats
# For each nat by which the network's confidence is below 1. The first half of a nat counts most:
# of a whole digit the network is nearly always sure, of two in one it is rarely.
COST_OF_DOUBT, COST_OF_FIRST_DOUBT, FIRST_DOUBT = 0.65, 6.4, 0.5
MOST_DOUBT = 4.5  # nats; where nothing is recognised, less than leaving it out
NO_CONFIDENCE = 0.1  # what the best of ten answers has at least


@dataclass(frozen=True)
class Candidate:
    """Ink that may be one digit.

    Attributes
    ----------
    start, stop : int
        Which pieces of its line it is made of: `start` up to, but not including, `stop`.
    prepared : Prepared
        The same ink in MNIST's form; its box is in pixels of the picture as it came.
    cost : float
        What its shape says against it, in nats; 0.0 is nothing.
    """

    start: int
    stop: int
    prepared: Prepared
    cost: float


@dataclass(frozen=True)
class Line:
    """One line of writing, cut into pieces.

    Attributes
    ----------
    candidates : tuple of Candidate
        Every plausible way to put neighbouring pieces together, and each piece alone; where that
        is too small to be a digit, its cost is infinite.
    skip_costs : tuple of float
        For each piece, from left to right, the cost of taking it for dirt, in nats.
    """

    candidates: tuple[Candidate, ...]
    skip_costs: tuple[float, ...]


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


def find_lines(picture: Picture, *, turn: int = 0) -> tuple[Line, ...]:
    """Find the lines of digits in a picture.

    Parameters
    ----------
    picture : Picture
        Opened with `working_side=PAGE_SIDE`.
    turn : {0, 90, 180, 270}, default=0
        Degrees by which the picture is turned counter-clockwise before it is read. Boxes are
        always in pixels of the picture as it came.

    Returns
    -------
    tuple of Line
        From top to bottom, at least one; each has at least one candidate.

    Raises
    ------
    BlankImageError
        If there is no ink that could be a digit.
    ImageError
        If there are far more marks than a page of digits has.
    """
    pixels = np.ascontiguousarray(np.rot90(picture.pixels, turn // 90))
    ink, dark_ink = find_page_ink(_enlarge(to_grey(pixels)))
    mask = ink_mask(ink)
    ink, mask = remove_paper_lines(ink, mask, only_squared=True)
    mask = remove_cells(mask)
    mask = remove_ruling(mask, stroke=stroke_width(mask))
    np.minimum(ink, 1, out=ink)
    stroke = stroke_width(mask)
    pieces, size = find_pieces(mask)
    place = _Place(picture, mask.shape, turn, dark_ink)
    lines = []
    for line in group_into_lines(pieces, size):
        own = max(_median_height(line), LEAST_SIZE * size)
        lines.append(_make_line(_cut_all(_mark_others(line, own), own, stroke), ink, own, place))
    found = tuple(line for line in lines if any(each.cost < math.inf for each in line.candidates))
    if not found:
        raise BlankImageError("no digit was found: write larger, or raise the contrast")
    return found


def choose_candidates(line: Line, confidences: Sequence[float]) -> list[int]:
    """Find the best way through a line: each piece belongs to one digit, or is dirt.

    Parameters
    ----------
    line : Line
    confidences : sequence of float
        For each candidate, how sure the network is of its best answer, 0.1 to 1.0.

    Returns
    -------
    list of int
        Which candidates were chosen, from left to right.
    """
    ends: list[list[int]] = [[] for _ in range(len(line.skip_costs) + 1)]
    for number, candidate in enumerate(line.candidates):
        ends[candidate.stop].append(number)
    # For each place between two pieces: the least cost of all before it, and the last step.
    best: list[tuple[float, int | None]] = [(0.0, None)]
    for stop in range(1, len(ends)):
        options: list[tuple[float, int | None]] = [
            (best[stop - 1][0] + line.skip_costs[stop - 1], None)
        ]
        for number in ends[stop]:
            candidate = line.candidates[number]
            doubt = _cost_of_doubt(confidences[number])
            options.append((best[candidate.start][0] + candidate.cost + doubt, number))
        best.append(min(options, key=lambda option: option[0]))
    chosen: list[int] = []
    place = len(line.skip_costs)
    while place > 0:
        last = best[place][1]
        if last is None:
            place -= 1
        else:
            chosen.append(last)
            place = line.candidates[last].start
    return chosen[::-1]


def find_skipped(line: Line, chosen: Sequence[int]) -> list[int]:
    """Tell which pieces no chosen candidate has: signs, as points and dashes, and dirt.

    Parameters
    ----------
    line : Line
    chosen : sequence of int
        As from `choose_candidates`.

    Returns
    -------
    list of int
        From left to right, as candidates of one piece each.
    """
    used = {
        piece
        for number in chosen
        for piece in range(line.candidates[number].start, line.candidates[number].stop)
    }
    return [
        number
        for number, each in enumerate(line.candidates)
        if each.stop - each.start == 1 and each.start not in used
    ]


def measure_certainty(
    line: Line, answers: Sequence[int], confidences: Sequence[float], chosen: Sequence[int]
) -> float:
    """Tell how much of all probability the ways have that read the same digits as the chosen one.

    Parameters
    ----------
    line : Line
    answers : sequence of int
        For each candidate, which digit it is.
    confidences : sequence of float
        As for `choose_candidates`.
    chosen : sequence of int
        What that has chosen.

    Returns
    -------
    float
        0.0 to 1.0; little means that the ink could be divided into other digits.
    """
    text = np.array([answers[number] for number in chosen])
    starting: list[list[int]] = [[] for _ in line.skip_costs]
    for number, candidate in enumerate(line.candidates):
        starting[candidate.start].append(number)
    # Logarithms, for each place between two pieces: of all ways that lead there, and of those that
    # have read so many of the chosen digits on their way.
    total = np.full(len(starting) + 1, -np.inf)
    same = np.full((len(starting) + 1, len(text) + 1), -np.inf)
    total[0] = same[0, 0] = 0.0
    for place, numbers in enumerate(starting):
        skipped = line.skip_costs[place]
        total[place + 1] = np.logaddexp(total[place + 1], total[place] - skipped)
        same[place + 1] = np.logaddexp(same[place + 1], same[place] - skipped)
        for number in numbers:
            candidate = line.candidates[number]
            cost, stop = candidate.cost + _cost_of_doubt(confidences[number]), candidate.stop
            total[stop] = np.logaddexp(total[stop], total[place] - cost)
            read = np.where(text == answers[number], same[place, :-1] - cost, -np.inf)
            same[stop, 1:] = np.logaddexp(same[stop, 1:], read)
    return float(np.exp(same[-1, -1] - total[-1]))


def _cost_of_doubt(confidence: float) -> float:
    """Turn a confidence into a cost in nats; a guess among ten is as bad as no answer."""
    share = (confidence - NO_CONFIDENCE) / (1 - NO_CONFIDENCE)
    doubt = min(MOST_DOUBT, -float(np.log(max(share, 1e-6))))
    first = COST_OF_FIRST_DOUBT * min(doubt, FIRST_DOUBT)
    return COST_OF_DIGIT + COST_OF_DOUBT * doubt + first


# ------------------------------------------------------------------------------------------------
# Pieces and lines
# ------------------------------------------------------------------------------------------------


def _enlarge(grey: np.ndarray) -> np.ndarray:
    """Bring small pictures to working size."""
    scale = min(SMALLEST_SIDE / min(grey.shape), PAGE_SIDE / max(grey.shape))
    if scale <= 1:
        return grey
    size = (max(1, round(grey.shape[1] * scale)), max(1, round(grey.shape[0] * scale)))
    return cv2.resize(grey, size, interpolation=cv2.INTER_LINEAR)


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
        if distance.flat[nearest] <= reach:
            family[family == family[label]] = window.flat[nearest]
    return family


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


# ------------------------------------------------------------------------------------------------
# Candidates
# ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Place:
    """How the working picture lies in the picture as it came."""

    picture: Picture
    shape: tuple[int, ...]  # of the working picture
    turn: int  # degrees, counter-clockwise
    dark_ink: bool

    def to_input(self, box: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
        """Give a box of the working picture in pixels of the picture as it came."""
        wide, tall = self.picture.width, self.picture.height
        turned = (tall, wide) if self.turn in (90, 270) else (wide, tall)
        across, down = turned[0] / self.shape[1], turned[1] / self.shape[0]
        left, top, right, bottom = box[0] * across, box[1] * down, box[2] * across, box[3] * down
        if self.turn == 90:
            left, top, right, bottom = wide - bottom, left, wide - top, right
        elif self.turn == 180:
            left, top, right, bottom = wide - right, tall - bottom, wide - left, tall - top
        elif self.turn == 270:
            left, top, right, bottom = top, tall - right, bottom, tall - left
        return int(left), int(top), int(np.ceil(right)), int(np.ceil(bottom))

    def prepare(self, digit: np.ndarray, box: tuple[int, int, int, int]) -> Prepared:
        """Describe one candidate as `preprocess.prepare` describes a picture of one digit."""
        wide, tall = self.picture.width, self.picture.height
        return Prepared(digit, wide, tall, self.to_input(box), self.dark_ink)


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


def _make_line(pieces: Sequence[Piece], ink: np.ndarray, size: float, place: _Place) -> Line:
    """Put neighbouring pieces together in every way that may be a digit."""
    candidates = []
    for start in range(len(pieces)):
        for stop in range(start + 1, min(start + MOST_PIECES, len(pieces)) + 1):
            group = pieces[start:stop]
            box = _union(group)
            if box[2] - box[0] > WIDEST * size:
                break
            is_large = max(box[2] - box[0], box[3] - box[1]) >= SMALL * size
            if is_large or len(group) == 1:
                prepared = place.prepare(_normalise(group, box, ink), box)
                cost = _shape_cost(group, box, size) if is_large else math.inf
                candidates.append(Candidate(start, stop, prepared, cost))
    return Line(tuple(candidates), tuple(_skip_cost(piece, size) for piece in pieces))


def _union(group: Sequence[Piece]) -> tuple[int, int, int, int]:
    """Return the box around several pieces."""
    left, top, right, bottom = zip(*(piece.box for piece in group), strict=True)
    return min(left), min(top), max(right), max(bottom)


def _normalise(
    group: Sequence[Piece], box: tuple[int, int, int, int], ink: np.ndarray
) -> np.ndarray:
    """Bring the ink of a group of pieces to MNIST's form, and nothing else that is near."""
    left, top, right, bottom = box
    mask = np.zeros((bottom - top, right - left), np.uint8)
    for piece in group:
        x, y = piece.box[0] - left, piece.box[1] - top
        mask[y : y + piece.height, x : x + piece.width] |= piece.mask
    near = cv2.dilate(mask, np.ones((3, 3), np.uint8))
    return centre_by_mass(scale_to_box(np.where(near > 0, ink[top:bottom, left:right], 0)))


def _shape_cost(group: Sequence[Piece], box: tuple[int, int, int, int], size: float) -> float:
    """Tell what the shape of a group says against its being one digit, in nats."""
    cost = COST_OF_CUT * group[0].strokes_cut
    reached = group[0].box[2]
    for piece in group[1:]:
        cost += COST_OF_GAP * max(0, piece.box[0] - reached) / size
        reached = max(reached, piece.box[2])
    share = _second_height(group) / (box[3] - box[1])
    cost += COST_OF_PAIR * float(np.clip((share - PAIR_FROM) / (PAIR_FULL - PAIR_FROM), 0, 1))
    width, longest = box[2] - box[0], max(box[2] - box[0], box[3] - box[1])
    cost += COST_OF_WIDTH * max(0.0, width / size - USUAL_WIDTH)
    return cost + COST_OF_SMALLNESS * max(0.0, USUAL_HEIGHT - longest / size)


def _second_height(group: Sequence[Piece]) -> int:
    """Return the height of the second tallest part of a group; white divides parts, cuts do not."""
    parts: list[list[Piece]] = []
    for piece in group:
        if parts and piece.strokes_cut:
            parts[-1].append(piece)
        else:
            parts.append([piece])
    boxes = [_union(part) for part in parts]
    return sorted(box[3] - box[1] for box in [(0, 0, 0, 0), *boxes])[-2]


def _skip_cost(piece: Piece, size: float) -> float:
    """Tell what speaks against leaving a piece out, in nats."""
    share = min(1.0, max(piece.height, piece.width) / size)
    as_dirt = COST_OF_SKIP * share + COST_OF_CUT * piece.strokes_cut
    if piece.is_blot:
        as_dirt = min(as_dirt, COST_OF_BLOT)
    # Never less than a 1 costs: the stem of an open 4 looks like a slash, and must stay in it.
    return min(as_dirt, COST_OF_DIGIT + max(0.0, -piece.sign_odds))
