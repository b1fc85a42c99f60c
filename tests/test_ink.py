"""Ink and ground are told apart in any light."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from errors import BlankImageError
from ink import find_ink, ink_mask, is_ink_dark, to_grey
from strokes import draw_digit


@pytest.mark.parametrize("thickness", [2, 5, 9])
@pytest.mark.parametrize("digit", [0, 1, 4, 8])
def test_the_ground_is_what_the_rim_shows(digit: int, thickness: int) -> None:
    ink = draw_digit(digit, np.random.default_rng(thickness), size=96) / np.float32(255)

    assert is_ink_dark(1 - ink)
    assert not is_ink_dark(ink)


@pytest.mark.parametrize("lean", [(0.0, 0.0), (0.5, 0.0), (0.0, -0.5), (0.3, 0.4)])
def test_ink_is_the_same_on_a_slope_of_light(lean: tuple[float, float]) -> None:
    strokes = draw_digit(3, np.random.default_rng(1), size=120) / np.float32(255)
    down, across = (np.linspace(0, share, 120, dtype=np.float32) for share in lean)

    ink, dark_ink = find_ink(down[:, None] + across[None] - 0.2 * strokes)

    assert dark_ink
    assert ink.min() == 0
    assert np.abs(ink - strokes).mean() < 0.02


@pytest.mark.parametrize("shape", [(1, 40), (40, 1), (28, 28), (240, 320)])
def test_even_paper_of_any_shape_is_blank(shape: tuple[int, int]) -> None:
    with pytest.raises(BlankImageError, match="use one with ink in it"):
        find_ink(np.full(shape, 0.7, np.float32))


def test_red_ink_on_equally_bright_grey_stands_out() -> None:
    ground = np.full((60, 60, 3), 0.5, np.float32)
    ground[20:40, 28:32] = (0.9, 0.3, 0.3)  # as bright as the ground, on average

    grey = to_grey(ground)

    assert abs(grey[30, 30] - grey[5, 5]) > 0.2


@pytest.mark.parametrize("ink", [(0, 0, 0), (0.1, 0.2, 0.9), (0.9, 0.1, 0.1), (0, 0.5, 0)])
@pytest.mark.parametrize("paper", [(1, 1, 1), (1.0, 0.95, 0.6)])
def test_what_is_brighter_has_more_grey_in_any_colours(
    ink: tuple[float, ...], paper: tuple[float, ...]
) -> None:
    ground = np.full((60, 60, 3), paper, np.float32)
    ground[20:40, 28:32] = ink

    grey = to_grey(ground)

    assert grey[5, 5] > grey[30, 30] + 0.3


def test_weak_ink_counts_where_it_hangs_together_with_strong_ink() -> None:
    ink = np.zeros((20, 40), np.float32)
    ink[5:15, 5:12] = 0.3
    written = ink > 0
    ink[5:15, 5] = 0.9
    ink[5:15, 25:32] = 0.3  # a smudge
    ink[18, :] = 0.1

    assert np.array_equal(ink_mask(ink), written)


# ---- Noise --------------------------------------------------------------------------------------


def likeness(first: np.ndarray, second: np.ndarray) -> float:
    """Correlate two pictures of ink."""
    return float(np.corrcoef(first.ravel(), second.ravel())[0, 1])


@pytest.mark.parametrize("dark_ink", [True, False])
@pytest.mark.parametrize("side", [120, 320])
@pytest.mark.parametrize("noise", [0.02, 0.1, 0.2, 0.3])
def test_ink_is_found_under_the_noise_of_a_camera(noise: float, side: int, dark_ink: bool) -> None:
    rng = np.random.default_rng(4)
    written = draw_digit(5, rng, size=side).astype(np.float32) / 255
    paper = 0.85 - 0.7 * written if dark_ink else 0.15 + 0.7 * written
    grey = np.clip(paper + rng.normal(0, noise, paper.shape), 0, 1).astype(np.float32)

    ink, is_dark = find_ink(grey)

    assert is_dark == dark_ink
    assert likeness(ink_mask(ink), written) > 0.85


@pytest.mark.parametrize("grain", [0, 1])  # coarser grains are for the network to refuse
@pytest.mark.parametrize("side", [112, 320])
def test_noise_alone_is_not_ink(side: int, grain: int) -> None:
    white = np.random.default_rng(5).normal(0, 1, (side, side)).astype(np.float32)
    noise = np.asarray(cv2.GaussianBlur(white, (0, 0), grain) if grain else white)
    grey = np.clip(0.6 + 0.1 * noise / noise.std(), 0, 1).astype(np.float32)

    with pytest.raises(BlankImageError):
        find_ink(grey)


def test_ink_that_is_fainter_than_asked_for_is_ground() -> None:
    ink = np.array([[0, 0.3, 1, 0.5, 1, 0.3, 0]], np.float32)

    assert ink_mask(ink).tolist() == [[0, 1, 1, 1, 1, 1, 0]]
    assert ink_mask(ink, weak=0.6).tolist() == [[0, 0, 1, 0, 1, 0, 0]]
