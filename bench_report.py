"""What several measurements come to: two of them compared, all of them as Markdown and curves.

outputs/bench/*.json -> compare: ratios now over ratios then
                     -> to_markdown: goals met and missed, tables, conditions
                     -> draw_curves: outputs/bench/*.png
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import plots
from errors import DataFormatError
from marks import split_at
from timing import Table, is_busy
from utils import atomic_write

RATIO = " / "  # in the names of columns that compare contenders of one run
BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"
CURVES = "docs/curves"
SAME = 0.05  # ratios of two runs that differ by less say nothing


def compare(before: Mapping[str, Table], after: Mapping[str, Table]) -> str:
    """Compare two sets of tables by the ratios in them, which the machine's mood leaves alone.

    Parameters
    ----------
    before, after : mapping of str to Table
        By name, as from `timing.load_tables`.

    Returns
    -------
    str
        One line for each ratio that both have: then, now, and now over then; then what only one
        side has.
    """
    lines = [f"{'':<52}{'A':>10}{'B':>10}{'B / A':>10}"]
    for name in before.keys() & after.keys():
        for row, column, old, new in _pair_ratios(before[name], after[name]):
            change = new / old if old else float("nan")
            mark = "" if abs(change - 1) < SAME else "  <-" if _is_worse(column, change) else "  +"
            title = f"{name}: {row}, {column}"
            lines.append(f"{title:<52}{old:>10.3g}{new:>10.3g}{change:>10.3f}{mark}")
    lines[1:] = sorted(lines[1:])
    for side, only in (("A", before.keys() - after.keys()), ("B", after.keys() - before.keys())):
        lines += [f"only in {side}: {name}" for name in sorted(only)]
    lines.append(f"+ better, <- worse, by {SAME:.0%} or more")
    return "\n".join(lines)


def _pair_ratios(before: Table, after: Table) -> Iterable[tuple[str, str, float, float]]:
    """Find the ratios that two tables have in common."""
    for row, values in before.rows.items():
        for column, old in values.items():
            if RATIO in column and row in after.rows and column in after.rows[row]:
                yield row, column, old, after.rows[row][column]


def _is_worse(column: str, change: float) -> bool:
    """Whether a ratio moved the wrong way: "this" is a time, better if it is small."""
    return (change < 1) == column.endswith("this")


def to_markdown(tables: Mapping[str, Table]) -> str:
    """Write tables as a section of Markdown: goals first, then each table with its conditions.

    Parameters
    ----------
    tables : mapping of str to Table
        At least one.
    """
    parts = [
        _goals_to_markdown(tables.values()),
        *map(_table_to_markdown, tables.values()),
        _sum_up_conditions(tables.values()),
    ]
    return "\n\n".join(filter(None, parts))


def fill_in(path: Path, tables: Mapping[str, Table]) -> None:
    """Write goals, curves and conditions into a Markdown file, between the two marks there.

    Parameters
    ----------
    path : Path
        Holds `BEGIN` and, later, `END`; what stands between them is replaced. The curves are drawn
        into the folder `docs/curves` beside it.
    tables : mapping of str to Table
        At least one.

    Raises
    ------
    DataFormatError
        If the file cannot be read, or the marks are not there.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise DataFormatError(f"cannot read {path} ({error.strerror})") from error
    before, after = split_at(text, BEGIN, END, name=str(path))
    pictures = draw_curves(tables.values(), path.parent / CURVES)
    links = [f"![{each.stem}]({CURVES}/{each.name})" for each in pictures]
    shared, _ = _split_conditions(tables.values())
    parts = [_goals_to_markdown(tables.values()), " ".join(links), _name_conditions(shared)]
    with atomic_write(path) as temporary:
        filled = "\n\n".join(["", *filter(None, parts), ""])
        temporary.write_text(before + filled + after, encoding="utf-8")


def _goals_to_markdown(tables: Iterable[Table]) -> str:
    """Write the goals of all tables as one table; nothing if there are none."""
    rows = [
        f"| {table.name} | {goal.what} | {goal.limit_text} "
        f"| {f'{_show(goal.measured)} {goal.unit}'.strip()} "
        f"| {'met' if goal.is_met else '**missed**'} |"
        for table in tables
        for goal in table.goals
    ]
    heads = ["| table | goal | limit | measured | |", "|---|---|---|---|---|"]
    return "\n".join([*heads, *rows]) if rows else ""


def _table_to_markdown(table: Table) -> str:
    """Write one table and its notes."""
    columns = table.columns
    lines = [
        f"**{table.name}** ({table.unit})",
        "",
        f"| {table.x} | " + " | ".join(columns) + " |",
        "|---" * (len(columns) + 1) + "|",
    ]
    for name, values in table.rows.items():
        cells = [_show(values[column]) if column in values else "" for column in columns]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", *(f"- {note}" for note in table.notes)]).rstrip()


def _show(value: float) -> str:
    """Write a number with as many digits as mean something."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _sum_up_conditions(tables: Iterable[Table]) -> str:
    """Say once what all tables share, and what is special about each."""
    shared, special = _split_conditions(tables)
    return "\n".join([_name_conditions(shared), *special])


def _split_conditions(tables: Iterable[Table]) -> tuple[dict[str, Any], list[str]]:
    """Tell what all tables share from what is special about each, such as a busy machine."""
    tables = list(tables)
    shared = dict(tables[0].conditions)
    for table in tables[1:]:
        shared = {k: v for k, v in shared.items() if table.conditions.get(k) == v}
    special = []
    for table in tables:
        own = {k: v for k, v in table.conditions.items() if k not in shared}
        busy = " (the machine was busy)" if is_busy(table.conditions) else ""
        if own or busy:
            text = ", ".join(f"{key} {value}" for key, value in own.items())
            special.append(f"{table.name}: {text}{busy}.")
    return shared, special


def _name_conditions(shared: Mapping[str, Any]) -> str:
    """Write conditions as one line."""
    return "Conditions: " + ", ".join(f"{key} {value}" for key, value in shared.items()) + "."


def draw_curves(tables: Iterable[Table], folder: Path) -> list[Path]:
    """Draw every table whose rows are points of a curve, as FOLDER/NAME.png."""
    paths = []
    for table in tables:
        if not table.x:
            continue
        x = [float(name) for name in table.rows]
        curves = {
            column: [values[column] for values in table.rows.values()] for column in table.columns
        }
        paths.append(folder / f"{table.name}.png")
        with atomic_write(paths[-1]) as temporary:
            plots.scale_curves(x, curves, title=table.name, x_label=table.x).savefig(temporary)
    return paths
