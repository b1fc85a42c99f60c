"""What the pad sends is checked, and what is answered belongs to what was asked."""

from __future__ import annotations

import base64
import re
from typing import Any

import gradio as gr
import numpy as np
import pytest

from errors import ImageError, ImageTooLargeError
from pad import (
    build_gallery,
    build_pad,
    decode_data_url,
    keep_current,
    make_sample,
    read_picture,
    stamp,
)


def data_url(content: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"


def text_of(html: str) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", html).split())


@pytest.mark.parametrize("extra", [1, 2, 3, 1000])
def test_a_picture_above_the_limit_is_refused(monkeypatch: pytest.MonkeyPatch, extra: int):
    monkeypatch.setattr("pad.MAX_PICTURE_BYTES", 3000)

    with pytest.raises(ImageTooLargeError, match="save a smaller copy"):
        decode_data_url(data_url(bytes(3000 + extra)))

    assert len(decode_data_url(data_url(bytes(3000)))) == 3000


def test_a_huge_data_url_is_refused_before_it_is_decoded(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("pad.MAX_PICTURE_BYTES", 3000)
    monkeypatch.setattr(base64, "b64decode", lambda *args, **named: pytest.fail("was decoded"))

    with pytest.raises(ImageTooLargeError):
        decode_data_url("data:image/png;base64," + "A" * 1_000_000)


def test_a_data_url_with_an_endless_head_is_refused():
    with pytest.raises(ImageError):
        decode_data_url("data:" + "x" * 1_000_000 + ";base64,AAAA")


@pytest.mark.parametrize(
    ("label", "kept"),
    [(0, 0), (9, 9), (10, None), (-1, None), ("7", None), (True, None), (7.0, None)],
)
def test_only_a_digit_is_taken_for_a_label(label: Any, kept: int | None):
    picture = read_picture({"data": data_url(b"any"), "label": label})

    assert picture is not None
    assert picture.label == kept


def test_an_empty_pad_holds_no_picture():
    assert read_picture({"kind": "nothing", "at": 1, "asked": 2}) is None


def test_an_answer_says_to_which_question_it_belongs_and_who_gave_it():
    stamped = stamp("<p>7</p>", {"asked": 3}, "0123456789ab")

    assert stamped == '<div data-asked="3" data-model="0123456789ab"><p>7</p></div>'


@pytest.mark.parametrize("value", [None, 7, {}, {"asked": None}, {"asked": '"><script>'}])
def test_what_is_no_number_of_a_question_stays_out_of_the_page(value: object):
    assert stamp("<p>7</p>", value) == "<p>7</p>"


def test_the_pad_knows_where_it_is_answered_and_what_stands_there_while_it_is_empty():
    with gr.Blocks() as page:
        pad = build_pad()
        outputs = [gr.HTML(elem_id="there"), gr.LinePlot(), gr.HTML()]
        keep_current(
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


def test_the_pad_tells_readers_of_the_screen_what_each_part_is():
    pad = build_pad()

    template = str(pad.html_template)
    buttons = re.findall(r"<button[^>]*>(.*?)</button>", template, re.DOTALL)
    assert len(buttons) >= 8
    for button in re.findall(r"<button.*?</button>", template, re.DOTALL):
        assert "aria-label=" in button or text_of(button)
    assert 'aria-label="Drawing pad' in template
    assert 'aria-label="Pen width"' in template


def test_two_pads_on_a_page_share_no_id():
    pads = [build_pad(), build_pad(elem_id="number-pad", wide=True)]

    ids = [re.findall(r'\bid="([^"]+)"', str(pad.html_template)) for pad in pads]
    described = [re.findall(r'describedby="([^"]+)"', str(pad.html_template)) for pad in pads]
    assert ids[0]
    assert not set(ids[0]) & set(ids[1])
    assert described == ids


def test_a_pad_without_samples_offers_none():
    assert "pad-sample" in str(build_pad().html_template)
    assert "pad-sample" not in str(build_pad(samples=False).html_template)


def test_every_part_that_the_script_looks_for_is_on_the_pad():
    pad = build_pad()

    wanted = set(re.findall(r'find\("([a-z-]+)"\)', str(pad.js_on_load)))
    made = set(re.findall(r"pad-([a-z-]+)", str(pad.html_template)))
    assert wanted >= {"canvas", "undo", "clear", "sample"}
    assert wanted <= made


def test_each_small_picture_says_what_it_shows():
    pixels = np.full((9, 9), 255, np.uint8)
    samples = [make_sample(pixels, 3, "drawn"), make_sample(pixels, None, "<none>")]

    html = str(build_gallery(samples).html_template)

    names = re.findall(r'<button[^>]* data-place="(\d)"[^>]* aria-label="([^"]+)"', html)
    assert names == [("0", "Example of 3"), ("1", "&lt;none&gt;")]
