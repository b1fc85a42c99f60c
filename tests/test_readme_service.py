"""The README's examples of the service are run against a running server, page and all."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import uvicorn
from fastapi.testclient import TestClient
from PIL import Image

from app import build_app
from registry import MODELS_DIR
from tests.test_api import make_service
from tests.test_readme import BLOCKS, SERVER, Block, _name, make_samples, read_commands

TIMEOUT_S = 120
LONGEST_WORD = 128 * 1024  # bytes that Linux takes as one word of a command
CALLS = [
    command
    for block in BLOCKS
    for command in (read_commands(block) if block.language == "bash" else [])
    if "curl " in command.text and SERVER in command.text
]
SNIPPETS = [block for block in BLOCKS if block.language == "python" and SERVER in block.text]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start page and API with the shipped network, and with trainings that never really start."""
    models = tmp_path_factory.mktemp("models")
    for name in ("mnist_cnn.pth", "mnist_cnn_best.pth"):
        shutil.copy(MODELS_DIR / name, models)
    app = build_app(make_service(models, tmp_path_factory.mktemp("service")))
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", timeout_graceful_shutdown=1))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join(timeout=30)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the samples that the examples name, one as large as from a camera."""
    folder = tmp_path_factory.mktemp("pictures")
    make_samples(folder)
    seven = folder / "samples" / "seven.png"
    with Image.open(seven) as picture:
        pixels = np.asarray(picture.resize((700, 700)))
    noise = np.random.default_rng(0).integers(0, 8, pixels.shape, np.uint8)
    Image.fromarray(pixels - np.minimum(pixels, noise)).save(seven)
    assert seven.stat().st_size > LONGEST_WORD
    return folder


def test_the_readme_shows_every_route_with_curl_and_with_python(
    models_folder: Path, tmp_path: Path
) -> None:
    from api import build_api

    document = (
        TestClient(build_api(make_service(models_folder, tmp_path)), base_url=SERVER)
        .get("/openapi.json")
        .json()
    )
    routes = {path.split("/{")[0] for path in document["paths"]}

    by_curl = {
        path for call in CALLS for path in re.findall(rf"{SERVER}(/[a-z/-]*[a-z])", call.text)
    }
    by_python = set(re.findall(r'server\.\w+\(f?"(/[a-z/-]*[a-z])', SNIPPETS[0].text))

    assert by_curl == by_python == routes


# One after the other, as they stand: what is stored by one is erased by a later one.
@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_every_curl_example_is_answered_as_it_should(address: str, pictures: Path) -> None:
    for call in CALLS:
        line = call.text.replace(SERVER, address).replace("curl", "curl -sS --fail-with-body", 1)

        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", line],
            cwd=pictures,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )

        assert done.returncode == 0, f"{call.text}\n{done.stdout}{done.stderr}"
        if "/predict " in call.text or call.text.endswith("/predict"):
            assert json.loads(done.stdout)["digit"] == 7


@pytest.mark.parametrize("snippet", SNIPPETS, ids=_name)
def test_every_python_example_of_the_service_runs(
    address: str, pictures: Path, snippet: Block
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", snippet.text.replace(SERVER, address)],
        cwd=pictures,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("7")
