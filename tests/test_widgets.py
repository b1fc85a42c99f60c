from __future__ import annotations

import base64
import io
import re
from typing import Any

import gradio as gr
import numpy as np
import pytest
from PIL import Image

import widgets
from access import Access
from errors import ImageError, ImageTooLargeError
from reading import SEVERAL, Prediction


def data_url(content: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"


def text_of(html: str) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", html).split())


def prediction(digit: int, confidence: float, verdict: Any = "ok", reason: str = "") -> Prediction:
    probabilities = np.full(10, (1 - confidence) / 9, np.float32)
    probabilities[digit] = confidence
    return Prediction(
        digit, confidence, probabilities, verdict, reason, np.zeros((28, 28), np.float32)
    )


# ---- What the pad sends -------------------------------------------------------------------------


@pytest.mark.parametrize("extra", [1, 2, 3, 1000])
def test_a_picture_above_the_limit_is_refused(monkeypatch: pytest.MonkeyPatch, extra: int):
    monkeypatch.setattr(widgets, "MAX_PICTURE_BYTES", 3000)

    with pytest.raises(ImageTooLargeError, match="save a smaller copy"):
        widgets.decode_data_url(data_url(bytes(3000 + extra)))

    assert len(widgets.decode_data_url(data_url(bytes(3000)))) == 3000


def test_a_huge_data_url_is_refused_before_it_is_decoded(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(widgets, "MAX_PICTURE_BYTES", 3000)
    monkeypatch.setattr(base64, "b64decode", lambda *args, **named: pytest.fail("was decoded"))

    with pytest.raises(ImageTooLargeError):
        widgets.decode_data_url("data:image/png;base64," + "A" * 1_000_000)


def test_a_data_url_without_an_end_of_its_head_is_not_searched_for_one():
    with pytest.raises(ImageError):
        widgets.decode_data_url("data:" + "x" * 1_000_000 + ";base64,AAAA")


@pytest.mark.parametrize(
    ("label", "kept"),
    [(0, 0), (9, 9), (10, None), (-1, None), ("7", None), (True, None), (7.0, None)],
)
def test_only_a_digit_is_taken_for_a_label(label: Any, kept: int | None):
    picture = widgets.read_picture({"data": data_url(b"any"), "label": label})

    assert picture is not None
    assert picture.label == kept


def test_an_empty_pad_holds_no_picture():
    assert widgets.read_picture({"kind": "nothing", "at": 1, "asked": 2}) is None


# ---- What is asked and answered -----------------------------------------------------------------


def test_an_answer_says_to_which_question_it_belongs_and_who_gave_it():
    stamped = widgets.stamp("<p>7</p>", {"asked": 3}, "0123456789ab")

    assert stamped == '<div data-asked="3" data-model="0123456789ab"><p>7</p></div>'


@pytest.mark.parametrize("value", [None, 7, {}, {"asked": None}, {"asked": '"><script>'}])
def test_what_is_no_number_of_a_question_stays_out_of_the_page(value: object):
    assert widgets.stamp("<p>7</p>", value) == "<p>7</p>"


def test_the_pad_knows_where_it_is_answered_and_what_stands_there_while_it_is_empty():
    with gr.Blocks() as page:
        pad = widgets.build_pad()
        outputs = [gr.HTML(elem_id="there"), gr.LinePlot(), gr.HTML()]
        widgets.keep_current(
            [pad.input],
            lambda _: ("<p>7</p>", None, ""),
            [pad],
            outputs,
            blank="<p>Draw</p>",
            model=lambda: "1f",
        )

    [listener] = page.fns.values()
    assert listener.fn is not None
    stamped = '<div data-asked="1" data-model="1f"><p>7</p></div>'
    assert listener.fn({"asked": 1})[:2] == (stamped, None)
    props = pad.get_config()["props"]
    assert (props["answers"], props["blank"]) == (["there"], "<p>Draw</p>")


# ---- What the page shows ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("share", "shown"),
    [(0.0, "0.0 %"), (0.42, "42.0 %"), (0.9994, "99.9 %"), (0.9995, "> 99.9 %"), (1, "> 99.9 %")],
)
def test_no_bar_promises_certainty(share: float, shown: str):
    assert widgets.short_percent(share) == shown


def test_the_bars_stand_in_fixed_order_and_say_their_values():
    html = widgets.render_answer(prediction(3, 0.91))

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
    assert text_of(widgets.render_answer(given)).startswith(words)


@pytest.mark.parametrize("reason", SEVERAL)
def test_several_digits_are_led_to_where_they_are_read(reason: str):
    button = '<button type="button" class="answer-lead">'
    several, one = prediction(9, 0.9, "unsure", reason), prediction(9, 0.9)

    assert button in widgets.render_answer(several, lead=True)
    assert button not in widgets.render_answer(one, lead=True)
    assert button not in widgets.render_answer(several)  # beside another answer, say


def test_all_answers_have_the_same_shape_so_that_nothing_jumps_on_the_page():
    answers = [
        widgets.render_answer(prediction(3, 0.9)),
        widgets.render_answer(prediction(3, 0.9, "unsure", "why"), label=4, name="n"),
        widgets.render_message("Draw a digit", "now"),
        widgets.render_message("Cannot", "be read", tone="error"),
    ]

    # What may come and go is inside the texts: the bold number and the coloured label.
    shapes = {tuple(re.findall(r"<(?!/?b>|/?span)/?\w+", answer)) for answer in answers}

    assert len(shapes) == 1


@pytest.mark.parametrize(("label", "words"), [(3, "read correctly"), (5, "misread")])
def test_a_test_picture_is_compared_with_its_label(label: int, words: str):
    html = widgets.render_answer(prediction(3, 0.9), label=label, name="MNIST picture 5")

    assert f"Labelled {label}: {words} MNIST picture 5" in text_of(html)


@pytest.mark.parametrize(
    "pixels",
    [
        np.eye(28, dtype=np.float32),
        np.eye(28) * 2 - 0.5,  # beyond the range, as rounding leaves it
        np.eye(28, dtype=np.uint8) * 255,
        np.zeros((5, 9, 3), np.uint8),
    ],
)
def test_pixels_become_a_picture_in_the_page_without_a_file(pixels: np.ndarray):
    url = widgets.picture_url(pixels)

    shown = np.asarray(Image.open(io.BytesIO(widgets.decode_data_url(url))))
    factor = 1 if pixels.dtype == np.uint8 else 255
    assert np.abs(shown - np.clip(pixels * factor, 0, 255)).max() <= 0.5


def test_the_pad_tells_readers_of_the_screen_what_each_part_is():
    pad = widgets.build_pad()

    template = str(pad.html_template)
    buttons = re.findall(r"<button[^>]*>(.*?)</button>", template, re.DOTALL)
    assert len(buttons) >= 8
    for button in re.findall(r"<button.*?</button>", template, re.DOTALL):
        assert "aria-label=" in button or text_of(button)
    assert 'aria-label="Drawing pad' in template
    assert 'aria-label="Pen width"' in template


def test_two_pads_on_a_page_share_no_id():
    pads = [widgets.build_pad(), widgets.build_pad(elem_id="number-pad", wide=True)]

    ids = [re.findall(r'\bid="([^"]+)"', str(pad.html_template)) for pad in pads]
    described = [re.findall(r'describedby="([^"]+)"', str(pad.html_template)) for pad in pads]
    assert ids[0]
    assert not set(ids[0]) & set(ids[1])
    assert described == ids


def test_a_pad_without_samples_offers_none():
    assert "pad-sample" in str(widgets.build_pad().html_template)
    assert "pad-sample" not in str(widgets.build_pad(samples=False).html_template)


def test_each_small_picture_says_what_it_shows():
    pixels = np.full((9, 9), 255, np.uint8)
    samples = [widgets.make_sample(pixels, 3, "drawn"), widgets.make_sample(pixels, None, "<none>")]

    html = str(widgets.build_gallery(samples).html_template)

    names = re.findall(r'<button[^>]* data-place="(\d)"[^>]* aria-label="([^"]+)"', html)
    assert names == [("0", "Example of 3"), ("1", "&lt;none&gt;")]


@pytest.mark.parametrize(
    ("access", "asks", "says"),
    [
        (Access(), False, False),
        (Access(token="a secret of some length"), True, False),
        (Access(beyond_loopback=True, token="a secret of some length"), True, False),
        (Access(beyond_loopback=True), False, True),
    ],
)
def test_the_token_is_asked_for_only_where_it_opens_something(
    access: Access, asks: bool, says: bool
):
    with gr.Blocks() as page:
        box = widgets.build_unlock(access)

    notices = [block for block in page.blocks.values() if isinstance(block, gr.HTML)]
    assert (box.visible, box.type) == (asks, "password")
    assert bool(notices) == says
    assert "secret" not in str(page.get_config_file())


def test_every_part_that_the_script_looks_for_is_on_the_pad():
    pad = widgets.build_pad()

    wanted = set(re.findall(r'find\("([a-z-]+)"\)', str(pad.js_on_load)))
    made = set(re.findall(r"pad-([a-z-]+)", str(pad.html_template)))
    assert wanted >= {"canvas", "undo", "clear", "sample"}
    assert wanted <= made
