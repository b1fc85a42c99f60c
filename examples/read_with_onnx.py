"""Read a picture without PyTorch: python examples/read_with_onnx.py model.onnx [picture ...].

The file comes from `python export.py`. Needs `pip install onnxruntime opencv-python-headless
pillow` and these files of the project: preprocess.py, picture.py, ink.py, sheet.py, ruling.py,
printed.py, components.py, signs.py, masks.py, pixels.py, errors.py, and for the digit that is drawn
without a picture strokes.py, stroke_shapes.py, pen.py.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # where the project's files are

import numpy as np
import onnxruntime

from errors import ImageError
from preprocess import to_mnist
from strokes import draw_digit

model = Path(sys.argv[1] if len(sys.argv) > 1 else "models/mnist_cnn_best.onnx")
if not model.is_file():
    sys.exit(f"error: there is no file {model}: `python export.py` writes one")
drawn = draw_digit(7, np.random.default_rng(0), variant="crossed")
pictures: list[str | np.ndarray] = [*sys.argv[2:]] or [drawn]
try:
    digits = [to_mnist(picture) for picture in pictures]  # each (28, 28) float32
except ImageError as error:  # not there, not a picture, blank: the message says what to do
    sys.exit(f"error: {error}")
try:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    doubtful = float(session.get_modelmeta().custom_metadata_map["unsure_above"])
except Exception as error:  # noqa: BLE001 - what onnxruntime raises has no other base
    sys.exit(f"error: {model} is no model that `python export.py` wrote ({type(error).__name__})")
for picture, digit in zip(pictures, digits, strict=True):
    (probabilities,) = session.run(["probabilities"], {"pixels": digit[None, None]})[0]
    name = f"{picture}: " if len(pictures) > 1 else ""
    print(f"{name}{probabilities.argmax()}, {probabilities.max():.1%} sure")
    doubt = -(probabilities * np.log(probabilities + 1e-12)).sum() / np.log(10)
    if doubt > doubtful:
        print("Look at it: the network is not sure, or this is not a digit.")
