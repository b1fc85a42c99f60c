"""Draw digits as people all over the world write them, and things that are no digits.

    template of control points -> hand (slant, wobble, ...) -> spline -> pen -> white ink on black

MNIST was written in one country: it has almost no flagged 1, crossed 7 or detached 5. This file
draws them, so that a model can learn hands that MNIST does not know, and so that tests, the
notebook and demonstration pictures have as many labelled pictures as they like, free of rights.

Everything random comes from the NumPy generator that the caller passes: the same seed draws the
same picture. One digit of 64 pixels takes about 0.2 ms of one core. (In worker processes call
`cv2.setNumThreads(1)`: for pictures this small, OpenCV's threads wait more than they work.)

    >>> rng = np.random.default_rng(0)
    >>> draw_digit(7, rng, variant="crossed").shape
    (64, 64)

The border that matters most is the one between 1 and 7 (more than half of all mistakes on real
pictures are a flagged 1 read as 7). Its rule is `FLATTEST_FLAG` and `BAR_SLOPE` below.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from errors import SettingsError

SIZE = 64  # side of a picture in pixels, unless told otherwise

# Degrees above the horizontal on the finished paper. The up-stroke of a 1 is steeper than the top
# bar of a 7, and the steeper the longer it is: a short tick may lie flat, a long one would be a
# bar. Between the two is a band that we leave to neither: people write there too, but even people
# then read either digit.
FLATTEST_FLAG = ((0.18, 0.36, 0.95), (12.0, 29.0, 40.0))  # lengths in heights of the 1; degrees
STEEPEST_FLAG = 74.0
BAR_SLOPE = (-32.0, 15.0)
CROSSED_BAR_SLOPE = (-32.0, 24.0)  # the cross settles it, whatever the top bar does

_SAMPLES_A_SPAN = 7  # points drawn between two control points
_CANVAS = 224  # pixels of the enlarged canvas we draw on; shrinking it smooths the edges


class Stroke(NamedTuple):
    """Where the pen goes from touching the paper to leaving it.

    `points` is float (n, 2), x to the right and y down, about 1.0 high; `corners` lists the
    points at which the pen turns sharply instead of flowing through.
    """

    points: np.ndarray
    corners: tuple[int, ...]


# ------------------------------------------------------------------------------------------------
# The hand: what stays the same while one person writes with one pen
# ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Hand:
    """How a person writes: the posture of the digits, the steadiness and the pen.

    Attributes
    ----------
    slant : float
        Lean of the upright strokes in degrees, to the right if positive.
    turn : float
        Rotation of the whole digit in degrees, clockwise if positive.
    aspect : float
        Width of the digit in proportion to the template's.
    width : float
        Width of the pen in pixels of a picture of 64 by 64.
    nib : str
        "even" (ball pen), "speed" (ink pen: thinner where it runs fast), "chisel" (calligraphic:
        its width hangs on the direction) or "mouse" (straight pieces, as drawn on a screen).
    contrast : float
        0..1, how much the width varies along the stroke for "speed" and "chisel".
    nib_angle : float
        Direction of the chisel's edge in degrees.
    jitter, wobble : float
        How far control points miss their places, and how far the line shakes, in digit heights.
    overshoot : float
        How far strokes are drawn beyond their ends, in digit heights; negative leaves gaps.
    ink : float
        0..1, darkness of the ink.
    dryness : float
        0..1, share of the stroke that a dry pen or a pencil leaves white.
    fill : float
        0..1, share of the picture's side that the digit takes.
    """

    slant: float = 5.0
    turn: float = 0.0
    aspect: float = 1.0
    width: float = 4.0
    nib: str = "even"
    contrast: float = 0.0
    nib_angle: float = 40.0
    jitter: float = 0.012
    wobble: float = 0.004
    overshoot: float = 0.0
    ink: float = 1.0
    dryness: float = 0.0
    fill: float = 0.86


def random_hand(rng: np.random.Generator) -> Hand:
    """Make up a person and a pen.

    Most hands are ordinary, as most people's are; the tails reach hairlines, thick markers,
    strong slants and shaky mouse drawings.

    Parameters
    ----------
    rng : numpy.random.Generator
        Where the choices come from.

    Returns
    -------
    Hand
    """
    kind = rng.random()
    nib = "even" if kind < 0.5 else "speed" if kind < 0.75 else "chisel" if kind < 0.87 else "mouse"
    # Log-normal around 4.4 pixels of 64: one in seven is thinner than 2.4 or thicker than 8.
    width = float(np.clip(np.exp(rng.normal(1.48, 0.55)), 1.0, 14.0))
    careless = rng.random() ** 2
    return Hand(
        slant=float(np.clip(rng.normal(5, 12), -25, 35)),
        turn=float(np.clip(rng.normal(0, 5), -12, 12)),
        aspect=float(np.clip(np.exp(rng.normal(0.0, 0.24)), 0.55, 1.5)),
        width=width,
        nib=nib,
        contrast=rng.uniform(0.2, 0.8),
        nib_angle=rng.uniform(15, 65),
        jitter=0.006 + 0.03 * careless,
        wobble=0.010 * rng.random() ** 2 + (0.004 if nib == "mouse" else 0.0),
        overshoot=rng.normal(0, 0.025) if rng.random() < 0.5 else 0.0,
        ink=1.0 if rng.random() < 0.6 else rng.uniform(0.55, 1.0),
        dryness=rng.uniform(0.05, 0.45) if rng.random() < 0.15 else 0.0,
        fill=rng.uniform(0.7, 0.92),
    )


# ------------------------------------------------------------------------------------------------
# The shapes of the digits
# ------------------------------------------------------------------------------------------------

# Control points "x y" in hundredths of the digit's height, from the top left corner. "*" marks
# a sharp corner, "|" lifts the pen. The 1 and the 7 are not here: see `_one` and `_seven`.
_DIGITS: dict[int, dict[str, str]] = {
    0: {
        "oval": "36 1, 14 12, 2 50, 12 86, 32 99, 54 86, 64 50, 54 13, 31 1",
        "round": "48 1, 14 14, 1 52, 18 88, 48 99, 80 84, 92 50, 78 14, 44 0",
        "narrow": "22 0, 9 16, 3 52, 9 86, 20 100, 32 86, 38 50, 33 15, 19 0",
        "slashed": "36 1, 14 12, 2 50, 12 86, 32 99, 54 86, 64 50, 54 13, 31 1 | 60 14, 8 88",
        "unclosed": "44 8, 25 2, 6 26, 2 62, 20 97, 46 94, 63 60, 60 24, 52 10",
        "overlapping": "42 8, 22 3, 4 36, 6 80, 30 99, 56 84, 64 46, 52 12, 34 3, 18 10",
        "pigtail": "30 6, 10 24, 2 58, 16 94, 44 94, 60 60, 54 22, 34 4, 40 0, 62 4",
        "from the bottom": "34 100, 10 84, 2 48, 14 12, 36 0, 58 16, 64 54, 52 88, 30 100",
    },
    2: {
        "plain": "5 24, 16 5, 38 0, 57 14, 55 36, 34 66, 3 97*, 64 97",
        "hooked": "17 32, 4 25, 13 5, 38 0, 57 15, 52 40, 28 72, 2 98*, 62 98",
        "looped": "6 24, 20 3, 42 2, 55 20, 44 50, 22 82, 6 95, 2 86, 13 80, 32 91, 50 98, 68 90",
        "small loop": "5 22, 24 0, 50 8, 52 32, 30 68, 8 95, 5 90, 12 88, 34 96, 62 97",
        "swan": "3 28, 22 2, 52 6, 56 34, 28 74, 3 95, 20 92, 46 100, 70 93",
        "wavy base": "5 24, 16 5, 38 0, 57 14, 55 36, 34 66, 2 97*, 22 90, 44 99, 68 92",
        "angular": "3 16, 14 3, 52 5*, 30 48, 3 96*, 60 96",
        "rising base": "6 24, 18 4, 40 0, 58 15, 54 38, 30 70, 6 100*, 70 84",
        "big loop": "8 20, 28 0, 50 10, 50 36, 26 76, 6 92, 0 76, 18 66, 44 84, 76 92",
        "wide loop": "4 22, 24 2, 52 8, 56 36, 48 70, 24 94, 4 92, 0 76, 16 64, 40 72, 76 98",
        "loop and rising base": "8 14, 36 0, 58 22, 42 72, 16 98, 0 82, 18 66, 46 80, 76 70",
        "wide": "2 16, 22 0, 52 8, 46 34, 4 62*, 34 58, 84 66",
        "drooping base": "8 14, 30 0, 50 12, 40 44, 4 74*, 34 72, 64 98",
        "closed head": "26 38, 8 30, 14 5, 42 0, 54 22, 34 60, 2 96*, 58 92",
        "slanted base": "0 12, 28 3, 54 8, 40 40, 3 90*, 66 76",
    },
    3: {
        "round": "6 14, 27 0, 50 8, 53 30, 24 46*, 54 58, 58 84, 30 100, 2 88",
        "small top": "14 12, 28 1, 44 8, 45 28, 22 40*, 56 54, 60 84, 30 100, 0 88",
        "looped": "6 14, 27 0, 50 9, 50 32, 30 48, 22 46, 28 41, 50 52, 60 74, 44 97, 4 90",
        "flat top": "4 3, 53 2*, 24 41*, 50 50, 60 72, 42 97, 2 91",
        "pointed": "6 9, 34 0, 54 15, 14 47*, 58 62, 54 90, 26 100, 0 91",
        "smooth middle": "6 12, 30 0, 52 14, 44 38, 30 47, 50 56, 58 80, 32 100, 2 90",
        "curled": "14 22, 6 12, 27 0, 50 10, 48 34, 24 46*, 56 58, 58 88, 26 100, 4 86, 16 78",
        "wide": "0 14, 34 0, 64 14, 26 46*, 62 58, 60 88, 24 98, -4 80",
        "short tail": "8 10, 30 0, 52 12, 24 44*, 50 58, 48 84, 20 100",
        "hanging": "2 8, 34 0, 50 13, 26 42*, 50 53, 48 78, 16 99",
        "hooked end": "6 12, 34 0, 52 16, 26 44*, 54 58, 50 90, 16 100, -4 86, 5 73",
    },
    4: {
        "open": "16 0, 3 57*, 66 56 | 50 14, 46 100",
        "open, bar ends at the stem": "14 4, 4 58*, 50 57 | 50 6, 49 100",
        "open, long tail": "20 4, 4 44*, 62 43 | 48 0, 42 100",
        "curved": "5 2, 4 34, 18 47, 50 42 | 52 0, 48 60, 46 100",
        "parallel": "4 0, 3 50*, 56 50 | 54 0, 52 100",
        "closed": "46 0, 2 66*, 66 65 | 46 0, 45 100",
        "closed, one stroke": "64 67, 2 66*, 48 1*, 45 100",
        "closed, no crossing": "46 0, 1 66*, 46 66 | 46 0, 46 100",
        "lightning": "36 0, 3 62*, 62 60 | 45 34, 38 100",
        "sail": "58 64, 20 66, 4 60*, 50 0*, 44 100",
        "flat": "12 0, 4 40*, 40 38, 78 32 | 62 6, 50 60, 46 100",
        "rising bar": "18 0, 4 38, 16 50, 78 30 | 66 6, 44 100",
        "low bar": "28 0, 2 80*, 62 78 | 44 42, 41 100",
        "low bar, one stroke": "54 79, 3 80*, 44 4*, 41 100",
    },
    5: {
        "one stroke": "58 2, 14 2*, 9 44*, 34 37, 58 56, 54 86, 26 100, 0 90",
        "detached bar": "13 4, 9 44*, 34 37, 58 56, 54 86, 26 100, 0 90 | 15 3, 60 0",
        "gap before bar": "10 6, 7 45*, 32 37, 56 56, 53 86, 26 100, 0 90 | 23 1, 64 -3",
        "round": "57 2, 17 3*, 10 36, 30 37, 56 54, 54 86, 26 100, 0 89",
        "square": "56 2, 12 2*, 8 46*, 32 42, 52 54, 52 94, 30 98, 2 97",
        "angular": "56 2, 12 2*, 9 46*, 52 47*, 52 97*, 4 97",
        "leaning": "72 -3, 28 3*, 12 44*, 36 36, 56 54, 48 86, 22 100, 0 92",
        "big belly": "52 2, 16 2*, 10 32*, 40 28, 66 52, 56 88, 26 100, 0 90",
        "long bar": "84 -4, 34 6*, 26 40, 46 50, 46 78, 24 100, 0 92",
        "no corner": "66 0, 30 7, 16 28, 34 46, 48 66, 34 94, 0 92",
        "small body": "80 0, 28 14*, 20 44, 40 54, 40 82, 16 100, 0 92",
        "closing belly": "54 2, 18 6*, 12 42, 38 38, 54 60, 38 96, 10 92, 4 77",
        "detached long bar": "20 20, 16 52*, 38 50, 46 78, 22 100, 0 94 | 16 18, 80 0",
        "narrow": "46 0, 20 4*, 16 42*, 30 46, 36 72, 18 99, 0 95",
    },
    6: {
        "straight": "40 0, 14 42, 4 76, 20 99, 48 96, 56 74, 36 58, 8 74",
        "curled": "56 10, 34 0, 10 26, 2 64, 18 97, 48 96, 58 72, 36 54, 7 68",
        "big loop": "48 0, 18 22, 2 60, 16 96, 48 98, 63 70, 44 44, 14 54, 7 72",
        "small loop": "46 0, 18 34, 3 76, 16 99, 40 98, 46 82, 28 72, 6 86",
        "angular loop": "36 0, 12 46, 3 95*, 54 92*, 44 60, 9 72",
        "triangle": "34 0, 2 96*, 56 93*, 14 57",
        "open loop": "48 0, 16 34, 2 74, 22 99, 50 92, 53 68, 34 60, 24 66",
        "upright": "10 0, 5 50, 7 90, 30 100, 53 84, 48 60, 26 56, 6 72",
        "wide loop": "16 0, 2 40, 8 80, 36 98, 74 88, 78 60, 52 48, 22 64, 10 84",
        "spiral": "46 0, 16 28, 3 70, 24 100, 54 88, 50 62, 26 58, 12 78, 26 86",
    },
    8: {
        "one stroke": "53 13, 32 0, 8 13, 14 36, 44 57, 56 82, 30 100, 4 84, 15 58, 44 36, 55 15",
        "from the top": "31 0, 7 16, 28 46, 55 76, 30 100, 4 76, 30 46, 53 18, 29 0",
        "two circles": "30 0, 10 12, 12 36, 31 46, 50 34, 51 11, 28 0 "
        "| 31 46, 5 62, 8 90, 32 100, 56 88, 54 60, 28 46",
        "snowman": "28 0, 14 10, 14 30, 29 40, 45 30, 45 9, 27 0 "
        "| 30 41, 2 56, 4 90, 32 100, 60 88, 58 56, 27 41",
        "open top": "49 11, 26 1, 6 18, 22 42, 50 64, 48 94, 20 99, 5 78, 30 50, 59 7",
        "narrow": "30 8, 18 0, 5 14, 12 38, 26 56, 33 82, 18 100, 3 84, 10 58, 24 40, 32 12",
        "small top": "44 10, 30 2, 16 12, 22 32, 48 58, 56 84, 30 100, 3 84, 14 56, 38 32, 45 12",
        "crossing at the top": "62 4, 36 1, 10 18, 30 44, 48 70, 30 98, 6 84, 22 56, 48 32, 66 -4",
        "long end": "50 16, 28 4, 10 20, 30 46, 46 70, 26 98, 4 80, 24 56, 46 32, 80 -4",
        "small bottom": "60 10, 34 0, 6 14, 16 38, 44 56, 44 84, 24 100, 10 84, 26 60, 54 38, "
        "62 12",
        "wide top": "70 12, 40 0, 8 12, 14 36, 42 54, 46 80, 28 98, 12 86, 20 62, 52 38, 72 14",
        "wide": "66 8, 30 0, 6 18, 34 44, 60 72, 36 98, 8 80, 34 52, 52 34, 66 10",
        "from the middle": "32 48, 12 28, 14 6, 40 0, 54 18, 34 48, 8 70, 16 98, 44 96, 54 74, "
        "30 46",
    },
    9: {
        "straight stem": "54 13, 34 1, 8 12, 5 38, 27 51, 49 38, 55 6*, 51 100",
        "leaning stem": "56 13, 36 1, 10 12, 6 38, 28 50, 50 36, 57 8*, 30 100",
        "round": "55 34, 36 49, 8 40, 5 13, 32 0, 56 18, 56 52, 44 84, 20 100",
        "curled tail": "56 14, 34 0, 6 14, 9 43, 36 48, 56 14*, 58 60, 46 94, 22 100, 4 86",
        "hooked tail": "54 12, 32 0, 6 14, 8 40, 34 45, 54 12*, 54 84, 40 99, 16 94",
        "open top": "42 6, 17 2, 3 26, 15 48, 42 41, 55 4*, 52 100",
        "loop and stick": "50 11, 26 0, 4 20, 16 46, 42 42, 50 13 | 54 3, 51 100",
        "small loop": "48 9, 32 0, 13 10, 15 31, 34 34, 49 12*, 50 60, 46 100",
        "one curve": "52 20, 34 0, 8 10, 6 38, 32 46, 52 26, 54 12*, 50 62, 30 100",
        "big head": "52 12, 28 0, 3 26, 10 62, 36 62, 55 14*, 58 100",
        "base line": "54 14, 32 0, 8 12, 10 38, 34 46, 54 14*, 54 66, 44 98, 2 97",
    },
}

# Letters and signs in the same notation. Left out, because a careful reader may take them for a
# digit: B b D G g I i J j l O o Q q S s T t Y y Z z, and the Greek delta, zeta, xi, sigma and tau.
_LETTERS = {
    "A": "0 100, 32 0*, 64 100 | 12 62, 54 62",
    "C": "60 16, 36 0, 8 18, 2 54, 14 88, 40 100, 64 84",
    "E": "58 2, 6 2*, 6 98*, 60 98 | 6 50, 48 48",
    "F": "6 0, 6 100 | 6 2, 58 2 | 6 48, 46 46",
    "H": "4 0, 4 100 | 60 0, 60 100 | 4 50, 60 50",
    "K": "6 0, 6 100 | 58 2, 6 56*, 60 100",
    "M": "0 100, 8 0*, 38 62*, 68 0*, 76 100",
    "N": "4 100, 4 0*, 58 100*, 58 0",
    "P": "8 100, 8 0 | 8 4, 40 0, 58 20, 44 46, 8 52",
    "R": "8 100, 8 0 | 8 4, 40 0, 56 20, 42 44, 8 50*, 58 100",
    "U": "4 0, 4 60, 16 96, 44 96, 58 62, 58 0",
    "V": "0 0, 32 100*, 64 0",
    "W": "0 0, 20 100*, 42 20*, 62 100*, 84 0",
    "X": "2 0, 60 100 | 60 0, 2 100",
    "a": "54 16, 30 4, 4 34, 8 84, 34 94, 54 50 | 56 6, 54 80, 72 98",
    "e": "6 56, 56 46, 46 10, 20 6, 2 46, 16 92, 58 88",
    "f": "54 8, 36 0, 24 18, 22 100 | 4 42, 46 42",
    "h": "8 0, 8 100 | 8 62, 30 44, 48 58, 50 100",
    "k": "8 0, 8 100 | 48 40, 10 68*, 52 100",
    "m": "4 10, 6 100*, 8 40, 28 8, 40 30, 40 100*, 42 40, 62 8, 76 30, 76 100",
    "n": "6 4, 6 100*, 10 40, 34 4, 54 30, 54 100",
    "p": "8 0, 6 100 | 8 16, 34 2, 54 22, 42 54, 8 56",
    "r": "8 4, 10 100*, 14 40, 34 8, 54 14",
    "u": "4 2, 4 60, 20 96, 46 80, 54 4*, 56 98",
    "w": "0 4, 12 90, 30 90, 40 30*, 46 90, 66 90, 78 4",
    "x": "4 4, 20 20, 60 96 | 62 2, 4 98",
}
_GREEK = {
    "alpha": "62 2, 44 60, 20 96, 2 56, 22 10, 42 40, 66 98",
    "beta": "0 124, 10 60, 16 20, 34 2, 56 12, 52 36, 28 46*, 60 58, 60 86, 40 100, 18 94",
    "beta on a stem": "10 0, 2 122 | 12 8, 40 0, 56 18, 44 40, 16 46*, 56 54, 58 86, 36 98, 8 92",
    "gamma": "0 10, 14 2, 32 50, 28 94, 18 92, 30 50, 60 0",
    "Delta": "34 0, 0 98*, 70 98*, 34 0",
    "epsilon": "54 10, 20 0, 8 26, 34 46*, 4 62, 10 94, 56 90",
    "theta": "34 0, 6 24, 4 68, 32 100, 60 72, 62 28, 36 0 | 6 50, 60 48",
    "theta with a dash": "40 0, 6 20, 2 68, 40 98, 78 70, 76 22, 42 0 | 24 50, 56 48",
    "lambda": "6 0, 20 4, 64 100 | 34 36, 0 100",
    "mu": "8 0, 6 100 | 8 4, 10 60, 36 62, 52 4*, 56 66",
    "pi": "0 6, 76 2 | 20 6, 14 98 | 56 4, 58 98",
    "Sigma": "60 2, 2 2*, 34 48*, 2 98*, 62 98",
    "phi": "34 24, 6 34, 6 66, 34 76, 62 64, 60 34, 32 24 | 34 -4, 34 104",
    "psi": "0 6, 8 50, 36 64, 64 50, 72 4 | 36 0, 36 100",
    "omega": "12 4, 0 50, 18 96, 38 56*, 58 96, 78 50, 64 4",
    "Omega": "4 98, 22 98*, 4 50, 34 0, 66 50, 46 98*, 66 98",
}
_SHAPES = {
    "square": "0 0*, 90 2*, 92 94*, 2 92*, 0 -2",
    "triangle": "45 0*, 92 86*, 0 86*, 46 -2",
    "cross": "4 0, 90 96 | 88 2, 0 94",
    "plus": "46 0, 46 92 | 0 46, 92 46",
    "tick": "0 52, 30 92*, 96 0",
    "heart": "48 26*, 34 2, 4 8, 6 44, 48 92*, 90 44, 92 8, 62 2, 48 26",
    "arrow": "0 40, 100 40 | 66 8, 100 40*, 66 74",
    "star": "50 0*, 80 96*, 0 34*, 100 34*, 20 96*, 50 0",
    "house": "4 44, 4 100*, 84 100*, 84 44*, 44 0*, 4 44*, 84 44",
    "smiley": "46 0, 8 14, 0 52, 20 90, 56 94, 90 66, 88 26, 44 0 | 30 30, 31 36 | 60 30, 61 36 "
    "| 22 58, 44 74, 68 58",
    "wave": "0 30, 14 4, 30 30, 46 56, 60 30, 76 4, 90 30, 104 52",
}
_SIGNS = {
    "equals": "0 0, 70 0 | 0 32, 70 32",
    "minus": "0 2, 70 0",
    "hash": "24 0, 14 90 | 60 0, 50 90 | 0 28, 80 28 | 0 62, 78 62",
    "asterisk": "40 0, 40 80 | 4 20, 76 60 | 76 20, 4 60",
    "at": "66 40, 50 28, 30 40, 32 66, 54 66, 66 36*, 70 66, 90 60, 92 26, 56 0, 14 14, 0 56, "
    "24 94, 70 94",
    "root": "0 60, 12 52, 28 98*, 48 2*, 120 2",
    "percent": "18 0, 4 14, 18 28, 32 14, 18 0 | 70 0, 10 98 | 62 68, 48 82, 62 96, 76 82, 62 68",
    "greater": "0 0, 80 42*, 0 84",
    "smaller": "80 0, 0 42*, 80 84",
    "divide": "0 40, 80 40 | 40 4, 41 8 | 40 72, 41 76",
    "tilde": "0 24, 20 4, 44 16, 68 26, 88 4",
    "colon": "10 0, 12 5 | 10 60, 12 65",
    "ampersand": "78 98, 16 30, 24 2, 46 6, 44 28, 4 66, 14 96, 46 90, 74 52",
    "hat": "0 60, 38 0*, 76 60",
    "euro": "66 12, 40 0, 12 26, 8 62, 30 98, 66 90 | 0 40, 48 40 | 0 58, 44 58",
}

_ONES: dict[str, tuple[str, bool]] = {  # name: (the up-stroke, with a bar under the stem?)
    "plain": ("none", False),
    "slanted": ("none", False),
    "hooked": ("hook", False),
    "short flag": ("short", False),
    "flag": ("medium", False),
    "long flag": ("long", False),
    "very long flag": ("very long", False),
    "base bar": ("none", True),
    "short flag and base bar": ("short", True),
    "flag and base bar": ("medium", True),
    "long flag and base bar": ("long", True),
}
# name: (crossed?, lengths of the hook at the bar's left end, stem bent?)
_SEVENS: dict[str, tuple[bool, tuple[float, float], bool]] = {
    "plain": (False, (0.0, 0.0), False),
    "curved stem": (False, (0.0, 0.0), True),
    "serif": (False, (0.08, 0.24), False),
    "serif, curved stem": (False, (0.08, 0.24), True),
    "long serif": (False, (0.2, 0.42), True),
    "crossed": (True, (0.0, 0.0), False),
    "crossed, curved stem": (True, (0.0, 0.0), True),
    "crossed, serif": (True, (0.08, 0.24), False),
    "crossed, long serif": (True, (0.2, 0.42), True),
}

VARIANTS: dict[int, tuple[str, ...]] = {
    digit: tuple(_ONES if digit == 1 else _SEVENS if digit == 7 else _DIGITS[digit])
    for digit in range(10)
}
"""The ways in which `draw_digit` can write each digit, by name."""

# Shares of the variants where they are not equal: people who slash their zero are few.
_SHARES: dict[int, dict[str, float]] = {
    0: {"slashed": 0.3, "oval": 2.0, "round": 1.5},
    1: {"plain": 2.0},
    3: {"round": 2.0, "hanging": 0.6},
    5: {"one stroke": 2.0, "angular": 0.5, "square": 0.5},
    6: {"triangle": 0.6},
    7: {"plain": 2.0, "curved stem": 2.0, "crossed, serif": 2.0, "crossed, long serif": 2.0},
    8: {"one stroke": 2.0},
}


@cache
def _parse(template: str) -> tuple[Stroke, ...]:
    """Read the notation of `_DIGITS`."""
    strokes = []
    for part in template.split("|"):
        points = [point.strip() for point in part.split(",")]
        places = [[float(number) for number in point.strip("*").split()] for point in points]
        corners = tuple(i for i, point in enumerate(points) if point.endswith("*"))
        strokes.append(Stroke(np.array(places) / 100, corners))
    return tuple(strokes)


@cache
def _shares(digit: int) -> np.ndarray:
    """Return the cumulative shares of a digit's variants, ending at 1."""
    shares = np.array([_SHARES.get(digit, {}).get(name, 1.0) for name in VARIANTS[digit]])
    return np.cumsum(shares / shares.sum())


def _slope(rng: np.random.Generator, low: float, high: float) -> float:
    """Draw an angle in degrees between two bounds and return it in radians."""
    return float(np.radians(rng.uniform(low, high)))


def _one(variant: str, hand: Hand, rng: np.random.Generator) -> list[Stroke]:
    """Write a 1 with its angles as they will stand on the paper; the apex is at (0, 0)."""
    flag, base = _ONES[variant]
    lean = hand.slant + 0.5 * hand.turn
    if variant == "slanted":
        lean = rng.uniform(18, 45)
    # A strongly leaning stem under a flag or on a bar no longer looks like anybody's 1.
    lean = np.clip(lean, -14, 20) if base else lean if flag == "none" else np.clip(lean, -14, 38)
    lean = float(np.radians(lean))
    foot = np.array([-np.sin(lean), np.cos(lean)])
    bow = rng.normal(0, 0.015) * np.array([np.cos(lean), np.sin(lean)])
    stem = [np.zeros(2), 0.5 * foot + bow, foot]

    strokes: list[Stroke] = []
    if flag == "none":
        strokes.append(Stroke(np.array(stem), ()))
    elif flag == "hook":
        start = [np.array([-rng.uniform(0.06, 0.15), rng.uniform(0.06, 0.16)]), np.zeros(2)]
        end = foot + np.array([rng.uniform(0.04, 0.14), -rng.uniform(0.0, 0.05)])
        corners = () if rng.random() < 0.6 else (1,)
        strokes.append(Stroke(np.array([*start, *stem[1:], end]), corners))
    else:
        slope, length = _flag(flag, lean, rng)
        tip = length * np.array([-np.cos(slope), np.sin(slope)])
        bend = rng.normal(0, 0.05) * length * np.array([np.sin(slope), np.cos(slope)])
        up = [tip, 0.5 * tip + bend, np.zeros(2)]
        if rng.random() < 0.8:
            strokes.append(Stroke(np.array([*up, *stem[1:]]), (2,)))
        else:  # the pen is lifted at the apex
            strokes += [Stroke(np.array(up), ()), Stroke(np.array(stem), ())]
    if base:
        left, right = rng.uniform(0.12, 0.36, 2)
        tilt = np.tan(np.radians(np.clip(rng.normal(0.3 * hand.turn, 4), -10, 10)))
        middle = foot + np.array([0, rng.normal(0, 0.01)])
        ends = [[-left, left * tilt], [0, rng.normal(0, 0.01)], [right, -right * tilt]]
        strokes.append(Stroke(middle + ends, ()))
    return strokes


def _flag(kind: str, lean: float, rng: np.random.Generator) -> tuple[float, float]:
    """Choose slope (radians) and length of a 1's up-stroke; the stem is 1.0 long."""
    low, high = {
        "short": (0.13, 0.27),
        "medium": (0.27, 0.45),
        "long": (0.45, 0.65),
        "very long": (0.65, 0.95),
    }[kind]
    length = rng.uniform(low, high)
    flattest = float(np.interp(length, *FLATTEST_FLAG))
    # It must not fall onto the stem either.
    steepest = max(flattest + 8, min(STEEPEST_FLAG, 90 - np.degrees(lean) - 16))
    slope = np.radians(flattest + (steepest - flattest) * rng.beta(1.6, 1.8))
    return float(slope), float(min(length, 0.72 / np.sin(slope)))


def _seven(variant: str, hand: Hand, rng: np.random.Generator) -> list[Stroke]:
    """Write a 7 with its angles as they will stand on the paper; the corner is at (0, 0)."""
    crossed, serif, curved = _SEVENS[variant]
    bounds = CROSSED_BAR_SLOPE if crossed else BAR_SLOPE
    slope = np.clip(rng.normal(1 - 0.6 * hand.turn, 9), bounds[0] + 3, bounds[1] - 3)
    # A short and rising bar would be the flag of a 1.
    shortest = 0.32 if crossed else 0.36 + 0.012 * max(0.0, slope)
    run = max(shortest, 0.55 * hand.aspect + rng.normal(0, 0.08))
    slope = np.radians(slope)
    left = run * np.array([-np.cos(slope), np.sin(slope)])
    # Many who begin with a serif let the bar sag like a wave before it reaches the corner.
    wave = [
        0,
        rng.uniform(0.03, 0.2) if any(serif) and rng.random() < 0.6 else rng.normal(0, 0.02),
    ]
    lean = float(np.radians(np.clip(rng.normal(20, 8) + 0.7 * hand.slant, 0, 46)))
    foot = np.array([-np.sin(lean), np.cos(lean)])
    across = np.array([np.cos(lean), np.sin(lean)])
    bow = rng.uniform(-0.14, 0.05) if curved else rng.normal(0, 0.01)

    points = [left, 0.5 * left + wave, np.zeros(2), 0.5 * foot + bow * across, foot]
    corners: tuple[int, ...] = (2,)
    if any(serif):
        # A hook that came near a slanted stem would close the 7 to a 9.
        longest = 0.5 * run / max(np.tan(lean), 0.01)
        hook = left + np.array([rng.normal(-0.01, 0.02), min(rng.uniform(*serif), longest)])
        points = [hook, *points]
        # A long hook is often the start of a bow that runs through to the stem.
        corners = () if serif[1] > 0.3 and rng.random() < 0.5 else (1, 3)
    elif curved and rng.random() < 0.3:
        corners = ()
    strokes = [Stroke(np.array(points), corners)]
    if crossed:
        place = rng.uniform(0.4, 0.6)
        middle = place * foot + 4 * place * (1 - place) * bow * across
        reach = rng.uniform(0.13, 0.3, 2)
        tilt = _slope(rng, -12, 22)
        direction = np.array([np.cos(tilt), -np.sin(tilt)])
        strokes.append(
            Stroke(np.array([middle - reach[0] * direction, middle + reach[1] * direction]), ())
        )
    return strokes


# ------------------------------------------------------------------------------------------------
# From control points to ink
# ------------------------------------------------------------------------------------------------


@cache
def _spline(count: int, corners: tuple[int, ...]) -> np.ndarray:
    """Return the matrix that turns control points into points along a Catmull-Rom spline.

    It is broken at the corners. As it depends on nothing random, a stroke costs one product.

    References
    ----------
    E. Catmull and R. Rom, "A class of local interpolating splines", 1974.
    """
    unit = np.eye(count)
    ends = sorted({0, count - 1, *corners})
    rows = [unit[0]]
    t = np.linspace(0, 1, _SAMPLES_A_SPAN + 1)[1:, None]
    hermite = (2 * t**3 - 3 * t**2 + 1, t**3 - 2 * t**2 + t, 3 * t**2 - 2 * t**3, t**3 - t**2)
    for first, last in pairwise(ends):
        tangents = {i: (unit[i + 1] - unit[i - 1]) / 2 for i in range(first + 1, last)}
        if last - first == 1:
            tangents[first] = tangents[last] = unit[last] - unit[first]
        else:  # no curvature at the ends
            for end, step in ((first, 1), (last, -1)):
                tangents[end] = 1.5 * step * (unit[end + step] - unit[end])
                tangents[end] = tangents[end] - 0.5 * tangents[end + step]
        for i in range(first, last):
            rows.extend(
                hermite[0] * unit[i]
                + hermite[1] * tangents[i]
                + hermite[2] * unit[i + 1]
                + hermite[3] * tangents[i + 1]
            )
    return np.array(rows)


def _warp(strokes: tuple[Stroke, ...], hand: Hand, rng: np.random.Generator) -> list[Stroke]:
    """Bring a template into a hand: uneven proportions, then aspect, slant and turn."""
    high, wide, lower, *sway = rng.normal(0, (0.18, 0.15, 0.18, 0.03, 0.03))
    rate, phase = rng.uniform(-6, 6, 4).reshape(2, 2), rng.uniform(0, 2 * np.pi, 2)
    slant, turn = np.tan(np.radians(hand.slant)), np.radians(hand.turn)
    cos, sin = np.cos(turn), np.sin(turn)
    # Columns of an affine map: aspect, then shear to the right above the base, then rotation.
    affine = np.array([[hand.aspect, 0.0], [-slant, 1.0]]) @ np.array([[cos, sin], [-sin, cos]])
    warped = []
    for points, corners in strokes:
        x, y = points[:, 0], points[:, 1]
        # Larger upper or lower half; fuller left or right; narrower top than bottom.
        bent = np.empty_like(points)
        bent[:, 1] = y + high * y * (1 - y)
        bent[:, 0] = (x - 0.3) * (1 + lower * (y - 0.5)) + wide * x * (0.6 - x)
        bent += sway * np.sin(points @ rate + phase)  # and no two bows are alike
        warped.append(Stroke(bent @ affine, corners))
    return warped


def _trace(strokes: list[Stroke], hand: Hand, rng: np.random.Generator) -> list[np.ndarray]:
    """Follow each stroke with an unsteady hand: points along the lines, in digit heights."""
    lines = []
    for points, corners in strokes:
        count = len(points)
        moved = points + rng.normal(0, hand.jitter, (count, 2))
        if len(strokes) > 1:  # the pen does not come down exactly where it should
            moved += rng.normal(0, 1.2 * hand.jitter, 2)
        line = _spline(count, corners) @ moved
        if hand.overshoot:
            for end, beside in ((0, 1), (-1, -2)):
                step = line[end] - line[beside]
                line[end] += hand.overshoot * step / (np.hypot(*step) + 1e-3)
        if hand.wobble:
            where = np.linspace(0, len(line) / 10, len(line))[:, None]
            rate, phase = rng.uniform(0.6, 1.8, 2), rng.uniform(0, 6.3, 2)
            line += hand.wobble * np.sin(2.5 * rate * where + phase)
        if hand.nib == "mouse":  # a few straight pieces between the places the screen noticed
            every = 2 + int(3 * rng.random())
            line = np.concatenate([line[:-1:every], line[-1:]])
        lines.append(line)
    return lines


def _widths(line: np.ndarray, hand: Hand, pen: float) -> np.ndarray:
    """Return the pen's width along a line of points, one for each piece between two of them."""
    steps = np.diff(line, axis=0)
    if hand.nib == "chisel":
        angle = np.arctan2(steps[:, 1], steps[:, 0]) + np.radians(hand.nib_angle)
        width = 1 - hand.contrast * (1 - np.abs(np.sin(angle)))
    else:
        speed = np.hypot(steps[:, 0], steps[:, 1])
        speed /= speed.mean() + 1e-6
        width = 1 - hand.contrast * 0.5 * np.clip(speed - 0.6, 0.0, 1.4)
        width[-3:] *= (0.9, 0.75, 0.6)[-len(width[-3:]) :]  # the pen leaves the paper
    if len(width) > 4:
        width[1:-1] = (width[:-2] + 2 * width[1:-1] + width[2:]) / 4
    return pen * width


def _ink(
    lines: list[np.ndarray],
    hand: Hand,
    rng: np.random.Generator,
    size: int,
    *,
    boldest: float = 0.2,
    bar: bool = False,
) -> np.ndarray:
    """Draw lines of points with the hand's pen, fitted into a square picture."""
    zoom = max(1, round(_CANVAS / size))
    side = size * zoom
    every = np.concatenate(lines)
    low, high = every.min(axis=0), every.max(axis=0)
    extent = high - low
    # A pen that is wider than a part of the digit's height, or of its width, makes a blob of it.
    # (A narrow 1 stays legible all the same.)
    widest = min(boldest, 0.36 * max(float(extent.min() / extent.max()), 0.5 if bar else 0.0))
    pen = min(hand.width / SIZE, hand.fill * widest) * side
    room = max(0.25 * side, hand.fill * side - pen)
    scale = room / max(float(extent.max()), 0.05)
    slack = side - pen - scale * extent - 2
    shift = (pen + 2) / 2 + slack * (0.5 + rng.uniform(-0.3, 0.3, 2)) - scale * low

    canvas = np.zeros((side, side), np.uint8)
    for line in lines:
        # cv2 takes whole numbers; with a shift of 4 they count sixteenths of a pixel.
        points = np.rint((scale * line + shift) * 16).astype(np.int32)
        if hand.nib in ("even", "mouse"):
            cv2.polylines(canvas, [points], False, 255, max(1, round(pen)), cv2.LINE_8, 4)
            continue
        widths = np.maximum(np.rint(_widths(line, hand, pen)), max(1.0, 0.012 * side))
        breaks = np.flatnonzero(np.diff(widths)) + 1
        starts, stops = [0, *breaks.tolist()], [*breaks.tolist(), len(widths)]
        for start, stop in zip(starts, stops, strict=True):
            piece = points[start : stop + 1]
            cv2.polylines(canvas, [piece], False, 255, int(widths[start]), cv2.LINE_8, 4)
    ink = canvas if zoom == 1 else cv2.resize(canvas, (size, size), interpolation=cv2.INTER_AREA)
    if hand.dryness:
        ink = _dry(ink, hand.dryness, rng)
    if hand.ink < 1.0:
        ink = cv2.convertScaleAbs(ink, alpha=hand.ink)
    return ink


def _dry(ink: np.ndarray, dryness: float, rng: np.random.Generator) -> np.ndarray:
    """Leave parts of the stroke white, as a dry pen or a pencil on rough paper does."""
    size = len(ink)
    grain = int(size / rng.uniform(1.2, 5))
    noise = cv2.resize(rng.random((grain, grain), dtype=np.float32), (size, size))
    # The grain's values crowd around 0.5 once they are enlarged, so the soft threshold does too.
    kept = np.clip((noise - 0.6 * dryness) * 6, 0.15, 1.0)
    return (ink * kept).astype(np.uint8)


def _check(name: str, value: object, known: object) -> None:
    """Refuse a name that is not in the table, and show the table."""
    if value not in known:  # type: ignore[operator]
        choices = ", ".join(repr(choice) for choice in known)  # type: ignore[attr-defined]
        raise SettingsError(f"unknown {name} {value!r}; choose one of {choices}")


def draw_digit(
    digit: int,
    rng: np.random.Generator,
    *,
    size: int = SIZE,
    variant: str | None = None,
    hand: Hand | None = None,
) -> np.ndarray:
    """Write one digit by hand.

    Parameters
    ----------
    digit : int
        From 0 to 9.
    rng : numpy.random.Generator
        Where all choices come from: the same state draws the same picture.
    size : int, default=64
        Side of the picture in pixels, at least 16.
    variant : str, optional
        One of ``VARIANTS[digit]``; by default one is chosen.
    hand : Hand, optional
        Who writes, and with which pen; by default somebody new, from `random_hand`.

    Returns
    -------
    ndarray of shape (size, size), uint8
        Ink from 0 (none) to 255, white on black. The whole digit is inside.

    Raises
    ------
    SettingsError
        If there is no such digit or variant.

    Examples
    --------
    >>> picture = draw_digit(1, np.random.default_rng(0), variant="very long flag")
    >>> picture.shape, picture.dtype
    ((64, 64), dtype('uint8'))
    """
    _check("digit", digit, VARIANTS)
    if variant is None:
        variant = VARIANTS[digit][int(np.searchsorted(_shares(digit), rng.random()))]
    _check(f"variant of {digit}", variant, VARIANTS[digit])
    hand = hand or random_hand(rng)
    if digit == 1 or digit == 7:
        # Their parts are short, so the same slip of the pen would turn them further.
        hand = replace(hand, jitter=0.6 * hand.jitter)
        strokes = (_one if digit == 1 else _seven)(variant, hand, rng)
    else:
        strokes = _warp(_parse(_DIGITS[digit][variant]), hand, rng)
    lines = _trace(strokes, hand, rng)
    return _ink(lines, hand, rng, size, boldest=_boldest(digit, variant), bar=digit == 1)


def _boldest(digit: int, variant: str) -> float:
    """Return how wide a pen may be, in heights of the digit, before its parts run together."""
    if digit == 1:
        return 0.17 if "flag" in variant else 0.25
    return 0.16 if digit in (0, 4, 6, 8, 9) else 0.19  # loops fill first


# ------------------------------------------------------------------------------------------------
# Printed digits
# ------------------------------------------------------------------------------------------------

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

# The seven bars of a pocket calculator: a at the top, then clockwise, g in the middle.
_BARS = {
    "a": "4 0, 46 0", "b": "50 4, 50 46", "c": "50 54, 50 96", "d": "4 100, 46 100",
    "e": "0 54, 0 96", "f": "0 4, 0 46", "g": "4 50, 46 50",
}  # fmt: skip
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


def _print(text: str, rng: np.random.Generator, size: int, fonts: tuple[Path, ...]) -> np.ndarray:
    """Print a character a little askew, stretched and with more or less ink."""
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
        ink = _dry(ink, rng.uniform(0.1, 0.5), rng)
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
    _check("digit", digit, VARIANTS)
    if fonts is None and rng.random() < 1 / 12:
        return _seven_bars(digit, rng, size)
    return _print(str(digit), rng, size, fonts or find_fonts())


def _seven_bars(digit: int, rng: np.random.Generator, size: int) -> np.ndarray:
    """Draw a digit as pocket calculators and petrol pumps do."""
    hand = replace(
        random_hand(rng), nib="even", jitter=0.0, wobble=0.0, dryness=0.0,
        slant=rng.uniform(0, 14), turn=rng.normal(0, 2), overshoot=rng.uniform(-0.04, 0.04),
        width=rng.uniform(3, 8),
    )  # fmt: skip
    bars = tuple(_parse(_BARS[bar])[0] for bar in _LIT[digit])
    if digit == 7 and rng.random() < 0.3:
        bars += _parse(_BARS["f"])
    shear = np.array([[hand.aspect, 0.0], [-np.tan(np.radians(hand.slant)), 1.0]])
    strokes = [Stroke(points @ shear, corners) for points, corners in bars]
    return _ink(_trace(strokes, hand, rng), hand, rng, size)


# ------------------------------------------------------------------------------------------------
# What is no digit
# ------------------------------------------------------------------------------------------------

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
    return _draw_from(_LETTERS, rng, size)


def _draw_greek(rng: np.random.Generator, size: int) -> np.ndarray:
    return _draw_from(_GREEK, rng, size)


def _draw_shape(rng: np.random.Generator, size: int) -> np.ndarray:
    return _draw_from(_SHAPES, rng, size)


def _draw_sign(rng: np.random.Generator, size: int) -> np.ndarray:
    return _draw_from(_SIGNS, rng, size)


def _draw_from(templates: dict[str, str], rng: np.random.Generator, size: int) -> np.ndarray:
    """Write one of several templates; upright, as a turned N would be a Z."""
    hand = random_hand(rng)
    hand = replace(hand, slant=float(np.clip(hand.slant, -12, 18)), width=min(hand.width, 10.0))
    names = tuple(templates)
    strokes = _parse(templates[names[int(rng.integers(len(names)))]])
    return _ink(_trace(_warp(strokes, hand, rng), hand, rng), hand, rng, size)


def _print_letter(rng: np.random.Generator, size: int) -> np.ndarray:
    return _print(
        _PRINTED_LETTERS[int(rng.integers(len(_PRINTED_LETTERS)))], rng, size, find_fonts()
    )


def _print_sign(rng: np.random.Generator, size: int) -> np.ndarray:
    return _print(
        _PRINTED_SIGNS[int(rng.integers(len(_PRINTED_SIGNS)))], rng, size, find_fonts()[:15]
    )  # the TeX fonts keep other signs at some of these places


def _print_script(rng: np.random.Generator, size: int) -> np.ndarray:
    return _print(
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
    strokes = _warp((Stroke(points, corners),), hand, rng)
    return _ink(_trace(strokes, hand, rng), hand, rng, size)


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
    whole = _crop(draw_digit(digit, rng, size=size, hand=hand))
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

    Letters and signs that can be taken for a digit (O, l, S, Z, b, g and others, see
    `_LETTERS`) are left out, as are halves of digits that look like another digit.

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
    _check("kind of non-digit", kind, _NON_DIGITS)
    return _NON_DIGITS[kind](rng, size)


# ------------------------------------------------------------------------------------------------
# Numbers
# ------------------------------------------------------------------------------------------------


def _crop(ink: np.ndarray) -> np.ndarray:
    """Cut away the empty rows and columns around the ink."""
    left, top, width, height = cv2.boundingRect(cv2.threshold(ink, 24, 255, cv2.THRESH_BINARY)[1])
    return ink[top : top + height, left : left + width] if width else ink


def _fit(ink: np.ndarray, rng: np.random.Generator, size: int) -> np.ndarray:
    """Scale a picture to fit a square and put it at a place of its own."""
    ink = _crop(ink)
    scale = rng.uniform(0.7, 0.95) * size / max(ink.shape)
    width, height = (max(1, round(scale * side)) for side in ink.shape[::-1])
    picture = np.zeros((size, size), np.uint8)
    top, left = rng.integers(0, [size - height + 1, size - width + 1])
    small = cv2.resize(ink, (width, height), interpolation=cv2.INTER_AREA)
    picture[top : top + height, left : left + width] = small
    return picture


def draw_number(
    digits: str,
    rng: np.random.Generator,
    *,
    height: int = SIZE,
    gap: float | None = None,
    hand: Hand | None = None,
) -> tuple[np.ndarray, list[tuple[int, int, int, int]]]:
    """Write a row of digits in one hand.

    The line may climb or fall, the sizes and gaps vary, and a digit keeps its variant through
    the row, as with real writers.

    Parameters
    ----------
    digits : str
        What to write: "0" to "9" only, at least one.
    rng : numpy.random.Generator
        Where all choices come from.
    height : int, default=64
        Height of an ordinary digit in pixels, at least 16.
    gap : float, optional
        Mean distance between neighbours in digit heights; below 0 they overlap. By default it
        is chosen from 0.08 to 0.6, so that neighbours stay apart.
    hand : Hand, optional
        Who writes; by default somebody new.

    Returns
    -------
    picture : ndarray of shape (rows, columns), uint8
        Ink from 0 (none) to 255, white on black, with a margin around it. `degrade.photograph`
        with ``keep_layout=True`` turns it into a photo and leaves everything in its place.
    boxes : list of (left, top, right, bottom)
        Where the ink of each digit lies, in pixels, in the order of `digits`; `right` and
        `bottom` are one past the ink.

    Raises
    ------
    SettingsError
        If `digits` is empty or holds anything but digits.
    """
    if not digits or not set(digits) <= set("0123456789"):
        raise SettingsError(f"cannot write {digits!r}: give a text of the digits 0 to 9")
    hand = hand or random_hand(rng)
    apart = gap is None
    mean_gap = rng.uniform(0.08, 0.6) if gap is None else gap
    climb = np.tan(np.radians(np.clip(rng.normal(0, 2.5), -8, 8)))
    growth = rng.normal(0, 0.02)
    variants: dict[int, str] = {}

    parts, places = [], []
    x = 0.0
    for i, character in enumerate(digits):
        digit = int(character)
        variants.setdefault(
            digit, VARIANTS[digit][int(np.searchsorted(_shares(digit), rng.random()))]
        )
        tall = height * float(np.clip(np.exp(rng.normal(growth * i, 0.07)), 0.6, 1.6))
        mood = replace(
            hand, fill=0.9, slant=hand.slant + rng.normal(0, 3), turn=hand.turn + rng.normal(0, 2)
        )
        side = max(16, round(tall / 0.9))
        part = _crop(draw_digit(digit, rng, size=side, variant=variants[digit], hand=mood))
        bottom = -climb * x + height * rng.normal(0, 0.04)
        # A digit that is wider than high was scaled by its width and stands in the middle.
        bottom -= max(0.0, 0.25 * (tall - part.shape[0]))
        parts.append(part)
        places.append((round(x), round(bottom) - part.shape[0]))
        step = mean_gap + rng.normal(0, 0.25 * abs(mean_gap) + 0.01)
        if apart:
            step = max(step, 0.06)
        x += part.shape[1] + height * step

    margin = max(4, round(height * rng.uniform(0.15, 0.6)))
    left = min(place[0] for place in places) - margin
    top = min(place[1] for place in places) - margin
    boxes = [
        (x - left, y - top, x - left + part.shape[1], y - top + part.shape[0])
        for part, (x, y) in zip(parts, places, strict=True)
    ]
    picture = np.zeros(
        (max(box[3] for box in boxes) + margin, max(box[2] for box in boxes) + margin), np.uint8
    )
    for part, box in zip(parts, boxes, strict=True):
        field = picture[box[1] : box[3], box[0] : box[2]]
        np.maximum(field, part, out=field)
    return picture, boxes
