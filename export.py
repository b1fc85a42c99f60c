"""Write a trained network as one ONNX file, which gives honest probabilities without PyTorch.

    checkpoint -> network -> softmax(logits / temperature) -> ONNX -> compared with PyTorch

The file takes `pixels`, float32 of shape (B, 1, 28, 28) from 0.0 to 1.0 as `preprocess.to_mnist`
makes them, any number at once, and gives `probabilities`, float32 of shape (B, 10). Scaling,
softmax and the temperature that makes confidence honest are inside. The thresholds of doubt and
the version of the weights travel as metadata, see `read_metadata`.

    $ pip install -r requirements-export.txt
    $ python export.py
    $ python export.py --model cnn1 -o cnn1.onnx --speed

Nothing is written unless ONNX Runtime gives the same probabilities as PyTorch; the program in
`examples/read_with_onnx.py` then needs neither PyTorch nor this file.
"""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from errors import CheckpointError, SettingsError
from model import IMAGE_SIZE
from predict import NOT_A_DIGIT_ABOVE, UNSURE_ABOVE
from preprocess import to_mnist
from registry import Checkpoint, load_checkpoint
from strokes import draw_digit
from timing import RESULTS, Table, compare_to, describe_conditions, take_turns
from utils import HelpFormatter, atomic_write, report_errors

if TYPE_CHECKING:
    import onnxruntime

TOLERANCE = 1e-4  # of a probability: what the file may differ from PyTorch
BATCHES = (1, 7, 64)  # pictures at once, in the comparison
INPUT, OUTPUT = "pixels", "probabilities"
OPSET = 20  # of the ONNX standard; read by ONNX Runtime 1.17 (2024) and later
ROUNDS = 30  # of each contender, when speed is measured
MISSING = "the ONNX export needs more libraries: pip install -r requirements-export.txt"


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes
    ----------
    path : Path
    size : int
        Of the file, in bytes.
    difference : float
        The largest one between a probability of ONNX Runtime and PyTorch's.
    """

    path: Path
    size: int
    difference: float


class HonestNetwork(nn.Module):
    """A network that gives calibrated probabilities instead of logits.

    Parameters
    ----------
    network : Module
    temperature : float
        Above zero; the logits are divided by it.
    """

    def __init__(self, network: nn.Module, temperature: float) -> None:
        super().__init__()
        self.network = network
        self.temperature = temperature

    def forward(self, pixels: Tensor) -> Tensor:
        """Compute the probabilities, (B, 10), of pictures of shape (B, 1, 28, 28)."""
        return torch.softmax(self.network(pixels) / self.temperature, dim=1)


def export(checkpoint: Checkpoint, path: Path) -> Exported:
    """Write a checkpoint as ONNX, after a comparison with PyTorch.

    Parameters
    ----------
    checkpoint : Checkpoint
        As from `registry.load_checkpoint`.
    path : Path
        The file to write or replace; its folder is made if it is missing.

    Returns
    -------
    Exported

    Raises
    ------
    SettingsError
        If the libraries of requirements-export.txt are not installed.
    CheckpointError
        If ONNX Runtime gives other probabilities; an older file stands.
    OutputError
        If the file cannot be written.
    """
    network = HonestNetwork(checkpoint.model, checkpoint.temperature).eval()
    content = to_onnx(network, describe(checkpoint))
    difference = compare(network, content)
    if not difference <= TOLERANCE:
        raise CheckpointError(
            f"{checkpoint.path}: ONNX Runtime's probabilities differ from PyTorch's by up to "
            f"{difference:.1e}, more than {TOLERANCE:.0e}; nothing was written"
        )
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)
    return Exported(path, len(content), difference)


def describe(checkpoint: Checkpoint) -> dict[str, str]:
    """Collect what a reader of the file has to know; ONNX keeps it as text."""
    thresholds = checkpoint.refusal or {}
    return {
        "architecture": checkpoint.architecture,
        "version": checkpoint.version,
        "created": checkpoint.created,
        "temperature": json.dumps(checkpoint.temperature),
        "unsure_above": json.dumps(thresholds.get("unsure_above", UNSURE_ABOVE)),
        "not_a_digit_above": json.dumps(thresholds.get("not_a_digit_above", NOT_A_DIGIT_ABOVE)),
        "input": "float32 (batch, 1, 28, 28), 0.0 to 1.0, white ink on black, as MNIST has it",
        "output": "float32 (batch, 10), calibrated probabilities of the digits 0 to 9",
    }


def to_onnx(network: nn.Module, metadata: dict[str, str]) -> bytes:
    """Translate a network for 28x28 pictures into the bytes of an ONNX file.

    Parameters
    ----------
    network : Module
        In evaluation mode, on the CPU; takes (B, 1, 28, 28).
    metadata : dict of str to str
        Written into the file.

    Raises
    ------
    SettingsError
        If the libraries of requirements-export.txt are not installed.
    """
    try:
        import onnx
        import onnxscript  # noqa: F401 - PyTorch translates with it
    except ImportError as error:
        raise SettingsError(MISSING) from error
    # Two pictures, because the translation takes a size of 1 for one that never changes.
    example = torch.zeros(2, 1, IMAGE_SIZE, IMAGE_SIZE)
    with warnings.catch_warnings():
        # From inside PyTorch 2.12, about a class of its own.
        warnings.filterwarnings("ignore", message=".*LeafSpec", category=FutureWarning)
        program = torch.onnx.export(
            network,
            (example,),
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes={INPUT: {0: torch.export.Dim("batch")}},
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    # The translation notes on every node which line of which file it came from: paths of the
    # machine that did it, which concern nobody else.
    for part in (model.graph, *model.graph.node, *model.graph.input, *model.graph.output):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    onnx.helper.set_model_props(model, metadata)
    onnx.checker.check_model(model, full_check=True)
    content: bytes = model.SerializeToString()
    return content


def open_session(content: bytes | Path) -> onnxruntime.InferenceSession:
    """Load an ONNX file, or its bytes, for use on one thread of the CPU.

    Raises
    ------
    SettingsError
        If ONNX Runtime is not installed.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise SettingsError(MISSING) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # so small a network only loses time by sharing its work
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def read_metadata(session: onnxruntime.InferenceSession) -> dict[str, Any]:
    """Read what `describe` wrote; numbers are numbers again."""
    found: dict[str, str] = session.get_modelmeta().custom_metadata_map
    numbers = {"temperature", "unsure_above", "not_a_digit_above"}
    return {key: json.loads(text) if key in numbers else text for key, text in found.items()}


def compare(network: nn.Module, content: bytes) -> float:
    """Give the same pictures to PyTorch and ONNX Runtime, and find the largest difference.

    Parameters
    ----------
    network : Module
        As it was given to `to_onnx`.
    content : bytes
        What came out.

    Returns
    -------
    float
        Of a probability; 0.0 to 1.0. Not a number if the file's answers are none.
    """
    session = open_session(content)
    largest = 0.0
    for count in BATCHES:
        pixels = make_pictures(count)
        with torch.inference_mode():
            wanted = network(torch.from_numpy(pixels)).numpy()
        found = session.run([OUTPUT], {INPUT: pixels})[0]
        largest = float(np.maximum(largest, np.abs(found - wanted).max()))  # max() would drop a NaN
    return largest


def make_pictures(count: int) -> np.ndarray:
    """Make prepared pictures to compare by: drawn digits, and after every third one noise.

    Returns
    -------
    ndarray of shape (count, 1, 28, 28), float32
    """
    rng = np.random.default_rng(count)
    pictures = [
        rng.random((IMAGE_SIZE, IMAGE_SIZE), np.float32)
        if number % 4 == 3
        else to_mnist(draw_digit(number % 10, rng))
        for number in range(count)
    ]
    return np.stack(pictures)[:, None]


def measure_speed(checkpoint: Checkpoint, path: Path, *, rounds: int = ROUNDS) -> list[Table]:
    """Time the network in PyTorch and in ONNX Runtime, both on one thread.

    Parameters
    ----------
    checkpoint : Checkpoint
    path : Path
        What `export` made of it.
    rounds : int, default=30
        How often each is timed.

    Returns
    -------
    list of Table
        A prepared picture alone, and 64 at once, without preprocessing; columns in milliseconds.
    """
    network = HonestNetwork(checkpoint.model, checkpoint.temperature).eval()
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    session = open_session(path)
    conditions = describe_conditions() | {"threads": 1, "model": checkpoint.version}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return [_time_batch(network, session, count, rounds, conditions) for count in (1, 64)]
    finally:
        torch.set_num_threads(threads)


def _time_batch(
    network: nn.Module,
    session: onnxruntime.InferenceSession,
    count: int,
    rounds: int,
    conditions: dict[str, Any],
) -> Table:
    """Time both on so many pictures at once."""
    pixels = make_pictures(count)
    repeats = max(1, 64 // count)  # so that a round is long enough to be timed

    @torch.inference_mode()
    def ask_torch() -> None:
        for _ in range(repeats):
            network(torch.from_numpy(pixels).contiguous(memory_format=torch.channels_last))

    def ask_onnx() -> None:
        for _ in range(repeats):
            session.run([OUTPUT], {INPUT: pixels})

    contenders: dict[str, Callable[[], object]] = {"PyTorch": ask_torch, "ONNX Runtime": ask_onnx}
    seconds = take_turns(contenders, rounds=rounds)
    rows = compare_to(seconds, unit="ms a picture", factor=1e3 / (repeats * count))
    return Table(
        f"onnx-{count}",
        "ms a picture",
        rows,
        conditions,
        notes=[f"{count} prepared pictures at once, network alone, {rounds} rounds"],
        samples=seconds,
    )


def build_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(
        description="Write a trained network as one ONNX file that needs no PyTorch.",
        epilog="examples:\n"
        "  python export.py\n"
        "  python export.py --model cnn1 -o cnn1.onnx --speed",
        formatter_class=HelpFormatter,
    )
    parser.add_argument("--model", default="best", help="name in models/, or a checkpoint's path")
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="default: the checkpoint's name, .onnx"
    )
    parser.add_argument(
        "--speed", action="store_true", help="compare its speed with PyTorch's; some seconds"
    )
    return parser


def run(args: argparse.Namespace) -> None:
    """Export, say what came out, and measure if asked to."""
    checkpoint = load_checkpoint(args.model)
    path = args.output or checkpoint.path.with_suffix(".onnx")
    exported = export(checkpoint, path)
    print(
        f"{checkpoint.architecture}, version {checkpoint.version}, is in {exported.path}: "
        f"{exported.size / 1e6:.2f} MB; its probabilities are PyTorch's within "
        f"{exported.difference:.0e}"
    )
    if args.speed:
        for table in measure_speed(checkpoint, path):
            print(f"\n{table}\n{table.save(RESULTS)}")


@report_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Export what the command line names."""
    run(build_parser().parse_args(argv))
    return 0


if __name__ == "__main__":
    sys.exit(main())
