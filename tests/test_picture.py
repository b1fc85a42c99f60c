"""Any picture comes in; what cannot be one is refused with its name and with advice."""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Any, BinaryIO

import numpy as np
import pytest
import torch
from PIL import Image

import picture as picture_module
from errors import ImageError, ImageNotFoundError, ImageTooLargeError
from ink import MIN_CONTRAST
from picture import WORKING_SIDE, _known_formats, load_picture, open_picture


def encode(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    """Write a picture to bytes."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def dcx(grey: np.ndarray) -> bytes:
    """Write a fax of one page: a list of places, and a PCX at each."""
    return struct.pack("<III", 0x3ADE68B1, 12, 0) + encode(Image.fromarray(grey), "PCX")


def psd(grey: np.ndarray) -> bytes:
    """Write what Photoshop does for a grey picture without layers."""
    height, width = grey.shape
    header = struct.pack(">4sH6xHIIHH", b"8BPS", 1, 1, height, width, 8, 1)
    return header + bytes(12) + struct.pack(">H", 0) + grey.tobytes()


def icon(png: bytes) -> bytes:
    """Put a PNG into an icon that claims to have 16x16 pixels."""
    return struct.pack("<3H4B2H2I", 0, 1, 1, 16, 16, 0, 0, 1, 32, len(png), 22) + png


def png_header(width: int, height: int) -> bytes:
    """Write the beginning of a PNG that claims to be so large."""
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + struct.pack(">I", 13)
        + body
        + struct.pack(">I", zlib.crc32(body))
        + struct.pack(">I", 4)
        + b"IDAT1234"
    )


def half_red() -> Image.Image:
    """Draw a picture whose left half is red and whose right half is white."""
    image = Image.new("RGB", (40, 20), "white")
    image.paste("red", (0, 0, 20, 20))
    return image


JP2 = encode(half_red(), "JPEG2000")
JP2_SIZE = JP2.index(b"ihdr") + 4
JP2_OF_16_MP = JP2[:JP2_SIZE] + struct.pack(">II", 4000, 4000) + JP2[JP2_SIZE + 8 :]

QOI_OF_3_MP = b"qoif" + struct.pack(">IIBB", 2000, 1500, 3, 0) + b"\xfd" * 48_388 + bytes(7) + b"\1"
PROGRESSIVE = encode(half_red(), "JPEG", progressive=True)  # of ten scans
LAST_SCAN = PROGRESSIVE[PROGRESSIVE.rindex(b"\xff\xda") : -2]


def with_scans(count: int, *, between: bytes = b"") -> bytes:
    """Repeat the last scan of a JPEG, which refines it; ten are the whole picture."""
    return PROGRESSIVE[:-2] + (between + LAST_SCAN) * (count - 10) + PROGRESSIVE[-2:]


def as_sequential(content: bytes) -> bytes:
    """Call a JPEG one that is not progressive, but has each colour in a scan of its own."""
    first = content.index(b"\xff\xda")
    return content[:first].replace(b"\xff\xc2", b"\xff\xc0") + LAST_SCAN + content[first:]


BAD_FILES = [
    ("empty", b"", ImageError, "empty"),
    ("text", b"I am a poem, not a picture.", ImageError, "PNG or JPEG"),
    ("svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>", ImageError, "PNG or JPEG"),
    ("truncated", encode(half_red().resize((400, 300)))[:300], ImageError, "damaged"),
    ("truncated JPEG", encode(half_red().resize((400, 300)), "JPEG")[:400], ImageError, "damaged"),
    ("0x0", png_header(0, 0), ImageError, "damaged|nothing|known format"),
    ("bomb", png_header(60_000, 60_000), ImageTooLargeError, "too large"),
    ("truncated QOI", encode(half_red(), "QOI")[:60], ImageError, "damaged"),
    ("icon with a bomb", icon(png_header(9_000, 9_000)), ImageTooLargeError, "9000x9000"),
    ("icon of nothing", struct.pack("<3H", 0, 1, 0), ImageError, "damaged"),
    ("Photoshop cut off", psd(np.zeros((9, 9), np.uint8))[:60], ImageError, "damaged"),
    ("JPEG 2000 of 16 megapixels", JP2_OF_16_MP, ImageTooLargeError, "4 million.*PNG or JPEG"),
    ("JPEG 2000 of 2 MB", JP2 + bytes(2 * 2**20), ImageTooLargeError, "in 2 MB"),
    ("QOI of 3 MP", QOI_OF_3_MP, ImageTooLargeError, "QOI of 3,000,000 pixels.*PNG or JPEG"),
    ("grey up to 100", b"P5 2000 1500 100\n" + bytes(9), ImageTooLargeError, "PPM of 3,000,000"),
    ("51 scans", with_scans(51), ImageTooLargeError, "more than 50 scans.*as PNG"),
    (
        "scans behind rubbish and fill bytes",
        with_scans(2_000, between=b"rubbish\xff\x00\xff\xff"),
        ImageTooLargeError,
        "more than 50 scans",
    ),
    ("scans too many", encode(half_red(), "JPEG")[:-2] + LAST_SCAN, ImageError, "damaged"),
    ("scans of a colour", as_sequential(with_scans(80)), ImageTooLargeError, "more than 50 scans"),
    (
        "DDS of unknown pixels",
        b"DDS |\0\0\0" + bytes(72) + b"\x9a" + bytes(43),
        ImageError,
        "damaged",
    ),
    ("20,000 px wide", encode(Image.new("1", (20_000, 4))), ImageTooLargeError, "16,384"),
]


@pytest.mark.parametrize(
    ("content", "kind", "hint"),
    [row[1:] for row in BAD_FILES],
    ids=[row[0] for row in BAD_FILES],
)
def test_a_bad_file_is_refused_with_its_name_and_advice(
    tmp_path: Path, content: bytes, kind: type[ImageError], hint: str
) -> None:
    path = tmp_path / "bad.png"
    path.write_bytes(content)

    with pytest.raises(kind, match=hint) as caught:
        open_picture(path)

    assert "bad.png" in str(caught.value)


@pytest.mark.skipif("AVIF" not in _known_formats(), reason="this Pillow has no AVIF")
def test_an_avif_whose_colours_are_damaged_is_refused() -> None:
    whole = encode(half_red(), "AVIF")

    with pytest.raises(ImageError, match="damaged"):
        open_picture(whole[:-1] + bytes([whole[-1] ^ 255]))


def test_a_missing_file_can_be_caught_as_file_not_found(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no\.png") as caught:
        open_picture(tmp_path / "no.png")

    assert isinstance(caught.value, ImageNotFoundError)


def test_a_folder_is_refused_and_the_batch_program_named(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"batch_processor\.py"):
        open_picture(tmp_path)


def test_an_unreadable_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "locked.png"
    path.write_bytes(encode(half_red()))

    def refuse(path: str, mode: str) -> BinaryIO:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(picture_module, "open", refuse, raising=False)

    with pytest.raises(ImageError, match=r"locked\.png.*Permission denied"):
        open_picture(path)


def test_a_name_with_a_zero_byte_is_refused() -> None:
    with pytest.raises(ImageError, match=r"cannot be opened .*null byte.*check the name"):
        open_picture("a\0b.png")


def test_a_file_of_too_many_bytes_is_refused_unread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "large.png"
    path.write_bytes(encode(half_red()))
    monkeypatch.setattr(picture_module, "MAX_BYTES", 50)

    with pytest.raises(ImageTooLargeError, match=r"large\.png"):
        open_picture(path)


BAD_ARRAYS = [
    ("empty", np.zeros((0, 0), np.uint8), "0x0"),
    ("no height", np.zeros((0, 28), np.uint8), "0 pixels|28x0"),
    ("one row of numbers", np.zeros(784, np.uint8), "shape"),
    ("a batch", np.zeros((2, 28, 28, 1), np.uint8), "shape"),
    ("two pictures", np.zeros((2, 28, 28), np.uint8), "shape"),
    ("five channels", np.zeros((28, 28, 5), np.uint8), "shape"),
    ("NaN", np.full((28, 28), np.nan), "NaN"),
    ("infinity", np.full((28, 28), np.inf), "infinity"),
    ("floats beyond bytes", np.full((28, 28), 256.0), "probably: a / 1023"),
    ("floats just beyond white", np.full((28, 28), 2.0), r"beyond white: a.clip\(0, 1\)"),
    ("standardised", np.full((28, 28), -0.42), "runs from -0.42 to -0.42, not from 0 to 1; undo"),
    ("standardised, cut off below", np.full((28, 28), 2.8), r"largest value: a / a.max\(\)"),
    ("nearly bytes", np.full((28, 28), 127.9), r"largest value: a / a.max\(\)"),
    ("negative integers", np.full((28, 28), -1), "undo its normalisation"),
    ("too large integers", np.full((28, 28), 256), "probably: a / 1023"),
    ("text", np.full((28, 28), "ink"), "uint8 or float32"),
    ("complex", np.zeros((28, 28), complex), "uint8 or float32"),
    ("objects", np.full((28, 28), None), "uint8 or float32"),
    ("durations", np.zeros((28, 28), "timedelta64[s]"), "uint8 or float32"),
    ("a sparse tensor", torch.ones(28, 28).to_sparse(), "sparse_coo.*give a dense one"),
    ("a tensor without memory", torch.ones(28, 28, device="meta"), "on meta.*give a dense one"),
    ("bfloat16 beyond bytes", torch.full((28, 28), 256.0).bfloat16(), "probably: a / 1023"),
]


@pytest.mark.parametrize(
    ("values", "hint"), [row[1:] for row in BAD_ARRAYS], ids=[row[0] for row in BAD_ARRAYS]
)
def test_an_array_that_is_no_picture_is_refused(
    values: np.ndarray | torch.Tensor, hint: str
) -> None:
    with pytest.raises(ImageError, match=hint):
        open_picture(values)


OUT_OF_RANGE: list[tuple[str, Callable[[np.ndarray], np.ndarray]]] = [
    ("from -1 to 1", lambda grey: grey / 127.5 - 1),
    ("standardised", lambda grey: ((grey / 255 - 0.1307) / 0.3081).astype(np.float32)),
    ("moved below zero", lambda grey: grey.astype(np.int16) - 128),
    ("16 bits", lambda grey: grey.astype(np.int32) * 256),
    ("12 bits", lambda grey: grey.astype(np.int64) * 16),
    ("16 bits as floats", lambda grey: grey * 257.0),
    ("32 bits", lambda grey: grey.astype(np.uint32) * 2**24),
    ("beyond white by a little", lambda grey: grey / 254),
    ("per cent", lambda grey: grey / 2.55),
    ("levels from 0 to 16", lambda grey: grey / 255 * 16),
]


@pytest.mark.parametrize("form", [row[1] for row in OUT_OF_RANGE], ids=[r[0] for r in OUT_OF_RANGE])
def test_who_follows_the_advice_about_a_range_gets_the_right_picture(
    form: Callable[[np.ndarray], np.ndarray],
) -> None:
    """All were told `astype('uint8')`, which made nine in ten normalised digits wrong."""
    grey = np.random.default_rng(0).integers(0, 256, (20, 30), dtype=np.uint8)
    out_of_range = form(grey)

    with pytest.raises(ImageError, match="runs from") as refused:
        open_picture(out_of_range)
    advice = str(refused.value).rpartition(": ")[2]
    followed = eval(advice, {"a": out_of_range})

    assert np.allclose(open_picture(followed).pixels, grey / 255, atol=0.006)


@pytest.mark.parametrize("thing", [None, 7, [[0, 1], [1, 0]], object()])
def test_what_is_no_kind_of_picture_is_refused(thing: object) -> None:
    with pytest.raises(ImageError, match="NumPy array"):
        open_picture(thing)


SAME_PICTURE: list[tuple[str, Callable[[np.ndarray], object]]] = [
    ("uint8", lambda grey: grey),
    ("float32", lambda grey: (grey / 255).astype(np.float32)),
    ("float64", lambda grey: grey / 255),
    ("bytes as float32", lambda grey: grey.astype(np.float32)),
    ("bytes as float16", lambda grey: grey.astype(np.float16)),
    ("bytes as float RGB", lambda grey: np.dstack([grey] * 3).astype(np.float64)),
    ("int8", lambda grey: (grey / 255 * 127).round().astype(np.int8)),
    ("int64", lambda grey: grey.astype(np.int64)),
    ("uint16", lambda grey: grey.astype(np.uint16) * 257),
    ("uint16, high byte first", lambda grey: grey.astype(">u2") * 257),
    ("one channel", lambda grey: grey[..., None]),
    ("RGB", lambda grey: np.dstack([grey] * 3)),
    ("RGBA", lambda grey: np.dstack([grey] * 3 + [np.full_like(grey, 255)])),
    ("grey and alpha", lambda grey: np.dstack([grey, np.full_like(grey, 255)])),
    ("a batch of one", lambda grey: grey[None, ..., None]),
    ("torch", lambda grey: torch.from_numpy(grey)[None]),
    ("torch RGB", lambda grey: torch.from_numpy(np.stack([grey] * 3)) / 255),
    ("bytes as bfloat16", lambda grey: torch.from_numpy(grey).bfloat16()),
    ("torch bfloat16", lambda grey: (torch.from_numpy(grey) / 255).bfloat16()),
    ("torch in training", lambda grey: (torch.from_numpy(grey) / 255).requires_grad_()),
    ("PIL", lambda grey: Image.fromarray(grey)),
    ("PIL of floats", lambda grey: Image.fromarray(grey.astype(np.float32))),
    ("PNG", lambda grey: encode(Image.fromarray(grey))),
    ("16-bit PNG", lambda grey: encode(Image.fromarray(grey.astype(np.uint16) * 257))),
    ("BMP", lambda grey: encode(Image.fromarray(grey), "BMP")),
    ("TIFF of floats", lambda grey: encode(Image.fromarray((grey / 255).astype("f4")), "TIFF")),
    ("palette", lambda grey: encode(Image.fromarray(grey).convert("P"))),
    ("grey with alpha", lambda grey: encode(Image.fromarray(grey).convert("LA"))),
    ("lossless WebP", lambda grey: encode(Image.fromarray(grey), "WEBP", lossless=True)),
    ("PCX", lambda grey: encode(Image.fromarray(grey), "PCX")),
    ("DCX", lambda grey: dcx(grey)),
    ("SGI", lambda grey: encode(Image.fromarray(grey), "SGI")),
    ("Targa", lambda grey: encode(Image.fromarray(grey), "TGA")),
    ("packed Targa", lambda grey: encode(Image.fromarray(grey), "TGA", compression="tga_rle")),
    ("QOI", lambda grey: encode(Image.fromarray(grey).convert("RGB"), "QOI")),
    ("JPEG 2000", lambda grey: encode(Image.fromarray(grey), "JPEG2000")),
    ("DDS", lambda grey: encode(Image.fromarray(grey).convert("RGB"), "DDS")),
    ("Photoshop", lambda grey: psd(grey)),
    ("icon", lambda grey: icon(encode(Image.fromarray(grey)))),
    ("CMYK", lambda grey: Image.fromarray(grey).convert("RGB").convert("CMYK")),
    ("memoryview", lambda grey: memoryview(encode(Image.fromarray(grey)))),
    ("open file", lambda grey: io.BytesIO(encode(Image.fromarray(grey)))),
]


@pytest.mark.parametrize(
    "form", [row[1] for row in SAME_PICTURE], ids=[row[0] for row in SAME_PICTURE]
)
def test_the_same_picture_in_any_form_gives_the_same_pixels(
    form: Callable[[np.ndarray], object],
) -> None:
    grey = np.random.default_rng(0).integers(0, 256, (20, 30), dtype=np.uint8)

    pixels = open_picture(form(grey)).pixels

    assert pixels.shape == (20, 30)
    assert np.allclose(pixels, grey / 255, atol=0.006)


@pytest.mark.parametrize("kind", [np.uint8, np.int8, np.int16, ">u2", np.uint16, np.int64])
def test_a_mask_is_ink_or_none_in_integers_as_in_booleans(kind: str | type) -> None:
    """It was called blank: 1 of 255 cannot be seen."""
    mask = np.random.default_rng(0).random((20, 30)) < 0.3

    for form in (mask, mask[None], mask[..., None]):
        found = open_picture(form.astype(kind)).pixels

        assert np.array_equal(found, open_picture(mask).pixels)


@pytest.mark.parametrize("form", [np.uint16, ">u2", torch.uint16])
def test_bytes_in_16_bits_are_read_as_bytes(form: Any) -> None:
    """They were called blank: 255 of 65,535 cannot be seen. Files of 16 bits are read like that."""
    grey = np.random.default_rng(0).integers(0, 256, (20, 30), dtype=np.uint8)
    is_tensor = isinstance(form, torch.dtype)
    deep = torch.from_numpy(grey.astype(np.uint16)).to(form) if is_tensor else grey.astype(form)

    assert np.allclose(open_picture(deep).pixels, grey / 255)


def test_numbers_beyond_bytes_in_16_bits_count_to_65535() -> None:
    deep = np.array([[0, 256], [300, 4_095]], np.uint16)

    assert np.allclose(open_picture(deep).pixels, deep / 65_535)


@pytest.mark.parametrize("shape", [(9, 9), (9, 9, 3)])
def test_a_picture_in_which_all_is_black_stays_black(shape: tuple[int, ...]) -> None:
    """Of colours, 0 and 1 are no mask, but the noise of a camera in the dark."""
    black = np.zeros(shape, np.uint8)
    black[4, 4] = 1 if len(shape) == 3 else 0

    assert open_picture(black).pixels.max() < 0.01


def test_a_picture_is_printed_without_its_pixels() -> None:
    assert repr(open_picture(np.zeros((4, 6), np.uint8))) == "Picture(width=6, height=4)"


@pytest.mark.parametrize("height", [1, 3, 4])
def test_a_flat_picture_is_not_taken_for_channels(height: int) -> None:
    flat = open_picture(np.zeros((height, 40, 3), np.uint8))

    assert (flat.width, flat.height) == (40, height)


@pytest.mark.parametrize("channel", range(3))
def test_ink_that_differs_from_paper_in_one_channel_keeps_its_colour(channel: int) -> None:
    paper = np.full((9, 9, 3), 255, np.uint8)
    paper[4, 4, channel] = 0

    assert np.array_equal(open_picture(paper).pixels * 255, paper)


def test_an_open_file_is_read_from_where_it_stands_and_left_open(tmp_path: Path) -> None:
    """What has `detach`, as every file has, was taken for a tensor: the caller's file was lost."""
    path = tmp_path / "archive"
    path.write_bytes(b"head" + encode(half_red()))

    with path.open("rb") as file:
        file.seek(4)
        pixels = open_picture(file).pixels
        file.seek(0)

        assert pixels.shape == (20, 40, 3)
        assert file.read(4) == b"head"


def test_a_file_that_is_not_open_to_read_bytes_is_refused_with_its_name(tmp_path: Path) -> None:
    path = tmp_path / "five.png"
    path.write_bytes(encode(half_red()))
    with path.open("rb") as closed:
        pass

    with path.open() as text, path.open("ab") as written, path.open("rb") as finished:
        finished.read()
        for file, hint in [(text, "'rb'"), (written, "'rb'"), (closed, "'rb'"), (finished, "seek")]:
            with pytest.raises(ImageError, match=rf"five\.png.*{hint}"):
                open_picture(file)


def test_an_open_file_without_end_is_not_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    class Endless(io.RawIOBase):
        given = 0

        def read(self, size: int = -1) -> bytes:
            assert 0 < size <= 2**20
            self.given += size
            return bytes(size)

    file = Endless()
    monkeypatch.setattr(picture_module, "MAX_BYTES", 3 * 2**20)

    with pytest.raises(ImageTooLargeError, match="the picture"):
        open_picture(file)

    assert file.given <= 4 * 2**20


def test_an_open_file_without_a_picture_from_where_it_stands_is_told_where_that_is() -> None:
    file = io.BytesIO(encode(half_red()))
    file.seek(10)

    with pytest.raises(ImageError, match=r"not a picture.*byte 10 .*seek\(0\)"):
        open_picture(file)

    with pytest.raises(ImageError, match=r"PNG or JPEG$"):
        open_picture(io.BytesIO(b"no picture at all"))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_in_a_folder_is_refused_at_once(tmp_path: Path) -> None:
    """To open it took for ever where nobody wrote."""
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(ImageError, match=r"pipe: is a device or a pipe, not a file"):
        open_picture(tmp_path / "pipe")


@pytest.mark.skipif(not Path("/dev/fd").is_dir(), reason="needs /dev/fd")
def test_what_a_command_writes_is_read_but_not_beyond_what_a_file_may_have(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """/dev/zero was read until the memory was full: a device says that it has no bytes at all."""
    content = encode(half_red())

    def give(content: bytes) -> tuple[int, Thread]:
        end, start = os.pipe()

        # Who reads no further closes the pipe, and the rest finds no reader.
        def write() -> None:
            with suppress(BrokenPipeError), os.fdopen(start, "wb", buffering=0) as file:
                file.write(content)

        thread = Thread(target=write, daemon=True)
        thread.start()
        return end, thread

    end, thread = give(content)
    found = open_picture(f"/dev/fd/{end}")
    os.close(end)
    thread.join()
    monkeypatch.setattr(picture_module, "MAX_BYTES", 2**16)
    end, thread = give(bytes(2**20))
    with pytest.raises(ImageTooLargeError, match="65,537 bytes"):
        open_picture(f"/dev/fd/{end}")
    os.close(end)
    thread.join()

    assert (found.width, found.height) == half_red().size


def test_a_jpeg_with_the_name_of_a_png_is_read(tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    path.write_bytes(encode(half_red(), "JPEG"))

    assert open_picture(path).pixels.shape == (20, 40, 3)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
@pytest.mark.parametrize("enlargement", [1, 50])
def test_a_sideways_photograph_is_turned_upright(kind: str, enlargement: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 90 degrees clockwise to show
    large = half_red().resize((40 * enlargement, 20 * enlargement))

    photo = open_picture(encode(large, kind, exif=exif))

    rows, cols = photo.pixels.shape[:2]
    assert (photo.width, photo.height) == (20 * enlargement, 40 * enlargement)
    assert photo.pixels[rows // 4, cols // 2, 1] < 0.3  # red is on top now
    assert photo.pixels[rows * 3 // 4, cols // 2, 1] > 0.9


def jpeg_held(kind: int, value: bytes, *, count: int = 1) -> bytes:
    """Write a JPEG of 40x20 pixels whose EXIF gives the orientation as this type and value."""
    entry = struct.pack("<HHHI4sI", 1, 0x0112, kind, count, value, 0)
    return encode(half_red(), "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0" + entry)


@pytest.mark.parametrize(
    ("kind", "value", "count"),
    [
        pytest.param(2, b"6\0\0\0", 2, id="text"),
        pytest.param(7, b"\6\0\0\0", 4, id="bytes"),
        pytest.param(3, b"\6\0\6\0", 0, id="nothing"),
        *(pytest.param(3, bytes([n, 0, 0, 0]), 1, id=f"number {n}") for n in (0, 1, 9, 10, 255)),
        pytest.param(8, b"\xff\xff\0\0", 1, id="number -1"),
        pytest.param(11, struct.pack("<f", 6.5), 1, id="number 6.5"),
    ],
)
def test_a_photograph_held_in_no_known_way_is_read_as_it_is(
    kind: int, value: bytes, count: int
) -> None:
    """Text as orientation ended predict.py with a traceback, and 9 exchanged width and height."""
    photo = open_picture(jpeg_held(kind, value, count=count))

    assert (photo.width, photo.height) == (40, 20)
    assert photo.pixels.shape[:2] == (20, 40)


def test_the_first_frame_of_an_animation_is_read() -> None:
    frames = [half_red().convert("P"), Image.new("P", (40, 20))]
    content = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])

    pixels = open_picture(content).pixels

    assert pixels[0, 0, 1] < 0.1
    assert pixels[0, 39, 1] > 0.9


def test_a_large_photograph_is_reduced_but_tells_its_size() -> None:
    content = encode(half_red().resize((3000, 1500)), "JPEG")

    photo = open_picture(content)

    assert photo.pixels.shape == (WORKING_SIDE // 2, WORKING_SIDE, 3)
    assert (photo.width, photo.height) == (3000, 1500)


@pytest.mark.parametrize("white_on_black", [False, True])
@pytest.mark.parametrize(
    ("low", "high", "kind"),
    [
        *((0, high, np.uint16) for high in (1, 255, 256, 300, 1023, 4095, 60_000, 65_535)),
        *((0, high, np.float32) for high in (1, 1.0001, 1.2, 255, 300, 65_535, 1e6)),
        *(
            (low, high, np.float32)
            for low, high in [(-1, 1), (-1, 2), (-0.42, 2.82), (-3e38, 3e38)]
        ),
    ],
)
def test_a_deep_picture_keeps_its_contrast_whatever_its_white_is(
    low: float, high: float, kind: type, white_on_black: bool
) -> None:
    """The next of 1, 255 and 65,535 was white: at 1.0001 or 256 nearly all became black."""
    drawing = np.full((40, 30), low if white_on_black else high)
    drawing[10:30, 13:17] = high if white_on_black else low
    form = "PNG" if kind is np.uint16 else "TIFF"

    pixels = open_picture(encode(Image.fromarray(drawing.astype(kind)), form)).pixels

    assert pixels.min() >= 0
    assert np.ptp(pixels) == pytest.approx(1, abs=0.01)
    assert (pixels[20, 15] > pixels[0, 0]) == white_on_black


@pytest.mark.parametrize(
    ("level", "noise", "kind"),
    [(60_000, 150, np.uint16), (4_000, 10, np.uint16), (1.0003, 0.0001, np.float32)],
)
def test_an_empty_page_of_many_bits_stays_even(level: float, noise: float, kind: type) -> None:
    page = level + noise * np.random.default_rng(0).uniform(-1, 1, (40, 30))
    form = "PNG" if kind is np.uint16 else "TIFF"

    pixels = open_picture(encode(Image.fromarray(page.astype(kind)), form)).pixels

    assert np.ptp(pixels) < MIN_CONTRAST
    assert pixels.min() > 0.98


def test_bytes_in_a_picture_of_many_bits_are_as_bright_as_in_any_other() -> None:
    """What is dark in a file of 8 bits, such as the noise of an empty frame, stays so in 16."""
    frame = np.random.default_rng(0).integers(0, 9, (40, 30), dtype=np.uint8)

    deep = open_picture(encode(Image.fromarray(frame.astype(np.uint16)))).pixels

    assert np.allclose(deep, open_picture(frame).pixels)


@pytest.mark.parametrize("value", [0, 1, 60_000])
def test_a_page_of_one_value_is_blank_and_not_an_error(value: int) -> None:
    page = Image.fromarray(np.full((40, 30), value, np.uint16))

    assert np.ptp(open_picture(encode(page)).pixels) == 0


MODES = ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I", "F", "I;16", "I;16B"]


def large_image(mode: str) -> Image.Image:
    """Draw 1201x803 pixels of noise, whose sides no shrinking divides evenly."""
    noise = np.random.default_rng(4).integers(0, 256, (803, 1201), dtype=np.uint8)
    if mode.startswith("I;16"):
        return Image.fromarray(noise.astype(np.uint16) * 257).convert("I").convert(mode)
    if mode == "RGBA":
        return Image.merge(mode, [Image.fromarray(np.roll(noise, turn)) for turn in range(4)])
    return Image.fromarray(noise).convert(mode)


@pytest.mark.parametrize("mode", MODES)
def test_a_large_picture_is_never_copied_as_a_whole(
    mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A 16-bit PNG of 175 kB took 1.2 GB of memory, and a palette of 28 kB took 1.0."""
    image = large_image(mode)
    if mode == "P":
        image.info["transparency"] = 0
    copied = []

    for name in ("convert", "tobytes", "copy", "transpose"):
        usual = getattr(Image.Image, name)

        def note(self: Image.Image, *args: object, usual: Callable[..., object] = usual) -> object:
            copied.append(self.width * self.height)
            return usual(self, *args)

        monkeypatch.setattr(Image.Image, name, note)
    monkeypatch.setattr(picture_module, "_STRIP_PIXELS", 10_000)

    open_picture(image)

    assert 0 < max(copied) <= WORKING_SIDE * 2 * WORKING_SIDE * 2


@pytest.mark.parametrize("mode", MODES)
def test_a_picture_shrunk_in_strips_is_that_shrunk_at_once(
    mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = large_image(mode)
    at_once = open_picture(image).pixels

    monkeypatch.setattr(picture_module, "_STRIP_PIXELS", 10_000)
    in_strips = open_picture(image).pixels

    assert np.array_equal(in_strips, at_once)


@pytest.mark.parametrize("working_side", [100, 1280, 2999, 5000])
def test_a_page_may_be_kept_larger_than_a_digit(working_side: int, tmp_path: Path) -> None:
    image = half_red().resize((3000, 1500))
    path = tmp_path / "page.jpg"
    image.save(path)

    for source in (path, encode(image), image, np.asarray(image)):
        photo = open_picture(source, working_side=working_side)

        assert max(photo.pixels.shape) == min(working_side, 3000)
        assert (photo.width, photo.height) == (3000, 1500)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("size", [(16_000, 10), (10, 16_000), (5_000, 1), (1, 1)])
def test_a_picture_as_narrow_as_a_thread_is_opened(size: tuple[int, int], kind: str) -> None:
    thread = open_picture(encode(Image.new("RGB", size, "white"), kind))

    assert (thread.width, thread.height) == size
    assert max(thread.pixels.shape) == min(WORKING_SIDE, max(size))


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (200, 30, 30)])
def test_strokes_that_live_in_the_alpha_channel_stand_out(colour: tuple[int, int, int]) -> None:
    drawing = np.zeros((60, 60, 4), np.uint8)
    drawing[..., :3] = colour
    drawing[10:50, 28:33, 3] = 255

    pixels = open_picture(drawing).pixels

    assert abs(pixels[30, 30].mean() - pixels[5, 5].mean()) > 0.3


@pytest.mark.parametrize("kind", [np.uint8, np.float32])
def test_grey_with_transparency_is_read_as_pil_reads_it(kind: type) -> None:
    strokes = np.zeros((60, 60, 2), np.uint8)
    strokes[10:50, 28:33] = (90, 255)
    form = strokes if kind is np.uint8 else strokes.astype(kind) / 255

    pixels = open_picture(form).pixels

    assert np.allclose(pixels, open_picture(Image.fromarray(strokes, "LA")).pixels)
    assert np.ptp(pixels) > 0.3


def test_a_cut_out_sheet_is_continued_in_its_own_colour() -> None:
    sheet = np.zeros((100, 100, 4), np.uint8)
    sheet[60:, 60:] = (255, 200, 120, 255)
    sheet[70:90, 78:82, :3] = 0

    pixels = open_picture(sheet).pixels

    assert np.allclose(pixels[10, 10], pixels[62, 62])


def test_a_picture_without_anything_opaque_is_blank_and_not_an_error() -> None:
    assert np.ptp(open_picture(np.zeros((9, 9, 4), np.uint8)).pixels) == 0


def test_an_image_that_belongs_to_the_caller_is_left_as_it_was() -> None:
    image = Image.open(io.BytesIO(encode(half_red().resize((3000, 1500)), "JPEG")))

    open_picture(image)

    assert image.size == (3000, 1500)
    assert image.getpixel((2999, 1499)) == (255, 255, 255)


# ---- Small grey PNG files, which are decoded without Pillow --------------------------------------


def png(*, rows: bytes | None = None, header: tuple[int, ...] = (8, 0, 0, 0, 0)) -> bytes:
    """Write a PNG of 12x9 grey pixels; `rows` are its pixels before they are packed."""
    noise = np.random.default_rng(1).integers(0, 256, (9, 12), dtype=np.uint8)
    plain = b"".join(b"\0" + row.tobytes() for row in noise)
    blocks = [
        (b"IHDR", struct.pack(">II5B", 12, 9, *header)),
        (b"IDAT", zlib.compress(plain if rows is None else rows)),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in blocks
    )


def with_damage(content: bytes, place: int) -> bytes:
    """Change one byte."""
    return content[:place] + bytes([content[place] ^ 0x55]) + content[place + 1 :]


def grey_image(*, mode: str = "L") -> Image.Image:
    """Draw 12x9 pixels of noise."""
    noise = np.random.default_rng(2).integers(0, 256, (9, 12), dtype=np.uint8)
    return Image.fromarray(noise).convert(mode)


def sideways() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return encode(grey_image(), exif=exif)


PLAIN = png()
PNG_FILES = {
    "plain": PLAIN,
    "plain, by Pillow": encode(grey_image()),
    "colour": encode(grey_image(mode="RGB")),
    "two colours": encode(grey_image(mode="1")),
    "palette": encode(grey_image(mode="P")),
    "alpha": encode(grey_image(mode="LA")),
    "one grey is transparent": encode(grey_image(), transparency=7),
    "sideways": sideways(),
    "16 bits": encode(Image.fromarray(np.arange(108, dtype=np.uint16).reshape(9, 12) * 500)),
    "with its resolution": encode(grey_image(), dpi=(300, 300)),
    "larger than needed": encode(grey_image().resize((WORKING_SIDE + 1, 50))),
    "interlaced as it says": png(header=(8, 0, 0, 0, 1)),
    "of an unknown packing": png(header=(8, 0, 1, 0, 0)),
    "with something behind it": PLAIN + b"more",
    "cut off": PLAIN[:-1],
    "only its head": PLAIN[:41],
    "without its head": PLAIN[:40],
    "without pixels": png(rows=b""),
    "with rows that are missing": png(rows=bytes(5 * 13)),
    "with rows of an unknown kind": png(rows=b"\x09" + bytes(9 * 13 - 1)),
    **{f"with byte {place} changed": with_damage(PLAIN, place) for place in (17, 23, 29, 35, 60)},
    **{f"with byte {place} changed": with_damage(PLAIN, place) for place in (-30, -14, -6, -2)},
}


def outcome(content: bytes) -> np.ndarray | str:
    """Open a picture; give its pixels, or the first words of its error."""
    try:
        return open_picture(content).pixels
    except ImageError as error:
        return str(error).split("(")[0]


def test_a_plain_png_is_decoded_without_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(picture_module, "_open_image")

    opened = open_picture(PLAIN)

    assert (opened.width, opened.height) == (12, 9)


@pytest.mark.parametrize("content", PNG_FILES.values(), ids=PNG_FILES)
def test_without_pillow_the_pixels_and_the_errors_are_the_same(
    content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = outcome(content)
    monkeypatch.setattr(picture_module, "_decode_plain_png", lambda *_: None)
    usual = outcome(content)

    assert type(quick) is type(usual)
    assert np.array_equal(quick, usual)


MANY_MARKS = b"\xff\xe1" + (2 + 400).to_bytes(2, "big") + b"\xff\xda" * 200


@pytest.mark.parametrize(
    "content",
    [
        with_scans(50),
        PROGRESSIVE + b"\xff\xda" * 100,  # a film behind the picture
        PROGRESSIVE[:2] + MANY_MARKS + PROGRESSIVE[2:],  # a preview before it
        encode(half_red(), "JPEG") + LAST_SCAN * 100,
    ],
    ids=["50 scans", "marks behind", "marks before", "scans behind"],
)
def test_a_jpeg_of_few_scans_is_read_whatever_else_is_in_the_file(content: bytes) -> None:
    red, white = open_picture(content).pixels[10, [5, 35]]

    np.testing.assert_allclose(red, [1, 0, 0], atol=0.1)
    np.testing.assert_allclose(white, [1, 1, 1], atol=0.1)


ONCE: list[tuple[str, str, dict[str, Any], int]] = [
    ("PNG", "PNG", {}, 1),
    ("WebP", "WEBP", {}, 1),
    ("JPEG 2000, which keeps Python's lock", "JPEG2000", {}, 1),
    ("JPEG", "JPEG", {}, 2),
    ("progressive JPEG", "JPEG", {"progressive": True}, 1),
]


@pytest.mark.parametrize(
    ("kind", "options", "times"), [row[1:] for row in ONCE], ids=[row[0] for row in ONCE]
)
def test_only_what_is_decoded_the_faster_the_smaller_it_gets_is_decoded_for_each_size(
    kind: str, options: dict[str, Any], times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = encode(grey_image().resize((1500, 1000)).convert("RGB"), kind, **options)
    decoded = []
    values_of = picture_module._values_of

    def values_and_count(*about: Any) -> np.ndarray:
        decoded.append(about)
        return values_of(*about)

    monkeypatch.setattr(picture_module, "_values_of", values_and_count)
    look_at = load_picture(content, most=600)
    small, large = look_at(150), look_at(600)

    assert len(decoded) == times
    assert (small.pixels.shape[:2], large.pixels.shape[:2]) == ((100, 150), (400, 600))
    assert (small.width, large.width) == (1500, 1500)
