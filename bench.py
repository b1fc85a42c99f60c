"""Measure how fast the project is: against a naive version, and against the bare arithmetic.

    the same work -> ours, naive, floor, in turns -> medians, ratios, goals -> outputs/bench/*.json

`naive` is how tutorials do it; `floor` is what no way of doing it can beat. Each part is a file of
its own (`bench_train.py`, ...) with `add_arguments(parser)` and `run(args) -> list[Table]`.

    $ python bench.py
    $ python bench.py train --full --seeds 5
    $ python bench.py compare outputs/before outputs/bench
    $ python bench.py report
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import ModuleType

import bench_batch
import bench_page
import bench_predict
import bench_serve
import bench_start
import bench_train
from bench_report import BEGIN, compare, draw_curves, fill_in, to_markdown
from timing import RESULTS, Table, is_busy, load_tables
from utils import HelpFormatter, report_errors

PARTS: dict[str, ModuleType] = {
    "train": bench_train,
    "predict": bench_predict,
    "start": bench_start,
    "batch": bench_batch,
    "serve": bench_serve,
    "page": bench_page,
}

# What `python bench.py` and `python bench.py scale` measure, in this order.
EVERYTHING = ("train", "predict", "start", "batch", "serve")
CURVES = ("train --scale", "batch --scale", "serve --scale")


def build_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(
        description="Measure how fast the project is on this machine.",
        epilog=(
            "examples:\n"
            "  python bench.py                     everything, as `make bench` does\n"
            "  python bench.py train               about two minutes\n"
            "  python bench.py train --full        from start to end, with accuracy\n"
            "  python bench.py scale               curves: threads, files, clients\n"
            "  python bench.py compare A B         two folders of results\n"
            "  python bench.py report              all results as Markdown\n"
            "  python bench.py report --into README.md"
        ),
        formatter_class=HelpFormatter,
    )
    parser.add_argument(
        "--output", type=Path, default=RESULTS, metavar="DIR", help="folder for the JSON files"
    )
    commands = parser.add_subparsers(dest="command", metavar="WHAT")

    def add(name: str, about: str) -> argparse.ArgumentParser:
        return commands.add_parser(
            name, description=about, help=about, formatter_class=HelpFormatter
        )

    for name, part in PARTS.items():
        part.add_arguments(add(name, (part.__doc__ or "").split("\n")[0]))
    add("all", "Measure everything, as without a WHAT.")
    add("scale", "Measure the curves: training by threads, batches by files, the API by clients.")
    both = add("compare", "Compare the ratios of two sets of results.")
    both.add_argument("before", type=Path, metavar="A", help="JSON file or folder of results")
    both.add_argument("after", type=Path, metavar="B", help="another")
    report = add("report", "Print all results as Markdown, goals first.")
    report.add_argument(
        "--into", type=Path, metavar="FILE", help=f"write goals and curves there, after {BEGIN}"
    )
    return parser


def run(args: argparse.Namespace) -> None:
    """Do what one command line asks for."""
    if args.command in PARTS:
        _keep(PARTS[args.command].run(args), args.output)
    elif args.command == "compare":
        print(compare(load_tables(args.before), load_tables(args.after)))
    elif args.command == "report":
        tables = load_tables(args.output)
        print(to_markdown(tables))
        if args.into:
            fill_in(args.into, tables)
    else:
        for line in CURVES if args.command == "scale" else EVERYTHING:
            run(build_parser().parse_args(["--output", str(args.output), *line.split()]))


def _keep(tables: Iterable[Table], folder: Path) -> None:
    """Print tables, and write them and their curves."""
    for table in tables:
        print(f"{table}\n{table.save(folder)}\n", flush=True)
        if is_busy(table.conditions):
            print("the machine was busy with something else: ratios are less sure", file=sys.stderr)
        draw_curves([table], folder)


@report_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Measure what the command line asks for; without a name, everything."""
    run(build_parser().parse_args(argv))
    return 0


if __name__ == "__main__":
    sys.exit(main())
