"""What goes wrong in a handler, answered as `{"error": ..., "detail": ...}`.

    error of ours, of FastAPI or of Starlette -> status, name for programs, detail for people

The page's server takes the same handlers, so that one form holds for all that is under one address.

    >>> app.add_exception_handler(DigitError, answer_digit_error)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.security.utils import get_authorization_scheme_param
from starlette.exceptions import HTTPException

from api_bodies import describe_fault
from errors import DigitError, OverloadedError, SettingsError
from refusal import RETRY_AFTER_S, Refusal


def name_error(error: BaseException | None) -> str:
    """Name an error for programs: `ImageTooLargeError` is "image_too_large"."""
    if isinstance(error, SettingsError):
        return "invalid"
    words = re.findall(r"[A-Z][a-z]*", type(error).__name__.removesuffix("Error"))
    return "_".join(words).lower()


async def answer_digit_error(
    request: Request, error: Exception, *, tell: Callable[..., str]
) -> Response:
    """Answer with one of our own errors, as `Service.tell` words it for whoever asked."""
    assert isinstance(error, DigitError)
    status = error.http_status
    _, token = get_authorization_scheme_param(request.headers.get("authorization"))
    headers = {"www-authenticate": "Bearer"} if status == 401 else {}
    return respond(Refusal(status, name_error(error), tell(error, token=token)), headers)


async def answer_invalid(request: Request, error: Exception) -> Response:
    """Answer with the first field that is wrong."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    place = tuple(first["loc"])
    if first["type"] == "json_invalid":
        reason = first.get("ctx", {}).get("error", "")
        return respond(Refusal(400, "request", f"body: not JSON ({reason}); send a JSON object"))
    if place[:1] in {("body",), ("query",), ("path",)}:
        place = place[1:]
    return respond(Refusal(422, name_error(SettingsError()), describe_fault(place, first["msg"])))


async def answer_http_error(request: Request, error: Exception) -> Response:
    """Answer with an error of the framework."""
    assert isinstance(error, HTTPException)
    names = {404: "not_found", 405: "method_not_allowed", 503: name_error(OverloadedError())}
    name = names.get(error.status_code, "request")
    detail = str(error.detail)
    if error.status_code == 400:  # "There was an error parsing the body"
        detail = f"body: {detail[:1].lower()}{detail[1:]}"
    return respond(Refusal(error.status_code, name, detail), error.headers or {})


def respond(refusal: Refusal, headers: Mapping[str, str] | None = None) -> Response:
    """Make the answer of a handler.

    Parameters
    ----------
    refusal : Refusal
        One with the status 503 always says when to come back.
    headers : mapping of str to str, optional
        Further headers, which take the place of its own.

    Returns
    -------
    Response
    """
    if refusal.status == 503 and not refusal.retry_after_s:
        refusal = replace(refusal, retry_after_s=RETRY_AFTER_S)
    own = {name.decode(): value.decode() for name, value in refusal.to_headers()}
    return Response(refusal.to_json(), refusal.status, headers={**own, **(headers or {})})
