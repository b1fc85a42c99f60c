"""Whatever an item does to its process, the others get their results."""

from __future__ import annotations

import os
import pickle
import re
import signal
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import worker_process
from errors import WorkerError
from worker_process import Failure, WorkerProcess

# This file is the worker's module too: the process finds it by the name that it has here.
MODULE = __name__
LIMIT_S = 0.5
NEEDS_A_CLOCK = pytest.mark.skipif(
    not hasattr(signal, "ITIMER_PROF"), reason="there is no clock for processor time here"
)


def double_or_die(item: Any) -> Any:
    """Do what an item says."""
    if item == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if item == "exit":
        os._exit(3)
    if item == "spin":
        while True:
            pass
    if item == "sleep":
        time.sleep(2 * LIMIT_S)
    if item == "work":
        end = time.process_time() + LIMIT_S / 2
        while time.process_time() < end:
            pass
    if item == "wait":
        threading.Event().wait()
    if item == "print":
        print("a library that is talkative")
    return item * 2


def serve(how: str = "well") -> None:
    if how == "not at all":
        sys.exit(5)
    worker_process.serve(lambda: double_or_die, limit_s=LIMIT_S)


@pytest.fixture
def worker() -> Iterator[WorkerProcess]:
    worker = WorkerProcess(MODULE)
    yield worker
    worker.stop()


def test_results_come_in_the_order_of_the_items(worker: WorkerProcess) -> None:
    assert worker.ask([1, "a", 2.5]) == [2, "aa", 5.0]
    assert worker.ask([]) == []


def test_what_a_library_prints_does_not_get_into_the_results(worker: WorkerProcess) -> None:
    assert worker.ask(["print", 1]) == ["printprint", 2]


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        ("crash", rf"crashed \(exit code {-signal.SIGSEGV}\); save .* another format"),
        ("exit", r"crashed \(exit code 3\)"),
        pytest.param("spin", "takes too long .* PNG or JPEG", marks=NEEDS_A_CLOCK),
    ],
)
def test_an_item_that_costs_its_process_costs_only_itself(
    worker: WorkerProcess, item: str, reason: str
) -> None:
    first, failure, third = worker.ask([1, item, 3])

    assert (first, third) == (2, 6)
    assert isinstance(failure, Failure)
    assert re.search(reason, failure.reason)
    assert worker.ask([4]) == [8]


def test_who_only_waits_is_not_too_slow(worker: WorkerProcess) -> None:
    """A sleeping computer or a slow disk is no reason to give up; only the processor's time is."""
    assert worker.ask(["sleep"]) == ["sleepsleep"]


def test_each_item_has_all_the_time(worker: WorkerProcess) -> None:
    assert worker.ask(["work"] * 3) == ["workwork"] * 3


def test_what_cannot_be_sent_or_received_does_not_get_into_the_next_results(
    worker: WorkerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises((AttributeError, TypeError, pickle.PicklingError)):
        worker.ask([1, lambda: 2])
    assert worker.ask([3]) == [6]

    with monkeypatch.context() as patch:
        patch.setattr(worker_process.pickle, "load", interrupt)
        with pytest.raises(KeyboardInterrupt):
            worker.ask([4])
    assert worker.ask([5]) == [10]


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_process_that_died_on_its_own_is_replaced_and_no_item_is_blamed(
    worker: WorkerProcess,
) -> None:
    worker.ask([1])
    os.kill(worker._process.pid, signal.SIGKILL)
    worker._process.wait()

    assert worker.ask([2]) == [4]


def test_who_could_not_start_once_tries_again(
    worker: WorkerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(worker, "_call", (MODULE, "not at all"))
        worker._process.kill()
        worker._process.wait()
        with pytest.raises(WorkerError, match="ended while it started"):
            worker.ask([1])

    assert worker.ask([2]) == [4]


def test_a_process_that_cannot_start_is_an_error() -> None:
    worker = WorkerProcess(MODULE, ["not at all"])

    with pytest.raises(WorkerError, match=r"ended while it started \(exit code 5\)"):
        worker.ask([1])


def test_stopping_ends_the_process_and_tells_its_code(worker: WorkerProcess) -> None:
    worker.ask([1])

    assert worker.stop() == 0


def test_a_worker_that_is_killed_in_its_work_does_not_come_back(worker: WorkerProcess):
    assert worker.ask(["a"]) == ["aa"]

    with ThreadPoolExecutor(1) as threads:
        asked = threads.submit(worker.ask, ["wait"])
        worker.kill()

        with pytest.raises(WorkerError, match="was ended"):
            asked.result()
    with pytest.raises(WorkerError, match="was ended"):
        worker.ask(["a"])
