"""Components of ink: which are the digit, which belong to it, and which are no handwriting."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from components import choose_digit
from errors import BlankImageError

Part = tuple[int, int, int, int]  # left, top, width, height

# Beside a stroke of 8x80 pixels in the middle of 200x200.
PARTS: list[tuple[str, list[Part], list[Part]]] = [
    ("a part above", [(96, 10, 8, 30)], []),
    ("a part beside it", [(124, 80, 8, 40)], []),
    ("a part of a part", [(124, 80, 8, 40), (152, 80, 8, 40)], []),
    ("a part too far away", [], [(134, 80, 8, 40)]),
    ("a part too far away in both directions", [], [(124, 160, 8, 30)]),
    ("a crumb", [(106, 100, 8, 8)], []),
    ("a letter", [], [(114, 100, 8, 8)]),
    ("a letter beside a crumb", [(106, 100, 8, 8)], [(116, 100, 8, 8)]),
    ("a speck", [], [(106, 100, 4, 4)]),
]


@pytest.mark.parametrize(
    ("own", "foreign"), [row[1:] for row in PARTS], ids=[row[0] for row in PARTS]
)
def test_what_lies_close_to_a_digit_is_part_of_it(own: list[Part], foreign: list[Part]) -> None:
    digit, page = np.zeros((200, 200), np.uint8), np.zeros((200, 200), np.uint8)
    for part in [(96, 60, 8, 80), *own]:
        cv2.rectangle(digit, part, 1, cv2.FILLED)
    for part in foreign:
        cv2.rectangle(page, part, 1, cv2.FILLED)

    for turned in (False, True):
        whole, wanted = (each.T.copy() if turned else each for each in (page | digit, digit))
        chosen, others = choose_digit(whole, whole.astype(np.float32))
        assert np.array_equal(chosen, wanted)
        assert others == 0


@pytest.mark.parametrize("turns", range(4))
def test_a_line_that_runs_into_the_picture_is_no_digit(turns: int) -> None:
    zero = cv2.circle(np.zeros((200, 200), np.uint8), (100, 120), 25, 1, 5)
    lined = zero.copy()
    lined[20:28, :180] = 1
    zero, lined = (np.rot90(each, turns).copy() for each in (zero, lined))

    chosen, others = choose_digit(lined, lined.astype(np.float32))

    assert np.array_equal(chosen, zero)
    assert others == 0


@pytest.mark.parametrize("gap", [4, 30])
def test_a_line_below_a_digit_is_no_part_of_it(gap: int) -> None:
    zero = cv2.circle(np.zeros((200, 200), np.uint8), (100, 80), 40, 1, 5)
    underlined = cv2.rectangle(zero.copy(), (40, 122 + gap, 120, 6), 1, cv2.FILLED)

    chosen, others = choose_digit(underlined, underlined.astype(np.float32))

    assert np.array_equal(chosen, zero)
    assert others == 0


@pytest.mark.parametrize(("blur", "others"), [(1, 1), (25, 0)])
def test_what_comes_in_from_the_rim_and_begins_softly_is_a_shadow(blur: float, others: int) -> None:
    zero = cv2.circle(np.zeros((200, 200), np.float32), (120, 120), 25, 1, 5)
    corner = cv2.circle(np.zeros((200, 200), np.float32), (0, 0), 70, 1, cv2.FILLED)
    ink = np.maximum(zero, cv2.GaussianBlur(corner, (0, 0), blur))

    chosen, found = choose_digit((ink > 0.3).astype(np.uint8), ink)

    assert np.array_equal(chosen, (zero > 0).astype(np.uint8))
    assert found == others


def test_without_any_ink_there_is_no_digit() -> None:
    nothing = np.zeros((20, 20), np.uint8)

    with pytest.raises(BlankImageError):
        choose_digit(nothing, nothing.astype(np.float32))
