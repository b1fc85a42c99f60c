"""What a training run computes: its settings, and named sets of them, the recipes.

    RECIPES["fast"] + what the command line changes -> Settings -> check_settings -> train.py

Settings are plain values. They are saved with the run, so that it can be resumed, and with its
weights, so that a checkpoint says how it was made.

    >>> Settings(**RECIPES["fast"]).epochs
    4
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from dataset import Augmentation
from errors import SettingsError
from hands import INGREDIENTS
from learning import PRECISIONS, SCHEDULES
from model import DEFAULT_ARCHITECTURE, MAX_SOFTEN, list_models
from utils import MAX_SEED


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
        Pull of the weights towards zero, by AdamW; `mlp` learns by Adam, and without it.
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
        last one; `mnistnet` only. Teachers see the whole pictures.
    pool_first : bool
        Pool before batch normalisation while learning, for speed, unless the run begins or goes on
        with negative gains; see `learning.PoolThenNorm`.
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

    @property
    def augmentation(self) -> Augmentation:
        """How far a training picture may be changed."""
        return Augmentation(
            elastic_px=self.elastic_px, thickness=self.thickness, untouched=self.untouched
        ).times(self.strength)

    @property
    def can_be_small(self) -> bool:
        """Whether the network takes smaller pictures, and augmentation is there to cut them."""
        return self.model == DEFAULT_ARCHITECTURE and self.augment

    def to_dict(self) -> dict[str, Any]:
        """Give values that JSON and checkpoints can hold."""
        return {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in asdict(self).items()
        }


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
    # The same in half of the time: two epochs less, on smaller pictures but for the last, and with
    # batch normalisation after pooling. See `bench.py train --full`.
    "fast": {
        "epochs": 4,
        "batch_size": 256,
        "lr": 0.004,
        "dropout": 0.0,
        "label_smoothing": 0.05,
        "ema": 0.99,
        "strength": 0.5,
        "small_epochs": 3,
        "pool_first": True,
    },
    # Made the shipped weights, in seven stages: see `make weights`.
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
    # Made the weights of six other networks: the same pictures, in minutes.
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
    if settings.small_epochs and not settings.can_be_small:
        raise SettingsError(
            f"--small-epochs needs the network {DEFAULT_ARCHITECTURE!r} and augmentation"
        )
