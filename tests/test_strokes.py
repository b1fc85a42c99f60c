"""The generated handwriting: repeatable, inside its frame, and labelled without doubt."""

import itertools
import subprocess
import sys

import cv2
import numpy as np
import pytest

from errors import SettingsError
from pen import Hand, random_hand
from strokes import (
    _SEVENS,
    BAR_SLOPE,
    CROSSED_BAR_SLOPE,
    FLATTEST_FLAG,
    STEEPEST_FLAG,
    VARIANTS,
    _one,
    _seven,
    draw_digit,
    draw_number,
)

EVERY_VARIANT = [(digit, variant) for digit in VARIANTS for variant in VARIANTS[digit]]
FLAGGED = [variant for variant in VARIANTS[1] if "flag" in variant]


def slope(start, end):
    """Degrees by which the way from left to right climbs on the paper."""
    right, down = np.asarray(end) - np.asarray(start)
    return np.degrees(np.arctan2(-down, right))


def count_pieces(ink):
    return cv2.connectedComponents((ink > 60).astype(np.uint8))[0] - 1  # less the ground


@pytest.mark.parametrize(
    "draw",
    [
        lambda rng: draw_digit(3, rng),
        lambda rng: draw_number("2024", rng)[0],
    ],
)
def test_the_same_seed_draws_the_same_picture(draw):
    first, again = draw(np.random.default_rng(5)), draw(np.random.default_rng(5))
    other = draw(np.random.default_rng(6))

    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_importing_the_generator_loads_no_matplotlib_and_no_torch():
    program = "import sys, non_digits; print({'matplotlib', 'torch'} & set(sys.modules))"

    answer = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert answer.stdout.strip() == "set()"


@pytest.mark.parametrize(("digit", "variant"), EVERY_VARIANT)
def test_every_variant_puts_its_whole_ink_inside_the_frame(digit, variant):
    rng = np.random.default_rng(0)

    for size in (28, 64, 112):
        for _ in range(5):
            ink = draw_digit(digit, rng, size=size, variant=variant)

            edge = np.concatenate([ink[0], ink[-1], ink[:, 0], ink[:, -1]])
            assert ink.shape == (size, size)
            assert ink.dtype == np.uint8
            assert ink.max() > 60
            assert edge.max() <= 128  # at most the soft edge of a line that ends there


@pytest.mark.parametrize(
    ("digit", "needed"),
    [
        (1, {"plain", "slanted", "hooked", "flag", "very long flag", "base bar"}),
        (7, {"plain", "crossed", "serif", "curved stem"}),
        (4, {"open", "closed", "open, long tail"}),
        (9, {"straight stem", "curled tail", "open top", "round"}),
        (2, {"plain", "looped", "angular"}),
        (0, {"oval", "narrow", "slashed", "unclosed"}),
        (3, {"round", "flat top"}),
        (5, {"one stroke", "detached bar"}),
        (6, {"straight", "curled", "angular loop", "open loop"}),
        (8, {"one stroke", "two circles", "open top"}),
    ],
)
def test_the_common_ways_of_the_world_are_there(digit, needed):
    assert needed <= set(VARIANTS[digit])


@pytest.mark.parametrize("variant", FLAGGED)
def test_the_up_stroke_of_a_one_is_always_steep(variant):
    """Most real mistakes are a flagged 1 read as 7: here the two never meet."""
    rng = np.random.default_rng(1)

    slopes, flattest = [], []
    for _ in range(500):
        up = _one(variant, random_hand(rng), rng)[0].points
        slopes.append(slope(up[0], up[2]))
        flattest.append(np.interp(np.hypot(*(up[2] - up[0])), *FLATTEST_FLAG))

    assert (np.array(slopes) >= np.array(flattest) - 1e-6).all()
    assert max(slopes) <= STEEPEST_FLAG
    assert max(slopes) - min(slopes) > 15  # and its whole natural range is there


@pytest.mark.parametrize("variant", VARIANTS[7])
def test_the_top_bar_of_a_seven_is_always_flat_and_long(variant):
    rng = np.random.default_rng(2)
    bounds = CROSSED_BAR_SLOPE if variant.startswith("crossed") else BAR_SLOPE
    left = 1 if any(_SEVENS[variant].hook) else 0  # the hook comes first

    for _ in range(500):
        points = _seven(variant, random_hand(rng), rng)[0].points
        start, corner = points[left], points[left + 2]

        assert bounds[0] <= slope(start, corner) <= bounds[1]
        assert np.hypot(*(corner - start)) >= 0.3


def test_one_and_seven_leave_a_band_of_doubt_between_them():
    """The more a bar rises, the longer it is; an up-stroke as long is steeper by 10 degrees."""
    rng = np.random.default_rng(5)

    for variant in (name for name in VARIANTS[7] if not name.startswith("crossed")):
        left = 1 if any(_SEVENS[variant].hook) else 0
        for _ in range(300):
            points = _seven(variant, random_hand(rng), rng)[0].points
            start, corner = points[left], points[left + 2]
            length = np.hypot(*(corner - start))
            assert np.interp(length, *FLATTEST_FLAG) - slope(start, corner) >= 10


def test_a_very_long_flag_reaches_far_down_the_stem():
    rng = np.random.default_rng(3)

    drops = [_one("very long flag", random_hand(rng), rng)[0].points[0, 1] for _ in range(300)]

    assert min(drops) > 0.35
    assert 0.65 < max(drops) <= 0.8


def test_a_detached_five_is_made_of_separate_strokes():
    rng = np.random.default_rng(4)
    steady = Hand(width=2.0, jitter=0.0, wobble=0.0)

    pieces = [
        count_pieces(draw_digit(5, rng, variant="gap before bar", hand=steady)) for _ in range(5)
    ]

    assert pieces == [2] * 5


def test_a_thicker_pen_leaves_more_ink():
    amounts = [
        int(draw_digit(3, np.random.default_rng(0), hand=Hand(width=width), variant="round").sum())
        for width in (1.0, 3.0, 6.0, 10.0)
    ]

    assert amounts == sorted(amounts)
    assert amounts[-1] > 4 * amounts[0]


def test_a_number_comes_with_one_tight_box_for_each_digit():
    rng = np.random.default_rng(7)

    for length in range(1, 13):
        digits = "".join(str(digit) for digit in rng.integers(0, 10, length))
        picture, boxes = draw_number(digits, rng, height=40)

        outside = picture.copy()
        for left, top, right, bottom in boxes:
            ink = picture[top:bottom, left:right] > 24
            assert ink.any()
            assert ink[0].any()
            assert ink[-1].any()
            assert ink[:, 0].any()
            assert ink[:, -1].any()
            outside[top:bottom, left:right] = 0
        assert len(boxes) == length
        assert [box[0] for box in boxes] == sorted(box[0] for box in boxes)
        assert outside.max() <= 24


def test_digits_of_a_number_touch_only_if_they_are_asked_to():
    rng = np.random.default_rng(8)

    apart = [draw_number("3535", rng)[1] for _ in range(20)]
    close = [draw_number("3535", rng, gap=-0.2)[1] for _ in range(20)]

    assert all(left[2] < right[0] for boxes in apart for left, right in itertools.pairwise(boxes))
    assert all(boxes[0][2] > boxes[1][0] for boxes in close)


@pytest.mark.parametrize(
    ("call", "hint"),
    [
        (lambda rng: draw_digit(10, rng), "unknown digit 10"),
        (lambda rng: draw_digit(1, rng, variant="crossed"), "very long flag"),
        (lambda rng: draw_number("", rng), "digits 0 to 9"),
        (lambda rng: draw_number("12a", rng), "12a"),
        (lambda rng: draw_number("¹²", rng), "digits 0 to 9"),
    ],
)
def test_what_cannot_be_drawn_is_refused_with_the_choices(call, hint):
    with pytest.raises(SettingsError, match=hint):
        call(np.random.default_rng(0))
