"""The flags of the server, what they mean for access, and how a running server ends."""

from __future__ import annotations

import argparse
import errno
import http.client
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import server
from errors import AddressError, SettingsError
from utils import PROJECT

# A server as small as can be: one route that takes its time, one that never ends.
PROGRAM = """
import asyncio, signal, sys
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
import server
app = FastAPI()
app.state.stopping, app.state.endless, app.state.under_way = False, set(), set()

@app.get("/slow")
async def slow():
    print("begun", flush=True)
    while not app.state.stopping:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.3)
    return {"answer": "whole"}

@app.get("/endless")
async def endless():
    app.state.endless.add(asyncio.current_task())
    print("begun", flush=True)
    await asyncio.sleep(3600)

@app.get("/stream")
async def stream():
    app.state.endless.add(asyncio.current_task())
    app.state.under_way.add("work")
    print("begun", flush=True)
    while not app.state.stopping:
        await asyncio.sleep(0.01)
    await asyncio.sleep(server.LAST_S + 1)
    app.state.under_way.clear()
    return {"answer": "whole"}

signal.signal(signal.SIGTERM, server.stop)
listener = server.open_port("127.0.0.1", 0)
server.serve(app, listener, title="A server")
"""


def parse(*words: str, **environment: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    server.add_options(parser, environment)
    return parser.parse_args(words)


@pytest.mark.parametrize(
    ("words", "environment", "changes", "local"),
    [
        ([], {}, "open", True),
        (["--host", "::1"], {}, "open", True),
        ([], {"DIGITS_ADMIN_TOKEN": "a long enough token"}, "locked", True),
        (["--host", "0.0.0.0"], {}, "off", False),
        ([], {"DIGITS_HOST": "0.0.0.0"}, "off", False),
        ([], {"SPACE_ID": "someone/digits"}, "off", False),
        (["--host", "0.0.0.0"], {"DIGITS_ADMIN_TOKEN": "a long enough token"}, "locked", False),
        (["--allow-host", "digits.example"], {}, "off", False),
        ([], {"DIGITS_ALLOW_HOSTS": "digits.example"}, "off", False),
        (["--allow-host", "other.localhost"], {}, "open", True),
    ],
)
def test_who_may_change_something_follows_from_where_it_can_be_reached(
    words: list[str], environment: dict[str, str], changes: str, local: bool
) -> None:
    access, rules = server.choose_rules(parse(*words, **environment), environment)

    assert access.changes_are == changes
    assert rules.clients_are_local == local


def test_every_flag_can_come_from_the_environment_and_flags_win() -> None:
    environment = {
        "DIGITS_HOST": "::1",
        "DIGITS_PORT": "8001",
        "DIGITS_MODEL": "last",
        "DIGITS_ALLOW_HOSTS": "a.example, b.example",
        "DIGITS_ALLOW_ORIGINS": "https://a.example",
        "DIGITS_RATE": "5/second",
        "DIGITS_ACCESS_LOG": "1",
    }

    given, won = parse(**environment), parse("--port", "9000", "--model", "best", **environment)
    _, rules = server.choose_rules(given, environment)

    assert (given.host, given.port, given.model, given.access_log) == ("::1", 8001, "last", True)
    assert set(rules.hosts) >= {"a.example", "b.example"}
    assert (rules.origins, rules.rate) == (frozenset({"https://a.example"}), "5/second")
    assert (won.port, won.model) == (9000, "best")
    assert parse(DIGITS_ACCESS_LOG="0").access_log is False


@pytest.mark.parametrize(
    "words",
    [
        ["--rate", "often"],
        ["--rate", "0/minute"],
        ["--allow-host", "http://digits.example"],
        ["--allow-origin", "*"],
        ["--allow-origin", "school"],
    ],
)
def test_flags_that_cannot_work_are_refused_with_advice(words: list[str]) -> None:
    with pytest.raises(SettingsError, match="like"):
        server.choose_rules(parse(*words), {})


def test_a_wrong_port_in_the_environment_is_wrong_usage(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as stop:
        parse(DIGITS_PORT="http")

    assert stop.value.code == 2
    assert "0 to 65535" in capsys.readouterr().err


def test_a_port_in_use_is_told_with_another_one() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]

        with pytest.raises(AddressError, match=f"port {port} .*: it is in use; .* --port"):
            server.open_port("127.0.0.1", port)


@pytest.mark.parametrize(
    ("problem", "said", "advice"),
    [
        (OSError(errno.EADDRINUSE, "In use"), "it is in use", "--port 7971"),
        (PermissionError(errno.EACCES, "Denied"), "this user may not take it", "--port 7971"),
        (OSError(errno.EADDRNOTAVAIL, "No"), "this machine has no such address", "--host"),
        (OSError(errno.EAFNOSUPPORT, "No"), "this machine has no such address", "--host"),
        (socket.gaierror(-2, "Name or service not known"), "no such host is known", "--host"),
        (UnicodeError("label empty or too long"), "no such host is known", "--host"),
        (OSError(errno.ENOBUFS, "No buffer space"), "no buffer space", "another --host or --port"),
    ],
)
def test_the_advice_is_about_what_is_wrong_the_host_or_the_port(
    monkeypatch: pytest.MonkeyPatch, problem: Exception, said: str, advice: str
) -> None:
    """Whoever misspelled the host was told to choose another port."""

    def refuse(*_: object, **__: object) -> None:
        raise problem

    monkeypatch.setattr(socket, "getaddrinfo", refuse)

    with pytest.raises(AddressError, match=f"port 7970 of digits: {said}") as caught:
        server.open_port("digits", 7970)

    advised = str(caught.value).partition("; ")[2]
    assert advice in advised
    assert ("--host" in advised) == ("--host" in advice)
    assert ("--port" in advised) == ("--port" in advice)


@pytest.mark.parametrize("host", ["a..b", "203.0.113.7", ""])
def test_a_host_that_is_not_here_is_told_as_such(host: str) -> None:
    with pytest.raises(AddressError, match=f"{host}: .*no such .*--host"):
        server.open_port(host, 0)


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_the_address_shown_is_one_that_this_machine_can_open(host: str) -> None:
    with server.open_port(host, 0) as listener:
        port = listener.getsockname()[1]

        assert server.address_of(listener) == f"http://127.0.0.1:{port}"


@pytest.fixture
def process(tmp_path: Path):
    """Start the small server; its address is the last word of its first line."""
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        yield process
        process.kill()


def connect(process: subprocess.Popen[str]) -> http.client.HTTPConnection:
    line = process.stdout.readline()
    port = int(line.split(" (")[0].rsplit(":", 1)[1])
    return http.client.HTTPConnection("127.0.0.1", port, timeout=60)


@pytest.mark.parametrize("path", ["/slow", "/stream"])
def test_an_answer_under_way_is_finished_before_the_server_ends(
    process: subprocess.Popen[str], path: str
) -> None:
    connection = connect(process)
    answers: list[bytes] = []
    connection.request("GET", path)
    reader = threading.Thread(target=lambda: answers.append(connection.getresponse().read()))
    reader.start()
    assert process.stdout.readline() == "begun\n"

    process.send_signal(signal.SIGTERM)

    reader.join(timeout=60)
    assert answers == [b'{"answer":"whole"}']
    assert process.wait(timeout=60) == 0
    assert "Traceback" not in process.stderr.read()


def test_an_open_page_does_not_hold_up_the_end(process: subprocess.Popen[str]) -> None:
    connection = connect(process)
    connection.request("GET", "/endless")
    assert process.stdout.readline() == "begun\n"

    process.send_signal(signal.SIGTERM)

    # Less than an answer under way may take: it was not waited for.
    assert process.wait(timeout=server.GRACE_S - 2) == 0
    assert "Traceback" not in process.stderr.read()


def test_who_asks_for_a_web_socket_is_answered_like_anybody_else(
    process: subprocess.Popen[str],
) -> None:
    """A GET was closed without a word or got plain text, and a POST got no answer at all."""
    connection = connect(process)
    wish = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}

    for key in ({"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}, {}):
        for method, path, body, status in (
            ("GET", "/nothing", None, 404),
            ("POST", "/slow", b"abc", 405),
        ):
            connection.request(method, path, body=body, headers=wish | key)

            answer = connection.getresponse()
            kind = answer.getheader("content-type")
            assert (answer.status, kind) == (status, "application/json"), (method, key)
            answer.read()
            connection.close()  # the next one is asked for on a connection of its own
