"""Pictures that wait at the same moment are read together, and everybody gets their own answer."""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest
from PIL import Image

import micro_batch
from decoding import Decoders
from errors import BlankImageError, ImageError, OverloadedError, WorkerError
from micro_batch import MOST, Answer, Lane, MicroBatcher
from preprocess import prepare

if TYPE_CHECKING:
    from predict import MNISTPredictor


class Gate:
    """A predictor that lets nobody through until it is opened, and notes who came together."""

    def __init__(self, predictor: MNISTPredictor) -> None:
        self.predictor = predictor
        self.checkpoint = predictor.checkpoint
        self.open = threading.Event()
        self.entered = threading.Event()
        self.sizes: list[int] = []

    def predict_prepared(self, prepared: list[Any]) -> list[Any]:
        self.entered.set()
        self.open.wait(timeout=60)
        self.sizes.append(len(prepared))
        return self.predictor.predict_prepared(prepared)


@pytest.fixture
def gate(tiny_predictor: MNISTPredictor) -> Iterator[Gate]:
    gate = Gate(tiny_predictor)
    yield gate
    gate.open.set()


@pytest.fixture(scope="module")
def one_process() -> Iterator[Decoders]:
    """Prepare pictures with one process, and so in one thread."""
    decoders = Decoders(1)
    yield decoders
    decoders.close()


def encode(width: int, height: int, kind: str = "PNG", **options: object) -> bytes:
    """Write a black picture."""
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((height, width), np.uint8)).save(buffer, kind, **options)
    return buffer.getvalue()


async def until(condition: Callable[[], bool]) -> None:
    """Let others work until something is so."""
    while not condition():
        await asyncio.sleep(0.005)


def test_many_requests_share_passes_and_each_gets_its_own_answer(
    gate: Gate, one_process: Decoders, digit_png: Callable[..., Path]
) -> None:
    """The first picture is read alone; those that come meanwhile are read in full batches."""
    pictures = [digit_png(digit).read_bytes() for digit in range(10)] * 4
    expected = [gate.predictor.predict(picture) for picture in pictures]
    real: list[int] = []

    async def ask() -> list[Answer]:
        batcher = MicroBatcher(
            lambda: cast("MNISTPredictor", gate), quick=one_process, on_batch=real.append
        )
        first = asyncio.ensure_future(batcher.predict(pictures[0]))
        await until(gate.entered.is_set)
        others = [asyncio.ensure_future(batcher.predict(each)) for each in pictures[1:]]
        await until(lambda: len(batcher) == len(others))
        gate.open.set()
        answers = await asyncio.gather(first, *others)
        batcher.close()
        return answers

    answers = asyncio.run(ask())

    assert [a.prediction.digit for a in answers] == [e.digit for e in expected]
    for answer, single in zip(answers, expected, strict=True):
        np.testing.assert_allclose(answer.prediction.probabilities, single.probabilities, atol=1e-5)
    assert real == [1, MOST, MOST, 7]
    assert gate.sizes == [1, 16, 16, 7]


def test_a_bad_picture_in_a_batch_spoils_only_itself(
    gate: Gate, one_process: Decoders, digit_png: Callable[..., Path]
) -> None:
    good = digit_png(3).read_bytes()
    blank = encode(50, 50)
    cut, cut_jpeg = encode(50, 50)[:40], encode(50, 50, "JPEG")[:-40]

    async def ask() -> list[Any]:
        batcher = MicroBatcher(lambda: cast("MNISTPredictor", gate), quick=one_process)
        first = asyncio.ensure_future(batcher.predict(good))
        await until(gate.entered.is_set)
        others = [
            asyncio.ensure_future(batcher.predict(each))
            for each in (good, cut, blank, cut_jpeg, good)
        ]
        await until(lambda: len(batcher) == 5)
        gate.open.set()
        answers = await asyncio.gather(first, *others, return_exceptions=True)
        batcher.close()
        return answers

    first, second, damaged, nothing_on_it, damaged_too, last = asyncio.run(ask())

    assert [each.prediction.digit for each in (first, second, last)] == [3, 3, 3]
    assert isinstance(damaged, ImageError)
    assert isinstance(nothing_on_it, BlankImageError)
    assert isinstance(damaged_too, ImageError)


def test_more_than_can_wait_is_refused_at_once_and_the_others_are_read(
    gate: Gate, one_process: Decoders, digit_png: Callable[..., Path]
) -> None:
    picture = digit_png(5).read_bytes()

    async def ask() -> tuple[list[Answer], int]:
        batcher = MicroBatcher(lambda: cast("MNISTPredictor", gate), quick=one_process, capacity=4)
        first = asyncio.ensure_future(batcher.predict(picture))
        await until(gate.entered.is_set)
        waiting = [asyncio.ensure_future(batcher.predict(picture)) for _ in range(4)]
        await until(lambda: len(batcher) == 4)
        with pytest.raises(OverloadedError, match="try again") as caught:
            await batcher.predict(picture)
        gate.open.set()
        answers = await asyncio.gather(first, *waiting)
        batcher.close()
        return answers, caught.value.http_status

    answers, status = asyncio.run(ask())

    assert [answer.prediction.digit for answer in answers] == [5] * 5
    assert status == 503


@pytest.fixture(params=["PNG", "GIF"])
def five(request: pytest.FixtureRequest, digit_png: Callable[..., Path]) -> bytes:
    """Return a picture of a five, once one of the quick ones and once of the others."""
    buffer = io.BytesIO()
    Image.open(digit_png(5)).save(buffer, request.param)
    return buffer.getvalue()


def test_who_has_waited_for_long_enough_is_told_to_come_back(
    gate: Gate, one_process: Decoders, monkeypatch: pytest.MonkeyPatch, five: bytes
) -> None:
    async def ask() -> tuple[Answer, Any, int]:
        batcher = MicroBatcher(lambda: cast("MNISTPredictor", gate), quick=one_process)
        first = asyncio.ensure_future(batcher.predict(five))
        await until(gate.entered.is_set)
        monkeypatch.setattr(micro_batch, "MAX_WAIT_S", 0)
        second = await asyncio.gather(batcher.predict(five), return_exceptions=True)
        left = len(batcher)
        gate.open.set()
        answer = await first
        batcher.close()
        return answer, second[0], left

    answer, refused, left = asyncio.run(ask())

    assert isinstance(refused, OverloadedError)
    assert "waited for 0 s" in str(refused)
    assert left == 0
    assert answer.prediction.digit == 5
    assert gate.sizes == [1]


def test_what_has_begun_is_read_to_its_end_however_long_it_takes(
    gate: Gate, one_process: Decoders, monkeypatch: pytest.MonkeyPatch, five: bytes
) -> None:
    """Work that was nearly done was thrown away, and the visitor told that it had only waited."""

    async def wait_until_it_has_begun(outcome: asyncio.Future[Any]) -> None:
        await until(gate.entered.is_set)
        patience_is_over.set()

    async def ask() -> Answer:
        batcher = MicroBatcher(lambda: cast("MNISTPredictor", gate), quick=one_process)
        asked = asyncio.ensure_future(batcher.predict(five))
        await until(lambda: patience_is_over.is_set() or asked.done())
        gate.open.set()
        answer = await asked
        batcher.close()
        return answer

    patience_is_over = threading.Event()
    monkeypatch.setattr(micro_batch, "_be_patient", wait_until_it_has_begun)

    assert asyncio.run(ask()).prediction.digit == 5


def test_a_picture_whose_sender_has_gone_is_not_read(
    gate: Gate, one_process: Decoders, digit_png: Callable[..., Path]
) -> None:
    picture = digit_png(5).read_bytes()

    async def ask() -> Answer:
        batcher = MicroBatcher(lambda: cast("MNISTPredictor", gate), quick=one_process)
        first = asyncio.ensure_future(batcher.predict(picture))
        await until(gate.entered.is_set)
        gone = asyncio.ensure_future(batcher.predict(picture))
        await until(lambda: len(batcher) == 1)
        gone.cancel()
        await asyncio.wait({gone})
        gate.open.set()
        answer = await first
        await asyncio.to_thread(batcher.close)
        return answer

    assert asyncio.run(ask()).prediction.digit == 5
    assert gate.sizes == [1]


def test_a_failing_network_is_told_to_whoever_waits_and_the_next_picture_is_read(
    tiny_predictor: MNISTPredictor, one_process: Decoders, digit_png: Callable[..., Path]
) -> None:
    picture = digit_png(5).read_bytes()
    predictors: list[Any] = [None, tiny_predictor]  # None cannot predict

    async def ask() -> tuple[Any, Answer]:
        batcher = MicroBatcher(lambda: predictors.pop(0), quick=one_process)
        failure = await asyncio.gather(batcher.predict(picture), return_exceptions=True)
        answer = await batcher.predict(picture)
        batcher.close()
        return failure[0], answer

    failure, answer = asyncio.run(ask())

    assert isinstance(failure, AttributeError)
    assert answer.prediction.digit == 5


class Failing(Decoders):
    """Fails at one picture, or cannot even start."""

    def __init__(self, bad: bytes, *, starts: bool) -> None:
        super().__init__(1)
        self.bad, self.starts = bad, starts

    def prepare_all(self, contents: Sequence[bytes]) -> list[Any]:
        if not self.starts and self.bad in contents:
            raise WorkerError("a worker process ended while it started")
        return [ZeroDivisionError() if each == self.bad else prepare(each) for each in contents]


@pytest.mark.parametrize(("starts", "error"), [(True, ZeroDivisionError), (False, WorkerError)])
def test_a_mistake_of_ours_in_one_picture_is_told_and_the_next_one_is_read(
    tiny_predictor: MNISTPredictor,
    digit_png: Callable[..., Path],
    starts: bool,
    error: type[Exception],
) -> None:
    picture, bad = digit_png(5).read_bytes(), encode(28, 28)

    async def ask() -> list[Any]:
        batcher = MicroBatcher(lambda: tiny_predictor, quick=Failing(bad, starts=starts))
        first = await asyncio.gather(batcher.predict(bad), return_exceptions=True)
        second = await batcher.predict(picture)
        batcher.close()
        return [*first, second]

    failure, answer = asyncio.run(ask())

    assert isinstance(failure, error)
    assert answer.prediction.digit == 5


def test_closing_reads_what_waits_and_refuses_what_comes_later(
    tiny_predictor: MNISTPredictor, digit_png: Callable[..., Path]
) -> None:
    picture = digit_png(5).read_bytes()

    async def ask() -> tuple[list[Answer], list[threading.Thread]]:
        batcher = MicroBatcher(lambda: tiny_predictor)
        waiting = [asyncio.ensure_future(batcher.predict(picture)) for _ in range(20)]
        await asyncio.sleep(0)
        await asyncio.to_thread(batcher.close)
        with pytest.raises(OverloadedError):
            await batcher.predict(picture)
        return await asyncio.gather(*waiting), batcher._threads

    answers, threads = asyncio.run(ask())

    assert [answer.prediction.digit for answer in answers] == [5] * 20
    assert not any(thread.is_alive() for thread in threads)


def test_a_large_picture_does_not_hold_up_the_small_ones(
    gate: Gate,
    tiny_predictor: MNISTPredictor,
    one_process: Decoders,
    digit_png: Callable[..., Path],
) -> None:
    """The large one waits at the gate while small ones pass; in one line they would wait too."""
    small = digit_png(5).read_bytes()
    large = digit_png(6, size=1200).read_bytes()
    current: list[Any] = [gate]

    async def ask() -> tuple[list[Answer], Answer]:
        batcher = MicroBatcher(lambda: current[0], quick=one_process)
        slow = asyncio.ensure_future(batcher.predict(large))
        await until(gate.entered.is_set)
        current[0] = tiny_predictor
        quick = [await batcher.predict(small) for _ in range(3)]
        gate.open.set()
        answer = await slow
        batcher.close()
        return quick, answer

    quick, slow = asyncio.run(ask())

    assert [answer.prediction.digit for answer in quick] == [5] * 3
    assert slow.prediction.digit == 6


def test_a_lane_runs_in_threads_and_refuses_more_than_it_holds() -> None:
    release = threading.Event()

    async def ask() -> tuple[list[str], int]:
        lane = Lane("long jobs", threads=1, capacity=2)

        def work() -> str:
            release.wait(60)
            return threading.current_thread().name

        running = [asyncio.ensure_future(lane.run(work)) for _ in range(2)]
        await until(lambda: len(lane) == 2)
        with pytest.raises(OverloadedError, match="2 long jobs"):
            await lane.run(work)
        release.set()
        names = await asyncio.gather(*running)
        left = len(lane)
        lane.close()
        return names, left

    names, left = asyncio.run(ask())

    assert all("long jobs" in name for name in names)
    assert left == 0


def test_what_has_waited_for_long_enough_leaves_the_lane_and_what_has_begun_is_done(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without an end to waiting, a few pages of 28 seconds each held up everybody behind them."""
    release, began, done = threading.Event(), threading.Event(), []

    async def ask() -> tuple[str, Any]:
        lane = Lane("long jobs", threads=1)

        def work(name: str) -> str:
            began.set()
            release.wait(60)
            done.append(name)
            return name

        first = asyncio.ensure_future(lane.run(work, "first"))
        await until(began.is_set)
        monkeypatch.setattr(micro_batch, "MAX_WAIT_S", 0)
        second = await asyncio.gather(lane.run(work, "second"), return_exceptions=True)
        release.set()
        answer = await first
        await until(lambda: len(lane) == 0)
        lane.close()
        return answer, second[0]

    answer, refused = asyncio.run(ask())

    assert answer == "first"
    assert isinstance(refused, OverloadedError)
    assert "waited for 0 s behind other long jobs" in str(refused)
    assert done == ["first"]
