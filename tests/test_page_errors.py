"""Whatever is wrong with a request to the page's server is told in the form of the API."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app import build_app
from page_errors import tell
from service import Service

G = "/gradio_api"
JSON = {"content-type": "application/json"}


@pytest.fixture
def client(service: Service) -> Iterator[TestClient]:
    app = build_app(service)
    with TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False) as client:
        yield client


def test_a_wrong_request_is_told_in_one_form_and_leaves_no_traceback(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    """Most of these were answered with 500, in plain text, as if they were a mistake of ours."""
    wrong: list[tuple[str, Any, int]] = [
        ("run/predict", {"data": [5]}, 404),  # what queues cannot pass the queue by
        ("run/nope", {"data": []}, 404),
        ("call/nope", {"data": []}, 404),
        ("call/predict", {}, 422),
        ("call/v2/nope", {}, 404),
        ("api/predict", {"data": []}, 404),
        ("run/nope", {"data": [], "fn_index": 9999}, 404),
        ("queue/join", {"data": []}, 400),
        ("queue/join", {"data": [], "session_hash": "a"}, 400),
        ("queue/join", {"data": [], "fn_index": 9999, "session_hash": "a"}, 404),
        ("component_server", {"data": 1, "component_id": 1}, 404),
        ("cancel", {}, 422),
    ]

    huge = b'{"data":[],"fn_index":1e400,"session_hash":"a"}'

    answers = [client.post(f"{G}/{path}", json=body) for path, body, _ in wrong]
    answers.append(client.post(f"{G}/call/predict", content=b"{", headers=JSON))
    answers.append(client.post(f"{G}/queue/join", content=huge, headers=JSON))
    answers.append(client.post(f"{G}/upload", content=b"x", headers={"content-type": "text/x"}))
    answers.append(client.post(f"{G}/upload", files={"files": (None, "a text")}))
    answers.append(client.get(f"{G}/upload_progress"))

    expected = [status for *_, status in wrong] + [400, 422, 400, 422, 422]
    assert [answer.status_code for answer in answers] == expected
    for answer in answers:
        assert set(answer.json()) == {"error", "detail"}, (answer.url, answer.text)
        assert all(isinstance(each, str) for each in answer.json().values())
    assert "Traceback" not in caplog.text


def test_what_has_our_form_already_stays_as_it_is() -> None:
    ours = b'{"error": "overloaded", "detail": "files: no place for this"}'

    assert tell(503, ours) == (503, ours)


@pytest.mark.parametrize(
    ("status", "told", "new_status", "detail"),
    [
        (500, '{"error": "no such model", "duration": 10, "title": "x"}', 422, "no such model"),
        (500, '{"error": "\'int\' has no secret", "visible": true}', 500, "something went wrong"),
        (500, '{"error": null}', 500, "something went wrong"),
        (404, "Upload not found", 404, "Upload not found"),
        (404, "", 404, "cannot be answered"),
        (413, '{"error": "too_large", "detail": "body: less"}', 413, "body: less"),
    ],
)
def test_every_form_that_gradio_has_for_a_problem_becomes_ours(
    status: int, told: str, new_status: int, detail: str
) -> None:
    status, body = tell(status, told.encode())

    assert status == new_status
    assert set(json.loads(body)) == {"error", "detail"}
    assert detail in json.loads(body)["detail"]
    assert b"secret" not in body
