from __future__ import annotations

import builtins
import bz2
import gzip
import importlib.util
import io
import itertools
import lzma
import os
import re
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import batch_sources
from batch_sources import Input, open_source, read_list
from errors import DataFormatError, DataNotFoundError, SettingsError


def png(value: int = 200, side: int = 8) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((side, side), value, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


# The directory of a zip, one entry, that says it takes version 25.5 to unpack it.
FUTURE_ZIP = (
    b"PK\x01\x02\x14\x00\xff\x00" + bytes(38)
    + b"PK\x05\x06\x00\x00\x00\x00\x01\x00\x01\x00\x2e\x00\x00\x00" + bytes(6)
)  # fmt: skip


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Return a folder with files at three levels; their content does not matter here."""
    for name in ("b.png", "a.png", "7/x.jpg", "7/deep/y.png", "12/z.png"):
        path = tmp_path / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png())
    return tmp_path / "tree"


def names(items: list[Input], folder: Path) -> list[str]:
    return [Path(item.path).relative_to(folder).as_posix() for item in items]


def test_a_folder_is_read_in_the_order_of_names_with_its_subfolders(tree):
    source = open_source(tree)

    items = list(source.read())

    assert names(items, tree) == ["a.png", "b.png", "12/z.png", "7/x.jpg", "7/deep/y.png"]
    assert source.count() == len(items) == 5
    assert [item.path for item in source.read()] == [item.path for item in items]


def test_subfolders_are_left_out_on_request(tree):
    items = list(open_source(tree, recursive=False).read())

    assert names(items, tree) == ["a.png", "b.png"]


def test_links_in_a_circle_are_harmless_and_each_folder_is_read_once(tree):
    (tree / "7" / "back").symlink_to(tree, target_is_directory=True)
    (tree / "again").symlink_to(tree / "12", target_is_directory=True)

    items = list(open_source(tree).read())

    assert len(items) == 5


def test_a_link_to_nowhere_is_an_input_with_a_reason(tree):
    (tree / "lost.png").symlink_to(tree / "gone.png")

    item = next(item for item in open_source(tree).read() if item.path.endswith("lost.png"))

    assert "leads nowhere" in item.problem


@pytest.mark.skipif(sys.platform == "win32", reason="needs named pipes")
def test_a_named_pipe_is_not_opened(tree):
    os.mkfifo(tree / "pipe.png")

    item = next(item for item in open_source(tree).read() if item.path.endswith("pipe.png"))

    assert "not a file" in item.problem


@pytest.mark.skipif(
    sys.platform == "win32" or os.geteuid() == 0, reason="root may list every folder"
)
def test_a_folder_that_may_not_be_listed_is_an_input_with_a_reason(tree):
    (tree / "12").chmod(0)

    items = list(open_source(tree).read())

    (tree / "12").chmod(0o755)
    assert [item.path for item in items if "cannot be listed" in item.problem] == [str(tree / "12")]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_a_name_that_is_not_unicode_is_shown_in_unicode_and_still_opened(tmp_path):
    Path(tmp_path, os.fsdecode(b"caf\xe9.png")).write_bytes(png())

    (item,) = open_source(tmp_path).read()

    assert item.path.encode("utf-8").endswith(rb"caf\udce9.png")
    assert item.file is not None
    assert Path(item.file).read_bytes() == png()


def test_a_glob_gives_what_matches_in_order(tree):
    items = list(open_source(str(tree / "**" / "*.png")).read())

    assert names(items, tree) == ["12/z.png", "7/deep/y.png", "a.png", "b.png"]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("**/*.png", ["12/z.png", "7/deep/y.png", "a.png", "b.png"]),
        ("**", ["12/z.png", "7/deep/y.png", "7/x.jpg", "a.png", "b.png"]),
        ("7/**/y.png", ["7/deep/y.png"]),
        ("**/deep/**/*", ["7/deep/y.png"]),
        ("*/**/**/*.png", ["12/z.png", "7/deep/y.png"]),
        ("nothing/**", []),
    ],
)
def test_two_stars_stand_for_any_number_of_folders(tree, monkeypatch, pattern, expected):
    (tree / ".hidden").mkdir()
    (tree / ".hidden" / "h.png").write_bytes(png())

    absolute = open_source(str(tree / pattern))
    monkeypatch.chdir(tree)
    relative = list(open_source(pattern).read())

    assert names(list(absolute.read()), tree) == expected
    assert [Path(item.path).as_posix() for item in relative] == expected


def test_two_stars_go_round_no_circle_and_follow_other_links(tree):
    """With one link that led back each picture was read 41 times; with two there was no end."""
    for name in ("up", "again"):
        (tree / "7" / name).symlink_to(tree, target_is_directory=True)
    (tree.parent / "elsewhere").mkdir()
    (tree.parent / "elsewhere" / "e.png").write_bytes(png())
    (tree / "link").symlink_to(tree.parent / "elsewhere", target_is_directory=True)

    source = open_source(str(tree / "**" / "*.png"))
    items = list(source.read())

    assert names(items, tree) == ["12/z.png", "7/deep/y.png", "a.png", "b.png", "link/e.png"]
    assert source.count() == 5


def test_an_address_is_read_like_a_folder(tree):
    pytest.importorskip("pyarrow")

    source = open_source(tree.as_uri())
    items = list(source.read())

    assert [item.path.partition("tree/")[2] for item in items] == [
        "12/z.png", "7/deep/y.png", "7/x.jpg", "a.png", "b.png"
    ]  # fmt: skip
    assert items[3].size == len(png())
    assert [item.label for item in items] == [None, None, 7, None, None]


@pytest.mark.parametrize("address", ["nosuch://bucket/x", "file:///nowhere/at/all"])
def test_an_address_that_leads_nowhere_is_named(address):
    pytest.importorskip("pyarrow")

    with pytest.raises(DataNotFoundError, match=address):
        list(open_source(address).read())


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


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_damaged_member_is_an_input_with_a_reason_and_the_others_are_read(tmp_path, method):
    """A byte in what LZMA had packed ended the whole batch with a traceback."""
    path = tmp_path / "scans.zip"
    with zipfile.ZipFile(path, "w", method) as packed:
        for name in ("a.png", "b.png", "c.png"):
            packed.writestr(name, png(side=64))
        place = packed.getinfo("b.png").header_offset + 30 + len("b.png") + 20
    content = bytearray(path.read_bytes())
    content[place : place + 40] = b"\xff" * 40
    path.write_bytes(content)

    items = list(open_source(path).read())

    assert [item.data for item in items] == [png(side=64), None, png(side=64)]
    assert "cannot be unpacked" in items[1].problem


def test_a_member_without_a_name_is_an_input_like_the_others(tmp_path):
    with zipfile.ZipFile(tmp_path / "scans.zip", "w") as packed:
        packed.writestr("a.png", png())
    content = (tmp_path / "scans.zip").read_bytes().replace(b"a.png", b"\0.png")
    (tmp_path / "scans.zip").write_bytes(content)

    (item,) = open_source(tmp_path / "scans.zip").read()

    assert item.data == png()


def test_a_tar_that_ends_too_early_gives_its_whole_members_and_says_so(tmp_path):
    path = tmp_path / "scans.tar"
    with tarfile.open(path, "w") as packed:
        for name in ("a.png", "b.png"):
            info = tarfile.TarInfo(name)
            info.size = 5000
            packed.addfile(info, io.BytesIO(bytes(5000)))
    path.write_bytes(path.read_bytes()[:7000])

    items = list(open_source(path).read())

    assert items[0].problem == ""
    assert "cut off" in items[1].problem or "unpacked" in items[1].problem
    assert all(item.problem for item in items[1:])


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "tar": bytes,
    "tar.gz": gzip.compress,
    "tar.bz2": bz2.compress,
    "tar.xz": lzma.compress,
}


def make_tar(*names: str) -> bytes:
    """Make a tar of small pictures; each has a header of 512 bytes, and its content another 512."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w", format=tarfile.USTAR_FORMAT) as packed:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = len(png())
            packed.addfile(info, io.BytesIO(png()))
    return content.getvalue()


WHOLE = make_tar("a.png", "b.png", "c.png")
MEMBERS_END = 3 * 1024


@pytest.mark.parametrize("suffix", PACKERS)
@pytest.mark.parametrize(
    ("content", "count"),
    [
        (WHOLE[:2048], 2),
        (WHOLE[:2148], 2),
        (WHOLE[:1024] + b"A" + WHOLE[1025:], 1),
        (WHOLE[:1024] + bytes(512) + WHOLE[1536:], 1),
        (WHOLE[:1024] + bytes(1024) + WHOLE[2048:], 1),
        (WHOLE[:MEMBERS_END], 3),
        (WHOLE + make_tar("d.png"), 3),
    ],
    ids=["cut", "cut in a header", "one byte", "hole", "large hole", "no end", "two in one"],
)
def test_a_tar_that_does_not_end_as_it_should_says_so(tmp_path, content, count, suffix):
    """One wrong bit in a header, and all pictures from there on were missing without a word."""
    path = tmp_path / f"scans.{suffix}"
    path.write_bytes(PACKERS[suffix](content))

    items = list(open_source(path).read())

    assert [bool(item.problem) for item in items] == [False] * count + [True]
    assert f"damaged after {count} files" in items[-1].problem


@pytest.mark.parametrize("suffix", PACKERS)
@pytest.mark.parametrize(
    "end", [bytes(512), bytes(1024), bytes(10240), bytes(1024) + b"rest of a tape" * 40]
)
def test_a_tar_may_end_with_one_block_of_zeros_or_with_more(tmp_path, end, suffix):
    path = tmp_path / f"scans.{suffix}"
    path.write_bytes(PACKERS[suffix](WHOLE[:MEMBERS_END] + end))

    items = list(open_source(path).read())

    assert [item.problem for item in items] == [""] * 3


@pytest.mark.parametrize("suffix", list(PACKERS)[1:])
def test_a_tar_that_was_compressed_in_parts_is_read_to_its_end(tmp_path, suffix):
    """Of a .tar.gz from pigz only the first part was read, and nothing said so."""
    path = tmp_path / f"scans.{suffix}"
    path.write_bytes(b"".join(map(PACKERS[suffix], (WHOLE[:1500], WHOLE[1500:]))))

    items = list(open_source(path).read())

    assert [item.data for item in items] == [png()] * 3


def test_a_gzip_whose_checksum_is_wrong_says_so(tmp_path):
    content = bytearray(gzip.compress(WHOLE))
    content[-8] ^= 1
    (tmp_path / "scans.tar.gz").write_bytes(content)

    items = list(open_source(tmp_path / "scans.tar.gz").read())

    assert "CRC check failed" in items[-1].problem


@pytest.mark.parametrize(
    ("kind", "hint"),
    [
        (tarfile.LNKTYPE, "is a link to a.png; pack the file itself"),
        (tarfile.SYMTYPE, "is a link to a.png; pack the file itself"),
        (tarfile.FIFOTYPE, "is a device or a pipe"),
        (tarfile.CHRTYPE, "is a device or a pipe"),
    ],
)
def test_what_a_tar_holds_besides_files_and_folders_is_an_input_with_a_reason(tmp_path, kind, hint):
    """Of two names of one file, tar packs the second as a link, and it was missing silently."""
    with tarfile.open(tmp_path / "scans.tar", "w") as packed:
        for name, member_kind in (("4", tarfile.DIRTYPE), ("4/b.png", kind)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = member_kind, "a.png"
            packed.addfile(info)

    (item,) = open_source(tmp_path / "scans.tar").read()

    assert item.path.endswith("b.png")
    assert item.label == 4
    assert hint in item.problem


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_a_tar_that_leads_back_is_damaged(tmp_path, form):
    """Read for ever: the next header was always the same one."""
    info = tarfile.TarInfo("back.png")
    if form == tarfile.PAX_FORMAT:
        info.pax_headers = {"size": "-1024"}
    else:
        info.size = -1024
    (tmp_path / "scans.tar").write_bytes(make_tar("a.png")[:1024] + info.tobuf(form) + bytes(1024))

    items = list(itertools.islice(open_source(tmp_path / "scans.tar").read(), 9))

    assert [bool(item.problem) for item in items] == [False, True]
    assert "damaged after 1 files" in items[1].problem


@pytest.mark.parametrize("suffix", ["tar", "tar.gz"])
def test_a_tar_that_claims_a_giant_ends_where_its_file_does(tmp_path, suffix):
    """It was skipped in blocks of 10 kB: for 2**60 bytes, that would have taken years."""
    info = tarfile.TarInfo("giant.png")
    info.size = 2**60
    path = tmp_path / f"scans.{suffix}"
    path.write_bytes(PACKERS[suffix](info.tobuf(tarfile.GNU_FORMAT) + bytes(2048)))

    items = list(open_source(path).read())

    assert "at most" in items[0].problem
    assert "damaged after 1 files" in items[1].problem


def test_a_member_that_would_unpack_to_a_giant_is_not_unpacked(tmp_path):
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("zeros.png", bytes(65 * 2**20))

    (item,) = open_source(tmp_path / "bomb.zip").read()

    assert item.data is None
    assert "save a smaller copy" in item.problem


@pytest.mark.parametrize(
    "name",
    ["../../secret.png", "/secret.png", "a/../../secret.png", "..\\secret.png", "C:\\s.png", ".."],
)
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_a_name_that_leads_out_of_the_archive_is_refused(tmp_path, kind, name):
    """A member called like a picture of the machine would have put that into the report."""
    path = tmp_path / f"evil.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as packed:
            packed.writestr(name, b"x")
    else:
        with tarfile.open(path, "w") as packed:
            packed.addfile(tarfile.TarInfo(name), io.BytesIO())

    (item,) = open_source(path).read()

    assert "leads out of the archive" in item.problem
    assert item.data is None
    assert item.path.startswith(str(path))


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


def test_a_python_without_lzma_reads_what_is_packed_otherwise(tree, monkeypatch):
    """Python is built without it where its library is missing, and nothing here started."""
    spec = importlib.util.spec_from_file_location("without_lzma", batch_sources.__file__)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "lzma", None)
    monkeypatch.setattr(zipfile, "lzma", None)
    monkeypatch.setitem(sys.modules, "without_lzma", module)

    spec.loader.exec_module(module)

    with zipfile.ZipFile(tree / "scans.zip", "w") as packed:
        packed.writestr("a.png", png())
    assert [item.data for item in module.open_source(tree / "scans.zip").read()] == [png()]
