"""Training hands are repeatable, kept on disk, and made anew when the code changes."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import hands
from errors import SettingsError
from hands import make_hands, make_non_digits
from non_digits import NON_DIGITS
from tests.conftest import Handwriting
from tests.test_house import find_imports
from utils import PROJECT


@pytest.fixture
def mnist_like(handwriting: Handwriting) -> tuple[np.ndarray, np.ndarray]:
    """Stand in for MNIST's training pictures."""
    return (handwriting.images[:200] * 255).astype(np.uint8), handwriting.labels[:200]


def test_the_same_seed_makes_the_same_pictures_with_any_number_of_workers(
    tmp_path: Path,
    mnist_like: tuple[np.ndarray, np.ndarray],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And without one, where few are wanted: starting it takes longer than drawing them."""
    monkeypatch.setattr(hands, "CHUNK", 60)
    make = partial(make_hands, seed=3, mnist=mnist_like)
    one = make(100, folder=tmp_path / "a", workers=1)
    two = make(100, folder=tmp_path / "b", workers=2)
    monkeypatch.setattr(hands, "ProcessPoolExecutor", None)
    here = make(60, folder=tmp_path / "c")

    for pictures, again, alone in zip(one, two, here, strict=True):
        assert np.array_equal(pictures, again)
        assert np.array_equal(pictures[:60], alone)
    assert one[0].shape == (100, 28, 28)
    assert set(one[1]) == set(range(10))
    # Ink everywhere: a blank picture would teach nonsense.
    assert (one[0].reshape(100, -1).max(axis=1) > 100).all()


def test_how_many_are_made_is_told_after_each_chunk_and_not_where_they_are_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hands, "CHUNK", 4)
    told: list[int] = []
    make = partial(make_non_digits, 10, seed=0, folder=tmp_path, on_progress=told.append)

    make(workers=1)
    make()

    assert told == [0, 4, 8, 10]


def test_pictures_made_before_are_found_again_and_others_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = make_hands(20, seed=1, folder=tmp_path, ingredients=("strokes",))

    def explode(*_: object, **__: object) -> None:
        raise AssertionError("made again")

    monkeypatch.setattr(hands, "_draw_chunks", explode)
    again = make_hands(20, seed=1, folder=tmp_path, ingredients=("strokes",))
    assert np.array_equal(first[0], again[0])

    with pytest.raises(AssertionError, match="made again"):
        make_hands(20, seed=2, folder=tmp_path, ingredients=("strokes",))
    monkeypatch.setattr(hands, "_SOURCES", ("errors.py",))
    with pytest.raises(AssertionError, match="made again"):
        make_hands(20, seed=1, folder=tmp_path, ingredients=("strokes",))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 and nothing more", None])
def test_kept_pictures_that_were_damaged_are_made_anew(
    tmp_path: Path, content: bytes | None
) -> None:
    images, labels = make_non_digits(4, seed=0, folder=tmp_path, workers=1)
    [kept] = (tmp_path / "generated").iterdir()
    kept.write_bytes(kept.read_bytes()[:-200] if content is None else content)

    again = make_non_digits(4, seed=0, folder=tmp_path, workers=1)

    assert np.array_equal(again[0], images)
    assert np.array_equal(again[1], labels)
    assert np.load(kept)["images"].shape == images.shape


def test_pictures_that_cannot_be_kept_are_made_all_the_same(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A data folder that may only be read cost a calibration or an evaluation all its work."""
    images, labels = make_non_digits(4, seed=0, folder=tmp_path / "free", workers=1)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "generated").write_text("in the way")

    again = make_non_digits(4, seed=0, folder=tmp_path / "full", workers=1)

    assert np.array_equal(again[0], images)
    assert np.array_equal(again[1], labels)
    [line] = caplog.messages
    assert "generated" in line
    assert "not kept" in line


def test_pictures_made_from_others_are_not_taken_for_the_same(
    tmp_path: Path, mnist_like: tuple[np.ndarray, np.ndarray]
) -> None:
    """Only their number was looked at: other pictures got what was made from the first ones."""
    images, labels = mnist_like
    make = partial(make_hands, 20, seed=1, folder=tmp_path, ingredients=("mnist",))

    first = make(mnist=mnist_like)
    other_images = make(mnist=(255 - images, labels))
    other_labels = make(mnist=(images, (labels + 1) % 10))

    assert not np.array_equal(other_images[0], first[0])
    assert np.array_equal(other_labels[1], (first[1] + 1) % 10)


@pytest.mark.parametrize("library", [np, hands.cv2, hands.PIL])
def test_another_version_of_a_library_has_pictures_of_its_own(
    library: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = hands._fingerprint(())

    monkeypatch.setattr(library, "__version__", "99.0")

    assert hands._fingerprint(()) != before


def test_other_fonts_have_pictures_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    font = tmp_path / "DejaVuSans.ttf"
    font.write_bytes(b"other letters")
    before = hands._fingerprint(())

    monkeypatch.setattr(hands, "find_fonts", lambda: (font,))

    assert hands._fingerprint(()) != before


def test_pictures_are_made_anew_when_a_file_changes_that_decides_how_they_look() -> None:
    sources = {name.removesuffix(".py") for name in hands._SOURCES}

    imported = set[str]().union(
        *(find_imports((PROJECT / f"{name}.py").read_text(encoding="utf-8")) for name in sources)
    )

    files = {path.stem for path in PROJECT.glob("*.py")}
    assert (imported & files) - sources <= {"errors", "utils"}


def test_non_digits_come_in_every_kind(tmp_path: Path) -> None:
    images, kinds = make_non_digits(200, seed=0, folder=tmp_path)

    assert images.shape == (200, 28, 28)
    assert set(kinds) == set(range(len(NON_DIGITS)))


@pytest.mark.parametrize(
    ("ingredients", "hint"),
    [((), "choose from"), (("ink",), "ink"), (("mnist",), "needs MNIST")],
)
def test_ingredients_that_cannot_be_had_are_refused(
    tmp_path: Path, ingredients: tuple[str, ...], hint: str
) -> None:
    with pytest.raises(SettingsError, match=hint):
        make_hands(10, seed=0, folder=tmp_path, ingredients=ingredients)
