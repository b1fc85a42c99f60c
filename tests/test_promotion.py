"""The rule by which a new model becomes the best one."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

import promotion
from errors import SettingsError
from model import DigitNetwork, build_model
from promotion import Comparison, Result, promote
from registry import Checkpoint, list_names, load_checkpoint, save_checkpoint
from shelf import make_best


@pytest.fixture
def folder(tmp_path: Path, models_folder: Path) -> Path:
    """Return a models folder that may be changed, with a network that has learned nothing."""
    folder = tmp_path / "models"
    shutil.copytree(models_folder, folder)
    save_checkpoint(folder / "fresh.pth", build_model("mlp"))
    return folder


@pytest.fixture(autouse=True)
def other_hands(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Take MNIST's pictures, moved by a pixel, for other hands; return what was asked for."""
    asked = []

    def make_hands(
        count: int, *, seed: int, folder: Path, mnist: tuple[np.ndarray, np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        asked.append(seed)
        return np.roll(mnist[0][:count], 1, axis=2), mnist[1][:count]

    monkeypatch.setattr(promotion, "make_hands", make_hands)
    return asked


def compared(*sets: tuple[int, int, float, float]) -> Comparison:
    """Make a comparison of (right, right before, loss, loss before) for each set."""
    return Comparison(
        "new",
        "old",
        {
            str(place): (Result(100, right, loss), Result(100, before, loss_before))
            for place, (right, before, loss, loss_before) in enumerate(sets)
        },
    )


@pytest.mark.parametrize(
    ("sets", "is_not_worse"),
    [
        ([(99, 98, 0.5, 0.1), (90, 90, 0.5, 0.1)], True),  # more right counts more than doubt
        ([(99, 98, 0.1, 0.1), (90, 91, 0.1, 0.1)], False),  # better here, worse there
        ([(98, 99, 0.1, 0.5), (95, 90, 0.1, 0.5)], False),
        ([(99, 99, 0.1, 0.2), (90, 90, 0.1, 0.1)], True),  # a tie: the doubt decides
        ([(99, 99, 0.2, 0.1), (90, 90, 0.1, 0.1)], False),
        ([(99, 99, 0.1, 0.1), (90, 90, 0.1, 0.1)], True),  # the same is not worse
        ([(99, 99, float("nan"), 0.1), (90, 90, 0.1, 0.1)], False),
        ([], True),  # there is none to compare with
    ],
)
def test_the_rule(sets: list[tuple[int, int, float, float]], is_not_worse: bool) -> None:
    assert compared(*sets).is_not_worse is is_not_worse


def test_a_worse_model_stays_a_candidate(folder: Path, mnist_folder: Path) -> None:
    first = load_checkpoint("best", folder).version

    comparison = promote("fresh", folder, mnist_folder, count=50)

    assert not comparison.is_not_worse
    assert load_checkpoint("best", folder).version == first
    assert "fresh" in list_names(folder)
    assert "mnist_cnn_previous" not in list_names(folder)


def test_a_better_model_becomes_the_best_and_the_one_before_is_kept(
    folder: Path, mnist_folder: Path, tiny_model: DigitNetwork
) -> None:
    save_checkpoint(folder / "mnist_cnn_best.pth", build_model("mlp"))
    save_checkpoint(folder / "mine.pth", tiny_model)
    first = load_checkpoint("best", folder).version

    comparison = promote("mine", folder, mnist_folder, count=50)

    assert comparison.is_not_worse
    assert load_checkpoint("best", folder).version == load_checkpoint("mine", folder).version
    assert load_checkpoint("mnist_cnn_previous", folder).version == first


def test_both_are_measured_on_the_same_held_out_pictures(
    folder: Path, mnist_folder: Path, other_hands: list[int], tiny_model: DigitNetwork
) -> None:
    doubt = {"unsure_above": 0.2, "not_a_digit_above": 0.8}  # of this, measuring knows nothing
    save_checkpoint(folder / "doubtful.pth", tiny_model, refusal=doubt)

    comparison = promote("doubtful", folder, mnist_folder, count=50)

    assert {name: pair[0].count for name, pair in comparison.sets.items()} == {
        "MNIST": 100,  # the validation split of the 1,200 pictures, and never the test pictures
        "other hands": 50,
    }
    assert all(new == old for new, old in comparison.sets.values())
    assert other_hands == [0]


def test_confidence_is_compared_as_visitors_see_it(
    folder: Path, mnist_folder: Path, tiny_model: DigitNetwork
) -> None:
    save_checkpoint(folder / "rash.pth", tiny_model, temperature=0.01)

    comparison = promote("rash", folder, mnist_folder, count=50)

    assert not comparison.is_not_worse  # it reads as many, and is far too sure of its mistakes
    assert "before" in comparison.text


@pytest.mark.parametrize("is_worse_then", [True, False])
def test_a_model_that_became_the_best_meanwhile_is_compared_as_well(
    folder: Path,
    mnist_folder: Path,
    tiny_model: DigitNetwork,
    monkeypatch: pytest.MonkeyPatch,
    is_worse_then: bool,
) -> None:
    """Measuring takes a minute: somebody's good model was written over by a worse one."""
    save_checkpoint(folder / "mnist_cnn_best.pth", build_model("mlp"))
    save_checkpoint(folder / "poor.pth", build_model("cnn1"))
    save_checkpoint(folder / "good.pth", tiny_model)
    mine, other = ("poor", "good") if is_worse_then else ("good", "poor")
    true_compare, compared_with = promotion.compare, []

    def compare(candidate: Checkpoint, standing: Checkpoint, *data: Path, count: int) -> Comparison:
        compared_with.append(standing.version)
        if len(compared_with) == 1:
            make_best(other, folder)
            result = Result(10, 9, 0.1), Result(10, 8, 0.1)
            return Comparison(candidate.name, standing.name, {"MNIST": result})
        return true_compare(candidate, standing, *data, count=count)

    monkeypatch.setattr(promotion, "compare", compare)
    comparison = promote(mine, folder, mnist_folder, count=50)

    version = {name: load_checkpoint(name, folder).version for name in ("best", mine, other)}
    assert compared_with[1:] == [version[other]]
    assert comparison.is_not_worse != is_worse_then
    assert version["best"] == version["good"]


@pytest.mark.parametrize("name", ["best", "mnist_cnn_best", "mnist_cnn_best.pth", "copy"])
def test_the_best_model_is_not_promoted_again(folder: Path, tmp_path: Path, name: str) -> None:
    """Both were measured first; and with a copy of it, nothing was left to go back to."""
    make_best("fresh", folder)
    shutil.copy(folder / "fresh.pth", folder / "copy.pth")
    before = load_checkpoint("mnist_cnn_previous", folder).version

    with pytest.raises(SettingsError, match="is the best model already"):
        promote(name, folder, tmp_path / "no data are needed")

    assert load_checkpoint("mnist_cnn_previous", folder).version == before


@pytest.mark.parametrize("damage", [b"", b"no checkpoint", None])
def test_where_there_is_no_best_model_any_other_is_not_worse(
    folder: Path, tmp_path: Path, damage: bytes | None
) -> None:
    best = folder / "mnist_cnn_best.pth"
    best.unlink() if damage is None else best.write_bytes(damage)

    comparison = promote("fresh", folder, tmp_path / "no data are needed")

    assert comparison.text == "there was no best model"
    assert load_checkpoint("best", folder).version == load_checkpoint("fresh", folder).version


def test_a_comparison_is_told_in_plain_values_and_in_words() -> None:
    comparison = compared((99, 98, 0.5, 0.1))

    assert comparison.to_dict()["sets"]["0"] == {
        **{"count": 100, "right": 99, "before": 98, "loss": 0.5, "loss_before": 0.1}
    }
    assert comparison.text == "0: 99 of 100 right, before 98"
