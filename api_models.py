"""What the API takes and gives, as pydantic models: the schemas and examples of `/docs`.

    Prediction, Reading, Checkpoint, Job, Correction -> a model here -> JSON

What comes in is strict: a field that we do not know, a text where a number should be, NaN and
infinity are refused, because whoever sends them means something else than we would do.
"""

from __future__ import annotations

import base64
import math
from dataclasses import asdict
from functools import lru_cache
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    field_validator,
)

from feedback import Correction
from job_records import Job
from job_settings import LIMITS, MAX_NAME, NAME, JobSettings
from micro_batch import Answer as Read
from model import count_parameters
from reading import Reading
from registry import Checkpoint, Listing

MAX_PICTURES = 64  # in one request

Verdict = Literal["ok", "unsure", "not a digit"]
Turn = Literal["auto", "0", "90", "180", "270"]
Share = Annotated[float, Field(ge=0, le=1)]
Digit = Annotated[int, Field(ge=0, le=9)]

_ANSWER: dict[str, Any] = {
    "digit": 7,
    "confidence": 0.998213,
    "probabilities": [0.0, 0.001, 0.0, 0.0, 0.0, 0.0, 0.0, 0.998213, 0.0, 0.000787],
    "verdict": "ok",
    "reason": "",
    "model": "mnist_cnn_best",
    "version": "887a8107f9b5",
}


@lru_cache(maxsize=1)
def example_picture() -> str:
    """Draw a seven for the examples, as base64 of a PNG."""
    import numpy as np

    from encoding import encode_png

    pixels = np.full((28, 28), 255, np.uint8)
    pixels[5:8, 7:21] = 0
    for row in range(8, 24):
        column = 20 - round((row - 7) * 0.55)
        pixels[row, column - 2 : column + 1] = 0
    return base64.b64encode(encode_png(pixels)).decode("ascii")


class _Input(BaseModel):
    """What comes from a client: nothing unknown, nothing guessed."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class _Output(BaseModel):
    """What we answer."""

    model_config = ConfigDict(protected_namespaces=())


# --- reading ----------------------------------------------------------------------------------

Base64Picture = Annotated[
    str,
    # An empty one is refused with the others that are no picture: of a batch, it alone.
    Field(
        description="The file of a picture as base64, or a data URL as `canvas.toDataURL` gives.",
        json_schema_extra={"contentEncoding": "base64"},
    ),
]


class PictureIn(_Input):
    """One picture."""

    image: Base64Picture


class PicturesIn(_Input):
    """Several pictures."""

    images: Annotated[list[Base64Picture], Field(min_length=1, max_length=MAX_PICTURES)]


class Problem(_Output):
    """Why a request was refused."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {"error": "image", "detail": "image: not base64; send a PNG as base64"}
        }
    )

    error: str = Field(description="What kind of problem, for programs.")
    detail: str = Field(description="What was wrong, with which field, and what to do now.")


class Answer(_Output):
    """What was read in one picture."""

    model_config = ConfigDict(protected_namespaces=(), json_schema_extra={"example": _ANSWER})

    digit: Digit = Field(description="The most probable digit.")
    confidence: Share = Field(description="Its probability, calibrated.")
    probabilities: Annotated[list[Share], Field(min_length=10, max_length=10)]
    verdict: Verdict = Field(description="Whether to trust the digit.")
    reason: str = Field(description="Why not, in plain words; empty where the verdict is ok.")
    model: str = Field(description="Name of the network that read it.")
    version: str = Field(description="Digest of its weights: equal weights, equal version.")


class Answers(_Output):
    """What was read in several pictures, in their order."""

    answers: list[Answer | Problem] = Field(
        description="For each picture what was read, or why it could not be."
    )


Box = Annotated[list[int], Field(min_length=4, max_length=4)]


class FoundDigit(_Output):
    """One digit of a number."""

    line: Annotated[int, Field(ge=0)] = Field(description="In which line, from 0 on.")
    box: Box = Field(description="Left, top, right and bottom in the picture, in pixels.")
    digit: Digit
    confidence: Share
    verdict: Verdict
    reason: str
    probabilities: Annotated[list[Share], Field(min_length=10, max_length=10)]


class Mark(_Output):
    """Something that is rather no digit."""

    box: Box
    digit: Digit
    confidence: Share
    verdict: Verdict
    reason: str
    probabilities: Annotated[list[Share], Field(min_length=10, max_length=10)]


class Number(_Output):
    """The digits of a picture in reading order."""

    text: str = Field(description="All lines, with line breaks between them.")
    lines: list[str]
    verdict: Verdict
    reason: str
    turn: Literal[0, 90, 180, 270] = Field(
        description="Degrees by which the picture was turned counter-clockwise to be read."
    )
    digits: list[FoundDigit]
    left_out: list[Mark] = Field(description="Other marks: letters, scribbles.")
    model: str
    version: str


def describe_answer(read: Read) -> Answer:
    """Give an answer as the API gives it."""
    return Answer.model_construct(
        **read.prediction.to_dict(), model=read.checkpoint.name, version=read.checkpoint.version
    )


def describe_reading(reading: Reading, checkpoint: Checkpoint) -> Number:
    """Give the digits of a picture as the API gives them."""
    return Number.model_validate(
        {**reading.to_dict(), "model": checkpoint.name, "version": checkpoint.version}
    )


# --- models -----------------------------------------------------------------------------------


class Model(_Output):
    """One trained network."""

    name: str
    in_use: bool
    architecture: str = Field(description="Empty if the file cannot be used.")
    parameters: int
    version: str
    created: str = Field(description="ISO 8601, UTC.")
    bytes: int
    metrics: dict[str, Any] = Field(description="What training and calibration measured.")
    problem: str = Field(description="Why it cannot be used; empty when it can.")


class Models(_Output):
    """All trained networks."""

    models: list[Model]


class Choice(_Input):
    """Which network shall read from now on."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"name": "best"}})

    name: Annotated[str, Field(min_length=1, max_length=200)] = Field(
        description='"best", "last", or a name that `GET /models` lists; never a path.'
    )


def describe_model(listing: Listing, *, in_use: str) -> Model:
    """Describe one file of the models folder.

    Parameters
    ----------
    listing : Listing
    in_use : str
        Name of the network that reads now.
    """
    checkpoint = listing.checkpoint
    try:
        size = listing.path.stat().st_size
    except OSError:  # deleted since it was listed
        size = 0
    return Model(
        name=listing.name,
        in_use=listing.name == in_use,
        architecture=checkpoint.architecture if checkpoint else "",
        parameters=count_parameters(checkpoint.model) if checkpoint else 0,
        version=checkpoint.version if checkpoint else "",
        created=checkpoint.created if checkpoint else "",
        bytes=size,
        metrics=plain(checkpoint.metrics) if checkpoint else {},
        problem=listing.problem.replace(f"{listing.path.parent}/", ""),
    )


def plain(value: Any) -> Any:
    """Copy plain values, with None for what JSON has no number for: NaN and infinity."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


# --- training ---------------------------------------------------------------------------------

_DEFAULTS = JobSettings()


def _limited(name: str, description: str) -> Any:
    """Describe a number of `JobSettings`: the same default, the same limits."""
    limits = LIMITS[name]
    return Field(
        default=getattr(_DEFAULTS, name),
        ge=limits.least if limits.takes_least else None,
        gt=None if limits.takes_least else limits.least,
        le=limits.most,
        description=description,
    )


class Training(_Input):
    """Settings of a training run; all may be left out."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        json_schema_extra={"example": {"epochs": 2, "corrections": True}},
    )

    model: Annotated[str, Field(max_length=64)] = Field(
        default=_DEFAULTS.model, description="A network's name; empty takes that of `start`."
    )
    epochs: int = _limited("epochs", "How often each picture is seen.")
    lr: float = _limited("lr", "The highest learning rate.")
    start: Annotated[str, Field(max_length=200)] = Field(
        default=_DEFAULTS.start, description="Whose weights are refined; empty begins anew."
    )
    corrections: bool = Field(
        default=_DEFAULTS.corrections, description="Learn from the stored corrections as well."
    )
    hands: bool = Field(
        default=_DEFAULTS.hands, description="Learn other hands than MNIST's as well."
    )
    promote: bool = Field(
        default=_DEFAULTS.promote, description="Make the result the best model, if it is not worse."
    )
    name: Annotated[str, Field(max_length=MAX_NAME, pattern=f"^({NAME.pattern})?$")] = Field(
        default=_DEFAULTS.name, description="Of the new model; empty makes one up."
    )
    limit: int = _limited("limit", "Only so many pictures, for a trial; 0 takes all.")
    seed: int = _limited("seed", "Of the random numbers.")

    def to_settings(self) -> JobSettings:
        """Give them as `jobs.TrainingJobs` takes them."""
        return JobSettings(**self.model_dump())


class TrainingRun(_Output):
    """One training run."""

    run: str
    state: Literal["running", "cancelling", "finished", "cancelled", "failed"]
    message: str = Field(description="What happens or happened, in plain words.")
    settings: dict[str, Any]
    started: str
    candidate: str = Field(description="Name of the new model.")
    history: list[dict[str, Any]] = Field(description="One row for each epoch that has ended.")
    left_s: float | None = Field(description="Seconds that the epochs still take, if known.")
    outcome: dict[str, Any] = Field(description="What a finished run came to.")


class Progress(_Output):
    """What training does at the moment."""

    running: bool
    job: TrainingRun | None = Field(description="The newest run; null if there never was one.")


def describe_job(job: Job) -> TrainingRun:
    """Describe a run, without its log: that may name folders of this machine."""
    values = plain(asdict(job)) | {"message": job.full_message}
    return TrainingRun(**{name: values[name] for name in TrainingRun.model_fields})


class Status(_Output):
    """What reads here, and what learns."""

    model: Model
    device: str
    started: str = Field(description="When the server was, ISO 8601, UTC.")
    uptime_s: float
    changes: Literal["open", "locked", "off"] = Field(
        description="Whether anyone, an administrator, or nobody may change something."
    )
    training: Progress
    history: list[TrainingRun] = Field(description="The newest runs, the newest first.")


# --- feedback ---------------------------------------------------------------------------------


class Opinion(_Input):
    """What a picture really shows."""

    image: Base64Picture
    correct: Digit | None = Field(description="The digit that it shows; null if it shows none.")

    @field_validator("correct", mode="wrap")
    @classmethod
    def _say_what_is_taken(cls, value: object, check: ValidatorFunctionWrapHandler) -> int | None:
        """Name null as well: what says no digit in tables and folders is "none"."""
        try:
            digit: int | None = check(value)
        except ValidationError as error:
            raise ValueError(
                "it has to be a digit, 0 to 9, or null for a picture that shows none"
            ) from error
        return digit


class StoredCorrection(_Output):
    """A correction as it is in the store."""

    id: int
    correct: Digit | None
    digit: Digit | None = Field(description="What was read.")
    confidence: Share | None
    verdict: str
    model: str
    model_version: str
    source: str
    stored_at: str
    is_new: bool = Field(description="False if the store knew it already.")


class Corrections(_Output):
    """One page of the stored corrections, the newest first."""

    total: int
    counts: dict[str, int] = Field(description='Pictures of each digit, and of "none".')
    page: int
    corrections: list[StoredCorrection]


def describe_correction(correction: Correction) -> StoredCorrection:
    """Describe a correction, without its picture."""
    return StoredCorrection.model_validate(correction, from_attributes=True)


# --- operation --------------------------------------------------------------------------------


class Health(_Output):
    """That the server is there."""

    status: Literal["ok"] = "ok"


class Ready(_Output):
    """That it can read."""

    status: Literal["ready"] = "ready"
    model: str
