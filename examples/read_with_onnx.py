"""Read a picture without PyTorch: python examples/read_with_onnx.py model.onnx [picture].

The file comes from `python export.py`. Needs `pip install onnxruntime opencv-python-headless
pillow` and these files of the project: preprocess.py, picture.py, ink.py, printed.py, masks.py,
strokes.py, errors.py.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # where the project's files are

import numpy as np
import onnxruntime

from preprocess import to_mnist
from strokes import draw_digit

drawn = draw_digit(7, np.random.default_rng(0), variant="crossed")
digit = to_mnist(sys.argv[2] if len(sys.argv) > 2 else drawn)  # (28, 28) float32
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
(probabilities,) = session.run(["probabilities"], {"pixels": digit[None, None]})[0]
print(f"{probabilities.argmax()}, {probabilities.max():.1%} sure")
doubt = -(probabilities * np.log(probabilities + 1e-12)).sum() / np.log(10)
if doubt > float(session.get_modelmeta().custom_metadata_map["unsure_above"]):
    print("Look at it: the network is not sure, or this is not a digit.")
