"""The rows of one batch: kept safe while it runs, and read like a list afterwards.

    rows -> RowStore (SQLite, one transaction for each batch) -> Results (a lazy list)

They are counted in `batch_summary.py`, and written to CSV, JSON and so on in `batch_formats.py`.

SQLite does what a results file has to do and what is hard to do well by hand: after a power cut
the file holds whole batches and nothing else; when the disk is full the rows before are intact;
two runs cannot write at once; and a million rows can be counted, sorted and looked up in a few
megabytes of memory.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import cached_property, partial
from operator import itemgetter
from pathlib import Path
from typing import Any, overload

from batch_input import Input
from errors import DataFormatError, DigitError, OutputError

Row = dict[str, Any]

# What a row holds, in the order of the CSV's columns, with SQLite's types.
COLUMNS = {
    "path": "TEXT",
    "status": "TEXT",  # ok, unsure, not a digit, error
    "digit": "INTEGER",  # the best guess, also where the status is not ok
    "confidence": "REAL",
    **{f"p{digit}": "REAL" for digit in range(10)},
    "reason": "TEXT",  # why the status is not ok
    "width": "INTEGER",
    "height": "INTEGER",
    "sha256": "TEXT",
    "label": "INTEGER",  # the digit it is known to be
    "model": "TEXT",
    "model_version": "TEXT",
    "seconds": "REAL",  # to open and prepare the picture
}
# What it holds where pictures show numbers of several digits.
NUMBER_COLUMNS = {
    "path": "TEXT",
    "status": "TEXT",
    "text": "TEXT",  # the digits; a space between lines
    "confidence": "REAL",  # of the digit that is least sure
    "count": "INTEGER",  # of digits
    "reason": "TEXT",
    "turn": "INTEGER",  # degrees by which the picture was turned counter-clockwise to be read
    "width": "INTEGER",
    "height": "INTEGER",
    "sha256": "TEXT",
    "label": "TEXT",  # the number it is known to be
    "model": "TEXT",
    "model_version": "TEXT",
    "seconds": "REAL",  # to open and read the picture
}
# What is kept beside: by what a changed file is noticed, and what the network saw of doubtful ones.
PRIVATE_COLUMNS = {"size": "INTEGER", "stamp": "INTEGER", "seen": "BLOB"}

_SCHEMA = """
    CREATE TABLE IF NOT EXISTS rows (position INTEGER PRIMARY KEY, {types});
    CREATE TABLE IF NOT EXISTS skipped (path TEXT, reason TEXT);
    CREATE TABLE IF NOT EXISTS earlier ({types}, UNIQUE (path, size, stamp));
"""

STATUSES = ("ok", "unsure", "not a digit", "error")
_BEGIN_ANEW = "begin a new run without --resume"
# SQLite's words; Python tells its codes of errors only from 3.11 on.
_DAMAGE = re.compile("not a database|malformed")


class RowStore:
    """The one writer of a run's rows.

    Parameters
    ----------
    path : Path
        The SQLite file; made, with its folder, if it is not there.
    columns : mapping, default=COLUMNS
        What a row holds: `COLUMNS` or `NUMBER_COLUMNS`.
    starts : (str, str), optional
        How the paths of the rows that are there start, and how those to come do, where the same
        source is spelled in another way now; see `batch_input.Source`.

    Raises
    ------
    OutputError
        If it cannot be written, or another process is writing it.
    DataFormatError
        If it is no such file, is damaged, or was written by a version with other columns.

    Attributes
    ----------
    count : int
        Rows written since it was opened.
    """

    def __init__(
        self,
        path: Path,
        columns: Mapping[str, str] = COLUMNS,
        *,
        starts: tuple[str, str] = ("", ""),
    ) -> None:
        self.path = path
        self._starts = starts
        self._columns = {**columns, **PRIVATE_COLUMNS}
        self._names = ", ".join(self._columns)
        self._marks = ", ".join("?" for _ in self._columns)
        self._values = itemgetter(*self._columns)
        types = ", ".join(f"{name} {kind}" for name, kind in self._columns.items())
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, timeout=1.0, isolation_level=None)
            try:
                self._begin(types)
            except BaseException:
                self._db.close()  # or it would hold the file, and its lock, until it is collected
                raise
        except (OSError, sqlite3.Error) as error:
            raise self._explain(error) from error
        self.count = 0

    def _begin(self, types: str) -> None:
        """Take hold of the file, and make ready for the rows of a new run."""
        # Held until the end, so that a second run of the same name is refused.
        self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
        self._db.execute("PRAGMA synchronous = FULL")
        # One transaction, as each has to wait for the disk.
        self._db.executescript(f"BEGIN IMMEDIATE; {_SCHEMA.format(types=types)}")
        self._check_columns()
        self._set_aside()
        self._db.execute("COMMIT")

    def _check_columns(self) -> None:
        """Refuse tables with other columns, whose rows would mix with ours."""
        expected = {
            "rows": {"position", *self._columns},
            "skipped": {"path", "reason"},
            "earlier": {*self._columns},
        }
        for table, ours in expected.items():
            about = self._db.execute("SELECT name FROM pragma_table_info(?)", (table,))
            theirs = {name for (name,) in about}
            if theirs != ours:
                lost, others = sorted(ours - theirs), sorted(theirs - ours)
                parts = [f"without {', '.join(lost)}"] if lost else []
                parts += [f"with {', '.join(others)}"] if others else []
                raise DataFormatError(
                    f"{self.path}: its table {table!r} was written by another version "
                    f"({' and '.join(parts)}); nothing was changed: {_BEGIN_ANEW}"
                )

    def _set_aside(self) -> None:
        """Move the rows of an interrupted run to where each file looks for its earlier answer.

        Errors are left out: what could not be read may be readable now.
        """
        self._db.execute(
            f"INSERT OR REPLACE INTO earlier ({self._names}) SELECT {self._names} FROM rows "
            "WHERE status != 'error' ORDER BY position"
        )
        self._db.execute("DELETE FROM rows")
        self._db.execute("DELETE FROM skipped")
        before, now = self._starts
        if before != now:
            self._db.create_function("respell", 1, partial(_respell, before=before, now=now))
            # Beside the old spelling, as a list may name its files in a way of its own.
            others = self._names.removeprefix("path, ")
            self._db.execute(
                f"INSERT OR IGNORE INTO earlier (path, {others}) "
                f"SELECT respell(path), {others} FROM earlier"
            )
        self.has_earlier = bool(self._db.execute("SELECT 1 FROM earlier LIMIT 1").fetchone())

    def find_earlier(self, item: Input, version: str, *, with_hash: bool = False) -> Row | None:
        """Look up the row of an unchanged file that the same model has read before."""
        if not self.has_earlier:
            return None
        try:
            found = self._db.execute(
                f"SELECT {self._names} FROM earlier WHERE path = ? AND size = ? AND stamp = ? "
                "AND model_version = ? AND (sha256 != '' OR NOT ?)",
                (item.path, item.size, item.stamp, version, with_hash),
            ).fetchone()
        except sqlite3.Error as error:
            raise self._explain(error) from error
        return None if found is None else dict(zip(self._columns, found, strict=True))

    def add(self, rows: Sequence[Row], skipped: Iterable[tuple[str, str]] = ()) -> None:
        """Write rows so that they stay.

        Parameters
        ----------
        rows : sequence of Row
            With a value for each of the columns, and of the private ones.
        skipped : iterable of (str, str), optional
            Files that are no pictures, each with the reason.

        Raises
        ------
        OutputError
            If they cannot be written; all rows written before are intact.
        DataFormatError
            If the file has been damaged meanwhile.
        """
        # SQLite would pass over a value that has no column.
        assert all(row.keys() == self._columns.keys() for row in rows), "not the table's columns"
        # Not `:name` in SQL: SQLite would take twice as long to find the values.
        numbered = ((self.count + offset, *self._values(row)) for offset, row in enumerate(rows))
        into_rows = f"rows (position, {self._names}) VALUES (?, {self._marks})"
        try:
            self._db.execute("BEGIN")
            self._db.executemany(f"INSERT INTO {into_rows}", numbered)
            self._db.executemany("INSERT INTO skipped (path, reason) VALUES (?, ?)", skipped)
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            raise self._explain(error) from error
        self.count += len(rows)

    def finish(self) -> None:
        """Forget the earlier rows of what has a row now.

        Of what could not be read, or is not there, they stay: a disk may only be missing.
        """
        try:
            self._db.execute(
                "DELETE FROM earlier WHERE path IN (SELECT path FROM rows WHERE status != 'error')"
            )
        except sqlite3.Error as error:
            raise self._explain(error) from error

    def close(self) -> None:
        """Let others read and write."""
        self._db.close()

    def _explain(self, error: Exception) -> DigitError:
        """Say what went wrong, what is safe, and what to do."""
        if "locked" in str(error):
            return OutputError(f"{self.path}: another process is writing this run; wait for it")
        if _DAMAGE.search(str(error)):
            return DataFormatError(
                f"{self.path}: holds no rows of a batch, or is damaged ({error}); nothing was "
                f"deleted: restore the file, or {_BEGIN_ANEW}"
            )
        count = f"{self.count:,} " if hasattr(self, "count") else ""  # it was not even opened
        return OutputError(
            f"cannot write {self.path}: {error}; the {count}rows written before are intact: "
            "make room or allow writing, then go on with --resume"
        )


def _respell(path: str, *, before: str, now: str) -> str:
    """Let a path that starts as before start as it does now.

    >>> _respell("scans/1/a.png", before="scans/", now="/home/ann/scans/")
    '/home/ann/scans/1/a.png'
    """
    is_below = path.startswith(before) and (bool(before) or not Path(path).is_absolute())
    return now + path.removeprefix(before) if is_below else path


class Results(Sequence[Row]):
    """The rows of a run, as a list that stays on the disk.

    It has a length, can be iterated, indexed and sliced like a list of dicts, and needs the same
    memory for ten rows as for a million; `pandas.DataFrame(results)` takes it as it is. Each row
    has the keys of `COLUMNS`, or of `NUMBER_COLUMNS`.

    Examples
    --------
    >>> [row["path"] for row in results if row["status"] == "error"]
    ['digits/torn.png']
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def columns(self) -> dict[str, str]:
        """The names of the values in a row, with SQLite's types."""
        about = self.query("SELECT name, type FROM pragma_table_info('rows')")
        return {
            name: kind for name, kind in about if name != "position" and name not in PRIVATE_COLUMNS
        }

    @property
    def answer(self) -> str:
        """The column that holds what was read: "digit" or "text"."""
        return "text" if "text" in self.columns else "digit"

    def __repr__(self) -> str:
        return f"<{len(self):,} rows in {self.path}>"

    def __len__(self) -> int:
        return int(self.query("SELECT count(*) FROM rows")[0][0])

    def __iter__(self) -> Iterator[Row]:
        names = list(self.columns)
        for values in self.tuples():
            yield dict(zip(names, values, strict=True))

    def tuples(self) -> Iterator[tuple]:
        """Stream the rows as plain tuples in the order of `columns`."""
        with closing(self._open()) as db:
            yield from db.execute(f"SELECT {self._names} FROM rows ORDER BY position")

    @property
    def _names(self) -> str:
        """The columns, for SQL."""
        return ", ".join(self.columns)

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> list[Row]: ...
    def __getitem__(self, index: int | slice) -> Row | list[Row]:
        chosen = range(len(self))[index]
        if isinstance(chosen, int):
            return self._at(range(chosen, chosen + 1))[0]
        return self._at(chosen)

    def _at(self, positions: range) -> list[Row]:
        """Read the rows at some positions in one query: to open the file takes longest."""
        if not positions:
            return []
        order = "DESC" if positions.step < 0 else "ASC"
        found = self.query(
            f"SELECT {self._names} FROM rows WHERE position BETWEEN ? AND ? "
            f"AND (position - ?) % ? = 0 ORDER BY position {order}",
            *(min(positions), max(positions), positions[0], abs(positions.step)),
        )
        return [dict(zip(self.columns, row, strict=True)) for row in found]

    def skipped(self) -> Iterator[tuple[str, str]]:
        """Stream the files that are no pictures, each with the reason."""
        with closing(self._open()) as db:
            yield from db.execute("SELECT path, reason FROM skipped ORDER BY rowid")

    def query(self, sql: str, *values: Any) -> list[tuple]:
        """Ask the table `rows` something in SQL."""
        with closing(self._open()) as db:
            return db.execute(sql, values).fetchall()

    def doubtful(self, limit: int) -> list[tuple[Row, bytes | None]]:
        """List the rows that somebody should look at, the least sure first.

        Returns
        -------
        list of (row, seen)
            `seen` is what the network saw: 784 bytes, or None if there was no ink.
        """
        return self._with_pictures(
            f"(status IN ('unsure', 'not a digit') OR {self.answer} != label) "
            "ORDER BY confidence IS NULL, confidence LIMIT ?",
            limit,
        )

    def worst_mistakes(self, limit: int) -> list[tuple[Row, bytes | None]]:
        """List the rows whose answer is not their label, the surest first; see `doubtful`."""
        return self._with_pictures(
            f"{self.answer} != label ORDER BY confidence DESC LIMIT ?", limit
        )

    def _with_pictures(self, condition: str, limit: int) -> list[tuple[Row, bytes | None]]:
        """Read the rows that meet a condition, with what the network saw."""
        rows = self.query(f"SELECT {self._names}, seen FROM rows WHERE {condition}", limit)
        return [(dict(zip(self.columns, row[:-1], strict=True)), row[-1]) for row in rows]

    def _open(self) -> sqlite3.Connection:
        """Open the file for reading; a connection of its own makes this safe in any thread."""
        return sqlite3.connect(f"{self.path.resolve().as_uri()}?mode=ro", uri=True)
