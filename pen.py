"""A hand and its pen: templates of control points become lines, and lines become ink.

    template -> read_template -> warp (the hand's proportions) -> trace (a spline, unsteady)
             -> draw_lines (the pen's width and darkness) -> white ink on black

What stays the same while one person writes with one pen is a `Hand`. Everything random comes from
the generator that the caller passes.

    >>> rng = np.random.default_rng(0)
    >>> hand = random_hand(rng)
    >>> strokes = warp(read_template("4 0, 60 50*, 4 100"), hand, rng)
    >>> draw_lines(trace(strokes, hand, rng), hand, rng, 64).shape
    (64, 64)
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import NamedTuple

import cv2
import numpy as np

SIZE = 64  # side of a picture in pixels, unless told otherwise

_SAMPLES_A_SPAN = 7  # points drawn between two control points
_CANVAS = 224  # pixels of the enlarged canvas we draw on; shrinking it smooths the edges


class Stroke(NamedTuple):
    """Where the pen goes from touching the paper to leaving it.

    `points` is float (n, 2), x to the right and y down, about 1.0 high; `corners` lists the
    points at which the pen turns sharply instead of flowing through.
    """

    points: np.ndarray
    corners: tuple[int, ...]


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


@cache
def read_template(template: str) -> tuple[Stroke, ...]:
    """Read the notation of `stroke_shapes.py`."""
    strokes = []
    for part in template.split("|"):
        points = [point.strip() for point in part.split(",")]
        places = [[float(number) for number in point.strip("*").split()] for point in points]
        corners = tuple(i for i, point in enumerate(points) if point.endswith("*"))
        strokes.append(Stroke(np.array(places) / 100, corners))
    return tuple(strokes)


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


def warp(strokes: tuple[Stroke, ...], hand: Hand, rng: np.random.Generator) -> list[Stroke]:
    """Bring a template into a hand: uneven proportions, then aspect, slant and turn.

    Parameters
    ----------
    strokes : tuple of Stroke
        As `read_template` gives them.
    hand : Hand
    rng : numpy.random.Generator
        No hand writes a shape in the same way twice.

    Returns
    -------
    list of Stroke
    """
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


def trace(strokes: list[Stroke], hand: Hand, rng: np.random.Generator) -> list[np.ndarray]:
    """Follow each stroke with an unsteady hand.

    Parameters
    ----------
    strokes : list of Stroke
        As `warp` gives them.
    hand : Hand
    rng : numpy.random.Generator
        How it trembles.

    Returns
    -------
    list of ndarray of shape (n, 2), float64
        Points along each line, x to the right and y down, in digit heights.
    """
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


def draw_lines(
    lines: list[np.ndarray],
    hand: Hand,
    rng: np.random.Generator,
    size: int,
    *,
    boldest: float = 0.2,
    bar: bool = False,
) -> np.ndarray:
    """Draw lines of points with the hand's pen, fitted into a square picture.

    Parameters
    ----------
    lines : list of ndarray of shape (n, 2)
        As `trace` gives them; at least one.
    hand : Hand
    rng : numpy.random.Generator
        Where in the picture they lie, and the grain of a dry pen.
    size : int
        Side of the picture, in pixels.
    boldest : float, default=0.2
        How wide the pen may be, in heights of the shape, before its parts run together.
    bar : bool, default=False
        Whether it is a mere bar, as a 1 is: that stays legible with a pen as wide as it is itself.

    Returns
    -------
    ndarray of shape (size, size), uint8
        Ink from 0 (none) to 255, white on black.
    """
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
        ink = dry_out(ink, hand.dryness, rng)
    if hand.ink < 1.0:
        ink = cv2.convertScaleAbs(ink, alpha=hand.ink)
    return ink


def dry_out(ink: np.ndarray, dryness: float, rng: np.random.Generator) -> np.ndarray:
    """Leave parts of the stroke white, as a dry pen or a pencil on rough paper does.

    Parameters
    ----------
    ink : ndarray of shape (size, size), uint8
        White on black.
    dryness : float
        0.0 to 1.0, about the share of the stroke that is left white.
    rng : numpy.random.Generator
        The grain of the paper.

    Returns
    -------
    ndarray of shape (size, size), uint8
    """
    size = len(ink)
    grain = int(size / rng.uniform(1.2, 5))
    noise = cv2.resize(rng.random((grain, grain), dtype=np.float32), (size, size))
    # The grain's values crowd around 0.5 once they are enlarged, so the soft threshold does too.
    kept = np.clip((noise - 0.6 * dryness) * 6, 0.15, 1.0)
    return (ink * kept).astype(np.uint8)


def crop(ink: np.ndarray) -> np.ndarray:
    """Cut away the empty rows and columns around the ink."""
    left, top, width, height = cv2.boundingRect(cv2.threshold(ink, 24, 255, cv2.THRESH_BINARY)[1])
    return ink[top : top + height, left : left + width] if width else ink
