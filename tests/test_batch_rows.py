from __future__ import annotations

import contextlib
import csv
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from batch_input import Input
from batch_rows import (
    COLUMNS,
    NUMBER_COLUMNS,
    WRITERS,
    Results,
    Row,
    RowStore,
    summarise,
    summarise_run,
    write_skipped,
)
from errors import DataFormatError, OutputError

ODD_NAMES = ['a "quoted", name.png', "two\nlines.png", "ünï çödé 七.png", "semi;colon.png"]


def row(path: str = "a.png", **values) -> Row:
    """Return a row as `RowStore.add` takes it: a sure 3, unless told otherwise."""
    probabilities = {f"p{digit}": 0.01 for digit in range(10)} | {"p3": 0.91}
    return {
        "path": path, "status": "ok", "digit": 3, "confidence": 0.91, **probabilities,
        "reason": "", "width": 28, "height": 28, "sha256": "", "label": None,
        "model": "best", "model_version": "abc", "seconds": 0.001,
        "size": 300, "stamp": 1, "seen": None,
    } | values  # fmt: skip


@pytest.fixture
def store(tmp_path: Path):
    store = RowStore(tmp_path / "rows.sqlite")
    yield store
    store.close()


@pytest.fixture
def filled(store: RowStore) -> Results:
    """Return results with five rows, all odd in some way."""
    store.add([row(name) for name in ODD_NAMES])
    store.add([row("bad.png", status="error", reason="torn", digit=None, confidence=None)])
    store.close()
    return Results(store.path)


def test_results_behave_like_a_list_of_dicts(filled):
    assert len(filled) == 5
    assert [each["path"] for each in filled] == [*ODD_NAMES, "bad.png"]
    assert filled[0]["path"] == ODD_NAMES[0]
    assert filled[-1]["status"] == "error"
    assert [each["path"] for each in filled[1:3]] == ODD_NAMES[1:3]
    assert filled[0] in filled
    assert next(reversed(filled)) == filled[-1]
    assert "5 rows" in repr(filled)
    with pytest.raises(IndexError):
        filled[5]


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
def test_a_slice_is_that_of_a_list_and_takes_one_query(filled, monkeypatch, part):
    """Each row opened the file anew: 5,000 rows took longer than to iterate all 20,000."""
    rows = list(filled)
    opened = []
    once = filled._open
    monkeypatch.setattr(filled, "_open", lambda: opened.append(1) or once())

    found = filled[part]

    assert found == rows[part]
    assert len(opened) <= 2  # one of them asks how many rows there are


def test_a_data_frame_takes_results_as_they_are(filled):
    pandas = pytest.importorskip("pandas")

    frame = pandas.DataFrame(filled)

    assert list(frame.columns) == list(COLUMNS)
    assert frame["path"].tolist() == [*ODD_NAMES, "bad.png"]


def test_csv_keeps_odd_names_and_digits_stay_whole_numbers(filled, tmp_path):
    path = WRITERS["csv"](filled, tmp_path / "results.csv")

    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [each["path"] for each in rows] == [*ODD_NAMES, "bad.png"]
    assert [each["digit"] for each in rows] == ["3", "3", "3", "3", ""]
    assert b"\r\n" in path.read_bytes()


@pytest.mark.parametrize("name", ["=1+1.png", "+1.png", "-1.png", "@SUM(A1).png", "\t=1.png"])
def test_a_name_that_is_a_formula_is_made_harmless_in_csv_and_stays_itself_in_json(
    store, tmp_path, name
):
    store.add([row(name, reason="=cmd")])
    store.close()
    results = Results(store.path)

    with WRITERS["csv"](results, tmp_path / "r.csv").open(newline="", encoding="utf-8") as file:
        (from_csv,) = csv.DictReader(file)
    (from_json,) = json.loads(WRITERS["json"](results, tmp_path / "r.json").read_text("utf-8"))

    assert (from_csv["path"], from_csv["reason"]) == (f"'{name}", "'=cmd")
    assert from_json["path"] == name


def test_files_that_are_no_pictures_are_written_with_their_reasons(store, tmp_path):
    store.add([row()], skipped=[("notes.txt", "no, it is text"), ("=1+1", "-")])
    store.close()

    path = write_skipped(Results(store.path), tmp_path / "skipped.csv")

    with path.open(newline="", encoding="utf-8") as file:
        assert list(csv.reader(file)) == [
            ["path", "reason"],
            ["notes.txt", "no, it is text"],
            ["'=1+1", "'-"],
        ]


def test_json_json_lines_and_parquet_hold_the_same_rows(filled, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    rows = list(filled)

    from_json = json.loads(WRITERS["json"](filled, tmp_path / "r.json").read_text("utf-8"))
    lines = WRITERS["jsonl"](filled, tmp_path / "r.jsonl").read_text("utf-8").split("\n")[:-1]
    from_parquet = parquet.read_table(WRITERS["parquet"](filled, tmp_path / "r.parquet"))

    assert from_json == rows
    assert [json.loads(line) for line in lines] == rows
    assert from_parquet.to_pylist() == rows
    assert str(from_parquet.schema.field("digit").type) == "int32"


@pytest.mark.parametrize("form", ["csv", "json", "jsonl", "submission"])
def test_no_rows_make_a_valid_file(store, tmp_path, form):
    store.close()

    text = WRITERS[form](Results(store.path), tmp_path / "empty").read_text("utf-8")

    assert {"csv": text.startswith("path,"), "json": text == "[]\n", "jsonl": text == "",
            "submission": text == "ImageId,Label\n"}[form]  # fmt: skip


def test_a_submission_has_what_kaggle_asks_for(store, tmp_path):
    store.add([row(f"test.csv#{n}", digit=n) for n in (1, 2)])
    store.close()

    text = WRITERS["submission"](Results(store.path), tmp_path / "s.csv").read_text("utf-8")

    assert text.split() == ["ImageId,Label", "1,1", "2,2"]


@pytest.mark.parametrize(("bad", "end"), [(1, r"\(bad2.png\): "), (7, "and 2 more: ")])
def test_a_submission_in_which_a_digit_would_be_missing_is_refused(store, tmp_path, bad, end):
    """It had lines such as `3,`, without a label."""
    unread = {"status": "error", "digit": None, "confidence": None}
    store.add([row("a.png"), row("b.png")])
    store.add([row(f"bad{n}.png", **unread) for n in range(2, 2 + bad)])
    store.close()

    with pytest.raises(DataFormatError, match=f"ImageId 3 .*{end}.*--resume"):
        WRITERS["submission"](Results(store.path), tmp_path / "s.csv")

    assert not (tmp_path / "s.csv").exists()


def test_an_earlier_row_is_found_only_for_the_same_file_and_model(tmp_path):
    first = RowStore(tmp_path / "rows.sqlite")
    first.add([row("a.png"), row("bad.png", status="error")])
    first.close()

    store = RowStore(tmp_path / "rows.sqlite")

    assert store.find_earlier(Input("a.png", size=300, stamp=1), "abc") == row("a.png")
    assert store.find_earlier(Input("a.png", size=301, stamp=1), "abc") is None
    assert store.find_earlier(Input("a.png", size=300, stamp=2), "abc") is None
    assert store.find_earlier(Input("a.png", size=300, stamp=1), "def") is None
    assert store.find_earlier(Input("bad.png", size=300, stamp=1), "abc") is None
    store.close()


def test_rows_that_a_second_interruption_did_not_reach_are_still_found(tmp_path):
    for reached in ([row("a.png"), row("b.png"), row("c.png")], [row("a.png")], []):
        store = RowStore(tmp_path / "rows.sqlite")
        store.add(reached)
        store.close()

    store = RowStore(tmp_path / "rows.sqlite")

    assert store.find_earlier(Input("c.png", size=300, stamp=1), "abc") is not None
    store.close()


def test_values_find_their_columns_by_name(store):
    """They were taken by their place: one more of them would have moved all the others."""
    backwards = dict(reversed(row("a.png", label=7, seen=b"ink").items()))

    store.add([backwards])

    store.close()
    assert Results(store.path)[0] == {name: backwards[name] for name in COLUMNS}


@pytest.mark.parametrize("change", [{"other": 1}, {"label": ...}])
def test_a_row_with_other_values_than_the_table_has_columns_is_not_written(store, change):
    wrong = {name: value for name, value in (row() | change).items() if value is not ...}

    with pytest.raises(AssertionError, match="columns"):
        store.add([row(), wrong])

    store.close()
    assert len(Results(store.path)) == 0


def test_rows_are_on_the_disk_when_add_returns(store):
    store.add([row()])

    copy = store.path.with_name("copy.sqlite")
    copy.write_bytes(store.path.read_bytes())  # what a power cut would leave
    assert len(Results(copy)) == 1


def test_two_runs_cannot_write_the_same_rows(store):
    store.add([row()])

    with pytest.raises(OutputError, match="another process"):
        RowStore(store.path)


def test_a_full_disk_leaves_the_rows_before_intact(store):
    store.add([row("kept.png")])
    pages = store._db.execute("PRAGMA page_count").fetchone()[0]
    store._db.execute(f"PRAGMA max_page_count = {pages}")  # SQLite then reports a full disk

    with pytest.raises(OutputError, match=r"full.*1 rows.*--resume"):
        store.add([row("x" * 100_000)])

    store.close()
    assert [each["path"] for each in Results(store.path)] == ["kept.png"]


def test_a_disk_too_full_to_begin_again_does_not_count_the_rows_of_before(filled, full_disk):
    """It said that "the 0 rows written before are intact"."""
    with full_disk(), pytest.raises(OutputError, match="; the rows written before are intact"):
        RowStore(filled.path)

    assert len(filled) == 5


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
def test_a_file_that_is_not_of_this_version_is_refused_and_stays(filled, spoil, hint):
    """SQLite said what it missed, such as "no such column: turn", and nobody what to do."""
    spoil(filled.path)
    before = filled.path.read_bytes()

    with pytest.raises(DataFormatError, match=f"{hint}.*nothing was.*new run without") as caught:
        RowStore(filled.path)

    assert str(caught.value).startswith(str(filled.path))
    assert filled.path.read_bytes() == before


def test_rows_of_numbers_are_no_rows_of_digits(filled):
    with pytest.raises(DataFormatError, match=r"another version.*without count, text, turn"):
        RowStore(filled.path, NUMBER_COLUMNS)


@pytest.mark.parametrize(
    "use",
    [
        lambda store: store.find_earlier(Input("a.png", size=300, stamp=1), "abc"),
        lambda store: store.add([row()]),
        lambda store: store.finish(),
    ],
)
def test_damage_that_is_met_on_the_way_is_named(filled, use):
    with contextlib.closing(RowStore(filled.path)) as store:
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


def test_results_can_only_be_read(filled):
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        filled.query("DELETE FROM rows")


def test_a_summary_counts_and_scores(store):
    store.add(
        [
            row("1", label=3),
            row("2", label=8, confidence=0.99),
            row("3", label=8, confidence=0.55, status="unsure"),
            row("4", label=5, status="error", digit=None, confidence=None, reason="9 bytes"),
            row("5", label=None, status="error", digit=None, confidence=None, reason="10 bytes"),
            row("6", label=None, status="not a digit", digit=None, confidence=None),
            row("7", label=3, status="not a digit", confidence=0.55),
        ],
        skipped=[("notes.txt", "not a picture")],
    )
    store.close()
    results = Results(store.path)

    summary = summarise(results)

    assert (summary["pictures"], summary["skipped"], summary["error"]) == (7, 1, 2)
    assert summary["digits"] == [0, 0, 0, 4, 0, 0, 0, 0, 0, 0]
    assert summary["confidences"] == [0, 0, 0, 0, 0, 2, 0, 0, 0, 2]
    assert summary["reasons"] == [{"count": 2, "reason": "10 bytes", "example": "5"}]
    assert (summary["labelled"], summary["correct"], summary["accuracy"]) == (5, 2, 0.4)
    by_status = {"ok": 1, "unsure": 0, "not a digit": 1, "error": 0}
    assert summary["correct_by_status"] == by_status
    assert summary["confusion"][8][3] == 2
    assert [each["path"] for each, _ in results.worst_mistakes(5)] == ["2", "3"]
    assert [each["path"] for each, _ in results.doubtful(5)] == ["3", "7", "2", "6"]


@pytest.mark.parametrize(
    ("seconds", "shown", "rate"), [(1.2345, 1.23, 3.2), (0.0, 0.0, 4_000_000_000.0)]
)
def test_a_run_is_summed_up_with_what_was_read_now(filled, seconds, shown, rate):
    summary = summarise_run(filled, {"run": "a", "kind": "zip"}, read_now=4, seconds=seconds)

    assert list(summary)[:3] == ["run", "kind", "pictures"]
    assert summary | summarise(filled) == summary
    assert summary["read_now"] == 4
    assert (summary["seconds"], summary["pictures_per_second"]) == (shown, rate)


def test_without_labels_there_is_no_score(filled):
    summary = summarise(filled)

    assert (summary["labelled"], summary["accuracy"], summary["confusion"]) == (0, None, None)
