"""Pictures of no digit."""

import numpy as np
import pytest

from errors import SettingsError
from non_digits import NON_DIGITS, draw_non_digit


@pytest.mark.parametrize("kind", NON_DIGITS)
def test_the_same_seed_draws_the_same_picture(kind):
    first, again = (draw_non_digit(kind, np.random.default_rng(5)) for _ in range(2))

    assert np.array_equal(first, again)
    assert not np.array_equal(first, draw_non_digit(kind, np.random.default_rng(6)))


@pytest.mark.parametrize("kind", NON_DIGITS)
def test_every_kind_of_non_digit_has_ink(kind):
    rng = np.random.default_rng(0)

    for _ in range(20):
        ink = draw_non_digit(kind, rng, size=56)

        assert ink.shape == (56, 56)
        assert ink.dtype == np.uint8
        assert ink.max() > 60


def test_a_kind_that_does_not_exist_is_refused_with_the_choices():
    with pytest.raises(SettingsError, match="scribble"):
        draw_non_digit("ghost", np.random.default_rng(0))
