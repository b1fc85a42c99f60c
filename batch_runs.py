"""The folders of a batch run: where its rows, settings, diary and files for people are.

<output>/logs/<run>/     rows.sqlite (the rows as they come), config.json, run.log
<output>/reports/<run>/  results.csv, results.json, report.html, summary.json
"""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from operator import itemgetter
from pathlib import Path
from typing import Any

from errors import DataFormatError, OutputError
from utils import atomic_write

BEGUN = "begun"  # when a run was begun, among its settings
TIME_FORM = "%Y-%m-%d_%H-%M-%S"  # of a run's name, in local time; 19 characters
TITLE_BYTES = 100  # of a run's name; a file system takes 255, or 143 where it is encrypted

log = logging.getLogger(__name__)
diary = logging.getLogger(f"{__name__}.diary")  # goes to the run's own file and nowhere else


@dataclass(frozen=True)
class Run:
    """The folders of one run."""

    name: str
    output: Path

    @property
    def rows(self) -> Path:
        """The SQLite file that holds the rows."""
        return self.output / "logs" / self.name / "rows.sqlite"

    @property
    def config(self) -> Path:
        """What was read, with which model and settings."""
        return self.output / "logs" / self.name / "config.json"

    @property
    def reports(self) -> Path:
        """The folder of the files for people."""
        return self.output / "reports" / self.name

    def read_config(self) -> dict[str, Any]:
        """Read what `save_config` wrote."""
        return read_settings(self.config)

    def save_config(self, config: Mapping[str, Any]) -> None:
        """Write what a later run has to know to go on with this one, and when it was begun."""
        begun = datetime.now(timezone.utc)
        if self.config.exists():  # it goes on
            begun = self.find_begun(self.read_config())
        write_settings(self.config, {**config, BEGUN: begun.isoformat()})

    def find_begun(self, config: Mapping[str, Any]) -> datetime:
        """Tell when it was begun; of a run of an older version, by the local time in its name."""
        with contextlib.suppress(KeyError, TypeError, ValueError):
            return datetime.fromisoformat(config[BEGUN]).astimezone(timezone.utc)
        with contextlib.suppress(ValueError):
            return datetime.strptime(self.name[:19], TIME_FORM).astimezone(timezone.utc)
        return datetime.min.replace(tzinfo=timezone.utc)

    @contextlib.contextmanager
    def keep_diary(self) -> Iterator[logging.Logger]:
        """Keep a diary beside the rows: begin, what is logged, and how it ended.

        Raises
        ------
        OutputError
            If it cannot be opened.
        """
        path = self.rows.with_name("run.log")
        try:
            handler = _DiaryFile(path, encoding="utf-8")
        except OSError as error:
            raise OutputError(
                f"cannot write {path}: {error.strerror or error}; make room or allow writing"
            ) from error
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
        diary.setLevel(logging.INFO)
        diary.propagate = False
        diary.addHandler(handler)
        try:
            diary.info("begin")
            yield diary
            diary.info("end")
        except BaseException as error:
            diary.info("ended by %s: %s", type(error).__name__, error)
            raise
        finally:
            diary.removeHandler(handler)
            with contextlib.suppress(OSError):  # what it still holds has no room: said already
                handler.close()


class _DiaryFile(logging.FileHandler):
    """A diary that does without what it has no room for: the rows are what counts."""

    has_failed = False

    def handleError(self, record: logging.LogRecord) -> None:
        """Say once what is wrong; logging would print a traceback for each line."""
        if not self.has_failed:
            self.has_failed = True
            log.warning("%s is not complete: %s", self.baseFilename, sys.exc_info()[1])


def read_settings(path: Path) -> dict[str, Any]:
    """Read what `write_settings` wrote.

    Raises
    ------
    DataFormatError
        If the file cannot be read, or holds no settings.
    """
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataFormatError(
            f"{path}: cannot be read ({error}); restore it, or begin anew elsewhere"
        ) from error
    if not isinstance(settings, dict):
        raise DataFormatError(f"{path}: holds no settings; restore it, or begin anew elsewhere")
    return settings


def write_settings(path: Path, settings: Mapping[str, Any]) -> None:
    """Write down with which settings something is made.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


def find_run(output: Path, what: Mapping[str, Any]) -> Run | None:
    """Find the run begun last whose settings hold these values; None if there is none.

    A run whose settings cannot be read is named in the log and passed over.

    Parameters
    ----------
    output : Path
        The folder with `logs`.
    what : mapping
        Values in `config.json`; one that is false may be missing there.
    """
    found: list[tuple[datetime, str, Run]] = []
    for path in (output / "logs").glob("*/config.json"):
        run = Run(path.parent.name, output)
        try:
            config = run.read_config()
        except DataFormatError as error:
            log.warning("left out: %s", error)
            continue
        if all((config.get(name) or False) == (value or False) for name, value in what.items()):
            # Names are in local time, which goes back: on a journey, and when summer time ends.
            found.append((run.find_begun(config), run.name, run))
    if found:
        return max(found, key=itemgetter(0, 1))[-1]
    log.info("no earlier run of %s in %s: beginning a new one", what["source"], output)
    return None


def make_run(output: Path, title: str) -> Run:
    """Make the folders of a new run, named by the time and (the beginning of) a title.

    Raises
    ------
    OutputError
        If they cannot be made.
    """
    title = re.sub(r"[^\w.-]+", "_", title).encode()[:TITLE_BYTES].decode(errors="ignore")
    name = f"{datetime.now():{TIME_FORM}}_{title}"
    for number in itertools.count(1):
        run = Run(f"{name}_{number}" if number > 1 else name, output)
        try:
            run.reports.mkdir(parents=True)
            run.rows.parent.mkdir(parents=True)
        except FileExistsError:  # two runs in one second
            continue
        except OSError as error:
            raise OutputError(
                f"cannot make a folder in {output}: {error.strerror}; choose another with --output"
            ) from error
        return run
    raise AssertionError("itertools.count ends never")
