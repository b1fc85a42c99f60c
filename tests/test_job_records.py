"""What is known of a run from its folder; the folders here are written by hand."""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from job_records import Job, list_runs, read_job, read_record
from job_settings import JobSettings
from runs import Run, Stage

ROW = {"epoch": 1, "epochs": 3, "seconds": 50.0, "best": True}


def write_run(folder: Path, *, rows: int = 0, said: str = "", **outcome: Any) -> Path:
    """Write what page and trainer leave in a folder."""
    folder.mkdir(parents=True)
    started = "2026-11-21T09:30:00+00:00"
    settings = asdict(JobSettings(model="mlp"))
    record = {"settings": settings, "candidate": "mine", "started": started, "pid": 7}
    (folder / "job.json").write_text(json.dumps(record))
    (folder / "train.log").write_text(said)
    lines = [json.dumps({**ROW, "epoch": number}) + "\n" for number in range(1, rows + 1)]
    (folder / "history.jsonl").write_text("".join(lines))
    if outcome:
        (folder / "outcome.json").write_text(json.dumps(outcome))
    return folder


def read(folder: Path, *, is_alive: bool = False) -> Job:
    job = read_job(folder, is_alive=is_alive)
    assert job is not None
    return job


# --- what is there --------------------------------------------------------------------------------


def test_the_newest_run_comes_first(tmp_path: Path) -> None:
    for name in ("ant-20261121-093000", "zebra-20200101-000000", "bee-20261121-093000"):
        write_run(tmp_path / name)
    (tmp_path / "from-the-command-line").mkdir()

    assert list_runs(tmp_path) == [
        *("bee-20261121-093000", "ant-20261121-093000", "zebra-20200101-000000")
    ]


def test_where_nothing_was_started_there_are_no_runs(tmp_path: Path) -> None:
    assert list_runs(tmp_path / "outputs") == []
    assert read_record(tmp_path / "outputs") == {}


@pytest.mark.parametrize("content", ["", "{", "[]", '{"settings": {"colour": 3}}'])
def test_a_damaged_record_is_left_out(
    tmp_path: Path, content: str, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "broken-20260101-000000"
    folder.mkdir()
    (folder / "job.json").write_text(content)

    assert read_job(folder, is_alive=False) is None
    assert "broken" in caplog.text


@pytest.mark.parametrize(
    "damage",
    [
        *({"settings": {each: "<img src=x>"}} for each in ("model", "epochs", "lr", "limit")),
        *(
            {"settings": {"epochs": 0}},
            {"settings": {"start": ["best"]}},
            {"started": "<img src=x>"},
        ),
    ],
)
def test_a_record_whose_values_cannot_be_is_left_out(
    tmp_path: Path, damage: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """The page broke off where it was to show one, and with it the whole tab."""
    folder = write_run(tmp_path / "broken")
    record = read_record(folder)
    (folder / "job.json").write_text(json.dumps({**record, **damage}))

    assert read_job(folder, is_alive=False) is None
    assert "broken" in caplog.text


@pytest.mark.parametrize(
    "row",
    [
        *("<img src=x>", None, [], {}, {**ROW, "validation_accuracy": "<img src=x>"}),
        *({**ROW, "lr": None}, {"epoch": 1, "seconds": 1.0}),
    ],
)
def test_what_is_no_row_of_a_history_is_left_out(tmp_path: Path, row: object) -> None:
    folder = write_run(tmp_path / "run", rows=1)

    with (folder / "history.jsonl").open("a") as file:
        file.write(json.dumps(row) + "\n")

    assert [row["epoch"] for row in read(folder, is_alive=True).history] == [1]


def test_a_record_gives_back_what_was_asked_for(tmp_path: Path) -> None:
    job = read(write_run(tmp_path / "run"))

    assert (job.run, job.settings, job.candidate) == ("run", JobSettings(model="mlp"), "mine")
    assert json.dumps(job.to_dict())


def test_a_row_in_writing_is_not_shown_yet(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", rows=1)

    with (folder / "history.jsonl").open("a") as file:
        file.write('{"epoch": 2, "epo')

    assert [row["epoch"] for row in read(folder).history] == [1]


def test_of_a_long_log_the_end_is_shown_and_of_a_bar_its_last_state(tmp_path: Path) -> None:
    bars = "\r".join(f"bar {share} %" for share in range(100))
    lines = [f"line {number} " + 1000 * "-" for number in range(100)]
    said = "\n".join(["first", *lines, bars, "end", ""])

    log = read(write_run(tmp_path / "run", said=said)).log

    assert log.splitlines()[-2:] == ["bar 99 %", "end"]
    assert len(log) < 21_000


# --- state and words ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("is_alive", "cancelled", "outcome", "state"),
    [
        (True, False, {}, "running"),
        (True, True, {}, "cancelling"),
        (False, True, {}, "cancelled"),
        (False, False, {}, "failed"),
        (False, False, {"summary": "All went well."}, "finished"),
        (False, True, {"summary": "All went well."}, "finished"),  # it was faster
    ],
)
def test_the_state_follows_from_process_request_and_outcome(
    tmp_path: Path, is_alive: bool, cancelled: bool, outcome: dict[str, str], state: str
) -> None:
    folder = write_run(tmp_path / "run", **outcome)
    if cancelled:
        (folder / "cancel").touch()

    assert read(folder, is_alive=is_alive).state == state


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (0, "Preparing: the data are read, and made where they are missing."),
        (1, "Learning: epoch 2 of 3."),
        (3, "Finishing: the new weights are measured and calibrated."),
    ],
)
def test_a_running_run_tells_how_far_it_is(tmp_path: Path, rows: int, message: str) -> None:
    assert read(write_run(tmp_path / "run", rows=rows), is_alive=True).message == message


@pytest.mark.parametrize(("rows", "least", "most"), [(1, 50, 100), (2, 0, 50)])
def test_the_time_left_is_that_of_the_epochs_to_come(
    tmp_path: Path, rows: int, least: float, most: float
) -> None:
    left = read(write_run(tmp_path / "run", rows=rows), is_alive=True).left_s

    assert left is not None
    assert least <= left <= most


@pytest.mark.parametrize("rows", [0, 3])
def test_nobody_knows_how_long_it_takes_to_prepare_and_to_finish(tmp_path: Path, rows: int) -> None:
    assert read(write_run(tmp_path / "run", rows=rows), is_alive=True).left_s is None


def test_an_epoch_that_takes_longer_than_the_last_is_not_counted_below_nothing(
    tmp_path: Path,
) -> None:
    folder = write_run(tmp_path / "run", rows=2)
    long_ago = time.time() - 3600

    os.utime(folder / "history.jsonl", (long_ago, long_ago))

    assert read(folder, is_alive=True).left_s == 0.0


def test_a_finished_run_tells_what_it_came_to(tmp_path: Path) -> None:
    """Another model may have got the name that was meant for it."""
    outcome = {"summary": "Well.", "candidate": "mine-2", "promotion": {"promoted": True}}

    job = read(write_run(tmp_path / "run", rows=3, **outcome))

    assert (job.message, job.candidate, job.was_promoted) == ("Well.", "mine-2", True)


@pytest.mark.parametrize("said", ["", "after", "epochs.", "1 of 3"])
def test_what_a_run_said_is_kept_apart_from_what_is_said_of_it(tmp_path: Path, said: str) -> None:
    """It was put into the message, and cut out of it again for strangers."""
    job = read(write_run(tmp_path / "run", rows=1, said=said))

    silence = "" if said else " It said nothing; it may have been killed."
    assert job.without_output().full_message == f"Failed after 1 of 3 epochs.{silence}"
    assert job.full_message == job.message + (f" It last said: {said}" if said else "")


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        (
            Stage("making digits", 3_000, 10_000),
            "Preparing: 10,000 digits of other hands are made, 30 % done. "
            "That is kept for the next run.",
        ),
        (
            Stage("making non-digits", 0, 3_000),
            "Preparing: 3,000 pictures of no digit are made, 0 % done. "
            "That is kept for the next run.",
        ),
        (Stage("learning"), "Learning: epoch 1 of 3."),
        (
            Stage("something newer", 1, 2),
            "Preparing: the data are read, and made where they are missing.",
        ),
    ],
)
def test_what_comes_before_the_end_of_the_first_epoch_is_told_in_words(
    tmp_path: Path, stage: Stage, message: str
) -> None:
    """It takes minutes, in which the page said "0 of 1 epochs" and nothing else."""
    folder = write_run(tmp_path / "run", said="something that nobody has foreseen")

    Run(folder, {}, epochs=3).note(stage)

    assert read(folder, is_alive=True).message == message


def test_weights_are_kept_by_a_run_that_stops_only_if_there_are_any(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    (folder / "cancel").touch()

    before = read(folder, is_alive=True).message
    (folder / "best.pth").touch()

    assert before == "Stopping; no epoch has ended yet."
    assert read(folder, is_alive=True).message == "Stopping; the best weights so far are kept."
    assert read(folder).message.endswith("Its best weights so far are in run/best.pth.")
