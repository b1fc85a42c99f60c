"""What a batch shows while it runs, and how it is stopped.

rows -> a bar on a terminal, a line now and then elsewhere;  Ctrl-C -> an event
"""

from __future__ import annotations

import contextlib
import logging
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any

from tqdm import tqdm

from batch_input import Source
from utils import one_line

log = logging.getLogger(__name__)

# Where there is no terminal to draw a bar on, a line now and then.
PLAIN_PROGRESS_SECONDS = 10.0
PLAIN_PROGRESS = "{desc}: {n:,} of {total:,}, {rate_noinv_fmt}, {remaining} left{postfix}"
PLAIN_PROGRESS_UNCOUNTED = "{desc}: {n:,} so far, {rate_noinv_fmt}{postfix}"
PLAIN_PROGRESS_KEPT = "{desc}: {n:,} kept from before{postfix}"


@contextlib.contextmanager
def stop_on_signal() -> Iterator[threading.Event]:
    """Give an event that the first Ctrl-C (or SIGTERM) sets; the second stops at once."""
    stop = threading.Event()

    def handle(number: int, frame: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        log.warning("stopping: the pictures in flight are finished first (again: stop at once)")

    if threading.current_thread() is not threading.main_thread():
        yield stop  # only the main thread may change what signals do
        return
    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Progress:
    """A bar on a terminal, a line now and then elsewhere: rate, time left, errors so far.

    Parameters
    ----------
    source : Source
        Is counted in a thread, so that the time left can be told.
    is_shown : bool
        Whether to show anything.
    """

    def __init__(self, source: Source, is_shown: bool) -> None:
        is_terminal = sys.stderr.isatty()
        self._bar = (tqdm if is_terminal else _PlainBar)(
            desc=one_line(source.name),
            unit=" pictures",
            disable=not is_shown,
            file=sys.stderr if is_terminal else _Lines(),
            mininterval=0.2 if is_terminal else PLAIN_PROGRESS_SECONDS,
            miniters=0,  # also drawn while no more is read, and rows are kept
            delay=0 if is_terminal else PLAIN_PROGRESS_SECONDS,
        )
        self._errors = 0
        if is_shown:
            # Counting a large folder takes a while, and reading need not wait for it.
            threading.Thread(target=self._count, args=[source], daemon=True).start()

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def _count(self, source: Source) -> None:
        """Learn how many inputs there are. Runs in a thread."""
        self._bar.total = source.count()

    def update(self, done: int, errors: int, kept: int = 0) -> None:
        """Show that so many more inputs are done.

        Parameters
        ----------
        done : int
            How many.
        errors : int
            How many of them could not be read.
        kept : int, default=0
            How many of them have the row of an earlier run. They took no time worth counting, so
            they are no part of the rate, nor of the time left that follows from it.
        """
        self._errors += errors
        self._bar.set_postfix(errors=self._errors, refresh=False)
        if kept and not self._bar.disable:  # one that is not shown has none of these
            # As tqdm does with `initial`; its sliding average goes by what was drawn last.
            self._bar.initial += kept
            self._bar.last_print_n += kept
            self._bar.n += kept
        self._bar.update(done - kept)


class _PlainBar(tqdm):
    """A bar in words, which says how much is left only where that is known.

    For tqdm no time is left where it has no total: of a list that was not counted, or where there
    are more files by now than were counted.
    """

    @property
    def format_dict(self) -> dict[str, Any]:
        """Tell what is to be drawn, and how."""
        known = super().format_dict
        if 0 < known["n"] == known["initial"]:
            known["bar_format"] = PLAIN_PROGRESS_KEPT
        elif known["total"] is not None and known["n"] <= known["total"]:
            known["bar_format"] = PLAIN_PROGRESS
        else:
            known["bar_format"] = PLAIN_PROGRESS_UNCOUNTED
        return known


class _Lines:
    """A stand-in for stderr that turns a bar's redrawing into plain lines."""

    def write(self, text: str) -> None:
        """Print what is drawn, one line each time."""
        if text := text.strip():
            print(text, file=sys.stderr)

    def flush(self) -> None:
        """Do nothing: stderr is flushed at the end of each line."""
