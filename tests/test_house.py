"""The order of the house: a file imports only from floors below its own.

The floors are written down once, in the table of CONTRIBUTING.md; these tests read them there.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from utils import PROJECT

CONTRIBUTING = PROJECT / "CONTRIBUTING.md"
HEAVY = {"torchvision", "gradio", "pandas", "matplotlib", "sklearn", "scipy"}


def read_floors(text: str) -> dict[str, int]:
    """Read the rows `| 2 | `dataset.py` | ... |` of the table: the file's stem -> its floor."""
    rows = re.findall(r"^\| *(\d+) *\| *`(\w+)\.py` *\|", text, re.MULTILINE)
    return {stem: int(floor) for floor, stem in rows}


def find_imports(source: str) -> set[str]:
    """Name the top-level modules that a file imports anywhere, by statement or by a call.

    Calls are `importlib.import_module("x")` and `__import__("x")`; a relative import counts as
    the module ".", which is on no floor.
    """
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").split(".")[0] if node.level == 0 else ".")
        elif isinstance(node, ast.Call) and node.args:
            called = node.func
            function = called.attr if isinstance(called, ast.Attribute) else ast.unparse(called)
            argument = node.args[0]
            if function in {"import_module", "__import__"} and isinstance(argument, ast.Constant):
                names.add(str(argument.value).split(".")[0])
    return names


def find_climbers(files: dict[str, str], floors: dict[str, int]) -> list[str]:
    """Describe each import that does not go down, given the sources by stem."""
    return [
        f"{stem}.py (floor {floors[stem]}) imports {name} (floor {floors.get(name, '?')})"
        for stem, source in sorted(files.items())
        for name in sorted(find_imports(source) & (floors.keys() | {".", "tests"}))
        if floors.get(name, 99) >= floors[stem]
    ]


FLOORS = read_floors(CONTRIBUTING.read_text(encoding="utf-8"))
FILES = {path.stem: path.read_text(encoding="utf-8") for path in PROJECT.glob("*.py")}


def test_the_table_and_the_files_are_the_same() -> None:
    assert set(FLOORS) == set(FILES), "the table in CONTRIBUTING.md does not list what is there"


def test_each_file_has_its_tests_or_is_named_as_one_that_has_none() -> None:
    tested = {path.stem.removeprefix("test_") for path in (PROJECT / "tests").glob("test_*.py")}
    paragraph = re.search(r"Each `X.py` has its .*?;", CONTRIBUTING.read_text("utf-8"), re.DOTALL)
    assert paragraph
    exceptions = set(re.findall(r"`(\w+)\.py`", paragraph[0])) - {"X"}

    assert set(FILES) - tested == exceptions


def test_the_table_goes_from_the_top_floor_down() -> None:
    floors = [*FLOORS.values()]

    assert floors == sorted(floors, reverse=True)


@pytest.mark.parametrize("stem", sorted(FILES.keys() & FLOORS.keys()))
def test_a_file_imports_only_from_floors_below_its_own(stem: str) -> None:
    assert find_climbers({stem: FILES[stem]}, FLOORS) == []


@pytest.mark.parametrize(
    ("source", "climbs"),
    [
        ("import low", False),
        ("import json, torch", False),
        ("import same", True),
        ("from high import thing", True),
        ("def late():\n    import high", True),
        ("if TYPE_CHECKING:\n    from same import Thing", True),
        ("import importlib\nimportlib.import_module('high')", True),
        ("__import__('same')", True),
        ("from . import low", True),
        ("from tests.conftest import helper", True),
    ],
)
def test_the_check_sees_every_way_to_climb(source: str, climbs: bool) -> None:
    floors = {"low": 0, "own": 1, "same": 1, "high": 2}

    assert bool(find_climbers({"own": source}, floors)) == climbs


@pytest.mark.parametrize("stem", sorted(FILES))
def test_importing_a_file_only_defines_names(stem: str) -> None:
    """No call stands alone at the top level: nothing is downloaded, loaded, configured, parsed."""
    allowed = (
        *(ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign),
        *(ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef),
    )
    acting = []
    for node in ast.parse(FILES[stem]).body:
        is_docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        is_guard = isinstance(node, ast.If) and ast.unparse(node.test) in {
            "__name__ == '__main__'",
            "TYPE_CHECKING",
        }
        if not (isinstance(node, allowed) or is_docstring or is_guard):
            acting.append(f"line {node.lineno}: {ast.unparse(node)[:60]}")

    assert acting == []


def _import_in_a_fresh_python(stems: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    program = f"import sys\nimport {', '.join(stems)}\nprint(*sys.modules, file=sys.stderr)"
    return subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder,
        env={"PYTHONPATH": str(PROJECT), "PATH": "", "HOME": str(folder)},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )


def test_importing_all_files_says_nothing_and_writes_nothing(tmp_path: Path) -> None:
    done = _import_in_a_fresh_python(sorted(FILES), tmp_path)

    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_the_way_to_a_prediction_is_light(tmp_path: Path, digit_png: Callable[..., Path]) -> None:
    """`python predict.py seven.png` would wait seconds for libraries that it does not use."""
    program = (
        "import sys, predict\n"
        f"assert predict.main([{str(digit_png(7))!r}]) == 0\n"
        "print(*sys.modules, file=sys.stderr)"
    )

    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )

    modules = {name.split(".")[0] for name in done.stderr.split()}
    assert "torch" in modules
    assert HEAVY & modules == set()


@pytest.mark.parametrize("stem", ["app", "batch_processor"])
def test_what_cannot_start_says_so_without_waiting_for_pytorch(stem: str, tmp_path: Path) -> None:
    done = _import_in_a_fresh_python([stem], tmp_path)

    modules = {name.split(".")[0] for name in done.stderr.split()}
    assert (HEAVY | {"torch"}) & modules == set()


def test_preparing_pictures_needs_no_pytorch(tmp_path: Path) -> None:
    """A process that decodes beside the network would hold half a gigabyte for nothing."""
    done = _import_in_a_fresh_python(["batch_workers", "decoding", "timing"], tmp_path)

    modules = {name.split(".")[0] for name in done.stderr.split()}
    assert (HEAVY | {"torch"}) & modules == set()


@pytest.mark.parametrize("stem", sorted(FILES))
def test_a_file_opens_with_what_it_is_for(stem: str) -> None:
    docstring = ast.get_docstring(ast.parse(FILES[stem])) or ""

    assert docstring.split("\n")[0].endswith((".", ":"))
