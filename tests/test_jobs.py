"""Runs as processes. Most tests use a trainer of a few lines, which starts in no time."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
import pytest

import jobs as jobs_module
from errors import (
    BusyError,
    CheckpointError,
    DigitError,
    ModelNotFoundError,
    OutputError,
    SettingsError,
)
from feedback import FeedbackStore
from job_records import Job, read_record
from job_settings import JobSettings
from jobs import TrainingJobs
from model import build_model, list_models
from recipes import check_settings
from registry import load_checkpoint, save_checkpoint
from train import parse_settings
from utils import PROJECT

pytestmark = pytest.mark.long

PATIENCE_S = 120  # a busy machine is no reason to fail

# What every stand-in begins with: it finds its folder as train.py does, and can write epochs.
HEAD = """
import json, pathlib, signal, subprocess, sys, time
def flag(name):
    return sys.argv[sys.argv.index(name) + 1]
folder = pathlib.Path(flag("--output")) / flag("--run")
def epoch(number):
    row = {"epoch": number, "epochs": int(flag("--epochs")), "seconds": 50.0, "best": True}
    with (folder / "history.jsonl").open("a") as file:
        file.write(json.dumps(row) + "\\n")
"""
ENDLESS = "print('at work', flush=True)\nepoch(1)\ntime.sleep(600)\n"
FINISH = """
epoch(1)
(folder / "outcome.json").write_text(json.dumps({"summary": "All went well."}))
"""


def wait_until(is_so: Callable[[], object]) -> None:
    """Wait for another process; fail if it never happens."""
    for _ in range(PATIENCE_S * 20):
        if is_so():
            return
        time.sleep(0.05)
    pytest.fail("it did not happen")


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Return a function that puts a few lines in the place of train.py.

    They do not step back: beside other tests they would wait for their turn at each line.
    """

    def put(code: str) -> None:
        path = tmp_path / "trainer.py"
        path.write_text(HEAD + code, encoding="utf-8")
        monkeypatch.setattr(jobs_module, "TRAINER", path)
        monkeypatch.setattr(jobs_module, "_step_back", lambda process: None)

    return put


@pytest.fixture
def jobs(tmp_path: Path, models_folder: Path) -> Iterator[TrainingJobs]:
    jobs = TrainingJobs(tmp_path / "outputs", models_folder)
    yield jobs
    for record in jobs.outputs.glob("*/job.json"):  # nothing of a failed test goes on running
        process = jobs_module._find_process(read_record(record.parent))
        if process:
            process.kill()


def begin(jobs: TrainingJobs, **settings: object) -> Job:
    """Start a run, and wait until its first epoch has ended."""
    job = jobs.start(JobSettings(**{"epochs": 3, **settings}))
    wait_until(lambda: jobs.latest() and jobs.latest().history)
    return job


def process_of(jobs: TrainingJobs, run: str) -> psutil.Process:
    return psutil.Process(json.loads((jobs.outputs / run / "job.json").read_text())["pid"])


# --- from start to end ----------------------------------------------------------------------------


def test_a_run_trains_calibrates_and_leaves_a_model_of_its_own(
    tmp_path: Path, mnist_folder: Path, models_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one test here with the real train.py; it does not give way to other tests."""
    monkeypatch.setattr(jobs_module, "_step_back", lambda process: None)
    ended: list[Job] = []
    models = tmp_path / "models"
    models.mkdir()
    (models / "mnist_cnn_best.pth").write_bytes((models_folder / "mnist_cnn_best.pth").read_bytes())
    jobs = TrainingJobs(tmp_path / "outputs", models, data=mnist_folder, on_end=ended.append)

    started = jobs.start(JobSettings(epochs=2, limit=40, name="mine", hands=False))
    wait_until(lambda: ended)

    job = jobs.latest()
    assert started.is_running
    assert (job.state, job.candidate) == ("finished", "mine"), job.log
    assert [row["epoch"] for row in job.history] == [1, 2]
    assert "mine" in job.message
    assert not job.was_promoted  # a trial never is
    checkpoint = load_checkpoint("mine", models)
    assert checkpoint.refusal is not None
    assert checkpoint.settings["start"] == load_checkpoint("best", models).reference
    assert {path.stem for path in models.glob("*.pth")} == {"mine", "mnist_cnn_best"}
    assert ended[0].run == started.run


def test_a_finished_run_says_what_it_came_to(
    jobs: TrainingJobs, stand_in: Callable[[str], None]
) -> None:
    stand_in(FINISH)

    begin(jobs)
    wait_until(lambda: jobs.current() is None)

    assert (jobs.latest().state, jobs.latest().message) == ("finished", "All went well.")


def test_a_finished_run_tells_the_name_that_its_model_got(
    jobs: TrainingJobs, stand_in: Callable[[str], None]
) -> None:
    """Another model may have got the one that was meant for it."""
    stand_in(FINISH.replace('{"summary"', '{"candidate": "mine-2", "summary"'))

    begin(jobs, name="mine")
    wait_until(lambda: jobs.current() is None)

    assert jobs.latest().candidate == "mine-2"


def test_the_trainer_gets_what_was_chosen(
    tmp_path: Path,
    models_folder: Path,
    stand_in: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(FeedbackStore, "count", lambda self: 3)
    stand_in("print(*sys.argv[1:])\nepoch(1)\n")
    jobs = TrainingJobs(
        tmp_path / "outputs", models_folder, data=tmp_path / "data", corrections=tmp_path / "c.db"
    )

    begin(
        jobs,
        **{"model": "cnn2", "start": "", "epochs": 4, "lr": 1e-05, "seed": 9},
        **{"corrections": True, "promote": True, "name": "two"},
    )
    wait_until(lambda: jobs.current() is None)

    line = f" {jobs.latest().log} "  # one word for each argument
    parse_settings(shlex.split(line))  # train.py understands it
    for flags in (
        *("--recipe short", "--model cnn2", "--epochs 4", "--lr 1e-05", "--seed 9"),
        *(f"--corrections {tmp_path / 'c.db'}", f"--data-dir {tmp_path / 'data'}"),
        *(f"--models-dir {models_folder.resolve()}", "--candidate two", "--promote"),
    ):
        assert f" {flags} " in line


@pytest.mark.parametrize(
    ("settings", "counts"),
    [
        ({}, ("10000", "3000")),
        ({"hands": False}, ("0", "0")),
        ({"limit": 5000}, ("5000", "3000")),
        ({"limit": 200}, ("200", "200")),
    ],
)
def test_of_other_hands_a_run_learns_as_much_as_it_is_to_be_long(
    jobs: TrainingJobs, settings: dict[str, Any], counts: tuple[str, str]
) -> None:
    command = jobs._command(JobSettings(model="mlp", **settings), "run", "name")

    flags = dict(pairwise(command))
    assert (flags["--hands"], flags["--non-digits"]) == counts


def test_the_best_model_stays_unless_another_is_asked_for(jobs: TrainingJobs) -> None:
    """A run from the API replaced it unasked, where the page's box has to be ticked."""
    command = jobs._command(JobSettings(model="mlp"), "run", "name")

    assert "--promote" not in command


@pytest.mark.parametrize("model", list_models())
@pytest.mark.parametrize("start", ["", "best"])
def test_every_network_can_be_trained_and_refined(
    jobs: TrainingJobs, model: str, start: str
) -> None:
    """A recipe may suit one network only: the page offers them all."""
    command = jobs._command(JobSettings(model=model, start=start), "run", "name")

    args, settings = parse_settings(command[2:])

    check_settings(settings)
    assert (args.candidate, settings.model, settings.start) == ("name", model, start)


def test_the_name_of_the_result_is_the_one_that_the_trainer_gives_it(jobs: TrainingJobs) -> None:
    assert jobs.check(JobSettings(name="mine-")).name == "mine"


# --- while it runs --------------------------------------------------------------------------------


def test_a_running_run_tells_how_far_it_is(
    jobs: TrainingJobs, stand_in: Callable[[str], None]
) -> None:
    stand_in(ENDLESS)

    begin(jobs)

    job = jobs.current()
    assert (job.state, job.message) == ("running", "Learning: epoch 2 of 3.")
    assert job.log == "at work"
    assert job.left_s is not None
    assert 0 < job.left_s <= 100
    assert json.dumps(job.to_dict())


def test_nothing_runs_where_nothing_has_been_started(jobs: TrainingJobs) -> None:
    assert (jobs.current(), jobs.latest(), jobs.history(), jobs.cancel()) == (None, None, [], None)


def test_a_second_run_has_to_wait(jobs: TrainingJobs, stand_in: Callable[[str], None]) -> None:
    stand_in(ENDLESS)
    job = begin(jobs)

    with pytest.raises(BusyError, match=job.run):
        jobs.start(JobSettings())

    assert len(jobs.history()) == 1


def test_another_process_finds_the_run_and_may_not_start_a_second(
    jobs: TrainingJobs, stand_in: Callable[[str], None]
) -> None:
    stand_in(ENDLESS)
    job = begin(jobs)
    code = (
        "import sys; from pathlib import Path; from jobs import TrainingJobs\n"
        "from errors import BusyError; from job_settings import JobSettings\n"
        "jobs = TrainingJobs(Path(sys.argv[1]), Path(sys.argv[2]))\n"
        "print(jobs.current().run)\n"
        "try: jobs.start(JobSettings())\n"
        "except BusyError: print('busy')\n"
        "jobs.cancel()\n"
    )

    found = subprocess.run(
        [sys.executable, "-c", code, str(jobs.outputs), str(jobs.models)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    )

    assert found.stdout.split() == [job.run, "busy"]
    wait_until(lambda: jobs.current() is None)
    assert jobs.latest().state == "cancelled"


def test_of_many_starts_at_once_one_wins(
    jobs: TrainingJobs, stand_in: Callable[[str], None]
) -> None:
    from concurrent.futures import ThreadPoolExecutor

    stand_in(ENDLESS)

    def start(number: int) -> bool:
        try:
            jobs.start(JobSettings(name=f"run{number}"))
        except BusyError:
            return False
        return True

    with ThreadPoolExecutor(6) as pool:
        won = list(pool.map(start, range(6)))

    assert sum(won) == 1
    assert len(jobs.history()) == 1


@pytest.mark.skipif(not hasattr(os, "getpriority"), reason="niceness is a matter of Unix")
def test_training_gives_way_to_predictions(
    jobs: TrainingJobs, stand_in: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    step_back = jobs_module._step_back
    stand_in(ENDLESS)
    monkeypatch.setattr(jobs_module, "_step_back", step_back)

    job = begin(jobs)

    assert process_of(jobs, job.run).nice() > psutil.Process().nice()
    assert os.getsid(process_of(jobs, job.run).pid) != os.getsid(0)


# --- how it ends ----------------------------------------------------------------------------------


def test_a_cancelled_run_may_put_its_files_in_order(
    jobs: TrainingJobs, stand_in: Callable[[str], None]
) -> None:
    stand_in(
        "def stop(*_):\n    (folder / 'best.pth').write_text('best so far'); sys.exit(130)\n"
        "signal.signal(signal.SIGTERM, stop)\n" + ENDLESS
    )
    begin(jobs)

    asked = jobs.cancel()
    wait_until(lambda: jobs.current() is None)

    job = jobs.latest()
    assert asked.state in ("cancelling", "cancelled")
    assert job.state == "cancelled"
    assert "after 1 of 3 epochs" in job.message
    assert "best.pth" in job.message


def test_a_run_that_does_not_listen_is_killed_with_its_helpers(
    jobs: TrainingJobs, stand_in: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs_module, "GRACE_S", 0.2)
    stand_in(
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "helper = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "(folder / 'helper').write_text(str(helper.pid))\n" + ENDLESS
    )
    job = begin(jobs)
    helper = int((jobs.outputs / job.run / "helper").read_text())

    jobs.cancel()
    wait_until(lambda: jobs.current() is None)

    wait_until(lambda: not psutil.pid_exists(helper))
    assert jobs.latest().state == "cancelled"


def test_a_killed_run_has_failed_and_shows_its_last_words(
    jobs: TrainingJobs, stand_in: Callable[[str], None]
) -> None:
    stand_in("print('first'); print('bar 1 %\\rbar 2 %\\rlast words', flush=True)\n" + ENDLESS)
    job = begin(jobs)

    process_of(jobs, job.run).kill()
    wait_until(lambda: jobs.current() is None)

    found = jobs.latest()
    assert found.state == "failed"
    assert found.log.splitlines()[:2] == ["first", "last words"]
    assert found.last_words == "at work"
    assert found.full_message == f"{found.message} It last said: at work"
    assert found.without_output().log == ""
    assert found.without_output().full_message == found.message
    assert begin(jobs, name="next").is_running  # and another can start


def test_the_helpers_of_a_killed_run_end_with_it(
    jobs: TrainingJobs, stand_in: Callable[[str], None]
) -> None:
    stand_in(
        "helper = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "(folder / 'helper').write_text(str(helper.pid))\n" + ENDLESS
    )
    job = begin(jobs)
    helper = int((jobs.outputs / job.run / "helper").read_text())

    process_of(jobs, job.run).kill()

    wait_until(
        lambda: (
            not psutil.pid_exists(helper) or psutil.Process(helper).status() == psutil.STATUS_ZOMBIE
        )
    )


def test_an_error_of_the_trainer_is_shown(
    jobs: TrainingJobs, stand_in: Callable[[str], None]
) -> None:
    stand_in("epoch(1)\nsys.exit('error: MNIST is not in data; put four files there')\n")

    begin(jobs)
    wait_until(lambda: jobs.current() is None)

    assert jobs.latest().state == "failed"
    assert "put four files there" in jobs.latest().full_message


def test_a_process_that_only_has_the_same_number_is_another_one(
    jobs: TrainingJobs, stand_in: Callable[[str], None]
) -> None:
    """After a restart of the machine, the number of an old trainer may be anybody's."""
    stand_in(FINISH)
    job = begin(jobs)
    wait_until(lambda: jobs.current() is None)
    path = jobs.outputs / job.run / "job.json"
    record = json.loads(path.read_text())

    path.write_text(json.dumps({**record, "pid": os.getpid(), "process_started": 1.0}))

    assert jobs.current() is None
    assert jobs.cancel() is None


def test_who_comes_later_is_told_of_the_end_as_well(
    jobs: TrainingJobs, stand_in: Callable[[str], None]
) -> None:
    stand_in(ENDLESS)
    job = begin(jobs)
    ended: list[Job] = []
    later = TrainingJobs(jobs.outputs, jobs.models, on_end=ended.append)

    later.follow_newest()
    later.cancel()
    wait_until(lambda: ended)

    assert (ended[0].run, ended[0].state) == (job.run, "cancelled")


def test_who_comes_after_the_end_is_told_of_it_too(
    jobs: TrainingJobs, stand_in: Callable[[str], None]
) -> None:
    """A run that ends while a server starts may have replaced a model that was just loaded."""
    stand_in(FINISH)
    job = begin(jobs)
    wait_until(lambda: jobs.current() is None)
    ended: list[Job] = []

    TrainingJobs(jobs.outputs, jobs.models, on_end=ended.append).follow_newest()
    wait_until(lambda: ended)

    assert (ended[0].run, ended[0].is_running) == (job.run, False)


def test_only_to_look_at_runs_starts_no_thread(
    jobs: TrainingJobs, stand_in: Callable[[str], None]
) -> None:
    stand_in(ENDLESS)
    job = begin(jobs)

    seen = TrainingJobs(jobs.outputs, jobs.models).latest()

    assert seen
    assert seen.run == job.run
    names = [thread.name for thread in threading.enumerate()]
    assert names.count(f"follow {job.run}") == 1  # that of who has started it


# --- settings that cannot work --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "error", "hint"),
    [
        ({"epochs": 0}, SettingsError, "epochs: 0"),
        ({"model": "cnn1"}, SettingsError, "model: cnn1 cannot be refined from 'best'"),
        ({"start": "nobody"}, ModelNotFoundError, "nobody"),
        ({"start": "../mnist_cnn"}, ModelNotFoundError, "no model"),
        ({"name": "mnist_cnn"}, SettingsError, "name: there is a model 'mnist_cnn'"),
        ({"name": "best"}, SettingsError, "name: there is a model 'best'"),
    ],
)
def test_a_setting_that_cannot_work_here_is_refused_by_its_name(
    jobs: TrainingJobs, settings: dict[str, object], error: type[DigitError], hint: str
) -> None:
    with pytest.raises(error) as caught:
        jobs.start(JobSettings(**settings))

    assert hint in str(caught.value)
    assert jobs.history() == []


def test_networks_that_answer_together_are_not_refined(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "ensemble.pth", build_model("mlp+mlp").eval())
    jobs = TrainingJobs(tmp_path / "outputs", tmp_path)

    with pytest.raises(SettingsError, match="start: 'ensemble' is several networks together"):
        jobs.start(JobSettings(start="ensemble"))

    assert jobs.history() == []


def test_corrections_can_only_be_learned_where_there_are_some(
    tmp_path: Path, models_folder: Path
) -> None:
    jobs = TrainingJobs(tmp_path, models_folder, corrections=tmp_path / "none.sqlite")

    with pytest.raises(SettingsError, match="corrections: there are none"):
        jobs.start(JobSettings(corrections=True))


def test_a_damaged_start_is_refused_before_anything_runs(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "bad.pth").write_bytes(b"no checkpoint")

    with pytest.raises(CheckpointError, match="bad"):
        TrainingJobs(tmp_path / "outputs", tmp_path / "models").start(JobSettings(start="bad"))


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path, models_folder: Path) -> None:
    (tmp_path / "outputs").write_text("a file where a folder should be")

    with pytest.raises(DigitError, match="outputs"):
        TrainingJobs(tmp_path / "outputs", models_folder).start(JobSettings())


def test_a_run_that_could_not_be_found_again_is_ended(
    jobs: TrainingJobs, stand_in: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(ENDLESS)
    started: list[psutil.Process] = []

    @contextmanager
    def refuse(path: Path) -> Iterator[Path]:
        raise OutputError(f"cannot write {path}")
        yield path

    monkeypatch.setattr(jobs_module, "_step_back", started.append)
    monkeypatch.setattr(jobs_module, "atomic_write", refuse)

    with pytest.raises(OutputError, match=r"job\.json"):
        jobs.start(JobSettings())

    assert not started[0].is_running()
