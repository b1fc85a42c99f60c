"""Training and models in real Chromium: a run survives a reload, a choice holds for everybody."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from jobs import TrainingJobs
from model import build_model
from registry import list_names, load_checkpoint, save_checkpoint
from screenshots import HAND, draw, open_tab
from tab_train import ANEW, REFINING
from utils import PROJECT

pytestmark = pytest.mark.browser

PATIENCE_MS = 150_000  # the trainer gives way to everything else, and here to other tests

# A page with folders of its own. Its trainer does not step back: tests are in a hurry.
SERVE = """
import sys
from pathlib import Path
import jobs
from app import build_app
from feedback import FeedbackStore
from jobs import TrainingJobs
from server import open_port, serve
from service import Service
jobs._step_back = lambda process: None
place, data = map(Path, sys.argv[1:])
models, store = place / "models", FeedbackStore(place / "feedback.sqlite")
runs = TrainingJobs(place / "outputs", models, data=data, corrections=store.path)
service = Service(models_folder=models, data_folder=data, feedback=store, jobs=runs, device="cpu")
with open_port("127.0.0.1", 0) as listener:
    serve(build_app(service), listener, title="Test", open_browser=False)
"""


class Server(NamedTuple):
    url: str
    place: Path

    @property
    def models(self) -> Path:
        return self.place / "models"


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, models_folder: Path, mnist_folder: Path
) -> Iterator[Server]:
    """Serve a page whose models and runs may be changed."""
    place = tmp_path_factory.mktemp("place")
    shutil.copytree(models_folder, place / "models")
    save_checkpoint(place / "models" / "other.pth", build_model("cnn3"))
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE, str(place), str(mnist_folder)],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        found = re.search(r"http://\S+", process.stdout.readline())
        assert found, "the page did not start; its own message is above"
        yield Server(found[0], place)
    finally:
        TrainingJobs(place / "outputs", place / "models").cancel()
        process.terminate()
        process.communicate()


@pytest.fixture
def page(open_page: Callable[..., Page], server: Server) -> Iterator[Page]:
    yield open_page(url=server.url)
    runs = TrainingJobs(server.place / "outputs", server.models)
    runs.cancel()
    while runs.current():  # what a failed test left running would stop the next one
        time.sleep(0.1)


def status(page: Page) -> Locator:
    return page.locator("#train-status")


def reload(page: Page) -> None:
    page.reload()
    page.locator("#pad .pad-pen[aria-pressed]").wait_for()  # the page's scripts have run


def open_models(page: Page) -> None:
    open_tab(page, "Models")
    expect(page.locator("#models-table")).to_contain_text("in use")  # the list has come


def choose(page: Page, dropdown: str, value: str) -> None:
    page.locator(f"{dropdown} input").click()
    page.get_by_role("option", name=value, exact=True).click()


def test_a_run_is_followed_survives_a_reload_and_is_cancelled(page: Page, server: Server):
    open_tab(page, "Train")
    expect(status(page)).to_contain_text("No run yet")
    epochs = page.locator("#train-epochs input[type=number]")
    expect(epochs).to_have_value(str(REFINING[0]))
    choose(page, "#train-from", "Nothing: train from scratch")
    expect(epochs).to_have_value(str(ANEW[0]))
    expect(page.get_by_label("Network")).to_be_visible()
    epochs.fill("30")
    page.locator("#train-from input").focus()
    page.keyboard.press("Tab")  # Gradio calls leaving it an input, too
    expect(epochs).to_have_value("30")
    page.get_by_text("More choices").click()
    page.get_by_label("Learn other hands and what is no digit, too").uncheck()

    page.locator("#train-start").click()
    expect(page.locator("#train-start")).to_be_disabled()
    expect(status(page)).to_contain_text(re.compile(r"[2-9] of 30 epochs"), timeout=PATIENCE_MS)
    expect(page.locator("#train-accuracy")).to_be_visible()
    open_tab(page, "Recognise")
    draw(page, HAND[7])
    expect(page.locator(".answer-title")).not_to_have_text("Draw a digit")  # it goes on reading
    reload(page)
    open_tab(page, "Train")

    expect(status(page)).to_contain_text("Training mnistnet, from scratch")
    expect(page.locator("#train-start")).to_be_disabled()
    page.locator("#train-end").click()
    expect(status(page)).to_contain_text("Cancelled after", timeout=PATIENCE_MS)
    expect(page.locator("#train-start")).to_be_enabled()
    expect(page.locator("#train-runs")).to_contain_text("Cancelled")
    [run] = TrainingJobs(server.place / "outputs", server.models).history()
    assert run.state == "cancelled"
    assert load_checkpoint(server.place / "outputs" / run.run / "best.pth").metrics["epoch"] >= 1
    assert list_names(server.models) == ["mnist_cnn", "mnist_cnn_best", "other"]


def test_a_short_run_from_the_page_leaves_a_model_that_can_be_chosen(page: Page, server: Server):
    open_tab(page, "Train")
    page.get_by_text("More choices").click()
    page.get_by_label("Learn other hands and what is no digit, too").uncheck()
    page.locator("#train-epochs input[type=number]").fill("2")
    page.locator("#train-limit input").fill("40")
    page.get_by_label("Name of the new model").fill("trial")

    page.locator("#train-start").click()
    expect(status(page)).to_contain_text("Finished", timeout=PATIENCE_MS)
    for curve in ("accuracy", "loss", "lr"):  # their axis had parts of epochs: 1.0, 1.1, 1.2, ...
        labels = page.locator(f"#train-{curve} .role-axis-label").first.locator("text")
        expect(labels).to_have_text(["1", "2"])
    open_models(page)
    choose(page, "#models-chosen", "trial")
    page.locator("#models-use").click()

    expect(page.locator("#models-said")).to_have_text("trial reads from now on.")
    expect(page.locator("#models-table .model-used")).to_contain_text("trial")
    expect(page.get_by_text("Model in use: trial (mlp)")).to_be_visible()
    assert load_checkpoint("trial", server.models).refusal is not None


def test_what_stands_on_the_pad_is_read_again_by_a_model_that_was_chosen(page: Page):
    """The answer stayed that of the former model, while the page named the new one."""
    draw(page, HAND[7])
    expect(page.locator("#answer .bar-best")).to_have_count(1)
    before = page.locator("#answer .bars").inner_text()
    open_models(page)
    choose(page, "#models-chosen", "other")

    page.locator("#models-use").click()
    expect(page.get_by_text("Model in use: other (cnn3)")).to_be_visible()
    open_tab(page, "Recognise")

    expect(page.locator("#answer .bars")).not_to_have_text(before, use_inner_text=True)


def test_thanks_for_a_correction_stay_when_another_model_is_chosen_in_that_moment(page: Page):
    """They were dropped, as if nothing had been stored, and everything could be said again."""
    note = page.locator(".teach-note")
    draw(page, HAND[7])
    page.locator("[data-said]:enabled").first.wait_for()
    before = page.locator("#answer .bars").inner_text()
    in_use = page.locator("[data-model] .hint")
    used = in_use.inner_text()
    held: list[Route] = []

    def hold_the_first(route: Route) -> None:
        if held:
            route.continue_()
        else:
            held.append(route)

    page.route("**/run/predict", hold_the_first)
    page.locator("#feedback-row").get_by_role("button", name="It was a 1").click()
    expect(note).to_contain_text("Storing")
    open_models(page)
    choose(page, "#models-chosen", "mnist_cnn_best" if ": other" in used else "other")
    page.locator("#models-use").click()
    expect(in_use).not_to_have_text(used)
    open_tab(page, "Recognise")
    expect(page.locator("#answer .bars")).not_to_have_text(before, use_inner_text=True)
    expect(page.locator("#answer")).to_have_attribute("aria-busy", "false")

    held[0].continue_()

    expect(note).to_contain_text("Thank you: kept as a 1.")
    expect(page.locator("[data-said]:enabled, .teach-yes:enabled")).to_have_count(0)
    note.get_by_role("button", name="Change").click()
    expect(note).to_contain_text("Taken back")


def test_a_choice_that_cannot_work_is_told_and_nothing_starts(page: Page, server: Server):
    runs = TrainingJobs(server.place / "outputs", server.models)
    before = len(runs.history())
    open_tab(page, "Train")
    page.get_by_text("More choices").click()
    page.get_by_label("Name of the new model").fill("../../etc/passwd")

    page.locator("#train-start").click()

    said = page.locator("#train-said")
    expect(said).to_contain_text("Name of the new model: '../../etc/passwd' cannot work")
    expect(page.locator(".toast-body")).to_have_count(0)
    page.get_by_label("Name of the new model").fill("covered by nothing")
    assert len(runs.history()) == before


def test_a_model_is_deleted_only_when_asked_twice(page: Page, server: Server):
    save_checkpoint(server.models / "waste.pth", build_model("cnn1"))
    open_models(page)
    choose(page, "#models-chosen", "waste")

    page.locator("#models-delete").click()
    page.get_by_role("button", name="Keep").click()
    expect(page.locator("#models-question")).to_be_hidden()
    choose(page, "#models-chosen", "mnist_cnn")
    page.locator("#models-delete").click()
    page.locator("#models-sure").click()
    expect(page.locator("#models-said")).to_contain_text("Not done: mnist_cnn belongs to")
    expect(page.locator(".toast-body")).to_have_count(0)
    choose(page, "#models-chosen", "waste")
    assert "waste" in list_names(server.models)
    page.locator("#models-delete").click()
    expect(page.locator("#models-question")).to_contain_text("Delete waste for good?")
    choose(page, "#models-chosen", "other")  # the question is still about the first one
    page.locator("#models-sure").click()

    expect(page.locator("#models-said")).to_have_text("waste is deleted.")
    assert "waste" not in list_names(server.models)
    assert "other" in list_names(server.models)


def test_a_worse_model_is_not_promoted_and_files_go_out_and_come_in(page: Page, server: Server):
    first = load_checkpoint("best", server.models).version
    open_models(page)
    with page.expect_download():  # of another model, whose file must not come a second time
        page.locator("#models-download").click()
    choose(page, "#models-chosen", "other")

    with page.expect_download() as download:
        page.locator("#models-download").click()
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Upload a model").click()
    chooser.value.set_files(
        {
            "name": "from my friend.pth",
            "mimeType": "application/octet-stream",
            "buffer": Path(download.value.path()).read_bytes(),
        }
    )

    expect(page.locator("#models-said")).to_have_text(
        "from-my-friend is added; it does not read yet."
    )
    assert (
        load_checkpoint("from-my-friend", server.models).version
        == load_checkpoint("other", server.models).version
    )
    assert load_checkpoint("best", server.models).version == first


def test_two_models_read_the_same_drawing(page: Page):
    open_models(page)
    page.locator("#compare").get_by_text("Compare two models").click()
    choose(page, "#compare-2", "other")

    draw(page, HAND[7], pad="#compare-pad")

    for place in (1, 2):
        answer = page.locator(f"#compare-answer-{place}")
        expect(answer.locator(".bar-value").first).to_contain_text("%")
        expect(answer.locator(".answer-title")).not_to_have_text("Draw a digit")
        seen = answer.locator(".answer-seen img").bounding_box()
        assert seen is not None
        assert seen["width"] == seen["height"]


def test_the_page_names_the_model_that_answers_though_it_was_chosen_on_another_page(
    page: Page, open_page: Callable[..., Page], server: Server
):
    other_page = open_page(url=server.url)
    is_other = "Model in use: other" in page.locator("body").inner_text()
    chosen = "mnist_cnn_best" if is_other else "other"
    open_models(other_page)
    choose(other_page, "#models-chosen", chosen)
    other_page.locator("#models-use").click()
    expect(other_page.get_by_text(f"Model in use: {chosen}")).to_be_visible()
    expect(page.get_by_text(f"Model in use: {chosen}")).to_have_count(0)

    draw(page, HAND[7])

    expect(page.get_by_text(f"Model in use: {chosen}")).to_be_visible()
