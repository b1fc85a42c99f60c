from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import pytest

import bench_batch
from bench_batch import KINDS, Kind, add_arguments, make_pictures, run
from errors import MeasurementError

TINY = (Kind("batch-28x28-png", 60, 3, (28, 28), 5.0), Kind("batch-jpeg", 20, 1, (160, 120), 2.5))


@pytest.fixture
def ask(models_folder, monkeypatch):
    """Return a function that measures tiny pictures, and gives the tables by name."""
    monkeypatch.setattr(bench_batch, "KINDS", TINY)
    monkeypatch.setattr(bench_batch, "SCALE", (2, 4))
    model = str(models_folder / "mnist_cnn_best.pth")

    def ask(*words: str):
        parser = argparse.ArgumentParser()
        add_arguments(parser)
        args = parser.parse_args(["--model", model, "--workers", "1", *words])
        return {table.name: table for table in run(args)}

    return ask


def test_every_kind_of_pictures_is_read_in_three_ways(ask, monkeypatch):
    started: list[tuple[str, ...]] = []
    monkeypatch.setattr(bench_batch, "run_python", lambda *words: started.append(words))

    tables = ask("--rounds", "1", "--quick")

    assert list(tables) == ["batch-28x28-png", "batch-jpeg", "batch-start"]
    assert {words[0] for words in started} == {"batch_processor.py", "-c"}
    table = tables["batch-28x28-png"]
    assert list(table.rows) == ["naive", "ours", "floor"]
    assert table.conditions["pictures"] == 3
    ours = table.rows["ours"]
    assert ours["pictures/s"] == pytest.approx(3 / ours["seconds"])
    assert ours["this / floor"] * ours["floor / this"] == pytest.approx(1)
    assert [goal.limit for goal in table.goals] == [5.0, 0.6]


def test_the_curve_has_a_point_for_each_number_of_files(ask):
    table = ask("--scale", "--largest", "3")["batch-scale"]

    assert list(table.rows) == ["2"]
    assert table.x == "pictures"
    if Path("/proc/self/status").exists():
        assert table.rows["2"]["memory, MB"] > 50


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_pictures_have_the_size_that_their_name_says_and_show_digits(
    kind, tmp_path, tiny_predictor
):
    make_pictures(tmp_path, kind, 1)

    (path,) = tmp_path.rglob("*.*")
    assert cv2.imread(str(path)).shape[:2] == kind.size[::-1]
    tiny_predictor.predict(path)  # raises where there is no ink


def test_copies_take_no_room(tmp_path):
    make_pictures(tmp_path, TINY[0], 7)

    paths = sorted(tmp_path.rglob("*.png"))
    assert [path.stat().st_ino for path in paths[3:6]] == [path.stat().st_ino for path in paths[:3]]


def test_decoding_alone_really_decodes(tmp_path, capfd):
    (tmp_path / "torn.png").write_bytes(b"not a picture")

    with (
        bench_batch.start_decoders([str(tmp_path / "torn.png")], 1) as decode,
        pytest.raises(MeasurementError, match="decodes"),
    ):
        decode()

    assert "cannot identify" in capfd.readouterr().err


def test_a_measurement_of_pictures_that_are_not_read_is_refused(tmp_path, tiny_predictor):
    (tmp_path / "empty.png").write_bytes(b"")

    with pytest.raises(MeasurementError, match="not read"):
        bench_batch.read_ours(tiny_predictor, tmp_path, 0)
