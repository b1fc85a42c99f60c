"""Draw pictures to try the other commands on: python examples/make_samples.py.

They lie in the folder `samples`, and are the same each time: seven.png and three.png as from a
drawing program, photo.jpg of a digit and phone.jpg of a number as from a bad camera, my_digits with
a folder for each digit, scans.zip with the same pictures, labels.csv that says what they show, and
my_numbers with numbers.csv.
"""

import csv
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # where the project's files are

import numpy as np
from PIL import Image

from degrade import photograph
from strokes import draw_digit, draw_number
from utils import atomic_write, report_errors

SAMPLES = Path("samples")
PAPER = ["grey paper", "texture", "shadow", "noise", "jpeg"]


def save(picture: np.ndarray, name: str) -> None:
    """Write a picture below `samples`."""
    with atomic_write(SAMPLES / name) as path:
        Image.fromarray(picture).save(path)


def save_table(shown: dict[str, str], name: str) -> None:
    """Write what each picture shows, as a CSV with the columns `path` and `label`."""
    with (
        atomic_write(SAMPLES / name) as path,
        path.open("w", newline="", encoding="utf-8") as file,
    ):
        csv.writer(file).writerows([("path", "label"), *shown.items()])


@report_errors  # what cannot be written is one line, and not a traceback
def main() -> int:
    """Draw all of them."""
    rng = np.random.default_rng(0)
    save(255 - draw_digit(7, rng, size=280, variant="crossed"), "seven.png")
    save(255 - draw_digit(3, rng, size=280, variant="round"), "three.png")
    save(photograph(draw_digit(5, rng, size=480), rng, effects=PAPER), "photo.jpg")
    number, _ = draw_number("04728536", rng, height=200)
    save(photograph(number, rng, effects=PAPER, keep_layout=True), "phone.jpg")

    digits = {f"my_digits/{place % 10}/{place:02}.png": f"{place % 10}" for place in range(30)}
    for name, digit in digits.items():
        save(photograph(draw_digit(int(digit), rng, size=112), rng, strength=0.5), name)
    save_table(digits, "labels.csv")
    with atomic_write(SAMPLES / "scans.zip") as path:
        shutil.make_archive(str(path.with_suffix("")), "zip", SAMPLES / "my_digits")

    numbers = {f"my_numbers/{place}.png": f"{rng.integers(100000):05}" for place in range(6)}
    for name, text in numbers.items():
        picture, _ = draw_number(text, rng, height=96)
        save(photograph(picture, rng, strength=0.5, keep_layout=True), name)
    save_table(numbers, "numbers.csv")

    print(f"{sum(path.is_file() for path in SAMPLES.rglob('*'))} files in {SAMPLES.resolve()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
