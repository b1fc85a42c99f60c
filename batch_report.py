"""The report of a batch: one HTML file that needs nothing else.

    summary + doubtful rows -> template -> report.html (open it in any browser, send it by mail)

It begins with what somebody should look at: the pictures that the network was least sure of. The
right digits can be typed in there and saved as `review.csv`, which is a manifest: reading it with
`batch_processor.py` gives the accuracy, and its rows are corrections. That goes for files and for
members of archives; rows of Kaggle's files and of addresses cannot be read back by their names.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from batch_rows import Results, Row
from batch_summary import explain_correct
from encoding import picture_url
from errors import ImageError
from picture import open_picture
from utils import atomic_write

QUEUE_LENGTH = 200  # pictures; about as many as one reviews at a sitting, and 1 MB of HTML
MISTAKES = 48
THUMBNAIL = 96  # pixels

TEMPLATE = Path(__file__).with_suffix(".jinja")


def write_report(
    results: Results,
    summary: Mapping[str, Any],
    path: Path,
    pictures: Mapping[str, str] | None = None,
) -> Path:
    """Write the report of a run.

    Parameters
    ----------
    results : Results
        Its rows.
    summary : mapping
        As `BatchProcessor.summary` gives it; settings that do not apply may be missing.
    path : Path
        The HTML file to write.
    pictures : mapping, optional
        Data URLs of small pictures, by the paths of their rows. Without it, pictures are opened
        where the rows say. With it no file is opened or sought: the names are a stranger's, who
        may call a picture as a file of this machine is called.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    page = jinja2.Template(
        TEMPLATE.read_text(encoding="utf-8"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    ).render(
        summary=summary,
        correct_but=explain_correct(summary),
        answer=results.answer,
        queue=[_card(row, seen, pictures) for row, seen in results.doubtful(QUEUE_LENGTH)],
        mistakes=[_card(row, seen, pictures) for row, seen in results.worst_mistakes(MISTAKES)],
    )
    with atomic_write(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path


def _card(row: Row, seen: bytes | None, pictures: Mapping[str, str] | None) -> dict[str, Any]:
    """Collect what is shown of one picture."""
    path = row["path"]
    return {
        **row,
        # A review finds it from anywhere; one of uploads, if it lies beside them.
        "place": str(Path(path).absolute()) if pictures is None else path,
        "picture": _thumbnail(path) if pictures is None else pictures.get(path, ""),
        "seen": picture_url(np.frombuffer(seen, np.uint8).reshape(28, 28)) if seen else "",
    }


def _thumbnail(path: str) -> str:
    """Show a picture small, as a data URL; nothing if it is gone or in an archive."""
    try:
        pixels = open_picture(path, working_side=THUMBNAIL).pixels
    except ImageError:
        return ""
    return picture_url(pixels)
