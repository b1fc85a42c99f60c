"""Files on the disk as inputs of a batch: those of a folder, of a pattern, and single ones.

    folder or pattern -> names in order -> Input, Input, ...

What cannot be opened is an input with a problem, so that nothing is missing in silence. Links are
followed, and circles of them do no harm.

    >>> [item.path for item in read_folder("digits")]
    ['digits/3/a.png', 'digits/3/b.jpg']
"""

from __future__ import annotations

import glob
import os
import re
import stat
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from batch_input import Input
from utils import printable

_MAGIC = re.compile(r"[*?\[]|$")  # what begins a pattern, or the end where there is none


def read_folder(folder: str, *, recursive: bool = True) -> Iterator[Input]:
    """Stream the files of a folder in the order of their names, then those of its subfolders.

    Links are followed, but each real folder is read once, so links in a circle do no harm. A
    folder that may not be listed becomes an input with a problem: what is in it is missing.
    """
    problems: list[Input] = []
    for path in _walk(folder, recursive, problems):
        yield from problems
        problems.clear()
        yield _from_file(path)
    yield from problems


def count_files(folder: str, *, recursive: bool = True) -> int:
    """Count the files that `read_folder` gives."""
    return sum(1 for _ in _walk(folder, recursive, []))


def _walk(folder: str, recursive: bool, problems: list[Input]) -> Iterator[str]:
    """Yield the files below a folder in order; folders that cannot be listed go to `problems`."""

    def note(error: OSError) -> None:
        reason = f"the folder cannot be listed ({error.strerror}); check its permissions"
        problems.append(Input(printable(error.filename), is_listed=True, problem=reason))

    for here, folders, files in _enter(folder, note):
        yield from (f"{here}{os.sep}{name}" for name in sorted(files))
        folders[:] = sorted(folders) if recursive else []


def _enter(
    folder: str, note: Callable[[OSError], None]
) -> Iterator[tuple[str, list[str], list[str]]]:
    """Walk as `os.walk` does, also where links lead, but enter each real folder only once."""
    seen = set()
    for here, folders, files in os.walk(Path(folder), followlinks=True, onerror=note):
        try:
            status = Path(here).stat()
        except OSError as error:  # taken away while it was being read
            note(error)
            continue
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        yield here, folders, files


def is_pattern(name: str) -> bool:
    """Whether a name stands for others: it has `*`, `?` or `[`, and nothing has that very name."""
    # Path.exists would raise for a pattern below a folder that may not be entered.
    return glob.has_magic(name) and not os.path.exists(name)  # noqa: PTH110


def read_glob(pattern: str) -> Iterator[Input]:
    """Stream the files that match a pattern; `**` stands for any number of folders."""
    for path in sorted(_matches(pattern)):
        # Path.is_dir would raise below a folder that may be listed, but not entered.
        if not os.path.isdir(path):  # noqa: PTH112
            yield _from_file(path)


def start_of_glob(pattern: str) -> str:
    """Give what all files that match begin with, as `read_glob` spells it: the folders before *.

    >>> start_of_glob("scans/2026/*/*.png"), start_of_glob("*.png")
    ('scans/2026/', '')
    """
    if "**" in Path(pattern).parts:
        pattern = str(Path(pattern))
    plain = _MAGIC.split(pattern, maxsplit=1)[0]
    return plain[: plain.rfind(os.sep) + 1]


def count_matches(pattern: str) -> int:
    """Count what a pattern matches."""
    return len(_matches(pattern))


def _matches(pattern: str) -> set[str]:
    """Find what matches a pattern, which may be absolute (Path.glob takes only relative ones).

    glob goes round links in a circle forty times, and with two of them for ever; Path.glob follows
    no link. So `**` is resolved here, and each real folder below it entered once.
    """
    parts = Path(pattern).parts
    if "**" not in parts:
        return set(glob.iglob(pattern))  # noqa: PTH207
    at = parts.index("**")
    rest = parts[at + 1 :] or ("*",)
    found = set()
    for start in glob.iglob(str(Path(*parts[:at]))):  # noqa: PTH207
        for here, folders, _ in _enter(start, lambda _: None):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            found |= _matches(str(Path(glob.escape(here), *rest)))
    return found


def _from_file(path: str) -> Input:
    """Describe a file, or say why there is nothing to open."""
    name = printable(path)
    try:
        about = os.stat(path)  # noqa: PTH116 - for a million files, Path.stat takes half a minute more
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        # Path.is_symlink would raise where os.stat does: for a name that is too long, or below a
        # folder that may not be entered.
        if os.path.islink(path):  # noqa: PTH114
            return Input(name, problem="the link leads nowhere; restore what it points to")
        reason = getattr(error, "strerror", None) or error
        return Input(name, problem=f"cannot be opened ({reason}); check the name and the folder")
    if stat.S_ISDIR(about.st_mode):
        return Input(name, problem="is a folder; list the pictures in it")
    if not stat.S_ISREG(about.st_mode):
        return Input(name, problem="is a device or a pipe, not a file; take it out of the list")
    return Input(name, path, size=about.st_size, stamp=about.st_mtime_ns)


def describe_listed(path: Path) -> Input:
    """Describe a file that somebody named."""
    return replace(_from_file(str(path)), is_listed=True)
