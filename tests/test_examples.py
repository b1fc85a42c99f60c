"""Every program in examples/ does what its first line says."""

from __future__ import annotations

import csv
import os
import re
import runpy
import shutil
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import uvicorn

from api import build_api
from export import export
from predict import MNISTPredictor
from registry import load_checkpoint
from service import Service
from utils import PROJECT

pytestmark = pytest.mark.long

EXAMPLES = PROJECT / "examples"
TIMEOUT_S = 120


def run(*words: object, folder: Path, script: str | None = None) -> subprocess.CompletedProcess:
    """Run an example (or, given `script`, a program around it) with this Python."""
    start = ["-c", script] if script else []
    return subprocess.run(
        [sys.executable, *start, *map(str, words)],
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


def run_example(name: str, *words: object, folder: Path) -> subprocess.CompletedProcess:
    """Run an example in Python, or in Node if there is one."""
    if name.endswith(".py"):
        return run(EXAMPLES / name, *words, folder=folder)
    node = shutil.which("node")
    if node is None:
        pytest.skip("no Node here to run JavaScript with")
    script = "import subprocess, sys; sys.exit(subprocess.run(sys.argv[1:]).returncode)"
    return run(node, EXAMPLES / name, *words, folder=folder, script=script)


def run_here(name: str, *words: object, folder: Path) -> None:
    """Run an example in this process, which has PyTorch already."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "path", [*sys.path])  # to which an example adds
        patch.setattr(sys, "argv", [name, *map(str, words)])
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")


def run_and_fail(name: str, *words: object, folder: Path) -> str:
    """Run an example in this process, and return its last words."""
    with pytest.raises(SystemExit) as stop:
        run_here(name, *words, folder=folder)
    assert isinstance(stop.value.code, str)  # Python prints it to stderr, and exits with 1
    return stop.value.code


def test_every_example_has_a_test_here() -> None:
    files = {path.name for path in EXAMPLES.iterdir() if path.is_file()}

    named = set(re.findall(r'"(\w+\.m?[jp][sy])"', Path(__file__).read_text(encoding="utf-8")))

    assert files == named


def test_a_digit_is_read_with_and_without_a_picture(
    tmp_path: Path, digit_png: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    drawn = run(EXAMPLES / "read_digit.py", folder=tmp_path)
    run_here("read_digit.py", digit_png(3), folder=tmp_path)

    assert drawn.stdout.startswith("7, "), drawn.stderr
    assert capsys.readouterr().out.startswith("3, ")


def test_the_samples_are_the_same_each_time_and_show_what_they_say(tmp_path: Path) -> None:
    """With the shipped network, since a newcomer sees them read first."""
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        done = run(EXAMPLES / "make_samples.py", folder=tmp_path / folder)
        assert done.returncode == 0, done.stderr
    samples, again = tmp_path / "one" / "samples", tmp_path / "two" / "samples"
    predictor = MNISTPredictor(device="cpu")

    for path in samples.rglob("*.*"):
        if path.suffix != ".zip":  # which holds times
            assert path.read_bytes() == (again / path.relative_to(samples)).read_bytes()
    singles = {"seven.png": "7", "three.png": "3", "photo.jpg": "5"} | read_table(samples, "labels")
    numbers = {"phone.jpg": "04728536"} | read_table(samples, "numbers")
    read = {name: str(predictor.predict(samples / name).digit) for name in singles}
    texts = {name: predictor.read(samples / name).text for name in numbers}
    assert (read, texts) == (singles, numbers)
    assert len(zipfile.ZipFile(samples / "scans.zip").namelist()) >= 30


@pytest.mark.parametrize("blocked", ["samples", "samples/labels.csv", "samples/scans.zip"])
def test_samples_that_cannot_be_written_are_told_in_one_line(tmp_path: Path, blocked: str) -> None:
    """It ended in a traceback."""
    place = tmp_path / blocked
    if place.suffix:
        place.mkdir(parents=True)  # where a file is to go
    else:
        place.touch()

    done = run(EXAMPLES / "make_samples.py", folder=tmp_path)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"error: cannot write {blocked}")
    assert len(done.stderr.splitlines()) == 1


def read_table(samples: Path, name: str) -> dict[str, str]:
    """Return what each picture of one of the samples' tables shows."""
    with (samples / f"{name}.csv").open(newline="", encoding="utf-8") as file:
        return {row["path"]: row["label"] for row in csv.DictReader(file)}


@pytest.fixture(scope="module")
def server(models_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the address of a running API."""
    service = Service(models_folder=models_folder, device="cpu")
    config = uvicorn.Config(build_api(service), host="127.0.0.1", port=0, log_level="error")
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run, daemon=True)
    thread.start()
    while not running.started:
        assert thread.is_alive(), "the server did not start"
        time.sleep(0.01)
    port = running.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}"
    running.should_exit = True
    thread.join(10)


@pytest.mark.parametrize("name", ["call_api.py", "call_api.mjs"])
def test_a_server_is_asked_from_python_and_javascript(
    tmp_path: Path, server: str, name: str, digit_png: Callable[..., Path]
) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"not a picture")

    read = run_example(name, digit_png(4), server, folder=tmp_path)
    refused = run_example(name, bad, server, folder=tmp_path)

    assert re.match(r"4, \d+\.\d% sure: \w+", read.stdout), read.stderr
    assert refused.returncode == 1
    assert re.match(r"error: image: .*picture", refused.stderr)


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["read_digit.py", "missing.png"], "missing.png"),
        (["call_api.py"], "name a picture"),
        (["call_api.py", "missing.png"], "missing.png"),
        (["call_api.py", "7-0.png", "http://127.0.0.1:{port}"], "python app.py"),
        (["call_api.py", "7-0.png", "--help"], "--help is no address of a server"),
        (["call_api.py", "7-0.png", "127.0.0.1:7860"], "it begins with http://"),
        (["call_api.mjs"], "name a picture"),
        (["call_api.mjs", "missing.png"], "missing.png"),
        (["call_api.mjs", "7-0.png", "http://127.0.0.1:{port}"], "python app.py"),
        (["read_with_onnx.py"], "python export.py"),
        (["read_with_onnx.py", "missing.onnx"], "missing.onnx"),
        (["read_with_onnx.py", "7-0.png", "missing.png"], "missing.png"),
        (["read_with_onnx.py", "7-0.png", "7-0.png"], "7-0.png is no model that"),
        (["read_with_onnx.py", "empty.onnx"], "empty.onnx is no model that"),
        (["train_on_kaggle.py"], "train.csv"),
        (["train_on_kaggle.py", "train.csv", "0"], "'0' epochs"),
        (["train_on_kaggle.py", "train.csv", "x"], "'x' epochs"),
        (["train_on_kaggle.py", "train.csv", "-1"], "'-1' epochs"),
        (["train_on_kaggle.py", "train.csv", "²"], "'²' epochs"),
        (["train_on_kaggle.py", "missing.csv"], "missing.csv"),
        (["train_on_kaggle.py", "test.csv"], "does not say which digits"),
        (["batch_with_labels.py", "missing"], "missing: no such folder"),
    ],
)
def test_what_is_missing_is_said_in_one_line(
    tmp_path: Path,
    words: list[str],
    hint: str,
    free_port: int,
    digit_png: Callable[..., Path],
    capfd: pytest.CaptureFixture[str],
) -> None:
    """A server that was not started, a file, a word on the command line: no traceback."""
    digit_png(7)
    (tmp_path / "empty.onnx").touch()
    pixels = ",".join(f"pixel{number}" for number in range(784))
    (tmp_path / "test.csv").write_text(f"{pixels}\n{'0,' * 783}0\n", encoding="utf-8")
    example, *rest = (word.format(port=free_port) for word in words)

    if example.endswith(".py"):
        said = run_and_fail(example, *rest, folder=tmp_path)
    else:
        done = run_example(example, *rest, folder=tmp_path)
        assert done.returncode == 1
        said = done.stderr

    (line,) = said.splitlines()
    assert line.startswith("error: ")
    assert hint in line
    assert capfd.readouterr() == ("", "")


def test_a_labelled_folder_is_read_and_its_mistakes_are_listed(
    tmp_path: Path, digit_png: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    digit_png(3, name="own/3/right.png")
    digit_png(4, name="own/5/misplaced.png")

    drawn = run(EXAMPLES / "batch_with_labels.py", folder=tmp_path)
    run_here("batch_with_labels.py", "own", folder=tmp_path)
    own = capsys.readouterr().out

    assert "30 of 30 with a known digit" in drawn.stdout, drawn.stderr
    assert "1 of 2 with a known digit" in own
    assert "5/misplaced.png: read as 4" in own
    assert len(list(tmp_path.glob("predictions/reports/*/report.html"))) == 2


def test_a_network_learns_from_kaggles_file(tmp_path: Path, handwriting) -> None:
    """In a copy of the project, because it writes to models/."""
    left_out = shutil.ignore_patterns(".*", "data", "tests", "outputs", "predictions", "docs")
    copy = shutil.copytree(PROJECT, tmp_path / "project", ignore=left_out)
    pixels = np.rint(handwriting.images.reshape(-1, 784) * 255).astype(int)
    names = ",".join(["label", *(f"pixel{number}" for number in range(784))])
    table = np.column_stack([handwriting.labels, pixels])
    np.savetxt(tmp_path / "train.csv", table, fmt="%d", delimiter=",", header=names, comments="")

    done = run(copy / "examples" / "train_on_kaggle.py", "train.csv", 3, folder=tmp_path)

    assert done.returncode == 0, done.stderr
    assert [line[:8] for line in done.stdout.splitlines()] == ["epoch 1:", "epoch 2:", "epoch 3:"]
    again = run(copy / "examples" / "train_on_kaggle.py", "train.csv", 3, folder=tmp_path)
    assert again.returncode == 1
    assert "say --replace" in again.stderr
    checkpoint = load_checkpoint("kaggle", copy / "models")
    assert checkpoint.metrics["validation_accuracy"] > 0.5  # after 18 steps


def test_an_onnx_file_is_read_with_the_files_that_the_example_names_and_without_pytorch(
    tmp_path: Path, models_folder: Path, digit_png: Callable[..., Path]
) -> None:
    path = export(load_checkpoint("best", models_folder), tmp_path / "model.onnx").path
    example = EXAMPLES / "read_with_onnx.py"
    _, _, needed = example.read_text(encoding="utf-8").split('"""')[1].partition("Needs")
    (tmp_path / "examples").mkdir()
    shutil.copy(example, tmp_path / "examples")
    for name in re.findall(r"\w+\.py", needed):
        shutil.copy(PROJECT / name, tmp_path)
    script = (
        "import runpy, sys; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0]); "
        "assert 'torch' not in sys.modules"
    )

    copy = tmp_path / "examples" / "read_with_onnx.py"
    done = run(copy, path, digit_png(2), folder=tmp_path, script=script)

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("2, ")

    several = run(copy, path, digit_png(2), digit_png(5), folder=tmp_path)

    named = [line for line in several.stdout.splitlines() if not line.startswith("Look")]
    assert [line.split(",")[0] for line in named] == [f"{digit_png(2)}: 2", f"{digit_png(5)}: 5"]
