"""What is installed is what is imported: nothing missing on a fresh machine, nothing for show."""

from __future__ import annotations

import ast
import re
import sys
from importlib.metadata import packages_distributions

from utils import PROJECT

TOOLS = {"pytest", "pytest-timeout", "ruff", "mypy"}  # started from the Makefile, not imported


def read_requirements(name: str) -> dict[str, str]:
    """Return the package -> the versions asked for, without following `-r`."""
    text = (PROJECT / name).read_text(encoding="utf-8")
    rows = re.findall(r"^([a-z][\w-]*)([=<>~!].*)$", text, re.MULTILINE)
    return dict(rows)


def find_libraries(folder: str, *, optional: bool = False) -> set[str]:
    """Name the packages whose modules the files of a folder import.

    An import inside `try ... except ImportError` is optional: the program says what to install.
    """
    needed, tried = set(), set()
    for path in (PROJECT / folder).glob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        guarded = {
            inner
            for node in ast.walk(tree)
            if isinstance(node, ast.Try)
            and any(h.type and "ImportError" in ast.unparse(h.type) for h in node.handlers)
            for statement in node.body
            for inner in ast.walk(statement)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                modules = [node.module]
            else:
                continue
            (tried if node in guarded else needed).update(m.split(".")[0] for m in modules)
    own = {path.stem for path in PROJECT.glob("*.py")} | {"tests"} | sys.stdlib_module_names
    packages = packages_distributions()
    modules = (tried - needed if optional else needed) - own
    return {packages.get(m, [m])[0].lower().replace("_", "-") for m in modules}


APP = read_requirements("requirements.txt")
DEV = read_requirements("requirements-dev.txt")


def test_every_library_that_the_program_imports_is_installed_with_it() -> None:
    assert find_libraries(".") - APP.keys() == set()


def test_every_library_that_only_the_tests_or_an_option_need_is_installed_for_the_tests() -> None:
    needed = find_libraries("tests") | find_libraries(".", optional=True)

    assert needed - APP.keys() - DEV.keys() == set()


def test_nothing_is_installed_that_nobody_imports() -> None:
    used = find_libraries(".") | find_libraries("tests") | find_libraries(".", optional=True)

    assert APP.keys() - find_libraries(".") == set()
    assert DEV.keys() - used - TOOLS == set()


def test_every_requirement_is_bounded_above() -> None:
    """A new major version may break the page on the day it appears."""
    assert [name for name, versions in (APP | DEV).items() if not re.search("<|==", versions)] == []


def test_torch_and_torchvision_are_the_pair_that_belongs_together() -> None:
    """A torchvision fits one torch only; pip cannot be relied on to find the pair by itself."""
    assert (APP["torch"], APP["torchvision"]) == ("==2.12.1", "==0.27.1")
