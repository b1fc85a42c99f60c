"""The tab "Number" in real Chromium: several digits drawn or shown, found and read."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from screenshots import HAND, PAD_SIDE, Strokes, draw, line_up, open_tab
from strokes import draw_number

pytestmark = pytest.mark.browser

PHONE = {"width": 390, "height": 844}


def beside(*digits: int) -> Strokes:
    """Write digits side by side on the wide pad, each half as large as on the square one."""
    return [
        [(20 + 120 * place + 0.6 * x, 60 + 0.6 * y) for x, y in stroke]
        for place, digit in enumerate(digits)
        for stroke in HAND[digit]
    ]


def number(page: Page) -> Any:
    return expect(page.locator("#number-answer .number-text"))


@pytest.fixture
def number_page(page: Page) -> Page:
    open_tab(page, "Number")
    return page


@pytest.fixture
def number_file(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a picture of a number and returns its path."""

    def write(text: str, *, turn: int = 0) -> Path:
        ink, _ = draw_number(text, np.random.default_rng(3), height=90)
        path = tmp_path / f"{text}.png"
        Image.fromarray(np.ascontiguousarray(np.rot90(255 - ink, turn // 90))).save(path)
        return path

    return write


def test_drawings_stay_upright_and_keys_work_beside_what_was_chosen(number_page: Page):
    number_page.get_by_role("radio", name="upside down").check()
    draw(number_page, beside(2, 7), pad="#number-pad")
    number(number_page).to_have_text("27")

    number_page.get_by_role("radio", name="no", exact=True).check()
    number_page.keyboard.press("Control+z")

    number(number_page).to_have_text("2")


def test_digits_drawn_side_by_side_are_read_with_a_box_on_each(number_page: Page):
    draw(number_page, beside(2, 7, 4), pad="#number-pad")

    number(number_page).to_have_text("274")
    expect(number_page.locator("#number-answer .number-box")).to_have_count(3)
    expect(number_page.locator("#number-answer tbody tr")).to_have_count(3)
    expect(number_page.locator("#number-answer tbody tr td:nth-child(2)")).to_have_text(
        ["2", "7", "4"]
    )

    boxes = number_page.locator("#number-answer .number-box rect")
    lefts = [float(box.get_attribute("x") or "nan") for box in boxes.all()]
    view = number_page.locator("#number-answer svg").get_attribute("viewBox")

    assert view == f"0 0 {2 * PAD_SIDE} {PAD_SIDE}"
    assert lefts == pytest.approx([20 + 0.6 * 86, 140 + 0.6 * 78, 260 + 0.6 * 82], abs=16)


def test_clear_empties_the_wide_pad_and_leaves_the_other_one_alone(page: Page):
    draw(page, HAND[7])
    expect(page.locator(".answer-title").first).to_contain_text(" a 7")
    open_tab(page, "Number")
    draw(page, beside(2, 7), pad="#number-pad")
    number(page).to_have_text("27")

    page.locator("#number-pad").get_by_role("button", name="Clear").click()

    expect(page.locator("#number-answer .answer-title")).to_have_text("Write a number")
    open_tab(page, "Recognise")
    expect(page.locator("#answer .answer-title")).to_contain_text(" a 7")


def test_several_digits_on_the_first_tab_lead_here_with_their_picture(page: Page):
    draw(page, line_up([2, 7]))
    expect(page.locator("#answer .answer-text")).to_contain_text("more than one digit")

    page.get_by_role("button", name="Read it as a number").click()

    expect(page.get_by_role("tab", name="Number", exact=True)).to_have_attribute(
        "aria-selected", "true"
    )
    number(page).to_have_text("27")
    expect(page.locator("#number-pad .pad-picture")).to_be_visible()


def test_what_is_no_picture_is_told_beside_the_pad_and_a_page_on_its_side_is_read_once_turned(
    number_page: Page, number_file: Callable[..., Path], tmp_path: Path
):
    path = tmp_path / "letter.txt"
    path.write_text("not a picture", encoding="utf-8")

    number_page.set_input_files("#number-pad .pad-file", path)
    expect(number_page.locator("#number-answer .answer-title")).to_have_text(
        "This picture cannot be read"
    )
    expect(number_page.locator("#number-answer .answer-text")).to_contain_text("letter.txt")

    number_page.set_input_files("#number-pad .pad-file", number_file("4071", turn=270))
    expect(number_page.locator("#number-answer .number-picture")).to_be_visible()

    number_page.locator("#number-turn").get_by_label("to the left").check()

    number(number_page).to_have_text("4071")
    expect(number_page.locator("#number-answer .answer-sure")).to_contain_text("to the left")


def test_a_test_image_is_shown_and_read(number_page: Page):
    number_page.locator("#number-pad .pad-sample").click()

    expect(number_page.locator("#number-answer .number-picture")).to_be_visible()
    shown = number_page.locator("#number-pad .pad-picture")
    expect(shown).to_have_attribute("alt", re.compile(r"^\d{3,9}, written by this program$"))


def test_on_a_phone_nothing_is_wider_than_the_screen(open_page: Callable[..., Page]):
    page = open_page(viewport=PHONE, has_touch=True, is_mobile=True)
    open_tab(page, "Number")

    draw(page, beside(2, 7, 4), pad="#number-pad")

    number(page).to_have_text("274")
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
