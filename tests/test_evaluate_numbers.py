"""Measuring numbers: rows are made as asked, every mistake counts once, tables are checked."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import evaluate_numbers
from errors import DataFormatError, DataNotFoundError, ImageError
from evaluate_numbers import Outcome, count_changes, judge, load_table, main, make_rows, summarise
from predict import MNISTPredictor


@pytest.mark.parametrize(
    ("answer", "truth", "changes"),
    [
        ("", "", 0),
        ("123", "123", 0),
        ("", "123", 3),
        ("123", "", 3),
        ("13", "123", 1),  # one was missed
        ("1223", "123", 1),  # one too many
        ("173", "123", 1),  # one was misread
        ("321", "123", 2),
        ("12/3", "123", 1),  # a line too many
        ("98765", "1234", 5),
    ],
)
def test_changes_are_the_fewest_that_make_the_answer_right(answer: str, truth: str, changes: int):
    assert count_changes(answer, truth) == changes
    assert count_changes(truth, answer) == changes


def test_rows_have_one_to_twelve_digits_in_turn():
    lengths = [len(digits) for _, digits, _ in make_rows(14, strength=0)]

    assert lengths == [*range(1, 13), 1, 2]


def test_the_same_seed_makes_the_same_rows_whatever_the_count():
    short = list(make_rows(2, seed=5))
    long = list(make_rows(3, seed=5))
    other = list(make_rows(2, seed=6))

    for one, same in zip(short, long[:2], strict=True):
        assert one[:2] == same[:2]
        assert np.array_equal(one[2], same[2])
    assert [digits for _, digits, _ in other] != [digits for _, digits, _ in short]


def test_rows_on_a_table_show_the_same_digits_on_larger_pictures():
    plain, laid = (list(make_rows(3, seed=5, on_table=flag)) for flag in (False, True))

    assert [row[:2] for row in laid] == [row[:2] for row in plain]
    for (*_, alone), (*_, picture) in zip(plain, laid, strict=True):
        assert picture.shape[0] > alone.shape[0]
        assert picture.shape[1] > alone.shape[1]
        assert picture.shape[2] == 3


@pytest.mark.parametrize("header", ["path,label,note", "file,label,note", "Image, Target ,x"])
def test_a_table_gives_names_labels_and_places(tmp_path: Path, header: str):
    """`path,label` is what examples/make_samples.py writes, and what a batch reads."""
    table = tmp_path / "numbers.csv"
    table.write_text(f"{header}\nsub/a.png,123,x\nb.png, 45 / 6,\n", encoding="utf-8")

    rows = load_table(table)

    assert rows == [
        ("sub/a.png", "123", tmp_path / "sub" / "a.png"),
        ("b.png", "45/6", tmp_path / "b.png"),
    ]


@pytest.mark.parametrize(
    ("content", "hint"),
    [
        (b"name,label\na.png,1\n", "bad.csv: no column of paths among 'name', 'label'"),
        (b"file,digits\na.png,1\n", "bad.csv: no column of labels among 'file', 'digits'"),
        (b"file,label\na.png,\n", "line 2: label ''"),
        (b"file,label\na.png\n", "line 2: label ''"),
        (b"file,label\n,12\n", "line 2: names no picture"),
        (b"file,label\n\n\na.png,x\n", "line 4: label 'x'"),
        (b"file,label\na.png,1/\n", "line 2: label '1/'"),
        (b"file,label\na.png,1\nb.png,12a\n", "line 3: label '12a'"),
        (b"file,label\na.png,-5\n", "line 2: label '-5'"),
        (b"\xff\xfe\x00file", "not CSV in UTF-8"),
        (b"file,label\n\xff.png,1\n", "not a CSV table in UTF-8"),
        (b"", "bad.csv: no column of paths among nothing"),
        (b"file,label\n", "holds no rows"),
    ],
)
def test_a_bad_table_is_refused_with_the_line_and_the_reason(
    tmp_path: Path, content: bytes, hint: str
):
    table = tmp_path / "bad.csv"
    table.write_bytes(content)

    with pytest.raises(DataFormatError) as caught:
        load_table(table)

    assert "bad.csv" in str(caught.value)
    assert hint in str(caught.value)


def test_a_table_that_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(DataNotFoundError, match=r"nowhere\.csv"):
        load_table(tmp_path / "nowhere.csv")


def reader(answer: list[str] | Exception, verdict: str = "ok") -> MNISTPredictor:
    """Return a stand-in for a predictor that reads the same in every picture."""

    def read(source: object) -> SimpleNamespace:
        if isinstance(answer, Exception):
            raise answer
        return SimpleNamespace(lines=answer, verdict=verdict)

    return SimpleNamespace(read=read)  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("predictor", "expected"),
    [
        (reader(["12", "3"]), ("12/3", "ok", 0)),
        (reader(["12"], "unsure"), ("12", "unsure", 2)),
        (reader([], "not a digit"), ("", "not a digit", 4)),
        (reader(ImageError("damaged")), ("", "error", 4)),
    ],
)
def test_an_answer_is_compared_line_by_line_and_an_error_loses_all_digits(
    predictor: MNISTPredictor, expected: tuple[str, str, int]
):
    outcome = judge(predictor, "a.png", "12/3", b"")

    assert (outcome.answer, outcome.verdict, outcome.changes) == expected


def test_the_summary_counts_digits_whole_numbers_and_sure_ones():
    outcomes = [
        Outcome("a", "123", "123", "ok", 0),
        Outcome("b", "45", "46", "ok", 1),
        Outcome("c", "6", "66666", "unsure", 4),
        Outcome("d", "7/89", "7/89", "unsure", 0),
    ]

    summary = summarise(outcomes)

    counts = {key: (summary[key]["count"], summary[key]["of"]) for key in list(summary)[:3]}
    # No more digits of a number are lost than it has.
    assert counts == {"digits": (7, 9), "numbers": (2, 4), "ok_numbers": (1, 2)}
    assert [mistake["name"] for mistake in summary["mistakes"]] == ["b", "c"]


@pytest.fixture
def tiny_reader(monkeypatch: pytest.MonkeyPatch, tiny_predictor: MNISTPredictor) -> None:
    monkeypatch.setattr(evaluate_numbers, "MNISTPredictor", lambda *_, **__: tiny_predictor)


@pytest.mark.usefixtures("tiny_reader")
def test_the_command_prints_a_table_with_the_mistakes(capsys: pytest.CaptureFixture[str]):
    code = main(["--rows", "3", "--strength", "0.2"])

    output = capsys.readouterr().out
    assert code == 0
    assert "of 6" in output  # digits: 1 + 2 + 3
    assert "of 3" in output
    assert "whole numbers" in output


@pytest.mark.usefixtures("tiny_reader")
def test_a_mistake_is_one_line_whatever_its_picture_is_called(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "t.csv").write_text('path,label\n"new\nline.png",12\n', encoding="utf-8")

    main([str(tmp_path / "t.csv")])

    assert capsys.readouterr().out.splitlines()[-1] == r"  new\nline.png: 12 -> - (error)"


@pytest.mark.usefixtures("tiny_reader")
def test_the_command_reads_pictures_of_a_table_and_prints_json(
    tmp_path: Path, digit_png: Callable[..., Path], capsys: pytest.CaptureFixture[str]
):
    digit_png(7, name="seven.png")
    (tmp_path / "t.csv").write_text("file,label\nseven.png,7\nmissing.png,12\n", encoding="utf-8")

    code = main([str(tmp_path / "t.csv"), "--json"])

    summary = json.loads(capsys.readouterr().out)
    assert code == 0
    assert summary["digits"]["of"] == 3
    assert summary["mistakes"][-1] == {
        "name": "missing.png",
        "truth": "12",
        "answer": "",
        "verdict": "error",
    }


@pytest.mark.parametrize(
    "arguments",
    [
        ["--rows", "0"],
        ["--strength", "1.5"],
        ["--strength", "nan"],
        ["--seed", "-1"],
        ["--gap", "nan"],
    ],
)
def test_settings_out_of_range_are_refused(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
):
    code = main(arguments)

    assert code != 0
    assert "error:" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", ["--rows 200", "--seed 0", "--strength 0.7", "--gap 0", "--on-table"]
)
def test_what_is_said_of_generated_rows_is_refused_beside_a_table(
    words: str, capsys: pytest.CaptureFixture[str]
):
    """`numbers.csv --rows 3` read the whole table, and said nothing of it."""
    code = main(["numbers.csv", *words.split()])

    said = capsys.readouterr().err
    assert code == 2
    assert said.startswith(f"error: {words.split()[0]} ")
    assert "numbers.csv" in said


def test_a_missing_table_is_one_line_and_no_traceback(capsys: pytest.CaptureFixture[str]):
    code = main(["no such table.csv"])

    captured = capsys.readouterr()
    assert code == 1
    assert captured.err.count("\n") == 1
    assert "no such table.csv" in captured.err
