"""The report of an evaluation: one HTML file that needs nothing else.

    metrics + cards (pictures worth a look) -> figures, thumbnails -> template -> report.html

The same metrics lie beside it as `metrics.json`, for programs.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import jinja2
import numpy as np

import plots
from encoding import data_url, picture_url
from errors import ImageError
from picture import PictureSource, open_picture
from pixels import rescale
from utils import atomic_write

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TEMPLATE = Path(__file__).with_suffix(".jinja")
THUMBNAIL = 112  # pixels


@dataclass(frozen=True)
class Card:
    """A picture that somebody should look at.

    Attributes
    ----------
    name : str
        Where it came from.
    shows : str
        What it shows by its label.
    answer : str
        What was read.
    note : str
        The verdict and its reason.
    source : path, bytes or ndarray, or None
        The picture as it came; see `picture.open_picture`.
    seen : ndarray of shape (28, 28), float32, or None
        What the network saw.
    """

    name: str
    shows: str
    answer: str
    note: str
    source: PictureSource | None
    seen: np.ndarray | None


def write_report(
    metrics: Mapping[str, Any],
    cards: Mapping[str, Mapping[str, Sequence[Card]]],
    path: Path,
) -> Path:
    """Write the report of an evaluation.

    Parameters
    ----------
    metrics : mapping
        As `evaluate.evaluate` gives them.
    cards : mapping
        For each set of pictures some headings, and under each what to look at.
    path : Path
        The HTML file to write.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["percent"] = _percent
    page = environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        metrics=metrics,
        figures={name: _draw_set(found) for name, found in metrics["sets"].items()},
        damage=_draw_damage(metrics),
        cards={
            name: {heading: [_show(card) for card in some] for heading, some in groups.items()}
            for name, groups in cards.items()
        },
    )
    with atomic_write(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path


def _percent(share: float | None, digits: int = 2) -> str:
    """Write a share, for example 0.9953 as 99.53; a dash where there is none."""
    return "–" if share is None else f"{100 * share:.{digits}f}"


def _draw_set(found: Mapping[str, Any]) -> list[dict[str, str]]:
    """Draw the curves of one set of pictures, if digits were read in it."""
    if not found["calibration"]["bins"]:
        return []
    calibration, coverage = found["calibration"], found["coverage"]
    return [
        {
            "title": "Reliability diagram",
            "url": _figure_url(
                plots.reliability_diagram(calibration["bins"], calibration["error"])
            ),
        },
        {
            "title": "Mistakes among the accepted answers",
            "url": _figure_url(
                plots.coverage_curve(
                    [row["coverage"] for row in coverage], [row["accuracy"] for row in coverage]
                )
            ),
        },
    ]


def _draw_damage(metrics: Mapping[str, Any]) -> str:
    """Draw the curves of the robustness table, if there is one."""
    found = metrics.get("robustness")
    if not found:
        return ""
    return _figure_url(plots.damage_curves(found["curves"], found["units"]))


def _show(card: Card) -> dict[str, str]:
    """Put the pictures of a card into URLs."""
    return {
        "name": card.name,
        "shows": card.shows,
        "answer": card.answer,
        "note": card.note,
        "picture": _thumbnail(card.source),
        "seen": "" if card.seen is None else picture_url(card.seen),
    }


def _thumbnail(source: PictureSource | None) -> str:
    """Show a picture small; nothing if it cannot be read (the card's note says why)."""
    if source is None:
        return ""
    try:
        pixels = open_picture(source).pixels
    except ImageError:
        return ""
    scale = THUMBNAIL / max(pixels.shape[:2])
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST
    return picture_url(rescale(pixels, scale, method=method))


def _figure_url(figure: Figure) -> str:
    """Put a figure into a URL."""
    content = io.BytesIO()
    figure.savefig(content, format="png")
    return data_url(content.getvalue(), "png")
