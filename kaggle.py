"""Kaggle's digit-recognizer files: a picture in each line of a CSV, as a stream of small arrays.

    label,pixel0,...,pixel783 -> checks -> (rows, 785) bytes, (rows, 785) bytes, ...

Training and batches read these files alike. The arithmetic of a thousand lines at a time is
NumPy's; only where it refuses are the lines looked at one by one, to name the cell.

    >>> has_labels(Path("train.csv"))
    True
    >>> [rows.shape for rows in read_rows(Path("train.csv"))][:2]
    [(1000, 785), (1000, 785)]

Source: https://www.kaggle.com/competitions/digit-recognizer/data
"""

from __future__ import annotations

import contextlib
import csv
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TextIO

import numpy as np

from errors import DataFormatError, DataNotFoundError

PIXELS = 784  # 28x28, row by row
LINES = 1_000  # that are read at once
_LONGEST_HEADER = 2**16  # bytes that are looked at; Kaggle's has 6,952
_LARGEST = 255  # of a pixel
_LARGEST_LABEL = 9


def is_kaggle(path: Path) -> bool:
    """Tell by its first line whether a file is meant to be one of Kaggle's.

    Raises
    ------
    OSError
        If it cannot be opened.
    """
    with path.open("rb") as file:
        return b"pixel0" in file.readline(_LONGEST_HEADER)


def has_labels(path: Path) -> bool:
    """Whether the first column of a file holds labels.

    Raises
    ------
    DataNotFoundError
        If there is no such file.
    DataFormatError
        If the names in its first line are not Kaggle's, or nothing follows them.
    """
    with _open(path) as file:
        columns = _read_columns(path, file)
        if not any(line.strip() for line in file):  # stops at the first with anything in it
            raise DataFormatError(f"{path}: no pictures after the first line")
    return len(columns) > PIXELS


def read_rows(path: Path) -> Iterator[np.ndarray]:
    """Stream the pictures of a file; empty lines mean nothing.

    Yields
    ------
    ndarray of shape (rows, 784) or (rows, 785), uint8
        White ink (255) on black (0), before it the label if the file has labels.

    Raises
    ------
    DataNotFoundError
        If there is no such file.
    DataFormatError
        If a line does not hold one picture. The message names the line and the column.
    """
    with _open(path) as file:
        columns = _read_columns(path, file)
        numbered = enumerate(file, start=2)
        while some := list(islice(numbered, LINES)):
            if lines := {number: line for number, line in some if line.strip()}:
                yield _parse(path, columns, lines)


@contextlib.contextmanager
def _open(path: Path) -> Iterator[TextIO]:
    """Open a file; bytes that are no UTF-8 become characters that no cell may hold."""
    try:
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            yield file
    except FileNotFoundError as error:
        raise DataNotFoundError(
            f"no file {path}; Kaggle's files are train.csv and test.csv"
        ) from error
    except (OSError, csv.Error) as error:
        raise DataFormatError(f"{path} cannot be read as CSV text ({error})") from error


def _read_columns(path: Path, file: TextIO) -> list[str]:
    """Read the names in the first line and check that they are Kaggle's."""
    columns = [name.strip() for name in _split(file.readline())]
    pixels = [f"pixel{number}" for number in range(PIXELS)]
    if columns not in (pixels, ["label", *pixels]):
        found = ",".join(columns[:3])[:60] or "nothing"
        raise DataFormatError(
            f"{path}, line 1: expected the names label,pixel0,...,pixel{PIXELS - 1} (or only the "
            f"pixels), found {len(columns)} names beginning {found!r}"
        )
    return columns


def _split(line: str) -> list[str]:
    """Split a line at its commas, and take the quotes off."""
    return next(csv.reader([line]), [])


def _parse(path: Path, columns: Sequence[str], lines: dict[int, str]) -> np.ndarray:
    """Turn lines, by their numbers, into bytes."""
    try:
        # Not as integers: to NumPy before 2.3 "0.5" was the integer 0.
        table = np.loadtxt(
            lines.values(), np.float32, delimiter=",", comments=None, quotechar='"', ndmin=2
        )
    except ValueError as error:
        raise DataFormatError(_first_fault(path, columns, lines)) from error
    limits = [_limit(name) for name in columns]
    if table.shape[1] == len(columns):
        is_right = (table >= 0) & (table <= limits) & (table == np.floor(table))  # NaN is not
        if is_right.all():
            return table.astype(np.uint8)
    raise DataFormatError(_first_fault(path, columns, lines))


def _limit(column: str) -> int:
    """Say how large a value of a column may be."""
    return _LARGEST_LABEL if column == "label" else _LARGEST


def _first_fault(path: Path, columns: Sequence[str], lines: dict[int, str]) -> str:
    """Search for the first cell that cannot be part of a picture; slow, so only after a failure."""
    for number, line in lines.items():
        row = _split(line)
        if len(row) != len(columns):
            return f"{path}, line {number}: {len(row)} values, not {len(columns)}; get it anew"
        for name, cell in zip(columns, row, strict=True):
            if not _is_whole(cell, _limit(name)):
                return (
                    f"{path}, line {number}, column {name}: {cell[:20]!r} is not a whole number "
                    f"from 0 to {_limit(name)}; correct it, or get the file anew"
                )
    return f"{path}, lines {min(lines)} to {max(lines)}: not a table of whole numbers"


def _is_whole(cell: str, limit: int) -> bool:
    """Whether a cell holds a whole number, also written as 7.0."""
    try:
        value = float(cell)
    except ValueError:
        return False
    return 0 <= value <= limit and value.is_integer()
