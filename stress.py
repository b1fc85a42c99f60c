"""Make reading harder step by step: MNIST's digits in other forms, and with growing damage.

    digit 28x28 -> one of `FORMS`: the bytes of a picture file, as somebody might send it
    digit 28x28 -> one of `DAMAGES` at strength 1 to 5 -> a field of 56x56, the digit in the middle
    digit 28x28 -> `spoil` with any amount of several `Damages` at once -> the same

The forms change nothing that a person would notice, so a reader has to read all of them equally
well. The damages end where people begin to guess.

    >>> rng = np.random.default_rng(0)
    >>> [damage(np.zeros((28, 28), np.uint8), "blur", strength, rng).shape for strength in (1, 5)]
    [(56, 56), (56, 56)]

Everything random comes from the NumPy generator that the caller passes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from errors import SettingsError
from pixels import to_bytes

FIELD = 28  # side of MNIST's pictures, pixels
FRAME = 280  # side of the enlarged forms, pixels
SHEET = (480, 640)  # height and width of a photograph from far away, pixels
STRENGTHS = (1, 2, 3, 4, 5)
PICTURE_SCALE = 3  # a damaged field is shown so many times as large

_Maker = Callable[[np.ndarray, np.random.Generator], bytes]
_Damage = Callable[[np.ndarray, float, np.random.Generator], np.ndarray]


# --- forms: the same digit in another file ------------------------------------------------------


def as_file(digit: np.ndarray, form: str, rng: np.random.Generator) -> bytes:
    """Write a digit as a picture file of one of the forms in which people keep digits.

    Parameters
    ----------
    digit : ndarray of shape (28, 28), uint8
        White ink (255) on black (0).
    form : str
        One of `FORMS`.
    rng : numpy.random.Generator
        Chooses where a smaller digit lies, and the light of a photograph.

    Returns
    -------
    bytes
        A PNG or JPEG file.

    Raises
    ------
    SettingsError
        If there is no such form.
    """
    if form not in _FORMS:
        raise SettingsError(f"unknown form {form!r}; choose from {', '.join(_FORMS)}")
    return _FORMS[form](digit, rng)


def _png(pixels: np.ndarray) -> bytes:
    """Encode a picture, (height, width) grey or (height, width, 4) with blue first."""
    return bytes(cv2.imencode(".png", pixels)[1])


def _enlarge(digit: np.ndarray, side: int) -> np.ndarray:
    return cv2.resize(digit, (side, side), interpolation=cv2.INTER_CUBIC)


def _off_centre(digit: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Lay the digit, half as large as the frame, anywhere in it."""
    frame = np.zeros((FRAME, FRAME), np.uint8)
    top, left = rng.integers(0, FRAME // 2 + 1, 2).tolist()
    frame[top : top + FRAME // 2, left : left + FRAME // 2] = _enlarge(digit, FRAME // 2)
    return frame


def _transparent(digit: np.ndarray, rng: np.random.Generator) -> bytes:
    """Write black ink that exists only where the picture is not transparent."""
    alpha = _enlarge(digit, FRAME)
    return _png(np.dstack([np.zeros((FRAME, FRAME, 3), np.uint8), alpha]))


def _far_away(digit: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Lay the digit anywhere on a large sheet, a tenth as high as that."""
    height, width = SHEET
    sheet = np.zeros(SHEET, np.uint8)
    side = height // 7  # of MNIST's field, of which the digit fills two thirds
    top, left = int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1))
    sheet[top : top + side, left : left + side] = _enlarge(digit, side)
    return sheet


def _photograph(drawing: np.ndarray, rng: np.random.Generator) -> bytes:
    """Photograph dark ink on grey paper under a lamp at one side, with the camera's noise."""
    ink = drawing.astype(np.float32) / 255
    rows, columns = np.indices(ink.shape, dtype=np.float32) / len(ink) - 0.5
    angle = rng.uniform(0, 2 * np.pi)
    paper = rng.uniform(0.55, 0.75) + 0.15 * (np.sin(angle) * rows + np.cos(angle) * columns)
    picture = paper * (1 - rng.uniform(0.6, 0.85) * ink)
    picture = cv2.GaussianBlur(picture, (0, 0), 1.0)
    picture += rng.normal(0, 0.015, picture.shape)
    pixels = (picture.clip(0, 1) * 255).astype(np.uint8)
    return bytes(cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 80])[1])


_FORMS: dict[str, _Maker] = {
    "as they are": lambda digit, rng: _png(digit),
    "inverted": lambda digit, rng: _png(255 - digit),
    "enlarged to 280": lambda digit, rng: _png(_enlarge(digit, FRAME)),
    "half size, off centre": lambda digit, rng: _png(_off_centre(digit, rng)),
    "half size, off centre, inverted": lambda digit, rng: _png(255 - _off_centre(digit, rng)),
    "transparent PNG": _transparent,
    "JPEG photo on grey paper": lambda digit, rng: _photograph(_enlarge(digit, FRAME), rng),
    "JPEG photo from far away": lambda digit, rng: _photograph(_far_away(digit, rng), rng),
}
FORMS: tuple[str, ...] = tuple(_FORMS)
"""The forms that `as_file` knows."""


# --- damages: the same digit, harder to read ----------------------------------------------------


def damage(digit: np.ndarray, kind: str, strength: int, rng: np.random.Generator) -> np.ndarray:
    """Spoil a digit.

    Parameters
    ----------
    digit : ndarray of shape (28, 28), uint8
        White ink (255) on black (0).
    kind : str
        One of `DAMAGES`.
    strength : int
        1 (hardly seen) to 5 (people begin to guess).
    rng : numpy.random.Generator
        Chooses the grain of noise, directions and places.

    Returns
    -------
    ndarray of shape (56, 56), float32
        0.0 to 1.0, white ink on black; the digit lies in the middle, unless it was shifted.

    Raises
    ------
    SettingsError
        If there is no such kind or strength.
    """
    if kind not in DAMAGES or strength not in STRENGTHS:
        raise SettingsError(
            f"no damage {kind!r} of strength {strength}: choose from {', '.join(DAMAGES)}, 1 to 5"
        )
    change, amounts, _ = _DAMAGES[kind]
    # With paper around the digit nothing has to be cut off when it moves.
    field = np.pad(digit, FIELD // 2)
    spoiled = change(field.astype(np.float32) / 255, amounts[strength - 1], rng)
    return np.clip(spoiled, 0, 1).astype(np.float32)


@dataclass(frozen=True)
class Damages:
    """What `spoil` does to a digit; as it stands here, nothing.

    Attributes
    ----------
    noise : float
        Standard deviation of normal noise; full ink is 1.
    blur : float
        Standard deviation in pixels of 28.
    rotation : float
        Degrees, clockwise.
    right, down : float
        Pixels of 28.
    contrast : float
        What is left of full ink, 0.0 to 1.0.
    """

    noise: float = 0.0
    blur: float = 0.0
    rotation: float = 0.0
    right: float = 0.0
    down: float = 0.0
    contrast: float = 1.0


def spoil(digit: np.ndarray, damages: Damages, rng: np.random.Generator) -> np.ndarray:
    """Spoil a digit in several ways at once, as pen, paper and camera would: in that order.

    Parameters
    ----------
    digit : ndarray of shape (28, 28), float
        White ink (1.0) on black (0.0).
    damages : Damages
    rng : numpy.random.Generator
        Chooses the grain of the noise; the same grain for the same seed, whatever its strength.

    Returns
    -------
    ndarray of shape (56, 56), float32
        0.0 to 1.0, white ink on black.
    """
    field = np.pad(digit.astype(np.float32), FIELD // 2)
    if damages.rotation or damages.right or damages.down:
        field = _move(field, -damages.rotation, damages.right, damages.down)
    if damages.blur > 0:
        field = _blur(field, damages.blur, rng)
    field = _noise(field * damages.contrast, damages.noise, rng)
    return np.clip(field, 0, 1).astype(np.float32)


def middle(field: np.ndarray) -> np.ndarray:
    """Cut out the 28x28 pixels where an unspoiled digit lies, as a network sees them."""
    return np.ascontiguousarray(field[FIELD // 2 : -FIELD // 2, FIELD // 2 : -FIELD // 2])


def as_picture(field: np.ndarray) -> bytes:
    """Write a field of `damage` as a PNG of 168x168 pixels, dark ink on white."""
    pixels = to_bytes(1 - field)
    return _png(_enlarge(pixels, PICTURE_SCALE * len(field)))


def _noise(field: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    return field + rng.normal(0, sigma, field.shape)


def _blur(field: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    return cv2.GaussianBlur(field, (0, 0), sigma)


def _shift(field: np.ndarray, pixels: float, rng: np.random.Generator) -> np.ndarray:
    """Move the digit in any direction."""
    angle = rng.uniform(0, 2 * np.pi)
    return _move(field, 0, pixels * np.cos(angle), pixels * np.sin(angle))


def _rotate(field: np.ndarray, degrees: float, rng: np.random.Generator) -> np.ndarray:
    """Turn the digit to the left or to the right."""
    return _move(field, degrees * rng.choice((-1, 1)), 0, 0)


def _move(field: np.ndarray, degrees: float, right: float, down: float) -> np.ndarray:
    """Turn a field counter-clockwise about its middle, then shift it."""
    centre = (len(field) - 1) / 2
    moved = cv2.getRotationMatrix2D((centre, centre), degrees, 1.0)
    moved[:, 2] += np.array([right, down])
    return cv2.warpAffine(field, moved, field.shape[::-1])


def _fade(field: np.ndarray, contrast: float, rng: np.random.Generator) -> np.ndarray:
    return field * contrast


def _hide(field: np.ndarray, side: float, rng: np.random.Generator) -> np.ndarray:
    """Cover a square of the digit's own 20x20 pixels with paper."""
    top, left = rng.uniform(18, 38 - side, 2).astype(int).tolist()
    hidden = field.copy()
    hidden[top : top + int(side), left : left + int(side)] = 0
    return hidden


# What is done, how much of it at strengths 1 to 5, and in which unit.
_DAMAGES: dict[str, tuple[_Damage, tuple[float, ...], str]] = {
    "noise": (_noise, (0.1, 0.2, 0.3, 0.4, 0.5), "standard deviation, full ink is 1"),
    "blur": (_blur, (0.5, 1.0, 1.5, 2.0, 2.5), "standard deviation in pixels of 28"),
    "shift": (_shift, (1, 2, 4, 6, 8), "pixels of 28"),
    "rotation": (_rotate, (10, 20, 30, 40, 50), "degrees"),
    "contrast": (_fade, (0.6, 0.4, 0.2, 0.1, 0.05), "of full ink"),
    "occlusion": (_hide, (3, 5, 7, 9, 11), "side of the hidden square in pixels of 28"),
}
DAMAGES: dict[str, tuple[tuple[float, ...], str]] = {
    kind: (amounts, unit) for kind, (_, amounts, unit) in _DAMAGES.items()
}
"""The kinds of damage that `damage` knows: amounts at strengths 1 to 5, and their unit."""
