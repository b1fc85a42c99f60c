"""Draw the pictures of the documentation, and fill its tables with measured numbers.

    CONTRIBUTING.md -> docs/pictures/floors.svg          the files, floor by floor
    strokes, degrade, preprocess -> docs/pictures/*.png  what is drawn, spoiled and prepared
    outputs/RUN/metrics.json -> docs/evaluation.json -> tables in docs/model_card.md and README.md

Nothing is drawn by hand, so a picture cannot show what the program no longer does; and a number
stands in one place only.

    $ python illustrate.py
    $ python illustrate.py --evaluation outputs/RUN/metrics.json
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

import plots
from degrade import EFFECTS, photograph
from errors import DataFormatError
from marks import split_at
from non_digits import NON_DIGITS, draw_non_digit
from preprocess import prepare
from strokes import VARIANTS, draw_digit
from utils import PROJECT, HelpFormatter, atomic_write, report_errors

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DOCS = PROJECT / "docs"
EVALUATION = "evaluation.json"
SIDE = 96  # pixels of a drawn digit

# What a table calls the sets of pictures; others keep the name of their file.
SET_NAMES = {
    "pictures": "open pictures: photos, scans, mouse, printed",
    "crops": "crops from photographed boards and forms",
    "none": "open pictures",
    "mnist:test": "MNIST test",
    "mnist:validation": "MNIST validation, to which temperature and thresholds were fitted",
    "load_digits": "scikit-learn's digits of 8x8, enlarged, in both polarities",
    "hands": "generated hands",
    "non-digits": "generated non-digits",
}
MARK = "<!-- {edge} of the numbers that illustrate.py fills in -->"


# --- the floors -------------------------------------------------------------------------------


class Room(NamedTuple):
    """One file of the project."""

    floor: int
    name: str
    purpose: str


def read_rooms(text: str) -> list[Room]:
    """Read the rows `| 2 | `dataset.py` | what for |` of CONTRIBUTING.md."""
    rows = re.findall(r"^\| *(\d+) *\| *`(\w+\.py)` *\| *(.+?) *\|$", text, re.MULTILINE)
    return [Room(int(floor), name, purpose) for floor, name, purpose in rows]


def draw_floors(rooms: Sequence[Room]) -> str:
    """Draw the files floor by floor, the doors at the top, as SVG.

    Parameters
    ----------
    rooms : sequence of Room
        In any order.

    Returns
    -------
    str
        An SVG file; what a file is for is its tooltip.
    """
    width, left, height, gap = 960, 44, 26, 8  # pixels
    parts, y = [], gap
    for floor in sorted({room.floor for room in rooms}, reverse=True):
        x, top = left, y
        for room in sorted(rooms):
            if room.floor != floor:
                continue
            wide = 18 + round(7.3 * len(room.name))
            if x + wide > width - gap:
                x, y = left, y + height + gap
            parts.append(
                f'<g><title>{escape(room.purpose)}</title><rect class="room" x="{x}" y="{y}" '
                f'width="{wide}" height="{height}" rx="5"/><text class="name" '
                f'x="{x + wide / 2:g}" y="{y + 17}">{escape(room.name)}</text></g>'
            )
            x += wide + gap
        y += height + gap
        parts.insert(
            0,
            f'<rect class="floor" x="{gap // 2}" y="{top - gap // 2}" width="{width - gap}" '
            f'height="{y - top}"/><text class="number" x="22" y="{(top + y - gap) / 2 + 5:g}">'
            f"{floor}</text>",
        )
        y += gap
    return _svg(width, y, parts)


def draw_way() -> str:
    """Draw the way of a picture from a door to an answer, as SVG."""
    doors = ("app.py", "api.py", "predict.py", "batch_processor.py", "notebook")
    steps = (
        ("picture.py", "file, bytes or array", "to upright pixels"),
        ("preprocess.py", "ink, without lines,", "as MNIST's 28x28"),
        ("model.py", "28x28 pixels to", "ten logits"),
        ("registry.py", "the checkpoint's", "temperature"),
        ("predict.py", "probabilities, doubt,", "verdict, reason"),
    )
    parts = []
    for number, door in enumerate(doors):
        x = 8 + number * 190
        parts.append(
            f'<rect class="door" x="{x}" y="8" width="176" height="30" rx="5"/>'
            f'<text class="name" x="{x + 88}" y="28">{door}</text>'
            f'<path class="line" d="M{x + 88} 38V60"/>'
        )
    parts.append(
        '<path class="line" d="M96 60H856"/>'
        '<path class="line" marker-end="url(#tip)" d="M96 60V84"/>'
    )
    for number, (name, *lines) in enumerate(steps):
        x = 8 + number * 190
        words = "".join(
            f'<text class="word" x="{x + 78}" y="{130 + 18 * row}">{line}</text>'
            for row, line in enumerate(lines)
        )
        parts.append(
            f'<rect class="room" x="{x}" y="90" width="156" height="72" rx="5"/>'
            f'<text class="name" x="{x + 78}" y="110">{name}</text>{words}'
        )
        if number:
            parts.append(f'<path class="line" marker-end="url(#tip)" d="M{x - 34} 126H{x - 6}"/>')
    parts.append(
        '<path class="line" marker-end="url(#tip)" d="M276 162V196"/>'
        '<rect class="room" x="166" y="202" width="220" height="54" rx="5"/>'
        '<text class="name" x="276" y="222">segment.py</text>'
        '<text class="word" x="276" y="242">for numbers: lines, digits, cuts</text>'
        '<path class="line" marker-end="url(#tip)" d="M386 229H466V168"/>'
    )
    return _svg(960, 264, parts)


def _svg(width: int, height: int, parts: Sequence[str]) -> str:
    """Put parts into a file with its own colours, readable on light and dark pages."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        'font-family="system-ui, sans-serif" font-size="13">\n<style>'
        ".sheet{fill:#fff}.floor{fill:#f3f6fa}.room{fill:#fff;stroke:#0072b2}"
        ".door{fill:#fdf3e0;stroke:#e69f00}.name{fill:#222;text-anchor:middle}"
        ".word{fill:#555;text-anchor:middle;font-size:12px}"
        ".number{fill:#6b7280;text-anchor:middle;font-weight:bold}"
        ".line{fill:none;stroke:#6b7280;stroke-width:1.5}</style>\n"
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
        'markerHeight="7" orient="auto"><path d="M0 0 8 4 0 8z" fill="#6b7280"/></marker></defs>\n'
        f'<rect class="sheet" width="{width}" height="{height}"/>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


# --- pictures of pictures ---------------------------------------------------------------------

# Pictures that show one thing each that preparation does: title, digit, seed, effects.
TROUBLES: tuple[tuple[str, int, int, tuple[str, ...]], ...] = (
    ("even paper", 2, 4, ()),
    ("shadow and grey paper", 3, 3, ("grey paper", "gradient", "shadow", "noise")),
    ("ruled paper", 5, 1, ("grey paper", "ruled", "noise")),
    ("printed box", 8, 2, ("grey paper", "box", "jpeg")),
    ("blackboard", 6, 6, ("blackboard", "texture", "noise")),
    ("specks", 4, 1, ("grey paper", "specks", "texture")),
)


def draw_pictures(folder: Path) -> list[Path]:
    """Draw every picture of the documentation into a folder, and name the files."""
    contributing = (PROJECT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    texts = {"floors.svg": draw_floors(read_rooms(contributing)), "way.svg": draw_way()}
    for name, text in texts.items():
        with atomic_write(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    grids = {
        "preparation.png": show_preparation(),
        "variants.png": show_variants(),
        "effects.png": show_effects(),
        "non_digits.png": show_non_digits(),
    }
    for name, grid in grids.items():
        with atomic_write(folder / name) as temporary:
            # No date and no version in the file: the same picture is the same bytes.
            grid.savefig(temporary, dpi=80, metadata={"Software": None})
    return [folder / name for name in (*texts, *grids)]


def show_preparation() -> Figure:
    """Show, one row for each trouble, what happens to a picture on its way to the network."""
    pictures, titles = [], []
    for title, digit, seed, effects in TROUBLES:
        rng = np.random.default_rng(seed)
        ink = draw_digit(digit, rng, size=2 * SIDE)
        photo = photograph(ink, rng, strength=0.6, effects=effects)
        steps = prepare(photo, keep_steps=True).steps
        pictures += [picture for _, picture in steps]
        titles += [title, *(name for name, _ in steps[1:])]
    return plots.picture_grid(pictures, titles, columns=4, side=1.6)


def show_variants() -> Figure:
    """Show every way in which the generator writes the digits 1, 4, 7 and 9."""
    rng = np.random.default_rng(0)
    wanted = [(digit, variant) for digit in (1, 4, 7, 9) for variant in VARIANTS[digit]]
    pictures = [draw_digit(digit, rng, size=SIDE, variant=variant) for digit, variant in wanted]
    return plots.picture_grid(pictures, [name for _, name in wanted], columns=8, side=1.3)


def show_effects() -> Figure:
    """Show everything that the bad camera can do, to the same digit."""
    ink = draw_digit(7, np.random.default_rng(1), size=SIDE, variant="crossed")
    pictures = [
        photograph(ink, np.random.default_rng(number), effects=[effect])
        for number, effect in enumerate(EFFECTS)
    ]
    return plots.picture_grid(pictures, EFFECTS, columns=8, side=1.3)


def show_non_digits() -> Figure:
    """Show each kind of picture by which the network learns to doubt."""
    rng = np.random.default_rng(0)
    pictures = [draw_non_digit(kind, rng, size=SIDE) for kind in NON_DIGITS]
    return plots.picture_grid(pictures, NON_DIGITS, columns=7, side=1.3)


# --- measured numbers -------------------------------------------------------------------------


def keep_evaluation(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Pick from an evaluation what the documentation shows.

    Parameters
    ----------
    metrics : mapping
        As `evaluate.py` writes it to metrics.json.

    Raises
    ------
    DataFormatError
        If it is something else.
    """
    try:
        kept: dict[str, Any] = {
            "model": {key: metrics["model"][key] for key in ("name", "architecture", "version")},
            "measured": metrics["measured"][:10],
            "sets": {
                _shorten(name): {
                    "digits": found["digits"],
                    "accuracy": found["accuracy"],
                    "calibration_error": found["calibration"]["error"],
                    "verdicts": found["verdicts"],
                    "non_digits": found["non_digits"],
                }
                for name, found in metrics["sets"].items()
            },
        }
        if "forms" in metrics:
            kept["forms"] = {
                "source": metrics["forms"]["source"],
                "rows": [
                    {"form": row["form"], "accuracy": row["accuracy"]}
                    for row in metrics["forms"]["rows"]
                ],
            }
    except (KeyError, TypeError) as error:
        raise DataFormatError(f"this is not an evaluation by evaluate.py: no {error}") from error
    return kept


def _shorten(name: str) -> str:
    """Name a set of pictures without its place on somebody's disk."""
    return name if name in SET_NAMES else Path(name).stem


def write_table(evaluation: Mapping[str, Any]) -> str:
    """Write kept numbers as a Markdown table.

    Parameters
    ----------
    evaluation : mapping
        As from `keep_evaluation`.
    """
    lines = [
        "| pictures | read right | 95 % interval | calibration error | unsure | refused |",
        "|---|---|---|---|---|---|",
    ]
    for name, found in evaluation["sets"].items():
        title = SET_NAMES.get(name, name.replace("_", " "))
        if found["digits"]:
            accuracy, verdicts = found["accuracy"], found["verdicts"]["digits"]
            cells = [
                f"{title}, {_count_digits(found)}",
                _percent(accuracy["value"]),
                f"{100 * accuracy['low']:.2f} to {100 * accuracy['high']:.2f}",
                _percent(found["calibration_error"]),
                *(_percent(verdicts[each] / found["digits"]) for each in ("unsure", "not a digit")),
            ]
            lines.append(f"| {' | '.join(cells)} |")
        if found["non_digits"]:
            rest, count = found["verdicts"]["non_digits"], found["non_digits"]
            shares = [_percent(rest[each] / count) for each in ("unsure", "not a digit")]
            lines.append(f"| {title}, {count:,} that are no digits | | | | {' | '.join(shares)} |")
    if "forms" in evaluation:
        source, rows = evaluation["forms"]["source"], evaluation["forms"]["rows"]
        worst = min(rows, key=lambda row: row["accuracy"]["value"])
        share = worst["accuracy"]
        lines.append(
            f"| {SET_NAMES.get(source, source)}, in the hardest of {len(rows)} forms "
            f"({worst['form']}) | {_percent(share['value'])} | "
            f"{100 * share['low']:.2f} to {100 * share['high']:.2f} | | | |"
        )
    model = evaluation["model"]
    lines += [
        "",
        f"`models/{model['name']}.pth`, {model['architecture']}, version `{model['version']}`; "
        f"measured {evaluation['measured']}.",
    ]
    return "\n".join(lines)


def _count_digits(found: Mapping[str, Any]) -> str:
    """Say how many digits there are, and how many pictures of them if these are more."""
    pictures = found["digits"]
    # Evaluations that were kept before views were told apart do not know.
    digits = found["accuracy"].get("independent", pictures)
    return f"{digits:,}" if digits == pictures else f"{pictures:,} pictures of {digits:,}"


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.2f} %"


def fill_in(text: str, table: str) -> str:
    """Replace what stands between the two marks of a page.

    Raises
    ------
    DataFormatError
        If the page does not have both marks.
    """
    before, after = split_at(text, MARK.format(edge="Begin"), MARK.format(edge="End"))
    return f"{before}\n{table}\n{after}"


def fill_pages(pages: Sequence[Path], evaluation: Mapping[str, Any]) -> None:
    """Write the table into every page that has the marks."""
    for page in pages:
        text = page.read_text(encoding="utf-8")
        if MARK.format(edge="Begin") not in text:
            continue
        filled = fill_in(text, write_table(evaluation))
        with atomic_write(page) as temporary:
            temporary.write_text(filled, encoding="utf-8")


def read_evaluations(paths: Sequence[Path]) -> dict[str, Any]:
    """Read metrics.json of one or several runs that measured the same model.

    Raises
    ------
    DataFormatError
        If there is no such file, it holds something else, or the models differ.
    """
    first, *others = [_read_evaluation(path) for path in paths]
    for path, other in zip(paths[1:], others, strict=True):
        if other["model"] != first["model"]:
            raise DataFormatError(f"{path} is about another model than {paths[0]}")
        first = {**other, **first, "sets": first["sets"] | other["sets"]}
    return first


def _read_evaluation(path: Path) -> dict[str, Any]:
    """Read one file, and keep what is shown of it."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataFormatError(f"cannot read {path} ({error.strerror})") from error
    except ValueError as error:
        raise DataFormatError(f"{path} is not JSON ({error})") from error
    return keep_evaluation(found)


# --- command line -----------------------------------------------------------------------------


def build_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(
        description="Draw the pictures of the documentation, and fill in its numbers.",
        epilog="examples:\n"
        "  python illustrate.py\n"
        "  python illustrate.py --evaluation outputs/RUN/metrics.json",
        formatter_class=HelpFormatter,
    )
    parser.add_argument(
        "--evaluation",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="metrics.json of evaluate.py, to be shown",
    )
    parser.add_argument("--docs", type=Path, default=DOCS, metavar="DIR", help="where pages are")
    return parser


def run(args: argparse.Namespace) -> None:
    """Draw everything; with an evaluation, fill in its numbers instead."""
    if args.evaluation is None:
        for path in draw_pictures(args.docs / "pictures"):
            print(path)
        return
    evaluation = read_evaluations(args.evaluation)
    with atomic_write(args.docs / EVALUATION) as temporary:
        temporary.write_text(json.dumps(evaluation, indent=1) + "\n", encoding="utf-8")
    fill_pages([*sorted(args.docs.glob("*.md")), args.docs.parent / "README.md"], evaluation)
    print(write_table(evaluation))


@report_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Do what the command line says."""
    run(build_parser().parse_args(argv))
    return 0


if __name__ == "__main__":
    sys.exit(main())
