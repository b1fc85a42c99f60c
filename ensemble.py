"""Combine trained networks into one that is more often right.

    several networks  -> the mean of their answers -> models/ensemble.pth, the work of all of them
    stages of one run -> the mean of their weights -> one network of the usual size

Networks that were trained apart make different mistakes; the mean of their answers makes fewer
than each. Stages of one training (each begun with `train.py --start` from the one before) lie in
the same valley, and there the mean of the weights itself is a good network. The result is a
checkpoint like any other; its doubt still has to be calibrated.

    $ python ensemble.py mnist_cnn_best seed1 seed2 --name mine
    $ python ensemble.py --average stage1 stage2 stage3 --name valley
    $ python calibrate.py --model mine

Source: Wortsman et al. 2022, "Model soups: averaging weights of multiple fine-tuned models".
"""

from __future__ import annotations

import argparse
import copy
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from dataset import Split, data_dir, load_mnist
from errors import SettingsError
from model import MAX_MEMBERS, DigitNetwork, Ensemble, build_model, count_parameters
from registry import ALIASES, MODELS_DIR, SUFFIX, Checkpoint, load_checkpoint, save_checkpoint
from runs import measure
from shelf import read_name
from utils import HelpFormatter, one_line, report_errors


def combine(checkpoints: Sequence[Checkpoint]) -> Ensemble:
    """Build one network of the weights of several.

    Parameters
    ----------
    checkpoints : sequence of Checkpoint
        From 2 to `MAX_MEMBERS`, of any networks with the same scaling.

    Returns
    -------
    Ensemble
        In evaluation mode.

    Raises
    ------
    SettingsError
        If there are more or fewer, one is given twice, or they do not fit together.
    """
    if not 2 <= len(checkpoints) <= MAX_MEMBERS:
        raise SettingsError(
            f"an ensemble is made of 2 to {MAX_MEMBERS} checkpoints, not of {len(checkpoints)}"
        )
    if len({checkpoint.version for checkpoint in checkpoints}) < len(checkpoints):
        raise SettingsError("the same weights are given twice; train with another --seed")
    scaling = checkpoints[0].scaling
    for checkpoint in checkpoints:
        if isinstance(checkpoint.model, Ensemble):
            raise SettingsError(f"{checkpoint.path} is an ensemble itself; give its members")
        if checkpoint.scaling != scaling:
            raise SettingsError(
                f"{checkpoint.path} scales its input by {checkpoint.scaling!r}, and "
                f"{checkpoints[0].path} by {scaling!r}; all members must do the same"
            )
    members = [copy.deepcopy(checkpoint.model) for checkpoint in checkpoints]
    return Ensemble(members, scaling).eval()


def average(checkpoints: Sequence[Checkpoint]) -> DigitNetwork:
    """Build one network whose weights are the mean of several.

    Parameters
    ----------
    checkpoints : sequence of Checkpoint
        At least two of the same network, with the same scaling but for softening, which is taken
        from the last.

    Returns
    -------
    DigitNetwork
        In evaluation mode.

    Raises
    ------
    SettingsError
        If there is only one, or they do not fit together.
    """
    if len(checkpoints) < 2:
        raise SettingsError("one checkpoint has no mean; give at least two")
    *others, last = checkpoints
    for other in others:
        scaling = replace(other.scaling, soften=last.scaling.soften)
        if (other.architecture, scaling) != (last.architecture, last.scaling):
            raise SettingsError(
                f"{other.path} is a {other.architecture} with {other.scaling!r}, but {last.path} "
                f"is a {last.architecture} with {last.scaling!r}: their weights have no mean"
            )
    weights = [checkpoint.model.state_dict() for checkpoint in checkpoints]
    model = build_model(last.architecture, last.scaling)
    model.load_state_dict(
        {
            name: torch.stack([each[name] for each in weights]).mean(dim=0)
            if value.is_floating_point()
            else value  # batch normalisation counts its batches
            for name, value in weights[-1].items()
        }
    )
    return model.eval()


def build_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(
        description="Combine trained networks into one that is more often right.",
        epilog=(
            "examples:\n"
            "  python ensemble.py mnist_cnn_best seed1 seed2 --name mine\n"
            "  python ensemble.py --average stage1 stage2 stage3 --name valley"
        ),
        formatter_class=HelpFormatter,
    )
    add = parser.add_argument
    add("models", nargs="+", metavar="MODEL", help="names in models/, or files")
    add("--average", action="store_true", help="mean of the weights instead of the answers")
    add("--test", action="store_true", help="measure on the test pictures, too: once, at the end")
    add("--name", help='of the result; by default "ensemble" or "average"')
    add("--replace", action="store_true", help="replace a model that has this name already")
    add("--models-dir", type=Path, default=MODELS_DIR, metavar="DIR", help="for checkpoints")
    add("--data-dir", type=Path, metavar="DIR", help="holds MNIST/raw; else $DIGITS_DATA, data/")
    return parser


def run(args: argparse.Namespace) -> int:
    """Combine, measure on the validation pictures, save."""
    path = _find_place(args)
    checkpoints = [load_checkpoint(name, args.models_dir) for name in args.models]
    model = average(checkpoints) if args.average else combine(checkpoints)
    metrics: dict[str, Any] = {}
    splits: list[Split] = ["validation", "test"] if args.test else ["validation"]
    for split in splits:
        score = measure(model, load_mnist(split, data_dir(args.data_dir)))
        metrics |= {f"{split}_accuracy": score.accuracy, f"{split}_loss": score.loss}
    save_checkpoint(
        path,
        model,
        settings={
            "average" if args.average else "members": [
                checkpoint.version for checkpoint in checkpoints
            ]
        },
        metrics=metrics,
        data=checkpoints[-1].data,
    )
    for checkpoint in checkpoints:
        alone = checkpoint.metrics.get("validation_accuracy")
        print(
            f"{one_line(checkpoint.name):<24} {'unknown' if alone is None else f'{alone:.2%}':>8}"
        )
    for split in splits:
        print(f"{path.stem:<24} {metrics[f'{split}_accuracy']:>8.2%} of the {split} pictures")
    print(f"{path}: {count_parameters(model):,} parameters; next: calibrate.py --model {path.stem}")
    return 0


def _find_place(args: argparse.Namespace) -> Path:
    """Say where the result goes; refuse to destroy a model that nobody said may go."""
    name = "average" if args.average else "ensemble"
    if args.name is not None:
        name = read_name("--name", args.name)
    if name in ALIASES:
        raise SettingsError(
            f"--name {name}: that is not a model's own name; {name!r} is {ALIASES[name]}"
        )
    path: Path = args.models_dir / f"{name}{SUFFIX}"
    if path.exists() and not args.replace:
        raise SettingsError(
            f"there is a model {name!r} already; choose another with --name, or let it be replaced "
            "with --replace"
        )
    return path


@report_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    args = build_parser().parse_args(argv)
    return run(args)


if __name__ == "__main__":
    sys.exit(main())
