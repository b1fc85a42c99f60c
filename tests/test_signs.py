"""Signs: slashes and brackets are told from 1s by their line, and 1s stay 1s."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from signs import is_percent, measure_lean, measure_stroke, remove_brackets, weigh_signs

Point = tuple[int, int]


def draw(*points: Point) -> tuple[tuple[int, int, int, int], np.ndarray]:
    """Draw a line of the pen through points; return its box and its mask."""
    page = np.zeros((200, 400), np.uint8)
    cv2.polylines(page, [np.array(points, np.int32)], False, 1, 6)
    left, top, wide, tall = cv2.boundingRect(page)
    box = left, top, left + wide, top + tall
    return box, np.ascontiguousarray(page[top : box[3], left : box[2]])


def ring(left: int) -> list[Point]:
    angles = np.linspace(0, 2 * np.pi, 40)
    return [(round(left + 20 - 20 * np.sin(a)), round(100 - 30 * np.cos(a))) for a in angles]


def odds_of(*points: Point) -> float:
    """Weigh a mark between two digits whose tops are at row 70 and whose feet are at row 130."""
    marks = [draw(*ring(50)), draw(*points), draw(*ring(250))]
    odds = weigh_signs([box for box, _ in marks], [mask for _, mask in marks], size=60)
    assert odds[0] == odds[2] == -math.inf
    return odds[1]


@pytest.mark.parametrize(
    "points",
    [
        [(150, 148), (190, 58)],
        [(160, 142), (185, 60)],
        [(180, 58), (166, 80), (160, 100), (166, 120), (180, 142)],
        [(160, 70), (170, 85), (174, 100), (170, 115), (160, 130)],
        [(165, 148), (165, 50)],
    ],
    ids=["slash", "steep slash", "bracket", "bracket as tall as the digits", "bar"],
)
def test_a_sign_is_likelier_than_a_1(points: list[Point]):
    assert odds_of(*points) > 0


@pytest.mark.parametrize(
    "points",
    [
        [(165, 130), (165, 70)],
        [(150, 130), (190, 70)],
        [(150, 126), (190, 62)],
        [(160, 130), (160, 64)],
        [(164, 130), (166, 100), (164, 70)],
    ],
    ids=["upright", "slanted", "slanted and high", "tall", "unsteady"],
)
def test_a_stroke_as_a_1_may_be_stays_one(points: list[Point]):
    assert odds_of(*points) < -1.5


@pytest.mark.parametrize(
    "points",
    [
        [(150, 95), (168, 58), (168, 142)],
        [(150, 60), (190, 60), (165, 142)],
        ring(150),
        [(160, 130), (160, 110)],
    ],
    ids=["a 1 with a flag", "a 7", "a 0", "a comma"],
)
def test_what_is_no_bare_stroke_is_no_slash(points: list[Point]):
    assert odds_of(*points) == -math.inf


def test_a_slash_stands_between_digits():
    marks = [draw(*ring(50)), draw(*ring(150)), draw((250, 148), (290, 58))]

    odds = weigh_signs([box for box, _ in marks], [mask for _, mask in marks], size=60)

    assert odds[2] < -1.5


def test_a_7_beside_a_slash_does_not_hide_that_it_leans():
    """It leans by its shape nearly as far: fractions of two such digits were read, and surely."""
    seven = [(20, 70), (45, 70), (5, 130)]
    shapes = [[(x + at, y) for x, y in seven] for at in (50, 250)]
    marks = [draw(*shapes[0]), draw((158, 142), (186, 61)), draw(*shapes[1])]

    odds = weigh_signs([box for box, _ in marks], [mask for _, mask in marks], size=60)

    assert measure_lean(marks[0][1]) > 15
    assert odds[1] > 0


def odds_of_last(*points: Point) -> float:
    """Weigh a mark that ends a line of two digits, tops at row 70 and feet at row 130."""
    marks = [draw(*ring(50)), draw(*ring(150)), draw(*points)]
    return weigh_signs([box for box, _ in marks], [mask for _, mask in marks], size=60)[2]


def bow(reach: int, depth: int) -> list[Point]:
    """Return a stroke that is as far beside its ends as is `depth`, with a digit's ends beyond."""
    heights = np.linspace(-1, 1, 9)
    return [(round(260 + depth * (1 - y * y)), round(100 + (30 + reach) * y)) for y in heights]


@pytest.mark.parametrize(("reach", "depth"), [(8, 7), (0, 10)], ids=["flat but tall", "low"])
def test_a_bracket_ends_a_line(reach: int, depth: int):
    assert odds_of_last(*bow(reach, depth)) > 0


@pytest.mark.parametrize(
    ("reach", "depth"), [(8, 0), (0, 4), (8, -8)], ids=["tall", "bows", "bows to the left"]
)
def test_a_1_that_ends_a_line_stays_one(reach: int, depth: int):
    assert odds_of_last(*bow(reach, depth)) < -1.5


@pytest.mark.parametrize("slope", [-0.15, 0.15])
def test_a_line_that_climbs_makes_no_sign_of_a_1(slope: float):
    shapes = [ring(50), ring(110), [(185, 130), (190, 70)], ring(230), ring(290)]
    climbing = [[(x, y + round(slope * shape[0][0])) for x, y in shape] for shape in shapes]
    marks = [draw(*shape) for shape in climbing]

    odds = weigh_signs([box for box, _ in marks], [mask for _, mask in marks], size=60)

    assert -math.inf < odds[2] < -1.5


def test_a_mark_alone_in_its_line_says_nothing():
    box, mask = draw((150, 148), (190, 58))

    assert weigh_signs([box], [mask], size=60) == [-math.inf]
    assert weigh_signs([], [], size=60) == []


def test_lean_and_bow_are_measured_as_drawn():
    _, mask = draw((150, 130), (185, 70))
    stroke = measure_stroke(mask)

    assert stroke is not None
    assert stroke.lean == pytest.approx(math.degrees(math.atan(35 / 60)), abs=2)
    assert stroke.bow == pytest.approx(0, abs=0.01)
    assert measure_lean(mask) == pytest.approx(stroke.lean, abs=3)


@pytest.mark.parametrize("shape", [(1, 1), (3, 40), (11, 2), (12, 1), (12, 40), (60, 60)])
def test_any_block_of_ink_can_be_measured(shape: tuple[int, int]):
    measure_stroke(np.ones(shape, np.uint8))
    assert abs(measure_lean(np.ones(shape, np.uint8))) < 1


def draw_pair(left: tuple[int, int], right: tuple[int, int], *lines: tuple[Point, Point]):
    """Draw two rings of the size of those in a percent sign, and lines; return the mask."""
    page = np.zeros((120, 140), np.uint8)
    for middle in (left, right):
        cv2.circle(page, middle, 11, 1, 5)
    for start, stop in lines:
        cv2.line(page, start, stop, 1, 5)
    x, y, wide, tall = cv2.boundingRect(page)
    return np.ascontiguousarray(page[y : y + tall, x : x + wide])


@pytest.mark.parametrize("nearer", [0, 8], ids=["three parts", "one part"])
def test_a_percent_sign_is_known_by_its_rings_and_its_slash(nearer: int):
    left, right = (45 + nearer, 34), (85 - nearer, 78)

    assert is_percent(draw_pair(left, right, ((48, 90), (82, 22))))


@pytest.mark.parametrize(
    "mask",
    [
        draw_pair((45, 34), (85, 78), ((56, 34), (56, 90)), ((74, 78), (74, 22))),
        draw_pair((60, 34), (60, 58)),
        draw_pair((85, 34), (45, 78), ((48, 22), (82, 90))),
        draw_pair((45, 34), (85, 40), ((48, 90), (82, 22))),
        draw(*ring(50))[1],
    ],
    ids=["9 and 6", "8", "mirrored", "rings beside each other", "0"],
)
def test_what_has_rings_elsewhere_or_more_strokes_is_no_percent_sign(mask: np.ndarray):
    assert not is_percent(mask)


def test_a_hole_in_a_torn_stroke_is_no_ring():
    mask = draw_pair((45, 34), (85, 78), ((48, 90), (82, 22)))
    ground = np.pad(1 - mask, 1, constant_values=1)
    holes = cv2.connectedComponents(ground, connectivity=4)[1][1:-1, 1:-1]
    torn = np.where(holes == holes[17, 13], 1, mask).astype(np.uint8)
    torn[17, 13] = 0

    assert is_percent(mask)
    assert not is_percent(torn)


CLOSING = [(124, 40), (138, 68), (141, 96), (128, 140)]
OPENING = [(30, 40), (16, 68), (13, 96), (26, 140)]
SEVEN = [(50, 44), (105, 44), (70, 138)]


def write(*lines: list[Point]) -> np.ndarray:
    """Draw several lines on one page."""
    page = np.zeros((200, 200), np.uint8)
    for line in lines:
        cv2.polylines(page, [np.array(line, np.int32)], False, 1, 6)
    return page


@pytest.mark.parametrize("brackets", [[CLOSING], [OPENING, CLOSING]], ids=["one", "both"])
@pytest.mark.parametrize("digit", [SEVEN, [(80, 44), (80, 138)]], ids=["7", "1"])
def test_brackets_beside_a_digit_go(digit: list[Point], brackets: list[list[Point]]):
    assert np.array_equal(remove_brackets(write(digit, *brackets)), write(digit))


@pytest.mark.parametrize(
    "lines",
    [
        [CLOSING],
        [SEVEN],
        [SEVEN, OPENING],
        [SEVEN, [(128, 40), (128, 140)]],
        [SEVEN, [(124, 100), (130, 112), (131, 126), (125, 140)]],
        [[(70, 40), (52, 66), (50, 100), (66, 140)], [(82, 40), (100, 66), (102, 100), (86, 140)]],
        [[(70, 40), (70, 140)], [(78, 40), (110, 66), (112, 110), (78, 140)]],
        [[(80, 50), (76, 140)], [(90, 50), (114, 58), (112, 95), (98, 140)]],
    ],
    ids=[
        "alone",
        "none",
        "only before",
        "a 1 beside",
        "half as tall",
        "halves of a 0",
        "a D",
        "a 7",
    ],
)
def test_what_may_be_a_part_of_a_digit_is_no_bracket(lines: list[list[Point]]):
    page = write(*lines)

    assert np.array_equal(remove_brackets(page), page)
