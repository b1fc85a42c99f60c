"""Measure how well numbers of several digits are read: generated rows, or pictures of yours.

    rows of 1 to 12 digits in generated hands, photographed -> read -> edit distance -> table

A digit counts as read if the shortest way to turn the answer into the truth leaves it alone;
a number counts if nothing has to be changed.

    $ python evaluate_numbers.py
    $ python evaluate_numbers.py --rows 100 --strength 1.0
    $ python evaluate_numbers.py --gap -0.05          # neighbours touch and overlap
    $ python evaluate_numbers.py --on-table           # notes, with the table around them
    $ python evaluate_numbers.py numbers.csv          # columns path and label; "/" between lines
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from degrade import lay_on_table, photograph
from errors import DataFormatError, DataNotFoundError, ImageError, SettingsError
from labels import find_columns, read_number
from measures import Share
from picture import PictureSource
from predict import MNISTPredictor
from strokes import draw_number
from utils import MAX_SEED, HelpFormatter, one_line, report_errors

MAX_ROWS = 1_000_000
MOST_DIGITS = 12  # in a generated row; rows of each length from 1 on come equally often
HEIGHTS = (36, 112)  # pixels; of a generated digit
MARGINS = (0.4, 2.0)  # of a digit's height; around the number on a note
STRENGTH = 0.7  # of what `degrade.photograph` does
ROWS, SEED = 200, 0
# What may be said of generated rows; None leaves it to what is above.
_LIMITS = {"rows": (1, MAX_ROWS), "seed": (0, MAX_SEED), "strength": (0, 1), "gap": (-0.5, 5)}


@dataclass(frozen=True)
class Outcome:
    """What became of one picture.

    Attributes
    ----------
    name, truth, answer : str
        "/" separates lines; the answer is empty where nothing could be read.
    verdict : str
        Of the reading, or "error".
    changes : int
        How many digits have to be changed, added or removed to make the answer right.
    """

    name: str
    truth: str
    answer: str
    verdict: str
    changes: int


def count_changes(answer: str, truth: str) -> int:
    """Count the changes that make one text into another: the edit distance.

    References
    ----------
    Levenshtein 1966, "Binary codes capable of correcting deletions, insertions and reversals".
    """
    row = list(range(len(truth) + 1))
    for i, given in enumerate(answer, 1):
        before, row[0] = row[0], i
        for j, wanted in enumerate(truth, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (given != wanted))
    return row[-1]


def make_rows(
    count: int,
    *,
    seed: int = SEED,
    strength: float = STRENGTH,
    gap: float | None = None,
    on_table: bool = False,
) -> Iterator[tuple[str, str, np.ndarray]]:
    """Write and photograph rows of digits.

    Parameters
    ----------
    count : int
    seed : int, default=0
        The same seed makes the same rows, whatever the count.
    strength : float, default=0.7
        How bad the photographs are; see `degrade.photograph`.
    gap : float, optional
        Mean distance between digits; see `strokes.draw_number`.
    on_table : bool, default=False
        Whether each stands on a note of its own, with the table around it.

    Yields
    ------
    name : str
    digits : str
    picture : ndarray of shape (height, width) or (height, width, 3), uint8
    """
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        digits = "".join(map(str, rng.integers(0, 10, 1 + number % MOST_DIGITS)))
        height = int(rng.integers(*HEIGHTS))
        ink, _ = draw_number(digits, rng, height=height, gap=gap)
        if on_table:
            margins = (height * rng.uniform(*MARGINS, (2, 2))).astype(int).tolist()
            ink = np.pad(ink, margins)
        picture = photograph(ink, rng, strength=strength, keep_layout=True)
        if on_table:
            picture = lay_on_table(picture, rng)
        yield f"row {number}", digits, picture


def load_table(path: Path) -> list[tuple[str, str, Path]]:
    """Read a table of pictures and what they show.

    Parameters
    ----------
    path : Path
        A CSV file with a column of paths, relative to the table, and one of labels; see
        `labels.find_columns`.

    Returns
    -------
    list of (str, str, Path)
        The path as it is written there, the digits with "/" between lines, and where the file is.

    Raises
    ------
    DataNotFoundError
        If there is no such table.
    DataFormatError
        If it is empty or lacks a column, or a row names no picture or no number.
    """
    table = []
    try:
        path_column, label_column = find_columns(path, labelled=True)
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file)
            for row in rows:
                name, label = row[path_column] or "", row[label_column] or ""
                number = read_number(label)
                if not name:
                    raise DataFormatError(f"{path}, line {rows.line_num}: names no picture")
                if number is None:
                    raise DataFormatError(
                        f"{path}, line {rows.line_num}: label {label!r} is not digits, with / "
                        "between lines"
                    )
                table.append((name, number.replace(" ", "/"), path.parent / name))
    except OSError as error:
        raise DataNotFoundError(f"{path}: cannot be read ({error.strerror})") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataFormatError(f"{path}: is not a CSV table in UTF-8 ({error})") from error
    if not table:
        raise DataFormatError(f"{path}: holds no rows; give each picture one, as path,label")
    return table


def judge(predictor: MNISTPredictor, name: str, truth: str, source: PictureSource) -> Outcome:
    """Read one picture and compare."""
    try:
        reading = predictor.read(source)
    except ImageError:
        return Outcome(name, truth, "", "error", len(truth))
    answer = "/".join(reading.lines)
    return Outcome(name, truth, answer, reading.verdict, count_changes(answer, truth))


def summarise(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Count digits and whole numbers, all and those with the verdict "ok".

    Parameters
    ----------
    outcomes : sequence of Outcome

    Returns
    -------
    dict
        `digits`, `numbers` and `ok_numbers` as `measures.Share.to_dict` gives them, and
        `mistakes`: name, truth, answer and verdict of each number that was not read.
    """
    lengths = [len(outcome.truth.replace("/", "")) for outcome in outcomes]
    lost = sum(
        min(outcome.changes, length) for outcome, length in zip(outcomes, lengths, strict=True)
    )
    sure = [outcome for outcome in outcomes if outcome.verdict == "ok"]
    return {
        "digits": Share(sum(lengths) - lost, sum(lengths)).to_dict(),
        "numbers": Share(sum(o.changes == 0 for o in outcomes), len(outcomes)).to_dict(),
        "ok_numbers": Share(sum(o.changes == 0 for o in sure), len(sure)).to_dict(),
        "mistakes": [
            {"name": o.name, "truth": o.truth, "answer": o.answer, "verdict": o.verdict}
            for o in outcomes
            if o.changes
        ],
    }


def build_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(
        description="Measure how well numbers of several digits are read.",
        epilog="examples:\n"
        "  python evaluate_numbers.py\n"
        "  python evaluate_numbers.py --rows 100 --strength 1.0\n"
        "  python evaluate_numbers.py numbers.csv --model last",
        formatter_class=HelpFormatter,
    )
    add = parser.add_argument
    add("table", nargs="?", type=Path, help="CSV with path and label; else rows are generated")
    # fmt: off
    add("--rows", type=int,
        help=f"how many to generate, of 1 to 12 digits in turn (default: {ROWS})")
    add("--seed", type=int, help=f"of the generated rows (default: {SEED})")
    add("--strength", type=float,
        help=f"how bad the photographs are, 0 to 1 (default: {STRENGTH})")
    # fmt: on
    add("--gap", type=float, help="mean gap in digit heights; by default 0.08 to 0.6, at random")
    add("--on-table", action="store_true", help="numbers on notes, with the table around them")
    add("--model", default="best", help="name in models/, or a checkpoint's path")
    add("--device", default="auto", help="auto, cpu, cuda or mps")
    add("--json", action="store_true", help="print JSON instead of a table")
    return parser


def run(args: argparse.Namespace) -> int:
    """Read all pictures and print what came out."""
    asked = {flag: getattr(args, flag) for flag in _LIMITS if getattr(args, flag) is not None}
    for flag, value in asked.items():
        least, most = _LIMITS[flag]
        if args.table:
            raise SettingsError(
                f"--{flag} is for rows that are generated: leave it out, or the table {args.table}"
            )
        if not least <= value <= most:
            raise SettingsError(f"--{flag} {value:g}: choose {least} to {most:,}")
    if args.table and args.on_table:
        raise SettingsError(
            f"--on-table is for rows that are generated: leave it out, or the table {args.table}"
        )
    pictures: Iterator[tuple[str, str, PictureSource]]
    if args.table:
        table = load_table(args.table)
        count, pictures = len(table), iter(table)
    else:
        count = asked.pop("rows", ROWS)
        pictures = iter(make_rows(count, on_table=args.on_table, **asked))
    predictor = MNISTPredictor(args.model, device=args.device)
    outcomes = [
        judge(predictor, *picture)
        for picture in tqdm(pictures, total=count, desc="reading", disable=None)
    ]
    summary = summarise(outcomes)
    if args.json:
        print(json.dumps(summary, indent=2))
    else:
        print(_format(summary))
    return 0


def _format(summary: dict[str, Any]) -> str:
    """Lay out the summary as a table."""
    titles = {"digits": "digits", "numbers": "whole numbers", "ok_numbers": '  called "ok"'}
    lines = [f"{'':<14}  {'right':>7}  {'95 % interval':>15}  count"]
    for key, title in titles.items():
        share = summary[key]
        value = "-" if share["value"] is None else f"{share['value']:.1%}"
        interval = f"{share['low']:.1%} - {share['high']:.1%}"
        lines.append(
            f"{title:<14}  {value:>7}  {interval:>15}  {share['count']:,} of {share['of']:,}"
        )
    if summary["mistakes"]:
        lines.append("\nmistakes (truth -> answer):")
    for mistake in summary["mistakes"]:
        answer = mistake["answer"] or "-"
        name, truth = one_line(mistake["name"]), mistake["truth"]
        lines.append(f"  {name}: {truth} -> {answer} ({mistake['verdict']})")
    return "\n".join(lines)


@report_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line."""
    args = build_parser().parse_args(argv)
    return run(args)


if __name__ == "__main__":
    sys.exit(main())
