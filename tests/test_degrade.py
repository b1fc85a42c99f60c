"""Photos made from clean ink: each effect alone, and the mixture."""

import numpy as np
import pytest

from degrade import EFFECTS, lay_on_table, photograph
from errors import SettingsError


@pytest.fixture
def ink():
    """A bold 4 of sorts in the middle of a frame of 64."""
    picture = np.zeros((64, 64), np.uint8)
    picture[12:52, 34:40] = 255
    picture[32:38, 16:48] = 255
    return picture


def brightness(picture):
    return picture if picture.ndim == 2 else picture.mean(axis=2)


@pytest.mark.parametrize("effect", EFFECTS)
def test_every_effect_alone_leaves_a_readable_picture(ink, effect):
    rng = np.random.default_rng(0)

    for _ in range(8):
        picture = photograph(ink, rng, effects=[effect])

        assert picture.dtype == np.uint8
        assert picture.ndim == 2 or picture.shape[2] == 3
        assert np.ptp(brightness(picture)) >= 20


@pytest.mark.parametrize("effect", EFFECTS)
def test_every_effect_changes_the_picture(ink, effect):
    plain = photograph(ink, np.random.default_rng(3), effects=[])

    changed = photograph(ink, np.random.default_rng(3), effects=[effect])

    assert changed.shape != plain.shape or not np.array_equal(changed, plain)


def test_the_same_seed_takes_the_same_picture(ink):
    first = [photograph(ink, np.random.default_rng(seed)) for seed in range(30)]

    again = [photograph(ink, np.random.default_rng(seed)) for seed in range(30)]

    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))


def test_strength_zero_is_clean_dark_ink_on_white_paper(ink):
    picture = photograph(ink, np.random.default_rng(0), strength=0.0)

    assert picture.shape == ink.shape
    assert picture[ink == 0].min() >= 250
    assert picture[ink == 255].max() < 100


@pytest.mark.parametrize(
    ("effect", "darker"),
    [("grey paper", True), ("dark paper", True), ("faint ink", True), ("blackboard", False)],
)
def test_the_ground_decides_whether_ink_is_dark_or_light(ink, effect, darker):
    for seed in range(10):
        picture = photograph(ink, np.random.default_rng(seed), effects=[effect])

        assert (picture[ink == 255].mean() < picture[ink == 0].mean()) == darker


def test_dark_paper_is_darker_than_mid_grey(ink):
    for seed in range(10):
        picture = photograph(ink, np.random.default_rng(seed), effects=["dark paper"])

        assert picture[ink == 0].mean() < 128


@pytest.mark.parametrize("effect", ["coloured", "whiteboard"])
def test_colour_comes_with_three_channels_and_a_difference_in_brightness(ink, effect):
    for seed in range(10):
        picture = photograph(ink, np.random.default_rng(seed), effects=[effect])

        grey = picture @ np.array([0.299, 0.587, 0.114])
        assert picture.shape == (64, 64, 3)
        assert grey[ink == 0].mean() - grey[ink == 255].mean() > 40


def test_a_small_digit_lies_in_a_larger_frame(ink):
    picture = photograph(ink, np.random.default_rng(0), effects=["small"])

    assert picture.shape[0] > 64
    assert picture.shape[1] > 64


def test_a_digit_at_the_edge_touches_it(ink):
    for seed in range(10):
        dark = photograph(ink, np.random.default_rng(seed), effects=["at the edge"]) < 128

        assert dark[0].any() or dark[-1].any() or dark[:, 0].any() or dark[:, -1].any()


def test_a_layout_that_is_kept_has_its_ink_in_place(ink):
    for seed in range(60):
        picture = photograph(ink, np.random.default_rng(seed), keep_layout=True)

        assert picture.shape[:2] == ink.shape


def test_float_ink_and_byte_ink_give_the_same_picture(ink):
    from_bytes = photograph(ink, np.random.default_rng(2), effects=["shadow"])

    from_floats = photograph(ink / 255, np.random.default_rng(2), effects=["shadow"])

    assert np.abs(from_bytes.astype(int) - from_floats).max() <= 1


def test_a_blank_sheet_can_be_photographed():
    blank = np.zeros((40, 50), np.uint8)

    for effect in EFFECTS:
        assert photograph(blank, np.random.default_rng(0), effects=[effect]).size


@pytest.mark.parametrize(
    ("options", "hint"),
    [
        ({"effects": ["fog"]}, "unknown effect 'fog'.*shadow"),
        ({"effects": ["small"], "keep_layout": True}, "'small'"),
    ],
)
def test_an_effect_that_cannot_be_had_is_refused(ink, options, hint):
    with pytest.raises(SettingsError, match=hint):
        photograph(ink, np.random.default_rng(0), **options)


@pytest.mark.parametrize("shape", [(40, 200), (90, 60, 3)])
def test_a_sheet_on_a_table_is_all_in_the_picture_and_nothing_else_is_white(shape):
    sheet = np.full(shape, 255, np.uint8)

    for seed in range(8):
        picture = lay_on_table(sheet, np.random.default_rng(seed))

        assert picture.dtype == np.uint8
        assert picture.shape[2] == 3
        rim = np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])
        assert rim.min(axis=1).max() < 240
        white = (picture.min(axis=2) > 250).sum()
        assert white == pytest.approx(shape[0] * shape[1], rel=0.15)
        again = lay_on_table(sheet, np.random.default_rng(seed))
        assert np.array_equal(picture, again)
