"""Make the pages of the reference while the documentation is built: one for each file.

The files and what they are for stand in the table of CONTRIBUTING.md, the rest in their docstrings,
so there is nothing here that could fall behind.
"""

from __future__ import annotations

import re
from itertools import groupby
from operator import itemgetter
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

PROJECT = Path(__file__).resolve().parent.parent
ROW = re.compile(r"^\| *(\d+) *\| *`(\w+)\.py` *\| *(.+?) *\|$", re.MULTILINE)
INTRODUCTION = """# Reference

Every public class and function, from its docstring. The files are on floors, and a file imports
only from floors below its own: see [architecture](../architecture.md). Whoever wants to *use* the
project from Python needs little more than [predict](predict.md),
[batch_processor](batch_processor.md) and [train](train.md).
"""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the index and a page for each file of the table."""
    rows = ROW.findall((PROJECT / "CONTRIBUTING.md").read_text(encoding="utf-8"))
    rows.sort(key=lambda row: (-int(row[0]), row[1]))
    lines = [INTRODUCTION]
    for floor, group in groupby(rows, key=itemgetter(0)):
        lines.append(f"\n**Floor {floor}**\n")
        lines += [f"- [{stem}]({stem}.md): {purpose}" for _, stem, purpose in group]
    pages = {"index": "\n".join(lines) + "\n"}
    pages |= {stem: f"::: {stem}\n" for _, stem, _ in rows}
    for name, text in pages.items():
        files.append(File.generated(config, f"reference/{name}.md", content=text))
    return files
