"""Film the page while digits are drawn and read, for the top of the README.

    page in Chromium -> a hand draws, a frame now and then -> docs/screenshots/reading.gif

    $ python animation.py

Needs what `screenshots.py` needs. The film shows what the page does at the pace of a hand: how
long a frame is shown is set here, not measured.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image

from screenshots import (
    ANSWER_MS,
    FOLDER,
    HAND,
    HOUSE,
    PAD_SIDE,
    REST_MS,
    Strokes,
    open_browser,
    open_pad,
    serve_page,
    smooth,
)
from utils import HelpFormatter, atomic_write, report_errors

if TYPE_CHECKING:
    from playwright.sync_api import Page

WIDTH, HEIGHT = 1040, 720  # of the window, in pixels
SHOWN_WIDTH = 760  # of the film
COLOURS = 128  # enough for a flat page, and smaller than with 256
PALETTE_FRAMES = 8  # from which the colours are taken
POINTS_A_FRAME = 4  # places of the pen between two frames
FRAME_MS, ANSWER_FRAME_MS = 70, 1600  # how long a frame is shown
SCENES: tuple[Strokes, ...] = (HAND[5], HAND[7], HOUSE)


class Frame(NamedTuple):
    """One picture of the film, and how long it is shown."""

    image: Image.Image
    shown_ms: int


def film(page: Page, url: str) -> Iterator[Frame]:
    """Draw all scenes, one after the other, and photograph the page meanwhile."""
    open_pad(page, url)
    for number, strokes in enumerate(SCENES):
        if number:
            page.locator("#pad .pad-clear").click()
            page.locator("#pad .pad-clear:disabled").wait_for()
        yield _photograph(page)
        for _ in _draw_slowly(page, strokes):
            yield _photograph(page)
        page.mouse.move(0, 0)  # no button looks hovered
        page.locator(".bar-best").wait_for(timeout=ANSWER_MS)
        page.wait_for_timeout(REST_MS)
        yield _photograph(page, ANSWER_FRAME_MS)


def _draw_slowly(page: Page, strokes: Strokes) -> Iterator[None]:
    """Draw with the mouse, and pause now and then with the pen on the paper."""
    box = page.locator("#pad .pad-canvas").bounding_box()
    assert box is not None
    scale = box["height"] / PAD_SIDE
    for points in strokes:
        places = [(box["x"] + x * scale, box["y"] + y * scale) for x, y in smooth(points)]
        page.mouse.move(*places[0])
        page.mouse.down()
        for number, place in enumerate(places[1:], start=1):
            page.mouse.move(*place)
            if number % POINTS_A_FRAME == 0:
                yield
        page.mouse.up()
        yield


def _photograph(page: Page, shown_ms: int = FRAME_MS) -> Frame:
    """Photograph the window, reduced to the size of the film."""
    image = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    size = (SHOWN_WIDTH, round(image.height * SHOWN_WIDTH / image.width))
    return Frame(image.resize(size, Image.Resampling.LANCZOS), shown_ms)


def save_film(frames: Sequence[Frame], path: Path) -> None:
    """Write an endless GIF of few colours.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    # One palette for all, or still parts of the page would flicker; without dithering, or they
    # would crawl, and not compress.
    some = [frame.image for frame in frames[:: -(-len(frames) // PALETTE_FRAMES)]]
    sheet = np.concatenate([np.asarray(image) for image in [*some, frames[-1].image]])
    palette = Image.fromarray(sheet).quantize(COLOURS, method=Image.Quantize.MAXCOVERAGE)
    still = [frame.image.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    with atomic_write(path) as temporary:
        still[0].save(
            temporary,
            save_all=True,
            append_images=still[1:],
            duration=[frame.shown_ms for frame in frames],
            loop=0,
            optimize=True,
        )


def build_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(
        description="Film the page while digits are drawn and read.",
        epilog="example:\n  python animation.py",
        formatter_class=HelpFormatter,
    )
    parser.add_argument("--model", default="best", help="name in models/, or a file")
    parser.add_argument(
        "--output", type=Path, default=FOLDER / "reading.gif", metavar="FILE", help="the film"
    )
    return parser


def run(args: argparse.Namespace) -> None:
    """Start page and browser, film, and say how large the film is."""
    with open_browser() as browser, serve_page(args.model) as url:
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light")
        frames = list(film(page, url))
    save_film(frames, args.output)
    print(f"{args.output}: {len(frames)} frames, {args.output.stat().st_size / 1000:.0f} kB")


@report_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Film; return the exit code."""
    run(build_parser().parse_args(argv))
    return 0


if __name__ == "__main__":
    sys.exit(main())
