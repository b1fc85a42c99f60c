"""Tables that somebody has reviewed: which digit each picture really shows.

    review.csv -> rows -> the pictures themselves, also those in a zip or tar -> a store

Three tables are understood: `review.csv`, which a batch report saves; `results.csv` of a batch,
with a column `review` filled in; and `corrections.csv` of an export of corrections. A row that
cannot be used is handed on with the reason, so that nothing is passed over in silence.

    >>> [(each.path, each.correct) for each in read_reviews(Path("review.csv"))]
    [('scans/a.png', 7), ('scans/b.png', None)]
"""

from __future__ import annotations

import csv
import os
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

import numpy as np

from archives import find_archive, read_archive
from errors import (
    THE_PICTURE,
    DataFormatError,
    DataNotFoundError,
    DigitError,
    ImageError,
    OutputError,
    SettingsError,
)
from labels import NONE, PATH_COLUMNS, list_columns, means_no_digit, read_digit
from picture import PictureSource
from preprocess import prepare
from utils import printable

# Where several of these columns are there, the first counts.
REVIEW_COLUMNS = ("review", "correct", "label")
_DIGIT_COLUMNS = ("digit", "read_as")
_VERDICT_COLUMNS = ("verdict", "status")

_ESCAPED = re.compile(r"\\u(dc[89a-f][0-9a-f])")  # by `utils.printable`

Found: TypeAlias = "Path | bytes | DigitError"


@dataclass(frozen=True)
class Review:
    """One row of a reviewed table.

    Attributes
    ----------
    line : int
        Of the table, from 2 on.
    path : str
        What the table calls the picture.
    correct : int or None
        The digit that it shows; None if it shows no digit.
    is_empty : bool
        Whether nobody has looked at it.
    problem : str
        Why the row cannot be used; empty if it can.
    digit, confidence, verdict : int or None, float or None, str
        What was read, as far as the table tells.
    model, model_version : str
        Which network read it, as far as the table tells.
    """

    line: int
    path: str
    correct: int | None = None
    is_empty: bool = False
    problem: str = ""
    digit: int | None = None
    confidence: float | None = None
    verdict: str = ""
    model: str = ""
    model_version: str = ""


@dataclass(frozen=True, eq=False)
class Remembered:
    """What the network said about a picture, as a table remembers it."""

    digit: int | None
    confidence: float | None
    verdict: str
    image: np.ndarray


class Stored(Protocol):
    """What a store gives back; `feedback.Correction` is one."""

    @property
    def is_new(self) -> bool:
        """Tell whether the store did not know it yet."""


class Store(Protocol):
    """What takes corrections; `feedback.FeedbackStore` is one."""

    def add(
        self,
        picture: PictureSource,
        answer: Remembered,
        correct: int | None,
        *,
        model: str,
        model_version: str,
        source: str,
    ) -> Stored:
        """Keep what a picture really shows."""


@dataclass(frozen=True)
class Imported:
    """What became of the rows of a reviewed table.

    Attributes
    ----------
    added, known, unreviewed : int
        Rows that are new in the store, that it knew already, and that hold no review.
    problems : tuple of str
        One line for each row that could not be taken: where it is and why.
    """

    added: int = 0
    known: int = 0
    unreviewed: int = 0
    problems: tuple[str, ...] = ()


def read_reviews(path: Path) -> Iterator[Review]:
    """Stream the rows of a reviewed table.

    Parameters
    ----------
    path : Path
        CSV with a column `path` (or another of `labels.PATH_COLUMNS`) and one called `review` (or
        `correct`, or `label`), in any case. In that, a
        digit; or "none", where the picture shows no digit; or nothing, where nobody has looked.

    Raises
    ------
    DataNotFoundError
        If there is no such file.
    DataFormatError
        If it is not CSV or lacks these columns.
    """
    try:
        file = path.open(newline="", encoding="utf-8-sig")
    except OSError as error:
        raise DataNotFoundError(f"{path}: cannot be opened ({error.strerror})") from error
    with file:
        rows = csv.DictReader(file, restkey="", restval="")
        try:
            column = _find_column(path, rows)
            for row in rows:
                row.pop("", None)  # cells beyond the last column
                yield _to_review(rows.line_num, column, row)
        except UnicodeDecodeError as error:
            raise DataFormatError(
                f"{path}: not CSV in UTF-8; save it again as CSV in UTF-8"
            ) from error
        except csv.Error as error:
            raise DataFormatError(
                f"{path}, after line {rows.line_num}: not CSV ({error})"
            ) from error


def find_pictures(reviews: Sequence[Review], folder: Path) -> Iterator[tuple[Review, Found]]:
    """Find the pictures of rows: files at once, those of an archive in one go through it.

    Parameters
    ----------
    reviews : sequence of Review
    folder : Path
        Where relative paths are looked for first; then in the current folder.

    Yields
    ------
    (Review, Path or bytes or DigitError)
        The file, which may be missing; or what was found in an archive; or why it was not.
    """
    packed: dict[Path, dict[str, list[Review]]] = defaultdict(lambda: defaultdict(list))
    for review in reviews:
        path = _locate(review.path, folder)
        archive = find_archive(path)
        if archive is None:
            yield review, path
        else:
            packed[archive][printable(path)].append(review)
    for archive, wanted in packed.items():
        yield from _unpack(archive, wanted)


def import_reviews(store: Store, path: str | os.PathLike[str]) -> Imported:
    """Take over the corrections of a reviewed table; see `read_reviews`.

    Where rows say different things about one picture, none of them is taken.

    Parameters
    ----------
    store : Store
        Takes them, such as a `feedback.FeedbackStore`.
    path : path
        The table. Pictures are looked for beside it first.

    Raises
    ------
    DataNotFoundError
        If there is no such file.
    DataFormatError
        If it is not CSV or lacks the columns.
    OutputError
        If the store cannot be written; what was stored before is intact.
    """
    reviews = list(read_reviews(Path(path)))
    problems = {each.line: each.problem for each in reviews if each.problem}
    reviewed = [each for each in reviews if not (each.problem or each.is_empty)]
    conflicts = _find_conflicts(reviewed, Path(path).parent)
    problems |= conflicts
    reviewed = [each for each in reviewed if each.line not in conflicts]
    outcomes = []
    for review, picture in find_pictures(reviewed, Path(path).parent):
        try:
            outcomes.append(_import(store, review, picture).is_new)
        except OutputError:
            raise  # the next row would fare no better
        except DigitError as error:
            problems[review.line] = _explain(error)
    return Imported(
        added=outcomes.count(True),
        known=outcomes.count(False),
        unreviewed=sum(each.is_empty for each in reviews),
        problems=tuple(
            f"line {each.line}, {each.path}: {problems[each.line]}"
            for each in reviews
            if each.line in problems
        ),
    )


def _find_conflicts(reviews: Sequence[Review], folder: Path) -> dict[int, str]:
    """Say of each row, by its line, which other one calls the same picture something else."""
    rows: dict[str, list[Review]] = defaultdict(list)
    for review in reviews:
        # One file may be written in several ways: a.png, ./a.png, its whole path, or by a link.
        rows[os.path.realpath(_locate(review.path, folder))].append(review)
    conflicts = {}
    for same in rows.values():
        firsts: dict[int | None, Review] = {}
        for each in same:
            firsts.setdefault(each.correct, each)
        for each in same:
            others = (other for other in firsts.values() if other.correct != each.correct)
            if other := next(others, None):
                conflicts[each.line] = (
                    f"{_name(each.correct)} here, but {_name(other.correct)} in line "
                    f"{other.line}; neither is taken: leave the right one"
                )
    return conflicts


def _name(correct: int | None) -> str:
    return NONE if correct is None else str(correct)


def _explain(error: DigitError) -> str:
    """Say what is wrong with a row, which names what has no name of its own."""
    if isinstance(error, ImageError) and error.subject == THE_PICTURE:
        return error.reason
    return str(error)


def _import(store: Store, review: Review, picture: Found) -> Stored:
    """Store one row of a reviewed table."""
    if isinstance(picture, DigitError):
        raise picture
    seen = prepare(picture).digit
    return store.add(
        picture,
        Remembered(review.digit, review.confidence, review.verdict, seen),
        review.correct,
        model=review.model,
        model_version=review.model_version,
        source="import",
    )


def _find_column(path: Path, rows: csv.DictReader) -> str:
    """Find the column that holds the reviews, and call that of the pictures `path`.

    The names may be in any case, and `path` may be called as in any other table of pictures.
    """
    header = rows.fieldnames or ()
    names = [name.strip().lower() for name in header]
    column = next((name for name in REVIEW_COLUMNS if name in names), None)
    path_column = next((name for name in PATH_COLUMNS if name in names), None)
    if path_column is None or column is None:
        raise DataFormatError(
            f"{path}: needs a column 'path' and one called {' or '.join(REVIEW_COLUMNS)}; "
            f"it has {list_columns(header)}"
        )
    rows.fieldnames = ["path" if name == path_column else name for name in names]
    return column


def _to_review(line: int, column: str, row: dict[str, str]) -> Review:
    """Read one row."""
    values = {name: value.strip() for name, value in row.items()}
    try:
        return Review(
            line,
            values["path"],
            _read_digit(values[column].lower()),
            is_empty=not values[column],
            digit=_read_digit(_first(values, _DIGIT_COLUMNS)),
            confidence=_read_share(values.get("confidence", "")),
            verdict=_first(values, _VERDICT_COLUMNS),
            model=values.get("model", ""),
            model_version=values.get("model_version", ""),
        )
    except SettingsError as error:
        return Review(line, values["path"], problem=str(error))


def _first(values: dict[str, str], names: Sequence[str]) -> str:
    """Give the value of the first column that is there."""
    return next((values[name] for name in names if name in values), "")


def _read_digit(text: str) -> int | None:
    """Read "7" or "7.0"; None for words that mean no digit."""
    if not text or means_no_digit(text):
        return None
    digit = read_digit(text)
    if digit is None:
        raise SettingsError(f"{text!r} is not a digit: write 0 to 9, or none for no digit")
    return digit


def _read_share(text: str) -> float | None:
    """Read a confidence."""
    try:
        share = float(text) if text else None
    except ValueError:
        share = -1.0
    if share is not None and not 0 <= share <= 1:
        raise SettingsError(f"confidence {text!r} is not a number from 0 to 1")
    return share


def _locate(name: str, folder: Path) -> Path:
    """Find the file that a table means; the first guess if there is none."""
    # A batch puts an apostrophe before what a spreadsheet would take for a formula.
    names = [name, name.removeprefix("'")]
    # And it writes a byte that is no UTF-8 as \udcff; a file may also be called so.
    names += [_ESCAPED.sub(lambda found: chr(int(found[1], 16)), each) for each in names]
    guesses = [base / each for each in names for base in (folder, Path())]
    # Path.is_file would raise for a name that is too long, or below a folder not to be entered.
    return next(
        (path for path in guesses if os.path.isfile(path) or find_archive(path)),  # noqa: PTH113
        guesses[0],
    )


def _unpack(archive: Path, wanted: dict[str, list[Review]]) -> Iterator[tuple[Review, Found]]:
    """Read the wanted pictures out of an archive, one after the other, and nothing behind them."""
    why: DigitError = DataNotFoundError(f"there is no such file in {archive}; check the name")
    try:
        for item in read_archive(archive, frozenset(wanted)):
            found = DataFormatError(item.problem) if item.data is None else item.data
            if item.path == printable(archive):  # which is damaged from here on
                why = DataFormatError(item.problem)
            for review in wanted.pop(item.path, ()):
                yield review, found
            if not wanted:
                break
    except DigitError as error:
        why = error
    yield from ((review, why) for reviews in wanted.values() for review in reviews)
