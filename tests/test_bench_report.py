import pytest

from bench_report import BEGIN, END, compare, draw_curves, fill_in, to_markdown
from errors import DataFormatError
from timing import Goal, Table

CONDITIONS = {"cores": 2, "busy cores at start": 0.1, "torch": "2.12.1"}


def make_table(name, ratio, *, seconds=1.0, goals=(), x="", **conditions):
    rows = {"1": {"seconds": seconds, "this / floor": ratio}}
    return Table(name, "seconds", rows, {**CONDITIONS, **conditions}, goals=goals, x=x)


@pytest.mark.parametrize(
    ("before", "after", "change", "mark"),
    [(2.0, 1.5, "0.750", "+"), (2.0, 3.0, "1.500", "<-"), (2.0, 2.05, "1.025", "")],
)
def test_two_runs_are_compared_by_their_ratios(before, after, change, mark):
    text = compare({"t": make_table("t", before)}, {"t": make_table("t", after, seconds=99.0)})

    line = next(line for line in text.splitlines() if "this / floor" in line)
    assert line.split("this / floor")[1].split() == [f"{before:.3g}", f"{after:.3g}", change] + (
        [mark] if mark else []
    )
    assert "99" not in text


def test_a_ratio_that_shall_be_large_is_better_when_it_grows():
    old, new = (
        {"t": Table("t", "s", {"ours": {"naive / this": ratio}}, CONDITIONS)}
        for ratio in (2.0, 4.0)
    )

    assert compare(old, new).splitlines()[1].endswith("+")
    assert compare(new, old).splitlines()[1].endswith("<-")


def test_what_only_one_side_has_is_named():
    text = compare({"old": make_table("old", 1.0)}, {"new": make_table("new", 1.0)})

    assert "only in A: old" in text
    assert "only in B: new" in text


def test_the_report_begins_with_the_goals_and_ends_with_the_conditions():
    goals = [Goal("start", 1.1, 1.3), Goal("training", 50.0, 45, "s")]
    tables = {"a": make_table("a", 1.5, goals=goals), "b": make_table("b", 2.5, rounds=7)}

    text = to_markdown(tables)

    lines = text.splitlines()
    assert lines[2] == "| a | start | at most 1.3 | 1.1 | met |"
    assert lines[3] == "| a | training | at most 45 s | 50 s | **missed** |"
    assert "| 1 | 1 | 2.5 |" in lines
    assert lines[-2] == "Conditions: cores 2, busy cores at start 0.1, torch 2.12.1."
    assert lines[-1] == "b: rounds 7."


def test_the_report_says_which_table_was_made_on_a_busy_machine():
    quiet, busy = make_table("a", 1.0), make_table("b", 1.0, **{"busy cores at start": 1.9})

    text = to_markdown({"a": quiet, "b": busy})

    assert "b: busy cores at start 1.9 (the machine was busy)." in text


def test_curves_are_drawn_for_tables_that_have_an_axis(tmp_path):
    paths = draw_curves([make_table("plain", 1.0), make_table("curve", 1.0, x="threads")], tmp_path)

    assert paths == [tmp_path / "curve.png"]
    assert paths[0].read_bytes().startswith(b"\x89PNG")


def test_goals_and_curves_are_written_between_the_marks_of_a_file(tmp_path):
    path = tmp_path / "README.md"
    path.write_text(f"# Title\n\n{BEGIN}\nold\n{END}\n\nrest\n")
    tables = {"curve": make_table("curve", 1.0, goals=[Goal("start", 1.1, 1.3)], x="threads")}

    fill_in(path, tables)
    fill_in(path, tables)  # a second time changes nothing

    text = path.read_text()
    assert "old" not in text
    assert "| curve | start | at most 1.3 | 1.1 | met |" in text
    assert "![curve](docs/curves/curve.png)" in text
    assert text.startswith(f"# Title\n\n{BEGIN}\n")
    assert text.endswith(f"\n{END}\n\nrest\n")
    assert text.count("Conditions:") == 1
    assert (tmp_path / "docs" / "curves" / "curve.png").is_file()


@pytest.mark.parametrize("text", ["no marks", f"{END} {BEGIN}"])
def test_a_file_without_the_marks_is_refused_and_stays(tmp_path, text):
    path = tmp_path / "README.md"
    path.write_text(text)

    with pytest.raises(DataFormatError, match="has to hold the marks"):
        fill_in(path, {"a": make_table("a", 1.0)})

    assert path.read_text() == text
