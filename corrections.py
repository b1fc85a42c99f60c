"""What visitors corrected, as pictures to learn from, in a measure that forgets nothing else.

    feedback.sqlite -> 28x28 and its label -> repeated -> mixed among MNIST's training pictures

A handful of corrections among 55,000 pictures would not be noticed, and alone they would push out
what the network knows. So each is repeated until together they make a tenth of what an epoch
shows, but none more than `MOST_REPEATS` times; as every picture is changed a little each time it
is seen (see `dataset.augment`), repeating is not showing the same again.

    >>> found = load_corrections(None)
    >>> len(repeat(found, among=55_000)) / len(found)
    50.0
"""

from __future__ import annotations

from pathlib import Path

import torch

from dataset import Digits
from errors import SettingsError
from feedback import FeedbackStore
from hands import NOT_A_DIGIT

SHARE = 0.1  # of what an epoch shows
OWN = "own"  # the project's store, where a file could be named
MOST_REPEATS = 50  # 13 corrections would have to be shown 470 times each; that learns them by heart


def load_corrections(path: Path | None) -> Digits:
    """Read all corrections, those of pictures without a digit as well.

    Parameters
    ----------
    path : Path or None
        The store's file; None takes the project's own.

    Returns
    -------
    Digits
        One picture each, as the network saw it; the label is what the visitor said, and
        `hands.NOT_A_DIGIT` where the picture shows no digit.

    Raises
    ------
    SettingsError
        If there are none.
    OutputError, DataFormatError
        If the store cannot be opened, or its file is damaged.
    """
    store = FeedbackStore(path) if path else FeedbackStore()
    images, labels = store.load_digits(no_digit=NOT_A_DIGIT)
    if not len(labels):
        raise SettingsError(
            f"there are no corrections in {store.path} to learn from; correct some answers on the "
            "page first, or train without --corrections"
        )
    return Digits(torch.from_numpy(images.copy()), torch.from_numpy(labels))


def find_corrections(name: str) -> Digits | None:
    """Read the corrections that a setting names.

    Parameters
    ----------
    name : str
        A store's file, "own" for the project's, "" for none.

    Returns
    -------
    Digits or None
        As `load_corrections`; None if none are wanted.
    """
    if not name:
        return None
    return load_corrections(None if name == OWN else Path(name))


def repeat(corrections: Digits, *, among: int) -> Digits:
    """Repeat every correction as often as it takes to be noticed, and no oftener.

    Parameters
    ----------
    corrections : Digits
        At least one.
    among : int
        How many other pictures an epoch shows.

    Returns
    -------
    Digits
        Each as often as the others: about `SHARE` of the epoch in all, at least once and at most
        `MOST_REPEATS` times.
    """
    wanted = among * SHARE / (1 - SHARE)
    times = min(max(round(wanted / len(corrections)), 1), MOST_REPEATS)
    return corrections.take(torch.arange(len(corrections)).repeat(times))
