"""The files of the page: what visitors upload, in a folder that is nobody else's, and no others.

    the page's server -> a folder of its own -> gone with the server
                      -> every minute: what is left of uploads that were broken off is deleted
    a client names a path or an address -> refused: only what was uploaded is opened

Gradio keeps uploads in /tmp/gradio, which every user of the machine can read and whoever came first
owns. It deletes the files that arrived when they are an hour old; one whose client went away in the
middle it forgets, for good. (Tried with Gradio 6.31: half of an upload, and one beyond the limit
of a request, were still there after the server had ended.)

    >>> with own_folder():
    ...     app = build_app(service)  # Gradio asks for the folder here
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, MutableMapping
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import gradio as gr
    from fastapi import FastAPI, Request, Response

VARIABLE = "GRADIO_TEMP_DIR"
SWEEP_S = 60
LONGEST_UPLOAD_S = 300  # a request has `guards.BODY_TIMEOUT_S` for its body; this is far more
BROKEN = "tmp*"  # what Python calls a file that has no name yet; those that arrived have folders


@contextmanager
def own_folder(environment: MutableMapping[str, str] = os.environ) -> Iterator[Path]:
    """Give Gradio a folder that only this user can read, and delete it afterwards.

    Parameters
    ----------
    environment : mutable mapping, default=os.environ
        If `GRADIO_TEMP_DIR` is set, that folder is used, and is left to whoever set it.
    """
    if given := environment.get(VARIABLE):
        yield Path(given)
        return
    # A page that is still open may be writing while the server ends.
    with tempfile.TemporaryDirectory(prefix="digits-page-", ignore_cleanup_errors=True) as name:
        environment[VARIABLE] = name
        try:
            yield Path(name)
        finally:
            del environment[VARIABLE]


def keep_swept(app: FastAPI, folder: Path) -> None:
    """Delete what is left of broken uploads for as long as an application lives.

    Parameters
    ----------
    app : FastAPI
    folder : Path
        Where Gradio keeps uploads.
    """
    inner = app.router.lifespan_context

    @asynccontextmanager
    async def live(app: FastAPI) -> AsyncIterator[object]:
        async with inner(app) as state:
            task = asyncio.create_task(_sweep_often(folder))
            try:
                yield state
            finally:
                task.cancel()

    app.router.lifespan_context = live  # type: ignore[assignment]


async def _sweep_often(folder: Path) -> None:
    while True:
        await asyncio.sleep(SWEEP_S)
        await asyncio.to_thread(sweep, folder)


def sweep(folder: Path, *, older_than_s: float = LONGEST_UPLOAD_S) -> None:
    """Delete the files of uploads that never came to their end.

    Parameters
    ----------
    folder : Path
        It need not exist yet.
    older_than_s : float, default=300
        Younger ones may still be growing.
    """
    oldest = time.time() - older_than_s
    for path in folder.glob(BROKEN):
        # It arrived just now and was moved; or it is another user's, where the folder is shared.
        with contextlib.suppress(FileNotFoundError, PermissionError):
            if path.is_file() and path.stat().st_mtime < oldest:
                path.unlink()


def open_only_uploads(page: gr.Blocks) -> None:
    """Let no client name a path or an address that the server would then open.

    Gradio takes both from anybody: it checks paths only if the page was started by `launch()`,
    while ours is mounted, and it fetches what lies at public addresses. (Tried with Gradio 6.31:
    the batch tab read any picture of the server whose path was sent in place of an upload.)

    Parameters
    ----------
    page : Blocks
        With everything on it, and mounted.
    """
    page.has_launched = page.is_running = True
    for block in page.blocks.values():
        take = partial(_take_file, block.async_move_resource_to_block_cache)
        block.async_move_resource_to_block_cache = take  # type: ignore[method-assign]


async def _take_file(
    take: Callable[[str | Path | None], Awaitable[str | None]], name: str | Path | None
) -> str | None:
    """Take a file that was uploaded, or that we made."""
    if "://" in str(name):
        import gradio as gr

        raise gr.Error("addresses are not opened here; upload the file", print_exception=False)
    return await take(name)


def relay_nothing(app: FastAPI) -> None:
    """Answer by ourselves what asks Gradio to fetch an address and hand it on, as it would do.

    Parameters
    ----------
    app : FastAPI
        On which no page is mounted yet: the first match wins.
    """
    for scheme in ("http", "https"):
        app.add_route(f"/gradio_api/file={scheme}:{{rest:path}}", _refuse_address)


async def _refuse_address(request: Request) -> Response:
    from starlette.exceptions import HTTPException

    raise HTTPException(403, "addresses are not opened here")
