"""Training digits of more hands than MNIST has: drawn, printed and photographed, then prepared.

    strokes, fonts, MNIST -> a photograph of each (degrade) -> preprocess -> 28x28 as readers see it

MNIST has almost no flagged 1, no marker, no ruled paper. What is made here passes through the same
preprocessing as a user's picture, so the network learns what really reaches it, mistakes of the
preprocessing included. Making 1,000 pictures takes about five seconds of one core; they are kept
under `data/generated/`, where that can be written, and made again when something that decides how
they look has changed: our code, the pictures they are made from, a library or a font.

    >>> images, labels = make_hands(2_000, seed=0, folder=Path("data"))
    >>> images.shape
    (2000, 28, 28)
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import multiprocessing
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import PIL
from tqdm import tqdm

from degrade import photograph
from errors import BlankImageError, OutputError, SettingsError
from fonts import draw_font_digit, find_fonts
from non_digits import NON_DIGITS, draw_non_digit
from pixels import to_bytes
from preprocess import FIELD, prepare
from strokes import VARIANTS, draw_digit
from utils import PROJECT, atomic_write, count_processors

log = logging.getLogger(__name__)

CHUNK = 500  # pictures that one worker makes at a time; part of what decides how they look
INGREDIENTS = ("strokes", "fonts", "mnist")
SHARES = {"strokes": 0.50, "fonts": 0.10, "mnist": 0.40}
CLEAN_SHARE = 0.35  # of the drawn and printed: on even paper, as drawing programs give them
HARD = {1: 2.0, 4: 1.2, 7: 1.8}  # drawn so much more often: they are the ones confused
SIZES = (36, 144)  # pixels; side of the picture that is drawn or enlarged
COARSE_SHARE = 0.08  # of all digits: sampled as coarsely as the oldest scanners and cameras did
COARSE = (8, 18)  # pixels; side of the whole field then
NOT_A_DIGIT = -1

# The seed decides what is made, and so keeps apart what may not meet. Training learns from the
# seeds 1, 2, ..., one for each of its shards. What chooses has a seed of its own, and one only, so
# that all choices are of the same pictures: the best epoch, temperature and thresholds, and whether
# a model becomes the best. What only measures has another, beyond those that training gets to.
VALIDATION_SEED = 0
VALIDATION_COUNT = 3_000  # pictures of each kind: digits, and no digits
EVALUATION_SEED = 1_000

# A change in one of these files changes the pictures.
_SOURCES = tuple(
    f"{name}.py"
    for name in (
        *("strokes", "stroke_shapes", "pen", "fonts", "non_digits", "degrade"),
        *("picture", "pixels", "masks", "ink", "sheet", "printed", "ruling"),
        *("signs", "components", "preprocess", "hands"),
    )
)


def make_hands(
    count: int,
    *,
    seed: int,
    folder: Path,
    ingredients: tuple[str, ...] = INGREDIENTS,
    mnist: tuple[np.ndarray, np.ndarray] | None = None,
    workers: int | None = None,
    on_progress: Callable[[int], None] = lambda done: None,
) -> tuple[np.ndarray, np.ndarray]:
    """Make labelled training pictures, or load those made before.

    Parameters
    ----------
    count : int
        How many.
    seed : int
        The same seed makes the same pictures, with any number of workers.
    folder : Path
        The data folder; the pictures are kept in its `generated/`.
    ingredients : tuple of str, default=("strokes", "fonts", "mnist")
        What to make them from.
    mnist : tuple of (images, labels), optional
        Training pictures of MNIST, uint8 of shape (N, 28, 28), and their labels; needed for the
        ingredient "mnist".
    workers : int, optional
        Processes; one for each core by default.
    on_progress : callable, optional
        Gets how many are made: at first none, then after each chunk. Not called where they are
        loaded.

    Returns
    -------
    images : ndarray of shape (count, 28, 28), uint8
    labels : ndarray of shape (count,), int64

    Raises
    ------
    SettingsError
        If an ingredient is not known, or "mnist" is asked for without pictures.
    """
    unknown = [name for name in ingredients if name not in INGREDIENTS]
    if unknown or not ingredients:
        raise SettingsError(f"unknown ingredients {unknown}; choose from {', '.join(INGREDIENTS)}")
    if "mnist" in ingredients and mnist is None:
        raise SettingsError("the ingredient 'mnist' needs MNIST's training pictures")
    pictures = _checksum(*mnist) if mnist is not None and "mnist" in ingredients else ""
    key = ("digits", count, seed, ingredients, pictures)
    arguments = (ingredients, mnist)
    return _make(count, seed, folder, key, _draw_labelled, arguments, workers, on_progress)


def make_non_digits(
    count: int,
    *,
    seed: int,
    folder: Path,
    workers: int | None = None,
    on_progress: Callable[[int], None] = lambda done: None,
) -> tuple[np.ndarray, np.ndarray]:
    """Make prepared pictures of what is not a digit: letters, scribbles, pairs, halves, noise.

    Parameters
    ----------
    count, seed, folder, workers, on_progress
        As for `make_hands`.

    Returns
    -------
    images : ndarray of shape (count, 28, 28), uint8
    kinds : ndarray of shape (count,), int64
        Place of the kind in `non_digits.NON_DIGITS`.
    """
    key = ("none", count, seed)
    return _make(count, seed, folder, key, _draw_non_digit, (), workers, on_progress)


_Drawing = tuple[np.ndarray, int]


def _make(
    count: int,
    seed: int,
    folder: Path,
    key: tuple[object, ...],
    draw: Callable[..., _Drawing],
    arguments: tuple[object, ...],
    workers: int | None,
    on_progress: Callable[[int], None],
) -> tuple[np.ndarray, np.ndarray]:
    """Fill an array chunk by chunk in worker processes, and keep it on disk."""
    path = Path(folder) / "generated" / f"{key[0]}-{_fingerprint(key)}.npz"
    # What was damaged since, or is of an older make, is made anew.
    damaged = (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile, zlib.error)
    with contextlib.suppress(*damaged), np.load(path) as kept:
        return kept["images"], kept["labels"]
    starts = range(0, count, CHUNK)
    seeds = np.random.SeedSequence(seed).spawn(len(starts))
    images = np.empty((count, FIELD, FIELD), np.uint8)
    labels = np.empty(count, np.int64)
    sizes = [min(CHUNK, count - start) for start in starts]
    on_progress(0)
    for start, (part, part_labels) in zip(
        tqdm(starts, desc=f"making {count:,} pictures ({key[0]})", unit="chunk"),
        _draw_chunks(seeds, sizes, draw, arguments, workers),
        strict=True,
    ):
        images[start : start + len(part)] = part
        labels[start : start + len(part)] = part_labels
        on_progress(start + len(part))
    try:
        with atomic_write(path) as temporary:
            np.savez_compressed(temporary, images=images, labels=labels)
    except OutputError as error:  # they are made again another time, which costs only time
        log.warning("%s; the pictures made are not kept", error)
    return images, labels


def _fingerprint(key: tuple[object, ...]) -> str:
    """Name what decides how the pictures look: the settings, the code, libraries and fonts."""
    versions = (np.__version__, cv2.__version__, PIL.__version__)
    digest = hashlib.sha256(repr((key, versions)).encode())
    for path in (*(PROJECT / name for name in _SOURCES), *find_fonts()):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _checksum(*arrays: np.ndarray) -> str:
    """Tell pictures and labels from others; those of MNIST take a tenth of a second."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.shape} {array.dtype}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _draw_chunks(
    seeds: Sequence[np.random.SeedSequence],
    sizes: Sequence[int],
    draw: Callable[..., _Drawing],
    arguments: tuple[object, ...],
    workers: int | None,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Draw in worker processes; a single chunk here, as starting a process takes longer."""
    if len(seeds) == 1:
        yield _draw_chunk(seeds[0], sizes[0], draw, arguments)
        return
    # A forked child of a process that has run torch's threads can hang: start workers afresh.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        workers or count_processors(), context, _start_worker, (draw, arguments)
    ) as pool:
        yield from pool.map(_draw_in_worker, seeds, sizes)


_worker: tuple[Callable[..., _Drawing], tuple[object, ...]]


def _start_worker(draw: Callable[..., _Drawing], arguments: tuple[object, ...]) -> None:
    """Keep what a worker needs for every chunk, so that MNIST is sent only once."""
    global _worker
    cv2.setNumThreads(1)
    _worker = (draw, arguments)


def _draw_in_worker(seed: np.random.SeedSequence, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw by what the worker was given at its start."""
    return _draw_chunk(seed, count, *_worker)


def _draw_chunk(
    seed: np.random.SeedSequence,
    count: int,
    draw: Callable[..., _Drawing],
    arguments: tuple[object, ...],
) -> tuple[np.ndarray, np.ndarray]:
    """Draw `count` pictures with a random stream of their own."""
    rng = np.random.default_rng(seed)
    images: list[np.ndarray] = []
    labels: list[int] = []
    while len(images) < count:
        picture, label = draw(rng, *arguments)
        try:
            digit = prepare(picture).digit
        except BlankImageError:  # the photograph lost its ink; a blank page teaches nothing
            continue
        images.append(to_bytes(digit))
        labels.append(label)
    return np.stack(images), np.array(labels, np.int64)


def _draw_labelled(
    rng: np.random.Generator,
    ingredients: tuple[str, ...],
    mnist: tuple[np.ndarray, np.ndarray] | None,
) -> _Drawing:
    """Draw one picture of a digit."""
    shares = np.array([SHARES[name] for name in ingredients])
    ingredient = ingredients[rng.choice(len(ingredients), p=shares / shares.sum())]
    size = int(rng.integers(*SIZES))
    if ingredient == "mnist":
        assert mnist is not None
        place = int(rng.integers(len(mnist[0])))
        ink = cv2.resize(mnist[0][place], (size, size), interpolation=cv2.INTER_CUBIC)
        photo = photograph(_coarsen(ink, rng), rng, strength=rng.uniform(0.2, 1.0))
        return photo, int(mnist[1][place])
    weights = np.array([HARD.get(digit, 1.0) for digit in VARIANTS])
    label = int(rng.choice(len(weights), p=weights / weights.sum()))
    draw = draw_digit if ingredient == "strokes" else draw_font_digit
    return _on_paper(_coarsen(draw(label, rng, size=size), rng), rng), label


def _draw_non_digit(rng: np.random.Generator) -> _Drawing:
    """Draw one picture of something else."""
    kind = int(rng.integers(len(NON_DIGITS)))
    ink = draw_non_digit(NON_DIGITS[kind], rng, size=int(rng.integers(*SIZES)))
    return _on_paper(ink, rng), kind


def _coarsen(ink: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Sample a few pictures very coarsely and enlarge them again."""
    if rng.random() >= COARSE_SHARE:
        return ink
    side = int(rng.integers(*COARSE))
    small = cv2.resize(ink, (side, side), interpolation=cv2.INTER_AREA)
    return cv2.resize(small, ink.shape[::-1], interpolation=cv2.INTER_LINEAR)


def _on_paper(ink: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Leave some drawings clean, in either polarity, and photograph the others."""
    if rng.random() < CLEAN_SHARE:
        margin = int(rng.integers(2, len(ink) // 2))
        framed = cv2.copyMakeBorder(ink, margin, margin, margin, margin, cv2.BORDER_CONSTANT)
        return framed if rng.random() < 0.5 else 255 - framed
    return photograph(ink, rng, strength=rng.uniform(0.1, 1.0))
