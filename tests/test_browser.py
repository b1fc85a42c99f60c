"""The page in real Chromium: what visitors do with mouse, finger and keys, and what comes back."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from screenshots import HAND, PAD_SIDE, draw, open_pad, open_tab, smooth, wait_for_answer
from tests.conftest import DESKTOP
from utils import PROJECT

pytestmark = pytest.mark.browser

PHONE = {"width": 390, "height": 844}

expect.set_options(timeout=20_000)  # generous: a busy machine is no reason to fail


def title(page: Page) -> Any:
    return expect(page.locator("#answer .answer-title"))


class Gate:
    """Keeps the questions of a page from the server until it is opened."""

    def __init__(self, page: Page) -> None:
        self.waiting: list[Route] = []
        self.is_open = False
        page.route("**/run/predict", lambda route: self.take(route))

    def take(self, route: Route) -> None:
        if self.is_open:
            route.continue_()
        else:
            self.waiting.append(route)

    def open(self) -> None:
        self.is_open = True
        while self.waiting:
            self.waiting.pop(0).continue_()


# ---- Drawing ------------------------------------------------------------------------------------


def test_digits_drawn_with_the_mouse_are_read(page: Page):
    for digit in (2, 7):
        draw(page, HAND[digit])

        title(page).to_contain_text(f" a {digit}")
        expect(page.locator(".bar-digit")).to_have_text(list("0123456789"))
        expect(page.locator(".bar-best .bar-digit")).to_have_text(str(digit))
        seen = page.locator(".answer-seen img")
        assert seen.evaluate("img => [img.naturalWidth, img.naturalHeight]") == [28, 28]
        assert seen.evaluate("img => getComputedStyle(img).imageRendering") == "pixelated"
        page.get_by_role("button", name="Clear").click()


def test_the_answer_comes_while_the_pen_is_still_down(page: Page):
    box = page.locator("#pad .pad-canvas").bounding_box()
    assert box is not None
    scale = box["width"] / PAD_SIDE

    page.mouse.move(box["x"] + 78 * scale, box["y"] + 80 * scale)
    page.mouse.down()
    for x, y in smooth(HAND[7][0]):
        page.mouse.move(box["x"] + x * scale, box["y"] + y * scale)

    title(page).to_contain_text(" a 7")
    page.mouse.up()


def test_a_digit_drawn_with_a_finger_is_read_on_a_phone(open_page: Callable[..., Page]):
    page = open_page(viewport=PHONE, has_touch=True, is_mobile=True)
    box = page.locator("#pad .pad-canvas").bounding_box()
    assert box is not None
    scale = box["width"] / PAD_SIDE
    touch = page.context.new_cdp_session(page)

    def finger(kind: str, *places: tuple[float, float]) -> None:
        points = [{"x": box["x"] + x * scale, "y": box["y"] + y * scale} for x, y in places]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    for stroke in HAND[7]:
        places = smooth(stroke)
        finger("touchStart", places[0])
        for place in places[1:]:
            finger("touchMove", place)
        finger("touchEnd")

    title(page).to_contain_text(" a 7")
    assert page.evaluate("scrollY") == 0, "the finger moved the page instead of drawing"
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    answer = page.locator(".answer-words").bounding_box()
    assert answer is not None
    assert answer["y"] + answer["height"] <= PHONE["height"], "the answer is not in sight"


def test_clear_empties_the_pad_and_undo_brings_the_drawing_back(page: Page):
    draw(page, HAND[7])
    wait_for_answer(page, 7)

    page.get_by_role("button", name="Clear").click()
    title(page).to_have_text("Draw a digit")
    expect(page.locator(".bar-best")).to_have_count(0)

    page.get_by_role("button", name="Undo").click()
    title(page).to_contain_text(" a 7")


def test_undo_takes_back_one_stroke_by_button_and_by_key(page: Page):
    one, bar = [[(140, 60), (140, 140), (140, 220)]], [[(90, 60), (130, 60), (200, 60)]]
    draw(page, one)
    title(page).to_contain_text(" a 1")
    draw(page, bar)
    before = page.locator(".answer-seen img").get_attribute("src")

    page.keyboard.press("Control+z")

    title(page).to_contain_text(" a 1")
    assert page.locator(".answer-seen img").get_attribute("src") != before
    page.get_by_role("button", name="Undo").click()
    title(page).to_have_text("Draw a digit")
    expect(page.get_by_role("button", name="Undo")).to_be_disabled()


def test_the_eraser_takes_ink_away(page: Page):
    line = [[(140, 60), (140, 140), (140, 220)]]
    draw(page, line)
    title(page).to_contain_text(" a 1")

    page.get_by_role("button", name="Eraser").click()
    draw(page, line)

    title(page).to_have_text("Draw a digit")
    expect(page.get_by_role("button", name="Eraser")).to_have_attribute("aria-pressed", "true")


def test_a_wider_pen_leaves_more_ink(page: Page):
    count = (
        "c => c.getContext('2d').getImageData(0, 0, c.width, c.height).data.filter(v => v).length"
    )
    canvas = page.locator("#pad .pad-canvas")
    draw(page, HAND[7])
    thin = canvas.evaluate(count)
    page.get_by_role("button", name="Clear").click()

    page.get_by_label("Pen width").fill("40")
    draw(page, HAND[7])

    assert canvas.evaluate(count) > 1.5 * thin


def test_everything_is_reached_and_drawn_with_the_keyboard_alone(page: Page):
    pad = page.get_by_label("Drawing pad")
    for _ in range(25):  # the tabs and the tools come first
        page.keyboard.press("Tab")
        if pad.evaluate("pad => pad === document.activeElement"):
            break
    expect(page.locator("#pad .pad-keys")).to_have_css("opacity", "1")

    for key in (*["ArrowUp"] * 11, "Space", *["ArrowDown"] * 22, "Space"):
        page.keyboard.press(key)
    title(page).to_contain_text(" a 1")

    page.keyboard.press("E")  # as with caps lock
    expect(page.get_by_role("button", name="Eraser")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("P")
    page.keyboard.press("Delete")
    title(page).to_have_text("Draw a digit")
    names = []
    for _ in range(4):
        page.keyboard.press("Tab")
        names.append(page.evaluate("document.activeElement.ariaLabel"))
    assert "Upload a picture" in names
    assert "Random test image" in names


def test_a_button_that_closes_hands_the_focus_to_the_pad(page: Page):
    pad = page.get_by_label("Drawing pad")
    for name in ("Undo", "Clear"):
        draw(page, HAND[7][:1])
        page.get_by_role("button", name=name).press("Enter")

        expect(page.get_by_role("button", name="Clear")).to_be_disabled()
        expect(pad).to_be_focused()


def test_answers_are_read_out_by_an_element_that_stays(page: Page):
    """The answer itself is made anew each time; most readers of the screen pass over that."""
    said = page.locator("#pad").get_by_role("status").and_(page.locator(".pad-said"))
    said.evaluate("element => { element.dataset.first = 'yes'; }")

    draw(page, HAND[7])

    expect(said).to_contain_text("This is a 7. ")
    expect(said).to_have_attribute("data-first", "yes")
    page.get_by_role("button", name="Clear").click()
    expect(said).to_contain_text("Draw a digit")


def test_the_keyboard_shows_where_it_is_on_sliders_too(page: Page):
    """Gradio's own show nothing."""
    open_tab(page, "Stress test")
    page.get_by_label("number input for Noise").focus()

    page.keyboard.press("Tab")

    slider = page.get_by_label("range slider for Noise")
    expect(slider).to_be_focused()
    expect(slider).to_have_css("outline-style", "solid")


def test_what_is_chosen_is_seen_in_the_colours_of_the_system(open_page: Callable[..., Page]):
    page = open_page(forced_colors="active")
    marked = "element => getComputedStyle(element).backgroundColor"
    draw(page, HAND[7])
    wait_for_answer(page, 7)

    pen, eraser, tab, other, fill, track = (
        page.locator(name).first.evaluate(marked)
        for name in (
            *(
                ".pad-pen",
                ".pad-eraser",
                "[role=tab][aria-selected=true]",
                "[role=tab]:not(.selected)",
            ),
            *(".bar-best .bar-fill", ".bar-best .bar-track"),
        )
    )

    assert pen == tab == fill
    assert pen not in (eraser, other, track)


def test_the_pad_can_be_drawn_on_as_soon_as_it_is_there(browser: Browser, url: str):
    page = browser.new_page()
    page.add_init_script("""
        new MutationObserver((_, observer) => {
          const canvas = document.querySelector("#pad .pad-canvas");
          if (!canvas) return;
          observer.disconnect();
          const { x, y, width, height } = canvas.getBoundingClientRect();
          window.atFirst = {
            isLoading: document.body.innerText.includes("Loading..."),
            isReached: document.elementFromPoint(x + width / 2, y + height / 2) === canvas,
          };
        }).observe(document, { childList: true, subtree: true });
    """)

    open_pad(page, url)

    assert page.evaluate("atFirst") == {"isLoading": True, "isReached": True}
    page.close()


# ---- Pictures -----------------------------------------------------------------------------------


def test_an_uploaded_picture_is_shown_and_read(page: Page, digit_png: Callable[..., Path]):
    page.locator("#pad .pad-file").set_input_files(digit_png(0, name="zero.jpg"))

    title(page).to_contain_text(" a 0")
    expect(page.get_by_alt_text("zero.jpg")).to_be_visible()


def test_drawing_on_a_picture_starts_a_new_sheet_and_undo_brings_the_picture_back(
    page: Page, digit_png: Callable[..., Path]
):
    page.locator("#pad .pad-file").set_input_files(digit_png(0, name="zero.png"))
    title(page).to_contain_text(" a 0")

    draw(page, HAND[7])
    title(page).to_contain_text(" a 7")
    expect(page.get_by_alt_text("zero.png")).to_be_hidden()

    page.get_by_role("button", name="Undo").click()
    title(page).to_contain_text(" a 0")
    expect(page.get_by_alt_text("zero.png")).to_be_visible()


def test_a_file_that_is_still_being_opened_does_not_cover_what_was_drawn_since(
    page: Page, digit_png: Callable[..., Path]
):
    page.evaluate("""() => {
      const read = FileReader.prototype.readAsDataURL;
      FileReader.prototype.readAsDataURL = function (file) {
        window.openNow = () => read.call(this, file);
      };
    }""")
    page.locator("#pad .pad-file").set_input_files(digit_png(0, name="large.png"))
    draw(page, HAND[7])
    title(page).to_contain_text(" a 7")

    page.evaluate("() => new Promise((done) => { openNow(); setTimeout(done, 300); })")

    expect(page.get_by_alt_text("large.png")).to_have_count(0)
    title(page).to_contain_text(" a 7")


def test_files_that_cannot_be_read_are_answered_with_advice_on_the_page(page: Page, tmp_path: Path):
    for name, content, advice in (
        ("letter.txt", b"Dear Sir", "letter.txt: not a picture in a known format"),
        ("nothing.png", b"", "nothing.png is an empty file"),
        ("cut.png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "cut.png"),
        ("huge.png", bytes(21 * 2**20), "huge.png has 21 MB and at most 20 MB are read"),
    ):
        (tmp_path / name).write_bytes(content)

        page.locator("#pad .pad-file").set_input_files(tmp_path / name)

        expect(page.locator(".answer-text")).to_contain_text(advice)
        title(page).to_have_text("This picture cannot be read")
        expect(page.locator(".toast-body")).to_have_count(0)
        expect(page.locator("#pad .pad-no-preview")).to_have_text(name)


PASTE = """([name, type, bytes]) => {
  const data = new DataTransfer();
  if (bytes) data.items.add(new File([new Uint8Array(bytes)], name, {type}));
  document.dispatchEvent(new ClipboardEvent("paste", {clipboardData: data, bubbles: true}));
}"""


def test_a_pasted_picture_is_read_and_pasting_none_says_so(
    page: Page, digit_png: Callable[..., Path]
):
    page.evaluate(PASTE, ["", "", None])
    expect(page.locator("#pad .pad-note")).to_contain_text("no picture on the clipboard")
    title(page).to_have_text("Draw a digit")

    page.evaluate(PASTE, ["image.png", "image/png", list(digit_png(0).read_bytes())])
    title(page).to_contain_text(" a 0")


def test_a_photo_is_taken_with_the_camera_and_the_camera_is_closed(page: Page):
    page.get_by_role("button", name="Take a picture with the camera").click()
    video = page.locator("#pad .pad-camera video")
    expect(video).to_be_visible()
    page.wait_for_function("document.querySelector('.pad-camera video').videoWidth > 0")

    page.get_by_role("button", name="Take the picture").click()

    title(page).not_to_have_text("Draw a digit")
    expect(page.get_by_alt_text("photo.jpg")).to_be_visible()
    expect(video).to_be_hidden()
    assert video.evaluate("video => video.srcObject") is None


def test_nobody_is_filmed_by_a_camera_that_was_left_by_escape_or_for_another_tab(page: Page):
    button = page.get_by_role("button", name="Take a picture with the camera")
    video = page.locator("#pad .pad-camera video")
    for leave in ("by Escape", "to another tab"):
        button.click()
        expect(video).to_be_visible()
        page.evaluate(
            "window.track = document.querySelector('#pad video').srcObject.getTracks()[0]"
        )

        if leave == "by Escape":
            page.keyboard.press("Escape")
            expect(button).to_be_focused()
        else:
            open_tab(page, "Number")

        page.wait_for_function("window.track.readyState === 'ended'")
        assert video.evaluate("video => video.srcObject") is None, leave


def test_examples_and_random_test_images_are_shown_with_their_label_and_read(page: Page):
    page.get_by_role("button", name="Example of 4").click()
    expect(page.locator(".answer-truth")).to_contain_text("Labelled 4")
    title(page).to_contain_text(" a 4")
    expect(page.locator("#pad .pad-picture")).to_be_visible()

    page.get_by_role("button", name="Clear").click()
    expect(page.locator(".answer-truth")).not_to_contain_text("Labelled")
    page.get_by_role("button", name="Random test image").click()
    expect(page.locator(".answer-truth")).to_contain_text("Labelled ")
    expect(page.locator("#pad .pad-picture")).to_be_visible()


def test_an_example_needs_no_server_to_come_onto_the_pad(page: Page):
    """Its picture was asked for, and could arrive after the visitor had begun to draw."""
    gate = Gate(page)
    page.get_by_role("button", name="Example of 4").click()
    expect(page.locator("#pad .pad-picture")).to_be_visible()
    draw(page, HAND[7])

    gate.open()

    wait_for_answer(page, 7)
    expect(page.locator("#pad .pad-picture")).to_be_hidden()


def test_an_example_below_the_pad_of_a_phone_brings_the_pad_into_view(
    open_page: Callable[..., Page],
):
    page = open_page(viewport=PHONE)
    example = page.get_by_role("button", name="Example of 4")
    example.scroll_into_view_if_needed()
    page.evaluate("window.scrollTo(0, document.body.scrollHeight)")
    expect(page.locator("#pad .pad-stage")).not_to_be_in_viewport(ratio=1)

    example.click()

    expect(page.locator("#pad .pad-stage")).to_be_in_viewport(ratio=1)


# ---- When the server takes its time --------------------------------------------------------------


def test_an_answer_that_is_out_of_date_is_marked_and_cannot_be_confirmed(page: Page):
    """After a new upload, the number of the former picture stood there in full colour for 12 s."""
    usable = page.locator("[data-said]:enabled, .teach-yes:enabled")
    draw(page, HAND[7])
    wait_for_answer(page, 7)
    expect(page.locator("#answer")).to_have_attribute("aria-busy", "false")
    expect(usable).to_have_count(12)
    gate = Gate(page)

    draw(page, [[(40, 200), (60, 220)]])

    expect(page.locator("#answer")).to_have_attribute("aria-busy", "true")
    expect(page.locator("#answer")).to_have_attribute("data-late", "Reading …")
    expect(usable).to_have_count(0)
    gate.open()
    expect(page.locator("#answer:not([data-late])")).to_have_attribute("aria-busy", "false")
    expect(usable).to_have_count(12)


def test_an_empty_pad_needs_no_server_and_takes_no_late_answer(page: Page):
    draw(page, HAND[7])
    wait_for_answer(page, 7)
    gate = Gate(page)
    draw(page, [[(40, 200), (60, 220)]])
    expect(page.locator("#answer")).to_have_attribute("data-late", "Reading …")

    page.get_by_role("button", name="Clear").click()
    title(page).to_have_text("Draw a digit")
    expect(page.locator("#answer:not([data-late])")).to_have_attribute("aria-busy", "false")
    with page.expect_response(lambda each: each.url.endswith("/run/predict")):
        gate.waiting.pop(0).continue_()
    expect(page.locator(".bar-best")).to_have_count(0)

    gate.open()
    title(page).to_have_text("Draw a digit")


def test_a_server_that_does_not_answer_is_told(open_page: Callable[..., Page]):
    page = open_page(viewport=DESKTOP)
    Gate(page)
    page.clock.install()

    draw(page, HAND[7])
    page.clock.run_for(9000)

    words = "No answer yet: the server is busy, or cannot be reached."
    expect(page.locator("#answer")).to_have_attribute("data-late", words)


# ---- What else is on the page -------------------------------------------------------------------


def test_the_steps_appear_when_they_are_opened_and_then_follow_the_pad(page: Page):
    draw(page, HAND[7])
    wait_for_answer(page, 7)
    steps = page.locator(".steps li")
    expect(steps).to_have_count(0)

    page.get_by_text("What happened to my picture").click()
    expect(steps.first).to_be_visible()

    page.get_by_role("button", name="Clear").click()
    expect(steps).to_have_count(0)


def test_nothing_of_what_was_drawn_stays_in_the_browser(page: Page):
    draw(page, HAND[7])
    wait_for_answer(page, 7)

    kept = page.evaluate("JSON.stringify({...localStorage, ...sessionStorage})")
    databases = page.evaluate("indexedDB.databases().then(all => all.map(one => one.name))")

    assert "data:image" not in kept
    assert "points" not in kept
    assert databases == []


PADS = (("Recognise", "#pad", "#answer"), ("Number", "#number-pad", "#number-answer"))


def test_drawings_are_there_again_when_the_page_was_loaded_anew(page: Page):
    """Gradio loads the page anew when it has lost the server, and the drawing was gone."""
    before = {}
    for tab, pad, place in PADS:
        answer = page.locator(place)
        open_tab(page, tab)
        draw(page, HAND[7], pad)
        expect(answer.locator(".answer-digit")).to_have_text("7")
        expect(answer).to_have_attribute("aria-busy", "false")
        before[tab] = answer.locator(".answer-sure").inner_text()

    reload(page)

    for tab, _, place in PADS:
        answer = page.locator(place)
        open_tab(page, tab)
        expect(answer.locator(".answer-digit")).to_have_text("7")
        expect(answer.locator(".answer-sure")).to_have_text(before[tab], use_inner_text=True)
    assert list_kept(page) == []
    for tab, pad, _ in PADS:
        open_tab(page, tab)
        page.locator(pad).get_by_role("button", name="Undo").click()
        expect(page.locator(f"{pad} .pad-clear")).to_be_disabled()


def test_what_is_not_on_the_pad_any_more_does_not_come_back(page: Page):
    for end in ("Clear", "Undo", "Random test image"):
        draw(page, HAND[7])
        reload(page)
        wait_for_answer(page, 7)
        page.locator("#pad").get_by_role("button", name=end).click()
        page.locator("#pad .pad-clear:disabled, #pad .pad-picture:not([hidden])").first.wait_for()

        reload(page)

        expect(page.locator("#pad .pad-clear"), end).to_be_disabled()
        title(page).to_have_text("Draw a digit")
        assert list_kept(page) == [], end


def test_a_drawing_comes_back_in_no_other_tab_of_the_browser(page: Page, url: str):
    draw(page, HAND[7])
    wait_for_answer(page, 7)
    other = page.context.new_page()
    open_pad(other, url)
    expect(other.locator("#pad .pad-clear")).to_be_disabled()

    reload(page)
    reload(other)

    wait_for_answer(page, 7)
    expect(other.locator("#pad .pad-clear")).to_be_disabled()
    other.close()


STROKE = '{"kind": "stroke", "erase": false, "width": 20, "points": [[140, 60], [140, 200]]}'


NO_DRAWINGS = [
    *("{", "7", "[null]", '[{"width": 20, "points": []}]'),
    f"[{STROKE}, null]",
    f"[{STROKE}]".replace("[140, 200]", '["140", "200"]'),
    f"[{STROKE}]".replace("20,", "-20,"),
]


def test_what_is_no_drawing_in_the_storage_is_ignored(open_page: Callable[..., Page]):
    page = open_page(viewport=DESKTOP)
    for content in NO_DRAWINGS:
        # What an earlier round stores at each start is replaced by what a later one does.
        page.add_init_script(f"sessionStorage.setItem('drawn:pad', {json.dumps(content)})")

        reload(page)

        expect(page.locator("#pad .pad-clear"), content).to_be_disabled()
        assert list_kept(page) == [], content

    draw(page, HAND[7])

    wait_for_answer(page, 7)


@pytest.mark.parametrize(
    "broken",
    [
        "Storage.prototype.setItem = () => { throw new DOMException('', 'QuotaExceededError') }",
        "Object.defineProperty(window, 'sessionStorage',"
        " { get() { throw new DOMException('', 'SecurityError') } })",
    ],
)
def test_without_storage_a_drawing_is_lost_and_nothing_else(
    open_page: Callable[..., Page], broken: str
):
    page = open_page(viewport=DESKTOP)
    draw(page, HAND[7])
    wait_for_answer(page, 7)
    page.add_init_script(broken)
    page.evaluate(f"() => {{ {broken} }}")
    page.evaluate("dispatchEvent(new PageTransitionEvent('pagehide'))")

    reload(page)

    expect(page.locator("#pad .pad-clear")).to_be_disabled()
    draw(page, HAND[2])
    wait_for_answer(page, 2)


def test_a_page_out_of_sight_keeps_its_drawing_and_in_sight_it_lies_nowhere(
    open_page: Callable[..., Page],
):
    """A telephone may drop a page that is out of sight, and tells it nothing more."""
    page = open_page(viewport=DESKTOP)
    draw(page, HAND[7])
    wait_for_answer(page, 7)

    look = "(hidden) => { Object.defineProperty(document, 'hidden', { value: hidden, "
    look += "configurable: true }); document.dispatchEvent(new Event('visibilitychange')) }"
    page.evaluate(look, True)
    away = list_kept(page)
    page.evaluate(look, False)

    assert away == ["drawn:pad"]
    assert list_kept(page) == []


def list_kept(page: Page) -> list[str]:
    """Name the drawings that lie in the storage of the page."""
    names = page.evaluate("Object.keys(sessionStorage)")
    return [name for name in names if name.startswith("drawn:")]


def reload(page: Page) -> None:
    page.reload()
    page.locator("#pad .pad-pen[aria-pressed]").wait_for()  # the page's scripts have run


def test_nothing_is_wider_than_the_window(open_page: Callable[..., Page]):
    page = open_page(viewport={"width": 320, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 320

    for width in (390, 768, 1440):
        page.set_viewport_size({"width": width, "height": 800})
        page.wait_for_function("width => document.documentElement.scrollWidth <= width", arg=width)


def test_the_server_ends_in_peace_although_a_page_is_open(browser: Browser):
    """An open page holds a connection: ending it used to print a traceback of a hundred lines.

    SIGTERM is tested by test_server.py, and what this program makes of it by test_app.py.
    """
    command = [sys.executable, "app.py", "--port", "0", "--model", "best"]
    server = subprocess.Popen(
        command, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert server.stdout is not None
    ready = server.stdout.readline()
    page = browser.new_page()
    open_pad(page, ready.split()[4])
    draw(page, HAND[7])
    wait_for_answer(page, 7)

    server.send_signal(signal.SIGINT)
    output, errors = server.communicate(timeout=60)

    page.close()
    assert ready.startswith("Digit reader is ready: http://127.0.0.1:")
    assert server.returncode == 0
    assert (output, errors) == ("", "Stopped.\n")
