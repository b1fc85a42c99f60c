"""The store of corrections: what visitors said about the answers, safe in one SQLite file.

    "it was a 4" -> FeedbackStore.add -> feedback/feedback.sqlite -> list, count, export, training

Nothing comes here by itself: a row is a click, or a line of a table that somebody has reviewed.
Each picture is kept once. A second opinion about it is added to its history, and the newest
counts. Pictures are reduced and stripped of everything but their pixels (no name of a file, no
place from a camera).

    >>> store = FeedbackStore()
    >>> prediction = predictor.predict("four.png")
    >>> store.add("four.png", prediction, 4, model="best", model_version="1f2e3d4c5b6a").correct
    4

    $ python feedback.py count
    $ python feedback.py export corrections
    $ python feedback.py import review.csv
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import logging
import os
import sqlite3
import sys
import time
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, fields, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from batch_input import LARGEST
from encoding import encode_png
from errors import DataFormatError, DataNotFoundError, DigitError, OutputError, SettingsError
from labels import NO_DIGIT_FOLDERS
from picture import PictureSource, open_picture
from pixels import to_bytes
from reviews import import_reviews
from utils import PROJECT, HelpFormatter, atomic_write, one_line, report_errors

log = logging.getLogger(__name__)

SIDE = 320  # pixels of the longer side of a stored picture; in PNG at most some 300 kB
FIELD = 28  # side of what the network saw, pixels
MAX_BYTES = 2 * 2**30  # of the database: strangers may add to it, and must not fill the disk
PAGE_BYTES = 4096  # in which SQLite counts
BUSY_S = 30.0  # how long one writer waits for another
RETRY_S = 0.01
VERSION = 1  # of the tables below
PAGE_SIZE = 24  # corrections on one page of the list
STREAM_SIZE = 64  # corrections read at once where all are wanted; some 20 MB at most
NO_DIGIT = "not a digit"
NO_DIGIT_FOLDER = NO_DIGIT_FOLDERS[1]

_SCHEMA = (
    # AUTOINCREMENT: the number of a deleted picture is never given to another, which a second
    # click on "delete" would hit.
    """CREATE TABLE pictures (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        hash TEXT NOT NULL UNIQUE,
        png BLOB NOT NULL)""",
    """CREATE TABLE corrections (
        id INTEGER PRIMARY KEY,
        picture INTEGER NOT NULL REFERENCES pictures ON DELETE CASCADE,
        correct INTEGER CHECK (correct BETWEEN 0 AND 9),
        digit INTEGER CHECK (digit BETWEEN 0 AND 9),
        confidence REAL CHECK (confidence BETWEEN 0 AND 1),
        verdict TEXT NOT NULL,
        model TEXT NOT NULL,
        model_version TEXT NOT NULL,
        source TEXT NOT NULL,
        stored_at TEXT NOT NULL,
        seen BLOB NOT NULL CHECK (length(seen) = 784))""",
    "CREATE INDEX corrections_of_a_picture ON corrections (picture)",
    """CREATE VIEW history AS
        SELECT p.id, c.correct, c.digit, c.confidence, c.verdict, c.model, c.model_version,
            c.source, c.stored_at, p.hash, p.png, c.seen, c.id AS place
        FROM corrections c JOIN pictures p ON p.id = c.picture""",
    """CREATE VIEW newest AS
        SELECT * FROM history WHERE place IN (SELECT max(id) FROM corrections GROUP BY picture)""",
    f"PRAGMA user_version = {VERSION}",
)

_ABOUT = ("digit", "confidence", "verdict", "model", "model_version", "stored_at")  # in an export


class Answer(Protocol):
    """What the network said about a picture; `reading.Prediction` is one."""

    @property
    def digit(self) -> int | None:
        """Give the digit read, 0 to 9; None if that is not known."""

    @property
    def confidence(self) -> float | None:
        """Give its probability, 0.0 to 1.0."""

    @property
    def verdict(self) -> str:
        """Give "ok", "unsure" or "not a digit"; empty if that is not known."""

    @property
    def image(self) -> np.ndarray:
        """Give what the network saw: (28, 28), uint8, or float from 0.0 to 1.0."""


@dataclass(frozen=True, eq=False)
class Correction:
    """What somebody said about one answer.

    Attributes
    ----------
    id : int
        Of the picture; never given to another one.
    correct : int or None
        The digit that it shows, 0 to 9; None if it shows no digit.
    digit : int or None
        What was read; None if that is not known.
    confidence : float or None
        Its probability, 0.0 to 1.0.
    verdict : str
        "ok", "unsure" or "not a digit"; empty if that is not known.
    model, model_version : str
        Which network read it; empty if that is not known.
    source : str
        Where the correction came from, such as "page", "api" or "import".
    stored_at : str
        ISO 8601, UTC.
    hash : str
        SHA-256 of the picture's pixels.
    png : bytes
        The picture, at most `SIDE` pixels long.
    seen : ndarray of shape (28, 28), uint8
        What the network saw: white ink (255) on black (0).
    place : int
        Of this opinion, among all that are stored.
    is_new : bool
        False where `add` was told what it knew already.
    """

    id: int
    correct: int | None
    digit: int | None
    confidence: float | None
    verdict: str
    model: str
    model_version: str
    source: str
    stored_at: str
    hash: str
    png: bytes = field(repr=False)
    seen: np.ndarray = field(repr=False)
    place: int
    is_new: bool = True


_NAMES = [each.name for each in fields(Correction) if each.name != "is_new"]
_COLUMNS = ", ".join(_NAMES)
_BY_HASH = "history WHERE hash = ? ORDER BY place DESC LIMIT 1"
# As "newest", but without looking at all corrections to find a few.
_BY_KEY = (
    "history AS h WHERE id > ? AND id <= ?"
    " AND place = (SELECT max(id) FROM corrections WHERE picture = h.id) ORDER BY id LIMIT ?"
)


class FeedbackStore:
    """Corrections in one SQLite file. Safe to share between threads and between processes.

    The file is made with the first correction; until then there is nothing on the disk.

    Parameters
    ----------
    path : path, optional
        By default what the environment variable DIGITS_FEEDBACK says, else
        `feedback/feedback.sqlite` in the project.
    max_bytes : int, default=MAX_BYTES
        How large the database may grow.

    Notes
    -----
    Every method raises OutputError if the file cannot be written or opened (the disk is full,
    say; what was stored before is intact), and DataFormatError if it is not such a database.
    """

    def __init__(
        self, path: str | os.PathLike[str] | None = None, *, max_bytes: int = MAX_BYTES
    ) -> None:
        default = os.environ.get("DIGITS_FEEDBACK") or PROJECT / "feedback" / "feedback.sqlite"
        self.path = Path(default if path is None else path)
        self.max_bytes = max_bytes

    def add(
        self,
        picture: PictureSource,
        answer: Answer,
        correct: int | None,
        *,
        model: str,
        model_version: str,
        source: str = "page",
    ) -> Correction:
        """Keep what a picture really shows. To say the same twice changes nothing.

        Parameters
        ----------
        picture : path, bytes, binary file, PIL image, ndarray or Tensor
            As it came; see `picture.open_picture`.
        answer : Answer
            What the network said, such as a `reading.Prediction`.
        correct : int or None
            The digit that it shows, 0 to 9; None if it shows no digit.
        model, model_version : str
            Which network said it.
        source : str, default="page"
            Where the correction comes from.

        Returns
        -------
        Correction
            As it is in the store; `is_new` tells whether this call put it there.

        Raises
        ------
        ImageError
            If the picture cannot be read.
        SettingsError
            If `correct` is neither a digit nor None.
        """
        check_digit(correct)
        check_digit(answer.digit)
        pixels = _reduce(picture)
        digest = _hash(pixels)
        with self._open() as db, db:
            db.execute("BEGIN IMMEDIATE")
            earlier = _fetch(db, _BY_HASH, digest)
            if earlier and earlier[0].correct == correct:
                return replace(earlier[0], is_new=False)
            db.execute(
                "INSERT OR IGNORE INTO pictures (hash, png) VALUES (?, ?)",
                (digest, encode_png(pixels)),
            )
            db.execute(
                "INSERT INTO corrections (picture, correct, digit, confidence, verdict, model,"
                " model_version, source, stored_at, seen) VALUES ((SELECT id FROM pictures WHERE"
                " hash = :hash), :correct, :digit, :confidence, :verdict, :model, :model_version,"
                " :source, :stored_at, :seen)",
                {
                    "hash": digest,
                    "correct": correct,
                    "digit": answer.digit,
                    "confidence": answer.confidence,
                    "verdict": answer.verdict,
                    "model": model,
                    "model_version": model_version,
                    "source": source,
                    "stored_at": _now(),
                    "seen": _check_seen(answer.image).tobytes(),
                },
            )
            return _fetch(db, _BY_HASH, digest)[0]

    def list_page(
        self,
        page: int = 1,
        *,
        size: int = PAGE_SIZE,
        correct: int | Literal["all"] | None = "all",
    ) -> list[Correction]:
        """List the newest correction of each picture, the latest first.

        Parameters
        ----------
        page : int, default=1
            From 1 on; a page after the last is empty.
        size : int, default=24
            Corrections on a page.
        correct : int, None or "all", default="all"
            Only those of this digit; None for pictures without a digit.

        Raises
        ------
        SettingsError
            If there is no such page, or one that SQLite could not count to.
        """
        if page < 1 or size < 1:
            raise SettingsError(f"page {page} of {size} corrections: both begin at 1")
        if max(page, size, size * page) > LARGEST:
            raise SettingsError(f"page {page} of {size} corrections: that is more than can be kept")
        if not self.path.exists():
            return []
        chosen = (correct == "all", None if correct == "all" else correct)
        with self._open() as db:
            return _fetch(
                db,
                "newest WHERE ? OR correct IS ? ORDER BY place DESC LIMIT ? OFFSET ?",
                *chosen,
                size,
                size * (page - 1),
            )

    def history(self, picture_id: int) -> list[Correction]:
        """List all that was ever said about one picture, the first opinion first."""
        if not self.path.exists():
            return []
        with self._open() as db:
            return _fetch(db, "history WHERE id = ? ORDER BY place", picture_id)

    def count_by_digit(self) -> dict[int | None, int]:
        """Count pictures by what they show: keys 0 to 9, and None for those without a digit."""
        counts: dict[int | None, int] = dict.fromkeys([*range(10), None], 0)
        if self.path.exists():
            with self._open() as db:
                counts |= dict(db.execute("SELECT correct, count(*) FROM newest GROUP BY correct"))
        return counts

    def count(self) -> int:
        """Count the pictures."""
        if not self.path.exists():
            return 0
        with self._open() as db:
            return int(db.execute("SELECT count(*) FROM pictures").fetchone()[0])

    def delete(self, picture_id: int) -> bool:
        """Erase a picture and all that was said about it; False if it is not there (any more).

        Nobody finds it from now on. Its bytes are overwritten in the database and go from the log
        beside it: at once, or if another process or thread is reading in this moment, when that
        one has done, or with the next use of the store.
        """
        if not self.path.exists():
            return False
        with self._open() as db:
            erased = db.execute("DELETE FROM pictures WHERE id = ?", (picture_id,)).rowcount
        return bool(erased)

    def withdraw(self, picture_id: int, place: int) -> None:
        """Erase one opinion, and its picture if nobody has said anything else about it.

        When their bytes go, `delete` says.
        """
        if not self.path.exists():
            return
        with self._open() as db, db:
            db.execute("BEGIN IMMEDIATE")
            # The place of an erased opinion may be given again, that of a picture never is.
            opinion = (picture_id, place)
            db.execute("DELETE FROM corrections WHERE picture = ? AND id = ?", opinion)
            db.execute(
                "DELETE FROM pictures WHERE id = ? AND id NOT IN (SELECT picture FROM corrections)",
                (picture_id,),
            )

    def load_digits(self, *, no_digit: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Load the pictures as a training takes them: as the network saw them.

        Parameters
        ----------
        no_digit : int, optional
            The label of pictures that show no digit; by default they are left out.

        Returns
        -------
        images : ndarray of shape (count, 28, 28), uint8
            White ink (255) on black (0).
        labels : ndarray of shape (count,), int64
            What they show.
        """
        rows: list[tuple[bytes, int]] = []
        if self.path.exists():
            with self._open() as db:
                rows = db.execute(
                    "SELECT seen, coalesce(correct, :other) AS label FROM newest"
                    " WHERE label IS NOT NULL ORDER BY id",
                    {"other": no_digit},
                ).fetchall()
        images = np.frombuffer(b"".join(seen for seen, _ in rows), np.uint8)
        labels = np.array([label for _, label in rows], np.int64)
        return images.reshape(-1, FIELD, FIELD), labels

    def stream(self) -> Iterator[Correction]:
        """Stream the newest correction of each picture, the first stored first.

        Pictures that are added after the first one was asked for are left out, and those that are
        erased meanwhile are missing from what was not read by then.
        """
        reached, last = 0, None
        while self.path.exists():
            # A use of its own for every few: as long as one reads the log cannot be emptied, and
            # who asks for the next one may take any time.
            with self._open() as db:
                if last is None:
                    [last] = db.execute("SELECT max(id) FROM pictures").fetchone()
                found = _fetch(db, _BY_KEY, reached, last, STREAM_SIZE)
            yield from found
            if len(found) < STREAM_SIZE:
                return
            reached = found[-1].id

    def export(self, folder: str | os.PathLike[str]) -> Path:
        """Write all pictures as files: a subfolder for each digit, and `corrections.csv`.

        The table is a manifest as `batch_processor.py` reads it, and `import` takes it back.

        Parameters
        ----------
        folder : path
            Made if it is missing; has to be empty, so that nothing else is mixed in.

        Returns
        -------
        Path
            The folder.

        Raises
        ------
        SettingsError
            If there is something in the folder.
        OutputError
            If it cannot be written.
        """
        target = Path(folder)
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise SettingsError(f"{target} is not an empty folder; name one that is not there yet")
        for name, content in self._files():
            with atomic_write(target / name) as temporary:
                temporary.write_bytes(content)
        return target

    def export_zip(self, path: str | os.PathLike[str]) -> Path:
        """Write what `export` writes into one zip file, and return its path."""
        target = Path(path)
        # The pictures are compressed already.
        with atomic_write(target) as temporary, zipfile.ZipFile(temporary, "w") as archive:
            for name, content in self._files():
                archive.writestr(name, content)
        return target

    def _files(self) -> Iterator[tuple[str, bytes]]:
        """Make the files of an export, one after the other, the table last."""
        table = io.StringIO(newline="")
        writer = csv.writer(table, lineterminator="\r\n")
        writer.writerow(["path", "label", *_ABOUT])
        for each in self.stream():
            folder = NO_DIGIT_FOLDER if each.correct is None else str(each.correct)
            name = f"{folder}/{each.hash[:16]}.png"
            yield name, each.png
            label = NO_DIGIT if each.correct is None else each.correct
            writer.writerow([name, label, *(getattr(each, column) for column in _ABOUT)])
        yield "corrections.csv", table.getvalue().encode()

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """Open the database, a connection for each use: that is safe in any thread and process."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._explain(error) from error
        try:
            db = sqlite3.connect(self.path, timeout=BUSY_S, isolation_level=None)
            with closing(db):
                self._set_up(db)
                yield db
                self._empty_log(db)
        except sqlite3.Error as error:
            raise self._explain(error) from error

    def _set_up(self, db: sqlite3.Connection) -> None:
        """Make the tables where there are none, and say how safe we want to be."""
        # Readers and the writer do not wait for each other; a commit is on the disk when it
        # returns; what is erased is overwritten.
        _write_ahead(db)
        for setting in ("synchronous=FULL", "foreign_keys=ON", "secure_delete=ON"):
            db.execute(f"PRAGMA {setting}")
        db.execute(f"PRAGMA max_page_count={max(1, self.max_bytes // PAGE_BYTES)}")
        if _version(db) == 0:
            with db:
                db.execute("BEGIN IMMEDIATE")
                if _version(db) == 0:  # nobody else was faster
                    for statement in _SCHEMA:
                        db.execute(statement)
        if _version(db) != VERSION:
            raise DataFormatError(
                f"{self.path}: written by a newer version of this program; update it, or name "
                "another file in DIGITS_FEEDBACK"
            )

    def _empty_log(self, db: sqlite3.Connection) -> None:
        """Empty the log beside the database, which holds what was erased, unless somebody reads.

        Nobody is waited for: each use of the store ends here, the reader's as well, and who is the
        last to close the database empties the log in any case.
        """
        try:
            if not Path(f"{self.path}-wal").stat().st_size:
                return
            db.execute("PRAGMA busy_timeout=0")
            busy, *_ = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except FileNotFoundError:
            return
        except sqlite3.Error as error:  # what the use was for is done, and on the disk
            log.warning("cannot empty the log of %s: %s", self.path, error)
            return
        if busy:
            log.debug("%s is being read: its log is emptied later", self.path)

    def _explain(self, error: Exception) -> DigitError:
        """Say what is wrong with the file, and what to do."""
        advice = "or name another file in DIGITS_FEEDBACK"
        # Of what SQLite raises, these two are about the content, the others about the disk.
        if type(error) in (sqlite3.DatabaseError, sqlite3.NotSupportedError):
            return DataFormatError(
                f"{self.path}: not a database of corrections ({error}); move it away, {advice}"
            )
        return OutputError(
            f"cannot keep corrections in {self.path}: {error}; what was stored before is intact: "
            f"make room or allow writing, {advice}"
        )


def _write_ahead(db: sqlite3.Connection) -> None:
    """Keep what is written in a log of its own (WAL); a new file has to be told so once.

    While somebody else tells it so SQLite does not wait, as it does everywhere else.
    """
    until = time.monotonic() + BUSY_S
    while True:
        try:
            db.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > until:
                raise
        time.sleep(RETRY_S)


# --- values -----------------------------------------------------------------------------------


def check_digit(correct: object) -> None:
    """Refuse what is neither a digit nor None.

    Raises
    ------
    SettingsError
        Naming the value.
    """
    is_digit = isinstance(correct, int) and not isinstance(correct, bool) and 0 <= correct <= 9
    if correct is not None and not is_digit:
        raise SettingsError(f"{correct!r} is not a digit: choose 0 to 9, or nothing for no digit")


def _reduce(picture: PictureSource) -> np.ndarray:
    """Decode a picture to uint8, grey or in colour, no longer than `SIDE`."""
    pixels = open_picture(picture, working_side=SIDE).pixels
    return to_bytes(pixels)


def _hash(pixels: np.ndarray) -> str:
    """Compute a checksum of the pixels: the same for a picture and for its export."""
    return hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest()


def _check_seen(seen: np.ndarray) -> np.ndarray:
    """Bring what the network saw to uint8 of shape (28, 28)."""
    if seen.shape != (FIELD, FIELD):
        raise SettingsError(f"what the network saw has shape {seen.shape}, not ({FIELD}, {FIELD})")
    return to_bytes(seen)


def _now() -> str:
    """Give the time in UTC, to the second."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def _version(db: sqlite3.Connection) -> int:
    """Read the version of the tables; 0 where there are none."""
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def _fetch(db: sqlite3.Connection, condition: str, *values: object) -> list[Correction]:
    """Read the corrections that meet a condition."""
    return [_from_row(row) for row in db.execute(f"SELECT {_COLUMNS} FROM {condition}", values)]


def _from_row(row: Sequence) -> Correction:
    """Make a correction of what SQLite gives."""
    values = dict(zip(_NAMES, row, strict=True))
    values["seen"] = np.frombuffer(values["seen"], np.uint8).reshape(FIELD, FIELD)
    return Correction(**values)


# --- command line -----------------------------------------------------------------------------

ROW = "{id:>6}  {correct:<11}  {read:<7}  {sure:>10}  {when:<16}  {model:<20}  {source}"


def build_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(
        description="Look at the corrections that visitors made, and take them out or in.",
        epilog="examples:\n"
        "  python feedback.py count\n"
        "  python feedback.py export corrections\n"
        "  python feedback.py export corrections.zip\n"
        "  python feedback.py import review.csv",
        formatter_class=HelpFormatter,
    )
    parser.add_argument(
        "--database",
        type=Path,
        metavar="FILE",
        help="the store (default: DIGITS_FEEDBACK, else feedback/feedback.sqlite)",
    )
    commands = parser.add_subparsers(dest="command", required=True)

    def add(name: str, about: str) -> argparse.ArgumentParser:
        return commands.add_parser(
            name, help=about, description=about, formatter_class=HelpFormatter
        )

    listing = add("list", "print the newest corrections")
    listing.add_argument("--limit", type=int, default=PAGE_SIZE, metavar="N", help="how many")
    add("count", "print how many there are of each digit")
    export = add("export", "write the pictures, a folder for each digit, and corrections.csv")
    export.add_argument("target", type=Path, help="a new folder, or a name that ends in .zip")
    reviewed = add(
        "import", "take over a reviewed table: review.csv, results.csv or corrections.csv"
    )
    reviewed.add_argument("table", type=Path, help="CSV with the columns path and review")
    return parser


def run(args: argparse.Namespace) -> int:
    """Do what was asked for; 1 if some rows of a table could not be taken."""
    store = FeedbackStore(args.database)
    if args.command == "list" and not 1 <= args.limit <= LARGEST:
        raise SettingsError(f"--limit {args.limit}: choose a number from 1 to {LARGEST:,}")
    named = args.database or os.environ.get("DIGITS_FEEDBACK")
    # A name with a typo would pass as a store without corrections.
    if named and args.command != "import" and not store.path.exists():
        raise DataNotFoundError(
            f"{store.path}: no such file, which the first correction would have made; name another "
            "one in --database or DIGITS_FEEDBACK"
        )
    if args.command == "list":
        _print_list(store.list_page(size=args.limit))
    elif args.command == "count":
        for digit, count in store.count_by_digit().items():
            print(f"{NO_DIGIT if digit is None else digit:<11}  {count:>7,}")
        print(f"{'all':<11}  {store.count():>7,}")
    elif args.command == "export":
        is_zip = args.target.suffix.lower() == ".zip"
        written = store.export_zip(args.target) if is_zip else store.export(args.target)
        print(f"{store.count():,} corrections in {written}")
    else:
        return _run_import(store, args.table)
    return 0


def _run_import(store: FeedbackStore, table: Path) -> int:
    """Take over a table, and say what became of its rows."""
    imported = import_reviews(store, table)
    for problem in imported.problems:
        print(f"error: {one_line(problem)}", file=sys.stderr)
    print(
        f"{imported.added:,} corrections added, {imported.known:,} known already, "
        f"{imported.unreviewed:,} rows not reviewed, {len(imported.problems):,} with an error"
    )
    return int(bool(imported.problems))


def _print_list(corrections: list[Correction]) -> None:
    """Print one row for each correction."""
    names = ("id", "correct", "read", "sure", "when", "model", "source")
    print(ROW.format(**{name: name for name in names}))
    for each in corrections:
        print(
            ROW.format(
                id=each.id,
                correct=NO_DIGIT if each.correct is None else each.correct,
                read="-" if each.digit is None else each.digit,
                sure="-" if each.confidence is None else f"{each.confidence:.1%}",
                when=each.stored_at[:16].replace("T", " "),
                model=one_line(each.model) or "-",
                source=one_line(each.source),
            )
        )


@report_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line."""
    args = build_parser().parse_args(argv)
    return run(args)


if __name__ == "__main__":
    sys.exit(main())
