from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from batch_processor import BatchProcessor
from batch_ray import RayPool, main, write_parts
from batch_rows import Results
from batch_sources import open_source
from errors import SettingsError


@pytest.fixture(scope="module")
def ray() -> Iterator[None]:
    """Start Ray on this machine with two workers, for all tests here."""
    ray = pytest.importorskip("ray")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("RAY_ADDRESS", raising=False)
        yield
    ray.shutdown()


@pytest.fixture
def pictures(digit_png, tmp_path) -> Path:
    """Return a folder with thirty digits, a bad file and a text."""
    for number in range(30):
        digit_png(number % 5, name=f"pictures/{number % 5}/{number:02}.png", size=60, number=number)
    (tmp_path / "pictures" / "empty.png").write_bytes(b"")
    (tmp_path / "pictures" / "notes.txt").write_text("buy milk", encoding="utf-8")
    return tmp_path / "pictures"


def comparable(results: Results) -> list[dict]:
    """Return rows without the one value that differs from run to run."""
    return [{**row, "seconds": None} for row in results]


@pytest.mark.usefixtures("ray")
def test_ray_gives_the_same_rows_to_the_last_digit(tiny_predictor, pictures, tmp_path):
    runs = {}
    for engine in ("local", "ray"):
        processor = BatchProcessor(
            tiny_predictor, output=tmp_path / engine, engine=engine, workers=2, progress=False,
            batch_size=8, with_hash=True,
        )  # fmt: skip
        results = processor.process_folder(pictures)
        runs[engine] = (
            comparable(results),
            list(results.skipped()),
            processor.summary()["read_now"],
        )

    assert runs["ray"] == runs["local"]
    assert len(runs["ray"][0]) == 31


@pytest.mark.usefixtures("ray")
def test_ray_goes_on_with_what_the_local_engine_began(
    tiny_predictor, pictures, tmp_path, digit_png
):
    local, ray = (
        BatchProcessor(tiny_predictor, output=tmp_path / "out", engine=engine, progress=False)
        for engine in ("local", "ray")
    )
    before = comparable(local.process_folder(pictures))
    digit_png(3, name="pictures/9/new.png", size=60)

    after = comparable(ray.process_folder(pictures, resume=True))

    assert after[:-1] == before
    assert ray.summary()["read_now"] == 2  # the new one, and the empty file is tried again


@pytest.mark.usefixtures("ray")
def test_ray_reads_numbers_like_the_local_engine(tiny_predictor, digit_png, tmp_path):
    for number in range(3):
        digit_png(number, name=f"pictures/{number}.png", size=60)
    (tmp_path / "pictures" / "empty.png").write_bytes(b"")
    (tmp_path / "pictures" / "notes.txt").write_text("buy milk", encoding="utf-8")
    runs = {}
    for engine, workers in (("local", 0), ("ray", 1)):
        processor = BatchProcessor(
            tiny_predictor, output=tmp_path / engine, engine=engine, workers=workers,
            progress=False, numbers=True,
        )  # fmt: skip
        results = processor.process_folder(tmp_path / "pictures")
        runs[engine] = comparable(results), list(results.skipped())

    assert runs["ray"] == runs["local"]
    assert [row["text"] for row in runs["ray"][0]] == ["0", "1", "2", None]


@pytest.mark.usefixtures("ray")
def test_parts_hold_all_rows_in_order_and_are_not_written_twice(tiny_predictor, pictures, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    pool = RayPool(tiny_predictor, 2, batch_size=8)
    pool.group_size = 20
    source = open_source(pictures.as_uri())

    counts = [write_parts(source, tmp_path / "parts", pool) for _ in range(2)]

    assert counts == [32, 0]
    names = [path.name for path in sorted((tmp_path / "parts").iterdir())]
    assert names == ["part-000000.parquet", "part-000001.parquet"]
    rows = [
        row for name in names for row in parquet.read_table(tmp_path / "parts" / name).to_pylist()
    ]
    assert [row["path"] for row in rows] == [item.path for item in source.read()]
    assert [row["status"] for row in rows if row["digit"] is None] == ["error", "skipped"]


def test_without_ray_the_command_says_what_to_install(
    monkeypatch, models_folder, pictures, tmp_path, capsys
):
    monkeypatch.setitem(sys.modules, "ray", None)
    model = str(models_folder / "mnist_cnn_best.pth")

    code = main([str(pictures), str(tmp_path / "parts"), "--model", model])

    assert code == 2
    assert "requirements-ray.txt" in capsys.readouterr().err


def test_an_unknown_engine_is_refused():
    with pytest.raises(SettingsError, match="local, ray"):
        BatchProcessor(engine="spark")
