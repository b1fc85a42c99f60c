"""What visitors hand to the page for a batch: pictures and zips, within limits.

    uploaded files -> check_uploads -> read_uploads -> Input, Input, ...

Files come from strangers, so much less is believed than on the command line: a list or a table
of paths is not followed (it would read the server's own files), a zip is looked at before it is
read, and a row is called by the name that the visitor gave, never by where the file lies here.

    >>> [item.path for item in read_uploads([Path("scans.zip"), Path("seven.png")])]
    ['scans.zip/3/a.png', 'scans.zip/3/b.jpg', 'seven.png']
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from archives import files_in, read_zip
from batch_input import Input
from errors import ImageTooLargeError
from utils import printable

MAX_FILES = 500  # in one go, those in zips included; more is work for batch_processor.py
MAX_BYTES = 100 * 2**20  # of all uploads together
MAX_UNPACKED = 400 * 2**20  # of the files in a zip: pictures hardly shrink when they are packed

_ZIP_STARTS = (b"PK\x03\x04", b"PK\x05\x06")  # of a zip, and of an empty one


def check_uploads(paths: Sequence[Path]) -> int:
    """Count the files, those in zips included, and refuse what is too much in one go.

    Parameters
    ----------
    paths : sequence of Path
        Uploaded files.

    Returns
    -------
    int
        How many inputs `read_uploads` will give.

    Raises
    ------
    ImageTooLargeError
        If there are more than `MAX_FILES` files or `MAX_BYTES` bytes.
    """
    size = sum(path.stat().st_size for path in paths)
    if size > MAX_BYTES:
        raise ImageTooLargeError(
            f"{size / 2**20:,.0f} MB are too much for one go; at most {MAX_BYTES // 2**20} MB "
            "are read here: hand over fewer pictures, or use batch_processor.py"
        )
    count = sum(_count(path) for path in paths)
    if count > MAX_FILES:
        raise ImageTooLargeError(
            f"{count:,} files are too many for one go; at most {MAX_FILES} are read here: "
            "hand over fewer, or use batch_processor.py"
        )
    return count


def read_uploads(paths: Sequence[Path]) -> Iterator[Input]:
    """Stream the pictures of uploaded files. Nothing is unpacked to the disk.

    Parameters
    ----------
    paths : sequence of Path
        Files that `check_uploads` has passed.

    Yields
    ------
    Input
        One for each file, and for each file in a zip. What cannot be used has a `problem`.
    """
    for path in paths:
        name = printable(path.name)
        if not _begins_as_zip(path):
            yield Input(name, str(path), size=path.stat().st_size, is_listed=True)
        elif problem := _find_problem(path):
            yield Input(name, is_listed=True, problem=problem)
        else:
            folder = f"{printable(path.parent)}{os.sep}"
            for item in read_zip(path):
                yield replace(item, path=item.path.removeprefix(folder))


def _begins_as_zip(path: Path) -> bool:
    """Whether a file is meant as a zip, even a damaged one; not a picture with one behind it."""
    with path.open("rb") as file:
        return file.read(4) in _ZIP_STARTS


def _count(path: Path) -> int:
    """Count what `read_uploads` makes of a file."""
    if not _begins_as_zip(path) or _find_problem(path):
        return 1
    return len(_members(path))


def _members(path: Path) -> list[zipfile.ZipInfo]:
    """List the files in a zip."""
    with zipfile.ZipFile(path) as archive:
        return files_in(archive)


def _find_problem(path: Path) -> str:
    """Say why a zip is not read, from its table of contents alone; nothing if it can be."""
    try:
        members = _members(path)
    # NotImplementedError, ValueError: what a forged table of contents was seen to raise.
    except (zipfile.BadZipFile, OSError, NotImplementedError, ValueError) as error:
        return f"the zip is damaged ({error}); pack or copy it again"
    size = sum(member.file_size for member in members)
    if size > MAX_UNPACKED:
        return (
            f"the zip holds {size / 2**20:,.0f} MB once unpacked; at most "
            f"{MAX_UNPACKED // 2**20} MB are read: pack fewer pictures"
        )
    return "" if members else "the zip is empty; pack the pictures again"
