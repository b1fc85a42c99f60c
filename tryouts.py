"""Pictures to try the reader on: MNIST's test pictures where they are, else drawn ones.

    >>> example = pick_example(np.random.default_rng(), data_dir())
    >>> example.label, example.pixels.shape
    (4, (28, 28))

Nothing is downloaded: who has no MNIST gets handwriting that `strokes.py` makes.
"""

from __future__ import annotations

import logging
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from errors import DigitError
from non_digits import draw_non_digit
from strokes import draw_digit

if TYPE_CHECKING:
    from dataset import Digits

log = logging.getLogger(__name__)

DRAWN_SIDE = 112  # pixels, of a drawn example
GALLERY_SEED = 11  # of those that have been tried, one with clear and various hands


class Example(NamedTuple):
    """A picture of which we know what it shows."""

    pixels: np.ndarray  # (height, width) uint8: MNIST's 28x28, or dark ink on white
    label: int | None  # the digit, if it shows one
    name: str  # where it comes from


def pick_example(rng: np.random.Generator, folder: Path) -> Example:
    """Choose a test picture of MNIST if they are on this machine, else draw a digit.

    Parameters
    ----------
    rng : numpy.random.Generator
    folder : Path
        Where data sets are.
    """
    digits = load_test_pictures(folder)
    if digits is not None and digits.labels is not None:
        place = int(rng.integers(len(digits)))
        pixels, label = digits.images[place].numpy(), int(digits.labels[place])
        return Example(pixels, label, f"MNIST test picture {place:,} of {len(digits):,}")
    return draw_example(int(rng.integers(10)), rng)


def draw_example(digit: int, rng: np.random.Generator) -> Example:
    """Draw a digit in a hand of its own, black on white."""
    return Example(255 - draw_digit(digit, rng, size=DRAWN_SIDE), digit, "Drawn by this program")


def draw_gallery() -> list[Example]:
    """Draw one example of each digit, in ten hands, and some that show none; always the same."""
    rng = np.random.default_rng(GALLERY_SEED)
    digits = [draw_example(digit, rng) for digit in range(10)]
    others = [
        Example(255 - draw_non_digit(kind, rng, size=DRAWN_SIDE), None, f"A {kind}, no digit")
        for kind in ("letter", "shape")
    ]
    return digits + others


@lru_cache(maxsize=1)
def load_test_pictures(folder: Path) -> Digits | None:
    """Load MNIST's test pictures, or None where they are not on this machine or damaged."""
    from dataset import has_mnist, load_mnist

    if not has_mnist(folder):  # with a file missing, all of them would be downloaded
        return None
    try:
        return load_mnist("test", folder)
    except DigitError as error:
        log.warning("test pictures are drawn by the program instead: %s", error)
        return None
