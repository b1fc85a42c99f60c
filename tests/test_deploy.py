"""What the files for deployment promise is what the program does."""

from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path

import pytest
import yaml

import server
from api import ROUTERS
from guards import MAX_BODY_BYTES, MAX_UPLOAD_BYTES
from utils import PROJECT

DOCKERFILE = (PROJECT / "Dockerfile").read_text(encoding="utf-8")
NGINX = (PROJECT / "deploy" / "nginx.conf").read_text(encoding="utf-8")
COMPOSE = yaml.safe_load((PROJECT / "deploy" / "compose.yaml").read_text(encoding="utf-8"))
SPACE = (PROJECT / "deploy" / "space" / "README.md").read_text(encoding="utf-8")
KNOWN = set(re.findall(r"DIGITS_\w+", (PROJECT / "server.py").read_text(encoding="utf-8")))


def test_every_variable_that_is_set_is_one_that_the_program_reads() -> None:
    texts = [DOCKERFILE, (PROJECT / "deploy" / "compose.yaml").read_text(encoding="utf-8")]

    named = {name for text in texts for name in re.findall(r"DIGITS_[A-Z_]+", text)}

    assert named
    assert named <= KNOWN


def test_the_container_runs_as_nobody_in_particular_and_tells_its_health() -> None:
    stages = DOCKERFILE.split("\nFROM ")

    assert "USER digits" in stages[-1]
    assert stages[-1].index("USER digits") < stages[-1].index("CMD [")
    assert "HEALTHCHECK" in stages[-1]
    assert "/ready" in stages[-1]
    assert "STOPSIGNAL SIGTERM" in stages[-1]


@pytest.mark.parametrize(
    "path",
    sorted(
        path for pattern in ("*.py", "*.css", "*.js", "*.jinja") for path in PROJECT.glob(pattern)
    ),
    ids=lambda path: path.name,
)
def test_the_image_holds_every_file_of_the_program(path: Path) -> None:
    """`.dockerignore` leaves out everything, and then lets in what is listed."""
    lines = (PROJECT / ".dockerignore").read_text(encoding="utf-8").split("\n")

    assert any(path.match(line[1:]) for line in lines if line.startswith("!"))


def test_the_proxy_sends_only_stateless_routes_to_the_replicas() -> None:
    shared = re.search(r"location ~ \^/\((.*)\)\$", NGINX)
    assert shared
    known = {getattr(route, "path", "") for router in ROUTERS for route in router.routes}

    paths = {f"/{path}" for path in shared[1].split("|")}

    assert paths == {"/predict", "/predict/batch", "/read"}
    assert paths <= known


def test_the_limits_of_the_proxy_are_those_of_the_program() -> None:
    sizes = [int(size) * 2**20 for size in re.findall(r"client_max_body_size (\d+)m;", NGINX)]

    assert sizes == [MAX_BODY_BYTES, MAX_UPLOAD_BYTES]
    assert set(re.findall(r"server (\w+):(\d+)", NGINX)) == {
        (name, str(server.PORT)) for name in COMPOSE["services"] if name != "proxy"
    }


def test_no_replica_starts_without_a_token() -> None:
    assert COMPOSE["x-digits"]["environment"]["DIGITS_ADMIN_TOKEN"].startswith(
        "${DIGITS_ADMIN_TOKEN:?"
    )
    assert "ports" not in COMPOSE["services"]["page"]
    assert "ports" not in COMPOSE["services"]["api"]


def test_the_space_asks_for_the_gradio_that_is_tested() -> None:
    head = yaml.safe_load(SPACE.split("---")[1])

    assert head["app_file"] == "app.py"
    assert (PROJECT / head["app_file"]).exists()
    assert head["sdk_version"].split(".")[:2] == metadata.version("gradio").split(".")[:2]
