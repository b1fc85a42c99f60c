"""Where a batch gets its pictures: one stream of inputs from a folder, a list or an archive.

    folder, glob, list, manifest, zip, tar, Kaggle CSV, "-" (names on stdin) -> Input, Input, ...

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
import importlib
import logging
import os
import re
import stat
import sys
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, cast

from errors import DataFormatError, DataNotFoundError, DigitError, SettingsError
from kaggle import has_labels, is_kaggle, read_rows
from labels import LABEL_RULES, NONE, find_columns, find_label, means_no_digit, read_label
from utils import count_noun, printable

log = logging.getLogger(__name__)

MAX_MEMBER_BYTES = 64 * 2**20  # as for a file of its own, see picture.MAX_BYTES
MOST_ENDINGS = 5  # of files, named in a message
MOST_SHOWN = 40  # characters of a label, shown in a message
LARGEST = 2**63 - 1  # number that SQLite keeps: nanoseconds until the year 2262

_ARCHIVE_SUFFIXES = (".tar", ".tgz", ".tbz", ".tbz2", ".txz")
_TAR_COMPRESSIONS = (".gz", ".bz2", ".xz")
# How a compressed file begins, and the module that opens it. The last are two forms of one format.
_UNPACKERS = {
    re.compile(rb"\x1f\x8b\x08"): "gzip",
    re.compile(rb"BZh.1AY&SY", re.DOTALL): "bz2",
    re.compile(rb"\xfd7zXZ\0|\x5d\0\0\x80"): "lzma",
}

# Names in an archive that begin at the root or on a drive, or that climb up.
_LEADS_OUT = re.compile(r"^[/\\]|^[A-Za-z]:|(^|[/\\])\.\.([/\\]|$)")
_TRICK = "its name leads out of the archive; pack it again without '..' and without a leading slash"

# Python can be built without lzma: zipfile, which knows, does without it then.
_LZMA_ERROR: type[Exception] = getattr(getattr(zipfile, "lzma", None), "LZMAError", OSError)
# What reading a damaged archive was seen to raise.
_ARCHIVE_DAMAGE = (
    OSError,
    EOFError,
    OverflowError,
    RuntimeError,
    ValueError,
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    _LZMA_ERROR,
)


@dataclass(frozen=True, slots=True)
class Input:
    """One thing to read; it becomes one row.

    Attributes
    ----------
    path : str
        What the row calls it. Always valid Unicode, whatever bytes the file's name holds.
    file : str or None
        What to open; None where the content is in `data`.
    data : bytes or None
        A picture that was read from an archive, or 784 pixels (`is_raw`).
    size, stamp : int
        Bytes, and a time of change in nanoseconds (in an archive: a checksum of the content). A
        file of the same path, size and stamp counts as unchanged.
    label : int or str or None
        The digit that it is known to be; where pictures show numbers, the number: its digits,
        with a space between lines.
    is_listed : bool
        Somebody named this very file, so it is an error if it is not a picture.
    is_raw : bool
        `data` are 784 bytes as MNIST has them, row by row, white ink on black.
    problem : str
        Why it cannot be read, if that is known already.
    """

    path: str
    file: str | None = None
    data: bytes | None = None
    size: int = 0
    stamp: int = 0
    label: int | str | None = None
    is_listed: bool = False
    is_raw: bool = False
    problem: str = ""

    def __post_init__(self) -> None:
        """Bring what a file or an archive claims of itself into the numbers that can be kept."""
        if self.size > LARGEST:
            object.__setattr__(self, "size", LARGEST)
        if not 0 <= self.stamp <= LARGEST:  # wraps around, so that a change still changes it
            object.__setattr__(self, "stamp", self.stamp % (LARGEST + 1))

    def __reduce__(self) -> tuple[type[Input], tuple]:
        """Travel to a worker as plain values, which takes a third of the usual time."""
        return Input, tuple(getattr(self, name) for name in self.__slots__)


@dataclass(frozen=True)
class Source:
    """A stream of inputs that can be started again from the beginning.

    Attributes
    ----------
    kind : str
        "folder", "address", "glob", "list", "manifest", "zip", "tar", "kaggle", "stdin" or "file".
    name : str
        What a run of it is called: the folder or file without its path.
    where : str
        The absolute path or pattern, by which an earlier run of the same source is found.
    read : callable
        Starts the stream. It raises DataNotFoundError if the source is gone by then.
    count : callable
        Counts the inputs without reading them; None if that would take as long as reading, or is
        not possible any more.
    """

    kind: str
    name: str
    where: str
    read: Callable[[], Iterator[Input]]
    count: Callable[[], int | None] = lambda: None

    def check_resumable(self) -> None:
        """Refuse to go on with a source that cannot be told from another.

        Raises
        ------
        SettingsError
            If it is standard input.
        """
        if self.kind == "stdin":
            raise SettingsError(
                "a batch of names on standard input cannot be resumed, as one list cannot be told "
                "from another: save them as a file (... > list.txt) and read that"
            )


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
    with _errors_named(what):
        source = _recognise(os.fspath(what), recursive)

    def read() -> Iterator[Input]:
        with _errors_named(what):
            yield from add_labels(source.read(), labels, numbers=numbers)

    def count() -> int | None:
        with contextlib.suppress(OSError, DigitError):  # reading says it better
            return source.count()
        return None

    return replace(source, read=read, count=count)


@contextlib.contextmanager
def _errors_named(what: str | os.PathLike[str]) -> Iterator[None]:
    """Turn what the system says about a source into an error of ours that names it."""
    try:
        yield
    except DigitError:  # some of ours are kinds of OSError
        raise
    except OSError as error:
        raise DataNotFoundError(
            f"{printable(what)}: cannot be opened ({error.strerror or error}); check that it is "
            "there and may be read"
        ) from error


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
    # Path.exists would raise for a pattern below a folder that may not be entered.
    if glob.has_magic(what) and not os.path.exists(what):  # noqa: PTH110
        return Source(
            "glob",
            "glob",
            where,
            lambda: read_glob(what),
            lambda: len(_matches(what)),
        )
    if path.is_dir():
        return Source(
            "folder",
            path.resolve().name,
            where,
            lambda: read_folder(what, recursive=recursive),
            lambda: sum(1 for _ in _walk(what, recursive, [])),
        )
    if path.is_file():
        return _recognise_file(path, where)
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
    if _is_zip(path):
        return Source("zip", path.stem, where, lambda: read_zip(path), lambda: _count_zip(path))
    # Only by suffix would a .tar.gz be told from other .gz; only by content, any picture whose
    # first bytes happen to make a valid header. So both have to agree.
    if _has_tar_suffix(path) and _is_tar(path):
        return Source("tar", path.name.split(".")[0], where, lambda: read_tar(path))
    if _has_tar_suffix(path) or suffix == ".zip":
        raise DataFormatError(f"{path}: not an archive, or a damaged one; pack or copy it again")
    return Source("file", path.stem, where, lambda: iter([_listed(path)]), lambda: 1)


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


def is_address(text: str) -> bool:
    """Whether a text is an address such as s3://bucket/folder rather than a path."""
    return "://" in text


def read_address(address: str, recursive: bool = True) -> Iterator[Input]:
    """Stream the files of a folder in an object store, sorted by name.

    The names are sorted in memory: about 200 bytes each.

    Raises
    ------
    DataNotFoundError
        If the store cannot be reached or has no such folder.
    SettingsError
        If pyarrow is not installed.
    """
    files, folder = open_store(address)
    scheme = address.partition("://")[0]
    try:
        found = files.get_file_info(_selector(folder, recursive))
    except OSError as error:
        raise DataNotFoundError(f"{address}: cannot be listed ({error})") from error
    for entry in sorted(found, key=lambda entry: entry.path):
        if entry.is_file:
            path = f"{scheme}://{entry.path}"
            stamp = entry.mtime_ns or 0
            yield Input(printable(path), path, size=entry.size or 0, stamp=stamp)


def _selector(folder: str, recursive: bool) -> Any:
    """Ask for everything below a folder."""
    import pyarrow.fs  # type: ignore[import, unused-ignore]

    return pyarrow.fs.FileSelector(folder, recursive=recursive)


def open_store(address: str) -> tuple[Any, str]:
    """Open the file system of an address; give it and the path there.

    Raises
    ------
    DataNotFoundError
        If there is no such kind of address, or the store cannot be reached.
    SettingsError
        If pyarrow is not installed.
    """
    try:
        import pyarrow.fs  # type: ignore[import, unused-ignore]
    except ImportError as error:
        raise SettingsError("reading from addresses needs pyarrow: pip install pyarrow") from error
    try:
        return pyarrow.fs.FileSystem.from_uri(address)
    except (OSError, ValueError) as error:  # pyarrow's own errors are kinds of these
        raise DataNotFoundError(f"{address}: cannot be opened ({error})") from error


def read_glob(pattern: str) -> Iterator[Input]:
    """Stream the files that match a pattern; `**` stands for any number of folders."""
    for path in sorted(_matches(pattern)):
        # Path.is_dir would raise below a folder that may be listed, but not entered.
        if not os.path.isdir(path):  # noqa: PTH112
            yield _from_file(path)


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
                    row[label_column] or None if label_column else None,
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
        item = _listed(path)
        archive = find_archive(path) if item.problem else None
        if archive is None:
            yield replace(item, label=label)
        else:
            packed.setdefault(archive, {}).setdefault(item.path, []).append(label)
    for archive, wanted in packed.items():
        yield from _read_packed(archive, wanted)


def find_archive(path: Path) -> Path | None:
    """Find the file that a path leads into, such as scans.zip for scans.zip/3/a.png."""
    # Path.is_file would raise below a folder that may not be entered.
    return next((parent for parent in path.parents if os.path.isfile(parent)), None)  # noqa: PTH113


def _read_packed(archive: Path, wanted: dict[str, list[str | None]]) -> Iterator[Input]:
    """Stream some members of an archive, by what rows call them, each with its labels."""
    problem = f"there is no such file in {archive}; check the name"
    try:
        items: Iterator[Input] = iter(())
        if _is_zip(archive):
            items = read_zip(archive, frozenset(wanted))
        elif _has_tar_suffix(archive):
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


def read_zip(path: Path, wanted: Collection[str] | None = None) -> Iterator[Input]:
    """Stream the members of a zip file, or those of some paths; nothing goes to the disk."""
    with _open_zip(path) as archive:
        for member in files_in(archive):
            item = _member(path, member.filename, member.file_size)
            if wanted is None or item.path in wanted:
                yield _fill(item, partial(archive.read, member))


def files_in(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """List what a zip holds besides folders."""
    # ZipInfo.is_dir would raise for a damaged entry without a name.
    return [member for member in archive.infolist() if not member.filename.endswith("/")]


def _open_zip(path: Path) -> zipfile.ZipFile:
    """Open a zip and read its directory."""
    try:
        return zipfile.ZipFile(path)
    # The other two: of a version, or a name, in which a byte is wrong.
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        raise DataFormatError(f"{path}: not a zip, or damaged ({error}); copy it again") from error


def _is_zip(path: Path) -> bool:
    """Whether a file is a zip with a directory that can be read."""
    try:
        with _open_zip(path):
            return True
    except DataFormatError:
        return False


def _count_zip(path: Path) -> int:
    """Count the files in a zip."""
    with _open_zip(path) as archive:
        return len(files_in(archive))


class _TarInfo(tarfile.TarInfo):
    """The header of a tar's member; see `_read_header`."""

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> _TarInfo:
        """Read the next header."""
        return _read_header(super().fromtarfile, archive)


def _read_header(read: Callable[[tarfile.TarFile], _TarInfo], archive: tarfile.TarFile) -> _TarInfo:
    """Read a header of a tar; one that is damaged or missing is an error.

    tarfile itself takes it for the end of the archive, unless it is the very first one.

    Raises
    ------
    tarfile.ReadError
        If there is none, or it leads back to where it stands.
    """
    try:
        member = read(archive)
    except tarfile.EOFHeaderError:  # type: ignore[attr-defined]  # zeros: the end as it should be
        raise
    except tarfile.HeaderError as error:
        raise tarfile.ReadError(str(error)) from error
    # Of a member that claims fewer than no bytes; the same header would be read for ever.
    if archive.offset < member.offset_data:
        raise tarfile.ReadError("a member ends before it begins")
    return member


def read_tar(path: Path, wanted: Collection[str] | None = None) -> Iterator[Input]:
    """Stream the members of a tar file, compressed or not; see `read_zip`."""
    count = 0
    with path.open("rb") as packed:
        try:
            # Not the mode "r|", which skips a member of 2**60 bytes block by block, at the end too.
            with (
                _unpack(packed) as file,
                tarfile.open(fileobj=file, mode="r:", tarinfo=_TarInfo) as archive,
            ):
                for member in archive:
                    # tarfile remembers every member, a kilobyte each.
                    archive.members = []  # type: ignore[attr-defined]
                    if member.isdir():
                        continue
                    item = _member(path, member.name, member.size)
                    if wanted is None or item.path in wanted:
                        item = replace(item, problem=item.problem or _explain_no_file(member))
                        yield _fill(item, partial(_read_tar_member, archive, member))
                    count += 1
                _check_end(file)
        except _ARCHIVE_DAMAGE as error:
            reason = f"the archive is damaged after {count:,} files ({error}); copy it again"
            yield Input(printable(path), is_listed=True, problem=reason)


def _unpack(packed: BinaryIO) -> BinaryIO:
    """Give what a compressed file holds, told by its first bytes; any other file as it is.

    tarfile can do this too, but of a file that was compressed in parts, as `pigz` and `pbzip2` do
    it and `cat` puts them together, it reads only the first.
    """
    start = packed.read(10)
    packed.seek(0)
    module = next((name for form, name in _UNPACKERS.items() if form.match(start)), None)
    if module is None:
        return packed
    try:
        return cast("BinaryIO", importlib.import_module(module).open(packed))
    except ImportError as error:  # Python can be built without each of them
        raise tarfile.CompressionError(f"this Python has no {module}") from error


def _check_end(file: BinaryIO) -> None:
    """Refuse a tar that goes on behind the block of zeros that ended it.

    A second such block should follow, but not all programs write it. What comes then is left
    open by the standard, so only another header counts: of a second archive that was put behind
    the first, or of what follows a hole. To read on also compares the checksum of a gzip.

    Raises
    ------
    tarfile.ReadError
        If it goes on.
    """
    block = file.read(tarfile.BLOCKSIZE)
    is_end = not block.strip(tarfile.NUL)
    while is_end and (block := file.read(tarfile.BLOCKSIZE)):
        is_end = not (block.strip(tarfile.NUL) and _is_header(block))
    if not is_end:
        raise tarfile.ReadError("more follows behind its end")


def _is_header(block: bytes) -> bool:
    """Whether a block of a tar is the header of a member, which holds a checksum of itself."""
    with contextlib.suppress(tarfile.HeaderError):
        tarfile.TarInfo.frombuf(block, tarfile.ENCODING, "surrogateescape")
        return True
    return False


def _is_tar(path: Path) -> bool:
    """Whether a file begins as a tar does, compressed or not."""
    try:
        return tarfile.is_tarfile(path)
    except EOFError:  # compressed, and cut off within its first bytes
        return False


def _explain_no_file(member: tarfile.TarInfo) -> str:
    """Say why a member of a tar has no content; nothing if it has."""
    if member.isfile():
        return ""
    if member.islnk() or member.issym():
        return f"is a link to {printable(member.linkname)}; pack the file itself"
    return "is a device or a pipe, not a file; take it out of the archive"


def _read_tar_member(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    """Read a regular file out of a tar."""
    file = archive.extractfile(member)
    assert file is not None  # only links and folders have no content
    return file.read()


def _member(archive: Path, name: str, size: int) -> Input:
    """Name a file in an archive as if the archive were a folder, and refuse to be led out of it."""
    is_trick = _LEADS_OUT.search(name) is not None
    # `archive / "/etc/passwd"` would be /etc/passwd itself, which a report would go and show.
    path = f"{archive}{os.sep}{name}" if is_trick else archive / name
    return Input(printable(path), size=size, problem=_TRICK if is_trick else "")


def _fill(item: Input, read: Callable[[], bytes]) -> Input:
    """Add the content of a file in an archive, or the reason why it cannot be had."""
    if item.problem:
        return item
    if item.size > MAX_MEMBER_BYTES:
        reason = f"{item.size:,} bytes; at most {MAX_MEMBER_BYTES:,} are read: save a smaller copy"
        return replace(item, problem=reason)
    try:
        data = read()
    except _ARCHIVE_DAMAGE as error:
        return replace(item, problem=f"cannot be unpacked ({error}); pack or copy it again")
    # Times do not do: many programs pack all files with the same one, and two members of one name
    # each have to find the answer of their own.
    return replace(item, data=data, stamp=zlib.crc32(data))


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


def _has_tar_suffix(path: Path) -> bool:
    """Whether a file is called .tar, .tar.gz, .tgz and so on."""
    suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
    packed = suffixes[-1:] and suffixes[-1] in _TAR_COMPRESSIONS and suffixes[:1] == [".tar"]
    return bool(packed or (suffixes and suffixes[-1] in _ARCHIVE_SUFFIXES))


def _listed(path: Path) -> Input:
    """Describe a file that somebody named."""
    return replace(_from_file(str(path)), is_listed=True)


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
