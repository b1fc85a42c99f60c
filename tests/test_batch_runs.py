from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from batch_runs import find_run, make_run
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

    assert json.loads(run.config.read_text(encoding="utf-8")) == {"source": "a", "numbers": True}


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
