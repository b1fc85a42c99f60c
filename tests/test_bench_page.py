"""The page's speed: measured once in real Chromium, and put into a table."""

from __future__ import annotations

import shutil
import sys
from contextlib import AbstractContextManager, nullcontext

import pytest

import bench_page
from bench import build_parser
from bench_page import GOAL_MS, Stroke, run, tabulate
from errors import SettingsError

CONDITIONS = {"cores": 2, "busy cores at start": 0.0}


def test_medians_and_slow_strokes_are_told_beside_those_of_the_api():
    strokes = [Stroke(page_ms=10.0 * number, api_ms=5.0 * number) for number in range(1, 22)]

    table = tabulate(strokes, CONDITIONS)

    assert table.rows["ours"] == {"ms": 110.0, "p95 ms": 200.0, "this / floor": 2.0}
    assert table.rows["floor"]["ms"] == 55.0
    assert table.conditions["strokes"] == 21
    (goal,) = table.goals
    assert (goal.measured, goal.limit, goal.is_met) == (110.0, GOAL_MS, True)


def test_one_stroke_is_too_few_to_say_anything():
    with pytest.raises(SettingsError, match="at least 2"):
        tabulate([Stroke(20.0, 10.0)], CONDITIONS)


def test_without_the_library_that_drives_browsers_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setitem(sys.modules, "playwright.sync_api", None)

    with pytest.raises(SettingsError, match=r"requirements-dev\.txt"):
        run(build_parser().parse_args(["page"]))


def test_without_a_browser_it_says_which_one_is_missing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.delenv("CHROMIUM", raising=False)

    with pytest.raises(SettingsError, match="no program called chromium"):
        run(build_parser().parse_args(["page"]))


@pytest.mark.browser
@pytest.mark.usefixtures("chromium")
def test_strokes_are_drawn_and_timed_on_the_page(url: str, monkeypatch: pytest.MonkeyPatch):
    """On the server of the other tests with a browser: that one starts is shown by these."""
    served: list[str] = []

    def serve_page(model: str) -> AbstractContextManager[str]:
        served.append(model)
        return nullcontext(url)

    monkeypatch.setattr(bench_page, "serve_page", serve_page)

    (table,) = run(build_parser().parse_args(["page", "--strokes", "2"]))

    assert served == ["best"]
    assert table.name == "page"
    assert len(table.samples["ours"]) == len(table.samples["floor"]) == 2
    assert min(table.samples["floor"]) > 0
    assert min(table.samples["ours"]) > 0
    assert "Chromium" in table.conditions["browser"]
