"""Show what each ingredient of the training data brings: the same short training, more and more.

    MNIST -> + changed a little -> + photographed -> + fonts -> + strokes -> + what is no digit
          -> accuracy on MNIST's validation pictures and on every set that is named

Each row trains a network of its own from nothing, with the same number of steps for each picture
it has. Short trainings show the order of things, not how good the shipped weights are.

    $ python ablation.py load_digits pictures.csv crops.csv
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dataset import data_dir
from evaluate import read_samples, summarise
from handover import RunOptions
from predict import MNISTPredictor
from recipes import RECIPES, Settings, check_settings
from samples import load_samples
from train import train
from utils import PROJECT, HelpFormatter, atomic_write, report_errors, set_up_logging

log = logging.getLogger(__name__)

FOLDER = PROJECT / "outputs" / "ablation"
VALIDATION = "mnist:validation"
EPOCHS = 4
HANDS, NON_DIGITS = 20_000, 6_000  # pictures; a third of what the recipe `hands` takes

PHOTOGRAPHED, PRINTED, DRAWN = ("mnist",), ("mnist", "fonts"), ("mnist", "fonts", "strokes")
STEPS: dict[str, dict[str, Any]] = {
    "MNIST as it is": {"augment": False, "hands": 0, "non_digits": 0},
    "+ turned, moved, bent": {"hands": 0, "non_digits": 0},
    "+ photographed MNIST": {"ingredients": PHOTOGRAPHED, "non_digits": 0},
    "+ printed digits": {"ingredients": PRINTED, "non_digits": 0},
    "+ drawn strokes": {"ingredients": DRAWN, "non_digits": 0},
    "+ what is no digit": {"ingredients": DRAWN},
}


def settings_of(step: str, *, epochs: int = EPOCHS, limit: int = 0, seed: int = 0) -> Settings:
    """Give the settings of one row: the recipe of the shipped weights, less what is left out.

    Parameters
    ----------
    step : str
        One of `STEPS`.
    epochs : int, default=4
    limit : int, default=0
        Pictures of MNIST; 0 takes all, and fewer make fewer of other hands as well.
    seed : int, default=0
    """
    share = min(1.0, limit / 60_000) if limit else 1.0
    settings = dataclasses.replace(
        Settings(**RECIPES["hands"]),
        epochs=epochs,
        hands=round(HANDS * share),
        non_digits=round(NON_DIGITS * share),
        shards=1,
        limit=limit,
        seed=seed,
    )
    return dataclasses.replace(settings, **STEPS[step])


def measure_step(
    step: str,
    settings: Settings,
    sources: Sequence[str],
    *,
    folder: Path,
    data_folder: Path,
    workers: int = 0,
) -> dict[str, Any]:
    """Train one row of the table and measure it on every set.

    Parameters
    ----------
    step : str
        Name of the row.
    settings : Settings
    sources : sequence of str
        Sets of pictures; see `samples.load_samples`.
    folder : Path
        Gets the folder of the run.
    data_folder : Path
        Where MNIST lies and generated pictures are kept.
    workers : int, default=0
        Processes that prepare pictures.

    Returns
    -------
    dict
        `step`, `pictures` (in an epoch), `seconds` (of training), and for each set its `accuracy`
        (see `measures.Share`; None without digits) and `roc_auc` (how well doubt tells digits
        from the rest: 0.5 is chance, 1.0 perfect; None where one of the two is missing).
    """
    check_settings(settings)
    name = "".join(letter if letter.isalnum() else "-" for letter in step).strip("-").lower()
    options = RunOptions(data_dir=data_folder, test=False, hand_on=False)
    run = train(settings, options, folder=folder / name)
    predictor = MNISTPredictor(run.folder / "best.pth")
    sets = {}
    for source in sources:
        samples = load_samples(source, data_folder)
        found = summarise(read_samples(predictor, samples, workers=workers, title=source))
        sets[source] = {
            "accuracy": found["accuracy"] if found["digits"] else None,
            "roc_auc": found["roc_auc"],
        }
    return {
        "step": step,
        "pictures": predictor.checkpoint.data["training_pictures"],
        "seconds": round(run.history[-1]["elapsed"], 1),
        "sets": sets,
    }


def to_markdown(rows: Sequence[dict[str, Any]], conditions: str) -> str:
    """Write the rows as a table.

    Parameters
    ----------
    rows : sequence of dict
        From `measure_step`.
    conditions : str
        What the numbers hold for; the line under the table.

    Returns
    -------
    str
    """
    sources = [source for source in rows[0]["sets"] if any(_cell(r["sets"][source]) for r in rows)]
    head = ["learned from", "pictures", *(Path(source).stem for source in sources)]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for row in rows:
        cells = [_cell(row["sets"][source]) for source in sources]
        lines.append(f"| {row['step']} | {row['pictures']:,} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", conditions, ""])


def _cell(found: dict[str, Any]) -> str:
    """Say how one set was read: the accuracy, and how well non-digits were told apart, if known."""
    accuracy, roc_auc = found["accuracy"], found["roc_auc"]
    parts = [] if accuracy is None else [f"{accuracy['value']:.2%}".replace("%", " %")]
    parts += [] if roc_auc is None else [f"(no digit: {roc_auc:.3f})"]
    return " ".join(parts)


def build_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(
        description="Show what each ingredient of the training data brings.",
        epilog="examples:\n  python ablation.py load_digits\n  python ablation.py a.csv --epochs 8",
        formatter_class=HelpFormatter,
    )
    add = parser.add_argument
    add("sources", nargs="*", metavar="SOURCE", help="sets of pictures, as for evaluate.py")
    add("--epochs", type=int, default=EPOCHS, metavar="N", help="of each training")
    add("--limit", type=int, default=0, metavar="N", help="MNIST pictures for a trial; 0: all")
    add("--seed", type=int, default=0, metavar="N", help="of each training")
    add("--workers", type=int, default=2, metavar="N", help="processes that prepare pictures")
    add("--data-dir", type=Path, metavar="DIR", help="holds MNIST/raw; else $DIGITS_DATA, data/")
    add("--output", type=Path, default=FOLDER, metavar="DIR", help="folder for the results")
    return parser


def run(args: argparse.Namespace) -> int:
    """Train and measure every row, and write the table as it grows."""
    data_folder = data_dir(args.data_dir)
    sources = [VALIDATION, *args.sources]
    for source in args.sources:  # a wrong name must not cost minutes
        load_samples(source, data_folder, limit=1)
    conditions = f"{args.epochs} epochs each, seed {args.seed}, best epoch on validation."
    rows = []
    for step in STEPS:
        log.info("%s", step)
        settings = settings_of(step, epochs=args.epochs, limit=args.limit, seed=args.seed)
        rows.append(
            measure_step(
                step,
                settings,
                sources,
                folder=args.output,
                data_folder=data_folder,
                workers=args.workers,
            )
        )
        for name, text in (
            ("ablation.json", json.dumps(rows, indent=1) + "\n"),
            ("ablation.md", to_markdown(rows, conditions)),
        ):
            with atomic_write(args.output / name) as path:
                path.write_text(text, encoding="utf-8")
    print(to_markdown(rows, conditions))
    return 0


@report_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    args = build_parser().parse_args(argv)
    set_up_logging()
    return run(args)


if __name__ == "__main__":
    sys.exit(main())
