from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from batch_processor import BatchProcessor
from batch_report import _thumbnail
from feedback import FeedbackStore
from reviews import import_reviews


@pytest.fixture
def report(tiny_predictor, digit_png, tmp_path) -> str:
    """Return the report of a run with a mistake, an error and a file name that is HTML."""
    for number in range(3):
        digit_png(3, name=f"pictures/3/{number}.png", size=60, number=number)
    digit_png(4, name="pictures/3/<b>wrong & bold.png", size=60)
    (tmp_path / "pictures" / "empty.png").write_bytes(b"")
    processor = BatchProcessor(tiny_predictor, output=tmp_path / "out", workers=0, progress=False)
    processor.process(tmp_path / "pictures")
    path = processor.save_report()
    assert path == processor.results.path.parents[2] / "reports" / path.parent.name / "report.html"
    return path.read_text(encoding="utf-8")


def test_the_report_needs_no_other_file(report):
    assert not re.findall(r"""(?:src|href)=["'](?!data:)""", report)
    assert "http" not in report


def test_names_of_files_cannot_become_html(report):
    assert "<b>wrong" not in report
    assert "&lt;b&gt;wrong &amp; bold.png" in report


def test_what_to_look_at_is_shown_with_what_the_network_saw(report):
    assert "To look at" in report
    assert "Worst mistakes" in report
    assert report.count('alt="what the network saw"') == 2  # in the queue and among the mistakes
    assert report.count('alt="the picture"') == 2


def test_a_deep_picture_is_shown_as_it_was_read(tmp_path):
    """Sixteen bits for each pixel were cut to eight, which left hardly anything but white."""
    path = tmp_path / "deep.png"
    slope = np.linspace(0, 65_535, 96 * 96, dtype=np.uint16).reshape(96, 96)
    Image.fromarray(slope).save(path)

    shown = Image.open(io.BytesIO(base64.b64decode(_thumbnail(str(path)).partition(",")[2])))

    assert np.asarray(shown).mean() == pytest.approx(127, abs=3)


def test_errors_are_listed_by_reason_and_accuracy_is_given(report):
    assert "the file is empty" in report
    assert "75.00 %" in report


def test_a_review_saved_from_the_report_is_a_manifest_and_gives_corrections(
    report, chromium, tiny_predictor, tmp_path
):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        page.set_content(report)
        page.locator("input[data-path]").first.fill("4")
        with page.expect_download() as download:
            page.get_by_role("button", name="save review.csv").click()
        download.value.save_as(tmp_path / "review.csv")
        browser.close()
    processor = BatchProcessor(tiny_predictor, output=tmp_path / "o", workers=0, progress=False)
    results = processor.process(tmp_path / "review.csv")

    assert [(Path(row["path"]).name, row["label"]) for row in results] == [
        ("<b>wrong & bold.png", 4)
    ]
    read = results[0]
    store = FeedbackStore(tmp_path / "feedback.sqlite")
    assert import_reviews(store, tmp_path / "review.csv").added == 1
    [correction] = store.stream()
    assert (correction.correct, correction.digit) == (4, read["digit"])
    assert (correction.confidence, correction.verdict) == (read["confidence"], read["status"])
    assert correction.model_version == tiny_predictor.checkpoint.version
