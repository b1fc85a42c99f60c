"""The tabs "Why" and "Stress test" in real Chromium, and what tabs have in common."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from screenshots import HAND, draw, open_tab, wait_for_answer
from tests.conftest import DESKTOP
from tests.test_browser import Gate

pytestmark = pytest.mark.browser


def why(page: Page) -> Any:
    return expect(page.locator("#why .answer-title"))


def stress(page: Page) -> Any:
    return expect(page.locator("#stress-answer .answer-title"))


def draw_and_wait(page: Page, digit: int) -> None:
    draw(page, HAND[digit])
    wait_for_answer(page, digit)


# ---- Why ----------------------------------------------------------------------------------------


def test_what_was_drawn_is_explained_and_another_digit_when_it_is_chosen(page: Page):
    draw_and_wait(page, 7)
    assert page.locator("#why").count() == 0, "explained before anybody looked"

    open_tab(page, "Why")

    why(page).to_have_text("Read as a 7")
    expect(page.locator(".why-figures img")).to_have_count(3)
    expect(page.locator(".why-layer")).to_have_count(3)
    for picture in page.locator("#why img").all():
        assert picture.evaluate("img => img.complete && img.naturalWidth > 0")

    page.locator("#why-about").get_by_label("2", exact=True).check()
    why(page).to_have_text("Why might it be a 2?")

    page.locator("#why-about").get_by_label("the answer").check()
    why(page).to_have_text("Read as a 7")


def test_the_newer_of_two_drawings_is_explained_and_what_was_cleared_is_not(page: Page):
    draw_and_wait(page, 7)
    open_tab(page, "Why")
    why(page).to_have_text("Read as a 7")

    draw(page, HAND[2], "#why-pad")
    why(page).to_have_text("Read as a 2")
    open_tab(page, "Recognise")
    open_tab(page, "Why")
    why(page).to_have_text("Read as a 2")

    open_tab(page, "Recognise")
    page.locator("#pad").get_by_role("button", name="Clear").click()
    draw_and_wait(page, 3)
    open_tab(page, "Why")
    why(page).to_have_text("Read as a 3")

    open_tab(page, "Recognise")
    page.locator("#pad").get_by_role("button", name="Clear").click()
    open_tab(page, "Why")
    expect(page.locator("#why .empty-title")).to_contain_text("Draw a digit to see why")

    open_tab(page, "Recognise")
    page.locator("#pad").get_by_role("button", name="Undo").click()
    open_tab(page, "Why")
    why(page).to_have_text("Read as a 3")


def test_without_a_drawing_the_tab_says_what_it_will_show(page: Page):
    open_tab(page, "Why")
    expect(page.locator("#why .empty-title")).to_contain_text("Draw a digit to see why")

    page.locator("#why-pad").get_by_role("button", name="Random test image").click()
    why(page).to_contain_text("Read as a")

    page.locator("#why-pad").get_by_role("button", name="Clear").click()
    expect(page.locator("#why .empty-title")).to_contain_text("Draw a digit to see why")


# ---- Stress test --------------------------------------------------------------------------------


def stress_a_seven(page: Page) -> tuple[Locator, str]:
    """Draw a 7 and open the tab; give the picture of the damaged digit, and what it shows."""
    draw_and_wait(page, 7)
    open_tab(page, "Stress test")
    stress(page).to_contain_text(" a 7")
    damaged = page.locator(".stress-damaged img")
    return damaged, str(damaged.get_attribute("src"))


def test_sliders_and_presets_change_the_answer_and_the_curve_follows_the_choice(page: Page):
    damaged, before = stress_a_seven(page)
    expect(page.locator("#stress-curve .mark-line path")).to_have_count(2)
    likelihoods = page.locator("#stress-answer .bars")
    clear = likelihoods.inner_text()

    page.get_by_label("range slider for Noise").fill("0.5")
    expect(damaged).not_to_have_attribute("src", before)
    page.get_by_label("range slider for Rotation").fill("90")
    expect(likelihoods).not_to_have_text(clear, use_inner_text=True)

    page.locator("#stress-kind").get_by_label("Rotation").check()
    expect(page.locator("#stress-curve")).to_contain_text("Rotation, degrees")

    page.get_by_label("range slider for Noise").fill("0")
    page.get_by_label("range slider for Rotation").fill("0")
    expect(damaged).to_have_attribute("src", before)

    crooked = page.get_by_role("radio", name="Crooked scan")
    crooked.check()
    expect(page.get_by_label("range slider for Rotation, degrees")).to_have_value("30")
    expect(damaged).not_to_have_attribute("src", before)
    page.get_by_label("range slider for Noise").fill("0.3")
    expect(crooked).not_to_be_checked()


def test_a_moved_slider_marks_the_answer_until_the_new_one_is_there(page: Page):
    stress_a_seven(page)
    answer = page.locator("#stress-answer")
    expect(answer).to_have_attribute("aria-busy", "false")
    gate = Gate(page)

    page.get_by_label("range slider for Rotation").fill("90")

    expect(answer).to_have_attribute("data-late", "Reading …")
    gate.open()
    expect(page.locator("#stress-answer:not([data-late])")).to_have_attribute("aria-busy", "false")


def test_what_is_typed_beside_a_slider_need_not_be_an_amount_within_its_limits(page: Page):
    """Gradio's answer was an error, and what had been read before stayed."""
    open_tab(page, "Stress test")
    draw(page, HAND[7], "#stress-pad")
    stress(page).to_have_text("This is a 7")
    amount = page.get_by_label("number input for Noise")
    amount.fill("0.2")
    expect(page.locator(".stress-damaged")).to_contain_text("The damaged digit")

    for typed in ("9", ""):
        with page.expect_response("**/run/predict") as answer:
            amount.fill(typed)

        assert answer.value.ok, typed


def test_whoever_moves_fast_sees_the_last_answer(page: Page):
    damaged, before = stress_a_seven(page)

    for kind in ("Blur", "Rotation", "Contrast"):
        page.get_by_label("range slider for Noise").fill("0.5")
        page.locator("#stress-kind").get_by_label(kind).check()
        page.get_by_role("radio", name="Crooked scan").check()
        page.get_by_role("radio", name="No damage").check()

    expect(page.get_by_label("range slider for Noise")).to_have_value("0")
    expect(page.locator("#stress-curve")).to_contain_text("Contrast")
    expect(damaged).to_have_attribute("src", before)


# ---- All tabs -----------------------------------------------------------------------------------


# What a reader of the screen could only call "button" or "edit".
NAMELESS = """() => [...document.querySelectorAll("button, input, select, textarea, a[href]")]
  .filter((each) => each.checkVisibility() && each.type !== "file")
  .filter((each) => ![each.ariaLabel, each.title, each.textContent,
    ...[...(each.labels || [])].map((label) => label.textContent)].some((name) => name?.trim()))
  .map((each) => each.outerHTML.slice(0, 200))"""


@pytest.mark.parametrize("width", [390, 1440])
def test_every_tab_fits_into_the_window_names_its_controls_and_reports_no_error(
    open_page: Callable[..., Page], width: int
):
    page = open_page(viewport={"width": width, "height": 844})
    names = page.get_by_role("tab").all_inner_texts()
    assert len(names) >= 5

    # There and back, and everything twice.
    for name in [*names, *reversed(names), *names]:
        open_tab(page, name)
        expect(page.get_by_role("tabpanel").locator("visible=true").first).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name
        assert page.evaluate(NAMELESS) == [], name

    expect(page.locator(".toast-body.error")).to_have_count(0)


# What a finger may miss: the parts of controls that can be hit, without what is cut off.
SMALL = """() => [...document.querySelectorAll("button, input, select, textarea, summary, a[href]")]
  .filter((each) => each.checkVisibility() && each.type !== "file")
  .map((each) => each.closest("label:has([type=checkbox], [type=radio])") || each)
  .map((each) => {
    let { left, top, right, bottom } = each.getBoundingClientRect();
    for (let around = each.parentElement; around; around = around.parentElement) {
      if (getComputedStyle(around).overflow !== "hidden") continue;
      const box = around.getBoundingClientRect();
      [left, top] = [Math.max(left, box.left), Math.max(top, box.top)];
      [right, bottom] = [Math.min(right, box.right), Math.min(bottom, box.bottom)];
    }
    return { each, width: Math.round(right - left), height: Math.round(bottom - top) };
  })
  .filter(({ width, height }) => width > 1 && (width < 44 || height < 44))
  .map(({ each, width, height }) => `${width} x ${height}: ${each.outerHTML.slice(0, 200)}`)"""


def test_a_finger_hits_every_control_of_a_phone(open_page: Callable[..., Page]):
    """Tabs were 34 pixels high, and the fields beside sliders 22."""
    page = open_page(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)

    for name in page.get_by_role("tab").all_inner_texts():
        open_tab(page, name)
        expect(page.get_by_role("tabpanel").locator("visible=true").first).to_be_visible()
        assert page.evaluate(SMALL) == [], name
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, name


# Words that run out of their buttons; those that open a part of the page turn an arrow instead.
SPILT = """() => [...document.querySelectorAll("button:not(.label-wrap), .choice label")]
  .filter((each) => each.checkVisibility() && each.scrollWidth > each.clientWidth + 1)
  .map((each) => each.outerHTML.slice(0, 200))"""


@pytest.mark.parametrize("width", [390, 1280])
def test_text_is_as_large_as_the_reader_has_chosen_and_fits(
    open_page: Callable[..., Page], width: int
):
    page = open_page(viewport={"width": width, "height": 844})
    size = "element => parseFloat(getComputedStyle(element).fontSize)"
    texts = [page.locator("#answer .answer-title"), page.get_by_role("tab").first]
    before = [text.evaluate(size) for text in texts]
    browser = page.context.new_cdp_session(page)

    browser.send("Page.setFontSizes", {"fontSizes": {"standard": 24}})

    page.wait_for_function("getComputedStyle(document.documentElement).fontSize === '24px'")
    for text, small in zip(texts, before, strict=True):
        assert text.evaluate(size) >= 1.2 * small
    for name in page.get_by_role("tab").all_inner_texts():
        open_tab(page, name)
        expect(page.get_by_role("tabpanel").locator("visible=true").first).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name
        assert page.evaluate(SPILT) == [], name


def test_two_visitors_draw_at_once_and_each_gets_their_own_answer(
    open_page: Callable[..., Page],
):
    one, other = (open_page(viewport=DESKTOP) for _ in range(2))  # not two tabs of one browser

    draw(one, HAND[7])
    draw(other, HAND[2])

    wait_for_answer(one, 7)
    wait_for_answer(other, 2)
    for page in (one, other):
        open_tab(page, "Why")
    for page, digit in ((one, 7), (other, 2)):
        why(page).to_have_text(f"Read as a {digit}")


def test_more_pages_are_open_in_one_browser_than_it_has_connections(
    open_page: Callable[..., Page],
):
    """Each page kept a connection, and the sixth in a browser stopped all of them."""
    pages = [open_page() for _ in range(7)]

    for page in (pages[0], pages[-1]):
        draw(page, HAND[7])
        wait_for_answer(page, 7)


def test_every_button_of_the_pad_may_be_pressed_twice_and_out_of_order(page: Page):
    for name in ("Eraser", "Pen", "Random test image", "Random test image", "Undo", "Clear"):
        button = page.locator("#pad").get_by_role("button", name=name)
        for _ in range(2):
            if button.is_enabled():
                button.click()
    draw(page, HAND[7])

    expect(page.locator("#answer .answer-title")).to_have_text(re.compile(" a 7"))


def test_a_test_image_that_comes_after_a_stroke_does_not_take_its_place(page: Page):
    sample = page.locator("#pad .pad-sample")
    sample.click()
    page.locator("#pad .pad-picture:visible").wait_for()

    # In one go, so that the second picture cannot come before the stroke.
    page.locator("#pad").evaluate("""(pad) => {
      const canvas = pad.querySelector(".pad-canvas");
      const go = (name) => Array(20).fill(name);
      pad.querySelector(".pad-sample").click();
      for (const key of [...go("ArrowUp"), " ", ...go("ArrowDown"), ...go("ArrowDown"), " "]) {
        canvas.dispatchEvent(new KeyboardEvent("keydown", { key }));
      }
    }""")
    expect(sample).not_to_have_class(re.compile("pad-waiting"))

    expect(page.locator("#answer .answer-title")).to_have_text(re.compile(" a 1"))
    expect(page.locator("#pad .pad-picture")).to_be_hidden()
