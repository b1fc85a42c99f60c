"""Pixels become files and text, and come back; text is read strictly."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from encoding import LONGEST_HEAD, decode_base64, encode_jpeg, encode_png, picture_url
from errors import EncodingError

CONTENT = bytes(range(256))
TEXT = base64.b64encode(CONTENT).decode("ascii")
BROKEN = base64.encodebytes(CONTENT).decode("ascii")


@pytest.mark.parametrize(
    "pixels",
    [
        np.eye(28, dtype=np.float32),
        np.eye(28) * 2 - 0.5,  # beyond the range, as rounding leaves it
        np.eye(28, dtype=np.uint8) * 255,
        np.zeros((5, 9, 3), np.uint8),
    ],
)
def test_pixels_become_a_picture_in_the_page_without_a_file(pixels: np.ndarray):
    url = picture_url(pixels)

    shown = np.asarray(Image.open(io.BytesIO(decode_base64(url, "it"))))
    factor = 1 if pixels.dtype == np.uint8 else 255
    assert np.abs(shown - np.clip(pixels * factor, 0, 255)).max() <= 0.5


@pytest.mark.parametrize("shape", [(40, 60), (40, 60, 3)])
def test_a_photograph_is_smaller_as_a_jpeg_and_looks_nearly_the_same(shape: tuple[int, ...]):
    slope = np.broadcast_to(np.linspace(0, 200, 60).reshape(1, 60, *[1] * (len(shape) - 2)), shape)
    noisy = slope + np.random.default_rng(0).normal(20, 4, shape)
    pixels = noisy.clip(0, 255).astype(np.uint8)

    photo = encode_jpeg(pixels)

    shown = np.asarray(Image.open(io.BytesIO(photo))).astype(float)
    assert shown.shape == shape
    assert np.abs(shown - pixels).mean() < 6
    assert len(photo) < len(encode_png(pixels)) / 2
    assert picture_url(pixels, photo=True).startswith("data:image/jpeg;base64,")


def test_what_is_made_quickly_holds_the_same_pixels():
    pixels = np.random.default_rng(0).integers(0, 256, (30, 20), dtype=np.uint8)

    for content in (encode_png(pixels), encode_png(pixels, quick=True)):
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(content))), pixels)


@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        f"data:image/png;base64,{TEXT}",
        f"DATA:image/png;charset=x;BASE64,{TEXT}",
        BROKEN,
        BROKEN.replace("\n", "\r\n  "),
        f"data:;base64,{BROKEN}",
    ],
)
def test_base64_is_read_in_the_forms_that_programs_write(text: str):
    assert decode_base64(text, "image") == CONTENT


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("", "it is empty"),
        ("data:image/png;base64,", "it is empty"),
        (" \n", "it is empty"),
        ("%%%%", "not base64"),
        ("QQ", "not base64"),
        ("../../etc/passwd", "not base64"),
        ("http://example.com/seven.png", "not base64"),
        ("ä" * 8, "not base64"),
        ("\ud800", "not base64"),
        (TEXT.replace("+", "-").replace("/", "_"), "not base64"),
        (f"data:image/png,{TEXT}", "data:image/png;base64,"),
        (f"data:image/png;base64;{TEXT}", "data:image/png;base64,"),
        (f"data:{'x' * LONGEST_HEAD};base64,{TEXT}", "data:image/png;base64,"),
    ],
)
def test_what_is_no_base64_is_refused_by_its_field(text: str, hint: str):
    with pytest.raises(EncodingError) as caught:
        decode_base64(text, "images[3]")

    assert str(caught.value).startswith("images[3]: ")
    assert hint in str(caught.value)


@pytest.mark.parametrize("sent", [5, None, ["QQ=="], {"image": "QQ=="}, b"QQ=="])
def test_what_is_no_text_is_no_picture(sent: object):
    with pytest.raises(EncodingError, match=r"^image: it is no text"):
        decode_base64(sent, "image")
