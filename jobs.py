"""A training run as a process of its own, started, followed and cancelled from a page or an API.

    JobSettings -> checked -> train.py in its own process -> outputs/RUN/{job.json, train.log,
    history.jsonl, outcome.json} -> Job: state, curves, time left, log

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
import logging
import os
import re
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import psutil

from errors import BusyError, OutputError, SettingsError
from feedback import FeedbackStore
from model import DEFAULT_ARCHITECTURE, list_models
from registry import MODELS_DIR, load_checkpoint
from shelf import clean_name, is_taken
from utils import MAX_SEED, PROJECT, atomic_write, hold_lock

log = logging.getLogger(__name__)

State = Literal["running", "cancelling", "finished", "cancelled", "failed"]

TRAINER = PROJECT / "train.py"
MAX_EPOCHS = 100
MAX_LIMIT = 60_000  # pictures for learning that MNIST has
MAX_LR = 0.1  # of the optimizers here, anything higher diverges
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
NICENESS = 15  # of 19: an answer on the page comes first, training takes what is left
GRACE_S = 10  # how long a cancelled run may take to put its weights in order
LOCK_WAIT_S = 10
# How many digits of other hands and how many non-digits a run from the page learns besides.
# They are made once, in about a minute of one core, and kept.
HANDS = (10_000, 3_000)
_STAMP, _STAMP_LENGTH = "%Y%m%d-%H%M%S", len("20261121-093000")
# What `hands.py` prints while it makes pictures.
_MAKING = re.compile(r"making ([\d,]+) pictures \((\w+)\): +(\d+)%")
LOG_LINES = 40
LOG_BYTES = 20_000  # read from the end of a log


@dataclass(frozen=True)
class JobSettings:
    """What can be chosen about a run; everything else is the recipe's.

    Attributes
    ----------
    model : str, default=""
        One of `model.list_models()`; "" takes the network of `start`, or the default one.
    epochs : int, default=3
        From 1 to 100.
    lr : float, default=0.0005
        Highest learning rate; above 0, at most 0.1.
    start : str, default="best"
        Name of the checkpoint whose weights are refined; "" begins anew.
    corrections : bool, default=False
        Learn from the stored corrections as well; MNIST is always learned besides.
    hands : bool, default=True
        Learn other hands than MNIST's, and pictures of no digit, as well.
    promote : bool, default=False
        Make the result the "best" model if it is not worse by the rule of `promotion.py`.
    name : str, default=""
        Of the new checkpoint: letters, digits, - and _, at most 64; "" makes one up.
    limit : int, default=0
        Only so many pictures of each split, for a trial; 0 takes all. A trial is never promoted.
    seed : int, default=0
    """

    model: str = ""
    epochs: int = 3
    lr: float = 0.0005
    start: str = "best"
    corrections: bool = False
    hands: bool = True
    promote: bool = False
    name: str = ""
    limit: int = 0
    seed: int = 0


@dataclass(frozen=True)
class Job:
    """One run, as its folder and the process table have it at this moment.

    Attributes
    ----------
    run : str
        Name of its folder under `outputs/`.
    settings : JobSettings
    state : {"running", "cancelling", "finished", "cancelled", "failed"}
    message : str
        What happens or happened, in plain words of ours.
    started : str
        ISO 8601, local time.
    candidate : str
        Name of the checkpoint in `models/` once there is one; until then what it will be, unless
        another model gets the name meanwhile.
    history : list of dict
        One row for each epoch that has ended; see `runs.Run.add_epoch`.
    left_s : float or None
        Seconds that the epochs still take; None as long as nobody can know.
    log : str
        The last lines of what the run printed.
    last_words : str
        The very last one, if the run failed.
    outcome : dict
        What a finished run came to: `test_accuracy`, `corrections`, `promotion`.
    """

    run: str
    settings: JobSettings
    state: State
    message: str
    started: str
    candidate: str
    history: list[dict[str, Any]] = field(default_factory=list)
    left_s: float | None = None
    log: str = ""
    last_words: str = ""
    outcome: dict[str, Any] = field(default_factory=dict)

    @property
    def is_running(self) -> bool:
        """Whether its process still lives."""
        return self.state in ("running", "cancelling")

    def without_output(self) -> Job:
        """Leave out what the run printed: that may name folders of this machine."""
        return replace(self, log="", last_words="")

    @property
    def full_message(self) -> str:
        """The message, and what a run that failed said last."""
        return self.message + (f" It last said: {self.last_words}" if self.last_words else "")

    @property
    def was_promoted(self) -> bool:
        """Whether its weights became the "best" model."""
        return bool(self.outcome.get("promotion", {}).get("promoted"))

    def to_dict(self) -> dict[str, Any]:
        """Give everything as plain values, for JSON."""
        return asdict(self)


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
        for run in self._runs():
            if _find_process(_read_json(self.outputs / run / "job.json")) is not None:
                job = self._read(run)
                return job if job and job.is_running else None
        return None

    def history(self, limit: int = 20) -> list[Job]:
        """Return the newest runs, the newest first, the running one included."""
        return list(islice(filter(None, map(self._read, self._runs())), limit))

    def latest(self) -> Job | None:
        """Return the newest run, running or not, or None."""
        return next(iter(self.history(1)), None)

    def _runs(self) -> list[str]:
        """Name the folders of all runs that were started from here, the newest first."""
        records = list(self.outputs.glob("*/job.json"))
        times = {path.parent.name: path.parent.name[-_STAMP_LENGTH:] for path in records}
        return sorted(times, key=lambda run: (times[run], run), reverse=True)

    def _read(self, run: str) -> Job | None:
        """Put together what folder and process table say; None if the record is damaged."""
        folder = self.outputs / run
        try:
            record = json.loads((folder / "job.json").read_text(encoding="utf-8"))
            settings = JobSettings(**record["settings"])
            candidate, started = str(record["candidate"]), str(record["started"])
        except (OSError, ValueError, TypeError, KeyError) as error:
            log.warning("the record of the run %s cannot be read: %s", folder, error)
            return None
        # The process first: what it wrote before it ended is then surely on the disk.
        lives = _find_process(record) is not None
        outcome = _read_json(folder / "outcome.json")
        history = _read_history(folder / "history.jsonl")
        text = _read_end(folder / "train.log")
        cancelled = (folder / "cancel").exists()
        state: State
        if lives:
            state = "cancelling" if cancelled else "running"
        elif outcome:
            state = "finished"
        else:
            state = "cancelled" if cancelled else "failed"
        return Job(
            run=run,
            settings=settings,
            state=state,
            message=_describe(state, settings, history, text, outcome, folder),
            started=started,
            candidate=str(outcome.get("candidate") or candidate),
            history=history,
            left_s=_estimate_left(folder, history) if state == "running" else None,
            log=text,
            last_words=_find_last_words(text) if state == "failed" else "",
            outcome=outcome,
        )

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
        stamp = datetime.now().strftime(_STAMP)
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
        _check_values(settings)
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
            with (folder / "train.log").open("wb") as output:
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
            with atomic_write(folder / "job.json") as path:
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
        process = _find_process(_read_json(folder / "job.json"))
        if process is not None:
            try:
                (folder / "cancel").touch()
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
            process = _find_process(_read_json(self.outputs / run / "job.json"))
            if process is not None:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.wait()
                _kill_group(process.pid)
            job = self._read(run)
            if job and self.on_end:
                self.on_end(job)

        threading.Thread(target=wait, daemon=True, name=f"follow {run}").start()


def _check_values(settings: JobSettings) -> None:
    """Check each field by itself."""
    known = ", ".join(list_models())
    checks = [
        ("model", settings.model in ("", *list_models()), f"one of {known}"),
        ("epochs", _is_whole(settings.epochs, 1, MAX_EPOCHS), f"whole, from 1 to {MAX_EPOCHS}"),
        ("lr", _is_rate(settings.lr), f"above 0, up to {MAX_LR}"),
        ("start", isinstance(settings.start, str), "the name of a model, or empty"),
        ("corrections", isinstance(settings.corrections, bool), "true or false"),
        ("hands", isinstance(settings.hands, bool), "true or false"),
        ("promote", isinstance(settings.promote, bool), "true or false"),
        (
            "name",
            settings.name == ""
            or (isinstance(settings.name, str) and NAME.fullmatch(settings.name) is not None),
            "at most 64 letters (a to z), digits, - and _, the first a letter or digit",
        ),
        (
            "limit",
            _is_whole(settings.limit, 0, MAX_LIMIT),
            f"whole, from 0 (all) to {MAX_LIMIT}",
        ),
        ("seed", _is_whole(settings.seed, 0, MAX_SEED), f"whole, from 0 to {MAX_SEED}"),
    ]
    for name, is_fine, wanted in checks:
        if not is_fine:
            value = getattr(settings, name)
            what = "it is empty" if value is None else f"{value!r:.80} cannot work"
            raise SettingsError(f"{name}: {what}; it has to be {wanted}")


def _is_whole(value: object, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _is_rate(value: object) -> bool:
    return isinstance(value, (int, float)) and 0 < value <= MAX_LR


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


# --- files ----------------------------------------------------------------------------------------


def _read_json(path: Path) -> dict[str, Any]:
    """Read a record; one that is not there, or not yet whole, is empty."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _read_history(path: Path) -> list[dict[str, Any]]:
    """Read the rows that are whole: the last one may be in writing."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except OSError:
        return []
    rows = []
    for line in lines[:-1]:  # what follows the last line break is not whole yet
        with contextlib.suppress(ValueError):
            rows.append(json.loads(line))
    return rows


def _read_end(path: Path) -> str:
    """Read the last lines of a log; of a progress bar only its last state."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - LOG_BYTES))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    lines = [line.rstrip("\r").rpartition("\r")[2].rstrip() for line in text.split("\n")]
    return "\n".join(lines[-LOG_LINES:]).strip("\n")


def _estimate_left(folder: Path, history: list[dict[str, Any]]) -> float | None:
    """Say how long the remaining epochs take if they take as long as the last ones."""
    if not history:
        return None
    per_epoch = statistics.median(row["seconds"] for row in history[-5:])
    planned = history[-1]["epochs"] - history[-1]["epoch"]
    if planned <= 0:  # what follows takes seconds, and nobody can say how many
        return None
    try:
        since = time.time() - (folder / "history.jsonl").stat().st_mtime
    except OSError:
        since = 0.0
    return max(0.0, planned * per_epoch - max(0.0, min(since, per_epoch)))


def _describe_preparation(text: str) -> str:
    """Say what comes before the first epoch, and how far it is, from the end of the log."""
    bar = _MAKING.search(text.rpartition("\n")[2])
    if bar is None:
        return "Preparing: the data are read, and made where they are missing."
    count, kind, share = bar.groups()
    what = "pictures of no digit" if kind == "none" else "digits of other hands"
    return f"Preparing: {count} {what} are made, {share} % done. That is kept for the next run."


def _describe(
    state: State,
    settings: JobSettings,
    history: list[dict[str, Any]],
    text: str,
    outcome: dict[str, Any],
    folder: Path,
) -> str:
    """Say in one sentence or two what happens or happened."""
    if state == "running":
        if not history:
            return _describe_preparation(text)
        if len(history) < settings.epochs:
            return f"Learning: epoch {len(history) + 1} of {settings.epochs}."
        return "Finishing: the new weights are measured and calibrated."
    if state == "cancelling":
        if not (folder / "best.pth").is_file():
            return "Stopping; no epoch has ended yet."
        return "Stopping; the best weights so far are kept."
    if state == "finished":
        return str(outcome.get("summary") or "Finished.")
    kept = (folder / "best.pth").is_file()
    best = f" Its best weights so far are in {folder.name}/best.pth." if kept else ""
    if state == "cancelled":
        return f"Cancelled after {len(history)} of {settings.epochs} epochs.{best}"
    silent = "" if _find_last_words(text) else " It said nothing; it may have been killed."
    return f"Failed after {len(history)} of {settings.epochs} epochs.{silent}{best}"


def _find_last_words(text: str) -> str:
    """Take the last line of a log that is not empty."""
    return next((line for line in reversed(text.splitlines()) if line.strip()), "")
