"""A process that does one thing with whatever it is sent, and may die of it.

    items -> pickle -> pipe -> the process: function(item) for each -> pipe -> as many results

An item that crashes the process, or takes too much of the processor's time, costs nothing but its
own result: a new process takes the old one's place and goes on with the others.

`multiprocessing` would not do: it runs the caller's script again in every process, so that three
lines without an `if __name__ == "__main__"` would break; and one crash takes its whole pool down.
So a worker here is a plain Python process that reads chunks of items from its stdin.

    >>> worker = WorkerProcess("batch_workers")
    >>> answers = worker.ask(items)
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from errors import WorkerError

LIMIT_S = 30.0  # of processor time for an item; the largest photographs take two seconds
STOP_TIMEOUT_S = 5.0

# At the end the process goes at once: to take its libraries apart would keep the parent waiting.
_START = (
    "import importlib, os, sys; sys.path.insert(0, sys.argv[1]); "
    "importlib.import_module(sys.argv[2]).serve(*sys.argv[3:]); sys.stderr.flush(); os._exit(0)"
)
_SURROUNDINGS = {
    # One thread each: the workers themselves are what fills the processors. (NumPy's own threads
    # made the preparation of a small picture ten times slower on two cores.)
    **{f"{name}_NUM_THREADS": "1" for name in ("OPENBLAS", "OMP", "MKL", "VECLIB_MAXIMUM")},
    # Left to itself, Linux's allocator gives memory back after each picture and asks for it anew:
    # 400 page faults, a sixth of the time that a photograph of 640x480 takes.
    "MALLOC_TRIM_THRESHOLD_": str(64 * 2**20),
    "MALLOC_MMAP_THRESHOLD_": str(32 * 2**20),
}
# What a pipe to a process that has died was seen to raise.
_PIPE_BROKEN = (OSError, EOFError, pickle.UnpicklingError)
# The system ends the process when its time is over, whatever it is busy with: the limit has no
# handler, so nothing has to run. Windows has no such clock, and so no limit.
_CLOCK = getattr(signal, "ITIMER_PROF", None)
_TIME_IS_OVER = -signal.SIGPROF if hasattr(signal, "SIGPROF") else None  # as an exit code


@dataclass(frozen=True)
class Failure:
    """Takes the place of a result where the process did not survive the item.

    Attributes
    ----------
    reason : str
        What happened, and what to do.
    """

    reason: str


class WorkerProcess:
    """One process, and the pipes to it.

    It starts at once, but is waited for only when it is asked for the first time. Ask from one
    thread at a time.

    Parameters
    ----------
    module : str
        Whose function `serve`, called with `arguments`, is what the process runs; it has to end in
        `serve` of this file.
    arguments : sequence of str, optional
    """

    def __init__(self, module: str, arguments: Sequence[str] = ()) -> None:
        self._call = (module, *arguments)
        self._is_over = False
        self._lock = threading.Lock()  # a process that starts while others are killed would stay
        self._start()

    def _start(self) -> None:
        """Start the process; it says "ready" when its imports are done."""
        with self._lock:
            if self._is_over:
                raise WorkerError("the worker process was ended")
            self._open()

    def _open(self) -> None:
        """Start the process, whatever was asked for meanwhile."""
        self._is_ready = False
        self._process = subprocess.Popen(
            # Pillow warns of harmless flaws in files; a thousand of them would bury the progress.
            [
                *(sys.executable, "-W", "ignore", "-c", _START, str(Path(__file__).parent)),
                *self._call,
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | _SURROUNDINGS,
            start_new_session=True,  # Ctrl-C in the terminal is for the parent alone
        )

    def ask(self, items: Sequence[Any]) -> list[Any]:
        """Have items worked on. If that kills the process, find the item that did it.

        Parameters
        ----------
        items : sequence
            What can be pickled.

        Returns
        -------
        list
            A result for each, in order, or a `Failure`.

        Raises
        ------
        WorkerError
            If the process does not even start, or was killed by `kill`.
        """
        if self._process.poll() is not None:  # it died on its own: these items are not to blame
            self._replace()
        if not self._is_ready:
            self._wait_until_ready()
        try:
            return self._exchange(items)
        except _PIPE_BROKEN:
            code = self._replace()
        except BaseException:
            # What is in the pipes now would be taken for the results of the next items.
            self._process.kill()
            self._replace()
            raise
        if len(items) > 1:
            return [result for item in items for result in self.ask([item])]
        return [Failure(_describe_end(code))]

    def _replace(self) -> int:
        """End the process and start another; returns the exit code of the old one."""
        code = self.stop()
        self._start()
        return code

    def _wait_until_ready(self) -> None:
        """Read the first word of a new process."""
        assert self._process.stdout is not None
        try:
            pickle.load(self._process.stdout)
        except _PIPE_BROKEN as error:
            raise WorkerError(
                f"a worker process ended while it started (exit code {self.stop()}); "
                "see its message above"
            ) from error
        self._is_ready = True

    def _exchange(self, items: Sequence[Any]) -> list[Any]:
        """Send items and wait for the results."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        pickle.dump(items, self._process.stdin, pickle.HIGHEST_PROTOCOL)
        self._process.stdin.flush()
        results: list[Any] = pickle.load(self._process.stdout)
        return results

    def kill(self) -> None:
        """End the process in the middle of its work, for good; `stop` is still to be called.

        Any thread may do this: the one that waits in `ask` gets a WorkerError.
        """
        with self._lock:
            self._is_over = True
            self._process.kill()

    def stop(self) -> int:
        """End the process: it leaves by itself when its stdin closes. Returns its exit code."""
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with contextlib.suppress(OSError):  # what was not sent cannot be sent any more
                pipe.close()
        try:
            return self._process.wait(timeout=STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()


def _describe_end(code: int) -> str:
    """Say why a process ended before its time."""
    if code == _TIME_IS_OVER:
        return "takes too long to decode; save the picture again, as PNG or JPEG"
    return f"the decoder crashed (exit code {code}); save the picture in another format"


def serve(load: Callable[[], Callable[[Any], Any]], *, limit_s: float = LIMIT_S) -> None:
    """Be a worker: read items from stdin and write results to stdout until stdin ends.

    Parameters
    ----------
    load : callable
        Gives what is done with each item; called once, when nothing can spoil the pipes any more.
    limit_s : float
        Processor time that one item may take, seconds.
    """
    # Service managers (and Ctrl-C on Windows) signal every process at once. The parent decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    tasks, results = sys.stdin.buffer, sys.stdout.buffer
    sys.stdout = sys.stderr  # a library that prints must not print into the results
    function = load()
    _send("ready", results)
    while True:
        try:
            items = pickle.load(tasks)
        except EOFError:
            return
        answers = []
        for item in items:
            _set_clock(limit_s)
            answers.append(function(item))
        _set_clock(0)
        _send(answers, results)


def _set_clock(seconds: float) -> None:
    """Allow this process so much processor time from now on; 0 is as much as it likes."""
    if _CLOCK is not None:
        signal.setitimer(_CLOCK, seconds)


def _send(value: object, pipe: BinaryIO) -> None:
    """Write one value; a parent that is gone ends this process."""
    try:
        pickle.dump(value, pipe, pickle.HIGHEST_PROTOCOL)
        pipe.flush()
    except BrokenPipeError:
        os._exit(0)  # a normal exit would try to flush the pipe again
