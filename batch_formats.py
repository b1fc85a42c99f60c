"""The rows of a batch as files: CSV, JSON, JSON Lines, Parquet, or what Kaggle takes.

    Results -> WRITERS["csv"], ... -> a whole file, or none

Rows are streamed, so there may be more than memory holds. A file has its name only when all its
rows are written.

    >>> WRITERS["csv"](results, Path("results.csv"))
    PosixPath('results.csv')
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from batch_rows import Results
from errors import DataFormatError, SettingsError
from utils import atomic_write

T = TypeVar("T")

NAMED = 5  # pictures in an error message
PARQUET_ROWS = 10_000  # in one row group
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def write_csv(results: Results, path: Path) -> Path:
    """Write the rows as CSV (RFC 4180, UTF-8). An empty cell means that there is no value.

    A path or reason that a spreadsheet would take for a formula gets an apostrophe before it.
    """
    with atomic_write(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\r\n")
        writer.writerow(results.columns)
        texts = [place for place, name in enumerate(results.columns) if name in ("path", "reason")]
        for values in results.tuples():
            row = list(values)
            for place in texts:
                row[place] = _harmless(row[place])
            writer.writerow(row)
    return path


def _harmless(text: str) -> str:
    """Keep a spreadsheet from running a text as a formula."""
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text


def write_json(results: Results, path: Path) -> Path:
    """Write the rows as one JSON list, a row on each line."""
    with atomic_write(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        separator, encode = "[\n", json.JSONEncoder(ensure_ascii=False).encode
        for row in results:
            file.write(separator + encode(row))
            separator = ",\n"
        file.write("\n]\n" if separator == ",\n" else "[]\n")
    return path


def write_jsonl(results: Results, path: Path) -> Path:
    """Write the rows as JSON Lines: one JSON object on each line."""
    with atomic_write(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        encode = json.JSONEncoder(ensure_ascii=False).encode
        file.writelines(encode(row) + "\n" for row in results)
    return path


def write_parquet(results: Results, path: Path) -> Path:
    """Write the rows as Parquet, column by column and compressed.

    Raises
    ------
    SettingsError
        If pyarrow is not installed.
    """
    try:
        import pyarrow  # type: ignore[import, unused-ignore]
        import pyarrow.parquet  # type: ignore[import, unused-ignore]
    except ImportError as error:
        raise SettingsError("Parquet needs pyarrow: pip install pyarrow") from error
    schema = arrow_schema(results.columns)
    with atomic_write(path) as temporary, pyarrow.parquet.ParquetWriter(temporary, schema) as file:
        for rows in in_groups(results, PARQUET_ROWS):
            file.write_table(pyarrow.Table.from_pylist(rows, schema))
    return path


def arrow_schema(columns: Mapping[str, str]) -> Any:
    """Say what Arrow, and so Parquet, holds in columns, even where all values are missing.

    Every engine asks here, so the files of all engines can be read together.

    Parameters
    ----------
    columns : mapping
        Names, with SQLite's types; the private ones may be among them.

    Returns
    -------
    pyarrow.Schema
    """
    import pyarrow  # type: ignore[import, unused-ignore]

    kinds = {
        "TEXT": pyarrow.string(),
        "INTEGER": pyarrow.int32(),
        "REAL": pyarrow.float64(),
        "BLOB": pyarrow.binary(),
    }
    # Bytes of a file, and nanoseconds: nothing else needs more than 32 bits.
    large = {"size": pyarrow.int64(), "stamp": pyarrow.int64()}
    return pyarrow.schema([(name, large.get(name, kinds[kind])) for name, kind in columns.items()])


def in_groups(things: Iterable[T], size: int) -> Iterator[list[T]]:
    """Group anything into lists of at most `size`, in its order."""
    stream = iter(things)
    while group := list(islice(stream, size)):
        yield group


def write_submission(results: Results, path: Path) -> Path:
    """Write what Kaggle's digit-recognizer contest takes: ImageId from 1, and Label.

    Raises
    ------
    SettingsError
        If the rows hold numbers of several digits.
    DataFormatError
        If a row holds no digit: each line of a submission needs one.
    """
    if results.answer != "digit":
        raise SettingsError("a submission has one digit for each picture: read without --number")
    without = results.query("SELECT position + 1, path FROM rows WHERE digit IS NULL")
    if without:
        named = ", ".join(f"{number} ({name})" for number, name in without[:NAMED])
        more = f" and {len(without) - NAMED:,} more" if len(without) > NAMED else ""
        raise DataFormatError(
            f"{path.name} was not written, as no digit was read for ImageId {named}{more}: repair "
            "these pictures or take them out, then run again with --resume"
        )
    with atomic_write(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["ImageId", "Label"])
        writer.writerows((number, row["digit"]) for number, row in enumerate(results, start=1))
    return path


def write_skipped(results: Results, path: Path) -> Path:
    """Write the files that are no pictures, each with the reason, as CSV."""
    with atomic_write(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\r\n")
        writer.writerow(["path", "reason"])
        writer.writerows((_harmless(path), _harmless(reason)) for path, reason in results.skipped())
    return path


WRITERS = {
    "csv": write_csv,
    "json": write_json,
    "jsonl": write_jsonl,
    "parquet": write_parquet,
    "submission": write_submission,
}
