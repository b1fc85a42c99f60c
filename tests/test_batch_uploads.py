"""What strangers hand over for a batch: read within limits, and nothing else of the server."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

import batch_uploads
from batch_uploads import check_uploads, read_uploads
from errors import ImageTooLargeError


@pytest.fixture
def pack(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a zip of these members."""

    def pack(name: str = "scans.zip", **members: bytes) -> Path:
        path = tmp_path / name
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for member, content in members.items():
                archive.writestr(member, content)
        return path

    return pack


def test_files_and_the_members_of_zips_are_called_as_the_visitor_called_them(
    tmp_path: Path, pack: Callable[..., Path], digit_png: Callable[..., Path]
):
    content = digit_png(3).read_bytes()
    scans = pack(**{"3/a.png": content, "3/": b"", "notes.txt": b"x"})

    items = list(read_uploads([digit_png(3), scans]))

    assert check_uploads([digit_png(3), scans]) == 3
    assert [item.path for item in items] == ["3-0.png", "scans.zip/3/a.png", "scans.zip/notes.txt"]
    assert items[1].data == content
    assert not any(str(tmp_path) in item.path for item in items)


@pytest.mark.parametrize("name", ["list.txt", "table.csv", "links.lst"])
def test_a_list_of_paths_is_not_followed(tmp_path: Path, name: str):
    """On the command line it would be: there it is the user's own disk."""
    (tmp_path / name).write_text("path\n/etc/passwd\n", encoding="utf-8")

    [item] = read_uploads([tmp_path / name])

    assert (item.path, item.file) == (name, str(tmp_path / name))


def test_a_picture_with_a_zip_behind_it_is_a_picture(
    tmp_path: Path, pack: Callable[..., Path], digit_png: Callable[..., Path]
):
    both = tmp_path / "both.png"
    both.write_bytes(digit_png(3).read_bytes() + pack(a=b"x").read_bytes())

    [item] = read_uploads([both])

    assert item.file == str(both)


def test_a_zip_is_known_by_its_content(pack: Callable[..., Path]):
    [item] = read_uploads([pack("pictures.csv", **{"a.png": b"x"})])

    assert item.path == "pictures.csv/a.png"


def test_a_zip_that_unpacks_to_too_much_is_refused_unread(
    pack: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(batch_uploads, "MAX_UNPACKED", 3 * 2**20)
    monkeypatch.setattr(batch_uploads, "read_zip", None)  # to call it would fail
    bomb = pack("bomb.zip", a=bytes(2 * 2**20), b=bytes(2 * 2**20))

    [item] = read_uploads([bomb])

    assert item.problem == (
        "the zip holds 4 MB once unpacked; at most 3 MB are read: pack fewer pictures"
    )


def test_a_zip_that_lies_about_its_size_gives_no_more_than_it_told(pack: Callable[..., Path]):
    """The size is written twice in the file; here both say 5 bytes, and 2 MB follow."""
    path = pack("liar.zip", a=bytes(2 * 2**20))
    true = (2 * 2**20).to_bytes(4, "little")
    raw = path.read_bytes()
    assert raw.count(true) == 2
    path.write_bytes(raw.replace(true, (5).to_bytes(4, "little")))

    [item] = read_uploads([path])

    assert item.data is None
    assert "cannot be unpacked" in item.problem


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"PK\x03\x04 and then nothing of a zip", "the zip is damaged"),
        (zipfile.ZipFile, "the zip is empty"),
    ],
    ids=["damaged", "empty"],
)
def test_a_zip_without_pictures_is_one_row_with_its_reason(
    tmp_path: Path, content: object, problem: str
):
    if isinstance(content, bytes):
        (tmp_path / "scans.zip").write_bytes(content)
    else:
        with zipfile.ZipFile(tmp_path / "scans.zip", "w"):
            pass

    [item] = read_uploads([tmp_path / "scans.zip"])

    assert (item.path, item.is_listed) == ("scans.zip", True)
    assert problem in item.problem


@pytest.mark.parametrize("place", [4, 6, 8, 10, 30])
def test_a_zip_with_a_forged_table_of_contents_stops_nothing(pack: Callable[..., Path], place: int):
    path = pack(a=b"content")
    raw = bytearray(path.read_bytes())
    start = raw.index(b"PK\x01\x02") + place
    raw[start : start + 2] = b"\xff\xff"
    path.write_bytes(raw)

    items = list(read_uploads([path]))

    assert len(items) == check_uploads([path]) == 1


def test_an_encrypted_member_is_a_row_with_its_reason(pack: Callable[..., Path]):
    path = pack(a=b"content")
    raw = bytearray(path.read_bytes())
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        raw[raw.index(mark) + place] |= 1
    path.write_bytes(raw)

    [item] = read_uploads([path])

    assert "encrypted" in item.problem


def test_a_member_with_a_wrong_checksum_is_a_row_with_its_reason(pack: Callable[..., Path]):
    path = pack(a=b"content")
    checksum = zlib.crc32(b"content").to_bytes(4, "little")
    path.write_bytes(path.read_bytes().replace(checksum, b"\0\1\2\3"))

    [item] = read_uploads([path])

    assert "cannot be unpacked" in item.problem


@pytest.mark.parametrize(
    ("limit", "value", "hint"),
    [("MAX_FILES", 3, "4 files are too many"), ("MAX_BYTES", 100, "at most 0 MB are read")],
)
def test_too_much_at_once_is_refused_with_advice(
    tmp_path: Path,
    pack: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    limit: str,
    value: int,
    hint: str,
):
    monkeypatch.setattr(batch_uploads, limit, value)
    single = tmp_path / "a.png"
    single.write_bytes(b"x")

    with pytest.raises(ImageTooLargeError, match=hint) as caught:
        check_uploads([single, pack(a=b"x", b=b"x", c=b"x")])

    assert "batch_processor.py" in str(caught.value)


def test_nested_zips_are_not_opened(pack: Callable[..., Path]):
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("a.png", b"x")

    [item] = read_uploads([pack(**{"inner.zip": inner.getvalue()})])

    assert item.data == inner.getvalue()
