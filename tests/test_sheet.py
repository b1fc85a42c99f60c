"""Sheets: what was written on is found, by the edges of its ground, and the rest is cut away."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from pen import Hand
from sheet import cut_out, find_page, find_sheet, straighten
from strokes import draw_digit, draw_number

Box = tuple[int, int, int, int]


def write(digit: int = 5, *, size: int = 96) -> np.ndarray:
    """Draw a digit dark on white, 0.0 to 1.0, with a margin."""
    ink = draw_digit(digit, np.random.default_rng(4), size=size, hand=Hand(width=5.0))
    return 1 - cv2.copyMakeBorder(ink, 40, 40, 40, 40, cv2.BORDER_CONSTANT) / np.float32(255)


def lay(sheet: np.ndarray, *, table: float, left: int = 50, top: int = 70) -> np.ndarray:
    """Lay a sheet on a table of 320 times 300 pixels."""
    picture = np.full((300, 320), table, np.float32)
    picture[top : top + sheet.shape[0], left : left + sheet.shape[1]] = sheet
    return picture


def box_of(mask: np.ndarray) -> Box:
    left, top, wide, tall = cv2.boundingRect(mask)
    return left, top, left + wide, top + tall


@pytest.mark.parametrize("digit", range(10))
@pytest.mark.parametrize("table", [0.0, 0.35, 0.7])
def test_a_sheet_on_a_table_is_found(digit: int, table: float):
    sheet = write(digit)

    found = find_sheet(lay(sheet, table=table))

    assert found is not None
    assert box_of(found) == pytest.approx((50, 70, 50 + sheet.shape[1], 70 + sheet.shape[0]), abs=4)


def test_a_sheet_that_runs_out_of_the_picture_is_found():
    found = find_sheet(lay(write(), table=0.3, left=0, top=0))

    assert found is not None
    assert box_of(found)[:2] == (0, 0)


@pytest.mark.parametrize("gap", [0, 8], ids=["closed", "open"])
def test_the_inside_of_a_ring_is_a_sheet(gap: int):
    page = np.full((300, 320), 255, np.uint8)
    cv2.ellipse(page, (138, 158), (85, 85), 0, gap, 360, 0, 5, cv2.LINE_AA)
    picture = np.minimum(page / np.float32(255), lay(write(size=80), table=1.0, left=58, top=78))

    found = find_sheet(picture)

    assert found is not None
    assert found[158, 138] == 1
    assert found.mean() < 0.3


def shadow() -> np.ndarray:
    """Lay a broad soft shadow over the half of a written page."""
    slope = np.linspace(1, 0.3, 320, dtype=np.float32) ** 2
    return lay(write(), table=1.0) * slope


NO_SHEETS = {
    "a page": lay(write(), table=1.0),
    "nothing": np.full((50, 60), 0.5, np.float32),
    "one pixel": np.zeros((1, 1), np.float32),
    "a shadow": shadow(),
    "a sheet that is empty": lay(np.ones((150, 150), np.float32), table=0.3),
    "a sheet with a blot": lay(
        1 - cv2.circle(np.zeros((150, 150), np.float32), (75, 75), 40, 1.0, -1), table=0.3
    ),
    "two sheets": np.hstack([lay(write(), table=0.3), lay(write(3), table=0.3)]),
    "noise": np.random.default_rng(0).random((200, 200), np.float32),
}


@pytest.mark.parametrize("picture", NO_SHEETS.values(), ids=NO_SHEETS)
def test_where_nobody_has_written_on_one_sheet_there_is_none(picture: np.ndarray):
    assert find_sheet(picture) is None


def write_number(digits: str = "27403") -> np.ndarray:
    """Write a number dark on white, 0.0 to 1.0, with a margin."""
    ink, _ = draw_number(digits, np.random.default_rng(4), height=30)
    return 1 - cv2.copyMakeBorder(ink, 30, 40, 30, 30, cv2.BORDER_CONSTANT) / np.float32(255)


@pytest.mark.parametrize(
    "place", [(40, 80), (0, 80), (0, 0)], ids=["whole", "one side cut off", "two sides cut off"]
)
@pytest.mark.parametrize("table", [0.0, 0.35, 0.85])
def test_the_page_is_found_that_a_number_stands_on(table: float, place: tuple[int, int]):
    sheet, (left, top) = write_number(), place

    found = find_page(lay(sheet, table=table, left=left, top=top))

    assert found is not None
    ends = left + sheet.shape[1], top + sheet.shape[0]
    assert box_of(found) == pytest.approx((left, top, *ends), abs=6)


def framed(width: int) -> np.ndarray:
    """Draw a frame around a number with the pen that wrote it, or a broader one."""
    picture = lay(write_number(), table=1.0)
    return cv2.rectangle(picture, (56, 76), (280, 190), 0.1, width)


def shaded(*edge: tuple[int, int]) -> np.ndarray:
    """Lay a shadow with a sharp edge over what is on one side of a line through the picture."""
    light = cv2.fillPoly(np.ones((300, 320), np.float32), [np.array(edge)], 0.5)
    return lay(write_number(), table=1.0) * cv2.GaussianBlur(light, (0, 0), 2)


NO_PAGES = {
    "a number that fills its picture": write_number(),
    "a number on a large page": lay(write_number(), table=1.0),
    "a frame": framed(3),
    "a broad frame": framed(9),
    "a shadow over one side": shaded((0, 0), (150, 0), (180, 300), (0, 300)),
    "a shadow over a corner": shaded((0, 60), (240, 300), (0, 300)),
    "a stripe of shadow": shaded((0, 0), (110, 0), (320, 200), (320, 300), (210, 300), (0, 100)),
    "two notes": np.hstack([lay(write_number("27"), table=0.3)] * 2),
    "a filled 0": 1
    - cv2.ellipse(
        np.zeros((300, 300), np.float32), (150, 150), (35, 90), 0, 0, 360, 0.9, 30, cv2.LINE_AA
    ),
    "a blot": cv2.circle(lay(write_number(), table=1.0), (110, 245), 42, 0.1, -1),
    "a narrow strip": lay(write_number()[28:60], table=0.3)[60:120],
    "nothing": np.full((50, 60), 0.5, np.float32),
    "one pixel": np.zeros((1, 1), np.float32),
}


@pytest.mark.parametrize("picture", NO_PAGES.values(), ids=NO_PAGES)
def test_where_no_page_differs_from_all_around_it_there_is_none(picture: np.ndarray):
    assert find_page(picture) is None


@pytest.mark.parametrize("angle", [-20, 0, 3, 40])
@pytest.mark.parametrize("colours", [1, 3])
def test_a_page_is_turned_level_with_nothing_of_what_lies_around_it(angle: int, colours: int):
    sheet = write_number()
    turn = cv2.getRotationMatrix2D((160, 150), angle, 1)
    grey, mask = (
        cv2.warpAffine(lay(each, table=ground), turn, (320, 300), borderValue=ground)
        for each, ground in ((sheet, 0.2), (np.ones_like(sheet), 0.0))
    )
    pixels = grey if colours == 1 else np.dstack([grey, grey, 0.5 * grey])

    page, view = straighten(pixels, (mask > 0.5).astype(np.uint8))

    assert (page.ndim, page.dtype) == (pixels.ndim, np.float32)
    assert page.shape[:2] == pytest.approx(np.array(sheet.shape) - 14, abs=5)
    first = page if colours == 1 else page[..., 0]
    assert first[[0, -1]].min() > 0.9
    assert first[:, [0, -1]].min() > 0.9
    rows, columns = np.nonzero(first < 0.3)
    places = np.stack([columns, rows, np.ones_like(rows)]).T @ view.T
    x, y = np.rint(places[:, :2] / places[:, 2:]).astype(int).T
    assert np.median(grey[y, x]) < 0.3  # the ink is where the view says


@pytest.mark.parametrize("colours", [1, 3])
def test_a_sheet_is_cut_out_without_its_edge_and_its_ground_goes_on(colours: int):
    sheet = write()
    grey = lay(sheet, table=0.2)
    pixels = grey if colours == 1 else np.dstack([grey, grey, 0.5 * grey])
    mask = np.zeros(grey.shape, np.uint8)
    cv2.fillPoly(mask, [np.array([(55, 75), (220, 75), (220, 245), (80, 245)])], 1)

    page, (left, top) = cut_out(pixels, mask)

    assert page.ndim == pixels.ndim
    assert 55 < left < 70
    assert 75 < top < 90
    assert page.dtype == np.float32
    assert page[-1, 0].max() > 0.9  # outside the sheet, where the table was
    inside = page[20:60, 40:100]
    assert np.array_equal(inside, pixels[top + 20 : top + 60, left + 40 : left + 100])
