"""The REST routes: bytes in, JSON out. Knows nothing of the page.

    POST /predict  /predict/batch  /read        pictures -> digits
    GET  /model-status  /models  /retrain       what reads, what there is, what learns
    PUT  /models/current   POST, DELETE /retrain   GET, DELETE /feedback   for administrators
    POST /feedback                              what a picture really shows
    GET  /health  /ready  /metrics  /docs       operation

Whatever goes wrong is answered with `{"error": ..., "detail": ...}`, where the detail says what was
wrong, with which field, and what to do (`api_errors.py`). Handlers are thin: the work is in
`micro_batch.py`, `service.py` and below; what a request has to pass first is in `guards.py`.

    >>> app = build_api(Service())
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from itertools import chain
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from fastapi_offline import FastAPIOffline
from pydantic import BaseModel, BeforeValidator
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Route

import api_models as models
from api_bodies import FIELDS, Sent, check_json, read_json, read_pictures, require_json
from api_errors import answer_digit_error, answer_http_error, answer_invalid, name_error
from encoding import decode_base64
from errors import DigitError, ImageError, OverloadedError, SettingsError
from guards import Guard, Rules
from micro_batch import MOST, Answer, Lane, MicroBatcher
from observe import METHODS, Metrics, Observer
from registry import Listing
from service import Service

log = logging.getLogger(__name__)

TITLE = "Digit reader"
VERSION = "1.0"  # of the routes: a change that breaks a client raises the first number
DESCRIPTION = """Reads handwritten digits: one (`/predict`), many (`/predict/batch`), or a number of
several (`/read`). Every error is answered with `{"error": ..., "detail": ...}`; the detail says
what was wrong, with which field, and what to do."""
LONGEST_ID = 2**63 - 1  # SQLite's

# Every way in which a route may refuse a request, for the documentation.
_PROBLEMS: dict[int | str, dict[str, Any]] = {
    400: {"model": models.Problem, "description": "The request is not what it says it is."},
    403: {"model": models.Problem, "description": "Not from there, or not here at all."},
    408: {"model": models.Problem, "description": "The request arrived too slowly."},
    413: {"model": models.Problem, "description": "Too many bytes or pixels."},
    415: {"model": models.Problem, "description": "Not a picture, or not a type that is read."},
    422: {"model": models.Problem, "description": "A field is missing, unknown or wrong."},
    429: {"model": models.Problem, "description": "This client asks too often."},
    500: {"model": models.Problem, "description": "Our mistake; the server's log has the cause."},
    503: {"model": models.Problem, "description": "Too much, or a passing fault; try again later."},
}
_CHANGE: dict[int | str, dict[str, Any]] = {
    401: {"model": models.Problem, "description": "The administrator token is missing or wrong."},
    404: {"model": models.Problem, "description": "There is no such thing."},
    409: {"model": models.Problem, "description": "Something is running already."},
    507: {"model": models.Problem, "description": "The disk is full or cannot be written."},
}

_bearer = HTTPBearer(
    auto_error=False,
    scheme_name="administrator token",
    description="What DIGITS_ADMIN_TOKEN was set to. Not needed on one's own machine without one.",
)


@dataclass(frozen=True, eq=False)
class Engine:
    """What the routes work with."""

    service: Service
    reader: MicroBatcher
    lane: Lane
    metrics: Metrics

    def start(self) -> None:
        """Work again after `close`; an application may live more than once."""
        self.reader.start()
        self.lane.start()

    def close(self) -> None:
        """Finish what waits, and end the threads."""
        self.reader.close()
        self.lane.close()


# Both are coroutines: a plain function would be called in another thread, for every request.
async def _engine(request: Request) -> Engine:
    engine: Engine = request.app.state.engine
    return engine


Working = Annotated[Engine, Depends(_engine)]


async def _require_token(
    engine: Working,
    given: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> None:
    """Let only administrators pass."""
    engine.service.access.require(given.credentials if given else None)


ADMIN = [Depends(_require_token)]


async def _refuse_unknown_query(request: Request) -> None:
    """Refuse a parameter of the address that would have no effect, as a field of a body is."""
    if not request.scope["query_string"]:
        return
    known = [each.alias for each in request.scope["route"].dependant.query_params]
    counts = Counter(name for name, _ in request.query_params.multi_items())
    for name, count in counts.items():
        if name not in known:
            there_is = f"there is {', '.join(known)}" if known else "this route has none"
            raise SettingsError(f"{name[:80] or 'query'}: unknown parameter; {there_is}")
        if count > 1:
            raise SettingsError(f"{name}: given {count} times; give it once")


STRICT = [Depends(_refuse_unknown_query)]


def _json_body(schema: type[BaseModel]) -> dict[str, Any]:
    """Describe a JSON body that the handler reads by itself, for the documentation."""
    content = {"schema": {"$ref": f"#/components/schemas/{schema.__name__}"}}
    return {"requestBody": {"required": True, "content": {"application/json": content}}}


def _picture_body(schema: type[BaseModel], *, raw: bool = True) -> dict[str, Any]:
    """Describe a body with pictures, which may come in several forms, for the documentation."""
    several = "images" in schema.model_fields
    file: dict[str, Any] = {"type": "string", "format": "binary"}
    form = (
        {"images": {"type": "array", "items": file, "minItems": 1}} if several else {"image": file}
    )
    content: dict[str, Any] = {
        "application/json": {
            "schema": {"$ref": f"#/components/schemas/{schema.__name__}"},
            "example": {"images": [models.example_picture()] * 2}
            if several
            else {"image": models.example_picture()},
        },
        "multipart/form-data": {
            "schema": {"type": "object", "properties": form, "required": list(form)}
        },
    }
    if raw:
        for kind in ("image/png", "image/jpeg", "application/octet-stream"):
            content[kind] = {"schema": file}
    return {"requestBody": {"required": True, "content": content}}


# --- reading ----------------------------------------------------------------------------------

reading = APIRouter(tags=["Read pictures"], responses=_PROBLEMS, dependencies=STRICT)


@reading.post(
    "/predict",
    summary="Read one digit",
    response_model=models.Answer,
    openapi_extra=_picture_body(models.PictureIn),
)
async def predict(request: Request, engine: Working) -> Response:
    """Read the digit in a picture: JSON with base64, a form with a file, or the file itself.

    The picture may be a photograph, a scan or a drawing in any size, dark on light or light on
    dark. A blank picture and one that cannot be read are errors; one that shows something else
    than a digit is an answer with the verdict `not a digit`.
    """
    (sent,) = await read_pictures(request, most=1, schema=models.PictureIn)
    answer = models.describe_answer(await read_one(engine, sent))
    # Written at once: to check our own answer against its schema again would take longer.
    return Response(answer.model_dump_json(), media_type="application/json")


@reading.post(
    "/predict/batch",
    summary=f"Read one digit in each of up to {models.MAX_PICTURES} pictures",
    openapi_extra=_picture_body(models.PicturesIn, raw=False),
)
async def predict_batch(request: Request, engine: Working) -> models.Answers:
    """Read several pictures. One that cannot be read has its problem in place of its answer."""
    sent = await read_pictures(request, most=models.MAX_PICTURES, schema=models.PicturesIn)
    turns = asyncio.Semaphore(MOST)

    async def read_in_turn(each: Sent) -> Answer:
        async with turns:
            return await read_one(engine, each)

    outcomes = await asyncio.gather(*(read_in_turn(each) for each in sent), return_exceptions=True)
    return models.Answers(answers=[_describe(engine, outcome) for outcome in outcomes])


def _describe(engine: Engine, outcome: Answer | BaseException) -> models.Answer | models.Problem:
    """Put into an answer what became of one of several pictures, unless it is a mistake of ours."""
    if isinstance(outcome, Answer):
        return models.describe_answer(outcome)
    if isinstance(outcome, ImageError):
        return models.Problem(error=name_error(outcome), detail=engine.service.tell(outcome))
    raise outcome


@reading.post(
    "/read",
    summary="Read a number of several digits",
    openapi_extra=_picture_body(models.PictureIn),
)
async def read(
    request: Request,
    engine: Working,
    turn: Annotated[
        models.Turn,
        Query(description="Degrees by which the picture is turned counter-clockwise first."),
    ] = "auto",
) -> models.Number:
    """Read all digits of a picture, in one line or several, with a box for each."""
    (sent,) = await read_pictures(request, most=1, schema=models.PictureIn)
    content = content_of(sent)
    predictor = engine.service.predictor
    degrees = turn if turn == "auto" else int(turn)
    try:
        found = await engine.lane.run(
            partial(engine.service.read, content, predictor, turn=degrees)
        )
    except ImageError as error:
        raise error.about(sent.field) from error
    engine.metrics.read.labels(found.verdict).inc()
    return models.describe_reading(found, predictor.checkpoint)


async def read_one(engine: Engine, sent: Sent) -> Answer:
    """Read one digit; an error names the field in which the picture was."""
    content = content_of(sent)
    try:
        answer = await engine.reader.predict(content)
    except ImageError as error:
        raise error.about(sent.field) from error
    engine.metrics.read.labels(answer.prediction.verdict).inc()
    return answer


def content_of(sent: Sent) -> bytes:
    """Give the bytes of a picture, or raise why there are none."""
    if isinstance(sent.content, ImageError):
        raise sent.content
    return sent.content


# --- models -----------------------------------------------------------------------------------

networks = APIRouter(tags=["Models"], responses=_PROBLEMS, dependencies=STRICT)


@networks.get("/model-status", summary="What reads here, and what learns")
def model_status(engine: Working) -> models.Status:
    """Describe the model in use, the server, and the training runs."""
    service = engine.service
    predictor = service.predictor
    checkpoint = predictor.checkpoint
    runs = [models.describe_job(job) for job in service.list_runs()]
    return models.Status(
        model=models.describe_model(
            Listing(checkpoint.name, checkpoint.path, checkpoint), in_use=checkpoint.name
        ),
        device=str(predictor.device),
        started=datetime.fromtimestamp(service.started, timezone.utc).isoformat(timespec="seconds"),
        uptime_s=round(time.time() - service.started, 1),
        changes=service.access.changes_are,
        training=_progress(runs),
        history=runs,
    )


@networks.get("/models", summary="All trained models")
def list_models(engine: Working) -> models.Models:
    """List the files of the models folder, with what is known about each."""
    service = engine.service
    in_use = service.predictor.checkpoint.name
    return models.Models(
        models=[models.describe_model(each, in_use=in_use) for each in service.list_models()]
    )


@networks.put(
    "/models/current",
    summary="Choose the model in use",
    dependencies=ADMIN,
    responses=_CHANGE,
    openapi_extra=_json_body(models.Choice),
)
async def use_model(request: Request, engine: Working) -> models.Model:
    """Read with another model from now on. If it cannot be used, the old one stays."""
    choice = await read_json(request, models.Choice)
    checkpoint = await asyncio.to_thread(engine.service.use_model, choice.name)
    return models.describe_model(
        Listing(checkpoint.name, checkpoint.path, checkpoint), in_use=checkpoint.name
    )


# --- training ---------------------------------------------------------------------------------

training = APIRouter(tags=["Train"], responses=_PROBLEMS, dependencies=STRICT)


@training.get("/retrain", summary="How the training goes")
def training_progress(engine: Working) -> models.Progress:
    """Describe the newest run, running or not."""
    return _progress([models.describe_job(job) for job in engine.service.list_runs(1)])


@training.post(
    "/retrain",
    status_code=202,
    summary="Start a training run",
    dependencies=ADMIN,
    responses=_CHANGE,
    openapi_extra=_json_body(models.Training),
)
async def start_training(request: Request, engine: Working) -> models.TrainingRun:
    """Start a run in a process of its own; pictures are read meanwhile. One runs at a time."""
    settings = await read_json(request, models.Training)
    job = await asyncio.to_thread(engine.service.jobs.start, settings.to_settings())
    return models.describe_job(job)


@training.delete(
    "/retrain", summary="Cancel the training run", dependencies=ADMIN, responses=_CHANGE
)
def cancel_training(engine: Working) -> models.TrainingRun:
    """End the running run. Its best weights so far stay in its folder."""
    job = engine.service.jobs.cancel()
    if job is None:
        raise HTTPException(404, "no training run is running")
    return models.describe_job(job)


def _progress(runs: list[models.TrainingRun]) -> models.Progress:
    """Say what training does, given the newest runs."""
    newest = runs[0] if runs else None
    running = newest is not None and newest.state in {"running", "cancelling"}
    return models.Progress(running=running, job=newest)


# --- feedback ---------------------------------------------------------------------------------

feedback = APIRouter(tags=["Correct"], responses=_PROBLEMS, dependencies=STRICT)


@feedback.post(
    "/feedback",
    status_code=201,
    summary="Say what a picture really shows",
    responses={507: _CHANGE[507]},
    openapi_extra=_json_body(models.Opinion),
)
async def add_correction(request: Request, engine: Working) -> models.StoredCorrection:
    """Store a picture with the digit that it shows. To say the same twice changes nothing."""
    require_json(request)
    opinion, content = await asyncio.to_thread(_read_opinion, await request.body())
    answer = await read_one(engine, Sent("image", content))
    store = partial(engine.service.add_correction, source="api")
    correction = await engine.lane.run(
        store, content, answer.prediction, opinion.correct, answer.checkpoint
    )
    return models.describe_correction(correction)


def _read_opinion(body: bytes) -> tuple[models.Opinion, bytes]:
    """Read the body of a correction; in a thread, as it may be large."""
    opinion = check_json(body, models.Opinion)
    return opinion, decode_base64(opinion.image, "image")


@feedback.get(
    "/feedback", summary="List the corrections", dependencies=ADMIN, responses={401: _CHANGE[401]}
)
def list_corrections(
    engine: Working,
    page: Annotated[int, Query(ge=1, le=1_000_000, description="24 to a page.")] = 1,
) -> models.Corrections:
    """List what was corrected, the newest first, without the pictures."""
    store = engine.service.feedback
    counts = store.count_by_digit()
    return models.Corrections(
        total=sum(counts.values()),
        counts={"none" if digit is None else str(digit): n for digit, n in counts.items()},
        page=page,
        corrections=[models.describe_correction(each) for each in store.list_page(page)],
    )


def _check_digits(text: str) -> str:
    """Refuse what Python would take for a number, such as 1_0 for ten."""
    if not (text.isascii() and text.isdigit()):
        raise ValueError("write it in digits, as GET /feedback gives it")
    return text


@feedback.delete(
    "/feedback/{picture_id}",
    status_code=204,
    summary="Erase a correction",
    dependencies=ADMIN,
    responses=_CHANGE,
)
def delete_correction(
    picture_id: Annotated[int, Path(ge=1, le=LONGEST_ID), BeforeValidator(_check_digits)],
    engine: Working,
) -> None:
    """Erase a picture and all that was said about it."""
    if not engine.service.feedback.delete(picture_id):
        raise HTTPException(404, f"picture_id: there is no correction {picture_id} (any more)")


# --- operation --------------------------------------------------------------------------------

# Monitors may add what they like, to get past a cache say.
operation = APIRouter(tags=["Operate"], responses=_PROBLEMS)


# FastAPI does not answer HEAD by itself, which load balancers and monitors like to send.
@operation.head("/health", include_in_schema=False)
@operation.get("/health", summary="Whether the server is alive")
async def health() -> models.Health:
    """Answer as long as the server does."""
    return models.Health()


@operation.head("/ready", include_in_schema=False)
@operation.get("/ready", summary="Whether the server can read")
async def ready(request: Request, engine: Working) -> models.Ready:
    """Answer 503 while the server is stopping or the line is full: send requests elsewhere."""
    if request.app.state.stopping or len(engine.reader) >= engine.reader.capacity:
        raise OverloadedError("the server is stopping, or too many pictures are waiting")
    return models.Ready(model=engine.service.predictor.checkpoint.name)


@operation.get(
    "/metrics",
    summary="Numbers for Prometheus",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
def metrics(engine: Working) -> Response:
    """Give requests, times, batches and memory in the text form of Prometheus."""
    checkpoint = engine.service.predictor.checkpoint
    engine.metrics.waiting.set(len(engine.reader))
    engine.metrics.model.clear()
    engine.metrics.model.labels(checkpoint.name, checkpoint.version, checkpoint.architecture).set(1)
    return Response(engine.metrics.to_text(), headers={"content-type": engine.metrics.content_type})


ROUTERS = (reading, networks, training, feedback, operation)


# --- putting it together ----------------------------------------------------------------------


def build_api(
    service: Service, rules: Rules | None = None, *, log_requests: bool = False
) -> FastAPI:
    """Make the application with all routes; the page may be mounted on it afterwards.

    Parameters
    ----------
    service : Service
    rules : Rules, optional
        What a request has to pass; by default those of a server for this machine, or for everyone
        if `service.access` says so.
    log_requests : bool, default=False
        Whether each request is written to the log "access".

    Returns
    -------
    FastAPI
        With `.state.engine`; `.state.stopping`, which makes `/ready` say no; `.state.rules`; and
        `.state.body_limits`, to which whoever mounts something adds its own, see `guards.Guard`.
    """
    if rules is None:
        rules = Rules.for_host("0.0.0.0" if service.access.beyond_loopback else "127.0.0.1")
    metrics = Metrics()
    engine = Engine(
        service,
        MicroBatcher(lambda: service.predictor, on_batch=metrics.batches.observe),
        Lane("pictures of numbers"),
        metrics,
    )

    @asynccontextmanager
    async def live(app: FastAPI) -> AsyncIterator[None]:
        engine.start()
        await asyncio.to_thread(service.follow_training)
        app.state.stopping = False
        yield
        await asyncio.to_thread(engine.close)

    app = FastAPIOffline(
        title=TITLE,
        description=DESCRIPTION,
        version=VERSION,
        redoc_url=None,
        lifespan=live,
    )
    app.state.engine, app.state.stopping = engine, False
    app.state.rules, app.state.body_limits = rules, limit_bodies(rules)
    app.state.endless, app.state.under_way = set(), set()
    for router in ROUTERS:
        app.include_router(router)
    _close_the_rest(app)
    _name_schemas(app)
    app.add_exception_handler(DigitError, partial(answer_digit_error, tell=service.tell))
    app.add_exception_handler(RequestValidationError, answer_invalid)
    app.add_exception_handler(HTTPException, answer_http_error)
    app.add_middleware(Guard, rules=rules, body_limits=app.state.body_limits)
    if rules.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=sorted(rules.origins),
            allow_methods=["GET", "POST"],
            allow_headers=["content-type"],
        )
    app.add_middleware(Observer, metrics=metrics, log_requests=log_requests)
    return app


def limit_bodies(rules: Rules) -> dict[str, int]:
    """Say of each route that takes pictures how many bytes its body may have.

    Which these are is read out of what they say about themselves in the documentation, so that no
    new one is forgotten.
    """
    routes = chain.from_iterable(router.routes for router in ROUTERS)
    return {
        route.path: rules.body_bytes
        for route in routes
        if isinstance(route, APIRoute) and _takes_pictures(route)
    }


def _takes_pictures(route: APIRoute) -> bool:
    """Whether the body of a route has a field for a picture."""
    if not route.openapi_extra:
        return False
    content = route.openapi_extra["requestBody"]["content"]
    name = content["application/json"]["schema"]["$ref"].rpartition("/")[2]
    return not FIELDS.isdisjoint(getattr(models, name).model_fields)


def _close_the_rest(app: FastAPI) -> None:
    """Answer other methods, and paths below ours, by ourselves: the page would not do it in JSON.

    The page is mounted at "/" and so takes whatever no route before it matches as a whole.
    """
    taken: dict[str, set[str]] = {}
    for route in chain(app.routes, *(router.routes for router in ROUTERS)):
        if isinstance(route, Route):  # not the files that /docs needs
            taken.setdefault(route.path, set()).update(route.methods or ())
    for path, methods in taken.items():
        others = [method for method in METHODS if method not in methods]
        allowed = ", ".join(sorted(methods))
        app.router.routes.append(Route(path, _refuse_method(allowed), methods=others))
    for first in sorted({path.split("/")[1] for path in taken}):
        rest = f"/{first}/{{rest:path}}"
        app.router.routes.append(Route(rest, _refuse_path, methods=list(METHODS)))


def _refuse_method(allowed: str) -> Callable[[Request], Awaitable[Response]]:
    async def refuse(request: Request) -> Response:
        detail = f"{request.method} is not for this path; use {allowed}"
        raise HTTPException(405, detail, headers={"allow": allowed})

    return refuse


async def _refuse_path(request: Request) -> Response:
    raise HTTPException(404, "there is nothing under this path; GET /docs shows what there is")


_READ_BY_US = (
    *(models.PictureIn, models.PicturesIn, models.Opinion),
    *(models.Choice, models.Training),
)


def _name_schemas(app: FastAPI) -> None:
    """Add the schemas of the bodies that handlers read by themselves to the documentation."""
    make = app.openapi

    def openapi() -> dict[str, Any]:
        document = make()
        for schema in _READ_BY_US:
            document["components"]["schemas"][schema.__name__] = schema.model_json_schema()
        return document

    app.openapi = openapi  # type: ignore[method-assign]
