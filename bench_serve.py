"""Measure the API under load: against a route that does nothing, and against the naive route.

    POST /nothing: takes the same body, looks at none of it      (what HTTP alone costs)
    POST /predict: the route itself
    POST /naive:   a forward pass for each request, in the framework's threads

The three are routes of one server process, behind the same guard; the clients are raw sockets in
another process. All bodies are JSON with base64, as a browser sends them. Every client waits for
its answer before it sends the next request, so many clients mean a full line, not a flood.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import io
import json
import multiprocessing
import os
import statistics
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import psutil
from fastapi import Request, Response
from PIL import Image

from api import build_api
from api_bodies import read_pictures
from api_models import Answer, PictureIn, describe_answer
from encoding import decode_base64
from errors import MeasurementError
from load import Outcome, compose, drive
from micro_batch import Answer as Read
from pixels import to_bytes
from server import open_port, serve
from service import Service
from timing import Goal, Table, describe_conditions, median_ratio

GOAL_NOTHING = 0.7  # of the rate of the route that does nothing
GOAL_NAIVE = 1.4  # times the rate of the naive route
GOAL_MEMORY_MB = 20  # that the server may grow while it answers
CLIENTS = (1, 10, 50, 200)
AT = 50  # clients, for which the goals hold
ROUTES = ("nothing", "predict", "naive")
DISTINCT = 100  # pictures that are sent in turns
KINDS = {"mnist": 28, "drawing": 280}  # side in pixels; the second is the page's pad
START_S = 300  # how long the server may take to start


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    add = parser.add_argument
    add("--model", default="best", help="name in models/, or a checkpoint's path")
    add("--seconds", type=float, default=3.0, metavar="S", help="for each measurement")
    add("--rounds", type=int, default=5, metavar="N", help="of which the median counts")
    add("--requests", type=int, default=100_000, metavar="N", help="while memory is watched")
    add("--quick", action="store_true", help="one short round, to see that it works")
    add("--scale", action="store_true", help="only the curve: the rate by clients")


def run(args: argparse.Namespace) -> list[Table]:
    """Measure what the command line asks for."""
    rounds, seconds, requests = args.rounds, args.seconds, args.requests
    if args.quick:
        rounds, seconds, requests = 1, 0.3, 200
    conditions = describe_conditions()
    with start_server(args.model) as server:
        if args.scale:
            return [measure_curve(server, rounds, seconds, conditions)]
        tables = [measure(server, kind, rounds, seconds, conditions) for kind in KINDS]
        return [*tables, measure_memory(server, requests, conditions)]


class Server:
    """A server process, and how to reach it."""

    def __init__(self, port: int, process: psutil.Process) -> None:
        self.port = port
        self.process = process

    def ask(
        self,
        path: str,
        bodies: Sequence[bytes],
        *,
        clients: int,
        seconds: float | None = None,
        count: int | None = None,
    ) -> Outcome:
        """Let a crowd ask."""
        requests = [compose(path, body) for body in bodies]
        return drive(
            "127.0.0.1", self.port, requests, clients=clients, seconds=seconds, count=count
        )

    @property
    def megabytes(self) -> float:
        """Memory of the server and its processes, resident."""
        family = [self.process, *self.process.children(recursive=True)]
        return float(sum(each.memory_info().rss for each in family)) / 1e6


@contextlib.contextmanager
def start_server(model: str) -> Iterator[Server]:
    """Start the server in a process of its own, and end it afterwards."""
    ours, theirs = multiprocessing.Pipe()
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=_serve, args=(theirs, model), daemon=True)
    process.start()
    theirs.close()
    try:
        if not ours.poll(START_S):
            raise MeasurementError(
                f"the server did not start within {START_S} s; is the machine busy?"
            )
        yield Server(ours.recv(), psutil.Process(process.pid))
    finally:
        process.terminate()
        process.join(timeout=30)
        if process.is_alive():
            process.kill()


def _serve(report: Connection, model: str) -> None:
    """Serve the API with two more routes, and report the port."""
    import torch

    torch.set_num_threads(1)
    service = Service(model=model)
    app = build_api(service)

    @app.post("/nothing")
    async def nothing(request: Request) -> Response:
        await read_pictures(request, most=1, schema=PictureIn)
        return Response(answer, media_type="application/json")

    @app.post("/naive")
    def naive(picture: PictureIn) -> Answer:
        predictor = service.predictor
        prediction = predictor.predict(decode_base64(picture.image, "image"))
        return describe_answer(Read(prediction, predictor.checkpoint))

    example = service.predictor.predict(_draw(7, 28, np.random.default_rng(0)))
    answer = describe_answer(Read(example, service.predictor.checkpoint)).model_dump_json()
    with open_port("127.0.0.1", 0) as listener, Path(os.devnull).open("w") as nowhere:
        report.send(listener.getsockname()[1])
        with contextlib.redirect_stdout(nowhere):
            serve(app, listener, title="bench")


def make_bodies(side: int, count: int = DISTINCT) -> list[bytes]:
    """Draw digits, and put each into a request's body."""
    rng = np.random.default_rng(0)
    pictures = [_draw(number % 10, side, rng) for number in range(count)]
    return [
        json.dumps({"image": base64.b64encode(each).decode("ascii")}).encode() for each in pictures
    ]


def _draw(digit: int, side: int, rng: np.random.Generator) -> bytes:
    """Draw a digit as a PNG: small in MNIST's form, large as on the page's pad."""
    from preprocess import prepare
    from strokes import draw_digit

    if side == 28:
        pixels = to_bytes(prepare(draw_digit(digit, rng)).digit)
        image = Image.fromarray(pixels)
    else:
        image = Image.fromarray(255 - draw_digit(digit, rng, size=side)).convert("RGBA")
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def measure(
    server: Server, kind: str, rounds: int, seconds: float, conditions: dict[str, object]
) -> Table:
    """Let the three routes take turns at each number of clients."""
    bodies = make_bodies(KINDS[kind])
    rows: dict[str, dict[str, float]] = {}
    samples: dict[str, list[float]] = {}
    failures = 0
    for clients in CLIENTS:
        outcomes = take_turns(server, bodies, clients, rounds, seconds)
        failures += sum(each.failures for runs in outcomes.values() for each in runs)
        per_request = {
            route: [1 / max(each.rate, 1e-9) for each in runs] for route, runs in outcomes.items()
        }
        for route, runs in outcomes.items():
            name = f"{route}, {clients} clients"
            samples[name] = [each.rate for each in runs]
            rows[name] = {"requests/s": statistics.median(samples[name])}
            for part in (50, 95, 99):
                times = [each.percentile(part) for each in runs]
                rows[name][f"p{part} ms"] = 1000 * statistics.median(times)
            rows[name] |= {
                "nothing / this": median_ratio(per_request["nothing"], per_request[route]),
                "naive / this": median_ratio(per_request["naive"], per_request[route]),
            }
    main = rows[f"predict, {AT} clients"]
    return Table(
        f"serve-{kind}",
        "requests/s",
        rows,
        conditions,
        notes=[
            f"pictures of {KINDS[kind]}x{KINDS[kind]} pixels, {len(bodies)} different ones",
            "server and clients share the cores",
        ],
        goals=[
            Goal(
                f"rate of /predict / rate of /nothing, {AT} clients",
                main["nothing / this"],
                GOAL_NOTHING,
                at_least=True,
            ),
            Goal(
                f"rate of /predict / rate of /naive, {AT} clients",
                main["naive / this"],
                GOAL_NAIVE,
                at_least=True,
            ),
            Goal("answers other than 200", failures, 0),
        ],
        samples=samples,
    )


def take_turns(
    server: Server, bodies: Sequence[bytes], clients: int, rounds: int, seconds: float
) -> dict[str, list[Outcome]]:
    """Ask the routes one after the other, again and again; the first round warms up."""
    outcomes: dict[str, list[Outcome]] = {route: [] for route in ROUTES}
    for number in range(rounds + 1):
        for route in ROUTES:
            some = seconds if number else min(seconds, 1.0)
            outcome = server.ask(f"/{route}", bodies, clients=clients, seconds=some)
            if number:
                outcomes[route].append(outcome)
    return outcomes


def measure_curve(
    server: Server, rounds: int, seconds: float, conditions: dict[str, object]
) -> Table:
    """Draw the rate of /predict over the number of clients."""
    bodies = make_bodies(KINDS["drawing"])
    rows = {}
    for clients in (1, 2, 5, 10, 20, 50, 100, 200):
        runs = [
            server.ask("/predict", bodies, clients=clients, seconds=seconds)
            for _ in range(rounds + 1)
        ][1:]
        rows[str(clients)] = {
            "requests/s": statistics.median(each.rate for each in runs),
            "p95 ms": 1000 * statistics.median(each.percentile(95) for each in runs),
        }
    return Table("serve-scale", "requests/s", rows, conditions, x="clients")


def measure_memory(server: Server, requests: int, conditions: dict[str, object]) -> Table:
    """Answer many requests, and see whether the server grows."""
    bodies = make_bodies(KINDS["mnist"])
    # By then every size of batch has been met, and every pool is as large as it gets.
    server.ask("/predict", bodies, clients=AT, count=max(100, requests // 20))
    rows = {"0 requests": {"MB": server.megabytes}}
    failures = 0
    for answered in (requests // 2, requests):
        outcome = server.ask("/predict", bodies, clients=AT, count=requests // 2)
        failures += outcome.failures
        rows[f"{answered:,} requests"] = {"MB": server.megabytes}
    first, *_, last = (row["MB"] for row in rows.values())
    return Table(
        "serve-memory",
        "MB",
        rows,
        conditions,
        goals=[
            Goal("growth of the server's memory", last - first, GOAL_MEMORY_MB, "MB"),
            Goal("answers other than 200", failures, 0),
        ],
    )
