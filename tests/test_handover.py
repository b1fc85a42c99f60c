"""What becomes of a finished run's weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from handover import hand_over, offer
from model import DigitNetwork, build_model
from recipes import Settings
from registry import load_checkpoint, save_checkpoint
from runs import Outcome

# --- which weights stay -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("standing", "coming", "replaced"),
    [
        ({"accuracy": 0.99}, {"accuracy": 0.98}, False),
        ({"accuracy": 0.98}, {"accuracy": 0.99}, True),
        ({"accuracy": 0.99, "limit": 500}, {"accuracy": 0.98}, True),
        ({"accuracy": 0.98}, {"accuracy": 0.99, "limit": 500}, False),
        ({"accuracy": 0.98, "hands": 100}, {"accuracy": 0.99}, False),
        ({"accuracy": 0.98}, {"accuracy": 0.99, "hands": 100}, False),
        ({"accuracy": 0.98, "hands": 5}, {"accuracy": 0.99, "hands": 100}, True),
    ],
)
def test_only_better_weights_from_the_same_kind_of_data_replace_the_best(
    tmp_path, tiny_model, standing, coming, replaced
):
    """A trial of one minute must not cost the user the shipped model."""

    def save(path, accuracy, **settings):
        metrics = {"validation_accuracy": accuracy}
        save_checkpoint(path, tiny_model, settings=settings, metrics=metrics)

    save(tmp_path / "models" / "x_best.pth", **standing)
    for name in ("last", "best"):
        save(tmp_path / "run" / f"{name}.pth", **coming)

    path = hand_over(tmp_path / "run", tmp_path / "models", "x")

    kept = load_checkpoint("x_best", tmp_path / "models").metrics["validation_accuracy"]
    assert kept == (coming if replaced else standing)["accuracy"]
    assert path.parent.name == ("models" if replaced else "run")


def test_a_damaged_best_is_replaced(tmp_path, tiny_model):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "x_best.pth").write_bytes(b"no checkpoint")
    for name in ("last", "best"):
        save_checkpoint(
            tmp_path / "run" / f"{name}.pth", tiny_model, metrics={"validation_accuracy": 0.1}
        )

    path = hand_over(tmp_path / "run", tmp_path / "models", "x")

    assert load_checkpoint(path).metrics["validation_accuracy"] == 0.1
    assert path.parent.name == "models"


# --- a candidate for the shelf ------------------------------------------------------------------


@pytest.fixture(autouse=True)
def few_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take a few pictures for the thousands that calibration and promotion draw."""

    def make_hands(
        count: int, *, seed: int, folder: Path, mnist: tuple[np.ndarray, np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        return mnist[0][:count], mnist[1][:count]

    def make_non_digits(count: int, *, seed: int, folder: Path) -> tuple[np.ndarray, np.ndarray]:
        pictures = np.random.default_rng(0).integers(0, 256, (count, 28, 28), np.uint8)
        return pictures, np.zeros(count, np.int64)

    monkeypatch.setattr("calibrate.make_hands", make_hands)
    monkeypatch.setattr("calibrate.make_non_digits", make_non_digits)
    monkeypatch.setattr("promotion.make_hands", make_hands)


def finish(folder: Path, model: DigitNetwork) -> Outcome:
    """Leave what a finished run leaves."""
    metrics = {"validation_accuracy": 0.9}
    save_checkpoint(folder / "best.pth", model, metrics=metrics)
    return Outcome(folder, folder / "best.pth", [], metrics, interrupted=False)


def offer_mine(
    tmp_path: Path, data_folder: Path, model: DigitNetwork, **options: Any
) -> dict[str, Any]:
    """Put a network on the shelf as "mine"."""
    return offer(
        finish(tmp_path / "run", model),
        Settings(limit=100),
        "mine",
        models_folder=tmp_path / "models",
        data_folder=data_folder,
        **options,
    )


def test_a_candidate_is_calibrated_and_replaces_nothing(
    tmp_path: Path, mnist_folder: Path, tiny_model: DigitNetwork
) -> None:
    models = tmp_path / "models"
    first = save_checkpoint(models / "mnist_cnn_best.pth", build_model("mlp"))

    result = offer_mine(tmp_path, mnist_folder, tiny_model)

    mine = load_checkpoint("mine", models)
    assert mine.refusal is not None
    assert mine.metrics["calibration"]["temperature"] == mine.temperature != 1.0
    assert load_checkpoint("best", models).version == first
    assert {path.stem for path in models.glob("*.pth")} == {"mine", "mnist_cnn_best"}
    assert "promotion" not in result
    assert "90.00% of the validation pictures right" in result["summary"]
    assert json.loads((tmp_path / "run" / "outcome.json").read_text()) == result


@pytest.mark.parametrize("is_better", [True, False])
def test_a_candidate_becomes_the_best_only_if_it_is_not_worse_and_that_is_said(
    tmp_path: Path, mnist_folder: Path, tiny_model: DigitNetwork, is_better: bool
) -> None:
    models, fresh = tmp_path / "models", build_model("mlp")
    mine, standing = (tiny_model, fresh) if is_better else (fresh, tiny_model)
    first = save_checkpoint(models / "mnist_cnn_best.pth", standing)

    result = offer_mine(tmp_path, mnist_folder, mine, promoting=True)

    best = load_checkpoint("best", models).version
    assert result["promotion"]["promoted"] == is_better
    assert (best == load_checkpoint("mine", models).version) == is_better
    assert (best == first) != is_better
    words = "It is the best model now" if is_better else "The best model stays as it was"
    assert f"{words} (MNIST: " in result["summary"]
