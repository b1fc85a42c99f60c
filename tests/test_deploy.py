"""What the files for deployment promise is what the program does."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
import yaml

import server
from api import ROUTERS
from connections import MAX_OF_CLIENT
from guards import MAX_BODY_BYTES, MAX_UPLOAD_BYTES
from utils import PROJECT

DOCKERFILE = (PROJECT / "Dockerfile").read_text(encoding="utf-8")
NGINX = (PROJECT / "deploy" / "nginx.conf").read_text(encoding="utf-8")
COMPOSE = yaml.safe_load((PROJECT / "deploy" / "compose.yaml").read_text(encoding="utf-8"))
CONTRIBUTING = (PROJECT / "CONTRIBUTING.md").read_text(encoding="utf-8")
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
    assert re.findall(r"limit_conn connections (\d+);", NGINX) == [str(MAX_OF_CLIENT)]
    assert set(re.findall(r"server (\w+):(\d+)", NGINX)) == {
        (name, str(server.PORT)) for name in COMPOSE["services"] if name != "proxy"
    }


def test_every_folder_that_the_program_writes_to_is_a_volume() -> None:
    """A training in a container once took its minutes, and then could not write its network."""
    table = CONTRIBUTING.split("## Where data goes")[1].split("\n\n")[1]
    written = {f"/app/{name}" for name in re.findall(r"`(\w+)/`", table)}

    in_image = re.search(r"^VOLUME (.*)$", DOCKERFILE, re.MULTILINE)
    in_compose = dict(volume.split(":") for volume in COMPOSE["x-digits"]["volumes"])

    assert in_image
    assert {"/app/models", "/app/outputs", "/app/feedback"} <= written
    assert set(yaml.safe_load(in_image[1])) == written
    assert set(in_compose.values()) == written
    assert set(in_compose) == set(COMPOSE["volumes"])


def test_a_container_is_given_the_time_that_answers_under_way_have() -> None:
    patience = COMPOSE["x-digits"]["stop_grace_period"]

    assert int(patience.removesuffix("s")) > server.GRACE_S + server.LAST_S


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[http.client.HTTPConnection]:
    """Start nginx with our file on a free port; the services behind it are not there."""
    if shutil.which("nginx") is None:
        pytest.skip("nginx is not installed")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    folders = "".join(
        f"{kind}_temp_path {tmp_path}/{kind};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    text = re.sub(r"server (page|api):\d+", "server 127.0.0.1:1", NGINX)
    text = text.replace("listen 8080;", f"listen 127.0.0.1:{port};")
    text = text.replace("/tmp/nginx.pid", f"{tmp_path}/pid").replace("http {", f"http {{ {folders}")
    (tmp_path / "nginx.conf").write_text(text, encoding="utf-8")
    command = ["nginx", "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf")]
    with subprocess.Popen([*command, "-g", "daemon off;"]) as process:
        try:
            while process.poll() is None:
                with contextlib.suppress(ConnectionRefusedError):
                    socket.create_connection(("127.0.0.1", port)).close()
                    break
                time.sleep(0.01)
            yield http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        finally:
            process.terminate()


def ask_proxy(
    proxy: http.client.HTTPConnection, method: str, path: str, length: int = 0
) -> tuple[int, str, str | None]:
    """Send a request without its body; return status, name of the error, and time to wait."""
    proxy.close()
    proxy.putrequest(method, path)
    proxy.putheader("content-length", str(length))
    proxy.endheaders()
    answer = proxy.getresponse()
    problem = json.loads(answer.read())
    assert answer.headers["content-type"] == "application/json"
    assert set(problem) == {"error", "detail"}
    return answer.status, problem["error"], answer.headers["retry-after"]


def test_the_proxy_answers_for_itself_in_the_form_of_all_errors(
    proxy: http.client.HTTPConnection,
) -> None:
    assert ask_proxy(proxy, "GET", "/metrics") == (403, "forbidden", None)
    assert ask_proxy(proxy, "POST", "/predict", 40 * 2**20) == (413, "too_large", None)
    assert ask_proxy(proxy, "GET", "/health") == (502, "unavailable", "2")
    many = {ask_proxy(proxy, "POST", "/predict") for _ in range(300)}
    assert (429, "too_many_requests", "2") in many


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
