"""Time things fairly, and keep what was found: turns, medians, conditions, goals.

    contenders -> take_turns -> seconds of each round -> compare_to -> Table -> JSON, Markdown

Speeds of this machine today mean little elsewhere and tomorrow; ratios taken in one run do. So the
contenders take turns, several times, and a table shows medians and their ratios.

    >>> seconds = take_turns({"naive": slow, "ours": quick}, rounds=5)
    >>> rows = compare_to(seconds, unit="seconds")
    >>> Table("trial", "seconds", rows, describe_conditions()).save(RESULTS)
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

from errors import DataFormatError, MeasurementError
from utils import PROJECT, atomic_write

RESULTS = PROJECT / "outputs" / "bench"
BUSY = 0.5  # of all cores: when others keep so many busy, a measurement says so
LISTEN_S = 1.0  # for how long it is looked whether they do
KEPT_BUSY = "busy cores at start"
PACKAGES = ("torch", "numpy", "opencv-python-headless", "gradio", "fastapi")


@dataclass(frozen=True)
class Goal:
    """What was promised, and what came out.

    Attributes
    ----------
    what : str
        In words, without the numbers.
    measured, limit : float
    unit : str
        Of both; "" for a ratio.
    at_least : bool
        More is better; otherwise less is.
    """

    what: str
    measured: float
    limit: float
    unit: str = ""
    at_least: bool = False

    @property
    def is_met(self) -> bool:
        """Whether the promise holds."""
        return self.measured >= self.limit if self.at_least else self.measured <= self.limit

    @property
    def limit_text(self) -> str:
        """The limit in words: "at most 1.6"."""
        return f"at {'least' if self.at_least else 'most'} {self.limit:g} {self.unit}".strip()

    def __str__(self) -> str:
        measured = f"{self.measured:.4g} {self.unit}".strip()
        verdict = "met" if self.is_met else "MISSED"
        return f"{verdict}: {self.what}: {measured} ({self.limit_text})"


@dataclass(frozen=True)
class Table:
    """What one measurement found.

    Attributes
    ----------
    name : str
        Of the measurement and its file.
    unit : str
        Of the columns that do not name their own.
    rows : dict
        For each contender its columns, by name. A column with " / " in its name is a ratio.
    conditions : dict
        Everything that could explain another result.
    notes : list of str
        What to know when reading the rows.
    goals : list of Goal
        Promises that these rows keep or break.
    samples : dict of str to list of float
        Every single measurement, for whoever wants more than medians.
    x : str
        What the names of the rows count, if they are points of a curve: "threads"; else "".
    """

    name: str
    unit: str
    rows: Mapping[str, Mapping[str, float]]
    conditions: Mapping[str, Any]
    notes: Sequence[str] = field(default_factory=list)
    goals: Sequence[Goal] = field(default_factory=list)
    samples: Mapping[str, Sequence[float]] = field(default_factory=dict)
    x: str = ""

    def __str__(self) -> str:
        columns = self.columns
        wide = max(map(len, [*self.rows, self.x])) + 2
        widths = [max(len(column) + 2, 12) for column in columns]
        titles = zip(columns, widths, strict=True)
        lines = [
            f"{self.name} ({self.unit})",
            f"{self.x:<{wide}}" + "".join(f"{column:>{width}}" for column, width in titles),
        ]
        for contender, values in self.rows.items():
            cells = [f"{values[column]:.4g}" if column in values else "-" for column in columns]
            line = "".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True))
            lines.append(f"{contender:<{wide}}{line}")
        lines += [f"- {note}" for note in self.notes]
        lines += [f"* {goal}" for goal in self.goals]
        lines.append(", ".join(f"{key}: {value}" for key, value in self.conditions.items()))
        return "\n".join(lines)

    @property
    def columns(self) -> list[str]:
        """Names of all columns, in the order in which the rows mention them."""
        return list(dict.fromkeys(column for values in self.rows.values() for column in values))

    def save(self, folder: Path) -> Path:
        """Write the table as JSON, under its name."""
        path = folder / f"{self.name}.json"
        with atomic_write(path) as temporary:
            temporary.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")
        return path

    @classmethod
    def load(cls, path: Path) -> Table:
        """Read a table that `save` has written.

        Raises
        ------
        DataFormatError
            If the file cannot be read, or holds something else.
        """
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            goals = [Goal(**goal) for goal in values.pop("goals", [])]
            return cls(**values, goals=goals)
        except OSError as error:
            raise DataFormatError(f"cannot read {path} ({error.strerror})") from error
        except (ValueError, TypeError, AttributeError) as error:
            raise DataFormatError(f"{path} is not a table of bench.py ({error})") from error


def load_tables(place: Path) -> dict[str, Table]:
    """Read one JSON file, or all in a folder; by the names of the tables.

    Raises
    ------
    DataFormatError
        If there is none, or one cannot be read.
    """
    paths = sorted(place.glob("*.json")) if place.is_dir() else [place]
    tables = [Table.load(path) for path in paths]
    if not tables:
        raise DataFormatError(f"no results in {place}; measure first: python bench.py")
    return {table.name: table for table in tables}


def take_turns(
    contenders: Mapping[str, Callable[[], object]], *, rounds: int
) -> dict[str, list[float]]:
    """Time several ways of doing the same, one after the other, again and again.

    A machine that gets slower or busier in the meantime then hits all of them alike.

    Parameters
    ----------
    contenders : mapping of str to callable
        Each call does the work once. If it returns a function, that clears up, and is not timed.
    rounds : int
        How often each is timed; one round before them warms up and is not counted.

    Returns
    -------
    dict of str to list of float
        Seconds of each round.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds + 1):
        for name, work in contenders.items():
            started = time.perf_counter()
            clear_up = work()
            elapsed = time.perf_counter() - started
            if callable(clear_up):
                clear_up()
            if number:
                seconds[name].append(elapsed)
    return seconds


def compare_to(
    seconds: Mapping[str, Sequence[float]], *, unit: str, factor: float = 1.0
) -> dict[str, dict[str, float]]:
    """Make rows of rounds: the median, times a factor, and how it compares to naive and floor.

    Parameters
    ----------
    seconds : mapping of str to sequence of float
        As from `take_turns`. Contenders named "naive" and "floor" are what others are held to.
    unit : str
        Name of the column of medians.
    factor : float, default=1.0
        Turns seconds of a round into `unit`.

    Returns
    -------
    dict
        For each contender the median, and "naive / this" and "this / floor" where there are such.
        Ratios are medians of the ratios of each round, so a slow minute hits neither side alone.
    """
    rows = {}
    for name, values in seconds.items():
        row = {unit: statistics.median(values) * factor}
        if "naive" in seconds:
            row["naive / this"] = median_ratio(seconds["naive"], values)
        if "floor" in seconds:
            row["this / floor"] = median_ratio(values, seconds["floor"])
        rows[name] = row
    return rows


def median_ratio(above: Sequence[float], below: Sequence[float]) -> float:
    """Divide two contenders' seconds round by round, and take the median."""
    return statistics.median(a / b for a, b in zip(above, below, strict=True))


def describe_conditions(device: Any = "cpu") -> dict[str, Any]:
    """Say on what, with what and when something is measured; takes `LISTEN_S`.

    Parameters
    ----------
    device : torch.device or str, default="cpu"
        Where the network runs.
    """
    import torch

    device = torch.device(device)
    return {
        "processor": _processor_name(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        KEPT_BUSY: _count_busy_cores(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "python": platform.python_version(),
        **_find_versions(),
        "system": platform.system(),
        "commit": _find_commit(),
        "date": datetime.now(timezone.utc).isoformat(timespec="minutes"),
    }


def is_busy(conditions: Mapping[str, Any]) -> bool:
    """Whether others kept the machine busy when the measurement began."""
    return float(conditions.get(KEPT_BUSY, 0)) > BUSY * int(conditions.get("cores") or 1)


def _count_busy_cores() -> float:
    """Count the cores that work while this process waits.

    Unlike the load average, this knows nothing of what was measured a minute ago.
    """
    import psutil

    share = psutil.cpu_percent(interval=LISTEN_S) / 100
    return round(share * (os.cpu_count() or 1), 2)


def _find_versions() -> dict[str, str]:
    """Name the versions of the libraries that decide how fast things are."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def run_python(*words: str) -> None:
    """Run a Python program to its end.

    Parameters
    ----------
    words : str
        What stands after "python" on a command line; the folder is that of the project.

    Raises
    ------
    MeasurementError
        If it fails, with what it said.
    """
    done = subprocess.run(
        [sys.executable, *words], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise MeasurementError(f"python {words[0]} failed: {done.stderr.strip()}")


def _find_commit() -> str:
    """Ask git which version of the project this is; a star marks changes since."""
    command = ["git", "-C", str(PROJECT), "describe", "--always", "--dirty=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return done.stdout.strip()


def _processor_name() -> str:
    """Ask Linux, then whatever else there is."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        text = ""
    for line in text.splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
