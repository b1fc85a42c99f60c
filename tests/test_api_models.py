"""What comes in is taken as meant or refused; what goes out is plain JSON without paths."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from api_models import (
    MAX_PICTURES,
    Answer,
    Choice,
    Number,
    Opinion,
    PictureIn,
    PicturesIn,
    Training,
    describe_answer,
    describe_job,
    describe_model,
    describe_reading,
    example_picture,
    plain,
)
from errors import SettingsError
from job_records import Job
from job_settings import LIMITS, MAX_NAME, JobSettings, Limits, check_values
from micro_batch import Answer as Read
from registry import Listing
from service import Service


def test_an_answer_passes_its_own_schema_though_it_is_not_checked(
    service: Service, digit_png: Callable[..., Path]
):
    predictor = service.predictor
    read = Read(predictor.predict(digit_png(7)), predictor.checkpoint)

    answer = describe_answer(read)

    assert Answer.model_validate_json(answer.model_dump_json()) == answer
    assert answer.model == predictor.checkpoint.name
    assert answer.version == predictor.checkpoint.version


def test_a_reading_passes_its_schema(service: Service, digit_png: Callable[..., Path]):
    predictor = service.predictor

    number = describe_reading(predictor.read(digit_png(7)), predictor.checkpoint)

    assert Number.model_validate_json(number.model_dump_json()) == number


@pytest.mark.parametrize(
    ("schema", "values"),
    [
        (PictureIn, {"image": b"QQ=="}),
        (PicturesIn, {"images": []}),
        (PicturesIn, {"images": ["QQ=="] * (MAX_PICTURES + 1)}),
        (PicturesIn, {"images": "QQ=="}),
        (Choice, {"name": ""}),
        (Choice, {"name": "a" * 201}),
        (Opinion, {"image": "QQ=="}),
        (Opinion, {"image": "QQ==", "correct": 10}),
        (Opinion, {"image": "QQ==", "correct": True}),
        (Opinion, {"image": "QQ==", "correct": 7.5}),
        (Training, {"epochs": 0}),
        (Training, {"epochs": "3"}),
        (Training, {"lr": math.nan}),
        (Training, {"lr": math.inf}),
        (Training, {"corrections": 1}),
        (Training, {"name": "../up"}),
        (Training, {"output": "/tmp"}),
    ],
)
def test_what_is_not_meant_so_is_refused(schema: type[BaseModel], values: dict[str, Any]):
    with pytest.raises(ValidationError):
        schema.model_validate(values)


def test_the_examples_of_the_documentation_are_good(service: Service):
    import base64

    content = base64.b64decode(example_picture())

    assert service.predictor.predict(content).probabilities.shape == (10,)
    for schema in (Answer, Choice, Training):
        example = schema.model_config["json_schema_extra"]["example"]  # type: ignore[index]
        assert schema.model_validate(example)


def test_numbers_that_json_does_not_have_become_nothing():
    values = {"loss": math.nan, 3: (math.inf, 1.5), "rows": [{"a": -math.inf}], "text": "x"}

    copied = plain(values)

    assert copied == {"loss": None, "3": [None, 1.5], "rows": [{"a": None}], "text": "x"}
    assert json.dumps(copied, allow_nan=False)


def test_a_file_that_cannot_be_used_is_described_without_its_folder(tmp_path: Path):
    path = tmp_path / "damaged.pth"
    listing = Listing("damaged", path, None, f"{path} is damaged")

    model = describe_model(listing, in_use="best")

    assert (model.problem, model.bytes, model.parameters) == ("damaged.pth is damaged", 0, 0)
    assert not model.in_use
    assert str(tmp_path) not in model.model_dump_json()


def test_a_run_is_described_without_its_log():
    job = Job(
        "run-1",
        JobSettings(),
        "failed",
        "The training failed.",
        "2026-01-01T00:00:00+00:00",
        "new",
        history=[{"epoch": 1, "loss": math.nan}],
        log="reading /home/somebody/data",
    )

    run = describe_job(job)

    assert "somebody" not in run.model_dump_json()
    assert run.history == [{"epoch": 1, "loss": None}]


@pytest.mark.parametrize(
    ("field", "value", "is_fine"),
    [
        *[("name", name, True) for name in ("", "a", "A-1_b", "9" * 64)],
        *[("name", name, False) for name in ("9" * 65, "-a", "_a", "a b", "a\n", "é", "../a")],
        *[("limit", limit, 0 <= limit <= 60_000) for limit in (-1, 0, 60_000, 60_001)],
        *[("epochs", epochs, 1 <= epochs <= 100) for epochs in (0, 1, 100, 101)],
        *[("lr", lr, 0 < lr <= 0.1) for lr in (0.0, 1e-9, 0.1, 0.11)],
        *[("seed", seed, 0 <= seed < 2**32) for seed in (-1, 0, 2**32 - 1, 2**32)],
    ],
)
def test_the_api_takes_the_settings_of_a_training_that_a_run_takes(
    field: str, value: object, is_fine: bool
) -> None:
    """Both check them, the API to name the field as it names all others."""

    def takes(check: Callable[[], object]) -> bool:
        try:
            check()
        except (ValidationError, SettingsError):
            return False
        return True

    settings = JobSettings(**{field: value})

    assert takes(lambda: Training(**{field: value})) is is_fine
    assert takes(lambda: check_values(settings)) is is_fine


@pytest.mark.parametrize(("field", "limits"), LIMITS.items())
def test_the_schema_of_a_training_tells_the_limits_of_its_numbers(
    field: str, limits: Limits
) -> None:
    told = Training.model_json_schema()["properties"][field]

    assert told["minimum" if limits.takes_least else "exclusiveMinimum"] == limits.least
    assert told["maximum"] == limits.most
    assert told["default"] == getattr(JobSettings(), field)


@pytest.mark.parametrize("field", [*LIMITS, "name"])
def test_a_setting_of_a_training_that_cannot_work_is_told_by_its_name(field: str) -> None:
    value = "x" * (MAX_NAME + 1) if field == "name" else LIMITS[field].most + 1

    with pytest.raises(ValidationError) as caught:
        Training(**{field: value})

    assert [error["loc"] for error in caught.value.errors()] == [(field,)]
