"""Segmentation: every digit of a page is among the candidates, and the best way through is found.

No network is needed: where one is asked for, a candidate that has the box of a written digit gets
a high confidence, and any other a low one.
"""

from __future__ import annotations

import cv2
import numpy as np
import pytest

import segment
from degrade import photograph
from errors import BlankImageError, ImageError
from pen import Hand
from picture import open_picture
from preprocess import Prepared
from segment import (
    PAGE_SIDE,
    Candidate,
    Line,
    choose_candidates,
    find_lines,
    find_skipped,
    measure_certainty,
)
from strokes import draw_number

Box = tuple[int, int, int, int]


def write(
    text: str, *, seed: int = 0, height: int = 70, **options: float
) -> tuple[np.ndarray, list[Box]]:
    """Write a number black on white; return it with the box of each digit."""
    ink, boxes = draw_number(text, np.random.default_rng(seed), height=height, **options)
    return 255 - ink, boxes


def overlap(one: Box, other: Box) -> float:
    """Return the area that two boxes share, as a part of what they cover together."""
    wide = min(one[2], other[2]) - max(one[0], other[0])
    tall = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(0, wide) * max(0, tall)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return shared / (sum(areas) - shared)


def lines_of(pixels: np.ndarray, *, turn: int = 0) -> tuple[Line, ...]:
    return find_lines(open_picture(pixels, working_side=PAGE_SIDE), turn=turn)


def best_way(line: Line, truth: list[Box]) -> list[Box]:
    """Return the boxes of the best way through a line, if the network knew the truth."""
    confidences = [
        0.99 if max(overlap(candidate.prepared.box, box) for box in truth) > 0.7 else 0.15
        for candidate in line.candidates
    ]
    return [line.candidates[number].prepared.box for number in choose_candidates(line, confidences)]


def assert_found(boxes: list[Box], truth: list[Box], *, least: float = 0.7) -> None:
    assert len(boxes) == len(truth)
    assert min(overlap(box, wanted) for box, wanted in zip(boxes, truth, strict=True)) > least


# ---- Lines and digits ---------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(6))
def test_the_digits_of_a_row_are_found_in_reading_order(seed: int):
    text = "".join(map(str, np.random.default_rng(seed).integers(0, 10, 2 * seed + 1)))
    pixels, truth = write(text, seed=seed)

    lines = lines_of(pixels)

    assert len(lines) == 1
    assert_found(best_way(lines[0], truth), truth)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_photographed_row_is_found_in_either_polarity(seed: int):
    ink, truth = draw_number("40715", np.random.default_rng(seed), height=80)
    photo = photograph(ink, np.random.default_rng(seed), strength=0.4, keep_layout=True)

    for pixels in (photo, 255 - photo):
        lines = lines_of(pixels)
        rows = [best_way(line, truth) for line in lines]
        assert_found(max(rows, key=len), truth, least=0.5)


def test_digits_that_touch_are_divided():
    pixels, truth = write("3562", seed=4, gap=-0.04)

    lines = lines_of(pixels)

    assert_found(best_way(lines[0], truth), truth)


def test_lines_come_from_top_to_bottom_and_digits_from_left_to_right():
    rows = [write(text, seed=seed) for seed, text in enumerate(("123", "4567", "89"))]
    page = np.full((600, 700), 255, np.uint8)
    truth: list[list[tuple[int, int, int, int]]] = []
    top = 20
    for pixels, boxes in rows:
        left = 30 + 20 * len(truth)
        page[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
        truth.append([(a + left, b + top, c + left, d + top) for a, b, c, d in boxes])
        top += pixels.shape[0] + 25

    lines = lines_of(page)

    assert len(lines) == 3
    for line, boxes in zip(lines, truth, strict=True):
        assert_found(best_way(line, boxes), boxes)


@pytest.mark.parametrize("degrees", [-8, 8])
def test_a_row_that_climbs_or_falls_is_one_line(degrees: float):
    pixels, _ = write("90817263", seed=5, height=50)
    tall, wide = pixels.shape
    page = np.full((wide, wide + 40), 255, np.uint8)
    page[(wide - tall) // 2 : (wide - tall) // 2 + tall, 20 : 20 + wide] = pixels
    matrix = cv2.getRotationMatrix2D((wide / 2, wide / 2), degrees, 1)
    turned = cv2.warpAffine(page, matrix, page.shape[::-1], borderValue=255)

    lines = lines_of(turned)

    assert len(lines) == 1
    assert len(lines[0].skip_costs) >= 8


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_a_turned_page_gives_the_same_digits_with_boxes_in_the_picture_as_it_came(turn: int):
    pixels, truth = write("2463", seed=7)
    lying = np.ascontiguousarray(np.rot90(pixels, -turn // 90))
    tall, wide = pixels.shape
    upright = lines_of(pixels)
    expected = best_way(upright[0], truth)

    lines = lines_of(lying, turn=turn)

    assert [len(line.candidates) for line in lines] == [len(line.candidates) for line in upright]
    for mine, same in zip(lines[0].candidates, upright[0].candidates, strict=True):
        assert np.abs(mine.prepared.digit - same.prepared.digit).mean() < 0.02
    back = {
        90: lambda box: (box[1], wide_of(lying) - box[2], box[3], wide_of(lying) - box[0]),
        180: lambda box: (wide - box[2], tall - box[3], wide - box[0], tall - box[1]),
        270: lambda box: (len(lying) - box[3], box[0], len(lying) - box[1], box[2]),
    }[turn]
    turned_back = [back(candidate.prepared.box) for candidate in lines[0].candidates]
    assert all(max(overlap(box, other) for other in turned_back) > 0.9 for box in expected)


def wide_of(pixels: np.ndarray) -> int:
    return int(pixels.shape[1])


def test_boxes_are_in_pixels_of_the_picture_as_it_came_though_it_was_reduced():
    pixels, truth = write("318", seed=8, height=90)
    large = cv2.resize(pixels, None, fx=8, fy=8, interpolation=cv2.INTER_LINEAR)
    assert max(large.shape) > PAGE_SIDE

    lines = lines_of(large)

    boxes = [(8 * a, 8 * b, 8 * c, 8 * d) for a, b, c, d in truth]
    assert_found(best_way(lines[0], boxes), boxes)


def test_the_same_picture_gives_the_same_candidates_each_time():
    pixels, _ = write("5027", seed=9)

    first, second = lines_of(pixels), lines_of(pixels)

    assert [line.skip_costs for line in first] == [line.skip_costs for line in second]
    for one, other in zip(first[0].candidates, second[0].candidates, strict=True):
        assert np.array_equal(one.prepared.digit, other.prepared.digit)
        assert one.cost == other.cost


# ---- What is not a digit ------------------------------------------------------------------------


def test_specks_and_ruled_lines_are_no_candidates():
    pixels, truth = write("64028", seed=10)
    rng = np.random.default_rng(0)
    dirty = pixels.copy()
    dirty[[20, 75, 110]] = 90
    for row, column in rng.integers(0, np.array(pixels.shape) - 3, (12, 2)):
        dirty[row : row + 2, column : column + 2] = 60

    lines = lines_of(dirty)

    rows = [best_way(line, truth) for line in lines]
    assert_found(max(rows, key=len), truth, least=0.6)
    assert sum(map(len, rows)) == len(truth)


@pytest.mark.parametrize("square", [16, 24, 32])
@pytest.mark.parametrize("seed", [0, 2, 3])
def test_broad_strokes_on_squared_paper_keep_their_ink(square: int, seed: int):
    """The paper's lines are thinner than the pen, and nearly as dark; they cross every digit."""
    text, pen = "5240886", Hand(width=9)
    ink, truth = draw_number(text, np.random.default_rng(seed), height=70, hand=pen)
    paper = np.full(ink.shape, 250, np.uint8)
    paper[square // 2 :: square] = paper[:, square // 3 :: square] = 90

    lines = lines_of(np.minimum(paper, 255 - cv2.convertScaleAbs(ink, alpha=0.86)))

    assert_found([box for line in lines for box in best_way(line, truth)], truth)


@pytest.mark.parametrize(
    "pixels",
    [
        np.full((60, 60), 255, np.uint8),
        np.zeros((60, 60), np.uint8),
        np.full((1, 1), 128, np.uint8),
        np.full((3, 900), 255, np.uint8),
        np.full((50, 80, 3), 0.5, np.float32),
    ],
)
def test_a_page_without_ink_is_blank(pixels: np.ndarray):
    with pytest.raises(BlankImageError, match="contrast"):
        lines_of(pixels)


def test_a_page_with_too_many_marks_is_refused_with_advice():
    dots = np.full((1000, 1000), 255, np.uint8)
    for offset in range(8):
        dots[10 + offset :: 20, 10::20] = 0

    with pytest.raises(ImageError, match="cut it to the digits"):
        lines_of(dots)


@pytest.mark.parametrize("noise", [0.05, 0.15, 0.3])
def test_digits_are_found_under_the_noise_of_a_camera(noise: float):
    written, _ = write("4071", seed=11)
    paper = 0.2 + 0.6 * written / 255
    noisy = np.clip(paper + np.random.default_rng(2).normal(0, noise, paper.shape), 0, 1)

    (line,) = lines_of(np.rint(255 * noisy).astype(np.uint8))

    assert len(line.candidates) >= 4


@pytest.mark.parametrize("shape", [(2, 2), (28, 28), (1, 400), (400, 1), (16, 1200), (900, 20)])
def test_in_nothing_but_noise_there_is_no_ink(shape: tuple[int, int]):
    pixels = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)

    with pytest.raises(BlankImageError):
        lines_of(pixels)


# ---- The best way -------------------------------------------------------------------------------


def candidate(start: int, stop: int, cost: float = 0.0) -> Candidate:
    blank = Prepared(np.zeros((28, 28), np.float32), 1, 1, (0, 0, 1, 1), True)
    return Candidate(start, stop, blank, cost)


@pytest.mark.parametrize(
    ("confidences", "expected"),
    [
        ([0.99, 0.99, 0.30], [0, 1]),  # each piece is a digit
        ([0.40, 0.40, 0.99], [2]),  # only together they are one
        ([0.99, 0.50, 0.20], [0, 1]),  # a doubtful digit beside a sure one
    ],
)
def test_the_network_decides_what_belongs_together(confidences: list[float], expected: list[int]):
    line = Line((candidate(0, 1), candidate(1, 2), candidate(0, 2)), (7.0, 7.0))

    assert choose_candidates(line, confidences) == expected


def test_what_is_recognised_as_nothing_and_is_small_is_left_out():
    line = Line((candidate(0, 1), candidate(1, 2, cost=3.0)), (7.0, 1.0))

    assert choose_candidates(line, [0.99, 0.2]) == [0]


def test_among_equal_ways_fewer_digits_win():
    line = Line((candidate(0, 1), candidate(1, 2), candidate(0, 2)), (7.0, 7.0))

    assert choose_candidates(line, [0.99, 0.99, 0.99]) == [2]


@pytest.mark.parametrize("dots", [(0.2, 0.7), (0.95,)], ids=["colon", "point"])
def test_a_sign_between_digits_is_no_part_of_either(dots: tuple[float, ...]):
    """The digit before took it in, which the network does not mind, and 12:30 was read as 1230."""
    page = np.full((140, 260), 255, np.uint8)
    for left in (40, 80, 150, 190):
        page[30:110, left : left + 8] = 0
    for down in dots:
        cv2.circle(page, (119, round(30 + 80 * down)), 5, 0, -1)
    (line,) = lines_of(page)
    heights = [each.prepared.box[3] - each.prepared.box[1] for each in line.candidates]

    chosen = choose_candidates(line, [0.99 if height > 70 else 0.3 for height in heights])

    assert len(chosen) == 4
    assert len(find_skipped(line, chosen)) == len(dots)


def test_a_comma_is_no_part_of_a_digit_though_it_is_larger_than_a_point():
    """A third as high as a digit, it was taken in: 3,5 was read as 35, and surely."""
    page = np.full((140, 200), 255, np.uint8)
    for left in (40, 120):
        page[30:110, left : left + 8] = 0
    cv2.line(page, (66, 104), (60, 126), 0, 6)
    (line,) = lines_of(page)
    heights = [each.prepared.box[3] - each.prepared.box[1] for each in line.candidates]

    chosen = choose_candidates(line, [0.99 if height > 70 else 0.3 for height in heights])

    assert len(chosen) == 2
    assert len(find_skipped(line, chosen)) == 1


def test_what_is_as_large_as_a_digit_is_rather_an_illegible_one_than_dirt():
    (line,) = lines_of(write("1")[0])

    assert choose_candidates(line, [0.1] * len(line.candidates))


@pytest.mark.parametrize(("height", "digits"), [(1.0, 2), (0.5, 1)])
def test_two_things_of_one_height_are_two_digits_though_the_network_takes_both_for_one(
    height: float, digits: int
):
    page = np.full((140, 200), 255, np.uint8)
    page[30:110, 70:78] = page[30 : 30 + round(80 * height), 82:90] = 0
    (line,) = lines_of(page)

    assert len(choose_candidates(line, [0.99] * len(line.candidates))) == digits


STEM, FULL, LOWER = (40, 40, 48, 120), (80, 40, 88, 120), (52, 66, 60, 120)
NEAR, FAR, FARTHER = (52, 40, 60, 120), (72, 80, 80, 120), (114, 65, 122, 120)
DASH, POINT, SMALL = (52, 78, 132, 86), (56, 108, 66, 120), (80, 80, 88, 110)
# A cup of two stems is cut beside the first one.
FLOOR, CUP, REST = (48, 112, 88, 120), (40, 40, 88, 120), (48, 40, 88, 120)


@pytest.mark.parametrize(
    ("cost", "ink", "confidences", "chosen", "without"),
    [
        ("COST_OF_CUT", [STEM, FLOOR, FULL], {CUP: 0.85}, [CUP], [STEM, REST]),
        ("COST_OF_GAP", [STEM, FAR], {}, [STEM, FAR], [(40, 40, 80, 120)]),
        ("COST_OF_PAIR", [STEM, NEAR], {}, [STEM, NEAR], [(40, 40, 60, 120)]),
        ("COST_OF_SIGN_GAP", [STEM, POINT], {}, [STEM], [(40, 40, 66, 120)]),
        ("COST_OF_WIDTH", [STEM, DASH], {}, [STEM, DASH], [(40, 40, 132, 120)]),
        ("COST_OF_SMALLNESS", [STEM, SMALL], {}, [STEM], [STEM, SMALL]),
        ("COST_OF_DIGIT", [STEM, LOWER], {}, [(40, 40, 60, 120)], [STEM, LOWER]),
        (
            "COST_OF_FIRST_DOUBT",
            [STEM, FAR],
            {STEM: 0.8, FAR: 0.8},
            [(40, 40, 80, 120)],
            [STEM, FAR],
        ),
        (
            "COST_OF_DOUBT",
            [STEM, FARTHER],
            {STEM: 0.3, FARTHER: 0.3},
            [(40, 40, 122, 120)],
            [STEM, FARTHER],
        ),
    ],
)
def test_each_cost_decides_what_is_read(
    monkeypatch: pytest.MonkeyPatch,
    cost: str,
    ink: list[Box],
    confidences: dict[Box, float],
    chosen: list[Box],
    without: list[Box],
):
    """Half of them could be left out, and no test would have told."""
    others = [(300, 40, 308, 120), (340, 40, 348, 120)]  # say how high a digit is here
    page = np.full((160, 420), 255, np.uint8)
    for left, top, right, bottom in [*ink, *others]:
        page[top:bottom, left:right] = 0

    def read() -> list[Box]:
        (line,) = lines_of(page)
        boxes = [each.prepared.box for each in line.candidates]
        way = choose_candidates(line, [confidences.get(box, 0.99) for box in boxes])
        return [boxes[number] for number in way]

    assert read() == chosen + others
    monkeypatch.setattr(segment, cost, 0.0)
    assert read() == without + others


def scratch_out(pixels: np.ndarray, box: Box) -> None:
    """Move a black pen densely to and fro over a digit."""
    left, top, right, bottom = box
    columns = np.linspace(left, right, 9).round().astype(int)
    rows = np.where(np.arange(9) % 2, top, bottom)
    cv2.polylines(pixels, [np.column_stack([columns, rows])], False, 0, 5, cv2.LINE_AA)


@pytest.mark.parametrize("place", [0, 3, 6])
@pytest.mark.parametrize("digit", [1, 4, 8])
def test_what_was_scratched_out_is_left_out_whatever_it_may_look_like(digit: int, place: int):
    text = list("2306957")
    text[place] = str(digit)
    pixels, truth = write("".join(text), seed=digit, hand=Hand(width=5.0))
    scratch_out(pixels, truth[place])
    (line,) = lines_of(pixels)

    # The network is rather sure of all that is as large as a digit.
    chosen = choose_candidates(line, [0.85] * len(line.candidates))

    boxes = [line.candidates[number].prepared.box for number in chosen]
    assert_found(boxes, [box for at, box in enumerate(truth) if at != place])
    assert len(find_skipped(line, chosen)) == 1


def test_a_bold_digit_that_the_network_recognises_is_not_left_out():
    pixels, truth = write("230695", hand=Hand(width=4.0))
    bold, (box,) = write("8", hand=Hand(width=11.0))
    pixels, bold = (
        np.pad(each, ((0, 160), (0, 0)), constant_values=255)[:160] for each in (pixels, bold)
    )
    shift = pixels.shape[1]
    (line,) = lines_of(np.hstack([pixels, bold]))

    boxes = best_way(line, [*truth, (box[0] + shift, box[1], box[2] + shift, box[3])])

    assert len(boxes) == 7


def test_what_no_chosen_candidate_has_was_skipped():
    point = candidate(1, 2, cost=np.inf)
    line = Line((candidate(0, 1), point, candidate(1, 3), candidate(2, 3)), (7.0, 1.0, 7.0))
    chosen = choose_candidates(line, [0.99, 0.99, 0.2, 0.99])

    assert chosen == [0, 3]
    assert find_skipped(line, chosen) == [1]
    assert measure_certainty(line, [3, 0, 8, 2], [0.99, 0.99, 0.2, 0.99], chosen) > 0.9


def test_a_line_without_candidates_has_no_digits():
    line = Line((), (1.0, 2.0))

    assert choose_candidates(line, []) == []
    assert measure_certainty(line, [], [], []) == pytest.approx(1)


TWO_PIECES = Line((candidate(0, 1), candidate(1, 2), candidate(0, 2)), (7.0, 7.0))


@pytest.mark.parametrize(
    ("answers", "confidences", "low", "high"),
    [
        ([1, 3, 8], [0.99, 0.99, 0.12], 0.95, 1.0),  # 13; together they are nothing
        ([1, 3, 8], [0.99, 0.99, 0.95], 0.3, 0.7),  # 13 or 8
        ([1, 1, 8], [0.99, 0.30, 0.99], 0.95, 1.0),  # 8
    ],
)
def test_what_can_be_divided_in_two_ways_is_not_certain(
    answers: list[int], confidences: list[float], low: float, high: float
):
    chosen = choose_candidates(TWO_PIECES, confidences)

    assert low <= measure_certainty(TWO_PIECES, answers, confidences, chosen) <= high


def test_ways_to_the_same_digits_add_up_and_all_answers_share_one_whole():
    """Of the four readings of two pieces, each is as certain as its part of all ways."""
    answers, confidences = [5, 5, 5], [0.8, 0.7, 0.6]

    shares = [
        measure_certainty(TWO_PIECES, answers, confidences, chosen)
        for chosen in ([], [0], [0, 1])  # "", "5" (in three ways) and "55"
    ]

    assert sum(shares) == pytest.approx(1)
    assert measure_certainty(TWO_PIECES, answers, confidences, [2]) == pytest.approx(shares[1])
