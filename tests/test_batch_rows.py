from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from batch_input import Input
from batch_rows import (
    COLUMNS,
    NUMBER_COLUMNS,
    Results,
    RowStore,
)
from errors import DataFormatError, OutputError
from tests.conftest import ODD_NAMES, make_row


def test_results_behave_like_a_list_of_dicts(odd_rows):
    assert len(odd_rows) == 5
    assert [each["path"] for each in odd_rows] == [*ODD_NAMES, "bad.png"]
    assert odd_rows[0]["path"] == ODD_NAMES[0]
    assert odd_rows[-1]["status"] == "error"
    assert [each["path"] for each in odd_rows[1:3]] == ODD_NAMES[1:3]
    assert odd_rows[0] in odd_rows
    assert next(reversed(odd_rows)) == odd_rows[-1]
    assert "5 rows" in repr(odd_rows)
    with pytest.raises(IndexError):
        odd_rows[5]


@pytest.mark.parametrize(
    "part",
    [
        slice(1, 3),
        slice(None, None, 2),
        slice(1, None, 3),
        slice(None, None, -1),
        slice(3, 0, -2),
        slice(-2, None),
        slice(2, 2),
        slice(9, 12),
    ],
)
def test_a_slice_is_that_of_a_list_and_takes_one_query(odd_rows, monkeypatch, part):
    """Each row opened the file anew: 5,000 rows took longer than to iterate all 20,000."""
    rows = list(odd_rows)
    opened = []
    once = odd_rows._open
    monkeypatch.setattr(odd_rows, "_open", lambda: opened.append(1) or once())

    found = odd_rows[part]

    assert found == rows[part]
    assert len(opened) <= 2  # one of them asks how many rows there are


def test_a_data_frame_takes_results_as_they_are(odd_rows):
    pandas = pytest.importorskip("pandas")

    frame = pandas.DataFrame(odd_rows)

    assert list(frame.columns) == list(COLUMNS)
    assert frame["path"].tolist() == [*ODD_NAMES, "bad.png"]


def test_an_earlier_row_is_found_only_for_the_same_file_and_model(tmp_path):
    first = RowStore(tmp_path / "rows.sqlite")
    first.add([make_row("a.png"), make_row("bad.png", status="error")])
    first.close()

    store = RowStore(tmp_path / "rows.sqlite")

    assert store.find_earlier(Input("a.png", size=300, stamp=1), "abc") == make_row("a.png")
    assert store.find_earlier(Input("a.png", size=301, stamp=1), "abc") is None
    assert store.find_earlier(Input("a.png", size=300, stamp=2), "abc") is None
    assert store.find_earlier(Input("a.png", size=300, stamp=1), "def") is None
    assert store.find_earlier(Input("bad.png", size=300, stamp=1), "abc") is None
    store.close()


def test_rows_that_a_second_interruption_did_not_reach_are_still_found(tmp_path):
    for reached in (
        [make_row("a.png"), make_row("b.png"), make_row("c.png")],
        [make_row("a.png")],
        [],
    ):
        store = RowStore(tmp_path / "rows.sqlite")
        store.add(reached)
        store.close()

    store = RowStore(tmp_path / "rows.sqlite")

    assert store.find_earlier(Input("c.png", size=300, stamp=1), "abc") is not None
    store.close()


def test_values_find_their_columns_by_name(row_store):
    """They were taken by their place: one more of them would have moved all the others."""
    backwards = dict(reversed(make_row("a.png", label=7, seen=b"ink").items()))

    row_store.add([backwards])

    row_store.close()
    assert Results(row_store.path)[0] == {name: backwards[name] for name in COLUMNS}


@pytest.mark.parametrize("change", [{"other": 1}, {"label": ...}])
def test_a_row_with_other_values_than_the_table_has_columns_is_not_written(row_store, change):
    wrong = {name: value for name, value in (make_row() | change).items() if value is not ...}

    with pytest.raises(AssertionError, match="columns"):
        row_store.add([make_row(), wrong])

    row_store.close()
    assert len(Results(row_store.path)) == 0


def test_rows_are_on_the_disk_when_add_returns(row_store):
    row_store.add([make_row()])

    copy = row_store.path.with_name("copy.sqlite")
    copy.write_bytes(row_store.path.read_bytes())  # what a power cut would leave
    assert len(Results(copy)) == 1


def test_two_runs_cannot_write_the_same_rows(row_store):
    row_store.add([make_row()])

    with pytest.raises(OutputError, match="another process"):
        RowStore(row_store.path)


def test_a_full_disk_leaves_the_rows_before_intact(row_store):
    row_store.add([make_row("kept.png")])
    pages = row_store._db.execute("PRAGMA page_count").fetchone()[0]
    row_store._db.execute(f"PRAGMA max_page_count = {pages}")  # SQLite then reports a full disk

    with pytest.raises(OutputError, match=r"full.*1 rows.*--resume"):
        row_store.add([make_row("x" * 100_000)])

    row_store.close()
    assert [each["path"] for each in Results(row_store.path)] == ["kept.png"]


def test_a_disk_too_full_to_begin_again_does_not_count_the_rows_of_before(odd_rows, full_disk):
    """It said that "the 0 rows written before are intact"."""
    with full_disk(), pytest.raises(OutputError, match="; the rows written before are intact"):
        RowStore(odd_rows.path)

    assert len(odd_rows) == 5


def alter(*statements: str) -> Callable[[Path], None]:
    """Return what runs SQL on a file of rows."""

    def run(path: Path) -> None:
        with contextlib.closing(sqlite3.connect(path)) as db:
            db.executescript(";".join(statements))

    return run


def tear(path: Path) -> None:
    """Write noise over all but the first page."""
    content = path.read_bytes()
    path.write_bytes(content[:4096] + b"\xa5" * (len(content) - 4096))


@pytest.mark.parametrize(
    ("spoil", "hint"),
    [
        (lambda path: path.write_bytes(b"not a database" * 100), "holds no rows of a batch"),
        (lambda path: path.write_text("path,digit\n"), "holds no rows of a batch"),
        (tear, "or is damaged"),
        (alter("ALTER TABLE rows DROP COLUMN reason"), "'rows' .*another version.*without reason"),
        (alter("ALTER TABLE rows ADD COLUMN margin REAL"), "another version.*with margin"),
        (alter("ALTER TABLE rows RENAME digit TO answer"), "without digit and with answer"),
        (alter("ALTER TABLE earlier ADD COLUMN margin REAL"), "'earlier' .*with margin"),
        (alter("DROP TABLE rows", "CREATE TABLE rows (a, b)"), "without confidence, .* with a, b"),
        (alter("DROP TABLE skipped", "CREATE TABLE skipped (path)"), "'skipped' .*without reason"),
    ],
)
def test_a_file_that_is_not_of_this_version_is_refused_and_stays(odd_rows, spoil, hint):
    """SQLite said what it missed, such as "no such column: turn", and nobody what to do."""
    spoil(odd_rows.path)
    before = odd_rows.path.read_bytes()

    with pytest.raises(DataFormatError, match=f"{hint}.*nothing was.*new run without") as caught:
        RowStore(odd_rows.path)

    assert str(caught.value).startswith(str(odd_rows.path))
    assert odd_rows.path.read_bytes() == before


def test_rows_of_numbers_are_no_rows_of_digits(odd_rows):
    with pytest.raises(DataFormatError, match=r"another version.*without count, text, turn"):
        RowStore(odd_rows.path, NUMBER_COLUMNS)


@pytest.mark.parametrize(
    "use",
    [
        lambda store: store.find_earlier(Input("a.png", size=300, stamp=1), "abc"),
        lambda store: store.add([make_row()]),
        lambda store: store.finish(),
    ],
)
def test_damage_that_is_met_on_the_way_is_named(odd_rows, use):
    with contextlib.closing(RowStore(odd_rows.path)) as store:
        store._db.execute("PRAGMA cache_size = 0")
        store._db.execute("PRAGMA shrink_memory")
        tear(store.path)

        with pytest.raises(DataFormatError, match=r"rows\.sqlite.*damaged.*nothing was deleted"):
            use(store)


def test_a_file_that_is_refused_is_let_go(tmp_path, monkeypatch):
    (tmp_path / "rows.sqlite").write_bytes(b"not a database" * 100)
    connect, opened = sqlite3.connect, []

    def note(*words, **options):
        opened.append(connect(*words, **options))
        return opened[-1]

    monkeypatch.setattr(sqlite3, "connect", note)
    with pytest.raises(DataFormatError):
        RowStore(tmp_path / "rows.sqlite")

    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        opened[0].execute("SELECT 1")


def test_results_can_only_be_read(odd_rows):
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        odd_rows.query("DELETE FROM rows")
