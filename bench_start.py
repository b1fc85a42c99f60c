"""Measure starting: a fresh process to its first answer, and to the first page.

    python predict.py digit.png   against   python -c "import torch"
    python app.py, first page     against   python -c "import torch, gradio"

No program that uses these libraries can start sooner than they are imported.
"""

from __future__ import annotations

import argparse
import functools
import http.client
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from errors import MeasurementError
from strokes import draw_digit
from timing import Goal, Table, compare_to, describe_conditions, run_python, take_turns
from utils import PROJECT

GOAL_ANSWER = 1.3  # times importing torch
GOAL_PAGE = 1.2  # times importing torch and gradio
PATIENCE_S = 120  # for the first page
PAUSE_S = 0.005  # between two knocks at the door

NAIVE_ANSWER = """
import sys
import matplotlib.pyplot
import torch
import torchvision.transforms as transforms
from PIL import Image
from registry import load_checkpoint
model = load_checkpoint("best").model
picture = Image.open(sys.argv[1]).convert("L").resize((28, 28))
with torch.no_grad():
    print(int(model(transforms.ToTensor()(picture).unsqueeze(0)).argmax()))
"""
NAIVE_PAGE = """
import sys
import gradio as gr
import torch
import torchvision
from registry import load_checkpoint
model = load_checkpoint("best").model
page = gr.Interface(lambda picture: "7", gr.Sketchpad(), gr.Label())
page.launch(server_port=int(sys.argv[1]), quiet=True)
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    add = parser.add_argument
    add("--rounds", type=int, default=7, metavar="N", help="of which the median counts")
    add("--what", choices=("both", "answer", "page"), default="both", help="what to start")


def run(args: argparse.Namespace) -> list[Table]:
    """Measure what the command line asks for."""
    tables = []
    if args.what != "page":
        tables.append(measure_answer(args.rounds))
    if args.what != "answer":
        tables.append(measure_page(args.rounds))
    return tables


def measure_answer(rounds: int) -> Table:
    """Time whole processes that read one picture."""
    conditions = describe_conditions()
    with tempfile.TemporaryDirectory() as place:
        picture = str(Path(place) / "digit.png")
        cv2.imwrite(picture, draw_digit(7, np.random.default_rng(0)))
        contenders: dict[str, Callable[[], object]] = {
            "naive": functools.partial(run_python, "-c", NAIVE_ANSWER, picture),
            "ours": functools.partial(run_python, "predict.py", picture),
            "floor": functools.partial(run_python, "-c", "import torch"),
            "only --help": functools.partial(run_python, "predict.py", "--help"),
        }
        seconds = take_turns(contenders, rounds=rounds)
    rows = compare_to(seconds, unit="seconds")
    return Table(
        "start-answer",
        "seconds",
        rows,
        {**conditions, "rounds": rounds},
        [
            "naive: torch, torchvision, PIL and matplotlib, as tutorials begin; one picture",
            "ours: python predict.py digit.png",
            'floor: python -c "import torch"',
        ],
        [
            Goal(
                "first answer of a fresh process, against importing torch",
                rows["ours"]["this / floor"],
                GOAL_ANSWER,
                "times",
            )
        ],
        samples=seconds,
    )


def measure_page(rounds: int) -> Table:
    """Time servers from their start to the last byte of the first page."""
    conditions = describe_conditions()
    contenders: dict[str, Callable[[], object]] = {
        "naive": functools.partial(_open_page, "-c", NAIVE_PAGE, "{port}"),
        "ours": functools.partial(_open_page, "app.py", "--port", "{port}"),
        "floor": functools.partial(run_python, "-c", "import torch, gradio"),
        "only --help": functools.partial(run_python, "app.py", "--help"),
    }
    seconds = take_turns(contenders, rounds=rounds)
    rows = compare_to(seconds, unit="seconds")
    return Table(
        "start-page",
        "seconds",
        rows,
        {**conditions, "rounds": rounds},
        [
            "naive: torch, torchvision and gr.Interface with a sketchpad and a label",
            "ours: python app.py, to the last byte of the first page",
            'floor: python -c "import torch, gradio"',
        ],
        [
            Goal(
                "first page, against importing torch and gradio",
                rows["ours"]["this / floor"],
                GOAL_PAGE,
                "times",
            )
        ],
        samples=seconds,
    )


def _open_page(*words: str) -> Callable[[], None]:
    """Start a server, and wait for its first page; return what stops it."""
    port = _find_free_port()
    command = [sys.executable, *(word.replace("{port}", str(port)) for word in words)]
    environment = os.environ | {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_OFFLINE": "1"}
    with tempfile.TemporaryFile("w+") as log:
        server = subprocess.Popen(
            command, cwd=PROJECT, env=environment, stdout=subprocess.DEVNULL, stderr=log
        )
        try:
            _wait_for_page(port, server)
        except MeasurementError as error:
            _stop(server)
            log.seek(0)
            raise MeasurementError(f"{error}; it said: {log.read().strip()}") from error
    return functools.partial(_stop, server)


def _wait_for_page(port: int, server: subprocess.Popen[bytes]) -> None:
    """Knock until the page comes."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise MeasurementError(f"the server ended with exit code {server.returncode}")
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
        try:
            connection.request("GET", "/")
            answer = connection.getresponse()
            if answer.status == http.client.OK and answer.read():
                return
        except (OSError, http.client.HTTPException):
            pass  # nobody listens yet
        finally:
            connection.close()
        time.sleep(PAUSE_S)
    raise MeasurementError(f"no page came within {PATIENCE_S} seconds")


def _stop(server: subprocess.Popen[bytes]) -> None:
    """End a server, by force if it does not listen."""
    server.terminate()
    try:
        server.wait(timeout=10)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def _find_free_port() -> int:
    """Ask the system for a port that nobody uses."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port
