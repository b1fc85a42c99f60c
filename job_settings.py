"""What can be chosen about a training run from a page or an API, and within which limits.

    fields of a page, body of a request -> JobSettings -> check_values -> jobs.py

Much less than `recipes.Settings`, which are the trainer's own: what is not here is the recipe's.
The fields of the page and the schema of the API take their limits from here.

    >>> check_values(JobSettings(epochs=0))
    SettingsError: epochs: 0 cannot work; it has to be whole, from 1 to 100
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from errors import SettingsError
from model import list_models
from utils import MAX_SEED

MAX_NAME = 64  # characters
NAME = re.compile(rf"[A-Za-z0-9][A-Za-z0-9_-]{{0,{MAX_NAME - 1}}}")


@dataclass(frozen=True)
class Limits:
    """From where to where a number may go.

    Attributes
    ----------
    least, most : float
    is_whole : bool, default=True
        Only whole numbers will do.
    takes_least : bool, default=True
        Whether it may be `least` itself.
    """

    least: float
    most: float
    is_whole: bool = True
    takes_least: bool = True

    def __str__(self) -> str:
        """Say what a number has to be: "whole, from 1 to 100"."""
        least = f"from {self.least}" if self.takes_least else f"above {self.least}, up"
        return f"{'whole, ' if self.is_whole else ''}{least} to {self.most}"

    def hold(self, value: object) -> bool:
        """Tell whether a value is a number within these limits; any value may be asked about."""
        kinds = (int,) if self.is_whole else (int, float)
        if not isinstance(value, kinds) or isinstance(value, bool):
            return False
        return self.least <= value <= self.most and (self.takes_least or value != self.least)


# Of each number among the fields of `JobSettings`.
LIMITS = {
    "epochs": Limits(1, 100),
    # Of the optimizers here, anything higher diverges.
    "lr": Limits(0, 0.1, is_whole=False, takes_least=False),
    "limit": Limits(0, 60_000),  # pictures for learning that MNIST has
    "seed": Limits(0, MAX_SEED),
}


@dataclass(frozen=True)
class JobSettings:
    """What can be chosen about a run; everything else is the recipe's.

    Numbers are within `LIMITS`.

    Attributes
    ----------
    model : str, default=""
        One of `model.list_models()`; "" takes the network of `start`, or the default one.
    epochs : int, default=3
        How often each picture is seen.
    lr : float, default=0.0005
        Highest learning rate.
    start : str, default="best"
        Name of the checkpoint whose weights are refined; "" begins anew.
    corrections : bool, default=False
        Learn from the stored corrections as well; MNIST is always learned besides.
    hands : bool, default=True
        Learn other hands than MNIST's, and pictures of no digit, as well.
    promote : bool, default=False
        Make the result the "best" model if it is not worse by the rule of `promotion.py`.
    name : str, default=""
        Of the new checkpoint, of the form `NAME`; "" makes one up.
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
        ("start", isinstance(settings.start, str), "the name of a model, or empty"),
        ("corrections", isinstance(settings.corrections, bool), "true or false"),
        ("hands", isinstance(settings.hands, bool), "true or false"),
        ("promote", isinstance(settings.promote, bool), "true or false"),
        (
            "name",
            settings.name == ""
            or (isinstance(settings.name, str) and NAME.fullmatch(settings.name) is not None),
            f"at most {MAX_NAME} letters (a to z), digits, - and _, the first a letter or digit",
        ),
        *((name, limits.hold(getattr(settings, name)), limits) for name, limits in LIMITS.items()),
    ]
    for name, is_fine, wanted in checks:
        if not is_fine:
            value = getattr(settings, name)
            what = "it is empty" if value is None else f"{value!r:.80} cannot work"
            raise SettingsError(f"{name}: {what}; it has to be {wanted}")
