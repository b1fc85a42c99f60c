"""The files of the page: what visitors upload, in a folder that is nobody else's.

    the page's server -> a folder of its own -> gone with the server
                      -> every minute: what is left of uploads that were broken off is deleted
    an upload -> Room: is there place for it beside all others? -> the folder

Gradio keeps uploads in /tmp/gradio, which every user of the machine can read and whoever came first
owns. It deletes the files that arrived when they are an hour old; one whose client went away in the
middle it forgets, for good. (Tried with Gradio 6.31: half of an upload, and one beyond the limit
of a request, were still there after the server had ended.) And it takes whatever comes: what a few
visitors upload within an hour could fill a disk, or the memory where that is what /tmp is made of.

    >>> with own_folder():
    ...     app = build_app(service)  # Gradio asks for the folder here
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, MutableMapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from errors import OverloadedError, SettingsError

if TYPE_CHECKING:
    from fastapi import FastAPI

VARIABLE = "GRADIO_TEMP_DIR"
UPLOADS = "/gradio_api/upload"  # where the page sends files
SWEEP_S = 60
LONGEST_UPLOAD_S = 300  # a request has `guards.BODY_TIMEOUT_S` for its body; this is far more
# Ten visitors may hand over the most that is read in one go (100 MB) at once.
MAX_BYTES_KEPT = 2**30
BROKEN = "tmp*"  # what Python calls a file that has no name yet; those that arrived have folders


@contextmanager
def own_folder(environment: MutableMapping[str, str] = os.environ) -> Iterator[Path]:
    """Give Gradio a folder that only this user can read, and delete it afterwards.

    Parameters
    ----------
    environment : mutable mapping, default=os.environ
        If `GRADIO_TEMP_DIR` is set, that folder is used, and is left to whoever set it. It is made
        if it is missing.

    Raises
    ------
    SettingsError
        If nothing can be written there.
    """
    if given := environment.get(VARIABLE):
        folder = Path(given)
        _check_writable(folder)
        yield folder
        return
    # A page that is still open may be writing while the server ends.
    with tempfile.TemporaryDirectory(prefix="digits-page-", ignore_cleanup_errors=True) as name:
        environment[VARIABLE] = name
        try:
            yield Path(name)
        finally:
            del environment[VARIABLE]


def _check_writable(folder: Path) -> None:
    """Refuse a folder that Gradio would fail with: at the start, or at the first upload."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise SettingsError(
            f"{VARIABLE}: cannot write to {folder}: {error.strerror or error}; name a folder in "
            "which this user may write, or unset it for a new one"
        ) from error


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


class Room:
    """What may still be uploaded.

    Parameters
    ----------
    folder : Path
        Where Gradio keeps uploads. It need not exist yet.
    limit : int, default=1 GB
        Bytes of everything in it.
    """

    def __init__(self, folder: Path, limit: int = MAX_BYTES_KEPT) -> None:
        self.folder = folder
        self.limit = limit
        self._coming = 0

    @asynccontextmanager
    async def take(self, count: int) -> AsyncIterator[None]:
        """Keep place for an upload while it arrives.

        Parameters
        ----------
        count : int
            Its bytes.

        Raises
        ------
        OverloadedError
            If there is none beside what lies there and what else is arriving.
        """
        kept, free = await asyncio.to_thread(self._measure)
        coming = self._coming + count
        if kept + coming > self.limit or coming > free:
            raise OverloadedError(
                "files: what visitors have uploaded leaves no place for this; uploads are deleted "
                "after an hour: try again later, or with fewer files"
            )
        self._coming = coming
        try:
            yield
        finally:
            self._coming -= count

    def _measure(self) -> tuple[int, int]:
        """Count the bytes in the folder, and those that are free beside it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        kept = 0
        for path in self.folder.rglob("*"):
            with contextlib.suppress(FileNotFoundError):  # deleted just now
                kept += path.stat().st_size if path.is_file() else 0
        return kept, shutil.disk_usage(self.folder).free
