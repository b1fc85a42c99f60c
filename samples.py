"""Pictures of which we know what they show, wherever they come from.

    mnist, load_digits, hands, non-digits, a folder, a list or an archive -> [Sample, Sample, ...]

| written as | is |
|---|---|
| `mnist`, `mnist:validation` | 5,000 pictures that training never sees; choose by these |
| `mnist:test`, `mnist:train` | the other splits; the test split is for a final measurement only |
| `load_digits` | scikit-learn's 1,797 digits, 64 pixels large in a margin, in both polarities |
| `hands` | digits drawn, printed and photographed by `hands.py`, unlike those of training |
| `non-digits` | letters, scribbles, pairs, halves, noise, made by `hands.py` |
| a folder, .zip or .tar | the folder next to the picture names its digit: `3/x.png`; `none/x.png` |
| a .csv | `path,label[,more columns]`; files relative to the table; label `none`: not a digit |
| Kaggle's train.csv | `label,pixel0,...,pixel783` |

    >>> len(load_samples("load_digits", Path("data")))
    3594
"""

from __future__ import annotations

import contextlib
import csv
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import get_args

import cv2
import numpy as np
import torch

from batch_input import Input
from batch_sources import open_source
from dataset import Digits, Split, load_kaggle, load_mnist
from errors import DataFormatError, SettingsError
from hands import EVALUATION_SEED, NOT_A_DIGIT, make_hands, make_non_digits
from kaggle import is_kaggle
from labels import (
    NO_DIGIT_FOLDERS,
    NONE,
    find_columns,
    list_columns,
    means_no_digit,
    read_digit,
)
from non_digits import NON_DIGITS
from utils import count_noun, one_line

log = logging.getLogger(__name__)

MADE = 2_000  # generated pictures
DIGIT_SIDE, MARGIN = 64, 16  # pixels, of scikit-learn's digits

_NAMED = ("mnist", "load_digits", "hands", "non-digits")


@dataclass(frozen=True)
class Sample:
    """One picture and what it shows.

    Attributes
    ----------
    input : Input
        The picture.
    label : int
        0 to 9, or `hands.NOT_A_DIGIT`.
    groups : mapping of str to str
        What else is known of it: the kind of picture, its writer, ...
    view_of : str, default=""
        Which digit it shows, where others show the same one; they are not independent of it.
    """

    input: Input
    label: int
    groups: Mapping[str, str] = field(default_factory=dict)
    view_of: str = ""

    @property
    def name(self) -> str:
        """What reports call it."""
        return self.input.path


def load_samples(
    what: str,
    data_folder: Path,
    *,
    groups: Sequence[str] = (),
    limit: int = 0,
    workers: int | None = None,
) -> list[Sample]:
    """Find labelled pictures.

    Parameters
    ----------
    what : str
        See the table at the top of this file.
    data_folder : Path
        Where MNIST lies and generated pictures are kept.
    groups : sequence of str
        Columns of a table that are kept in `Sample.groups`.
    limit : int, default=0
        Take only this many, chosen evenly over the whole set; 0 takes all. Of generated pictures
        no more are made.
    workers : int, optional
        Processes that make generated pictures, at least one where there are many to make; one for
        each core by default.

    Returns
    -------
    list of Sample
        Always in the same order.

    Raises
    ------
    DataNotFoundError
        If there is no such file, folder or data set.
    DataFormatError
        If no picture in it has a label, or a table lacks a column.
    SettingsError
        If the name is known but not the split, or `limit` is negative.
    """
    if limit < 0:
        raise SettingsError(f"limit {limit}: choose 0 (all) or more")
    made = min(limit or MADE, MADE)
    samples = list(_find(what, data_folder, groups, made, workers))
    if not samples:
        raise DataFormatError(
            f"{what}: no picture in it has a label; put pictures into folders named 0 to 9 and "
            "none, or write a table: path,label"
        )
    if limit and limit < len(samples):
        places = np.linspace(0, len(samples) - 1, limit).round().astype(int)
        samples = [samples[place] for place in places.tolist()]
    return samples


def holds_mnist_form(what: str) -> bool:
    """Tell whether `what` names pictures of 28x28 pixels that need no preparation."""
    name = what.partition(":")[0]
    return name == "mnist" or (name not in _NAMED and _is_kaggle(Path(what)))


def has_columns(what: str) -> bool:
    """Tell whether `what` names a table, which may have columns to count by."""
    path = Path(what)
    is_named = what.partition(":")[0] in _NAMED
    return not is_named and path.suffix.lower() == ".csv" and not _is_kaggle(path)


def load_mnist_form(what: str, data_folder: Path, *, limit: int = 0) -> Digits:
    """Load as arrays what `holds_mnist_form`; parameters and errors as for `load_samples`."""
    samples = load_samples(what, data_folder, limit=limit)
    pixels = np.stack(
        [np.frombuffer(sample.input.data or b"", np.uint8).reshape(28, 28) for sample in samples]
    )
    labels = torch.tensor([sample.label for sample in samples])
    return Digits(torch.from_numpy(pixels), labels)


def _find(
    what: str, data_folder: Path, groups: Sequence[str], made: int, workers: int | None
) -> Iterator[Sample]:
    """Tell what kind of source is meant; of generated pictures, `made` are wanted."""
    name, _, split = what.partition(":")
    if name == "mnist":
        return _from_mnist(split or "validation", data_folder)
    if what == "load_digits":
        return _from_sklearn()
    if what == "hands":
        return _make_digits(data_folder, made, workers)
    if what == "non-digits":
        return _make_none(data_folder, made, workers)
    path = Path(what)
    if _is_table(path):
        if _is_kaggle(path):
            return _from_kaggle(path)
        return _from_table(path, groups)
    return _from_files(what)


# --- pictures that are at hand as arrays --------------------------------------------------------


def _raw(name: str, pixels: np.ndarray) -> Input:
    """Describe a picture that has MNIST's form already."""
    return Input(name, data=pixels.tobytes(), is_raw=True)


def _from_mnist(split: str, folder: Path) -> Iterator[Sample]:
    if split not in get_args(Split):
        raise SettingsError(
            f"mnist:{split}: choose mnist:validation (to choose by), mnist:test (once, at the "
            "end) or mnist:train"
        )
    return _from_digits(load_mnist(split, folder), f"mnist:{split}")  # type: ignore[arg-type]


def _from_kaggle(path: Path) -> Iterator[Sample]:
    digits = load_kaggle(path)
    if digits.labels is None:
        raise DataFormatError(
            f"{path} has no labels, so nothing can be measured; take Kaggle's train.csv, or let "
            "batch_processor.py read this file"
        )
    return _from_digits(digits, str(path))


def _from_digits(digits: Digits, name: str) -> Iterator[Sample]:
    assert digits.labels is not None
    for place, (pixels, label) in enumerate(
        zip(digits.images.numpy(), digits.labels.tolist(), strict=True)
    ):
        yield Sample(_raw(f"{name}#{place}", pixels), label)


def _from_sklearn() -> Iterator[Sample]:
    """Enlarge scikit-learn's 8x8 digits; somebody else's writing, scanned in another way."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    for place, (image, label) in enumerate(zip(bunch.images, bunch.target.tolist(), strict=True)):
        small = np.rint(image * (255 / 16)).astype(np.uint8)
        large = cv2.resize(small, (DIGIT_SIDE, DIGIT_SIDE), interpolation=cv2.INTER_CUBIC)
        framed = np.pad(large, MARGIN)
        for polarity, picture in (("light on dark", framed), ("dark on light", 255 - framed)):
            file = bytes(cv2.imencode(".png", picture)[1])
            name = f"load_digits#{place}"
            item = Input(name, data=file, size=len(file), is_listed=True)
            yield Sample(item, label, {"polarity": polarity}, view_of=name)


def _make_digits(folder: Path, count: int, workers: int | None) -> Iterator[Sample]:
    mnist = load_mnist("validation", folder)
    assert mnist.labels is not None
    pictures = (mnist.images.numpy(), mnist.labels.numpy())
    images, labels = make_hands(
        count, seed=EVALUATION_SEED, folder=folder, mnist=pictures, workers=_at_least_one(workers)
    )
    for place, (pixels, label) in enumerate(zip(images, labels.tolist(), strict=True)):
        yield Sample(_raw(f"hands#{place}", pixels), label)


def _make_none(folder: Path, count: int, workers: int | None) -> Iterator[Sample]:
    images, kinds = make_non_digits(
        count, seed=EVALUATION_SEED, folder=folder, workers=_at_least_one(workers)
    )
    for place, (pixels, kind) in enumerate(zip(images, kinds.tolist(), strict=True)):
        item = _raw(f"non-digits#{place}", pixels)
        yield Sample(item, NOT_A_DIGIT, {"kind": NON_DIGITS[kind]})


def _at_least_one(workers: int | None) -> int | None:
    """Let one process make pictures where none is wanted: for `hands.py` none means all cores."""
    return None if workers is None else max(workers, 1)


# --- pictures in files --------------------------------------------------------------------------


def _from_files(what: str) -> Iterator[Sample]:
    """Take the pictures of a folder or an archive that lie in a folder named by a label."""
    unlabelled = 0
    for item in open_source(what).read():
        label = item.label
        assert not isinstance(label, str)  # only numbers of several digits have such labels
        folder = PurePosixPath(item.path.replace("\\", "/")).parent.name
        if label is None and folder in NO_DIGIT_FOLDERS:
            label = NOT_A_DIGIT
        if label is None:
            unlabelled += 1
        else:
            yield Sample(item, label)
    if unlabelled:
        log.warning(
            "%s: left out %s in no folder 0 to 9 or none",
            one_line(what),
            count_noun(unlabelled, "file"),
        )


def _from_table(path: Path, groups: Sequence[str]) -> Iterator[Sample]:
    """Take the pictures that a table names."""
    try:
        file_column, label_column = find_columns(path, labelled=True)
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            names = list(reader.fieldnames or ())
            rows = [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataFormatError(f"{path} cannot be read as CSV text ({error})") from error
    columns = {name.strip(): name for name in names}
    for group in groups:
        if group not in columns:
            raise DataFormatError(f"{path}: no column {group!r} among {list_columns(names)}")
    for line, row in rows:
        text = row[label_column] or ""
        label = NOT_A_DIGIT if means_no_digit(text) else read_digit(text)
        if label is None:
            raise DataFormatError(
                f"{path}, line {line}: the label {text!r} is neither a digit nor {NONE!r}; "
                "for numbers of several digits there is evaluate_numbers.py"
            )
        name = row[file_column] or ""
        item = Input(name, str(path.parent / name), is_listed=True)
        yield Sample(item, label, {group: row[columns[group]] or "" for group in groups})


def _is_table(path: Path) -> bool:
    """Whether a path is that of a table."""
    # Path.is_file would raise for a name that is too long, or below a folder not to be entered.
    return path.suffix.lower() == ".csv" and os.path.isfile(path)  # noqa: PTH113


def _is_kaggle(path: Path) -> bool:
    """Whether a path is that of one of Kaggle's tables."""
    if _is_table(path):
        # What cannot be read here is no better read, and named, as any other table.
        with contextlib.suppress(OSError):
            return is_kaggle(path)
    return False
