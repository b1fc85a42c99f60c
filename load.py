"""A crowd of HTTP clients in one process, lean enough not to be the limit: raw sockets, no library.

requests, clients, seconds -> each client sends its next request when its answer is there
                           -> Outcome: answers by status, seconds of each

>>> outcome = drive("127.0.0.1", 7860, [compose("/predict", body)], clients=50, seconds=3)
>>> outcome.rate, outcome.percentile(95)
(412.0, 0.154)
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

_END_OF_HEAD = b"\r\n\r\n"
_LENGTH = b"content-length:"


@dataclass
class Outcome:
    """What a crowd was answered.

    Attributes
    ----------
    seconds : float
        From the first request to the last answer.
    statuses : Counter
        Answers by their status; 0 counts connections that broke.
    latencies : list of float
        Seconds from a request to its answer.
    """

    seconds: float = 0.0
    statuses: Counter[int] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Good answers for each second."""
        return self.statuses[200] / self.seconds if self.seconds else 0.0

    @property
    def failures(self) -> int:
        """Answers other than 200, and broken connections."""
        return sum(self.statuses.values()) - self.statuses[200]

    def percentile(self, part: float) -> float:
        """Seconds within which so many hundredths of the answers came."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(len(ordered) * part / 100))] if ordered else 0.0


def compose(
    path: str, body: bytes, *, content_type: str = "application/json", host: str = "127.0.0.1"
) -> bytes:
    """Write a POST request that keeps its connection open."""
    return (
        f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: {content_type}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body


def drive(
    host: str,
    port: int,
    requests: Sequence[bytes],
    *,
    clients: int,
    seconds: float | None = None,
    count: int | None = None,
) -> Outcome:
    """Send requests in a closed loop.

    Parameters
    ----------
    host, port
        Of the server.
    requests : sequence of bytes
        Taken in turns.
    clients : int
        How many wait for an answer at the same time.
    seconds : float, optional
        When to stop.
    count : int, optional
        After how many answers to stop; one of the two has to be given.
    """
    assert seconds is not None or count is not None, "this would never stop"
    return asyncio.run(_drive(host, port, requests, clients, seconds, count))


async def _drive(
    host: str,
    port: int,
    requests: Sequence[bytes],
    clients: int,
    seconds: float | None,
    count: int | None,
) -> Outcome:
    loop = asyncio.get_running_loop()
    outcome = Outcome()
    started = time.perf_counter()
    until = started + seconds if seconds is not None else float("inf")
    limit = count if count is not None else float("inf")

    sent = 0

    def take() -> bytes | None:
        """Give the next request, or None when it is time to stop."""
        nonlocal sent
        if sent >= limit or time.perf_counter() >= until:
            return None
        sent += 1
        return requests[sent % len(requests)]

    waiting = []
    for _ in range(clients):
        done = loop.create_future()
        await loop.create_connection(partial(_Client, take, outcome, done), host, port)
        waiting.append(done)
    await asyncio.gather(*waiting)
    outcome.seconds = time.perf_counter() - started
    return outcome


class _Client(asyncio.Protocol):
    """One client: a request, its answer, the next request."""

    def __init__(
        self, take: Callable[[], bytes | None], outcome: Outcome, done: asyncio.Future[None]
    ) -> None:
        self._take, self._outcome, self._done = take, outcome, done
        self._data = b""
        self._awaited = 0  # bytes of the answer, once its head is there
        self._is_finished = False
        self._since = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]
        self._send()

    def _send(self) -> None:
        request = self._take()
        if request is None:
            self._is_finished = True
            self._transport.close()
            return
        self._data, self._awaited, self._since = b"", 0, time.perf_counter()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._data += data
        if not self._awaited:
            end = self._data.find(_END_OF_HEAD)
            if end < 0:
                return
            head = self._data[:end].lower()
            at = head.find(_LENGTH)
            length = int(head[at + len(_LENGTH) :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            self._awaited = end + len(_END_OF_HEAD) + length
        if len(self._data) >= self._awaited:
            self._outcome.latencies.append(time.perf_counter() - self._since)
            self._outcome.statuses[int(self._data[9:12])] += 1
            self._awaited = 0
            self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._is_finished:
            self._outcome.statuses[0] += 1
        if not self._done.done():
            self._done.set_result(None)
