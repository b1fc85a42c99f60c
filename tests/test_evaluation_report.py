"""The report is one file that shows every number, and pictures that need no other file."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser

from errors import OutputError
from evaluate import Outcome, summarise
from evaluation_report import Card, write_report
from predict import MNISTPredictor
from samples import Sample

DigitFile = Callable[..., Path]


@pytest.fixture
def metrics(tiny_predictor: MNISTPredictor) -> dict:
    """Return what a program that read two digits and a letter would hand over."""
    from batch_input import Input

    def outcome(label: int, number: int) -> Outcome:
        picture = np.random.default_rng(number).random((28, 28)).astype(np.float32)
        pixels = (picture * 255).astype(np.uint8)
        item = Input(f"<{number}>.png", data=pixels.tobytes(), is_raw=True)
        from preprocess import Prepared

        (prediction,) = tiny_predictor.predict_prepared(
            [Prepared(picture, 28, 28, (0, 0, 28, 28), dark_ink=False)]
        )
        return Outcome(
            Sample(item, label, {"kind": "scan"}), prediction, prediction.verdict, "a reason"
        )

    share = {"count": 9, "of": 10, "value": 0.9, "low": 0.6, "high": 0.98}
    row = {"amount": 1.0, "accuracy": 0.91, "network": 0.42, "ok": 0.5}
    return {
        "model": {"name": "tiny", "architecture": "mlp", "version": "abc", "temperature": 1.25},
        "sets": {
            "first": summarise([outcome(3, 0), outcome(4, 1), outcome(-1, 2)]),
            "only letters": summarise([outcome(-1, 3)]),
            "empty": summarise([]),
        },
        "forms": {
            "source": "mnist",
            "pictures": 10,
            "direct": share,
            "rows": [{"form": "inverted", "accuracy": share, "points": -0.12}],
        },
        "robustness": {
            "source": "mnist",
            "pictures": 10,
            "curves": {"noise": [row] * 5, "blur": [row] * 5},
            "units": {"noise": "deviation", "blur": "pixels"},
        },
        "measured": "2026-01-01T00:00:00+00:00",
        "seconds": 1.0,
    }


def test_the_report_shows_every_set_table_and_card(
    metrics: dict, tmp_path: Path, digit_png: DigitFile
) -> None:
    seen = np.zeros((28, 28), np.float32)
    cards = {
        "first": {
            "Misread: 1": [Card("scans/<3>.png", "3", "5 at 99.0%", "ok", digit_png(3), seen)],
            "Not read at all: 1": [Card("gone.png", "4", "–", "error: no such file", None, None)],
            "A digit, yet called none: 0": [],
        },
        "only letters": {},
        "empty": {},
    }

    page = write_report(metrics, cards, tmp_path / "report.html").read_text(encoding="utf-8")

    for text in ("How well tiny reads", "only letters", "inverted", "-0.12", "noise", "42.0 alone"):
        assert text in page
    assert "scans/&lt;3&gt;.png" in page
    assert "<3>" not in page
    assert "error: no such file" in page
    assert "A digit, yet called none" not in page


def test_the_report_says_where_pictures_are_more_than_digits(metrics: dict, tmp_path: Path) -> None:
    cards: dict = {name: {} for name in metrics["sets"]}
    before = write_report(metrics, cards, tmp_path / "before.html").read_text(encoding="utf-8")
    metrics["sets"]["first"]["accuracy"]["independent"] = 1

    page = write_report(metrics, cards, tmp_path / "report.html").read_text(encoding="utf-8")

    assert "The pictures show 1 digits" in page
    assert "The pictures show" not in before


def test_the_report_needs_no_other_file_and_no_network(metrics: dict, tmp_path: Path) -> None:
    cards: dict = {name: {} for name in metrics["sets"]}

    page = write_report(metrics, cards, tmp_path / "report.html").read_text(encoding="utf-8")

    sources = re.findall(r"""(?:src|href)=["']([^"']*)""", page)
    assert sources
    assert [s[:40] for s in sources if not s.startswith(("data:image/png;base64,", "#"))] == []
    assert "http" not in page
    assert "<script" not in page


def test_its_sentences_have_a_space_between_them(metrics: dict, tmp_path: Path) -> None:
    cards: dict = {name: {} for name in metrics["sets"]}

    page = write_report(metrics, cards, tmp_path / "report.html").read_text(encoding="utf-8")

    assert re.search(r"wrong\.\s+Doubt tells", page)


def test_its_tables_fit_on_a_screen(browser: Browser, metrics: dict, tmp_path: Path) -> None:
    """The last column was cut off, and no bar said that there is more."""
    metrics["sets"] = {f"/home/somebody/pictures/{'of strangers/' * 5}": metrics["sets"]["first"]}
    cards: dict = {name: {} for name in metrics["sets"]}
    path = write_report(metrics, cards, tmp_path / "report.html")
    page = browser.new_page(viewport={"width": 1200, "height": 800})

    page.goto(path.as_uri())

    tables = page.locator(".scroll").all()
    assert len(tables) >= 4
    for table in tables:
        assert table.evaluate("each => each.scrollWidth <= each.clientWidth")
    page.close()


def test_a_picture_that_is_gone_by_now_leaves_its_note(metrics: dict, tmp_path: Path) -> None:
    gone = Card("a.png", "1", "7 at 60.0%", "unsure", tmp_path / "a.png", None)
    cards: dict = {name: {} for name in metrics["sets"]} | {"first": {"Misread: 1": [gone]}}

    page = write_report(metrics, cards, tmp_path / "report.html").read_text(encoding="utf-8")

    assert "7 at 60.0%" in page


def test_a_report_that_cannot_be_written_says_so(metrics: dict, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(OutputError, match="cannot write"):
        write_report(metrics, {name: {} for name in metrics["sets"]}, tmp_path / "file" / "r.html")
