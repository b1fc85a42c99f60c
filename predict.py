"""Read digits: a picture in, a digit with an honest confidence and a verdict out.

    picture -> preprocess.prepare -> network -> temperature -> probabilities -> verdict

Every door of the project (page, batch, notebook, command line) calls the one class below, so the
same picture gets the same answer everywhere. What an answer is made of stands in `reading.py`.

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
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, overload

import cv2
import numpy as np
import torch

from errors import BlankImageError, DigitError, ImageError, SettingsError
from folders import is_pattern, read_glob
from ink import to_grey
from model import CLASSES, FORWARD_BATCH, build_for_inference, compute_logits
from picture import CHANNELS, Picture, PictureSource, open_picture
from preprocess import Prepared, prepare
from reading import (
    SEVERAL,
    FoundDigit,
    Prediction,
    Reading,
    Verdict,
    call_mark,
    doubt,
    move_boxes,
    name_digit,
    share_sure,
    sum_up,
)
from registry import MODELS_DIR, Checkpoint, load_checkpoint
from segment import PAGE_SIDE, choose_candidates, find_lines, find_skipped, measure_certainty
from sheet import find_page, straighten, take_away
from utils import HelpFormatter, one_line, pick_device, report_errors

# Doubt (see `measure_doubt`) above which a picture gets these verdicts, where a checkpoint carries
# no thresholds of its own; calibrate.py chooses those.
UNSURE_ABOVE = 0.20  # two digits at 82 and 18 %
NOT_A_DIGIT_ABOVE = 0.75
ALTERNATIVE = 0.1  # probability from which on another digit is worth mentioning
ROUND_TO = 32  # pictures; see `round_up_batch`
WIDE = 1.4  # width over height of what is rather two digits than one
TURNS = (0, 90, 180, 270)  # degrees, counter-clockwise
# A page is turned by itself only if hardly anything can be read as it is and nearly everything
# after turning. Measured on 40 generated pages, seed 3, in all four positions: upright at least
# 83 % of digits are read surely, sideways mostly 40 %, and short numbers may read either way.
UPRIGHT_FROM, TURNED_FROM = 0.75, 0.9  # parts of all marks that are surely digits or signs
TURN_FROM, TURN_TO = 6, 200  # digits; fewer say too little, and more would take seconds
AROUND_PAGE = 0.02  # of a picture's longer side; so exactly the edge of a page is known
BESIDE_PAGE = "there are digits beside the page, too"
GUESSES = 3  # in a row of the table, the answer included
ROW = "{name:<{width}}  {digit:>5}  {confidence:>10}  {verdict:<11}  {more}"


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

    @overload
    def predict_batch(
        self,
        sources: Iterable[PictureSource],
        *,
        errors: Literal["raise"] = "raise",
        batch_size: int = FORWARD_BATCH,
    ) -> list[Prediction]: ...

    @overload
    def predict_batch(
        self,
        sources: Iterable[PictureSource],
        *,
        errors: Literal["return"],
        batch_size: int = FORWARD_BATCH,
    ) -> list[Prediction | DigitError]: ...

    def predict_batch(
        self,
        sources: Iterable[PictureSource],
        *,
        errors: Literal["raise", "return"] = "raise",
        batch_size: int = FORWARD_BATCH,
    ) -> list[Prediction] | list[Prediction | DigitError]:
        """Read many pictures, with one forward pass for each `batch_size` of them.

        Parameters
        ----------
        sources : iterable
            Of what `predict` takes; it may be lazy. An array or tensor holds a picture at each
            place of its first axis: (N, height, width), or with channels after N.
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
            If `errors` is something else, `batch_size` is below 1, or `sources` is one picture, or
            no collection of pictures at all.
        """
        if errors not in ("raise", "return"):
            raise SettingsError(f"errors {errors!r}: choose 'raise' or 'return'")
        if batch_size < 1:
            raise SettingsError(f"batch_size {batch_size}: choose 1 or more")
        answers: list[Prediction | DigitError] = []
        waiting = _each_source(sources)
        while outcomes := [_try_prepare(each) for each in itertools.islice(waiting, batch_size)]:
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

        One that shows a single digit is read as `predict` reads it.

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
        first, page = self._read_on_page(picture, 0 if turn == "auto" else turn)
        reading = self._turn_if_better(page.picture, first) if turn == "auto" else first
        return page.place(reading, picture)

    def _turn_if_better(self, picture: Picture, first: Reading) -> Reading:
        """Read a picture in other positions, if its reading in the first makes no sense."""
        marks = len(first.digits) + len(first.left_out)
        if share_sure(first) >= UPRIGHT_FROM or marks > TURN_TO:
            return first
        turned = [self._try(picture, each) for each in TURNS[1:]]
        best = max((reading for reading in turned if reading), key=share_sure, default=first)
        makes_sense = share_sure(best) >= TURNED_FROM and len(best.digits) >= TURN_FROM
        return best if makes_sense else first

    def _read_on_page(self, picture: Picture, turn: int) -> tuple[Reading, _Page]:
        """Read what is written on a page in the picture, or all of the picture; and give that.

        The edge of a page, and the grain of the table that it lies on, look like digits.
        """
        everything = _Page(picture)
        sheet = find_page(to_grey(picture.pixels))
        if sheet is None:
            return self._read_at(picture, turn), everything
        page = _Page.cut_out(picture, sheet)
        reading = self._try(page.picture, turn)
        if reading is None:
            return self._read_at(picture, turn), everything
        if turn == 0 and reading.verdict != "ok":
            alone = self._read_alone(picture)
            if alone is not None and alone.verdict == "ok" and _surrounds(alone, sheet, picture):
                return alone, everything
        around = take_away(picture.pixels, sheet)
        rest = None if around is None else self._try(replace(picture, pixels=around), turn)
        if rest is None or not _is_written(rest):
            return reading, page
        # It may be a form with a coloured field. If both cannot be read at once, say so.
        whole = self._try(picture, turn)
        if whole is not None and whole.verdict == "ok" and len(whole.digits) > len(reading.digits):
            return whole, everything
        return doubt(reading, BESIDE_PAGE), page

    def _read_at(self, picture: Picture, turn: int) -> Reading:
        """Read a picture in one position."""
        return self._read_turned(picture, turn) if turn else self._read_upright(picture)

    def _read_upright(self, picture: Picture) -> Reading:
        """Read the digits of a picture as it is; a single one as `predict` reads it.

        A page has lines, and what is as long as it is wide may be one of them. In a picture that
        is filled by one digit that is a stroke.
        """
        try:
            reading = self._read_turned(picture, 0)
        except BlankImageError:
            alone = self._read_alone(picture)
            if alone is None or alone.verdict != "ok":
                raise
            return alone
        if len(reading.digits) > len(reading.rows):  # there is a number of several digits
            return reading
        alone = self._read_alone(picture)
        return alone if alone is not None and _is_all(alone, reading) else reading

    def _read_alone(self, picture: Picture) -> Reading | None:
        """Read a picture that seems to show one digit and nothing else."""
        try:
            prepared = prepare(picture.pixels)
        except ImageError:
            return None
        [prediction] = self.predict_prepared([prepared])
        if prepared.others or prediction.verdict == "not a digit":
            return None
        across, down = picture.width / prepared.width, picture.height / prepared.height
        left, top, right, bottom = prepared.box
        end = math.ceil(right * across), math.ceil(bottom * down)
        found = FoundDigit((int(left * across), int(top * down), *end), prediction)
        return Reading(((found,),), (), prediction.verdict, prediction.reason, 0)

    def _try(self, picture: Picture, turn: int) -> Reading | None:
        """Read a picture in a position in which there may be nothing to read."""
        try:
            return self._read_at(picture, turn)
        except ImageError:
            return None

    def _read_turned(self, picture: Picture, turn: int) -> Reading:
        """Read the digits of a picture, line by line."""
        lines = find_lines(picture, turn=turn)
        prepared = [candidate.prepared for line in lines for candidate in line.candidates]
        predictions = iter(self.predict_prepared(prepared))
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
                    FoundDigit(boxes[each], call_mark(answers[each], is_percent=is_percent))
                    for each in find_skipped(line, chosen)
                    for is_percent in [line.candidates[each].start in line.percents]
                ]
            )
        struck = any(line.is_struck for line in lines)
        return sum_up(rows, skipped, certainties, turn, is_struck=struck)

    def predict_prepared(
        self, prepared: Sequence[Prepared], *, pad_to: int | None = None
    ) -> list[Prediction]:
        """Read pictures that `preprocess.prepare` has brought to MNIST's form already.

        Parameters
        ----------
        prepared : sequence of Prepared
        pad_to : int, optional
            Fill the forward pass up with empty pictures to so many. The last decimals of an answer
            depend on how many pictures share the pass; with one size for all, they do not. If not
            given, as `round_up_batch` says.
        """
        if not prepared:
            return []
        # Of the ways to say the same in NumPy and PyTorch, those that run the least of their code:
        # for one picture, most of the time goes into fetching that code into the cache again.
        digits = np.array([each.digit for each in prepared])
        missing = (pad_to or round_up_batch(len(digits))) - len(digits)
        if missing > 0:
            digits = np.pad(digits, ((0, missing), (0, 0), (0, 0)))
        logits = compute_logits(self.network, torch.from_numpy(digits)[:, None])[: len(prepared)]
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


def round_up_batch(count: int) -> int:
    """Round the size of a batch up, so that few different sizes occur.

    PyTorch keeps a plan of some megabytes for every size that it meets: 250 sizes took 1.7 GB.
    Rounded up to powers of two, and from 32 on to multiples of 32, there are 13, up to
    `model.FORWARD_BATCH` and in what remains above it.

    >>> round_up_batch(5), round_up_batch(100), round_up_batch(256 + 3)
    (8, 128, 260)
    """
    full, rest = divmod(count, FORWARD_BATCH)
    if rest > ROUND_TO:
        rest = -(-rest // ROUND_TO) * ROUND_TO
    elif rest:
        rest = 1 << (rest - 1).bit_length()
    return full * FORWARD_BATCH + rest


def _is_all(alone: Reading, reading: Reading) -> bool:
    """Whether all that was found on a page is one digit, or parts of it."""
    if not reading.digits:
        return alone.verdict == "ok"
    if reading.left_out and reading.text == alone.text:  # a minus, say, that is joined to it
        return False
    left, top, right, bottom = alone.digits[0].box
    middles = [
        ((mark.box[0] + mark.box[2]) / 2, (mark.box[1] + mark.box[3]) / 2)
        for mark in (*reading.digits, *reading.left_out)
    ]
    return all(left <= x <= right and top <= y <= bottom for x, y in middles)


@dataclass(frozen=True)
class _Page:
    """What is read of a picture: a page in it, or all of it.

    Attributes
    ----------
    picture : Picture
    view : ndarray of shape (3, 3), float64, optional
        Takes places in it to those in the picture as it came, see `sheet.straighten`; None if they
        are the same.
    """

    picture: Picture
    view: np.ndarray | None = None

    @classmethod
    def cut_out(cls, picture: Picture, sheet: np.ndarray) -> _Page:
        """Cut out a sheet, given as a mask of the picture's pixels."""
        pixels, view = straighten(picture.pixels, sheet)
        height, width = sheet.shape
        scale = np.array([[picture.width / width], [picture.height / height], [1.0]])
        return cls(Picture(pixels, pixels.shape[1], pixels.shape[0]), scale * view)

    def place(self, reading: Reading, whole: Picture) -> Reading:
        """Give a reading of the page with boxes in the whole picture."""
        if self.view is None:
            return reading
        return move_boxes(reading, self.view, whole.width, whole.height)


def _surrounds(alone: Reading, sheet: np.ndarray, picture: Picture) -> bool:
    """Whether a digit lies around a page, which then is the inside of a 0."""
    left, top, wide, tall = cv2.boundingRect(sheet)
    across, down = picture.width / sheet.shape[1], picture.height / sheet.shape[0]
    page = left * across, top * down, (left + wide) * across, (top + tall) * down
    [digit] = alone.digits
    slack = AROUND_PAGE * max(picture.width, picture.height)
    before = all(digit.box[n] <= page[n] + slack for n in (0, 1))
    return before and all(digit.box[n] >= page[n] - slack for n in (2, 3))


def _is_written(rest: Reading) -> bool:
    """Whether what lies around a page is writing: the grain of wood is at most a 1."""
    return rest.verdict == "ok" and rest.text != "1"


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


def _each_source(sources: Iterable[PictureSource]) -> Iterator[PictureSource]:
    """Go through a collection of pictures; refuse what is one picture, or no collection.

    Many of these can be gone through: a name by its letters, an open file by its lines, a picture
    by its rows.
    """
    what = type(sources).__name__
    shape: tuple[int, ...] = getattr(sources, "shape", ())
    # Three numbers mean (N, height, width), unless the last can only be channels.
    is_flat = len(shape) == 2 or (len(shape) == 3 and shape[-1] in CHANNELS)
    if is_flat and (isinstance(sources, np.ndarray) or torch.is_tensor(sources)):
        raise SettingsError(
            f"sources: an array of shape {tuple(shape)} is not a batch of pictures; give a list of "
            "pictures, or an array of shape (N, height, width)"
        )
    if isinstance(sources, Mapping):
        raise SettingsError(f"sources: a {what} has names and pictures; give a list of its values")
    is_one = isinstance(sources, (str, os.PathLike, bytes, bytearray, memoryview, Picture))
    if is_one or hasattr(sources, "read"):
        raise SettingsError(f"sources: one {what} is not a list; give [picture], or use `predict`")
    try:
        return iter(sources)
    except TypeError as error:  # a PIL image, a number, nothing
        raise SettingsError(
            f"sources: one {what} is not a list of pictures; give a list"
        ) from error


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
        "  python predict.py a.png b.jpg --top 5\n"
        "  python predict.py a.png b.jpg --json\n"
        "  python predict.py --number phone.jpg",
        formatter_class=HelpFormatter,
    )
    parser.add_argument(
        "pictures",
        nargs="*",
        help="PNG, JPEG or any other picture files, or patterns of their names",
    )
    parser.add_argument(
        "--number", action="store_true", help="each picture shows several digits, maybe in lines"
    )
    parser.add_argument(
        "--turn",
        choices=["auto", *map(str, TURNS)],
        help="with --number: degrees to turn the pictures counter-clockwise (default: auto)",
    )
    parser.add_argument("--model", default="best", help="name in models/, or a checkpoint's path")
    parser.add_argument(
        "--top", type=int, metavar="N", help=f"guesses in the table, 1 to 10 (default: {GUESSES})"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return parser


def _check(args: argparse.Namespace) -> None:
    """Refuse flags that cannot work, or would have no effect on what is printed."""
    if args.turn is not None and not args.number:
        raise SettingsError("--turn is for --number: say that too, or leave it out")
    if args.top is None:
        return
    if args.json:
        raise SettingsError("--top is for the table: JSON holds all ten probabilities anyway")
    if args.number:
        raise SettingsError("--top is for single digits: leave it out with --number")
    if not 1 <= args.top <= CLASSES:
        raise SettingsError(f"--top {args.top}: choose 1 to {CLASSES} guesses")


def _expand(name: str) -> list[str]:
    """Give the files that a pattern stands for, as not every shell does.

    A name that is none, or that nothing matches, stays, and is missing like any other. Brackets
    alone are rather a part of the name: `scan[1].png`, if it is missing, is not `scan1.png`.
    """
    may_expand = ("*" in name or "?" in name) and is_pattern(name)
    found = [item.file or item.path for item in read_glob(name)] if may_expand else []
    return found or [name]


def run(args: argparse.Namespace) -> int:
    """Read the pictures and print a table or JSON; 1 if some could not be read."""
    _check(args)
    args.pictures = [path for name in args.pictures for path in _expand(name)]
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
        _print_table(names, answers, top=args.top or GUESSES)
    return max((a.exit_code for a in answers if isinstance(a, DigitError)), default=0)


def _run_numbers(predictor: MNISTPredictor, args: argparse.Namespace) -> int:
    """Read a number from each picture and print a table or JSON; 1 if some could not be read."""
    named = [(name, name) for name in args.pictures] or demonstrate_number()
    turn: int | Literal["auto"] = "auto" if args.turn in (None, "auto") else int(args.turn)
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
    names = [one_line(name) for name, _ in answers]
    width = max(len(name) for name in [*names, "picture"])
    rows = [("picture", "verdict", "least sure", "number", "")]
    for name, (_, answer) in zip(names, answers, strict=True):
        if isinstance(answer, DigitError):
            rows.append((name, "error", "-", "-", one_line(str(answer))))
            continue
        least = answer.least_confidence
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
    names = [one_line(name) for name in names]
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
            why = one_line(str(answer))
            cells = {"digit": "-", "confidence": "-", "verdict": "error", "more": why}
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
