import json
import subprocess
import sys
from functools import partial

import pytest

from errors import DataFormatError, MeasurementError
from timing import (
    Goal,
    Table,
    compare_to,
    describe_conditions,
    is_busy,
    load_tables,
    median_ratio,
    run_python,
    take_turns,
)

GOAL = Goal("start", 1.1, 1.3)
ROWS = {"naive": {"seconds": 10.0, "ratio": 1.0}, "ours": {"seconds": 2.5, "ratio": 4.0}}


def make_table(**changes):
    values = {"name": "trial", "unit": "seconds", "rows": ROWS, "conditions": {"cores": 2}}
    return Table(**{**values, **changes})


def test_contenders_take_turns_and_the_first_round_warms_up():
    calls: list[str] = []

    seconds = take_turns({name: partial(calls.append, name) for name in "ab"}, rounds=3)

    assert "".join(calls) == "abababab"
    assert {name: len(values) for name, values in seconds.items()} == {"a": 3, "b": 3}
    assert all(value >= 0 for values in seconds.values() for value in values)


def test_contenders_are_held_to_the_naive_one_and_to_the_floor():
    rows = compare_to({"naive": [8, 10], "ours": [4, 5], "floor": [2, 2.5]}, unit="ms", factor=1000)

    assert rows["ours"] == {"ms": 4500, "naive / this": 2, "this / floor": 2}
    assert rows["naive"]["this / floor"] == 4


def test_without_naive_or_floor_there_are_no_ratios():
    assert compare_to({"ours": [1.0]}, unit="s") == {"ours": {"s": 1.0}}


def test_a_slow_round_moves_no_ratio():
    assert median_ratio([2, 200, 2], [1, 100, 1]) == 2


@pytest.mark.parametrize(
    ("goal", "is_met", "limit"),
    [
        (Goal("ratio", 1.3, 1.3), True, "at most 1.3"),
        (Goal("ratio", 1.31, 1.3), False, "at most 1.3"),
        (Goal("speed", 2999, 3000, "/s", at_least=True), False, "at least 3000 /s"),
        (Goal("speed", 3000, 3000, "/s", at_least=True), True, "at least 3000 /s"),
    ],
)
def test_a_goal_knows_whether_it_is_met(goal, is_met, limit):
    assert goal.is_met is is_met
    assert goal.limit_text == limit
    assert str(goal).startswith("met: " if is_met else "MISSED: ")


def test_a_table_shows_every_contender_goal_and_condition():
    text = str(make_table(notes=["one note"], goals=[GOAL]))

    lines = text.splitlines()
    assert lines[1].split() == ["seconds", "ratio"]
    assert lines[3].split() == ["ours", "2.5", "4"]
    assert "- one note" in lines
    assert "* met: start: 1.1 (at most 1.3)" in lines
    assert "cores: 2" in lines[-1]


def test_a_column_that_one_row_lacks_is_shown_as_a_dash():
    table = make_table(rows={"a": {"seconds": 1.0}, "b": {"seconds": 2.0, "test, %": 99.5}})

    assert table.columns == ["seconds", "test, %"]
    assert str(table).splitlines()[2].split() == ["a", "1", "-"]


def test_a_saved_table_comes_back_as_it_was(tmp_path):
    table = make_table(notes=["one"], goals=[GOAL], samples={"ours": [2.4, 2.6]}, x="threads")

    path = table.save(tmp_path)

    assert path == tmp_path / "trial.json"
    assert Table.load(path) == table
    assert load_tables(tmp_path) == load_tables(path) == {"trial": table}


@pytest.mark.parametrize(
    "content", ["", "[1]", '{"name": "x"}', '{"goals": [{}]}', '{"colour": 1}']
)
def test_a_file_that_is_no_table_is_refused(tmp_path, content):
    path = tmp_path / "odd.json"
    path.write_text(content)

    with pytest.raises(DataFormatError, match="odd"):
        Table.load(path)


def test_an_empty_folder_and_a_missing_file_are_refused(tmp_path):
    with pytest.raises(DataFormatError, match="measure first"):
        load_tables(tmp_path)
    with pytest.raises(DataFormatError, match="cannot read"):
        load_tables(tmp_path / "none.json")


def test_the_conditions_can_be_written_as_json_and_name_what_matters():
    conditions = json.loads(json.dumps(describe_conditions()))

    assert {
        "processor",
        "cores",
        "threads",
        "busy cores at start",
        "torch",
        "commit",
        "date",
    } <= set(conditions)


def test_a_machine_with_other_work_is_called_busy():
    assert is_busy({"busy cores at start": 1.7, "cores": 2})
    assert not is_busy({"busy cores at start": 0.3, "cores": 2})


def test_work_of_others_is_seen(monkeypatch):
    monkeypatch.setattr("timing.LISTEN_S", 1.0)

    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as other:
        during = describe_conditions()["busy cores at start"]
        other.kill()

    assert during >= 0.5


def test_a_program_that_fails_says_why():
    with pytest.raises(MeasurementError, match="ZeroDivisionError"):
        run_python("-c", "1 / 0")
