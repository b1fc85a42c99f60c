"""Take the pictures of the page that the README shows: start the page, draw on it, photograph it.

    $ python screenshots.py
    docs/screenshots/page.png
    ...

Needs Chromium and the libraries of `requirements-dev.txt`. The browser tests draw with the same
hand.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from errors import SettingsError, WorkerError
from utils import PROJECT, HelpFormatter, report_errors

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

FOLDER = PROJECT / "docs" / "screenshots"
PAD_SIDE = 280  # the unit of the strokes below, as in pad.js
STEPS = 6  # mouse moves between two points of a stroke
REST_MS = 800  # for the last answer to come and its bars to come to rest
# Google's browser is built from Chromium, and draws the same.
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
ANSWER_MS = 20_000  # generous: a busy machine is no reason to fail

Place: TypeAlias = tuple[float, float]
Strokes: TypeAlias = Sequence[Sequence[Place]]  # each stroke is a list of places to pass through

# How a hand writes some digits.
HAND: dict[int, Strokes] = {
    2: [[(86, 106), (98, 78), (130, 62), (168, 70), (184, 100), (172, 134), (142, 170), (108, 202),
         (86, 220), (112, 212), (152, 214), (202, 220)]],
    3: [[(88, 84), (120, 62), (162, 66), (182, 92), (168, 122), (130, 136), (172, 148), (192, 182),
         (172, 216), (128, 228), (84, 208)]],
    4: [[(152, 54), (124, 104), (82, 160), (140, 162), (206, 154)],
        [(174, 108), (168, 164), (160, 234)]],
    5: [[(196, 72), (140, 70), (104, 74), (100, 130), (150, 122), (188, 160), (170, 214),
         (120, 228), (82, 188), (94, 154)]],
    7: [[(78, 80), (128, 74), (202, 76), (176, 126), (150, 178), (134, 232)]],
}  # fmt: skip


# Between 3 and 8: a lower bow that nearly closes.
DOUBTFUL = [[(106, 129), (120, 62), (162, 66), (182, 92), (168, 122), (107, 136), (172, 148),
             (192, 182), (172, 216), (128, 228), (93, 181)]]  # fmt: skip
HOUSE = [[(80, 130), (140, 70), (200, 130)], [(88, 126), (88, 220), (192, 220), (192, 126)],
         [(124, 218), (124, 170), (156, 170), (156, 218)]]  # fmt: skip


@dataclass(frozen=True)
class Shot:
    """One picture: which tab, how large a window, what is drawn first, and in which colours."""

    name: str
    width: int
    height: int
    strokes: Strokes = ()
    tab: str = "Recognise"
    dark: bool = False
    steps: bool = False
    whole: bool = False  # the page from top to bottom, not only what fits into the window


# What the README and the documentation show.
SHOTS = (
    Shot("page", 1200, 860, HAND[5]),
    Shot("dark", 1200, 860, HAND[3], dark=True),
    Shot("doubt", 1200, 860, DOUBTFUL),
    Shot("refused", 1200, 860, HOUSE, dark=True),
    Shot("steps", 1200, 1240, HAND[4], steps=True),
    Shot("phone-dark", 390, 844, HAND[4], dark=True),
    Shot("number", 1200, 860, tab="Number"),
    Shot("why", 1200, 860, HAND[5], tab="Why"),
    Shot("stress", 1200, 1080, HAND[7], tab="Stress test", dark=True),
)
TABS = ("Recognise", "Number", "Batch", "Why", "Stress test", "Feedback", "Train", "Models")
WIDTHS = (390, 768, 1440)
# Every tab as people see it, for whoever changes how the page looks.
EVERYTHING = tuple(
    Shot(
        f"{tab.replace(' ', '-').lower()}-{width}-{'dark' if dark else 'light'}",
        *(width, 900, HAND[5], tab),
        dark=dark,
        whole=True,
    )
    for tab in TABS
    for width in WIDTHS
    for dark in (False, True)
)


@contextmanager
def serve_page(model: str = "best", environment: Mapping[str, str] | None = None) -> Iterator[str]:
    """Run the page in a process of its own, on a free port; give its address.

    Parameters
    ----------
    model : str, default="best"
    environment : mapping, optional
        Variables that the process gets on top of ours.

    Raises
    ------
    WorkerError
        If it does not start.
    """
    command = [sys.executable, "app.py", "--port", "0", "--model", model]
    server = subprocess.Popen(
        command,
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **(environment or {})},
    )
    assert server.stdout is not None
    try:
        words = server.stdout.readline().split()  # "... is ready: http://127.0.0.1:7860 (..."
        urls = [word for word in words if word.startswith("http://")]
        if not urls:
            raise WorkerError("the page did not start; its own message is above")
        yield urls[0]
    finally:
        server.terminate()
        server.communicate()


def smooth(points: Sequence[Place]) -> list[Place]:
    """Lead a curve through the points (Catmull and Rom's), as a hand would."""
    p = np.array([points[0], *points, points[-1]], np.float64)
    curve = [points[0]]
    for a, b, c, d in zip(p, p[1:], p[2:], p[3:], strict=False):
        for t in np.linspace(0, 1, STEPS + 1)[1:]:
            x, y = 0.5 * (
                2 * b
                + (c - a) * t
                + (2 * a - 5 * b + 4 * c - d) * t**2
                + (3 * b - a - 3 * c + d) * t**3
            )
            curve.append((float(x), float(y)))
    return curve


def open_pad(page: Page, url: str) -> None:
    """Open the page, and wait until its pad can be drawn on."""
    page.goto(url)
    page.locator("#pad .pad-clear:disabled").wait_for()  # the pad's script has run


def open_tab(page: Page, name: str) -> None:
    """Show a tab; where the window is narrow, its name may be in the menu of those left over."""
    tab = page.get_by_role("tab", name=name, exact=True)
    if not tab.is_visible():
        page.locator("#tabs .overflow-menu > button").click()
        tab = page.locator("#tabs .overflow-dropdown button", has_text=name)
    tab.click()


def draw(page: Page, strokes: Strokes, pad: str = "#pad") -> None:
    """Draw strokes on a pad with the mouse; places count from 0 to 280 from top to bottom."""
    page.bring_to_front()  # behind others, the browser would let it take one move a second
    canvas = page.locator(f"{pad} .pad-canvas")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    assert box is not None
    scale = box["height"] / PAD_SIDE
    for points in strokes:
        places = [(box["x"] + x * scale, box["y"] + y * scale) for x, y in smooth(points)]
        page.mouse.move(*places[0])
        page.mouse.down()
        for place in places[1:]:
            page.mouse.move(*place)
        page.mouse.up()


def wait_for_answer(page: Page, digit: int) -> None:
    """Wait until the first tab shows a digit as its answer."""
    page.locator(f'#answer .answer-digit:text-is("{digit}")').wait_for(timeout=ANSWER_MS)


def line_up(digits: Sequence[int]) -> list[list[Place]]:
    """Put the strokes of several digits side by side, for the wide pad."""
    return [
        [(0.5 * x + 130 * place + 10, 0.6 * y + 56) for x, y in stroke]
        for place, digit in enumerate(digits)
        for stroke in HAND[digit]
    ]


def show(page: Page, shot: Shot) -> None:
    """Draw, open the tab, and wait until it shows what came of it."""
    if shot.strokes:
        draw(page, shot.strokes)
        page.locator("#answer .bar-best").wait_for(timeout=ANSWER_MS)
    if shot.steps:
        page.get_by_text("What happened to my picture").click()
        page.locator(".steps li").first.wait_for(timeout=ANSWER_MS)
    if shot.tab == "Recognise":
        return
    open_tab(page, shot.tab)
    if shot.tab == "Number":
        draw(page, line_up([2, 7, 5, 4]), "#number-pad")
        page.locator("#number-answer .number-box").nth(3).wait_for(timeout=ANSWER_MS)
    elif shot.tab == "Why":
        page.locator(".why-figures").wait_for(timeout=ANSWER_MS)
    elif shot.tab == "Stress test":
        page.locator("#stress-curve .mark-line").first.wait_for(timeout=ANSWER_MS)
        page.get_by_label("range slider for Noise").fill("0.1")


def take(browser: Browser, url: str, shot: Shot, folder: Path) -> Path:
    """Open the page, draw, and photograph what is to be seen."""
    context = browser.new_context(
        viewport={"width": shot.width, "height": shot.height},
        color_scheme="dark" if shot.dark else "light",
    )
    page = context.new_page()
    open_pad(page, url)
    show(page, shot)
    page.mouse.move(0, 0)  # no button looks hovered
    page.evaluate("window.scrollTo(0, 0)")
    page.wait_for_timeout(REST_MS)
    path = folder / f"{shot.name}.png"
    page.screenshot(path=path, full_page=shot.whole)
    context.close()
    return path


def build_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(
        description="Take the pictures of the page that the README shows.",
        epilog="examples:\n  python screenshots.py --model cnn2\n"
        "  python screenshots.py --all --folder /tmp/page",
        formatter_class=HelpFormatter,
    )
    parser.add_argument("--model", default="best", help="name in models/, or a file")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where the pictures go")
    parser.add_argument(
        "--all", action="store_true", help="every tab, in three widths, in light and dark"
    )
    return parser


def find_chromium() -> str | None:
    """Find a Chromium: $CHROMIUM, or a program of one of the usual names; None if there is none."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)


@contextmanager
def open_browser() -> Iterator[Browser]:
    """Start Chromium; at the end it is closed.

    Raises
    ------
    SettingsError
        If Chromium or the library that drives it is missing.
    """
    try:
        from playwright.sync_api import sync_playwright
    except ImportError as error:
        raise SettingsError(
            "Playwright drives the browser, and is missing: "
            "python -m pip install -r requirements-dev.txt"
        ) from error
    chromium = find_chromium()
    if chromium is None:
        raise SettingsError(
            f"no browser here: there is no program called {', '.join(BROWSERS[:-1])} or "
            f"{BROWSERS[-1]}; install Chromium, or say where one is by the variable CHROMIUM"
        )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


def run(args: argparse.Namespace) -> int:
    """Start page and browser, take all pictures, name each on a line."""
    if args.all and args.folder == FOLDER:
        raise SettingsError(f"--all takes {len(EVERYTHING)} pictures: say where to by --folder")
    args.folder.mkdir(parents=True, exist_ok=True)
    with open_browser() as browser, serve_page(args.model) as url:
        for shot in EVERYTHING if args.all else SHOTS:
            print(take(browser, url, shot, args.folder), flush=True)
    return 0


@report_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Take the pictures; return the exit code."""
    return run(build_parser().parse_args(argv))


if __name__ == "__main__":
    sys.exit(main())
