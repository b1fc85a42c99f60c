"""Does a batch lose, repeat or mix up a row, however often it is killed?

    generated pictures, bad files of 12 kinds among them -> one run in peace
                                                         -> one run killed at random, resumed

    $ python -m tests.soak                  # 100,000 pictures, 1,000 bad ones, killed 10 times
    $ python -m tests.soak --pictures 500 --kills 2

It fails if the two tables differ in anything but the seconds, if a file has not exactly one row,
or if a bad file has not the reason that it should have. It also prints how the memory of the
program grows with the number of rows.
"""

from __future__ import annotations

import argparse
import csv
import io
import random
import re
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from preprocess import centre_by_mass

PROJECT = Path(__file__).resolve().parent.parent
FILES_IN_A_FOLDER = 1000


def encode(form: str) -> bytes:
    """Return a gradient with a black bar as a file of some format."""
    values = np.tile(np.linspace(200, 255, 60).astype(np.uint8), (60, 1))
    values[10:50, 27:33] = 0
    content = io.BytesIO()
    Image.fromarray(values).save(content, form)
    return content.getvalue()


def half(form: str) -> bytes:
    """Return a file whose copying was cut off in the middle."""
    whole = encode(form)
    return whole[: len(whole) // 2]


def claim(width: int, height: int) -> bytes:
    """Return a tiny PNG that claims a size, as a decompression bomb does."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = {b"IHDR": header, b"IDAT": zlib.compress(bytes(99)), b"IEND": b""}
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks.items()
    )


def sparse(path: Path) -> None:
    """Write a file that is too large, of nothing, which takes no room on the disk."""
    with path.open("wb") as file:
        file.truncate(65 * 2**20)


def content(data: bytes) -> Callable[[Path], object]:
    """Return what writes these bytes."""
    return lambda path: path.write_bytes(data)


# suffix, how to make it, status, and what its reason has to say
BAD = [
    (".png", content(b""), "error", "empty"),
    (".png", content(b"just a text"), "error", "not a picture"),
    (".jpg", content(b"<!DOCTYPE html><p>404"), "error", "not a picture"),
    (".png", content(half("PNG")), "error", "damaged"),
    (".jpg", content(half("JPEG")), "error", "damaged"),
    (".webp", content(half("WEBP")), "error", "damaged|not a picture"),
    (".tif", content(half("TIFF")), "error", "damaged|not a picture"),
    (".png", content(claim(60_000, 60_000)), "error", "large"),
    (".png", content(claim(0, 10)), "error", "damaged|nothing to read|not a picture"),
    (".heic", content(b"\0\0\0\x18ftypheic" + bytes(99)), "error", "not a picture"),
    (".jpg", lambda path: path.symlink_to("nowhere.jpg"), "error", "leads nowhere"),
    (".png", sparse, "error", "bytes"),
    (".png", lambda path: Image.new("L", (50, 50), 255).save(path), "not a digit", "blank"),
]


def make_pictures(folder: Path, count: int, bad: int, seed: int) -> dict[str, tuple[str, str]]:
    """Write the pictures; give the bad ones with the status and reason that they should get."""
    rng = random.Random(seed)
    expected: dict[str, tuple[str, str]] = {}
    places = set(rng.sample(range(count), bad))
    for number in range(count):
        path = folder / f"{number // FILES_IN_A_FOLDER:03}" / f"{number:06}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        if number not in places:
            path.write_bytes(draw(rng))
            continue
        suffix, make, status, reason = BAD[len(expected) % len(BAD)]
        path = path.with_suffix(suffix)
        make(path)
        expected[str(path)] = (status, reason)
    return expected


def draw(rng: random.Random) -> bytes:
    """Return a digit of a random font and width in MNIST's form, which is the quickest to read."""
    field = np.zeros((60, 60), np.uint8)
    font, width = rng.choice([0, 2, 3, 4]), rng.randint(2, 5)
    cv2.putText(field, str(rng.randrange(10)), (15, 45), font, 1.4, 255, width, cv2.LINE_AA)
    left, top, wide, tall = cv2.boundingRect(field)
    size = (max(1, round(20 * wide / tall)), 20)
    small = cv2.resize(field[top : top + tall, left : left + wide], size)
    digit = centre_by_mass(small.astype(np.float32))
    return bytes(cv2.imencode(".png", digit.astype(np.uint8))[1])


def command(folder: Path, output: Path, model: str, *options: str) -> list[str]:
    """Return the command that reads the pictures."""
    program = [sys.executable, str(PROJECT / "batch_processor.py"), str(folder)]
    return [*program, "--output", str(output), "--model", model, "--format", "csv", *options]


def run_in_peace(order: list[str]) -> list[tuple[int, int]]:
    """Run to the end; give (bytes of rows, kB of the program's own memory) as they grew."""
    output = Path(order[order.index("--output") + 1])
    process = subprocess.Popen(order, stdout=subprocess.DEVNULL)
    memory = []
    while process.poll() is None:
        time.sleep(0.2)
        status = Path(f"/proc/{process.pid}/status")
        if status.exists() and (found := re.search(r"RssAnon:\s+(\d+)", status.read_text())):
            memory.append((written(output), int(found[1])))
    return memory


def run_and_kill(order: list[str], kills: int, batches: int, seed: int) -> int:
    """Run with --resume and kill -9 after a random number of batches, often; then finish."""
    rng = random.Random(seed)
    output = Path(order[order.index("--output") + 1])
    killed = 0
    while killed < kills:  # a run may be done before its turn comes
        process = subprocess.Popen([*order, "--resume"], stdout=subprocess.DEVNULL)
        writes, last = rng.randint(1, batches), changed(output)
        while writes and process.poll() is None:
            time.sleep(rng.uniform(0, 0.02))
            if last != (last := changed(output)):
                writes -= 1
        killed += process.poll() is None
        process.kill()
        process.wait()
    subprocess.run([*order, "--resume"], stdout=subprocess.DEVNULL, check=False)
    return killed


def changed(output: Path) -> int:
    """Tell when rows were last written."""
    return max((path.stat().st_mtime_ns for path in output.glob("logs/*/rows.sqlite")), default=0)


def written(output: Path) -> int:
    """Return how many bytes of rows are on the disk."""
    return sum(path.stat().st_size for path in output.glob("logs/*/rows.sqlite"))


def read_table(output: Path) -> list[dict[str, str]]:
    """Read the table of the only run in a folder, without the seconds, which always differ."""
    (path,) = output.glob("reports/*/results.csv")
    with path.open(newline="", encoding="utf-8") as file:
        return [{**row, "seconds": ""} for row in csv.DictReader(file)]


def check(table: list[dict[str, str]], folder: Path, expected: dict[str, tuple[str, str]]) -> None:
    """Fail unless every file has one row, and the bad ones have their reasons."""
    files = sorted(str(path) for path in folder.rglob("*") if not path.is_dir())
    assert [row["path"] for row in table] == files
    for row in table:
        if row["path"] in expected:
            status, reason = expected[row["path"]]
            assert row["status"] == status, row
            assert re.search(reason, row["reason"]), row
        else:
            assert row["digit"] in set("0123456789"), row


def soak(folder: Path, model: str, *, pictures: int, bad: int, kills: int, seed: int = 0) -> str:
    """Make pictures, read them in peace and under fire, compare.

    Returns
    -------
    str
        What was done, in figures.

    Raises
    ------
    AssertionError
        If a row is lost, repeated, wrong, or different.
    """
    expected = make_pictures(folder / "pictures", pictures, bad, seed)
    batch = 64  # small, so that there are many moments to be killed at
    quiet = ("--quiet", "--workers", "2", "--batch-size", str(batch))
    memory = run_in_peace(command(folder / "pictures", folder / "peace", model, *quiet))
    order = command(folder / "pictures", folder / "fire", model, *quiet)
    killed = run_and_kill(order, kills, max(1, pictures // batch // 2), seed)

    peace, fire = read_table(folder / "peace"), read_table(folder / "fire")
    check(peace, folder / "pictures", expected)
    assert peace == fire
    kilobytes = [used for size, used in memory if size > 0] or [0]
    halves = np.array_split(kilobytes, 2)
    early, late = (np.median(half) / 1024 if len(half) else 0 for half in halves)
    return (
        f"{len(peace):,} rows, {len(expected):,} of them bad in {len(BAD)} ways; killed {killed} "
        f"times; both tables are the same; the program's memory (without libraries) was "
        f"{early:.0f} MB in the first half of the run and {late:.0f} MB in the second"
    )


def build_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(description="Kill a batch again and again; compare its table.")
    parser.add_argument("--pictures", type=int, default=100_000, help="how many (100,000)")
    parser.add_argument("--kills", type=int, default=10, help="how often to kill -9 (10)")
    parser.add_argument("--model", default="best", help="name in models/, or a checkpoint's path")
    parser.add_argument("--seed", type=int, default=0, help="of pictures and of kills (0)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line."""
    args = build_parser().parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="soak-") as name:
        done = soak(
            Path(name), args.model, pictures=args.pictures, bad=max(1, args.pictures // 100),
            kills=args.kills, seed=args.seed,
        )  # fmt: skip
    print(done)
    return 0


if __name__ == "__main__":
    sys.exit(main())
