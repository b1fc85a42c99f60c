"""Turn a picture of one digit into the form that MNIST digits have.

    picture -> one grey plane -> ink on even ground -> printed lines gone -> the digit's own parts
            -> usual stroke width -> 20x20 box -> centred by mass on 28x28, white ink on black

Two numbers matter: the ink is scaled to fit a 20x20 box with its proportions kept, and its
centre of mass is then moved to the middle of a 28x28 field. Nothing here depends on how bright
the paper is: ink is what differs from its surroundings and is thin.

    >>> to_mnist("seven.png").shape
    (28, 28)

Source: LeCun, Cortes, Burges, "The MNIST database of handwritten digits".
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

import cv2
import numpy as np

from errors import BlankImageError
from picture import PictureSource, open_picture

FIELD = 28  # side of the result, pixels
BOX = 20  # the digit's longer side in it
WORKING_MIN = 112  # pixels; smaller pictures are enlarged to this, so that masks have smooth edges
GROUND_SIDE = 96  # pixels; light and ground change slowly, so a small copy tells them
SAMPLE = 16_000  # pixels from which colours and noise are judged
STROKE_WINDOW = 0.45  # of the shorter side; ink is never wider than this, shadows are

MIN_CONTRAST = 3 / 255  # nearly white ink on white is read; less is the rounding of one grey level
NOISE_FACTOR = 6.0  # ink has to stand out from the noise of the paper by so many deviations
TINY = 1e-4 * np.eye(3, dtype=np.float32)
STRONG, WEAK = 0.42, 0.20  # of full ink: where ink surely is, and how far it then reaches

LINE_LEAN = 0.03  # height over length of a line that is not quite level, 1.7 degrees
LINE_SPAN = 0.92  # of the frame: what runs through all of it is printed, not written
FRAME_SIDE = 0.3  # of the frame's shorter side; a drawn box is at least as large
FRAME_SIDE_PX = 12  # pixels; in less there is no room for a digit
FRAME_BAND = 0.09  # of the box's shorter side; its lines lie so close to its bounding box
FRAME_COVER = 0.9  # of each side that has to have ink
SMALLEST_DIGIT = 0.12  # of the frame's shorter side; what is left of lines is smaller
SPECK = 0.06  # of the digit's longer side: smaller parts are dirt
SMALL_PART, SMALL_PART_GAP = 0.25, 0.04  # of the same; torn strokes, but not captions
LINE_SLIMNESS = 0.08  # width over length below which a component is a line
JOIN_GAP = 0.30  # of the digit's longer side: parts farther away belong to something else

# Stroke widths at MNIST size (twice the area over the outline, in pixels of the 20x20 box) that
# the middle 98 % of the training pictures have; see `stroke_width`.
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

    digit: np.ndarray
    width: int
    height: int
    box: tuple[int, int, int, int]
    dark_ink: bool
    others: int = 0
    steps: tuple[tuple[str, np.ndarray], ...] = field(default=(), repr=False)


def to_mnist(source: PictureSource) -> np.ndarray:
    """Bring a picture of one digit to MNIST's form.

    Parameters
    ----------
    source : path, bytes, PIL image, ndarray or Tensor
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
    source : path, bytes, PIL image, ndarray or Tensor
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
    picture = open_picture(source)
    stages: list[tuple[str, np.ndarray]] = [("your picture", picture.pixels)]
    grey = to_grey(picture.pixels)
    digit = as_mnist_form(grey)
    if digit is not None:
        box = bounding_box((digit > 0).astype(np.uint8))
        dark_ink, others = bool(grey[0, 0] > 0.5), 0
    else:
        grey = _enlarge(grey)
        ink, dark_ink = find_ink(grey)
        stages.append(("ink found", ink))
        mask, others = choose_digit(remove_boxes(remove_printed_lines(ink_mask(ink))))
        left, top, right, bottom = bounding_box(mask)
        ink = _cut_out(ink, mask, (left, top, right, bottom))
        stages.append(("the digit alone", ink))
        digit = centre_by_mass(scale_to_box(ink[top:bottom, left:right]))
        across, down = picture.width / grey.shape[1], picture.height / grey.shape[0]
        box = (
            int(left * across),
            int(top * down),
            int(np.ceil(right * across)),
            int(np.ceil(bottom * down)),
        )
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


def _cut_out(ink: np.ndarray, mask: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
    """Keep the ink of a mask and of the pixels next to it; nothing of it lies outside the box."""
    left, top, right, bottom = box
    window = slice(max(top - 1, 0), bottom + 1), slice(max(left - 1, 0), right + 1)
    near = cv2.dilate(mask[window], np.ones((3, 3), np.uint8))
    alone = np.zeros_like(ink)
    np.copyto(alone[window], ink[window], where=near > 0)
    return alone


def to_bytes(values: np.ndarray) -> np.ndarray:
    """Turn 0.0..1.0 into uint8 for showing."""
    return np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)


def as_mnist_form(grey: np.ndarray) -> np.ndarray | None:
    """Recognise a picture that has MNIST's form already, which is best left as it is.

    Parameters
    ----------
    grey : ndarray of shape (height, width), float32, 0.0..1.0

    Returns
    -------
    ndarray of shape (28, 28), float32, or None
        White ink on black, if the picture is 28x28 on perfectly even ground, its ink fits the
        20x20 box on the longer side, and is centred by mass.
    """
    if grey.shape != (FIELD, FIELD):
        return None
    ground = grey[0, 0]
    if ground not in (0, 1):
        return None
    digit = grey if ground == 0 else 1 - grey
    if digit[0].any() or digit[-1].any() or digit[:, 0].any() or digit[:, -1].any():
        return None
    left, top, right, bottom = bounding_box((digit > 0).view(np.uint8))
    if max(right - left, bottom - top) not in (BOX - 1, BOX):
        return None
    mass = cv2.moments(digit)
    across, down = mass["m10"] / mass["m00"], mass["m01"] / mass["m00"]
    is_centred = abs(across - 14) < 1.5 and abs(down - 14) < 1.5
    return np.ascontiguousarray(digit) if is_centred else None


def _enlarge(grey: np.ndarray) -> np.ndarray:
    """Bring small pictures to working size, so that masks have smooth edges."""
    scale = WORKING_MIN / max(grey.shape)
    if scale <= 1:
        return grey
    size = (max(1, round(grey.shape[1] * scale)), max(1, round(grey.shape[0] * scale)))
    return cv2.resize(grey, size, interpolation=cv2.INTER_LINEAR)


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
    sample = _sample(pixels).reshape(-1, 3)
    sample = sample - [median(channel) for channel in sample.T]
    direction = np.linalg.eigh(sample.T @ sample)[1][:, -1]
    if abs(direction.sum()) > 1e-6:
        direction = direction * np.sign(direction.sum())
    return cv2.transform(pixels, (direction / np.abs(direction).sum())[None])


def median(values: np.ndarray) -> np.float32:
    """Do what `np.median` does, for finite float32 of any shape, several times as fast."""
    return quantile(values, 0.5)


def quantile(values: np.ndarray, share: float) -> np.float32:
    """Do what `np.quantile` does, for finite float32 of any shape, several times as fast.

    NumPy's own looks for NaN too, and only partly sorts the values. That takes far longer than
    sorting them all where most are equal, as on the even ground of a drawing.
    """
    ordered = np.sort(values, axis=None)
    place = (ordered.size - 1) * share
    low = int(place)
    below, above = ordered[low], ordered[min(low + 1, ordered.size - 1)]
    return below + (above - below) * np.float32(place - low)


def find_ink(grey: np.ndarray) -> tuple[np.ndarray, bool]:
    """Tell ink from ground, whatever the light, the colour of the paper, and which is brighter.

    Parameters
    ----------
    grey : ndarray of shape (height, width), float32

    Returns
    -------
    ink : ndarray of shape (height, width), float32
        From 0.0 (ground) to 1.0 (full ink).
    dark_ink : bool
        Whether ink is darker than the ground.

    Raises
    ------
    BlankImageError
        If nothing stands out from the ground.
    """
    small = _shrink(grey, GROUND_SIDE)
    slope = _slope_of_light(small)
    even = small - slope
    dark_ink = is_ink_dark(even)
    ground = slope - estimate_ground(-even) if dark_ink else slope + estimate_ground(even)
    ground = cv2.resize(ground, grey.shape[::-1], interpolation=cv2.INTER_LINEAR)
    height = np.subtract(ground, grey, out=ground) if dark_ink else np.subtract(grey, ground)
    height -= median(_sample(height))
    grain = np.abs(_sample(height) - _sample(cv2.GaussianBlur(height, (0, 0), 1.5)))
    noise = 1.4826 * float(median(grain))
    full = full_ink(height)
    if full < max(MIN_CONTRAST, NOISE_FACTOR * noise):
        raise BlankImageError("the picture is blank: draw a digit, or raise the contrast")
    height /= full
    return np.clip(height, 0, 1, out=height), dark_ink


def _sample(plane: np.ndarray) -> np.ndarray:
    """Take every so many rows and columns of a large picture: enough to tell its median."""
    step = max(1, int(np.sqrt(plane.shape[0] * plane.shape[1] / SAMPLE)))
    return plane[::step, ::step]


def full_ink(height: np.ndarray) -> float:
    """Estimate how far full ink stands out: the upper quartile of what is above half the peak."""
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
    levels = to_bytes((grey - low) / (high - low))
    _, bright = cv2.threshold(levels, 0, 1, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    rim = np.concatenate([bright[0], bright[-1], bright[1:-1, 0], bright[1:-1, -1]]).mean()
    openness = [_widest_place(side) for side in (bright, 1 - bright)]
    wide = openness[0] / max(sum(openness), 1e-6)
    return bool(2.0 * (rim - 0.5) + (bright.mean() - 0.5) + 1.5 * (wide - 0.5) > 0)


def _slope_of_light(grey: np.ndarray) -> np.ndarray:
    """Fit a slope to the light on the picture's rim, leaving out what stands far from it.

    The rim is mostly ground. A curve, or a fit to the whole picture, follows a thick digit.
    """
    everywhere, rim, points = _plane_terms(grey.shape)
    values = grey[rim]
    distance = np.abs(values - median(values))
    keep = distance <= quantile(distance, 0.7)
    for _ in range(2):
        kept = points[keep]
        # Least squares; the small addend helps where all points lie in one row or column.
        slope = np.linalg.solve(kept.T @ kept + TINY, kept.T @ values[keep])
        distance = np.abs(values - points @ slope)
        keep = distance <= 3 * median(distance) + 1e-6
    return everywhere @ slope


@lru_cache(maxsize=16)
def _plane_terms(shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """List what a plane sums up (1, y, x) for each pixel, which are the rim, and those alone."""
    y, x = (((np.arange(side) + 0.5) / side - 0.5).astype(np.float32) for side in shape)
    terms = np.stack([np.ones(shape, np.float32), *np.meshgrid(y, x, indexing="ij")], axis=2)
    rim = np.abs(terms[..., 1:]).max(axis=2) > 0.42
    return terms, rim, terms[rim]


def _widest_place(region: np.ndarray) -> float:
    """Radius of the largest disc in a region, which may reach over the picture's rim."""
    grown = cv2.copyMakeBorder(region, 8, 8, 8, 8, cv2.BORDER_REPLICATE)
    return float(cv2.distanceTransform(grown, cv2.DIST_L2, 3).max())


def _shrink(grey: np.ndarray, side: int) -> np.ndarray:
    """Reduce a plane to at most `side` pixels on its longer side."""
    scale = side / max(grey.shape)
    if scale >= 1:
        return grey
    size = (max(1, round(grey.shape[1] * scale)), max(1, round(grey.shape[0] * scale)))
    return cv2.resize(grey, size, interpolation=cv2.INTER_AREA)


def estimate_ground(bright: np.ndarray) -> np.ndarray:
    """Estimate what the picture would be without its ink.

    Parameters
    ----------
    bright : ndarray of shape (height, width), float32
        A picture whose ink is brighter than its ground.

    Returns
    -------
    ndarray of shape (height, width), float32
        The ground: whatever is brighter over less than `STROKE_WINDOW` of the picture is gone,
        while shadows and gradients, which are wider, remain.
    """
    window = max(STROKE_WINDOW * min(bright.shape), 0.35 * max(bright.shape))
    kernel = np.ones((int(window) | 1, int(window) | 1), np.uint8)
    return cv2.blur(cv2.morphologyEx(bright, cv2.MORPH_OPEN, kernel), (3, 3))


def ink_mask(ink: np.ndarray) -> np.ndarray:
    """Mark where there is ink: weak ink counts where it hangs together with strong ink.

    Parameters
    ----------
    ink : ndarray of shape (height, width), float32, 0.0..1.0

    Returns
    -------
    ndarray of shape (height, width), uint8
        1 for ink, 0 for ground.
    """
    mask = (ink > WEAK).view(np.uint8)
    window = _window(mask)
    count, labels = cv2.connectedComponents(mask[window], connectivity=8)
    strong = np.zeros(count, np.uint8)
    strong[labels[ink[window] > STRONG]] = 1
    strong[0] = 0
    mask[window] = strong[labels]
    return mask


def _window(mask: np.ndarray) -> tuple[slice, slice]:
    """Frame what is not zero: most of a photograph is ground, which need not be looked at.

    It begins at even places, because the labels of connected parts are numbered by 2x2 blocks.
    """
    left, top, right, bottom = bounding_box(mask)
    return slice(top & ~1, max(bottom, 1)), slice(left & ~1, max(right, 1))


def _find_parts(
    mask: np.ndarray,
) -> tuple[tuple[slice, slice], np.ndarray, np.ndarray, np.ndarray]:
    """Find connected ink: the window with all of it, labels there, stats and centres of the whole.

    Stats and centres are those that `cv2.connectedComponentsWithStats` gives for the whole mask,
    but for the ground (label 0).
    """
    window = _window(mask)
    _, labels, stats, centres = cv2.connectedComponentsWithStats(mask[window], connectivity=8)
    top, left = window[0].start, window[1].start
    stats[:, :2] += left, top
    area = np.maximum(stats[:, cv2.CC_STAT_AREA, None], 1)  # no ground: a window full of ink
    # From the sums of the coordinates, which are whole numbers, as OpenCV does it.
    centres = (np.rint(centres * area) + area * (left, top)) / area
    return window, labels, stats, centres


def remove_printed_lines(mask: np.ndarray) -> np.ndarray:
    """Take away ruled lines and the sides of boxes, and leave the strokes that cross them.

    A line is printed if it is straight, runs through the whole frame, and either touches no
    other ink or reaches beyond it at both ends: the stem of a 4 or the bar of a 7 that was cut
    out tightly does neither.

    Parameters
    ----------
    mask : ndarray of shape (height, width), uint8, 0 or 1

    Returns
    -------
    ndarray of shape (height, width), uint8, 0 or 1
    """
    height, width = mask.shape
    left, top, right, bottom = bounding_box(mask)
    lines = []
    # Most pictures have no ink at two opposite edges: then there is nothing to look for.
    if _runs_through(left, right - left, width):
        lines += [(line, False) for line in _lines_through(mask)]
    if _runs_through(top, bottom - top, height):
        lines += [(line.T, True) for line in _lines_through(mask.T)]
    while lines:
        rest = mask.copy()
        for line, _ in lines:
            rest[line > 0] = 0
        rest = _drop_small(rest)
        printed = [pair for pair in lines if _is_printed(pair[0], rest, vertical=pair[1])]
        if len(printed) == len(lines):
            break
        lines = printed  # what is not printed is ink, which the others may touch
    if not lines or not rest.any():
        return mask
    result, gone = mask.copy(), np.zeros_like(mask)
    for line, is_vertical in lines:
        thickness = int(np.ceil(line.sum() / max(line.shape[is_vertical ^ 1], 1))) + 2
        reach = 2 * thickness + 1
        bridge = np.ones((1, reach) if is_vertical else (reach, 1), np.uint8)
        crossing = cv2.morphologyEx(rest, cv2.MORPH_CLOSE, bridge) & line
        result[(line > 0) & (crossing == 0)] = 0
        gone |= line
    # The ragged edge of a line is not ink either.
    beside = cv2.dilate(gone, np.ones((5, 5), np.uint8)) & result
    ragged = result & (1 - _drop_small(result))
    _, labels = cv2.connectedComponents(ragged, connectivity=8)
    result[np.isin(labels, np.unique(labels[beside > 0])) & (ragged > 0)] = 0
    return result


def _lines_through(mask: np.ndarray) -> list[np.ndarray]:
    """Find the straight, nearly level lines that run through the whole width of a mask."""
    height, width = mask.shape
    # A line that leans leaves its row; a dilation by a few pixels keeps it whole.
    lean = max(1, round(LINE_LEAN * width))
    thick = cv2.dilate(mask, np.ones((lean, 1), np.uint8))
    runs = cv2.morphologyEx(thick, cv2.MORPH_OPEN, np.ones((1, max(3, width // 3)), np.uint8))
    if not runs.any():
        return []
    count, labels, stats, _ = cv2.connectedComponentsWithStats(runs, connectivity=8)
    lines = []
    for label in range(1, count):
        left, _, run, tall, _ = stats[label]
        if _runs_through(left, run, width) and tall <= max(4, 0.16 * height):
            lines.append(((labels == label) & (mask > 0)).astype(np.uint8))
    return lines


def _runs_through(start: int, run: int, length: int) -> bool:
    """Whether something reaches from one side of the frame to the other."""
    return start <= (1 - LINE_SPAN) * length and start + run >= LINE_SPAN * length


def _drop_small(mask: np.ndarray) -> np.ndarray:
    """Drop connected ink that is too small to be a digit by itself."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    longest = stats[:, [cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT]].max(axis=1)
    large = longest > SMALLEST_DIGIT * min(mask.shape)
    large[0] = False
    return large[labels].astype(np.uint8)


def _is_printed(line: np.ndarray, rest: np.ndarray, *, vertical: bool) -> bool:
    """Whether a line through the frame is printed; see `remove_printed_lines`."""
    near = cv2.dilate(line, np.ones((5, 5), np.uint8))
    _, labels = cv2.connectedComponents(rest, connectivity=8)
    touching = np.unique(labels[(near > 0) & (rest > 0)])
    if not touching.size:
        return True
    along = np.flatnonzero(np.isin(labels, touching).any(axis=int(not vertical) ^ 1))
    length = line.shape[0 if vertical else 1]
    margin = 0.08 * length
    return bool(along[0] >= margin and along[-1] < length - margin)


def remove_boxes(mask: np.ndarray) -> np.ndarray:
    """Take away frames drawn around the digit, whole or cut off by the picture's rim.

    A frame is a component with straight ink along at least two sides of its bounding box, and
    with something inside that is large enough to be a digit. If the two touch, all four sides
    have to be there, and the inside must not reach from side to side: the middle bar of a
    calculator's 8 does.

    Parameters
    ----------
    mask : ndarray of shape (height, width), uint8, 0 or 1

    Returns
    -------
    ndarray of shape (height, width), uint8, 0 or 1
    """
    whole, labels, stats, _ = _find_parts(mask)
    result = mask.copy()
    for label in range(1, len(stats)):
        left, top, wide, tall, _ = stats[label]
        if min(wide, tall) < max(FRAME_SIDE * min(mask.shape), FRAME_SIDE_PX):
            continue
        window = (slice(top, top + tall), slice(left, left + wide))
        down, across = top - whole[0].start, left - whole[1].start
        part = (labels[down : down + tall, across : across + wide] == label).astype(np.uint8)
        sides = _inked_sides(part)
        if sides >= 2 and _drop_small(mask[window] & (1 - part)).any():
            result[window][part > 0] = 0
        elif sides == 4:
            core, band = _inside(part)
            ends = core[band], core[-band - 1], core[:, band], core[:, -band - 1]
            above, below, before, after = (bool(end.any()) for end in ends)
            if core.any() and not (above and below) and not (before and after):
                result[window] *= core
    return result


def _inked_sides(part: np.ndarray) -> int:
    """Count the sides of its bounding box along which a component has ink nearly everywhere."""
    band = max(2, round(FRAME_BAND * min(part.shape)))
    sides = (part[:band], part[-band:], part[:, :band].T, part[:, -band:].T)
    return sum(bool(side.any(axis=0).mean() >= FRAME_COVER) for side in sides)


def _inside(part: np.ndarray) -> tuple[np.ndarray, int]:
    """Keep what a component has inside its rim, if that is large enough to be a digit."""
    band = max(2, round(FRAME_BAND * min(part.shape)))
    inside = np.zeros_like(part)
    inside[band:-band, band:-band] = part[band:-band, band:-band]
    return _drop_small(inside), band


def choose_digit(mask: np.ndarray) -> tuple[np.ndarray, int]:
    """Keep the parts of one digit: the best component, and what belongs to it.

    Parameters
    ----------
    mask : ndarray of shape (height, width), uint8, 0 or 1

    Returns
    -------
    mask : ndarray of shape (height, width), uint8
        Only the digit.
    others : int
        How many components of similar size were left out.

    Raises
    ------
    BlankImageError
        If there is no component at all.
    """
    window, labels, stats, centres = _find_parts(mask)
    count = len(stats)
    if count == 1:
        raise BlankImageError("the picture is blank: draw a digit, or raise the contrast")
    if count == 2:
        return mask, 0
    height, width = mask.shape
    left, top, wide, tall = stats[1:, :4].astype(float).T
    area = stats[1:, cv2.CC_STAT_AREA].astype(float)
    right, bottom = left + wide, top + tall
    longest = np.maximum(wide, tall)
    at_rim = (left <= 1) | (top <= 1) | (right >= width - 1) | (bottom >= height - 1)
    # A thin straight thing that runs into the rim is the side of a box or a ruled line.
    is_line = at_rim & (np.minimum(wide, tall) < LINE_SLIMNESS * longest)
    is_line &= longest > 0.35 * min(width, height)
    off_centre = np.hypot(centres[1:, 0] / width - 0.5, centres[1:, 1] / height - 0.5)
    # Size decides; being in the middle helps; being cut off by the rim counts against.
    score = longest * np.sqrt(area) * (1.2 - off_centre)
    score *= np.where(is_line, 0.1, np.where(at_rim, 0.35, 1.0))
    main = int(score.argmax())

    size = longest[main]
    worthy = (longest > SPECK * size) & (area > 0.004 * area[main]) & ~is_line
    # What the rim cuts off is rather a part of a neighbour.
    reach = JOIN_GAP * size * np.where(at_rim & ~at_rim[main], 0.3, 1.0)
    small = longest < SMALL_PART * size
    keep = np.arange(count - 1) == main
    for _ in range(3):  # a part may hang on a part
        keep |= worthy & ~small & (_gaps(left, top, right, bottom, keep) <= reach)
    # Small parts do not reach for others, or a line of print would be drawn in letter by letter.
    near = _gaps(left, top, right, bottom, keep) <= SMALL_PART_GAP * size
    keep |= worthy & small & near
    others = int((~keep & ~at_rim & (longest > 0.55 * size)).sum())
    result = np.zeros_like(mask)
    result[window] = np.concatenate([[False], keep])[labels]
    return result, others


def _gaps(
    left: np.ndarray, top: np.ndarray, right: np.ndarray, bottom: np.ndarray, kept: np.ndarray
) -> np.ndarray:
    """Distance of each box from the box around all those that are kept, pixels."""
    across = np.maximum(left - right[kept].max(), left[kept].min() - right)
    down = np.maximum(top - bottom[kept].max(), top[kept].min() - bottom)
    return np.hypot(np.maximum(across, 0), np.maximum(down, 0))


def bounding_box(mask: np.ndarray) -> tuple[int, int, int, int]:
    """Left, top, right and bottom (the last two outside) of what is not zero."""
    left, top, wide, tall = cv2.boundingRect(mask)
    return left, top, left + wide, top + tall


def stroke_width(mask: np.ndarray) -> float:
    """Estimate the width of the strokes: twice the area over the length of the outline, pixels."""
    contours, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    outline = sum(cv2.arcLength(contour, True) for contour in contours)
    return 2 * float(mask.sum()) / max(outline, 1.0)


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
    share = _resize(ink, FINE * BOX)
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
    return np.clip(_resize(fine[top:bottom, left:right], BOX), 0, 1)


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


def _resize(ink: np.ndarray, side: int) -> np.ndarray:
    """Scale so that the longer side is `side` pixels."""
    scale = side / max(ink.shape)
    size = (max(1, round(ink.shape[1] * scale)), max(1, round(ink.shape[0] * scale)))
    return cv2.resize(ink, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)


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
        raise BlankImageError("the picture is blank: draw a digit, or raise the contrast")
    height, width = digit.shape
    mass = cv2.moments(digit)
    top = FIELD // 2 - round(mass["m01"] / mass["m00"])
    left = FIELD // 2 - round(mass["m10"] / mass["m00"])
    # A long tail can ask for a place outside the field: whole ink beats exact centre.
    top, left = np.clip([top, left], 0, [FIELD - height, FIELD - width])
    field_of_ink = np.zeros((FIELD, FIELD), np.float32)
    field_of_ink[top : top + height, left : left + width] = digit
    return field_of_ink
