"""What other programs may call on the page: two functions that take pictures, and nothing else."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from endpoints import build_endpoints
from service import Service


@pytest.fixture
def functions(service: Service) -> dict[str, Callable[[str], dict[str, Any]]]:
    """Return the functions as Gradio calls them, by their public names."""
    import gradio as gr

    with gr.Blocks() as page:
        build_endpoints(service)
    return {str(each.api_name): each.fn for each in page.fns.values()}


@pytest.fixture
def seven(digit_png: Callable[..., Path]) -> bytes:
    return digit_png(7).read_bytes()


@pytest.mark.parametrize("head", ["", "data:image/png;base64,"])
def test_a_digit_is_read_as_by_the_predictor(
    functions: dict[str, Any], service: Service, seven: bytes, head: str
):
    answer = functions["predict"](head + base64.b64encode(seven).decode("ascii"))

    assert answer == service.predictor.predict(seven).to_dict()


def test_a_number_is_read_as_by_the_predictor(
    functions: dict[str, Any], service: Service, seven: bytes
):
    answer = functions["read"](base64.b64encode(seven).decode("ascii"))

    assert answer == service.predictor.read(seven).to_dict()


@pytest.mark.parametrize("name", ["predict", "read"])
@pytest.mark.parametrize(
    ("sent", "hint"),
    [
        ("/etc/passwd", "image: "),
        ("http://example.com/seven.png", "image: not base64"),
        ("", "image: it is empty"),
        (base64.b64encode(b"just text").decode("ascii"), "not"),
    ],
)
def test_what_is_no_picture_is_told_and_not_opened(
    functions: dict[str, Any], name: str, sent: str, hint: str
):
    import gradio as gr

    with pytest.raises(gr.Error) as caught:
        functions[name](sent)

    assert hint in caught.value.message
    assert not caught.value.print_exception


def test_both_say_what_they_take_to_whoever_calls_them(functions: dict[str, Any]):
    assert set(functions) == {"predict", "read"}
    assert all("base64" in (function.__doc__ or "") for function in functions.values())
