"""Temperature and thresholds do what they promise, and the weights stay as they were."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import calibrate
from calibrate import choose_thresholds, fit_temperature, main, to_probabilities
from errors import OutputError
from hands import EVALUATION_SEED
from measures import calibration_error
from predict import MNISTPredictor
from registry import load_checkpoint
from tests.conftest import Handwriting


def honest_logits(rng: np.random.Generator, count: int = 20_000) -> tuple[np.ndarray, np.ndarray]:
    """Draw logits, and labels as often as the logits say."""
    logits = rng.normal(0, 3, (count, 10))
    chosen = to_probabilities(logits, 1.0).cumsum(axis=1) > rng.random((count, 1))
    return logits, chosen.argmax(axis=1)


@pytest.mark.parametrize("heat", [0.4, 1.0, 2.5])
def test_the_temperature_that_spoiled_honest_logits_is_found(heat: float) -> None:
    logits, labels = honest_logits(np.random.default_rng(0))

    found = fit_temperature([(logits * heat, labels)])

    assert found == pytest.approx(heat, rel=0.05)
    sure = to_probabilities(logits * heat, found)
    right = sure.argmax(axis=1) == labels
    error = calibration_error(sure.max(axis=1), right)
    assert error is not None
    assert error < 0.02


def test_each_set_counts_the_same_whatever_its_size() -> None:
    rng = np.random.default_rng(0)
    large, small = honest_logits(rng, 20_000), honest_logits(rng, 2_000)

    found = fit_temperature([large, (small[0] * 3, small[1])])

    assert 1.3 < found < 2.3


def test_thresholds_keep_what_they_may_cost_within_the_limits() -> None:
    rng = np.random.default_rng(0)
    digits = [rng.beta(0.3, 8, 5_000), rng.beta(0.4, 6, 3_000)]
    others = rng.beta(12, 1.5, 3_000)

    found = choose_thresholds(digits, others)

    unsure, refused = found["unsure_above"], found["not_a_digit_above"]
    assert 0 < unsure <= refused < 1
    assert np.mean([(doubt > refused).mean() for doubt in digits]) <= calibrate.DIGITS_REFUSED
    between = [((doubt > unsure) & (doubt <= refused)).mean() for doubt in digits]
    assert np.mean(between) <= calibrate.DIGITS_UNSURE
    assert (others <= unsure).mean() <= calibrate.NON_DIGITS_OK


def test_only_a_part_of_the_digits_that_may_be_lost_is_lost() -> None:
    """Other digits are a little different from those that the threshold was chosen by."""
    doubt = np.linspace(0, 1, 100_001)

    found = choose_thresholds([doubt], np.ones(1_000))

    lost = (doubt > found["not_a_digit_above"]).mean()
    expected = 0.75 * calibrate.DIGITS_REFUSED
    assert expected - 1 / calibrate.STEPS < lost <= expected


def test_digits_called_unsure_and_non_digits_called_ok_use_up_their_limits_alike() -> None:
    digits, others = np.linspace(0, 0.5, 50_001), np.linspace(0.45, 0.95, 50_001)

    found = choose_thresholds([digits], others)

    unsure = (digits > found["unsure_above"]).mean() - (digits > found["not_a_digit_above"]).mean()
    ok = (others <= found["unsure_above"]).mean()
    assert unsure > 0.03
    assert unsure / calibrate.DIGITS_UNSURE == pytest.approx(ok / calibrate.NON_DIGITS_OK, rel=0.05)


def test_sets_of_digits_count_the_same_when_thresholds_are_chosen() -> None:
    """A set that is easy makes up for a hard one; the larger does not outvote the smaller."""
    hard, easy = np.linspace(0, 1, 100_001), np.zeros(10)

    found = choose_thresholds([hard, easy], np.ones(1_000))

    lost = (hard > found["not_a_digit_above"]).mean() / 2
    expected = 0.75 * calibrate.DIGITS_REFUSED
    assert expected - 1 / calibrate.STEPS < lost <= expected


def test_doubt_that_knows_the_digits_is_said_to_separate_them() -> None:
    sure, unsure = 10 * np.eye(10), np.zeros((10, 10))
    evidence = calibrate.Evidence({"MNIST": (sure, np.arange(10))}, unsure)

    found = calibrate.judge(evidence, 1.0, {"unsure_above": 0.2, "not_a_digit_above": 0.8})

    assert found["non-digits"] == {"ok": 0, "unsure": 0, "refused": 1, "roc_auc": 1}


def test_a_verdict_begins_above_its_threshold() -> None:
    doubt = np.array([0.1, 0.2, 0.2, 0.21, 0.8, 0.81, 0.9, 1.0])

    counts = calibrate._count(doubt, {"unsure_above": 0.2, "not_a_digit_above": 0.8})

    assert counts == {"ok": 3 / 8, "unsure": 2 / 8, "refused": 3 / 8}


def test_calibration_reads_generated_pictures_that_nothing_learns_from(
    models_folder: Path, mnist_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, kinds = np.zeros((5, 28, 28), np.uint8), np.zeros(5, np.int64)
    seeds = []

    def make(count: int, *, seed: int, **_: object) -> tuple[np.ndarray, np.ndarray]:
        seeds.append(seed)
        return images, kinds

    monkeypatch.setattr(calibrate, "make_hands", make)
    monkeypatch.setattr(calibrate, "make_non_digits", make)
    calibrate.collect_evidence(load_checkpoint("last", models_folder).model, mnist_folder)

    learned_from = range(1, 100)  # one for each shard of a training
    assert len(seeds) == 2
    assert {*seeds}.isdisjoint({EVALUATION_SEED, *learned_from})


def test_a_network_that_knows_nothing_of_non_digits_still_gets_thresholds() -> None:
    """Then no choice keeps the limits; digits may not be lost for it."""
    doubt = np.linspace(0, 1, 1_000)

    found = choose_thresholds([doubt], doubt)

    assert 0 <= found["unsure_above"] <= found["not_a_digit_above"] <= 1
    assert (doubt > found["not_a_digit_above"]).mean() <= calibrate.DIGITS_REFUSED


@pytest.fixture
def made_up_pictures(monkeypatch: pytest.MonkeyPatch, handwriting: Handwriting) -> None:
    """Replace the generated pictures, which would take seconds, by digits and noise."""
    images = (handwriting.images[300:500] * 255).astype(np.uint8)
    noise = np.random.default_rng(0).integers(0, 255, (200, 28, 28), np.uint8)
    labels = handwriting.labels[300:500]
    monkeypatch.setattr(calibrate, "make_hands", lambda *_, **__: (images, labels))
    monkeypatch.setattr(calibrate, "make_non_digits", lambda *_, **__: (noise, labels))


@pytest.mark.usefixtures("made_up_pictures")
def test_calibrating_changes_three_numbers_and_no_weight(
    models_folder: Path, mnist_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, output = models_folder / "mnist_cnn.pth", tmp_path / "calibrated.pth"
    before = load_checkpoint(model)

    code = main(["--model", str(model), "--output", str(output), "--data-dir", str(mnist_folder)])

    after = load_checkpoint(output)
    assert code == 0
    assert after.version == before.version
    assert all(
        torch.equal(a, b)
        for a, b in zip(
            before.model.state_dict().values(), after.model.state_dict().values(), strict=True
        )
    )
    assert after.temperature != before.temperature
    assert (after.settings, after.data, after.scaling) == (
        before.settings,
        before.data,
        before.scaling,
    )
    assert after.metrics["validation_accuracy"] == before.metrics["validation_accuracy"]
    assert after.metrics["calibration"]["refusal"] == after.refusal
    assert "temperature" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("unsure", "refused", "ok", "missed"),
    [
        # Each set of digits counts the same: MNIST, which is easy, has none of either.
        (0.06, 0.02, 0.02, []),
        (0.0640, 0.02, 0.02, ["3.20% of digits are unsure, 3% may be"]),
        (0.06, 0.0202, 0.02, ["1.01% of digits are refused, 1% may be"]),
        (
            0.0640,
            0.0,
            0.0337,
            ["3.20% of digits are unsure, 3% may be", "3.37% of non-digits are ok, 2% may be"],
        ),
    ],
)
def test_limits_that_are_missed_are_named(
    unsure: float, refused: float, ok: float, missed: list[str]
) -> None:
    """For cnn1 nothing but the numbers said so, and only to who knew the limits."""
    row = {"accuracy": 0.99, "calibration_error": 0.01}
    sets = {
        "MNIST": {**row, "ok": 1.0, "unsure": 0.0, "refused": 0.0},
        "other hands": {**row, "ok": 1 - unsure - refused, "unsure": unsure, "refused": refused},
        "non-digits": {"ok": ok, "unsure": 0.0, "refused": 1 - ok, "roc_auc": 0.99},
    }
    refusal = {"unsure_above": 0.2, "not_a_digit_above": 0.8}

    printed = calibrate.format_result({"temperature": 1.0, "refusal": refusal, "sets": sets})

    assert calibrate.find_missed_limits(sets) == missed
    assert ("limits that this network misses" in printed) == bool(missed)
    assert all(each in printed for each in missed)
    assert "the pictures that these numbers were chosen by" in printed


@pytest.mark.usefixtures("made_up_pictures")
def test_verdicts_follow_the_thresholds_of_the_checkpoint(
    models_folder: Path, mnist_folder: Path, tmp_path: Path, digit_png: object
) -> None:
    output = tmp_path / "calibrated.pth"

    found = calibrate.calibrate(
        load_checkpoint(models_folder / "mnist_cnn.pth"), mnist_folder, output=output
    )

    assert MNISTPredictor(output).checkpoint.refusal == found["refusal"]
    assert found["sets"].keys() == {"MNIST", "other hands", "non-digits"}
    for row in found["sets"].values():
        assert row["ok"] + row["unsure"] + row["refused"] == pytest.approx(1)


@pytest.mark.usefixtures("made_up_pictures")
def test_without_an_output_the_checkpoint_itself_is_replaced(
    models_folder: Path, mnist_folder: Path, tmp_path: Path
) -> None:
    path = tmp_path / "own.pth"
    path.write_bytes((models_folder / "mnist_cnn.pth").read_bytes())

    assert main(["--model", str(path), "--data-dir", str(mnist_folder)]) == 0

    assert load_checkpoint(path).refusal is not None


@pytest.mark.parametrize("name", ["", "file/model.pth"])
def test_a_file_that_cannot_be_written_is_refused_before_any_picture_is_made(
    name: str, models_folder: Path, mnist_folder: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setattr(calibrate, "collect_evidence", lambda *_, **__: pytest.fail("too early"))
    checkpoint = load_checkpoint(models_folder / "mnist_cnn.pth")

    with pytest.raises(OutputError, match="--output"):
        calibrate.calibrate(checkpoint, mnist_folder, output=tmp_path / name)


def test_an_unknown_model_is_one_clear_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--model", "nonsense"]) == 1

    assert capsys.readouterr().err.startswith("error: no model 'nonsense'")
