"""Every error that a handler may raise is answered with a name and a sentence."""

from __future__ import annotations

import asyncio
import json

import pytest
from fastapi import Request, Response
from starlette.exceptions import HTTPException

from api_errors import answer_digit_error, answer_http_error, name_error, respond
from errors import (
    AccessError,
    BlankImageError,
    DigitError,
    ImageTooLargeError,
    OverloadedError,
    SettingsError,
)
from refusal import Refusal

REQUEST = Request({"type": "http", "headers": [(b"authorization", b"Bearer abc")]})


def tell(response: Response) -> dict[str, str]:
    told: dict[str, str] = json.loads(bytes(response.body))
    return told


def answer(error: DigitError) -> Response:
    """Answer with an error as a server does that has no words of its own."""

    def word(error: DigitError, *, token: str) -> str:
        assert token == "abc"
        return str(error)

    return asyncio.run(answer_digit_error(REQUEST, error, tell=word))


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (ImageTooLargeError("x"), "image_too_large"),
        (BlankImageError(), "blank_image"),
        (OverloadedError("x"), "overloaded"),
        (SettingsError("x"), "invalid"),
    ],
)
def test_an_error_has_a_name_for_programs(error: DigitError, name: str) -> None:
    assert name_error(error) == name


def test_an_error_of_ours_has_the_status_of_its_class() -> None:
    response = answer(ImageTooLargeError("image: too large"))

    assert response.status_code == 413
    assert tell(response) == {"error": "image_too_large", "detail": "image: too large"}


def test_who_is_not_known_is_told_what_to_show() -> None:
    response = answer(AccessError("no token"))

    assert response.headers["www-authenticate"] == "Bearer"


def test_what_may_work_in_a_moment_says_when() -> None:
    response = answer(OverloadedError("too many wait"))

    assert int(response.headers["retry-after"]) >= 1


@pytest.mark.parametrize(
    ("status", "detail", "told"),
    [
        (404, "Not Found", {"error": "not_found", "detail": "Not Found"}),
        (
            400,
            "There was an error parsing the body",
            {"error": "request", "detail": "body: there was an error parsing the body"},
        ),
        (503, "full", {"error": "overloaded", "detail": "full"}),
    ],
)
def test_an_error_of_the_framework_is_put_into_our_form(
    status: int, detail: str, told: dict[str, str]
) -> None:
    response = asyncio.run(answer_http_error(REQUEST, HTTPException(status, detail)))

    assert response.status_code == status
    assert tell(response) == told


def test_headers_of_the_error_take_the_place_of_ours() -> None:
    response = respond(Refusal(503, "overloaded", "full", 2), {"retry-after": "60"})

    assert response.headers["retry-after"] == "60"
    assert response.headers["cache-control"] == "no-store"
