"""Panels show answers in words, in one shape, and promise no certainty."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from panels import render_answer, render_message, short_percent
from reading import SEVERAL, Prediction


def text_of(html: str) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", html).split())


def prediction(digit: int, confidence: float, verdict: Any = "ok", reason: str = "") -> Prediction:
    probabilities = np.full(10, (1 - confidence) / 9, np.float32)
    probabilities[digit] = confidence
    return Prediction(
        digit, confidence, probabilities, verdict, reason, np.zeros((28, 28), np.float32)
    )


@pytest.mark.parametrize(
    ("share", "shown"),
    [(0.0, "0.0 %"), (0.42, "42.0 %"), (0.9994, "99.9 %"), (0.9995, "> 99.9 %"), (1, "> 99.9 %")],
)
def test_no_bar_promises_certainty(share: float, shown: str):
    assert short_percent(share) == shown


def test_the_bars_stand_in_fixed_order_and_say_their_values():
    html = render_answer(prediction(3, 0.91))

    rows = re.findall(r'bar-digit">(\d)<.*?width:([\d.]+)%.*?bar-value">([\d.]+) %', html)
    assert [row[0] for row in rows] == list("0123456789")
    assert rows[3][1:] == ("91.0", "91.0")
    assert rows[0][1:] == ("1.0", "1.0")
    assert 'aria-label="Confidence for each digit"' in html


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (prediction(8, 0.9999), "8 This is an 8 Over 99.9 % , very sure"),
        (prediction(4, 0.95), "4 This is a 4 95.0 % , sure"),
        (
            prediction(4, 0.61, "unsure", "it could also be a 9"),
            "4 Perhaps a 4 61.0 % , fairly sure It could also be a 9",
        ),
        (
            prediction(0, 0.5, "not a digit", "it looks like nothing we know"),
            "? Not a digit, it seems If it is one, a 0 : 50.0 % It looks like nothing we know",
        ),
        (
            prediction(1, 0.19, "not a digit", "it looks like nothing we know"),
            "? Not a digit, it seems It looks like nothing we know",
        ),
        (
            prediction(9, 0.998, "unsure", SEVERAL[0]),
            "9 Perhaps a 9 99.8 % There is more than one digit in the picture",
        ),
        (
            prediction(1, 0.6, "not a digit", SEVERAL[1]),
            "? Not a digit, it seems This does not look like a single digit",
        ),
    ],
)
def test_the_verdict_is_told_in_words(given: Prediction, words: str):
    assert text_of(render_answer(given)).startswith(words)


@pytest.mark.parametrize("reason", SEVERAL)
def test_several_digits_are_led_to_where_they_are_read(reason: str):
    button = '<button type="button" class="answer-lead">'
    several, one = prediction(9, 0.9, "unsure", reason), prediction(9, 0.9)

    assert button in render_answer(several, lead=True)
    assert button not in render_answer(one, lead=True)
    assert button not in render_answer(several)  # beside another answer, say


def test_all_answers_have_the_same_shape_so_that_nothing_jumps_on_the_page():
    answers = [
        render_answer(prediction(3, 0.9)),
        render_answer(prediction(3, 0.9, "unsure", "why"), label=4, name="n"),
        render_message("Draw a digit", "now"),
        render_message("Cannot", "be read", tone="error"),
    ]

    # What may come and go is inside the texts: the bold number and the coloured label.
    shapes = {tuple(re.findall(r"<(?!/?b>|/?span)/?\w+", answer)) for answer in answers}

    assert len(shapes) == 1


@pytest.mark.parametrize(("label", "words"), [(3, "read correctly"), (5, "misread")])
def test_a_test_picture_is_compared_with_its_label(label: int, words: str):
    html = render_answer(prediction(3, 0.9), label=label, name="MNIST picture 5")

    assert f"Labelled {label}: {words} MNIST picture 5" in text_of(html)
