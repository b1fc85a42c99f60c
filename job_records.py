"""What is known of a training run from its folder: how far it is, what it came to, what it said.

    outputs/RUN/{job.json, train.log, stage.json, history.jsonl, outcome.json, cancel}
        -> Job: state, message, curves, time left, log

`jobs.py` leaves job.json when it starts the trainer, has it print into train.log, and leaves
`cancel` when it is asked to end it; the rest is the trainer's, see `runs.py`. Whether the process
still lives is not in the folder: whoever asks has to know.

    >>> read_job(Path("outputs/mine-20261121-093000"), is_alive=False).state
    'finished'
"""

from __future__ import annotations

import contextlib
import json
import logging
import statistics
import time
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from job_settings import JobSettings, check_values
from runs import OUTCOME, Stage, read_stage

log = logging.getLogger(__name__)

State = Literal["running", "cancelling", "finished", "cancelled", "failed"]

STAMP, _STAMP_LENGTH = "%Y%m%d-%H%M%S", len("20261121-093000")  # ends the name of each run
RECORD = "job.json"
OUTPUT = "train.log"
CANCELLED = "cancel"  # a file that only has to be there
LOG_LINES = 40
LOG_BYTES = 20_000  # read from the end of a log
# What a trainer makes before it learns; see `runs.Stage`.
MADE = {"making digits": "digits of other hands", "making non-digits": "pictures of no digit"}


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


def list_runs(outputs: Path) -> list[str]:
    """Name the folders of all runs that `jobs.py` has started, the newest first."""
    records = list(outputs.glob(f"*/{RECORD}"))
    times = {path.parent.name: path.parent.name[-_STAMP_LENGTH:] for path in records}
    return sorted(times, key=lambda run: (times[run], run), reverse=True)


def read_record(folder: Path) -> dict[str, Any]:
    """Read how a run was started; empty if that is not there, not yet whole, or damaged."""
    return _read_json(folder / RECORD)


def read_job(folder: Path, *, is_alive: bool) -> Job | None:
    """Put together what the folder of a run says.

    Parameters
    ----------
    folder : Path
    is_alive : bool
        Whether its process lives. Find out before: what a process wrote before it ended is then
        surely on the disk.

    Returns
    -------
    Job or None
        None if the record is damaged, which is logged.
    """
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        settings = JobSettings(**record["settings"])
        check_values(settings)
        candidate, started = str(record["candidate"]), str(record["started"])
        datetime.fromisoformat(started)
    except (OSError, ValueError, TypeError, KeyError) as error:
        log.warning("the record of the run %s cannot be read: %s", folder, error)
        return None
    outcome = _read_json(folder / OUTCOME)
    history = _read_history(folder / "history.jsonl")
    text = _read_end(folder / OUTPUT)
    cancelled = (folder / CANCELLED).exists()
    state: State
    if is_alive:
        state = "cancelling" if cancelled else "running"
    elif outcome:
        state = "finished"
    else:
        state = "cancelled" if cancelled else "failed"
    return Job(
        run=folder.name,
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


def _read_json(path: Path) -> dict[str, Any]:
    """Read a record; one that is not there, or not yet whole, is empty."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _read_history(path: Path) -> list[dict[str, Any]]:
    """Read the rows that are whole: the last one may be in writing, any may be damaged."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except OSError:
        return []
    rows = []
    for line in lines[:-1]:  # what follows the last line break is not whole yet
        with contextlib.suppress(ValueError):
            row = json.loads(line)
            if _is_row(row):
                rows.append(row)
    return rows


def _is_row(row: object) -> bool:
    """Tell whether this is a row of a history: numbers, among them those that each row has."""
    return (
        isinstance(row, dict)
        and {"epoch", "epochs", "seconds"} <= row.keys()
        and all(isinstance(value, (int, float)) for value in row.values())
    )


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


def _describe_preparation(stage: Stage | None) -> str:
    """Say what comes before the first epoch, and how far it is."""
    if stage is None or stage.name not in MADE:
        return "Preparing: the data are read, and made where they are missing."
    share = 100 * stage.done // max(stage.total, 1)
    return (
        f"Preparing: {stage.total:,} {MADE[stage.name]} are made, {share} % done. "
        "That is kept for the next run."
    )


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
        stage = read_stage(folder)
        if not history and stage != Stage("learning"):
            return _describe_preparation(stage)
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
