"""Whether a newly trained model may become the "best" one: the rule, and its use.

    candidate, present best -> the same validation pictures -> not worse? -> models/mnist_cnn_best

Both are measured anew, on the same pictures, which neither has learned from: MNIST's validation
split, and digits of other hands made from it, as for `calibrate.py`. The test pictures take no
part. A worse model stays on the shelf under its own name, and can still be put to use by hand;
nothing is replaced without saying so.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from dataset import load_mnist
from errors import CheckpointError, ModelNotFoundError, OvertakenError, SettingsError
from hands import VALIDATION_COUNT, VALIDATION_SEED, make_hands
from model import compute_logits
from registry import Checkpoint, load_checkpoint
from shelf import BEST, make_best

RULE = (
    "It must read at least as many of MNIST's validation pictures as the present best model, and "
    "at least as many digits of other hands. If both numbers are the same, its doubt has to be at "
    "least as well placed."  # by the mean cross entropy, after calibration
)


@dataclass(frozen=True)
class Result:
    """How a model does on one set of pictures."""

    count: int
    right: int
    loss: float


@dataclass(frozen=True)
class Comparison:
    """Two models on the same pictures.

    Attributes
    ----------
    candidate, standing : str
        Their names; `standing` is empty if there was no best model.
    sets : dict of str to (Result, Result)
        For each set of pictures the candidate's result and the other's.
    """

    candidate: str
    standing: str
    sets: dict[str, tuple[Result, Result]]

    @property
    def is_not_worse(self) -> bool:
        """Apply `RULE`."""
        gains = [new.right - old.right for new, old in self.sets.values()]
        if any(gains):
            return min(gains) >= 0
        return sum(new.loss - old.loss for new, old in self.sets.values()) <= 0

    @property
    def text(self) -> str:
        """Say in words how the two compare."""
        if not self.standing:
            return "there was no best model"
        return "; ".join(
            f"{name}: {new.right:,} of {new.count:,} right, before {old.right:,}"
            for name, (new, old) in self.sets.items()
        )

    def to_dict(self) -> dict[str, Any]:
        """Give plain values."""
        return {
            "candidate": self.candidate,
            "standing": self.standing,
            "is_not_worse": self.is_not_worse,
            "text": self.text,
            "sets": {
                name: {"count": new.count, "right": new.right, "before": old.right}
                | {"loss": new.loss, "loss_before": old.loss}
                for name, (new, old) in self.sets.items()
            },
        }


def compare(
    candidate: Checkpoint, standing: Checkpoint, data_folder: Path, *, count: int = VALIDATION_COUNT
) -> Comparison:
    """Measure two models on the same validation pictures.

    Parameters
    ----------
    candidate, standing : Checkpoint
    data_folder : Path
        Where MNIST lies and generated pictures are kept.
    count : int, default=3000
        How many digits of other hands.

    Raises
    ------
    DataNotFoundError, DataFormatError
        If MNIST cannot be read.
    """
    mnist = load_mnist("validation", data_folder)
    assert mnist.labels is not None
    pictures, labels = mnist.images.numpy(), mnist.labels.numpy()
    hands = make_hands(count, seed=VALIDATION_SEED, folder=data_folder, mnist=(pictures, labels))
    return Comparison(
        candidate.name,
        standing.name,
        {
            name: (_measure(candidate, *digits), _measure(standing, *digits))
            for name, digits in {"MNIST": (pictures, labels), "other hands": hands}.items()
        },
    )


def _measure(checkpoint: Checkpoint, images: np.ndarray, labels: np.ndarray) -> Result:
    """Read pictures as a visitor's would be read: with the checkpoint's own temperature."""
    logits = compute_logits(checkpoint.model, torch.from_numpy(images).unsqueeze(1))
    truth = torch.from_numpy(labels)
    return Result(
        count=len(labels),
        right=int((logits.argmax(dim=1) == truth).sum()),
        loss=float(F.cross_entropy(logits / checkpoint.temperature, truth)),
    )


def is_best(candidate: Checkpoint, folder: Path) -> bool:
    """Whether a model is the best one already, under whatever name, its doubt included."""
    standing = _find_best(folder)
    return standing is not None and _are_same(candidate, standing)


def _are_same(one: Checkpoint, other: Checkpoint) -> bool:
    """Whether two files give the same answers, with the same doubt."""
    keys = ("version", "temperature", "refusal")
    return all(getattr(one, key) == getattr(other, key) for key in keys)


def _find_best(folder: Path) -> Checkpoint | None:
    """Load the present best model; None if there is none that can be used."""
    try:
        return load_checkpoint(BEST, folder, allow_paths=False)
    except (ModelNotFoundError, CheckpointError):
        return None


def promote(
    name: str, folder: Path, data_folder: Path, *, count: int = VALIDATION_COUNT
) -> Comparison:
    """Make a model the best one, if it is not worse than the present one by `RULE`.

    Measuring takes a minute, in which the shelf is open to others. If another model becomes the
    best one meanwhile, the two are compared anew.

    Parameters
    ----------
    name : str
        Of a file in the models folder, never a path.
    folder : Path
        The models folder.
    data_folder : Path
        Where MNIST lies and generated pictures are kept.
    count : int, default=3000
        How many digits of other hands.

    Returns
    -------
    Comparison
        If `is_not_worse`, "best" is this model now, and `shelf.roll_back` undoes it. Otherwise
        nothing has changed.

    Raises
    ------
    ModelNotFoundError, CheckpointError
        If the model cannot be used.
    SettingsError
        If it is the best one already; `shelf.roll_back` would have nothing to go back to.
    DataNotFoundError, DataFormatError
        If MNIST cannot be read.
    OutputError
        If a file cannot be written.
    """
    while True:
        candidate = load_checkpoint(name, folder, allow_paths=False)
        standing = _find_best(folder)
        if standing and _are_same(candidate, standing):
            raise SettingsError(f"{candidate.name} is the best model already")
        if standing is None:
            comparison = Comparison(candidate.name, "", {})
        else:
            comparison = compare(candidate, standing, data_folder, count=count)
        if not comparison.is_not_worse:
            return comparison
        versions = candidate.version, standing.version if standing else None
        with contextlib.suppress(OvertakenError):
            make_best(name, folder, measured=versions)
            return comparison
