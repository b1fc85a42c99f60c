"""Files in an object store, such as s3://bucket/folder, as inputs of a batch.

    address -> pyarrow's file systems -> names in order -> Input, Input, ...

Nothing is fetched here: the workers do that, see `batch_workers.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from batch_input import Input
from errors import DataNotFoundError, SettingsError
from utils import printable


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
