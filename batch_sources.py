"""Where a batch gets its pictures: one stream of inputs from a folder, a list or an archive.

    folder, glob, list, manifest, zip, tar, Kaggle CSV, "-" (names on stdin) -> Input, Input, ...

Here a source is recognised, lists and tables are read, and labels are added. Files, archives and
object stores are read in `folders.py`, `archives.py` and `object_store.py`.

The stream is lazy and always comes in the same order, so a million pictures need no more memory
than ten, and an interrupted batch can be taken up where it stopped. (One thing grows: the names
of the folder being read, about 100 bytes each, because they have to be sorted; a zip keeps its
own directory.) Nothing is opened here that need not be: telling a picture from a text is left to
`batch_workers.py`, which looks at the content.

    >>> [item.path for item in open_source("digits").read()]
    ['digits/3/a.png', 'digits/3/b.jpg']
"""

from __future__ import annotations

import codecs
import contextlib
import csv
import glob
import logging
import os
import sys
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import chain
from pathlib import Path

from archives import (
    can_open_zip,
    count_zip,
    errors_named,
    find_archive,
    has_tar_suffix,
    read_tar,
    read_zip,
    recognise_archive,
)
from batch_input import Input, Source
from errors import DataFormatError, DataNotFoundError, DigitError, SettingsError
from folders import (
    count_files,
    count_matches,
    describe_listed,
    is_pattern,
    read_folder,
    read_glob,
    start_of_glob,
)
from kaggle import has_labels, is_kaggle, read_rows
from labels import LABEL_RULES, NONE, find_columns, find_label, means_no_digit, read_label
from object_store import is_address, read_address
from utils import count_noun, printable

log = logging.getLogger(__name__)

MOST_ENDINGS = 5  # of files, named in a message
MOST_SHOWN = 40  # characters of a label, shown in a message


def open_source(
    what: str | os.PathLike[str],
    *,
    recursive: bool = True,
    labels: str = "auto",
    numbers: bool = False,
) -> Source:
    """Recognise what a batch is to be made of.

    Parameters
    ----------
    what : str or path
        A folder; a pattern such as `scans/*/*.png`; a text file with one path on each line; a
        CSV file with a column `path` (or file, filename, image, picture) and, if the digits are
        known, a column `label`; a zip or tar file; Kaggle's `train.csv` or `test.csv`; one
        picture; an address such as s3://bucket/folder; or "-" for paths on standard input.
        Relative paths in a list or manifest start at its own folder, those on standard input at
        the current one; they may lead into a zip or tar (`scans.zip/3/a.png`).
    recursive : bool, default=True
        Whether to go into subfolders.
    labels : {"auto", "names", "none"}, default="auto"
        Where known digits come from. "auto": the label column, or a folder named by one digit
        (`7/scan.png`). "names": the file's name, where it starts with one digit that no other
        digit follows (`7_12.png`).
    numbers : bool, default=False
        Pictures show numbers of several digits: then a label is a text of digits, "auto" is the
        label column alone, and "names" takes all digits that the name starts with (`0123_a.png`).

    Raises
    ------
    DataNotFoundError
        If there is no such thing, or it cannot be opened.
    DataFormatError
        If it is a table without a column of paths, or an archive that cannot be opened.
    SettingsError
        If `labels` is none of the three.
    """
    if labels not in LABEL_RULES:
        raise SettingsError(f"labels={labels!r}: choose one of {', '.join(LABEL_RULES)}")
    with errors_named(what):
        source = _recognise(os.fspath(what), recursive)

    def read() -> Iterator[Input]:
        with errors_named(what):
            yield from add_labels(source.read(), labels, numbers=numbers)

    def count() -> int | None:
        with contextlib.suppress(OSError, DigitError):  # reading says it better
            return source.count()
        return None

    return replace(source, read=read, count=count)


def _recognise(what: str, recursive: bool) -> Source:
    """Tell the kind of source from what is on the disk."""
    if is_address(what):
        return Source(
            "address", what.rpartition("/")[2], what, lambda: read_address(what, recursive)
        )
    path = Path(what)
    if what == "-":
        return Source("stdin", "stdin", "-", lambda: read_list(sys.stdin.buffer, Path()))
    where = str(path.absolute()) if glob.has_magic(what) else str(path.resolve())
    if is_pattern(what):
        return Source(
            "glob",
            "glob",
            where,
            lambda: read_glob(what),
            lambda: count_matches(what),
            start=printable(start_of_glob(what)),
        )
    if path.is_dir():
        return Source(
            "folder",
            path.resolve().name,
            where,
            lambda: read_folder(what, recursive=recursive),
            lambda: count_files(what, recursive=recursive),
            start=printable(f"{path}{os.sep}"),
        )
    if path.is_file():
        beside = "" if path.parent == Path() else f"{path.parent / '_'}"[:-1]
        return replace(_recognise_file(path, where), start=printable(beside))
    raise DataNotFoundError(
        f"{what}: no such folder or file; give a folder, a pattern in quotes, a list (.txt), "
        "a manifest (.csv), a .zip or a .tar"
    )


def _recognise_file(path: Path, where: str) -> Source:
    """Tell lists, tables and archives from a single picture: by suffix, archives by content."""
    suffix = path.suffix.lower()
    if suffix == ".csv":
        if is_kaggle(path):
            has_labels(path)  # columns that are not Kaggle's are refused before any work is done
            return Source(
                "kaggle", path.stem, where, lambda: read_kaggle(path), lambda: _lines(path) - 1
            )
        find_columns(path)  # a table without paths is refused before any work is done
        return Source("manifest", path.stem, where, lambda: read_manifest(path))
    if suffix in (".txt", ".lst", ".list"):
        return Source("list", path.stem, where, lambda: _read_list_file(path), lambda: _lines(path))
    kind = recognise_archive(path)
    if kind == "zip":
        return Source("zip", path.stem, where, lambda: read_zip(path), lambda: count_zip(path))
    if kind == "tar":
        return Source("tar", path.name.split(".")[0], where, lambda: read_tar(path))
    return Source("file", path.stem, where, lambda: iter([describe_listed(path)]), lambda: 1)


def read_list(lines: Iterable[bytes], base: Path) -> Iterator[Input]:
    """Stream the files named by lines of bytes; empty lines mean nothing.

    Those in archives come last; see `_read_named`.
    """
    names = (os.fsdecode(line.removeprefix(codecs.BOM_UTF8).rstrip(b"\r\n")) for line in lines)
    yield from _read_named((base / name, None) for name in names if name)


def _read_list_file(path: Path) -> Iterator[Input]:
    """Stream what a text file names."""
    with path.open("rb") as lines:
        yield from read_list(lines, path.parent)


def read_manifest(path: Path) -> Iterator[Input]:
    """Stream the files in a CSV's column of paths, with what is in its column of labels.

    Those in archives come last; see `_read_named`.

    Raises
    ------
    DataFormatError
        If it has no column of paths, or is not CSV.
    """
    path_column, label_column = find_columns(path)
    # Not `row.get("")` where there is none: so pandas names the column of its row numbers.
    with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
        rows = csv.DictReader(file)
        try:
            yield from _read_named(
                (
                    path.parent / (row[path_column] or ""),
                    # An empty cell says something too: a folder's name does not count then.
                    row[label_column] or "" if label_column else None,
                )
                for row in rows
            )
        except csv.Error as error:
            place = f"{path}, after line {rows.line_num}"
            raise DataFormatError(f"{place}: not CSV ({error})") from error


def _read_named(named: Iterable[tuple[Path, str | None]]) -> Iterator[Input]:
    """Stream files that somebody named, with their labels; then those in archives.

    A path may lead into an archive as if that were a folder. What is wanted of an archive waits
    until the end, so that one pass through it is enough; until then the names are in memory.
    """
    packed: dict[Path, dict[str, list[str | None]]] = {}
    for path, label in named:
        item = describe_listed(path)
        archive = find_archive(path) if item.problem else None
        if archive is None:
            yield replace(item, label=label)
        else:
            packed.setdefault(archive, {}).setdefault(item.path, []).append(label)
    for archive, wanted in packed.items():
        yield from _read_packed(archive, wanted)


def _read_packed(archive: Path, wanted: dict[str, list[str | None]]) -> Iterator[Input]:
    """Stream some members of an archive, by what rows call them, each with its labels."""
    problem = f"there is no such file in {archive}; check the name"
    try:
        items: Iterator[Input] = iter(())
        if can_open_zip(archive):
            items = read_zip(archive, frozenset(wanted))
        elif has_tar_suffix(archive):
            items = read_tar(archive, frozenset(wanted))
        else:
            problem = f"{archive} cannot be opened as a zip or tar; check it and the name"
        for item in items:
            if item.path == printable(archive):  # which is damaged from here on
                problem = item.problem
            for label in wanted.pop(item.path, ()):
                yield replace(item, label=label, is_listed=True)
    except OSError as error:
        problem = f"{archive} cannot be opened ({error.strerror or error}); check its permissions"
    for name, labels in wanted.items():
        yield from (
            Input(name, label=label, is_listed=True, problem=printable(problem)) for label in labels
        )


def read_kaggle(path: Path) -> Iterator[Input]:
    """Stream the rows of Kaggle's digit-recognizer files; see `kaggle.read_rows` for its errors."""
    labelled = has_labels(path)
    rows = chain.from_iterable(read_rows(path))
    for number, row in enumerate(rows, start=1):
        pixels = row[int(labelled) :].tobytes()
        label = int(row[0]) if labelled else None
        name = f"{path}#{number}"
        yield Input(name, data=pixels, stamp=zlib.crc32(pixels), label=label, is_raw=True)


def _lines(path: Path) -> int:
    """Count the lines of a file."""
    with path.open("rb") as file:
        return sum(1 for line in file if line.strip())


def add_labels(
    items: Iterable[Input], labels: str = "auto", *, numbers: bool = False
) -> Iterator[Input]:
    """Add to inputs what they are known to show; `labels` and `numbers` as in `open_source`.

    What a source says and nobody understands is counted and named in the log at the end.
    """
    keep = labels == "auto"  # a manifest knows better than the name of a folder
    lost: Input | None = None
    count = 0
    for item in items:
        said = None if item.label is None or not keep else str(item.label)
        if said is None:
            label = find_label(item.path, labels, number=numbers)
        else:
            label = read_label(said, number=numbers)
            if label is None and said.strip() and not means_no_digit(said):
                count += 1
                lost = lost or item
        yield item if label == item.label else replace(item, label=label)
    if lost:
        log.warning(
            "%s not understood and left out, such as %r of %s: write %s",
            "1 label was" if count == 1 else f"{count:,} labels were",
            str(lost.label)[:MOST_SHOWN],
            lost.path,
            "the digits of the number" if numbers else f"0 to 9, or {NONE} for no digit",
        )


def explain_nothing(what: str, kind: str, others: Mapping[str, int] | None = None) -> str:
    """Say that a source has no picture, and what is there instead.

    Parameters
    ----------
    what, kind : str
        The source as the user named it, and as in `batch_sources.Source`.
    others : mapping, optional
        Endings of its files, none of which is a picture, and how many have them.
    """
    if others:
        found = _name_endings(others)
        return f"{what}: no picture there, only {found}; save the pictures as PNG or JPEG"
    if kind == "stdin":
        return "standard input names no file"
    if kind != "glob":
        return f"{what}: no file in it"
    stem = what.removesuffix(Path(what).suffix)
    for pattern in (f"{stem}.*", f"{what}/*"):
        if similar := count_endings(item.path for item in read_glob(pattern)):
            return f"{what}: no file matches; {pattern} would match {_name_endings(similar)}"
    return f"{what}: no file matches; check the names of the folders"


def count_endings(paths: Iterable[str]) -> Counter[str]:
    """Count the endings of names, such as ".txt"."""
    return Counter(Path(path).suffix.lower() or "no ending" for path in paths)


def _name_endings(endings: Mapping[str, int]) -> str:
    """Count files, and name the most common of their endings."""
    common = sorted(endings, key=lambda ending: (-endings[ending], ending))[:MOST_ENDINGS]
    more = ["..."] if len(endings) > MOST_ENDINGS else []
    return f"{count_noun(sum(endings.values()), 'other file')} ({', '.join(common + more)})"
