"""A stranger's picture is decoded in another process, with the same answers and errors as here."""

from __future__ import annotations

import io
import signal
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import decoding
import worker_process
from decoding import QUICK, QUICK_SCANS, SLOW, Decoders, decoders_for, is_quick, shared
from errors import BlankImageError, ImageError, ImageTooLargeError
from picture import open_picture
from preprocess import Prepared, prepare


@pytest.fixture
def decoders() -> Iterator[Decoders]:
    decoders = Decoders(2)
    yield decoders
    decoders.close()


EXIF = Image.Exif()
EXIF[0x010F] = "a camera"


def encode(pixels: np.ndarray, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


BLANK = encode(np.full((40, 60), 255, np.uint8))
WIDE = encode(np.zeros((4, 20_000), np.uint8))


def draw(width: int, height: int, kind: str = "PNG", **options: object) -> bytes:
    """Write a black picture."""
    return encode(np.zeros((height, width), np.uint8), kind, **options)


def header(width: int, height: int) -> bytes:
    """Write the beginning of a PNG that claims to be so large."""
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    checksum = struct.pack(">I", zlib.crc32(body))
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + body + checksum


def test_a_picture_is_prepared_as_in_this_process(
    decoders: Decoders, digit_png: Callable[..., Path]
) -> None:
    content = digit_png(4, size=200).read_bytes()
    here, there = prepare(content), decoders.prepare(content)

    assert np.array_equal(here.digit, there.digit)
    assert (here.box, here.width, here.dark_ink) == (there.box, there.width, there.dark_ink)
    assert there.steps == ()


def test_the_steps_come_along_if_asked_for(
    decoders: Decoders, digit_png: Callable[..., Path]
) -> None:
    content = digit_png(4).read_bytes()

    names = [name for name, _ in decoders.prepare(content, keep_steps=True).steps]

    assert names == [name for name, _ in prepare(content, keep_steps=True).steps]
    assert names


@pytest.mark.parametrize("as_file", [False, True])
def test_a_picture_is_opened_as_in_this_process(
    decoders: Decoders, digit_png: Callable[..., Path], as_file: bool
) -> None:
    path = digit_png(4, size=200)
    here = open_picture(path, working_side=100)
    there = decoders.open(str(path) if as_file else path.read_bytes(), 100)

    assert np.array_equal(here.pixels, there.pixels)
    assert (there.width, there.height) == (here.width, here.height)


@pytest.mark.parametrize(
    ("content", "error"),
    [(BLANK, BlankImageError), (WIDE, ImageTooLargeError), (BLANK[:50], ImageError)],
)
def test_errors_are_those_of_this_process(
    decoders: Decoders, content: bytes, error: type[ImageError]
) -> None:
    with pytest.raises(error) as here:
        prepare(content)
    with pytest.raises(error) as there:
        decoders.prepare(content)

    assert type(there.value) is type(here.value)
    assert str(there.value) == str(here.value)


def test_what_is_wrong_with_one_of_several_takes_its_place(
    decoders: Decoders, digit_png: Callable[..., Path]
) -> None:
    good = digit_png(4).read_bytes()

    first, blank, last = decoders.prepare_all([good, BLANK, good])

    assert isinstance(first, Prepared)
    assert isinstance(blank, BlankImageError)
    assert isinstance(last, Prepared)


@pytest.mark.skipif(not hasattr(signal, "ITIMER_PROF"), reason="needs a clock of processor time")
def test_a_picture_that_takes_for_ever_is_given_up_and_the_next_one_is_read(
    endless_gif: bytes, digit_png: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """This one takes minutes, all of them before its size is known."""
    brief = "import decoding; decoding.LIMIT_S = 0.5; importlib.import_module"
    code = worker_process._START.replace("importlib.import_module", brief)
    monkeypatch.setattr(worker_process, "_START", code)
    decoders = Decoders(1)

    with pytest.raises(ImageError, match=r"the picture: takes too long.*PNG or JPEG"):
        decoders.prepare(endless_gif)

    assert decoders.prepare(digit_png(4).read_bytes()).digit.any()
    decoders.close()


def test_processes_are_started_when_they_are_needed_and_no_more_than_allowed(
    decoders: Decoders, digit_png: Callable[..., Path]
) -> None:
    content = digit_png(4).read_bytes()
    assert decoders._started == []
    for _ in range(3):
        decoders.prepare(content)
    assert len(decoders._started) == 1

    with decoders._borrow() as one:
        with decoders._borrow() as other:
            assert one is not other
            late = threading.Thread(target=decoders.prepare, args=[content])
            late.start()
            late.join(timeout=0.1)
            assert late.is_alive()
        late.join(timeout=60)
        assert not late.is_alive()

    assert len(decoders._started) == 2


def test_one_can_be_started_beforehand(decoders: Decoders) -> None:
    decoders.start()

    assert len(decoders._started) == 1


def test_closing_ends_them() -> None:
    decoders = Decoders(2)
    decoders.start()
    (worker,) = decoders._started
    decoders.close()

    assert worker._process.poll() == 0


@pytest.mark.parametrize(
    ("content", "quick"),
    [
        (draw(28, 28), True),
        (draw(1024, 1024), True),
        (draw(1025, 1024), False),
        (header(100_000, 100_000), False),
        (draw(28, 28)[:8] + header(9, 9)[8:] + draw(28, 28)[8:], False),  # two headers
        (draw(28, 28)[:20], False),
        (draw(1024, 1024, "JPEG"), True),
        (draw(1025, 1024, "JPEG"), False),
        (draw(100, 100, "JPEG", progressive=True, exif=EXIF, comment="a 7"), True),
        (draw(100, 100, "JPEG").replace(b"\xff\xdb", b"\xff\xff", 1), False),
        (draw(100, 100, "JPEG") + QUICK_SCANS * b"\xff\xda", False),
        (draw(100, 100, "JPEG")[:30], False),
        *((draw(10, 10, kind), False) for kind in ("BMP", "GIF", "WEBP", "TIFF", "JPEG2000")),
        (b"", False),
        (b"nonsense", False),
    ],
)
def test_pictures_that_may_take_long_are_told_by_their_first_bytes(
    content: bytes, quick: bool
) -> None:
    assert is_quick(content) == quick


def test_who_draws_does_not_wait_for_photographs() -> None:
    assert decoders_for(draw(28, 28)) is shared(QUICK)
    assert decoders_for(draw(2000, 1000)) is decoders_for("photograph.jpg") is shared(SLOW)
    assert shared(SLOW) is not shared(QUICK)


def test_there_is_one_for_each_core_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "count_processors", lambda: 3)
    assert Decoders().most == 3
    monkeypatch.setattr(decoding, "count_processors", lambda: 64)
    assert Decoders().most == decoding.MOST
