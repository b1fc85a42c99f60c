"""Processes that open and prepare pictures while the network is busy with earlier ones.

    chunk of Input -> a worker process: open, decode, prepare -> chunk of Answer

Threads would not do: Pillow's decoders get slower with threads, because they share one lock.
If a picture kills its process (see `worker_process.py`), that picture, alone, becomes an error.

Workers import neither torch nor anything that does: each starts in a fifth of a second and has
about 60 MB. (Those that read numbers, see `batch_numbers.py`, hold the network and have more.)
"""

from __future__ import annotations

import hashlib
import logging
import queue
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cache, partial
from io import BytesIO
from pathlib import Path, PurePath
from typing import Any

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

import worker_process
from batch_input import Input
from errors import BlankImageError, ImageError, WorkerError
from object_store import is_address, open_store
from picture import DAMAGE, MAX_BYTES, SIDEWAYS, read_orientation
from preprocess import Prepared, prepare
from utils import one_line, printable
from worker_process import Failure, WorkerProcess

log = logging.getLogger(__name__)

CHUNK_FILES = 32
CHUNK_BYTES = 1_000_000  # of files, not pixels: large photographs travel alone
CHUNKS_AHEAD = 6  # for each worker: what it can do while the network reads a batch

# Pictures that Pillow does not open without help, or not at all; a note or a table in the same
# folder is left out, but a picture that we cannot read has to be in the results.
_FOREIGN_SUFFIXES = {
    ".heic",
    ".heif",
    ".jxl",
    ".svg",
    ".raw",
    ".cr2",
    ".cr3",
    ".nef",
    ".arw",
    ".dng",
}
_APPLE_DOUBLE = "._"  # macOS puts these beside the files of an archive; they hold no picture

_DAMAGE = (*DAMAGE, Image.DecompressionBombError)  # what reading a header may raise
HASH_BLOCK = 2**20  # bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """What a worker found in one input.

    Attributes
    ----------
    prepared : Prepared or None
        Ready for the network (or whatever else a `Reader` finds); None if there is nothing.
    status : str
        "" if there is a digit, else "error", "not a digit" (blank) or "skipped" (no picture).
    reason : str
        Why there is no digit.
    width, height : int or None
        Of the picture, in pixels, as far as its header could be read.
    sha256 : str
        Of the file's content, if asked for.
    seconds : float
        What opening and preparing took.
    """

    prepared: Any = None
    status: str = ""
    reason: str = ""
    width: int | None = None
    height: int | None = None
    sha256: str = ""
    seconds: float = 0.0

    def __reduce__(self) -> tuple[type[Answer], tuple]:
        """Travel to the parent as plain values, which takes a third of the usual time."""
        return Answer, tuple(getattr(self, name) for name in self.__slots__)


def find_digit(item: Input) -> Prepared:
    """Prepare the one digit in an input.

    Raises
    ------
    ImageError
        If it cannot be read, or is blank.
    """
    if item.is_raw:
        assert item.data is not None  # what is raw is in memory
        return _as_it_is(item.data)
    return prepare(source_of(item))


@dataclass(frozen=True)
class Reader:
    """What workers do with an input, and how a new process comes to do the same.

    Attributes
    ----------
    find : callable
        From an `Input` to something with a `width` and a `height` that can be pickled; raises
        ImageError where it finds nothing.
    module : str
        Its function `serve` is what a worker runs.
    arguments : tuple of str
        What `serve` is called with.
    chunk_files : int
        How many inputs travel together; few, if each takes long.
    """

    find: Callable[[Input], Any] = find_digit
    module: str = __name__
    arguments: tuple[str, ...] = ()
    chunk_files: int = CHUNK_FILES


def read_input(
    item: Input, *, with_hash: bool = False, find: Callable[[Input], Any] = find_digit
) -> Answer:
    """Open and prepare one input. Never raises: what is wrong with a picture is in the answer."""
    started = time.perf_counter()
    if item.file is not None and is_address(item.file):
        item = _fetch(item, item.file)
    prepared, status, reason, width, height = _read(item, find)
    digest = _hash(item) if with_hash and not item.problem else ""
    seconds = round(time.perf_counter() - started, 6)
    return Answer(prepared, status, reason, width, height, digest, seconds)


_Outcome = tuple[Any, str, str, int | None, int | None]  # the first fields of an Answer


def _read(item: Input, find: Callable[[Input], Any]) -> _Outcome:
    """Prepare an input, or say what is wrong with it."""
    if item.problem:
        return None, "error", item.problem, None, None
    try:
        prepared = find(item)
    except BlankImageError as error:  # the reason alone: the row names the file already
        return None, "not a digit", printable(error.reason), *measure_size(source_of(item))
    except ImageError as error:
        if not item.is_listed and _is_no_picture(item, source_of(item)):
            return None, "skipped", printable(error.reason), None, None
        return None, "error", printable(error.reason), *measure_size(source_of(item))
    except Exception as error:
        # A decoder can fail in ways nobody has seen yet. That must cost one row, not the batch.
        log.exception("%s could not be read", item.path)
        return None, "error", f"unexpected {type(error).__name__}: {error}", None, None
    return prepared, "", "", prepared.width, prepared.height


def source_of(item: Input) -> str | bytes:
    """Say what there is to open."""
    source = item.file if item.data is None else item.data
    assert source is not None  # an input has a problem, a file or data
    return source


def _fetch(item: Input, address: str) -> Input:
    """Load a picture from an object store; no more of it than would be read."""
    try:
        files, path = open_store(address)
        with files.open_input_stream(path) as stream:
            return replace(item, file=None, data=stream.read(MAX_BYTES + 1))
    except OSError as error:
        reason = f"cannot be fetched ({error}); check the address and the rights"
        return replace(item, file=None, problem=reason)


def _as_it_is(pixels: bytes) -> Prepared:
    """Take 784 bytes that have MNIST's form already."""
    digit = np.frombuffer(pixels, np.uint8).reshape(28, 28).astype(np.float32) / 255
    return Prepared.as_it_is(digit)


def _is_no_picture(item: Input, source: str | bytes) -> bool:
    """Whether a file neither looks like a picture inside nor is called one."""
    name = PurePath(item.path).name
    suffix = PurePath(item.path).suffix.lower()
    if name.startswith(_APPLE_DOUBLE):
        return True
    return suffix not in _picture_suffixes() and not _is_known_format(source)


@cache
def _picture_suffixes() -> frozenset[str]:
    """Suffixes that promise a picture: those that Pillow opens, and some that it does not."""
    opened = {end for end, form in Image.registered_extensions().items() if form in Image.OPEN}
    return frozenset(opened) | _FOREIGN_SUFFIXES


def _is_known_format(source: str | bytes) -> bool:
    """Whether the first bytes are those of a picture, even of a damaged one."""
    try:
        with Image.open(source if isinstance(source, str) else BytesIO(source)):
            return True
    except (UnidentifiedImageError, FileNotFoundError, PermissionError):
        return False
    except _DAMAGE:
        return True


def measure_size(source: str | bytes) -> tuple[int | None, int | None]:
    """Read the size of a picture, upright, from its header, if that is whole."""
    try:
        with Image.open(source if isinstance(source, str) else BytesIO(source)) as image:
            width, height = image.size
            # Of a TIFF, Pillow gives the size upright already.
            is_sideways = image.format != "TIFF" and read_orientation(image) in SIDEWAYS
    except _DAMAGE:
        return None, None
    return (height, width) if is_sideways else (width, height)


def _hash(item: Input) -> str:
    """Compute the checksum of the content."""
    digest = hashlib.sha256(item.data or b"")
    if item.file is None:
        return digest.hexdigest()
    try:
        with Path(item.file).open("rb") as file:
            while block := file.read(HASH_BLOCK):
                digest.update(block)
    except OSError:
        return ""  # that it cannot be opened is in the row's reason already
    return digest.hexdigest()


class WorkerPool:
    """Worker processes that answer chunks of inputs, in order.

    Parameters
    ----------
    workers : int
        How many processes; 0 does the work in this one.
    with_hash : bool, default=False
        Whether to compute the checksum of each file.
    reader : Reader, optional
        What they do with an input; by default they prepare its one digit.

    Examples
    --------
    >>> with WorkerPool(2) as pool:
    ...     for item, answer in pool.answer([(Input("a.png", "a.png"), None)]):
    ...         print(item.path, answer.width)
    """

    def __init__(
        self, workers: int, *, with_hash: bool = False, reader: Reader | None = None
    ) -> None:
        self.with_hash = with_hash
        self.reader = reader or Reader()
        self._idle: queue.SimpleQueue[WorkerProcess] = queue.SimpleQueue()
        self.workers: list[WorkerProcess] = []
        with ExitStack() as started:  # where one cannot be started, nobody would end the others
            for _ in range(workers):
                worker = WorkerProcess(self.reader.module, self.reader.arguments)
                started.callback(worker.stop)
                self.workers.append(worker)
                self._idle.put(worker)
            started.pop_all()
        self._threads = ThreadPoolExecutor(max(workers, 1))
        self._ahead = workers * CHUNKS_AHEAD

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:  # nobody waits for answers any more, and a page of numbers takes long
            self.kill()
        self._threads.shutdown(cancel_futures=True)
        for worker in self.workers:
            worker.stop()

    def kill(self) -> None:
        """End all workers at once; who waits for an answer gets a WorkerError. For any thread."""
        for worker in self.workers:
            worker.kill()

    def answer(self, pairs: Iterable[tuple[Input, Any]]) -> Iterator[tuple[Input, Any]]:
        """Read inputs, some way ahead of what has been asked for.

        Parameters
        ----------
        pairs : iterable of (Input, anything or None)
            An input that comes with None is read; one whose answer is known passes through.

        Yields
        ------
        (Input, Answer or what came with it)
            In the order of `pairs`.

        Raises
        ------
        WorkerError
            If the processes cannot be started at all, or were killed.
        """
        waiting: deque[tuple[list[tuple[Input, Any]], Future[list[Answer]]]] = deque()
        for chunk in in_chunks(pairs, self.reader.chunk_files):
            waiting.append((chunk, self._threads.submit(self._ask, _unknown(chunk))))
            if len(waiting) > self._ahead:
                yield from _fill_in(*waiting.popleft())
        while waiting:
            yield from _fill_in(*waiting.popleft())

    def _ask(self, chunk: list[Input]) -> list[Answer]:
        """Hand inputs to the next idle worker and wait for the answers. Runs in a thread."""
        if not chunk:
            return []
        if not self.workers:
            find = self.reader.find
            return [read_input(item, with_hash=self.with_hash, find=find) for item in chunk]
        worker = self._idle.get()
        try:
            answers = worker.ask([(item, self.with_hash) for item in chunk])
        except WorkerError as error:
            raise WorkerError(f"{error}, or read without workers: --workers 0") from error
        finally:
            self._idle.put(worker)
        return [_survive(item, answer) for item, answer in zip(chunk, answers, strict=True)]


def _survive(item: Input, answer: Answer | Failure) -> Answer:
    """Make an error of an input that its worker did not survive."""
    if isinstance(answer, Answer):
        return answer
    log.warning("%s ended a worker process: %s", one_line(item.path), answer.reason)
    return Answer(status="error", reason=answer.reason)


def in_chunks(
    pairs: Iterable[tuple[Input, Any]], files: int = CHUNK_FILES
) -> Iterator[list[tuple[Input, Any]]]:
    """Group inputs into chunks of at most so many files and about `CHUNK_BYTES` bytes."""
    chunk: list[tuple[Input, Any]] = []
    size = 0
    for item, answer in pairs:
        chunk.append((item, answer))
        size += item.size
        if len(chunk) == files or size >= CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _unknown(chunk: list[tuple[Input, Any]]) -> list[Input]:
    """List the inputs that have no answer yet."""
    return [item for item, answer in chunk if answer is None]


def _fill_in(
    chunk: list[tuple[Input, Any]], future: Future[list[Answer]]
) -> Iterator[tuple[Input, Any]]:
    """Put the answers where there were none."""
    answers = iter(future.result())
    return ((item, next(answers) if answer is None else answer) for item, answer in chunk)


def serve(
    load: Callable[[], Callable[[Input], Any]] = lambda: find_digit,
    *,
    limit_s: float = worker_process.LIMIT_S,
) -> None:
    """Be a worker of a `WorkerPool`; see `worker_process.serve`."""
    worker_process.serve(partial(_load_reader, load), limit_s=limit_s)


def _load_reader(
    load: Callable[[], Callable[[Input], Any]],
) -> Callable[[tuple[Input, bool]], Answer]:
    """Make what answers an input, which comes with whether to compute its checksum."""
    cv2.setNumThreads(1)
    find = load()
    return lambda task: read_input(task[0], with_hash=task[1], find=find)
