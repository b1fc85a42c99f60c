"""Measure batches: many files to a table, against a naive loop and against decoding alone.

    10,000 PNG of 28x28, 1,000 JPEG of 640x480, 100 JPEG of 12 megapixels
        -> naive: open, resize, one pass through the network as it was trained, each by itself
        -> ours:  BatchProcessor, from the start of its workers to the CSV on the disk
        -> floor: decoding alone, in as many processes, which run already

The pictures are drawn by `strokes.py` and photographed by `degrade.py`. `--scale` reads a
thousand, ten thousand, ... files, each number in a fresh process, and watches its memory.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image

from batch_processor import BatchProcessor
from degrade import photograph
from errors import MeasurementError
from model import IMAGE_SIZE
from pixels import to_bytes
from predict import MNISTPredictor
from preprocess import prepare
from strokes import draw_digit
from timing import (
    Goal,
    Table,
    compare_to,
    describe_conditions,
    median_ratio,
    run_python,
    take_turns,
)
from utils import PROJECT, count_processors

GOAL_SMALL = 5.0  # times as fast as the naive loop
GOAL_PHOTOS = 2.5  # the same for JPEGs
GOAL_DECODING = 0.6  # of the rate of decoding alone
GOAL_START = 1.2  # times importing torch

FILES_IN_A_FOLDER = 1000
NOISE, TILE = 3.0, 512  # of a camera, in levels of 255; the same in each tile of so many pixels
SCALE = (1_000, 10_000, 100_000, 1_000_000)  # files of the curve


@dataclass(frozen=True)
class Kind:
    """One kind of pictures.

    Attributes
    ----------
    name : str
    count : int
        Files in a round.
    distinct : int
        Different pictures among them; the others are links to these.
    size : tuple of int
        Width and height, pixels.
    goal : float
        How many times as fast as the naive loop it should be.
    """

    name: str
    count: int
    distinct: int
    size: tuple[int, int]
    goal: float


KINDS = (
    Kind("batch-28x28-png", 10_000, 500, (IMAGE_SIZE, IMAGE_SIZE), GOAL_SMALL),
    Kind("batch-640x480-jpeg", 1_000, 50, (640, 480), GOAL_PHOTOS),
    Kind("batch-12-megapixel-jpeg", 100, 4, (4032, 3024), GOAL_PHOTOS),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    add = parser.add_argument
    add("--model", default="best", help="name in models/, or a checkpoint's path")
    add("--workers", type=int, metavar="N", help="processes (default: one for each processor)")
    add("--rounds", type=int, default=5, metavar="N", help="of which the median counts")
    add("--quick", action="store_true", help="a twentieth of the files, to see that it works")
    add("--scale", action="store_true", help="rate and memory for 1,000 files and more")
    add("--largest", type=int, default=100_000, metavar="N", help="files, with --scale")


def run(args: argparse.Namespace) -> list[Table]:
    """Measure what the command line asks for."""
    workers = count_processors() if args.workers is None else args.workers
    if args.scale:
        return [measure_scale(args.model, workers, args.largest)]
    predictor = MNISTPredictor(args.model)
    tables = []
    for kind in KINDS:
        count = max(1, kind.count // 20) if args.quick else kind.count
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place) / "pictures"
            make_pictures(folder, kind, count)
            tables.append(compare_ways(kind, folder, predictor, workers, args.rounds))
    return [*tables, measure_start(args.model, args.rounds)]


def make_pictures(folder: Path, kind: Kind, count: int) -> None:
    """Write `count` files: different pictures first, then links to them in turn."""
    rng = np.random.default_rng(0)
    names: list[Path] = []
    for number in range(count):
        here = folder / f"{number // FILES_IN_A_FOLDER:04}"
        here.mkdir(parents=True, exist_ok=True)
        suffix = ".png" if kind.size[0] == IMAGE_SIZE else ".jpg"
        names.append(here / f"{number:07}{suffix}")
        if number < kind.distinct:
            draw = draw_small if kind.size[0] == IMAGE_SIZE else draw_photo
            cv2.imwrite(str(names[-1]), draw(number % 10, kind.size, rng))
        else:
            os.link(names[number % kind.distinct], names[-1])


def draw_small(digit: int, size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Draw a digit in MNIST's form, as uint8."""
    return to_bytes(prepare(draw_digit(digit, rng)).digit)


def draw_photo(digit: int, size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Photograph a digit in uneven light with the noise of a camera, in colour, as uint8."""
    seen = photograph(draw_digit(digit, rng, size=480), rng, effects=["grey paper", "gradient"])
    beside = round(seen.shape[0] * size[0] / size[1] - seen.shape[1]) // 2
    wide = cv2.copyMakeBorder(seen, 0, 0, beside, beside, cv2.BORDER_REPLICATE)
    large = cv2.resize(wide, size, interpolation=cv2.INTER_CUBIC)
    lamplight = np.array([0.94, 0.98, 1.0], np.float32)  # OpenCV puts blue first
    tile = rng.normal(0, NOISE, (TILE, TILE, 3)).astype(np.float32)
    noise = np.tile(tile, (-(-size[1] // TILE), -(-size[0] // TILE), 1))[: size[1], : size[0]]
    return np.clip(large[..., None] * lamplight + noise, 0, 255).astype(np.uint8)


def compare_ways(
    kind: Kind, folder: Path, predictor: MNISTPredictor, workers: int, rounds: int
) -> Table:
    """Time the three ways of reading a folder in turns."""
    conditions = describe_conditions(predictor.device)
    paths = sorted(str(path) for path in folder.rglob("*.*"))
    with start_decoders(paths, workers) as decode:
        seconds = take_turns(
            {
                "naive": functools.partial(read_naively, predictor, paths),
                "ours": functools.partial(read_ours, predictor, folder, workers),
                "floor": decode,
            },
            rounds=rounds,
        )
    rows = compare_to(seconds, unit="seconds")
    for name, row in rows.items():
        row["pictures/s"] = len(paths) / row["seconds"]
        row["floor / this"] = median_ratio(seconds["floor"], seconds[name])
    # Ours keeps all processors busy; the naive loop does not, and the floor writes nothing.
    hours = rows["ours"]["seconds"] * count_processors() / 3600
    rows["ours"]["core-hours for 10^9"] = hours * 1e9 / len(paths)
    return Table(
        kind.name,
        "seconds",
        rows,
        {**conditions, "pictures": len(paths), "workers": workers, "rounds": rounds},
        [
            "naive: PIL opens and resizes, one pass through the network as it was trained, each",
            "ours: BatchProcessor, from starting its workers to results.csv",
            "floor: PIL decodes every pixel, in as many processes, which run already",
        ],
        [
            Goal(
                "as fast as the naive loop",
                rows["ours"]["naive / this"],
                kind.goal,
                "times",
                at_least=True,
            ),
            Goal(
                "of the rate of decoding alone",
                rows["ours"]["floor / this"],
                GOAL_DECODING,
                at_least=True,
            ),
        ],
        samples=seconds,
    )


def read_naively(predictor: MNISTPredictor, paths: list[str]) -> None:
    """Read file after file, as most scripts do."""
    model = predictor.checkpoint.model.eval()
    answers = []
    for path in paths:
        small = Image.open(path).convert("L").resize((IMAGE_SIZE, IMAGE_SIZE))
        pixels = torch.from_numpy(np.asarray(small, np.float32) / 255)[None, None]
        with torch.no_grad():
            answers.append((path, int(model(pixels.to(predictor.device)).argmax())))


def read_ours(predictor: MNISTPredictor, folder: Path, workers: int) -> Callable[[], None]:
    """Read a folder into a table; return what clears it away.

    Raises
    ------
    MeasurementError
        If a picture could not be read: then the time would mean nothing.
    """
    output = tempfile.TemporaryDirectory()
    processor = BatchProcessor(
        predictor, output=output.name, workers=workers, progress=False, labels="none"
    )
    processor.process_folder(folder)
    processor.save_results_csv()
    if processor.summary()["error"]:
        raise MeasurementError(f"some pictures in {folder} were not read")
    return output.cleanup


# Waits for the name of a list of files, decodes them, says so, and waits for the next.
DECODER = """
import sys
from PIL import Image
for line in sys.stdin:
    with open(line.rstrip()) as paths:
        for path in paths:
            with Image.open(path.rstrip()) as image:
                image.load()
    print("decoded", flush=True)
"""


@contextlib.contextmanager
def start_decoders(paths: Sequence[str], count: int) -> Iterator[Callable[[], None]]:
    """Start processes that decode their shares of the files, and nothing else, at each call.

    Raises
    ------
    MeasurementError
        When called, if one of them has ended.
    """
    with tempfile.TemporaryDirectory() as place, contextlib.ExitStack() as stack:
        lists = [Path(place) / f"{number}.txt" for number in range(max(1, count))]
        for number, name in enumerate(lists):
            name.write_text("\n".join(paths[number :: len(lists)]), encoding="utf-8")
        command = [sys.executable, "-c", DECODER]
        pipe = subprocess.PIPE
        decoders = [
            stack.enter_context(subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True))
            for _ in lists
        ]

        def decode() -> None:
            for decoder, name in zip(decoders, lists, strict=True):
                assert decoder.stdin is not None
                print(name, file=decoder.stdin, flush=True)
            for decoder in decoders:
                assert decoder.stdout is not None
                if not decoder.stdout.readline():
                    raise MeasurementError("a process that decodes ended; see its message above")

        yield decode


# --- start-up and scale -------------------------------------------------------------------------


def measure_start(model: str, rounds: int) -> Table:
    """Time whole processes that read a folder with one picture."""
    conditions = describe_conditions()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "pictures"
        make_pictures(folder, KINDS[0], 1)
        output = str(Path(place) / "output")
        command = _batch_command(model, folder, output, 1)
        seconds = take_turns(
            {
                "ours": functools.partial(run_python, *command),
                "floor": functools.partial(run_python, "-c", "import torch"),
            },
            rounds=rounds,
        )
    rows = compare_to(seconds, unit="seconds")
    return Table(
        "batch-start",
        "seconds",
        rows,
        {**conditions, "rounds": rounds},
        ["ours: batch_processor.py with one picture and one worker", "floor: import torch"],
        [
            Goal(
                "a whole batch of one picture, against importing torch",
                rows["ours"]["this / floor"],
                GOAL_START,
                "times",
            )
        ],
        samples=seconds,
    )


def _batch_command(model: str, folder: Path, output: str, workers: int) -> list[str]:
    """Put together the words after "python"."""
    words = ["batch_processor.py", str(folder), "--model", model, "--output", output]
    return [*words, "--workers", str(workers), "--format", "csv", "--quiet"]


def measure_scale(model: str, workers: int, largest: int) -> Table:
    """Read more and more small pictures, each number in a fresh process."""
    conditions = describe_conditions()
    sizes = [size for size in SCALE if size <= largest] or [largest]
    rows = {str(size): measure_size(model, workers, size) for size in sizes}
    return Table(
        "batch-scale",
        "whole processes",
        rows,
        {**conditions, "workers": workers},
        [
            "28x28 PNG, from the start of the program to results.csv",
            "memory: the highest of the main process; each worker has about 60 MB beside it",
        ],
        x="pictures",
    )


def measure_size(model: str, workers: int, size: int) -> dict[str, float]:
    """Read so many pictures in a fresh process; give its rate, and its memory where Linux tells.

    Raises
    ------
    MeasurementError
        If it failed.
    """
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "pictures"
        make_pictures(folder, KINDS[0], size)
        command = _batch_command(model, folder, str(Path(place) / "output"), workers)
        started = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, *command], cwd=PROJECT, stdout=subprocess.DEVNULL
        )
        memory = list(_watch_memory(process))
        seconds = time.perf_counter() - started
    if process.returncode:
        raise MeasurementError(
            f"reading {size:,} pictures ended with exit code {process.returncode}"
        )
    found = {"seconds": seconds, "pictures/s": size / seconds}
    return {**found, "memory, MB": max(memory)} if memory else found


def _watch_memory(process: subprocess.Popen[bytes]) -> Iterator[float]:
    """Yield how much memory a process holds, in MB, until it ends."""
    status = Path(f"/proc/{process.pid}/status")
    while process.poll() is None:
        time.sleep(0.05)
        text = status.read_text() if status.exists() else ""
        if found := re.search(r"VmHWM:\s+(\d+)", text):
            yield int(found[1]) / 1024
