"""Does the service stay up, and right, while everything goes wrong at once?

    100 clients: pictures with known answers, corrections, and requests of a hostile kind
    meanwhile: a training is started, its process killed; the disk is full for a while
    -> every good picture answered right, every bad request refused, no correction lost

    $ python -m tests.soak_service                        # 100 clients, 2 minutes
    $ python -m tests.soak_service --clients 10 --seconds 20

Linux only: the full disk is a limit on the size of files, set on the server while it runs.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import io
import json
import os
import random
import resource
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image

PROJECT = Path(__file__).resolve().parent.parent
START_S = 300
PICTURES = 100  # different ones, whose answers are known
LIVE = {"running", "cancelling"}


# --- the server, in a process of its own ----------------------------------------------------------


def serve(folder: Path, *, page: bool) -> None:
    """Serve as app.py does, but with everything that is written under `folder`."""
    import torch

    import server
    from api import build_api
    from app import build_app
    from feedback import FeedbackStore
    from jobs import TrainingJobs
    from service import Service

    torch.set_num_threads(1)
    signal.signal(signal.SIGTERM, server.stop)
    service = Service(
        models_folder=folder / "models",
        feedback=FeedbackStore(folder / "feedback.sqlite"),
        jobs=TrainingJobs(folder / "outputs", folder / "models", data=folder / "data"),
        device="cpu",
    )
    app = build_app(service) if page else build_api(service)
    with server.open_port("127.0.0.1", 0) as listener:
        server.serve(app, listener, title="soak")


def write_mnist(folder: Path) -> None:
    """Draw a small data set in MNIST's form: 1,200 pictures to train, 300 to test."""
    from preprocess import prepare
    from strokes import draw_digit

    rng = np.random.default_rng(0)
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name, count in {"train": 1200, "t10k": 300}.items():
        labels = np.arange(count, dtype=np.uint8) % 10
        drawn = [prepare(draw_digit(int(label), rng)).digit for label in labels]
        images = np.rint(np.stack(drawn) * 255).astype(np.uint8)
        header = struct.pack(">iiii", 0x803, *images.shape)
        (raw / f"{name}-images-idx3-ubyte").write_bytes(header + images.tobytes())
        header = struct.pack(">ii", 0x801, count)
        (raw / f"{name}-labels-idx1-ubyte").write_bytes(header + labels.tobytes())


# --- what is sent -----------------------------------------------------------------------------


def encode(pixels: np.ndarray, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def as_json(content: bytes, **more: Any) -> bytes:
    return json.dumps({"image": base64.b64encode(content).decode("ascii"), **more}).encode()


def draw_pictures(models: Path) -> list[tuple[bytes, int]]:
    """Draw pictures, and ask a predictor in this process what they are."""
    from predict import MNISTPredictor
    from strokes import draw_digit

    rng = np.random.default_rng(1)
    predictor = MNISTPredictor(device="cpu", folder=models)
    contents = [encode(255 - draw_digit(n % 10, rng, size=112)) for n in range(PICTURES)]
    return [(content, predictor.predict(content).digit) for content in contents]


GOOD_HEAD = b"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
PNG = b"\x89PNG\r\n\x1a\n"
BOMB = PNG + struct.pack(">I4sIIBBBBB", 13, b"IHDR", 60_000, 60_000, 8, 6, 0, 0, 0) + b"\0" * 40

# A body that has to be refused with a 4xx.
BAD_BODIES: list[bytes] = [
    b"",
    b"{",
    b"[]",
    b'{"image": 7}',
    b'{"image": "%%%"}',
    b'{"image": "../../etc/passwd"}',
    b'{"image": "' + b"A" * 200_000 + b'"}',
    as_json(b"just text"),
    as_json(b"<svg/>"),
    as_json(BOMB),
    as_json(encode(np.zeros((50, 50), np.uint8))[:50]),
    as_json(encode(np.full((50, 50), 255, np.uint8))),
    b'{"image": "x", "path": "/etc/passwd"}',
    b"[" * 50_000,
]
# Bytes that are no proper request: whatever comes back, the server must go on.
RUDE: list[bytes] = [
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 5_000 + b"\r\n",
    b"GET / HTTP/1.1\r\nX: " + b"y" * 500_000,
    GOOD_HEAD + b"Content-Length: 1000000\r\n\r\n" + b"{" * 1000,  # and then gone
    GOOD_HEAD + b"Content-Length: 9999999999\r\n\r\n",
    GOOD_HEAD + b"Transfer-Encoding: chunked\r\n\r\nzzz\r\n",
    b"POST /predict HT",
]


class Connection:
    """One client's connection; opened again whenever it was lost."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.reader: asyncio.StreamReader | None = None
        self.writer: asyncio.StreamWriter | None = None

    async def ask(
        self, method: str, path: str, body: bytes = b"", kind: str = "application/json"
    ) -> tuple[int, bytes]:
        """Send a request and return the answer's status and body."""
        if self.writer is None or self.writer.is_closing():
            self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        assert self.reader
        self.writer.write(
            f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {kind}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        length = 0
        for line in head.split("\r\n")[1:]:
            name, _, value = line.partition(":")
            if name == "content-length":
                length = int(value)
        content = await self.reader.readexactly(length)
        if "connection: close" in head:
            self.close()
        return int(head[9:12]), content

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()
        self.writer = None


async def be_rude(port: int, sent: bytes) -> None:
    """Send something and go away without waiting."""
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    with contextlib.suppress(ConnectionError):
        writer.write(sent)
        await writer.drain()
    writer.close()


# --- the soak -----------------------------------------------------------------------------------


class Soak:
    """What happens, and what came of it."""

    def __init__(self, port: int, process: psutil.Process, folder: Path, seed: int) -> None:
        self.port, self.process, self.folder = port, process, folder
        self.random = random.Random(seed)
        self.pictures = draw_pictures(folder / "models")
        self.until = 0.0
        self.latencies: list[float] = []
        self.counts: Counter[str] = Counter()
        self.faults: list[str] = []
        self.stored: set[int] = set()
        self.disk_is_full = False

    def blame(self, what: str) -> None:
        """Note something that must not happen."""
        self.counts["faults"] += 1
        if len(self.faults) < 20:
            self.faults.append(what)

    async def client(self) -> None:
        """Be one client until time is up."""
        connection = Connection(self.port)
        while time.monotonic() < self.until:
            dice = self.random.random()
            try:
                if dice < 0.65:
                    await self.read(connection)
                elif dice < 0.75:
                    await self.correct(connection)
                elif dice < 0.80:
                    path = self.random.choice(["/health", "/model-status", "/metrics", "/models"])
                    await self.expect(connection, {200}, "GET", path)
                elif dice < 0.95:
                    body = self.random.choice(BAD_BODIES)
                    await self.expect(connection, range(400, 500), "POST", "/predict", body)
                else:
                    self.counts["rude"] += 1
                    await be_rude(self.port, self.random.choice(RUDE))
            except (OSError, asyncio.IncompleteReadError) as error:
                # The server may close an idle connection just when a request is sent on it.
                self.counts["lost connections"] += 1
                connection.close()
                if not self.process.is_running():
                    self.blame(f"the server is gone ({error!r})")
                    return
        connection.close()

    async def read(self, connection: Connection) -> None:
        content, digit = self.random.choice(self.pictures)
        started = time.monotonic()
        if self.random.random() < 0.5:
            status, body = await connection.ask("POST", "/predict", as_json(content))
        else:
            status, body = await connection.ask("POST", "/predict", content, "image/png")
        self.latencies.append(time.monotonic() - started)
        self.counts["good"] += 1
        if status != 200 or json.loads(body)["digit"] != digit:
            self.blame(f"a good picture of a {digit} was answered {status}: {body[:200]!r}")

    async def correct(self, connection: Connection) -> None:
        content, digit = self.random.choice(self.pictures)
        full = self.disk_is_full
        status, body = await connection.ask("POST", "/feedback", as_json(content, correct=digit))
        self.counts["corrections"] += 1
        if status == 201:
            self.stored.add(json.loads(body)["id"])
        elif status == 507 and (full or self.disk_is_full):
            self.counts["corrections refused: disk full"] += 1
        else:
            self.blame(f"a correction was answered {status}: {body[:200]!r}")

    async def expect(
        self, connection: Connection, statuses: Any, method: str, path: str, body: bytes = b""
    ) -> None:
        status, answer = await connection.ask(method, path, body)
        self.counts["bad" if method == "POST" else "looks"] += 1
        if status not in statuses:
            self.blame(f"{method} {path} with {body[:50]!r} was answered {status}")
        elif status >= 400 and set(json.loads(answer)) != {"error", "detail"}:
            self.blame(f"{path} refused in another form: {answer[:200]!r}")

    async def trouble(self, seconds: float, *, train: bool) -> None:
        """Make trouble while the clients ask."""
        await asyncio.sleep(0.1 * seconds)
        if train:
            await self.start_training()
        await asyncio.sleep(0.25 * seconds)
        if train:
            await self.kill_training()
        await asyncio.sleep(0.1 * seconds)
        # From here on no file of the server can grow.
        limit = resource.RLIMIT_FSIZE
        infinite = resource.RLIM_INFINITY
        self.disk_is_full = True
        resource.prlimit(self.process.pid, limit, (1, infinite))
        await asyncio.sleep(0.2 * seconds)
        resource.prlimit(self.process.pid, limit, (infinite, infinite))
        await asyncio.sleep(0.05 * seconds)
        self.disk_is_full = False
        if train:
            await self.start_training()

    async def ask(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        """Ask on a connection of its own: an idle one would have been closed meanwhile."""
        connection = Connection(self.port)
        answer = await connection.ask(method, path, body)
        connection.close()
        return answer

    async def start_training(self) -> None:
        settings = {"epochs": 50, "limit": 1000, "hands": False, "promote": False}
        status, body = await self.ask("POST", "/retrain", json.dumps(settings).encode())
        if status != 202:
            self.blame(f"training was not started: {status} {body[:200]!r}")
        second, _ = await self.ask("POST", "/retrain", b"{}")
        if second != 409:
            self.blame(f"a second training was answered {second}")

    async def kill_training(self) -> None:
        records = sorted(self.folder.glob("outputs/*/job.json"))
        pid = json.loads(records[-1].read_text(encoding="utf-8"))["pid"]
        os.kill(pid, signal.SIGKILL)
        state = ""
        for _ in range(600):
            _, body = await self.ask("GET", "/retrain")
            state = json.loads(body)["job"]["state"]
            if state not in LIVE:
                break
            await asyncio.sleep(0.1)
        if state != "failed":
            self.blame(f"a killed training is called {state}")

    async def run(self, clients: int, seconds: float, *, train: bool) -> None:
        """Let all of it happen."""
        self.until = time.monotonic() + seconds
        crowd = [self.client() for _ in range(clients)]
        await asyncio.gather(self.trouble(seconds, train=train), *crowd)
        _, body = await self.ask("GET", "/feedback")
        total = json.loads(body)["total"]
        if total != len(self.stored):
            self.blame(f"{len(self.stored)} corrections were acknowledged, and {total} are there")
        await self.read(Connection(self.port))
        if train:
            await self.ask("DELETE", "/retrain")


def percentile(values: Sequence[float], part: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part / 100))] if ordered else 0.0


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Soak the service in load and trouble.")
    add: Callable[..., Any] = parser.add_argument
    add("--clients", type=int, default=100, help="at the same time")
    add("--seconds", type=float, default=120, help="how long")
    add("--seed", type=int, default=0, help="of the mix")
    add("--no-training", action="store_true", help="without a training meanwhile")
    add("--no-page", action="store_true", help="the API alone")
    add("--serve", type=Path, help=argparse.SUPPRESS)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    if args.serve:
        serve(args.serve, page=not args.no_page)
        return 0
    with tempfile.TemporaryDirectory() as place:
        return soak(Path(place), args)


def soak(folder: Path, args: argparse.Namespace) -> int:
    """Start a server, soak it, end it, and tell what came of it."""
    shutil.copytree(PROJECT / "models", folder / "models")
    write_mnist(folder / "data")
    command = [sys.executable, "-m", "tests.soak_service", "--serve", str(folder)]
    command += ["--no-page"] if args.no_page else []
    with (
        (folder / "server.log").open("w+", encoding="utf-8") as log,
        subprocess.Popen(
            command, cwd=PROJECT, stdout=subprocess.PIPE, stderr=log, text=True
        ) as process,
    ):
        assert process.stdout
        try:
            line = process.stdout.readline()
            if "ready" not in line:
                print((folder / "server.log").read_text(encoding="utf-8"), file=sys.stderr)
                return 1
            port = int(line.split(" (")[0].rsplit(":", 1)[1])
            server = psutil.Process(process.pid)
            run = Soak(port, server, folder, args.seed)
            before = server.memory_info().rss
            asyncio.run(run.run(args.clients, args.seconds, train=not args.no_training))
            growth = (server.memory_info().rss - before) / 1e6
            process.send_signal(signal.SIGTERM)
            code = process.wait(timeout=60)
        finally:
            process.kill()
        text = (folder / "server.log").read_text(encoding="utf-8")
    if code != 0:
        run.blame(f"the server ended with code {code}")
    if "Traceback" in text:
        run.blame(f"the server's log has a traceback: {text[text.index('Traceback') :][:1000]}")
    for name, count in sorted(run.counts.items()):
        print(f"{name:<32}{count:>10,}")
    for part in (50, 95, 99):
        print(
            f"{f'p{part} of good pictures':<32}{1000 * percentile(run.latencies, part):>7,.0f} ms"
        )
    print(
        f"{'corrections kept':<32}{len(run.stored):>10,}\n{'memory grew by':<32}{growth:>7,.0f} MB"
    )
    for fault in run.faults:
        print(f"FAULT: {fault}")
    print("failed" if run.faults else "all good pictures were answered right, nothing was lost")
    return 1 if run.faults else 0


if __name__ == "__main__":
    sys.exit(main())
