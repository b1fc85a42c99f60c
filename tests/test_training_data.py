"""The pictures that a run learns from; how they are made is the matter of tests/test_hands.py."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import training_data
from hands import NOT_A_DIGIT
from recipes import Settings
from runs import Stage
from training_data import load_data

CPU = torch.device("cpu")
BLACK = np.zeros((40, 28, 28), np.uint8)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int, tuple[str, ...]]]:
    """Make black pictures; return (seed, MNIST pictures at hand, ingredients) of each call."""
    asked = []

    def make_hands(
        count: int,
        *,
        seed: int,
        folder: Path,
        ingredients: tuple[str, ...],
        mnist: tuple[np.ndarray, np.ndarray],
        on_progress: Callable[[int], None],
    ) -> tuple[np.ndarray, np.ndarray]:
        asked.append((seed, len(mnist[0]), ingredients))
        on_progress(count // 2)
        return BLACK[:count], np.full(min(count, len(BLACK)), 7)

    def make_non_digits(
        count: int, *, seed: int, folder: Path, on_progress: Callable[[int], None]
    ) -> tuple[np.ndarray, np.ndarray]:
        on_progress(count)
        return BLACK[:count], np.arange(count)  # which kind each one is

    monkeypatch.setattr(training_data, "make_hands", make_hands)
    monkeypatch.setattr(training_data, "make_non_digits", make_non_digits)
    return asked


def test_without_more_it_is_mnist_cut_to_the_limit(mnist_folder: Path) -> None:
    data = load_data(Settings(limit=70), mnist_folder, CPU)

    assert [len(shard) for shard in data.train] == [70]
    assert len(data.validation) == 70
    assert data.hands is None
    assert data.describe()["training_pictures"] == 70


def test_each_shard_has_other_hands_and_pictures_of_no_digit_besides(
    mnist_folder: Path, made: list[tuple[int, int, tuple[str, ...]]]
) -> None:
    settings = Settings(limit=300, hands=40, ingredients=("strokes",), non_digits=20, shards=2)

    data = load_data(settings, mnist_folder, CPU)

    # Two shards made from training pictures; the held-out ones from validation pictures, and
    # always of all ingredients, so that runs can be compared.
    everything = ("strokes", "fonts", "mnist")
    assert made == [(1, 300, ("strokes",)), (2, 300, ("strokes",)), (0, 100, everything)]
    assert [len(shard) for shard in data.train] == [300 + 40 + 20] * 2
    assert data.describe() == {
        "name": "MNIST",
        "split_seed": 1998,
        "training_pictures": 360,
        "shards": 2,
        "validation_pictures": 100,
        "hands_validation_pictures": 40,
        "corrections": 0,
    }


@pytest.mark.usefixtures("made")
def test_pictures_of_no_digit_carry_no_digit_as_label(mnist_folder: Path) -> None:
    data = load_data(Settings(non_digits=5, limit=10), mnist_folder, CPU)

    assert data.train[0].labels is not None
    assert data.train[0].labels[-5:].tolist() == [NOT_A_DIGIT] * 5


@pytest.mark.usefixtures("made")
def test_how_far_it_is_with_what_has_to_be_made_is_told(mnist_folder: Path) -> None:
    stages: list[Stage] = []

    load_data(Settings(limit=10, hands=8, non_digits=6), mnist_folder, CPU, on_stage=stages.append)

    assert stages == [
        Stage("making digits", 4, 8),
        Stage("making non-digits", 6, 6),
        Stage("making digits", 5, 10),  # those to measure by
    ]
