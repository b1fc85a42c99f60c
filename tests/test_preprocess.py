"""What reaches the network: the same digit, however it was drawn, lit, framed or stored."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

import preprocess
from degrade import photograph
from errors import BlankImageError
from masks import bounding_box, stroke_width
from pen import Hand
from picture import Picture, PictureSource, load_picture
from preprocess import (
    BOX,
    FIELD,
    Prepared,
    centre_by_mass,
    prepare,
    to_mnist,
)
from strokes import draw_digit
from tests.conftest import Handwriting


def likeness(first: np.ndarray, second: np.ndarray) -> float:
    """Cosine of two pictures, after a blur that forgives half a pixel."""
    one, two = (cv2.GaussianBlur(each, (0, 0), 1.0).ravel() for each in (first, second))
    return float(one @ two / (np.linalg.norm(one) * np.linalg.norm(two)))


@pytest.fixture
def five() -> np.ndarray:
    """Draw a 5 with a medium pen: (96, 96) uint8, white ink on black."""
    rng = np.random.default_rng(4)
    return draw_digit(5, rng, size=96, variant="one stroke", hand=Hand(width=5.0))


def jpeg(picture: np.ndarray) -> bytes:
    """Save as a camera does."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=60)
    return buffer.getvalue()


def in_alpha(ink: np.ndarray) -> np.ndarray:
    """Put the ink into the alpha channel and nowhere else."""
    return np.dstack([np.zeros_like(ink)] * 3 + [ink])


def on_slope(ink: np.ndarray) -> np.ndarray:
    """Write on paper that lies half in the dark, nowhere as bright as mid-grey."""
    light = np.linspace(0.15, 0.48, ink.shape[1], dtype=np.float32)[None, :]
    return np.asarray(light * (1 - 0.5 * ink / np.float32(255)), np.float32)


def small_in_frame(ink: np.ndarray) -> np.ndarray:
    """Leave it small in a corner of a large sheet."""
    sheet = np.full((600, 800), 255, np.uint8)
    sheet[420:516, 620:716] = 255 - ink
    return sheet


def tiny_in_frame(ink: np.ndarray) -> np.ndarray:
    """Leave it so small on a photograph that it takes the closest look."""
    sheet = np.full((1500, 2000), 255, np.uint8)
    sheet[220:316, 1520:1616] = 255 - ink
    return sheet


def beside_shadow(ink: np.ndarray) -> np.ndarray:
    """Leave one corner of the sheet in the dark, as dark as the ink."""
    sheet = small_in_frame(ink)
    row, column = np.indices(sheet.shape)
    shadow = np.clip(1 - np.hypot(row, column) / 330, 0, 1)
    return np.rint(sheet * (1 - shadow)).astype(np.uint8)


def tiny_in_red(ink: np.ndarray) -> bytes:
    """Write it tiny and in red: its colour has to be told from few pixels among noise."""
    sheet = in_red_on_grey(255 - tiny_in_frame(ink)) * 255
    noise = np.random.default_rng(0).normal(0, 4, sheet.shape)
    return jpeg(np.clip(sheet + noise, 0, 255).astype(np.uint8))


def put_on_table(ink: np.ndarray, *, turn: float = 0.0) -> np.ndarray:
    """Write it on a sheet that lies on a dark table, whose edges are in the picture."""
    sheet = cv2.copyMakeBorder(255 - ink, 60, 60, 60, 60, cv2.BORDER_CONSTANT, value=255)
    wide = cv2.copyMakeBorder(sheet, 60, 60, 60, 60, cv2.BORDER_CONSTANT, value=70)
    matrix = cv2.getRotationMatrix2D((wide.shape[1] / 2, wide.shape[0] / 2), turn, 1)
    turned = cv2.warpAffine(wide, matrix, wide.shape[::-1], borderValue=70)
    noise = np.random.default_rng(0).normal(0, 3, turned.shape)
    return np.clip(turned + noise, 0, 255).astype(np.uint8)


def with_edge(ink: np.ndarray) -> np.ndarray:
    """Let the table be seen at one side only."""
    return put_on_table(ink)[70:-70, 70:]


def on_button(ink: np.ndarray) -> np.ndarray:
    """Write it white on a dark button on a white page."""
    button = cv2.copyMakeBorder(ink // 2 + 70, 30, 30, 30, 30, cv2.BORDER_CONSTANT, value=70)
    return cv2.copyMakeBorder(button, 80, 80, 80, 80, cv2.BORDER_CONSTANT, value=255)


def in_ring(ink: np.ndarray) -> np.ndarray:
    """Draw a ring around it."""
    page = cv2.copyMakeBorder(255 - ink, 90, 90, 90, 90, cv2.BORDER_CONSTANT, value=255)
    return cv2.circle(page, (138, 138), 85, 0, 5, cv2.LINE_AA)


def in_shadow(ink: np.ndarray) -> np.ndarray:
    """Let the shadow of a hand fall on a part of it."""
    page = cv2.copyMakeBorder(255 - ink, 150, 150, 150, 150, cv2.BORDER_CONSTANT, value=240)
    hand = np.zeros(page.shape, np.float32)
    cv2.fillPoly(hand, [np.array([[396, 396], [150, 396], [110, 230], [210, 170], [396, 210]])], 1)
    light = 1 - 0.5 * cv2.GaussianBlur(hand, (0, 0), 6)
    return np.rint(page * light).astype(np.uint8)


def before_bracket(ink: np.ndarray) -> np.ndarray:
    """Write it with a bracket behind it, as in a list."""
    page = cv2.copyMakeBorder(255 - ink, 60, 60, 60, 60, cv2.BORDER_CONSTANT, value=255)
    bow = np.array([[158, 66], [169, 92], [171, 120], [160, 150]], np.int32)
    return cv2.polylines(page, [bow], False, 0, 4, cv2.LINE_AA)


def in_open_ring(ink: np.ndarray) -> np.ndarray:
    """Draw a ring around it in whose gap its ends miss each other."""
    page = cv2.copyMakeBorder(255 - ink, 120, 120, 120, 120, cv2.BORDER_CONSTANT, value=255)
    turn = np.linspace(0.3, 0.3 + 1.94 * np.pi, 60)
    away = np.linspace(84, 92, 60)
    ring = np.stack([168 + away * np.cos(turn), 168 + away * np.sin(turn)], axis=1)
    return cv2.polylines(page, [np.rint(ring).astype(np.int32)], False, 0, 4, cv2.LINE_AA)


def on_colour(ink: np.ndarray, patch: np.ndarray, colour: tuple[float, ...]) -> bytes:
    """Write it in blue on a patch of colour on white paper that lies in sloping light."""
    covered = cv2.GaussianBlur(patch, (0, 0), 1)[..., None]
    paper = 1 + covered * (np.float32(colour) - 1)
    coverage = cv2.copyMakeBorder(ink, 100, 100, 100, 100, cv2.BORDER_CONSTANT)[..., None]
    page = paper + coverage / np.float32(255) * (np.float32([0.1, 0.15, 0.6]) - paper)
    light = np.linspace(0.97, 0.6, len(page), dtype=np.float32)[:, None, None]
    return jpeg(np.rint(page * light * 255).astype(np.uint8))


def highlighted(ink: np.ndarray) -> bytes:
    """Draw a yellow bar over it that leaves the picture, and leaves head and foot uncovered."""
    bar = cv2.line(np.zeros((296, 296), np.float32), (60, 150), (320, 144), 1, 70, cv2.LINE_AA)
    return on_colour(ink, bar, (1, 0.95, 0.2))


def on_orange_note(ink: np.ndarray) -> bytes:
    """Write it on a note of a colour that is about as far from white as from the ink."""
    note = np.zeros((296, 296), np.float32)
    cv2.fillPoly(note, [np.array([[70, 64], [226, 74], [222, 226], [76, 230]])], 1)
    return on_colour(ink, note, (1, 0.7, 0.35))


def across_creases(ink: np.ndarray) -> bytes:
    """Fold the sheet twice through it: each crease is a dark line, darker on one side."""
    page = cv2.copyMakeBorder(255 - ink, 150, 150, 150, 150, cv2.BORDER_CONSTANT, value=230)
    row, column = np.indices(page.shape) / np.float32(len(page)) - 0.5
    light = np.ones(page.shape, np.float32)
    for slope, offset in ((0.5, 0.02), (-0.8, -0.04)):
        away = row - slope * column - offset
        light *= 1 - 0.12 * (away > 0) - 0.35 * np.exp(-((away / 0.007) ** 2))
    return jpeg(
        np.rint(cv2.GaussianBlur(np.minimum(page, 230) * light, (0, 0), 0.7)).astype(np.uint8)
    )


def underlined(ink: np.ndarray) -> np.ndarray:
    """Draw a line below it."""
    page = cv2.copyMakeBorder(255 - ink, 60, 60, 60, 60, cv2.BORDER_CONSTANT, value=255)
    return cv2.line(page, (60, 168), (156, 172), 0, 4, cv2.LINE_AA)


def beside_margin(ink: np.ndarray) -> np.ndarray:
    """Write it on ruled paper with a line along its margin."""
    page = cv2.copyMakeBorder(255 - ink, 90, 90, 120, 90, cv2.BORDER_CONSTANT, value=255)
    for row in range(20, len(page), 44):
        page[row : row + 2] = np.minimum(page[row : row + 2], 170)
    page[:, 60:62] = np.minimum(page[:, 60:62], 150)
    return page


def with_specks(ink: np.ndarray) -> np.ndarray:
    """Sprinkle dirt."""
    dirty = 255 - ink
    dirty[5:7, 5:7] = 40
    dirty[90:92, 4:6] = 40
    return dirty


def in_red_on_grey(ink: np.ndarray) -> np.ndarray:
    """Use ink and ground of the same brightness."""
    coverage = ink[..., None] / np.float32(255)
    ground, red = np.float32([0.42, 0.42, 0.42]), np.float32([0.9, 0.22, 0.2])
    return coverage * red + (1 - coverage) * ground


DISGUISES: list[tuple[str, Callable[[np.ndarray], object]]] = [
    ("white on black", lambda ink: ink),
    ("enlarged", lambda ink: cv2.resize(ink, (500, 500))),
    ("low contrast", lambda ink: (250 - ink // 50).astype(np.uint8)),
    ("JPEG on grey paper", lambda ink: jpeg((150 - ink // 2).astype(np.uint8))),
    ("alpha only", in_alpha),
    ("sloping light on dark paper", on_slope),
    ("small in a large frame", small_in_frame),
    ("tiny in a very large frame", tiny_in_frame),
    ("beside a shadow", beside_shadow),
    ("in the shadow of a hand", in_shadow),
    ("specks", with_specks),
    ("on a sheet on a table", put_on_table),
    ("on a sheet at a slant", lambda ink: put_on_table(ink, turn=3)),
    ("the sheet's edge at one side", with_edge),
    ("white on a dark button", on_button),
    ("in a ring", in_ring),
    ("in a ring that is not closed", in_open_ring),
    ("before a bracket", before_bracket),
    ("highlighted", highlighted),
    ("on an orange note on white paper", on_orange_note),
    ("across creases", across_creases),
    ("underlined", underlined),
    ("on ruled paper beside the margin", beside_margin),
    ("red on equally bright grey", in_red_on_grey),
    ("tiny, red on equally bright grey", tiny_in_red),
    ("one bit", lambda ink: Image.fromarray(255 - ink).convert("1", dither=Image.Dither.NONE)),
]


@pytest.mark.parametrize(
    "disguise", [row[1] for row in DISGUISES], ids=[row[0] for row in DISGUISES]
)
def test_a_digit_looks_the_same_in_any_disguise(
    five: np.ndarray, disguise: Callable[[np.ndarray], object]
) -> None:
    plain = to_mnist(255 - five)

    disguised = to_mnist(disguise(five))

    assert likeness(plain, disguised) > 0.97


def test_a_second_digit_in_a_light_colour_is_not_overlooked(five: np.ndarray) -> None:
    """Where colour is left out of account, the yellow one would be paper."""
    apart = np.zeros_like(five)
    blue, yellow = np.hstack([five, apart]), np.hstack([apart, five])
    page = 1 - blue[..., None] / 255 * [0.9, 0.8, 0.4] - yellow[..., None] / 255 * [0.0, 0.1, 0.9]

    assert prepare(page.astype(np.float32)).others == 1


LOOKS: list[tuple[str, Callable[[np.ndarray], np.ndarray], list[int]]] = [
    ("large", lambda ink: 255 - cv2.resize(ink, (500, 500)), [160]),
    ("small", small_in_frame, [160, 320]),
    ("tiny", tiny_in_frame, [160, 640]),
    ("cut off", lambda ink: 255 - cv2.resize(ink, (500, 500))[:, 200:], [160, 320]),
    ("no larger than the first look", lambda ink: 255 - ink, [160]),
    ("blank", lambda ink: np.full((500, 500), 255, np.uint8), [160, 320]),
    ("blank and small", lambda ink: np.full((50, 50), 255, np.uint8), [160]),
]


@pytest.mark.parametrize(
    ("show", "wanted"), [row[1:] for row in LOOKS], ids=[row[0] for row in LOOKS]
)
def test_a_picture_is_looked_at_as_closely_as_its_digit_needs(
    five: np.ndarray,
    show: Callable[[np.ndarray], np.ndarray],
    wanted: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sides = []

    def load_and_note(source: PictureSource, *, most: int) -> Callable[[int], Picture]:
        decode = load_picture(source, most=most)

        def decode_and_note(side: int) -> Picture:
            sides.append(side)
            return decode(side)

        return decode_and_note

    monkeypatch.setattr(preprocess, "load_picture", load_and_note)
    with contextlib.suppress(BlankImageError):
        to_mnist(show(five))

    assert sides == wanted


def test_no_picture_is_looked_at_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Close up it seemed cut off, from farther away too small: that went on for ever."""
    boxes = {160: (50, 50, 60, 60), 320: (50, 50, 60, 60), 640: (0, 0, 90, 90)}
    sides: list[int] = []

    def look(picture: Picture, *, keep_steps: bool) -> Prepared:
        sides.append(max(picture.pixels.shape))
        assert len(sides) <= len(preprocess.SIDES)
        return Prepared(np.zeros((28, 28), np.float32), 1000, 1000, boxes[sides[-1]], True)

    monkeypatch.setattr(preprocess, "_look", look)

    prepare(np.zeros((1000, 1000), np.uint8))

    assert sides == [160, 640]


def test_what_was_found_stays_found_if_a_closer_look_shows_nothing(
    five: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = prepare(small_in_frame(five))

    def look(picture: Picture, *, keep_steps: bool) -> Prepared:
        if max(picture.pixels.shape) > preprocess.SIDES[0]:
            raise BlankImageError
        return found

    monkeypatch.setattr(preprocess, "_look", look)

    assert prepare(small_in_frame(five)) is found


def test_an_open_file_is_looked_at_twice_and_read_once(five: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "small.png"
    Image.fromarray(small_in_frame(five)).save(path)

    with path.open("rb") as file:
        assert np.array_equal(to_mnist(file), to_mnist(path))


@pytest.mark.parametrize("inverted", [False, True])
def test_pictures_in_mnist_form_pass_unchanged(handwriting: Handwriting, inverted: bool) -> None:
    pictures = np.rint(handwriting.images[:50] * 255).astype(np.uint8)
    shown = 255 - pictures if inverted else pictures

    # scikit-learn's digits are 20 pixels long or shorter; the shorter ones are not in this form.
    in_form = [preprocess.as_mnist_form(p / np.float32(255)) is not None for p in pictures]

    assert sum(in_form) > 10
    for picture, image in zip(pictures[in_form], shown[in_form], strict=True):
        assert np.allclose(to_mnist(image) * 255, picture, atol=1e-3)


def test_what_was_prepared_is_printed_without_its_pixels() -> None:
    prepared = prepare(draw_digit(3, np.random.default_rng(3)), keep_steps=True)

    assert re.fullmatch(r"Prepared\(width=\d+, [^\n]{30,80}\)", repr(prepared))


def frame(left: int = 4, top: int = 4, wide: int = 20, tall: int = 20) -> np.ndarray:
    """Draw the outline of a box, white on black: (28, 28) float32."""
    grey = np.zeros((FIELD, FIELD), np.float32)
    return cv2.rectangle(grey, (left, top, wide, tall), 1.0, 1)


def at_rim() -> np.ndarray:
    """Draw a box at the left rim whose right side is so heavy that it is centred by mass."""
    grey = frame(left=0)
    grey[4:24, 15:20] = 1
    return grey


NOT_MNIST_FORM: list[tuple[str, np.ndarray]] = [
    ("of another size", frame()[1:]),
    ("too small", frame(5, 5, 18, 18)),
    ("too wide", frame(3, wide=21)),
    ("too tall", frame(top=3, tall=21)),
    ("too far to the left", frame(left=2)),
    ("too far down", frame(top=6)),
    ("on grey ground", 0.2 + 0.8 * frame()),
    ("fainter than bytes can be", 1e-9 * frame()),
    ("at the left rim", at_rim()),
    ("at the right rim", at_rim()[:, ::-1]),
    ("at the upper rim", at_rim().T),
    ("at the lower rim", at_rim().T[::-1]),
]


@pytest.mark.parametrize(
    "grey", [row[1] for row in NOT_MNIST_FORM], ids=[row[0] for row in NOT_MNIST_FORM]
)
def test_what_only_resembles_mnist_form_does_not_pass_as_it_is(grey: np.ndarray) -> None:
    assert preprocess.as_mnist_form(frame()) is not None
    assert preprocess.as_mnist_form(grey) is None


@pytest.mark.parametrize("digit", range(10))
def test_every_digit_fills_the_box_and_is_centred_by_mass(digit: int) -> None:
    prepared = to_mnist(255 - draw_digit(digit, np.random.default_rng(digit), size=120))

    rows, cols = np.nonzero(prepared > 0.05)
    indices = np.indices(prepared.shape)
    centre = [float(np.average(axis, weights=prepared)) for axis in indices]

    assert prepared.shape == (FIELD, FIELD)
    assert prepared.dtype == np.float32
    assert prepared.min() >= 0
    assert prepared.max() <= 1
    assert max(np.ptp(rows), np.ptp(cols)) + 1 in (BOX - 1, BOX, BOX + 1)
    assert np.allclose(centre, 14, atol=1.0)


BLANKS: list[tuple[str, object]] = [
    ("white", np.full((100, 100), 255, np.uint8)),
    ("black", np.zeros((28, 28), np.uint8)),
    ("one pixel", np.zeros((1, 1), np.uint8)),
    ("floats that are nearly zero", np.pad(np.full((20, 20), 1e-9), 4)),
    ("one level of grey", np.full((50, 50), 128, np.uint8) + np.eye(50, dtype=np.uint8)),
    ("transparent", np.zeros((40, 40, 4), np.uint8)),
    ("even slope", np.linspace(100, 200, 160 * 120).reshape(120, 160).astype(np.uint8)),
    (
        "grain",
        np.random.default_rng(0).normal(180, 4, (200, 200)).clip(0, 255).astype(np.uint8),
    ),
]


@pytest.mark.parametrize("blank", [row[1] for row in BLANKS], ids=[row[0] for row in BLANKS])
def test_a_blank_picture_is_an_error_and_not_a_digit(blank: np.ndarray) -> None:
    with pytest.raises(BlankImageError, match="use one with ink in it"):
        to_mnist(blank)


def ruled(sheet: np.ndarray, rows: tuple[int, ...], cols: tuple[int, ...] = ()) -> np.ndarray:
    """Draw dark lines through the whole sheet."""
    lined = sheet.copy()
    for row in rows:
        lined[row : row + 3] = 0
    for col in cols:
        lined[:, col : col + 3] = 0
    return lined


@pytest.mark.parametrize(
    ("rows", "cols"),
    [((6, 150), ()), ((6, 150), (8, 148)), ((80,), ()), ((), (10,))],
    ids=["above and below", "a form cell", "through the digit", "a margin line"],
)
def test_ruled_lines_go_and_strokes_stay(
    five: np.ndarray, rows: tuple[int, ...], cols: tuple[int, ...]
) -> None:
    sheet = np.full((160, 160), 255, np.uint8)
    sheet[32:128, 32:128] = 255 - five

    assert likeness(to_mnist(sheet), to_mnist(ruled(sheet, rows, cols))) > 0.9


def test_a_frame_around_the_digit_goes(five: np.ndarray) -> None:
    sheet = np.full((180, 180), 255, np.uint8)
    sheet[42:138, 42:138] = 255 - five
    framed = cv2.rectangle(sheet.copy(), (30, 25), (150, 150), 0, 2)

    assert likeness(to_mnist(sheet), to_mnist(framed)) > 0.97


def test_a_neighbour_at_the_rim_is_left_out(five: np.ndarray) -> None:
    sheet = np.full((120, 180), 255, np.uint8)
    sheet[12:108, 40:136] = 255 - five
    alone = to_mnist(sheet)
    sheet[20:100, 172:] = 0

    assert likeness(alone, to_mnist(sheet)) > 0.97


def test_another_digit_in_the_picture_is_counted(five: np.ndarray) -> None:
    sheet = np.full((140, 420), 255, np.uint8)
    sheet[20:116, 20:116] = sheet[20:116, 300:396] = 255 - five

    assert prepare(sheet).others == 1
    assert prepare(sheet[:, :140]).others == 0


@pytest.mark.parametrize(("size", "others"), [(1.0, 1), (0.7, 1), (0.4, 0)])
def test_a_second_digit_is_counted_if_it_is_about_as_large(size: float, others: int) -> None:
    sheet = np.zeros((160, 340), np.uint8)
    cv2.circle(sheet, (90, 80), 50, 255, 8)
    cv2.circle(sheet, (240, 80), round(50 * size), 255, 8)

    assert prepare(sheet).others == others


@pytest.mark.parametrize(("visible", "others"), [(1.0, 1), (0.8, 1), (0.2, 0)])
def test_what_the_rim_cuts_off_is_a_digit_if_most_of_it_is_there(
    visible: float, others: int
) -> None:
    sheet = np.zeros((110, 400), np.uint8)
    for centre in (55, 205):
        cv2.circle(sheet, (centre, 55), 50, 255, 8)

    assert prepare(sheet[:, : 151 + round(108 * visible)]).others == others


def test_dirt_inside_a_digit_is_no_ink_of_it() -> None:
    zero = cv2.circle(np.full((160, 160), 255, np.uint8), (80, 80), 50, 0, 8)
    dirty = zero.copy()
    dirty[79:82, 79:82] = 0

    assert np.array_equal(to_mnist(dirty), to_mnist(zero))


def test_without_any_ink_there_is_no_digit() -> None:
    nothing = np.zeros((20, 20), np.uint8)

    with pytest.raises(BlankImageError):
        centre_by_mass(nothing)


def test_a_digit_that_was_cut_out_tightly_looks_as_on_a_sheet(five: np.ndarray) -> None:
    left, top, right, bottom = bounding_box((five > 128).astype(np.uint8))

    assert likeness(to_mnist(255 - five), to_mnist(255 - five[top:bottom, left:right])) > 0.97


@pytest.mark.parametrize("upright", [False, True])
def test_a_hairline_is_read(upright: bool) -> None:
    sheet = np.full((320, 320), 255, np.uint8)
    sheet[160, 10:310] = 0

    assert to_mnist(sheet.T if upright else sheet).any()


def test_the_box_is_told_in_pixels_of_the_picture_as_it_came() -> None:
    sheet = np.full((1000, 2000), 255, np.uint8)
    sheet[300:700, 900:960] = 0

    prepared = prepare(sheet)

    assert (prepared.width, prepared.height) == (2000, 1000)
    assert np.allclose(prepared.box, (900, 300, 960, 700), atol=8)
    assert prepared.dark_ink


@pytest.mark.parametrize("shape", [(33, 50), (50, 33), (37, 99), (450, 333), (700, 211)])
def test_the_box_of_a_digit_that_fills_its_picture_is_the_picture(shape: tuple[int, int]) -> None:
    pixels = np.full(shape, 255, np.uint8)
    cv2.line(pixels, (0, 0), (shape[1] - 1, shape[0] - 1), 0, 5)

    assert prepare(pixels).box == (0, 0, shape[1], shape[0])


@pytest.mark.parametrize("pen", [1, 2, 4, 10, 16])
def test_pens_from_hairline_to_marker_come_out_alike(pen: int) -> None:
    sheet = np.full((140, 140), 255, np.uint8)
    cv2.polylines(sheet, [np.array([[40, 30], [100, 30], [60, 115]])], False, 0, pen)

    ink = cv2.resize(to_mnist(sheet), None, fx=4, fy=4)

    assert 1.5 < stroke_width((ink > 0.5).astype(np.uint8)) / 4 < 5.5


def test_steps_are_kept_only_when_asked_for(five: np.ndarray) -> None:
    silent, spoken = prepare(255 - five), prepare(255 - five, keep_steps=True)

    assert silent.steps == ()
    assert [title for title, _ in spoken.steps] == [
        "your picture",
        "ink found",
        "the digit alone",
        "what the model sees",
    ]
    assert all(picture.dtype == np.uint8 for _, picture in spoken.steps)
    assert np.array_equal(silent.digit, spoken.digit)


@pytest.mark.parametrize("seed", range(20))
def test_any_photograph_gives_a_digit_or_a_clear_error(seed: int) -> None:
    rng = np.random.default_rng(seed)
    photo = photograph(draw_digit(seed % 10, rng), rng, strength=1.0)

    try:
        digit = to_mnist(photo)
    except BlankImageError:
        return

    assert digit.shape == (FIELD, FIELD)
    assert np.isfinite(digit).all()


@pytest.mark.parametrize("shape", [(1, 50), (50, 1), (2, 2), (3, 700), (700, 3)])
def test_odd_shapes_do_not_break_anything(shape: tuple[int, int]) -> None:
    picture = np.zeros(shape, np.uint8)
    picture[shape[0] // 2, shape[1] // 2] = 255

    try:
        digit = to_mnist(picture)
    except BlankImageError:
        return

    assert digit.shape == (FIELD, FIELD)


@pytest.mark.parametrize("shape", [(20, 1), (20, 2), (1, 20), (2, 20), (20, 20)])
def test_ink_of_any_width_is_centred(shape: tuple[int, int]) -> None:
    field = centre_by_mass(np.full(shape, 0.5, np.float32))

    rows, cols = np.nonzero(field)
    assert field.sum() == 0.5 * shape[0] * shape[1]
    assert abs(rows.mean() - 14) <= 0.5
    assert abs(cols.mean() - 14) <= 0.5


def test_whole_ink_beats_exact_centre() -> None:
    comma = np.zeros((20, 20), np.float32)
    comma[0, :] = 1.0
    comma[1:, 0] = 0.01

    assert np.isclose(centre_by_mass(comma).sum(), comma.sum())


def test_the_same_picture_gives_the_same_answer_from_file_and_array(
    tmp_path: Path, five: np.ndarray
) -> None:
    path = tmp_path / "five.png"
    Image.fromarray(255 - five).save(path)

    assert np.array_equal(to_mnist(path), to_mnist(255 - five))
