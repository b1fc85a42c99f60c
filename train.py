"""Train a network on MNIST and leave its best weights in `models/`.

    digits in memory -> shuffled batches -> augment -> network -> loss -> weights
                                                    -> running average -> validation -> best

Each epoch ends with a look at the validation pictures; the weights that do best there are kept.
The test pictures are looked at once, after training, with those weights.

    $ python train.py --epochs 20 --batch-size 128 --lr 0.0005 --no-cuda
    $ python train.py --recipe fast

What a run leaves behind:

    models/NAME.pth, NAME_best.pth      the last weights, and the best on validation
    outputs/RUN/config.json             every setting
    outputs/RUN/history.jsonl           one line for each epoch, written as it ends
    outputs/RUN/resume.pt               all that `--resume outputs/RUN` needs
    outputs/RUN/*.png, report.txt       curves, confusion matrix, samples, scores of each digit
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import math
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import plots
from dataset import SPLIT_SEED, Augmentation, Digits, augment, data_dir, join, load_mnist
from errors import CheckpointError, DigitError, ModelNotFoundError, SettingsError
from hands import NOT_A_DIGIT, make_hands, make_non_digits
from model import (
    CLASSES,
    DEFAULT_ARCHITECTURE,
    DigitNetwork,
    build_model,
    compute_logits,
    count_parameters,
    list_models,
)
from registry import MODELS_DIR, load_checkpoint, save_checkpoint
from utils import (
    MAX_SEED,
    PROJECT,
    HelpFormatter,
    atomic_write,
    pick_device,
    set_seed,
    set_up_logging,
)

OUTPUTS = PROJECT / "outputs"
SCHEDULES = ("one-cycle", "cosine", "constant")
PRECISIONS = ("auto", "fp32", "bf16")
INTERRUPTED = 130  # what shells report for Ctrl-C
CHECKPOINT_METRICS = (
    "epoch",
    "train_loss",
    "train_accuracy",
    "validation_loss",
    "validation_accuracy",
    "hands_loss",
    "hands_accuracy",
    "elapsed",
)
SHARE_OF_WARM_UP = 0.2  # part of all steps in which the learning rate climbs


@dataclass(frozen=True)
class Settings:
    """Everything that decides what a run computes; saved with the run and with its weights.

    Attributes
    ----------
    model : str
        One of `model.list_models()`.
    epochs, batch_size : int
        How often each picture is seen, and how many are seen between two steps.
    lr : float
        Highest learning rate of the schedule.
    schedule : {"one-cycle", "cosine", "constant"}
        One-cycle climbs for a fifth of the steps and falls to zero; cosine climbs for one
        epoch; constant stays.
    weight_decay : float
    label_smoothing : float
        Part of the target that is spread over all ten digits.
    dropout : float
        Multiplies the network's own dropout rates; 0 turns dropout off.
    ema : float
        Decay per step of the running average of the weights; 0 keeps no average. With an
        average, it is the averaged weights that are measured and saved.
    augment : bool
        Change every picture a little each time it is seen.
    elastic_px, thickness : float
        See `dataset.Augmentation`.
    patience : int
        Stop after this many epochs without a better validation result; 0 never stops early.
    teachers : tuple of str
        Checkpoints to learn from besides the labels.
    teaching : float
        Part of the loss that comes from the teachers.
    teacher_temperature : float
        Softens what teachers and pupil say before they are compared.
    hands : int
        Digits of other hands than MNIST's to learn from besides, in each epoch; see `hands.py`.
    non_digits : int
        Pictures of no digit to learn doubt from, in each epoch.
    shards : int
        How many sets of such pictures are made; the epochs take them in turn.
    limit : int
        Use only this many pictures of each split; 0 uses all.
    precision : {"auto", "fp32", "bf16"}
        Arithmetic of the layers in training; weights and measurements are always fp32.
    seed : int
    """

    model: str = DEFAULT_ARCHITECTURE
    epochs: int = 20
    batch_size: int = 128
    lr: float = 0.002
    schedule: str = "one-cycle"
    weight_decay: float = 0.02
    label_smoothing: float = 0.0
    dropout: float = 0.5
    ema: float = 0.999
    augment: bool = True
    elastic_px: float = 0.0
    thickness: float = 0.0
    patience: int = 0
    teachers: tuple[str, ...] = ()
    teaching: float = 0.5
    teacher_temperature: float = 3.0
    hands: int = 0
    non_digits: int = 0
    shards: int = 1
    limit: int = 0
    precision: str = "auto"
    seed: int = 0


# Named sets of settings; a flag on the command line still wins over its recipe.
RECIPES: dict[str, dict[str, Any]] = {
    "default": {},
    "fast": {
        "epochs": 6,
        "batch_size": 256,
        "lr": 0.004,
        "dropout": 0.0,
        "label_smoothing": 0.05,
        "ema": 0.99,
    },
}


@dataclass(frozen=True)
class Score:
    """How a network does on labelled pictures."""

    loss: float
    accuracy: float


@dataclass(frozen=True)
class Outcome:
    """What a run came to.

    Attributes
    ----------
    folder : Path
        The run's own folder under `outputs/`.
    best_path : Path
        Checkpoint with the best weights of this run.
    history : list of dict
        One row for each epoch, as in `history.jsonl`.
    metrics : dict
        As saved with the best weights.
    interrupted : bool
        Ended by Ctrl-C.
    """

    folder: Path
    best_path: Path
    history: list[dict[str, Any]]
    metrics: dict[str, Any]
    interrupted: bool


# --- the pieces of a step ---------------------------------------------------------------------


def learning_rate_factor(step: int, steps: int, steps_per_epoch: int, schedule: str) -> float:
    """Say which part of the highest learning rate a step uses.

    Parameters
    ----------
    step : int
        From 0 to `steps` - 1.
    steps, steps_per_epoch : int
        In the whole run, and in one epoch.
    schedule : {"one-cycle", "cosine", "constant"}

    Returns
    -------
    float
        Above 0, at most 1.

    References
    ----------
    Smith and Topin 2017, "Super-convergence"; Loshchilov and Hutter 2016, "SGDR".
    """
    if schedule == "constant":
        return 1.0
    warm_up = (
        steps * SHARE_OF_WARM_UP if schedule == "one-cycle" else min(steps_per_epoch, steps / 2)
    )
    if step < warm_up:
        return max((step + 1) / (warm_up + 1), 0.02)
    done = (step - warm_up) / max(steps - warm_up, 1)
    return max((1 + math.cos(math.pi * done)) / 2, 1e-4)


class RunningAverage:
    """An exponential average of a network's weights and batch statistics over the steps.

    Weights jump about their optimum while the learning rate is high; their average lies nearer
    to it (Polyak and Juditsky 1992). It starts short, so the first epochs are not dominated by
    the random weights.
    """

    def __init__(self, model: DigitNetwork, decay: float) -> None:
        """Start from a copy of `model`."""
        self.model = build_model(model.name, model.scaling)
        self.model.load_state_dict(model.state_dict())
        pool_before_relu(self.model)
        self.model.to(next(model.parameters()).device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.model.eval().requires_grad_(False)
        self.decay = decay
        self.count = 0

    @torch.no_grad()
    def update(self, model: DigitNetwork) -> None:
        """Move the average towards the weights as they are now."""
        self.count += 1
        decay = min(self.decay, self.count / (self.count + 10))
        for mean, value in zip(
            self.model.state_dict().values(), model.state_dict().values(), strict=True
        ):
            if mean.is_floating_point():
                mean.lerp_(value, 1 - decay)
            else:
                mean.copy_(value)


def pool_before_relu(model: nn.Module) -> None:
    """Let neighbouring ReLU and max-pooling change places: same result, a quarter of the work.

    Both only ever keep the order of values, so they commute; neither has weights, so the state
    dict keeps its names. Measured on 2 cores with AMX, batches of 256: 78 -> 58 ms a step.
    """
    for block in model.modules():
        if isinstance(block, nn.Sequential):
            for place in range(len(block) - 1):
                first, second = block[place], block[place + 1]
                if isinstance(first, nn.ReLU | nn.LeakyReLU) and isinstance(second, nn.MaxPool2d):
                    block[place], block[place + 1] = second, first


def choose_precision(wanted: str, device: torch.device) -> torch.dtype:
    """Take bfloat16 where the hardware multiplies it faster than float32.

    Parameters
    ----------
    wanted : {"auto", "fp32", "bf16"}
    device : torch.device

    Returns
    -------
    torch.dtype
        torch.float32 or torch.bfloat16.
    """
    if wanted != "auto":
        return torch.bfloat16 if wanted == "bf16" else torch.float32
    if device.type == "cuda":
        return (
            torch.bfloat16
            if torch.cuda.is_bf16_supported(including_emulation=False)
            else torch.float32
        )
    # Matrix tiles (AMX) make a step 1.6 times as fast; without them bfloat16 gains little. The
    # question has no public name in PyTorch yet.
    has_tiles = getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    return torch.bfloat16 if device.type == "cpu" and has_tiles() else torch.float32


def batches(
    digits: Digits, batch_size: int, generator: torch.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """Draw shuffled batches of one epoch; a last, smaller batch is left for another epoch.

    Yields
    ------
    pixels : Tensor of shape (B, 1, 28, 28), float, 0.0 to 1.0
    labels : Tensor of shape (B,), int64
    """
    assert digits.labels is not None
    order = torch.randperm(len(digits), generator=generator).to(digits.images.device)
    for number in range(steps_in_epoch(len(digits), batch_size)):
        places = order[number * batch_size : (number + 1) * batch_size]
        images = digits.images.index_select(0, places).unsqueeze(1)
        yield images.float().mul_(1 / 255), digits.labels.index_select(0, places)


def steps_in_epoch(count: int, batch_size: int) -> int:
    """Count the batches of one epoch: whole ones, but at least one."""
    return max(count // batch_size, 1)


@torch.inference_mode()
def ask_teachers(teachers: Sequence[nn.Module], pixels: Tensor, temperature: float) -> Tensor:
    """Average what the teachers say about a batch, softened by the temperature: (B, 10)."""
    answers = [F.softmax(teacher(pixels).float() / temperature, dim=1) for teacher in teachers]
    return torch.stack(answers).mean(dim=0)


def compute_loss(
    logits: Tensor, labels: Tensor, settings: Settings, advice: Tensor | None = None
) -> Tensor:
    """Cross entropy with the labels, blended with that to the teachers' advice if there is any.

    Parameters
    ----------
    logits : Tensor of shape (B, 10)
    labels : Tensor of shape (B,), int64
        0 to 9, or `hands.NOT_A_DIGIT`.
    settings : Settings
    advice : Tensor of shape (B, 10), optional
        Probabilities from `ask_teachers`.

    References
    ----------
    Hinton, Vinyals, Dean 2015, "Distilling the knowledge in a neural network", section 2: the
    factor T squared keeps the size of the gradients when the temperature changes.
    """
    # What is no digit has no right answer: there, all ten should seem equally likely
    # (Hendrycks, Mazeika, Dietterich 2018, "Deep anomaly detection with outlier exposure").
    losses = torch.where(
        labels == NOT_A_DIGIT,
        -F.log_softmax(logits, dim=1).mean(dim=1),
        F.cross_entropy(
            logits,
            labels.clamp(min=0),
            label_smoothing=settings.label_smoothing,
            reduction="none",
        ),
    )
    loss = losses.mean()
    if advice is None:
        return loss
    heat = settings.teacher_temperature
    softened = F.cross_entropy(logits / heat, advice) * heat**2
    return (1 - settings.teaching) * loss + settings.teaching * softened


def measure(model: nn.Module, digits: Digits) -> Score:
    """Compute loss and accuracy of a network on labelled pictures, in float32."""
    logits = compute_logits(model, digits.images.unsqueeze(1))
    labels = digits.labels
    assert labels is not None
    return Score(
        loss=float(F.cross_entropy(logits, labels)),
        accuracy=float((logits.argmax(dim=1) == labels).float().mean()),
    )


# --- what a run writes --------------------------------------------------------------------------


@dataclass(frozen=True)
class Resumable:
    """Everything that changes while training, so that a run can go on as if it never stopped."""

    model: nn.Module
    average: RunningAverage | None
    optimizer: torch.optim.Optimizer
    order: torch.Generator
    changes: torch.Generator

    def state_dict(self) -> dict[str, Any]:
        """Collect tensors and plain values."""
        return {
            "model": self.model.state_dict(),
            "average": self.average and self.average.model.state_dict(),
            "average_count": self.average.count if self.average else 0,
            "optimizer": self.optimizer.state_dict(),
            "order": self.order.get_state(),
            "changes": self.changes.get_state(),
            "dropout": torch.get_rng_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put everything back."""
        self.model.load_state_dict(state["model"])
        if self.average:
            self.average.model.load_state_dict(state["average"] or state["model"])
            self.average.count = state["average_count"]
        self.optimizer.load_state_dict(state["optimizer"])
        self.order.set_state(state["order"].cpu())
        self.changes.set_state(state["changes"].cpu())
        torch.set_rng_state(state["dropout"].cpu())


class Run:
    """The folder of one run: its settings, the history that a page can follow, its reports."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.folder = folder
        self.settings = settings
        self.history: list[dict[str, Any]] = []

    def start(self) -> int:
        """Begin with an empty history; the first epoch is 1."""
        with atomic_write(self.folder / "config.json") as path:
            path.write_text(json.dumps(_plain(self.settings), indent=2) + "\n", encoding="utf-8")
        with atomic_write(self.folder / "history.jsonl") as path:
            path.write_text("", encoding="utf-8")
        return 1

    def load(self, state: Resumable) -> int:
        """Put a stopped run back where it was, and say which epoch comes next."""
        path = self.folder / "resume.pt"
        if not path.is_file():
            raise SettingsError(f"nothing to resume: no {path}; name the folder of a stopped run")
        try:
            saved = torch.load(path, map_location="cpu", weights_only=True)
            state.load_state_dict(saved["state"])
            epoch, self.history = int(saved["epoch"]), list(saved["history"])
        # A damaged file, or one of another network, fails in as many ways as there are bytes.
        except Exception as error:
            raise CheckpointError(
                f"{path} does not fit a run of {self.settings.model!r}, or is damaged "
                f"({str(error).splitlines()[0]}); start again without --resume"
            ) from error
        if epoch >= self.settings.epochs:
            raise SettingsError(
                f"the run in {self.folder} has finished its {epoch} epochs; "
                f"ask for more with --epochs"
            )
        self.start()
        for row in self.history:
            self._append(row)
        return epoch + 1

    def save(self, state: Resumable, epoch: int) -> None:
        """Write what `load` needs."""
        with atomic_write(self.folder / "resume.pt") as path:
            torch.save({"epoch": epoch, "history": self.history, "state": state.state_dict()}, path)

    @property
    def best_epoch(self) -> int:
        """The last epoch that was better than all before it."""
        return max(row["epoch"] for row in self.history if row["best"])

    def add_epoch(
        self,
        epoch: int,
        train: Score,
        validation: Score,
        hands: Score | None,
        *,
        lr: float,
        seconds: float,
    ) -> dict[str, Any]:
        """Write a row to the history, and decide whether it is the best so far."""
        row: dict[str, Any] = {
            "epoch": epoch,
            "epochs": self.settings.epochs,
            "train_loss": train.loss,
            "train_accuracy": train.accuracy,
            "validation_loss": validation.loss,
            "validation_accuracy": validation.accuracy,
        }
        if hands:
            row |= {"hands_loss": hands.loss, "hands_accuracy": hands.accuracy}
        row |= {
            "lr": lr,
            "seconds": round(seconds, 3),
            "elapsed": round(sum(row["seconds"] for row in self.history) + seconds, 3),
        }
        row["best"] = all(rank(row) > rank(earlier) for earlier in self.history)
        self.history.append(row)
        self._append(row)
        return row

    def _append(self, row: dict[str, Any]) -> None:
        """Add one line to history.jsonl; a reader sees whole lines only."""
        with (self.folder / "history.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def report(self, model: nn.Module, digits: Digits, split: str) -> dict[str, Any]:
        """Write pictures and scores of the finished run, and return the scores."""
        from sklearn.metrics import classification_report

        labels = digits.labels
        assert labels is not None
        logits = compute_logits(model, digits.images.unsqueeze(1)).float()
        probabilities = logits.softmax(dim=1).numpy()
        answers = probabilities.argmax(axis=1)
        truth = labels.numpy()
        text = classification_report(
            truth, answers, labels=range(CLASSES), digits=4, zero_division=0
        )
        title = f"{len(digits):,} {split} pictures"
        figures = {
            "training_curves": plots.training_curves(self.history),
            "confusion_matrix": plots.confusion_matrix(truth, answers, title=title),
            "sample_predictions": plots.sample_predictions(
                digits.images.numpy(), truth, probabilities, title=title
            ),
        }
        for name, figure in figures.items():
            with atomic_write(self.folder / f"{name}.png") as path:
                figure.savefig(path)
            # The newest run's pictures also lie where one looks first.
            publish(self.folder / f"{name}.png", self.folder.parent / f"{name}.png")
        with atomic_write(self.folder / "report.txt") as path:
            path.write_text(f"{title}\n\n{text}", encoding="utf-8")
        right = int((answers == truth).sum())
        print(f"\n{title}: {right:,} right, {right / len(truth):.2%}\n\n{text}", flush=True)
        return {
            f"{split}_accuracy": right / len(truth),
            f"{split}_loss": float(F.cross_entropy(logits, labels)),
        }


def rank(row: dict[str, Any]) -> tuple[float, float]:
    """Order epochs by validation accuracy, MNIST's and (if there are any) other hands' alike.

    Accuracy comes in steps of 1/5000, so ties are common; the loss decides between them.
    """
    accuracy = row["validation_accuracy"] + row.get("hands_accuracy", 0.0)
    return accuracy, -row["validation_loss"] - row.get("hands_loss", 0.0)


ROW_TITLE = "  epoch    loss  accuracy  validation loss  accuracy     hands        lr  seconds"


def format_row(row: dict[str, Any]) -> str:
    """Write one epoch as a line under `ROW_TITLE`; a star marks the best so far."""
    hands = f"{row['hands_accuracy']:.2%}" if "hands_accuracy" in row else "-"
    return (
        f"{row['epoch']:>3}/{row['epochs']:<3}  {row['train_loss']:.4f}  "
        f"{row['train_accuracy']:>8.2%}  {row['validation_loss']:>15.4f}  "
        f"{row['validation_accuracy']:>8.2%}  {hands:>8}  {row['lr']:>8.2e}  {row['seconds']:>7.1f}"
        f"{' *' if row['best'] else ''}"
    )


def publish(source: Path, target: Path) -> None:
    """Copy a finished file over another in one step."""
    with atomic_write(target) as path:
        shutil.copyfile(source, path)


def may_replace(path: Path, metrics: dict[str, Any], settings: dict[str, Any]) -> bool:
    """Say whether a finished run may replace the best checkpoint: only by doing better.

    A short trial must not destroy a model that took hours. Validation results only compare
    between runs that learned from the same kind of data.
    """
    try:
        old = load_checkpoint(path)
    except (ModelNotFoundError, CheckpointError):
        return True
    if settings.get("limit") or old.settings.get("limit", 0):
        return bool(old.settings.get("limit", 0))
    same_data = bool(old.settings.get("hands")) == bool(settings.get("hands"))
    return same_data and metrics["validation_accuracy"] >= old.metrics.get("validation_accuracy", 0)


# --- the data ---------------------------------------------------------------------------------

HANDS_VALIDATION = 3_000  # pictures
HANDS_VALIDATION_SEED = 0  # shards of training pictures have the seeds 1, 2, ...


@dataclass(frozen=True)
class Data:
    """What a run learns from and is measured by.

    Attributes
    ----------
    train : list of Digits
        One for each shard; the epochs take them in turn. Labels may be `hands.NOT_A_DIGIT`.
    validation : Digits
        Of MNIST.
    hands : Digits or None
        Of other hands, made from MNIST's validation pictures where they are made from MNIST.
    """

    train: list[Digits]
    validation: Digits
    hands: Digits | None

    def describe(self) -> dict[str, Any]:
        """Say in plain values what the data were."""
        return {
            "name": "MNIST",
            "split_seed": SPLIT_SEED,
            "training_pictures": len(self.train[0]),
            "shards": len(self.train),
            "validation_pictures": len(self.validation),
            "hands_validation_pictures": len(self.hands) if self.hands else 0,
        }


def load_data(settings: Settings, folder: Path, device: torch.device) -> Data:
    """Read MNIST and make (or find again) the pictures of other hands; all on the device."""
    mnist = _limited(load_mnist("train", folder), settings.limit)
    validation = _limited(load_mnist("validation", folder), settings.limit)
    train = []
    for shard in range(1, settings.shards + 1):
        parts = [mnist]
        if settings.hands:
            parts.append(_make_hands(settings.hands, shard, folder, mnist))
        if settings.non_digits:
            images, _ = make_non_digits(settings.non_digits, seed=shard, folder=folder)
            nothing = torch.full((len(images),), NOT_A_DIGIT)
            parts.append(Digits(torch.from_numpy(images), nothing))
        train.append(join(parts).to(device))
    hands = None
    if settings.hands:
        hands = _make_hands(
            min(settings.limit or HANDS_VALIDATION, HANDS_VALIDATION),
            HANDS_VALIDATION_SEED,
            folder,
            validation,
        ).to(device)
    return Data(train, validation.to(device), hands)


def _make_hands(count: int, seed: int, folder: Path, mnist: Digits) -> Digits:
    """Make digits of other hands, some of them from MNIST pictures."""
    assert mnist.labels is not None
    images, labels = make_hands(
        count, seed=seed, folder=folder, mnist=(mnist.images.numpy(), mnist.labels.numpy())
    )
    return Digits(torch.from_numpy(images), torch.from_numpy(labels))


# --- the run ----------------------------------------------------------------------------------


def train(
    settings: Settings,
    *,
    data_folder: Path,
    folder: Path,
    models_folder: Path = MODELS_DIR,
    name: str | None = None,
    device: torch.device | None = None,
    resume: bool = False,
    test: bool = True,
    replace: bool = False,
    on_epoch: Callable[[dict[str, Any]], None] = lambda row: None,
) -> Outcome:
    """Train one network from start to end.

    Parameters
    ----------
    settings : Settings
        What to compute.
    data_folder : Path
        Holds MNIST; see `dataset.load_mnist`.
    folder : Path
        The run's own folder; made if missing.
    models_folder : Path, default=MODELS_DIR
        Where the finished checkpoints go.
    name : str, optional
        Of the checkpoints; default "mnist_cnn" for the default network, else its own name.
    device : torch.device, optional
        Default: the fastest there is.
    resume : bool, default=False
        Go on from `folder`/resume.pt.
    test : bool, default=True
        Measure the best weights on the test pictures at the end. Leave it off in experiments.
    replace : bool, default=False
        Replace NAME_best.pth even if its validation accuracy is higher.
    on_epoch : callable, optional
        Gets each row of the history as it is written.

    Returns
    -------
    Outcome

    Raises
    ------
    SettingsError
        If a setting cannot work, or there is nothing to resume.
    DataNotFoundError, DataFormatError
        If MNIST cannot be read.
    """
    check_settings(settings)
    set_seed(settings.seed)
    device = device or pick_device()
    precision = choose_precision(settings.precision, device)
    data = load_data(settings, data_folder, device)

    model = build_model(settings.model)
    pool_before_relu(model)
    model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    for layer in model.modules():
        if isinstance(layer, nn.Dropout):
            layer.p *= settings.dropout
    teachers = [load_checkpoint(teacher).model.to(device) for teacher in settings.teachers]
    average = RunningAverage(model, settings.ema) if settings.ema else None
    # Adam's plain form is the MLP's recipe; for the others weight decay is worth having.
    optimizer_type = torch.optim.Adam if settings.model == "mlp" else torch.optim.AdamW
    decay = 0.0 if settings.model == "mlp" else settings.weight_decay
    optimizer = optimizer_type(
        model.parameters(), lr=settings.lr, weight_decay=decay, fused=device.type != "mps"
    )
    generator = torch.Generator().manual_seed(settings.seed)  # for the order of pictures
    changes = torch.Generator(device).manual_seed(settings.seed)  # for augmentation
    augmentation = Augmentation(elastic_px=settings.elastic_px, thickness=settings.thickness)

    per_epoch = steps_in_epoch(len(data.train[0]), settings.batch_size)
    steps = per_epoch * settings.epochs
    run = Run(folder, settings)
    state = Resumable(model, average, optimizer, generator, changes)
    first_epoch = run.load(state) if resume else run.start()
    print(
        f"{settings.model}, {count_parameters(model):,} parameters, on {device.type} in "
        f"{str(precision).removeprefix('torch.')}; seed {settings.seed}; {len(data.train[0]):,} "
        f"training and {len(data.validation):,} validation pictures\n"
        f"results in {_shorten(folder)}\n{ROW_TITLE}",
        flush=True,
    )

    interrupted = False
    try:
        for epoch in range(first_epoch, settings.epochs + 1):
            started = time.perf_counter()
            model.train()
            shard = data.train[(epoch - 1) % len(data.train)]
            loss_sum = torch.zeros((), device=device)
            right = torch.zeros((), dtype=torch.int64, device=device)
            digits_seen = torch.zeros_like(right)
            step = (epoch - 1) * per_epoch
            for pixels, labels in _show_progress(
                batches(shard, settings.batch_size, generator), per_epoch, epoch, settings
            ):
                if settings.augment:
                    pixels = augment(pixels, changes, augmentation)
                factor = learning_rate_factor(step, steps, per_epoch, settings.schedule)
                for group in optimizer.param_groups:
                    group["lr"] = settings.lr * factor
                with torch.autocast(device.type, precision, enabled=precision != torch.float32):
                    advice = (
                        ask_teachers(teachers, pixels, settings.teacher_temperature)
                        if teachers
                        else None
                    )
                    logits = model(pixels).float()
                loss = compute_loss(logits, labels, settings, advice)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                if average:
                    average.update(model)
                loss_sum += loss.detach()
                right += (logits.detach().argmax(dim=1) == labels).sum()
                digits_seen += (labels != NOT_A_DIGIT).sum()
                step += 1
            train_score = Score(
                float(loss_sum) / per_epoch, float(right) / max(int(digits_seen), 1)
            )
            if not math.isfinite(train_score.loss):
                raise SettingsError(
                    f"training diverged in epoch {epoch} (the loss is not a number any more); "
                    f"use a smaller --lr than {settings.lr:g}"
                )
            shipped = average.model if average else model
            row = run.add_epoch(
                epoch,
                train_score,
                measure(shipped, data.validation),
                measure(shipped, data.hands) if data.hands else None,
                lr=optimizer.param_groups[0]["lr"],
                seconds=time.perf_counter() - started,
            )
            save_checkpoint(
                folder / "last.pth",
                shipped,
                settings=_plain(settings),
                metrics={key: row[key] for key in CHECKPOINT_METRICS if key in row},
                data=data.describe(),
            )
            if row["best"]:
                publish(folder / "last.pth", folder / "best.pth")
            run.save(state, epoch)
            print(format_row(row), flush=True)
            on_epoch(row)
            if settings.patience and epoch - run.best_epoch >= settings.patience:
                print(f"no better validation result for {settings.patience} epochs: stopping early")
                break
    except KeyboardInterrupt:
        interrupted = True

    if not run.history:
        raise SettingsError("stopped before the first epoch ended: there is nothing to keep")
    stem = name or ("mnist_cnn" if settings.model == DEFAULT_ARCHITECTURE else settings.model)
    best = load_checkpoint(folder / "best.pth")
    metrics = dict(best.metrics)
    if test and not interrupted:
        digits = _limited(load_mnist("test", data_folder), settings.limit)
        metrics |= run.report(best.model, digits, "test")
        save_checkpoint(
            folder / "best.pth",
            best.model,
            settings=best.settings,
            metrics=metrics,
            data={**best.data, "test_pictures": len(digits)},
        )
    elif not interrupted:
        run.report(
            best.model,
            _limited(load_mnist("validation", data_folder), settings.limit),
            "validation",
        )
    publish(folder / "last.pth", models_folder / f"{stem}.pth")
    best_path = models_folder / f"{stem}_best.pth"
    if replace or may_replace(best_path, metrics, best.settings):
        publish(folder / "best.pth", best_path)
    else:
        print(
            f"{_shorten(best_path)} stays as it is: it did better on validation, or learned from "
            f"other data; this run's best is {_shorten(folder / 'best.pth')} (--replace takes it)"
        )
        best_path = folder / "best.pth"
    return Outcome(folder, best_path, run.history, metrics, interrupted)


def check_settings(settings: Settings) -> None:
    """Refuse settings that cannot work.

    Raises
    ------
    SettingsError
        The message names the flag and what it may be.
    """
    if settings.model not in list_models():
        raise SettingsError(f"--model {settings.model}: choose one of: {', '.join(list_models())}")
    checks = [
        ("epochs", settings.epochs >= 1, "at least 1"),
        ("batch-size", settings.batch_size >= 2, "at least 2"),
        ("lr", 0 < settings.lr < math.inf, "above 0"),
        ("schedule", settings.schedule in SCHEDULES, f"one of {', '.join(SCHEDULES)}"),
        ("precision", settings.precision in PRECISIONS, f"one of {', '.join(PRECISIONS)}"),
        ("weight-decay", 0 <= settings.weight_decay < math.inf, "0 or more"),
        ("label-smoothing", 0 <= settings.label_smoothing < 1, "from 0 to below 1"),
        ("dropout", 0 <= settings.dropout < 2, "from 0 to below 2"),
        ("ema", 0 <= settings.ema < 1, "from 0 to below 1"),
        ("elastic-px", 0 <= settings.elastic_px < math.inf, "0 or more"),
        ("thickness", 0 <= settings.thickness <= 1, "from 0 to 1"),
        ("patience", settings.patience >= 0, "0 or more"),
        ("teaching", 0 <= settings.teaching <= 1, "from 0 to 1"),
        ("teacher-temperature", 0 < settings.teacher_temperature < math.inf, "above 0"),
        ("hands", settings.hands >= 0, "0 or more"),
        ("non-digits", settings.non_digits >= 0, "0 or more"),
        ("shards", settings.shards >= 1, "at least 1"),
        ("limit", settings.limit >= 0, "0 or more"),
        ("seed", 0 <= settings.seed <= MAX_SEED, f"from 0 to {MAX_SEED}"),
    ]
    for flag, is_fine, wanted in checks:
        if not is_fine:
            value = getattr(settings, flag.replace("-", "_"))
            raise SettingsError(f"--{flag} {value} cannot work: it has to be {wanted}")


def _limited(digits: Digits, limit: int) -> Digits:
    """Keep the first `limit` pictures; 0 keeps all."""
    return digits.take(slice(limit)) if limit else digits


def _plain(settings: Settings) -> dict[str, Any]:
    """Turn settings into values that JSON and checkpoints can hold."""
    return {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in dataclasses.asdict(settings).items()
    }


def _show_progress(
    steps: Iterator[tuple[Tensor, Tensor]], count: int, epoch: int, settings: Settings
) -> Iterator[tuple[Tensor, Tensor]]:
    """Draw a bar on a terminal while the epoch runs, and remove it afterwards."""
    from tqdm import tqdm

    label = f"epoch {epoch}/{settings.epochs}"
    yield from tqdm(steps, desc=label, total=count, leave=False, unit="batch", disable=None)


def _shorten(path: Path) -> Path:
    """Show a path from the current folder if it lies below."""
    with contextlib.suppress(ValueError):
        return path.resolve().relative_to(Path.cwd())
    return path


# --- the command line ----------------------------------------------------------------------------


def build_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(
        description="Train a network on MNIST and leave its best weights in models/.",
        epilog=(
            "examples:\n"
            "  python train.py                                  20 epochs of the default network\n"
            "  python train.py --recipe fast                    99.3 % in about a minute\n"
            "  python train.py --model cnn2 --epochs 5 --lr 0.001\n"
            "  python train.py --limit 500 --epochs 1           a short trial\n"
            "  python train.py --resume outputs/RUN             go on with a stopped run"
        ),
        formatter_class=HelpFormatter,
    )
    add = parser.add_argument
    add("--recipe", choices=list(RECIPES), default="default", help="named set of settings")
    add("--model", choices=list_models(), help="network")
    add("--epochs", type=int, metavar="N", help="how often each picture is seen")
    add("--batch-size", type=int, metavar="N", help="pictures between two steps")
    add("--lr", type=float, metavar="X", help="highest learning rate")
    add("--schedule", choices=SCHEDULES, help="how the learning rate changes")
    add("--weight-decay", type=float, metavar="X", help="pull of the weights towards zero")
    add("--label-smoothing", type=float, metavar="X", help="part of the target spread over all")
    add("--dropout", type=float, metavar="X", help="multiplies the network's dropout rates")
    add("--ema", type=float, metavar="X", help="decay of the running average of weights; 0: none")
    add(
        "--augment",
        action=argparse.BooleanOptionalAction,
        help="turn, move, scale, slant and partly erase the training pictures",
    )
    add("--elastic-px", type=float, metavar="X", help="smooth bending of strokes, in pixels")
    add("--thickness", type=float, metavar="X", help="part of pictures with other stroke widths")
    add("--patience", type=int, metavar="N", help="epochs without progress to stop; 0: never")
    add("--teachers", nargs="*", metavar="NAME", help="checkpoints to learn from as well")
    add("--teaching", type=float, metavar="X", help="part of the loss that is the teachers'")
    add("--teacher-temperature", type=float, metavar="X", help="softens the teachers' answers")
    add("--precision", choices=PRECISIONS, help="arithmetic; auto: bf16 where it is faster")
    add("--hands", type=int, metavar="N", help="digits of other hands to learn from as well")
    add("--non-digits", type=int, metavar="N", help="pictures of no digit to learn doubt from")
    add("--shards", type=int, metavar="N", help="sets of such pictures, taken in turn")
    add("--limit", type=int, metavar="N", help="only N pictures of each split; 0: all")
    add("--seed", type=int, metavar="N", help="same seed, same weights (on one CPU)")
    places = parser.add_argument_group("places")
    add = places.add_argument
    add("--data-dir", type=Path, metavar="DIR", help="holds MNIST/raw; else $DIGITS_DATA, data/")
    add("--output", type=Path, default=OUTPUTS, metavar="DIR", help="folder of all runs")
    add("--run", metavar="NAME", help="name of the run's folder; default: network and time")
    add("--models-dir", type=Path, default=MODELS_DIR, metavar="DIR", help="for checkpoints")
    add("--name", metavar="NAME", help="of the checkpoints; default: mnist_cnn, or the network")
    add("--resume", type=Path, metavar="DIR", help="go on with the run in this folder")
    doing = parser.add_argument_group("running")
    add = doing.add_argument
    add("--threads", type=int, default=0, metavar="N", help="CPU threads; 0: one for each core")
    add("--no-cuda", action="store_true", help="stay on the CPU; short for --device cpu")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:1 or mps")
    add("--no-test", action="store_true", help="leave the test pictures alone (experiments)")
    add("--replace", action="store_true", help="replace NAME_best.pth even by a worse one")
    return parser


def parse_settings(argv: Sequence[str] | None) -> tuple[argparse.Namespace, Settings]:
    """Read the command line; a recipe or a stopped run gives the defaults of all other flags."""
    parser = build_parser()
    fields = [field.name for field in dataclasses.fields(Settings)]
    parser.set_defaults(**dataclasses.asdict(Settings()))
    first_look = argparse.ArgumentParser(add_help=False)
    first_look.add_argument("--recipe", default="default")
    first_look.add_argument("--resume", type=Path)
    early, _ = first_look.parse_known_args(argv)
    parser.set_defaults(**RECIPES.get(early.recipe, {}))
    if early.resume:
        parser.set_defaults(**_saved_settings(early.resume))
    args = parser.parse_args(argv)
    values = {name: getattr(args, name) for name in fields}
    return args, Settings(**{**values, "teachers": tuple(args.teachers)})


def _saved_settings(folder: Path) -> dict[str, Any]:
    """Read a run's config.json."""
    path = folder / "config.json"
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
        return dataclasses.asdict(Settings(**saved))
    except OSError as error:
        raise SettingsError(f"nothing to resume: cannot read {path} ({error.strerror})") from error
    except (ValueError, TypeError) as error:
        raise SettingsError(f"{path} is not the record of a run ({error})") from error


def main(argv: Sequence[str] | None = None) -> int:
    """Train as the command line says."""
    try:
        args, settings = parse_settings(argv)
        set_up_logging()
        if args.threads < 0:
            raise SettingsError(f"--threads {args.threads} cannot work: it has to be 0 or more")
        if args.threads:
            torch.set_num_threads(args.threads)
        run_name = args.run or f"{settings.model}-{datetime.now():%Y%m%d-%H%M%S}"
        outcome = train(
            settings,
            data_folder=data_dir(args.data_dir),
            folder=args.resume or args.output / run_name,
            models_folder=args.models_dir,
            name=args.name,
            device=pick_device("cpu" if args.no_cuda else args.device),
            resume=args.resume is not None,
            test=not args.no_test,
            replace=args.replace,
        )
    except DigitError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    folder = _shorten(outcome.folder)
    if outcome.interrupted:
        print(
            f"stopped; the best weights so far are in {_shorten(outcome.best_path)}; go on with:\n"
            f"  python train.py --resume {folder}",
            file=sys.stderr,
        )
        return INTERRUPTED
    print(f"best weights: {_shorten(outcome.best_path)}; curves and report: {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
