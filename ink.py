"""Tell ink from ground, whatever the light, the colours, and which of the two is brighter.

    colours -> one grey plane -> even light -> ground taken away -> share of full ink -> mask

Nothing here depends on how bright the paper is: ink is what differs from its surroundings and is
thin. Light and ground change slowly, so they are estimated on a small copy.

    >>> ink, dark_ink = find_ink(to_grey(picture.pixels))
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from errors import BlankImageError
from masks import inked_window
from pixels import DEVIATION, median, quantile, shrink

GROUND_SIDE = 96  # pixels; longer side of the copy that tells colours, light and ground
RIM_STEP = 3  # so many times fewer pixels of the rim tell the slope of the light as well
SAMPLE = 4_000  # pixels from which noise is judged
STROKE_WINDOW = 0.45  # of the shorter side; ink is never wider than this, shadows are
STRIP = 0.78  # of the longer side counts as the shorter one of a long strip

MIN_CONTRAST = 3 / 255  # nearly white ink on white is read; less is the rounding of one grey level
NOISE_FACTOR = 6.0  # ink has to stand out from the noise of the paper by so many deviations
# What stands out by less than this is blurred, as little as will do: noise becomes weaker by that,
# and ink hardly does. What noise is left has broad grains, and is told by how far the paper strays.
CLEAR_FACTOR, BLURRED_FACTOR = 10.0, 4.0
BLURS = (0.01, 0.015, 0.022)  # deviations of the blur, of the longer side
STRONG, WEAK = 0.42, 0.20  # of full ink: where ink surely is, and how far it then reaches
RIDGE = 1e-4 * np.eye(3, dtype=np.float32)  # keeps least squares solvable in one row or column


def to_grey(pixels: np.ndarray) -> np.ndarray:
    """Reduce colours to the one direction in which the picture varies most.

    Brightness alone would lose red ink on a ground of equally bright grey. For a picture without
    colour the direction is brightness.

    Parameters
    ----------
    pixels : ndarray of shape (height, width) or (height, width, 3), float32

    Returns
    -------
    ndarray of shape (height, width), float32
        Brighter is larger; the range is that of the picture's contrast, not 0..1.
    """
    if pixels.ndim == 2:
        return pixels
    channels = np.ascontiguousarray(shrink(pixels, GROUND_SIDE).reshape(-1, 3).T)
    channels -= np.array([[median(channel)] for channel in channels])
    direction = np.linalg.eigh(channels @ channels.T)[1][:, -1]
    if abs(direction.sum()) > 1e-6:
        direction = direction * np.sign(direction.sum())
    return cv2.transform(pixels, (direction / np.abs(direction).sum())[None])


def find_ink(grey: np.ndarray, *, window: float = STROKE_WINDOW) -> tuple[np.ndarray, bool]:
    """Tell ink from ground, whatever the light, the colour of the paper, and which is brighter.

    Parameters
    ----------
    grey : ndarray of shape (height, width), float32
    window : float, default=0.45
        Of the shorter side: what is wider is ground.

    Returns
    -------
    ink : ndarray of shape (height, width), float32
        From 0.0 (ground); 1.0 is full ink, but where there is much lighter ink besides, as on
        squared paper, the darkest has more.
    dark_ink : bool
        Whether ink is darker than the ground.

    Raises
    ------
    BlankImageError
        If nothing stands out from the ground.
    """
    small = shrink(grey, GROUND_SIDE)
    slope = _slope_of_light(small)
    even = small - slope
    dark_ink = is_ink_dark(even)
    sign = -1 if dark_ink else 1
    ground = slope + sign * estimate_ground(sign * even, window)
    ground = cv2.resize(ground, grey.shape[::-1], interpolation=cv2.INTER_LINEAR)
    height = np.subtract(ground, grey, out=ground) if dark_ink else np.subtract(grey, ground)
    height -= median(_sample(height))
    heights = _sample(height)
    grain = np.abs(heights - _sample(cv2.GaussianBlur(height, (0, 0), 1.5)))
    noise = DEVIATION * float(median(grain))
    full = full_ink(height)
    stands_out = full >= NOISE_FACTOR * noise
    # Coarse noise has little grain. It is told by what lies below the ground, where no ink is.
    coarse = DEVIATION * float(median(-heights[heights < 0])) if (heights < 0).any() else 0.0
    if full < CLEAR_FACTOR * max(noise, coarse):
        height, full, noise = _blur_noise(height)
        stands_out |= full >= BLURRED_FACTOR * noise
    if full < MIN_CONTRAST or not stands_out:
        raise BlankImageError
    height /= full
    return np.maximum(height, 0, out=height), dark_ink


def _blur_noise(height: np.ndarray) -> tuple[np.ndarray, float, float]:
    """Blur a noisy picture until its ink is clear; give it, its full ink, and the noise left."""
    for share in BLURS:
        blurred = cv2.GaussianBlur(height, (0, 0), share * max(height.shape))
        blurred -= median(_sample(blurred))
        full = full_ink(blurred)
        noise = DEVIATION * float(median(np.abs(_sample(blurred))))
        if full >= CLEAR_FACTOR * noise:
            break
    return blurred, full, noise


def ink_mask(ink: np.ndarray, *, weak: float = WEAK) -> np.ndarray:
    """Mark where there is ink: weak ink counts where it hangs together with strong ink.

    Parameters
    ----------
    ink : ndarray of shape (height, width), float32, 0.0..1.0
    weak : float, default=0.2
        Ink with less is ground.

    Returns
    -------
    ndarray of shape (height, width), uint8
        1 for ink, 0 for ground.
    """
    mask = (ink > weak).view(np.uint8)
    window = inked_window(mask)
    count, labels = cv2.connectedComponents(mask[window], connectivity=8)
    strong = np.zeros(count, np.uint8)
    strong[labels[ink[window] > max(STRONG, weak)]] = 1
    mask[window] = strong[labels]
    return mask


def full_ink(height: np.ndarray) -> float:
    """Estimate how far full ink stands out: what 60 % of all above half the peak do not exceed."""
    peak = float(height.max())
    if peak <= 0:
        return 0.0
    return float(quantile(height[height > 0.5 * peak], 0.6))


def is_ink_dark(grey: np.ndarray) -> bool:
    """Decide whether ink is darker or brighter than its ground.

    The ground is what the picture's rim shows, what covers more of the picture, and what has the
    widest open places; each has its say, because each alone is wrong for some picture: a digit
    that fills the frame, a thick marker, a dark bar along one edge.
    """
    low, high = float(grey.min()), float(grey.max())
    if high <= low:
        return True
    levels = np.rint((grey - low) * (255 / (high - low))).astype(np.uint8)
    _, bright = cv2.threshold(levels, 0, 1, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    rim = np.concatenate([bright[0], bright[-1], bright[1:-1, 0], bright[1:-1, -1]]).mean()
    openness = [_widest_place(side) for side in (bright, 1 - bright)]
    wide = openness[0] / sum(openness)
    return bool(2.0 * (rim - 0.5) + (bright.mean() - 0.5) + 1.5 * (wide - 0.5) > 0)


def _widest_place(region: np.ndarray) -> float:
    """Radius of the largest disc in a region, which may reach over the picture's rim."""
    grown = cv2.copyMakeBorder(region, 8, 8, 8, 8, cv2.BORDER_REPLICATE)
    return float(cv2.distanceTransform(grown, cv2.DIST_L2, 3).max())


def _slope_of_light(grey: np.ndarray) -> np.ndarray:
    """Fit a slope to the light on the picture's rim, leaving out what stands far from it.

    The rim is mostly ground. A curve, or a fit to the whole picture, follows a thick digit.
    """
    y, x, rim, points = _plane_terms(grey.shape)
    values = grey.take(rim)
    distance = np.abs(values - median(values))
    keep = distance <= quantile(distance, 0.7)
    for _ in range(2):
        kept = points[keep]
        slope = np.linalg.solve(kept.T @ kept + RIDGE, kept.T @ values[keep])
        distance = np.abs(values - points @ slope)
        keep = distance <= 3 * median(distance) + 1e-6
    return slope[0] + slope[1] * y + slope[2] * x


@lru_cache(maxsize=16)
def _plane_terms(shape: tuple[int, int]) -> tuple[np.ndarray, ...]:
    """Give y as a column, x as a row, pixels of the rim, and what a plane sums up there."""
    y, x = (((np.arange(side) + 0.5) / side - 0.5).astype(np.float32) for side in shape)
    y, x = y[:, None], x[None]
    rim = np.flatnonzero(np.maximum(np.abs(y), np.abs(x)) > 0.42)[::RIM_STEP]
    row, column = np.unravel_index(rim, shape)
    points = np.stack([np.ones(len(rim), np.float32), y[row, 0], x[0, column]], axis=1)
    return y, x, rim, points


def estimate_ground(bright: np.ndarray, window: float = STROKE_WINDOW) -> np.ndarray:
    """Estimate what the picture would be without its ink.

    Parameters
    ----------
    bright : ndarray of shape (height, width), float32
        A picture whose ink is brighter than its ground.
    window : float, default=0.45
        See `find_ink`.

    Returns
    -------
    ndarray of shape (height, width), float32
        The ground: whatever is brighter over less than the window is gone, while shadows and
        gradients, which are wider, remain.
    """
    side = int(window * max(min(bright.shape), STRIP * max(bright.shape))) | 1
    kernel = np.ones((side, side), np.uint8)
    return cv2.blur(cv2.morphologyEx(bright, cv2.MORPH_OPEN, kernel), (3, 3))


def _sample(plane: np.ndarray) -> np.ndarray:
    """Take every so many rows and columns of a large picture: enough to tell its median."""
    step = max(1, int(np.sqrt(plane.shape[0] * plane.shape[1] / SAMPLE)))
    return plane[::step, ::step]
