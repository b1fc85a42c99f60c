"""Arrays in, coloured pixels out: heat over a digit, signed weights, many small maps in one.

Unlike the figures of `plots.py` these have no axes and no text; a page shows them as they are.
Black stands for nothing, so that they look alike on light and dark pages.

    >>> colour_heat(np.ones((28, 28)) / 2).shape
    (28, 28, 3)
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from pixels import to_bytes

FOR, AGAINST = (255, 150, 40), (70, 150, 255)  # red, green, blue: orange and blue
GAP = (128, 132, 140)  # between tiles; seen on light and on dark ground
FAINT = 0.35  # how much of a digit is seen where nothing is said about it


def colour_heat(values: np.ndarray) -> np.ndarray:
    """Give values from 0.0 to 1.0 the colours of Inferno, from black over red to yellow.

    Parameters
    ----------
    values : ndarray of shape (height, width), float

    Returns
    -------
    ndarray of shape (height, width, 3), uint8
        Red, green, blue.
    """
    heat = cv2.applyColorMap(to_bytes(values), cv2.COLORMAP_INFERNO)
    return cv2.cvtColor(heat, cv2.COLOR_BGR2RGB)


def colour_signs(values: np.ndarray, limit: float | None = None) -> np.ndarray:
    """Give values above zero the colour `FOR`, those below zero `AGAINST`, and zero black.

    Parameters
    ----------
    values : ndarray of shape (height, width), float
    limit : float, optional
        The size that gets the full colour; by default the largest that occurs.

    Returns
    -------
    ndarray of shape (height, width, 3), uint8
    """
    limit = float(np.abs(values).max()) if limit is None else limit
    strength = np.clip(np.abs(values) / limit, 0, 1) if limit > 0 else np.zeros_like(values)
    colour = np.where(values[..., None] > 0, FOR, AGAINST)  # (height, width, 3)
    return np.rint(strength[..., None] * colour).astype(np.uint8)


def lay_over(digit: np.ndarray, colours: np.ndarray, strength: np.ndarray) -> np.ndarray:
    """Show a faint digit, and colours over it where there is something to say.

    Parameters
    ----------
    digit : ndarray of shape (height, width), float
        Ink from 0.0 to 1.0.
    colours : ndarray of shape (height, width, 3), uint8
    strength : ndarray of shape (height, width), float
        From 0.0 (only the digit) to 1.0 (only the colour).

    Returns
    -------
    ndarray of shape (height, width, 3), uint8
    """
    ground = np.repeat(np.clip(digit, 0, 1)[..., None] * 255 * FAINT, 3, axis=2)
    share = np.clip(strength, 0, 1)[..., None]
    return np.rint((1 - share) * ground + share * colours).astype(np.uint8)


def enlarge(pixels: np.ndarray, side: int, *, smooth: bool = False) -> np.ndarray:
    """Scale a picture to `side` pixels, as squares or smoothly."""
    how = cv2.INTER_CUBIC if smooth else cv2.INTER_NEAREST
    return cv2.resize(pixels, (side, side), interpolation=how)


def lay_out(tiles: Sequence[np.ndarray], columns: int, *, gap: int = 1) -> np.ndarray:
    """Put pictures of one size side by side, in rows.

    Parameters
    ----------
    tiles : sequence of ndarrays of shape (height, width, 3), uint8
        At least one.
    columns : int
    gap : int, default=1
        Pixels between them and around them.

    Returns
    -------
    ndarray of shape (rows * (height + gap) + gap, columns * (width + gap) + gap, 3), uint8
    """
    columns = min(columns, len(tiles))
    height, width = tiles[0].shape[:2]
    rows = -(-len(tiles) // columns)
    sheet = np.empty((rows * (height + gap) + gap, columns * (width + gap) + gap, 3), np.uint8)
    sheet[:] = GAP
    for place, tile in enumerate(tiles):
        top = gap + place // columns * (height + gap)
        left = gap + place % columns * (width + gap)
        sheet[top : top + height, left : left + width] = tile
    return sheet
