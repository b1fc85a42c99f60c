"""Read one picture from Python: python examples/read_digit.py [picture]."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # where the project's files are

import numpy as np

from errors import ImageError
from predict import MNISTPredictor
from strokes import draw_digit

drawn = draw_digit(7, np.random.default_rng(0), variant="crossed")
picture = sys.argv[1] if len(sys.argv) > 1 else drawn  # a path, bytes, an array, a PIL image ...
try:
    prediction = MNISTPredictor().predict(picture)
except ImageError as error:  # not there, not a picture, blank: the message says what to do
    sys.exit(f"error: {error}")
print(f"{prediction.digit}, {prediction.confidence:.1%} sure: {prediction.verdict}")
if prediction.verdict != "ok":
    print(f"Look at it: {prediction.reason}. The best guesses are {prediction.top(3)}.")
