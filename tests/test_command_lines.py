"""What all command lines have in common: help for every flag, examples that are accepted."""

from __future__ import annotations

import argparse
import importlib
import re
import shlex

import pytest

from utils import PROJECT, HelpFormatter

PROGRAMS = sorted(
    path.stem
    for path in PROJECT.glob("*.py")
    if "def build_parser(" in path.read_text(encoding="utf-8")
)


def _build_parser(stem: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = importlib.import_module(stem).build_parser()
    return parser


def _all_parsers(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    """Return a parser and those of its sub-commands."""
    parsers = [parser]
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for child in action.choices.values():
                parsers += _all_parsers(child)
    return parsers


def test_the_programs_are_found() -> None:
    assert {"model", "predict", "train", "batch_processor", "app"} <= set(PROGRAMS)


@pytest.mark.parametrize("stem", PROGRAMS)
def test_help_is_printed_with_exit_code_0(stem: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        importlib.import_module(stem).main(["--help"])

    assert stop.value.code == 0
    assert "usage:" in capsys.readouterr().out


@pytest.mark.parametrize("stem", PROGRAMS)
def test_every_flag_says_what_it_does(stem: str) -> None:
    parsers = _all_parsers(_build_parser(stem))

    mute = [
        action.option_strings or action.dest
        for parser in parsers
        for action in parser._actions
        if not action.help and not isinstance(action, argparse._SubParsersAction)
    ]

    assert mute == []
    assert all(parser.description for parser in parsers)


@pytest.mark.parametrize("stem", PROGRAMS)
def test_no_line_of_the_help_shows_a_default_that_says_nothing_or_two(
    stem: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--no-recursive (default: True)` said the opposite, and `--workers` had two defaults."""
    monkeypatch.setenv("COLUMNS", "1000")  # each flag in one line
    commands: list[list[str]] = [[]]
    for action in _build_parser(stem)._actions:
        if isinstance(action, argparse._SubParsersAction):
            commands += [[name] for name in action.choices]

    for command in commands:
        with pytest.raises(SystemExit):  # by main, where train.py puts a recipe's values
            importlib.import_module(stem).main([*command, "--help"])

    flags = capsys.readouterr().out
    assert [line for line in flags.splitlines() if line.count("default:") > 1] == []
    assert re.findall(r".*(?:default: |; )(?:None|True|False|\[|\(|\)).*", flags) == []


@pytest.mark.parametrize("stem", PROGRAMS)
def test_every_help_text_shows_the_defaults(stem: str) -> None:
    plain = [
        parser.prog
        for parser in _all_parsers(_build_parser(stem))  # of which each has --help
        if len(parser._actions) > 1 and parser.formatter_class is not HelpFormatter
    ]

    assert plain == []


@pytest.mark.parametrize("stem", PROGRAMS)
def test_wrong_usage_ends_with_exit_code_2_and_the_usage(
    stem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        importlib.import_module(stem).main(["--no-such-flag"])

    assert stop.value.code == 2
    printed = capsys.readouterr()
    assert "usage:" in printed.err
    assert printed.out == ""


@pytest.mark.parametrize("stem", PROGRAMS)
def test_the_examples_in_the_help_and_in_the_file_are_accepted(stem: str) -> None:
    parser = _build_parser(stem)
    texts = [p.epilog or "" for p in _all_parsers(parser)]
    texts.append(importlib.import_module(stem).__doc__ or "")

    examples = re.findall(rf"python {stem}\.py(.*)$", "\n".join(texts), re.MULTILINE)

    assert examples or not parser.epilog
    for example in examples:
        example = re.split(r"\s{3,}|[|>;]", example)[0]  # an explanation, or another command
        words = shlex.split(example, comments=True)
        parser.parse_args(words)  # stops the test with a message if it takes offence
