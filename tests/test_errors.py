"""The family of errors: one base, and the built-in errors that callers already catch."""

from __future__ import annotations

import ast
import inspect
import pickle
import re
from pathlib import Path

import pytest

import errors
from errors import THE_PICTURE, BlankImageError, DigitError, ImageError
from utils import PROJECT

FAMILY = [
    member
    for member in vars(errors).values()
    if inspect.isclass(member) and issubclass(member, BaseException)
]


@pytest.mark.parametrize("error", FAMILY)
def test_every_error_has_one_base_and_a_way_out_of_each_door(error: type[DigitError]) -> None:
    assert issubclass(error, DigitError)
    assert error.exit_code in {1, 2}  # 0 would say that all went well
    assert 400 <= error.http_status < 600
    assert error.__doc__


@pytest.mark.parametrize("error", [error for error in FAMILY if error is not DigitError])
def test_every_error_says_which_builtin_it_also_is(error: type[DigitError]) -> None:
    """A caller who has not read the code would otherwise not know what to catch."""
    own = [base for base in error.__bases__ if base.__module__ == "builtins"]
    inherited = [kind for kind in error.__mro__ if kind.__module__ == "builtins"]
    expected = (own or inherited)[0]

    assert re.findall(r"\bAlso an? `(\w+)`\.", error.__doc__ or "") == [expected.__name__]


@pytest.mark.parametrize(
    ("name", "builtin"),
    [
        ("ImageError", ValueError),
        ("ImageNotFoundError", FileNotFoundError),
        ("ImageTooLargeError", ValueError),
        ("BlankImageError", ValueError),
        ("ModelNotFoundError", FileNotFoundError),
        ("CheckpointError", ValueError),
        ("DataNotFoundError", FileNotFoundError),
        ("SettingsError", ValueError),
        ("DivergenceError", ArithmeticError),
        ("OutputError", OSError),
        ("AccessError", PermissionError),
        ("BusyError", RuntimeError),
        ("OvertakenError", RuntimeError),
        ("WorkerError", RuntimeError),
        ("AddressError", OSError),
    ],
)
def test_an_error_is_also_the_builtin_that_callers_expect(
    name: str, builtin: type[Exception]
) -> None:
    error = getattr(errors, name)("what was wrong; what to do")

    assert isinstance(error, builtin)
    assert str(error) == "what was wrong; what to do"  # OSError would format two arguments


PICTURE_ERRORS = [kind for kind in FAMILY if issubclass(kind, ImageError)]


@pytest.mark.parametrize(
    "error",
    [
        *(kind("what was wrong; what to do") for kind in FAMILY),
        *(kind("what was wrong; what to do", "a folder/7.png") for kind in PICTURE_ERRORS),
        BlankImageError(),
    ],
    ids=repr,
)
def test_an_error_comes_out_of_another_process_as_it_was(error: DigitError) -> None:
    """A class whose attributes were no arguments of it could be sent, but not be received."""
    received = pickle.loads(pickle.dumps(error))

    assert type(received) is type(error)
    assert (str(received), vars(received)) == (str(error), vars(error))


@pytest.mark.parametrize("kind", PICTURE_ERRORS)
def test_an_error_about_a_picture_says_of_which_and_can_be_told_of_another(
    kind: type[ImageError],
) -> None:
    error = kind("not a picture: save it as PNG", "a: 7.png")
    other, sentence = error.about("image"), error.about("")

    assert str(error) == "a: 7.png: not a picture: save it as PNG"
    assert (type(other), str(other)) == (kind, "image: not a picture: save it as PNG")
    assert (type(sentence), str(sentence)) == (kind, "not a picture: save it as PNG")


def find_hidden_subjects(source: str) -> list[int]:
    """List the lines in which an error about a picture gets its subject as a part of its reason."""
    lines = []
    for call in ast.walk(ast.parse(source)):
        if not (isinstance(call, ast.Call) and call.args):
            continue
        if ast.unparse(call.func).split(".")[-1] not in {kind.__name__ for kind in PICTURE_ERRORS}:
            continue
        reason = call.args[0]
        pieces = reason.values if isinstance(reason, ast.JoinedStr) else [reason]
        # What is put in first stands for a name, if it is followed by a colon.
        start = "".join(
            str(each.value) if isinstance(each, ast.Constant) else "{}" for each in pieces
        )
        if start.startswith(("{}: ", f"{THE_PICTURE}: ")):
            lines.append(call.lineno)
    return lines


@pytest.mark.parametrize("path", sorted(PROJECT.glob("*.py")), ids=lambda path: path.name)
def test_no_error_about_a_picture_hides_its_subject_in_the_text(path: Path) -> None:
    """Whoever calls the picture otherwise, as the API and the page do, had to cut the text."""
    assert find_hidden_subjects(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("call", "hides"),
    [
        ("ImageError(f'{name}: the file is empty')", True),
        ("errors.ImageTooLargeError(f'{path}: {count} bytes')", True),
        ("ImageError('the picture: takes too long')", True),
        ("ImageError(f'the picture: {reason}')", True),
        ("ImageError('the file is empty', name)", False),
        ("ImageError(f'{name} arrived damaged: try again')", False),
        ("BlankImageError('the picture is blank: write something')", False),
        ("DataFormatError(f'{path}: holds no rows')", False),
    ],
)
def test_the_check_sees_every_way_to_hide_a_subject(call: str, hides: bool) -> None:
    assert bool(find_hidden_subjects(f"raise {call}")) == hides


def test_what_a_public_function_raises_by_hand_belongs_to_the_family() -> None:
    """A bare ValueError would reach the user as a traceback instead of one clear line.

    A private helper may raise a built-in error for its caller to turn into one of ours; argparse
    turns its own error into a line and exit code 2; gr.Error is a message on the page; an
    AssertionError is our own mistake.
    """
    allowed = {error.__name__ for error in FAMILY}
    allowed |= {"ArgumentTypeError", "AssertionError", "Error"}
    strangers, seen = [], 0
    for path in sorted(PROJECT.glob("*.py")):
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(function, ast.FunctionDef) or function.name.startswith("_"):
                continue
            for node in ast.walk(function):
                if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
                    seen += 1
                    name = ast.unparse(node.exc.func).split(".")[-1]
                    if name.endswith("Error") and name not in allowed:
                        strangers.append(f"{path.name}:{node.lineno} raises {name}")

    assert strangers == []
    assert seen > 10


def test_nobody_raises_the_base_of_the_family() -> None:
    """It says nothing to programs, and the API answered our own faults with 400: "your request"."""
    raised = [
        f"{path.name}:{node.lineno}"
        for path in sorted(PROJECT.glob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, (ast.Call, ast.Raise))
        and ast.unparse(node.func if isinstance(node, ast.Call) else node.exc or node)
        in {"DigitError", "errors.DigitError"}
    ]

    assert raised == []


# What the page does with an error that it has caught: tell it, or name it as the cause of another.
DOORS = [*sorted(PROJECT.glob("tab_*.py")), PROJECT / "endpoints.py"]


def find_own_words(source: str) -> list[int]:
    """List the lines in which an error of ours that was caught is put into words."""
    lines = []
    for handler in ast.walk(ast.parse(source)):
        if not isinstance(handler, ast.ExceptHandler) or "DigitError" not in ast.unparse(
            handler.type or handler
        ):
            continue
        nodes = [node for statement in handler.body for node in ast.walk(statement)]
        calls = [node for node in nodes if isinstance(node, ast.Call)]
        told = [call.args for call in calls if ast.unparse(call.func) in TELLING]
        causes = [node.cause for node in nodes if isinstance(node, ast.Raise)]
        fine = {id(argument) for arguments in told for argument in arguments}
        fine |= {id(cause) for cause in causes}
        lines += [
            node.lineno
            for node in nodes
            if isinstance(node, ast.Name) and node.id == handler.name and id(node) not in fine
        ]
    return lines


TELLING = {"service.tell", "_tell", "_explain"}  # the others are the first with a form around it


@pytest.mark.parametrize("path", DOORS, ids=lambda path: path.name)
def test_a_door_words_no_error_by_itself(path: Path) -> None:
    """Each had to remember that strangers are told no path, and one tab did not."""
    assert find_own_words(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("body", "own"),
    [
        ("say(service.tell(error))", False),
        ("raise gr.Error(service.tell(error, token=token)) from error", False),
        ("say(str(error))", True),
        ("say(f'{error}')", True),
        ("raise gr.Error(str(error)) from error", True),
        ("say(error)", True),
        ("say(service.tell(other), error)", True),
    ],
)
def test_the_check_sees_every_way_to_word_an_error(body: str, own: bool) -> None:
    source = f"try:\n    read()\nexcept (DigitError, OSError) as error:\n    {body}"

    assert bool(find_own_words(source)) == own


def test_every_error_of_the_family_is_raised_somewhere() -> None:
    """One that only stands in docstrings and `except` is one that callers wait for in vain."""
    made = {
        ast.unparse(node.func if isinstance(node, ast.Call) else node.exc or node).split(".")[-1]
        for path in PROJECT.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, (ast.Call, ast.Raise))
    }

    raised = [error for error in FAMILY if error is not DigitError]
    assert [error.__name__ for error in raised if error.__name__ not in made] == []
