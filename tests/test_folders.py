from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from batch_sources import open_source
from tests.conftest import names, png


def test_a_folder_is_read_in_the_order_of_names_with_its_subfolders(tree):
    source = open_source(tree)

    items = list(source.read())

    assert names(items, tree) == ["a.png", "b.png", "12/z.png", "7/x.jpg", "7/deep/y.png"]
    assert source.count() == len(items) == 5
    assert [item.path for item in source.read()] == [item.path for item in items]


def test_subfolders_are_left_out_on_request(tree):
    items = list(open_source(tree, recursive=False).read())

    assert names(items, tree) == ["a.png", "b.png"]


def test_links_in_a_circle_are_harmless_and_each_folder_is_read_once(tree):
    (tree / "7" / "back").symlink_to(tree, target_is_directory=True)
    (tree / "again").symlink_to(tree / "12", target_is_directory=True)

    items = list(open_source(tree).read())

    assert len(items) == 5


def test_a_link_to_nowhere_is_an_input_with_a_reason(tree):
    (tree / "lost.png").symlink_to(tree / "gone.png")

    item = next(item for item in open_source(tree).read() if item.path.endswith("lost.png"))

    assert "leads nowhere" in item.problem


@pytest.mark.skipif(sys.platform == "win32", reason="needs named pipes")
def test_a_named_pipe_is_not_opened(tree):
    os.mkfifo(tree / "pipe.png")

    item = next(item for item in open_source(tree).read() if item.path.endswith("pipe.png"))

    assert "not a file" in item.problem


@pytest.mark.skipif(
    sys.platform == "win32" or os.geteuid() == 0, reason="root may list every folder"
)
def test_a_folder_that_may_not_be_listed_is_an_input_with_a_reason(tree):
    (tree / "12").chmod(0)

    items = list(open_source(tree).read())

    (tree / "12").chmod(0o755)
    assert [item.path for item in items if "cannot be listed" in item.problem] == [str(tree / "12")]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_a_name_that_is_not_unicode_is_shown_in_unicode_and_still_opened(tmp_path):
    Path(tmp_path, os.fsdecode(b"caf\xe9.png")).write_bytes(png())

    (item,) = open_source(tmp_path).read()

    assert item.path.encode("utf-8").endswith(rb"caf\udce9.png")
    assert item.file is not None
    assert Path(item.file).read_bytes() == png()


def test_a_glob_gives_what_matches_in_order(tree):
    items = list(open_source(str(tree / "**" / "*.png")).read())

    assert names(items, tree) == ["12/z.png", "7/deep/y.png", "a.png", "b.png"]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("**/*.png", ["12/z.png", "7/deep/y.png", "a.png", "b.png"]),
        ("**", ["12/z.png", "7/deep/y.png", "7/x.jpg", "a.png", "b.png"]),
        ("7/**/y.png", ["7/deep/y.png"]),
        ("**/deep/**/*", ["7/deep/y.png"]),
        ("*/**/**/*.png", ["12/z.png", "7/deep/y.png"]),
        ("nothing/**", []),
    ],
)
def test_two_stars_stand_for_any_number_of_folders(tree, monkeypatch, pattern, expected):
    (tree / ".hidden").mkdir()
    (tree / ".hidden" / "h.png").write_bytes(png())

    absolute = open_source(str(tree / pattern))
    monkeypatch.chdir(tree)
    relative = list(open_source(pattern).read())

    assert names(list(absolute.read()), tree) == expected
    assert [Path(item.path).as_posix() for item in relative] == expected


def test_two_stars_go_round_no_circle_and_follow_other_links(tree):
    """With one link that led back each picture was read 41 times; with two there was no end."""
    for name in ("up", "again"):
        (tree / "7" / name).symlink_to(tree, target_is_directory=True)
    (tree.parent / "elsewhere").mkdir()
    (tree.parent / "elsewhere" / "e.png").write_bytes(png())
    (tree / "link").symlink_to(tree.parent / "elsewhere", target_is_directory=True)

    source = open_source(str(tree / "**" / "*.png"))
    items = list(source.read())

    assert names(items, tree) == ["12/z.png", "7/deep/y.png", "a.png", "b.png", "link/e.png"]
    assert source.count() == 5
