"""Where we reach into Gradio: each place is listed in CONTRIBUTING.md, and finds what it leans on.

What comes of it is tested with each file. Here a new version of Gradio that has moved something is
told by the name of what has gone, before anything odd is seen on the page.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from pathlib import Path

import gradio as gr
import gradio.processing_utils
import gradio.route_utils
import gradio.routes
import pytest
from fastapi import FastAPI
from starlette.routing import Mount

from observe import ENDLESS
from page_guard import EVENTS
from uploads import UPLOADS
from utils import PROJECT

# What a reach looks like in our sources.
REACH = re.compile(
    r"^ *from gradio\.(?!components\b)\w+ import"  # a module that Gradio does not show to everybody
    r"|type: ignore\[method-assign\]"  # a method replaced
    r"|\bpage\._\w+"
    r"|\bisinstance\(route, Mount\)"  # the mounted application taken hold of
    r"|\bpad\.props\b"
    r"|\b__type__\b",
    re.MULTILINE,
)


def parameters(function: Callable[..., object]) -> list[str]:
    """Name the parameters of a method."""
    return list(inspect.signature(function).parameters)


@pytest.fixture(scope="module")
def page() -> gr.Blocks:
    with gr.Blocks() as page:
        gr.Button().click(lambda: None)
    return page


def test_every_reach_is_in_the_table() -> None:
    section = (PROJECT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    section = section[section.index("## When Gradio is upgraded") :]
    section = section[: section.index("\n## How")]
    files = re.findall(r"^\| ([^|]*) \|", section, re.MULTILINE)
    listed = {name for cell in files for name in re.findall(r"`(\w+\.py)`", cell)}
    found = {
        path.name
        for path in PROJECT.glob("*.py")
        if "gradio" in (source := path.read_text(encoding="utf-8")) and REACH.search(source)
    }

    assert found == listed


@pytest.mark.parametrize(
    ("method", "first"),
    [
        ("process_api", ["self", "block_fn", "inputs"]),
        ("preprocess_data", ["self", "block_fn", "inputs", "state"]),
    ],
)
def test_handlers_are_still_called_by_the_methods_that_we_wrap(method: str, first: list[str]):
    function = getattr(gr.Blocks, method)

    assert inspect.iscoroutinefunction(function)
    assert parameters(function)[: len(first)] == first
    callers = map(inspect.getsource, (gr.Blocks, gradio.route_utils))
    assert any(f".{method}(" in source for source in callers)


def test_paths_are_still_checked_by_what_we_set(page: gr.Blocks):
    source = inspect.getsource(gradio.processing_utils)

    for name in ("has_launched", "is_running"):
        assert getattr(page, name) is False, f"Gradio sets Blocks.{name} itself now"
        assert f"blocks.{name}" in source, f"Gradio does not ask for Blocks.{name} any more"


def test_the_queue_still_holds_events_where_we_count_them(page: gr.Blocks):
    from gradio.queueing import Event, EventQueue

    queue = page._queue

    assert inspect.iscoroutinefunction(queue.push)
    assert parameters(queue.push) == ["body", "request", "username"]
    assert isinstance(queue.event_queue_per_concurrency_id, dict)
    assert isinstance(queue.active_jobs, list)
    assert EventQueue("any", 1).queue == []
    assert "request" in parameters(Event)


def test_the_routes_that_we_name_are_still_there():
    source = inspect.getsource(gradio.routes)
    below = "/gradio_api"
    named = [UPLOADS.removeprefix(below), *(f"/{name}" for name in EVENTS if "mcp" not in name)]
    named += [path.removeprefix(below) for path in ENDLESS if "mcp" not in path]
    named = [path.rstrip("/") for path in named]
    named += ["/config", "/theme.css", "/info", "/file=", "/cancel"]

    assert below == gradio.route_utils.API_PREFIX
    assert [path for path in named if f'("{path}' not in source] == []


def test_the_page_is_still_an_application_that_is_mounted(page: gr.Blocks):
    app = gr.mount_gradio_app(FastAPI(), page, path="/", ssr_mode=False)

    assert [type(each.app) for each in app.routes if isinstance(each, Mount)] == [gradio.routes.App]
    assert issubclass(gradio.routes.App, FastAPI)


def test_gradio_still_names_what_we_ask_it_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from gradio.route_utils import FnIndexInferError
    from gradio.utils import get_upload_folder

    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))

    assert issubclass(FnIndexInferError, Exception)
    assert Path(get_upload_folder()) == tmp_path
    assert gr.update(visible=False) == {"__type__": "update", "visible": False}
    assert gr.HTML(colour="red").props["colour"] == "red"
