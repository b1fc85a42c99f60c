"""Every request is counted and, if asked for, logged: where it went and how, not what was in it."""

from __future__ import annotations

import asyncio
import json
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from observe import LONGEST_PATH, PAGE, Metrics, Observer, format_request


def scope_of(path: str, method: str = "GET", **more: Any) -> dict[str, Any]:
    app = SimpleNamespace(state=SimpleNamespace(endless=set()))
    client = ("192.0.2.7", 5)
    return {"type": "http", "method": method, "path": path, "client": client, "app": app} | more


async def answer(scope: Any, receive: Any, send: Any) -> None:
    """Answer as an application does that has found its route."""
    scope["route"] = SimpleNamespace(path="/models/{name}")
    await send({"type": "http.response.start", "status": 404, "headers": []})
    await send({"type": "http.response.body", "body": b"ab", "more_body": True})
    await send({"type": "http.response.body", "body": b"c"})


async def fail(scope: Any, receive: Any, send: Any) -> None:
    raise ValueError("a mistake")


async def drop(message: Any) -> None:
    """Take an answer for a client that does not care."""


def ask(application: Any, scope: dict[str, Any], *, log_requests: bool = False) -> Metrics:
    """Send one request through an observer, and return what was counted."""
    metrics = Metrics()
    observer = Observer(application, metrics, log_requests=log_requests)
    asyncio.run(observer(scope, drop, drop))
    return metrics


def test_a_request_is_counted_under_its_route_and_not_under_its_path():
    metrics = ask(answer, scope_of("/models/somebody"))

    text = metrics.to_text().decode()
    assert 'digits_requests_total{method="GET",route="/models/{name}",status="404"} 1.0' in text
    assert 'digits_request_seconds_count{route="/models/{name}"} 1.0' in text
    assert "somebody" not in text
    assert "digits_requests_working 0.0" in text
    assert ("process_resident_memory_bytes" in text) == sys.platform.startswith("linux")


@pytest.mark.parametrize(
    ("method", "counted"), [("GET", "GET"), ("PATCH", "PATCH"), ("X" * 500, "other")]
)
def test_methods_that_anybody_can_make_up_are_counted_as_one(method: str, counted: str):
    metrics = ask(answer, scope_of("/", method))

    assert f'digits_requests_total{{method="{counted}"' in metrics.to_text().decode()


def test_a_request_that_fails_is_counted_as_our_mistake_and_the_failure_goes_on():
    metrics = Metrics()
    observer = Observer(fail, metrics)

    with pytest.raises(ValueError, match="a mistake"):
        asyncio.run(observer(scope_of("/predict"), drop, drop))

    text = metrics.to_text().decode()
    assert f'digits_requests_total{{method="GET",route="{PAGE}",status="500"}} 1.0' in text
    assert "digits_requests_working 0.0" in text


def test_what_is_no_request_passes_uncounted():
    seen = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["type"])

    metrics = ask(application, {"type": "lifespan"})

    assert seen == ["lifespan"]
    assert "digits_requests_total{" not in metrics.to_text().decode()


@pytest.mark.parametrize(
    ("path", "endless"),
    [
        ("/gradio_api/heartbeat/abc", True),
        ("/gradio_api/queue/data", True),
        ("/gradio_api/call/predict/abc", True),
        ("/gradio_api/upload_progress", True),
        ("/gradio_api/mcp/", True),
        ("/gradio_api/queue/join", False),
        ("/gradio_api/run/predict", False),
        ("/predict", False),
    ],
)
def test_the_connection_of_an_open_page_is_known_as_one_that_does_not_end(path: str, endless: bool):
    """A server that stops waits for answers under way, but not for these."""
    scope = scope_of(path)
    held = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        held.append(asyncio.current_task() in scope["app"].state.endless)

    ask(application, scope)

    assert held == [endless]
    assert not scope["app"].state.endless


def test_a_line_is_logged_only_if_asked_for(caplog: pytest.LogCaptureFixture):
    caplog.set_level("INFO", logger="access")

    ask(answer, scope_of("/quiet"))
    ask(answer, scope_of("/loud"), log_requests=True)

    (record,) = caplog.records
    row = json.loads(record.message)
    assert (row["path"], row["status"], row["bytes"]) == ("/loud", 404, 3)


@pytest.mark.parametrize("path", ["/a\nb", '/"}', "/\x1b[31m", "/é", "/" + "a" * 5000])
def test_a_line_is_one_line_of_json_whatever_the_path(path: str):
    line = format_request(scope_of(path, query_string=b"image=secret"), 200, 7, 0.0123)

    row = json.loads(line)
    assert line.isprintable()
    assert row["path"] == path[:LONGEST_PATH]
    assert (row["client"], row["ms"]) == ("192.0.2.7", 12.3)
    assert "secret" not in line


def test_a_client_without_an_address_is_logged_as_well():
    row = json.loads(format_request(scope_of("/", client=None), 200, 0, 0))

    assert row["client"] == ""
