"""What a training run learns from: MNIST, and what the settings ask for besides.

    MNIST + digits of other hands + pictures of no digit + corrections -> Data, on the device

Each shard is one set of such pictures with its own seed; the epochs take the shards in turn.

    >>> data = load_data(Settings(limit=100), data_dir(), torch.device("cpu"))
    >>> len(data.train[0]), len(data.validation)
    (100, 100)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from corrections import find_corrections, repeat
from dataset import SPLIT_SEED, Digits, join, load_mnist
from hands import (
    INGREDIENTS,
    NOT_A_DIGIT,
    VALIDATION_COUNT,
    VALIDATION_SEED,
    make_hands,
    make_non_digits,
)
from recipes import Settings
from runs import Stage


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


def load_data(
    settings: Settings,
    folder: Path,
    device: torch.device,
    *,
    on_stage: Callable[[Stage], None] = lambda stage: None,
) -> Data:
    """Read MNIST and make (or find again) the pictures of other hands.

    Parameters
    ----------
    settings : Settings
    folder : Path
        Where MNIST lies and generated pictures are kept.
    device : torch.device
        Where the pictures are put.
    on_stage : callable, optional
        Gets how far it is with pictures that have to be made, which can take minutes.

    Returns
    -------
    Data

    Raises
    ------
    DataNotFoundError, DataFormatError
        If MNIST is missing, or a file of it or the store of corrections is damaged.
    SettingsError
        If corrections are asked for and there are none.
    OutputError
        If the store of corrections cannot be opened.
    """
    mnist = load_mnist("train", folder).first(settings.limit)
    validation = load_mnist("validation", folder).first(settings.limit)
    corrections = find_corrections(settings.corrections)
    train = []
    for shard in range(1, settings.shards + 1):
        parts = [mnist]
        if settings.hands:
            parts.append(
                _make_hands(settings.hands, shard, folder, mnist, on_stage, settings.ingredients)
            )
        if settings.non_digits:
            images, _ = make_non_digits(
                settings.non_digits,
                seed=shard,
                folder=folder,
                on_progress=_tell(on_stage, "making non-digits", settings.non_digits),
            )
            labels = torch.full((len(images),), NOT_A_DIGIT)
            parts.append(Digits(torch.from_numpy(images), labels))
        if corrections:
            parts.append(repeat(corrections, among=sum(map(len, parts))))
        train.append(join(parts).to(device))
    hands = None
    if settings.hands:
        hands = _make_hands(
            min(settings.limit or VALIDATION_COUNT, VALIDATION_COUNT),
            VALIDATION_SEED,
            folder,
            validation,
            on_stage,
        ).to(device)
    return Data(train, validation.to(device), hands, len(corrections) if corrections else 0)


def _make_hands(
    count: int,
    seed: int,
    folder: Path,
    mnist: Digits,
    on_stage: Callable[[Stage], None],
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
        on_progress=_tell(on_stage, "making digits", count),
    )
    return Digits(torch.from_numpy(images), torch.from_numpy(labels))


def _tell(on_stage: Callable[[Stage], None], name: str, total: int) -> Callable[[int], None]:
    """Turn a number of pictures that are made into a stage."""
    return lambda done: on_stage(Stage(name, done, total))
