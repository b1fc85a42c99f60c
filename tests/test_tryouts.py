from __future__ import annotations

import gzip
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import tryouts


@pytest.fixture(autouse=True)
def nothing_loaded() -> Iterator[None]:
    tryouts.load_test_pictures.cache_clear()
    yield
    tryouts.load_test_pictures.cache_clear()


def write_mnist(folder: Path, count: int = 3) -> None:
    """Write files in MNIST's format: black pictures with one white pixel, labelled 0, 1, 2, ..."""
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    images = np.zeros((count, 28, 28), np.uint8)
    images[:, 5, 5] = 255
    for split in ("train", "t10k"):
        head = struct.pack(">4i", 0x803, count, 28, 28)
        (raw / f"{split}-images-idx3-ubyte").write_bytes(head + images.tobytes())
        head = struct.pack(">2i", 0x801, count)
        (raw / f"{split}-labels-idx1-ubyte").write_bytes(head + bytes(range(count)))


def test_a_picture_is_from_mnist_where_its_files_are(tmp_path: Path):
    write_mnist(tmp_path)

    example = tryouts.pick_example(np.random.default_rng(0), tmp_path)

    assert example.name == f"MNIST test picture {example.label} of 3"
    assert example.pixels.shape == (28, 28)
    assert example.pixels[5, 5] == 255


def test_without_mnist_examples_are_drawn_and_nothing_is_downloaded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setattr("dataset.load_mnist", lambda *args: pytest.fail("tried to load"))

    drawn = [tryouts.pick_example(np.random.default_rng(seed), tmp_path) for seed in range(8)]

    assert {example.name for example in drawn} == {"Drawn by this program"}
    assert len({example.label for example in drawn}) > 2
    assert len({example.pixels.tobytes() for example in drawn}) == 8


def test_with_half_of_mnist_nothing_is_downloaded_either(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    write_mnist(tmp_path)
    (tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte").unlink()
    monkeypatch.setattr("dataset.load_mnist", lambda *args: pytest.fail("tried to load"))

    example = tryouts.pick_example(np.random.default_rng(0), tmp_path)

    assert example.name == "Drawn by this program"


def test_damaged_mnist_files_are_reported_and_a_digit_is_drawn(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    write_mnist(tmp_path)
    (tmp_path / "MNIST" / "raw" / "t10k-images-idx3-ubyte").write_bytes(gzip.compress(b"no"))

    example = tryouts.pick_example(np.random.default_rng(0), tmp_path)

    assert example.name == "Drawn by this program"
    assert "damaged" in caplog.text


def test_the_gallery_is_always_the_same_and_shows_every_digit_and_some_that_are_none():
    first, again = tryouts.draw_gallery(), tryouts.draw_gallery()

    assert [example.label for example in first[:10]] == list(range(10))
    assert {example.label for example in first[10:]} == {None}
    for one, other in zip(first, again, strict=True):
        assert one.pixels.tobytes() == other.pixels.tobytes()
