"""What Gradio would do for anybody, and this page does not: relay, open, write to the log."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

import uploads
from app import build_app
from guards import MAX_BODY_BYTES, MAX_SMALL_BYTES, MAX_UPLOAD_BYTES, Guard, Rules
from page_guard import keep_to_uploads
from service import Service
from tests.test_api import HERE
from tests.test_page_access import call

SECRET = "whose picture this is"


@pytest.fixture(scope="module")
def client(models_folder: Path) -> Iterator[TestClient]:
    service = Service(models_folder=models_folder, device="cpu")
    with TestClient(build_app(service), base_url=HERE) as client:
        yield client


@pytest.mark.parametrize(
    ("path", "limit"),
    [
        ("/gradio_api/upload", MAX_UPLOAD_BYTES),
        ("/gradio_api/queue/join", MAX_BODY_BYTES),
        ("/gradio_api/queue/join/", MAX_BODY_BYTES),
        ("/gradio_api/run/predict", MAX_BODY_BYTES),
        ("/gradio_api/call/predict", MAX_BODY_BYTES),
        ("/gradio_api/mcp/", MAX_BODY_BYTES),
        ("/predict", MAX_BODY_BYTES),
        ("/gradio_api/component_server", MAX_SMALL_BYTES),
        ("/gradio_api/cancel", MAX_SMALL_BYTES),
        ("/retrain", MAX_SMALL_BYTES),
    ],
)
def test_only_where_pictures_and_files_are_sent_a_body_may_be_large(
    client: TestClient, path: str, limit: int
) -> None:
    guard = Guard(client.app, Rules(), client.app.state.body_limits)  # type: ignore[attr-defined]

    assert guard.limit_of(path) == limit


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/gradio_api/file/https://192.0.2.1/x"),
        ("HEAD", "/gradio_api/file/https://192.0.2.1/x"),
        ("GET", "/gradio_api/file/seven.png"),
        ("GET", "/gradio_api/file=https://192.0.2.1/x"),
        ("HEAD", "/gradio_api/file=http://192.0.2.1/x"),
        ("GET", "/gradio_api/file=HTTPS://192.0.2.1/x"),
        ("GET", "/gradio_api/file=%68ttps://192.0.2.1/x"),
        ("GET", "/gradio_api/proxy=https://someone.hf.space/x"),
        ("HEAD", "/gradio_api/proxy=https://someone.hf.space/x"),
        ("GET", "/gradio_api/custom_component/x/client/component/index.js"),
        ("GET", "/gradio_api/deep_link?session_hash=x"),
        ("GET", "/gradio_api/dev/reload"),
        ("GET", "/gradio_api/login_check"),
        ("GET", "/gradio_api/openapi.json"),
        ("GET", "/gradio_api/queue/status"),
        ("GET", "/gradio_api/runs"),
        ("GET", "/gradio_api/token"),
        ("GET", "/gradio_api/user"),
        ("GET", "/gradio_api/stream/a/b/1/playlist.m3u8"),
        ("POST", "/gradio_api/stream/a"),
        ("POST", "/gradio_api/component_server"),
        ("POST", "/gradio_api/process_recording"),
        ("POST", "/gradio_api/vibe-edit"),
        ("POST", "/gradio_api/undo-vibe-edit"),
        ("GET", "/gradio_api/vibe-code"),
        ("POST", "/gradio_api/vibe-code"),
        ("POST", "/gradio_api/vibe-starter-queries"),
        ("POST", "/login"),
        ("GET", "/logout"),
        ("GET", "/monitoring"),
        ("GET", "/monitoring/summary"),
        ("GET", "/pwa_icon"),
        ("GET", "/svelte/svelte.js"),
    ],
)
def test_what_neither_page_nor_clients_need_is_not_there(
    client: TestClient, method: str, path: str
) -> None:
    """`GET /gradio_api/file/https://...` once made the server connect to any public address."""
    answer = client.request(method, path)

    assert answer.status_code == 404
    if method != "HEAD":
        assert answer.json()["error"] == "not_found"
        assert "nothing under this path" in answer.json()["detail"]


@pytest.mark.parametrize(
    "path",
    ["/", "/config", "/theme.css", "/gradio_api/info", "/gradio_api/app_id"],
)
def test_what_they_need_is_there(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 200


def test_a_file_of_the_page_is_served_under_whatever_name(client: TestClient) -> None:
    (path,) = client.post("/gradio_api/upload", files={"files": ("https 7.png", b"seven")}).json()

    answer = client.get(f"/gradio_api/file={path}")

    assert (answer.status_code, answer.content) == (200, b"seven")


@pytest.mark.parametrize("pieces", [False, True], ids=["length", "pieces"])
def test_an_upload_without_place_is_refused_before_it_is_read(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, pieces: bool
) -> None:
    """What everybody uploaded within an hour stayed, however much it was."""
    monkeypatch.setattr(uploads.shutil, "disk_usage", lambda folder: SimpleNamespace(free=1000))
    form = b'--x\r\nContent-Disposition: form-data; name="files"; filename="7.png"\r\n\r\n'
    body = form + b"7" * (10 if pieces else 1000) + b"\r\n--x--\r\n"

    answer = client.post(
        "/gradio_api/upload",
        content=iter([body]) if pieces else body,
        headers={"content-type": "multipart/form-data; boundary=x"},
    )

    assert answer.status_code == 503
    assert answer.json()["error"] == "overloaded"
    assert "leaves no place" in answer.json()["detail"]
    assert int(answer.headers["retry-after"]) > 0


def test_a_field_that_a_handler_has_changed_opens_no_address_either() -> None:
    """Gradio makes a new field of one that is changed, which took what the old one refused."""
    import gradio as gr

    with gr.Blocks() as page:
        files, name = gr.File(), gr.Textbox()
        gr.on([page.load], lambda: gr.File(label="changed"), None, files)
        gr.on([page.load], lambda file: file and str(file), files, name)
    app = gr.mount_gradio_app(FastAPI(), page, path="/")
    keep_to_uploads(page)
    file = {"path": "http://192.0.2.1/7.png", "meta": {"_type": "gradio.FileData"}}

    with TestClient(app, base_url=HERE) as client:
        call(client, 0, [])
        answer = call(client, 1, [file])

    assert "addresses are not opened here" in answer


def list_wrong_values(count: int) -> Iterator[list[Any]]:
    """Make data of a call with `count` values, none of which is what a field takes."""
    file = {"path": SECRET, "meta": {"_type": "gradio.FileData"}}
    for value in (SECRET, [SECRET], {"kind": SECRET, "data": SECRET}, file, {"path": SECRET}):
        yield [value] * count
    yield [SECRET] * (count - 1)


def test_a_value_that_cannot_be_read_is_written_to_no_log(
    client: TestClient, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Gradio wrote each such value to the log, whole: somebody's drawing, or megabytes of text."""
    answers = []

    for dependency in client.get("/config").json()["dependencies"]:
        if not dependency["inputs"]:  # a button that sends nothing
            continue
        for data in list_wrong_values(len(dependency["inputs"])):
            answers.append(call(client, dependency["id"], data))

    assert sum("not of the kind" in answer for answer in answers) > 50
    assert SECRET not in "".join(capfd.readouterr())
    assert SECRET not in caplog.text
