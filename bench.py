"""Measure how fast the project is: against a naive version, and against the bare arithmetic.

    the same pictures -> ours, naive, floor, in turns -> medians and ratios -> outputs/bench/*.json

Speeds of this machine today mean little elsewhere and tomorrow; ratios taken in one run do. So the
contenders take turns, several times, and the table shows medians. `naive` is how tutorials do
it; `floor` is what no way of doing it can beat (the network on pictures that lie ready).

    $ python bench.py train
    $ python bench.py train --full
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from dataset import Digits, data_dir, load_mnist
from errors import DigitError, SettingsError
from learning import choose_precision, compute_loss, prepare_network
from model import MNIST_MEAN, MNIST_STD, UNIT_SCALING, build_model, to_unit_pixels
from runs import measure
from train import RECIPES, Settings, build_learner
from utils import PROJECT, HelpFormatter, atomic_write, pick_device, set_seed

RESULTS = PROJECT / "outputs" / "bench"

EPOCH = 55_000  # training pictures of MNIST, less those held out
ROUND = 5_120  # pictures that each contender learns from in a round
PICTURES_HELP = f"to learn from; 0: {ROUND:,} in a round, or all with --full"
PLAIN_BATCH = 64
PLAIN_EPOCHS = 10
PLAIN_LR = 0.001


@dataclass(frozen=True)
class Table:
    """What one measurement found.

    Attributes
    ----------
    name : str
        Of the measurement.
    unit : str
        Of the values.
    rows : dict
        For each contender its columns, by name.
    conditions : dict
        Everything that could explain another result.
    notes : list of str
        What to know when reading the rows.
    """

    name: str
    unit: str
    rows: Mapping[str, Mapping[str, float]]
    conditions: Mapping[str, Any]
    notes: Sequence[str] = field(default_factory=list)

    def __str__(self) -> str:
        columns = list(next(iter(self.rows.values())))
        wide = max(map(len, self.rows)) + 2
        lines = [
            f"{self.name} ({self.unit})",
            " " * wide + "".join(f"{column:>18}" for column in columns),
        ]
        for contender, values in self.rows.items():
            cells = "".join(f"{values[column]:>18.4g}" for column in columns)
            lines.append(f"{contender:<{wide}}{cells}")
        lines += [f"- {note}" for note in self.notes]
        lines.append(", ".join(f"{key}: {value}" for key, value in self.conditions.items()))
        return "\n".join(lines)

    def save(self, folder: Path) -> Path:
        """Write the table as JSON, under its name."""
        path = folder / f"{self.name}.json"
        with atomic_write(path) as temporary:
            temporary.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")
        return path


def take_turns(
    contenders: Mapping[str, Callable[[], object]], *, rounds: int
) -> dict[str, list[float]]:
    """Time several ways of doing the same, one after the other, again and again.

    A machine that gets slower or busier in the meantime then hits all of them alike.

    Parameters
    ----------
    contenders : mapping of str to callable
        Each call does the work once.
    rounds : int
        How often each is timed; one round before them warms up and is not counted.

    Returns
    -------
    dict of str to list of float
        Seconds of each round.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds + 1):
        for name, work in contenders.items():
            started = time.perf_counter()
            work()
            if number:
                seconds[name].append(time.perf_counter() - started)
    return seconds


def describe_conditions(device: torch.device) -> dict[str, Any]:
    """Say on what, with what and when something is measured."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    return {
        "processor": _processor_name(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load at start": round(load, 2),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "torch": str(torch.__version__),
        "python": platform.python_version(),
        "system": platform.system(),
        "date": datetime.now(timezone.utc).isoformat(timespec="minutes"),
    }


def _processor_name() -> str:
    """Ask Linux, then whatever else there is."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        text = ""
    for line in text.splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


# --- train --------------------------------------------------------------------------------------


def bench_train(args: argparse.Namespace) -> Table:
    """Compare a recipe of ours with the plain one: seconds an epoch, and for the whole training."""
    device = pick_device("cpu" if args.no_cuda else "auto")
    conditions = describe_conditions(device)
    settings = Settings(**RECIPES[args.recipe], seed=args.seed)
    folder = data_dir(args.data_dir)
    if args.full:
        return _train_in_full(settings, folder, device, conditions, args)
    sample = load_mnist("train", folder).take(slice(args.pictures or ROUND))
    if len(sample) < settings.batch_size:
        raise SettingsError(
            f"{len(sample)} pictures are too few: a batch of the recipe has {settings.batch_size}"
        )
    set_seed(args.seed)
    learner = build_learner(settings, device)
    ready = sample.to(device)
    contenders: dict[str, Callable[[], object]] = {
        "naive": PlainTraining(sample, device).learn,
        "ours": lambda: learner.learn(ready, settings.epochs),
        "floor": BareSteps(settings, sample, device).learn,
    }
    if settings.small_epochs:
        contenders["ours, small"] = lambda: learner.learn(ready, 1)
    seconds = take_turns(contenders, rounds=args.rounds)
    per_epoch = {
        name: statistics.median(values) * EPOCH / len(sample) for name, values in seconds.items()
    }
    small = per_epoch.pop("ours, small", per_epoch["ours"])
    whole = {
        "naive": PLAIN_EPOCHS * per_epoch["naive"],
        "ours": settings.small_epochs * small
        + (settings.epochs - settings.small_epochs) * per_epoch["ours"],
        "floor": settings.epochs * per_epoch["floor"],
    }
    rows = {
        name: {
            "an epoch": per_epoch[name],
            "all epochs": whole[name],
            "naive / this": whole["naive"] / whole[name],
        }
        for name in ("naive", "ours", "floor")
    }
    return Table(
        "train",
        "seconds",
        rows,
        {**conditions, "recipe": args.recipe, "rounds": args.rounds, "pictures": len(sample)},
        [
            f"naive: DataLoader and torchvision transforms, batches of {PLAIN_BATCH}, Adam, "
            f"{PLAIN_EPOCHS} epochs",
            f"ours: --recipe {args.recipe}, {settings.epochs} epochs",
            "floor: the recipe's network forward and backward, one batch again and again",
            f"medians of {args.rounds} rounds of {len(sample):,} pictures, extrapolated to "
            f"{EPOCH:,} (--full trains in full)",
        ],
    )


def _train_in_full(
    settings: Settings,
    folder: Path,
    device: torch.device,
    conditions: Mapping[str, Any],
    args: argparse.Namespace,
) -> Table:
    """Train both recipes from start to end, once each, and measure them on validation."""
    digits, validation = load_mnist("train", folder), load_mnist("validation", folder)
    if args.pictures:
        digits = digits.take(slice(args.pictures))
    validation = validation.to(device)
    rows = {}
    for name in ("ours", "naive"):
        set_seed(args.seed)
        started = time.perf_counter()
        result: nn.Module
        if name == "ours":
            learner, ready = build_learner(settings, device), digits.to(device)
            for epoch in range(1, settings.epochs + 1):
                learner.learn(ready, epoch)
            result = learner.result
        else:
            plain = PlainTraining(digits, device)
            for _ in range(PLAIN_EPOCHS):
                plain.learn()
            result = plain.model
        seconds = time.perf_counter() - started
        rows[name] = {
            "all epochs": seconds,
            "validation, %": 100 * measure(result, validation).accuracy,
        }
    for values in rows.values():
        values["naive / this"] = rows["naive"]["all epochs"] / values["all epochs"]
    return Table(
        "train-full",
        "seconds",
        rows,
        {**conditions, "recipe": args.recipe, "seed": args.seed, "pictures": len(digits)},
        [
            f"naive: DataLoader and torchvision transforms, batches of {PLAIN_BATCH}, Adam, "
            f"{PLAIN_EPOCHS} epochs",
            f"ours: --recipe {args.recipe}, {settings.epochs} epochs; without looks at validation",
        ],
    )


class PlainTraining:
    """The recipe of most tutorials: one picture at a time through PIL into a DataLoader."""

    def __init__(self, digits: Digits, device: torch.device) -> None:
        from torchvision import transforms

        to_input = transforms.Compose(
            [transforms.ToTensor(), transforms.Normalize((MNIST_MEAN,), (MNIST_STD,))]
        )
        self.loader = torch.utils.data.DataLoader(
            PictureDataset(digits, to_input), batch_size=PLAIN_BATCH, shuffle=True
        )
        self.device = device
        # The transform scales the input already, so the network must not.
        self.model = build_model(scaling=UNIT_SCALING).to(device)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=PLAIN_LR)

    def learn(self) -> None:
        """See every picture once."""
        self.model.train()
        for pixels, labels in self.loader:
            loss = F.cross_entropy(self.model(pixels.to(self.device)), labels.to(self.device))
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()


class PictureDataset(torch.utils.data.Dataset):
    """Digits as torchvision's MNIST gives them: a PIL image each time one is asked for."""

    def __init__(self, digits: Digits, transform: Callable[[Any], torch.Tensor]) -> None:
        assert digits.labels is not None
        self.images, self.labels = digits.images, digits.labels
        self.transform = transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, place: int) -> tuple[torch.Tensor, int]:
        from PIL import Image

        return self.transform(Image.fromarray(self.images[place].numpy())), int(self.labels[place])


class BareSteps:
    """Forward and backward on one batch that lies ready: no data, no optimizer, no average."""

    def __init__(self, settings: Settings, digits: Digits, device: torch.device) -> None:
        assert digits.labels is not None
        self.count = len(digits) // settings.batch_size
        batch = digits.take(slice(settings.batch_size)).to(device)
        self.pixels = to_unit_pixels(batch.images.unsqueeze(1))
        assert batch.labels is not None
        self.labels = batch.labels
        self.model = build_model(settings.model)
        prepare_network(self.model, device, dropout=settings.dropout)
        self.precision = choose_precision(settings.precision, device)
        self.device = device

    def learn(self) -> None:
        """Do as many steps as an epoch has."""
        self.model.train()
        reduced = self.precision != torch.float32
        for _ in range(self.count):
            with torch.autocast(self.device.type, self.precision, enabled=reduced):
                logits = self.model(self.pixels).float()
            self.model.zero_grad()
            compute_loss(logits, self.labels).backward()
        if self.device.type == "cuda":
            torch.cuda.synchronize()


# --- the command line ----------------------------------------------------------------------------

BENCHES: dict[str, Callable[[argparse.Namespace], Table]] = {"train": bench_train}


def build_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(
        description="Measure how fast the project is on this machine.",
        epilog=(
            "examples:\n"
            "  python bench.py                     everything, as `make bench` does\n"
            "  python bench.py train               about two minutes\n"
            "  python bench.py train --full        both recipes from start to end"
        ),
        formatter_class=HelpFormatter,
    )
    parser.add_argument(
        "--output", type=Path, default=RESULTS, metavar="DIR", help="folder for the JSON files"
    )
    benches = parser.add_subparsers(dest="bench", metavar="WHAT")
    train = benches.add_parser(
        "train",
        description="Compare a recipe of ours with the plain one.",
        help="a training recipe against the plain one",
        formatter_class=HelpFormatter,
    )
    add = train.add_argument
    add("--recipe", choices=("default", "fast"), default="fast", help="which of ours")
    add("--pictures", type=int, default=0, metavar="N", help=PICTURES_HELP)
    add("--rounds", type=int, default=5, metavar="N", help="of which the median counts")
    add("--full", action="store_true", help="train on everything to the end, and measure accuracy")
    add("--seed", type=int, default=0, metavar="N", help="of weights and augmentation")
    add("--data-dir", type=Path, metavar="DIR", help="holds MNIST/raw; else $DIGITS_DATA, data/")
    add("--no-cuda", action="store_true", help="stay on the CPU")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Measure what the command line asks for; without a name, everything."""
    parser = build_parser()
    args = parser.parse_args(argv)
    names = [args.bench] if args.bench else list(BENCHES)
    try:
        for name in names:
            chosen = args if args.bench else parser.parse_args(["--output", str(args.output), name])
            table = BENCHES[name](chosen)
            print(f"{table}\n{table.save(args.output)}", flush=True)
    except DigitError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
