import pytest
import torch

import bench_train
from bench import build_parser
from bench_train import run
from errors import SettingsError


@pytest.fixture(autouse=True)
def one_thread():
    """Stay on one thread: several are slower when the machine is busy."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def parse(mnist_folder):
    quick = ["train", "--rounds", "1", "--pictures", "256", "--no-cuda", "--threads", "1"]
    quick += ["--data-dir", str(mnist_folder)]
    return lambda *more: build_parser().parse_args([*quick, *more])


def test_training_is_compared_with_the_naive_way_and_the_floor(parse):
    (table,) = run(parse())

    assert list(table.rows) == ["naive", "ours", "floor"]
    for row in table.rows.values():
        naive, floor = table.rows["naive"]["all epochs"], table.rows["floor"]["all epochs"]
        assert row["naive / this"] == pytest.approx(naive / row["all epochs"])
        assert row["this / floor"] == pytest.approx(row["all epochs"] / floor)
    assert table.conditions["threads"] == 1
    assert table.conditions["pictures"] == 256


def test_the_curve_by_threads_goes_up_to_the_number_of_cores(parse, monkeypatch):
    monkeypatch.setattr(bench_train.os, "cpu_count", lambda: 3)

    (table,) = run(parse("--scale"))

    assert table.x == "threads"
    assert list(table.rows) == ["1", "2", "3"]
    assert table.rows["1"]["one thread / this"] == 1
    assert torch.get_num_threads() == 1  # left as it was


def test_a_profile_names_the_operations_that_take_the_time(parse):
    (table,) = run(parse("--profile"))

    shares = [row["% of the time"] for row in table.rows.values()]
    assert shares == sorted(shares, reverse=True)
    assert 50 < sum(shares) <= 100
    assert "convolution_backward" in table.rows


def test_training_in_full_runs_the_command_and_reads_what_it_wrote(parse):
    (table,) = run(parse("--full", "--test", "--seed", "3"))

    assert list(table.rows) == ["seed 3", "mean"]
    for row in table.rows.values():
        assert 0 < row["learning, s"] < row["command, s"]
        assert 0 < row["test, %"] <= 100
    assert table.goals == []  # 256 pictures prove nothing


def test_several_seeds_give_a_mean_and_the_number_that_reached_the_goal(parse, monkeypatch):
    accuracy = {0: 99.5, 1: 99.1, 2: 99.3}
    monkeypatch.setattr(
        bench_train,
        "_train_by_command",
        lambda seed, args: {"learning, s": 40.0 + seed, "validation, %": accuracy[seed]},
    )

    (table,) = run(parse("--full", "--seeds", "3", "--pictures", "0"))

    assert table.rows["mean"] == pytest.approx({"learning, s": 41.0, "validation, %": 99.3})
    assert "2 of 3 seeds reached 99.3 % of validation" in table.notes
    assert [goal.is_met for goal in table.goals] == [True, True, False]  # two thirds are too few


def test_the_plain_recipe_can_be_trained_in_full_as_well(parse, monkeypatch):
    monkeypatch.setattr(bench_train, "PLAIN_EPOCHS", 1)
    row = {"learning, s": 1.0, "command, s": 2.0, "validation, %": 99.5}
    monkeypatch.setattr(bench_train, "_train_by_command", lambda seed, args: row)

    (table,) = run(parse("--full", "--naive"))

    assert table.rows["naive"].keys() == {"learning, s", "validation, %"}
    assert 0 < table.rows["naive"]["validation, %"] <= 100


def test_a_training_that_fails_says_why(parse):
    with pytest.raises(SettingsError, match="--seed -1 cannot work"):
        run(parse("--full", "--seed", "-1"))


def test_too_few_pictures_for_a_batch_are_refused(parse):
    with pytest.raises(SettingsError, match="9 pictures are too few"):
        run(parse("--pictures", "9"))
