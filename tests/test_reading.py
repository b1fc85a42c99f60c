"""What was read is summed up: numbers and what stands beside them, a verdict, a reason."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from errors import SettingsError
from reading import (
    FoundDigit,
    Prediction,
    Reading,
    Verdict,
    call_mark,
    move_boxes,
    name_digit,
    share_sure,
    sum_up,
)

Box = tuple[int, int, int, int]
OK: Verdict
UNSURE: Verdict
NONE: Verdict
OK, UNSURE, NONE = "ok", "unsure", "not a digit"


def found(verdict: Verdict, digit: int = 3) -> FoundDigit:
    """Return a digit with a verdict."""
    probabilities = np.full(10, 0.01, np.float32)
    image = np.zeros((28, 28), np.float32)
    prediction = Prediction(digit, 0.91, probabilities, verdict, "", image)
    return FoundDigit((1, 2, 3, 4), prediction)


@pytest.mark.parametrize(
    ("rows", "kept", "verdict", "reason"),
    [
        ([[OK, OK]], [2], "ok", ""),
        ([[OK, UNSURE]], [2], "unsure", "1 of 2 digits could be others"),
        ([[OK, NONE, OK]], [2], "unsure", "1 mark beside them left out"),
        ([[NONE, OK, NONE, OK]], [2], "unsure", "2 marks beside them left out"),
        ([[NONE], [NONE]], [], "not a digit", "nothing here looks like a digit"),
        ([[]], [], "not a digit", "nothing here looks like a digit"),
        ([[OK, OK, OK], [NONE]], [3], "ok", ""),  # a stain
        ([[OK, OK, OK], [UNSURE]], [3], "unsure", "1 mark beside them left out"),  # a scratch
        ([[OK, OK, OK], [OK]], [3, 1], "ok", ""),
        ([[OK], [UNSURE]], [1, 1], "unsure", "1 of 2 digits could be others"),  # a column
        ([[OK, OK], [UNSURE, NONE, NONE, OK]], [2], "ok", ""),  # words below a number
        (
            [[OK, OK], [OK, OK, OK, NONE, NONE, UNSURE]],
            [2],
            "ok",
            "",
        ),  # half of them look like digits
        ([[OK, OK], [OK, UNSURE, UNSURE]], [2, 3], "unsure", "2 of 5 digits could be others"),
        ([[UNSURE, UNSURE, UNSURE]], [3], "unsure", "3 of 3 digits could be others"),
    ],
)
def test_words_and_stray_marks_are_left_out_and_doubt_is_passed_on(
    rows: list[list[str]], kept: list[int], verdict: str, reason: str
) -> None:
    marks = [[found(each) for each in row] for row in rows]

    reading = sum_up(marks, [[] for _ in marks], [1.0] * len(marks), 0)

    assert [len(row) for row in reading.rows] == kept
    assert (reading.verdict, reading.reason) == (verdict, reason)
    assert len(reading.digits) + len(reading.left_out) == sum(map(len, rows))


def test_a_number_that_may_be_struck_out_is_unsure() -> None:
    reading = sum_up([[found(OK)]], [[]], [1.0], 0, is_struck=True)

    assert len(reading.digits) == 1
    assert reading.verdict == "unsure"
    assert "struck out" in reading.reason


@pytest.mark.parametrize(("certainty", "verdict"), [(0.95, "ok"), (0.4, "unsure")])
def test_a_line_that_could_be_divided_otherwise_is_unsure(certainty: float, verdict: str) -> None:
    reading = sum_up([[found(OK)], [found(OK)]], [[], []], [1.0, certainty], 0)

    assert reading.verdict == verdict
    assert ("divided" in reading.reason) == (verdict == "unsure")


@pytest.mark.parametrize(
    ("upper", "lower", "turn", "is_steep"),
    [
        ((100, 0, 130, 40), (40, 30, 70, 70), 0, True),  # they climb
        ((40, 0, 70, 40), (100, 50, 130, 90), 0, True),  # they fall
        ((40, 0, 70, 40), (50, 50, 80, 90), 0, False),  # one below the other
        ((40, 0, 70, 40), (100, 80, 130, 120), 0, False),  # a title and a page number
        ((0, 100, 40, 130), (30, 40, 70, 70), 90, True),
        ((0, 40, 40, 70), (80, 100, 120, 130), 270, False),
    ],
)
def test_lines_that_may_be_one_steep_line_are_unsure(
    upper: Box, lower: Box, turn: int, is_steep: bool
) -> None:
    rows = [[FoundDigit(box, found(OK).prediction)] for box in (upper, lower)]

    reading = sum_up(rows, [[], []], [1.0, 1.0], turn)

    assert reading.verdict == (UNSURE if is_steep else OK)
    assert ("steeply" in reading.reason) == is_steep


def test_a_reading_becomes_plain_values() -> None:
    reading = Reading(
        ((found(OK, 4), found(OK, 2)), (found(UNSURE, 7),)), (found(NONE),), UNSURE, "x", 90
    )

    values = json.loads(json.dumps(reading.to_dict()))

    assert (values["text"], values["lines"]) == ("42\n7", ["42", "7"])
    assert (values["verdict"], values["reason"], values["turn"]) == ("unsure", "x", 90)
    assert [(each["line"], each["digit"]) for each in values["digits"]] == [(0, 4), (0, 2), (1, 7)]
    assert values["digits"][0]["box"] == [1, 2, 3, 4]
    assert len(values["left_out"]) == 1


@pytest.mark.parametrize(("digit", "name"), [(0, "a 0"), (1, "a 1"), (7, "a 7"), (8, "an 8")])
def test_a_digit_has_the_article_that_belongs_to_it(digit: int, name: str) -> None:
    assert name_digit(digit) == name
    assert found(OK, digit).prediction.name == name


def test_what_is_none_is_named_so() -> None:
    assert name_digit(None) == "not a digit"


@pytest.mark.parametrize(
    ("kept", "left_out", "share"),
    [([OK, OK], [], 1.0), ([OK, UNSURE], [NONE, NONE], 0.25), ([], [NONE], 0.0), ([], [], 0.0)],
)
def test_the_sure_digits_are_a_part_of_all_marks(
    kept: list[Verdict], left_out: list[Verdict], share: float
) -> None:
    row = tuple(found(each) for each in kept)

    reading = Reading((row,) if row else (), tuple(map(found, left_out)), UNSURE, "", 0)

    assert share_sure(reading) == share


@pytest.mark.parametrize(("is_percent", "share"), [(True, 1.0), (False, 2 / 3)])
def test_a_known_sign_counts_as_a_sure_digit_does(is_percent: bool, share: float) -> None:
    mark = found(OK)
    sign = replace(mark, prediction=call_mark(mark.prediction, is_percent=is_percent))

    assert share_sure(Reading(((mark, mark),), (sign,), UNSURE, "", 0)) == share


def test_a_reading_knows_its_least_sure_digit_across_its_lines() -> None:
    sure = found(OK)
    unsure = replace(sure, prediction=replace(sure.prediction, confidence=0.4))

    reading = Reading(((sure, sure), (sure, unsure)), (), UNSURE, "", 0)

    assert reading.least_confidence == 0.4
    assert Reading((), (unsure,), NONE, "", 0).least_confidence is None


def test_an_answer_is_printed_in_one_line_without_its_arrays() -> None:
    """A prediction took 199 lines, and a number of ten digits 1,498."""
    mark = found(UNSURE, 7)
    reading = Reading(((mark, mark), (mark,)), (mark,), UNSURE, "why", 90)

    assert repr(mark.prediction) == (
        "Prediction(digit=7, confidence=0.91, verdict='unsure', reason='')"
    )
    assert repr(mark) == f"FoundDigit(box=(1, 2, 3, 4), prediction={mark.prediction})"
    assert repr(reading) == (r"Reading(text='77\n7', verdict='unsure', reason='why', turn=90)")


@pytest.mark.parametrize("count", [-1, 0, 11, 99])
def test_more_guesses_than_there_are_digits_or_none_are_refused(count: int) -> None:
    """-1 gave nine of them, and 99 gave ten."""
    prediction = found(OK).prediction

    with pytest.raises(SettingsError, match=f"count {count}: choose 1 to 10"):
        prediction.top(count)

    assert len(prediction.top(10)) == 10


def test_boxes_are_moved_into_the_picture_that_a_page_was_cut_out_of() -> None:
    reading = Reading(((found(OK),),), (replace(found(NONE), box=(0, 0, 40, 10)),), "ok", "", 0)
    quarter = np.array([[0, -2, 60], [2, 0, 5], [0, 0, 2]], float)  # turned, and in half the size

    moved = move_boxes(reading, quarter, 100, 30)

    assert moved.digits[0].box == (26, 3, 28, 6)
    assert moved.left_out[0].box == (20, 2, 30, 30)  # not below the picture's lower edge
    assert (moved.text, moved.verdict) == (reading.text, "ok")
