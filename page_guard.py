"""What Gradio would do for anybody, and this page does not.

    request -> is its route one that the page or `gradio_client` needs? -> Gradio
    upload  -> is there place for it?                                   -> Gradio
    value   -> an upload, or not a file at all? does it fit its field?  -> handler

Gradio is made to be at hand for its own author: it relays what lies at public addresses, opens
paths, offers an editor of the page's code, and writes every value that it cannot read to the log,
whole. (Tried with Gradio 6.31: `GET /gradio_api/file/https://...` made the server connect to that
host; the batch tab read any picture of the server whose path was sent in place of an upload; one
call with 8 MB of text made the log grow by 8 MB, and a drawing can be sent in the same way.)

    >>> keep_to_uploads(page)
    >>> guard_page(app, folder)
"""

from __future__ import annotations

import logging
import re
from functools import partial
from typing import TYPE_CHECKING, Any

from guards import MAX_UPLOAD_BYTES
from uploads import UPLOADS, Room

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

    import gradio as gr
    from fastapi import FastAPI
    from starlette.types import ASGIApp, Receive, Scope, Send

log = logging.getLogger(__name__)

# Everything else is shut, so that what a new version of Gradio brings is shut until somebody needs
# it. Below `file=` lie the visitors' own files; Gradio would also relay addresses there.
NEEDED = re.compile(
    r"/|/(config|theme\.css|favicon\.ico|robots\.txt|manifest\.json)/?"
    r"|/(assets|static)/.*"
    r"|/gradio_api/(info|app_id|queue/join|queue/data|cancel|reset)/?"
    r"|/gradio_api/upload(_progress)?"
    r"|/gradio_api/(heartbeat|call(?!/v2/)|run)/.*"
    r"|/gradio_api/file=(?!(?i:https?:)).*"
    r"|/gradio_api/mcp(/.*)?"
)
# Where the values of a call are sent, pictures on a pad among them.
EVENTS = ("queue/join", "queue/join/", "run/", "call/", "mcp", "mcp/")


class PageGuard:
    """Lets only requests pass that the page or its clients need. An ASGI application.

    Parameters
    ----------
    page : ASGI application
        Gradio's.
    room : Room
        For uploads.
    """

    def __init__(self, page: ASGIApp, room: Room) -> None:
        self.page = page
        self.room = room

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request pass, or raise what the application around answers with."""
        from starlette.exceptions import HTTPException

        if not NEEDED.fullmatch(scope["path"]):
            detail = "there is nothing under this path; GET /docs shows what there is"
            raise HTTPException(404, detail)
        if scope["path"] != UPLOADS:
            await self.page(scope, receive, send)
            return
        # Sent in pieces without a length, it may become as long as one may be.
        length = dict(scope["headers"]).get(b"content-length", MAX_UPLOAD_BYTES)
        async with self.room.take(int(length)):
            await self.page(scope, receive, send)


def guard_page(app: FastAPI, folder: Path) -> None:
    """Put a guard before the page.

    Parameters
    ----------
    app : FastAPI
        On which the page is mounted, as `api.build_api` makes it: with `.state.rules` and
        `.state.body_limits`.
    folder : Path
        Where Gradio keeps uploads.
    """
    from fastapi import FastAPI
    from starlette.routing import Mount

    for route in app.routes:
        if isinstance(route, Mount) and isinstance(route.app, FastAPI):
            route.app = PageGuard(route.app, Room(folder))
    limits, rules = app.state.body_limits, app.state.rules
    limits[UPLOADS] = rules.upload_bytes
    limits.update({f"/gradio_api/{name}": rules.body_bytes for name in EVENTS})


def keep_to_uploads(page: gr.Blocks) -> None:
    """Let no client name a path or an address that the server would then open.

    Gradio checks paths only if the page was started by `launch()`, while ours is mounted.

    Parameters
    ----------
    page : Blocks
        With everything on it, and mounted.
    """
    page.has_launched = page.is_running = True
    page.preprocess_data = partial(_take, page.preprocess_data)  # type: ignore[method-assign]


async def _take(
    take: Callable[..., Awaitable[list[Any]]], function: object, values: list[Any], *rest: Any
) -> list[Any]:
    """Take the values of a call; about one that cannot be read, tell its sender and nobody else."""
    import gradio as gr

    try:
        for file in _list_files(values):
            if "://" in str(file["path"]):
                problem = "addresses are not opened here; upload the file"
                raise gr.Error(problem, print_exception=False)
            file["url"] = None  # Gradio fetches it where a handler hands the file on
        return await take(function, values, *rest)
    except Exception as error:
        if isinstance(error, gr.Error) and not error.print_exception:
            raise
        # Gradio's own words repeat the value: they may be as long, and a picture of somebody.
        log.info("a value could not be read: %s", type(error).__name__)
        raise gr.Error(
            "a value that was sent is not of the kind that its field takes; reload the page "
            "and try again",
            print_exception=False,
        ) from None


def _list_files(value: object) -> Iterator[dict[str, Any]]:
    """Find whatever Gradio would take for a file, however deep it lies."""
    if isinstance(value, dict):
        if "path" in value and "meta" in value:
            yield value
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from _list_files(each)
