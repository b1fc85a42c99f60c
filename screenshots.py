"""Take the pictures of the page that the README shows: start the page, draw on it, photograph it.

    $ python screenshots.py
    docs/screenshots/page.png
    ...

Needs Chromium and the libraries of `requirements-dev.txt`. The browser tests draw with the same
hand.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from errors import DigitError
from utils import PROJECT, HelpFormatter

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

FOLDER = PROJECT / "docs" / "screenshots"
PAD_SIDE = 280  # the unit of the strokes below, as in pad.js
STEPS = 6  # mouse moves between two points of a stroke
ANSWER_MS = 20_000  # generous: a busy machine is no reason to fail

# How a hand writes some digits: a list of strokes, each a list of places to pass through.
HAND = {
    2: [[(86, 106), (98, 78), (130, 62), (168, 70), (184, 100), (172, 134), (142, 170), (108, 202),
         (86, 220), (112, 212), (152, 214), (202, 220)]],
    3: [[(88, 84), (120, 62), (162, 66), (182, 92), (168, 122), (130, 136), (172, 148), (192, 182),
         (172, 216), (128, 228), (84, 208)]],
    4: [[(152, 54), (124, 104), (82, 160), (140, 162), (206, 154)],
        [(174, 108), (168, 164), (160, 234)]],
    7: [[(78, 80), (128, 74), (202, 76), (176, 126), (150, 178), (134, 232)]],
}  # fmt: skip


@dataclass(frozen=True)
class Shot:
    """One picture: how large a window, in which colours, which digit, and what else to show."""

    name: str
    width: int
    height: int
    digit: int
    dark: bool = False
    steps: bool = False
    full_page: bool = False


SHOTS = (
    Shot("page", 1200, 720, 2),
    Shot("dark", 1200, 720, 3, dark=True),
    Shot("steps", 1200, 720, 4, steps=True, full_page=True),
    Shot("tablet", 768, 700, 7),
    Shot("phone", 390, 844, 2),
    Shot("phone-dark", 390, 844, 4, dark=True),
)


@contextmanager
def serve_page(model: str = "best") -> Iterator[str]:
    """Run the page in a process of its own, on a free port; give its address.

    Raises
    ------
    DigitError
        If it does not start.
    """
    command = [sys.executable, "app.py", "--port", "0", "--model", model]
    server = subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    try:
        words = server.stdout.readline().split()  # "... is ready: http://127.0.0.1:7860 (..."
        urls = [word for word in words if word.startswith("http://")]
        if not urls:
            raise DigitError("the page did not start; its own message is above")
        yield urls[0]
    finally:
        server.terminate()
        server.communicate()


def smooth(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
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


def draw(page: Page, strokes: Sequence[Sequence[tuple[float, float]]]) -> None:
    """Draw strokes on the pad with the mouse; places count from 0 to 280 on each axis."""
    box = page.locator(".pad-canvas").bounding_box()
    assert box is not None
    scale = box["width"] / PAD_SIDE
    for points in strokes:
        places = [(box["x"] + x * scale, box["y"] + y * scale) for x, y in smooth(points)]
        page.mouse.move(*places[0])
        page.mouse.down()
        for place in places[1:]:
            page.mouse.move(*place)
        page.mouse.up()


def wait_for_answer(page: Page, digit: int) -> None:
    """Wait until the page shows a digit as its answer."""
    page.locator(f'.answer-digit:text-is("{digit}")').wait_for(timeout=ANSWER_MS)


def take(browser: Browser, url: str, shot: Shot, folder: Path) -> Path:
    """Open the page, draw the digit, and photograph what is to be seen."""
    from playwright.sync_api import TimeoutError as PlaywrightTimeout

    context = browser.new_context(
        viewport={"width": shot.width, "height": shot.height},
        color_scheme="dark" if shot.dark else "light",
    )
    try:
        page = context.new_page()
        page.goto(url)
        page.locator(".pad-undo").wait_for()
        draw(page, HAND[shot.digit])
        wait_for_answer(page, shot.digit)
        if shot.steps:
            page.get_by_text("What happened to my picture").click()
            page.locator(".steps li").first.wait_for(timeout=ANSWER_MS)
        page.mouse.move(0, 0)  # no button looks hovered
        page.wait_for_timeout(600)  # the bars have come to rest
        path = folder / f"{shot.name}.png"
        page.screenshot(path=path, full_page=shot.full_page)
        return path
    except PlaywrightTimeout as error:
        raise DigitError(f"{shot.name}: the page did not read the {shot.digit}") from error
    finally:
        context.close()


def build_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(
        description="Take the pictures of the page that the README shows.",
        epilog="example:\n  python screenshots.py --model cnn2",
        formatter_class=HelpFormatter,
    )
    parser.add_argument("--model", default="best", help="name in models/, or a file")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where the pictures go")
    return parser


def run(args: argparse.Namespace) -> int:
    """Start page and browser, take all pictures, name each on a line."""
    from playwright.sync_api import sync_playwright

    args.folder.mkdir(parents=True, exist_ok=True)
    with serve_page(args.model) as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        for shot in SHOTS:
            print(take(browser, url, shot, args.folder), flush=True)
        browser.close()
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Take the pictures; return the exit code."""
    try:
        return run(build_parser().parse_args(argv))
    except DigitError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
