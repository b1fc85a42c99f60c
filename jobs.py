"""A training run as a process of its own, started, followed and cancelled from a page or an API.

    JobSettings -> checked -> train.py in its own process -> its folder under outputs/
                                                          -> job_records.py -> Job

Everything that is known about a run lies in its folder, so a page that was closed, reloaded or
started anew finds the run again, and a run outlives whoever started it. One run at a time: the
start is guarded by a lock that holds between processes, and a run counts as running while the
process with that number *and* that start time lives.

    >>> jobs = TrainingJobs()
    >>> job = jobs.start(JobSettings(epochs=2))
    >>> jobs.current().state
    'running'
    >>> jobs.cancel().state
    'cancelling'
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

import psutil

from errors import BusyError, OutputError, SettingsError
from feedback import FeedbackStore
from job_records import CANCELLED, OUTPUT, RECORD, STAMP, Job, list_runs, read_job, read_record
from job_settings import JobSettings, check_values
from model import DEFAULT_ARCHITECTURE, list_models
from registry import MODELS_DIR, load_checkpoint
from shelf import clean_name, is_taken
from utils import PROJECT, atomic_write, hold_lock

TRAINER = PROJECT / "train.py"
NICENESS = 15  # of 19: an answer on the page comes first, training takes what is left
GRACE_S = 10  # how long a cancelled run may take to put its weights in order
LOCK_WAIT_S = 10
# How many digits of other hands and how many non-digits a run from the page learns besides.
# They are made once, in about a minute of one core, and kept.
HANDS = (10_000, 3_000)


class TrainingJobs:
    """Starts, finds and ends training runs. Safe to share between threads and processes.

    Parameters
    ----------
    outputs : Path, default=PROJECT/"outputs"
        Folder of all runs.
    models : Path, default=MODELS_DIR
        Where a run finds the weights to refine, and leaves its own.
    data : Path, optional
        Holds MNIST; None leaves it to `dataset.data_dir`.
    corrections : Path, optional
        File of the stored corrections; None leaves it to `feedback.FeedbackStore`.
    on_end : callable, optional
        Gets each run as it ends, in a thread of its own: those of `start`, and that of
        `follow_newest`.
    """

    def __init__(
        self,
        outputs: Path = PROJECT / "outputs",
        models: Path = MODELS_DIR,
        *,
        data: Path | None = None,
        corrections: Path | None = None,
        on_end: Callable[[Job], None] | None = None,
    ) -> None:
        self.outputs = outputs.resolve()
        self.models = models.resolve()
        self.data = data
        self.corrections = corrections
        self.on_end = on_end

    # --- looking ------------------------------------------------------------------------------

    def current(self) -> Job | None:
        """Return the run that is running now, whoever started it, or None."""
        for run in list_runs(self.outputs):
            if _find_process(read_record(self.outputs / run)) is not None:
                job = self._read(run)
                return job if job and job.is_running else None
        return None

    def history(self, limit: int = 20) -> list[Job]:
        """Return the newest runs, the newest first, the running one included."""
        return list(islice(filter(None, map(self._read, list_runs(self.outputs))), limit))

    def latest(self) -> Job | None:
        """Return the newest run, running or not, or None."""
        return next(iter(self.history(1)), None)

    def _read(self, run: str) -> Job | None:
        """Put together what process table and folder say; None if the record is damaged."""
        folder = self.outputs / run
        # The process first: what it wrote before it ended is then surely on the disk.
        is_alive = _find_process(read_record(folder)) is not None
        return read_job(folder, is_alive=is_alive)

    # --- starting -----------------------------------------------------------------------------

    def start(self, settings: JobSettings) -> Job:
        """Start a run.

        Parameters
        ----------
        settings : JobSettings

        Returns
        -------
        Job
            Running.

        Raises
        ------
        SettingsError
            If a setting cannot work; the message begins with the name of the field.
        ModelNotFoundError, CheckpointError
            If the weights to refine cannot be loaded.
        BusyError
            If a run is running already, here or in another process.
        OutputError
            If the run's folder cannot be written.
        """
        settings = self.check(settings)
        stamp = datetime.now().strftime(STAMP)
        run = f"{settings.name or settings.model}-{stamp}"
        candidate = settings.name or run
        folder = self.outputs / run
        with self._alone():
            running = self.current()
            if running or folder.exists():  # two starts within one second make the same name
                raise BusyError(
                    f"a training run is running already ({running.run if running else run}); "
                    "wait until it has ended, or cancel it"
                )
            record = {
                "settings": asdict(settings),
                "candidate": candidate,
                "started": datetime.now().astimezone().isoformat(timespec="seconds"),
            }
            self._spawn(folder, self._command(settings, run, candidate), record)
        self._follow(run)
        job = self._read(run)
        if job is None:
            raise OutputError(f"the record of the run in {folder} was lost; look at the disk")
        return job

    def check(self, settings: JobSettings) -> JobSettings:
        """Refuse settings that cannot work, fill in the network, and clean the name.

        Raises
        ------
        SettingsError
            The message begins with the name of the field, and says what it may be.
        ModelNotFoundError, CheckpointError
            If the weights to refine cannot be loaded.
        """
        check_values(settings)
        model = settings.model
        if settings.start:
            start = load_checkpoint(settings.start, self.models, allow_paths=False)
            if model and model != start.architecture:
                raise SettingsError(
                    f"model: {model} cannot be refined from {settings.start!r}, which is a "
                    f"{start.architecture}; choose that network, or begin anew with start empty"
                )
            if start.architecture not in list_models():
                raise SettingsError(
                    f"start: {settings.start!r} is several networks together "
                    f"({start.architecture}), which learn one by one; choose one of them"
                )
            model = start.architecture
        name = clean_name(settings.name) if settings.name else ""
        if name and is_taken(name, self.models):
            raise SettingsError(f"name: there is a model {name!r} already; choose another name")
        if settings.corrections:
            store = FeedbackStore(self.corrections) if self.corrections else FeedbackStore()
            if not store.count():
                raise SettingsError(
                    "corrections: there are none yet; correct some answers first, or train without"
                )
        model = model or DEFAULT_ARCHITECTURE
        return JobSettings(**{**asdict(settings), "model": model, "name": name})

    def _command(self, settings: JobSettings, run: str, candidate: str) -> list[str]:
        """Write the command line of the trainer."""
        recipe = "refine" if settings.start else "short"
        command = [sys.executable, str(TRAINER), "--recipe", recipe, "--model", settings.model]
        command += ["--epochs", str(settings.epochs), "--lr", repr(float(settings.lr))]
        command += ["--seed", str(settings.seed), "--limit", str(settings.limit)]
        command += [f"--start={settings.start}"]
        hands, non_digits = HANDS if settings.hands else (0, 0)
        if settings.limit:  # a trial is to be short
            hands, non_digits = min(hands, settings.limit), min(non_digits, settings.limit)
        command += ["--hands", str(hands), "--non-digits", str(non_digits)]
        if settings.corrections:
            command += ["--corrections", *([str(self.corrections)] if self.corrections else [])]
        if self.data:
            command += ["--data-dir", str(self.data)]
        command += ["--output", str(self.outputs), "--run", run, "--models-dir", str(self.models)]
        command += ["--candidate", candidate]
        return [*command, "--promote"] if settings.promote and not settings.limit else command

    def _spawn(self, folder: Path, command: Sequence[str], record: dict[str, Any]) -> None:
        """Start the trainer in a session of its own, and note who it is."""
        environment = {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8"}
        try:
            folder.mkdir(parents=True)
            with (folder / OUTPUT).open("wb") as output:
                process = psutil.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    cwd=PROJECT,
                    env=environment,
                    start_new_session=True,  # a signal for the page is not for the training
                )
        except OSError as error:
            raise OutputError(
                f"cannot start a run in {folder}: {error.strerror or error}; "
                "make room or permission there"
            ) from error
        try:
            _step_back(process)
            record = {**record, "pid": process.pid, "process_started": process.create_time()}
            with atomic_write(folder / RECORD) as path:
                path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        except BaseException:  # nobody would find it again
            process.kill()
            process.wait()
            raise

    def _alone(self) -> contextlib.AbstractContextManager[None]:
        """Let one process at a time start a run."""
        busy = "another page is starting a run; look again in a moment"
        return hold_lock(self.outputs / ".training.lock", busy=busy, timeout_s=LOCK_WAIT_S)

    # --- ending -------------------------------------------------------------------------------

    def cancel(self) -> Job | None:
        """End the running run; its best weights so far stay in its folder.

        The run is asked to stop and put its files in order; after ten seconds it is killed with
        all its helpers.

        Returns
        -------
        Job or None
            The run, as it is now; None if none was running.
        """
        job = self.current()
        if job is None:
            return None
        folder = self.outputs / job.run
        process = _find_process(read_record(folder))
        if process is not None:
            try:
                (folder / CANCELLED).touch()
            except OSError as error:
                raise OutputError(f"cannot write {folder}: {error.strerror or error}") from error
            # The request goes out at once: this process may end before its thread has begun.
            helpers = _ask_to_stop(process)
            threading.Thread(target=_make_sure, args=(process, helpers), daemon=True).start()
        return self._read(job.run)

    def follow_newest(self) -> None:
        """Follow the newest run, whichever process has started it, as `start` follows its own.

        One that has ended already is told of at once: that may have been a moment ago.
        """
        newest = self.current() or self.latest()
        if newest:
            self._follow(newest.run)

    def _follow(self, run: str) -> None:
        """Wait for the end of a run in a thread, clear up after it, and tell whoever asked."""

        def wait() -> None:
            process = _find_process(read_record(self.outputs / run))
            if process is not None:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.wait()
                _kill_group(process.pid)
            job = self._read(run)
            if job and self.on_end:
                self.on_end(job)

        threading.Thread(target=wait, daemon=True, name=f"follow {run}").start()


# --- processes ------------------------------------------------------------------------------------


def _find_process(record: dict[str, Any]) -> psutil.Process | None:
    """Find the living process of a run; a number alone may be another's by now."""
    pid, started = record.get("pid"), record.get("process_started")
    if not isinstance(pid, int) or not isinstance(started, float):
        return None
    try:
        process = psutil.Process(pid)
        same = abs(process.create_time() - started) < 1  # clocks are set by a little
        return process if same and process.status() != psutil.STATUS_ZOMBIE else None
    except psutil.Error:
        return None


def _step_back(process: psutil.Process) -> None:
    """Give the rest of the machine the right of way."""
    with contextlib.suppress(psutil.Error):  # it may have ended already
        process.nice(psutil.BELOW_NORMAL_PRIORITY_CLASS if psutil.WINDOWS else NICENESS)
    # Where Linux groups processes by session, niceness counts inside of a session only.
    with contextlib.suppress(OSError):
        Path(f"/proc/{process.pid}/autogroup").write_text(str(NICENESS), encoding="ascii")


def _ask_to_stop(process: psutil.Process) -> list[psutil.Process]:
    """Ask a run to put its files in order and end, and name its helpers."""
    helpers: list[psutil.Process] = []
    with contextlib.suppress(psutil.Error):
        helpers = process.children(recursive=True)
        process.terminate()
    return helpers


def _make_sure(process: psutil.Process, helpers: Sequence[psutil.Process]) -> None:
    """Kill a run and its helpers if they do not end by themselves."""
    _, alive = psutil.wait_procs([process, *helpers], timeout=GRACE_S)
    for other in alive:
        with contextlib.suppress(psutil.Error):
            other.kill()


def _kill_group(pid: int) -> None:
    """Kill helpers that a run left behind: a killed trainer cannot end its own."""
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
