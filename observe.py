"""What the server tells about itself: a line in the log for each request, and numbers to scrape.

    request -> Observer -> application
                  |-> {"time": ..., "client": ..., "method": ..., "path": ..., "status": ...}
                  |-> GET /metrics, in the text form of Prometheus

Paths are logged, never what was sent: a query or a body may hold somebody's picture or a token.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

access_log = logging.getLogger("access")

METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS")
SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
LONGEST_PATH = 200  # characters in the log
PAGE = "the page"  # the route of whatever belongs to Gradio, however it is called
# Event streams: an open page, or a program that calls it, may hold one as long as it likes. Told
# by their paths, as their headers may come with the first event only.
ENDLESS = (
    "/gradio_api/heartbeat/",
    "/gradio_api/queue/data",
    "/gradio_api/call/",
    "/gradio_api/upload_progress",
    "/gradio_api/mcp",
)


class Metrics:
    """The numbers of one server; see the help texts.

    Attributes
    ----------
    requests, seconds, read, batches, working, waiting, model
        Counters, histograms and gauges of `prometheus_client`.
    """

    content_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        # A registry of its own: a process may hold several servers, as the tests do.
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.requests = Counter(
            "digits_requests",
            "Requests answered.",
            ["method", "route", "status"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            "digits_request_seconds",
            "Time from the first byte of a request to the last of its answer.",
            ["route"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self.read = Counter(
            "digits_read", "Pictures read through the API.", ["verdict"], registry=self.registry
        )
        self.batches = Histogram(
            "digits_batch_pictures",
            "Pictures that were read in one pass.",
            buckets=(1, 2, 4, 8, 16),
            registry=self.registry,
        )
        self.working = Gauge(
            "digits_requests_working", "Requests being answered now.", registry=self.registry
        )
        self.waiting = Gauge(
            "digits_pictures_waiting", "Pictures waiting to be read.", registry=self.registry
        )
        self.model = Gauge(
            "digits_model_info",
            "The model in use, as labels; the value is 1.",
            ["name", "version", "architecture"],
            registry=self.registry,
        )

    def to_text(self) -> bytes:
        """Write all numbers in the text form that Prometheus reads."""
        return generate_latest(self.registry)


class Observer:
    """Counts and logs every request. An ASGI middleware: nothing may stand before it.

    Parameters
    ----------
    app : ASGI application
    metrics : Metrics
    log_requests : bool, default=False
        Whether to write a line for each.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, *, log_requests: bool = False) -> None:
        self.app = app
        self.metrics = metrics
        self.log_requests = log_requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, and note how it went."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        seen = {"status": 500, "bytes": 0}

        async def note(message: Message) -> None:
            if message["type"] == "http.response.start":
                seen["status"] = message["status"]
            elif message["type"] == "http.response.body":
                seen["bytes"] += len(message.get("body", b""))
            await send(message)

        endless = scope["app"].state.endless if scope["path"].startswith(ENDLESS) else None
        task = asyncio.current_task()
        if endless is not None:
            endless.add(task)
        self.metrics.working.inc()
        try:
            await self.app(scope, receive, note)
        finally:
            self.metrics.working.dec()
            if endless is not None:
                endless.discard(task)
            self._note(scope, seen, time.perf_counter() - started)

    def _note(self, scope: Scope, seen: dict[str, int], seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "") or PAGE
        method = scope["method"] if scope["method"] in METHODS else "other"
        self.metrics.requests.labels(method, route, seen["status"]).inc()
        self.metrics.seconds.labels(route).observe(seconds)
        if self.log_requests:
            access_log.info(format_request(scope, seen["status"], seen["bytes"], seconds))


def format_request(scope: Scope, status: int, size: int, seconds: float) -> str:
    """Write a request as one line of JSON, whatever characters its path holds.

    Parameters
    ----------
    scope : mapping
        Of ASGI.
    status : int
        Of the answer.
    size : int
        Bytes of the answer.
    seconds : float
        That it took.
    """
    client = scope.get("client") or ("", 0)
    row: dict[str, Any] = {
        "time": datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
        "client": client[0],
        "method": scope["method"],
        "path": scope["path"][:LONGEST_PATH],
        "status": status,
        "bytes": size,
        "ms": round(1000 * seconds, 1),
    }
    return json.dumps(row)
