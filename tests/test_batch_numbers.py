from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from batch_input import Input
from batch_numbers import find_number, serve
from batch_processor import BatchProcessor, main
from batch_rows import NUMBER_COLUMNS, Results
from batch_sources import open_source
from errors import CheckpointError


@pytest.fixture
def number_png(tmp_path: Path, handwriting) -> Callable[..., Path]:
    """Return a function that writes digits side by side, black on white: `number_png("302")`."""

    def write(digits: str, name: str) -> Path:
        cells = []
        for digit in map(int, digits):
            images = handwriting.images[handwriting.labels == digit]
            strangeness = np.square(images - images.mean(axis=0)).sum(axis=(1, 2))
            cells.append(cv2.resize(images[strangeness.argmin()], (84, 84)))
        picture = 255 - 255 * np.pad(np.hstack(cells), 20)
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(path), picture.clip(0, 255).astype(np.uint8))
        return path

    return write


@pytest.fixture
def manifest(number_png, tmp_path) -> Path:
    """Return a manifest of three numbers (one with a wrong label), a blank and an empty picture."""
    for digits in ("302", "0461", "77"):
        number_png(digits, f"pages/{digits}.png")
    cv2.imwrite(str(tmp_path / "pages" / "blank.png"), np.full((40, 60), 255, np.uint8))
    (tmp_path / "pages" / "empty.png").write_bytes(b"")
    names = ["302", "0461", "77", "blank", "empty"]
    labels = ["302", "0461", "78", "", "12"]
    lines = [f"pages/{name}.png,{label}" for name, label in zip(names, labels, strict=True)]
    path = tmp_path / "numbers.csv"
    path.write_text("\n".join(["path,label", *lines]), encoding="utf-8")
    return path


@pytest.fixture
def processor(tiny_predictor, tmp_path) -> BatchProcessor:
    return BatchProcessor(
        tiny_predictor, output=tmp_path / "out", workers=0, progress=False, numbers=True
    )


def comparable(results: Results) -> list[dict]:
    """Return rows without the one value that differs from run to run."""
    return [{**row, "seconds": None} for row in results]


def test_rows_agree_with_the_predictor(processor, manifest, tiny_predictor):
    results = processor.process(manifest)

    assert list(results[0]) == list(NUMBER_COLUMNS)
    for row in results[:3]:
        reading = tiny_predictor.read(row["path"])
        assert (row["text"], row["count"]) == (reading.text, len(reading.digits))
        assert (row["status"], row["reason"]) == (reading.verdict, reading.reason)
        least = min(digit.prediction.confidence for digit in reading.digits)
        assert row["confidence"] == pytest.approx(least, abs=1e-5)
        assert (row["height"], row["turn"]) == (124, 0)
    assert [row["text"] for row in results] == ["302", "0461", "77", None, None]


def test_pictures_without_a_number_are_rows_with_a_reason(processor, manifest):
    blank, empty = processor.process(manifest)[3:]

    assert (blank["status"], blank["width"], blank["count"]) == ("not a digit", 60, None)
    assert "blank" in blank["reason"]
    assert empty["status"] == "error"
    assert "empty" in empty["reason"]


def test_numbers_are_compared_with_those_of_a_manifest(processor, manifest):
    processor.process(manifest)

    summary = processor.summary()
    assert (summary["labelled"], summary["correct"]) == (4, 2)
    assert (summary["digits"], summary["confusion"]) == (None, None)
    assert [Path(row["path"]).name for row, _ in processor.results.worst_mistakes(5)] == ["77.png"]


def test_zeros_at_the_front_stay(processor, manifest):
    processor.process(manifest)

    with processor.save_results_csv().open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))

    assert (rows[1]["text"], rows[1]["label"]) == ("0461", "0461")


def test_the_rows_are_the_same_with_worker_processes(processor, manifest, tiny_predictor, tmp_path):
    alone = comparable(processor.process(manifest))
    pool = BatchProcessor(
        tiny_predictor, output=tmp_path / "pool", workers=2, progress=False, numbers=True
    )

    assert comparable(pool.process(manifest)) == alone


def test_resuming_reads_only_what_is_new_and_never_takes_rows_of_single_digits(
    processor, manifest, tiny_predictor
):
    single = BatchProcessor(tiny_predictor, output=processor.output, workers=0, progress=False)
    digits = single.process(manifest)
    numbers = processor.process(manifest, resume=True)
    first = comparable(numbers)
    again = processor.process(manifest, resume=True)

    assert digits.path != numbers.path == again.path
    assert comparable(again) == first
    assert processor.summary()["read_now"] == 1  # the empty file is tried again


def test_the_report_shows_numbers_and_takes_corrections_of_them(processor, manifest):
    processor.process(manifest)

    page = processor.save_report().read_text(encoding="utf-8")

    assert "should be <b>78</b>" in page
    assert "right number" in page
    assert "<h2>Digits</h2>" not in page


def test_mnist_pixels_are_a_picture_too(tiny_predictor, handwriting):
    pixels = np.rint(handwriting.images[0] * 255).astype(np.uint8).tobytes()

    found = find_number(Input("test.csv#1", data=pixels, is_raw=True), tiny_predictor)

    assert found.text == tiny_predictor.read(np.frombuffer(pixels, np.uint8).reshape(28, 28)).text
    assert (found.width, found.height) == (28, 28)


def test_a_model_that_was_replaced_meanwhile_is_refused(models_folder, monkeypatch):
    monkeypatch.setattr("batch_workers.serve", lambda load, limit_s: load())

    with pytest.raises(CheckpointError, match="replaced"):
        serve(str(models_folder / "mnist_cnn_best.pth"), "another version", "cpu")


def test_a_submission_of_numbers_is_refused_before_the_work(manifest, tmp_path, capsys):
    code = main([str(manifest), "--number", "--format", "submission", "--output", str(tmp_path)])

    assert code == 2
    assert "--number" in capsys.readouterr().err
    assert not (tmp_path / "logs").exists()


@pytest.mark.parametrize(
    ("cell", "label"),
    [("302", "302"), (" 01 23 ", "01 23"), ("12/34", "12 34"), ("3a", None), ("", None)],
)
def test_a_label_is_digits_with_a_space_between_lines(tmp_path, cell, label):
    (tmp_path / "numbers.csv").write_text(f"path,label\n7/a.png,{cell}\n", encoding="utf-8")

    (item,) = open_source(tmp_path / "numbers.csv", numbers=True).read()

    assert item.label == label


def test_names_give_all_their_first_digits(number_png, tmp_path):
    number_png("12", "pages/0123_a.png")

    (item,) = open_source(tmp_path / "pages", labels="names", numbers=True).read()

    assert item.label == "0123"
