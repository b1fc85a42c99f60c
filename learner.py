"""A network while it learns: one epoch after another, from settings to better weights.

    batches -> augment -> network -> loss -> gradients -> optimizer -> running average

It knows nothing of files but the checkpoints it starts from; `train.py` measures, saves and
prints between the epochs. The pieces of a step are those of `learning.py`.

    >>> learner = build_learner(Settings(**RECIPES["fast"]), torch.device("cpu"))
    >>> learner.learn(load_mnist("train", data_dir()), epoch=1)
    Score(loss=..., accuracy=...)
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from dataset import Digits, augment, batches, steps_in_epoch
from distributed import ALONE, Team
from errors import DivergenceError, SettingsError
from hands import NOT_A_DIGIT
from learning import (
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
from model import IMAGE_SIZE, DigitNetwork, InputScaling, build_model, list_models
from recipes import Settings
from registry import MODELS_DIR, load_checkpoint
from runs import Resumable, Score

ADAM = "mlp"  # the network whose recipe asks for Adam; all others learn by AdamW

# Pixels. Three poolings leave 3 of 24 as of 28, and what lies outside is nearly always empty.
SMALL_SIZE = 24


@dataclass
class Learner:
    """A network while it learns, with all that one epoch after another changes.

    Attributes
    ----------
    settings : Settings
    model : DigitNetwork
        The weights that are learned.
    average : RunningAverage or None
        Of these weights, if one is kept.
    optimizer : Optimizer
    order, changes : Generator
        Random numbers for the order of the pictures, and for how they are changed.
    teachers : sequence of Module
        Networks whose answers are learned besides the labels; often none.
    precision : dtype
        Of the arithmetic in a step.
    device : device
        Where all of it is.
    team : Team
        The processes that train the same network.
    network : callable
        The model, or it compiled, or shared by processes: pictures to logits.
    early_norms : sequence of PoolThenNorm
        Layers of the model that a step has to leave in order.
    sources : dict
        Where weights and corrections came from, without places on a disk.
    """

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
    network: Callable[[Tensor], Tensor]
    early_norms: Sequence[PoolThenNorm]
    sources: dict[str, Any]

    @property
    def state(self) -> Resumable:
        """Everything that changes while learning."""
        return Resumable(self.model, self.average, self.optimizer, self.order, self.changes)

    @property
    def result(self) -> DigitNetwork:
        """The weights that count: averaged, if an average is kept."""
        return self.average.model if self.average else self.model

    @property
    def record(self) -> dict[str, Any]:
        """The settings as a checkpoint keeps them, which may leave this machine."""
        return self.settings.to_dict() | self.sources

    def learn(self, digits: Digits, epoch: int) -> Score:
        """See every picture once, and say how it went.

        Parameters
        ----------
        digits : Digits
            Labelled, on the device of the network.
        epoch : int
            From 1; decides the learning rate, and whether the pictures are small.

        Raises
        ------
        DivergenceError
            If the loss is not a number any more.
        """
        settings, team = self.settings, self.team
        self._begin_epoch()
        is_small = epoch <= min(settings.small_epochs, settings.epochs - 1)
        size = SMALL_SIZE if is_small else IMAGE_SIZE
        augmentation = settings.augmentation
        per_epoch = steps_in_epoch(len(digits), settings.batch_size)
        # Sums stay on the device: asking for a number would make a GPU wait at every step.
        sums = torch.zeros(3, device=self.device)
        losses, right, seen = sums  # three views
        drawn = batches(digits, settings.batch_size, self.order, part=team.rank, parts=team.size)
        for number, (pixels, labels) in enumerate(
            _show_progress(drawn, per_epoch, epoch, settings)
        ):
            if settings.augment:
                # Teachers see the whole picture: some of them can read no smaller one.
                drawn_size = IMAGE_SIZE if self.teachers else size
                pixels = augment(pixels, self.changes, augmentation, size=drawn_size)
            self._set_learning_rate((epoch - 1) * per_epoch + number, per_epoch)
            loss, logits = self._compute(pixels, labels, size)
            self._step(loss)
            losses += loss.detach()
            right += (logits.argmax(dim=1) == labels).sum()
            seen += (labels != NOT_A_DIGIT).sum()
        loss_sum, right_sum, seen_sum = team.all_reduce(sums).tolist()
        score = Score(loss_sum / (per_epoch * team.size), right_sum / max(seen_sum, 1))
        if not math.isfinite(score.loss):
            raise DivergenceError(
                f"training diverged in epoch {epoch} (the loss is not a number any more); "
                f"use a smaller --lr than {settings.lr:g}"
            )
        return score

    def _begin_epoch(self) -> None:
        """Switch dropout and batch statistics on, and let dropout draw new numbers."""
        self.model.train()
        for layer in self.model.modules():
            if isinstance(layer, StripDropout):
                layer.renew()

    def _set_learning_rate(self, step: int, per_epoch: int) -> None:
        """Follow the schedule."""
        settings = self.settings
        steps = per_epoch * settings.epochs
        factor = learning_rate_factor(step, steps, per_epoch, settings.schedule)
        for group in self.optimizer.param_groups:
            group["lr"] = settings.lr * factor

    def _compute(self, pixels: Tensor, labels: Tensor, size: int) -> tuple[Tensor, Tensor]:
        """Run the network on the upper left pixels: the loss, and logits without their history."""
        settings = self.settings
        reduced = self.precision != torch.float32
        with torch.autocast(self.device.type, self.precision, enabled=reduced):
            logits = self.network(pixels[..., :size, :size]).float()
            temperature = settings.teacher_temperature
            taught = ask_teachers(self.teachers, pixels, temperature) if self.teachers else None
        loss = compute_loss(logits, labels, label_smoothing=settings.label_smoothing)
        if taught is not None:
            distilled = distillation_loss(logits, taught, temperature)
            loss = (1 - settings.teaching) * loss + settings.teaching * distilled
        return loss, logits.detach()

    def _step(self, loss: Tensor) -> None:
        """Change the weights so that the loss shrinks, and their average after them."""
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        for layer in self.early_norms:
            layer.keep_order()
        if self.average:
            self.average.update(self.model)


def build_learner(
    settings: Settings,
    device: torch.device,
    models_folder: Path = MODELS_DIR,
    team: Team = ALONE,
    *,
    with_start: bool = True,
) -> Learner:
    """Put together what the settings ask for, before the first step.

    Parameters
    ----------
    settings : Settings
    device : torch.device
        Where the network learns.
    models_folder : Path, default=MODELS_DIR
        Where teachers, and the weights to start from, are looked up.
    team : Team, default=ALONE
        The processes that train the same network.
    with_start : bool, default=True
        Load the weights to start from. A run that goes on has others already, and the file may be
        gone by then.

    Returns
    -------
    Learner

    Raises
    ------
    SettingsError
        If the weights to start from are of another network.
    ModelNotFoundError, CheckpointError
        If a teacher, or the weights to start from, cannot be loaded.
    """
    scaling = build_model(settings.model).scaling
    model = build_model(settings.model, softened(scaling, settings))
    is_begun = with_start and settings.start
    start = load_checkpoint(settings.start, models_folder) if is_begun else None
    if start:
        copy_weights(start.model, model)
    prepare_network(model, device, dropout=settings.dropout, pool_first=settings.pool_first)
    teachers = [load_checkpoint(name, models_folder) for name in settings.teachers]
    shared = team.wrap(model)
    return Learner(
        settings=settings,
        model=model,
        average=RunningAverage(model, settings.ema) if settings.ema else None,
        optimizer=_build_optimizer(model, settings),
        order=torch.Generator().manual_seed(settings.seed),
        changes=torch.Generator(device).manual_seed(settings.seed),
        teachers=[teacher.model.to(device) for teacher in teachers],
        precision=choose_precision(settings.precision, device),
        device=device,
        team=team,
        network=torch.compile(shared) if settings.compile else shared,
        early_norms=[layer for layer in model.modules() if isinstance(layer, PoolThenNorm)],
        sources={
            "start": start.reference if start else "",
            "teachers": [teacher.reference for teacher in teachers],
            "corrections": Path(settings.corrections).name,
        },
    )


def _build_optimizer(model: nn.Module, settings: Settings) -> torch.optim.Optimizer:
    """Choose Adam for the network that asks for it, and AdamW for the others."""
    if settings.model == ADAM:
        return torch.optim.Adam(model.parameters(), lr=settings.lr, fused=True)
    return torch.optim.AdamW(
        model.parameters(), lr=settings.lr, weight_decay=settings.weight_decay, fused=True
    )


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
    if source.name not in list_models():
        raise SettingsError(
            f"--start holds several networks together ({source.name}), which learn one by one; "
            "start from one of them"
        )
    if source.name != target.name or same_scaling != target.scaling:
        raise SettingsError(
            f"--start holds a {source.name} for inputs {source.scaling}, not a {target.name} for "
            f"{target.scaling}; add --model {source.name}, or start from another checkpoint"
        )
    target.load_state_dict(source.state_dict())


def _show_progress(
    steps: Iterator[tuple[Tensor, Tensor]], count: int, epoch: int, settings: Settings
) -> Iterator[tuple[Tensor, Tensor]]:
    """Draw a bar on a terminal while the epoch runs, and remove it afterwards."""
    label = f"epoch {epoch}/{settings.epochs}"
    yield from tqdm(steps, desc=label, total=count, leave=False, unit="batch", disable=None)
