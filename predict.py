"""Read digits: a picture in, a digit with an honest confidence and a verdict out.

    picture -> preprocess.prepare -> network -> temperature -> probabilities -> verdict

Every door of the project (page, batch, notebook, command line) calls the one class below, so the
same picture gets the same answer everywhere.

    >>> from predict import MNISTPredictor
    >>> digit, confidence, probabilities = MNISTPredictor().predict("digit.png")
    >>> MNISTPredictor().read("phone.jpg").text
    '0176543210'

    $ python predict.py seven.png page.jpg --top 3
    $ python predict.py --number phone.jpg
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from errors import DigitError, ImageError, SettingsError
from model import FORWARD_BATCH, build_for_inference, compute_logits
from picture import Picture, PictureSource, open_picture
from preprocess import Prepared, prepare
from registry import MODELS_DIR, Checkpoint, load_checkpoint
from segment import PAGE_SIDE, choose_candidates, find_lines, find_skipped, measure_certainty
from utils import HelpFormatter, pick_device, report_errors

Verdict = Literal["ok", "unsure", "not a digit"]

# Doubt (see `measure_doubt`) above which a picture gets these verdicts, where a checkpoint carries
# no thresholds of its own; calibrate.py chooses those.
UNSURE_ABOVE = 0.20  # two digits at 82 and 18 %
NOT_A_DIGIT_ABOVE = 0.75
ALTERNATIVE = 0.1  # probability from which on another digit is worth mentioning
WIDE = 1.4  # width over height of what is rather two digits than one
# The reasons of a picture that shows more than one digit, it seems: `read` is for those.
SEVERAL = ("there is more than one digit in the picture", "this does not look like a single digit")

TURNS = (0, 90, 180, 270)  # degrees, counter-clockwise
DIVIDED_FROM = 0.6  # certainty from which a line's ink is surely divided into the right digits
# A page is turned by itself only if hardly anything can be read as it is and nearly everything
# after turning. Measured on 40 generated pages, seed 3, in all four positions: upright at least
# 83 % of digits are read surely, sideways mostly 40 %, and short numbers may read either way.
UPRIGHT_FROM, TURNED_FROM = 0.75, 0.9  # parts of all marks that are surely digits
MOST_CANDIDATES = 64  # in one forward pass
TURN_FROM, TURN_TO = 6, 200  # digits; fewer say too little, and more would take seconds
# A line of so many marks is words, beside lines of numbers, if fewer than two in three are surely
# digits and more than one in six is surely none. Unsure digits alone are still a number.
WORDS_FROM, NUMBER_SHARE, WORDS_SHARE = 3, 2 / 3, 1 / 6
# Two lines side by side, with less white between one and the other downwards, in digit heights,
# may be one line that was cut in two, as those at 20 degrees and more are.
STEEP = 0.5
ROW = "{name:<{width}}  {digit:>5}  {confidence:>10}  {verdict:<11}  {more}"


@dataclass(frozen=True, eq=False)
class Prediction:
    """What was read in one picture. Unpacks to digit, confidence and probabilities.

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
    probabilities: np.ndarray
    verdict: Verdict
    reason: str
    image: np.ndarray

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
        """List the `count` most probable digits with their probabilities, best first."""
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

    @property
    def digits(self) -> tuple[FoundDigit, ...]:
        """All digits in reading order."""
        return tuple(digit for row in self.rows for digit in row)

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


class MNISTPredictor:
    """Reads pictures with one trained network. Safe to share between threads.

    Parameters
    ----------
    model : str or path, default="best"
        "best", "last", a name in the models folder, or the path of a checkpoint.
    device : str, default="auto"
        "auto", "cpu", "cuda", ...; see `utils.pick_device`.
    folder : path, default=MODELS_DIR
        Where model names are looked up.

    Raises
    ------
    ModelNotFoundError
        If there is no such model.
    CheckpointError
        If the file is damaged or not one of ours.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] = "best",
        *,
        device: str = "auto",
        folder: Path = MODELS_DIR,
    ) -> None:
        self.checkpoint: Checkpoint = load_checkpoint(model, folder)
        self.device = pick_device(device)
        # The checkpoint's own network stays as it is, for whoever wants to look inside.
        self.network = build_for_inference(self.checkpoint.model.to(self.device))

    def predict(self, source: PictureSource) -> Prediction:
        """Read one picture.

        Parameters
        ----------
        source : path, bytes, binary file, PIL image, ndarray or Tensor
            See `picture.open_picture`.

        Raises
        ------
        ImageError
            If the picture cannot be read.
        BlankImageError
            If there is no ink in it.
        """
        return self.predict_prepared([prepare(source)])[0]

    def predict_batch(
        self,
        sources: Sequence[PictureSource],
        *,
        errors: Literal["raise", "return"] = "raise",
        batch_size: int = FORWARD_BATCH,
    ) -> list[Prediction | DigitError]:
        """Read many pictures, with one forward pass for each `batch_size` of them.

        Parameters
        ----------
        sources : sequence
            As for `predict`.
        errors : {"raise", "return"}, default="raise"
            Whether a picture that cannot be read stops everything, or its error takes the place
            of its prediction in the list.
        batch_size : int, default=256

        Returns
        -------
        list of Prediction (or of DigitError where `errors="return"`)
            In the order of `sources`.

        Raises
        ------
        ImageError
            If a picture cannot be read, and `errors` is "raise".
        SettingsError
            If `errors` is something else, or `batch_size` is below 1.
        """
        if errors not in ("raise", "return"):
            raise SettingsError(f"errors {errors!r}: choose 'raise' or 'return'")
        if batch_size < 1:
            raise SettingsError(f"batch_size {batch_size}: choose 1 or more")
        answers: list[Prediction | DigitError] = []
        for start in range(0, len(sources), batch_size):
            outcomes = [_try_prepare(source) for source in sources[start : start + batch_size]]
            if errors == "raise":
                for outcome in outcomes:
                    if isinstance(outcome, ImageError):
                        raise outcome
            readable = [outcome for outcome in outcomes if isinstance(outcome, Prepared)]
            predictions = iter(self.predict_prepared(readable))
            answers += [
                next(predictions) if isinstance(outcome, Prepared) else outcome
                for outcome in outcomes
            ]
        return answers

    def read(self, source: PictureSource, *, turn: int | Literal["auto"] = "auto") -> Reading:
        """Read a picture of several digits: a number, or several lines of them.

        Parameters
        ----------
        source : path, bytes, binary file, PIL image, ndarray or Tensor
            See `picture.open_picture`.
        turn : {"auto", 0, 90, 180, 270}, default="auto"
            Degrees by which the picture is turned counter-clockwise first. "auto" reads it as it
            is, and turns it only if that makes no sense and another position makes good sense.

        Raises
        ------
        ImageError
            If the picture cannot be read, or has far more marks than a page of digits.
        BlankImageError
            If there is no ink in it.
        SettingsError
            If `turn` is something else.
        """
        if turn != "auto" and turn not in TURNS:
            raise SettingsError(f"cannot turn by {turn!r}: choose auto, 0, 90, 180 or 270")
        picture = open_picture(source, working_side=PAGE_SIDE)
        if turn != "auto":
            return self._read_turned(picture, turn)
        upright = self._read_turned(picture, 0)
        marks = len(upright.digits) + len(upright.left_out)
        if _share_sure(upright) >= UPRIGHT_FROM or marks > TURN_TO:
            return upright
        turned = [self._try_turned(picture, each) for each in TURNS[1:]]
        best = max((reading for reading in turned if reading), key=_share_sure, default=upright)
        makes_sense = _share_sure(best) >= TURNED_FROM and len(best.digits) >= TURN_FROM
        return best if makes_sense else upright

    def _try_turned(self, picture: Picture, turn: int) -> Reading | None:
        """Read a picture in another position, in which there may be nothing to read."""
        try:
            return self._read_turned(picture, turn)
        except ImageError:
            return None

    def _read_turned(self, picture: Picture, turn: int) -> Reading:
        """Read the digits of a picture in one position."""
        lines = find_lines(picture, turn=turn)
        prepared = [candidate.prepared for line in lines for candidate in line.candidates]
        # PyTorch keeps a plan of some megabytes for every size of batch that it meets: 250 sizes
        # took 1.7 GB. Filled up to powers of two they are seven.
        batch = min(MOST_CANDIDATES, 1 << (len(prepared) - 1).bit_length())
        filled = prepared + prepared[-1:] * (-len(prepared) % batch)
        predictions = iter(self.predict_prepared(filled))
        rows, skipped, certainties = [], [], []
        for line in lines:
            answers = [next(predictions) for _ in line.candidates]
            digits = [answer.digit for answer in answers]
            confidences = [answer.confidence for answer in answers]
            chosen = choose_candidates(line, confidences)
            certainties.append(measure_certainty(line, digits, confidences, chosen))
            boxes = [candidate.prepared.box for candidate in line.candidates]
            rows.append([FoundDigit(boxes[each], answers[each]) for each in chosen])
            skipped.append(
                [
                    FoundDigit(boxes[each], _call_mark(answers[each]))
                    for each in find_skipped(line, chosen)
                ]
            )
        return _sum_up(rows, skipped, certainties, turn)

    def predict_prepared(self, prepared: Sequence[Prepared]) -> list[Prediction]:
        """Read pictures that `preprocess.prepare` has brought to MNIST's form already."""
        if not prepared:
            return []
        # Of the ways to say the same in NumPy and PyTorch, those that run the least of their code:
        # for one picture, most of the time goes into fetching that code into the cache again.
        digits = np.array([each.digit for each in prepared])
        logits = compute_logits(self.network, torch.from_numpy(digits)[:, None])
        probabilities = (logits / self.checkpoint.temperature).softmax(dim=1).numpy()
        doubts = measure_doubt(probabilities).tolist()
        best = (-probabilities).argsort(axis=1, kind="stable")[:, :2].tolist()
        return [
            self._judge(*each) for each in zip(prepared, probabilities, best, doubts, strict=True)
        ]

    def _judge(
        self, prepared: Prepared, probabilities: np.ndarray, best: list[int], doubt: float
    ) -> Prediction:
        """Put one row of probabilities, its two best digits and their doubt into words."""
        digit, runner_up = best
        thresholds = self.checkpoint.refusal or {}
        left, top, right, bottom = prepared.box
        verdict: Verdict = "ok"
        reason = ""
        if doubt > thresholds.get("not_a_digit_above", NOT_A_DIGIT_ABOVE):
            is_wide = right - left > WIDE * (bottom - top)
            verdict = "not a digit"
            reason = SEVERAL[1] if is_wide or prepared.others else "this does not look like a digit"
        elif prepared.others:
            verdict, reason = "unsure", SEVERAL[0]
        elif doubt > thresholds.get("unsure_above", UNSURE_ABOVE):
            verdict = "unsure"
            reason = (
                f"it could also be {name_digit(runner_up)}"
                if probabilities[runner_up] >= ALTERNATIVE
                else f"this is an unusual {digit}"
            )
        confidence = float(probabilities[digit])
        return Prediction(digit, confidence, probabilities, verdict, reason, prepared.digit)


def name_digit(digit: int) -> str:
    """Put a digit into a sentence: "a 3", but "an 8"."""
    return f"{'an' if digit == 8 else 'a'} {digit}"


def measure_doubt(probabilities: np.ndarray) -> np.ndarray:
    """Say how far an answer is from being sure: its entropy, as a part of the highest possible.

    The network has learned to call all ten digits equally likely where there is none, so much
    doubt means that the picture shows no digit. (Measured on 5,000 MNIST validation pictures
    against 3,000 generated non-digits: entropy, confidence, energy, largest logit and margin
    order them all about equally well; only entropy needs no scale and tells doubt between two
    digits from doubt about everything.)

    Parameters
    ----------
    probabilities : ndarray of shape (..., 10)
        Along the last axis they add up to 1.

    Returns
    -------
    ndarray of shape (...), float64
        0.0 (one digit is certain) to 1.0 (all ten are equally likely).
    """
    # Adding a tiny number keeps the logarithm of zero finite and changes no digit of the result.
    given = np.asarray(probabilities, np.float64)
    return (given * np.log(given + 1e-12)).sum(axis=-1) / -math.log(given.shape[-1])


def _call_mark(prediction: Prediction) -> Prediction:
    """Say of what was left out beside digits that it is none, whatever it looks like alone."""
    return replace(prediction, verdict="not a digit", reason="this is too small, or a sign")


def _sum_up(
    rows: Sequence[Sequence[FoundDigit]],
    skipped: Sequence[Sequence[FoundDigit]],
    certainties: Sequence[float],
    turn: int,
) -> Reading:
    """Keep the lines of digits, leave out words and other marks, and judge the whole."""
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
        reasons.append(f"{unsure} of {sum(map(len, numbers))} digits could be others")
    if ambiguous:
        reasons.append("some ink could be divided into other digits, or be a sign")
    if any(_may_be_one(*pair, turn) for pair in itertools.pairwise(numbers)):
        reasons.append("lines climb or fall steeply: turn the picture upright")
    if beside:
        reasons.append(f"{beside} {'mark' if beside == 1 else 'marks'} beside them left out")
    verdict: Verdict = "unsure" if reasons else "ok"
    return Reading(tuple(numbers), tuple(left_out), verdict, "; ".join(reasons), turn)


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


def _share_sure(reading: Reading) -> float:
    """Tell which part of all marks in a picture are surely digits."""
    sure = sum(digit.prediction.verdict == "ok" for digit in reading.digits)
    return sure / max(1, len(reading.digits) + len(reading.left_out))


def _try_prepare(source: PictureSource) -> Prepared | ImageError:
    """Prepare a picture, or hand back why it cannot be read."""
    try:
        return prepare(source)
    except ImageError as error:
        return error


def demonstrate() -> list[tuple[str, PictureSource]]:
    """Draw ten digits with the project's own pen, for a first run without any pictures."""
    from strokes import draw_digit

    rng = np.random.default_rng(2)
    return [(f"a drawn {digit}", draw_digit(digit, rng, size=96)) for digit in range(10)]


def demonstrate_number() -> list[tuple[str, PictureSource]]:
    """Write a number with the project's own pen."""
    from strokes import draw_number

    rng = np.random.default_rng(4)
    return [("a drawn number", draw_number("0123456789", rng)[0])]


def build_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(
        description="Read the digit in each picture. Without pictures: a demonstration.",
        epilog="examples:\n"
        "  python predict.py seven.png\n"
        "  python predict.py a.png b.jpg --top 3 --json\n"
        "  python predict.py --number phone.jpg",
        formatter_class=HelpFormatter,
    )
    parser.add_argument("pictures", nargs="*", help="PNG, JPEG or any other picture files")
    parser.add_argument(
        "--number", action="store_true", help="each picture shows several digits, maybe in lines"
    )
    parser.add_argument(
        "--turn",
        choices=["auto", *map(str, TURNS)],
        default="auto",
        help="with --number: degrees to turn the pictures counter-clockwise",
    )
    parser.add_argument("--model", default="best", help="name in models/, or a checkpoint's path")
    parser.add_argument("--top", type=int, default=3, metavar="N", help="guesses to print")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return parser


def run(args: argparse.Namespace) -> int:
    """Read the pictures and print a table or JSON; 1 if some could not be read."""
    predictor = MNISTPredictor(args.model, device=args.device)
    if args.number:
        return _run_numbers(predictor, args)
    named = [(name, name) for name in args.pictures] or demonstrate()
    answers = predictor.predict_batch([source for _, source in named], errors="return")
    names = [name for name, _ in named]
    if args.json:
        rows = [
            {"file": name, **(_error_row(a) if isinstance(a, DigitError) else a.to_dict())}
            for name, a in zip(names, answers, strict=True)
        ]
        print(json.dumps(rows, indent=2))
    else:
        _print_table(names, answers, top=args.top)
    return max((a.exit_code for a in answers if isinstance(a, DigitError)), default=0)


def _run_numbers(predictor: MNISTPredictor, args: argparse.Namespace) -> int:
    """Read a number from each picture and print a table or JSON; 1 if some could not be read."""
    named = [(name, name) for name in args.pictures] or demonstrate_number()
    turn = args.turn if args.turn == "auto" else int(args.turn)
    answers: list[tuple[str, Reading | DigitError]] = []
    for name, source in named:
        try:
            answers.append((name, predictor.read(source, turn=turn)))
        except ImageError as error:
            answers.append((name, error))
    if args.json:
        rows = [
            {"file": name, **(_error_row(a) if isinstance(a, DigitError) else a.to_dict())}
            for name, a in answers
        ]
        print(json.dumps(rows, indent=2))
    else:
        _print_numbers(answers)
    return max((a.exit_code for _, a in answers if isinstance(a, DigitError)), default=0)


def _print_numbers(answers: list[tuple[str, Reading | DigitError]]) -> None:
    """Print one row for each line of digits."""
    width = max(len(name) for name in [*(name for name, _ in answers), "picture"])
    rows = [("picture", "verdict", "least sure", "number", "")]
    for name, answer in answers:
        if isinstance(answer, DigitError):
            rows.append((name, "error", "-", "-", str(answer)))
            continue
        least = min((digit.prediction.confidence for digit in answer.digits), default=None)
        cells = (answer.verdict, "-" if least is None else f"{least:.1%}")
        turned = f"turned by {answer.turn} degrees" if answer.turn else ""
        notes = "; ".join(note for note in (answer.reason, turned) if note)
        first, *others = answer.lines or ["-"]
        rows.append((name, *cells, first, notes))
        rows += [("", "", "", line, "") for line in others]
    longest = max(len(row[3]) for row in rows)
    for name, verdict, sure, line, notes in rows:
        print(f"{name:<{width}}  {verdict:<11}  {sure:>10}  {line:<{longest}}  {notes}".rstrip())


def _error_row(error: DigitError) -> dict[str, str]:
    """Give an error the form of an answer."""
    return {"verdict": "error", "reason": str(error)}


def _print_table(names: list[str], answers: list[Prediction | DigitError], *, top: int) -> None:
    """Print one row for each picture."""
    width = max(len(name) for name in [*names, "picture"])
    print(
        ROW.format(
            name="picture",
            width=width,
            digit="digit",
            confidence="confidence",
            verdict="verdict",
            more="other guesses, or the reason",
        )
    )
    for name, answer in zip(names, answers, strict=True):
        if isinstance(answer, DigitError):
            cells = {"digit": "-", "confidence": "-", "verdict": "error", "more": str(answer)}
        else:
            guesses = ", ".join(f"{digit}: {p:.1%}" for digit, p in answer.top(top)[1:])
            cells = {
                "digit": str(answer.digit),
                "confidence": f"{answer.confidence:.1%}",
                "verdict": answer.verdict,
                "more": f"{guesses}  {answer.reason}".strip(),
            }
        print(ROW.format(name=name, width=width, **cells))


@report_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line."""
    args = build_parser().parse_args(argv)
    return run(args)


if __name__ == "__main__":
    sys.exit(main())
