"""Pixels as the content of files and as data URLs."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from encoding import encode_jpeg, encode_png, picture_url
from pad import decode_data_url


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

    shown = np.asarray(Image.open(io.BytesIO(decode_data_url(url))))
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
