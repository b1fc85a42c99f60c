"""Digits from disk to tensors: MNIST, Kaggle's CSV, our own training hands, and augmentation.

    MNIST files, a CSV or generated hands -> Digits (uint8 pictures in memory) -> augment -> network

Decoded pictures stay in memory as bytes: all of MNIST is 47 MB, and a batch is one `index_select`.
Augmentation draws new numbers for every picture but moves the whole batch in one sampling call,
so no Python runs for a single picture.

    >>> digits = load_mnist("validation", data_dir())
    >>> digits.images.shape, digits.images.dtype
    (torch.Size([5000, 28, 28]), torch.uint8)

Source: LeCun, Cortes, Burges, "The MNIST database of handwritten digits".
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from errors import DataFormatError, DataNotFoundError
from kaggle import has_labels, read_rows
from utils import PROJECT

IMAGE_SIZE = 28
FULL_INK = 255  # a byte of a stored picture

Split = Literal["train", "validation", "test"]

# NumPy promises that RandomState's stream never changes, which torch.randperm does not: the held
# out pictures have to be the same for every checkpoint that will ever be compared.
SPLIT_SEED = 1998
VALIDATION_SHARE = 5_000 / 60_000

MNIST_FILES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)


@dataclass(frozen=True)
class Digits:
    """Pictures of digits, with or without their labels.

    Attributes
    ----------
    images : Tensor of shape (N, 28, 28), uint8
        White ink (255) on black (0).
    labels : Tensor of shape (N,), int64, or None
        0 to 9; None when nobody says what the pictures show.
    """

    images: Tensor
    labels: Tensor | None

    def __len__(self) -> int:
        return len(self.images)

    def take(self, places: Tensor | slice) -> Digits:
        """Keep the pictures at these places."""
        return Digits(self.images[places], None if self.labels is None else self.labels[places])

    def first(self, count: int) -> Digits:
        """Keep the first pictures; 0 keeps all."""
        return self.take(slice(count or None))

    def to(self, device: torch.device | str) -> Digits:
        """Move the tensors to a device."""
        labels = None if self.labels is None else self.labels.to(device)
        return Digits(self.images.to(device), labels)


def join(parts: Sequence[Digits]) -> Digits:
    """Put several sets of labelled pictures into one."""
    labels = [part.labels for part in parts if part.labels is not None]
    return Digits(torch.cat([part.images for part in parts]), torch.cat(labels))


def data_dir(argument: str | Path | None = None) -> Path:
    """Find the folder of the data sets: the argument, else $DIGITS_DATA, else `data/` here."""
    return Path(argument or os.environ.get("DIGITS_DATA") or PROJECT / "data")


def load_mnist(split: Split, folder: Path) -> Digits:
    """Read one split of MNIST, downloading and checking the files if they are not there.

    Parameters
    ----------
    split : {"train", "validation", "test"}
        The 60,000 training pictures are split once and for all into 55,000 for training and
        5,000 for validation. The test split is for a final measurement only.
    folder : Path
        Holds `MNIST/raw/` with the four files of MNIST, packed (.gz) or unpacked.

    Returns
    -------
    Digits

    Raises
    ------
    DataNotFoundError
        If the files are missing and cannot be downloaded. The message says which go where.
    DataFormatError
        If a file is damaged.
    """
    images, labels = _read_mnist(folder, train=split != "test")
    digits = Digits(images, labels)
    if split == "test":
        return digits
    order = np.random.RandomState(SPLIT_SEED).permutation(len(digits))
    held_out = round(len(digits) * VALIDATION_SHARE)
    places = order[:held_out] if split == "validation" else order[held_out:]
    return digits.take(torch.from_numpy(np.sort(places)))


def _read_mnist(folder: Path, *, train: bool) -> tuple[Tensor, Tensor]:
    """Let torchvision fetch, check and decode the files, and say in our words what went wrong."""
    from torchvision.datasets import MNIST  # half a second to import: only who needs it pays

    raw = Path(folder) / "MNIST" / "raw"
    try:
        mnist = MNIST(str(folder), train=train, download=True)
    # torchvision raises RuntimeError for what it cannot fetch, and nearly anything for bad bytes.
    except (RuntimeError, OSError, ValueError, AssertionError, LookupError, TypeError) as error:
        if all((raw / name).with_suffix("").is_file() for name in MNIST_FILES):
            raise DataFormatError(
                f"a file of MNIST in {raw} is damaged ({error}); delete them to download them again"
            ) from error
        raise DataNotFoundError(
            f"MNIST is not in {raw} and could not be downloaded ({error}); put these four files "
            f"there: {', '.join(MNIST_FILES)}; or name the folder that holds MNIST/raw with "
            "--data-dir or DIGITS_DATA"
        ) from error
    images, labels = mnist.data, mnist.targets
    if images.shape[1:] != (IMAGE_SIZE, IMAGE_SIZE) or len(images) != len(labels):
        raise DataFormatError(
            f"MNIST in {raw} holds pictures of shape {tuple(images.shape)} and {len(labels)} "
            "labels; delete the folder to download it again"
        )
    return images, labels


def has_mnist(folder: Path) -> bool:
    """Whether the four files of MNIST, packed or not, are in a data folder: nothing is fetched."""
    raw = Path(folder) / "MNIST" / "raw"
    return all(
        (raw / name).is_file() or (raw / name).with_suffix("").is_file() for name in MNIST_FILES
    )


def load_stand_in(split: Split) -> Digits:
    """Read scikit-learn's little digits, enlarged to MNIST's form, for where MNIST is not at hand.

    They come with scikit-learn, so they need no network. They are coarse, and few: a network that
    has learned from them reads them well, and little else.

    Parameters
    ----------
    split : {"train", "validation", "test"}
        The first 1,200, the next 297, and the last 300.

    Returns
    -------
    Digits
        20x20 on 28x28, the centre of mass in the middle.

    References
    ----------
    Alpaydin, Kaynak 1998, "Optical recognition of handwritten digits", UCI repository.
    """
    from sklearn.datasets import load_digits  # a second to import: only who needs it pays

    part = {"train": slice(1_200), "validation": slice(1_200, 1_497), "test": slice(1_497, None)}
    bunch = load_digits()
    small = torch.from_numpy(bunch.images[part[split]]).float().unsqueeze(1) / 16  # (N, 1, 8, 8)
    large = F.interpolate(small, size=(20, 20), mode="bicubic", align_corners=False).clamp(0, 1)
    images = torch.zeros(len(small), IMAGE_SIZE, IMAGE_SIZE)
    middle = torch.arange(20.0)
    for image, digit in zip(images, large.squeeze(1), strict=True):
        across, down = digit.sum(0), digit.sum(1)
        # A digit has no ink in its corners, so clamping moves it by a pixel at most.
        left = min(max(14 - round(float(across @ middle / across.sum())), 0), 8)
        top = min(max(14 - round(float(down @ middle / down.sum())), 0), 8)
        image[top : top + 20, left : left + 20] = digit
    labels = torch.from_numpy(bunch.target[part[split]]).long()
    return Digits((images * FULL_INK).round().to(torch.uint8), labels)


def load_kaggle(path: Path) -> Digits:
    """Read a CSV of Kaggle's digit-recognizer competition.

    Parameters
    ----------
    path : Path
        First line `label,pixel0,...,pixel783`, or the same without `label` for the pictures that
        Kaggle wants labelled; then one picture in each line, values 0 to 255.

    Returns
    -------
    Digits
        `labels` is None when the file has no label column.

    Raises
    ------
    DataNotFoundError
        If there is no such file.
    DataFormatError
        If a line does not hold one picture. The message names the line and the column.
    """
    path = Path(path)
    labelled = has_labels(path)
    table = torch.from_numpy(np.concatenate(list(read_rows(path))))
    images = table[:, int(labelled) :].reshape(-1, IMAGE_SIZE, IMAGE_SIZE)
    return Digits(images.contiguous(), table[:, 0].long() if labelled else None)


def steps_in_epoch(count: int, batch_size: int) -> int:
    """Count the batches of one epoch: whole ones, but at least one."""
    return max(count // batch_size, 1)


def batches(
    digits: Digits, batch_size: int, generator: torch.Generator, *, part: int = 0, parts: int = 1
) -> Iterator[tuple[Tensor, Tensor]]:
    """Draw the shuffled batches of one epoch; pictures that fill no batch wait for another epoch.

    Parameters
    ----------
    digits : Digits
        Labelled.
    batch_size : int
    generator : torch.Generator
        Decides the order; on the CPU, so that the order is the same on every device.
    part, parts : int, default=0, 1
        Give only one part, 0 to `parts` - 1, of every batch: where several processes share them.

    Yields
    ------
    pixels : Tensor of shape (B, 1, 28, 28), float, 0.0 to 1.0
    labels : Tensor of shape (B,), int64
    """
    assert digits.labels is not None
    order = torch.randperm(len(digits), generator=generator).to(digits.images.device)
    for number in range(steps_in_epoch(len(digits), batch_size)):
        places = order[number * batch_size : (number + 1) * batch_size][part::parts]
        images = digits.images.index_select(0, places).unsqueeze(1)
        yield images.float() / FULL_INK, digits.labels.index_select(0, places)


@dataclass(frozen=True)
class Augmentation:
    """How far a training picture may be changed; every picture draws its own numbers.

    Attributes
    ----------
    rotation_deg : float
        Turned by at most this much either way.
    translation : float
        Moved by at most this part of the side, along each axis.
    scale : float
        Enlarged or reduced by at most this part, along each axis by itself.
    shear : float
        Slanted by at most this part of the height.
    elastic_px : float
        Standard deviation of a smooth random displacement, in pixels; 0 turns it off.
    thickness : float
        Part of the pictures whose strokes are made thicker or thinner by up to a pixel.
    erasing : float
        Part of the pictures that lose a rectangle.
    erasing_px : tuple of (int, int)
        Shortest and longest side of that rectangle, in pixels.
    untouched : float
        Part of the pictures that are neither turned, moved, scaled, slanted nor bent. Every such
        change smooths the strokes a little, and a network that only ever sees smoothed strokes
        reads crisp ones worse.
    """

    rotation_deg: float = 10.0
    translation: float = 0.1
    scale: float = 0.1
    shear: float = 0.15
    elastic_px: float = 0.0
    thickness: float = 0.0
    erasing: float = 0.1
    erasing_px: tuple[int, int] = (4, 9)
    untouched: float = 0.0

    def times(self, strength: float) -> Augmentation:
        """Multiply how far pictures are turned, moved, scaled and slanted, and how many erased."""
        return replace(
            self,
            rotation_deg=self.rotation_deg * strength,
            translation=self.translation * strength,
            scale=self.scale * strength,
            shear=self.shear * strength,
            erasing=min(self.erasing * strength, 1.0),
        )


# Control points per side of the elastic field: 5 lets a stroke bend, but not a loop close.
ELASTIC_POINTS = 5


def augment(
    pixels: Tensor,
    generator: torch.Generator,
    settings: Augmentation | None = None,
    *,
    size: int = IMAGE_SIZE,
) -> Tensor:
    """Change every picture of a batch a little, each in its own way.

    Parameters
    ----------
    pixels : Tensor of shape (B, 1, 28, 28), float
        White ink on black, 0.0 to 1.0, on any device. Not changed.
    generator : torch.Generator
        Source of all random numbers; it has to live on the device of `pixels`.
    settings : Augmentation, optional
        How far a picture may be changed.
    size : int, default=28
        Side of the result. Fewer pixels cost less, and leave out what is farthest right and down:
        each pixel keeps its place, so a network goes on with whole pictures where it was.

    Returns
    -------
    Tensor of shape (B, 1, size, size), float
    """
    settings = settings or Augmentation()
    count, device = len(pixels), pixels.device
    chance = torch.rand(count, 13, generator=generator, device=device)
    if settings.thickness:
        pixels = _change_thickness(pixels, chance[:, 0], chance[:, 1], settings.thickness)
    moving = (chance[:, 12:] >= settings.untouched).to(pixels.dtype)  # (B, 1)
    theta = _affine_maps((chance[:, 2:8] * 2 - 1) * moving, settings)
    # The middle of a smaller picture lies up and left of the middle of the whole.
    theta[:, :, 2] -= theta[:, :, :2].sum(dim=2) * (1 - size / IMAGE_SIZE)
    theta[:, :, :2] *= size / IMAGE_SIZE
    grid = F.affine_grid(theta, [count, 1, size, size], align_corners=False)
    if settings.elastic_px:
        knots = torch.randn(
            count, 2, ELASTIC_POINTS, ELASTIC_POINTS, generator=generator, device=device
        )
        # Two normalised units are one side.
        knots = knots * moving[:, :, None, None] * (settings.elastic_px * 2 / IMAGE_SIZE)
        bend = F.interpolate(knots, size=(size, size), mode="bicubic", align_corners=True)
        grid = grid + bend.permute(0, 2, 3, 1)
    moved = F.grid_sample(pixels, grid, mode="bilinear", align_corners=False)
    if settings.erasing:
        moved = _erase(moved, chance[:, 8:12], settings)
    return moved


def _affine_maps(spread: Tensor, settings: Augmentation) -> Tensor:
    """Turn six numbers from -1 to 1 per picture into output-to-input maps, (B, 2, 3)."""
    angle = spread[:, 0] * (settings.rotation_deg * np.pi / 180)
    wide, high = 1 + spread[:, 1] * settings.scale, 1 + spread[:, 2] * settings.scale
    shear = spread[:, 3] * settings.shear
    cos, sin = torch.cos(angle), torch.sin(angle)
    # Rotation, then slant, then the two scales: a larger scale looks at fewer input pixels.
    theta = torch.stack(
        [
            cos / wide,
            (shear * cos - sin) / high,
            spread[:, 4] * (2 * settings.translation),
            sin / wide,
            (shear * sin + cos) / high,
            spread[:, 5] * (2 * settings.translation),
        ],
        dim=1,
    )
    return theta.view(-1, 2, 3)


def _change_thickness(pixels: Tensor, chosen: Tensor, amount: Tensor, share: float) -> Tensor:
    """Blend a share of the pictures with a thicker or a thinner copy of themselves."""
    places = torch.nonzero(chosen < share).squeeze(1)
    few = pixels[places]
    thicker = F.max_pool2d(few, 3, stride=1, padding=1)
    thinner = -F.max_pool2d(-few, 3, stride=1, padding=1)
    weight = (amount[places] * 2 - 1).view(-1, 1, 1, 1)
    # Thinning takes half as much: a whole pixel off each side would cut thin strokes.
    blend = (
        few + weight.clamp(min=0) * (thicker - few) - weight.clamp(max=0) * 0.5 * (thinner - few)
    )
    return pixels.index_copy(0, places, blend)


def _erase(pixels: Tensor, chance: Tensor, settings: Augmentation) -> Tensor:
    """Blacken one rectangle in a share of the pictures (Zhong et al. 2017, Random Erasing)."""
    size = pixels.shape[-1]
    shortest, longest = settings.erasing_px
    height, width = (shortest + chance[:, :2] * (longest - shortest)).unbind(1)
    # One number decides whether to erase and, stretched to 0..1 again, where from the top.
    erased = chance[:, 2] < settings.erasing
    top = chance[:, 2] / settings.erasing * (size - height)
    left = chance[:, 3] * (size - width)
    line = torch.arange(size, device=pixels.device)
    rows = (line >= top[:, None]) & (line < (top + height)[:, None]) & erased[:, None]
    cols = (line >= left[:, None]) & (line < (left + width)[:, None])
    return pixels.masked_fill((rows[:, :, None] & cols[:, None, :]).unsqueeze(1), 0.0)
