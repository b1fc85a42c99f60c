"""The page: draw a digit, or show a picture of one, and see what the model reads.

    $ python app.py
    Digit reader is ready: http://127.0.0.1:7860 (Ctrl+C stops it)

Each tab is laid out by a file of its own (`tab_recognise.py`, ...); what they share is a `Service`.
The page asks no other host for anything, and keeps no picture that nobody asked it to keep.
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
from typing import TYPE_CHECKING, NoReturn

from errors import DigitError
from tab_recognise import build_recognise_tab
from tab_why import build_why_tab
from theme import CSS, HEAD, HEADER, TITLE, build_theme
from utils import HelpFormatter, set_up_logging
from widgets import MAX_PICTURE_BYTES, render_hint

# Gradio takes seconds to import, so it is imported where it is first needed: help, a wrong flag or
# a port in use are answered without it.
if TYPE_CHECKING:
    import gradio as gr
    from fastapi import FastAPI

    from service import Service

log = logging.getLogger(__name__)

HOST, PORT = "127.0.0.1", 7860
MAX_PORT = 65535
EVERY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # and how this machine calls itself
GRACE_S = 1  # how long an answer under way may take once the server is told to stop


# ------------------------------------------------------------------------------------------------
# The page and its server
# ------------------------------------------------------------------------------------------------


def build_page(service: Service) -> gr.Blocks:
    """Lay out the whole page, a tab for each thing that can be done."""
    # Read by Gradio and the hub's client while they are imported: no report goes anywhere.
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["HF_HUB_OFFLINE"] = "1"
    import gradio as gr

    with gr.Blocks(title=TITLE, analytics_enabled=False, fill_width=True) as page:
        gr.HTML(HEADER, apply_default_css=False)
        with gr.Tabs(elem_id="tabs"):
            with gr.Tab("Recognise", id="recognise"):
                pad = build_recognise_tab(service)
            with gr.Tab("Why", id="why") as tab:
                build_why_tab(service, tab, pad)
        foot = gr.HTML(apply_default_css=False)
        # Told anew to each visitor: the model may have been changed since the server started.
        page.load(lambda: footer(service), None, foot, queue=False, api_visibility="private")
    return page


def footer(service: Service) -> str:
    """Say which model reads, and what becomes of the pictures."""
    checkpoint = service.predictor.checkpoint
    return render_hint(
        f"Read by {checkpoint.name}, a {checkpoint.architecture}. "
        "Pictures are read in memory and not kept."
    )


def build_app(service: Service) -> FastAPI:
    """Put the page on a server application.

    Routes of our own go in before the page is mounted: the first match wins, and the page
    matches everything.
    """
    from fastapi import FastAPI

    page = build_page(service)
    import gradio as gr

    # FastAPI's pages about its routes load their scripts from another host.
    app = FastAPI(title=TITLE, docs_url=None, redoc_url=None)
    return gr.mount_gradio_app(
        app,
        page,
        path="/",
        theme=build_theme(),
        css_paths=[CSS],
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

        from service import Service

        # One picture is too little work to share: where other programs run, waiting for a second
        # thread took up to ten times as long as the answer.
        torch.set_num_threads(1)
        app = build_app(Service(model=args.model))
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
