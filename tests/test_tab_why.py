from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import tab_why
from model import build_model, list_models
from pad import pick_sample
from registry import save_checkpoint
from service import Service


def drawing(content: bytes, kind: str = "drawing") -> dict[str, Any]:
    data = f"data:image/png;base64,{base64.b64encode(content).decode()}"
    return {"kind": kind, "name": "drawing.png", "size": 1, "data": data}


def pictures_in(html: str) -> list[np.ndarray]:
    urls = re.findall(r'src="data:image/png;base64,([^"]+)"', html)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(url)))) for url in urls]


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Service]:
    """Return a function that serves a fresh network of an architecture."""
    folder = tmp_path_factory.mktemp("models")

    def make(architecture: str) -> Service:
        torch.manual_seed(1)
        path = folder / f"{architecture}.pth"
        save_checkpoint(path, build_model(architecture), settings={}, metrics={}, data={})
        return Service(model=architecture, models_folder=folder, device="cpu")

    return make


@pytest.fixture
def seven(digit_png: Callable[..., Path]) -> dict[str, Any]:
    return drawing(digit_png(7).read_bytes())


@pytest.mark.parametrize("architecture", [*list_models(), "mnistnet+cnn2"])
def test_every_network_is_shown_with_what_it_has(
    architecture: str, services: Callable[[str], Service], seven: dict[str, Any]
):
    others = {"cnn1": 1, "cnn2": 2, "cnn_bn": 2, "mlp": 0, "cnn_deep": 6, "mnistnet+cnn2": 5}
    convolutions = others.get(architecture, 3)

    html = tab_why.explain_pad(services(architecture), seven, tab_why.THE_ANSWER)

    captions = re.findall(r"<figcaption><b>(.*?)</b>", html)
    assert ("Where it looked" in captions) == (convolutions > 0)
    assert {"What the model sees", "Which ink counted"} <= set(captions)
    assert html.count('class="why-layer"') == convolutions
    assert ("has no convolutions" in html) == (convolutions == 0)
    shown = 3 + 1 + 2 * convolutions if convolutions else 2 + 1
    assert len(pictures_in(html)) == shown


def test_the_answer_is_explained_unless_another_digit_is_asked_for(
    service: Service, seven: dict[str, Any]
):
    answer = tab_why.explain_pad(service, seven, tab_why.THE_ANSWER)
    other = tab_why.explain_pad(service, seven, "8")

    assert "Read as a 7" in answer
    assert "Why might it be an 8?" in other
    assert "It reads a 7." in other
    assert not np.array_equal(pictures_in(answer)[1], pictures_in(other)[1])
    assert tab_why.explain_pad(service, seven, "7") == answer


def test_ink_that_speaks_for_the_answer_is_orange(service: Service, seven: dict[str, Any]):
    html = tab_why.explain_pad(service, seven, tab_why.THE_ANSWER)

    counted = pictures_in(html)[1].astype(int)
    orange = (counted[..., 0] > counted[..., 2] + 30).sum()
    blue = (counted[..., 2] > counted[..., 0] + 30).sum()
    assert orange > blue > 0


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "Draw a digit to see why"),
        ({}, "Draw a digit to see why"),
        (7, "reload the page"),
        (drawing(b"no picture", "picture"), "not a picture"),
        (drawing(b"", "picture"), "empty file"),
    ],
)
def test_what_cannot_be_explained_is_told_on_the_page(service: Service, value: Any, words: str):
    html = tab_why.explain_pad(service, value, tab_why.THE_ANSWER)

    assert words in html
    assert "<img" not in html


@pytest.mark.parametrize(
    ("kind", "words"), [("drawing", "Draw a digit"), ("picture", "no ink in this picture")]
)
def test_paper_without_ink_is_not_explained(service: Service, kind: str, words: str):
    buffer = io.BytesIO()
    Image.new("L", (280, 280), 255).save(buffer, "PNG")

    html = tab_why.explain_pad(service, drawing(buffer.getvalue(), kind), tab_why.THE_ANSWER)

    assert words in html


def test_a_test_picture_is_explained_with_its_label(
    service: Service, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setenv("DIGITS_DATA", str(tmp_path))
    sample = pick_sample(None)

    html = tab_why.explain_pad(service, sample, tab_why.THE_ANSWER)

    assert sample["label"] in range(10)
    assert f"It is labelled {sample['label']}." in html


@pytest.mark.parametrize(("model", "has_map"), [("cnn2", True), ("mlp", False)])
def test_the_names_of_the_methods_stand_apart_from_what_is_said_in_plain_words(
    services: Callable[[str], Service], seven: dict[str, Any], model: str, has_map: bool
):
    html = tab_why.explain_pad(services(model), seven, tab_why.THE_ANSWER)

    assert not re.search("HiResCAM|gradients", "".join(re.findall("<figure.*?</figure>", html)))
    assert "In technical words: which ink counted are integrated gradients" in html
    assert ("HiResCAM" in html) == has_map


def test_a_layer_that_answers_nothing_is_shown_black():
    from explain import LayerView

    layer = LayerView("Layer 2", np.zeros((3, 7, 7), np.float32), np.zeros((28, 28), np.float32))

    heat, sheet = pictures_in(tab_why._show_layer(layer))

    assert heat.max() < 10
    assert sheet.shape[1] > sheet.shape[0]
