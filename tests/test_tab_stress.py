from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np
import pytest
from PIL import Image

import tab_stress
from errors import DigitError
from stress import Damages, spoil

if TYPE_CHECKING:
    from service import Service

NO_DAMAGE = (0, 0, 0, 0, 0, 1)  # where the sliders stand at first


def drawing(content: bytes, kind: str = "drawing") -> dict[str, Any]:
    data = f"data:image/png;base64,{base64.b64encode(content).decode()}"
    return {"kind": kind, "name": "drawing.png", "size": 1, "data": data}


def bars(html: str) -> list[float]:
    return [float(value) for value in re.findall(r'bar-fill" style="width:([\d.]+)%', html)]


def damaged(html: str) -> np.ndarray:
    (url,) = re.findall(r'stress-damaged"><img src="data:image/png;base64,([^"]+)"', html)
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(url))))


@pytest.fixture
def one(digit_png: Callable[..., Path]) -> dict[str, Any]:
    return drawing(digit_png(1).read_bytes())


@pytest.mark.parametrize("reader", tab_stress.READERS)
def test_without_damage_the_digit_is_read_as_always(
    service: Service, one: dict[str, Any], reader: tab_stress.Reader
):
    html, curve = tab_stress.spoil_pad(service, one, reader, "noise", *NO_DAMAGE)

    assert "a 1" in html
    assert int(np.argmax(bars(html))) == 1
    assert damaged(html).shape == (56, 56)
    assert curve is not None


@pytest.mark.parametrize("reader", tab_stress.READERS)
def test_without_damage_there_is_one_confidence_and_no_before(
    service: Service, one: dict[str, Any], reader: tab_stress.Reader
):
    """The digit was prepared a second time: 85.1 % now, 81.5 % "before"."""
    picture = tab_stress.read_picture(one)
    assert picture is not None
    clean = service.predictor.predict(picture.content)

    html, curve = tab_stress.spoil_pad(service, one, reader, "noise", *NO_DAMAGE)

    assert bars(html) == [round(100 * float(each), 1) for each in clean.probabilities]
    assert "Before" not in html
    assert curve is not None
    at_rest = curve[curve["strength"] == 0]["confidence"]
    assert at_rest.tolist() == pytest.approx([clean.confidence] * 2)


@pytest.mark.parametrize(
    ("place", "amount"), [(0, 0.4), (1, 2.5), (2, 45), (3, 6), (4, -6), (5, 0.1)]
)
def test_each_slider_changes_the_picture_and_the_answer_of_the_network_alone(
    service: Service, one: dict[str, Any], place: int, amount: float
):
    amounts: list[float] = [*NO_DAMAGE]
    amounts[place] = amount
    before, _ = tab_stress.spoil_pad(service, one, "network alone", "noise", *NO_DAMAGE)

    after, _ = tab_stress.spoil_pad(service, one, "network alone", "noise", *amounts)

    assert not np.array_equal(damaged(before), damaged(after))
    assert bars(before) != bars(after)


def test_the_whole_reader_does_not_care_where_the_digit_stands(
    service: Service, one: dict[str, Any]
):
    still, _ = tab_stress.spoil_pad(service, one, "whole reader", "noise", *NO_DAMAGE)

    moved, _ = tab_stress.spoil_pad(service, one, "whole reader", "noise", 0, 0, 0, 8, 5, 1)

    np.testing.assert_allclose(bars(still), bars(moved), atol=3)


@pytest.mark.parametrize("kind", tab_stress.SLIDERS)
def test_a_curve_follows_both_readers_from_end_to_end_of_its_slider(
    service: Service, one: dict[str, Any], kind: str
):
    _, low, high, _ = tab_stress.SLIDERS[kind]

    _, curve = tab_stress.spoil_pad(service, one, "whole reader", kind, *NO_DAMAGE)

    assert curve is not None
    assert set(curve["reader"]) == set(tab_stress.READERS)
    for reader in tab_stress.READERS:
        strengths = curve[curve["reader"] == reader]["strength"]
        assert (strengths.iloc[0], strengths.iloc[-1]) == (low, high)
        assert strengths.is_monotonic_increasing
    assert curve["confidence"].between(0, 1).all()


def test_a_curve_passes_through_the_answer_that_is_shown(service: Service, one: dict[str, Any]):
    html, curve = tab_stress.spoil_pad(
        service, one, "network alone", "noise", 0.25, 0, 20, 0, 0, 0.9
    )

    assert curve is not None
    row = curve[(curve["reader"] == "network alone") & (curve["strength"] == 0.25)]
    assert 100 * row["confidence"].item() == pytest.approx(bars(html)[1], abs=0.06)


def test_the_other_sliders_count_in_a_curve_too(service: Service, one: dict[str, Any]):
    _, upright = tab_stress.spoil_pad(service, one, "network alone", "noise", *NO_DAMAGE)

    _, turned = tab_stress.spoil_pad(service, one, "network alone", "noise", 0, 0, 60, 0, 0, 1)

    assert upright is not None
    assert turned is not None
    assert not np.allclose(upright["confidence"], turned["confidence"], atol=0.05)


def test_without_any_ink_left_it_says_so_and_the_curve_goes_to_nothing(
    service: Service, one: dict[str, Any]
):
    html, curve = tab_stress.spoil_pad(service, one, "whole reader", "contrast", 0, 0, 0, 0, 0, 0)

    assert "Nothing is left to read" in html
    assert curve is not None
    whole = curve[curve["reader"] == "whole reader"]
    assert whole["confidence"].iloc[0] == 0
    assert whole["confidence"].iloc[-1] > 0.5


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "Draw a digit, then"),
        ({}, "Draw a digit, then"),
        (7, "reload the page"),
        (drawing(b"no picture", "picture"), "not a picture"),
    ],
)
def test_what_cannot_be_read_is_told_on_the_page(service: Service, value: Any, words: str):
    html, curve = tab_stress.spoil_pad(service, value, "whole reader", "noise", *NO_DAMAGE)

    assert words in html
    assert curve is None


@pytest.mark.parametrize(
    ("kind", "words"), [("drawing", "Draw a digit"), ("picture", "no ink in this picture")]
)
def test_paper_without_ink_is_not_spoiled(service: Service, kind: str, words: str):
    buffer = io.BytesIO()
    Image.new("L", (280, 280), 255).save(buffer, "PNG")
    value = drawing(buffer.getvalue(), kind)

    html, _ = tab_stress.spoil_pad(service, value, "whole reader", "noise", *NO_DAMAGE)

    assert words in html


def test_the_network_alone_reads_even_an_empty_field(service: Service):
    empty = np.zeros((56, 56), np.float32)

    whole = tab_stress.read_fields(service.predictor, [empty], "whole reader")
    alone = tab_stress.read_fields(service.predictor, [empty], "network alone")

    assert isinstance(whole[0], DigitError)
    assert not isinstance(alone[0], DigitError)


@pytest.mark.parametrize("name", tab_stress.PRESETS)
def test_every_preset_is_within_the_sliders_and_leaves_something_to_read(
    name: str, service: Service, digit_png: Callable[..., Path]
):
    preset = tab_stress.PRESETS[name]
    clean = service.predictor.predict(digit_png(0).read_bytes())

    for slider, (_, low, high, _) in tab_stress.SLIDERS.items():
        assert low <= getattr(preset, slider) <= high
    field = spoil(clean.image, preset, np.random.default_rng(0))
    (answer,) = tab_stress.read_fields(service.predictor, [field], "whole reader")
    assert not isinstance(answer, DigitError)


def test_the_sliders_stand_at_no_damage_at_first():
    with gr.Blocks():
        sliders = [tab_stress._build_slider(name) for name in tab_stress.SLIDERS]

    values = dict(zip(tab_stress.SLIDERS, [slider.value for slider in sliders], strict=True))
    assert Damages(**values) == Damages()
    noise = sliders[0]
    assert (noise.minimum, noise.maximum) == (0, 0.5)


def test_a_preset_sets_every_slider():
    assert tab_stress.set_sliders("No damage") == list(NO_DAMAGE)


def test_a_slider_that_was_moved_after_a_preset_was_chosen_stays():
    """Then no preset is chosen any more by the time at which it would be looked up."""
    assert tab_stress.set_sliders(None) == gr.skip()
