"""What was read in a picture: one digit, or a number of several, each with a verdict.

    digits found, line by line -> sum_up -> Reading: the numbers, what was left out, a verdict

Whoever shows an answer needs only this file, and no network. How pictures are read is in
`predict.py`.

    >>> digit, confidence, probabilities = prediction
    >>> reading.text, reading.verdict
    ('0176543210', 'ok')
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from errors import SettingsError

Verdict = Literal["ok", "unsure", "not a digit"]

# The reasons of a picture that shows more than one digit, it seems: `MNISTPredictor.read` is for
# those.
SEVERAL = ("there is more than one digit in the picture", "this does not look like a single digit")

DIVIDED_FROM = 0.6  # certainty from which a line's ink is surely divided into the right digits
# A line of so many marks is words, beside lines of numbers, if fewer than two in three are surely
# digits and more than one in six is surely none. Unsure digits alone are still a number.
WORDS_FROM, NUMBER_SHARE, WORDS_SHARE = 3, 2 / 3, 1 / 6
# The reason of a mark that is left out because it is surely a sign.
PERCENT_SIGN = "this is a percent sign"
# Two lines side by side, with less white between one and the other downwards, in digit heights,
# may be one line that was cut in two, as those at 20 degrees and more are.
STEEP = 0.5


@dataclass(frozen=True, eq=False)
class Prediction:
    """What was read in one picture. Unpacks to digit, confidence and probabilities.

    Printed, it is one line without its arrays; `top` lists other guesses.

    Attributes
    ----------
    digit : int
        The most probable digit, 0 to 9; a guess where the verdict is not "ok".
    confidence : float
        Its probability, 0.0 to 1.0, calibrated: of answers at 0.9 about nine in ten are right.
    probabilities : ndarray of shape (10,), float32
        One for each digit; they add up to 1.
    verdict : {"ok", "unsure", "not a digit"}
        Whether to trust the digit.
    reason : str
        Why not, in plain words; empty where the verdict is "ok".
    image : ndarray of shape (28, 28), float32
        What the network saw: white ink (1.0) on black (0.0).
    """

    digit: int
    confidence: float
    probabilities: np.ndarray = field(repr=False)
    verdict: Verdict
    reason: str
    image: np.ndarray = field(repr=False)

    @property
    def name(self) -> str:
        """The digit with its article: "a 3", "an 8"."""
        return name_digit(self.digit)

    @property
    def is_several(self) -> bool:
        """Whether the picture seems to show several digits, of which this is one."""
        return self.reason in SEVERAL

    def __iter__(self) -> Iterator[Any]:
        return iter((self.digit, self.confidence, self.probabilities))

    def top(self, count: int) -> list[tuple[int, float]]:
        """List the most probable digits with their probabilities, best first.

        Parameters
        ----------
        count : int
            How many, 1 to 10.

        Raises
        ------
        SettingsError
            If there are not so many.
        """
        if not 1 <= count <= len(self.probabilities):
            raise SettingsError(f"count {count!r}: choose 1 to {len(self.probabilities)} guesses")
        best = np.argsort(-self.probabilities, kind="stable")[:count]
        return [(int(digit), float(self.probabilities[digit])) for digit in best]

    def to_dict(self) -> dict[str, Any]:
        """Give the answer as plain values, for JSON."""
        return {
            "digit": self.digit,
            "confidence": round(self.confidence, 6),
            "verdict": self.verdict,
            "reason": self.reason,
            "probabilities": [round(float(p), 6) for p in self.probabilities],
        }


@dataclass(frozen=True, eq=False)
class FoundDigit:
    """One digit of a number.

    Attributes
    ----------
    box : tuple of four ints
        Left, top, right and bottom in the picture as it came, in pixels.
    prediction : Prediction
    """

    box: tuple[int, int, int, int]
    prediction: Prediction

    def to_dict(self) -> dict[str, Any]:
        """Give it as plain values, for JSON."""
        return {"box": list(self.box), **self.prediction.to_dict()}


@dataclass(frozen=True, eq=False)
class Reading:
    """The digits of a picture in reading order.

    Attributes
    ----------
    rows : tuple of tuple of FoundDigit
        Lines from top to bottom, digits from left to right.
    left_out : tuple of FoundDigit
        Other marks, which are rather not digits: letters, scribbles.
    verdict : {"ok", "unsure", "not a digit"}
        "unsure" if any digit is, or if a line holds something else; "not a digit" if there is none.
    reason : str
        Why not "ok", in plain words.
    turn : int
        Degrees by which the picture was turned counter-clockwise to be read.
    """

    rows: tuple[tuple[FoundDigit, ...], ...]
    left_out: tuple[FoundDigit, ...]
    verdict: Verdict
    reason: str
    turn: int

    def __repr__(self) -> str:
        """Say what was read; each digit with its box would be a page."""
        return (
            f"{type(self).__name__}(text={self.text!r}, verdict={self.verdict!r}, "
            f"reason={self.reason!r}, turn={self.turn})"
        )

    @property
    def digits(self) -> tuple[FoundDigit, ...]:
        """All digits in reading order."""
        return tuple(digit for row in self.rows for digit in row)

    @property
    def least_confidence(self) -> float | None:
        """The confidence of the digit that is least sure; None if there is no digit."""
        return min((digit.prediction.confidence for digit in self.digits), default=None)

    @property
    def lines(self) -> list[str]:
        """The number in each line."""
        return ["".join(str(digit.prediction.digit) for digit in row) for row in self.rows]

    @property
    def text(self) -> str:
        """The lines, with a line break between them."""
        return "\n".join(self.lines)

    def to_dict(self) -> dict[str, Any]:
        """Give the reading as plain values, for JSON."""
        return {
            "text": self.text,
            "lines": self.lines,
            "verdict": self.verdict,
            "reason": self.reason,
            "turn": self.turn,
            "digits": [
                {"line": number, **digit.to_dict()}
                for number, row in enumerate(self.rows)
                for digit in row
            ],
            "left_out": [mark.to_dict() for mark in self.left_out],
        }


def name_digit(digit: int | None) -> str:
    """Put a digit into a sentence: "a 3", but "an 8"; None is no digit."""
    if digit is None:
        return "not a digit"
    return f"{'an' if digit == 8 else 'a'} {digit}"


def call_mark(prediction: Prediction, *, is_percent: bool = False) -> Prediction:
    """Say of what was left out beside digits that it is none, whatever it looks like alone."""
    reason = PERCENT_SIGN if is_percent else "this is too small, or a sign"
    return replace(prediction, verdict="not a digit", reason=reason)


def sum_up(
    rows: Sequence[Sequence[FoundDigit]],
    skipped: Sequence[Sequence[FoundDigit]],
    certainties: Sequence[float],
    turn: int,
    *,
    is_struck: bool = False,
) -> Reading:
    """Keep the lines of digits, leave out words and other marks, and judge the whole.

    Parameters
    ----------
    rows : sequence of sequence of FoundDigit
        For each line what may be its digits, from left to right; there is at least one line.
    skipped : sequence of sequence of FoundDigit
        For each line what was left out between them.
    certainties : sequence of float
        For each line how sure it is that its ink was divided into the right digits, 0.0 to 1.0.
    turn : int
        Degrees by which the picture was turned.
    is_struck : bool, default=False
        Whether a line seems to strike out one of the numbers.

    Returns
    -------
    Reading
    """
    has_numbers = any(row and _count_sure(row) >= NUMBER_SHARE * len(row) for row in rows)
    has_long_numbers = max(map(_count_sure, rows)) >= WORDS_FROM
    numbers: list[tuple[FoundDigit, ...]] = []
    left_out: list[FoundDigit] = []
    beside = 0  # marks that were left out, but not with whole lines of words
    ambiguous = 0  # lines that could be divided into other digits
    for row, signs, certainty in zip(rows, skipped, certainties, strict=True):
        digits = tuple(mark for mark in row if mark.prediction.verdict != "not a digit")
        is_words = (
            has_numbers
            and len(row) >= WORDS_FROM
            and _count_sure(row) < NUMBER_SHARE * len(row)
            and len(row) - len(digits) > WORDS_SHARE * len(row)
        )
        # An unsure mark by itself, above or below a number, is a speck, a shadow or a scratch.
        is_stray = has_long_numbers and len(row) == 1 and not _count_sure(row)
        if is_words or is_stray or not digits:
            left_out += row
            beside += is_stray and bool(digits)
            continue
        numbers.append(digits)
        ambiguous += certainty < DIVIDED_FROM
        others = [*(mark for mark in row if mark not in digits), *signs]
        left_out += others
        beside += len(others)
    unsure = sum(len(row) - _count_sure(row) for row in numbers)
    reasons = []
    if not numbers:
        return Reading((), tuple(left_out), "not a digit", "nothing here looks like a digit", turn)
    if unsure:
        count = sum(map(len, numbers))
        reasons.append(
            f"{unsure} of {count} digits could be others"
            if count > 1
            else "it could be another digit"
        )
    if ambiguous:
        reasons.append("some ink could be divided into other digits, or be a sign")
    if any(_may_be_one(*pair, turn) for pair in itertools.pairwise(numbers)):
        reasons.append("lines climb or fall steeply: turn the picture upright")
    if is_struck:
        reasons.append("a line runs through a number, which may be struck out")
    if beside:
        reasons.append(f"{beside} {'mark' if beside == 1 else 'marks'} beside them left out")
    verdict: Verdict = "unsure" if reasons else "ok"
    return Reading(tuple(numbers), tuple(left_out), verdict, "; ".join(reasons), turn)


def doubt(reading: Reading, reason: str) -> Reading:
    """Let nobody take a reading for sure, and say why."""
    if reading.verdict == "not a digit":
        return reading
    reasons = "; ".join(filter(None, (reading.reason, reason)))
    return replace(reading, verdict="unsure", reason=reasons)


def move_boxes(reading: Reading, view: np.ndarray, width: int, height: int) -> Reading:
    """Tell where the marks are in the picture that another one was cut out of, and straightened.

    Parameters
    ----------
    reading : Reading
        Of what was cut out.
    view : ndarray of shape (3, 3), float64
        Takes a place (x, y, 1) in there to (x, y, 1) in the picture, but for a common factor.
    width, height : int
        Of the picture, in pixels; no box goes beyond.
    """

    def move(mark: FoundDigit) -> FoundDigit:
        left, top, right, bottom = mark.box
        corners = np.array([(x, y, 1) for x in (left, right) for y in (top, bottom)]) @ view.T
        corners = corners[:, :2] / corners[:, 2:]
        low = np.clip(np.floor(corners.min(axis=0)), 0, (width, height)).astype(int).tolist()
        high = np.clip(np.ceil(corners.max(axis=0)), 0, (width, height)).astype(int).tolist()
        return replace(mark, box=(low[0], low[1], high[0], high[1]))

    return replace(
        reading,
        rows=tuple(tuple(map(move, row)) for row in reading.rows),
        left_out=tuple(map(move, reading.left_out)),
    )


def share_sure(reading: Reading) -> float:
    """Tell which part of all marks in a picture are surely digits or signs.

    A sign that is known shows that the picture stands upright as well as a digit does.
    """
    marks = len(reading.digits) + len(reading.left_out)
    signs = sum(mark.prediction.reason == PERCENT_SIGN for mark in reading.left_out)
    return (_count_sure(reading.digits) + signs) / max(1, marks)


def _may_be_one(upper: Sequence[FoundDigit], lower: Sequence[FoundDigit], turn: int) -> bool:
    """Whether two lines may be one that is steep: side by side, and hardly one below the other."""
    boxes = np.array([digit.box for digit in (*upper, *lower)])
    sizes = boxes[:, 2:] - boxes[:, :2]
    one, other = np.split(boxes, [len(upper)])
    starts = np.maximum(one[:, :2].min(axis=0), other[:, :2].min(axis=0))
    ends = np.minimum(one[:, 2:].max(axis=0), other[:, 2:].max(axis=0))
    across, down = (starts - ends)[[1, 0] if turn in (90, 270) else [0, 1]]
    return bool(across > 0 and down < STEEP * np.median(sizes.max(axis=1)))


def _count_sure(row: Sequence[FoundDigit]) -> int:
    """Count the marks that are surely digits."""
    return sum(mark.prediction.verdict == "ok" for mark in row)
