from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from batch_answers import DIGITS
from batch_numbers import NUMBERS
from batch_processor import BatchProcessor
from batch_ray import RayPool, main, write_parts
from batch_rows import PRIVATE_COLUMNS, Results
from batch_sources import open_source
from errors import DigitError, SettingsError

pytestmark = pytest.mark.long


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


def columns_of(path: Path) -> str:
    """Return the names and kinds of the columns of a Parquet file."""
    parquet = pytest.importorskip("pyarrow.parquet")
    return parquet.read_schema(path).to_string(truncate_metadata=False)


def comparable(results: Results) -> list[dict]:
    """Return rows without the one value that differs from run to run."""
    return [{**row, "seconds": None} for row in results]


@pytest.mark.usefixtures("ray")
def test_ray_gives_the_same_rows_and_columns_to_the_last_digit(tiny_predictor, pictures, tmp_path):
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
            columns_of(processor.save("parquet")),
        )

    assert runs["ray"] == runs["local"]
    assert len(runs["ray"][0]) == 31


@pytest.mark.usefixtures("ray")
def test_ray_goes_on_with_what_the_local_engine_began(
    tiny_predictor, pictures, tmp_path, digit_png
):
    local, ray = (
        BatchProcessor(
            tiny_predictor, output=tmp_path / "out", engine=engine, workers=1, progress=False
        )
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
        columns = columns_of(processor.save("parquet"))
        runs[engine] = comparable(results), list(results.skipped()), columns

    assert runs["ray"] == runs["local"]
    assert [row["text"] for row in runs["ray"][0]] == ["0", "1", "2", None]


@pytest.mark.usefixtures("ray")
def test_parts_hold_all_rows_in_order_and_are_not_written_twice(tiny_predictor, pictures, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    pool = RayPool(tiny_predictor, 1, batch_size=8)  # it starts anew for each part
    pool.group_size = 20
    source = open_source(pictures.as_uri())

    counts = [write_parts(source, tmp_path / "parts", pool) for _ in range(2)]

    assert counts == [32, 0]
    names = [path.name for path in sorted((tmp_path / "parts").glob("*.parquet"))]
    assert names == ["part-000000.parquet", "part-000001.parquet"]
    rows = [
        row for name in names for row in parquet.read_table(tmp_path / "parts" / name).to_pylist()
    ]
    assert [row["path"] for row in rows] == [item.path for item in source.read()]
    assert [row["status"] for row in rows if row["digit"] is None] == ["error", "skipped"]


@pytest.mark.usefixtures("ray")
@pytest.mark.parametrize("numbers", [False, True])
def test_parts_have_the_same_columns_as_the_table_of_the_local_engine(
    tiny_predictor, digit_png, tmp_path, numbers
):
    """Parts had whole numbers of 64 bits, and results.parquet has them of 32."""
    digit_png(3, name="pictures/3.png", size=60)
    (tmp_path / "pictures" / "empty.png").write_bytes(b"")
    local = BatchProcessor(
        tiny_predictor, output=tmp_path / "local", workers=0, progress=False, numbers=numbers
    )
    local.process_folder(tmp_path / "pictures")

    pool = RayPool(tiny_predictor, 1, task=NUMBERS if numbers else DIGITS)
    write_parts(open_source(tmp_path / "pictures", numbers=numbers), tmp_path / "parts", pool)

    (part,) = (tmp_path / "parts").glob("*.parquet")
    assert columns_of(part) == columns_of(local.save("parquet"))


class StandIn:
    """Reads as a `RayPool` does, as far as `write_parts` can tell, but without Ray."""

    def __init__(self, group_size: int, **settings) -> None:
        self.group_size = group_size
        self.settings = {"model_version": "abc", "number": False, "sha256": False} | settings

    def read(self, items):
        pyarrow = pytest.importorskip("pyarrow")
        columns = {"position": range(len(items)), "path": [item.path for item in items]}
        return pyarrow.table(columns | {name: range(len(items)) for name in PRIVATE_COLUMNS})


def paths_in(parts: Path) -> list[str]:
    """Return the paths of all rows in the order of the parts."""
    parquet = pytest.importorskip("pyarrow.parquet")
    tables = [parquet.read_table(part) for part in sorted(parts.glob("*.parquet"))]
    return [path for table in tables for path in table["path"].to_pylist()]


@pytest.mark.parametrize(("before", "after"), [(4, 8), (8, 4)])
def test_parts_hold_each_row_once_though_the_cluster_grows_or_shrinks(
    pictures, tmp_path, before, after
):
    """A group was as large as the cluster of the day: going on lost rows, or doubled them."""
    source = open_source(pictures)
    parts = tmp_path / "parts"
    write_parts(source, parts, StandIn(before))
    for part in sorted(parts.glob("*.parquet"))[1:]:
        part.unlink()  # as if it had been interrupted after the first

    write_parts(source, parts, StandIn(after))

    assert paths_in(parts) == [item.path for item in source.read()]


@pytest.mark.parametrize(
    ("source", "settings", "hint"),
    [
        ("pictures", {"model_version": "def"}, "model_version 'abc', not 'def'"),
        ("pictures", {"number": True, "sha256": True}, "number False, not True, sha256 False"),
        ("pictures/0", {}, "source '"),
    ],
)
def test_parts_of_other_settings_are_not_gone_on_with(pictures, tmp_path, source, settings, hint):
    parts = tmp_path / "parts"
    write_parts(open_source(pictures), parts, StandIn(8))
    before = paths_in(parts)

    with pytest.raises(SettingsError, match="name another folder") as caught:
        write_parts(open_source(tmp_path / source), parts, StandIn(8, **settings))

    assert hint in str(caught.value)
    assert str(parts) in str(caught.value)
    assert paths_in(parts) == before


def test_parts_of_standard_input_are_not_gone_on_with(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"a.png\n")))
    write_parts(open_source("-"), tmp_path / "parts", StandIn(8))

    with pytest.raises(SettingsError, match=r"list\.txt"):
        write_parts(open_source("-"), tmp_path / "parts", StandIn(8))


@pytest.mark.parametrize(
    ("content", "hint"),
    [(None, "but no settings.json"), ("", "cannot be read"), ("[8]", "holds no settings")],
)
def test_parts_whose_settings_are_lost_or_damaged_are_not_gone_on_with(
    pictures, tmp_path, content, hint
):
    parts = tmp_path / "parts"
    write_parts(open_source(pictures), parts, StandIn(8))
    (parts / "settings.json").unlink()
    if content is not None:
        (parts / "settings.json").write_text(content, encoding="utf-8")

    with pytest.raises(DigitError, match=hint):
        write_parts(open_source(pictures), parts, StandIn(8))


@pytest.mark.parametrize("workers", ["0", "-1"])
def test_too_few_workers_are_refused_before_ray_starts(
    models_folder, pictures, tmp_path, capsys, workers
):
    model = str(models_folder / "mnist_cnn_best.pth")

    code = main([str(pictures), str(tmp_path / "parts"), "--model", model, "--workers", workers])

    assert code == 2
    assert f"workers {workers}: choose 1 or more" in capsys.readouterr().err


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
