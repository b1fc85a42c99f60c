from __future__ import annotations

import builtins
import gzip
import io
import os
import re
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from batch_sources import open_source, read_list
from errors import DataFormatError, DataNotFoundError, SettingsError
from tests.conftest import names, png

# The directory of a zip, one entry, that says it takes version 25.5 to unpack it.
FUTURE_ZIP = (
    b"PK\x01\x02\x14\x00\xff\x00" + bytes(38)
    + b"PK\x05\x06\x00\x00\x00\x00\x01\x00\x01\x00\x2e\x00\x00\x00" + bytes(6)
)  # fmt: skip


def test_a_list_file_names_pictures_relative_to_itself(tree):
    (tree / "list.txt").write_text("b.png\n\n7/x.jpg\nmissing.png\n", encoding="utf-8")

    items = list(open_source(tree / "list.txt").read())

    assert names(items, tree) == ["b.png", "7/x.jpg", "missing.png"]
    assert all(item.is_listed for item in items)
    assert [bool(item.problem) for item in items] == [False, False, True]


def test_a_list_written_on_windows_names_files_too(tree):
    items = list(read_list([b"\xef\xbb\xbfa.png\r\n", b"b.png\n"], tree))

    assert [item.problem for item in items] == ["", ""]


@pytest.mark.parametrize("header", ["path,label", "file,digit", "Label,Image", "\ufeffpath,label"])
def test_a_manifest_gives_paths_and_labels_whatever_their_usual_names(tree, header):
    cells = "a.png,3" if header.lower().startswith(("path", "file", "\ufeff")) else "3,a.png"
    (tree / "pictures.csv").write_text(f"{header}\n{cells}\n", encoding="utf-8")

    (item,) = open_source(tree / "pictures.csv").read()

    assert (item.file, item.label) == (str(tree / "a.png"), 3)


def test_the_row_numbers_that_pandas_writes_are_no_labels(tree):
    (tree / "list.csv").write_text(",path\n0,zero.png\n1,7/seven.png\n", encoding="utf-8")

    assert [item.label for item in open_source(tree / "list.csv").read()] == [None, 7]


def test_a_manifest_may_have_no_labels_or_none_that_is_a_digit(tree, caplog):
    (tree / "pictures.csv").write_text("path,label\na.png,none\nb.png,\n", encoding="utf-8")

    items = list(open_source(tree / "pictures.csv").read())

    assert [item.label for item in items] == [None, None]
    assert not caplog.messages


@pytest.mark.parametrize(
    ("numbers", "cells", "labels", "lost"),
    [
        (False, ["7.0", " 3 ", "0.00", ""], [7, 3, 0, None], ""),
        (False, ["7.5", "12", "1", ""], [None, None, 1, None], "2 labels were .* '7.5' of .*a.png"),
        (False, ["1", "seven", "1", "1"], [1, None, 1, 1], "1 label was .* 'seven' of .*b.png"),
        (True, ["42.0", "007", "1/2", ""], ["42", "007", "1 2", None], ""),
        (True, ["4.2", "007", "none", "-1"], [None, "007", None, None], "2 labels .* '4.2' of"),
    ],
)
def test_labels_of_a_table_are_understood_or_named(tree, caplog, numbers, cells, labels, lost):
    """pandas writes 7.0 as soon as one label is missing, and none of them counted."""
    rows = zip(("a.png", "b.png", "7/x.jpg", "12/z.png"), cells, strict=True)
    table = "path,label\n" + "".join(f"{path},{cell}\n" for path, cell in rows)
    (tree / "pictures.csv").write_text(table, encoding="utf-8")

    items = list(open_source(tree / "pictures.csv", numbers=numbers).read())

    assert [item.label for item in items] == labels
    assert bool(caplog.messages) == bool(lost)
    assert re.search(lost, caplog.text)


@pytest.mark.parametrize("name", ["x" * 300, "a\0.png", "b.png/c.png"])
def test_a_name_that_no_file_can_have_is_an_input_with_a_reason(tree, name):
    """One line of a list, of more characters than a name may have, ended the whole batch."""
    (tree / "list.txt").write_bytes(f"{name}\na.png\n".encode())

    items = list(open_source(tree / "list.txt").read())

    problems = {item.path: item.problem for item in items}
    assert "cannot be opened" in problems[str(tree / name)]
    assert problems[str(tree / "a.png")] == ""


def test_a_folder_in_a_list_is_an_input_with_a_reason(tree):
    (tree / "list.txt").write_text("12\n", encoding="utf-8")

    (item,) = open_source(tree / "list.txt").read()

    assert "is a folder" in item.problem


@pytest.fixture(params=["zip", "tar", "tar.gz"])
def archive(request, tmp_path: Path) -> Path:
    """Return an archive with two pictures, one in a folder called 4."""
    path = tmp_path / f"scans.{request.param}"
    members = {"4/one.png": png(10), "two.png": png(20)}
    if request.param == "zip":
        with zipfile.ZipFile(path, "w") as packed:
            packed.mkdir("4") if hasattr(packed, "mkdir") else None
            for name, content in members.items():
                packed.writestr(name, content)
        return path
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as packed:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            packed.addfile(info, io.BytesIO(content))
    return path


def test_an_archive_is_read_in_place_with_labels_from_its_folders(archive):
    items = list(open_source(archive).read())

    assert names(items, archive) == ["4/one.png", "two.png"]
    assert [item.data for item in items] == [png(10), png(20)]
    assert [item.label for item in items] == [4, None]


@pytest.mark.parametrize("name", ["review.csv", "list.txt"])
def test_a_path_may_lead_into_an_archive_as_a_saved_review_does(archive, tree, name):
    """What a report of an archive saved could not be read: accuracy 0 %."""
    is_table = name.endswith(".csv")
    rows = [
        (archive / "two.png", "5"),
        (tree / "a.png", "1"),
        (archive / "4/one.png", "6"),
        (archive / "gone.png", "7"),
        (archive / "two.png", "8"),
    ]
    lines = [f"{path},{label}" if is_table else str(path) for path, label in rows]
    (tree / name).write_text("\n".join(["path,label"] * is_table + lines), encoding="utf-8")

    items = list(open_source(tree / name).read())

    assert [Path(item.path).name for item in items] == [
        "a.png", "one.png", "two.png", "two.png", "gone.png"
    ]  # fmt: skip
    assert [item.data for item in items] == [None, png(10), png(20), png(20), None]
    if is_table:
        assert [item.label for item in items] == [1, 6, 5, 8, 7]
    assert all(item.is_listed for item in items)
    assert [bool(item.problem) for item in items] == [False] * 4 + [True]
    assert f"no such file in {archive}" in items[-1].problem


@pytest.mark.parametrize(
    ("content", "hint"), [(b"PK torn", "as a zip"), (None, "cannot be opened")]
)
def test_a_path_into_an_archive_that_cannot_be_read_is_an_input_with_a_reason(
    tree, refuse, content, hint
):
    (tree / "scans.zip").write_bytes(content or b"")
    (tree / "list.txt").write_text("scans.zip/a.png\na.png\n", encoding="utf-8")
    if content is None:
        refuse(tree / "scans.zip")

    items = list(open_source(tree / "list.txt").read())

    assert [Path(item.path).name for item in items] == ["a.png", "a.png"]
    assert not items[0].problem
    assert hint in items[1].problem


def test_what_a_damaged_archive_does_not_give_any_more_says_so(tree):
    with tarfile.open(tree / "scans.tar.gz", "w:gz") as packed:
        packed.add(tree / "a.png", "a.png")
    whole = (tree / "scans.tar.gz").read_bytes()
    (tree / "scans.tar.gz").write_bytes(whole[: len(whole) // 2])
    (tree / "list.txt").write_text("scans.tar.gz/gone.png\n", encoding="utf-8")

    (item,) = open_source(tree / "list.txt").read()

    assert "damaged after" in item.problem


def test_kaggles_rows_become_pixels(tmp_path):
    header = ",".join(f"pixel{i}" for i in range(784))
    pixels = ",".join(str(i % 256) for i in range(784))
    (tmp_path / "train.csv").write_text(f"label,{header}\n5,{pixels}\n", encoding="utf-8")
    (tmp_path / "test.csv").write_text(f"{header}\n{pixels}\n{pixels}\n", encoding="utf-8")

    (labelled,) = open_source(tmp_path / "train.csv").read()
    unlabelled = list(open_source(tmp_path / "test.csv").read())

    assert (labelled.label, labelled.is_raw) == (5, True)
    assert labelled.data == bytes(i % 256 for i in range(784))
    assert [item.path.rpartition("#")[2] for item in unlabelled] == ["1", "2"]
    assert open_source(tmp_path / "test.csv").count() == 2


@pytest.mark.parametrize("cell", ["256", "-1", "x", "", "1,2"])
def test_a_damaged_kaggle_row_is_named(tmp_path, cell):
    header = ",".join(f"pixel{i}" for i in range(784))
    row = ",".join(["0"] * 783 + [cell])
    (tmp_path / "test.csv").write_text(f"{header}\n{row}\n", encoding="utf-8")

    with pytest.raises(DataFormatError, match="line 2"):
        list(open_source(tmp_path / "test.csv").read())


def test_kaggles_pixels_under_other_names_are_refused_before_any_work(tmp_path):
    header = ",".join(["digit", *(f"pixel{i}" for i in range(784))])
    (tmp_path / "train.csv").write_text(f"{header}\n", encoding="utf-8")

    with pytest.raises(DataFormatError, match="expected the names"):
        open_source(tmp_path / "train.csv")


@pytest.mark.parametrize(
    ("name", "rule", "label"),
    [
        ("7/a.png", "auto", 7),
        ("12/a.png", "auto", None),
        ("7_12.png", "auto", None),
        ("7_12.png", "names", 7),
        ("7.png", "names", 7),
        ("72.png", "names", None),
        ("3/7-a.png", "names", 7),
        ("7/a.png", "none", None),
    ],
)
def test_labels_come_from_folders_and_from_names_only_on_request(tmp_path, name, rule, label):
    path = tmp_path / "pictures" / name
    path.parent.mkdir(parents=True)
    path.write_bytes(png())

    (item,) = open_source(tmp_path / "pictures", labels=rule).read()

    assert item.label == label


def test_an_empty_label_in_a_table_wins_over_the_name_of_the_folder(tmp_path):
    """A row of which nobody knew what it shows was counted as read right, or wrong."""
    (tmp_path / "7").mkdir()
    for name in ("a.png", "b.png", "c.png"):
        (tmp_path / "7" / name).write_bytes(png())
    table = tmp_path / "labels.csv"
    table.write_text("path,label\n7/a.png,\n7/b.png\n7/c.png,1\n", encoding="utf-8")
    names = tmp_path / "names.csv"
    names.write_text("path\n7/a.png\n", encoding="utf-8")

    assert [item.label for item in open_source(table).read()] == [None, None, 1]
    assert [item.label for item in open_source(names).read()] == [7]


@pytest.mark.parametrize(
    ("name", "content", "error", "hint"),
    [
        ("missing", None, DataNotFoundError, "no such folder or file"),
        ("table.csv", b"a,b\n1,2\n", DataFormatError, "no column of paths"),
        ("empty.csv", b"", DataFormatError, "nothing"),
        ("sheet.csv", "path,label\n".encode("utf-16"), DataFormatError, "not CSV in UTF-8"),
        ("giant.csv", b"x" * 200_000, DataFormatError, "not CSV"),
        ("torn.zip", b"PK\x03\x04 not really", DataFormatError, "damaged"),
        ("future.zip", FUTURE_ZIP, DataFormatError, "damaged"),
        ("torn.tar.gz", b"\x1f\x8b not really", DataFormatError, "damaged"),
        ("short.tar.gz", gzip.compress(bytes(512), mtime=0)[:15], DataFormatError, "damaged"),
    ],
)
def test_a_source_that_cannot_be_read_is_refused_with_advice(tmp_path, name, content, error, hint):
    if content is not None:
        (tmp_path / name).write_bytes(content)

    with pytest.raises(error, match=hint) as caught:
        open_source(tmp_path / name)

    assert name in str(caught.value)


@pytest.fixture
def refuse(monkeypatch):
    """Return a way to make a file one that may not be read, for whoever runs the tests."""

    def refuse(path: Path) -> None:
        def open_or_refuse(file, *arguments, **options):
            if str(file) == str(path):
                raise PermissionError(13, "Permission denied", str(path))
            return io_open(file, *arguments, **options)

        io_open = io.open
        for module, name in ((io, "open"), (builtins, "open"), (tarfile, "bltn_open")):
            monkeypatch.setattr(module, name, open_or_refuse)

    return refuse


@pytest.mark.parametrize(
    "name", ["table.csv", "list.txt", "scans.zip", "scans.tar", "scans.tar.gz", "scan.png"]
)
def test_a_source_that_may_not_be_read_is_refused_with_advice(tmp_path, name, refuse):
    (tmp_path / name).write_bytes(b"path\n")
    refuse(tmp_path / name)

    with pytest.raises(DataNotFoundError, match=r"denied.*may be read") as caught:
        list(open_source(tmp_path / name).read())

    assert str(tmp_path / name) in str(caught.value)


@pytest.fixture
def closed(tree):
    """Return a folder that may be listed, but not entered."""
    if sys.platform == "win32" or os.geteuid() == 0:
        pytest.skip("root may enter every folder")
    (tree / "12").chmod(0o400)
    yield tree / "12"
    (tree / "12").chmod(0o755)


@pytest.mark.parametrize("name", ["deeper", "z.png"])
def test_a_source_below_a_folder_that_may_not_be_entered_is_refused(closed, name):
    with pytest.raises(DataNotFoundError, match=name):
        open_source(closed / name)


def test_what_lies_in_a_folder_that_may_not_be_entered_is_an_input_with_a_reason(closed, tmp_path):
    (tmp_path / "list.txt").write_text(f"{closed / 'z.png'}\n", encoding="utf-8")

    found = [list(open_source(what).read()) for what in (closed / "*.png", tmp_path / "list.txt")]

    assert [["cannot be opened" in item.problem for item in items] for items in found] == [
        [True]
    ] * 2


@pytest.mark.parametrize("name", ["list.txt", "table.csv", "scans.zip", "scans.tar"])
def test_a_source_that_is_gone_before_it_is_read_is_named(tree, name):
    with zipfile.ZipFile(tree / "scans.zip", "w") as packed:
        packed.writestr("a.png", png())
    with tarfile.open(tree / "scans.tar", "w") as packed:
        packed.add(tree / "a.png")
    (tree / "list.txt").write_text("a.png\n", encoding="utf-8")
    (tree / "table.csv").write_text("path\na.png\n", encoding="utf-8")
    source = open_source(tree / name)
    (tree / name).unlink()

    with pytest.raises(DataNotFoundError, match=f"{name}: cannot be opened"):
        list(source.read())

    assert source.count() is None


def test_a_zip_that_is_damaged_before_it_is_read_is_named(tree):
    with zipfile.ZipFile(tree / "scans.zip", "w") as packed:
        packed.writestr("a.png", png())
    source = open_source(tree / "scans.zip")
    (tree / "scans.zip").write_bytes(b"PK")

    with pytest.raises(DataFormatError, match=r"scans\.zip: not a zip"):
        list(source.read())

    assert source.count() is None


def test_a_manifest_that_is_damaged_further_down_is_named_with_the_line(tree):
    (tree / "pictures.csv").write_text("path\na.png\n" + "x" * 200_000, encoding="utf-8")

    with pytest.raises(DataFormatError, match="after line 2"):
        list(open_source(tree / "pictures.csv").read())


def test_an_unknown_rule_for_labels_is_refused(tmp_path):
    with pytest.raises(SettingsError, match="auto, names, none"):
        open_source(tmp_path, labels="folders")
