"""Without the token nothing can be changed through the page's own endpoints either.

A browser calls a handler of the page by its number. So can anybody: hidden buttons protect nothing.
"""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

import shelf
from access import Access
from app import build_app
from feedback import FeedbackStore
from job_settings import JobSettings
from service import Service
from tests.test_api import HERE, TOKEN, FakeJobs

SESSION = "abc123"


class Watched:
    """A service on a folder of its own, and all that tells whether something has changed."""

    def __init__(self, folder: Path, access: Access, picture: Path) -> None:
        self.models = folder / "models"
        self.service = Service(
            models_folder=self.models,
            feedback=FeedbackStore(folder / "feedback.sqlite"),
            jobs=FakeJobs(),
            access=access,
            device="cpu",
        )
        answer = self.service.predictor.predict(picture)
        self.service.feedback.add(picture, answer, 1, model="a", model_version="b")
        self.service.jobs.start(JobSettings())
        self.app = build_app(self.service)

    def state(self) -> tuple[Any, ...]:
        files = {path.name: path.read_bytes() for path in self.models.glob("*.pth")}
        return (
            self.service.predictor.checkpoint.name,
            files,
            self.service.feedback.count(),
            [run.state for run in self.service.jobs.history()],
        )


@pytest.fixture
def watch(
    tmp_path: Path, models_folder: Path, digit_png: Callable[..., Path]
) -> Callable[[Access], Watched]:
    def make(access: Access) -> Watched:
        shutil.copytree(models_folder, tmp_path / "models")
        shutil.copy(models_folder / "mnist_cnn.pth", tmp_path / "models" / "extra.pth")
        shelf.make_best("extra", tmp_path / "models")
        (tmp_path / "models" / "broken.pth").write_bytes(b"PK\3\4 damaged")
        return Watched(tmp_path, access, digit_png(7))

    return make


def call_everything(watched: Watched, given: str) -> list[str]:
    """Call every handler of the page as a stranger would, and return what was answered.

    Every input gets its own value where it has one, the name of a model where it is empty, and
    the token last, as the handlers expect.
    """
    answers = []
    with TestClient(watched.app, base_url=HERE) as client:
        config = client.get("/config").json()
        values = {part["id"]: part["props"].get("value") for part in config["components"]}
        for dependency in config["dependencies"]:
            data = [values.get(number) for number in dependency["inputs"]]
            for filler in ("extra", 1) if data else ("extra",):
                filled = [filler if value in (None, "", []) else value for value in data]
                if filled:
                    filled[-1] = given
                answers.append(call(client, dependency["id"], filled))
    return answers


def call_everything_with(watched: Watched, value: object) -> list[str]:
    """Call every handler of the page with one value in all its fields."""
    with TestClient(watched.app, base_url=HERE) as client:
        dependencies = client.get("/config").json()["dependencies"]
        return [call(client, each["id"], [value] * len(each["inputs"])) for each in dependencies]


def call(client: TestClient, number: int, data: list[Any]) -> str:
    """Call one handler; the queue is passed by, as a stranger may do."""
    body = {"fn_index": number, "data": data, "session_hash": SESSION, "event_data": None}
    joined = client.post("/gradio_api/queue/join", json=body)
    if joined.status_code != 200:
        return client.post("/gradio_api/run/predict", json=body).text
    with client.stream("GET", f"/gradio_api/queue/data?session_hash={SESSION}") as stream:
        for line in stream.iter_lines():
            message = json.loads(line.removeprefix("data: ")) if line.startswith("data") else {}
            if message.get("msg") in {"process_completed", "close_stream", "unexpected_error"}:
                return json.dumps(message)
    return ""


@pytest.mark.parametrize(
    "access",
    [Access(beyond_loopback=True), Access(beyond_loopback=True, token=TOKEN)],
    ids=["off", "locked"],
)
def test_no_handler_of_the_page_changes_anything_without_the_token(
    watch: Callable[[Access], Watched], access: Access
) -> None:
    watched = watch(access)
    before = watched.state()

    answers = call_everything(watched, "a wrong token")

    assert watched.state() == before
    # The calls have to reach the handlers that change something, or they would show nothing.
    refusal = "changes are off" if access.changes_are == "off" else "administrator token is wrong"
    assert sum(refusal in answer for answer in answers) >= 4


def test_no_handler_of_the_page_tells_strangers_where_a_damaged_model_lies(
    watch: Callable[[Access], Watched], tmp_path: Path
) -> None:
    """The comparison of two models takes no token, and told the path of the file."""
    watched = watch(Access(beyond_loopback=True, token=TOKEN))

    answers = call_everything_with(watched, "broken")

    assert any("this model cannot be used" in answer for answer in answers)
    assert [answer for answer in answers if str(tmp_path) in answer] == []
    assert not any(TOKEN in answer for answer in answers)


@pytest.fixture
def stranger() -> Iterator[ThreadingHTTPServer]:
    """Start another server, which notes what it is asked for."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.server.asked.append(self.path)  # type: ignore[attr-defined]
            self.send_error(404)

        do_HEAD = do_GET

        def log_message(self, *rest: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.asked = []  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def test_the_page_opens_no_path_and_no_address_that_a_client_names(
    watch: Callable[[Access], Watched], stranger: ThreadingHTTPServer, tmp_path: Path
) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(b"a secret of the server")
    address = f"http://127.0.0.1:{stranger.server_port}/seven.png"
    meta = {"meta": {"_type": "gradio.FileData"}}
    files = [
        {"path": str(secret), **meta},
        {"path": f"../../../../../..{secret}", **meta},
        {"path": address, **meta},
        {"path": "seven.png", "url": address, **meta},
    ]
    watched = watch(Access())

    answers, calls = [], 0
    with TestClient(watched.app, base_url=HERE) as client:
        config = client.get("/config").json()
        taking = {each["id"] for each in config["components"] if "file" in each["type"]}
        taking |= {each["id"] for each in config["components"] if each["type"] == "uploadbutton"}
        for dependency in config["dependencies"]:
            if not taking & set(dependency["inputs"]):
                continue
            for file in files:
                for given in (file, [file]):
                    data = [given if number in taking else "" for number in dependency["inputs"]]
                    answers.append(call(client, dependency["id"], data))
                    calls += 1
        shown = client.get(f"/gradio_api/file={secret}")
        fetched = client.get(f"/gradio_api/file={address}")

    assert calls >= 16
    assert stranger.asked == []  # type: ignore[attr-defined]
    assert not any("a secret" in answer for answer in answers)
    assert not any('"success": true' in answer for answer in answers)
    assert shown.status_code in {403, 404}
    assert fetched.status_code in {403, 404}
