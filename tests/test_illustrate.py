"""The documentation's pictures and tables: drawn from what is there, not by hand."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import illustrate
from errors import DataFormatError
from utils import PROJECT

ROOMS = illustrate.read_rooms((PROJECT / "CONTRIBUTING.md").read_text(encoding="utf-8"))


def share(count: int, of: int) -> dict[str, Any]:
    return {"count": count, "of": of, "value": count / of if of else None, "low": 0.9, "high": 1.0}


def evaluation(**sets: tuple[int, int]) -> dict[str, Any]:
    """Make what evaluate.py writes, for sets of (digits, non-digits): 9 of 10 right."""
    return {
        "model": {"name": "best", "architecture": "mlp", "version": "abc", "temperature": 1.0},
        "measured": "2026-05-04T03:02:01+00:00",
        "sets": {
            name.replace("__", ":"): {
                "digits": digits,
                "non_digits": others,
                "accuracy": share(digits * 9 // 10, digits),
                "calibration": {"error": 0.0123 if digits else None, "bins": []},
                "verdicts": {
                    "digits": {"ok": digits - 2, "unsure": 1, "not a digit": 1},
                    "non_digits": {"ok": 1, "unsure": 1, "not a digit": others - 2},
                },
            }
            for name, (digits, others) in sets.items()
        },
    }


# --- pictures -----------------------------------------------------------------------------------


def test_the_picture_of_the_floors_shows_every_file_once_and_the_doors_on_top() -> None:
    drawn = ET.fromstring(illustrate.draw_floors(ROOMS))

    places = {
        text.text or "": float(text.attrib["y"])
        for text in drawn.iter("{http://www.w3.org/2000/svg}text")
        if text.attrib["class"] == "name"
    }
    assert sorted(places) == sorted(room.name for room in ROOMS)
    assert places["app.py"] < places["predict.py"] < places["picture.py"] < places["errors.py"]


def test_no_room_lies_outside_the_picture_or_on_another() -> None:
    drawn = ET.fromstring(illustrate.draw_floors(ROOMS))
    wide, high = (float(number) for number in drawn.attrib["viewBox"].split()[2:])

    boxes = [
        tuple(float(rect.attrib[key]) for key in ("x", "y", "width", "height"))
        for rect in drawn.iter("{http://www.w3.org/2000/svg}rect")
        if rect.attrib["class"] == "room"
    ]

    for number, (x, y, width, height) in enumerate(boxes):
        assert x + width <= wide
        assert y + height <= high
        for x2, y2, width2, height2 in boxes[:number]:
            apart = x >= x2 + width2 or x2 >= x + width or y >= y2 + height2 or y2 >= y + height
            assert apart


def test_the_picture_of_the_floors_in_the_documentation_is_the_newest() -> None:
    kept = (PROJECT / "docs" / "pictures" / "floors.svg").read_text(encoding="utf-8")

    assert kept == illustrate.draw_floors(ROOMS), "draw it again: python illustrate.py"


def test_the_way_of_a_picture_names_files_that_are_there() -> None:
    drawn = ET.fromstring(illustrate.draw_way())

    names = [text.text for text in drawn.iter("{http://www.w3.org/2000/svg}text")]

    files = [name for name in names if name and name.endswith(".py")]
    assert len(files) == 10
    assert [name for name in files if not (PROJECT / name).is_file()] == []


def test_every_picture_of_the_documentation_is_drawn(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = illustrate.main(["--docs", str(tmp_path)])

    assert code == 0
    drawn = sorted((tmp_path / "pictures").iterdir())
    assert sorted(capsys.readouterr().out.splitlines()) == [str(path) for path in drawn]
    assert [path.name for path in drawn] == sorted(
        path.name for path in (PROJECT / "docs" / "pictures").iterdir()
    )
    for path in drawn:
        if path.suffix == ".png":
            assert Image.open(path).width > 400


# --- numbers ------------------------------------------------------------------------------------


def test_a_table_has_a_row_for_digits_and_one_for_what_is_none() -> None:
    kept = illustrate.keep_evaluation(evaluation(mnist__test=(1000, 0), mixed_bag=(50, 20)))

    table = illustrate.write_table(kept)

    assert (
        "| MNIST test, 1,000 | 90.00 % | 90.00 to 100.00 | 1.23 % | 0.10 % | 0.10 % |"
        in table.splitlines()
    )
    assert "| mixed bag, 50 | 90.00 % |" in table
    assert "| mixed bag, 20 that are no digits | | | | 5.00 % | 90.00 % |" in table.splitlines()
    assert table.endswith("`models/best.pth`, mlp, version `abc`; measured 2026-05-04.")


def test_several_pictures_of_a_digit_are_not_shown_as_so_many_digits() -> None:
    metrics = evaluation(views=(100, 0))
    metrics["sets"]["views"]["accuracy"]["independent"] = 50

    table = illustrate.write_table(illustrate.keep_evaluation(metrics))

    assert "| views, 100 pictures of 50 | 90.00 % |" in table


def test_a_set_is_named_without_its_place_on_the_disk() -> None:
    metrics = evaluation()
    metrics["sets"] = {"/somewhere/else/my_pictures.csv": evaluation(a=(10, 0))["sets"]["a"]}

    kept = illustrate.keep_evaluation(metrics)

    assert list(kept["sets"]) == ["my_pictures"]
    assert "| my pictures, 10 | 90.00 % |" in illustrate.write_table(kept)


def test_a_set_without_digits_has_no_row_of_digits() -> None:
    kept = illustrate.keep_evaluation(evaluation(none=(0, 24)))

    rows = illustrate.write_table(kept).splitlines()[2:-2]

    assert len(rows) == 1
    assert rows[0].startswith("| open pictures, 24 that are no digits |")


def test_of_the_forms_of_the_same_digits_the_hardest_is_told() -> None:
    metrics = evaluation(mnist__test=(1000, 0))
    forms = [("inverted", 99), ("enlarged", 97), ("JPEG", 98)]
    metrics["forms"] = {
        "source": "mnist:test",
        "rows": [{"form": form, "accuracy": share(right, 100)} for form, right in forms],
    }

    table = illustrate.write_table(illustrate.keep_evaluation(metrics))

    row = "| MNIST test, in the hardest of 3 forms (enlarged) | 97.00 % | 90.00 to 100.00 | | | |"
    assert row in table.splitlines()


def test_several_evaluations_of_a_model_become_one_table(tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    page = f"before\n{illustrate.MARK.format(edge='Begin')}\nold\n"
    page += f"{illustrate.MARK.format(edge='End')}\nafter\n"
    for path in (docs / "card.md", tmp_path / "README.md"):
        path.write_text(page, encoding="utf-8")
    (docs / "other.md").write_text("nothing to fill in\n", encoding="utf-8")
    files = []
    for name in ("first", "second"):
        files.append(str(tmp_path / f"{name}.json"))
        Path(files[-1]).write_text(json.dumps(evaluation(**{name: (10, 0)})), encoding="utf-8")

    code = illustrate.main(["--docs", str(docs), "--evaluation", *files])

    assert code == 0
    text = (docs / "card.md").read_text(encoding="utf-8")
    assert "| first, 10 |" in text
    assert "| second, 10 |" in text
    assert "old" not in text
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert (tmp_path / "README.md").read_text(encoding="utf-8") == text
    assert (docs / "other.md").read_text(encoding="utf-8") == "nothing to fill in\n"


@pytest.mark.parametrize(
    ("content", "hint"),
    [
        (None, "cannot read"),
        ("no json", "is not JSON"),
        ("[]", "not an evaluation"),
        ('{"model": {"name": "a"}}', "not an evaluation"),
    ],
)
def test_what_is_no_evaluation_is_refused_by_name(
    tmp_path: Path, content: str | None, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "metrics.json"
    if content is not None:
        path.write_text(content, encoding="utf-8")

    code = illustrate.main(["--docs", str(tmp_path), "--evaluation", str(path)])

    assert code == 1
    assert hint in capsys.readouterr().err
    assert not (tmp_path / illustrate.EVALUATION).exists()


def test_evaluations_of_two_models_are_not_mixed(tmp_path: Path) -> None:
    paths = [tmp_path / "a.json", tmp_path / "b.json"]
    other = evaluation(b=(10, 0))
    other["model"]["version"] = "another"
    for path, metrics in zip(paths, (evaluation(a=(10, 0)), other), strict=True):
        path.write_text(json.dumps(metrics), encoding="utf-8")

    with pytest.raises(DataFormatError, match="another model"):
        illustrate.read_evaluations(paths)


@pytest.mark.parametrize("page", ["", "{begin}", "{end}", "{begin}{begin}{end}"])
def test_a_page_without_both_marks_is_refused(page: str) -> None:
    marks = {edge.lower(): illustrate.MARK.format(edge=edge) for edge in ("Begin", "End")}

    with pytest.raises(DataFormatError, match="has to hold the marks"):
        illustrate.fill_in(page.format(**marks), "table")
