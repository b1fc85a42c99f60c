"""The handlers of the tab "Train"; in a browser it is tested by test_browser_train.py."""

from __future__ import annotations

import inspect
import json
import re
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
import pandas as pd
import pytest

import tab_train
from access import Access
from errors import BusyError, OutputError
from feedback import FeedbackStore
from job_records import Job
from job_settings import LIMITS, MAX_NAME, JobSettings, check_values
from jobs import TrainingJobs
from service import Service
from tab_train import (
    cancel_run,
    count_corrections,
    describe_settings,
    follow,
    in_words,
    list_starts,
    refresh,
    render_log,
    render_runs,
    render_status,
    start_run,
    tabulate,
)
from tests.test_feedback import add

TOKEN = "a-token-of-some-length"
ROW = {
    **{"epoch": 1, "epochs": 3, "train_loss": 0.5, "train_accuracy": 0.9, "seconds": 60.0},
    **{"validation_loss": 0.2, "validation_accuracy": 0.95, "lr": 0.001, "best": True},
}
JOB = Job(
    run="mnistnet-20261121-093000",
    settings=JobSettings(model="mnistnet"),
    state="running",
    message="Learning: epoch 2 of 3.",
    started="2026-11-21T09:30:00+00:00",
    candidate="mnistnet-20261121-093000",
    history=[ROW],
    left_s=119.0,
    log="<at work>",
)
CHOICES: dict[str, Any] = {
    **{"start": "best", "model": "cnn2", "epochs": 3, "lr": 0.0005, "corrections": False},
    **{"hands": True, "promote": True, "name": " ", "limit": 0, "token": ""},
}


class Jobs(TrainingJobs):
    """Runs that are only written down."""

    def __init__(self, *jobs: Job) -> None:
        self.runs = list(jobs)
        self.started: list[JobSettings] = []
        self.cancelled = 0

    def history(self, limit: int = 20) -> list[Job]:
        return self.runs[:limit]

    def start(self, settings: JobSettings) -> Job:
        if self.runs and self.runs[0].is_running:
            raise BusyError("a training run is running already")
        self.check(settings)
        self.started.append(settings)
        self.runs.insert(0, JOB)
        return JOB

    def check(self, settings: JobSettings) -> JobSettings:
        check_values(settings)
        return settings

    def cancel(self) -> Job | None:
        self.cancelled += 1
        return None


@pytest.fixture
def service(models_folder: Path, mnist_folder: Path, tmp_path: Path) -> Service:
    return Service(
        models_folder=models_folder,
        data_folder=mnist_folder,
        feedback=FeedbackStore(tmp_path / "feedback.sqlite"),
        jobs=Jobs(),
        device="cpu",
    )


def jobs_of(service: Service) -> Jobs:
    assert isinstance(service.jobs, Jobs)
    return service.jobs


def begin(service: Service, **choices: Any) -> list[Any]:
    return start_run(service, **{**CHOICES, **choices})


# --- starting and cancelling ----------------------------------------------------------------------


def test_a_run_starts_with_what_was_chosen(service: Service) -> None:
    shown = begin(service, epochs=4.0, lr=0.001, name=" mine ", limit=None)

    wanted = JobSettings(epochs=4, lr=0.001, name="mine", promote=True)
    assert jobs_of(service).started == [wanted]
    assert "Learning: epoch 2 of 3." in shown[0]


def test_a_network_is_chosen_only_for_a_beginning_from_scratch(service: Service) -> None:
    begin(service, start="")

    assert jobs_of(service).started == [JobSettings(model="cnn2", start="", promote=True)]


@pytest.mark.parametrize(
    ("choices", "hint"),
    [
        ({"epochs": -1}, "Epochs: -1"),
        ({"epochs": 2.5}, "Epochs: 2.5"),
        ({"lr": None}, "Learning rate: it is empty"),
        ({"lr": 7.0}, "Learning rate: 7.0"),
        ({"name": "../../x"}, "Name of the new model: '../../x'"),
        ({"start": "", "model": "resnet"}, "Network: 'resnet'"),
    ],
)
def test_a_choice_that_cannot_work_is_named_below_the_button(
    service: Service, choices: dict[str, Any], hint: str
) -> None:
    """An exception was shown as boxes that covered the field to change."""
    shown = begin(service, **choices)

    assert f"<b>Not started:</b> {escape(hint)}" in shown[-1]
    assert jobs_of(service).started == []


def test_a_second_start_shows_the_run_that_runs(service: Service) -> None:
    begin(service)

    shown = begin(service)

    assert "a training run is running already" in shown[-1]
    assert "Training" in shown[0]


@pytest.mark.parametrize("label", ["Learning rate", "Trial on so many pictures"])
def test_a_number_beyond_its_limits_is_told_by_us_and_not_by_gradio(
    service: Service, label: str
) -> None:
    with gr.Blocks():
        fields = tab_train._build_choices(service).values()
    [field] = [field for field in fields if field.label == label]

    assert field.minimum is not None
    assert field.preprocess(-1) == -1


def test_the_best_model_is_not_replaced_unless_somebody_asks_for_it(service: Service) -> None:
    """The box was ticked at first, and in a part of the tab that is closed."""
    with gr.Blocks():
        fields = tab_train._build_choices(service)

    assert fields["promote"].value is False
    assert list(fields) == [*inspect.signature(start_run).parameters][1:-1]


def test_the_arrows_of_the_learning_rate_make_small_steps(service: Service) -> None:
    with gr.Blocks():
        field = tab_train._build_choices(service)["lr"]

    assert (field.minimum, field.maximum, field.step) == (0.0001, LIMITS["lr"].most, 0.0001)


def test_the_fields_end_where_the_settings_do(service: Service) -> None:
    """That of the trial went on for ever, and 70,000 pictures were refused only afterwards."""
    with gr.Blocks():
        fields = tab_train._build_choices(service)

    assert fields["epochs"].minimum == LIMITS["epochs"].least
    assert fields["epochs"].maximum <= LIMITS["epochs"].most
    assert (fields["limit"].minimum, fields["limit"].maximum) == (0, LIMITS["limit"].most)
    assert fields["name"].max_length == MAX_NAME


@pytest.mark.parametrize(
    ("access", "token", "allowed"),
    [
        (Access(), "", True),
        (Access(token=TOKEN), TOKEN, True),
        (Access(token=TOKEN), "guessed", False),
        (Access(token=TOKEN), None, False),
        (Access(beyond_loopback=True), "", False),
    ],
)
def test_only_who_may_change_something_starts_and_cancels(
    service: Service, access: Access, token: str | None, allowed: bool
) -> None:
    service.access = access

    for act in (
        lambda: begin(service, token=token),
        lambda: cancel_run(service, token),
    ):
        said = act()[-1]
        assert bool(re.search(r"token|changes are off", said)) is not allowed

    assert (len(jobs_of(service).started), jobs_of(service).cancelled) == (
        int(allowed),
        int(allowed),
    )


# --- following ------------------------------------------------------------------------------------


def test_only_what_is_new_is_sent_while_a_run_is_followed(service: Service) -> None:
    jobs_of(service).runs = [JOB]
    first = follow(service, "")

    second = follow(service, first[-1])
    jobs_of(service).runs = [replace(JOB, history=[ROW, {**ROW, "epoch": 2}])]
    third = follow(service, first[-1])

    skipped = [place for place, value in enumerate(second) if value == gr.skip()]
    assert skipped == [1, 2, 3, 5]  # three curves and the table
    assert gr.skip() not in third
    assert third[-1] != first[-1]


@pytest.mark.parametrize(
    ("state", "start", "cancel", "ticking"),
    [
        ("running", False, True, True),
        ("cancelling", False, False, True),
        ("finished", True, False, False),
        ("failed", True, False, False),
        (None, True, False, False),
    ],
)
def test_the_buttons_and_the_clock_follow_the_run(
    service: Service, state: Any, start: bool, cancel: bool, ticking: bool
) -> None:
    jobs_of(service).runs = [replace(JOB, state=state)] if state else []

    shown = follow(service, "")

    assert [each.interactive for each in shown[6:8]] == [start, cancel]
    assert shown[8].active is ticking


def test_the_box_for_corrections_is_open_only_while_there_are_some(service: Service) -> None:
    """One that was ticked before the last correction was deleted could not be unticked."""
    box = refresh(service, "")[-1]
    assert (box.interactive, box.value) == (False, False)

    add(service.feedback, 0, 7)

    box = refresh(service, "")[-1]
    assert box.interactive
    assert "1 stored" in box.label


def test_where_changes_are_off_no_button_can_be_pressed(service: Service) -> None:
    service.access = Access(beyond_loopback=True)

    assert [each.interactive for each in follow(service, "")[6:8]] == [False, False]


@pytest.mark.parametrize(
    ("access", "token", "told"),
    [
        (Access(), "", True),
        (Access(beyond_loopback=True), "", False),
        (Access(beyond_loopback=True, token=TOKEN), "guessed", False),
        (Access(beyond_loopback=True, token=TOKEN), TOKEN, True),
    ],
)
def test_what_a_run_printed_is_not_for_strangers(
    service: Service, access: Access, token: str, told: bool
) -> None:
    """It may name folders of the server; the page showed it to whoever opened the tab."""
    service.access = access
    said = "cannot write /home/somebody"
    message = "Failed after 0 of 3 epochs."
    failed = replace(JOB, state="failed", message=message, log=said, last_words=said)
    jobs_of(service).runs = [failed]

    status, *_, log, runs = follow(service, "", token)[:6]

    assert [said in text for text in (status, log, runs)] == [told] * 3
    assert "Failed after 0 of 3 epochs." in status


# --- what is shown --------------------------------------------------------------------------------


def test_a_run_is_told_in_words(service: Service) -> None:
    shown = render_status(service, JOB)

    assert "1 of 3 epochs" in shown
    assert "about 2 minutes left" in shown
    assert "95.00% of the held-out digits" in shown
    assert 'aria-valuenow="1"' in shown


def test_before_the_first_run_it_is_said_what_is_missing(service: Service, tmp_path: Path) -> None:
    ready = render_status(service, None)
    service.data_folder = tmp_path

    missing = render_status(service, None)

    assert "MNIST" not in ready
    assert "not on this machine" in missing
    assert "train-images-idx3-ubyte" in missing


def test_what_a_run_printed_is_text_and_not_page() -> None:
    printed = "<script>alert(1)</script>"

    shown = render_runs([replace(JOB, message=printed)]) + render_log(printed)

    assert "<script>" not in shown
    assert shown.count("&lt;script&gt;") == 2


def test_a_history_becomes_lines_of_a_plot() -> None:
    history = [ROW, {**ROW, "epoch": 2, "hands_accuracy": 0.5}]

    table = tabulate(history, "accuracy")

    assert table["columns"] == ["epoch", "value", "digits"]
    assert table["data"] == [
        [1, 90.0, "training"],
        [1, 95.0, "held out"],
        [2, 90.0, "training"],
        [2, 95.0, "held out"],
        [2, 50.0, "other hands"],
    ]
    assert [value for _, value, _ in tabulate(history, "lr")["data"]] == [0.001, 0.001]


@pytest.mark.parametrize(
    ("epochs", "kind"), [(2, "ordinal"), (15, "ordinal"), (16, "quantitative")]
)
def test_few_epochs_are_named_one_by_one(epochs: int, kind: str) -> None:
    """As a measure, three of them had an axis of 1.0, 1.2, 1.4, ...; for many there is no room."""
    history = [{**ROW, "epoch": number} for number in range(1, epochs + 1)]

    assert tabulate(history, "loss")["datatypes"]["epoch"] == kind


def test_a_plot_draws_what_it_would_make_of_a_table_but_for_the_kind_of_the_epochs() -> None:
    """It takes a dict as it is, so that this test has to see when another is wanted."""
    table = tabulate([ROW, {**ROW, "epoch": 2}], "accuracy")
    with gr.Blocks():
        plot = tab_train._build_curve("accuracy")
    frame = pd.DataFrame(table["data"], columns=table["columns"])

    made = plot.postprocess(frame)

    assert made is not None
    assert made.model_dump() == table | {
        "datatypes": {**table["datatypes"], "epoch": "quantitative"}
    }
    assert plot.postprocess(table) == table


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "5 seconds"),
        (42, "40 seconds"),
        (89, "90 seconds"),
        (100, "2 minutes"),
        (3600, "60 min"),
    ],
)
def test_a_time_is_written_as_people_say_it(seconds: float, words: str) -> None:
    assert in_words(seconds).startswith(words)


def test_a_run_says_how_it_began() -> None:
    anew = JobSettings(model="cnn1", start="", lr=0.004, corrections=True, limit=500)

    assert describe_settings(JOB) == "mnistnet, best refined, learning rate 0.0005"
    assert describe_settings(replace(JOB, settings=anew)) == (
        "cnn1, from scratch, learning rate 0.004, with corrections, 500 pictures only"
    )


def test_a_run_may_begin_with_any_model_once(tmp_path: Path, models_folder: Path) -> None:
    service = Service(models_folder=models_folder, jobs=Jobs(), device="cpu")

    assert [value for _, value in list_starts(service)] == ["best", ""]


def test_corrections_that_cannot_be_read_are_none(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: FeedbackStore) -> int:
        raise OutputError("the disk is gone")

    monkeypatch.setattr(FeedbackStore, "count", fail)

    assert count_corrections(service) == 0


def test_a_job_is_told_in_plain_values() -> None:
    assert json.loads(json.dumps(JOB.to_dict()))["settings"]["epochs"] == 3


def test_the_style_is_there() -> None:
    assert ".run-track" in tab_train.CSS.read_text(encoding="utf-8")
