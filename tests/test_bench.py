import json
from functools import partial

import pytest
import torch

import bench
from bench import Table, main, take_turns

QUICK = ["--rounds", "1", "--pictures", "256", "--no-cuda"]


@pytest.fixture(autouse=True)
def one_thread():
    """Stay on one thread: several are slower when the machine is busy."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_contenders_take_turns_and_the_first_round_warms_up():
    calls: list[str] = []

    seconds = take_turns({name: partial(calls.append, name) for name in "ab"}, rounds=3)

    assert "".join(calls) == "abababab"
    assert {name: len(values) for name, values in seconds.items()} == {"a": 3, "b": 3}
    assert all(value >= 0 for values in seconds.values() for value in values)


def test_training_is_compared_with_the_naive_way_and_the_floor(tmp_path, mnist_folder, capsys):
    code = main(["--output", str(tmp_path), "train", *QUICK, "--data-dir", str(mnist_folder)])

    saved = json.loads((tmp_path / "train.json").read_text())
    assert code == 0
    assert list(saved["rows"]) == ["naive", "ours", "floor"]
    for row in saved["rows"].values():
        ratio = saved["rows"]["naive"]["all epochs"] / row["all epochs"]
        assert row["naive / this"] == pytest.approx(ratio)
    assert saved["conditions"]["threads"] == 1
    assert saved["conditions"]["pictures"] == 256
    printed = capsys.readouterr().out
    assert "naive" in printed
    assert "train.json" in printed


def test_training_in_full_is_measured_on_validation(tmp_path, mnist_folder, monkeypatch):
    monkeypatch.setattr(bench, "PLAIN_EPOCHS", 1)
    monkeypatch.setitem(bench.RECIPES, "fast", {"epochs": 1, "batch_size": 64})

    main(["--output", str(tmp_path), "train", *QUICK, "--full", "--data-dir", str(mnist_folder)])

    rows = json.loads((tmp_path / "train-full.json").read_text())["rows"]
    assert set(rows) == {"ours", "naive"}
    assert all(0 < row["validation, %"] <= 100 for row in rows.values())


def test_without_a_name_everything_is_measured(tmp_path, monkeypatch):
    asked = []
    table = Table("x", "seconds", {"ours": {"speed": 1.0}}, {})
    monkeypatch.setattr(bench, "BENCHES", {"train": lambda args: asked.append(args) or table})

    code = main(["--output", str(tmp_path)])

    assert code == 0
    assert [args.rounds for args in asked] == [5]


def test_too_few_pictures_for_a_batch_are_refused(tmp_path, mnist_folder, capsys):
    code = main(
        ["--output", str(tmp_path), "train", "--pictures", "9", "--data-dir", str(mnist_folder)]
    )

    assert code == 2
    assert "9 pictures are too few" in capsys.readouterr().err


def test_a_table_shows_every_contender_and_condition():
    rows = {"naive": {"seconds": 10.0, "ratio": 1.0}, "ours": {"seconds": 2.5, "ratio": 4.0}}

    text = str(Table("trial", "seconds", rows, {"cores": 2}, ["one note"]))

    lines = text.splitlines()
    assert lines[1].split() == ["seconds", "ratio"]
    assert lines[3].split() == ["ours", "2.5", "4"]
    assert "- one note" in lines
    assert "cores: 2" in lines[-1]
