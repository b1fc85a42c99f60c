"""Turn a picture of one digit into the form that MNIST digits have.

    picture -> one grey plane -> ink on even ground -> printed lines gone -> the digit's own parts
            -> usual stroke width -> 20x20 box -> centred by mass on 28x28, white ink on black

Where what was found may be something else than a digit, the sheet is looked for on which the digit
is written (`sheet.py`), and the same is done with that alone; where there is none, dark ink on a
patch of colour; and where there is none of that, a shadow or a crease that was taken for ink.

Two numbers matter: the ink is scaled to fit a 20x20 box with its proportions kept, and its
centre of mass is then moved to the middle of a 28x28 field. `ink.py` finds the ink, and
`printed.py` takes away what was printed around the digit.

    >>> to_mnist("seven.png").shape
    (28, 28)

Source: LeCun, Cortes, Burges, "The MNIST database of handwritten digits".
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import cv2
import numpy as np

from components import choose_digit
from errors import BlankImageError
from ink import STROKE_WINDOW, WEAK, find_ink, full_ink, ink_mask, to_grey
from masks import bounding_box, find_parts, stroke_width
from picture import WORKING_SIDE, Picture, PictureSource, load_picture
from pixels import median, rescale, to_bytes
from printed import remove_boxes, remove_printed_lines, remove_rings
from ruling import remove_paper_lines
from sheet import cut_out, find_sheet
from signs import remove_brackets

FIELD = 28  # side of the result, pixels
BOX = 20  # the digit's longer side in it
# A picture is reduced to the first of these sides, in pixels, and looked at more closely if its
# digit turns out to be smaller than `LEGIBLE` there.
SIDES, LEGIBLE = (160, WORKING_SIDE, 2 * WORKING_SIDE), 32
WORKING_MIN = 112  # pixels; smaller pictures are enlarged to this, so that masks have smooth edges

# The look below a shadow: what is wider than this share of the picture is ground. What it finds
# has at most so much of the first one's box, and is so many times as dark as the rest of that was.
FINE_WINDOW, SMALLER, DARKER = 0.12, 0.6, 1.4
FIRM = 0.55  # of full ink; a crease has less
AROUND = 0.25  # of the firm ink's longer side; so far a crease goes on beyond it, on both sides
PATCH = 0.15  # of full colour, by which a patch has more or less of it than the picture's rim

FAINTEST = 0.5 / 255  # ink; what is less in all its pixels would be black in bytes
SOLID = 0.5  # of its box; what has so much ink may be a sheet

# Stroke widths at MNIST size (twice the area over the outline, in pixels of the 20x20 box) that
# the middle 98 % of the training pictures have; see `masks.stroke_width`.
THIN, THICK = 1.7, 4.9
# Which shares of full ink become 0 and 1. Of broad strokes only the core counts: blur widens them,
# and fills the loops and the open tops of coarse pictures.
FULL_RANGE, CORE_RANGE, BROAD = (0.1, 0.8), (0.3, 0.95), 3.0
FINE = 4  # the stroke width is changed at four times MNIST size


@dataclass(frozen=True)
class Prepared:
    """What became of a picture.

    Attributes
    ----------
    digit : ndarray of shape (28, 28), float32
        White ink (1.0) on black (0.0), as MNIST has it.
    width, height : int
        Of the picture as it came, upright, in pixels.
    box : tuple of four ints
        Left, top, right and bottom of the digit in the picture as it came, in pixels.
    dark_ink : bool
        Whether the ink was darker than its ground.
    others : int
        How many more things as large as a digit the picture shows.
    steps : tuple of (str, ndarray)
        The stages in order, each a title and a uint8 picture; empty unless asked for.
    """

    digit: np.ndarray = field(repr=False)
    width: int
    height: int
    box: tuple[int, int, int, int]
    dark_ink: bool
    others: int = 0
    steps: tuple[tuple[str, np.ndarray], ...] = field(default=(), repr=False)

    @classmethod
    def as_it_is(cls, digit: np.ndarray) -> Prepared:
        """Take a digit of 28x28 pixels that nobody has to clean or centre, as float32."""
        return cls(digit, FIELD, FIELD, (0, 0, FIELD, FIELD), dark_ink=False)

    def __reduce__(self) -> tuple[Callable[..., Prepared], tuple]:
        """Travel between processes as bytes, which takes a fraction of an array's time."""
        about = (self.width, self.height, self.box, self.dark_ink, self.others, self.steps)
        return _unpack, (self.digit.tobytes(), *about)


def _unpack(digit: bytes, *about: Any) -> Prepared:
    """Undo `Prepared.__reduce__`."""
    return Prepared(np.frombuffer(digit, np.float32).reshape(FIELD, FIELD).copy(), *about)


def to_mnist(source: PictureSource) -> np.ndarray:
    """Bring a picture of one digit to MNIST's form.

    Parameters
    ----------
    source : path, bytes, binary file, PIL image, ndarray or Tensor
        See `picture.open_picture`.

    Returns
    -------
    ndarray of shape (28, 28), float32
        White ink (1.0) on black (0.0).

    Raises
    ------
    ImageError
        If the picture cannot be read.
    BlankImageError
        If there is no ink in it.
    """
    return prepare(source).digit


def prepare(source: PictureSource, *, keep_steps: bool = False) -> Prepared:
    """Bring a picture to MNIST's form, and tell what was done.

    Parameters
    ----------
    source : path, bytes, binary file, PIL image, ndarray or Tensor
        See `picture.open_picture`.
    keep_steps : bool, default=False
        Whether to keep a picture of each stage.

    Raises
    ------
    ImageError
        If the picture cannot be read.
    BlankImageError
        If there is no ink in it.
    """
    look_at = load_picture(source, most=SIDES[-1])
    seen: Prepared | None = None
    side = SIDES[0]
    while True:
        picture = look_at(side)
        is_whole = max(picture.pixels.shape) >= max(picture.width, picture.height)
        try:
            seen = _look(picture, keep_steps=keep_steps)
        except BlankImageError:
            if seen is None and (is_whole or side >= WORKING_SIDE):
                raise
        closer = _choose_side(side, seen) if seen else WORKING_SIDE
        if seen and (is_whole or closer == side):
            return seen
        side = closer


def _choose_side(side: int, seen: Prepared) -> int:
    """Tell at how many pixels, never fewer, a digit should be looked at that was seen at `side`."""
    left, top, right, bottom = seen.box
    share = max(right - left, bottom - top) / max(seen.width, seen.height)
    is_cut_off = min(left, top) == 0 or right >= seen.width or bottom >= seen.height
    least = max(side, WORKING_SIDE) if is_cut_off else side  # it may be a shadow
    return next((each for each in SIDES if each >= least and each * share >= LEGIBLE), SIDES[-1])


def _look(picture: Picture, *, keep_steps: bool) -> Prepared:
    """Find the digit in a picture as it is now, and bring it to MNIST's form."""
    stages: list[tuple[str, np.ndarray]] = [("your picture", picture.pixels)]
    grey = to_grey(picture.pixels)
    digit = as_mnist_form(grey)
    if digit is not None:
        box = bounding_box((digit > 0).astype(np.uint8))
        dark_ink, others = bool(grey[0, 0] > 0.5), 0
    else:
        found, start = _find_anywhere(picture.pixels, grey)
        stages += found.stages
        left, top, right, bottom = found.box
        digit = centre_by_mass(scale_to_box(found.alone[top:bottom, left:right]))
        box = _measure_box(found, start, picture)
        dark_ink, others = found.dark_ink, found.others
    stages.append(("what the model sees", digit))
    return Prepared(
        digit=digit,
        width=picture.width,
        height=picture.height,
        box=box,
        dark_ink=dark_ink,
        others=others,
        steps=tuple((title, to_bytes(stage)) for title, stage in stages) if keep_steps else (),
    )


@dataclass(frozen=True)
class _Found:
    """A digit that was found in a plane.

    Attributes
    ----------
    alone : ndarray of shape (height, width), float32
        Its ink; the plane may have been enlarged.
    scale : tuple of two floats
        How much it was, across and down.
    box : tuple of four ints
        Of the digit, in pixels of `alone`.
    dark_ink, others
        See `Prepared`.
    is_doubtful : bool
        Whether it may be something else than a digit: see `_is_doubtful`.
    stages : tuple of (str, ndarray)
        What can be shown of the way to it.
    """

    alone: np.ndarray
    scale: tuple[float, float]
    box: tuple[int, int, int, int]
    dark_ink: bool
    others: int
    is_doubtful: bool
    stages: tuple[tuple[str, np.ndarray], ...]


def _find_anywhere(pixels: np.ndarray, grey: np.ndarray) -> tuple[_Found, tuple[int, int]]:
    """Find a digit in the whole picture, or on a sheet in it; and tell where that begins."""
    try:
        found = _find_digit(grey)
    except BlankImageError:
        found = None
    if found is None or found.is_doubtful:
        sheet = find_sheet(grey)
        if sheet is not None:
            page, start = cut_out(pixels, sheet)
            with contextlib.suppress(BlankImageError):  # then it is no sheet
                on_sheet = _find_digit(to_grey(page))
                return replace(on_sheet, stages=(("the sheet", page), *on_sheet.stages)), start
    if found is None:
        raise BlankImageError
    if found.is_doubtful and pixels.ndim == 3:
        on_colour = _look_through_colour(pixels)
        if on_colour is not None:
            return on_colour, (0, 0)
    if found.is_doubtful and max(grey.shape) > WORKING_MIN:
        return _look_below_shadow(grey, found), (0, 0)
    return found, (0, 0)


def _look_through_colour(pixels: np.ndarray) -> _Found | None:
    """Find dark ink on a patch of colour, such as a highlighter's bar or a note on white paper.

    What is as bright as the paper keeps at least one channel as it was; ink is darker in all three.
    """
    brightest = pixels.max(axis=2)
    try:
        found = _find_digit(brightest)
    except BlankImageError:
        return None
    if found.is_doubtful:
        found = _look_below_shadow(brightest, found)
    if found.is_doubtful or not found.dark_ink:
        return None
    # Where it stands on the colour of the rim, what made it doubtful may be another digit.
    colour = brightest - pixels.min(axis=2)
    inked = cv2.resize(found.alone, colour.shape[::-1]) > 0
    rim = np.concatenate([colour[0], colour[-1], colour[:, 0], colour[:, -1]])
    left, top, right, bottom = bounding_box(inked.astype(np.uint8))
    beside = colour[top:bottom, left:right][~inked[top:bottom, left:right]]
    is_patch = beside.size and abs(median(beside) - median(rim)) > PATCH
    return found if is_patch else None


def _look_below_shadow(grey: np.ndarray, found: _Found) -> _Found:
    """Find the digit again if a shadow was taken for a part of it: one that is darker by itself.

    A shadow is wider than ink. A crease is not, but it is faint all along, and so is the edge of a
    note.
    """
    looks = [{"window": FINE_WINDOW}]
    firm = bounding_box((found.alone > FIRM).view(np.uint8))
    if _box_size(firm) <= SMALLER * _box_size(found.box) and _reaches_around(found.box, firm):
        looks.append({"weak": FIRM})
    for options in looks:
        with contextlib.suppress(BlankImageError):
            again = _find_digit(grey, **options)
            if _is_darker_part(again, found):
                return again
    return found


def _reaches_around(outer: tuple[int, int, int, int], inner: tuple[int, int, int, int]) -> bool:
    """Whether a box reaches well beyond another one on two opposite sides, as a crease does.

    A part of the digit that is paler, since the pen ran dry, does not.
    """
    far = AROUND * max(inner[2] - inner[0], inner[3] - inner[1])
    left, top = inner[0] - outer[0], inner[1] - outer[1]
    right, bottom = outer[2] - inner[2], outer[3] - inner[3]
    return min(left, right) > far or min(top, bottom) > far


def _is_darker_part(again: _Found, found: _Found) -> bool:
    """Whether a second look shows one digit in what the first one found, darker than its rest."""
    if again.is_doubtful or _box_size(again.box) > SMALLER * _box_size(found.box):
        return False
    written, rest = again.alone > 0.5, (found.alone > 0) & (again.alone == 0)
    if not (written.any() and rest.any()):
        return False
    return median(found.alone[written]) > DARKER * median(found.alone[rest])


def _box_size(box: tuple[int, int, int, int]) -> int:
    """Give the area of a box."""
    left, top, right, bottom = box
    return (right - left) * (bottom - top)


def _find_digit(grey: np.ndarray, *, window: float = STROKE_WINDOW, weak: float = WEAK) -> _Found:
    """Find a digit that stands on a ground of its own."""
    plane = _enlarge(grey)
    ink, dark_ink = find_ink(plane, window=window)
    every_ink = ink
    ink, mask = remove_paper_lines(ink, ink_mask(ink, weak=weak))
    np.minimum(ink, 1, out=ink)
    every_mask = remove_boxes(remove_printed_lines(mask))
    mask, others = choose_digit(every_mask, ink)
    box = bounding_box(mask)
    is_doubtful = others > 0 or _is_doubtful(mask, box)
    if is_doubtful and len(find_parts(every_mask)[2]) > 2:
        mask, others = choose_digit(remove_rings(every_mask), ink)
        mask = remove_brackets(mask)
        box = bounding_box(mask)
        is_doubtful = others > 0 or _is_doubtful(mask, box)
    alone = _cut_out(ink, mask, box)
    return _Found(
        alone=alone,
        scale=(plane.shape[1] / grey.shape[1], plane.shape[0] / grey.shape[0]),
        box=box,
        dark_ink=dark_ink,
        others=others,
        is_doubtful=is_doubtful,
        stages=(("ink found", every_ink), ("the digit alone", alone)),
    )


def _is_doubtful(mask: np.ndarray, box: tuple[int, int, int, int]) -> bool:
    """Tell what may be a sheet, or more than a digit: solid, in parts, or cut off by the rim."""
    left, top, right, bottom = box
    height, width = mask.shape
    inside = mask[top:bottom, left:right]
    if min(left, top, width - right, height - bottom) <= 1 or inside.mean() > SOLID:
        return True
    return cv2.connectedComponents(inside, connectivity=8)[0] > 2


def _measure_box(
    found: _Found, start: tuple[int, int], picture: Picture
) -> tuple[int, int, int, int]:
    """Give the box of a digit in pixels of the picture as it came."""
    height, width = picture.pixels.shape[:2]
    shares = picture.width / width, picture.height / height
    left, top, right, bottom = (
        # Rounded, so that the rounding of the arithmetic does not cost a pixel.
        round((edge / found.scale[axis] + start[axis]) * shares[axis], 6)
        for edge, axis in zip(found.box, (0, 1, 0, 1), strict=True)
    )
    return int(left), int(top), math.ceil(right), math.ceil(bottom)


def _cut_out(ink: np.ndarray, mask: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
    """Keep the ink of a mask and of the pixels next to it; nothing of it lies outside the box."""
    left, top, right, bottom = box
    window = slice(max(top - 1, 0), bottom + 1), slice(max(left - 1, 0), right + 1)
    near = cv2.dilate(mask[window], np.ones((3, 3), np.uint8))
    alone = np.zeros_like(ink)
    np.copyto(alone[window], ink[window], where=near > 0)
    return alone


def as_mnist_form(grey: np.ndarray) -> np.ndarray | None:
    """Recognise a picture that has MNIST's form already, which is best left as it is.

    Parameters
    ----------
    grey : ndarray of shape (height, width), float32, 0.0..1.0

    Returns
    -------
    ndarray of shape (28, 28), float32, or None
        White ink on black, if the picture is 28x28 on perfectly even ground, its ink fits the
        20x20 box on the longer side, is centred by mass, and is not too faint for bytes.
    """
    if grey.shape != (FIELD, FIELD):
        return None
    ground = grey[0, 0]
    if ground not in (0, 1):
        return None
    digit = grey if ground == 0 else 1 - grey
    if digit.max() < FAINTEST:
        return None  # no more ink than a picture that is blank in any other form
    left, top, right, bottom = bounding_box((digit > 0).view(np.uint8))
    if min(left, top) == 0 or max(right, bottom) == FIELD:
        return None
    if max(right - left, bottom - top) not in (BOX - 1, BOX):
        return None
    mass = cv2.moments(digit)
    across, down = mass["m10"] / mass["m00"], mass["m01"] / mass["m00"]
    is_centred = abs(across - 14) < 1.5 and abs(down - 14) < 1.5
    return np.ascontiguousarray(digit) if is_centred else None


def _enlarge(grey: np.ndarray) -> np.ndarray:
    """Bring small pictures to working size, so that masks have smooth edges."""
    scale = WORKING_MIN / max(grey.shape)
    return grey if scale <= 1 else rescale(grey, scale)


def scale_to_box(ink: np.ndarray) -> np.ndarray:
    """Scale a digit's ink so that its longer side is 20 pixels, with strokes of usual width.

    Parameters
    ----------
    ink : ndarray of shape (height, width), float32, 0.0..1.0
        Cut out tightly.

    Returns
    -------
    ndarray of at most (20, 20), float32, 0.0..1.0
    """
    share = rescale(ink, FINE * BOX / max(ink.shape))
    share = share / full_ink(share)
    fine = _stretch(share, *FULL_RANGE)
    if _mnist_stroke_width(fine) > BROAD:
        fine = _stretch(share, *CORE_RANGE)
    width = _mnist_stroke_width(fine)
    fine = cv2.copyMakeBorder(fine, FINE, FINE, FINE, FINE, cv2.BORDER_CONSTANT)
    if width < THIN:
        fine = cv2.dilate(fine, _disc((THIN - width) * FINE))
    elif width > THICK:
        fine = cv2.erode(fine, _disc((width - THICK) * FINE))
    left, top, right, bottom = bounding_box((fine > WEAK).astype(np.uint8))
    tight = fine[top:bottom, left:right]
    return np.clip(rescale(tight, BOX / max(tight.shape)), 0, 1)


def _stretch(share: np.ndarray, low: float, high: float) -> np.ndarray:
    """Map shares of full ink from low..high to 0..1."""
    return np.clip((share - low) / (high - low), 0, 1)


def _mnist_stroke_width(fine: np.ndarray) -> float:
    """Estimate the stroke width in pixels of the 20x20 box."""
    return stroke_width((fine > 0.5).astype(np.uint8)) / FINE


def _disc(diameter: float) -> np.ndarray:
    """Build a round kernel that widens a stroke by `diameter` pixels."""
    size = round(diameter) + 1
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))


def centre_by_mass(digit: np.ndarray) -> np.ndarray:
    """Place a digit on a 28x28 field with its centre of mass in the middle.

    Parameters
    ----------
    digit : ndarray of at most (28, 28), float32
        Ink from 0.0 to 1.0.

    Returns
    -------
    ndarray of shape (28, 28), float32
        The same ink moved by whole pixels; no value is changed.

    Raises
    ------
    BlankImageError
        If there is no ink, and so no centre of mass.
    """
    if not digit.any():
        raise BlankImageError
    height, width = digit.shape
    # Not `cv2.moments`, which takes whatever is two pixels wide for a list of points.
    mass = float(digit.sum())
    top = FIELD // 2 - round(float(digit.sum(axis=1) @ np.arange(height)) / mass)
    left = FIELD // 2 - round(float(digit.sum(axis=0) @ np.arange(width)) / mass)
    # A long tail can ask for a place outside the field: whole ink beats exact centre.
    top, left = np.clip([top, left], 0, [FIELD - height, FIELD - width])
    field_of_ink = np.zeros((FIELD, FIELD), np.float32)
    field_of_ink[top : top + height, left : left + width] = digit
    return field_of_ink
