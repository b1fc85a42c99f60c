"""The documentation is true: it builds without a warning, and what it shows is what is there."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from illustrate import EVALUATION, MARK, write_table
from registry import load_checkpoint
from tests.test_readme import (
    SHELLS,
    find_fault,
    find_missing,
    make_samples,
    read_blocks,
    read_commands,
    split_programs,
)
from utils import PROJECT

DOCS = PROJECT / "docs"
PAGES = sorted(DOCS.glob("*.md"))
BLOCKS = [(page, block) for page in PAGES for block in read_blocks(page.read_text("utf-8"))]
SNIPPETS = [(page, block) for page, block in BLOCKS if block.language == "python"]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the built documentation."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", folder],
        cwd=PROJECT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    return folder


def test_it_builds_without_a_warning_and_has_a_page_for_every_file(site: Path) -> None:
    """The build is strict: a dead link or a docstring about a missing parameter stops it."""
    stems = {path.stem for path in PROJECT.glob("*.py")}

    pages = {path.stem for path in (site / "reference").glob("*.html")}

    assert pages == stems | {"index"}
    assert (site / "model_card.html").is_file()


def test_the_reference_shows_docstrings_with_their_parameters(site: Path) -> None:
    predictor = (site / "reference" / "predict.html").read_text(encoding="utf-8")
    answer = (site / "reference" / "reading.html").read_text(encoding="utf-8")

    assert "MNISTPredictor" in predictor
    assert "calibrated: of answers at 0.9 about nine in ten are right" in answer
    assert "_judge" not in predictor


def test_no_page_loads_anything_from_another_host(site: Path) -> None:
    loading = re.compile(r'(?:src=|<link[^>]+href=|url\(|@import )["\']?(?:https?:)?//[^"\')\s>]+')

    loaded = [
        f"{path.name}: {found}"
        for path in [*site.rglob("*.html"), *site.rglob("*.css")]
        for found in loading.findall(path.read_text(encoding="utf-8"))
    ]

    assert loaded == []


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder in which the samples have been drawn."""
    folder = tmp_path_factory.mktemp("samples")
    make_samples(folder)
    return folder


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_of_the_documentation_exists_and_takes_its_flags(
    page: Path, samples: Path
) -> None:
    """Those in blocks, and those in the text."""
    text = page.read_text(encoding="utf-8")
    blocks = [block for block in read_blocks(text) if block.language in SHELLS]
    commands = [command.text for block in blocks for command in read_commands(block)]
    commands += re.findall(r"`((?:python|make) [^`]+)`", text)

    faults = [find_fault(words) for command in commands for words in split_programs(command)]
    missing = [find_missing(command, samples) for command in commands]

    assert [fault for fault in [*faults, *missing] if fault] == []


@pytest.mark.parametrize(
    "snippet", [block.text for _, block in SNIPPETS], ids=[page.stem for page, _ in SNIPPETS]
)
def test_a_python_snippet_of_the_documentation_runs(samples: Path, snippet: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", snippet],
        cwd=samples,
        env=os.environ | {"PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 0, done.stderr


def test_the_pages_name_only_files_that_are_there() -> None:
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)

    named = set(re.findall(r"`([\w/]+\.(?:py|md|ipynb|pth))`", text))

    assert len(named) > 10
    assert [name for name in named if not (PROJECT / name).exists()] == []


def test_the_numbers_are_those_of_the_shipped_network() -> None:
    evaluation = json.loads((DOCS / EVALUATION).read_text(encoding="utf-8"))
    card = (DOCS / "model_card.md").read_text(encoding="utf-8")

    _, _, rest = card.partition(MARK.format(edge="Begin"))
    shown, _, _ = rest.partition(MARK.format(edge="End"))

    advice = "measure it, then: python illustrate.py --evaluation outputs/RUN/metrics.json"
    assert shown.strip() == write_table(evaluation), advice
    assert evaluation["model"]["version"] == load_checkpoint("best").version, advice
