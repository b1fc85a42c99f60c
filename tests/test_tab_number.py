"""The tab for numbers: what its handlers answer, without a browser."""

from __future__ import annotations

import base64
import io
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

import tab_number
from reading import FoundDigit, Prediction, Reading
from strokes import draw_number
from tab_number import TURNS, read_number, render_reading, turn_box

if TYPE_CHECKING:
    from service import Service


def sent(pixels: np.ndarray, *, kind: str = "drawing", name: str = "a.png") -> dict[str, Any]:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    url = "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
    return {"kind": kind, "name": name, "size": len(url), "data": url}


def text_of(html: str) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", html).split())


def found(
    digit: int, box: tuple[int, int, int, int], *, verdict: str = "ok", reason: str = ""
) -> FoundDigit:
    probabilities = np.full(10, 0.001, np.float32)
    probabilities[digit] = 0.991
    image = np.zeros((28, 28), np.float32)
    return FoundDigit(box, Prediction(digit, 0.991, probabilities, verdict, reason, image))


@pytest.fixture
def number() -> np.ndarray:
    """Return a picture of "4071", black on white."""
    ink, _ = draw_number("4071", np.random.default_rng(3), height=90)
    return 255 - ink


PAGE = np.ones((60, 200, 3), np.float32)
WHITE = np.full((280, 560), 255, np.uint8)


# ---- Handlers ------------------------------------------------------------------------------------


def test_the_number_on_the_pad_is_answered_as_the_predictor_reads_it(
    service: Service, number: np.ndarray
):
    expected = service.predictor.read(number, turn=0)

    answer = read_number(service, sent(number), "auto")

    assert len(expected.digits) == 4
    assert f'number-text">{expected.text}</p>' in answer
    assert answer.count("<tr><td>") == 4
    assert answer.count('<g class="number-box') == 4 + len(expected.left_out)


@pytest.mark.parametrize("value", [None, "", {}, sent(WHITE)])
def test_an_empty_pad_asks_for_a_number_and_is_no_error(service: Service, value: Any):
    answer = read_number(service, value, "auto")

    assert "Write a number" in answer
    assert "answer-blank" in answer
    assert "<svg" not in answer


def test_an_uploaded_picture_without_ink_is_told_apart_from_an_empty_pad(service: Service):
    answer = read_number(service, sent(WHITE, kind="picture", name="empty page.png"), "auto")

    assert "No digits found" in answer
    assert "empty page.png" in answer


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        (7, "reload the page"),
        ({"name": "a.png", "data": "/etc/passwd"}, "try again"),
        ({"name": "a.png", "data": "data:image/png;base64,A*A="}, "damaged"),
        ({"name": "a.png", "size": 50 * 2**20, "data": ""}, "a.png has 50 MB"),
        ({"name": "a.txt", "data": "data:;base64,YSBsZXR0ZXI="}, "a.txt: not a picture"),
    ],
)
def test_what_is_not_a_picture_is_refused_with_advice(service: Service, value: Any, hint: str):
    answer = read_number(service, value, "auto")

    assert "This picture cannot be read" in answer
    assert hint in text_of(answer)


def test_a_page_with_too_many_marks_is_refused_with_advice(service: Service):
    dots = np.full((1000, 1000), 255, np.uint8)
    for offset in range(8):
        dots[10 + offset :: 20, 10::20] = 0

    answer = read_number(service, sent(dots, kind="picture", name="dots.png"), "auto")

    assert "This picture cannot be read" in answer
    assert "cut it to the digits" in answer


@pytest.mark.parametrize(
    ("kind", "turn", "asked"),
    [("drawing", "auto", 0), ("drawing", 90, 0), ("picture", "auto", "auto"), ("picture", 90, 90)],
)
def test_only_pictures_are_turned(
    service: Service,
    number: np.ndarray,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    turn: Any,
    asked: Any,
):
    turns = []
    read = service.predictor.read
    monkeypatch.setattr(
        service.predictor, "read", lambda source, turn: turns.append(turn) or read(source, turn=0)
    )

    read_number(service, sent(number, kind=kind), turn)

    assert turns == [asked]


def test_a_turn_that_nobody_offered_is_refused(service: Service, number: np.ndarray):
    answer = read_number(service, sent(number, kind="picture"), 45)

    assert "cannot turn by 45" in answer


def test_a_test_picture_is_named_after_what_was_written(service: Service):
    sample = tab_number.make_number_sample()
    answer = tab_number.read_number(service, sample, "auto")

    digits = re.match(r"\d+", sample["name"])
    assert digits
    assert 3 <= len(digits.group()) <= 9
    assert "label" not in sample or sample["label"] is None
    assert "number-text" in answer


def test_what_the_file_is_called_cannot_become_part_of_the_page(service: Service):
    value = sent(WHITE, kind="picture", name='"><script>alert(1)</script>')

    answer = read_number(service, value, "auto")

    assert "<script" not in answer
    assert "&lt;script&gt;" in answer


# ---- Panels --------------------------------------------------------------------------------------


def test_a_reading_shows_its_lines_its_boxes_and_its_table():
    rows = (
        (found(4, (10, 5, 30, 25)), found(2, (40, 5, 60, 25))),
        (found(7, (10, 30, 30, 55), verdict="unsure", reason="it could also be a 1"),),
    )
    left_out = (found(0, (70, 5, 90, 25), verdict="not a digit"),)
    reading = Reading(rows, left_out, "unsure", "1 of 3 digits could be others", 0)

    html = render_reading(reading, PAGE, (200, 60))

    text = text_of(html)
    assert "42<br>7" in html
    assert "3 digits in 2 lines" in text
    assert "1 of 3 digits could be others" in text
    assert "3 7 99.1 % unsure It could also be a 1" in text
    kinds = re.findall(r'number-box number-([\w-]+)"', html)
    assert kinds == ["ok", "ok", "unsure", "left-out"]


def test_what_is_unsure_differs_from_the_rest_by_more_than_its_colour():
    reading = Reading(
        ((found(4, (10, 5, 30, 25)), found(2, (40, 5, 60, 25), verdict="unsure")),),
        (),
        "unsure",
        "1 of 2 digits could be others",
        0,
    )

    html = render_reading(reading, PAGE, (200, 60))

    assert re.findall(r"<text[^>]*>([^<]*)</text>", html) == ["4", "2?"]
    assert "question mark" in html


def test_a_reading_without_digits_shows_what_was_left_out():
    mark = found(3, (10, 5, 30, 25), verdict="not a digit")
    reading = Reading((), (mark,), "not a digit", "nothing here looks like a digit", 0)

    html = render_reading(reading, PAGE, (200, 60))

    assert "No number, it seems" in html
    assert "Nothing here looks like a digit" in html
    assert "<table" not in html
    assert "number-left-out" in html


def test_a_page_that_was_turned_is_shown_upright_with_its_boxes_on_the_digits():
    pixels = np.ones((200, 100, 3), np.float32)
    reading = Reading(((found(4, (10, 20, 40, 90)),),), (), "ok", "", 90)

    html = render_reading(reading, pixels, (100, 200))

    assert 'viewBox="0 0 200 100"' in html
    assert '<rect x="20" y="60" width="70" height="30"/>' in html
    assert "turned to the left" in html


@pytest.mark.parametrize("turn", [0, 90, 180, 270])
def test_a_box_is_turned_with_its_picture(turn: int):
    picture = np.zeros((40, 70), np.uint8)
    picture[5:20, 12:60] = 1

    left, top, right, bottom = turn_box((12, 5, 60, 20), (70, 40), turn)

    expected = np.zeros_like(np.rot90(picture, turn // 90))
    expected[top:bottom, left:right] = 1
    assert np.array_equal(np.rot90(picture, turn // 90), expected)


def test_every_turn_that_the_reader_knows_is_offered_once():
    from predict import TURNS as KNOWN

    assert [turn for _, turn in TURNS] == ["auto", *KNOWN]
