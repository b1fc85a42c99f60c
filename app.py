"""The page: draw a digit, or show a picture of one, and see what the model reads.

    $ python app.py
    Digit reader is ready: http://127.0.0.1:7860 (Ctrl+C stops it)

One function `build_..._tab` lays out each tab; its handlers stand above it and do no work of their
own: they ask the predictor and hand what comes back to `widgets.py`. The page asks no other host
for anything, and keeps neither the pictures nor a history of them.
"""

from __future__ import annotations

import argparse
import errno
import logging
import os
import signal
import socket
import sys
import webbrowser
from collections.abc import Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from errors import BlankImageError, DigitError
from utils import HelpFormatter, set_up_logging
from widgets import (
    MAX_PICTURE_BYTES,
    PadPicture,
    build_pad,
    make_sample,
    read_picture,
    render_answer,
    render_hint,
    render_message,
    render_steps,
)

# Gradio takes seconds to import, so it is imported where it is first needed: help, a wrong flag or
# a port in use are answered without it.
if TYPE_CHECKING:
    import gradio as gr
    from fastapi import FastAPI

    from dataset import Digits
    from predict import MNISTPredictor

log = logging.getLogger(__name__)

HOST, PORT = "127.0.0.1", 7860
MAX_PORT = 65535
EVERY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # and how this machine calls itself
GRACE_S = 1  # how long an answer under way may take once the server is told to stop
SAMPLE_SIDE = 112  # pixels, of a generated test picture

TITLE = "Digit reader"
HERE = Path(__file__).resolve().parent
_ICON = (
    "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 32 32'>"
    "<rect width='32' height='32' rx='8' fill='%231f4fd8'/>"
    "<path d='M10 9h12c-4 4-6 8-7 14' fill='none' stroke='white' stroke-width='3.4'"
    " stroke-linecap='round' stroke-linejoin='round'/></svg>"
)
HEAD = f'<link rel="icon" type="image/svg+xml" href="data:image/svg+xml,{_ICON}">'
HEADER = f"""
<header class="page-header">
  <img class="page-logo" src="data:image/svg+xml,{_ICON}" width="40" height="40" alt="">
  <div><h1>{TITLE}</h1><p>Draw a digit. It is read while you draw.</p></div>
</header>"""


# ------------------------------------------------------------------------------------------------
# Recognise
# ------------------------------------------------------------------------------------------------


def read_pad(predictor: MNISTPredictor, value: object, with_steps: bool) -> tuple[str, str]:
    """Answer what is on the pad.

    Parameters
    ----------
    predictor : MNISTPredictor
    value : object
        What the pad sent; see `widgets.read_picture`.
    with_steps : bool
        Whether somebody looks at the stages of preparing the picture.

    Returns
    -------
    answer, steps : str
        HTML. What cannot be read is a message in the answer, not an exception.
    """
    return answer_pad(predictor, value), show_steps(value) if with_steps else ""


def answer_pad(predictor: MNISTPredictor, value: object) -> str:
    """Read what is on the pad, and show the answer or say why there is none."""
    picture = None
    try:
        picture = read_picture(value)
        if picture is None:
            return blank_answer()
        prediction = predictor.predict(picture.content)
    except BlankImageError:
        if picture is None or picture.drawn:
            return blank_answer()
        return render_message(
            "There is no ink in this picture",
            f"{picture.name} was read, but nothing stands out in it. Use one with more contrast.",
            tone="error",
        )
    except DigitError as error:
        return render_message("This picture cannot be read", explain(error, picture), tone="error")
    return render_answer(prediction, label=picture.label, name=picture.name)


def blank_answer() -> str:
    """Say what to do while there is nothing to read."""
    return render_message("Draw a digit", "Or upload, paste or photograph one.")


def explain(error: DigitError, picture: PadPicture | None) -> str:
    """Say what was wrong, with the name of the file in place of "the picture"."""
    name = picture.name if picture else "The picture"
    return str(error).replace("the picture:", f"{name}:", 1)


def show_steps(value: object) -> str:
    """Show how the picture on the pad became what the model sees."""
    from preprocess import prepare

    try:
        picture = read_picture(value)
        if picture is None:
            return render_hint("Draw a digit, and its way to the model appears here.")
        return render_steps(prepare(picture.content, keep_steps=True).steps)
    except DigitError as error:
        return render_hint(f"There is nothing to show: {error}.")


def show_sample(predictor: MNISTPredictor, with_steps: bool) -> tuple[dict[str, Any], str, str]:
    """Put a test picture with a known label on the pad, and read it."""
    from dataset import data_dir

    sample = pick_sample(np.random.default_rng(), data_dir())
    return sample, *read_pad(predictor, sample, with_steps)


def pick_sample(rng: np.random.Generator, folder: Path) -> dict[str, Any]:
    """Choose a test picture: one of MNIST's if they are on this machine, else draw one.

    Parameters
    ----------
    rng : numpy.random.Generator
    folder : Path
        Where data sets are; nothing is downloaded.

    Returns
    -------
    dict
        A value for the pad; see `widgets.make_sample`.
    """
    digits = load_test_pictures(folder)
    if digits is not None and digits.labels is not None:
        place = int(rng.integers(len(digits)))
        pixels, label = digits.images[place].numpy(), int(digits.labels[place])
        return make_sample(pixels, label, f"MNIST test picture {place:,} of {len(digits):,}")
    from strokes import draw_digit

    label = int(rng.integers(10))
    return make_sample(
        255 - draw_digit(label, rng, size=SAMPLE_SIDE), label, "Drawn by this program"
    )


@lru_cache(maxsize=1)
def load_test_pictures(folder: Path) -> Digits | None:
    """Load MNIST's test pictures, or None where they are not on this machine or damaged."""
    from dataset import MNIST_FILES, load_mnist

    # With a file missing, all of them would be downloaded.
    files = [folder / "MNIST" / "raw" / name for name in MNIST_FILES]
    if not all(file.exists() or file.with_suffix("").exists() for file in files):
        return None
    try:
        return load_mnist("test", folder)
    except DigitError as error:
        log.warning("test pictures are drawn by the program instead: %s", error)
        return None


def build_recognise_tab(predictor: MNISTPredictor) -> None:
    """Lay out the pad and the answer, and wire them."""
    import gradio as gr

    with gr.Row(elem_classes="recognise"):
        with gr.Column(min_width=0, elem_classes="recognise-pad"):
            pad = build_pad()
        with gr.Column(min_width=0, elem_classes="recognise-answer"):
            answer = gr.HTML(blank_answer(), apply_default_css=False, elem_id="answer")
    with gr.Accordion("What happened to my picture", open=False, elem_id="steps") as how:
        steps = gr.HTML("", apply_default_css=False)
    steps_are_open = gr.State(False)

    # A new answer replaces the old one as it is: a spinner would flicker at each stroke. Without
    # the queue an answer is there in half the time (70 instead of 150 ms after a stroke, medians
    # of 25 strokes on 2 busy cores); there is nothing to wait in line for.
    quiet: dict[str, Any] = {
        "show_progress": "hidden",
        "queue": False,
        "api_visibility": "private",
    }
    pad.ink(
        partial(read_pad, predictor),
        [pad, steps_are_open],
        [answer, steps],
        trigger_mode="always_last",
        **quiet,
    )
    pad.sample(
        partial(show_sample, predictor),
        [steps_are_open],
        [pad, answer, steps],
        trigger_mode="once",
        **quiet,
    )
    how.expand(lambda value: (True, show_steps(value)), [pad], [steps_are_open, steps], **quiet)
    how.collapse(lambda: (False, ""), None, [steps_are_open, steps], **quiet)


# ------------------------------------------------------------------------------------------------
# The page and its server
# ------------------------------------------------------------------------------------------------


def build_page(predictor: MNISTPredictor) -> gr.Blocks:
    """Lay out the whole page.

    Parameters
    ----------
    predictor : MNISTPredictor
        Reads for every visitor, so it has to be thread-safe.
    """
    # Read by Gradio and the hub's client while they are imported: no report goes anywhere.
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["HF_HUB_OFFLINE"] = "1"
    import gradio as gr

    with gr.Blocks(title=TITLE, analytics_enabled=False, fill_width=True) as page:
        gr.HTML(HEADER, apply_default_css=False)
        build_recognise_tab(predictor)
        gr.HTML(footer(predictor), apply_default_css=False)
    return page


def footer(predictor: MNISTPredictor) -> str:
    """Say which model reads, and what becomes of the pictures."""
    checkpoint = predictor.checkpoint
    return render_hint(
        f"Read by {checkpoint.name}, a {checkpoint.architecture}. "
        "Pictures are read in memory and not kept."
    )


def build_theme() -> gr.themes.Base:
    """Make Gradio's own parts look like ours (`page.css`); only the system's fonts are used."""
    import gradio as gr

    system = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif")
    mono = ("ui-monospace", "SFMono-Regular", "Consolas", "monospace")
    return gr.themes.Base(primary_hue="blue", neutral_hue="slate", font=system, font_mono=mono).set(
        body_background_fill="var(--page)",
        body_background_fill_dark="var(--page)",
        body_text_color="var(--ink)",
        body_text_color_dark="var(--ink)",
        block_background_fill="var(--card)",
        block_background_fill_dark="var(--card)",
        block_border_color="var(--line)",
        block_border_color_dark="var(--line)",
        block_radius="16px",
    )


def build_app(predictor: MNISTPredictor) -> FastAPI:
    """Put the page on a server application.

    Routes of our own go in before the page is mounted: the first match wins, and the page
    matches everything.
    """
    from fastapi import FastAPI

    page = build_page(predictor)
    import gradio as gr

    # FastAPI's pages about its routes load their scripts from another host.
    app = FastAPI(title=TITLE, docs_url=None, redoc_url=None)
    return gr.mount_gradio_app(
        app,
        page,
        path="/",
        theme=build_theme(),
        css_paths=[HERE / "page.css"],
        head=HEAD,
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        mcp_server=False,
        enable_monitoring=False,
        max_file_size=MAX_PICTURE_BYTES,
    )


def open_port(host: str, port: int) -> socket.socket:
    """Take the port before the slow part of the start, so that a clash is told at once.

    Raises
    ------
    DigitError
        If the port is in use or may not be used, or there is no such host here.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        in_use = error.errno == errno.EADDRINUSE
        reason = "it is in use" if in_use else (error.strerror or str(error)).lower()
        other = port + 1 if 1024 <= port < MAX_PORT else PORT
        raise DigitError(
            f"cannot serve on port {port} of {host}: {reason}; "
            f"choose another port, for example: python app.py --port {other}"
        ) from error


def serve(app: FastAPI, listener: socket.socket, *, open_browser: bool) -> None:
    """Answer requests until the process is told to stop; those under way may end."""
    import uvicorn

    host, port = listener.getsockname()[:2]
    host = EVERY_ADDRESS.get(host, host)
    address = f"[{host}]" if ":" in host else host
    url = f"http://{address}:{port}"

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            print(f"{TITLE} is ready: {url} (Ctrl+C stops it)", flush=True)

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            # Each open page holds a connection that lasts as long as the server, and that uvicorn
            # would report as a crash, with a traceback of a hundred lines.
            logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
            await super().shutdown(sockets)

    # The port listens already: a browser that comes now waits for some milliseconds.
    if open_browser:
        webbrowser.open(url)
    config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=GRACE_S)
    Server(config).run(sockets=[listener])


def stop(signum: int, frame: object) -> NoReturn:
    """End the process in the ordinary way, so that what is open is closed."""
    raise SystemExit(0)


def build_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(
        description="Serve a page on which digits are drawn and read.",
        epilog="examples:\n  python app.py\n  python app.py --port 8000 --open",
        formatter_class=HelpFormatter,
    )
    parser.add_argument(
        "--host", default=HOST, help="address to serve on; 0.0.0.0 for everyone on the network"
    )
    parser.add_argument("--port", type=port_number, default=PORT, help="0 takes any free port")
    parser.add_argument("--model", default="best", help="name in models/, or a file")
    parser.add_argument("--open", action="store_true", help="open the page in the browser")
    return parser


def port_number(text: str) -> int:
    """Read a port from the command line."""
    if not (text.isdecimal() and int(text) <= MAX_PORT):
        raise argparse.ArgumentTypeError(f"{text!r} is not a port: choose 0 to {MAX_PORT}")
    return int(text)


def run(args: argparse.Namespace) -> int:
    """Take the port, load the model, build the page, serve."""
    with open_port(args.host, args.port) as listener:
        import torch

        from predict import MNISTPredictor

        # One picture is too little work to share: where other programs run, waiting for a second
        # thread took up to ten times as long as the answer.
        torch.set_num_threads(1)
        app = build_app(MNISTPredictor(args.model))
        serve(app, listener, open_browser=args.open)
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Serve the page until it is stopped; return the exit code."""
    args = build_parser().parse_args(argv)
    set_up_logging()
    signal.signal(signal.SIGTERM, stop)
    try:
        return run(args)
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return 0
    except DigitError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
