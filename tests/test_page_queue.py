"""What the page cannot answer soon is refused at once, by number and by size."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import gradio as gr
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

import page_queue
from guards import Guard, Rules
from page_errors import answer_like_api

JOIN = "/gradio_api/call/slow"


class Slow:
    """A page with one function, which answers nobody until it is told to."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.begun = threading.Event()
        with gr.Blocks() as page:
            gr.api(self.slow, api_name="slow")
        page_queue.bound_queue(page)
        self.app = gr.mount_gradio_app(FastAPI(), page, path="/", ssr_mode=False)
        answer_like_api(self.app)
        self.app.add_middleware(Guard, rules=Rules.for_host("127.0.0.1"))

    def slow(self, text: str) -> int:
        self.begun.set()
        self.go_on.wait(60)
        return len(text)


@pytest.fixture
def client() -> Iterator[Callable[[int], int]]:
    """Return a function that sends an event of so many bytes and gives the status."""
    slow = Slow()
    with TestClient(slow.app, base_url="http://127.0.0.1") as client:

        def send(size: int) -> int:
            answer = client.post(JOIN, json={"data": ["x" * size]})
            if answer.status_code != 200:
                assert answer.json().keys() == {"error", "detail"}
                assert answer.json()["error"] == "overloaded"
                assert "try again" in answer.json()["detail"]
                assert int(answer.headers["retry-after"]) >= 1
            return answer.status_code

        assert send(1) == 200
        assert slow.begun.wait(60)
        yield send
        slow.go_on.set()


def test_more_events_than_can_be_answered_soon_are_refused(
    client: Callable[[int], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_queue, "MAX_EVENTS", 3)

    assert [client(1) for _ in range(5)] == [200, 200, 200, 503, 503]


def test_events_of_more_bytes_than_there_is_room_for_are_refused(
    client: Callable[[int], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hundred pictures of 16 MB once waited in memory, for visitors who had gone long ago."""
    monkeypatch.setattr(page_queue, "MAX_BYTES", 1000)

    assert [client(size) for size in (400, 400, 400, 1000, 50)] == [200, 200, 503, 503, 200]
