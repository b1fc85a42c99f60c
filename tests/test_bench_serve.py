from __future__ import annotations

import base64
import json
from dataclasses import replace

import pytest

import bench_serve
from bench import build_parser
from bench_report import compare
from bench_serve import CLIENTS, ROUTES, make_bodies
from timing import Table


@pytest.fixture(scope="module")
def tables(models_folder) -> dict[str, Table]:
    """Measure as short as can be, with one and two clients only."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bench_serve, "CLIENTS", (1, 2))
        patch.setattr(bench_serve, "AT", 2)
        path = str(models_folder / "mnist_cnn_best.pth")
        args = build_parser().parse_args(["serve", "--quick", "--model", path])
        return {table.name: table for table in bench_serve.run(args)}


@pytest.mark.parametrize("kind", ["mnist", "drawing"])
def test_the_three_routes_are_compared_and_all_answers_are_good(tables, kind):
    table = tables[f"serve-{kind}"]

    assert list(table.rows) == [f"{route}, {n} clients" for n in (1, 2) for route in ROUTES]
    assert all(row["requests/s"] > 0 for row in table.rows.values())
    assert table.rows["nothing, 2 clients"]["nothing / this"] == 1
    assert table.rows["naive, 2 clients"]["naive / this"] == 1
    main = table.rows["predict, 2 clients"]
    assert [goal.measured for goal in table.goals] == [
        main["nothing / this"],
        main["naive / this"],
        0,
    ]


def test_a_rate_that_halves_is_called_worse(tables):
    before = tables["serve-mnist"]
    slower = {"predict, 2 clients": dict(before.rows["predict, 2 clients"])}
    for column in ("nothing / this", "naive / this"):
        slower["predict, 2 clients"][column] /= 2

    text = compare({"t": before}, {"t": replace(before, rows=slower)})

    assert [line[-2:] for line in text.splitlines() if "predict, 2" in line] == ["<-", "<-"]


def test_memory_is_watched_over_many_requests(tables):
    table = tables["serve-memory"]

    assert list(table.rows) == ["0 requests", "100 requests", "200 requests"]
    before, _, after = (row["MB"] for row in table.rows.values())
    assert before > 50
    assert [goal.measured for goal in table.goals] == [after - before, 0]


def test_the_bodies_are_different_pictures_of_the_size_that_is_said():
    import cv2
    import numpy as np

    bodies = make_bodies(28, 5)

    contents = [base64.b64decode(json.loads(body)["image"]) for body in bodies]
    pictures = [cv2.imdecode(np.frombuffer(c, np.uint8), cv2.IMREAD_UNCHANGED) for c in contents]
    assert {picture.shape for picture in pictures} == {(28, 28)}
    assert len(set(contents)) == 5
    assert max(CLIENTS) == 200
