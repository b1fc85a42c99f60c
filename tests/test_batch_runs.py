from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from batch_runs import Run, find_run, make_run, write_settings
from errors import OutputError


def test_the_last_run_of_the_same_source_is_found(tmp_path):
    runs = [make_run(tmp_path, source) for source in ("a", "a", "b")]
    for run, source in zip(runs, ("a", "a", "b"), strict=True):
        run.save_config({"source": source, "numbers": False})

    found = find_run(tmp_path, {"source": "a", "numbers": False})

    assert found is not None
    assert found.name == runs[1].name
    assert found.read_config()["source"] == "a"
    assert find_run(tmp_path, {"source": "a", "numbers": True}) is None


def make_named(output: Path, name: str, begun: str | None) -> Run:
    """Make a run as another time, or another version, would have done."""
    run = Run(name, output)
    run.rows.parent.mkdir(parents=True)
    settings = {"source": "a"} if begun is None else {"source": "a", "begun": begun}
    write_settings(run.config, settings)
    return run


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        pytest.param(
            ("2026-10-25_02-50-00_a", "2026-10-25T00:50:00+00:00"),
            ("2026-10-25_02-10-00_a", "2026-10-25T01:10:00+00:00"),
            id="the end of summer time",
        ),
        pytest.param(
            ("2026-03-01_20-00-00_a", None), ("2026-03-02_08-00-00_a", None), id="an older version"
        ),
        pytest.param(
            ("2026-03-01_20-00-00_a", None),
            ("2026-01-01_00-00-00_a", "2026-06-01T00:00:00+00:00"),
            id="an older version, and a clock that was wrong",
        ),
        pytest.param(("renamed", "some day"), ("2026-03-01_20-00-00_a", None), id="no time at all"),
    ],
)
def test_the_run_begun_last_is_found_whatever_its_name_says(tmp_path, earlier, later):
    """Names are in local time: after a journey west --resume took the run of the day before."""
    make_named(tmp_path, *earlier)
    last = make_named(tmp_path, *later)

    assert find_run(tmp_path, {"source": "a"}) == last


def test_a_run_that_goes_on_keeps_the_time_when_it_was_begun(tmp_path):
    run = make_named(tmp_path, "2026-10-25_02-10-00_a", "2026-10-25T01:10:00+00:00")

    run.save_config({"source": "a"})

    assert run.read_config()["begun"] == "2026-10-25T01:10:00+00:00"


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff"])
def test_a_run_with_damaged_settings_does_not_keep_others_from_being_found(
    tmp_path, content, caplog
):
    """An empty config.json in the folder of any run ended every --resume with a traceback."""
    caplog.set_level(logging.WARNING)
    run = make_run(tmp_path, "whole")
    run.save_config({"source": "a"})
    damaged = make_run(tmp_path, "x-damaged")
    damaged.config.write_bytes(content)

    assert find_run(tmp_path, {"source": "a"}) == run

    assert str(damaged.config) in caplog.text


def test_settings_are_kept_as_json(tmp_path):
    run = make_run(tmp_path, "a")

    run.save_config({"source": "a", "numbers": True})

    kept = json.loads(run.config.read_text(encoding="utf-8"))
    assert kept.pop("begun").endswith("+00:00")
    assert kept == {"source": "a", "numbers": True}


@pytest.mark.parametrize("title", ["x" * 240, "七" * 80, "é" * 120])
def test_a_run_of_a_source_with_a_long_name_has_its_beginning(tmp_path, title):
    """The time before a name of 240 bytes made it too long for the file system."""
    first, second = (make_run(tmp_path, title) for _ in range(2))

    assert first.reports.is_dir()
    assert second.rows.parent.is_dir()
    assert title[:30] in first.name
    assert len(first.name.encode()) < 143


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    Path(tmp_path / "file").write_text("in the way", encoding="utf-8")

    with pytest.raises(OutputError, match="choose another with --output"):
        make_run(tmp_path / "file", "a")


def test_a_diary_that_cannot_be_opened_is_named(tmp_path):
    run = make_run(tmp_path, "a")
    (run.rows.parent / "run.log").mkdir()

    with pytest.raises(OutputError, match=r"run\.log: .*allow writing"), run.keep_diary():
        pass


def test_a_diary_without_room_says_so_once_and_stops_nothing(tmp_path, full_disk, capsys, caplog):
    """Each of its lines was a traceback on the terminal, and its end could be one, too."""
    run = make_run(tmp_path, "a")

    with full_disk(), run.keep_diary() as diary:
        for number in range(100):
            diary.info("%d.png: the file is empty; save or copy it again", number)

    assert capsys.readouterr().err == ""
    (warning,) = [each.getMessage() for each in caplog.records if each.levelname == "WARNING"]
    assert "run.log is not complete: " in warning
