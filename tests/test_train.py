import json
import shlex
import signal
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from filelock import FileLock
from matplotlib.figure import Figure

import train
from errors import OutputError, SettingsError
from handover import RunOptions
from learner import Learner
from model import MNISTNet, build_model
from recipes import RECIPES, Settings, check_settings
from registry import MODELS_DIR, load_checkpoint, save_checkpoint
from runs import Outcome, Run, Score, Stage, read_stage
from train import main, parse_settings
from training_data import load_data

pytestmark = pytest.mark.long

# Small enough for a second, and float32 so that they mean the same on every processor.
QUICK = [
    *("--model", "mlp", "--epochs", "2", "--limit", "300", "--batch-size", "50"),
    *("--precision", "fp32", "--no-cuda", "--run", "one"),
]


@pytest.fixture
def places(tmp_path, mnist_folder):
    """Return the flags that keep a run inside `tmp_path`."""
    return [
        *("--data-dir", str(mnist_folder)),
        *("--output", str(tmp_path / "outputs")),
        *("--models-dir", str(tmp_path / "models")),
    ]


@pytest.fixture(autouse=True)
def one_thread():
    """Train on one thread: networks this small are slower on several, if those are busy."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def empty_figures(monkeypatch):
    """Save empty figures: tests/test_runs.py has the true ones, and drawing takes seconds."""
    for name in ("training_curves", "confusion_matrix", "sample_predictions"):
        monkeypatch.setattr(f"plots.{name}", lambda *args, **options: Figure(figsize=(1, 1)))


def read_history(folder):
    return [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]


def weights_of(path):
    return torch.load(path, weights_only=True)["model_state_dict"]


def same_weights(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


def stop_at_once(self, digits, epoch):
    """Learn nothing, as after Ctrl-C in an epoch."""
    raise KeyboardInterrupt


def stop_in_the_second_epoch(monkeypatch):
    """Let Ctrl-C come after one epoch."""
    learn = Learner.learn

    def stop(self, digits, epoch):
        if epoch == 2:
            raise KeyboardInterrupt
        return learn(self, digits, epoch)

    monkeypatch.setattr("learner.Learner.learn", stop)


# --- a whole run --------------------------------------------------------------------------------


def test_a_run_learns_and_leaves_everything_behind(tmp_path, places, capsys):
    code = main([*QUICK, *places, "--epochs", "4", "--limit", "0", "--no-augment"])

    printed = capsys.readouterr().out
    folder = tmp_path / "outputs" / "one"
    history = read_history(folder)
    assert code == 0
    assert history[-1]["validation_accuracy"] > 0.7
    assert [row["epoch"] for row in history] == [1, 2, 3, 4]
    assert {path.name for path in folder.iterdir()} == {
        ".lock",
        "best.pth",
        "config.json",
        "confusion_matrix.png",
        "history.jsonl",
        "last.pth",
        "outcome.json",
        "report.txt",
        "resume.pt",
        "sample_predictions.png",
        "stage.json",
        "training_curves.png",
    }
    pictures = {path.name for path in (tmp_path / "outputs").glob("*.png")}
    assert pictures == {"confusion_matrix.png", "sample_predictions.png", "training_curves.png"}
    assert {path.name for path in (tmp_path / "models").iterdir()} == {"mlp.pth", "mlp_best.pth"}
    assert "precision" in printed  # the scores of each digit


def test_the_default_network_is_saved_under_the_names_that_the_readme_promises(tmp_path, places):
    code = main([*QUICK, *places, "--model", "mnistnet", "--epochs", "1", "--limit", "60"])

    assert code == 0
    model = MNISTNet()
    for name in ("mnist_cnn", "mnist_cnn_best"):
        checkpoint = torch.load(tmp_path / "models" / f"{name}.pth")
        model.load_state_dict(checkpoint["model_state_dict"])
        assert checkpoint["settings"]["limit"] == 60


def test_the_test_pictures_are_measured_once_with_the_best_weights(tmp_path, places, monkeypatch):
    asked = []
    load = train.load_mnist
    for module in ("train", "training_data"):
        monkeypatch.setattr(
            f"{module}.load_mnist", lambda split, folder: asked.append(split) or load(split, folder)
        )

    main([*QUICK, *places])

    metrics = load_checkpoint("mlp_best", tmp_path / "models").metrics
    assert asked.count("test") == 1
    assert asked[-1] == "test"
    assert 0 < metrics["test_accuracy"] < 1
    assert "test_accuracy" not in load_checkpoint("mlp", tmp_path / "models").metrics


def test_an_experiment_leaves_the_test_pictures_alone(tmp_path, places, monkeypatch):
    load = train.load_mnist
    monkeypatch.setattr(
        "train.load_mnist",
        lambda split, folder: pytest.fail("read") if split == "test" else load(split, folder),
    )

    main([*QUICK, *places, "--no-test"])

    assert "validation" in (tmp_path / "outputs" / "one" / "report.txt").read_text()


def test_the_same_seed_gives_the_same_weights(tmp_path, places):
    command = [*QUICK, *places, "--model", "cnn1", "--limit", "100", "--no-test", "--replace"]

    for run, seed in (("a", "5"), ("b", "5"), ("c", "6")):
        main([*command, "--run", run, "--seed", seed])

    a, b, c = (weights_of(tmp_path / "outputs" / run / "last.pth") for run in "abc")
    assert same_weights(a, b)
    assert not same_weights(a, c)


def test_a_stopped_run_goes_on_as_if_it_had_never_stopped(tmp_path, places, monkeypatch, capsys):
    command = [*QUICK, *places, "--model", "cnn1", "--limit", "100", "--no-test", "--epochs", "3"]
    main([*command, "--run", "whole"])
    with monkeypatch.context() as patch:
        stop_in_the_second_epoch(patch)
        stopped = main([*command, "--run", "parts"])
    advice = capsys.readouterr().err
    resumed = main(["--resume", str(tmp_path / "outputs" / "parts"), *places, "--no-test"])

    whole, parts = (tmp_path / "outputs" / run for run in ("whole", "parts"))
    assert stopped == 130
    assert "python train.py --resume" in advice
    assert resumed == 0
    assert same_weights(weights_of(whole / "last.pth"), weights_of(parts / "last.pth"))
    assert [row["epoch"] for row in read_history(parts)] == [1, 2, 3]
    assert json.loads((parts / "config.json").read_text())["model"] == "cnn1"


def test_the_printed_command_goes_on_as_was_asked_for_at_first(
    tmp_path, places, tiny_model, quick_calibration, monkeypatch, capsys
):
    """It once forgot --candidate and --no-test, wrote over the shipped model and read the test."""
    models = tmp_path / "models"
    first = save_checkpoint(models / "mlp_best.pth", tiny_model)
    load = train.load_mnist
    monkeypatch.setattr(
        "train.load_mnist",
        lambda split, folder: pytest.fail("read") if split == "test" else load(split, folder),
    )
    with monkeypatch.context() as patch:
        stop_in_the_second_epoch(patch)
        main([*QUICK, *places, "--no-test", "--candidate", "mine"])

    python, script, *words = shlex.split(capsys.readouterr().err.splitlines()[-1])
    code = main(words)

    assert (python, script, code) == ("python", "train.py", 0)
    assert {path.stem for path in models.glob("*.pth")} == {"mlp_best", "mine"}
    assert load_checkpoint("mlp_best", models).version == first
    assert load_checkpoint("mine", models).refusal is not None
    assert len(read_history(tmp_path / "outputs" / "one")) == 2


def test_a_flag_wins_over_what_a_run_was_asked_for_at_first(tmp_path, places):
    asked = ["--no-test", "--replace", "--name", "first"]
    main([*QUICK, *places, *asked, "--epochs", "1"])
    resume = ["--resume", str(tmp_path / "outputs" / "one")]

    same, _ = parse_settings(resume)
    other, _ = parse_settings([*resume, "--test", "--no-replace", "--name", "other"])

    assert (same.test, same.replace, same.name) == (False, True, "first")
    assert same.models_dir == tmp_path / "models"
    assert (other.test, other.replace, other.name) == (True, False, "other")


def test_a_run_that_calls_its_options_by_the_former_name_is_resumed_with_them(tmp_path, places):
    main([*QUICK, *places, "--no-test", "--name", "first", "--epochs", "1"])
    config = tmp_path / "outputs" / "one" / "config.json"
    record = json.loads(config.read_text())
    record["wishes"] = record.pop("options")
    config.write_text(json.dumps(record))

    args, _ = parse_settings(["--resume", str(config.parent)])

    assert (args.test, args.name) == (False, "first")
    assert args.models_dir == tmp_path / "models"


def test_a_run_of_an_older_version_is_resumed_with_the_usual_options(tmp_path, places):
    main([*QUICK, *places, "--no-test", "--name", "first", "--epochs", "1"])
    config = tmp_path / "outputs" / "one" / "config.json"
    record = json.loads(config.read_text())
    del record["options"]
    config.write_text(json.dumps(record))

    args, settings = parse_settings(["--resume", str(config.parent)])

    assert (args.test, args.name, args.models_dir) == (True, "", MODELS_DIR)
    assert (settings.model, settings.epochs) == ("mlp", 1)


@pytest.mark.parametrize(
    ("record", "flags", "hint"),
    [
        # Its resume file was called damaged.
        ({"model": "mlp"}, "--model cnn1", "trains mlp; leave --model out"),
        # These were passed over in silence.
        ({"start": "mine"}, "--start best", "began with the weights of 'mine'; leave --start out"),
        ({}, "--start best", "began with no weights of another; leave --start out"),
        ({"seed": 3}, "--seed 4", "began with seed 3; leave --seed out"),
        # After these, accuracies on other pictures were compared with those of before.
        ({}, "--limit 100", "is measured on all pictures; leave --limit out"),
        ({"limit": 2000}, "--limit 0", "is measured on 2000 pictures of each split; leave"),
        ({}, "--hands 500", "is measured on MNIST alone; leave --hands out"),
        ({"hands": 500}, "--hands 0", "is measured on other hands as well; leave --hands out"),
        ({}, "--run other", "stays in its folder; leave --run out"),
        ({}, "--output elsewhere", "stays in its folder; leave --output out"),
        (
            RECIPES["short"],
            "--recipe fast",
            "are --epochs, --small-epochs, --pool-first;",
        ),
        (RECIPES["short"] | {"epochs": 4}, "--recipe fast", "are --small-epochs, --pool-first;"),
        (RECIPES["fast"], "--recipe default", "are --epochs, --batch-size, --lr, "),
        (RECIPES["refine"], "--recipe refine --seed 7", "began with seed 0"),
        (
            RECIPES["refine"] | {"start": "mine"},
            "--recipe refine",
            "are --start; leave",
        ),
    ],
)
def test_what_a_resumed_run_cannot_take_up_any_more_is_refused(
    tmp_path, capsys, record, flags, hint
):
    (tmp_path / "config.json").write_text(json.dumps(record))

    code = main(["--resume", str(tmp_path), *flags.split()])

    told = capsys.readouterr().err
    assert code == 2
    assert hint in told
    assert str(tmp_path) in told


@pytest.mark.parametrize(
    ("record", "flags"),
    [
        ({"seed": 3, "start": "mine"}, "--model mnistnet --seed 3 --start mine"),
        (RECIPES["fast"], "--recipe fast"),
        (RECIPES["fast"] | {"seed": 3, "limit": 50}, "--recipe fast"),  # it decides neither
        (RECIPES["fast"] | {"epochs": 6}, "--recipe fast --epochs 6"),
        (RECIPES["fast"], "--recipe fast --epochs 6"),
        (RECIPES["fast"] | {"model": "mlp", "small_epochs": 0}, "--recipe fast"),
        ({}, "--recipe default"),
        ({"limit": 50}, "--limit 50"),
    ],
)
def test_the_flags_that_a_run_was_begun_with_may_be_said_again(tmp_path, record, flags):
    """Whoever resumes a run adds --resume to the command that it was begun with."""
    folder = tmp_path / "outputs" / "one"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(record))
    places = ["--output", str(tmp_path / "outputs"), "--run", "one"]

    _, before = parse_settings(["--resume", str(folder)])
    args, settings = parse_settings(["--resume", str(folder), *places, *flags.split()])

    epochs = 6 if "--epochs" in flags else before.epochs
    assert settings == replace(before, epochs=epochs)
    assert args.resume == folder


def test_a_resumed_run_may_learn_from_more_digits_of_other_hands(tmp_path):
    """It is measured on the same ones, however many it learns from."""
    (tmp_path / "config.json").write_text(json.dumps({"hands": 500}))

    _, settings = parse_settings(["--resume", str(tmp_path), "--hands", "900"])

    assert settings.hands == 900


def test_stopping_keeps_the_best_weights(tmp_path, places, monkeypatch):
    monkeypatch.setattr("train.format_row", lambda row: (_ for _ in ()).throw(KeyboardInterrupt))

    code = main([*QUICK, *places])

    assert code == 130
    assert load_checkpoint("mlp_best", tmp_path / "models").metrics["epoch"] == 1


def test_stopping_in_the_first_epoch_says_that_there_is_nothing_to_keep(
    tmp_path, places, monkeypatch, capsys
):
    monkeypatch.setattr("learner.Learner.learn", stop_at_once)

    code = main([*QUICK, *places])

    assert code == 130
    assert "nothing to keep" in capsys.readouterr().err
    assert not (tmp_path / "models").exists()


def test_a_run_that_was_stopped_in_its_first_epoch_is_begun_anew_by_resuming(
    tmp_path, places, tiny_model, monkeypatch
):
    """Its folder was refused for a new run with the advice to resume it, and that was refused."""
    version = save_checkpoint(tmp_path / "models" / "first.pth", tiny_model)
    asked = [*QUICK, *places, "--no-test", "--name", "mine", "--start", "first"]
    main([*asked, "--run", "whole"])
    with monkeypatch.context() as patch:
        patch.setattr("learner.Learner.learn", stop_at_once)
        stopped = main([*asked, "--run", "parts"])

    code = main(["--resume", str(tmp_path / "outputs" / "parts")])

    whole, parts = (tmp_path / "outputs" / run / "last.pth" for run in ("whole", "parts"))
    assert (stopped, code) == (130, 0)
    assert same_weights(weights_of(whole), weights_of(parts))
    assert load_checkpoint("mine", tmp_path / "models").settings["start"] == f"first@{version}"


@pytest.mark.parametrize("epochs", ["1", "2"])
def test_a_run_whose_resume_file_is_gone_is_not_begun_anew(tmp_path, places, capsys, epochs):
    """Its weights took longer than an epoch, or are finished."""
    main([*QUICK, *places, "--no-test", "--epochs", epochs])
    folder = tmp_path / "outputs" / "one"
    (folder / "resume.pt").unlink()
    if epochs == "2":
        (folder / "outcome.json").unlink()
    before = weights_of(folder / "best.pth")

    code = main(["--resume", str(folder), "--epochs", "3"])

    assert code == 2
    assert "nothing to resume: no" in capsys.readouterr().err
    assert same_weights(weights_of(folder / "best.pth"), before)
    assert len(read_history(folder)) == int(epochs)


def test_a_folder_that_holds_a_run_is_not_written_over(tmp_path, places, capsys):
    main([*QUICK, *places, "--no-test"])
    before = (tmp_path / "outputs" / "one" / "history.jsonl").read_text()

    code = main([*QUICK, *places, "--no-test", "--seed", "3"])

    assert code == 2
    assert "holds a run already" in capsys.readouterr().err
    assert (tmp_path / "outputs" / "one" / "history.jsonl").read_text() == before


def test_a_folder_in_which_another_process_trains_is_left_alone(tmp_path, places, capsys):
    folder = tmp_path / "outputs" / "one"
    with FileLock(folder / ".lock"):
        new = main([*QUICK, *places])
        files = {path.name for path in folder.iterdir()}
    main([*QUICK, *places, "--no-test"])
    before = (folder / "history.jsonl").read_text()

    with FileLock(folder / ".lock"):
        resumed = main(["--resume", str(folder), "--epochs", "3"])

    assert (new, files, resumed) == (1, {".lock"}, 1)
    assert (folder / "history.jsonl").read_text() == before
    assert capsys.readouterr().err.count("another process trains in") == 2


def test_of_two_runs_that_begin_at_once_in_one_folder_the_second_is_refused(
    tmp_path, places, monkeypatch, capsys
):
    """Both find no run in the folder; then one is through before the other has read its data."""
    load = train.load_data

    def load_after_the_other(*args, **options):
        with monkeypatch.context() as patch:
            patch.setattr("train.load_data", load)
            assert main([*QUICK, *places, "--no-test", "--seed", "1"]) == 0
        return load(*args, **options)

    monkeypatch.setattr("train.load_data", load_after_the_other)

    code = main([*QUICK, *places, "--no-test", "--seed", "2"])

    assert code == 2
    assert "holds a run already" in capsys.readouterr().err
    record = json.loads((tmp_path / "outputs" / "one" / "config.json").read_text())
    assert record["seed"] == 1


def test_who_follows_a_run_sees_what_it_does_before_its_first_epoch(tmp_path, places, monkeypatch):
    folder = tmp_path / "outputs" / "one"
    folder.mkdir(parents=True)  # as a page does that starts a run
    seen = []

    def load(*args, on_stage):
        on_stage(Stage("making digits", 500, 3_000))
        seen.append(read_stage(folder))
        return load_data(*args)

    learn = Learner.learn

    def look_and_learn(*args):
        seen.append(read_stage(folder))
        return learn(*args)

    monkeypatch.setattr("train.load_data", load)
    monkeypatch.setattr("learner.Learner.learn", look_and_learn)

    main([*QUICK, *places, "--epochs", "1", "--no-test"])

    assert seen == [Stage("making digits", 500, 3_000), Stage("learning")]


def test_training_stops_early_without_progress(tmp_path, places, monkeypatch, capsys):
    rows = iter([0.5, 0.9, 0.8, 0.7, 0.6])
    monkeypatch.setattr("train.measure", lambda *args: Score(1.0, next(rows)))

    main([*QUICK, *places, "--epochs", "5", "--patience", "2", "--no-test"])

    history = read_history(tmp_path / "outputs" / "one")
    assert [row["best"] for row in history] == [True, True, False, False]
    assert "stopping early" in capsys.readouterr().out
    assert load_checkpoint("mlp_best", tmp_path / "models").metrics["epoch"] == 2


def test_a_run_can_begin_with_the_weights_of_another(tmp_path, places):
    main([*QUICK, *places, "--no-test", "--limit", "0", "--no-augment", "--name", "first"])
    first = read_history(tmp_path / "outputs" / "one")

    main(
        [
            *QUICK,
            *places,
            "--no-test",
            "--no-augment",
            "--run",
            "two",
            "--start",
            "first",
            "--lr",
            "1e-6",
        ]
    )

    second = read_history(tmp_path / "outputs" / "two")
    assert second[0]["validation_accuracy"] == pytest.approx(
        first[-1]["validation_accuracy"], abs=0.03
    )


def test_a_resumed_run_still_says_which_weights_it_began_with(tmp_path, places, tiny_model):
    """By then, another network may have the same name; and a path is nobody's business."""
    first = tmp_path / "models" / "first.pth"
    version = save_checkpoint(first, tiny_model)
    main([*QUICK, *places, "--no-test", "--epochs", "1", "--start", str(first)])
    save_checkpoint(first, build_model("mlp"))

    main(["--resume", str(tmp_path / "outputs" / "one"), *places, "--no-test", "--epochs", "2"])

    settings = load_checkpoint("mlp", tmp_path / "models").settings
    assert (settings["start"], settings["epochs"]) == (f"first@{version}", 2)


def test_a_run_goes_on_although_the_weights_that_it_began_with_are_gone(
    tmp_path, places, tiny_model
):
    """It has weights of its own by then."""
    first = tmp_path / "models" / "first.pth"
    version = save_checkpoint(first, tiny_model)
    main([*QUICK, *places, "--no-test", "--epochs", "1", "--start", "first"])
    first.unlink()

    code = main(["--resume", str(tmp_path / "outputs" / "one"), *places, "--epochs", "2"])

    assert code == 0
    assert load_checkpoint("mlp", tmp_path / "models").settings["start"] == f"first@{version}"


@pytest.mark.parametrize(
    ("flags", "code"),
    [([], 2), (["--teachers", "teacher"], 2), (["--teachers", "new"], 0), (["--teachers"], 0)],
)
def test_a_resumed_run_learns_from_no_other_model_with_the_name_of_its_teacher(
    tmp_path, places, tiny_model, capsys, flags, code
):
    """Only whoever names another teacher wants another one."""
    models = tmp_path / "models"
    version = save_checkpoint(models / "teacher.pth", tiny_model)
    main([*QUICK, *places, "--no-test", "--epochs", "1", "--teachers", "teacher"])
    for name in ("teacher", "new"):
        save_checkpoint(models / f"{name}.pth", build_model("mlp"))
    folder = tmp_path / "outputs" / "one"
    before = (folder / "config.json").read_text()

    resumed = main(["--resume", str(folder), *places, "--epochs", "2", *flags])

    assert resumed == code
    if code:
        assert f"learns from teacher@{version}" in capsys.readouterr().err
        assert (folder / "config.json").read_text() == before


def test_a_resumed_run_goes_on_with_the_teacher_that_it_had(tmp_path, places, tiny_model):
    save_checkpoint(tmp_path / "models" / "teacher.pth", tiny_model)
    main([*QUICK, *places, "--no-test", "--epochs", "1", "--teachers", "teacher"])

    assert main(["--resume", str(tmp_path / "outputs" / "one"), *places, "--epochs", "2"]) == 0


@pytest.mark.parametrize("failing", ["_report", "hand_over"])
@pytest.mark.parametrize("error", [OutputError("no room"), KeyboardInterrupt()])
def test_what_failed_after_the_last_epoch_is_done_by_resuming(
    tmp_path, places, monkeypatch, capsys, failing, error
):
    """Such a run once had "finished its epochs", and nobody could finish the rest."""
    tries = iter([error])
    true = getattr(train, failing)

    def fail_once(*args, **options):
        for error in tries:
            raise error
        return true(*args, **options)

    monkeypatch.setattr(f"train.{failing}", fail_once)
    failed = main([*QUICK, *places])
    *_, advice = capsys.readouterr().err.rpartition("python train.py ")
    folder = tmp_path / "outputs" / "one"
    was_marked = (folder / "outcome.json").exists()
    monkeypatch.setattr("learner.Learner.learn", lambda *args: pytest.fail("learned again"))

    code = main(shlex.split(advice))

    assert failed in (1, 130)
    assert not was_marked
    assert code == 0
    assert {path.name for path in (tmp_path / "models").iterdir()} == {"mlp.pth", "mlp_best.pth"}
    assert "test_accuracy" in json.loads((folder / "outcome.json").read_text())["metrics"]
    assert len(read_history(folder)) == 2


def test_a_run_that_stopped_early_learns_no_more_when_the_rest_is_done(
    tmp_path, places, monkeypatch, capsys
):
    scores = iter([0.9, 0.8, 0.7])
    with monkeypatch.context() as patch:
        patch.setattr("train.measure", lambda *args: Score(1.0, next(scores)))
        main([*QUICK, *places, "--epochs", "5", "--patience", "2", "--no-test"])
    folder = tmp_path / "outputs" / "one"
    (folder / "outcome.json").unlink()

    done = main(["--resume", str(folder)])
    again = main(["--resume", str(folder)])

    assert (done, again) == (0, 2)
    assert len(read_history(folder)) == 3
    assert "ask for more with --patience 0" in capsys.readouterr().err


def test_a_run_that_goes_on_is_not_finished_any_more(tmp_path, places, monkeypatch):
    main([*QUICK, *places, "--no-test", "--epochs", "1"])
    folder = tmp_path / "outputs" / "one"
    stop_in_the_second_epoch(monkeypatch)

    main(["--resume", str(folder), "--epochs", "2"])

    assert not (folder / "outcome.json").exists()


def test_a_disk_that_is_full_ends_a_run_with_one_line_and_the_way_on(
    tmp_path, places, monkeypatch, full_disk, capsys
):
    """torch.save reports it as a bare RuntimeError, of which a traceback of two pages was made."""
    save = Run.save

    def save_until_the_disk_is_full(self, state):
        if len(self.history) < 2:
            save(self, state)
        else:
            with full_disk():
                save(self, state)

    monkeypatch.setattr("runs.Run.save", save_until_the_disk_is_full)

    code = main([*QUICK, *places])

    *_, advice = capsys.readouterr().err.rpartition("error: ")
    folder = tmp_path / "outputs" / "one"
    assert code == 1
    assert "resume.pt" in advice
    assert f"python train.py --resume {folder}" in advice


def test_a_models_folder_that_cannot_be_written_costs_no_epoch(
    tmp_path, places, monkeypatch, capsys
):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setattr("train.load_data", lambda *args, **options: pytest.fail("began"))

    code = main([*QUICK, *places, "--models-dir", str(tmp_path / "file")])

    assert code == 1
    assert "--models-dir" in capsys.readouterr().err
    assert not (tmp_path / "outputs").exists()


def test_each_row_is_handed_to_whoever_watches(tmp_path, mnist_folder):
    rows: list[dict[str, Any]] = []

    outcome = train.train(
        Settings(model="mlp", epochs=2, limit=100, precision="fp32"),
        RunOptions(data_dir=mnist_folder, models_dir=tmp_path / "models", test=False),
        folder=tmp_path / "outputs" / "watched",
        device=torch.device("cpu"),
        on_epoch=rows.append,
    )

    assert isinstance(outcome, Outcome)
    assert rows == outcome.history == read_history(outcome.folder)


@pytest.mark.parametrize(
    ("words", "small"),
    [
        ("", 3),
        ("--model cnn2", 0),
        ("--no-augment", 0),
        ("--small-epochs 2", 2),
        ("--model cnn2 --small-epochs 0", 0),
    ],
)
def test_the_fast_recipe_suits_every_network(words, small):
    _, settings = parse_settings(["--recipe", "fast", *words.split()])

    check_settings(settings)
    assert settings.small_epochs == small


@pytest.mark.parametrize("recipe", ["", "--recipe fast", "--recipe default"])
@pytest.mark.parametrize("count", [1, 3, 4])
def test_small_pictures_that_somebody_asked_for_are_refused_with_any_recipe(recipe, count):
    """As many as the recipe has were taken for the recipe's own, and silently left out."""
    words = f"{recipe} --model cnn2 --small-epochs {count}"

    _, settings = parse_settings(words.split())

    with pytest.raises(SettingsError, match="--small-epochs needs"):
        check_settings(settings)


def test_no_weight_decay_may_be_asked_for_with_any_network():
    _, settings = parse_settings(["--model", "mlp", "--weight-decay", "0"])

    assert settings.weight_decay == 0


def test_a_network_that_pools_first_is_saved_as_any_other(tmp_path, places):
    words = [*QUICK, *places, "--model", "mnistnet", "--limit", "100", "--no-test", "--pool-first"]

    assert main([*words, "--lr", "0.5", "--ema", "0"]) == 0  # gains would turn negative

    weights = weights_of(tmp_path / "outputs" / "one" / "last.pth")
    gains = [weights[f"conv{block}.1.weight"] for block in (1, 2, 3)]
    assert all((gain >= 0).all() for gain in gains)
    assert any((gain == 0).any() for gain in gains)
    assert weights.keys() == build_model("mnistnet").state_dict().keys()


# --- a candidate for the shelf ------------------------------------------------------------------


@pytest.fixture
def quick_calibration(monkeypatch):
    """Take a few pictures for the thousands that calibration and promotion draw."""

    def make_hands(count, *, seed, folder, mnist):
        return mnist[0][:count], mnist[1][:count]

    def make_non_digits(count, *, seed, folder):
        pictures = np.random.default_rng(0).integers(0, 256, (count, 28, 28), np.uint8)
        return pictures, np.zeros(count, np.int64)

    monkeypatch.setattr("calibrate.make_hands", make_hands)
    monkeypatch.setattr("calibrate.make_non_digits", make_non_digits)
    monkeypatch.setattr("promotion.make_hands", make_hands)


def read_outcome(tmp_path):
    return json.loads((tmp_path / "outputs" / "one" / "outcome.json").read_text())


def test_a_candidate_is_calibrated_and_replaces_nothing(
    tmp_path, places, tiny_model, quick_calibration, capsys
):
    save_checkpoint(tmp_path / "models" / "mnist_cnn_best.pth", tiny_model)
    first = load_checkpoint("best", tmp_path / "models").version

    code = main([*QUICK, *places, "--candidate", "mine"])

    mine = load_checkpoint("mine", tmp_path / "models")
    assert code == 0
    assert mine.refusal is not None
    assert mine.metrics["calibration"]["temperature"] == mine.temperature != 1.0
    assert 0 < mine.metrics["test_accuracy"] < 1
    assert load_checkpoint("best", tmp_path / "models").version == first
    assert {path.stem for path in (tmp_path / "models").glob("*.pth")} == {"mine", "mnist_cnn_best"}
    assert "promotion" not in read_outcome(tmp_path)
    assert read_outcome(tmp_path)["summary"] in capsys.readouterr().out


def test_a_candidate_that_is_not_worse_is_promoted_and_that_is_said(
    tmp_path, places, quick_calibration, capsys
):
    save_checkpoint(tmp_path / "models" / "mnist_cnn_best.pth", build_model("mlp"))

    main([*QUICK, *places, "--candidate", "mine", "--promote", "--epochs", "4", "--limit", "0"])

    models = tmp_path / "models"
    assert read_outcome(tmp_path)["promotion"]["promoted"]
    assert load_checkpoint("best", models).version == load_checkpoint("mine", models).version
    assert "It is the best model now (MNIST: " in capsys.readouterr().out


def test_a_resumed_run_leaves_its_candidate_under_the_same_name(
    tmp_path, places, quick_calibration
):
    main([*QUICK, *places, "--no-test", "--candidate", "mine"])
    first = load_checkpoint("mine", tmp_path / "models").metrics["epoch"]

    code = main(["--resume", str(tmp_path / "outputs" / "one"), "--epochs", "4"])

    assert code == 0
    assert [path.stem for path in (tmp_path / "models").glob("*.pth")] == ["mine"]
    assert load_checkpoint("mine", tmp_path / "models").metrics["epoch"] > first


def test_an_interrupted_run_offers_no_candidate(tmp_path, places, monkeypatch):
    monkeypatch.setattr("train.format_row", lambda row: (_ for _ in ()).throw(KeyboardInterrupt))

    code = main([*QUICK, *places, "--candidate", "mine"])

    assert code == 130
    assert not (tmp_path / "models").exists()
    assert load_checkpoint(tmp_path / "outputs" / "one" / "best.pth").metrics["epoch"] == 1


def test_a_polite_request_to_end_is_like_ctrl_c(tmp_path, places, monkeypatch):
    """A page's "cancel" arrives as SIGTERM; the best weights so far have to stay."""
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr("train.format_row", lambda row: signal.raise_signal(signal.SIGTERM))

    code = main([*QUICK, *places])

    assert code == 130
    assert load_checkpoint("mlp_best", tmp_path / "models").metrics["epoch"] == 1
    assert signal.getsignal(signal.SIGTERM) is before


# --- the command line ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "hint"),
    [
        (["--epochs", "0"], "--epochs 0"),
        (["--threads", "-1"], "--threads -1"),
        (["--threads", "100000"], "--threads 100000 cannot work here: choose 0 to"),
        (["--small-epochs", "1", "--no-augment"], "--small-epochs needs"),
        (["--model", "mlp", "--weight-decay", "0.1"], "--weight-decay 0.1: the network 'mlp'"),
        (["--device", "toaster"], "toaster"),
        (["--promote"], "--promote needs --candidate"),
        (["--candidate", "mnist_cnn_best"], "--candidate mnist_cnn_best"),
        (["--candidate", ""], "--candidate ''"),
        (["--candidate", "../x"], "--candidate '../x'"),
        (["--name", ""], "--name ''"),
        (["--run", ""], "--run ''"),
        (["--run", "../x"], "--run '../x'"),
        (["--corrections", "nowhere.sqlite", "--limit", "10"], "no corrections in nowhere.sqlite"),
        (["--resume", "nowhere"], "nothing to resume"),
    ],
)
def test_a_setting_that_cannot_work_is_refused_with_advice(flags, hint, places, capsys):
    code = main([*places, *flags])

    assert code == 2
    assert hint in capsys.readouterr().err


def test_a_teacher_that_does_not_exist_is_named(places, capsys):
    code = main([*QUICK, *places, "--teachers", "nobody"])

    assert code == 1
    assert "nobody" in capsys.readouterr().err


def test_a_finished_run_cannot_be_resumed_without_more_epochs(tmp_path, places, capsys):
    main([*QUICK, *places, "--no-test"])
    folder = str(tmp_path / "outputs" / "one")

    refused = main(["--resume", folder, *places, "--no-test"])
    extended = main(["--resume", folder, *places, "--no-test", "--epochs", "3"])

    assert refused == 2
    assert "ask for more with --epochs" in capsys.readouterr().err
    assert extended == 0
    assert len(read_history(tmp_path / "outputs" / "one")) == 3


@pytest.mark.parametrize(
    ("file", "content", "hint"),
    [
        ("resume.pt", b"no archive", "damaged"),
        ("config.json", b"{", "not the record of a run"),
        ("config.json", b'{"colour": 3}', "not the record of a run"),
        ("config.json", b"[]", "not the record of a run"),
        ("config.json", b"3", "not the record of a run"),
        ("config.json", b'{"options": {"colour": 3}}', "not the record of a run"),
    ],
)
def test_a_damaged_run_cannot_be_resumed(tmp_path, places, capsys, file, content, hint):
    main([*QUICK, *places, "--no-test", "--epochs", "1"])
    folder = tmp_path / "outputs" / "one"
    (folder / file).write_bytes(content)

    code = main(["--resume", str(folder), *places, "--epochs", "2"])

    assert code in (1, 2)
    assert hint in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ("--resume", "argument --resume: expected one argument"),
        ("--re fast", "ambiguous option: --re could match --recipe, --resume, --replace"),
        ("--recipe slow", "invalid choice: 'slow'"),
        ("--name", "argument --name: expected one argument"),
        ("--recipe fast --epochs", "argument --epochs: expected one argument"),
    ],
)
def test_wrong_usage_is_told_with_the_usage_of_this_command(words, hint, capsys):
    with pytest.raises(SystemExit) as caught:
        main(words.split())

    told = capsys.readouterr().err
    assert caught.value.code == 2
    assert hint in told
    assert "[--epochs N]" in told


def test_the_help_shows_each_default_once(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])

    told = " ".join(capsys.readouterr().out.split())
    for part in (
        "--epochs N how often each picture is seen (default: 20)",
        "--augment, --no-augment turn, move, scale, slant and partly erase the training pictures "
        "(default: on)",
        "--recipe {default,short,fast,hands,hands-fast,refine} named set of settings "
        "(default: default)",
        "--device DEVICE auto, cpu, cuda, cuda:1 or mps (default: auto)",
    ):
        assert told.count(part) == 1, part
    assert "(default: on) (default" not in told


def test_a_flag_wins_over_its_recipe():
    _, fast = parse_settings(["--recipe", "fast"])
    _, changed = parse_settings(["--recipe", "fast", "--epochs", "3"])

    assert fast.epochs == RECIPES["fast"]["epochs"]
    assert changed == Settings(**{**vars(fast), "epochs": 3})


def test_the_usual_flags_are_understood():
    line = "--epochs 20 --batch-size 128 --lr 0.0005 --no-cuda"

    args, settings = parse_settings(shlex.split(line))

    assert (settings.epochs, settings.batch_size, settings.lr) == (20, 128, 0.0005)
    assert args.no_cuda


def test_settings_that_cannot_work_leave_no_folder(tmp_path, places):
    with pytest.raises(SettingsError):
        train.train(
            Settings(epochs=0), RunOptions(data_dir=tmp_path), folder=tmp_path / "outputs" / "none"
        )

    assert not (tmp_path / "outputs").exists()
