"""Files of rows: they hold the same rows, whatever their format, and odd names harm nobody."""

from __future__ import annotations

import csv
import json

import pytest

from batch_formats import WRITERS, write_skipped
from batch_rows import Results
from errors import DataFormatError
from tests.conftest import ODD_NAMES, make_row


def test_csv_keeps_odd_names_and_digits_stay_whole_numbers(odd_rows, tmp_path):
    path = WRITERS["csv"](odd_rows, tmp_path / "results.csv")

    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [each["path"] for each in rows] == [*ODD_NAMES, "bad.png"]
    assert [each["digit"] for each in rows] == ["3", "3", "3", "3", ""]
    assert b"\r\n" in path.read_bytes()


@pytest.mark.parametrize("name", ["=1+1.png", "+1.png", "-1.png", "@SUM(A1).png", "\t=1.png"])
def test_a_name_that_is_a_formula_is_made_harmless_in_csv_and_stays_itself_in_json(
    row_store, tmp_path, name
):
    row_store.add([make_row(name, reason="=cmd")])
    row_store.close()
    results = Results(row_store.path)

    with WRITERS["csv"](results, tmp_path / "r.csv").open(newline="", encoding="utf-8") as file:
        (from_csv,) = csv.DictReader(file)
    (from_json,) = json.loads(WRITERS["json"](results, tmp_path / "r.json").read_text("utf-8"))

    assert (from_csv["path"], from_csv["reason"]) == (f"'{name}", "'=cmd")
    assert from_json["path"] == name


def test_files_that_are_no_pictures_are_written_with_their_reasons(row_store, tmp_path):
    row_store.add([make_row()], skipped=[("notes.txt", "no, it is text"), ("=1+1", "-")])
    row_store.close()

    path = write_skipped(Results(row_store.path), tmp_path / "skipped.csv")

    with path.open(newline="", encoding="utf-8") as file:
        assert list(csv.reader(file)) == [
            ["path", "reason"],
            ["notes.txt", "no, it is text"],
            ["'=1+1", "'-"],
        ]


def test_json_json_lines_and_parquet_hold_the_same_rows(odd_rows, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    rows = list(odd_rows)

    from_json = json.loads(WRITERS["json"](odd_rows, tmp_path / "r.json").read_text("utf-8"))
    lines = WRITERS["jsonl"](odd_rows, tmp_path / "r.jsonl").read_text("utf-8").split("\n")[:-1]
    from_parquet = parquet.read_table(WRITERS["parquet"](odd_rows, tmp_path / "r.parquet"))

    assert from_json == rows
    assert [json.loads(line) for line in lines] == rows
    assert from_parquet.to_pylist() == rows
    assert str(from_parquet.schema.field("digit").type) == "int32"


@pytest.mark.parametrize("form", ["csv", "json", "jsonl", "submission"])
def test_no_rows_make_a_valid_file(row_store, tmp_path, form):
    row_store.close()

    text = WRITERS[form](Results(row_store.path), tmp_path / "empty").read_text("utf-8")

    assert {"csv": text.startswith("path,"), "json": text == "[]\n", "jsonl": text == "",
            "submission": text == "ImageId,Label\n"}[form]  # fmt: skip


def test_a_submission_has_what_kaggle_asks_for(row_store, tmp_path):
    row_store.add([make_row(f"test.csv#{n}", digit=n) for n in (1, 2)])
    row_store.close()

    text = WRITERS["submission"](Results(row_store.path), tmp_path / "s.csv").read_text("utf-8")

    assert text.split() == ["ImageId,Label", "1,1", "2,2"]


@pytest.mark.parametrize(("bad", "end"), [(1, r"\(bad2.png\): "), (7, "and 2 more: ")])
def test_a_submission_in_which_a_digit_would_be_missing_is_refused(row_store, tmp_path, bad, end):
    """It had lines such as `3,`, without a label."""
    unread = {"status": "error", "digit": None, "confidence": None}
    row_store.add([make_row("a.png"), make_row("b.png")])
    row_store.add([make_row(f"bad{n}.png", **unread) for n in range(2, 2 + bad)])
    row_store.close()

    with pytest.raises(DataFormatError, match=f"ImageId 3 .*{end}.*--resume"):
        WRITERS["submission"](Results(row_store.path), tmp_path / "s.csv")

    assert not (tmp_path / "s.csv").exists()
