"""The table of ingredients: each row is a training of its own, measured on every set."""

from __future__ import annotations

import json

import numpy as np
import pytest
from matplotlib.figure import Figure

import ablation
from ablation import STEPS, main, settings_of, to_markdown


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Draw no figures and make few pictures: both have tests of their own."""
    for name in ("training_curves", "confusion_matrix", "sample_predictions"):
        monkeypatch.setattr(f"plots.{name}", lambda *args, **options: Figure(figsize=(1, 1)))

    def make_hands(count, *, seed, folder, ingredients, mnist, on_progress):
        rng = np.random.default_rng(seed)
        places = rng.integers(len(mnist[0]), size=count)
        return mnist[0][places], mnist[1][places].astype(np.int64)

    def make_non_digits(count, *, seed, folder, on_progress):
        noise = np.random.default_rng(seed).integers(0, 255, (count, 28, 28), np.uint8)
        return noise, np.zeros(count, np.int64)

    monkeypatch.setattr("training_data.make_hands", make_hands)
    monkeypatch.setattr("training_data.make_non_digits", make_non_digits)


def test_each_row_adds_one_ingredient_and_keeps_the_others():
    rows = [settings_of(step) for step in STEPS]

    learned = [
        (row.augment, bool(row.hands), row.ingredients, bool(row.non_digits)) for row in rows
    ]

    everything = ("strokes", "fonts", "mnist")
    assert learned == [
        (False, False, everything, False),
        (True, False, everything, False),
        (True, True, ("mnist",), False),
        (True, True, ("mnist", "fonts"), False),
        (True, True, ("mnist", "fonts", "strokes"), False),
        (True, True, ("mnist", "fonts", "strokes"), True),
    ]
    assert len({row.epochs for row in rows}) == 1


def test_a_trial_trains_every_row_and_writes_the_table(
    tmp_path, mnist_folder, digit_png, capsys, monkeypatch
):
    monkeypatch.setattr(ablation, "HANDS", 2_000)
    digit_png(3, name="digits/3/a.png")
    flags = ["--epochs", "1", "--limit", "300", "--workers", "0", "--output", str(tmp_path / "out")]

    code = main([str(tmp_path / "digits"), *flags, "--data-dir", str(mnist_folder)])

    assert code == 0
    rows = json.loads((tmp_path / "out" / "ablation.json").read_text())
    assert [row["step"] for row in rows] == list(STEPS)
    assert rows[-1]["pictures"] > rows[0]["pictures"] == 300
    for row in rows:
        assert all(found["accuracy"]["of"] > 0 for found in row["sets"].values())
    table = (tmp_path / "out" / "ablation.md").read_text()
    assert table.strip() in capsys.readouterr().out
    assert table.count("\n| ") == len(STEPS)


def test_a_set_that_does_not_exist_is_named_before_anything_is_trained(tmp_path, capsys):
    code = main(["nobody.csv", "--output", str(tmp_path / "out")])

    assert code != 0
    assert "nobody.csv" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_set_without_digits_shows_how_well_they_are_told_apart():
    sets = {
        "none.csv": {"accuracy": None, "roc_auc": 0.98765},
        "letters.csv": {"accuracy": None, "roc_auc": None},  # no digits to tell them from
    }

    table = to_markdown([{"step": "all", "pictures": 1000, "sets": sets}], "conditions")

    assert "| all | 1,000 | (no digit: 0.988) |" in table
    assert "letters" not in table
