"""What is installed is what is imported: nothing missing on a fresh machine, nothing for show."""

from __future__ import annotations

import ast
import functools
import re
import sys
from collections.abc import Iterable
from importlib.metadata import packages_distributions
from pathlib import Path

from utils import PROJECT

# Programs that need what the tests need, and say so.
FOR_MAINTAINERS = {"screenshots.py", "animation.py", "bench_page.py"}
TOOLS = {  # started from the Makefile or by another tool, not imported
    *("pytest", "pytest-timeout", "pytest-xdist", "ruff", "mypy"),
    *("ipykernel", "mkdocs-material", "mkdocstrings"),
    "pymdown-extensions",  # brought by mkdocs-material; only its version is asked for
}


def read_requirements(name: str) -> dict[str, str]:
    """Return the package -> the versions asked for, without following `-r`."""
    text = (PROJECT / name).read_text(encoding="utf-8")
    rows = re.findall(r"^([a-z][\w-]*)(?:\[\w+\])?([=<>~!].*)$", text, re.MULTILINE)
    return dict(rows)


@functools.cache
def read_imports(path: Path) -> tuple[set[str], set[str]]:
    """Return the modules that a file imports, and those that it tries to import."""
    needed: set[str] = set()
    tried: set[str] = set()
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
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
        else:
            continue
        (tried if node in guarded else needed).update(name.split(".")[0] for name in names)
    return needed, tried


@functools.cache
def read_packages() -> dict[str, list[str]]:
    """Return the packages that each installed module belongs to."""
    # Python 3.10 does not find out which package "sklearn" belongs to.
    return {"sklearn": ["scikit-learn"], **packages_distributions()}


def find_libraries(paths: Iterable[Path], *, optional: bool = False) -> set[str]:
    """Name the packages whose modules some files import.

    An import inside `try ... except ImportError` is optional: the program says what to install.
    """
    imports = [read_imports(path) for path in paths]
    needed = {name for names, _ in imports for name in names}
    tried = {name for _, names in imports for name in names}
    own = {path.stem for path in PROJECT.glob("*.py")} | {"tests"} | sys.stdlib_module_names
    modules = (tried - needed if optional else needed) - own
    return {read_packages().get(m, [m])[0].lower().replace("_", "-") for m in modules}


PROGRAM = [path for path in PROJECT.glob("*.py") if path.name not in FOR_MAINTAINERS]
TESTS = [*PROJECT.glob("tests/*.py"), *(PROJECT / name for name in FOR_MAINTAINERS)]
APP = read_requirements("requirements.txt")
DEV = read_requirements("requirements-dev.txt")
OPTIONAL = read_requirements("requirements-ray.txt") | read_requirements("requirements-export.txt")


def test_every_library_that_the_program_imports_is_installed_with_it() -> None:
    assert find_libraries(PROGRAM) - APP.keys() - OPTIONAL.keys() == set()


def test_every_library_that_only_the_tests_or_an_option_need_is_installed_for_the_tests() -> None:
    needed = find_libraries(TESTS) | find_libraries(PROGRAM, optional=True)

    assert needed - APP.keys() - DEV.keys() == set()


def test_nothing_is_installed_that_nobody_imports() -> None:
    used = find_libraries(PROGRAM) | find_libraries(TESTS) | find_libraries(PROGRAM, optional=True)

    assert APP.keys() - find_libraries(PROGRAM) == set()
    assert DEV.keys() - used - TOOLS == set()


def test_every_requirement_is_bounded_above() -> None:
    """A new major version may break the page on the day it appears."""
    assert [name for name, versions in (APP | DEV).items() if not re.search("<|==", versions)] == []


def test_torch_and_torchvision_are_the_pair_that_belongs_together() -> None:
    """A torchvision fits one torch only; pip cannot be relied on to find the pair by itself."""
    assert (APP["torch"], APP["torchvision"]) == ("==2.12.1", "==0.27.1")
