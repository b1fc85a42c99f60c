from __future__ import annotations

import numpy as np
import pytest

import tiles


def test_heat_goes_from_black_to_bright():
    values = np.linspace(0, 1, 5)[None]

    colours = tiles.colour_heat(values)

    brightness = colours.astype(int).sum(axis=2)[0]
    assert colours.dtype == np.uint8
    assert brightness[0] < 30
    assert (np.diff(brightness) > 0).all()
    assert colours[0, 2, 0] > colours[0, 2, 2], "red leads in the middle of Inferno"


@pytest.mark.parametrize("limit", [None, 4.0])
def test_signs_have_colours_and_zero_is_black(limit: float | None):
    colours = tiles.colour_signs(np.array([[-2.0, 0.0, 2.0]]), limit)

    share = 1 if limit is None else 0.5
    np.testing.assert_allclose(colours[0, 0], np.array(tiles.AGAINST) * share, atol=0.5)
    np.testing.assert_array_equal(colours[0, 1], (0, 0, 0))
    np.testing.assert_allclose(colours[0, 2], np.array(tiles.FOR) * share, atol=0.5)


@pytest.mark.parametrize("sign", [-1, 1])
def test_the_largest_value_has_the_full_colour_and_so_has_what_is_beyond_the_limit(sign: int):
    values = np.array([[0.0, sign * 1.0, sign * 2.0]])
    colour = tiles.FOR if sign > 0 else tiles.AGAINST

    np.testing.assert_array_equal(tiles.colour_signs(values)[0, 2], colour)
    np.testing.assert_array_equal(tiles.colour_signs(values, limit=1.0)[0, 1:], [colour] * 2)


def test_heat_beyond_its_range_is_that_of_its_ends():
    np.testing.assert_array_equal(
        tiles.colour_heat(np.array([[-0.5, 1.5]])), tiles.colour_heat(np.array([[0.0, 1.0]]))
    )


def test_signs_of_nothing_are_black():
    assert not tiles.colour_signs(np.zeros((3, 3))).any()


def test_colours_cover_a_digit_as_far_as_they_are_strong():
    digit = np.array([[1.0, 1.0, 0.0]])
    colours = np.full((1, 3, 3), (200, 100, 0), np.uint8)

    over = tiles.lay_over(digit, colours, np.array([[0.0, 1.0, 0.0]]))

    np.testing.assert_array_equal(over[0, 0], [round(255 * tiles.FAINT)] * 3)  # only the digit
    np.testing.assert_array_equal(over[0, 1], (200, 100, 0))
    np.testing.assert_array_equal(over[0, 2], (0, 0, 0))


@pytest.mark.parametrize(
    ("count", "columns", "shape"),
    [(1, 8, (4, 4)), (3, 2, (7, 7)), (4, 2, (7, 7)), (8, 8, (4, 25))],
)
def test_tiles_lie_side_by_side_with_a_gap_around_each(
    count: int, columns: int, shape: tuple[int, int]
):
    pictures = [np.full((2, 2, 3), place + 1, np.uint8) for place in range(count)]

    sheet = tiles.lay_out(pictures, columns)

    assert sheet.shape == (*shape, 3)
    for place in range(count):
        assert (sheet == place + 1).all(axis=2).sum() == 4
    np.testing.assert_array_equal(sheet[0, 0], tiles.GAP)


def test_an_enlarged_picture_keeps_its_squares_unless_it_is_to_be_smooth():
    pixels = np.array([[0, 255], [255, 0]], np.uint8)

    assert set(np.unique(tiles.enlarge(pixels, 8))) == {0, 255}
    assert len(np.unique(tiles.enlarge(pixels, 8, smooth=True))) > 2
