"""Clients that are slow, endless or confused, on real sockets; the next good one is answered."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
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


async def refuse(request: Request) -> JSONResponse:
    return JSONResponse({"error": "no"}, 403)  # and look at no body


@pytest.fixture
def port(request: pytest.FixtureRequest) -> Iterator[int]:
    routes = [Route("/x", echo, methods=["POST"]), Route("/no", refuse, methods=["POST"])]
    config = uvicorn.Config(
        Starlette(routes=routes),
        http=Connection,
        log_level="critical",
        lifespan="off",
        **getattr(request, "param", {}),
    )
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


def test_requests_that_are_sent_at_once_are_all_answered(port: int) -> None:
    last = GOOD.replace(b"Host: a", b"Host: a\r\nConnection: close")

    answer = talk(port, GOOD + GOOD + last, close=False)

    assert answer.count(b"HTTP/1.1 200") == 3


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


def read_answer(client: socket.socket) -> bytes:
    """Read the head of an answer and what came with it."""
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += client.recv(65536)
    return answer


def send_slowly(client: socket.socket, trickle: bytes) -> None:
    """Send a little, again and again, for twenty seconds."""
    for _ in range(1000):
        client.sendall(trickle)
        threading.Event().wait(0.02)


@pytest.mark.parametrize(
    ("head", "trickle"),
    [
        (b"Content-Length: 1000000", b"a"),
        (b"Transfer-Encoding: chunked", b"1\r\na\r\n"),
    ],
    ids=["length", "chunked"],
)
def test_a_body_that_goes_on_after_the_answer_comes_to_its_end_soon_or_is_cut_off(
    port: int, monkeypatch: pytest.MonkeyPatch, head: bytes, trickle: bytes
) -> None:
    """Each of these connections once lasted as long as its client liked, and counted."""
    monkeypatch.setattr(connections, "HEADER_TIMEOUT_S", 0.2)

    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        client.sendall(b"POST /no HTTP/1.1\r\nHost: a\r\n" + head + b"\r\n\r\n" + trickle)
        assert read_answer(client).startswith(b"HTTP/1.1 403")
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            send_slowly(client, trickle)

    assert_good(port)


@pytest.mark.parametrize(
    ("first", "trickle"),
    [(b"POST /x HTTP/1.1\r\nX-Slow: ", b"y"), (GOOD, b"\r\n")],
    ids=["a header", "blank lines after a request"],
)
def test_a_byte_now_and_then_does_not_keep_a_connection(
    port: int, monkeypatch: pytest.MonkeyPatch, first: bytes, trickle: bytes
) -> None:
    monkeypatch.setattr(connections, "HEADER_TIMEOUT_S", 0.2)

    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        client.sendall(first)
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            send_slowly(client, trickle)

    assert_good(port)


def test_after_a_body_that_came_late_the_connection_serves_the_next_request(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        client.sendall(b"POST /no HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\na")
        assert read_answer(client).startswith(b"HTTP/1.1 403")
        client.sendall(b"bc" + GOOD)

        assert read_answer(client).startswith(b"HTTP/1.1 200")


def test_after_a_body_that_came_late_an_idle_connection_is_closed(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "HEADER_TIMEOUT_S", 0.2)

    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        client.sendall(b"POST /no HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\na")
        read_answer(client)
        client.sendall(b"bc")

        assert client.recv(1) == b""


def occupy(port: int, count: int, address: str = "127.0.0.1") -> list[socket.socket]:
    """Open connections from an address, with an answer on each, so that the server knows them."""
    opened = []
    for _ in range(count):
        opened.append(socket.create_connection(("127.0.0.1", port), 30, (address, 0)))
        opened[-1].sendall(GOOD)
        read_answer(opened[-1])
    return opened


@pytest.mark.parametrize(
    ("port", "limit", "status", "error"),
    [
        ({"proxy_headers": False}, "MAX_CONNECTIONS", 503, "overloaded"),
        ({"proxy_headers": False}, "MAX_OF_CLIENT", 429, "too_many_requests"),
        ({"forwarded_allow_ips": "203.0.113.1"}, "MAX_OF_CLIENT", 429, "too_many_requests"),
        ({"forwarded_allow_ips": "127.0.0.1"}, "MAX_OF_CLIENT", 200, ""),
    ],
    indirect=["port"],
    ids=["all", "of one client", "of one client beside a proxy", "of a proxy"],
)
def test_too_many_connections_are_refused_with_a_time_to_come_back(
    port: int, monkeypatch: pytest.MonkeyPatch, limit: str, status: int, error: str
) -> None:
    monkeypatch.setattr(connections, limit, 2)
    others = occupy(port, 2)

    answer = talk(port, GOOD.replace(b"Host: a", b"Host: a\r\nConnection: close"))

    if error:
        assert problem_of(answer) == (status, error)
        assert b"retry-after: 2" in answer
    else:
        assert answer.startswith(b"HTTP/1.1 200")
    for other in others:
        other.close()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there is one loopback address")
def test_the_connections_of_one_address_leave_room_for_others(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "MAX_OF_CLIENT", 2)
    others = occupy(port, 2, "127.0.0.2")

    assert_good(port)

    for other in others:
        other.close()


def test_a_request_of_more_bytes_than_any_route_takes_is_cut_off(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "MAX_MESSAGE_BYTES", 1000)
    head = b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n"

    assert talk(port, head, b"x" * 2000, close=False) == b""

    assert_good(port)
