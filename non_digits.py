"""Pictures that a careful reader would not call a digit, so that a network can learn doubt.

    letter, sign, shape, scribble, pair, half, noise, blotch, lines, ... -> draw_non_digit

Letters and signs that can be taken for a digit (O, l, S, Z, b, g and others) are left out, as are
halves of digits that look like another digit.

    >>> draw_non_digit("scribble", np.random.default_rng(0)).shape
    (64, 64)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np

from errors import SettingsError
from fonts import find_fonts, print_text
from pen import SIZE, Stroke, crop, draw_lines, random_hand, read_template, trace, warp
from pixels import rescale
from stroke_shapes import GREEK, LETTERS, SHAPES, SIGNS
from strokes import draw_digit, draw_number

_PRINTED_LETTERS = "AEFHKMNPRVWXadefhkmnpruvwx"
_PRINTED_SIGNS = "+=?&@#%*<>{}"
# Letters of other scripts, for those fonts that have them; what looks like a digit is left out
# (the Cyrillic З and б, the Hebrew ד, the Georgian ვ and წ, the Lao ວ and many more).
_PRINTED_SCRIPTS = (
    "ΓΔΘΛΞΠΣΦΨΩαβθκλμπφψω"  # Greek
    "ДЖИЛФЦШЩЫЮЯджлмфшщыюя"  # Cyrillic
    "ԲԽԿՃՄՓՔՖախճմփքֆ"  # Armenian
    "אבהחמעצקשת"  # Hebrew
    "بتجحخسشصضطظعفقكي"  # Arabic
    "ກຂຄຊຍຕຖທນຜຝພຟມສຫຮໝ"  # Lao
    "დთლოფქღჩჭყ"  # Georgian
    "ⴱⴳⴵⴼⵀⵄⵊⵎⵙⵞⵣⵥ"  # Tifinagh
)

# Halves that nobody completes to another digit, as the lower half of a 9 would be a 1, and the
# upper half of a 2 a 7.
_HALVES = (
    (0, "top"),
    (0, "bottom"),
    (2, "bottom"),
    (4, "left"),
    (5, "top"),
    (8, "left"),
    (9, "left"),
)


def _draw_letter(rng: np.random.Generator, size: int) -> np.ndarray:
    return _draw_from(LETTERS, rng, size)


def _draw_greek(rng: np.random.Generator, size: int) -> np.ndarray:
    return _draw_from(GREEK, rng, size)


def _draw_shape(rng: np.random.Generator, size: int) -> np.ndarray:
    return _draw_from(SHAPES, rng, size)


def _draw_sign(rng: np.random.Generator, size: int) -> np.ndarray:
    return _draw_from(SIGNS, rng, size)


def _draw_from(templates: dict[str, str], rng: np.random.Generator, size: int) -> np.ndarray:
    """Write one of several templates; upright, as a turned N would be a Z."""
    hand = random_hand(rng)
    hand = replace(hand, slant=float(np.clip(hand.slant, -12, 18)), width=min(hand.width, 10.0))
    names = tuple(templates)
    strokes = read_template(templates[names[int(rng.integers(len(names)))]])
    return draw_lines(trace(warp(strokes, hand, rng), hand, rng), hand, rng, size)


def _print_letter(rng: np.random.Generator, size: int) -> np.ndarray:
    return print_text(
        _PRINTED_LETTERS[int(rng.integers(len(_PRINTED_LETTERS)))], rng, size, find_fonts()
    )


def _print_sign(rng: np.random.Generator, size: int) -> np.ndarray:
    return print_text(
        _PRINTED_SIGNS[int(rng.integers(len(_PRINTED_SIGNS)))], rng, size, find_fonts()[:15]
    )  # the TeX fonts keep other signs at some of these places


def _print_script(rng: np.random.Generator, size: int) -> np.ndarray:
    return print_text(
        _PRINTED_SCRIPTS[int(rng.integers(len(_PRINTED_SCRIPTS)))], rng, size, find_fonts()[:2]
    )  # DejaVu Sans and its bold; the others lack some of these scripts


def _scribble(rng: np.random.Generator, size: int) -> np.ndarray:
    """Draw what a pen leaves that is tried out, or crosses something out."""
    kind = rng.random()
    count = int(rng.integers(10, 30))
    along = np.linspace(0, 1, count)
    if kind < 0.4:  # a walk without aim
        points = np.cumsum(rng.normal(0, 1, (count, 2)), axis=0)
        points /= np.ptp(points, axis=0).max() + 1e-6
    elif kind < 0.7:  # to and fro
        points = np.column_stack([along, np.where(np.arange(count) % 2, 0.1, 0.7)])
        points += rng.normal(0, 0.06, (count, 2))
    elif kind < 0.85:  # loops in a row
        angle = along * 2 * np.pi * count / 6
        points = np.column_stack([along + 0.2 * np.cos(angle), 0.25 * np.sin(angle)])
    else:  # a spiral of at least two turns
        angle = along * 2 * np.pi * count / 7
        points = (0.1 + 0.4 * along)[:, None] * np.column_stack([np.cos(angle), np.sin(angle)])
    corners = tuple(range(1, count - 1)) if rng.random() < 0.3 else ()
    hand = replace(random_hand(rng), turn=rng.uniform(-90, 90))
    hand = replace(hand, width=min(hand.width, 7.0))
    strokes = warp((Stroke(points, corners),), hand, rng)
    return draw_lines(trace(strokes, hand, rng), hand, rng, size)


def _pair(rng: np.random.Generator, size: int) -> np.ndarray:
    """Write two digits, in one picture of six three, that touch or nearly do."""
    count = 2 if rng.random() < 5 / 6 else 3
    digits = "".join(str(int(rng.integers(10))) for _ in range(count))
    row, _ = draw_number(digits, rng, height=size, gap=rng.uniform(-0.08, 0.2))
    return _fit(row, rng, size)


def _half(rng: np.random.Generator, size: int) -> np.ndarray:
    """Cut a digit in two and keep one half, at the edge of the picture as often as not."""
    digit, side = _HALVES[int(rng.integers(len(_HALVES)))]
    hand = replace(random_hand(rng), turn=0.0)
    whole = crop(draw_digit(digit, rng, size=size, hand=hand))
    if side == "left":
        part = whole[:, : round(rng.uniform(0.45, 0.58) * whole.shape[1])]
    else:
        # Little of the top: people complete a 5 from less than its half.
        share = rng.uniform(0.27, 0.37) if side == "top" else rng.uniform(0.35, 0.5)
        rows = round(share * whole.shape[0])
        part = whole[:rows] if side == "top" else whole[-rows:]
    picture = np.zeros((size, size), np.uint8)
    height, width = part.shape
    top, left = rng.integers(0, [size - height + 1, size - width + 1])
    if rng.random() < 0.5:
        top = {"top": size - height, "bottom": 0}.get(side, top)
        left = size - width if side == "left" else left
    picture[top : top + height, left : left + width] = part
    return picture


def _noise(rng: np.random.Generator, size: int) -> np.ndarray:
    """Fill the picture with grain, clouds or salt."""
    grain = int(rng.integers(6, size + 1))
    kind = rng.random()
    coarse = rng.random((grain, grain), dtype=np.float32)
    if kind < 0.3:  # salt
        return np.where(rng.random((size, size)) < rng.uniform(0.02, 0.3), 255, 0).astype(np.uint8)
    field = cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)
    if kind < 0.65:  # clouds with hard edges
        return np.where(field > rng.uniform(0.5, 0.7), 255, 0).astype(np.uint8)
    return np.clip(field * 255, 0, 255).astype(np.uint8)


def _blotch(rng: np.random.Generator, size: int) -> np.ndarray:
    """Spill ink: one to four filled spots with uneven edges."""
    canvas = np.zeros((size, size), np.uint8)
    angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    for _ in range(int(rng.integers(1, 5))):
        radius = rng.uniform(0.06, 0.3) * size * (1 + 0.25 * rng.normal(0, 1, 24))
        outline = rng.uniform(0.25, 0.75, 2) * size + np.column_stack(
            [radius * np.cos(angles) * rng.uniform(0.7, 1.3), radius * np.sin(angles)]
        )
        cv2.fillPoly(canvas, [outline.astype(np.int32)], 255)
    return cv2.blur(canvas, (3, 3))


def _lines(rng: np.random.Generator, size: int) -> np.ndarray:
    """Rule lines: a few in one direction, a grid, or any that cross."""
    canvas = np.zeros((size, size), np.uint8)
    width = int(rng.integers(1, max(2, size // 12) + 1))
    kind = rng.random()
    if kind < 0.5:
        step, start = rng.uniform(0.15, 0.45) * size, rng.uniform(0.0, 0.15) * size
        slope = rng.normal(0, 0.06) * size
        for place in np.arange(start + width, size, step).astype(int).tolist():
            cv2.line(canvas, (0, place), (size, int(place + slope)), 255, width, cv2.LINE_AA)
            if kind < 0.25:
                cv2.line(canvas, (place, 0), (int(place - slope), size), 255, width, cv2.LINE_AA)
        return canvas
    for _ in range(int(rng.integers(3, 8))):
        (x1, y1), (x2, y2) = rng.integers(0, size, (2, 2)).tolist()
        cv2.line(canvas, (x1, y1), (x2, y2), 255, width, cv2.LINE_AA)
    return canvas


def _fit(ink: np.ndarray, rng: np.random.Generator, size: int) -> np.ndarray:
    """Scale a picture to fit a square and put it at a place of its own."""
    ink = crop(ink)
    scale = rng.uniform(0.7, 0.95) * size / max(ink.shape)
    small = rescale(ink, scale)
    height, width = small.shape
    picture = np.zeros((size, size), np.uint8)
    top, left = rng.integers(0, [size - height + 1, size - width + 1])
    picture[top : top + height, left : left + width] = small
    return picture


_NON_DIGITS: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "letter": _draw_letter,
    "printed letter": _print_letter,
    "greek": _draw_greek,
    "printed script": _print_script,
    "sign": _draw_sign,
    "printed sign": _print_sign,
    "shape": _draw_shape,
    "scribble": _scribble,
    "pair": _pair,
    "half": _half,
    "noise": _noise,
    "blotch": _blotch,
    "lines": _lines,
}
NON_DIGITS: tuple[str, ...] = tuple(_NON_DIGITS)
"""The kinds of pictures that `draw_non_digit` knows."""


def draw_non_digit(kind: str, rng: np.random.Generator, *, size: int = SIZE) -> np.ndarray:
    """Draw something that a careful reader would not call a digit.

    Parameters
    ----------
    kind : str
        One of `NON_DIGITS`. "pair" is two or three digits side by side, touching or nearly so;
        "half" is a part of one digit; the others say what they are.
    rng : numpy.random.Generator
        Where all choices come from.
    size : int, default=64
        Side of the picture in pixels, at least 16.

    Returns
    -------
    ndarray of shape (size, size), uint8
        Ink from 0 (none) to 255, white on black.

    Raises
    ------
    SettingsError
        If there is no such kind.
    """
    if kind not in _NON_DIGITS:
        choices = ", ".join(map(repr, NON_DIGITS))
        raise SettingsError(f"unknown kind of non-digit {kind!r}; choose one of {choices}")
    return _NON_DIGITS[kind](rng, size)
