"""Files in zips and tars as inputs of a batch, as if the archive were a folder.

    zip or tar -> its members, one after the other -> Input, Input, ...

Nothing is unpacked to the disk. A member that is damaged, too large, or whose name leads out of
the archive is an input with a problem; so is the rest of an archive that is damaged on the way.

    >>> [item.path for item in read_zip(Path("scans.zip"))]
    ['scans.zip/3/a.png', 'scans.zip/3/b.jpg']
"""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import BinaryIO, cast

from batch_input import Input
from errors import DataFormatError, DataNotFoundError, DigitError
from utils import printable

MAX_MEMBER_BYTES = 64 * 2**20  # as for a file of its own, see picture.MAX_BYTES

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


def find_archive(path: Path) -> Path | None:
    """Find the file that a path leads into, such as scans.zip for scans.zip/3/a.png."""
    # Path.is_file would raise below a folder that may not be entered.
    return next((parent for parent in path.parents if os.path.isfile(parent)), None)  # noqa: PTH113


@contextlib.contextmanager
def errors_named(what: str | os.PathLike[str]) -> Iterator[None]:
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


def recognise_archive(path: Path) -> str | None:
    """Tell a "zip" and a "tar" from any other file.

    Raises
    ------
    DataFormatError
        If it is called an archive, but is none.
    """
    if can_open_zip(path):
        return "zip"
    # Only by suffix would a .tar.gz be told from other .gz; only by content, any picture whose
    # first bytes happen to make a valid header. So both have to agree.
    if has_tar_suffix(path) and _is_tar(path):
        return "tar"
    if has_tar_suffix(path) or path.suffix.lower() == ".zip":
        raise DataFormatError(f"{path}: not an archive, or a damaged one; pack or copy it again")
    return None


def read_archive(path: Path, wanted: Collection[str] | None = None) -> Iterator[Input]:
    """Stream the files in a zip or tar; of any other file, nothing.

    Parameters
    ----------
    path : Path
    wanted : collection of str, optional
        The paths of the files that are read, as their inputs have them; by default all. Of an
        archive that is damaged on the way, the input that says so comes as well.

    Raises
    ------
    DataNotFoundError
        If it cannot be opened.
    DataFormatError
        If it is called an archive, but is none.
    """
    with errors_named(path):
        kind = recognise_archive(path)
        if kind is not None:
            yield from (read_zip if kind == "zip" else read_tar)(path, wanted)


def can_open_zip(path: Path) -> bool:
    """Whether a zip is in a file, also behind other bytes, and its directory can be read."""
    try:
        with _open_zip(path):
            return True
    except DataFormatError:
        return False


def count_zip(path: Path) -> int:
    """Count the files in a zip."""
    with _open_zip(path) as archive:
        return len(files_in(archive))


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


def has_tar_suffix(path: Path) -> bool:
    """Whether a file is called .tar, .tar.gz, .tgz and so on."""
    suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
    packed = suffixes[-1:] and suffixes[-1] in _TAR_COMPRESSIONS and suffixes[:1] == [".tar"]
    return bool(packed or (suffixes and suffixes[-1] in _ARCHIVE_SUFFIXES))


def _is_tar(path: Path) -> bool:
    """Whether a file begins as a tar does, compressed or not."""
    try:
        return tarfile.is_tarfile(path)
    except EOFError:  # compressed, and cut off within its first bytes
        return False


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
