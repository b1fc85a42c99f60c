"""Reviewed tables: three sorts of them are understood, and no row is passed over in silence."""

from __future__ import annotations

import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from errors import DataFormatError, DataNotFoundError, DigitError
from reviews import Review, find_pictures, read_reviews


def table(folder: Path, text: str) -> Path:
    path = folder / "review.csv"
    path.write_text(text, encoding="utf-8", newline="")
    return path


@pytest.mark.parametrize(
    ("cell", "correct"),
    [("7", 7), (" 0 ", 0), ("3.0", 3), ("none", None), ("None", None), ("not a digit", None)],
)
def test_a_review_is_a_digit_or_a_word_for_none(tmp_path: Path, cell: str, correct: int | None):
    [row] = read_reviews(table(tmp_path, f"path,review\r\na.png,{cell}\r\n"))

    assert row == Review(2, "a.png", correct)


@pytest.mark.parametrize("cell", ["seven", "10", "-1", "7.5", "٣"])
def test_what_is_no_digit_is_a_problem_of_its_row(tmp_path: Path, cell: str):
    rows = list(read_reviews(table(tmp_path, f"path,review\na.png,{cell}\nb.png,1\n")))

    assert f"{cell!r} is not a digit" in rows[0].problem
    assert rows[1] == Review(3, "b.png", 1)


def test_a_row_that_nobody_looked_at_is_empty(tmp_path: Path):
    [row] = read_reviews(table(tmp_path, "path,review\na.png,\n"))

    assert row.is_empty
    assert not row.problem


def test_a_review_counts_more_than_a_label(tmp_path: Path):
    """A batch fills `label` with the name of the folder, which is no review."""
    rows = list(read_reviews(table(tmp_path, "path,label,review\na.png,3,\nb.png,3,5\n")))

    assert [(row.is_empty, row.correct) for row in rows] == [(True, None), (False, 5)]


def test_what_was_read_is_taken_from_the_columns_of_a_batch(tmp_path: Path):
    text = (
        "path,status,digit,confidence,model,model_version,review\n"
        "a.png,unsure,1,0.75,mnist_cnn_best,0123456789ab,7\n"
    )

    [row] = read_reviews(table(tmp_path, text))

    assert row == Review(
        2,
        "a.png",
        7,
        digit=1,
        confidence=0.75,
        verdict="unsure",
        model="mnist_cnn_best",
        model_version="0123456789ab",
    )


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("", "it has nothing"),
        ("path,digit\na.png,3\n", "it has path, digit"),
        ("picture,label\na.png,3\n", "'path'"),
        ("path,label\na\0.png,3\n" + "x" * 200_000, "not CSV"),
    ],
)
def test_a_table_without_reviews_is_refused(tmp_path: Path, text: str, hint: str):
    with pytest.raises(DataFormatError, match=hint):
        list(read_reviews(table(tmp_path, text)))


def test_a_table_that_is_not_text_is_refused(tmp_path: Path):
    path = tmp_path / "review.csv"
    path.write_bytes(b"path,label\n\xff\xfe\n")

    with pytest.raises(DataFormatError, match="not CSV"):
        list(read_reviews(path))


@pytest.mark.parametrize("name", ["gone.csv", "."])
def test_a_table_that_cannot_be_opened_is_named(tmp_path: Path, name: str):
    with pytest.raises(DataNotFoundError, match="cannot be opened"):
        list(read_reviews(tmp_path / name))


def test_cells_that_are_missing_or_too_many_do_no_harm(tmp_path: Path):
    rows = list(read_reviews(table(tmp_path, "path,review\na.png\nb.png,3,4,5\n")))

    assert rows[0].is_empty
    assert rows[1] == Review(3, "b.png", 3)


def test_pictures_are_found_beside_the_table_and_in_the_current_folder(
    tmp_path: Path, digit_png: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
):
    beside, here = digit_png(1, name="table/a.png"), digit_png(2, name="here/b.png")
    odd = digit_png(3, name="table/=sum.png")
    monkeypatch.chdir(tmp_path / "here")
    names = ["a.png", "b.png", str(here), "'=sum.png", "gone.png"]

    found = find_pictures([Review(1, name, 1) for name in names], tmp_path / "table")

    where = [path.resolve() for _, path in found if isinstance(path, Path)]
    assert where == [beside, here, here, odd, tmp_path / "table" / "gone.png"]


@pytest.mark.parametrize("suffix", ["zip", "tar.gz"])
def test_pictures_in_an_archive_are_found_by_the_names_that_a_batch_gives(
    tmp_path: Path, digit_png: Callable[..., Path], suffix: str
):
    content = digit_png(3).read_bytes()
    archive = tmp_path / f"scans.{suffix}"
    if suffix == "zip":
        with zipfile.ZipFile(archive, "w") as packed:
            packed.write(digit_png(3), "3/a.png")
    else:
        with tarfile.open(archive, "w:gz") as packed:
            packed.add(digit_png(3), "3/a.png")
    rows = [Review(2, f"{archive}/3/a.png", 3), Review(3, f"{archive}/3/gone.png", 3)]

    again = Review(4, rows[0].path, 5)

    found = dict(find_pictures([*rows, again], tmp_path))

    assert found[rows[0]] == found[again] == content
    assert isinstance(found[rows[1]], DigitError)
    assert "no such file in" in str(found[rows[1]])


def test_an_archive_that_cannot_be_read_is_the_problem_of_its_rows(tmp_path: Path):
    (tmp_path / "scans.zip").write_bytes(b"not a zip")
    row = Review(2, "scans.zip/a.png", 3)

    [(_, found)] = find_pictures([row], tmp_path)

    assert isinstance(found, DataFormatError)
