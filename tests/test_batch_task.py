from __future__ import annotations

import pickle

import pytest

from batch_answers import DIGITS
from batch_input import Input
from batch_numbers import NUMBERS
from batch_task import Task, fill_rows
from batch_workers import Answer, read_input

TASKS = [pytest.param(DIGITS, id="digits"), pytest.param(NUMBERS, id="numbers")]


@pytest.mark.parametrize("task", TASKS)
def test_a_row_has_all_columns_of_its_task_whatever_became_of_the_picture(
    task: Task, tiny_predictor, digit_png
):
    item = Input("7.png", str(digit_png(7)), size=300, stamp=1, label=None)
    find = task.make_reader(lambda: tiny_predictor).find
    batch = [
        (item, read_input(item, find=find)),
        (item, Answer(status="error", reason="torn")),
        (item, Answer(status="not a digit", reason="blank", width=9, height=9)),
    ]

    rows, skipped = task.make_rows(batch, tiny_predictor, 4)

    assert [row.keys() == task.all_columns.keys() for row in rows] == [True] * 3
    assert [row["status"] for row in rows[1:]] == ["error", "not a digit"]
    assert skipped == []


def test_rows_stay_in_order_and_files_that_are_no_pictures_have_none():
    new, old, text = (Input(name, label=7) for name in ("new.png", "old.png", "notes.txt"))
    earlier = {"path": "old.png", "label": None, "seconds": 0.5}
    batch = [
        (text, Answer(status="skipped", reason="no picture")),
        (old, earlier),
        (new, Answer(seconds=0.1)),
    ]

    rows, skipped = fill_rows(
        batch, lambda item, answer: {"path": item.path, "seconds": answer.seconds}
    )

    assert rows == [earlier | {"label": 7}, {"path": "new.png", "seconds": 0.1}]
    assert skipped == [("notes.txt", "no picture")]


@pytest.mark.parametrize("task", TASKS)
def test_a_task_can_be_sent_to_another_process(task: Task):
    there = pickle.loads(pickle.dumps(task))

    assert (there.make_rows, there.columns) == (task.make_rows, task.columns)


def test_single_digits_are_prepared_without_waiting_for_the_network():
    def load():
        raise AssertionError("the network was loaded")

    assert DIGITS.make_reader(load).arguments == ()
