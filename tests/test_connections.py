"""Clients that are slow, endless or confused, on real sockets; the next good one is answered."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Iterator

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

import connections
from connections import MAX_HEADER_BYTES, MAX_HEADERS, Connection

GOOD = b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"


async def echo(request: Request) -> JSONResponse:
    return JSONResponse({"bytes": len(await request.body())})


@pytest.fixture
def port() -> Iterator[int]:
    app = Starlette(routes=[Route("/x", echo, methods=["POST"])])
    config = uvicorn.Config(app, http=Connection, log_level="critical", lifespan="off")
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield listener.getsockname()[1]
        server.should_exit = True
        thread.join(timeout=30)
    assert not thread.is_alive()


def talk(port: int, *parts: bytes, close: bool = True) -> bytes:
    """Send parts and return all that comes back until the server closes the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        try:
            for part in parts:
                client.sendall(part)
            if close:
                client.shutdown(socket.SHUT_WR)
        except (BrokenPipeError, ConnectionResetError):
            pass  # the server has said all that it had to say
        answer = b""
        try:
            while part := client.recv(65536):
                answer += part
        except ConnectionResetError:
            pass
        return answer


def problem_of(answer: bytes) -> tuple[int, str]:
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)["error"]


def assert_good(port: int) -> None:
    answer = talk(port, GOOD.replace(b"Host: a", b"Host: a\r\nConnection: close"))
    assert answer.startswith(b"HTTP/1.1 200"), answer
    assert answer.endswith(b'{"bytes":3}')


MANY = b"".join(b"X-%d: y\r\n" % number for number in range(MAX_HEADERS + 1))
LONG = b"X-Long: " + b"y" * MAX_HEADER_BYTES + b"\r\n"


@pytest.mark.parametrize(
    ("request_bytes", "status", "error"),
    [
        (b"POST /x HTTP/1.1\r\nHost: a\r\n" + MANY + b"\r\n", 431, "headers_too_large"),
        (b"POST /x HTTP/1.1\r\nHost: a\r\n" + LONG + b"\r\n", 431, "headers_too_large"),
        (b"POST /x HTTP/1.1\r\nX-Endless: " + b"y" * 200_000, 431, "headers_too_large"),
        (b"POST /" + b"x" * MAX_HEADER_BYTES + b" HTTP/1.1\r\n\r\n", 431, "headers_too_large"),
        (b"this is not HTTP\r\n\r\n", 400, "request"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, "request"),  # TLS
        (b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n", 400, "request"),
        (
            b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked"
            b"\r\n\r\nabc",
            400,
            "request",
        ),
    ],
    ids=["many", "long", "endless", "address", "no HTTP", "TLS", "length", "smuggling"],
)
def test_what_is_too_much_or_no_http_is_refused_and_the_next_request_answered(
    port: int, request_bytes: bytes, status: int, error: str
) -> None:
    answer = talk(port, request_bytes, close=False)

    assert problem_of(answer) == (status, error)
    assert_good(port)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"", 0),
        (b"POST /x HT", 408),
        (b"POST /x HTTP/1.1\r\nHost: a\r\nX-", 408),
        (b"\r\n\r\n", 408),
    ],
    ids=["silent", "address", "headers", "blank lines"],
)
def test_a_client_that_does_not_come_to_the_point_is_given_up(
    port: int, monkeypatch: pytest.MonkeyPatch, sent: bytes, status: int
) -> None:
    monkeypatch.setattr(connections, "HEADER_TIMEOUT_S", 0.1)

    answer = talk(port, sent, close=False)

    assert problem_of(answer) == (408, "too_slow") if status else answer == b""
    assert_good(port)


def test_a_request_that_takes_longer_than_the_headers_may_is_not_given_up(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "HEADER_TIMEOUT_S", 0.05)
    head, body = GOOD[:-3], GOOD[-3:]

    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        client.sendall(head)
        threading.Event().wait(0.3)
        client.sendall(body)
        answer = client.recv(65536)

    assert answer.startswith(b"HTTP/1.1 200")


def test_many_requests_on_one_connection_are_each_counted_anew(port: int) -> None:
    count = 300  # together far more headers than one may have

    async def ask() -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        good = 0
        for _ in range(count):
            writer.write(GOOD.replace(b"Host: a", b"Host: a\r\nX-Filler: " + b"y" * 500))
            head = await reader.readuntil(b"\r\n\r\n")
            good += head.startswith(b"HTTP/1.1 200")
            await reader.readexactly(len(b'{"bytes":3}'))
        writer.close()
        return good

    assert asyncio.run(ask()) == count
