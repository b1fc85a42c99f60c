from __future__ import annotations

import base64
import io
import re
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

import tab_recognise
from pad import MAX_NAME, make_sample, pick_sample
from panels import render_answer
from tryouts import draw_gallery

if TYPE_CHECKING:
    from service import Service


def data_url(content: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def drawing(content: bytes) -> dict[str, Any]:
    return {"kind": "drawing", "name": "drawing.png", "size": 1, "data": data_url(content)}


def upload(content: bytes, name: str = "scan.png") -> dict[str, Any]:
    return {"kind": "picture", "name": name, "size": len(content), "data": data_url(content)}


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def text_of(html: str) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", html).split())


def header(width: int, height: int) -> bytes:
    """Return a PNG that claims to be large, and ends there."""
    fields = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13)
    return start + fields + struct.pack(">I", zlib.crc32(fields))


HUGE = header(30_000, 30_000)
WHITE = png(np.full((280, 280), 255, np.uint8))


# ---- What the pad sends -------------------------------------------------------------------------


def test_a_drawing_is_answered_as_the_predictor_reads_it(
    service: Service, digit_png: Callable[..., Path]
):
    content = digit_png(7).read_bytes()
    expected = service.predictor.predict(content)

    answer, steps = tab_recognise.read_pad(service, drawing(content), False)

    assert expected.digit == 7
    assert answer == render_answer(expected)
    assert steps == ""


@pytest.mark.parametrize("value", [None, "", {}, drawing(WHITE)])
def test_an_empty_pad_asks_for_a_digit_and_is_no_error(service: Service, value: Any):
    answer, steps = tab_recognise.read_pad(service, value, True)

    assert "Draw a digit" in answer
    assert "answer-blank" in answer
    assert "<img" not in steps


def test_an_uploaded_picture_without_ink_is_told_apart_from_an_empty_pad(
    service: Service,
):
    answer = tab_recognise.answer_pad(service, upload(WHITE, "empty page.png"))

    assert "There is no ink in this picture" in answer
    assert "empty page.png" in answer


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        (7, "reload the page"),
        ("data:image/png;base64,AAAA", "reload the page"),
        ([1, 2], "reload the page"),
        ({"name": "a.png"}, "try again"),
        ({"name": "a.png", "data": 5}, "try again"),
        ({"name": "a.png", "data": "/etc/passwd"}, "try again"),
        ({"name": "a.png", "data": "http://example.org/a.png"}, "try again"),
        ({"name": "a.png", "data": "file:///a;base64,AAAA"}, "try again"),
        ({"name": "a.png", "data": "data:image/png,AAAA"}, "try again"),
        ({"name": "a.png", "data": "data:image/png;base64,A*A="}, "damaged"),
        ({"name": "a.png", "data": "data:image/png;base64,AAAAA"}, "damaged"),
        ({"name": "a.png", "data": "data:image/png;base64,ÄÖ=="}, "damaged"),
        ({"name": "a.png", "data": "data:image/png;base64,"}, "a.png is an empty file"),
        ({"name": "a.png", "data": "data:"}, "a.png is an empty file"),  # how Chromium sends it
        ({"name": "a.png", "size": 50 * 2**20, "data": ""}, "a.png has 50 MB and at most 20 MB"),
        (upload(b"a letter", "a.txt"), "a.txt: not a picture"),
        (upload(png(np.eye(64, dtype=np.uint8) * 255)[:60], "cut.png"), "cut.png: the file is dam"),
        (upload(HUGE, "huge.png"), "huge.png: "),
        (upload(b"<svg xmlns='http://www.w3.org/2000/svg'/>", "a.svg"), "a.svg: not a picture"),
    ],
)
def test_what_is_not_a_picture_is_refused_on_the_page_with_advice(
    service: Service, value: Any, hint: str
):
    answer, steps = tab_recognise.read_pad(service, value, True)

    assert "This picture cannot be read" in answer
    assert hint in text_of(answer)
    assert "There is nothing to show" in steps


def test_of_an_animated_picture_one_frame_is_read(service: Service, digit_png: Callable[..., Path]):
    seven = Image.open(digit_png(7)).convert("L")
    frames = [seven, Image.new("L", seven.size, 255), seven]
    buffer = io.BytesIO()
    seven.save(buffer, "GIF", save_all=True, append_images=frames[1:], duration=50)

    answer = tab_recognise.answer_pad(service, upload(buffer.getvalue(), "moving.gif"))

    assert " a 7" in answer


def test_what_the_file_is_called_cannot_become_part_of_the_page(service: Service):
    name = '"><script>alert(1)</script>' + "x" * 500

    answer = tab_recognise.answer_pad(service, upload(b"no picture", name))

    assert "<script" not in answer
    assert "&lt;script&gt;" in answer
    assert "x" * MAX_NAME not in answer


# ---- What the page shows ------------------------------------------------------------------------


def test_the_steps_are_worked_out_only_while_somebody_looks(
    monkeypatch: pytest.MonkeyPatch, service: Service, digit_png: Callable[..., Path]
):
    value = drawing(digit_png(2).read_bytes())
    calls = []
    monkeypatch.setattr(
        tab_recognise, "show_steps", lambda _, value: calls.append(value) or "steps"
    )

    closed = tab_recognise.read_pad(service, value, False)
    opened = tab_recognise.read_pad(service, value, True)

    assert (closed[1], opened[1]) == ("", "steps")
    assert len(calls) == 1


def test_the_steps_lead_from_the_picture_to_what_the_model_sees(
    service: Service, digit_png: Callable[..., Path]
):
    html = tab_recognise.show_steps(service, drawing(digit_png(2).read_bytes()))

    captions = re.findall(r"<figcaption>(\d+)\. (.*?)</figcaption>", html)
    assert [number for number, _ in captions] == [str(i + 1) for i in range(len(captions))]
    assert len(captions) >= 3
    assert html.count("data:image/png;base64,") == len(captions)


@pytest.mark.parametrize("place", [0, 3, 9])
def test_an_example_that_is_clicked_is_read(service: Service, place: int):
    samples = [make_sample(*example) for example in draw_gallery()]

    answer, steps = tab_recognise.read_pad(service, samples[place], False)

    assert f"Labelled {place}" in answer
    assert steps == ""


def test_a_test_picture_comes_with_its_answer(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, service: Service
):
    monkeypatch.setenv("DIGITS_DATA", str(tmp_path))

    sample = pick_sample(None)
    answer, steps = tab_recognise.read_pad(service, sample, False)

    assert f"Labelled {sample['label']}" in answer
    assert steps == ""
