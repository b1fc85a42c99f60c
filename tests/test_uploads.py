"""What visitors upload lies in a folder of its own, and nothing of it stays."""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
from pathlib import Path
from types import SimpleNamespace

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

import uploads
from errors import OverloadedError, SettingsError
from uploads import VARIABLE, Room, keep_swept, own_folder, sweep


def test_the_folder_is_for_this_user_alone_and_ends_with_everything_in_it():
    environment: dict[str, str] = {}

    with own_folder(environment) as folder:
        mode = stat.S_IMODE(folder.stat().st_mode)
        named = environment[VARIABLE]
        (folder / "a").mkdir()
        (folder / "a" / "seven.png").write_bytes(b"x")

    assert named == str(folder)
    assert mode == 0o700
    assert not folder.exists()
    assert VARIABLE not in environment


def test_a_folder_that_somebody_chose_is_used_and_left_to_them(tmp_path: Path):
    environment = {VARIABLE: str(tmp_path)}

    with own_folder(environment) as folder:
        (folder / "seven.png").write_bytes(b"x")

    assert folder == tmp_path
    assert (tmp_path / "seven.png").exists()
    assert environment == {VARIABLE: str(tmp_path)}


def test_a_folder_that_somebody_chose_is_made_if_it_is_missing(tmp_path: Path):
    with own_folder({VARIABLE: str(tmp_path / "new" / "page")}) as folder:
        made = folder.is_dir()

    assert made
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("name", ["file", "file/page", "x" * 300])
def test_a_folder_in_which_nothing_can_be_written_is_refused_with_its_variable(
    tmp_path: Path, name: str
):
    """GRADIO_TEMP_DIR=/proc/x ended the server with a traceback of forty lines."""
    (tmp_path / "file").write_bytes(b"in the way")

    with pytest.raises(SettingsError, match=rf"{VARIABLE}: .*{name}.*; name a folder") as caught:
        own_folder({VARIABLE: str(tmp_path / name)}).__enter__()

    assert "unset it" in str(caught.value)


def test_what_is_left_of_broken_uploads_is_deleted_and_nothing_else(tmp_path: Path):
    kept = ["tmpyoung", "seven.png", "0a1b/tmpinside"]
    for name in ["tmpold", *kept]:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
        if name != "tmpyoung":
            os.utime(path, (0, 0))

    sweep(tmp_path)

    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert left == set(kept)


@pytest.mark.parametrize("problem", [FileNotFoundError, PermissionError])
def test_what_cannot_be_deleted_does_not_keep_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, problem: type[OSError]
):
    tried = []

    def refuse(path: Path) -> None:
        tried.append(path.name)
        raise problem

    for name in ("tmp1", "tmp2"):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (0, 0))
    monkeypatch.setattr(Path, "unlink", refuse)

    sweep(tmp_path)

    assert sorted(tried) == ["tmp1", "tmp2"]


def test_a_folder_that_is_not_there_yet_is_no_error(tmp_path: Path):
    sweep(tmp_path / "gradio")

    assert not list(tmp_path.iterdir())


def test_an_application_sweeps_for_as_long_as_it_lives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(uploads, "SWEEP_S", 0)
    broken = tmp_path / "tmpbroken"
    broken.write_bytes(b"x")
    os.utime(broken, (0, 0))
    app = FastAPI()

    @app.get("/wait")
    async def wait() -> None:
        for _ in range(1000):
            await asyncio.sleep(0.01 if broken.exists() else 0)

    keep_swept(app, tmp_path)
    with TestClient(app) as client:
        client.get("/wait")

    assert not broken.exists()


async def ask(room: Room, *counts: int) -> list[bool]:
    """Take place for uploads that all arrive at the same time; tell which of them could."""
    taken = []
    async with contextlib.AsyncExitStack() as stack:
        for count in counts:
            try:
                await stack.enter_async_context(room.take(count))
            except OverloadedError:
                taken.append(False)
            else:
                taken.append(True)
    return taken


@pytest.mark.parametrize(
    ("lies_there", "counts", "taken"),
    [
        (0, [100], [True]),
        (0, [101], [False]),
        (60, [40], [True]),
        (60, [41], [False]),
        (0, [60, 60, 40], [True, False, True]),
    ],
)
def test_an_upload_is_taken_only_where_there_is_place_beside_all_others(
    tmp_path: Path, lies_there: int, counts: list[int], taken: list[bool]
):
    folder = tmp_path / "page"
    (folder / "0a1b").mkdir(parents=True)
    (folder / "0a1b" / "seven.png").write_bytes(b"x" * lies_there)
    room = Room(folder, limit=100)

    answers = [asyncio.run(ask(room, *counts)) for _ in range(2)]

    assert answers == [taken, taken]  # what was kept for the first is free again


def test_the_last_of_the_disk_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(uploads.shutil, "disk_usage", lambda folder: SimpleNamespace(free=50))

    assert asyncio.run(ask(Room(tmp_path / "page"), 50, 1)) == [True, False]
