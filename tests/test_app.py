from __future__ import annotations

import asyncio
import signal
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from fastapi.testclient import TestClient

import app
import uploads

if TYPE_CHECKING:
    from fastapi import FastAPI

    from service import Service


def test_the_page_offers_two_functions_to_other_programs_and_no_handler_of_its_own(
    service: Service,
):
    page = app.build_page(service)

    info = page.get_api_info()
    assert set(info["named_endpoints"]) == {"/predict", "/read"}
    assert info["unnamed_endpoints"] == {}
    assert len(page.fns) >= 4


def test_the_page_reports_to_nobody_and_keeps_no_history(
    monkeypatch: pytest.MonkeyPatch, service: Service
):
    page = app.build_page(service)
    monkeypatch.setattr(app, "build_page", lambda service: page)

    server = app.build_app(service)

    assert page.analytics_enabled is False
    assert page.run_history is False
    paths = [getattr(route, "path", None) for route in server.routes]
    assert "/redoc" not in paths  # it would load fonts from another host
    assert paths.index("/docs") < paths.index("")  # the page, which takes everything


def test_what_visitors_upload_lies_in_a_folder_that_ends_with_the_server(
    monkeypatch: pytest.MonkeyPatch, service: Service
):
    """Half of an upload once stayed in /tmp/gradio for ever, and all users could read the rest."""
    seen = []

    def serve(server: FastAPI, *rest: object, **more: object) -> None:
        with TestClient(server, base_url="http://127.0.0.1") as client:
            answer = client.post("/gradio_api/upload", files={"files": ("seven.png", b"x")})
        seen.append(Path(answer.json()[0]))

    monkeypatch.delenv(uploads.VARIABLE, raising=False)
    monkeypatch.setattr(app, "serve", serve)
    monkeypatch.setattr(app, "build_service", lambda args, access: service)

    assert app.main(["--port", "0"]) == 0

    (path,) = seen
    folder = next(each for each in path.parents if each.name.startswith("digits-page-"))
    assert not folder.exists()


def test_a_handler_at_work_is_known_until_its_end() -> None:
    """A server that stops waits for it, but not for the stream by which its answer goes out."""
    import gradio as gr

    server = SimpleNamespace(state=SimpleNamespace(under_way=set()))
    seen = []

    with gr.Blocks() as page:
        gr.on([page.load], lambda: seen.append(len(server.state.under_way)))
    app.note_work(server, page)
    asyncio.run(page.process_api(0, []))

    assert seen == [1]
    assert not server.state.under_way


def test_a_port_in_use_is_told_with_its_number_and_the_flag(capsys: pytest.CaptureFixture[str]):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]

        code = app.main(["--port", str(port)])

    message = capsys.readouterr().err
    assert code == 1
    assert f"port {port}" in message
    assert "--port" in message
    assert "Traceback" not in message


def test_an_unknown_model_is_told_before_anything_is_served(capsys: pytest.CaptureFixture[str]):
    code = app.main(["--port", "0", "--model", "no such model"])

    captured = capsys.readouterr()
    assert code == 1
    assert "no such model" in captured.err
    assert captured.out == ""


def test_a_sigterm_ends_the_program_without_an_error(monkeypatch: pytest.MonkeyPatch):
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(app, "run", lambda args: signal.raise_signal(signal.SIGTERM))

    try:
        with pytest.raises(SystemExit) as stop:
            app.main([])
    finally:
        signal.signal(signal.SIGTERM, before)

    assert stop.value.code == 0


@pytest.mark.parametrize("port", ["-1", "65536", "http", "80.5", ""])
def test_a_wrong_port_is_wrong_usage(port: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as caught:
        app.main([f"--port={port}"])

    assert caught.value.code == 2
    assert "0 to 65535" in capsys.readouterr().err


def test_an_unknown_host_is_told(capsys: pytest.CaptureFixture[str]):
    code = app.main(["--host", "203.0.113.7", "--port", "0"])  # kept free for examples

    assert code == 1
    assert "203.0.113.7" in capsys.readouterr().err
