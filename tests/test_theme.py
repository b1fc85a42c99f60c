"""The page's colours: text stands out from whatever it is written on, in light and in dark."""

from __future__ import annotations

import re
from pathlib import Path

import gradio as gr
import pytest

from theme import CSS, build_theme
from utils import PROJECT

ENOUGH = 4.5  # WCAG 2.2, success criterion 1.4.3: contrast of text
TEXTS = ("ink", "quiet", "accent", "good", "warn", "bad")
GROUNDS = ("page", "card", "paper", "accent-soft", "track")


def read_colours(mode: str) -> dict[str, str]:
    """Read the variables that page.css sets under a selector: name -> "#rrggbb"."""
    rules = CSS.read_text(encoding="utf-8")
    block = rules[rules.index(f"{mode} {{") :]
    return dict(re.findall(r"--([\w-]+):\s*(#[0-9a-f]{6});", block[: block.index("}")]))


def luminance(colour: str) -> float:
    """Compute the relative luminance of a colour as WCAG defines it."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """Compute the contrast of two colours, from 1 to 21."""
    dark, light = sorted([luminance(one), luminance(other)])
    return (light + 0.05) / (dark + 0.05)


def test_black_and_white_are_as_far_apart_as_can_be():
    assert contrast("#ffffff", "#000000") == pytest.approx(21)


@pytest.mark.parametrize("mode", [":root", ".dark"])
@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("ground", GROUNDS)
def test_text_can_be_read_on_every_ground(mode: str, text: str, ground: str):
    colours = read_colours(mode)

    assert contrast(colours[text], colours[ground]) >= ENOUGH


@pytest.mark.parametrize("mode", [":root", ".dark"])
def test_text_can_be_read_on_the_button_that_matters_most(mode: str):
    colours = read_colours(mode)

    assert contrast(colours["accent-ink"], colours["accent"]) >= ENOUGH


@pytest.mark.parametrize(
    "path",
    [path for kind in ("css", "js", "jinja") for path in sorted(PROJECT.glob(f"*.{kind}"))],
    ids=lambda path: path.name,
)
def test_text_has_no_size_in_pixels_which_would_ignore_what_the_reader_has_chosen(path: Path):
    rules = path.read_text(encoding="utf-8")

    assert re.findall(r"(?:font(?:-size)?|line-height):[^;]*\dpx.*", rules) == []


def test_gradio_has_no_size_of_text_in_pixels_either():
    sizes = {name: value for name, value in vars(build_theme()).items() if "text_" in name}
    sizes = {name: value for name, value in sizes.items() if re.search("_size|_x*[smdlg]+$", name)}

    assert sizes["text_md"] == "0.875rem"
    assert [name for name, value in sizes.items() if "px" in str(value)] == []


def test_every_colour_that_gradio_gets_is_defined_for_light_and_for_dark():
    theme = build_theme()

    used = {
        name
        for value in vars(theme).values()
        if isinstance(value, str)
        for name in re.findall(r"var\(--([\w-]+)\)", value)
    }
    assert isinstance(theme, gr.themes.Base)
    assert {"page", "card", "ink", "accent"} <= used
    assert read_colours(":root").keys() == read_colours(".dark").keys()
    assert used <= read_colours(":root").keys()
