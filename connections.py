"""HTTP connections that give up on clients who are slow, endless, confused, or too many.

uvicorn waits without end for the headers of a request, and takes as many of them as are sent. Here
they have a time and a size; so has what is still sent after a request was answered. (A body that
nobody read any more could be sent for ever, a byte at a time, and a thousand of them were enough
to shut everybody out.) One address has a part of all connections only.

    >>> config = uvicorn.Config(app, http=Connection)
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from access import group_of
from refusal import RETRY_AFTER_S, Refusal

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

# From the first byte, or from the opening, to the last header; and from the end of an answer to the
# end of a body that it did not wait for.
HEADER_TIMEOUT_S = 15
MAX_HEADER_BYTES = 32 * 2**10  # of the address and all headers; browsers send about one
MAX_HEADERS = 100
MAX_MESSAGE_BYTES = 2**30  # of one request; far beyond what any route takes
MAX_CONNECTIONS = 1_000
MAX_OF_CLIENT = 250  # a school class behind one address: 40 browsers with six connections each
CLOSING = (b"connection", b"close")  # a header


class Connection(HttpToolsProtocol):
    """One connection to a client. See uvicorn for the life of a protocol."""

    _deadline: asyncio.TimerHandle | None = None
    _in_body = False
    _is_flood = False
    _message_bytes = _header_bytes = _header_count = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the clock: who opens a connection has something to say."""
        super().connection_made(transport)
        self.group = group_of(self.client[0]) if self.client else ""
        self._start_clock()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        self._stop_clock()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what came, unless it is too much."""
        self._message_bytes += len(data)
        super().data_received(data)
        if self.transport.is_closing():
            return
        # A single endless header never reaches `on_header`.
        if not self._in_body and self._message_bytes > 2 * MAX_HEADER_BYTES:
            self._is_flood = True
            self.send_400_response("")
        elif self._message_bytes > MAX_MESSAGE_BYTES:
            self.transport.close()
        elif self._message_bytes and not self._in_body and self._deadline is None:
            self._start_clock()

    def on_message_begin(self) -> None:
        """Count anew for each request."""
        super().on_message_begin()
        self._in_body = False
        self._header_bytes = self._header_count = 0
        if self._deadline is None:
            self._start_clock()

    def on_url(self, url: bytes) -> None:
        """Take a part of the address."""
        super().on_url(url)
        self._count(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header."""
        super().on_header(name, value)
        self._header_count += 1
        self._count(len(name) + len(value))

    def on_headers_complete(self) -> None:
        """Stop the clock; for the body there is another one, in `guards.py`."""
        self._stop_clock()
        self._in_body = True
        self.app = self._judge() or self.config.loaded_app
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Be ready for the next request."""
        super().on_message_complete()
        self._in_body = False
        self._message_bytes = 0
        # uvicorn began to wait for the next request when it had answered, and each byte since then
        # has put an end to that.
        if self.cycle.response_complete:
            self._start_clock()

    def on_response_complete(self) -> None:
        """Start the clock if the request goes on: nobody waits for the rest of its body."""
        super().on_response_complete()
        if self._in_body and self.cycle.response_complete:
            self._start_clock()

    def _judge(self) -> ASGIApp | None:
        """Find a reason not to serve this connection: there are too many."""
        if len(self.connections) > MAX_CONNECTIONS:
            return _answering(
                Refusal(
                    503,
                    "overloaded",
                    "too many connections are open to this server; try again in a moment",
                    RETRY_AFTER_S,
                )
            )
        # An address that may name others in X-Forwarded-For is a proxy: behind it is everybody.
        proxies = getattr(self.config.loaded_app, "trusted_hosts", ())
        if len(self.connections) <= MAX_OF_CLIENT or (self.client and self.client[0] in proxies):
            return None
        groups = [getattr(each, "group", None) for each in self.connections]
        if groups.count(self.group) <= MAX_OF_CLIENT:
            return None
        return _answering(
            Refusal(
                429,
                "too_many_requests",
                f"at most {MAX_OF_CLIENT} connections of one address are served; close some, or "
                "wait a little",
                RETRY_AFTER_S,
            )
        )

    def _count(self, more: int) -> None:
        """Stop the parser when the headers are too much: it then calls `send_400_response`."""
        self._header_bytes += more
        if self._header_bytes > MAX_HEADER_BYTES or self._header_count > MAX_HEADERS:
            self._is_flood = True
            raise OverflowError("too many headers")

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP, or too much of it, and close."""
        refusal = Refusal(400, "request", "this is not HTTP")
        if self._is_flood:
            refusal = Refusal(
                431,
                "headers_too_large",
                f"headers: at most {MAX_HEADERS} of {MAX_HEADER_BYTES // 1024} kB in all are read",
            )
        self._refuse(refusal)

    def _start_clock(self) -> None:
        self._stop_clock()
        self._deadline = self.loop.call_later(HEADER_TIMEOUT_S, self._give_up)

    def _stop_clock(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        """Close a connection whose client is too slow; tell so if it has begun to speak."""
        self._deadline = None
        if self.transport.is_closing() or (self.cycle and not self.cycle.response_complete):
            return
        if self._message_bytes and not self._in_body:
            detail = f"headers: they did not arrive within {HEADER_TIMEOUT_S} s"
            self._refuse(Refusal(408, "too_slow", detail))
        else:
            self.transport.close()

    def _refuse(self, refusal: Refusal) -> None:
        """Answer without the application, and close."""
        headers = [*refusal.to_headers(), CLOSING]
        self.transport.write(
            STATUS_LINE[refusal.status]
            + b"".join(b"%b: %b\r\n" % header for header in headers)
            + b"\r\n"
            + refusal.to_json()
        )
        self.transport.close()


def _answering(refusal: Refusal) -> ASGIApp:
    """Make what answers in place of the application, and lets the connection be closed."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        for message in refusal.to_messages([CLOSING]):
            await send(message)

    return answer
