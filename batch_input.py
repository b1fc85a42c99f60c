"""What a batch reads: inputs, one for each row, and the source that they come from.

    Source.read() -> Input, Input, ... -> rows

Where inputs come from is in `batch_sources.py`, and what is done with them in `batch_workers.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from errors import SettingsError

LARGEST = 2**63 - 1  # number that SQLite keeps: nanoseconds until the year 2262


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
    start : str
        How the paths of its rows start, as the source was spelled: "scans/" or "/home/ann/scans/".
    """

    kind: str
    name: str
    where: str
    read: Callable[[], Iterator[Input]]
    count: Callable[[], int | None] = lambda: None
    start: str = ""

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
