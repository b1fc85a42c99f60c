"""Measure training: a recipe of ours against the plain one, against bare arithmetic, by threads.

    the same pictures -> naive, ours, floor, in turns -> seconds an epoch, and for all epochs

`naive` is how tutorials do it; `floor` is what no way of doing it can beat (the network forward
and backward on a batch that lies ready). `--full` trains from start to end with one command for
each seed, as a user would, and `--scale` gives the same work to one thread, two, ...
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from dataset import Digits, data_dir, load_mnist
from errors import SettingsError
from learner import Learner, build_learner
from learning import choose_precision, compute_loss, prepare_network
from model import MNIST_MEAN, MNIST_STD, UNIT_SCALING, build_model, to_unit_pixels
from recipes import RECIPES, Settings
from registry import load_checkpoint
from runs import measure
from timing import Goal, Table, describe_conditions, median_ratio, take_turns
from utils import PROJECT, check_crowd, pick_device, set_seed

EPOCH = 55_000  # training pictures of MNIST, less those held out
ROUND = 5_120  # pictures that each contender learns from in a round
PICTURES_HELP = f"to learn from; 0: {ROUND:,} in a round, or all with --full"
PLAIN_BATCH = 64
PLAIN_EPOCHS = 10
PLAIN_LR = 0.001
PLAIN_NOTE = (
    f"naive: DataLoader and torchvision transforms, batches of {PLAIN_BATCH}, Adam, "
    f"{PLAIN_EPOCHS} epochs"
)

OPERATIONS = 12  # of a profile
GOAL_SECONDS = 45  # for the recipe "fast" on two cores
GOAL_ACCURACY = 99.3  # %
GOAL_SHARE = 0.8  # of the seeds have to reach it


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    add = parser.add_argument
    add("--recipe", choices=list(RECIPES), default="fast", help="which of ours")
    add("--pictures", type=int, default=0, metavar="N", help=PICTURES_HELP)
    add("--rounds", type=int, default=5, metavar="N", help="of which the median counts")
    add("--full", action="store_true", help="train on everything to the end, and measure accuracy")
    add("--seeds", type=int, default=1, metavar="N", help="with --full: trainings, seeds 0, 1, ...")
    add("--test", action="store_true", help="with --full: look at MNIST's test pictures, too")
    add("--naive", action="store_true", help="with --full: the plain recipe, too (13 minutes)")
    add("--profile", action="store_true", help="which operations take the processor's time")
    add("--scale", action="store_true", help="the same work by one thread, two, ...")
    add("--threads", type=int, default=0, metavar="N", help="CPU threads; 0: as PyTorch chooses")
    add("--seed", type=int, default=0, metavar="N", help="of weights and augmentation")
    add("--data-dir", type=Path, metavar="DIR", help="holds MNIST/raw; else $DIGITS_DATA, data/")
    add("--no-cuda", action="store_true", help="stay on the CPU")


def run(args: argparse.Namespace) -> list[Table]:
    """Measure what the command line asks for."""
    check_crowd("--threads", args.threads)
    threads = torch.get_num_threads()
    if args.threads:
        torch.set_num_threads(args.threads)
    try:
        if args.full:
            return [train_in_full(args)]
        if args.profile:
            return [profile_steps(args)]
        return [measure_threads(args) if args.scale else compare_recipes(args)]
    finally:
        torch.set_num_threads(threads)


def compare_recipes(args: argparse.Namespace) -> Table:
    """Compare a recipe of ours with the plain one: seconds an epoch, and for the whole training."""
    device = pick_device("cpu" if args.no_cuda else "auto")
    conditions = describe_conditions(device)
    settings = Settings(**RECIPES[args.recipe], seed=args.seed)
    sample = _load_sample(args, settings)
    learner = _build_seeded(settings, device)
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
            "this / floor": whole[name] / whole["floor"],
        }
        for name in ("naive", "ours", "floor")
    }
    return Table(
        "train",
        "seconds",
        rows,
        {**conditions, "recipe": args.recipe, "rounds": args.rounds, "pictures": len(sample)},
        [
            PLAIN_NOTE,
            f"ours: --recipe {args.recipe}, {settings.epochs} epochs",
            "floor: the recipe's network forward and backward, one batch again and again",
            f"medians of {args.rounds} rounds of {len(sample):,} pictures, extrapolated to "
            f"{EPOCH:,} (--full trains in full)",
        ],
        samples=seconds,
    )


def measure_threads(args: argparse.Namespace) -> Table:
    """Give the same work to one thread, two, four, ... up to the number of cores."""
    device = torch.device("cpu")
    conditions = describe_conditions(device)
    settings = Settings(**RECIPES[args.recipe], seed=args.seed)
    sample = _load_sample(args, settings)
    learner = _build_seeded(settings, device)
    cores = os.cpu_count() or 1
    powers = (2**power for power in range(cores.bit_length()))
    counts = sorted({cores, *(count for count in powers if count < cores)})

    def learn(threads: int) -> None:
        torch.set_num_threads(threads)
        learner.learn(sample, settings.epochs)

    seconds = take_turns(
        {str(count): functools.partial(learn, count) for count in counts}, rounds=args.rounds
    )
    rows = {
        name: {
            "seconds an epoch": statistics.median(values) * EPOCH / len(sample),
            "one thread / this": median_ratio(seconds["1"], values),
        }
        for name, values in seconds.items()
    }
    return Table(
        "train-threads",
        "seconds",
        rows,
        {**conditions, "recipe": args.recipe, "rounds": args.rounds, "pictures": len(sample)},
        [f"medians of {args.rounds} rounds of {len(sample):,} pictures, as if for {EPOCH:,}"],
        samples=seconds,
        x="threads",
    )


def profile_steps(args: argparse.Namespace) -> Table:
    """Ask PyTorch's profiler which operations take the time of a training step."""
    from torch.profiler import ProfilerActivity, profile

    device = torch.device("cpu")
    conditions = describe_conditions(device)
    settings = Settings(**RECIPES[args.recipe], seed=args.seed)
    sample = _load_sample(args, settings)
    learner = _build_seeded(settings, device)
    learner.learn(sample, settings.epochs)  # warms up
    with profile(activities=[ProfilerActivity.CPU], acc_events=True) as profiled:
        learner.learn(sample, settings.epochs)
    found = sorted(profiled.key_averages(), key=lambda each: -each.self_cpu_time_total)
    whole = sum(each.self_cpu_time_total for each in found)
    steps = len(sample) // settings.batch_size
    rows = {
        each.key.removeprefix("aten::"): {
            "% of the time": 100 * each.self_cpu_time_total / whole,
            "ms a step": each.self_cpu_time_total / 1000 / steps,
            "calls a step": each.count / steps,
        }
        for each in found[:OPERATIONS]
    }
    return Table(
        "train-profile",
        "torch.profiler, self CPU time",
        rows,
        {**conditions, "recipe": args.recipe, "batch": settings.batch_size, "steps": steps},
        ["an epoch on whole pictures, the last of the recipe; data and augmentation included"],
    )


def train_in_full(args: argparse.Namespace) -> Table:
    """Train from start to end with one command for each seed, and say how long and how well."""
    device = pick_device("cpu" if args.no_cuda else "auto")
    conditions = describe_conditions(device)
    rows: dict[str, Mapping[str, float]] = {
        f"seed {seed}": _train_by_command(seed, args)
        for seed in range(args.seed, args.seed + args.seeds)
    }
    figures = list(rows.values())
    rows["mean"] = {
        column: statistics.fmean(row[column] for row in figures) for column in figures[0]
    }
    judged = "test, %" if args.test else "validation, %"
    reached = statistics.fmean(row[judged] >= GOAL_ACCURACY for row in figures)
    split = judged.removesuffix(", %")
    goals = [
        Goal(f"training by --recipe {args.recipe}", rows["mean"]["learning, s"], GOAL_SECONDS, "s"),
        Goal(f"its accuracy on {split}", rows["mean"][judged], GOAL_ACCURACY, "%", at_least=True),
        Goal(f"seeds with {GOAL_ACCURACY} % of {split}", reached, GOAL_SHARE, at_least=True),
    ]
    notes = [
        "learning: all epochs with their looks at validation; command: besides, starting Python, "
        "reading MNIST, writing checkpoints and drawing the report",
        f"{round(reached * args.seeds)} of {args.seeds} seeds reached {GOAL_ACCURACY} % of {split}",
    ]
    if args.naive:
        rows["naive"] = _train_plainly(args, device)
        notes.append(PLAIN_NOTE)
    return Table(
        "train-full",
        "seconds and %",
        rows,
        {**conditions, "recipe": args.recipe, "pictures": args.pictures or EPOCH},
        notes,
        goals if args.recipe == "fast" and not args.pictures else [],
    )


def _train_by_command(seed: int, args: argparse.Namespace) -> dict[str, float]:
    """Run train.py as a user would, somewhere else, and read what it left behind."""
    with tempfile.TemporaryDirectory() as place:
        command = [sys.executable, str(PROJECT / "train.py"), "--recipe", args.recipe]
        command += ["--seed", str(seed), "--limit", str(args.pictures), "--run", "run"]
        command += ["--output", place, "--models-dir", f"{place}/models"]
        command += ["--threads", str(args.threads), "--data-dir", str(data_dir(args.data_dir))]
        command += ["--no-cuda"] if args.no_cuda else []
        command += [] if args.test else ["--no-test"]
        started = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        seconds = time.perf_counter() - started
        if done.returncode:
            raise SettingsError(f"train.py failed: {done.stderr.strip()}")
        run_folder = Path(place) / "run"
        lines = (run_folder / "history.jsonl").read_text(encoding="utf-8").splitlines()
        metrics = load_checkpoint(run_folder / "best.pth").metrics
    row = {
        "learning, s": json.loads(lines[-1])["elapsed"],
        "command, s": seconds,
        "validation, %": 100 * metrics["validation_accuracy"],
    }
    return row | ({"test, %": 100 * metrics["test_accuracy"]} if args.test else {})


def _train_plainly(args: argparse.Namespace, device: torch.device) -> dict[str, float]:
    """Train by the plain recipe from start to end."""
    folder = data_dir(args.data_dir)
    digits = load_mnist("train", folder)
    if args.pictures:
        digits = digits.take(slice(args.pictures))
    set_seed(args.seed)
    started = time.perf_counter()
    plain = PlainTraining(digits, device)
    for _ in range(PLAIN_EPOCHS):
        plain.learn()
    seconds = time.perf_counter() - started
    row = {"learning, s": seconds}
    for split in ("validation", "test") if args.test else ("validation",):
        row[f"{split}, %"] = 100 * measure(plain.model, load_mnist(split, folder)).accuracy
    return row


def _load_sample(args: argparse.Namespace, settings: Settings) -> Digits:
    """Read the pictures of one round."""
    sample = load_mnist("train", data_dir(args.data_dir)).take(slice(args.pictures or ROUND))
    if len(sample) < settings.batch_size:
        raise SettingsError(
            f"{len(sample)} pictures are too few: a batch of the recipe has {settings.batch_size}"
        )
    return sample


def _build_seeded(settings: Settings, device: torch.device) -> Learner:
    """Build the same learner each time."""
    set_seed(settings.seed)
    return build_learner(settings, device)


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
