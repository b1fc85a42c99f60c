"""Corrections and batches in real Chromium: what lands in the database, and in the files."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, Route, expect

from encoding import encode_png
from feedback import FeedbackStore
from screenshots import HAND, draw, open_pad, open_tab, serve_page, wait_for_answer
from strokes import draw_number
from tests.conftest import DESKTOP
from tests.test_feedback import add

pytestmark = pytest.mark.browser

TOKEN = "correct horse battery"


class Server(NamedTuple):
    url: str
    store: FeedbackStore


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Serve a page with a store of its own, whose gallery asks for a token."""
    store = FeedbackStore(tmp_path_factory.mktemp("feedback") / "feedback.sqlite")
    variables = {"DIGITS_FEEDBACK": str(store.path), "DIGITS_ADMIN_TOKEN": TOKEN}
    with serve_page(environment=variables) as url:
        yield Server(url, store)


@pytest.fixture
def page(open_page: Callable[..., Page], server: Server) -> Page:
    return open_page(url=server.url)


def say(page: Page, name: str) -> None:
    page.locator("#feedback-row").get_by_role("button", name=name, exact=True).click()


def test_a_correction_lands_in_the_database_and_can_be_changed_and_deleted(
    page: Page, server: Server
):
    note = expect(page.locator(".teach-note"))
    draw(page, HAND[7])
    wait_for_answer(page, 7)
    note.to_contain_text("Without a click nothing is kept")
    assert server.store.count() == 0

    say(page, "It was a 1")
    note.to_contain_text("Thank you: kept as a 1.")
    expect(page.locator("[data-said]:enabled, .teach-yes:enabled")).to_have_count(0)
    say(page, "Change")
    note.to_contain_text("Taken back: it is not kept any more.")
    assert server.store.count() == 0
    say(page, "Correct")
    note.to_contain_text("Thank you: kept as a 7.")

    [kept] = server.store.stream()
    assert (kept.correct, kept.digit, kept.source) == (7, 7, "page")
    assert [each.correct for each in server.store.history(kept.id)] == [7]
    assert kept.png.startswith(b"\x89PNG")

    open_tab(page, "Feedback")
    gallery = page.locator("#corrections")
    expect(gallery).to_contain_text("administrator token is missing")
    page.locator(".unlock input:visible").fill(TOKEN)
    page.get_by_role("button", name="Show corrections").click()
    expect(gallery.locator(".card")).to_have_count(1)
    expect(gallery.locator(".card-read")).to_contain_text("read as a 7")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download all as a zip").click()
    with zipfile.ZipFile(download.value.path()) as archive:
        assert archive.namelist() == [f"7/{kept.hash[:16]}.png", "corrections.csv"]

    gallery.get_by_role("button", name="Delete", exact=True).click()
    gallery.get_by_role("button", name="Keep").click()
    assert server.store.count() == 1
    gallery.get_by_role("button", name="Delete", exact=True).click()
    gallery.locator(".delete-yes").click()
    expect(gallery).to_contain_text("There are no corrections yet")
    assert server.store.count() == 0


def test_thanks_for_an_answer_do_not_stand_below_another(page: Page, server: Server):
    draw(page, HAND[7])
    wait_for_answer(page, 7)
    held: list[Route] = []
    page.route("**/run/predict", lambda route: held.append(route))
    say(page, "Correct")
    expect(page.locator(".teach-note")).to_contain_text("Storing")
    page.locator("#pad").get_by_role("button", name="Clear").click()
    expect(page.locator(".teach-note")).not_to_contain_text("Storing")

    with page.expect_response(lambda each: each.url.endswith("/run/predict")):
        held[0].continue_()
    page.unroute("**/run/predict")
    draw(page, HAND[2])

    wait_for_answer(page, 2)
    expect(page.locator(".teach-note")).to_contain_text("Without a click nothing is kept")
    expect(page.locator("[data-said]:enabled, .teach-yes:enabled")).to_have_count(12)
    [kept] = server.store.stream()
    assert kept.correct == 7
    server.store.delete(kept.id)


def test_what_the_server_did_not_store_or_take_back_can_be_said_again(
    browser: Browser, server: Server
):
    """The row said "Storing ..." until another picture was on the pad."""
    page = browser.new_page(viewport=DESKTOP)  # its errors, which the browser logs, are meant
    open_pad(page, server.url)
    note, usable = page.locator(".teach-note"), "[data-said]:enabled, .teach-yes:enabled"
    draw(page, HAND[7])
    wait_for_answer(page, 7)

    page.route("**/run/predict", spoil)
    say(page, "It was a 1")
    expect(note).to_contain_text("Storing failed: say it again in a moment.")
    expect(page.locator(usable)).to_have_count(12)
    say(page, "It was a 1")
    expect(note).to_contain_text("Storing failed")
    page.unroute("**/run/predict")
    assert server.store.count() == 0
    say(page, "It was a 1")
    expect(note).to_contain_text("Thank you: kept as a 1.")

    page.route("**/run/predict", spoil)
    say(page, "Change")
    expect(note).to_contain_text("Taking it back failed: try again in a moment.")
    expect(page.locator(usable)).to_have_count(0)
    page.unroute("**/run/predict")
    assert server.store.count() == 1
    say(page, "Change")
    expect(note).to_contain_text("Taken back: it is not kept any more.")
    assert server.store.count() == 0
    page.close()


def spoil(route: Route) -> None:
    """Send a request without its values: the server then fails in earnest."""
    asked = json.loads(route.request.post_data or "")
    route.continue_(post_data={**asked, "data": []})


def test_the_keyboard_goes_on_at_what_can_be_said_next(page: Page, server: Server):
    row = page.locator("#feedback-row")
    draw(page, HAND[7])
    wait_for_answer(page, 7)

    row.get_by_role("button", name="Correct", exact=True).press("Enter")
    expect(row.get_by_role("button", name="Change")).to_be_focused()
    row.get_by_role("button", name="Change").press("Enter")

    expect(row.get_by_role("button", name="Correct", exact=True)).to_be_focused()
    assert server.store.count() == 0


def test_in_the_gallery_the_keyboard_goes_on_where_it_was_and_changes_are_read_out(
    page: Page, server: Server
):
    for number, digit in enumerate((3, 3, 5)):
        add(server.store, number, digit)
    open_tab(page, "Feedback")
    page.locator(".unlock input:visible").fill(TOKEN)
    page.get_by_role("button", name="Show corrections").click()
    gallery, told = page.locator("#corrections"), page.locator(".gallery-told")
    expect(gallery.locator(".card")).to_have_count(3)

    gallery.locator('[data-digit="3"]').press("Enter")
    expect(told).to_have_text("2 corrections, page 1 of 1")
    expect(gallery.locator('[data-digit="3"]')).to_be_focused()
    gallery.locator(".delete-ask").first.press("Enter")
    gallery.locator(".delete-yes").first.press("Enter")

    expect(told).to_have_text("Deleted. 1 correction, page 1 of 1")
    expect(gallery.locator(".delete-ask")).to_be_focused()
    for each in list(server.store.stream()):
        server.store.delete(each.id)


def test_only_what_was_read_can_be_corrected_and_no_test_picture(page: Page, server: Server):
    buttons = page.locator("[data-said], .teach-yes")
    usable = page.locator("[data-said]:enabled, .teach-yes:enabled")
    expect(buttons).to_have_count(12)
    expect(usable).to_have_count(0)

    draw(page, HAND[7])
    wait_for_answer(page, 7)
    expect(usable).to_have_count(12)
    page.locator("#pad").get_by_role("button", name="Clear").click()
    expect(usable).to_have_count(0)

    page.locator("#pad").get_by_role("button", name="Random test image").click()
    expect(page.locator(".teach-note")).to_contain_text("test pictures are not kept")
    expect(usable).to_have_count(0)
    assert server.store.count() == 0


def test_a_zip_becomes_a_table_files_and_a_report(
    page: Page, digit_png: Callable[..., Path], tmp_path: Path
):
    scans = tmp_path / "scans.zip"
    with zipfile.ZipFile(scans, "w") as archive:
        for digit in (0, 3, 7):
            archive.write(digit_png(digit), f"{digit}.png")
        archive.writestr("torn.png", b"\x89PNG\r\n\x1a\n")
    open_tab(page, "Batch")

    page.locator("#batch-files input[type=file]").set_input_files([scans, digit_png(2)])

    rows = page.locator(".batch tbody tr")
    expect(rows).to_have_count(5)
    expect(rows.locator(".batch-digit")).to_have_text(["0", "3", "7", "–", "2"])
    page.locator(".chips:visible").get_by_role("button", name="Not read").click()
    expect(rows.locator("visible=true")).to_have_count(1)
    files = {}
    for kind in ("CSV", "JSON", "report"):
        with page.expect_download() as download:
            page.get_by_role("button", name=f"Download {kind}").click()
        files[kind] = download.value.path().read_text(encoding="utf-8")
    table = list(csv.DictReader(io.StringIO(files["CSV"])))
    assert [row["digit"] for row in table] == ["0", "3", "7", "", "2"]
    assert [row["path"] for row in json.loads(files["JSON"])][-2:] == [
        "scans.zip/torn.png",
        "2-0.png",
    ]
    assert "scans.zip/torn.png" in files["report"]
    assert page.locator("#batch-files .file-preview").count() == 0, "the uploads are gone"


def test_a_batch_of_numbers_can_be_tried_without_pictures_on_a_phone(
    open_page: Callable[..., Page], server: Server
):
    page = open_page(url=server.url, viewport={"width": 390, "height": 844})
    open_tab(page, "Batch")

    page.get_by_role("radio", name="A number").check()
    answers: list[Route] = []
    page.route("**/queue/data*", lambda route: answers.append(route))  # as if others were served
    with page.expect_request("**/queue/data*"):
        page.get_by_role("button", name="Try it with drawn digits").click()
    expect(page.locator("#batch-results .hint")).to_contain_text("Waiting to begin")

    answers.pop().continue_()

    expect(page.locator(".batch-numbers tbody tr")).to_have_count(12)
    expect(page.locator("#batch-results").get_by_role("status")).to_contain_text("All 12, ")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_after_stop_the_next_batch_is_read(page: Page, tmp_path: Path):
    """It was swallowed, and the page said "Waiting to begin" for good.

    The pictures of the first were still being read then, and until that was over Gradio took no
    other press of a button for a new batch.
    """
    lines = [draw_number("0123456789" * 3, np.random.default_rng(5), height=64)[0]] * 20
    scans = tmp_path / "scans.zip"
    with zipfile.ZipFile(scans, "w") as archive:
        for number in range(40):
            archive.writestr(f"{number}.png", encode_png(np.vstack(lines)))
    open_tab(page, "Batch")
    page.get_by_role("radio", name="A number").check()
    table, files = page.locator("#batch-results"), page.locator("#batch-files input[type=file]")
    stop = page.locator("#batch-stop")

    files.set_input_files(scans)
    stop.dblclick()
    expect(table.locator(".hint")).to_have_text("Stopped. Nothing was kept.")
    files.set_input_files(scans)
    stop.click()
    expect(table.locator(".hint")).to_have_text("Stopped. Nothing was kept.")
    page.get_by_role("button", name="Try it with drawn digits").click()

    expect(table.locator("tbody tr")).to_have_count(12)
    expect(stop).to_be_hidden()
    expect(page.get_by_text("Error", exact=True)).to_have_count(0)
