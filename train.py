"""Train a network on MNIST and leave its best weights in `models/`.

    digits in memory -> shuffled batches -> augment -> network -> loss -> weights
                                                    -> running average -> validation -> best

Each epoch ends with a look at the validation pictures; the weights that do best there are kept.
The test pictures are looked at once, after training, with those weights.

    $ python train.py --epochs 20 --batch-size 128 --lr 0.0005 --no-cuda
    $ python train.py --recipe fast
    $ python train.py --recipe refine --corrections --candidate mine

The weights go to `models/NAME.pth` (the last) and `models/NAME_best.pth` (the best); everything
else that a run leaves behind lies in its folder under `outputs/`, see `runs.py`.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import math
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from calibrate import COUNT as CALIBRATION_COUNT
from calibrate import calibrate
from corrections import load_corrections, repeat
from dataset import (
    SPLIT_SEED,
    Augmentation,
    Digits,
    Split,
    augment,
    batches,
    data_dir,
    join,
    load_mnist,
    steps_in_epoch,
)
from distributed import ALONE, Team, join_team
from errors import CheckpointError, DigitError, ModelNotFoundError, SettingsError
from hands import INGREDIENTS, NOT_A_DIGIT, make_hands, make_non_digits
from learning import (
    PRECISIONS,
    SCHEDULES,
    PoolThenNorm,
    RunningAverage,
    StripDropout,
    ask_teachers,
    choose_precision,
    compute_loss,
    distillation_loss,
    learning_rate_factor,
    prepare_network,
)
from model import (
    DEFAULT_ARCHITECTURE,
    IMAGE_SIZE,
    MAX_SOFTEN,
    DigitNetwork,
    InputScaling,
    build_model,
    count_parameters,
    list_models,
)
from promotion import promote
from registry import MODELS_DIR, Checkpoint, load_checkpoint, save_checkpoint
from runs import ROW_TITLE, Resumable, Run, Score, format_row, measure, publish
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
INTERRUPTED = 130  # what shells report for Ctrl-C
ADAM = "mlp"  # the network whose recipe asks for Adam; all others learn by AdamW
DEFAULT_NAME = "mnist_cnn"  # of the default network's checkpoints

# Pixels. Three poolings leave 3 of 24 as of 28, and what lies outside is nearly always empty.
SMALL_SIZE = 24

# What a checkpoint keeps of the epoch that it comes from.
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
        See `learning.learning_rate_factor`.
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
    strength : float
        Multiplies how far a picture may be turned, moved, scaled, slanted and erased.
    elastic_px, thickness, untouched : float
        See `dataset.Augmentation`.
    soften : float
        See `model.InputScaling`; without augmentation nothing is softened.
    small_epochs : int
        So many epochs at the start see only the upper left 24x24 pixels, for speed, but never the
        last one; `mnistnet` only.
    pool_first : bool
        Pool before batch normalisation while learning, for speed; see `learning.PoolThenNorm`.
    patience : int
        Stop after this many epochs without a better validation result; 0 never stops early.
    start : str
        Checkpoint of the same network whose weights are the first ones; "" begins anew.
    teachers : tuple of str
        Checkpoints to learn from besides the labels.
    teaching : float
        Part of the loss that comes from the teachers.
    teacher_temperature : float
        Softens what teachers and pupil say before they are compared.
    hands : int
        Digits of other hands than MNIST's to learn from besides, in each epoch; see `hands.py`.
    ingredients : tuple of str
        What they are made from; see `hands.INGREDIENTS`.
    non_digits : int
        Pictures of no digit to learn doubt from, in each epoch.
    shards : int
        How many sets of such pictures are made; the epochs take them in turn.
    corrections : str
        File of the stored corrections to learn from besides, see `corrections.py`; "own" takes
        the project's, "" none.
    limit : int
        Use only this many pictures of each split; 0 uses all.
    compile : bool
        Let `torch.compile` write the network's steps anew first: that takes half a minute or more,
        and pays off in long trainings, most of all on a GPU.
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
    strength: float = 1.0
    elastic_px: float = 0.0
    thickness: float = 0.0
    untouched: float = 0.0
    soften: float = 0.15
    small_epochs: int = 0
    pool_first: bool = False
    patience: int = 0
    start: str = ""
    teachers: tuple[str, ...] = ()
    teaching: float = 0.5
    teacher_temperature: float = 3.0
    hands: int = 0
    ingredients: tuple[str, ...] = INGREDIENTS
    non_digits: int = 0
    shards: int = 1
    corrections: str = ""
    limit: int = 0
    compile: bool = False
    precision: str = "auto"
    seed: int = 0


# Named sets of settings; a flag on the command line still wins over its recipe.
RECIPES: dict[str, dict[str, Any]] = {
    "default": {},
    # Milder augmentation suits a short training: 99.5 % of validation, where full strength gave
    # 99.2 % (6 epochs, seed 0).
    "short": {
        "epochs": 6,
        "batch_size": 256,
        "lr": 0.004,
        "dropout": 0.0,
        "label_smoothing": 0.05,
        "ema": 0.99,
        "strength": 0.5,
    },
    # The same in three fifths of the time: an epoch less, on smaller pictures but for the last, and
    # with batch normalisation after pooling. See `bench.py train --full`.
    "fast": {
        "epochs": 5,
        "batch_size": 256,
        "lr": 0.004,
        "dropout": 0.0,
        "label_smoothing": 0.05,
        "ema": 0.99,
        "strength": 0.5,
        "small_epochs": 4,
        "pool_first": True,
    },
    # Made the shipped weights.
    "hands": {
        "epochs": 32,
        "batch_size": 256,
        "lr": 0.003,
        "elastic_px": 0.5,
        "thickness": 0.1,
        "ema": 0.9995,
        "hands": 60_000,
        "non_digits": 15_000,
        "shards": 2,
    },
    # Made the weights of the smaller networks: the same pictures, in minutes.
    "hands-fast": {
        "epochs": 6,
        "batch_size": 256,
        "lr": 0.002,
        "dropout": 0.5,
        "strength": 0.5,
        "elastic_px": 0.5,
        "thickness": 0.1,
        "ema": 0.998,
        "hands": 60_000,
        "non_digits": 15_000,
        "shards": 2,
    },
    # Goes on from weights that are good already: short steps, so that nothing is forgotten.
    "refine": {
        "start": "best",
        "epochs": 3,
        "batch_size": 256,
        "lr": 0.0005,
        "dropout": 0.25,
        "strength": 0.5,
        "elastic_px": 0.5,
        "thickness": 0.1,
        "ema": 0.99,
        "hands": 10_000,
        "non_digits": 3_000,
    },
}

OWN_CORRECTIONS = "own"  # what --corrections means without a file


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
    corrections : int
        How many corrected pictures are among the training pictures.
    """

    train: list[Digits]
    validation: Digits
    hands: Digits | None
    corrections: int = 0

    def describe(self) -> dict[str, Any]:
        """Say in plain values what the data were."""
        return {
            "name": "MNIST",
            "split_seed": SPLIT_SEED,
            "training_pictures": len(self.train[0]),
            "shards": len(self.train),
            "validation_pictures": len(self.validation),
            "hands_validation_pictures": len(self.hands) if self.hands else 0,
            "corrections": self.corrections,
        }


def load_data(settings: Settings, folder: Path, device: torch.device) -> Data:
    """Read MNIST and make (or find again) the pictures of other hands; all on the device."""
    mnist = _limited(load_mnist("train", folder), settings.limit)
    validation = _limited(load_mnist("validation", folder), settings.limit)
    corrections = _load_corrections(settings)
    train = []
    for shard in range(1, settings.shards + 1):
        parts = [mnist]
        if settings.hands:
            parts.append(_make_hands(settings.hands, shard, folder, mnist, settings.ingredients))
        if settings.non_digits:
            images, _ = make_non_digits(settings.non_digits, seed=shard, folder=folder)
            labels = torch.full((len(images),), NOT_A_DIGIT)
            parts.append(Digits(torch.from_numpy(images), labels))
        if corrections:
            parts.append(repeat(corrections, among=sum(map(len, parts))))
        train.append(join(parts).to(device))
    hands = None
    if settings.hands:
        hands = _make_hands(
            min(settings.limit or HANDS_VALIDATION, HANDS_VALIDATION),
            HANDS_VALIDATION_SEED,
            folder,
            validation,
        ).to(device)
    return Data(train, validation.to(device), hands, len(corrections) if corrections else 0)


def _load_corrections(settings: Settings) -> Digits | None:
    """Read the corrections that the settings ask for."""
    if not settings.corrections:
        return None
    own = settings.corrections == OWN_CORRECTIONS
    return load_corrections(None if own else Path(settings.corrections))


def _make_hands(
    count: int,
    seed: int,
    folder: Path,
    mnist: Digits,
    ingredients: tuple[str, ...] = INGREDIENTS,
) -> Digits:
    """Make digits of other hands, some of them from MNIST pictures."""
    assert mnist.labels is not None
    images, labels = make_hands(
        count,
        seed=seed,
        folder=folder,
        ingredients=ingredients,
        mnist=(mnist.images.numpy(), mnist.labels.numpy()),
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
    team: Team = ALONE,
    resume: bool = False,
    test: bool = True,
    replace: bool = False,
    hand_on: bool = True,
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
    team : Team, optional
        The processes that share the work; this one leads them, the others call `assist`.
    resume : bool, default=False
        Go on from `folder`/resume.pt.
    test : bool, default=True
        Measure the best weights on the test pictures at the end. Leave it off in experiments.
    replace : bool, default=False
        Replace NAME_best.pth even if its validation accuracy is higher.
    hand_on : bool, default=True
        Copy the weights to `models_folder`; otherwise they stay in the run's folder.
    on_epoch : callable, optional
        Gets each row of the history as it is written.

    Returns
    -------
    Outcome

    Raises
    ------
    SettingsError
        If a setting cannot work, there is nothing to resume, or the folder holds another run.
    DataNotFoundError, DataFormatError
        If MNIST cannot be read.
    ModelNotFoundError
        If there is no such teacher.
    OutputError
        If a result cannot be written.
    """
    check_settings(settings)
    team.check_batch(settings.batch_size)
    if not resume and (folder / "config.json").exists():
        raise SettingsError(
            f"{_shorten(folder)} holds a run already; name another --run, or --resume that one"
        )
    set_seed(settings.seed)
    device = device or pick_device()
    data = load_data(settings, data_folder, device)
    team.hand_out("the data lie ready")  # the others find there what is made only once
    learner = build_learner(settings, device, models_folder, team)
    state = learner.state
    run = Run(folder, _plain(settings), epochs=settings.epochs)
    first_epoch = run.resume(state) if resume else run.start()
    team.hand_out((first_epoch, state.state_dict()))
    print(
        f"{settings.model}, {count_parameters(learner.model):,} parameters, on {device.type} in "
        f"{str(learner.precision).removeprefix('torch.')}; seed {settings.seed}; "
        f"{len(data.train[0]):,} training and {len(data.validation):,} validation pictures\n"
        f"results in {_shorten(folder)}\n{ROW_TITLE}",
        flush=True,
    )

    interrupted = False
    try:
        for epoch in range(first_epoch, settings.epochs + 1):
            started = time.perf_counter()
            train_score = learner.learn(data.train[(epoch - 1) % len(data.train)], epoch)
            row = run.add_epoch(
                train_score,
                measure(learner.result, data.validation),
                measure(learner.result, data.hands) if data.hands else None,
                lr=learner.optimizer.param_groups[0]["lr"],
                seconds=time.perf_counter() - started,
            )
            save_checkpoint(
                folder / "last.pth",
                learner.result,
                settings=_plain(settings),
                metrics={key: row[key] for key in CHECKPOINT_METRICS if key in row},
                data=data.describe(),
            )
            if row["best"]:
                publish(folder / "last.pth", folder / "best.pth")
            run.save(state)
            print(format_row(row), flush=True)
            on_epoch(row)
            is_stuck = bool(settings.patience and epoch - run.best_epoch >= settings.patience)
            if team.hand_out(is_stuck):
                print(f"no better validation result for {settings.patience} epochs: stopping early")
                break
    except KeyboardInterrupt:
        if not (folder / "best.pth").is_file():  # in the first epoch: there is nothing to keep
            raise
        interrupted = True
    if not interrupted:
        _report(run, settings, data_folder, test=test)
    stem = name or (DEFAULT_NAME if settings.model == DEFAULT_ARCHITECTURE else settings.model)
    best_path = folder / "best.pth"
    if hand_on:
        best_path = hand_over(folder, models_folder, stem, replace=replace)
    metrics = load_checkpoint(folder / "best.pth").metrics
    return Outcome(folder, best_path, run.history, metrics, interrupted)


def assist(
    settings: Settings,
    team: Team,
    *,
    data_folder: Path,
    models_folder: Path = MODELS_DIR,
    device: torch.device | None = None,
) -> None:
    """Do this process's part of a training that another one leads with `train`; write nothing.

    Parameters
    ----------
    settings, data_folder, models_folder, device
        As for `train`, and the same as there.
    team : Team
    """
    set_seed(settings.seed)
    device = device or pick_device()
    team.hand_out("")
    data = load_data(settings, data_folder, device)
    learner = build_learner(settings, device, models_folder, team)
    first_epoch, state = team.hand_out((1, learner.state.state_dict()))
    learner.state.load_state_dict(state)
    # Other pictures need other changes and other dropout than the leader's.
    learner.changes.manual_seed(settings.seed + team.rank)
    torch.manual_seed(settings.seed + team.rank)
    for epoch in range(first_epoch, settings.epochs + 1):
        learner.learn(data.train[(epoch - 1) % len(data.train)], epoch)
        if team.hand_out(False):
            break


@dataclass
class Learner:
    """A network while it learns, with all that one epoch after another changes."""

    settings: Settings
    model: DigitNetwork
    average: RunningAverage | None
    optimizer: torch.optim.Optimizer
    order: torch.Generator
    changes: torch.Generator
    teachers: Sequence[nn.Module]
    precision: torch.dtype
    device: torch.device
    team: Team
    network: Callable[[Tensor], Tensor]  # the model, or it compiled, or shared by processes

    @property
    def state(self) -> Resumable:
        """Everything that changes while learning."""
        return Resumable(self.model, self.average, self.optimizer, self.order, self.changes)

    @property
    def result(self) -> DigitNetwork:
        """The weights that count: averaged, if an average is kept."""
        return self.average.model if self.average else self.model

    def learn(self, digits: Digits, epoch: int) -> Score:
        """See every picture once, and say how it went.

        Raises
        ------
        SettingsError
            If the loss is not a number any more.
        """
        settings = self.settings
        self.model.train()
        for layer in self.model.modules():
            if isinstance(layer, StripDropout):
                layer.renew()
        early_norms = [layer for layer in self.model.modules() if isinstance(layer, PoolThenNorm)]
        per_epoch = steps_in_epoch(len(digits), settings.batch_size)
        steps = per_epoch * settings.epochs
        augmentation = Augmentation(
            elastic_px=settings.elastic_px,
            thickness=settings.thickness,
            untouched=settings.untouched,
        ).times(settings.strength)
        is_small = epoch <= min(settings.small_epochs, settings.epochs - 1)
        size = SMALL_SIZE if is_small else IMAGE_SIZE
        # Sums stay on the device: asking for a number would make a GPU wait at every step.
        sums = torch.zeros(3, device=self.device)
        losses, right, seen = sums  # three views
        team = self.team
        drawn = batches(digits, settings.batch_size, self.order, part=team.rank, parts=team.size)
        for number, (pixels, labels) in enumerate(
            _show_progress(drawn, per_epoch, epoch, settings)
        ):
            if settings.augment:
                pixels = augment(pixels, self.changes, augmentation, size=size)
            step = (epoch - 1) * per_epoch + number
            factor = learning_rate_factor(step, steps, per_epoch, settings.schedule)
            for group in self.optimizer.param_groups:
                group["lr"] = settings.lr * factor
            loss, logits = self._compute(pixels, labels)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            for norm in early_norms:
                norm.keep_order()
            if self.average:
                self.average.update(self.model)
            losses += loss.detach()
            right += (logits.argmax(dim=1) == labels).sum()
            seen += (labels != NOT_A_DIGIT).sum()
        loss_sum, right_sum, seen_sum = team.add_up(sums).tolist()
        score = Score(loss_sum / (per_epoch * team.size), right_sum / max(seen_sum, 1))
        if not math.isfinite(score.loss):
            raise SettingsError(
                f"training diverged in epoch {epoch} (the loss is not a number any more); "
                f"use a smaller --lr than {settings.lr:g}"
            )
        return score

    def _compute(self, pixels: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Run the network forward: the loss, and the logits without their history."""
        settings = self.settings
        reduced = self.precision != torch.float32
        with torch.autocast(self.device.type, self.precision, enabled=reduced):
            logits = self.network(pixels).float()
            heat = settings.teacher_temperature
            advice = ask_teachers(self.teachers, pixels, heat) if self.teachers else None
        loss = compute_loss(logits, labels, label_smoothing=settings.label_smoothing)
        if advice is not None:
            taught = distillation_loss(logits, advice, heat)
            loss = (1 - settings.teaching) * loss + settings.teaching * taught
        return loss, logits.detach()


def build_learner(
    settings: Settings,
    device: torch.device,
    models_folder: Path = MODELS_DIR,
    team: Team = ALONE,
) -> Learner:
    """Put together what the settings ask for, before the first step.

    Raises
    ------
    SettingsError
        If the weights to start from are of another network.
    ModelNotFoundError, CheckpointError
        If a teacher, or the weights to start from, cannot be loaded.
    """
    scaling = build_model(settings.model).scaling
    model = build_model(settings.model, softened(scaling, settings))
    if settings.start:
        copy_weights(load_checkpoint(settings.start, models_folder).model, model)
    prepare_network(model, device, dropout=settings.dropout, pool_first=settings.pool_first)
    teachers = [load_checkpoint(name, models_folder).model for name in settings.teachers]
    shared = team.wrap(model)
    return Learner(
        settings=settings,
        model=model,
        average=RunningAverage(model, settings.ema) if settings.ema else None,
        optimizer=_build_optimizer(model, settings),
        order=torch.Generator().manual_seed(settings.seed),
        changes=torch.Generator(device).manual_seed(settings.seed),
        teachers=[teacher.to(device) for teacher in teachers],
        precision=choose_precision(settings.precision, device),
        device=device,
        team=team,
        network=torch.compile(shared) if settings.compile else shared,
    )


def _build_optimizer(model: nn.Module, settings: Settings) -> torch.optim.Optimizer:
    """Choose Adam for the network that asks for it, and AdamW for the others."""
    if settings.model == ADAM:
        return torch.optim.Adam(model.parameters(), lr=settings.lr, fused=True)
    return torch.optim.AdamW(
        model.parameters(), lr=settings.lr, weight_decay=settings.weight_decay, fused=True
    )


def _report(run: Run, settings: Settings, data_folder: Path, *, test: bool) -> None:
    """Measure the best weights on the test pictures, once, and note it in their checkpoint.

    Without `test` the report is about the validation pictures, and nothing is noted.
    """
    split: Split = "test" if test else "validation"
    digits = _limited(load_mnist(split, data_folder), settings.limit)
    best = load_checkpoint(run.folder / "best.pth")
    scores = run.report(best.model, digits, split)
    print("\n" + (run.folder / "report.txt").read_text(encoding="utf-8"), flush=True)
    if test:
        save_checkpoint(
            best.path,
            best.model,
            settings=best.settings,
            metrics=best.metrics | scores,
            data=best.data | {"test_pictures": len(digits)},
        )


def hand_over(folder: Path, models_folder: Path, stem: str, *, replace: bool = False) -> Path:
    """Copy a run's weights to `models/`: the last always, the best only if they are better.

    A short trial must not destroy a model that took hours, and validation results compare only
    between runs that learned from the same kind of data.

    Parameters
    ----------
    folder : Path
        Of the run; holds last.pth and best.pth.
    models_folder : Path
    stem : str
        The files become STEM.pth and STEM_best.pth.
    replace : bool, default=False
        Replace STEM_best.pth in any case.

    Returns
    -------
    Path
        Where the best weights of this run are now: in `models_folder`, or still in `folder`.
    """
    publish(folder / "last.pth", models_folder / f"{stem}.pth")
    target = models_folder / f"{stem}_best.pth"
    if replace or _is_better(folder / "best.pth", target):
        publish(folder / "best.pth", target)
        return target
    print(
        f"{_shorten(target)} stays as it is, for it did better on validation or learned from other "
        f"data; this run's best is {_shorten(folder / 'best.pth')} (--replace would take it)"
    )
    return folder / "best.pth"


def _is_better(path: Path, standing: Path) -> bool:
    """Say whether the checkpoint at `path` may take the place of the one that stands."""
    new = load_checkpoint(path)
    try:
        old = load_checkpoint(standing)
    except (ModelNotFoundError, CheckpointError):
        return True
    if bool(old.settings.get("limit")) != bool(new.settings.get("limit")):
        return bool(old.settings.get("limit"))  # a trial gives way to a run on all pictures
    same_data = bool(old.settings.get("hands")) == bool(new.settings.get("hands"))
    accuracy = new.metrics["validation_accuracy"]
    return same_data and accuracy >= old.metrics.get("validation_accuracy", 0.0)


def offer(
    outcome: Outcome,
    settings: Settings,
    candidate: str,
    *,
    models_folder: Path,
    data_folder: Path,
    promoting: bool = False,
) -> dict[str, Any]:
    """Put a finished run's best weights on the shelf under a name of their own.

    They are calibrated first, so that their confidence and verdicts can be relied on. Whoever
    follows the run finds what came of it in its outcome.json.

    Parameters
    ----------
    outcome : Outcome
        Of a run that was not interrupted.
    settings : Settings
        Of that run.
    candidate : str
        The weights become `models_folder`/CANDIDATE.pth.
    models_folder, data_folder : Path
    promoting : bool, default=False
        Make them the best model, if they are not worse by `promotion.RULE`.

    Returns
    -------
    dict
        `candidate`, `metrics`, `corrections` (how many are read right now, and were before),
        `promotion` (see `promotion.Comparison.to_dict`) and `summary`, in words.
    """
    before = load_checkpoint(settings.start, models_folder) if settings.start else None
    best = load_checkpoint(outcome.folder / "best.pth")
    calibrate(best, data_folder, count=settings.limit or CALIBRATION_COUNT)
    publish(best.path, models_folder / f"{candidate}.pth")
    result: dict[str, Any] = {"candidate": candidate, "metrics": outcome.metrics}
    summary = [f"{outcome.metrics['validation_accuracy']:.2%} of the validation pictures right."]
    corrections = _load_corrections(settings)
    if corrections:
        result["corrections"] = _count_corrected(corrections, best, before)
        summary.append(
            "Of {count} corrected digits {right} are read right.".format(**result["corrections"])
        )
    if promoting:
        comparison = promote(candidate, models_folder, data_folder)
        promoted = comparison.is_not_worse
        result["promotion"] = {**comparison.to_dict(), "promoted": promoted}
        verdict = "It is the best model now" if promoted else "The best model stays as it was"
        summary.append(f"{verdict} ({comparison.text}).")
    result["summary"] = " ".join([*summary, f"The new weights are {candidate!r}."])
    with atomic_write(outcome.folder / "outcome.json") as path:
        path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return result


def _count_corrected(
    corrections: Digits, new: Checkpoint, old: Checkpoint | None
) -> dict[str, int | None]:
    """Count the corrected digits that are read as the visitors said, now and before."""
    assert corrections.labels is not None
    digits = corrections.take(corrections.labels != NOT_A_DIGIT)
    models = {"right": new, "before": old}
    scores = {
        key: round(measure(each.model, digits).accuracy * len(digits)) if each else None
        for key, each in models.items()
    }
    return {"count": len(digits), **scores}


def softened(scaling: InputScaling, settings: Settings) -> InputScaling:
    """Let a network soften what it reads, if augmentation softens what it learns from."""
    return dataclasses.replace(scaling, soften=settings.soften if settings.augment else 0.0)


def copy_weights(source: DigitNetwork, target: DigitNetwork) -> None:
    """Begin where another network ended.

    Raises
    ------
    SettingsError
        If the two are not built alike.
    """
    same_scaling = dataclasses.replace(source.scaling, soften=target.scaling.soften)
    if source.name != target.name or same_scaling != target.scaling:
        raise SettingsError(
            f"--start holds a {source.name} for inputs {source.scaling}, not a {target.name} for "
            f"{target.scaling}; add --model {source.name}, or start from another checkpoint"
        )
    target.load_state_dict(source.state_dict())


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
        ("strength", 0 <= settings.strength <= 5, "from 0 to 5"),
        ("elastic-px", 0 <= settings.elastic_px < math.inf, "0 or more"),
        ("thickness", 0 <= settings.thickness <= 1, "from 0 to 1"),
        ("untouched", 0 <= settings.untouched <= 1, "from 0 to 1"),
        ("soften", 0 <= settings.soften <= MAX_SOFTEN, f"from 0 to {MAX_SOFTEN}"),
        ("small-epochs", settings.small_epochs >= 0, "0 or more"),
        ("patience", settings.patience >= 0, "0 or more"),
        ("teaching", 0 <= settings.teaching <= 1, "from 0 to 1"),
        ("teacher-temperature", 0 < settings.teacher_temperature < math.inf, "above 0"),
        ("hands", settings.hands >= 0, "0 or more"),
        (
            "ingredients",
            bool(settings.ingredients) and set(settings.ingredients) <= set(INGREDIENTS),
            f"one or more of {', '.join(INGREDIENTS)}",
        ),
        ("non-digits", settings.non_digits >= 0, "0 or more"),
        ("shards", settings.shards >= 1, "at least 1"),
        ("limit", settings.limit >= 0, "0 or more"),
        ("seed", 0 <= settings.seed <= MAX_SEED, f"from 0 to {MAX_SEED}"),
    ]
    for flag, is_fine, wanted in checks:
        if not is_fine:
            value = getattr(settings, flag.replace("-", "_"))
            raise SettingsError(f"--{flag} {value} cannot work: it has to be {wanted}")
    if settings.small_epochs and not _can_be_small(settings):
        raise SettingsError(
            f"--small-epochs needs the network {DEFAULT_ARCHITECTURE!r} and augmentation"
        )


def _can_be_small(settings: Settings | argparse.Namespace) -> bool:
    """Whether the network takes smaller pictures, and augmentation is there to cut them."""
    return settings.model == DEFAULT_ARCHITECTURE and bool(settings.augment)


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
            "  python train.py --recipe fast                    over 99 % in under a minute\n"
            "  python train.py --recipe hands                   other hands than MNIST's, too\n"
            "  python train.py --model cnn2 --epochs 5 --lr 0.001\n"
            "  python train.py --limit 500 --epochs 1           a short trial\n"
            "  python train.py --resume outputs/RUN             go on with a stopped run\n"
            "\n"
            "several processes: torchrun --nproc_per_node 2 -- train.py --recipe fast"
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
    add("--strength", type=float, metavar="X", help="multiplies how far pictures are changed")
    add("--elastic-px", type=float, metavar="X", help="smooth bending of strokes, in pixels")
    add("--thickness", type=float, metavar="X", help="part of pictures with other stroke widths")
    add("--soften", type=float, metavar="X", help="share of neighbours mixed in when reading")
    add("--untouched", type=float, metavar="X", help="part of pictures that are not moved or bent")
    add("--small-epochs", type=int, metavar="N", help="first epochs on the upper left 24x24 pixels")
    add(
        "--pool-first",
        action=argparse.BooleanOptionalAction,
        help="pool before batch normalisation while learning, for speed",
    )
    add("--patience", type=int, metavar="N", help="epochs without progress to stop; 0: never")
    add("--start", metavar="NAME", help="checkpoint whose weights to begin with")
    add("--teachers", nargs="*", metavar="NAME", help="checkpoints to learn from as well")
    add("--teaching", type=float, metavar="X", help="part of the loss that is the teachers'")
    add("--teacher-temperature", type=float, metavar="X", help="softens the teachers' answers")
    add(
        "--compile",
        action=argparse.BooleanOptionalAction,
        help="torch.compile the network: slow to begin, for long trainings on a GPU",
    )
    add("--precision", choices=PRECISIONS, help="arithmetic; auto: bf16 where it is faster")
    add("--hands", type=int, metavar="N", help="digits of other hands to learn from as well")
    add("--ingredients", nargs="+", metavar="NAME", help="what they are made from")
    add("--non-digits", type=int, metavar="N", help="pictures of no digit to learn doubt from")
    add("--shards", type=int, metavar="N", help="sets of such pictures, taken in turn")
    add(
        "--corrections",
        nargs="?",
        const=OWN_CORRECTIONS,
        metavar="FILE",
        help="learn from what visitors corrected as well; default file: the page's own",
    )
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
    add("--candidate", metavar="NAME", help="calibrate, and save as models/NAME.pth only")
    doing = parser.add_argument_group("running")
    add = doing.add_argument
    add("--threads", type=int, default=0, metavar="N", help="CPU threads; 0: one for each core")
    add("--no-cuda", action="store_true", help="stay on the CPU; short for --device cpu")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:1 or mps")
    add("--no-test", action="store_true", help="leave the test pictures alone (experiments)")
    add("--replace", action="store_true", help="replace NAME_best.pth even by a worse one")
    add("--promote", action="store_true", help="make the candidate the best if it is not worse")
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
    recipe = RECIPES[args.recipe]
    if args.small_epochs == recipe.get("small_epochs") and not _can_be_small(args):
        args.small_epochs = 0  # nobody asked for it but a recipe, which suits other networks, too
    values = {name: getattr(args, name) for name in fields}
    lists = {name: tuple(getattr(args, name)) for name in ("teachers", "ingredients")}
    return args, Settings(**{**values, **lists})


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
        if args.promote and not args.candidate:
            raise SettingsError("--promote needs --candidate NAME: the name it stays under if not")
        if args.threads:
            torch.set_num_threads(args.threads)
        run_name = args.run or f"{settings.model}-{datetime.now():%Y%m%d-%H%M%S}"
        place = "cpu" if args.no_cuda else args.device
        with _stop_like_ctrl_c(), join_team(place) as (team, device):
            folders = {"data_folder": data_dir(args.data_dir), "models_folder": args.models_dir}
            if not team.is_leader:
                assist(settings, team, device=device, **folders)
                return 0
            outcome = train(
                settings,
                **folders,
                folder=args.resume or args.output / run_name,
                name=args.name,
                device=device,
                team=team,
                resume=args.resume is not None,
                test=not args.no_test,
                replace=args.replace,
                hand_on=not args.candidate,
            )
            if args.candidate and not outcome.interrupted:
                found = offer(
                    outcome,
                    settings,
                    args.candidate,
                    models_folder=args.models_dir,
                    data_folder=data_dir(args.data_dir),
                    promoting=args.promote,
                )
                print(found["summary"], flush=True)
    except DigitError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("stopped with nothing to keep but what lies in the run's folder", file=sys.stderr)
        return INTERRUPTED
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


@contextlib.contextmanager
def _stop_like_ctrl_c() -> Iterator[None]:
    """Treat a polite request to end (kill, a page's "cancel") as Ctrl-C: files are put in order."""

    def stop(signum: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


if __name__ == "__main__":
    sys.exit(main())
