"""The report of a batch: one HTML file that needs nothing else.

    summary + doubtful rows -> template -> report.html (open it in any browser, send it by mail)

It begins with what somebody should look at: the pictures that the network was least sure of. The
right digits can be typed in there and saved as `review.csv`, which is a manifest: reading it with
`batch_processor.py` gives the accuracy, and its rows are corrections. That goes for files and for
members of archives; rows of Kaggle's files and of addresses cannot be read back by their names.
"""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import jinja2
from PIL import Image, ImageOps

from batch_rows import Results, Row
from utils import atomic_write

QUEUE_LENGTH = 200  # pictures; about as many as one reviews at a sitting, and 1 MB of HTML
MISTAKES = 48
THUMBNAIL = 96  # pixels

TEMPLATE = Path(__file__).with_suffix(".jinja")


def write_report(results: Results, summary: dict[str, Any], path: Path) -> Path:
    """Write the report of a run.

    Parameters
    ----------
    results : Results
        Its rows.
    summary : dict
        As `BatchProcessor.summary` gives it.
    path : Path
        The HTML file to write.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    page = jinja2.Template(
        TEMPLATE.read_text(encoding="utf-8"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    ).render(
        summary=summary,
        answer=results.answer,
        queue=[_card(row, seen) for row, seen in results.doubtful(QUEUE_LENGTH)],
        mistakes=[_card(row, seen) for row, seen in results.worst_mistakes(MISTAKES)],
    )
    with atomic_write(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path


def _card(row: Row, seen: bytes | None) -> dict[str, Any]:
    """Collect what is shown of one picture."""
    network_saw = Image.frombytes("L", (28, 28), seen) if seen else None
    place = str(Path(row["path"]).absolute())  # so that a review finds it from anywhere
    return {
        **row,
        "place": place,
        "picture": _thumbnail(row["path"]),
        "seen": _data_url(network_saw),
    }


def _thumbnail(path: str) -> str:
    """Show a picture small, as a data URL; nothing if it is gone or in an archive."""
    try:
        with Image.open(path) as image:
            image.draft(None, (2 * THUMBNAIL, 2 * THUMBNAIL))
            small = ImageOps.exif_transpose(image).convert("RGB")
    except (OSError, ValueError, SyntaxError):
        return ""
    small.thumbnail((THUMBNAIL, THUMBNAIL))
    return _data_url(small)


def _data_url(image: Image.Image | None) -> str:
    """Put a picture into a URL."""
    if image is None:
        return ""
    content = io.BytesIO()
    image.save(content, "PNG")
    return "data:image/png;base64," + base64.b64encode(content.getvalue()).decode()
