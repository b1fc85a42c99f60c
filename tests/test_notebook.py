"""The walkthrough: it runs from top to bottom without MNIST, and is committed with its outputs."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from utils import PROJECT

pytestmark = pytest.mark.long

PATH = PROJECT / "mnist_walkthrough.ipynb"
NOTEBOOK = nbformat.read(PATH, as_version=4)
PARTS = (
    "1. Understanding the data",
    "2. Exploring the network",
    "3. Training it",
    "4. Making predictions",
    "5. Visualising results",
    "6. Analysing mistakes",
)


def code_of(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def text_of(notebook: Any) -> str:
    return "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def printed(notebook: Any) -> str:
    outputs = [output for cell in code_of(notebook) for output in cell.outputs]
    return "".join(output.text for output in outputs if output.output_type == "stream")


def find_complaints(notebook: Any) -> list[str]:
    """List errors, and everything that was written to stderr: warnings, progress bars."""
    return [
        f"cell {number}: {output.get('text') or output.get('evalue')}"
        for number, cell in enumerate(code_of(notebook), start=1)
        for output in cell.outputs
        if output.output_type == "error" or output.get("name") == "stderr"
    ]


@pytest.mark.timeout(480)
def test_it_runs_from_top_to_bottom_without_mnist(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With scikit-learn's digits, which come with the library: no network is needed."""
    monkeypatch.setenv("DIGITS_DATA", str(tmp_path))
    notebook = nbformat.read(PATH, as_version=4)
    for cell in code_of(notebook):
        cell.outputs = []

    client = NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(PROJECT)}})
    client.execute()

    assert find_complaints(notebook) == []
    assert "MNIST is not here" in printed(notebook)
    accuracy = re.search(r"([\d.]+)% of the validation pictures right", printed(notebook))
    assert accuracy
    assert float(accuracy[1]) > 90
    assert list(tmp_path.iterdir()) == []


# --- as it is committed -------------------------------------------------------------------------


def test_it_is_committed_with_all_outputs_of_one_run() -> None:
    numbers = [cell.execution_count for cell in code_of(NOTEBOOK)]

    assert numbers == list(range(1, len(numbers) + 1))
    assert find_complaints(NOTEBOOK) == []
    assert "MNIST is not here" not in printed(NOTEBOOK)
    assert sum("image/png" in str(cell.outputs) for cell in code_of(NOTEBOOK)) >= 25


def test_it_is_small_and_says_nothing_of_the_machine_it_ran_on() -> None:
    content = PATH.read_text(encoding="utf-8")

    assert len(content) < 2_000_000
    assert str(PROJECT) not in content
    assert not re.search(r"/(home|Users|root|tmp)/", content)


def test_it_defines_nothing_that_the_project_has() -> None:
    for cell in code_of(NOTEBOOK):
        tree = ast.parse(re.sub(r"^%.*", "", cell.source, flags=re.MULTILINE))
        defined = [
            node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)
        ]

        assert defined == [], cell.source


def test_its_cells_are_small() -> None:
    lengths = [len(cell.source.splitlines()) for cell in code_of(NOTEBOOK)]

    assert max(lengths) <= 25
    assert sorted(lengths)[len(lengths) // 2] <= 10


@pytest.mark.parametrize("part", PARTS)
def test_each_part_ends_with_a_question_whose_answer_is_folded(part: str) -> None:
    chapters = re.split(r"^## ", text_of(NOTEBOOK), flags=re.MULTILINE)
    (chapter,) = [each for each in chapters if each.startswith(part)]

    question = chapter[chapter.rindex("> **Question.**") :]

    assert "?" in question
    assert re.search(
        r"<details><summary>Answer</summary>\n\n.{80,}\n\n</details>", question, re.DOTALL
    )
    assert len(question) < 1600  # nothing but the answer follows


def test_every_word_of_the_glossary_is_used() -> None:
    text, _, glossary = text_of(NOTEBOOK).partition("## Glossary")

    rows = re.findall(r"^\| \*(.+)\* \|", glossary, re.MULTILINE)

    words = [word.strip() for row in rows for word in row.split(",")]
    assert len(words) >= 25
    assert rows == sorted(rows, key=str.lower)
    assert [word for word in words if word.lower() not in text.lower()] == []


def test_links_inside_lead_to_a_heading() -> None:
    text = text_of(NOTEBOOK)
    headings = {
        line.lstrip("# ").replace(" ", "-") for line in text.splitlines() if line.startswith("#")
    }

    links = set(re.findall(r"\]\(#([^)]+)\)", text))

    assert links <= headings
    assert len(links) == 7
