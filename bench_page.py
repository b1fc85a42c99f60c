"""Measure the page: from the end of a stroke to the frame that shows the new answer, in Chromium.

    a hand draws -> the pen is lifted -> the page asks the server -> its answer is on the screen

While a stroke grows the page asks too, so the last question may have to wait for the answer to the
one before it: that wait is part of what is measured. `floor` is the API, asked with the same
drawing from the same page. Needs Chromium and the libraries of `requirements-dev.txt`.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from errors import MeasurementError, SettingsError
from screenshots import ANSWER_MS, HAND, PAD_SIDE, Place, open_browser, open_pad, serve_page, smooth
from timing import Goal, Table, describe_conditions, median_ratio

if TYPE_CHECKING:
    from playwright.sync_api import Page

GOAL_MS = 150.0  # from the end of a stroke to the new answer, in the median
POINT_MS = 8  # between two places of the pen: mice tell theirs 125 times a second
ASKED = "/gradio_api/run/"  # where the page sends a drawing
QUIET_MS = 300  # without a change: the answer that is shown is the last one

# Notes when the pen is lifted and when a frame shows a change of the answer.
WATCH = """() => {
  const seen = (window.benchPage = { lifted: 0, shown: 0 });
  // The browser keeps 250 of these, and then no more.
  document.addEventListener("pointerdown", () => performance.clearResourceTimings(), true);
  document.addEventListener("pointerup", (event) => (seen.lifted = event.timeStamp), true);
  new MutationObserver(() => requestAnimationFrame(() => (seen.shown = performance.now()))).observe(
    document.querySelector("#answer"), { subtree: true, childList: true, characterData: true });
}"""
# True once the last question that was asked after the lift is answered, and the page at rest.
IS_ANSWERED = f"""() => {{
  const seen = window.benchPage;
  const asked = performance.getEntriesByType("resource").filter(
    (each) => each.name.includes("{ASKED}") && each.startTime >= seen.lifted);
  seen.answered = Math.max(0, ...asked.map((each) => each.responseEnd));
  return seen.answered > 0 && performance.now() - Math.max(seen.answered, seen.shown) > {QUIET_MS};
}}"""
ASK_API = """async (image) => {
  const started = performance.now();
  const answer = await fetch("/predict", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ image }),
  });
  await answer.json();
  return performance.now() - started;
}"""


class Stroke(NamedTuple):
    """How long one stroke's answer took: on the page, and of the API alone."""

    page_ms: float
    api_ms: float


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    parser.add_argument("--strokes", type=int, default=30, metavar="N", help="that are counted")
    parser.add_argument("--model", default="best", help="name in models/, or a file")


def run(args: argparse.Namespace) -> list[Table]:
    """Measure what the command line asks for."""
    conditions = describe_conditions()
    with open_browser() as browser, serve_page(args.model) as url:
        page = browser.new_page(viewport={"width": 1200, "height": 860})
        open_pad(page, url)
        strokes = list(itertools.islice(draw_and_wait(page), args.strokes + 1))[1:]
        conditions["browser"] = f"Chromium {browser.version}"
    return [tabulate(strokes, conditions)]


def draw_and_wait(page: Page) -> Iterator[Stroke]:
    """Draw digits without end, and time the answer to each stroke.

    Raises
    ------
    MeasurementError
        If the page shows no new answer to a stroke: then there is nothing to time.
    """
    drawings: list[str] = []
    page.on("request", lambda request: _keep_drawing(request, drawings))
    page.evaluate(WATCH)
    for digit in itertools.cycle(HAND):
        if page.locator("#pad .pad-clear").is_enabled():
            page.locator("#pad .pad-clear").click()
            page.wait_for_function(IS_ANSWERED, timeout=ANSWER_MS)
        for points in HAND[digit]:
            _draw_slowly(page, smooth(points))
            page.wait_for_function(IS_ANSWERED, timeout=ANSWER_MS)
            seen = page.evaluate("benchPage")
            if seen["shown"] < seen["answered"]:
                raise MeasurementError(
                    f"the page did not show the answer to a stroke of the {digit}"
                )
            image = drawings[-1].partition(",")[2]
            yield Stroke(seen["shown"] - seen["lifted"], page.evaluate(ASK_API, image))


def _keep_drawing(request: Any, drawings: list[str]) -> None:
    """Keep the drawing that a question holds, if there is one."""
    if ASKED not in request.url:
        return
    for value in json.loads(request.post_data or "{}").get("data", []):
        if isinstance(value, dict) and value.get("kind") == "drawing":
            drawings.append(value["data"])


def _draw_slowly(page: Page, points: list[Place]) -> None:
    """Draw one stroke at the pace of a hand."""
    box = page.locator("#pad .pad-canvas").bounding_box()
    assert box is not None
    scale = box["height"] / PAD_SIDE
    for number, (x, y) in enumerate(points):
        page.mouse.move(box["x"] + x * scale, box["y"] + y * scale)
        page.wait_for_timeout(POINT_MS)
        if number == 0:
            page.mouse.down()
    page.mouse.up()


def tabulate(strokes: list[Stroke], conditions: dict[str, Any]) -> Table:
    """Put the times of all strokes into a table.

    Raises
    ------
    SettingsError
        If there are fewer than two.
    """
    if len(strokes) < 2:
        raise SettingsError("--strokes has to be at least 2")
    samples = {
        "ours": [stroke.page_ms for stroke in strokes],
        "floor": [stroke.api_ms for stroke in strokes],
    }
    rows = {
        name: {
            "ms": statistics.median(times),
            "p95 ms": statistics.quantiles(times, n=20, method="inclusive")[-1],
            "this / floor": median_ratio(times, samples["floor"]),
        }
        for name, times in samples.items()
    }
    return Table(
        "page",
        "ms",
        rows,
        {**conditions, "strokes": len(strokes)},
        [
            "ours: from lifting the pen to the frame that shows the answer, on the first tab",
            "floor: POST /predict with the same drawing, from the same page",
            "browser and server share the cores",
        ],
        [
            Goal(
                "end of a stroke to the new answer, median",
                rows["ours"]["ms"],
                GOAL_MS,
                "ms",
            )
        ],
        samples=samples,
    )
