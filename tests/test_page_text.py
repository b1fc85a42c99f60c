"""What others have named is text on the page, and never a part of it: files, models, runs."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any, TypeAlias

import gradio as gr
import numpy as np
import pytest
import torch

from app import footer
from encoding import picture_url
from feedback import FeedbackStore
from job_records import Job
from job_settings import JobSettings
from service import Service
from tab_feedback import browse
from tab_models import ask, change, compare, delete, fetch, make_best, show, use
from tab_number import read_number
from tab_recognise import read_pad
from tab_stress import SLIDERS, spoil_pad
from tab_train import render_log, render_runs, render_status, start_run
from tab_why import THE_ANSWER, explain_pad
from tests.test_feedback import Said

EVIL = "<img src=x onerror=alert(1)>"
RESTING = [0.0] * (len(SLIDERS) - 1) + [1.0]

Show: TypeAlias = Callable[[Service], object]


@pytest.fixture
def service(tmp_path: Path, models_folder: Path, mnist_folder: Path) -> Service:
    """Serve models of which two have hostile names, and one holds hostile values as well."""
    models = tmp_path / "models"
    shutil.copytree(models_folder, models)
    content = torch.load(models / "mnist_cnn.pth", weights_only=True)
    shares = ("test_accuracy", "validation_accuracy", "hands_accuracy", "calibration")
    hostile = {
        **content,
        **{"created": EVIL, "settings": {EVIL: EVIL}, "versions": {"torch": EVIL}},
        **{"metrics": dict.fromkeys(shares, EVIL), "data": {"validation_pictures": EVIL}},
    }
    torch.save(hostile, models / f"{EVIL}.pth")
    torch.save({**content, "architecture": EVIL}, models / "foreign.pth")
    torch.save({**content, "refusal": {EVIL: EVIL}}, models / "careless.pth")
    (models / f"broken {EVIL}.pth").write_bytes(b"no checkpoint")
    store = FeedbackStore(tmp_path / "feedback.sqlite")
    ink = np.zeros((28, 28), np.float32)
    store.add(np.zeros((30, 30), np.uint8), Said(image=ink), 3, model=EVIL, model_version=EVIL)
    return Service(models_folder=models, data_folder=mnist_folder, device="cpu", feedback=store)


def use_evil(service: Service) -> str:
    service.use_model(EVIL)
    return footer(service)


def name_wrongly(service: Service) -> object:
    choices = dict.fromkeys(("start", "model", "name"), EVIL)
    rest = {"epochs": 3, "lr": 0.1, "limit": 0, "token": ""}
    return start_run(service, **choices, **rest, corrections=False, promote=False, hands=False)


MODELS: list[tuple[str, Show]] = [
    ("table", lambda service: show(service, None)[0]),
    ("use", lambda service: change(service, use, EVIL, None)),
    ("make best", lambda service: change(service, make_best, EVIL + "?", None)),
    ("delete in use", lambda service: (change(service, use, EVIL, None), ask(service, EVIL))),
    ("delete", lambda service: change(service, delete, EVIL, None)),
    ("ask", lambda service: ask(service, EVIL)),
    ("gone", lambda service: change(service, use, EVIL + "?", None)),
    ("broken", lambda service: change(service, use, f"broken {EVIL}", None)),
    ("footer", use_evil),
    ("compare", lambda service: compare(service, {"kind": EVIL, "name": EVIL}, EVIL, EVIL + "?")),
    ("gallery", lambda service: browse(service, {}, None)["html"]),
    ("no digit", lambda service: browse(service, {"digit": EVIL}, None)["html"]),
    ("no page", lambda service: browse(service, {"page": EVIL}, None)["html"]),
    ("choices of a run", name_wrongly),
]


@pytest.mark.parametrize("shown", [pytest.param(show, id=name) for name, show in MODELS])
def test_names_and_values_of_models_are_text(service: Service, shown: Show) -> None:
    html = gather(shown(service))

    assert EVIL in unescape(html)
    assert "<img src=x" not in html


def test_a_toast_which_gradio_shows_as_html_names_models_as_text(service: Service) -> None:
    with pytest.raises(gr.Error) as caught:
        fetch(service, "nobody")

    assert EVIL in unescape(caught.value.message)
    assert "<img" not in caught.value.message


PAPER = np.full((60, 60), 255, np.uint8)
DIGIT = PAPER.copy()
DIGIT[8:52, 28:34] = 0
PICTURES: dict[str, Any] = {
    "damaged": {"data": "data:image/png;base64,AAAA"},
    "empty": {"data": "data:,"},
    "too large": {"data": "", "size": 2**40},
    "nothing": {"data": EVIL},
    "blank": {"data": picture_url(PAPER)},
    "digit": {"data": picture_url(DIGIT), "label": 1},
}
READERS: dict[str, Callable[[Service, object], object]] = {
    "recognise": lambda service, pad: read_pad(service, pad, True),
    "number": lambda service, pad: read_number(service, pad, "auto"),
    "why": lambda service, pad: explain_pad(service, pad, THE_ANSWER),
    "stress": lambda service, pad: spoil_pad(service, pad, "whole reader", "noise", *RESTING)[0],
}


@pytest.mark.parametrize("picture", PICTURES)
@pytest.mark.parametrize("reader", READERS)
def test_the_name_of_a_picture_is_text(service: Service, reader: str, picture: str) -> None:
    pad = {"kind": "picture", "name": EVIL, **PICTURES[picture]}

    html = gather(READERS[reader](service, pad))

    assert "<section" in html or 'class="empty"' in html
    assert "<img src=x" not in html


RUN = Job(
    run=EVIL,
    settings=JobSettings(start=EVIL, model=EVIL, name=EVIL),
    state="failed",
    message=EVIL,
    started="2026-11-21T09:30:00+00:00",
    candidate=EVIL,
    log=EVIL,
    last_words=EVIL,
)


@pytest.mark.parametrize("state", ["running", "cancelling", "finished", "cancelled", "failed"])
def test_what_a_run_is_called_and_prints_is_text(service: Service, state: Any) -> None:
    run = replace(RUN, state=state)

    for html in (render_status(service, run), render_runs([run]), render_log(run.log)):
        assert EVIL in unescape(html)
        assert "<img" not in html


def gather(shown: object) -> str:
    """Put together all HTML among the outputs of a handler; components show text."""
    if isinstance(shown, str):
        return shown if "<" in shown and shown != EVIL else ""
    return "".join(map(gather, shown)) if isinstance(shown, list | tuple) else ""
