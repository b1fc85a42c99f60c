"""Every form is a file that shows the same digit; every damage grows with its strength."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

import stress
from errors import SettingsError
from stress import DAMAGES, FORMS, STRENGTHS, as_file, as_picture, damage, middle
from tests.conftest import Handwriting


@pytest.fixture
def digit(handwriting: Handwriting) -> np.ndarray:
    """Return a handwritten digit as bytes, white on black."""
    return np.rint(handwriting.images[7] * 255).astype(np.uint8)


SIZES = {
    "as they are": (28, 28),
    "inverted": (28, 28),
    "JPEG photo from far away": (640, 480),
}
MODES = {"transparent PNG": "RGBA"}


@pytest.mark.parametrize("form", FORMS)
def test_a_form_is_a_picture_file_of_its_size_and_kind(digit: np.ndarray, form: str) -> None:
    content = as_file(digit, form, np.random.default_rng(0))

    with Image.open(io.BytesIO(content)) as image:
        assert image.size == SIZES.get(form, (280, 280))
        assert image.mode == MODES.get(form, "L")
        assert image.format == ("JPEG" if "JPEG" in form else "PNG")


def test_ink_is_light_in_some_forms_and_dark_in_others(digit: np.ndarray) -> None:
    def corner(form: str) -> int:
        with Image.open(io.BytesIO(as_file(digit, form, np.random.default_rng(0)))) as image:
            return int(np.asarray(image)[0, 0])

    assert (corner("as they are"), corner("inverted")) == (0, 255)
    assert (corner("half size, off centre"), corner("half size, off centre, inverted")) == (0, 255)
    assert 80 < corner("JPEG photo on grey paper") < 220


def test_the_transparent_form_has_its_strokes_in_the_alpha_channel_alone(
    digit: np.ndarray,
) -> None:
    with Image.open(
        io.BytesIO(as_file(digit, "transparent PNG", np.random.default_rng(0)))
    ) as image:
        pixels = np.asarray(image)

    assert not pixels[..., :3].any()
    assert pixels[..., 3].max() > 200
    assert pixels[0, 0, 3] == 0


def test_the_same_random_state_makes_the_same_file(digit: np.ndarray) -> None:
    for form in FORMS:
        files = [as_file(digit, form, np.random.default_rng(4)) for _ in range(2)]
        assert files[0] == files[1], form


@pytest.mark.parametrize("kind", DAMAGES)
def test_damage_grows_with_its_strength(digit: np.ndarray, kind: str) -> None:
    whole = np.pad(digit, 14) / 255
    harm = [
        np.mean(
            [
                np.abs(damage(digit, kind, strength, np.random.default_rng(seed)) - whole).mean()
                for seed in range(20)
            ]
        )
        for strength in STRENGTHS
    ]

    assert harm == sorted(harm)
    assert harm[0] > 0


def test_a_damaged_field_is_shown_dark_on_white_and_three_times_as_large(
    digit: np.ndarray,
) -> None:
    field = damage(digit, "shift", 5, np.random.default_rng(0))

    with Image.open(io.BytesIO(as_picture(field))) as image:
        pixels = np.asarray(image)

    assert pixels.shape == (168, 168)
    assert pixels[0, 0] == 255
    assert pixels.min() < 30


def test_a_shifted_digit_leaves_the_networks_view_but_not_the_picture(digit: np.ndarray) -> None:
    fields = [damage(digit, "shift", 5, np.random.default_rng(seed)) for seed in range(10)]

    seen = [middle(field).sum() / field.sum() for field in fields]

    assert middle(fields[0]).shape == (28, 28)
    assert min(seen) < 0.9
    assert [field.sum() for field in fields] == pytest.approx([digit.sum() / 255] * 10, rel=0.02)


@pytest.mark.parametrize(("kind", "strength"), [("fire", 1), ("blur", 0), ("blur", 6)])
def test_an_unknown_damage_or_strength_is_refused_with_the_known_ones(
    digit: np.ndarray, kind: str, strength: int
) -> None:
    with pytest.raises(SettingsError, match="noise, blur, shift, rotation, contrast, occlusion"):
        damage(digit, kind, strength, np.random.default_rng(0))


def test_an_unknown_form_is_refused_with_the_known_ones(digit: np.ndarray) -> None:
    with pytest.raises(SettingsError, match="inverted"):
        as_file(digit, "carved in stone", np.random.default_rng(0))


# ---- Several damages at once --------------------------------------------------------------------


@pytest.fixture
def bar() -> np.ndarray:
    """Return a digit of sorts: an upright bar in the upper half."""
    digit = np.zeros((28, 28), np.float32)
    digit[4:14, 13:15] = 1
    return digit


def spoil(digit: np.ndarray, seed: int = 0, **damages: float) -> np.ndarray:
    return stress.spoil(digit, stress.Damages(**damages), np.random.default_rng(seed))


def test_no_damage_leaves_a_digit_as_it_is(bar: np.ndarray):
    field = spoil(bar)

    assert field.shape == (56, 56)
    np.testing.assert_array_equal(stress.middle(field), bar)


@pytest.mark.parametrize(
    ("damages", "row", "column"),
    [
        ({"right": 5}, 8.5, 18.5),
        ({"right": -5, "down": 3}, 11.5, 8.5),
        ({"rotation": 90}, 13.5, 18.5),  # clockwise: what was up points to the right
        ({"rotation": -90}, 13.5, 8.5),
        ({"rotation": 180, "down": 2}, 20.5, 13.5),
    ],
)
def test_a_digit_is_turned_first_and_then_shifted(
    bar: np.ndarray, damages: dict[str, float], row: float, column: float
):
    seen = stress.middle(spoil(bar, **damages))

    rows, columns = np.indices(seen.shape)
    assert np.average(rows, weights=seen) == pytest.approx(row, abs=0.1)
    assert np.average(columns, weights=seen) == pytest.approx(column, abs=0.1)


def test_contrast_and_blur_weaken_ink_and_keep_it_in_place(bar: np.ndarray):
    faint, soft = spoil(bar, contrast=0.4), spoil(bar, blur=2)

    assert faint.max() == pytest.approx(0.4)
    assert 0 < soft.max() < 1
    assert soft.sum() == pytest.approx(bar.sum(), rel=0.01)


def test_noise_has_its_strength_and_the_same_grain_for_the_same_seed(bar: np.ndarray):
    half = np.full((28, 28), 0.5, np.float32)

    weak, strong, other = (
        stress.middle(spoil(half, seed, noise=sigma)) - 0.5
        for seed, sigma in ((0, 0.05), (0, 0.1), (1, 0.1))
    )

    assert weak.std() == pytest.approx(0.05, rel=0.1)
    np.testing.assert_allclose(strong, 2 * weak, atol=1e-5)
    assert not np.allclose(strong, other)
    assert np.clip(spoil(bar, noise=0.5), 0, 1).tolist() == spoil(bar, noise=0.5).tolist()
