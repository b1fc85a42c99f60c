"""What becomes of a finished run's weights."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

import calibrate
import ensemble
from errors import OutputError, SettingsError
from feedback import FeedbackStore
from handover import RunOptions, check_options, hand_over, offer
from model import DigitNetwork, build_model
from recipes import Settings
from registry import MODELS_DIR, load_checkpoint, save_checkpoint
from runs import publish
from tests.conftest import Handwriting

THRESHOLDS = {"unsure_above": 0.2, "not_a_digit_above": 0.8}

# --- which weights stay -------------------------------------------------------------------------


def save_result(
    path: Path,
    model: DigitNetwork,
    *,
    mnist: float | None,
    hands: float | None = None,
    pictures: int = 5_000,
    refusal: dict[str, Any] | None = None,
    start: str = "",
) -> None:
    """Save a network with what it reached, as a run does."""
    measured = {"validation_accuracy": mnist, "hands_accuracy": hands}
    save_checkpoint(
        path,
        model,
        settings={"start": start},
        metrics={key: value for key, value in measured.items() if value is not None},
        data={"validation_pictures": pictures, "hands_validation_pictures": 3_000 if hands else 0},
        refusal=refusal,
    )


def leave_run(tmp_path: Path, model: DigitNetwork, **result: Any) -> None:
    """Leave the weights of a run."""
    for name in ("last", "best"):
        save_result(tmp_path / "run" / f"{name}.pth", model, **result)


@pytest.mark.parametrize(
    ("standing", "coming", "obstacle"),
    [
        ({"mnist": 0.99}, {"mnist": 0.98}, "did better on validation, MNIST."),
        ({"mnist": 0.98}, {"mnist": 0.99}, ""),
        ({"mnist": 0.98}, {"mnist": 0.98}, ""),
        ({"mnist": 0.99, "pictures": 500}, {"mnist": 0.98}, ""),
        ({"mnist": 0.98}, {"mnist": 0.99, "pictures": 500}, "more validation pictures"),
        ({"mnist": 0.98, "hands": 0.9}, {"mnist": 0.99}, "it learned from other hands"),
        ({"mnist": 0.98}, {"mnist": 0.99, "hands": 0.9}, "this run learned from other hands"),
        ({"mnist": 0.98, "hands": 0.9}, {"mnist": 0.97, "hands": 0.95}, ""),
        ({"mnist": 0.98, "hands": 0.9}, {"mnist": 0.99, "hands": 0.8}, "other hands together"),
        ({"mnist": 0.98, "refusal": THRESHOLDS}, {"mnist": 0.99}, "is calibrated"),
        ({"mnist": 0.98, "refusal": THRESHOLDS}, {"mnist": 0.99, "refusal": THRESHOLDS}, ""),
        ({"mnist": 0.98}, {"mnist": 0.99, "refusal": THRESHOLDS}, ""),
        ({"mnist": None}, {"mnist": 0.99}, "not known"),
    ],
)
def test_only_better_weights_measured_on_the_same_kind_of_pictures_replace_the_best(
    tmp_path: Path,
    tiny_model: DigitNetwork,
    capsys: pytest.CaptureFixture[str],
    standing: dict[str, Any],
    coming: dict[str, Any],
    obstacle: str,
) -> None:
    """A trial of one minute must not cost the user the shipped model."""
    save_result(tmp_path / "models" / "x_best.pth", tiny_model, **standing)
    leave_run(tmp_path, tiny_model, **coming)

    path = hand_over(tmp_path / "run", tmp_path / "models", "x")

    kept = load_checkpoint("x_best", tmp_path / "models").metrics.get("validation_accuracy")
    assert kept == (standing if obstacle else coming)["mnist"]
    assert path.parent.name == ("run" if obstacle else "models")
    printed = capsys.readouterr().out
    assert obstacle in printed
    assert ("stays as it is" in printed) == bool(obstacle)


@pytest.mark.parametrize(
    ("coming", "obstacle"),
    [
        ({"mnist": 0.999}, "learned from other hands"),
        ({"mnist": 0.996, "hands": 0.97}, "did better"),
        ({"mnist": 0.999, "hands": 0.99}, "is calibrated"),
        ({"mnist": 0.999, "hands": 0.99, "refusal": THRESHOLDS}, ""),
    ],
)
def test_the_shipped_model_gives_way_only_to_one_that_reads_more_and_knows_its_doubt(
    tmp_path: Path,
    tiny_model: DigitNetwork,
    capsys: pytest.CaptureFixture[str],
    coming: dict[str, Any],
    obstacle: str,
) -> None:
    """It is an average, without settings, and once counted as trained on MNIST alone."""
    shipped = load_checkpoint("best", MODELS_DIR)
    publish(shipped.path, tmp_path / "models" / "x_best.pth")
    leave_run(tmp_path, tiny_model, **coming)

    hand_over(tmp_path / "run", tmp_path / "models", "x")

    stays = load_checkpoint("x_best", tmp_path / "models").version == shipped.version
    assert stays == bool(obstacle)
    assert obstacle in capsys.readouterr().out


def test_an_average_keeps_its_place_as_the_networks_that_it_is_made_of_would(
    tmp_path: Path,
    mnist_folder: Path,
    tiny_model: DigitNetwork,
    capsys: pytest.CaptureFixture[str],
) -> None:
    models = tmp_path / "models"
    for name in ("one", "two"):
        save_result(models / f"{name}.pth", tiny_model, mnist=0.9, hands=0.9)
    places = ["--models-dir", str(models), "--data-dir", str(mnist_folder)]
    ensemble.main(["--average", "one", "two", "--name", "x_best", *places])
    capsys.readouterr()

    for coming, obstacle in (
        ({"mnist": 1.0}, "learned from other hands"),
        ({"mnist": 1.0, "hands": 1.0}, "not known"),  # an average is measured on MNIST alone
    ):
        leave_run(tmp_path, tiny_model, **coming)
        hand_over(tmp_path / "run", models, "x")

        assert "average" in load_checkpoint("x_best", models).settings
        assert obstacle in capsys.readouterr().out


def test_the_printed_command_puts_the_weights_there_all_the_same(
    tmp_path: Path,
    mnist_folder: Path,
    tiny_model: DigitNetwork,
    capsys: pytest.CaptureFixture[str],
) -> None:
    models = tmp_path / "models"
    save_result(models / "x_best.pth", tiny_model, mnist=0.9, refusal=THRESHOLDS)
    leave_run(tmp_path, tiny_model, mnist=0.8)
    hand_over(tmp_path / "run", models, "x")

    line = next(line for line in capsys.readouterr().out.splitlines() if line[:2] == "  ")
    code = calibrate.main([*shlex.split(line)[2:], "--data-dir", str(mnist_folder)])

    best = load_checkpoint("x_best", models)
    assert code == 0
    assert best.metrics["validation_accuracy"] == 0.8
    assert best.refusal


@pytest.mark.parametrize(
    ("name", "refusal", "force", "is_kept"),
    [
        ("cnn2", THRESHOLDS, False, True),
        ("cnn2", THRESHOLDS, True, False),
        ("cnn2", None, False, False),
        ("mnist_cnn", THRESHOLDS, False, False),  # whatever was trained last
    ],
)
def test_the_last_weights_destroy_no_finished_model_of_that_name(
    tmp_path: Path,
    tiny_model: DigitNetwork,
    capsys: pytest.CaptureFixture[str],
    name: str,
    refusal: dict[str, float] | None,
    force: bool,
    is_kept: bool,
) -> None:
    standing = tmp_path / "models" / f"{name}.pth"
    save_result(standing, tiny_model, mnist=0.99, refusal=refusal)
    leave_run(tmp_path, tiny_model, mnist=0.1)

    hand_over(tmp_path / "run", tmp_path / "models", name, replace=force)

    printed = capsys.readouterr().out
    kept = load_checkpoint(standing).metrics["validation_accuracy"]
    assert kept == (0.99 if is_kept else 0.1)
    assert ("stays as it is: it is calibrated" in printed) == is_kept
    assert f"{name}.pth" in printed


@pytest.mark.parametrize("name", ["mnist_cnn", "mine"])
@pytest.mark.parametrize(
    ("coming", "force", "is_kept"),
    [
        ({"mnist": 0.12, "pictures": 100}, False, True),
        ({"mnist": 0.12, "pictures": 100}, True, False),
        ({"mnist": 1.0, "pictures": 100}, False, False),
        ({"mnist": 0.12}, False, False),  # no trial, but the last one trained
    ],
)
def test_a_short_trial_that_reads_less_is_not_the_last_one_trained(
    tmp_path: Path,
    tiny_model: DigitNetwork,
    capsys: pytest.CaptureFixture[str],
    name: str,
    coming: dict[str, Any],
    force: bool,
    is_kept: bool,
) -> None:
    """`train.py --limit 100 --epochs 1` replaced the shipped mnist_cnn by one that reads 12 %."""
    standing = tmp_path / "models" / f"{name}.pth"
    save_result(standing, tiny_model, mnist=0.99)
    leave_run(tmp_path, tiny_model, **coming)

    hand_over(tmp_path / "run", tmp_path / "models", name, replace=force)

    printed = capsys.readouterr().out
    words = "it read 99.00% of 5,000 validation pictures, and this trial 12.00% of 100. "
    kept = load_checkpoint(standing).metrics["validation_accuracy"]
    assert kept == (0.99 if is_kept else coming["mnist"])
    assert (words in printed) == is_kept
    assert ("run/last.pth (a run with --replace does not ask)" in printed) == is_kept


def test_whoever_says_replace_is_not_asked(tmp_path: Path, tiny_model: DigitNetwork) -> None:
    save_result(
        tmp_path / "models" / "x_best.pth", tiny_model, mnist=0.99, hands=0.9, refusal=THRESHOLDS
    )
    leave_run(tmp_path, tiny_model, mnist=0.1)

    path = hand_over(tmp_path / "run", tmp_path / "models", "x", replace=True)

    assert load_checkpoint(path).metrics["validation_accuracy"] == 0.1
    assert path.parent.name == "models"


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


def test_a_place_that_cannot_be_written_is_refused_before_it_is_needed(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    missing, blocked = tmp_path / "new" / "models", tmp_path / "file" / "models"

    check_options(RunOptions(models_dir=missing), tmp_path)
    check_options(RunOptions(models_dir=blocked, hand_on=False), tmp_path)
    with pytest.raises(OutputError, match=r"file.*--models-dir"):
        check_options(RunOptions(models_dir=blocked), tmp_path)

    assert {path.name for path in tmp_path.iterdir()} == {"file"}


@pytest.mark.parametrize("flag", ["name", "candidate"])
@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("best", "not a model's own name"),
        ("last", "not a model's own name"),
        ("mnist_cnn_best", "not a model's own name"),
        ("mnist_cnn_best.pth", "not a model's own name"),
        ("models/mine.pth", "give a name, not a path"),
        ("mnist_cnn_previous", "not a model's own name"),
        ("../..", "give a name, not a path"),
        ("?!", "no letter or digit"),
    ],
)
def test_a_name_that_no_model_may_have_is_refused(
    tmp_path: Path, flag: str, text: str, hint: str
) -> None:
    """--candidate best once wrote a models/best.pth that nobody could reach."""
    options = RunOptions(**{"models_dir": tmp_path, flag: text, "replace": True})

    with pytest.raises(SettingsError, match=rf"--{flag} .*{hint}"):
        check_options(options, tmp_path)


def test_names_are_made_such_as_files_can_have(tmp_path: Path) -> None:
    options = RunOptions(models_dir=tmp_path, name="my net", candidate="mine (2).pth")

    checked = check_options(options, tmp_path)

    assert (checked.name, checked.candidate) == ("my-net", "mine-2")


def test_a_candidate_replaces_a_model_only_if_that_is_said(
    tmp_path: Path, tiny_model: DigitNetwork
) -> None:
    save_result(tmp_path / "models" / "mine.pth", build_model("mlp"), mnist=0.9)
    options = RunOptions(models_dir=tmp_path / "models", candidate="mine")
    leave_run(tmp_path, tiny_model, mnist=0.9)

    with pytest.raises(SettingsError, match=r"--candidate mine: .*--replace"):
        check_options(options, tmp_path / "run")
    check_options(replace(options, replace=True), tmp_path / "run")


def test_a_run_may_replace_the_candidate_that_it_left_itself(
    tmp_path: Path, tiny_model: DigitNetwork
) -> None:
    """It may go on with more epochs, or have been stopped before all was done."""
    leave_run(tmp_path, tiny_model, mnist=0.9)
    publish(tmp_path / "run" / "best.pth", tmp_path / "models" / "mine.pth")

    check_options(RunOptions(models_dir=tmp_path / "models", candidate="mine"), tmp_path / "run")


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


def offer_mine(
    tmp_path: Path,
    data_folder: Path,
    model: DigitNetwork,
    settings: dict[str, Any] | None = None,
    start: str = "",
    **options: Any,
) -> dict[str, Any]:
    """Put a network on the shelf as "mine"; `start` is name@version of what it began with."""
    leave_run(tmp_path, model, mnist=0.9, start=start)
    return offer(
        tmp_path / "run",
        Settings(limit=100, **(settings or {})),
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
    assert json.loads(json.dumps(result)) == result


def test_the_summary_of_a_trial_says_on_how_few_pictures_it_was_measured(
    tmp_path: Path, mnist_folder: Path, tiny_model: DigitNetwork
) -> None:
    """All right of 200 were "100.00% of the validation pictures"."""
    leave_run(tmp_path, tiny_model, mnist=1.0, pictures=200)

    result = offer(
        tmp_path / "run",
        Settings(limit=200),
        "mine",
        models_folder=tmp_path / "models",
        data_folder=mnist_folder,
    )

    assert "100.00% of 200 validation pictures right." in result["summary"]


def test_a_model_that_was_added_under_the_candidate_s_name_meanwhile_stays(
    tmp_path: Path, mnist_folder: Path, tiny_model: DigitNetwork
) -> None:
    """The name is looked at before hours of training, and was written over after them."""
    models = tmp_path / "models"
    leave_run(tmp_path, tiny_model, mnist=0.9)
    check_options(RunOptions(models_dir=models, candidate="mine"), tmp_path / "run")
    added = save_checkpoint(models / "mine.pth", build_model("mlp"))

    result = offer_mine(tmp_path, mnist_folder, tiny_model, promoting=True)

    assert load_checkpoint("mine", models).version == added
    assert result["candidate"] == result["promotion"]["candidate"] == "mine-2"
    best, new = (load_checkpoint(name, models).version for name in ("best", "mine-2"))
    assert best == new != added
    assert "The new weights are 'mine-2'. Another model got the name 'mine'" in result["summary"]


def test_a_run_that_goes_on_replaces_what_it_left_before(
    tmp_path: Path, mnist_folder: Path, tiny_model: DigitNetwork
) -> None:
    """Also if it was stopped once more in between, and has better weights by now."""
    models, run = tmp_path / "models", tmp_path / "run"
    leave_run(tmp_path, build_model("mlp"), mnist=0.8)
    publish(run / "best.pth", models / "mine.pth")
    options = check_options(RunOptions(models_dir=models, candidate="mine"), run)
    leave_run(tmp_path, tiny_model, mnist=0.9)

    again = check_options(options, run)
    result = offer_mine(tmp_path, mnist_folder, tiny_model, own=again.own)

    assert again == options
    assert result["candidate"] == "mine"
    assert load_checkpoint("mine", models).metrics["validation_accuracy"] == 0.9


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


def test_what_was_promoted_before_the_run_was_stopped_stays_the_best(
    tmp_path: Path, mnist_folder: Path, tiny_model: DigitNetwork
) -> None:
    """--resume does all that follows the last epoch once more."""
    models = tmp_path / "models"
    first = save_checkpoint(models / "mnist_cnn_best.pth", build_model("mlp"))
    offer_mine(tmp_path, mnist_folder, tiny_model, promoting=True)
    mine = load_checkpoint("mine", models).version

    again = offer_mine(tmp_path, mnist_folder, tiny_model, own=mine, promoting=True)

    assert again["promotion"]["promoted"]
    assert "It is the best model already." in again["summary"]
    assert load_checkpoint("best", models).version == mine
    assert load_checkpoint("mnist_cnn_previous", models).version == first


def correct_a_digit(tmp_path: Path, handwriting: Handwriting) -> str:
    """Store what somebody corrected, and return the store's file."""
    image = next(iter(handwriting.images))
    answer = SimpleNamespace(digit=0, confidence=0.6, verdict="ok", image=image)
    png = cv2.imencode(".png", np.rint(255 - image * 255))[1].tobytes()
    store = FeedbackStore(tmp_path / "corrections.sqlite")
    store.add(png, answer, int(handwriting.labels[0]), model="best", model_version="abc")
    return str(store.path)


@pytest.mark.parametrize(
    ("meanwhile", "is_counted"), [("nothing", True), ("deleted", False), ("another", False)]
)
def test_a_run_ends_well_although_the_model_that_it_began_with_is_gone(
    tmp_path: Path,
    mnist_folder: Path,
    tiny_model: DigitNetwork,
    handwriting: Handwriting,
    meanwhile: str,
    is_counted: bool,
) -> None:
    """After hours of training there once was no candidate, for want of a number to compare."""
    first = tmp_path / "models" / "first.pth"
    start = f"first@{save_checkpoint(first, build_model('mlp'))}"
    if meanwhile == "deleted":
        first.unlink()
    elif meanwhile == "another":
        save_checkpoint(first, tiny_model)
    settings = {"start": "first", "corrections": correct_a_digit(tmp_path, handwriting)}

    result = offer_mine(tmp_path, mnist_folder, tiny_model, settings, start)

    assert load_checkpoint("mine", tmp_path / "models").refusal is not None
    assert result["corrections"]["count"] == result["corrections"]["right"] == 1
    assert (result["corrections"]["before"] is not None) == is_counted
    assert ("Before is not counted" in result["summary"]) == (not is_counted)
    words = "Of 1 corrected digits 1 are read right (it has learned from these pictures)."
    assert words in result["summary"]


@pytest.mark.parametrize(
    ("content", "hint"), [(None, "withdrawn"), (b"no store" * 1000, "cannot be read")]
)
def test_a_candidate_is_promoted_although_the_corrections_are_gone(
    tmp_path: Path,
    mnist_folder: Path,
    tiny_model: DigitNetwork,
    content: bytes | None,
    hint: str,
) -> None:
    """The candidate was there, and the promotion that had been asked for was left out."""
    save_checkpoint(tmp_path / "models" / "mnist_cnn_best.pth", build_model("mlp"))
    store = tmp_path / "corrections.sqlite"
    if content:
        store.write_bytes(content)
    settings = {"corrections": str(store)}

    result = offer_mine(tmp_path, mnist_folder, tiny_model, settings, promoting=True)

    assert result["corrections"] is None
    assert result["promotion"]["promoted"]
    assert "The corrections are not counted" in result["summary"]
    assert hint in result["summary"]
    assert str(tmp_path) not in result["summary"]  # strangers may read it
