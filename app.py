"""The page and the API in one server: draw a digit, or send one, and see what the model reads.

    $ python app.py
    Digit reader is ready: http://127.0.0.1:7860 (Ctrl+C stops it)

Each tab is laid out by a file of its own (`tab_recognise.py`, ...); what they share is a `Service`.
The page asks no other host for anything, and keeps no picture that nobody asked it to keep.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import signal
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batch_uploads import MAX_BYTES
from errors import DigitError, SettingsError
from pad import ask_again, lead_to
from page_errors import answer_like_api
from page_guard import guard_page, keep_to_uploads
from page_queue import bound_queue
from panels import render_hint
from server import add_options, choose_rules, open_port, serve, stop
from theme import CSS, HEAD, HEADER, TITLE, build_theme
from uploads import keep_swept, own_folder
from utils import HelpFormatter, set_up_logging
from widgets import QUIET

# Gradio and PyTorch take seconds to import, so they are imported where they are first needed: help,
# a wrong flag or a port in use are answered without them.
if TYPE_CHECKING:
    import gradio as gr
    from fastapi import FastAPI

    from access import Access
    from guards import Rules
    from service import Service

# Run in the browser for the line that names the model, which an answer by another one outdates.
_HEAR = """document.addEventListener("answered", (event) => {
  const named = element.querySelector("[data-model]");
  if (named && named.dataset.model !== event.detail.version) trigger("outdated");
});"""

# Uploads and files to download lie in a folder, see `uploads.py`. Every ten minutes Gradio deletes
# those that are older than an hour.
CACHE_S = (600, 3600)


# ------------------------------------------------------------------------------------------------
# The page and its server
# ------------------------------------------------------------------------------------------------


def build_page(service: Service) -> gr.Blocks:
    """Lay out the whole page, a tab for each thing that can be done."""
    # Read by Gradio and the hub's client while they are imported: no report goes anywhere.
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["HF_HUB_OFFLINE"] = "1"
    import gradio as gr

    # The tabs import what they show, and with it PyTorch.
    from endpoints import build_endpoints
    from tab_batch import build_batch_tab
    from tab_feedback import build_feedback_row, build_feedback_tab
    from tab_models import build_models_tab
    from tab_number import build_number_tab
    from tab_recognise import build_recognise_tab
    from tab_stress import build_stress_tab
    from tab_train import build_train_tab
    from tab_why import build_why_tab

    with gr.Blocks(
        title=TITLE, analytics_enabled=False, fill_width=True, delete_cache=CACHE_S
    ) as page:
        gr.HTML(HEADER, apply_default_css=False)
        with gr.Tabs(elem_id="tabs", overflow_behavior="wrap") as tabs:
            with gr.Tab("Recognise", id="recognise"):
                row = partial(build_feedback_row, service)
                pad, answer = build_recognise_tab(service, row)
            with gr.Tab("Number", id="number"):
                number_pad = build_number_tab(service)
            with gr.Tab("Batch", id="batch"):
                build_batch_tab(service)
            with gr.Tab("Why", id="why") as tab:
                build_why_tab(service, tab, pad)
            with gr.Tab("Stress test", id="stress") as tab:
                build_stress_tab(service, tab, pad)
            with gr.Tab("Feedback", id="feedback"):
                build_feedback_tab(service)
            with gr.Tab("Train", id="train") as tab:
                build_train_tab(service, tab)
            with gr.Tab("Models", id="models") as tab:
                told = build_models_tab(service, tab)
        foot = gr.HTML(apply_default_css=False, js_on_load=_HEAR)
        # The model may be changed here, on another page, or by a run that has ended.
        name_model = partial(footer, service)
        gr.on([page.load, tabs.change, told.change], name_model, None, foot, **QUIET)
        foot.outdated(name_model, None, foot, **QUIET)
        lead_to(answer.lead, pad, number_pad, tabs, "number")
        for each in (pad, number_pad):
            ask_again(foot.change, each)  # what another model has read is out of date
        build_endpoints(service)
    bound_queue(page)
    return page


def footer(service: Service) -> str:
    """Say which model reads, and what becomes of the pictures."""
    checkpoint = service.predictor.checkpoint
    words = render_hint(
        f"Model in use: {checkpoint.name} ({checkpoint.architecture}), version "
        f"{checkpoint.version}. "
        "Pictures are read in memory, and kept only if you press a button that says so."
    )
    return f'<div data-model="{checkpoint.version}">{words}</div>'


def build_app(
    service: Service, rules: Rules | None = None, *, log_requests: bool = False, mcp: bool = False
) -> FastAPI:
    """Put the API and the page on one server application.

    The routes of the API go in before the page is mounted: the first match wins, and the page
    matches everything.

    Parameters
    ----------
    service : Service
    rules : Rules, optional
        What a request has to pass; see `api.build_api`.
    log_requests : bool, default=False
        Whether each request is written to the log "access".
    mcp : bool, default=False
        Whether language models may call the functions of `endpoints.py`.
    """
    from api import build_api

    page = build_page(service)
    import gradio as gr
    from gradio.utils import get_upload_folder

    if mcp:
        check_mcp()
    api = build_api(service, rules, log_requests=log_requests)
    app = gr.mount_gradio_app(
        api,
        page,
        path="/",
        theme=build_theme(),
        css_paths=[CSS],
        head=HEAD,
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        mcp_server=mcp,
        enable_monitoring=False,
        max_file_size=MAX_BYTES,
    )
    answer_like_api(app)
    folder = Path(get_upload_folder())
    guard_page(app, folder)
    keep_to_uploads(page)
    note_work(app, page)
    keep_swept(app, folder)
    return app


def note_work(app: FastAPI, page: gr.Blocks) -> None:
    """Let the server know which handlers work: their answers go out by a stream without an end."""
    process, under_way = page.process_api, app.state.under_way

    async def note(*args: Any, **named: Any) -> Any:
        work = object()
        under_way.add(work)
        try:
            return await process(*args, **named)
        finally:
            under_way.discard(work)

    page.process_api = note  # type: ignore[method-assign]


def check_mcp() -> None:
    """Refuse to start without what MCP needs; Gradio would start and say nothing.

    Raises
    ------
    SettingsError
        If it is not installed.
    """
    if importlib.util.find_spec("mcp") is None:
        raise SettingsError(
            "--mcp needs another library: python -m pip install -r requirements-mcp.txt"
        )


def __getattr__(name: str) -> Any:
    """Make `app` and `demo` when somebody asks for them, as `uvicorn app:app` and Gradio do.

    A plain import of this file stays quick, and loads no model.
    """
    if name not in {"app", "demo"}:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    args = build_parser().parse_args([])
    set_up_logging()
    access, rules = choose_rules(args)
    service = build_service(args, access)
    if name == "demo":
        service.follow_training()  # the API does it when its server starts
        return globals().setdefault(name, build_page(service))
    return globals().setdefault(
        name, build_app(service, rules, log_requests=args.access_log, mcp=args.mcp)
    )


def build_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(
        description="Serve a page on which digits are drawn and read, and the API beside it.",
        epilog="examples:\n"
        "  python app.py\n"
        "  python app.py --port 8000 --open\n"
        "  python app.py --host 0.0.0.0 --rate 600/minute --access-log",
        formatter_class=HelpFormatter,
    )
    add_options(parser)
    parser.add_argument("--open", action="store_true", help="open the page in the browser")
    parser.add_argument(
        "--mcp", action="store_true", help="let language models call it (requirements-mcp.txt)"
    )
    return parser


def build_service(args: argparse.Namespace, access: Access) -> Service:
    """Load the model."""
    import torch

    from service import Service

    # One picture is too little work to share: where other programs run, waiting for a second
    # thread took up to ten times as long as the answer.
    torch.set_num_threads(1)
    return Service(model=args.model, access=access)


def run(args: argparse.Namespace) -> int:
    """Take the port, load the model, build API and page, serve."""
    from decoding import QUICK, shared

    access, rules = choose_rules(args)
    with open_port(args.host, args.port) as listener, own_folder():
        service = build_service(args, access)
        app = build_app(service, rules, log_requests=args.access_log, mcp=args.mcp)
        shared(QUICK).start()  # the first visitor need not wait for it
        serve(app, listener, title=TITLE, open_browser=args.open)
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
