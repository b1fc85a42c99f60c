"""What visitors upload lies in a folder of its own, and nothing of it stays."""

from __future__ import annotations

import asyncio
import os
import stat
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

import uploads
from uploads import VARIABLE, keep_swept, own_folder, sweep


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
