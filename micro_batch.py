"""Many requests, few forward passes: pictures that wait at the same moment are read together.

    predict(picture) --line--> threads: prepared in a process each -> one pass for all -> answers

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
import itertools
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from decoding import QUICK, Decoders, decoders_for, is_quick, shared
from errors import OverloadedError
from predict import MNISTPredictor
from preprocess import Prepared
from reading import Prediction
from registry import Checkpoint

log = logging.getLogger(__name__)

Result = TypeVar("Result")

MOST = 16  # pictures in one pass; a picture costs a third of a pass of its own from 8 on
CAPACITY = 256  # pictures that may wait; about a second of work for two cores
MAX_WAIT_S = 20  # what has not begun by then is told to come back
SLOW_CAPACITY = 32
STOPPING = "the server is stopping; try again in a moment"


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
    quick : Decoders, optional
        Prepare the pictures that take milliseconds; there is a thread for each process.
    capacity : int, default=256
        Pictures that may wait.
    on_batch : callable, optional
        Gets the size of each pass, in one of the threads.
    """

    def __init__(
        self,
        predictor: Callable[[], MNISTPredictor],
        *,
        quick: Decoders | None = None,
        capacity: int = CAPACITY,
        on_batch: Callable[[int], object] | None = None,
    ) -> None:
        self.capacity = capacity
        self._predictor = predictor
        self._on_batch = on_batch
        self._line: deque[_Waiting] = deque()
        self._changed = threading.Condition()
        self._closed = True
        self._quick = quick or shared(QUICK)
        self._slow = Lane("large pictures", threads=1)
        self._threads: list[threading.Thread] = []
        self.start()

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
            If too many wait already, or this one waited for too long. What has begun may end.
        """
        if not is_quick(content):
            return await self._slow.run(self._read_alone, content)
        waiting = self._join(content)
        await _be_patient(waiting.future)
        if not waiting.future.done() and self._leave(waiting):
            raise OverloadedError(f"this picture waited for {MAX_WAIT_S} s; try again in a moment")
        return await waiting.future

    def start(self) -> None:
        """Read again after `close`; nothing happens if it reads already."""
        if not self._closed:
            return
        self._closed = False
        self._slow.start()
        self._threads = [
            threading.Thread(target=self._work, name=f"read {number}", daemon=True)
            for number in range(self._quick.most)
        ]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Refuse what comes from now on, read what waits, and end the threads."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()
        self._slow.close()

    def _join(self, content: bytes) -> _Waiting:
        """Put a picture at the end of the line."""
        waiting = _Waiting(content, asyncio.get_running_loop().create_future())
        with self._changed:
            if self._closed:
                raise OverloadedError(STOPPING)
            if len(self._line) >= self.capacity:
                raise OverloadedError(_busy(len(self._line), "pictures"))
            self._line.append(waiting)
            self._changed.notify()
        return waiting

    def _leave(self, waiting: _Waiting) -> bool:
        """Take a picture out of the line; False if it is not in it any more, but being read."""
        with self._changed:
            try:
                self._line.remove(waiting)
            except ValueError:
                return False
        return True

    def _read_alone(self, content: bytes) -> Answer:
        prepared = decoders_for(content).prepare(content)
        predictor = self._predictor()
        return Answer(predictor.predict_prepared([prepared])[0], predictor.checkpoint)

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
        outcomes: list[Any] = self._prepare(batch)
        places = [at for at, outcome in enumerate(outcomes) if isinstance(outcome, Prepared)]
        if not places:
            return outcomes
        try:
            predictor = self._predictor()
            answers = predictor.predict_prepared([outcomes[at] for at in places])
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

    def _prepare(self, batch: list[_Waiting]) -> list[Prepared | Exception]:
        """Prepare the pictures of a batch, or say why they cannot be read."""
        wanted = [not waiting.future.done() for waiting in batch]
        contents = [waiting.content for waiting in itertools.compress(batch, wanted)]
        try:
            prepared = iter(self._quick.prepare_all(contents))
        except Exception as error:
            log.exception("%d pictures could not be prepared", len(contents))
            return [error] * len(batch)
        gone = OverloadedError("nobody waits for this picture any more")
        return [next(prepared) if is_wanted else gone for is_wanted in wanted]


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
        self._changing = threading.Lock()
        self._most = threads
        self._pool: ThreadPoolExecutor | None = None
        self.start()

    def __len__(self) -> int:
        """Count what waits or runs."""
        return self._count

    async def run(self, function: Callable[..., Result], *args: Any) -> Result:
        """Call a function in one of the threads.

        Raises
        ------
        OverloadedError
            If too many wait already, or this has waited for too long, or the lane is closed. What
            has begun may end.
        """
        with self._changing:
            if self._pool is None:
                raise OverloadedError(STOPPING)
            if self._count >= self.capacity:
                raise OverloadedError(_busy(self._count, self.name))
            work = self._pool.submit(function, *args)
            self._count += 1
        work.add_done_callback(self._leave)
        done = asyncio.wrap_future(work)
        await _be_patient(done)
        # Only what has not begun can be taken out of the line.
        if not done.done() and work.cancel():
            raise OverloadedError(
                f"this waited for {MAX_WAIT_S} s behind other {self.name}; try again in a moment"
            )
        if work.cancelled():
            raise OverloadedError(STOPPING)
        return await done

    def _leave(self, _: Future[Any]) -> None:
        """Count one less once its work has ended, which nobody may have waited for."""
        with self._changing:
            self._count -= 1

    def start(self) -> None:
        """Run again after `close`; nothing happens if it runs already."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._most, thread_name_prefix=self.name)

    def close(self) -> None:
        """Let what runs end, and refuse what waits and what comes from now on."""
        with self._changing:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=True, cancel_futures=True)


async def _be_patient(outcome: asyncio.Future[Any]) -> None:
    """Wait for an outcome, as long as anybody has to; who goes away meanwhile cancels it."""
    try:
        await asyncio.wait({outcome}, timeout=MAX_WAIT_S)
    except asyncio.CancelledError:
        outcome.cancel()
        raise


def _busy(count: int, what: str) -> str:
    return f"{count} {what} are waiting already, more than can be read soon; try again in a moment"


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
