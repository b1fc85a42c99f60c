"""Brightness becomes the nearest byte."""

from __future__ import annotations

import numpy as np

from pixels import to_bytes


def test_brightness_becomes_the_nearest_byte() -> None:
    values = np.array([[0.0, 0.1], [0.999, 1.0]], np.float32)

    assert to_bytes(values).tolist() == [[0, 26], [255, 255]]


def test_what_is_darker_than_black_or_brighter_than_white_is_cut_off() -> None:
    assert to_bytes(np.array([-0.2, 1.3])).tolist() == [0, 255]


def test_bytes_pass_unchanged() -> None:
    values = np.array([0, 1, 255], np.uint8)

    assert to_bytes(values) is values


def test_every_byte_comes_back_from_its_brightness() -> None:
    values = np.arange(256, dtype=np.uint8)

    assert np.array_equal(to_bytes(values.astype(np.float32) / 255), values)
