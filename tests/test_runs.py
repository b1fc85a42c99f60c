import json
from contextlib import contextmanager

import pytest
import torch
from PIL import Image

from dataset import Digits
from errors import CheckpointError, OutputError, SettingsError
from learning import RunningAverage
from model import build_model
from runs import (
    ROW_TITLE,
    Resumable,
    Run,
    Score,
    Stage,
    format_row,
    measure,
    publish,
    read_stage,
)


def state_of(name="mlp"):
    model = build_model(name)
    optimizer = torch.optim.Adam(model.parameters())
    order, changes = (torch.Generator().manual_seed(seed) for seed in (1, 2))
    return Resumable(model, RunningAverage(model, 0.9), optimizer, order, changes)


def draw(state):
    """Draw a number from each source: the order of pictures, their changes, dropout."""
    sources = (state.order, state.changes, None)
    return [torch.rand(1, generator=source).item() for source in sources]


def add(run, accuracy, hands=None):
    score = Score(1.0 - accuracy, accuracy)
    other = None if hands is None else Score(1.0 - hands, hands)
    return run.add_epoch(score, score, other, lr=0.001, seconds=2.5)


@pytest.fixture
def digits(handwriting):
    """Return 120 handwritten digits."""
    images = torch.from_numpy(handwriting.images[:120] * 255).round().byte()
    return Digits(images, torch.from_numpy(handwriting.labels[:120]))


def test_the_history_on_disk_grows_line_by_line(tmp_path):
    run = Run(tmp_path / "run", {"model": "mlp"}, epochs=2)

    first_epoch = run.start()
    add(run, 0.8)
    lines_then = (tmp_path / "run" / "history.jsonl").read_text().splitlines()
    add(run, 0.9)
    lines_now = (tmp_path / "run" / "history.jsonl").read_text().splitlines()

    assert first_epoch == 1
    assert [json.loads(line) for line in lines_now] == run.history
    assert lines_now[:1] == lines_then
    assert json.loads(lines_now[1])["elapsed"] == 5.0
    assert json.loads((tmp_path / "run" / "config.json").read_text()) == {"model": "mlp"}


@pytest.mark.parametrize(
    ("epochs", "best"),
    [
        ([(0.8, None), (0.9, None), (0.85, None)], [True, True, False]),
        ([(0.9, None), (0.9, None)], [True, False]),
        # With other hands, both accuracies count alike.
        ([(0.90, 0.50), (0.89, 0.70), (0.95, 0.60)], [True, True, False]),
    ],
)
def test_the_best_epoch_has_the_highest_validation_accuracy(tmp_path, epochs, best):
    run = Run(tmp_path / "run", {}, epochs=3)
    run.start()

    for accuracy, hands in epochs:
        add(run, accuracy, hands)

    assert [row["best"] for row in run.history] == best
    assert run.best_epoch == 1 + max(i for i, is_best in enumerate(best) if is_best)


def test_between_equal_accuracies_the_lower_loss_is_better(tmp_path):
    run = Run(tmp_path / "run", {}, epochs=2)
    run.start()

    for loss in (0.2, 0.1):
        run.add_epoch(Score(1, 0.5), Score(loss, 0.9), None, lr=0.1, seconds=1)

    assert run.best_epoch == 2


def test_a_resumed_run_has_its_weights_and_history_back(tmp_path):
    run = Run(tmp_path / "run", {}, epochs=3)
    run.start()
    add(run, 0.8)
    saved = state_of()
    run.save(saved)
    fresh = state_of()

    again = Run(tmp_path / "run", {}, epochs=3)
    next_epoch = again.resume(fresh)

    assert next_epoch == 2
    assert again.history == run.history
    for one, other in zip(
        fresh.model.state_dict().values(), saved.model.state_dict().values(), strict=True
    ):
        assert torch.equal(one, other)


def test_a_resumed_run_has_the_weight_decay_that_is_asked_for_now(tmp_path):
    """`--resume RUN --weight-decay 0.5` was noted in config.json, and learned with the former."""
    run = Run(tmp_path, {}, epochs=2)
    run.start()
    add(run, 0.8)
    run.save(state_of())
    state = state_of()
    state.optimizer.param_groups[0]["weight_decay"] = 0.5

    run.resume(state)

    assert [group["weight_decay"] for group in state.optimizer.param_groups] == [0.5]


def test_a_disk_that_is_full_is_reported_and_the_file_before_stands(tmp_path, full_disk):
    run = Run(tmp_path / "run", {}, epochs=3)
    run.start()
    run.save(state_of())
    before = (run.folder / "resume.pt").read_bytes()

    with full_disk(), pytest.raises(OutputError, match=r"resume\.pt"):
        run.save(state_of())

    assert (run.folder / "resume.pt").read_bytes() == before


def test_random_numbers_go_on_where_they_stopped(tmp_path):
    run = Run(tmp_path / "run", {}, epochs=3)
    run.start()
    add(run, 0.8)
    state = state_of()
    draw(state)  # what is put back has to differ from what a new run begins with
    run.save(state)
    expected = draw(state)

    fresh = state_of()
    Run(tmp_path / "run", {}, epochs=3).resume(fresh)

    assert draw(fresh) == expected
    assert len({*expected, *draw(state_of())}) == 6


def test_a_run_on_the_cpu_asks_no_card_for_its_random_numbers(monkeypatch):
    """Asking starts a card, which takes half a gigabyte of its memory."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for name in ("get_rng_state", "get_rng_state_all", "set_rng_state", "set_rng_state_all"):
        monkeypatch.setattr(torch.cuda, name, lambda *args: pytest.fail("a card was asked"))

    state = state_of()
    state.load_state_dict(state.state_dict())

    assert state.card is None


def test_there_has_to_be_something_to_resume(tmp_path):
    with pytest.raises(SettingsError, match="nothing to resume"):
        Run(tmp_path, {}, epochs=3).resume(state_of())


def test_a_finished_run_is_resumed_for_more_epochs_only(tmp_path):
    run = Run(tmp_path / "run", {}, epochs=1)
    run.start()
    add(run, 0.8)
    run.save(state_of())

    first_epoch = run.resume(state_of())
    run.finish({"metrics": {}})

    assert first_epoch == 2  # none is left, but what was to follow was not done
    with pytest.raises(SettingsError, match="--epochs"):
        run.resume(state_of())
    assert Run(tmp_path / "run", {}, epochs=2).resume(state_of()) == 2
    assert not (tmp_path / "run" / "outcome.json").exists()


@pytest.mark.parametrize(
    ("accuracies", "patience", "is_stuck"),
    [([], 1, False), ([0.9, 0.8], 0, False), ([0.9, 0.8], 1, True), ([0.9, 0.8, 0.95], 1, False)],
)
def test_a_run_is_stuck_after_as_many_epochs_without_progress(
    tmp_path, accuracies, patience, is_stuck
):
    run = Run(tmp_path / "run", {}, epochs=5, patience=patience)
    run.start()

    for accuracy in accuracies:
        add(run, accuracy)

    assert run.is_stuck == is_stuck


def test_a_run_of_another_network_is_refused(tmp_path):
    run = Run(tmp_path / "run", {}, epochs=3)
    run.start()
    run.save(state_of("cnn1"))

    with pytest.raises(CheckpointError, match="another network"):
        run.resume(state_of("mlp"))


def test_what_a_run_does_before_its_first_epoch_can_be_read_beside_its_history(tmp_path):
    run = Run(tmp_path, {}, epochs=1)
    before = read_stage(tmp_path)

    run.note(Stage("making digits", 500, 3_000))
    making = read_stage(tmp_path)
    run.start()

    assert (before, making) == (None, Stage("making digits", 500, 3_000))
    assert read_stage(tmp_path) == Stage("learning")


def test_a_run_that_has_not_started_makes_no_folder_for_what_it_does(tmp_path):
    run = Run(tmp_path / "run", {}, epochs=1)

    run.note(Stage("making digits", 500, 3_000))

    assert not run.folder.exists()


def test_a_run_goes_on_where_nobody_can_be_told_what_it_does(tmp_path, monkeypatch, caplog):
    @contextmanager
    def refuse(path):
        raise OutputError(f"cannot write {path}: No space left on device")
        yield path

    monkeypatch.setattr("runs.atomic_write", refuse)

    Run(tmp_path, {}, epochs=1).note(Stage("making digits", 500, 3_000))

    assert read_stage(tmp_path) is None
    assert "stage.json: No space left" in caplog.text


@pytest.mark.parametrize("content", ["", "{", "[]", "7", '{"name": "learning", "done": "many"}'])
def test_a_damaged_note_of_what_a_run_does_is_none(tmp_path, content):
    (tmp_path / "stage.json").write_text(content)

    assert read_stage(tmp_path) is None


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(OutputError, match="file"):
        Run(tmp_path / "file" / "run", {}, epochs=1).start()


def test_accuracy_and_loss_are_measured_in_evaluation_mode(tiny_model, digits):
    score = measure(tiny_model, digits)

    assert score.accuracy > 0.9
    assert 0 < score.loss < 1
    assert score == measure(tiny_model, digits)


def test_the_report_has_figures_and_scores(tmp_path, tiny_model, digits):
    run = Run(tmp_path / "run", {}, epochs=2)
    run.start()
    add(run, 0.8)
    add(run, 0.9)

    scores = run.report(tiny_model, digits, "test")

    for name in ("training_curves", "confusion_matrix", "sample_predictions"):
        for folder in (run.folder, tmp_path):
            with Image.open(folder / f"{name}.png") as picture:
                assert picture.width > 400
    assert scores["test_accuracy"] == measure(tiny_model, digits).accuracy
    report = (run.folder / "report.txt").read_text()
    assert report.startswith("120 test pictures")
    assert all(f"\n           {digit} " in report for digit in range(10))


def test_a_row_stands_under_its_title():
    row = {
        "epoch": 3,
        "epochs": 20,
        "train_loss": 0.1,
        "train_accuracy": 0.98,
        "validation_loss": 0.05,
        "validation_accuracy": 0.99,
        "lr": 0.001,
        "seconds": 12.3,
        "best": True,
    }

    line = format_row(row)

    assert line.endswith(" *")
    assert len(line) == len(ROW_TITLE) + 2
    for title, value in (("hands", "-"), ("lr", "1.00e-03"), ("seconds", "12.3")):
        assert line[: ROW_TITLE.index(title) + len(title)].endswith(value)


def test_a_file_that_is_to_be_published_and_is_not_there_is_named(tmp_path):
    with pytest.raises(OutputError, match=r"target\.pth: .*missing\.pth: No such file"):
        publish(tmp_path / "missing.pth", tmp_path / "target.pth")


def test_a_published_file_replaces_the_old_one(tmp_path):
    (tmp_path / "new").write_text("new")
    (tmp_path / "old").write_text("old and longer")

    publish(tmp_path / "new", tmp_path / "old")

    assert (tmp_path / "old").read_text() == "new"
