"""Shared tools: seeds, devices, atomic writing, help texts, logging."""

from __future__ import annotations

import argparse
import io
import logging
import os
import random
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from errors import BusyError, DigitError, ModelNotFoundError, OutputError, SettingsError
from utils import (
    MAX_SEED,
    PROJECT,
    HelpFormatter,
    atomic_write,
    check_crowd,
    check_name,
    check_writable,
    count_processors,
    find_unfinished,
    hold_lock,
    one_line,
    pick_device,
    report_errors,
    set_seed,
    set_up_logging,
    shorten_path,
)


def test_the_project_folder_is_where_the_files_are() -> None:
    assert (PROJECT / "utils.py").is_file()


# --- seeds ------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 42, MAX_SEED])
def test_one_seed_repeats_the_numbers_of_all_three_libraries(seed: int) -> None:
    draws = []
    for _ in range(2):
        set_seed(seed)
        old_numpy = np.random.rand()  # noqa: NPY002 - what set_seed has to reach
        draws.append((random.random(), old_numpy, torch.rand(1).item()))

    assert draws[0] == draws[1]


@pytest.mark.parametrize("seed", [-1, MAX_SEED + 1])
def test_a_seed_out_of_range_is_refused_with_the_range(seed: int) -> None:
    with pytest.raises(SettingsError, match=f"{seed} is out of range.*0 to {MAX_SEED}"):
        set_seed(seed)


# --- devices ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cuda", "mps", "expected"),
    [(True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")],
)
def test_the_best_device_is_picked(
    monkeypatch: pytest.MonkeyPatch, cuda: bool, mps: bool, expected: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)

    assert pick_device().type == expected


def test_a_device_is_taken_by_name() -> None:
    assert pick_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("name", ["gpu", "", "cuda:99", "cpu:x", "meta"])
def test_a_device_that_is_not_there_is_refused_with_advice(name: str) -> None:
    with pytest.raises(SettingsError, match="choose 'auto' or 'cpu'") as caught:
        pick_device(name)

    assert repr(name) in str(caught.value)


# --- numbers and names ------------------------------------------------------------------------


@pytest.mark.parametrize("count", [-1, 16 * count_processors() + 1, 100_000])
def test_a_crowd_that_no_machine_can_use_is_refused_with_what_is_possible(count: int) -> None:
    """train.py --threads 100000 started 32,000 of them."""
    with pytest.raises(SettingsError, match=rf"--threads {count} .*choose 0 to"):
        check_crowd("--threads", count)


@pytest.mark.parametrize("count", [0, 1, 16])
def test_a_crowd_may_be_larger_than_the_machine_has_processors(count: int) -> None:
    check_crowd("--threads", count)


@pytest.mark.parametrize("text", ["", " ", ".", "..", "../x", "a/b", "/x", "x/", "a\\b"])
def test_what_is_a_path_or_nothing_is_refused_as_a_name(text: str) -> None:
    """--run ../x wrote beside the folder of all runs."""
    with pytest.raises(SettingsError, match=r"--run .*give a name"):
        check_name("--run", text)


@pytest.mark.parametrize("text", ["first", "2026.11 a", "..a"])
def test_other_names_are_taken(text: str) -> None:
    check_name("--run", text)


# --- atomic writing ---------------------------------------------------------------------------


def test_a_folder_that_could_be_written_is_left_as_it_is(tmp_path: Path) -> None:
    check_writable(tmp_path / "new" / "run", purpose="where it goes", advice="do without")

    assert not list(tmp_path.iterdir())


def test_a_folder_that_could_not_be_written_is_named_with_its_purpose(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(OutputError, match=r"file.run, where it goes \(.*, or do without"):
        check_writable(tmp_path / "file" / "run", purpose="where it goes", advice="do without")


def test_a_file_is_written_into_a_new_folder(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "down" / "result.csv"

    with atomic_write(path) as temporary:
        temporary.write_text("a,b")

    assert path.read_text() == "a,b"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("name", ["result.csv", "result [1].csv", "result"])
def test_what_a_killed_process_was_writing_is_found_and_no_other_file(
    tmp_path: Path, name: str
) -> None:
    path = tmp_path / name
    for other in (name, f".{name}", ".result-mine.csv", ".result-0123abcd.json"):
        (tmp_path / other).touch()

    with atomic_write(path) as temporary:
        assert find_unfinished(path) == [temporary]

    assert find_unfinished(path) == []


@pytest.mark.skipif(os.name != "posix", reason="other systems have no umask")
@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_a_file_can_be_read_by_those_whom_the_umask_lets(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        with atomic_write(tmp_path / "result.csv") as temporary:
            temporary.write_text("a,b")
    finally:
        os.umask(before)

    assert stat.S_IMODE((tmp_path / "result.csv").stat().st_mode) == 0o666 & ~mask


def test_until_the_block_ends_a_reader_sees_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "result.csv"
    path.write_text("old")

    with atomic_write(path) as temporary:
        temporary.write_text("new")
        seen = path.read_text()

    assert temporary.suffix == ".csv"
    assert (seen, path.read_text()) == ("old", "new")


@pytest.mark.parametrize("error", [ValueError("ours"), KeyboardInterrupt()])
def test_after_a_failure_the_old_file_stands_and_nothing_is_left_over(
    tmp_path: Path, error: BaseException
) -> None:
    path = tmp_path / "result.csv"
    path.write_text("old")

    def write_half() -> None:
        with atomic_write(path) as temporary:
            temporary.write_text("half of the n")
            raise error

    with pytest.raises(type(error)):
        write_half()

    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_reported_with_the_files_name(tmp_path: Path) -> None:
    path = tmp_path / "result.csv"
    path.write_text("old")

    with pytest.raises(OutputError, match=r"result\.csv: No space left"), atomic_write(path):
        raise OSError(28, "No space left on device")

    assert path.read_text() == "old"


@pytest.mark.parametrize(
    "error", [ModelNotFoundError("no model 'foo'"), OutputError("cannot write other.csv: no room")]
)
def test_an_error_of_ours_says_itself_what_was_wrong(tmp_path: Path, error: DigitError) -> None:
    """Some are an OSError as well, and were called a failure to write the file."""
    path = tmp_path / "result.csv"

    with pytest.raises(type(error)) as caught, atomic_write(path):
        raise error

    assert caught.value is error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("names", "hint"),
    [
        ((), "result.csv: no room"),
        (("/a/source.png",), "result.csv: /a/source.png: no room"),
        ((b"/a/source.png",), "result.csv: /a/source.png: no room"),
        (("OWN",), "result.csv: no room"),
        (("/a/source.png", None, "OWN"), "result.csv: no room"),  # copying to a full disk
        (("/a/one", None, "/a/two"), "result.csv: /a/one, /a/two: no room"),
        ((7,), "result.csv: no room"),  # an open file by its number
    ],
)
def test_the_file_that_failed_is_named(tmp_path: Path, names: tuple[Any, ...], hint: str) -> None:
    with pytest.raises(OutputError) as caught, atomic_write(tmp_path / "result.csv") as temporary:
        raise OSError(5, "no room", *(str(temporary) if each == "OWN" else each for each in names))

    assert str(caught.value) == f"cannot write {tmp_path / hint}"


@pytest.mark.parametrize("name", ["file/result.csv", "folder"])
def test_a_place_that_cannot_be_written_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "folder" / "full").mkdir(parents=True)

    with pytest.raises(OutputError, match=name), atomic_write(tmp_path / name) as temporary:
        temporary.write_text("x")


# --- command lines ----------------------------------------------------------------------------


def test_only_one_at_a_time_holds_a_lock_and_its_end_opens_it(tmp_path: Path) -> None:
    path = tmp_path / "new" / ".lock"

    def fail() -> None:
        with hold_lock(path, busy="wait"):
            raise ValueError("inside")

    with pytest.raises(ValueError, match="inside"):
        fail()

    with hold_lock(path, busy="wait"):
        assert path.exists()
        with pytest.raises(BusyError, match="wait"), hold_lock(path, busy="wait"):
            pytest.fail("two hold it")


def test_a_lock_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(OutputError, match="file"), hold_lock(tmp_path / "file" / ".lock", busy=""):
        pytest.fail("locked")


def test_help_shows_defaults_and_keeps_the_lines_of_the_examples() -> None:
    parser = argparse.ArgumentParser(
        epilog="examples:\n  python a.py\n  python b.py", formatter_class=HelpFormatter
    )
    parser.add_argument("--top", type=int, default=3, help="guesses to print")
    parser.add_argument("--format", nargs="+", default=["csv", "5 %"], help="files to write")
    parser.add_argument("--test", action=argparse.BooleanOptionalAction, help="look at the test")
    parser.set_defaults(test=True)  # as a recipe of train.py does

    text = parser.format_help()

    assert "guesses to print (default: 3)" in text
    assert "files to write (default: csv 5 %)" in text
    assert "look at the test (default: on)" in text
    assert "\n  python a.py\n  python b.py\n" in text


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("--json", {"action": "store_true"}),
        ("--no-recursive", {"action": "store_false", "dest": "recursive"}),
        ("--run", {}),
        ("--rate", {"default": ""}),
        ("--host", {"action": "append", "default": []}),
        ("pictures", {"nargs": "*", "default": ()}),
        ("--workers", {"default": 0, "help": "processes (default: one for each processor)"}),
    ],
)
def test_help_shows_no_default_where_it_would_say_nothing_or_the_opposite(
    name: str, options: dict[str, Any]
) -> None:
    parser = argparse.ArgumentParser(formatter_class=HelpFormatter)
    parser.add_argument(name, **{"help": "what it does"} | options)

    text = parser.format_help()

    assert text.count("default") == options.get("help", "").count("default")


@pytest.mark.parametrize(
    ("error", "code"), [(SettingsError("no such flag"), 2), (ModelNotFoundError("no model"), 1)]
)
def test_an_error_of_ours_becomes_one_line_and_an_exit_code(
    error: DigitError, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    @report_errors
    def main(argv: list[str]) -> int:
        raise error

    assert main([]) == code
    assert capsys.readouterr() == ("", f"error: {error}\n")


SHOW = """
import sys
from utils import report_errors

@report_errors
def main():
    {0}
    return 0

sys.exit(main())
"""


def show(line: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a command of one line, whose results go wherever the options say."""
    command = [sys.executable, "-c", SHOW.format(line)]
    return subprocess.run(command, cwd=PROJECT, stderr=subprocess.PIPE, text=True, **options)


@pytest.mark.parametrize(
    ("line", "unbuffered", "code"),
    [
        ("print('seven.png 7')", "", 0),
        ("print('seven.png 7'); return 1", "", 1),
        ("print('usage'); sys.exit(2)", "", 2),
        ("print('seven.png 7')", "1", 141),
        ("print('seven.png 7\\n' * 100_000)", "", 141),
        ("print('seven.png 7\\n' * 100_000)", "1", 141),
    ],
)
def test_a_command_is_silent_where_nobody_reads_on_and_its_code_tells_how_far_it_came(
    line: str, unbuffered: str, code: int
) -> None:
    """`predict.py *.png | head -1` ended with a traceback, or with a warning of Python's."""
    reader, writer = os.pipe()
    os.close(reader)
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}

    done = show(line, stdout=writer, env=environment)

    os.close(writer)
    assert (done.returncode, done.stderr) == (code, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a disk that is always full")
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(
    "line", ["print('7\\n')", "print('7\\n' * 100_000)", "print('usage'); sys.exit(0)"]
)
def test_results_that_find_no_room_are_an_error_of_one_line(line: str, unbuffered: str) -> None:
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}

    with open("/dev/full", "w") as full:  # noqa: PTH123 - Path is for files
        done = show(line, stdout=full, env=environment)

    assert (done.returncode, done.stderr) == (
        1,
        "error: cannot write to stdout: No space left on device\n",
    )


@pytest.mark.parametrize(
    "error",
    [
        "BrokenPipeError('worker')",
        "BrokenPipeError(32, 'Broken pipe')",
        "FileNotFoundError(2, 'No such file', '/no/such/file')",
        "OSError(28, 'No space left on device', '/full/disk')",
        "ConnectionResetError(104, 'Connection reset by peer')",
    ],
)
def test_what_is_wrong_elsewhere_is_not_taken_for_a_fault_of_stdout(error: str) -> None:
    """To find out, an empty line was written, which whoever read the results got to see."""
    done = show(f"print('seven.png 7'); raise {error}", stdout=subprocess.PIPE)

    assert done.stdout == "seven.png 7\n"
    assert "Traceback" in done.stderr


def test_ctrl_c_ends_a_command_with_one_line() -> None:
    done = show("raise KeyboardInterrupt", stdout=subprocess.PIPE)

    assert (done.returncode, done.stderr) == (130, "Stopped.\n")


@pytest.mark.parametrize("coding", ["ascii", "utf-8"])
def test_a_name_that_cannot_be_shown_is_shown_with_backslashes(coding: str) -> None:
    """One picture with such a name, and the answers of all others were lost."""
    environment = {**os.environ, "PYTHONIOENCODING": coding}

    done = show("print('\\udce9\\u0667.png')", stdout=subprocess.PIPE, env=environment)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("\\udce9")


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("7.png", "7.png"),
        ("sept é ７ ٧ \u3000🙂.png", "sept é ７ ٧ \u3000🙂.png"),
        ("new\nline\r\t.png", r"new\nline\r\t.png"),
        ("\x1b[31mred\x7f\x9b.png", r"\x1b[31mred\x7f\x9b.png"),
        ("a\u2028b\u2029c.png", r"a\u2028b\u2029c.png"),
        ("gnp.\u202e7\u2067", r"gnp.\u202e7\u2067"),
        (os.fsdecode(b"bad\xff.png"), r"bad\udcff.png"),
        (Path("a") / "b\n.png", os.path.join("a", r"b\n.png")),  # noqa: PTH118
    ],
)
def test_a_name_is_shown_in_one_line_whatever_is_in_it(name: str | Path, shown: str) -> None:
    assert one_line(name) == shown


def test_an_error_is_one_line_whatever_name_it_holds(capsys: pytest.CaptureFixture[str]) -> None:
    @report_errors
    def main(argv: list[str]) -> int:
        raise SettingsError("new\nline.png: no such file")

    main([])

    assert capsys.readouterr().err == "error: new\\nline.png: no such file\n"


def test_any_other_error_keeps_its_traceback() -> None:
    @report_errors
    def main(argv: list[str]) -> int:
        return 1 // len(argv)

    assert main(["word"]) == 1
    with pytest.raises(ZeroDivisionError):
        main([])


def test_a_path_is_shown_from_the_current_folder_if_it_lies_below(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    assert shorten_path(tmp_path / "outputs" / "one") == Path("outputs/one")
    assert shorten_path(tmp_path.parent) == tmp_path.parent


@pytest.mark.parametrize(("verbose", "level"), [(False, logging.INFO), (True, logging.DEBUG)])
def test_log_lines_go_to_stderr(monkeypatch: pytest.MonkeyPatch, verbose: bool, level: int) -> None:
    root = logging.RootLogger(logging.WARNING)
    monkeypatch.setattr(logging, "root", root)

    set_up_logging(verbose=verbose)

    assert root.level == level
    assert [getattr(handler, "stream", None) for handler in root.handlers] == [sys.stderr]


def test_a_broken_pipe_of_another_is_told_where_stdout_is_kept_in_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    @report_errors
    def main() -> int:
        raise BrokenPipeError("worker")

    monkeypatch.setattr(sys, "stdout", io.StringIO())

    with pytest.raises(BrokenPipeError, match="worker"):
        main()
