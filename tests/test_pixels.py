"""Planes: the nearest byte, and quick ways to say what NumPy says."""

from __future__ import annotations

import numpy as np
import pytest

from pixels import median, quantile, rescale, shrink, to_bytes


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


@pytest.mark.parametrize("count", [1, 2, 3, 10, 11, 4_001])
@pytest.mark.parametrize("decimals", [1, 6])  # with and without equal values
def test_the_quick_median_and_quantile_are_those_of_numpy(count, decimals):
    values = np.random.default_rng(count).normal(size=count).round(decimals).astype(np.float32)

    assert median(values) == pytest.approx(np.median(values), abs=1e-6)
    for share in (0.0, 0.25, 0.6, 0.7, 1.0):
        assert quantile(values, share) == pytest.approx(np.quantile(values, share), abs=1e-6)


@pytest.mark.parametrize(
    ("shape", "wanted"),
    [((100, 50), (20, 10)), ((50, 100, 3), (10, 20, 3)), ((1, 300), (1, 20)), ((20, 7), (20, 7))],
)
def test_the_longer_side_of_a_small_copy_is_as_asked(
    shape: tuple[int, ...], wanted: tuple[int, ...]
):
    assert shrink(np.ones(shape, np.float32), 20).shape == wanted


@pytest.mark.parametrize("scale", [0.001, 0.1, 1, 1.5])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_a_rescaled_plane_keeps_its_type_and_at_least_one_pixel(scale: float, dtype: type):
    plane: np.ndarray = np.full((40, 9), 7).astype(dtype)

    scaled = rescale(plane, scale)

    assert scaled.shape == tuple(max(1, round(side * scale)) for side in plane.shape)
    assert scaled.dtype == dtype
    assert (scaled == 7).all()


def test_shrinking_averages_so_that_no_pixel_is_missed():
    dots = np.zeros((40, 40), np.float32)
    dots[::10, ::10] = 1

    assert rescale(dots, 0.1).mean() == pytest.approx(dots.mean())
