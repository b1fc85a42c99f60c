"""Many requests, few forward passes: pictures that wait at the same moment are read together.

    predict(picture) --line--> threads that prepare pictures -> one pass for all of them -> answers

Nothing waits for company: a thread that is free takes what is there, one picture or sixteen, and
the busier the server, the fuller the batches. The event loop only hands over and collects. Lines
are bounded: beyond that a request is refused at once, with advice to come back, because a server
that lets everybody wait answers nobody.

    >>> reader = MicroBatcher(lambda: service.predictor)
    >>> answer = await reader.predict(content)
    >>> answer.prediction.digit, answer.checkpoint.name
    (7, 'mnist_cnn_best')
"""

from __future__ import annotations

import asyncio
import logging
import os
import struct
import threading
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from errors import ImageError, OverloadedError
from predict import MNISTPredictor, Prediction
from preprocess import Prepared, prepare
from registry import Checkpoint

log = logging.getLogger(__name__)

Result = TypeVar("Result")

MOST = 16  # pictures in one pass; a picture costs a third of a pass of its own from 8 on
CAPACITY = 256  # pictures that may wait; about a second of work for two cores
MAX_WAIT_S = 20  # who has waited for longer is told to come back
MAX_THREADS = 4  # preparing holds Python's lock for half of its time, so more only get in the way
SLOW_CAPACITY = 32

# What is decoded in milliseconds. The rest goes to another line, where nobody is kept waiting by a
# photograph of 80 megapixels, or by a few bytes that claim to be one.
QUICK_PIXELS = 2**20
QUICK_BYTES = 2**18
QUICK_SCANS = 16  # over all pixels of a JPEG; programs write one to ten, but nothing limits them

_PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
_JPEG = b"\xff\xd8"
_JPEG_SCAN = b"\xff\xda"
_JPEG_SIZES = {0xC0, 0xC1, 0xC2}  # segments with the size: all pixels at once, or in several scans
_JPEG_OTHERS = {0xC4, 0xDB, 0xDD, *range(0xE0, 0xF0), 0xFE}  # that may stand before those


@dataclass(frozen=True)
class Answer:
    """What was read, and by which network: models may change between two pictures."""

    prediction: Prediction
    checkpoint: Checkpoint


@dataclass(eq=False)
class _Waiting:
    """A picture in the line, and who wants to know."""

    content: bytes
    future: asyncio.Future[Answer]


class MicroBatcher:
    """Reads pictures for many coroutines at once. Make one for each server.

    Parameters
    ----------
    predictor : callable
        Returns the predictor in use; asked once for each pass.
    threads : int, optional
        By default one for each core, at most four.
    capacity : int, default=256
        Pictures that may wait.
    on_batch : callable, optional
        Gets the size of each pass, in one of the threads.
    """

    def __init__(
        self,
        predictor: Callable[[], MNISTPredictor],
        *,
        threads: int | None = None,
        capacity: int = CAPACITY,
        on_batch: Callable[[int], object] | None = None,
    ) -> None:
        self.capacity = capacity
        self._predictor = predictor
        self._on_batch = on_batch
        self._line: deque[_Waiting] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._slow = Lane("large pictures", threads=1)
        count = threads or min(MAX_THREADS, os.cpu_count() or 1)
        self._threads = [
            threading.Thread(target=self._work, name=f"read {number}", daemon=True)
            for number in range(count)
        ]
        for thread in self._threads:
            thread.start()

    def __len__(self) -> int:
        """Count the pictures that wait."""
        return len(self._line)

    async def predict(self, content: bytes) -> Answer:
        """Read one picture.

        Parameters
        ----------
        content : bytes
            An encoded picture.

        Raises
        ------
        ImageError
            If it cannot be read.
        BlankImageError
            If there is no ink in it.
        OverloadedError
            If too many wait already, or this one waited for too long.
        """
        answer = (
            self._join(content) if is_quick(content) else self._slow.run(self._read_alone, content)
        )
        try:
            return await asyncio.wait_for(answer, MAX_WAIT_S)
        except asyncio.TimeoutError as error:
            raise OverloadedError(
                f"this picture waited for {MAX_WAIT_S} s; try again in a moment"
            ) from error

    def close(self) -> None:
        """Refuse what comes from now on, read what waits, and end the threads."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()
        self._slow.close()

    def _join(self, content: bytes) -> asyncio.Future[Answer]:
        """Put a picture at the end of the line."""
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        with self._changed:
            if self._closed or len(self._line) >= self.capacity:
                raise OverloadedError(_busy(len(self._line), "pictures"))
            self._line.append(_Waiting(content, future))
            self._changed.notify()
        return future

    def _read_alone(self, content: bytes) -> Answer:
        predictor = self._predictor()
        return Answer(predictor.predict(content), predictor.checkpoint)

    def _work(self) -> None:
        """Read what waits until the end."""
        while batch := self._take():
            _settle(batch, self._read(batch))

    def _take(self) -> list[_Waiting]:
        """Wait for pictures and take a fair share of them; none at the end."""
        with self._changed:
            while not self._line and not self._closed:
                self._changed.wait()
            # Two threads with half of the pictures each are done sooner than one with all.
            share = -(-len(self._line) // len(self._threads))
            return [self._line.popleft() for _ in range(min(share, MOST))]

    def _read(self, batch: list[_Waiting]) -> list[Answer | Exception]:
        """Prepare the pictures of a batch and read them in one pass."""
        outcomes: list[Any] = [_prepare(waiting) for waiting in batch]
        places = [at for at, outcome in enumerate(outcomes) if isinstance(outcome, Prepared)]
        if not places:
            return outcomes
        try:
            predictor = self._predictor()
            answers = predictor.predict_prepared(_fill_up([outcomes[at] for at in places]))
        except Exception as error:
            log.exception("a pass over %d pictures failed", len(places))
            answers = [error] * len(places)  # type: ignore[list-item]
        else:
            answers = [Answer(each, predictor.checkpoint) for each in answers]  # type: ignore[misc]
        for at, answer in zip(places, answers, strict=False):
            outcomes[at] = answer
        if self._on_batch:
            self._on_batch(len(places))
        return outcomes


class Lane:
    """A few threads for slow work, with a bounded line before them.

    Parameters
    ----------
    name : str
        What waits here, for messages.
    threads : int, default=2
    capacity : int, default=32
        How many may wait or run.
    """

    def __init__(self, name: str, *, threads: int = 2, capacity: int = SLOW_CAPACITY) -> None:
        self.name = name
        self.capacity = capacity
        self._count = 0
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)

    def __len__(self) -> int:
        """Count what waits or runs."""
        return self._count

    async def run(self, function: Callable[..., Result], *args: Any) -> Result:
        """Call a function in one of the threads.

        Raises
        ------
        OverloadedError
            If too many wait already.
        """
        if self._count >= self.capacity:
            raise OverloadedError(_busy(self._count, self.name))
        self._count += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, function, *args)
        finally:
            self._count -= 1

    def close(self) -> None:
        """Let what runs end, and drop what waits."""
        self._pool.shutdown(wait=True, cancel_futures=True)


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


def _busy(count: int, what: str) -> str:
    return f"{count} {what} are waiting already, more than can be read soon; try again in a moment"


def _prepare(waiting: _Waiting) -> Prepared | Exception:
    """Prepare one picture, or say why it cannot be read."""
    if waiting.future.done():
        return OverloadedError("nobody waits for this picture any more")
    try:
        return prepare(waiting.content)
    except ImageError as error:
        return error
    except Exception as error:
        log.exception("a picture of %d bytes could not be prepared", len(waiting.content))
        return error


def _fill_up(prepared: list[Prepared]) -> list[Prepared]:
    """Repeat the last picture until their number is a power of two.

    PyTorch keeps a plan of some megabytes for every size of batch that it meets; so there are five.
    """
    size = 1 << (len(prepared) - 1).bit_length()
    return prepared + prepared[-1:] * (size - len(prepared))


def _settle(batch: Iterable[_Waiting], outcomes: Iterable[Answer | Exception]) -> None:
    """Hand the outcomes over to those who wait, with one message to each event loop."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[Any, Any]]] = {}
    for waiting, outcome in zip(batch, outcomes, strict=True):
        by_loop.setdefault(waiting.future.get_loop(), []).append((waiting.future, outcome))
    for loop, pairs in by_loop.items():
        try:
            loop.call_soon_threadsafe(_resolve, pairs)
        except RuntimeError:
            log.info("%d answers came after their server had stopped", len(pairs))


def _resolve(pairs: list[tuple[asyncio.Future[Answer], Answer | Exception]]) -> None:
    """Wake up who waits, in their own event loop."""
    for future, outcome in pairs:
        if future.done():  # whoever asked has gone
            continue
        if isinstance(outcome, Exception):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)
