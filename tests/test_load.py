"""The crowd of clients counts what it was answered, right or not."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from load import Outcome, compose, drive

SEEN: list[bytes] = []


async def answer(request: Request) -> JSONResponse:
    SEEN.append(await request.body())
    return JSONResponse({"x": "y" * 100_000}, status_code=200 if SEEN[-1] == b"good" else 422)


@pytest.fixture
def port() -> Iterator[int]:
    SEEN.clear()
    app = Starlette(routes=[Route("/x", answer, methods=["POST"])])
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off"))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield listener.getsockname()[1]
        server.should_exit = True
        thread.join(timeout=30)


def test_every_request_is_sent_once_and_its_answer_counted(port: int) -> None:
    requests = [compose("/x", b"good"), compose("/x", b"bad")]

    outcome = drive("127.0.0.1", port, requests, clients=7, count=100)

    assert (outcome.statuses[200], outcome.statuses[422], outcome.failures) == (50, 50, 50)
    assert (SEEN.count(b"good"), SEEN.count(b"bad")) == (50, 50)
    assert len(outcome.latencies) == 100
    assert outcome.rate == pytest.approx(50 / outcome.seconds)


def test_a_time_ends_the_asking(port: int) -> None:
    outcome = drive("127.0.0.1", port, [compose("/x", b"good")], clients=2, seconds=0.1)

    assert outcome.statuses[200] == len(SEEN) > 0
    assert outcome.seconds >= 0.1


@pytest.mark.parametrize("heard", [True, False], ids=["after the request", "at once"])
def test_a_server_that_hangs_up_is_counted_and_not_waited_for(heard: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def hang_up() -> None:
            for _ in range(3):
                connection, _ = listener.accept()
                if heard:
                    connection.recv(4096)
                connection.close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        port = listener.getsockname()[1]
        outcome = drive("127.0.0.1", port, [compose("/x", b"good")], clients=3, count=3)
        thread.join(timeout=30)

    assert outcome.failures == outcome.statuses[0] == 3
    assert outcome.rate == 0


def test_percentiles_are_those_of_the_answers() -> None:
    outcome = Outcome(latencies=[n / 100 for n in range(100, 0, -1)])

    assert outcome.percentile(50) == pytest.approx(0.51)
    assert outcome.percentile(99) == pytest.approx(1.0)
    assert Outcome().percentile(50) == 0
