"""The API keeps to its own OpenAPI document, whatever is sent.

    /openapi.json -> schemathesis makes requests, good and bad ones, for every route
                  -> no server error; statuses, types and bodies are those that are documented

A few requests for each route in every run; `make fuzz` sends a thousand.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from api import build_api
from guards import Rules
from tests.test_api import make_service

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "8"))
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


WITHOUT_INPUT = {
    *("GET /health", "GET /ready", "GET /metrics", "GET /models", "GET /model-status"),
    *("GET /retrain", "DELETE /retrain"),
}


@pytest.fixture
def document(models_folder: Path, tmp_path: Path) -> Any:
    """Return the document of an API whose trainings are never started.

    One for each test: Schemathesis ends what it has sent to when the test ends.
    """
    service = make_service(models_folder, tmp_path)
    return schemathesis.openapi.from_asgi("/openapi.json", build_api(service, Rules()))


@pytest.mark.timeout(7200 if EXAMPLES > 100 else 180)
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_the_api_keeps_to_its_document(document: Any, mode: GenerationMode) -> None:
    operations = [each.ok() for each in document.get_all_operations()]

    counts = {each.label: send_many(each, mode) for each in operations}

    assert len(operations) == 15
    silent = {label for label, count in counts.items() if not count}
    assert silent <= (WITHOUT_INPUT if mode is GenerationMode.NEGATIVE else set())


def send_many(operation: Any, mode: GenerationMode) -> int:
    """Send requests to one route, good or bad by its schema; check and count the answers."""
    count = 0

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def send(case: schemathesis.Case) -> None:
        nonlocal count
        count += 1
        case.call_and_validate(checks=CHECKS)

    with contextlib.suppress(Unsatisfiable):  # nothing can be wrong where nothing is asked for
        send()
    return count
