"""A hand and its pen draw what they are told to."""

import numpy as np
import pytest

from pen import Hand, draw_lines, dry_out, random_hand, read_template, trace, warp
from strokes import draw_digit


def test_a_template_is_strokes_of_points_some_of_them_corners():
    strokes = read_template("0 0, 50 100*, 100 0 | -20 40, 60 40")

    assert [stroke.points.tolist() for stroke in strokes] == [
        [[0.0, 0.0], [0.5, 1.0], [1.0, 0.0]],
        [[-0.2, 0.4], [0.6, 0.4]],
    ]
    assert [stroke.corners for stroke in strokes] == [(1,), ()]


def test_a_steady_line_goes_through_its_points_and_is_sharp_at_its_corners_only():
    steady = Hand(jitter=0.0, wobble=0.0)
    rng = np.random.default_rng(0)
    sharp, flowing = read_template("0 0, 50 100*, 100 0 | 0 0, 50 100, 100 0")

    lines = trace([sharp, flowing], steady, rng)

    for line in lines:
        for point in sharp.points:
            assert np.abs(line - point).sum(axis=1).min() < 1e-9
    turns = [np.abs(np.diff(np.arctan2(*np.diff(line, axis=0).T))).max() for line in lines]
    assert turns[0] > 1.5 * turns[1]


@pytest.mark.parametrize("nib", ["even", "speed", "chisel", "mouse"])
def test_every_nib_draws_inside_the_frame(nib):
    rng = np.random.default_rng(0)
    hand = Hand(nib=nib, contrast=0.8, width=9.0, turn=12.0)

    lines = trace(warp(read_template("0 0, 100 100 | 100 0, 0 100"), hand, rng), hand, rng)
    ink = draw_lines(lines, hand, rng, 64)

    assert ink.max() == 255
    edge = np.concatenate([ink[0], ink[-1], ink[:, 0], ink[:, -1]])
    assert edge.max() < 60


def test_a_dry_pen_leaves_less_ink():
    full = np.full((64, 64), 255, np.uint8)

    left = [dry_out(full, dryness, np.random.default_rng(0)).mean() for dryness in (0.1, 0.3, 0.6)]

    assert 255 > left[0] > left[1] > left[2] > 0


def test_slant_leans_to_the_right():
    rng = np.random.default_rng(0)

    ink = draw_digit(1, rng, variant="plain", hand=Hand(slant=30, turn=0, jitter=0, wobble=0))

    rows, columns = np.nonzero(ink)
    assert columns[rows < 20].mean() > columns[rows > 44].mean() + 5


def test_hands_cover_thin_thick_and_slanted_writing():
    rng = np.random.default_rng(0)

    hands = [random_hand(rng) for _ in range(3000)]

    widths, slants = [hand.width for hand in hands], [hand.slant for hand in hands]
    assert min(widths) < 1.3
    assert max(widths) > 12
    assert min(slants) < -20
    assert max(slants) > 30
    assert {hand.nib for hand in hands} == {"even", "speed", "chisel", "mouse"}
