"""Cut connected ink where two digits may touch.

    ink -> for each place and slant the path from top to bottom that crosses the least ink
        -> the cheapest of these that differ -> parts from left to right

Which of the cuts are right cannot be told here: `segment.py` joins the parts again in every
plausible way and lets the network decide.

    >>> parts = cut_apart(mask, size=60.0, stroke=4.0)

Paths of least ink that may wind, found by dynamic programming, are the "cutting paths" of Wang and
Jean, "Segmentation of merged characters by neural networks and shortest path" (Pattern
Recognition 27(5), 1994).
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

HEIGHT = 48  # pixels; paths are searched for at this height of a digit
SLANTS = (-0.15, 0.15, 0.45)  # pixels to the left for each pixel down
BAND = 0.2  # of a digit's height; how far a path may wind to either side
STEP = 0.05  # of a digit's height; between the middles of neighbouring bands
DETOUR = 0.3  # pixels of ink that one step aside is worth
# A cut between two digits goes through ink once, where they touch, though that may be long; one
# through a 0 goes through two thin strokes. So what counts is mostly how often ink is entered.
ENTRY = 2.0  # stroke widths of ink that one more entry is worth
MOST_STROKES = 4.0  # a cut goes through no more
LEAST_INK = 0.4  # of an upright stroke's; so much is between two cuts, and beside them
LEAST_PART = 0.2  # of a digit's height; smaller parts are not cut off
PER_WIDTH = 4.5  # cuts for each digit height of width, beyond the first
UNCUT = 0.3  # digit heights


class Part(NamedTuple):
    """What lies between two cuts."""

    mask: np.ndarray  # as large as the whole, bool
    strokes: float  # how many the cut on its left goes through; 0.0 for the first part


def cut_apart(mask: np.ndarray, *, size: float, stroke: float) -> list[Part]:
    """Cut ink along every path from top to bottom that crosses little of it.

    Parameters
    ----------
    mask : ndarray of shape (height, width), uint8, 0 or 1
        Connected ink, cut out tightly.
    size : float
        The usual height of a digit, pixels.
    stroke : float
        The usual width of a stroke, pixels.

    Returns
    -------
    list of Part
        From left to right, at least one; together they are the whole.
    """
    height, width = mask.shape
    scale = HEIGHT / size
    shape = (max(4, round(width * scale)), max(4, round(height * scale)))
    ink = cv2.resize(mask.astype(np.float32), shape, interpolation=cv2.INTER_AREA)
    stroke = max(1.0, stroke * scale)
    paths, costs = find_paths(ink, stroke)
    most = int(np.ceil(PER_WIDTH * (width / size - UNCUT)))
    kept = _choose(ink, paths, costs, least=LEAST_INK * HEIGHT * stroke, most=most)
    paths = np.rint(paths[kept] * (width / shape[0])).astype(int)
    return _divide(mask, paths, costs[kept], least=LEAST_PART * size)


def find_paths(ink: np.ndarray, stroke: float) -> tuple[np.ndarray, np.ndarray]:
    """Find, for each place and slant, the path from top to bottom that crosses the least ink.

    Parameters
    ----------
    ink : ndarray of shape (height, width), float32, 0.0..1.0
    stroke : float
        The usual width of a stroke, pixels.

    Returns
    -------
    paths : ndarray of shape (paths, height), int
        The first column on the right of each path, row by row.
    costs : ndarray of shape (paths,), float
        How many strokes each crosses.
    """
    width = ink.shape[1]
    margin = 0.12 * HEIGHT
    middles = np.arange(margin, width - margin, STEP * HEIGHT)
    paths = _best_paths(ink, stroke, middles)
    padded = np.pad(ink, ((0, 0), (1, 1)))  # there is no ink outside
    crossed = padded[np.arange(len(ink)), np.clip(paths + 1, 0, width + 1)]  # (paths, height)
    entries = np.maximum(0, np.diff(crossed, axis=1, prepend=0)).sum(axis=1)
    return paths, (crossed.sum(axis=1) / stroke + ENTRY * entries) / (1 + ENTRY)


def _best_paths(ink: np.ndarray, stroke: float, middles: np.ndarray) -> np.ndarray:
    """Find the best path in a band around each middle, for one slant after the other.

    Dynamic programming, row by row, for all bands at once: there are many, and each is small.
    """
    height, width = ink.shape
    reach = round(BAND * HEIGHT)
    band = np.arange(-reach, reach + 1)
    lean = np.round(np.outer(height / 2 - np.arange(height), SLANTS)).astype(int)
    lean = lean.repeat(len(middles), axis=1)  # (height, bands)
    centres = np.tile(np.rint(middles).astype(int), len(SLANTS))
    columns = (centres + lean)[:, :, None] + band  # (height, bands, band)
    padded = np.pad(ink, ((0, 0), (1, 1)))  # there is no ink outside
    # How much ink is entered at each place from above it, and from either side of that.
    above = np.pad(padded, ((1, 0), (1, 1)))[:-1]
    beside = np.stack([above[:, start : start + width + 2] for start in range(3)])
    entries = ENTRY * stroke * np.maximum(0, padded - beside)  # (moves, height, width + 2)
    places = np.clip(columns + 1, 0, width + 1) + (width + 2) * np.arange(height)[:, None, None]
    inside = padded.ravel()[places]
    entries = entries.reshape(3, -1)[:, places]  # (moves, height, bands, band)
    # The band moves with the slant: to stay in a column is to move against the band. Two columns
    # beyond it are walls: one for the slant, and one for a step aside.
    shift = np.diff(lean, axis=0, prepend=lean[:1])
    walled = np.full((len(centres), len(band) + 4), np.inf)
    moves = np.array([-1, 0, 1])[:, None, None]
    sources = np.arange(2, len(band) + 2) + (len(band) + 4) * np.arange(len(centres))[:, None]
    sources = sources + moves  # (moves, bands, band), places in all that is walled
    detours = DETOUR * np.abs(moves)
    steps = np.zeros(inside.shape, np.int8)
    total = inside[0]
    for row in range(1, height):
        walled[:, 2:-2] = total
        options = walled.take(sources + shift[row][:, None])
        options += detours
        options += entries[:, row]
        left, straight, right = options
        least = np.minimum(left, straight)
        np.less(straight, left, out=steps[row], casting="unsafe")
        steps[row][right < least] = 2
        total = np.minimum(least, right) + inside[row]
    steps -= 1  # a move is from -1 to 1
    each, place = np.arange(len(centres)), total.argmin(axis=1)
    paths = np.zeros((len(centres), height), int)
    for row in range(height - 1, -1, -1):
        paths[:, row] = columns[row, each, place]
        if row:
            place = place + shift[row] + steps[row, each, place]
    return paths


def _choose(
    ink: np.ndarray, paths: np.ndarray, costs: np.ndarray, *, least: float, most: int
) -> list[int]:
    """Choose the cheapest paths that have at least so much ink between and beside them."""
    sums = np.pad(ink.cumsum(axis=1), ((0, 0), (1, 0)))
    left = sums[np.arange(len(ink)), np.clip(paths, 0, ink.shape[1])]  # (paths, height)
    before = left.sum(axis=1)
    useful = (before >= least) & (ink.sum() - before >= least) & (costs <= MOST_STROKES)
    kept: list[int] = []
    for number in np.argsort(costs, kind="stable").tolist():
        if len(kept) >= most:
            break
        if useful[number] and all(
            np.abs(left[number] - left[other]).sum() >= least for other in kept
        ):
            kept.append(number)
    return sorted(kept, key=lambda number: float(paths[number].mean()))


def _divide(
    mask: np.ndarray, paths: np.ndarray, strokes: np.ndarray, *, least: float
) -> list[Part]:
    """Divide ink along paths that are ordered from left to right.

    Where two paths leave less between them than a digit may be, the dearer one is given up.
    """
    height, width = mask.shape
    while len(paths):
        rows = np.arange(height) * paths.shape[1] // height
        # Paths may cross: the right one then follows the left one.
        borders = np.maximum.accumulate(paths[:, rows], axis=0)
        region = (np.arange(width)[None, :, None] >= borders.T[:, None, :]).sum(axis=2)
        parts = [(region == number) & (mask > 0) for number in range(len(paths) + 1)]
        small = [number for number, part in enumerate(parts) if _longest(part) < least]
        if not small:
            return [Part(*pair) for pair in zip(parts, [0.0, *strokes.tolist()], strict=True)]
        beside = [number for number in (small[0] - 1, small[0]) if 0 <= number < len(paths)]
        worst = max(beside, key=lambda number: strokes[number])
        paths, strokes = np.delete(paths, worst, axis=0), np.delete(strokes, worst)
    return [Part(mask > 0, 0.0)]


def _longest(mask: np.ndarray) -> int:
    """Return the longer side of the box around a mask; 0 if it is empty."""
    return max(cv2.boundingRect(mask.astype(np.uint8))[2:])
