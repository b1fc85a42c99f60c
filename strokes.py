"""Draw digits as people all over the world write them.

    digit, variant -> template of control points -> hand -> pen -> white ink on black

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

from collections.abc import Collection
from dataclasses import replace
from functools import cache
from typing import NamedTuple

import numpy as np

from errors import SettingsError
from pen import SIZE, Hand, Stroke, crop, draw_lines, random_hand, read_template, trace, warp
from stroke_shapes import DIGITS

# Degrees above the horizontal on the finished paper. The up-stroke of a 1 is steeper than the top
# bar of a 7, and the steeper the longer it is: a short tick may lie flat, a long one would be a
# bar. Between the two is a band that we leave to neither: people write there too, but even people
# then read either digit.
FLATTEST_FLAG = ((0.18, 0.40, 0.95), (12.0, 25.0, 40.0))  # lengths in heights of the 1; degrees
STEEPEST_FLAG = 74.0
BAR_SLOPE = (-32.0, 15.0)
CROSSED_BAR_SLOPE = (-32.0, 24.0)  # the cross settles it, whatever the top bar does

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


class _Seven(NamedTuple):
    """One way to write a 7."""

    crossed: bool = False
    hook: tuple[float, float] = (0.0, 0.0)  # how long it is at the bar's left end, from and to
    curved: bool = False  # the stem
    hanging: bool = False  # the bar, so low that only the cross tells it from a 4


_SEVENS = {
    "plain": _Seven(),
    "curved stem": _Seven(curved=True),
    "serif": _Seven(hook=(0.08, 0.24)),
    "serif, curved stem": _Seven(hook=(0.08, 0.24), curved=True),
    "long serif": _Seven(hook=(0.2, 0.42), curved=True),
    "crossed": _Seven(crossed=True),
    "crossed, curved stem": _Seven(crossed=True, curved=True),
    "crossed, serif": _Seven(crossed=True, hook=(0.08, 0.24)),
    "crossed, long serif": _Seven(crossed=True, hook=(0.2, 0.42), curved=True),
    "crossed, hanging bar": _Seven(crossed=True, hook=(0.03, 0.2), hanging=True),
}

VARIANTS: dict[int, tuple[str, ...]] = {
    digit: tuple(_ONES if digit == 1 else _SEVENS if digit == 7 else DIGITS[digit])
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
    7: {
        "plain": 2.0,
        "curved stem": 2.0,
        "crossed, serif": 2.0,
        "crossed, long serif": 2.0,
        "crossed, hanging bar": 2.0,
    },
    8: {"one stroke": 2.0},
}


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
    seven = _SEVENS[variant]
    has_hook = any(seven.hook)
    bounds = CROSSED_BAR_SLOPE if seven.crossed else BAR_SLOPE
    rise = rng.normal(8 if seven.hanging else 1, 9) - 0.6 * hand.turn
    slope = np.clip(rise, bounds[0] + 3, bounds[1] - 3)
    # A short and rising bar would be the flag of a 1.
    shortest = 0.32 if seven.crossed else 0.36 + 0.012 * max(0.0, slope)
    run = max(shortest, 0.55 * hand.aspect + rng.normal(0, 0.08))
    slope = np.radians(slope)
    left = run * np.array([-np.cos(slope), np.sin(slope)])
    # Many who begin with a hook let the bar sag like a wave before it reaches the corner.
    if seven.hanging:
        sag = rng.uniform(0.14, 0.4)
    else:
        sag = rng.uniform(0.03, 0.2) if has_hook and rng.random() < 0.6 else rng.normal(0, 0.02)
    wave = [0, sag]
    lean = float(np.radians(np.clip(rng.normal(20, 8) + 0.7 * hand.slant, 0, 46)))
    foot = np.array([-np.sin(lean), np.cos(lean)])
    across = np.array([np.cos(lean), np.sin(lean)])
    bow = rng.uniform(-0.14, 0.05) if seven.curved else rng.normal(0, 0.01)

    points = [left, 0.5 * left + wave, np.zeros(2), 0.5 * foot + bow * across, foot]
    corners: tuple[int, ...] = (2,)
    if has_hook:
        # A hook that came near a slanted stem would close the 7 to a 9.
        longest = 0.5 * run / max(np.tan(lean), 0.01)
        hook = left + np.array([rng.normal(-0.01, 0.02), min(rng.uniform(*seven.hook), longest)])
        points = [hook, *points]
        # A long hook is often the start of a bow that runs through to the stem.
        corners = () if seven.hook[1] > 0.3 and rng.random() < 0.5 else (1, 3)
    elif seven.curved and rng.random() < 0.3:
        corners = ()
    if seven.hanging:
        corners = (3,)  # hook and bar are one wave
        if rng.random() < 0.4:  # and the stem may end in another
            points.append(foot + rng.uniform((0.06, -0.03), (0.28, 0.04)))
    strokes = [Stroke(np.array(points), corners)]
    if seven.crossed:
        place = rng.uniform(0.48, 0.82) if seven.hanging else rng.uniform(0.4, 0.6)
        middle = place * foot + 4 * place * (1 - place) * bow * across
        reach = rng.uniform(0.13, 0.3, 2)
        tilt = _slope(rng, -12, 22)
        direction = np.array([np.cos(tilt), -np.sin(tilt)])
        strokes.append(
            Stroke(np.array([middle - reach[0] * direction, middle + reach[1] * direction]), ())
        )
    return strokes


def _check(name: str, value: object, known: Collection[object]) -> None:
    """Refuse a name that is not in the table, and show the table."""
    if value not in known:
        choices = ", ".join(map(repr, known))
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
        strokes = warp(read_template(DIGITS[digit][variant]), hand, rng)
    lines = trace(strokes, hand, rng)
    return draw_lines(lines, hand, rng, size, boldest=_boldest(digit, variant), bar=digit == 1)


def _boldest(digit: int, variant: str) -> float:
    """Return how wide a pen may be, in heights of the digit, before its parts run together."""
    if digit == 1:
        return 0.17 if "flag" in variant else 0.25
    return 0.16 if digit in (0, 4, 6, 8, 9) else 0.19  # loops fill first


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
        part = crop(draw_digit(digit, rng, size=side, variant=variants[digit], hand=mood))
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
