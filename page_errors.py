"""The page's server tells what is wrong in the form of the API: {"error": ..., "detail": ...}.

    answer of Gradio, 400 or more, in any of its forms -> ours

Gradio answers in plain text, in FastAPI's form, or in one of its own, and what a handler refuses
with `gr.Error` is a 500 under /run. The page shows what stands in `error` there, so under /run
that is the sentence, too, and not a name.

    >>> answer_like_api(app)  # once the page is mounted on it
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from refusal import OUR_MISTAKE, Refusal
from uploads import UPLOADS

if TYPE_CHECKING:
    from fastapi import FastAPI, Request, Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

REFUSED = 422  # what a handler has refused

_CHANGED = {b"content-type", b"content-length"}  # headers of an answer that is put anew


def answer_like_api(app: FastAPI) -> None:
    """Let the page tell what is wrong in the same form as the API.

    Parameters
    ----------
    app : FastAPI
        The page is mounted on it already.
    """
    from fastapi import FastAPI
    from fastapi.exceptions import RequestValidationError
    from gradio.route_utils import FnIndexInferError
    from starlette.exceptions import HTTPException
    from starlette.routing import Mount

    from api_errors import answer_http_error, answer_invalid

    for route in app.routes:
        if isinstance(route, Mount) and isinstance(route.app, FastAPI):
            for kind, handler in {
                HTTPException: answer_http_error,
                RequestValidationError: answer_invalid,
                FnIndexInferError: _answer_unknown,
                KeyError: _answer_unknown,  # fn_index, which Gradio looks up without a check
                TypeError: _answer_no_file,
                Exception: _answer_mistake,
            }.items():
                route.app.add_exception_handler(kind, handler)
            route.app.add_middleware(Translator)


async def _answer_unknown(request: Request, error: Exception) -> Response:
    """Answer who asks the page for a function that it does not have."""
    from api_errors import respond

    detail = "api_name or fn_index: the page has no such function"
    return respond(Refusal(404, "not_found", detail))


async def _answer_no_file(request: Request, error: Exception) -> Response:
    """Answer who uploads a text to the page instead of a file."""
    from api_errors import respond

    if request.url.path != UPLOADS:
        raise error
    detail = "files: it has to be a file; with curl: -F files=@seven.png"
    return respond(Refusal(422, "invalid", detail))


async def _answer_mistake(request: Request, error: Exception) -> Response:
    """Answer what went wrong in the page's server, where the guard does not come to know of it."""
    from api_errors import respond

    return respond(OUR_MISTAKE)


class Translator:
    """Puts answers that tell of a problem into our form. An ASGI middleware.

    Parameters
    ----------
    app : ASGI application
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request on, and its answer back."""
        problem: Message | None = None
        body = b""

        async def translate(message: Message) -> None:
            nonlocal problem, body
            if message["type"] == "http.response.start" and message["status"] >= 400:
                problem = message
            elif problem is None:
                await send(message)
            else:
                body += message.get("body", b"")
                if not message.get("more_body"):
                    problem["status"], body = tell(problem["status"], body)
                    problem["headers"] = [
                        *(each for each in problem["headers"] if each[0] not in _CHANGED),
                        (b"content-type", b"application/json"),
                        (b"content-length", str(len(body)).encode()),
                    ]
                    await send(problem)
                    await send({"type": "http.response.body", "body": body})

        await self.app(scope, receive, translate)


def tell(status: int, body: bytes) -> tuple[int, bytes]:
    """Bring the problem that an answer tells of into our form.

    Parameters
    ----------
    status : int
    body : bytes
        In whatever form Gradio has for it.

    Returns
    -------
    status : int
    body : bytes
        JSON with `error` and `detail`.
    """
    try:
        told: Any = json.loads(body)
    except ValueError:
        told = body.decode("utf-8", "replace")
    if isinstance(told, dict) and set(told) == {"error", "detail"}:
        return status, body
    if isinstance(told, dict) and "duration" in told:  # a `gr.Error`: somebody wrote that text
        status, error, detail = REFUSED, str(told["error"]), str(told["error"])
    elif status >= 500:
        error = detail = OUR_MISTAKE.detail
    else:
        error, detail = "request", str(told or "this cannot be answered")
    return status, Refusal(status, error, detail).to_json()
