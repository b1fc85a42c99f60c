"""Read a folder whose subfolders 0 to 9 say what is right: batch_with_labels.py [folder].

Without a folder it draws one. A table with the columns `path` and `label` would do as well.
"""

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # where the project's files are

import cv2
import numpy as np

from batch_processor import BatchProcessor
from errors import DigitError
from strokes import draw_digit
from utils import one_line


def draw_folder(folder: Path) -> Path:
    """Draw three pictures of every digit, black on white, each in its digit's folder."""
    rng = np.random.default_rng(0)
    for number in range(30):
        path = folder / f"{number % 10}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), 255 - draw_digit(number % 10, rng))
    return folder


if __name__ == "__main__":  # needed, because the pictures are read in processes of their own
    folder = sys.argv[1] if len(sys.argv) > 1 else draw_folder(Path(tempfile.mkdtemp()))
    processor = BatchProcessor()
    try:
        rows = processor.process_folder(folder)
    except DigitError as error:  # no such folder, or no picture in it
        sys.exit(f"error: {error}")
    processor.save_results_csv()
    processor.save_report()  # a page with the doubtful pictures first
    processor.print_summary()
    for row in rows:
        if row["digit"] != row["label"]:
            print(
                f"{one_line(row['path'])}: read as {row['digit']}, {row['status']} {row['reason']}"
            )
