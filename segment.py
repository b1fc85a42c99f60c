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

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from errors import BlankImageError
from ink import ink_mask, to_grey
from masks import stroke_width
from page_ink import find_page_ink
from picture import Picture
from pieces import SMALL, USUAL_HEIGHT, WIDEST, Piece, divide_into_lines
from pixels import rescale
from preprocess import Prepared, centre_by_mass, scale_to_box
from printed import remove_cells, remove_rings, remove_underlines
from ruling import find_strikes, remove_paper_lines, remove_ruling
from signs import PERCENT_ODDS

PAGE_SIDE = 1280  # pixels; a page is read at four times the size of a single digit
SMALLEST_SIDE = 96  # pixels; smaller pictures are enlarged, so that masks have smooth edges
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
# A dot, a comma or a dash with white beside it is rather a sign than a part of that digit.
COST_OF_SIGN_GAP = 25.0  # for each digit height of that white
COMMA, COMMA_FOOT = 0.45, 0.1  # of a digit's height: commas are smaller; so high is their middle
COST_OF_WIDTH, USUAL_WIDTH = 8.7, 0.95  # for each digit height beyond the usual width
COST_OF_SMALLNESS = 11.7  # for each digit height below the usual height
COST_OF_SKIP = 6.75  # for a piece as large as a digit that is taken for dirt; less if smaller
COST_OF_DIGIT = 0.6  # for each digit: few are likelier than many
# For a piece that is a blot: it is left out unless the network recognises it all the same, as it
# does an 8 whose loops have filled.
COST_OF_BLOT = 1.5
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
    percents : frozenset of int, default=empty
        Which pieces are percent signs.
    is_struck : bool, default=False
        Whether a number in it may be struck out by a line.
    """

    candidates: tuple[Candidate, ...]
    skip_costs: tuple[float, ...]
    percents: frozenset[int] = frozenset()
    is_struck: bool = False


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
    mask = remove_underlines(remove_rings(remove_cells(mask)))
    stroke = stroke_width(mask)
    strikes = find_strikes(mask, stroke=stroke)
    mask = remove_ruling(mask, stroke=stroke)
    np.minimum(ink, 1, out=ink)
    place = _Place(picture, mask.shape, turn, dark_ink)
    lines = []
    for pieces, size in divide_into_lines(mask):
        line = _make_line(pieces, ink, size, place)
        lines.append(replace(line, is_struck=any(_lies_on(strikes, piece) for piece in pieces)))
    found = tuple(line for line in lines if any(each.cost < math.inf for each in line.candidates))
    if not found:
        raise BlankImageError("no digit was found: write larger, or raise the contrast")
    return found


def _lies_on(strikes: Sequence[tuple[int, int, int, int]], piece: Piece) -> bool:
    """Whether the middle of a piece lies in a number that is struck out."""
    return any(
        left <= piece.middle <= right and top <= piece.level <= bottom
        for left, top, right, bottom in strikes
    )


def _enlarge(grey: np.ndarray) -> np.ndarray:
    """Bring small pictures to working size."""
    scale = min(SMALLEST_SIDE / min(grey.shape), PAGE_SIDE / max(grey.shape))
    return grey if scale <= 1 else rescale(grey, scale)


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
    skip_costs = tuple(_skip_cost(piece, size) for piece in pieces)
    percents = frozenset(
        number for number, piece in enumerate(pieces) if piece.sign_odds >= PERCENT_ODDS
    )
    return Line(tuple(candidates), skip_costs, percents)


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
    cost += COST_OF_SIGN_GAP * _white_beside_small(group, size) / size
    share = _second_height(group) / (box[3] - box[1])
    cost += COST_OF_PAIR * float(np.clip((share - PAIR_FROM) / (PAIR_FULL - PAIR_FROM), 0, 1))
    width, longest = box[2] - box[0], max(box[2] - box[0], box[3] - box[1])
    cost += COST_OF_WIDTH * max(0.0, width / size - USUAL_WIDTH)
    return cost + COST_OF_SMALLNESS * max(0.0, USUAL_HEIGHT - longest / size)


def _white_beside_small(group: Sequence[Piece], size: float) -> int:
    """Add up the white between the large pieces of a group and each sign beside them."""
    longest = [max(piece.width, piece.height) for piece in group]
    rest = [piece for piece, long in zip(group, longest, strict=True) if long >= COMMA * size]
    # What is larger than a point may be a comma, if it hangs at the foot and is no cut's part.
    foot = max((piece.box[3] for piece in rest), default=math.inf) - COMMA_FOOT * size
    cuts = [piece.strokes_cut for piece in group] + [0.0]
    signs = [
        long < SMALL * size
        or (
            long < COMMA * size
            and piece.width <= piece.height
            and piece.level > foot
            and not any(cuts[number : number + 2])
        )
        for number, (piece, long) in enumerate(zip(group, longest, strict=True))
    ]
    if all(signs):
        return 0
    left, _, right, _ = _union(
        [piece for piece, is_sign in zip(group, signs, strict=True) if not is_sign]
    )
    beside = [piece.box for piece, is_sign in zip(group, signs, strict=True) if is_sign]
    return sum(max(0, left - box[2], box[0] - right) for box in beside)


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


# ------------------------------------------------------------------------------------------------
# The best way through a line
# ------------------------------------------------------------------------------------------------


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
