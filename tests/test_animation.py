"""The film at the top of the README: what the page shows while somebody draws."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.GifImagePlugin import GifImageFile

import animation
from animation import Frame
from screenshots import HAND


def frame(shade: int, shown_ms: int = 70) -> Frame:
    pixels = np.full((40, 60, 3), 255, np.uint8)
    pixels[10:30, 10:50] = shade, 0, 255 - shade
    return Frame(Image.fromarray(pixels), shown_ms)


def test_a_film_shows_every_frame_for_its_time_and_starts_again(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "film.gif"

    animation.save_film([frame(0), frame(120), frame(250, shown_ms=1600)], path)

    film = GifImageFile(path)
    assert film.n_frames == 3
    assert film.info["loop"] == 0
    durations = []
    for number, shade in enumerate((0, 120, 250)):
        film.seek(number)
        durations.append(film.info["duration"])
        seen = film.convert("RGB").getpixel((30, 20))
        assert np.abs(np.subtract(seen, (shade, 0, 255 - shade))).max() <= 60
    assert durations == [70, 70, 1600]


@pytest.mark.browser
def test_the_page_is_filmed_from_the_empty_pad_to_the_answer(
    tmp_path: Path, chromium: str, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(animation, "SCENES", (HAND[7],))
    monkeypatch.setattr(animation, "serve_page", lambda model: contextlib.nullcontext(url))
    monkeypatch.setenv("CHROMIUM", chromium)
    path = tmp_path / "film.gif"

    code = animation.main(["--output", str(path)])

    assert code == 0
    film = GifImageFile(path)
    assert film.width == animation.SHOWN_WIDTH
    assert film.n_frames >= 4
    first = np.asarray(film.convert("L"), np.int16)
    film.seek(film.n_frames - 1)
    last = np.asarray(film.convert("L"), np.int16)
    # Frames that look alike become one, which is shown for the time of both.
    assert film.info["duration"] >= animation.ANSWER_FRAME_MS
    middle = first.shape[1] // 2
    for half in (
        slice(middle),
        slice(middle, None),
    ):  # the pad on the left, the answer on the right
        assert (np.abs(first - last)[:, half] > 60).mean() > 0.01
