"""Processes in which a server opens the pictures of strangers.

    bytes -> a process: decode, prepare -> pixels, or the 28x28 digit

A decoder of pictures is a large program that takes orders from whoever made the file. Here it may
crash, hang, or keep its process to itself, and costs one answer: pages and other requests go on,
on other processors, as no lock of Python is shared with them.

    >>> decoders_for(content).prepare(content).digit.shape
    (28, 28)
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import queue
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from typing import TypeVar

import cv2

import worker_process
from errors import THE_PICTURE, ImageError
from picture import Picture, open_picture
from preprocess import Prepared, prepare
from utils import count_processors
from worker_process import STOP_TIMEOUT_S, Failure, WorkerProcess

log = logging.getLogger(__name__)

LIMIT_S = 10.0  # of processor time for a picture; 80 megapixels take two seconds
MOST = 4  # processes that work at the same time, of 60 MB each

QUICK, SLOW = "quick pictures", "slow pictures"  # see `shared` and `is_quick`
# What is decoded in milliseconds. The rest goes to other processes, so that nobody who draws waits
# for a photograph of 80 megapixels, or for a few bytes that claim to be one.
QUICK_PIXELS = 2**20
QUICK_BYTES = 2**18
QUICK_SCANS = 16  # over all pixels of a JPEG; programs write one to ten, others up to `MAX_SCANS`

_PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
_JPEG = b"\xff\xd8"
_JPEG_SCAN = b"\xff\xda"
_JPEG_SIZES = {0xC0, 0xC1, 0xC2}  # segments with the size: all pixels at once, or in several scans
_JPEG_OTHERS = {0xC4, 0xDB, 0xDD, *range(0xE0, 0xF0), 0xFE}  # that may stand before those

Result = TypeVar("Result")


class Decoders:
    """Worker processes, started when they are needed. Safe to share between threads.

    Parameters
    ----------
    most : int, optional
        How many there may be; by default one for each core, at most four.

    Attributes
    ----------
    most : int
    """

    def __init__(self, most: int | None = None) -> None:
        self.most = most or min(MOST, count_processors())
        self._idle: queue.LifoQueue[WorkerProcess] = queue.LifoQueue()  # the same ones stay busy
        self._started: list[WorkerProcess] = []
        self._starting = threading.Lock()

    def prepare(self, content: bytes, *, keep_steps: bool = False) -> Prepared:
        """Bring a picture to MNIST's form; see `preprocess.prepare`.

        Raises
        ------
        ImageError
            If it cannot be read, or costs its process.
        BlankImageError
            If there is no ink in it.
        """
        return self._do(partial(prepare, content, keep_steps=keep_steps))

    def prepare_all(self, contents: Sequence[bytes]) -> list[Prepared | Exception]:
        """Prepare several pictures in one process; what is wrong with one takes its place."""
        return self._do_all([partial(prepare, content) for content in contents])

    def open(self, source: str | bytes, working_side: int) -> Picture:
        """Decode a picture, or the file of that name; see `picture.open_picture`.

        Raises
        ------
        ImageError
            If it cannot be read, or costs its process.
        """
        return self._do(partial(open_picture, source, working_side=working_side))

    def start(self) -> None:
        """Start one process now, so that the first picture need not wait for it."""
        with self._borrow():
            pass

    def close(self) -> None:
        """End the processes; what stays busy for more than a moment ends with this program."""
        with contextlib.suppress(queue.Empty):
            while self._started:
                worker = self._idle.get(timeout=STOP_TIMEOUT_S)
                worker.stop()
                self._started.remove(worker)

    def _do(self, look: Callable[[], Result]) -> Result:
        """Have one thing done in a process."""
        (outcome,) = self._do_all([look])
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def _do_all(self, looks: Sequence[Callable[[], Result]]) -> list[Result | Exception]:
        """Have several things done in one process."""
        with self._borrow() as worker:
            outcomes = worker.ask(looks)
        return [_survive(outcome) for outcome in outcomes]

    @contextlib.contextmanager
    def _borrow(self) -> Iterator[WorkerProcess]:
        """Take an idle process, or a new one; wait if all are busy."""
        worker = self._take()
        try:
            yield worker
        finally:
            self._idle.put(worker)

    def _take(self) -> WorkerProcess:
        with self._starting:
            if self._idle.empty() and len(self._started) < self.most:
                self._started.append(WorkerProcess(__name__))
                return self._started[-1]
        return self._idle.get()


def decoders_for(source: str | bytes) -> Decoders:
    """Choose who opens a picture, or the file of that name."""
    return shared(QUICK if isinstance(source, bytes) and is_quick(source) else SLOW)


@cache
def shared(purpose: str) -> Decoders:
    """Give the processes that all of this program share for a purpose; they end with it.

    Those of one purpose do not wait for those of another.
    """
    decoders = Decoders()
    atexit.register(decoders.close)
    return decoders


def is_quick(content: bytes) -> bool:
    """Whether a picture is surely decoded in milliseconds, told by its first bytes.

    Only of PNG and JPEG we know: few bytes may hold many pixels, but these two say so before them.
    Whatever else comes, and what only looks like them, counts as slow.
    """
    if len(content) > QUICK_BYTES:
        return False
    # Of several headers in one PNG the last would count.
    if content.startswith(_PNG) and len(content) >= 24 and content.count(b"IHDR") == 1:
        width, height = struct.unpack_from(">II", content, len(_PNG))
    elif content.startswith(_JPEG) and content.count(_JPEG_SCAN) <= QUICK_SCANS:
        width, height = _size_of_jpeg(content)
    else:
        return False
    return 0 < width * height <= QUICK_PIXELS


def _size_of_jpeg(content: bytes) -> tuple[int, int]:
    """Read width and height out of the segments of a JPEG; zeros if they are not as usual."""
    at = len(_JPEG)
    while at + 9 <= len(content) and content[at] == 0xFF:
        kind, length, height, width = struct.unpack_from(">xBHxHH", content, at)
        if kind in _JPEG_SIZES:
            return width, height
        if kind not in _JPEG_OTHERS or length < 2:
            break
        at += 2 + length
    return 0, 0


def _survive(outcome: Result | Exception | Failure) -> Result | Exception:
    """Make an error of a picture that its process did not survive."""
    if not isinstance(outcome, Failure):
        return outcome
    log.warning("a picture ended the process that decoded it: %s", outcome.reason)
    return ImageError(outcome.reason, THE_PICTURE)


def serve() -> None:
    """Be one of the processes; see `worker_process.serve`."""
    worker_process.serve(_load, limit_s=LIMIT_S)


def _load() -> Callable[[Callable[[], Result]], Result | Exception]:
    cv2.setNumThreads(1)
    return _try


def _try(look: Callable[[], Result]) -> Result | Exception:
    """Do one thing with a picture, or say what was wrong with it."""
    try:
        return look()
    except ImageError as error:
        return error
    except Exception as error:
        # Not sent as it is: what libraries raise cannot always travel.
        log.exception("a picture could not be read")
        return RuntimeError(f"unexpected {type(error).__name__}: {error}")
