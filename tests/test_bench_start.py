import subprocess
import sys

import pytest

import bench_start
from bench import build_parser
from bench_start import _open_page, run
from errors import MeasurementError

SERVER = """
import http.server, sys
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"page")
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Page).serve_forever()
"""


@pytest.fixture
def asked(monkeypatch):
    """Start nothing, and return the list of what would have been started."""
    asked: list[str] = []
    monkeypatch.setattr(bench_start, "run_python", lambda *words: asked.append(" ".join(words)))
    monkeypatch.setattr(bench_start, "_open_page", lambda *words: asked.append(" ".join(words)))
    return asked


def test_both_starts_are_compared_with_their_imports(asked):
    tables = run(build_parser().parse_args(["start", "--rounds", "1"]))

    assert [table.name for table in tables] == ["start-answer", "start-page"]
    for table in tables:
        assert list(table.rows) == ["naive", "ours", "floor", "only --help"]
        assert table.goals[0].measured == table.rows["ours"]["this / floor"]
    assert "app.py --port {port}" in asked
    assert "-c import torch, gradio" in asked


@pytest.mark.parametrize(("what", "name"), [("answer", "start-answer"), ("page", "start-page")])
def test_one_of_both_can_be_chosen(asked, what, name):
    tables = run(build_parser().parse_args(["start", "--rounds", "1", "--what", what]))

    assert [table.name for table in tables] == [name]


def test_a_server_is_stopped_after_its_first_page(monkeypatch):
    servers = []
    start = subprocess.Popen
    monkeypatch.setattr(
        subprocess,
        "Popen",
        lambda *args, **more: servers.append(start(*args, **more)) or servers[0],
    )

    stop = _open_page("-c", SERVER, "{port}")

    (server,) = servers
    assert server.poll() is None
    stop()
    assert server.poll() is not None


def test_a_server_that_dies_says_why():
    with pytest.raises(MeasurementError, match=r"exit code 3; it said: no luck"):
        _open_page("-c", "import sys; print('no luck', file=sys.stderr); sys.exit(3)", "{port}")


@pytest.mark.parametrize("program", [bench_start.NAIVE_ANSWER, bench_start.NAIVE_PAGE])
def test_the_naive_programs_are_python(program):
    compile(program, sys.executable, "exec")
