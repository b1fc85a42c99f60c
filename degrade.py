"""Turn clean ink into what a camera or a scanner makes of it.

    ink -> layout -> paper and print -> light -> camera -> picture

A reader that was trained on clean scans fails on strangers' photos for a handful of reasons:
shadows, dark paper, printed lines, glare, blur, JPEG blocks. Each of them is one small function
here with a name in `EFFECTS`, so that training can mix them, a test can ask for one alone, and
an ablation can leave one out.

    >>> ink = np.zeros((64, 64), np.uint8)
    >>> ink[12:52, 30:34] = 255
    >>> photograph(ink, np.random.default_rng(0), effects=["shadow", "jpeg"]).shape
    (64, 64)

Everything random comes from the NumPy generator that the caller passes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import cv2
import numpy as np

from errors import SettingsError

Colour = float | np.ndarray  # grey 0..1, or three numbers of that kind: red, green, blue


@dataclass
class _Scene:
    """What lies before the camera. All values are from 0.0 (black) to 1.0 (white)."""

    ink: np.ndarray  # (height, width) float32, how much of a pixel the pen covers
    movable: bool  # may an effect move the ink or write beside it?
    paper: Colour = 0.97
    pen: Colour = 0.1
    printing: Colour = 0.45
    printed: np.ndarray | None = None  # (height, width) float32, what printed lines cover
    grain: np.ndarray | None = None  # (height, width) float32, added to the paper
    light: np.ndarray | float = 1.0  # multiplies what is seen
    glare: np.ndarray | None = None  # (height, width) float32, share of white light on top
    size: float = field(init=False)  # of the digit's frame before any effect, in pixels

    def __post_init__(self) -> None:
        self.size = float(min(self.ink.shape))

    def print_on(self, mask: np.ndarray) -> None:
        """Add printed lines, given as uint8."""
        mask = mask.astype(np.float32) / 255
        self.printed = mask if self.printed is None else np.maximum(self.printed, mask)

    def is_dark(self) -> bool:
        """Tell whether the paper is darker than the pen, as on a blackboard."""
        return float(np.mean(self.paper)) < float(np.mean(self.pen))

    def look(self) -> np.ndarray:
        """Return what can be seen: (height, width) float32, or with a third axis for colour."""
        colours = [np.asarray(c, np.float32) for c in (self.paper, self.printing, self.pen)]
        deep = any(colour.ndim for colour in colours)

        def spread(layer: np.ndarray) -> np.ndarray:
            return layer[:, :, None] if deep else layer

        picture = np.empty(self.ink.shape + ((3,) if deep else ()), np.float32)
        picture[:] = colours[0]
        if self.grain is not None:
            picture += spread(self.grain)
        if self.printed is not None:
            picture += spread(self.printed) * (colours[1] - picture)
        picture += spread(self.ink) * (colours[2] - picture)
        if isinstance(self.light, np.ndarray):
            picture *= spread(self.light)
        if self.glare is not None:
            picture += spread(self.glare) * (1 - picture)
        return picture


# ------------------------------------------------------------------------------------------------
# Layout: where the ink lies in the picture
# ------------------------------------------------------------------------------------------------


def _pad(scene: _Scene, top: int, bottom: int, left: int, right: int) -> None:
    """Add paper around the ink; printed lines run on."""
    around = (top, bottom, left, right)
    scene.ink = cv2.copyMakeBorder(scene.ink, *around, cv2.BORDER_CONSTANT, value=0.0)
    if scene.printed is not None:
        scene.printed = cv2.copyMakeBorder(scene.printed, *around, cv2.BORDER_REPLICATE)


def _blank(scene: _Scene) -> np.ndarray:
    """Return an empty mask of the scene's shape, uint8."""
    return np.zeros(scene.ink.shape, np.uint8)


def _ink_box(scene: _Scene) -> tuple[int, int, int, int]:
    """Return (left, top, right, bottom) of the ink, or of the whole picture if there is none."""
    mask = (scene.ink > 0.15).astype(np.uint8)
    left, top, width, height = cv2.boundingRect(mask)
    if not width:
        return 0, 0, scene.ink.shape[1], scene.ink.shape[0]
    return left, top, left + width, top + height


def _small(scene: _Scene, rng: np.random.Generator, amount: float) -> None:
    """Leave much empty paper around the digit, more on some sides than on others."""
    room = 1.2 * amount * scene.size
    top, bottom, left, right = (rng.uniform(0.1, 1.0, 4) * room).astype(int).tolist()
    _pad(scene, top, bottom, left, right)


def _at_the_edge(scene: _Scene, rng: np.random.Generator, amount: float) -> None:
    """Cut the picture so that the digit touches one edge, or loses a little there."""
    left, top, right, bottom = _ink_box(scene)
    inside = round(0.04 * amount * scene.size * rng.random())
    side = int(rng.integers(4))
    rows, columns = [0, scene.ink.shape[0]], [0, scene.ink.shape[1]]
    if side == 0:
        rows[0] = top + inside
    elif side == 1:
        rows[1] = bottom - inside
    elif side == 2:
        columns[0] = left + inside
    else:
        columns[1] = right - inside
    if rows[1] - rows[0] >= 8 and columns[1] - columns[0] >= 8:
        scene.ink = np.ascontiguousarray(scene.ink[rows[0] : rows[1], columns[0] : columns[1]])


def _neighbour(scene: _Scene, rng: np.random.Generator, amount: float) -> None:
    """Let a part of other writing reach in at the left or the right edge."""
    # Any ink will do: the digit itself, turned upside down, seldom looks like itself.
    part = scene.ink[::-1, ::-1]
    left, _, right, _ = _ink_box(scene)
    width = max(3, int(0.14 * amount * scene.size * rng.uniform(0.5, 1.0)))
    start = int(rng.uniform(left, max(left + 1, right - width)))
    mirrored = scene.ink.shape[1] - start - width
    strip = part[:, max(0, mirrored) : max(0, mirrored) + width]
    gap = int(0.08 * scene.size)
    height, total = scene.ink.shape
    if rng.random() < 0.5:
        _pad(scene, 0, 0, 0, max(0, right + gap + width - total))
        scene.ink[:height, -strip.shape[1] :] = strip
    else:
        _pad(scene, 0, 0, max(0, width + gap - left), 0)
        scene.ink[:height, : strip.shape[1]] = strip


def _caption(scene: _Scene, rng: np.random.Generator, amount: float) -> None:
    """Print a small line of text above or below the digit."""
    text = "".join(rng.choice(list("acemnorsuvwx "), int(rng.integers(4, 12))))
    tall = max(6, int(0.14 * scene.size))
    above = rng.random() < 0.5
    room = tall + int(rng.uniform(0.02, 0.1) * scene.size)
    _pad(scene, room if above else 0, 0 if above else room, 0, 0)
    mask = _blank(scene)
    place = (int(rng.uniform(0, 0.3) * scene.size), tall if above else mask.shape[0] - 2)
    cv2.putText(
        mask, text, place, cv2.FONT_HERSHEY_SIMPLEX, tall / 30, 255, 1, lineType=cv2.LINE_AA
    )
    scene.print_on(mask)


# ------------------------------------------------------------------------------------------------
# Paper and pen
# ------------------------------------------------------------------------------------------------


def _grey_paper(scene: _Scene, rng: np.random.Generator, amount: float) -> None:
    """Take recycled paper, or underexpose white paper, and a pen that is not black."""
    paper = 1.0 - 0.4 * amount * rng.uniform(0.3, 1.0)
    scene.paper, scene.pen = paper, paper * rng.uniform(0.08, 0.55)
    scene.printing = paper * rng.uniform(0.3, 0.8)


def _dark_paper(scene: _Scene, rng: np.random.Generator, amount: float) -> None:
    """Make the paper darker than mid-grey, the pen still darker."""
    paper = 0.5 - 0.25 * amount * rng.random()
    scene.paper, scene.pen = paper, paper * rng.uniform(0.05, 0.45)
    scene.printing = paper * rng.uniform(0.3, 0.75)


def _faint_ink(scene: _Scene, rng: np.random.Generator, amount: float) -> None:
    """Write with a hard pencil, or a pen that is nearly empty."""
    paper = float(np.mean(scene.paper))
    contrast = 0.35 - 0.25 * amount * rng.uniform(0.3, 1.0)
    scene.pen = paper + contrast if scene.is_dark() else paper * (1 - contrast)
    # The lines of a form are then as faint as the rest, or nobody could read it.
    scene.printing = paper + (scene.pen - paper) * rng.uniform(0.3, 0.9)


def _blackboard(scene: _Scene, rng: np.random.Generator, amount: float) -> None:
    """Write with chalk on a dark board, or with light on a screen."""
    paper = rng.uniform(0.0, 0.35) * amount
    scene.paper, scene.pen = paper, paper + (1 - paper) * rng.uniform(0.55, 1.0)
    scene.printing = paper + (scene.pen - paper) * rng.uniform(0.15, 0.6)


def _hue(rng: np.random.Generator, saturation: float, value: float) -> np.ndarray:
    """Return a colour of any hue, red, green and blue from 0 to 1."""
    wheel = np.clip(np.abs((rng.random() * 6 + np.array([0.0, 4.0, 2.0])) % 6 - 3) - 1, 0, 1)
    return value * (1 - saturation * (1 - wheel))


_LUMA = np.array([0.299, 0.587, 0.114])  # how bright the primaries look (ITU-R BT.601)


def _coloured(scene: _Scene, rng: np.random.Generator, amount: float) -> None:
    """Write with a coloured pen on coloured paper; the two differ in brightness too."""
    dark = scene.is_dark()
    for _ in range(20):
        paper = _hue(rng, 0.7 * amount * rng.random(), rng.uniform(0.5, 1.0))
        pen = _hue(rng, rng.uniform(0.4, 1.0), rng.uniform(0.1, 0.8))
        if (paper - pen) @ _LUMA > 0.28:
            break
    else:
        paper, pen = np.array([1.0, 0.97, 0.85]), np.array([0.1, 0.15, 0.6])
    scene.paper, scene.pen = (pen, paper) if dark else (paper, pen)
    scene.printing = scene.paper + (scene.pen - scene.paper) * rng.uniform(0.2, 0.7)


def _whiteboard(scene: _Scene, rng: np.random.Generator, amount: float) -> None:
    """Write with a marker on a whiteboard that was wiped badly, under a lamp."""
    scene.paper = np.clip(rng.uniform(0.75, 0.97) + rng.normal(0, 0.02, 3), 0, 1)
    markers = ((0.1, 0.1, 0.12), (0.1, 0.15, 0.6), (0.75, 0.1, 0.12), (0.05, 0.45, 0.2))
    scene.pen = np.array(markers[int(rng.integers(4))]) + rng.uniform(0, 0.15)
    scene.printing = scene.paper * 0.8
    height, width = scene.ink.shape
    smear = np.zeros((height, width), np.uint8)
    for _ in range(int(rng.integers(1, 4))):
        start, end = (rng.random((2, 2)) * (width, height)).astype(int).tolist()
        cv2.line(smear, start, end, int(60 * amount), max(2, int(0.12 * scene.size)), cv2.LINE_AA)
    scene.print_on(cv2.blur(smear, (9, 9)))


def _texture(scene: _Scene, rng: np.random.Generator, amount: float) -> None:
    """Show the fibres and clouds of the paper."""
    height, width = scene.ink.shape
    clouds = rng.random((7, 7), dtype=np.float32) - 0.5
    fine = rng.random((height // 2 + 1, width // 2 + 1), dtype=np.float32) - 0.5
    grain = 0.10 * amount * cv2.resize(clouds, (width, height), interpolation=cv2.INTER_CUBIC)
    grain += 0.12 * amount * rng.random() * cv2.resize(fine, (width, height))
    scene.grain = grain * float(np.mean(scene.paper))


def _specks(scene: _Scene, rng: np.random.Generator, amount: float) -> None:
    """Scatter dust and small ink drops."""
    mask = _blank(scene)
    for _ in range(1 + int(12 * amount * rng.random())):
        place = (rng.random(2) * scene.ink.shape[::-1]).astype(int).tolist()
        radius = int(scene.size * rng.uniform(0.04, 0.3))  # sixteenths of a pixel
        centre = (place[0] * 16, place[1] * 16)
        cv2.circle(mask, centre, radius, 255, -1, cv2.LINE_AA, 4)
    scene.ink = np.maximum(scene.ink, mask.astype(np.float32) * (rng.uniform(0.3, 1.0) / 255))


# ------------------------------------------------------------------------------------------------
# Print: lines that are no ink
# ------------------------------------------------------------------------------------------------


def _line_width(scene: _Scene, rng: np.random.Generator, amount: float) -> int:
    return max(1, round(scene.size * 0.03 * amount * rng.random()))


def _ruled(scene: _Scene, rng: np.random.Generator, amount: float) -> None:
    """Rule the paper, sometimes only under the digit."""
    mask = _blank(scene)
    height, width = mask.shape
    thick, tilt = _line_width(scene, rng, amount), int(rng.normal(0, 0.02) * width)
    step = max(8.0, rng.uniform(0.25, 0.8) * scene.size)
    first = rng.uniform(0.0, 1.0) * step
    places = [_ink_box(scene)[3]] if rng.random() < 0.2 else np.arange(first, height, step)
    for place in places:
        cv2.line(mask, (0, int(place)), (width, int(place) + tilt), 255, thick, cv2.LINE_AA)
    scene.print_on(mask)


def _grid(scene: _Scene, rng: np.random.Generator, amount: float) -> None:
    """Square the paper as in an arithmetic book."""
    mask = _blank(scene)
    height, width = mask.shape
    thick, tilt = _line_width(scene, rng, 0.5 * amount), rng.normal(0, 0.02)
    step = max(8.0, rng.uniform(0.14, 0.5) * scene.size)
    for place in np.arange(rng.random() * step, height, step).astype(int).tolist():
        end = (width, int(place + tilt * width))
        cv2.line(mask, (0, place), end, 255, thick, cv2.LINE_AA)
    for place in np.arange(rng.random() * step, width, step).astype(int).tolist():
        end = (int(place - tilt * height), height)
        cv2.line(mask, (place, 0), end, 255, thick, cv2.LINE_AA)
    scene.print_on(mask)


def _box(scene: _Scene, rng: np.random.Generator, amount: float) -> None:
    """Print the cell of a form around the digit, which may stick out of it."""
    if scene.movable:
        room = max(2, int(0.12 * scene.size))
        _pad(scene, room, room, room, room)
    mask = _blank(scene)
    left, top, right, bottom = _ink_box(scene)
    distances = rng.uniform(-0.03 * amount, 0.16, 4) * scene.size
    left, top = int(left - distances[0]), int(top - distances[1])
    right, bottom = int(right + distances[2]), int(bottom + distances[3])
    thick = max(1, _line_width(scene, rng, 1.3 * amount))
    tilt = rng.normal(0, 0.012) * np.array([bottom - top, right - left])
    a, b = int(tilt[0]), int(tilt[1])
    corners = np.array(
        [[left + a, top], [right + a, top + b], [right, bottom + b], [left, bottom]], np.int32
    )
    cv2.polylines(mask, [corners], True, 255, thick, cv2.LINE_AA)
    if rng.random() < 0.4:  # a comb of cells
        cv2.line(mask, (0, top), (mask.shape[1], top + b), 255, thick, cv2.LINE_AA)
        cv2.line(mask, (0, bottom), (mask.shape[1], bottom + b), 255, thick, cv2.LINE_AA)
    if rng.random() < 0.35:  # forms are often printed in full black
        scene.printing = scene.pen
    scene.print_on(mask)


# ------------------------------------------------------------------------------------------------
# Light
# ------------------------------------------------------------------------------------------------


def _ramp(scene: _Scene, rng: np.random.Generator) -> np.ndarray:
    """Return distances along a random direction, from about -0.5 to 0.5 across the picture."""
    height, width = scene.ink.shape
    angle = rng.uniform(0, 2 * np.pi)
    rows = np.linspace(-0.5, 0.5, height, dtype=np.float32) * np.float32(np.sin(angle))
    columns = np.linspace(-0.5, 0.5, width, dtype=np.float32) * np.float32(np.cos(angle))
    return rows[:, None] + columns[None, :]


def _gradient(scene: _Scene, rng: np.random.Generator, amount: float) -> None:
    """Light the paper from one side."""
    scene.light = scene.light * (1 - 0.65 * amount * (_ramp(scene, rng) + 0.5).clip(0, 1))


def _shadow(scene: _Scene, rng: np.random.Generator, amount: float) -> None:
    """Let a hand or a telephone cast a shadow with a soft or a sharp edge."""
    distance = (_ramp(scene, rng) + rng.uniform(-0.25, 0.25)) / rng.uniform(0.01, 0.2)
    depth = 0.6 * amount * rng.uniform(0.4, 1.0)
    scene.light = scene.light * (1 - depth / (1 + np.exp(np.clip(4 * distance, -30, 30))))


def _vignette(scene: _Scene, rng: np.random.Generator, amount: float) -> None:
    """Darken the corners as a cheap lens does."""
    height, width = scene.ink.shape
    rows = np.linspace(-1, 1, height, dtype=np.float32)[:, None] ** 2
    columns = np.linspace(-1, 1, width, dtype=np.float32)[None, :] ** 2
    scene.light = scene.light * (1 - 0.3 * amount * rng.uniform(0.4, 1.0) * (rows + columns))


def _glare(scene: _Scene, rng: np.random.Generator, amount: float) -> None:
    """Reflect a lamp: a bright stripe or spot that washes the ink out but leaves a trace."""
    ramp = (_ramp(scene, rng) - rng.uniform(-0.3, 0.3)) / rng.uniform(0.04, 0.2)
    if rng.random() < 0.4:
        ramp = np.hypot(ramp, (_ramp(scene, rng) - rng.uniform(-0.3, 0.3)) / 0.2)
    scene.glare = 0.7 * amount * np.exp(-(ramp**2))


# ------------------------------------------------------------------------------------------------
# Camera: these change the picture, (height, width) or (height, width, 3) float32 of 0..1
# ------------------------------------------------------------------------------------------------


def _edge_bar(picture: np.ndarray, rng: np.random.Generator, amount: float) -> np.ndarray:
    """Show the scanner's lid or the table at one edge, in two pictures of ten at two."""
    picture = picture.copy()
    for _ in range(1 + int(rng.random() < 0.2)):
        turned = np.rot90(picture, int(rng.integers(4)))  # a view: writing to it writes below
        wide = max(1, int(0.08 * amount * rng.uniform(0.3, 1.0) * len(turned)))
        turned[:wide] = rng.uniform(0.0, 0.75)
    return picture


def _low_resolution(picture: np.ndarray, rng: np.random.Generator, amount: float) -> np.ndarray:
    """Shrink the picture and enlarge it again; in three pictures of ten it stays small."""
    height, width = picture.shape[:2]
    # Below 20 pixels even people guess.
    scale = max(20 / min(height, width), 1 - 0.65 * amount * rng.uniform(0.4, 1.0))
    if scale >= 1:
        return picture
    small = cv2.resize(
        picture, (round(scale * width), round(scale * height)), interpolation=cv2.INTER_AREA
    )
    if rng.random() < 0.3:
        return small
    how = cv2.INTER_NEAREST if rng.random() < 0.2 else cv2.INTER_LINEAR
    return cv2.resize(small, (width, height), interpolation=how)


def _blur(picture: np.ndarray, rng: np.random.Generator, amount: float) -> np.ndarray:
    """Miss the focus."""
    sigma = 0.022 * amount * rng.uniform(0.3, 1.0) * min(picture.shape[:2])
    return cv2.GaussianBlur(picture, (0, 0), max(0.3, sigma))


def _motion(picture: np.ndarray, rng: np.random.Generator, amount: float) -> np.ndarray:
    """Shake the camera."""
    reach = max(3, int(0.08 * amount * rng.uniform(0.4, 1.0) * min(picture.shape[:2]))) | 1
    kernel = np.zeros((reach, reach), np.float32)
    angle, middle = rng.uniform(0, np.pi), reach // 2
    step = (round(middle * np.cos(angle)), round(middle * np.sin(angle)))
    cv2.line(
        kernel, (middle - step[0], middle - step[1]), (middle + step[0], middle + step[1]), 1.0
    )
    return cv2.filter2D(picture, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REPLICATE)


def _noise(picture: np.ndarray, rng: np.random.Generator, amount: float) -> np.ndarray:
    """Expose too short. Bright places are noisier, as light comes in grains."""
    brightness = 0.3 + 0.7 * float(picture.mean())
    sigma = np.float32(0.07 * brightness * amount * rng.uniform(0.2, 1.0))
    return picture + sigma * rng.standard_normal(picture.shape, dtype=np.float32)


def _jpeg(picture: np.ndarray, rng: np.random.Generator, amount: float) -> np.ndarray:
    """Save it as a JPEG of poor quality."""
    quality = int(75 - 60 * amount * rng.uniform(0.3, 1.0))
    pixels = _to_bytes(picture)
    encoded = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, max(10, quality)])[1]
    how = cv2.IMREAD_GRAYSCALE if picture.ndim == 2 else cv2.IMREAD_COLOR
    decoded = cv2.imdecode(encoded, how)
    assert decoded is not None  # we encoded it ourselves
    return decoded.astype(np.float32) / 255


def _to_bytes(picture: np.ndarray) -> np.ndarray:
    return (np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8)


# ------------------------------------------------------------------------------------------------
# All together
# ------------------------------------------------------------------------------------------------

# In the order in which they happen, with how often a picture of strength 1.0 has them.
_SceneEffect = Callable[[_Scene, np.random.Generator, float], None]
_CameraEffect = Callable[[np.ndarray, np.random.Generator, float], np.ndarray]

_SCENE: dict[str, tuple[_SceneEffect, float]] = {
    "small": (_small, 0.30),
    "at the edge": (_at_the_edge, 0.06),
    "grey paper": (_grey_paper, 0.35),
    "dark paper": (_dark_paper, 0.12),
    "blackboard": (_blackboard, 0.16),
    "whiteboard": (_whiteboard, 0.06),
    "coloured": (_coloured, 0.08),
    "faint ink": (_faint_ink, 0.06),
    "box": (_box, 0.14),
    "ruled": (_ruled, 0.10),
    "grid": (_grid, 0.07),
    "neighbour": (_neighbour, 0.06),
    "caption": (_caption, 0.03),
    "specks": (_specks, 0.10),
    "texture": (_texture, 0.35),
    "gradient": (_gradient, 0.30),
    "shadow": (_shadow, 0.22),
    "vignette": (_vignette, 0.15),
    "glare": (_glare, 0.08),
}
_CAMERA: dict[str, tuple[_CameraEffect, float]] = {
    "edge bar": (_edge_bar, 0.05),
    "low resolution": (_low_resolution, 0.15),
    "blur": (_blur, 0.25),
    "motion": (_motion, 0.06),
    "noise": (_noise, 0.35),
    "jpeg": (_jpeg, 0.35),
}
_MOVING = {"small", "at the edge", "neighbour", "caption"}
# One of each row is enough: two grounds contradict each other, two kinds of blur hide the digit.
_ONE_OF = (
    ("grey paper", "dark paper", "blackboard", "whiteboard"),
    ("low resolution", "blur", "motion"),
    ("ruled", "grid", "box"),
)

EFFECTS: tuple[str, ...] = (*_SCENE, *_CAMERA)
"""The names of what `photograph` can do to a picture, in the order in which it happens."""


def _choose(rng: np.random.Generator, strength: float, keep_layout: bool) -> list[str]:
    """Mix effects as they come together in real pictures."""
    chances = {name: chance for name, (_, chance) in (*_SCENE.items(), *_CAMERA.items())}
    chosen = {
        name
        for (name, chance), luck in zip(
            chances.items(), rng.random(len(chances)).tolist(), strict=True
        )
        if luck < chance * strength and not (keep_layout and name in _MOVING)
    }
    for rivals in _ONE_OF:
        both = [name for name in rivals if name in chosen]
        if len(both) > 1:
            chosen -= {*both} - {both[int(rng.integers(len(both)))]}
    return [name for name in EFFECTS if name in chosen]


def photograph(
    ink: np.ndarray,
    rng: np.random.Generator,
    *,
    strength: float = 1.0,
    effects: Iterable[str] | None = None,
    keep_layout: bool = False,
) -> np.ndarray:
    """Make a photo or a scan of clean ink.

    Parameters
    ----------
    ink : ndarray of shape (height, width), uint8 or float
        White ink on black: 0..255 for uint8, 0..1 for floats. At least 16 by 16 pixels.
    rng : numpy.random.Generator
        Where all choices come from: the same state makes the same picture.
    strength : float, default=1.0
        How bad the pictures get: scales how often effects happen and how strong they are. 0.0
        gives clean dark ink on white paper.
    effects : iterable of str, optional
        Exactly these effects, from `EFFECTS`, each applied once; by default a random mixture.
    keep_layout : bool, default=False
        Keep every pixel of ink in its place and the shape of the picture (but for "low
        resolution", which is then always enlarged back), and add no other writing.

    Returns
    -------
    ndarray of shape (height, width) or (height, width, 3), uint8
        The picture, grey or RGB; the latter only where an effect brings colour. The shape
        differs from `ink`'s where an effect widens or cuts the picture.

    Raises
    ------
    SettingsError
        If an effect is not known, or moves the ink although `keep_layout` is set.
    """
    if effects is None:
        names = _choose(rng, strength, keep_layout)
    else:
        wanted = set(effects)
        allowed = [name for name in EFFECTS if not (keep_layout and name in _MOVING)]
        for name in wanted - set(allowed):
            raise SettingsError(f"unknown effect {name!r}; choose from {', '.join(allowed)}")
        names = [name for name in EFFECTS if name in wanted]

    coverage = ink.astype(np.float32) / 255 if ink.dtype == np.uint8 else ink.astype(np.float32)
    scene = _Scene(coverage, movable=not keep_layout)
    scene.pen = rng.uniform(0.0, 0.35)
    scene.paper = 1.0 - 0.06 * strength * rng.random()
    for name in names:
        if name in _SCENE:
            _SCENE[name][0](scene, rng, _amount(rng, strength))
    picture = scene.look()
    for name in names:
        if name in _CAMERA:
            picture = _CAMERA[name][0](picture, rng, _amount(rng, strength))
    if keep_layout and picture.shape[:2] != ink.shape:
        picture = cv2.resize(picture, ink.shape[::-1], interpolation=cv2.INTER_LINEAR)
    return _to_bytes(picture)


def lay_on_table(sheet: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Show a sheet as it lies on a table, all of it in the picture.

    Parameters
    ----------
    sheet : ndarray of shape (height, width) or (height, width, 3), uint8
        Grey or RGB, as from `photograph`.
    rng : numpy.random.Generator
        Where all choices come from.

    Returns
    -------
    ndarray of shape (larger height, larger width, 3), uint8
        Turned by up to 8 degrees, in a slight perspective, with its shadow on wood or on something
        of one colour.
    """
    height, width = sheet.shape[:2]
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    angle = np.radians(rng.uniform(-8, 8))
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    size = float(np.sqrt(height * width))
    places = corners @ turn + rng.uniform(-0.03, 0.03, (4, 2)) * size
    room = rng.uniform(0.08, 0.4, (2, 2)) * size  # before and behind it, across and down
    places += room[0] - places.min(axis=0)
    wide, tall = np.ceil(places.max(axis=0) + room[1]).astype(int).tolist()
    view = cv2.getPerspectiveTransform(corners, places.astype(np.float32))
    seen = sheet if sheet.ndim == 3 else cv2.cvtColor(sheet, cv2.COLOR_GRAY2RGB)
    seen = cv2.warpPerspective(seen, view, (wide, tall), flags=cv2.INTER_LINEAR).astype(np.float32)
    cover = cv2.warpPerspective(np.ones((height, width), np.float32), view, (wide, tall))[..., None]

    colour = _hue(rng, rng.uniform(0.0, 0.6), rng.uniform(0.1, 0.75))
    planks = rng.normal(0, rng.uniform(0.0, 0.12), (int(rng.integers(8, 30)), 3))
    grain = cv2.resize(planks, (wide, tall), interpolation=cv2.INTER_CUBIC)
    fall = (np.roll(cover[..., 0], round(0.02 * size), axis=(0, 1)), (0, 0), 0.03 * size)
    shadow = 1 - rng.uniform(0.0, 0.5) * cv2.GaussianBlur(*fall)
    table = colour * ((1 + grain) * shadow)[..., None]
    return _to_bytes((seen / 255 + (1 - cover) * table).astype(np.float32))


def _amount(rng: np.random.Generator, strength: float) -> float:
    """Choose how strong one effect is: 0.3 to 1.0 at full strength."""
    return float(min(1.0, strength) * rng.uniform(0.3, 1.0))
