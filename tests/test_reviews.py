"""Reviewed tables: three sorts of them are understood, and no row is passed over in silence."""

from __future__ import annotations

import csv
import os
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

import archives
from batch_input import Input
from batch_processor import BatchProcessor
from errors import DataFormatError, DataNotFoundError, DigitError, OutputError
from feedback import FeedbackStore
from reviews import Review, find_pictures, import_reviews, read_reviews
from utils import printable

if TYPE_CHECKING:
    from predict import MNISTPredictor


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
        ("path,digit\na.png,3\n", "it has 'path', 'digit'"),
        ("name,label\na.png,3\n", "'path'"),
        ("path;label\na.png;3\n", "commas between the columns, not with ';'"),
        ("path,label\na\0.png,3\n" + "x" * 200_000, "not CSV"),
    ],
)
def test_a_table_without_reviews_is_refused(tmp_path: Path, text: str, hint: str):
    with pytest.raises(DataFormatError, match=hint):
        list(read_reviews(table(tmp_path, text)))


@pytest.mark.parametrize("header", ["Path,Label", " FILENAME ,Review", "image,note,correct"])
def test_columns_are_known_in_any_case_and_paths_by_their_usual_names(tmp_path: Path, header: str):
    cells = {"path": "a.png", "filename": "a.png", "image": "a.png", "note": "faint"}
    row = ",".join(cells.get(name.strip().lower(), "3") for name in header.split(","))

    [review] = read_reviews(table(tmp_path, f"{header}\n{row}\n"))

    assert (review.path, review.correct) == ("a.png", 3)


@pytest.mark.parametrize(
    "content", [b"path,label\n\xff\xfe\n", "path,label\na.png,3\n".encode("utf-16")]
)
def test_a_table_that_is_not_utf8_is_refused(tmp_path: Path, content: bytes):
    path = tmp_path / "review.csv"
    path.write_bytes(content)

    with pytest.raises(DataFormatError, match="save it again as CSV in UTF-8"):
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


@pytest.mark.parametrize("name", [b"bad\xff.png", b"=\xe9.png", b"bad\\udcff.png"])
@pytest.mark.parametrize("packed", [False, True])
def test_a_picture_is_found_whatever_bytes_its_name_holds(
    tmp_path: Path, digit_png: Callable[..., Path], name: bytes, packed: bool
):
    """A batch writes such a byte as \\udcff, and the import said that there is no such file."""
    folder = tmp_path / os.fsdecode(name)
    path = folder.with_suffix(".zip") if packed else folder
    try:
        path.write_bytes(b"")
    except OSError:
        pytest.skip("this file system takes only names in UTF-8")
    if packed:
        with zipfile.ZipFile(path, "w") as archive:
            archive.write(digit_png(7), "7.png")
    shown = printable(path.name) + ("/7.png" if packed else "")
    shown = f"'{shown}" if shown.startswith("=") else shown

    [(_, found)] = find_pictures([Review(2, shown, 7)], tmp_path)

    assert found == (digit_png(7).read_bytes() if packed else path)


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


@pytest.mark.parametrize("suffix", ["zip", "tar"])
def test_of_an_archive_only_the_pictures_that_the_table_names_are_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
):
    """Each of its files was, for the few that somebody had reviewed."""
    archive = tmp_path / f"scans.{suffix}"
    names = [f"{number}.png" for number in range(6)]
    if suffix == "zip":
        with zipfile.ZipFile(archive, "w") as as_zip:
            for name in names:
                as_zip.writestr(name, name)
    else:
        with tarfile.open(archive, "w") as as_tar:
            for name in names:
                (tmp_path / name).write_text(name)
                as_tar.add(tmp_path / name, name)
    filled: list[str] = []
    fill = archives._fill

    def note(item: Input, read: Callable[[], bytes]) -> Input:
        filled.append(item.path)
        return fill(item, read)

    monkeypatch.setattr(archives, "_fill", note)
    rows = [Review(2, f"{archive}/4.png", 3), Review(3, f"{archive}/1.png", 3)]

    found = [(review.line, content) for review, content in find_pictures(rows, tmp_path)]

    assert found == [(3, b"1.png"), (2, b"4.png")]
    assert filled == [f"{archive}/1.png", f"{archive}/4.png"]


def test_pictures_behind_the_damage_of_an_archive_are_told_that_it_is_damaged(tmp_path: Path):
    """They were told to check their names."""
    with tarfile.open(tmp_path / "scans.tar", "w", format=tarfile.USTAR_FORMAT) as packed:
        for name in ("a.png", "b.png"):
            (tmp_path / name).write_bytes(b"x" * 2_000)
            packed.add(tmp_path / name, name)
    content = (tmp_path / "scans.tar").read_bytes()
    (tmp_path / "scans.tar").write_bytes(content[:2_560] + b"x" * 512)
    rows = [Review(2, "scans.tar/a.png", 3), Review(3, "scans.tar/b.png", 3)]

    (_, first), (_, second) = find_pictures(rows, tmp_path)

    assert first == b"x" * 2_000
    assert isinstance(second, DataFormatError)
    assert "damaged after 1 files" in str(second)


def test_an_archive_that_cannot_be_read_is_the_problem_of_its_rows(tmp_path: Path):
    (tmp_path / "scans.zip").write_bytes(b"not a zip")
    row = Review(2, "scans.zip/a.png", 3)

    [(_, found)] = find_pictures([row], tmp_path)

    assert isinstance(found, DataFormatError)


@pytest.mark.parametrize("share", ["sure", "1.1", "-0.1", "nan"])
def test_a_confidence_that_is_no_share_is_a_problem_of_its_row(tmp_path: Path, share: str):
    rows = list(read_reviews(table(tmp_path, f"path,review,confidence\na.png,7,{share}\n")))

    assert f"confidence {share!r} is not a number from 0 to 1" in rows[0].problem


# --- into the store ---------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path: Path) -> FeedbackStore:
    return FeedbackStore(tmp_path / "deep" / "feedback.sqlite")


def test_a_batch_comes_back_reviewed(
    store: FeedbackStore,
    tmp_path: Path,
    digit_png: Callable[..., Path],
    tiny_predictor: MNISTPredictor,
    monkeypatch: pytest.MonkeyPatch,
):
    """Folder -> results.csv -> somebody fills a column "review" -> corrections."""
    digit_png(3, name="scans/a.png")
    digit_png(4, name="scans/=b.png")
    with zipfile.ZipFile(tmp_path / "scans.zip", "w") as archive:
        archive.write(digit_png(7), "7/c.png")
    monkeypatch.chdir(tmp_path)  # the rows of a batch name files from where it was started
    reviews = {"scans": {"scans/a.png": "8", "'scans/=b.png": "", "scans/=b.png": ""}}
    reviews["scans.zip"] = {
        str(tmp_path / "scans.zip/7/c.png"): "none",
        "scans.zip/7/c.png": "none",
    }
    processor = BatchProcessor(tiny_predictor, output="out", workers=0, progress=False)
    taken = []

    for source, said in reviews.items():
        processor.process(source)
        table = processor.save_results_csv()
        _review(table, said)
        taken.append(import_reviews(store, table))

    assert [(each.added, each.unreviewed, each.problems) for each in taken] == [
        (1, 1, ()),
        (1, 0, ()),
    ]
    assert [(each.correct, each.digit, each.verdict) for each in store.stream()] == [
        (8, 3, "ok"),
        (None, 7, "ok"),
    ]
    assert {each.model_version for each in store.stream()} == {tiny_predictor.checkpoint.version}


def _review(table: Path, said: dict[str, str]) -> None:
    """Fill in a column as one does in a spreadsheet."""
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    with table.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [*rows[0], "review"])
        writer.writeheader()
        writer.writerows({**row, "review": said[row["path"]]} for row in rows)


def test_a_picture_that_is_not_in_its_archive_is_named_and_the_others_are_taken(
    store: FeedbackStore, tmp_path: Path, digit_png: Callable[..., Path]
):
    with zipfile.ZipFile(tmp_path / "scans.zip", "w") as packed:
        packed.write(digit_png(3), "a.png")
    rows = "scans.zip/gone.png,3\nscans.zip/a.png,3\n"

    imported = import_reviews(store, table(tmp_path, f"path,review\n{rows}"))

    assert imported.added == 1
    (problem,) = imported.problems
    assert problem.startswith("line 2, scans.zip/gone.png: there is no such file in")


def test_what_is_wrong_with_a_picture_is_said_of_its_row_or_of_its_file(
    store: FeedbackStore, tmp_path: Path
):
    (tmp_path / "a.png").write_bytes(b"Dear Sir")
    with zipfile.ZipFile(tmp_path / "scans.zip", "w") as packed:
        packed.writestr("b.png", b"Dear Sir")
    rows = "a.png,3\nscans.zip/b.png,3\n"

    imported = import_reviews(store, table(tmp_path, f"path,review\n{rows}"))

    reason = "not a picture in a known format; save it as PNG or JPEG"
    assert imported.problems == (
        f"line 2, a.png: {tmp_path / 'a.png'}: {reason}",
        f"line 3, scans.zip/b.png: {reason}",
    )


def test_a_store_that_cannot_be_written_ends_an_import(
    tmp_path: Path, digit_png: Callable[..., Path]
):
    digit_png(3, name="three.png")
    (tmp_path / "file").write_text("in the way", encoding="utf-8")

    with pytest.raises(OutputError, match="cannot keep corrections"):
        import_reviews(
            FeedbackStore(tmp_path / "file" / "feedback.sqlite"),
            table(tmp_path, "path,review\nthree.png,3\n"),
        )


@pytest.mark.parametrize(
    ("rows", "problems"),
    [
        (
            ["seven.png,7", "three.png,3", "seven.png,3"],
            ["line 2, seven.png: 7 here, but 3 in line 4", "line 4, seven.png: 3 here, but 7 in"],
        ),
        (
            ["seven.png,none", "./seven.png,7", "three.png,3", "seven.png,7"],
            ["line 2, seven.png: none here", "line 3, ./seven.png: 7", "line 5, seven.png: 7"],
        ),
        (["seven.png,7", "three.png,3", "seven.png,7.0", "seven.png,"], []),
    ],
)
def test_rows_that_contradict_each_other_are_named_and_not_taken(
    store: FeedbackStore, tmp_path: Path, digit_png: Callable[..., Path],
    rows: list[str], problems: list[str],
):  # fmt: skip
    """The last one was taken in silence, and each was counted as added."""
    digit_png(7, name="seven.png")
    digit_png(3, name="three.png")

    imported = import_reviews(store, table(tmp_path, "\n".join(["path,label", *rows])))

    assert imported.added == store.count() == (1 if problems else 2)
    assert len(imported.problems) == len(problems)
    for found, expected in zip(imported.problems, problems, strict=True):
        assert found.startswith(expected)


def test_one_picture_is_known_by_other_names_too(
    store: FeedbackStore,
    tmp_path: Path,
    digit_png: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
):
    """A link, and a path from where the command runs, passed for other pictures."""
    digit_png(7, name="seven.png")
    tables = tmp_path / "tables"
    tables.mkdir()
    (tables / "link.png").symlink_to(tmp_path / "seven.png")
    monkeypatch.chdir(tmp_path)
    rows = ["../seven.png,7", "seven.png,1", "link.png,2"]

    imported = import_reviews(store, table(tables, "\n".join(["path,label", *rows])))

    assert (imported.added, len(imported.problems)) == (0, 3)


def test_each_row_that_cannot_be_taken_is_named(
    store: FeedbackStore, tmp_path: Path, digit_png: Callable[..., Path]
):
    digit_png(3, name="three.png")
    (tmp_path / "letter.png").write_bytes(b"Dear Sir")
    Image.new("L", (40, 40), 255).save(tmp_path / "blank.png")
    rows = ["three.png,3", "three.png,", "gone.png,3", "letter.png,3", "blank.png,3", "x.png,seven"]
    rows += [f"{'x' * 300}.png,3"]  # longer than the name of a file may be
    table = tmp_path / "review.csv"
    table.write_text("path,label\n" + "\n".join(rows), encoding="utf-8")

    imported = import_reviews(store, table)

    assert (imported.added, imported.known, imported.unreviewed) == (1, 0, 1)
    places = [problem.split(": ")[0] for problem in imported.problems]
    assert places == [
        "line 4, gone.png",
        "line 5, letter.png",
        "line 6, blank.png",
        "line 7, x.png",
        f"line 8, {'x' * 300}.png",
    ]
    assert "no such file" in imported.problems[0]
    assert "'seven' is not a digit" in imported.problems[3]
