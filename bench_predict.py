"""Measure reading: one picture from its file to the answer, batches of all sizes, memory.

    a 28x28 PNG on disk -> naive: PIL, torchvision, the network as it was trained
                        -> ours:  MNISTPredictor.predict, with verdict and reason
                        -> floor: decoding, and the folded network on pixels that lie ready

The pictures are drawn by `strokes.py`, so that nothing has to be fetched.
"""

from __future__ import annotations

import argparse
import functools
import io
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch

from model import FORWARD_BATCH, MNIST_MEAN, MNIST_STD, compute_logits
from picture import open_picture
from pixels import to_bytes
from predict import MNISTPredictor
from preprocess import Prepared, prepare
from registry import Checkpoint
from strokes import draw_digit
from timing import Goal, Table, compare_to, describe_conditions, median_ratio, take_turns
from utils import PROJECT, check_crowd

PICTURES = 200  # read one by one in each round
SIZES = (1, 4, 16, 64, 256, 1024)  # of batches
ROUND = 2048  # pictures in each round of each batch size
GOAL_FILE = 1.6  # times decoding and the bare network

# What people hand over: the size of the picture, and whether it is a photograph in colour.
KINDS = {
    "28x28 PNG, off centre": ((28, 28), False),
    "280x280 PNG of a drawing": ((280, 280), False),
    "640x480 JPEG": ((640, 480), True),
    "12-megapixel JPEG": ((4000, 3000), True),
}
NOISE = 3.0  # of a camera, in levels of 255
DISTINCT = 10  # pictures of each kind


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    add = parser.add_argument
    add("--model", default="best", help="name in models/, or a checkpoint's path")
    add("--device", default="auto", help="auto, cpu, cuda or mps")
    add("--rounds", type=int, default=9, metavar="N", help="of which the median counts")
    add("--pictures", type=int, default=PICTURES, metavar="N", help="files read in a round")
    add("--batches", type=int, default=ROUND, metavar="N", help="pictures in a round of batches")
    add("--threads", type=int, default=1, metavar="N", help="CPU threads for single pictures")


def run(args: argparse.Namespace) -> list[Table]:
    """Measure what the command line asks for."""
    check_crowd("--threads", args.threads)
    predictor = MNISTPredictor(args.model, device=args.device)
    with tempfile.TemporaryDirectory() as place:
        paths = draw_files(Path(place), args.pictures)
        threads = torch.get_num_threads()
        torch.set_num_threads(args.threads)  # as the page does: one picture is too little to share
        try:
            one_by_one = read_files(predictor, paths, rounds=args.rounds)
            stages = time_stages(predictor, paths, rounds=args.rounds)
            kinds = time_kinds(paths[:DISTINCT], rounds=args.rounds)
        finally:
            torch.set_num_threads(threads)
        batches = read_batches(
            predictor, [prepare(path) for path in paths], count=args.batches, rounds=args.rounds
        )
        memory = measure_memory(args.model, paths)
    return [one_by_one, stages, kinds, batches, *memory]


def draw_files(folder: Path, count: int) -> list[Path]:
    """Write 28x28 PNG files of drawn digits in MNIST's form, white on black."""
    rng = np.random.default_rng(0)
    paths = [folder / f"{number}.png" for number in range(count)]
    for number, path in enumerate(paths):
        digit = prepare(draw_digit(number % 10, rng)).digit
        cv2.imwrite(str(path), to_bytes(digit))
    return paths


def read_files(predictor: MNISTPredictor, paths: list[Path], *, rounds: int) -> Table:
    """Time one picture after the other, each from its file to the answer."""
    conditions = describe_conditions(predictor.device)
    naive = NaiveReader(predictor.checkpoint)
    readers: dict[str, Callable[[Path], object]] = {
        "naive": naive.read,
        "ours": predictor.predict,
        "floor": BareReader(predictor).read,
    }

    def read_all(read: Callable[[Path], object]) -> None:
        for path in paths:
            read(path)

    seconds = take_turns(
        {name: functools.partial(read_all, read) for name, read in readers.items()}, rounds=rounds
    )
    rows = compare_to(seconds, unit="ms a picture", factor=1000 / len(paths))
    return Table(
        "predict-file",
        "milliseconds",
        rows,
        {**conditions, "rounds": rounds, "pictures": len(paths)},
        [
            "naive: PIL, torchvision transforms, the network as it was trained, softmax",
            "ours: MNISTPredictor.predict, which takes any picture and gives verdict and reason",
            "floor: cv2.imread, and the folded network; no preparation, no probabilities",
        ],
        [
            Goal(
                "a 28x28 PNG from disk to answer, against decoding and the network",
                rows["ours"]["this / floor"],
                GOAL_FILE,
                "times",
            )
        ],
        samples=seconds,
    )


def time_stages(predictor: MNISTPredictor, paths: list[Path], *, rounds: int) -> Table:
    """Time the stages on the way from a file to its answer, each for all pictures."""
    conditions = describe_conditions(predictor.device)
    pictures = [open_picture(path).pixels for path in paths]
    prepared = [prepare(path) for path in paths]
    inputs = [torch.from_numpy(each.digit)[None, None] for each in prepared]
    stages: dict[str, Callable[[], object]] = {
        "decode": lambda: [open_picture(path) for path in paths],
        "prepare": lambda: [prepare(pixels) for pixels in pictures],
        "network": lambda: [compute_logits(predictor.network, each) for each in inputs],
        "network, judged": lambda: [predictor.predict_prepared([each]) for each in prepared],
        "all": lambda: [predictor.predict(path) for path in paths],
    }
    seconds = take_turns(stages, rounds=rounds)
    rows = {
        name: {
            "ms a picture": 1000 * statistics.median(values) / len(paths),
            "part / all": median_ratio(values, seconds["all"]),
        }
        for name, values in seconds.items()
    }
    return Table(
        "predict-stages",
        "milliseconds",
        rows,
        {**conditions, "rounds": rounds, "pictures": len(paths)},
        [
            "decode: the file to pixels, for all formats and with all checks",
            "network, judged: besides the network softmax, temperature, verdict and reason",
        ],
        samples=seconds,
    )


def time_kinds(paths: list[Path], *, rounds: int) -> Table:
    """Time what comes before the network for pictures of several kinds, from bytes in memory."""
    conditions = describe_conditions("cpu")
    pictures = {"28x28 PNG in MNIST's form": [path.read_bytes() for path in paths]}
    rng = np.random.default_rng(0)
    for name, (size, is_photo) in KINDS.items():
        pictures[name] = [_draw(digit % 10, size, is_photo, rng) for digit in range(len(paths))]
    work: dict[str, Callable[[bytes], object]] = {
        "decoding": _decode_fully,
        "opening": open_picture,
        "all": prepare,
    }
    seconds = take_turns(
        {
            f"{name}: {what}": functools.partial(_do_all, do, contents)
            for name, contents in pictures.items()
            for what, do in work.items()
        },
        rounds=rounds,
    )
    each = 1000 / len(paths)
    return Table(
        "predict-kinds",
        "milliseconds",
        {
            name: {what: each * statistics.median(seconds[f"{name}: {what}"]) for what in work}
            for name in pictures
        },
        {**conditions, "rounds": rounds, "pictures": len(paths)},
        [
            "decoding: every pixel, by PIL; opening: as we do it, large photographs reduced",
            "all: opening, finding the digit, and bringing it to MNIST's form",
        ],
    )


def _do_all(do: Callable[[bytes], object], contents: list[bytes]) -> None:
    """Call a function with each picture."""
    for content in contents:
        do(content)


def _decode_fully(content: bytes) -> None:
    from PIL import Image

    Image.open(io.BytesIO(content)).load()


def _draw(digit: int, size: tuple[int, int], is_photo: bool, rng: np.random.Generator) -> bytes:
    """Draw a digit in the middle of a sheet; as a photograph in lamplight, with noise."""
    side = min(size)
    beside = (size[0] - side) // 2
    ink = cv2.resize(draw_digit(digit, rng), (side, side))
    sheet = 255 - cv2.copyMakeBorder(ink, 0, 0, beside, beside, cv2.BORDER_CONSTANT)
    if not is_photo:
        return cv2.imencode(".png", sheet)[1].tobytes()
    light = np.linspace(0.5, 0.8, size[0])[:, None] * (0.94, 0.98, 1.0)  # OpenCV puts blue first
    noise = rng.normal(0, NOISE, (*sheet.shape, 3)).astype(np.float32)
    photo = np.clip(sheet[..., None] * light + noise, 0, 255).astype(np.uint8)
    return cv2.imencode(".jpg", photo)[1].tobytes()


class NaiveReader:
    """How tutorials read a file: torchvision transforms, then the network as it was trained."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        from torchvision import transforms

        self.model = checkpoint.model.eval()
        self.to_input = transforms.Compose(
            [
                transforms.Grayscale(),
                transforms.Resize((28, 28)),
                transforms.ToTensor(),
                transforms.Normalize((MNIST_MEAN,), (MNIST_STD,)),
            ]
        )

    def read(self, path: Path) -> tuple[int, float]:
        """Give digit and confidence."""
        from PIL import Image

        # The network scales its input once more: other answers, but the same work.
        pixels = self.to_input(Image.open(path)).unsqueeze(0)
        with torch.no_grad():
            logits = self.model(pixels.to(next(self.model.parameters()).device))
        confidence, digit = torch.softmax(logits, dim=1).max(dim=1)
        return int(digit), float(confidence)


class BareReader:
    """What nobody can leave out: decoding, and one pass through the folded network."""

    def __init__(self, predictor: MNISTPredictor) -> None:
        self.network, self.device = predictor.network, predictor.device

    @torch.inference_mode()
    def read(self, path: Path) -> torch.Tensor:
        """Give the logits."""
        decoded = np.asarray(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE), np.float32)
        return self.network(torch.from_numpy(decoded).to(self.device)[None, None]).cpu()


def read_batches(
    predictor: MNISTPredictor, prepared: list[Prepared], *, count: int, rounds: int
) -> Table:
    """Time prepared pictures in batches of every size, against the bare network."""
    conditions = describe_conditions(predictor.device)
    many = (prepared * (-(-count // len(prepared))))[:count]
    pixels = torch.from_numpy(np.stack([each.digit for each in many]))[:, None]
    pixels = pixels.to(predictor.device)

    def read_ours(size: int) -> None:
        for start in range(0, count, size):
            predictor.predict_prepared(many[start : start + size])

    @torch.inference_mode()
    def run_bare(size: int) -> None:
        for part in pixels.split(size):
            predictor.network(part).cpu()

    sizes = [size for size in SIZES if size <= count]
    contenders: dict[str, Callable[[], object]] = {}
    for size in sizes:
        contenders[f"ours, {size}"] = functools.partial(read_ours, size)
        contenders[f"floor, {size}"] = functools.partial(run_bare, size)
    seconds = take_turns(contenders, rounds=rounds)
    rows = {
        str(size): {
            "pictures/s": count / statistics.median(seconds[f"ours, {size}"]),
            "bare network": count / statistics.median(seconds[f"floor, {size}"]),
            "this / floor": median_ratio(seconds[f"ours, {size}"], seconds[f"floor, {size}"]),
        }
        for size in sizes
    }
    return Table(
        "predict-batches",
        "pictures in a second",
        rows,
        {**conditions, "rounds": rounds, "pictures": count},
        [
            "pictures that are prepared already, to predictions with verdict and reason",
            f"more than {FORWARD_BATCH} are split: they would fall out of the processor's cache",
        ],
        samples=seconds,
        x="pictures in a batch",
    )


# Run in a process of its own, as memory once taken is seldom given back.
MEMORY_PROGRAM = """
import sys
from pathlib import Path

def resident():
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024

import torch
print("import torch", resident(), sep="\t")
from predict import MNISTPredictor
predictor = MNISTPredictor(sys.argv[1], device="cpu")
print("idle predictor", resident(), sep="\t")
for path in sys.argv[2:]:
    predictor.predict(path)
print("after single pictures", resident(), sep="\t")
predictor.predict_batch(sys.argv[2:])
print("after a batch", resident(), sep="\t")
"""


def measure_memory(model: str, paths: list[Path]) -> list[Table]:
    """Ask a fresh process how much memory it holds; nothing where the system does not tell."""
    if not Path("/proc/self/status").exists():
        return []
    conditions = describe_conditions()
    done = subprocess.run(
        [sys.executable, "-c", MEMORY_PROGRAM, model, *map(str, paths)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    )
    pairs = [line.split("\t") for line in done.stdout.splitlines()]
    bare = float(pairs[0][1])
    rows = {
        name: {"MB": float(value), "this / floor": float(value) / bare} for name, value in pairs
    }
    return [
        Table(
            "predict-memory",
            "resident MB of a process",
            rows,
            {**conditions, "pictures": len(paths)},
            ["floor: PyTorch imported, and nothing done"],
        )
    ]
