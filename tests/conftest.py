"""What several test files share: a tiny trained network, handwritten digits, a browser.

The digits are scikit-learn's own (1,797 pictures of 8x8 by 43 people), which come with the
package: the tests need no network and no MNIST.
"""

from __future__ import annotations

import io
import os
import signal
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

if "PYTEST_XDIST_WORKER" in os.environ:
    # The processes of `make test` share the cores: threads of PyTorch, here and in what the tests
    # start, would spend them on waiting for one another. It is read when PyTorch is imported.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits
from torch import nn

from batch_input import Input
from batch_rows import Results, Row, RowStore
from model import DigitNetwork, build_model
from registry import save_checkpoint
from utils import set_seed

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, ViewportSize

    from predict import MNISTPredictor
    from service import Service

# What a shell starts in the background ignores Ctrl+C, and so would servers that tests stop by it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

DESKTOP: ViewportSize = {"width": 1200, "height": 800}
LOOPBACK = {"127.0.0.1", "::1", "localhost", "0.0.0.0", ""}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files that take longest first.

    The processes of `make test` take file after file: one that takes a minute and comes last would
    leave the other process with nothing to do.
    """
    marks = ("browser", "long")
    long = {item.path for item in items if any(map(item.get_closest_marker, marks))}
    items.sort(key=lambda item: item.path not in long)


class Handwriting(NamedTuple):
    """Real handwritten digits in the form that MNIST has."""

    images: np.ndarray  # (1797, 28, 28) float32, 0..1, white ink on black
    labels: np.ndarray  # (1797,) int64


@pytest.fixture(autouse=True, scope="session")
def no_network() -> Iterator[None]:
    """Fail a test that reaches for another machine: the suite has to pass offline."""
    connect = socket.socket.connect

    def connect_locally(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in LOOPBACK:
            raise AssertionError(f"a test tried to reach {address}; tests run offline")
        connect(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", connect_locally)
        yield


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Give every test the same random numbers, whichever tests ran before."""
    set_seed(0)


@pytest.fixture(autouse=True, scope="session")
def short_listening() -> Iterator[None]:
    """Let no measurement wait a second to hear whether the machine is busy: here it always is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("timing.LISTEN_S", 0.02)
        yield


@pytest.fixture(scope="session")
def handwriting() -> Handwriting:
    """Return scikit-learn's digits: 20x20 on 28x28, their centre of mass in the middle."""
    bunch = load_digits()
    images = np.zeros((len(bunch.target), 28, 28), np.float32)
    for image, small in zip(images, bunch.images, strict=True):
        big = cv2.resize(small.astype(np.float32) / 16, (20, 20), interpolation=cv2.INTER_CUBIC)
        image[:20, :20] = big.clip(0, 1)
        rows, columns = np.indices(image.shape)
        down = 14 - round(float(np.average(rows, weights=image)))
        right = 14 - round(float(np.average(columns, weights=image)))
        image[:] = np.roll(image, (down, right), (0, 1))
    return Handwriting(images, bunch.target.astype(np.int64))


@pytest.fixture(scope="session")
def tiny_model(handwriting: Handwriting) -> DigitNetwork:
    """Return a small network that has learned `handwriting` in about a second.

    It reads 98 of 100 pictures of `handwriting` and `digit_png`; elsewhere it means nothing.
    """
    set_seed(0)
    model = build_model("mlp")
    images = torch.from_numpy(handwriting.images).unsqueeze(1)  # (1797, 1, 28, 28)
    labels = torch.from_numpy(handwriting.labels)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # so small a network is many times slower on several, if they are busy
    for _ in range(15):
        for batch in torch.randperm(len(labels)).split(64):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images[batch]), labels[batch]).backward()
            optimizer.step()
    torch.set_num_threads(threads)
    return model.eval()


@pytest.fixture(scope="session")
def models_folder(tmp_path_factory: pytest.TempPathFactory, tiny_model: DigitNetwork) -> Path:
    """Return a models folder with `tiny_model` as "best" and "last". Do not write to it."""
    folder = tmp_path_factory.mktemp("models")
    for name in ("mnist_cnn", "mnist_cnn_best"):
        save_checkpoint(
            folder / f"{name}.pth",
            tiny_model,
            settings={"seed": 0},
            metrics={"validation_accuracy": 0.99},
            data={"name": "scikit-learn digits", "train": 1797},
        )
    return folder


@pytest.fixture(scope="session")
def tiny_predictor(models_folder: Path) -> MNISTPredictor:
    """Return a predictor with `tiny_model`."""
    from predict import MNISTPredictor

    return MNISTPredictor(device="cpu", folder=models_folder)


@pytest.fixture
def service(models_folder: Path) -> Service:
    """Return what page and API share, with `tiny_model` in use."""
    from service import Service

    return Service(models_folder=models_folder, device="cpu")


@pytest.fixture(scope="session")
def endless_gif() -> bytes:
    """Return a picture of 81 pixels and 4 MB that Pillow opens for minutes.

    It has a comment in pieces of one byte, which are put together one by one.
    """
    buffer = io.BytesIO()
    Image.new("L", (9, 9)).save(buffer, "GIF")
    gif = buffer.getvalue()
    start = gif.index(b",", 13)
    return gif[:start] + b"!\xfe" + b"\1x" * 2_000_000 + b"\0" + gif[start:]


@pytest.fixture
def digit_png(tmp_path: Path, handwriting: Handwriting) -> Callable[..., Path]:
    """Return a function that writes a handwritten digit, black on white, and returns its path.

    `digit_png(7)` writes the most typical seven; `digit_png(7, name="sub/a.jpg", size=100,
    number=3)` writes the third next, 100 pixels wide, under that name.
    """

    def write(digit: int, *, name: str | None = None, size: int = 280, number: int = 0) -> Path:
        images = handwriting.images[handwriting.labels == digit]
        strangeness = np.square(images - images.mean(axis=0)).sum(axis=(1, 2))
        image = images[np.argsort(strangeness)[number]]
        picture = cv2.resize(255 - image * 255, (size, size), interpolation=cv2.INTER_CUBIC)
        path = tmp_path / (name or f"{digit}-{number}.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(path), picture.clip(0, 255).astype(np.uint8))
        return path

    return write


@pytest.fixture(scope="session")
def mnist_folder(tmp_path_factory: pytest.TempPathFactory, handwriting: Handwriting) -> Path:
    """Return a data folder with `handwriting` as MNIST files: 1,200 to train, 300 to test."""
    folder = tmp_path_factory.mktemp("data")
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    parts = {"train": slice(0, 1200), "t10k": slice(1200, 1500)}
    for name, part in parts.items():
        images = np.rint(handwriting.images[part] * 255).astype(np.uint8)
        header = struct.pack(">iiii", 0x803, *images.shape)
        (raw / f"{name}-images-idx3-ubyte").write_bytes(header + images.tobytes())
        labels = handwriting.labels[part].astype(np.uint8)
        header = struct.pack(">ii", 0x801, len(labels))
        (raw / f"{name}-labels-idx1-ubyte").write_bytes(header + labels.tobytes())
    return folder


@pytest.fixture
def full_disk() -> Callable[[], AbstractContextManager[None]]:
    """Return a context in which no file may grow beyond 1,000 bytes, as if the disk were full."""
    resource = pytest.importorskip("resource", reason="a limit that only Unix has")

    @contextmanager
    def limit() -> Iterator[None]:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return limit


@pytest.fixture
def free_port() -> int:
    """Return a port of this machine that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port


@pytest.fixture(scope="session")
def chromium() -> str:
    """Return the path of a Chromium; without one, skip (or, under REQUIRE_BROWSER, fail).

    Launch it with `playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])`.
    """
    from screenshots import find_chromium

    found = find_chromium()
    if found is None:
        from playwright.sync_api import sync_playwright

        with sync_playwright() as playwright:
            own = playwright.chromium.executable_path
        found = own if Path(own).exists() else None
    if found is not None:
        return found
    advice = "no Chromium found; get one: .venv/bin/python -m playwright install chromium"
    if os.environ.get("REQUIRE_BROWSER"):
        pytest.fail(advice)
    pytest.skip(advice)


# ---- The page in a browser ----------------------------------------------------------------------
#
# One server for all browser tests, which they must leave as they found it: a test that changes the
# model in use, trains, or counts corrections starts a server of its own by
# `with screenshots.serve_page(environment={...}) as url`, and opens `open_page(url=url)`.


@pytest.fixture(scope="session")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serve the page, in a process of its own, and return its address."""
    from screenshots import serve_page

    store = tmp_path_factory.mktemp("feedback") / "feedback.sqlite"
    with serve_page(environment={"DIGITS_FEEDBACK": str(store)}) as url:
        yield url


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    """Start Chromium. Not for the whole session: while it runs, `asyncio.run` is refused."""
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=20_000)  # generous: a busy machine is no reason to fail
    # A camera that shows a test film, and nobody to ask whether it may be used.
    camera = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", *camera]
        )
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def desktop(browser: Browser) -> Iterator[BrowserContext]:
    """Start what most pages share: the scripts of the page are fetched once, as in real life."""
    context = browser.new_context(viewport=DESKTOP)
    yield context
    context.close()


@pytest.fixture
def open_page(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Callable[..., Page]]:
    """Return a function that opens the page; afterwards, no other host and no error was seen.

    `open_page(url=..., viewport=...)` takes what Playwright's `new_context` does, and the address
    of another server. A test that changes the context, as the clock does, names a viewport: then
    it has a context of its own.
    """
    from screenshots import open_pad

    contexts: list[BrowserContext] = []
    pages: list[Page] = []
    hosts: set[str | None] = set()
    errors: list[str] = []

    def note_error(message: ConsoleMessage) -> None:
        if message.type == "error":
            errors.append(message.text)

    def open_page(*, url: str | None = None, **options: Any) -> Page:
        if options:
            contexts.append(browser.new_context(**{"viewport": DESKTOP, **options}))
            page = contexts[-1].new_page()
        else:
            page = request.getfixturevalue("desktop").new_page()
            pages.append(page)
        page.on("request", lambda request: hosts.add(urlsplit(request.url).hostname))
        page.on("console", note_error)
        page.on("pageerror", lambda error: errors.append(str(error)))
        open_pad(page, url or request.getfixturevalue("url"))
        return page

    yield open_page
    for page in pages:
        page.evaluate("localStorage.clear()")
        page.close()
    for context in contexts:
        context.close()
    # data: and blob: addresses have no host; they stay in the page.
    assert hosts - {None, ""} <= {"127.0.0.1"}
    assert errors == []


@pytest.fixture
def page(open_page: Callable[..., Page]) -> Page:
    """Open the page as on a desktop."""
    return open_page()


def png(value: int = 200, side: int = 8) -> bytes:
    """Return a PNG of one grey."""
    buffer = io.BytesIO()
    Image.fromarray(np.full((side, side), value, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Return a folder with files at three levels; their content does not matter here."""
    for name in ("b.png", "a.png", "7/x.jpg", "7/deep/y.png", "12/z.png"):
        path = tmp_path / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png())
    return tmp_path / "tree"


def names(items: list[Input], folder: Path) -> list[str]:
    """Name the inputs by their places in a folder."""
    return [Path(item.path).relative_to(folder).as_posix() for item in items]


ODD_NAMES = ['a "quoted", name.png', "two\nlines.png", "ünï çödé 七.png", "semi;colon.png"]


def make_row(path: str = "a.png", **values: Any) -> Row:
    """Return a row as `RowStore.add` takes it: a sure 3, unless told otherwise."""
    probabilities = {f"p{digit}": 0.01 for digit in range(10)} | {"p3": 0.91}
    return {
        "path": path, "status": "ok", "digit": 3, "confidence": 0.91, **probabilities,
        "reason": "", "width": 28, "height": 28, "sha256": "", "label": None,
        "model": "best", "model_version": "abc", "seconds": 0.001,
        "size": 300, "stamp": 1, "seen": None,
    } | values  # fmt: skip


@pytest.fixture
def row_store(tmp_path: Path) -> Iterator[RowStore]:
    store = RowStore(tmp_path / "rows.sqlite")
    yield store
    store.close()


@pytest.fixture
def odd_rows(row_store: RowStore) -> Results:
    """Return results with five rows, all odd in some way."""
    row_store.add([make_row(name) for name in ODD_NAMES])
    row_store.add([make_row("bad.png", status="error", reason="torn", digit=None, confidence=None)])
    row_store.close()
    return Results(row_store.path)
