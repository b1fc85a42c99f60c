"""Printed digits and letters: from fonts that are there anyway, and a calculator's seven bars.

>>> draw_font_digit(4, np.random.default_rng(0)).shape
(64, 64)
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache, lru_cache
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from errors import SettingsError
from pen import SIZE, Stroke, draw_lines, dry_out, random_hand, read_template, trace
from stroke_shapes import BARS

# matplotlib brings these along, so they are there wherever the project runs.
_BUNDLED_FONTS = (
    "DejaVuSans.ttf", "DejaVuSans-Bold.ttf", "DejaVuSans-Oblique.ttf",
    "DejaVuSans-BoldOblique.ttf", "DejaVuSansMono.ttf", "DejaVuSansMono-Bold.ttf",
    "DejaVuSansMono-Oblique.ttf", "DejaVuSerif.ttf", "DejaVuSerif-Bold.ttf",
    "DejaVuSerif-Italic.ttf", "DejaVuSerif-BoldItalic.ttf", "STIXGeneral.ttf",
    "STIXGeneralBol.ttf", "STIXGeneralItalic.ttf", "STIXGeneralBolIta.ttf", "cmr10.ttf",
    "cmb10.ttf", "cmss10.ttf", "cmti10.ttf", "cmtt10.ttf",
)  # fmt: skip
_GLYPH_HEIGHT = 96  # pixels at which letters are drawn once and kept

# Which of a calculator's bars are lit for each digit.
_LIT = ("abcdef", "bc", "abged", "abgcd", "fgbc", "afgcd", "afgedc", "abc", "abcdefg", "abcdfg")


@cache
def find_fonts() -> tuple[Path, ...]:
    """List the fonts that matplotlib brings along and that hold upright text digits.

    Returns
    -------
    tuple of Path
        The same files in the same order on every machine with the same matplotlib.
    """
    import matplotlib  # slow to import, and needed for this one thing

    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    return tuple(folder / name for name in _BUNDLED_FONTS if (folder / name).exists())


@lru_cache(maxsize=2000)
def _glyph(font: Path, text: str) -> np.ndarray:
    """Draw a printed character once, cropped to its ink."""
    letters = ImageFont.truetype(str(font), _GLYPH_HEIGHT)
    left, top, right, bottom = (int(edge) for edge in letters.getbbox(text))
    picture = Image.new("L", (right - left + 2, bottom - top + 2))
    ImageDraw.Draw(picture).text((1 - left, 1 - top), text, fill=255, font=letters)
    return np.asarray(picture)


def print_text(
    text: str, rng: np.random.Generator, size: int, fonts: tuple[Path, ...]
) -> np.ndarray:
    """Print a character a little askew, stretched and with more or less ink.

    Parameters
    ----------
    text : str
        The character, or a few.
    rng : numpy.random.Generator
        Chooses the font, how it is turned and stretched, its place, and its ink.
    size : int
        Side of the picture, in pixels.
    fonts : tuple of Path
        At least one.

    Returns
    -------
    ndarray of shape (size, size), uint8
        Ink from 0 (none) to 255, white on black.
    """
    glyph = _glyph(fonts[int(rng.integers(len(fonts)))], text)
    height, width = glyph.shape
    aspect, slant = np.exp(rng.normal(0, 0.12)), rng.normal(0, 0.06)
    turn = np.radians(np.clip(rng.normal(0, 4), -12, 12))
    cos, sin = np.cos(turn), np.sin(turn)
    affine = np.array([[cos, -sin], [sin, cos]]) @ np.array([[aspect, -slant], [0.0, 1.0]])
    corners = affine @ np.array([[0, width, 0, width], [0, 0, height, height]])
    extent = np.ptp(corners, axis=1)
    scale = rng.uniform(0.6, 0.92) * size / extent.max()
    shift = rng.uniform(0.15, 0.85, 2) * (size - scale * extent) - scale * corners.min(axis=1)
    matrix = np.column_stack([scale * affine, shift])
    # Shrinking by more than two would skip pixels; blurring the glyph first keeps them all.
    if scale < 0.6:
        glyph = cv2.blur(glyph, (2, 2))
    ink = cv2.warpAffine(glyph, matrix, (size, size), flags=cv2.INTER_LINEAR)
    change = rng.random()
    if change < 0.12:
        ink = cv2.dilate(ink, np.ones((2, 2), np.uint8))
    elif change > 0.94:
        ink = dry_out(ink, rng.uniform(0.1, 0.5), rng)
    return ink


def draw_font_digit(
    digit: int,
    rng: np.random.Generator,
    *,
    size: int = SIZE,
    fonts: tuple[Path, ...] | None = None,
) -> np.ndarray:
    """Print one digit: from a font, or in one picture of twelve as a calculator's seven bars.

    Parameters
    ----------
    digit : int
        From 0 to 9.
    rng : numpy.random.Generator
        Where all choices come from.
    size : int, default=64
        Side of the picture in pixels, at least 16.
    fonts : tuple of Path, optional
        TrueType or OpenType files; by default the ones of `find_fonts`. With files given, no
        seven bars are drawn.

    Returns
    -------
    ndarray of shape (size, size), uint8
        Ink from 0 (none) to 255, white on black.

    Raises
    ------
    SettingsError
        If there is no such digit.
    """
    if digit not in range(10):
        raise SettingsError(f"unknown digit {digit!r}; choose one from 0 to 9")
    if fonts is None and rng.random() < 1 / 12:
        return _seven_bars(digit, rng, size)
    return print_text(str(digit), rng, size, fonts or find_fonts())


def _seven_bars(digit: int, rng: np.random.Generator, size: int) -> np.ndarray:
    """Draw a digit as pocket calculators and petrol pumps do."""
    hand = replace(
        random_hand(rng), nib="even", jitter=0.0, wobble=0.0, dryness=0.0,
        slant=rng.uniform(0, 14), turn=rng.normal(0, 2), overshoot=rng.uniform(-0.04, 0.04),
        width=rng.uniform(3, 8),
    )  # fmt: skip
    bars = tuple(read_template(BARS[bar])[0] for bar in _LIT[digit])
    if digit == 7 and rng.random() < 0.3:
        bars += read_template(BARS["f"])
    shear = np.array([[hand.aspect, 0.0], [-np.tan(np.radians(hand.slant)), 1.0]])
    strokes = [Stroke(points @ shear, corners) for points, corners in bars]
    return draw_lines(trace(strokes, hand, rng), hand, rng, size)
