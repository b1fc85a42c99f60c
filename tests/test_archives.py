from __future__ import annotations

import bz2
import gzip
import importlib.util
import io
import itertools
import lzma
import sys
import tarfile
import zipfile
from collections.abc import Callable

import pytest

import archives
from batch_sources import open_source
from errors import DataFormatError, DataNotFoundError
from tests.conftest import png


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


def test_a_python_without_lzma_reads_what_is_packed_otherwise(tree, monkeypatch):
    """Python is built without it where its library is missing, and nothing here started."""
    spec = importlib.util.spec_from_file_location("without_lzma", archives.__file__)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "lzma", None)
    monkeypatch.setattr(zipfile, "lzma", None)
    monkeypatch.setitem(sys.modules, "without_lzma", module)

    spec.loader.exec_module(module)

    with zipfile.ZipFile(tree / "scans.zip", "w") as packed:
        packed.writestr("a.png", png())
    assert [item.data for item in module.read_archive(tree / "scans.zip")] == [png()]


@pytest.mark.parametrize("name", ["notes.md", "table.csv", "list.txt"])
def test_what_is_not_called_an_archive_and_is_none_holds_no_files(tmp_path, name):
    (tmp_path / name).write_bytes(b"a.png\n")

    assert list(archives.read_archive(tmp_path / name)) == []


@pytest.mark.parametrize(
    ("name", "content", "error", "hint"),
    [
        ("scans.zip", b"PK torn", DataFormatError, "not an archive"),
        ("scans.tar.gz", b"", DataFormatError, "not an archive"),
        ("gone.zip", None, DataNotFoundError, "cannot be opened"),
    ],
)
def test_an_archive_that_cannot_be_read_is_named(tmp_path, name, content, error, hint):
    if content is not None:
        (tmp_path / name).write_bytes(content)

    with pytest.raises(error, match=hint) as caught:
        list(archives.read_archive(tmp_path / name))

    assert name in str(caught.value)
