"""Put three trained networks together to one that is more often right, and slower.

    three checkpoints of the default network -> one checkpoint -> accuracy on MNIST's validation

Networks of different seeds make different mistakes; their mean makes fewer than each. The result
is a checkpoint like any other (`--model ensemble`); its doubt still has to be calibrated.

    $ python ensemble.py mnist_cnn_best seed1 seed2
    $ python calibrate.py --model ensemble
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dataset import data_dir, load_mnist
from errors import DigitError, SettingsError
from model import Ensemble, MNISTNet, count_parameters
from registry import MODELS_DIR, Checkpoint, load_checkpoint, save_checkpoint
from runs import measure
from utils import HelpFormatter

NAME = Ensemble.name


def combine(checkpoints: Sequence[Checkpoint]) -> Ensemble:
    """Build one network of the weights of several.

    Parameters
    ----------
    checkpoints : sequence of Checkpoint
        `Ensemble.MEMBERS` of the default network.

    Returns
    -------
    Ensemble
        In evaluation mode.

    Raises
    ------
    SettingsError
        If there are more or fewer, one is given twice, or one is of another network.
    """
    if len(checkpoints) != Ensemble.MEMBERS:
        raise SettingsError(
            f"an ensemble is made of {Ensemble.MEMBERS} checkpoints, not of {len(checkpoints)}"
        )
    if len({checkpoint.version for checkpoint in checkpoints}) < len(checkpoints):
        raise SettingsError("the same weights are given twice; train with another --seed")
    scaling = checkpoints[0].scaling
    ensemble = Ensemble(scaling)
    for member, checkpoint in zip(ensemble.members, checkpoints, strict=True):
        if (checkpoint.architecture, checkpoint.scaling) != (MNISTNet.name, scaling):
            raise SettingsError(
                f"{checkpoint.path} is a {checkpoint.architecture} with {checkpoint.scaling!r}; "
                f"an ensemble is made of {MNISTNet.name}, all with {scaling!r}"
            )
        member.load_state_dict(checkpoint.model.state_dict())
    return ensemble.eval()


def build_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(
        description="Put three trained networks together to one that is more often right.",
        epilog="examples:\n  python ensemble.py mnist_cnn_best seed1 seed2",
        formatter_class=HelpFormatter,
    )
    add = parser.add_argument
    add("models", nargs="+", metavar="MODEL", help=f"{Ensemble.MEMBERS} names in models/, or files")
    add("--models-dir", type=Path, default=MODELS_DIR, metavar="DIR", help="for checkpoints")
    add("--data-dir", type=Path, metavar="DIR", help="holds MNIST/raw; else $DIGITS_DATA, data/")
    return parser


def run(args: argparse.Namespace) -> int:
    """Combine, measure on the validation pictures, save."""
    checkpoints = [load_checkpoint(name, args.models_dir) for name in args.models]
    ensemble = combine(checkpoints)
    score = measure(ensemble, load_mnist("validation", data_dir(args.data_dir)))
    metrics: dict[str, Any] = {
        "validation_accuracy": score.accuracy,
        "validation_loss": score.loss,
    }
    path = args.models_dir / f"{NAME}.pth"
    save_checkpoint(
        path,
        ensemble,
        settings={"members": [checkpoint.version for checkpoint in checkpoints]},
        metrics=metrics,
        data=checkpoints[0].data,
    )
    for checkpoint in checkpoints:
        alone = checkpoint.metrics.get("validation_accuracy")
        print(f"{checkpoint.name:<24} {'unknown' if alone is None else f'{alone:.2%}':>8}")
    print(f"{NAME:<24} {score.accuracy:>8.2%} of the validation pictures")
    print(f"{path}: {count_parameters(ensemble):,} parameters; next: calibrate.py --model {NAME}")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    args = build_parser().parse_args(argv)
    try:
        return run(args)
    except DigitError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
