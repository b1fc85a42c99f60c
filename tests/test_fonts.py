"""Printed digits, from fonts and as a calculator's bars."""

import numpy as np
import pytest

from errors import SettingsError
from fonts import draw_font_digit, find_fonts


def test_the_same_seed_prints_the_same_picture():
    first, again = (draw_font_digit(3, np.random.default_rng(5)) for _ in range(2))

    assert np.array_equal(first, again)
    assert not np.array_equal(first, draw_font_digit(3, np.random.default_rng(6)))


@pytest.mark.parametrize("digit", range(10))
def test_printed_digits_have_ink(digit):
    rng = np.random.default_rng(digit)

    for _ in range(30):
        ink = draw_font_digit(digit, rng, size=48)

        assert ink.shape == (48, 48)
        assert ink.dtype == np.uint8
        assert 0.01 < (ink > 60).mean() < 0.6


def test_only_given_fonts_are_used():
    font = find_fonts()[0]
    rng = np.random.default_rng(0)

    pictures = [draw_font_digit(8, rng, fonts=(font,)) for _ in range(20)]

    assert all(picture.max() > 200 for picture in pictures)


def test_fonts_for_symbols_are_left_out():
    names = [path.name for path in find_fonts()]

    assert len(names) >= 15
    assert not [name for name in names if "Siz" in name or name.startswith(("cmsy", "cmex"))]


@pytest.mark.parametrize("digit", [-1, 10, "3"])
def test_what_is_no_digit_is_refused(digit):
    with pytest.raises(SettingsError, match="from 0 to 9"):
        draw_font_digit(digit, np.random.default_rng(0))
