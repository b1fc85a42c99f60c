"""What can be chosen about a training run from a page or an API, and within which limits.

    fields of a page, body of a request -> JobSettings -> check_values -> jobs.py

Much less than `recipes.Settings`, which are the trainer's own: what is not here is the recipe's.

    >>> check_values(JobSettings(epochs=0))
    SettingsError: epochs: 0 cannot work; it has to be whole, from 1 to 100
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from errors import SettingsError
from model import list_models
from utils import MAX_SEED

MAX_EPOCHS = 100
MAX_LIMIT = 60_000  # pictures for learning that MNIST has
MAX_LR = 0.1  # of the optimizers here, anything higher diverges
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


@dataclass(frozen=True)
class JobSettings:
    """What can be chosen about a run; everything else is the recipe's.

    Attributes
    ----------
    model : str, default=""
        One of `model.list_models()`; "" takes the network of `start`, or the default one.
    epochs : int, default=3
        From 1 to 100.
    lr : float, default=0.0005
        Highest learning rate; above 0, at most 0.1.
    start : str, default="best"
        Name of the checkpoint whose weights are refined; "" begins anew.
    corrections : bool, default=False
        Learn from the stored corrections as well; MNIST is always learned besides.
    hands : bool, default=True
        Learn other hands than MNIST's, and pictures of no digit, as well.
    promote : bool, default=False
        Make the result the "best" model if it is not worse by the rule of `promotion.py`.
    name : str, default=""
        Of the new checkpoint: letters, digits, - and _, at most 64; "" makes one up.
    limit : int, default=0
        Only so many pictures of each split, for a trial; 0 takes all. A trial is never promoted.
    seed : int, default=0
    """

    model: str = ""
    epochs: int = 3
    lr: float = 0.0005
    start: str = "best"
    corrections: bool = False
    hands: bool = True
    promote: bool = False
    name: str = ""
    limit: int = 0
    seed: int = 0


def check_values(settings: JobSettings) -> None:
    """Check each field by itself: whether its value is one that it may have.

    Raises
    ------
    SettingsError
        The message begins with the name of the field, and says what it may be.
    """
    known = ", ".join(list_models())
    checks = [
        ("model", settings.model in ("", *list_models()), f"one of {known}"),
        ("epochs", _is_whole(settings.epochs, 1, MAX_EPOCHS), f"whole, from 1 to {MAX_EPOCHS}"),
        ("lr", _is_rate(settings.lr), f"above 0, up to {MAX_LR}"),
        ("start", isinstance(settings.start, str), "the name of a model, or empty"),
        ("corrections", isinstance(settings.corrections, bool), "true or false"),
        ("hands", isinstance(settings.hands, bool), "true or false"),
        ("promote", isinstance(settings.promote, bool), "true or false"),
        (
            "name",
            settings.name == ""
            or (isinstance(settings.name, str) and NAME.fullmatch(settings.name) is not None),
            "at most 64 letters (a to z), digits, - and _, the first a letter or digit",
        ),
        (
            "limit",
            _is_whole(settings.limit, 0, MAX_LIMIT),
            f"whole, from 0 (all) to {MAX_LIMIT}",
        ),
        ("seed", _is_whole(settings.seed, 0, MAX_SEED), f"whole, from 0 to {MAX_SEED}"),
    ]
    for name, is_fine, wanted in checks:
        if not is_fine:
            value = getattr(settings, name)
            what = "it is empty" if value is None else f"{value!r:.80} cannot work"
            raise SettingsError(f"{name}: {what}; it has to be {wanted}")


def _is_whole(value: object, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _is_rate(value: object) -> bool:
    return isinstance(value, (int, float)) and 0 < value <= MAX_LR
