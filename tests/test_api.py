"""The REST routes: what they answer, what they refuse, and that they go on afterwards."""

from __future__ import annotations

import base64
import io
import json
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

import decoding
import micro_batch
from access import Access
from api import build_api
from api_models import MAX_PICTURES, Training
from decoding import Decoders
from errors import BusyError
from feedback import FeedbackStore
from guards import Rules
from job_records import Job
from job_settings import JobSettings
from model import build_model
from registry import save_checkpoint
from service import Service
from tests.test_guards import run_asgi
from worker_process import WorkerProcess

HERE = "http://127.0.0.1:7860"
CONTENT_TYPE = (b"content-type", b"application/json")
TOKEN = "a token of the tests"


class FakeJobs:
    """Training runs that are never started: what matters here is who may start them."""

    def __init__(self) -> None:
        self.runs: list[Job] = []
        self.follows = False

    def start(self, settings: JobSettings) -> Job:
        if self.runs and self.runs[0].is_running:
            raise BusyError("a training run is running already; wait, or cancel it")
        job = Job(
            "run-1",
            settings,
            "running",
            "Learning: epoch 1 of 3.",
            "2026-01-01T00:00:00+00:00",
            "new",
            history=[{"epoch": 1, "train_loss": float("nan"), "best": True}],
            log="reading /home/somebody/data",
        )
        self.runs.insert(0, job)
        return job

    def cancel(self) -> Job | None:
        if not self.runs or not self.runs[0].is_running:
            return None
        self.runs[0] = replace(self.runs[0], state="cancelled")
        return self.runs[0]

    def history(self, limit: int = 20) -> list[Job]:
        return self.runs[:limit]

    def follow_newest(self) -> None:
        self.follows = True


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, models_folder: Path) -> Path:
    """Return a models folder with another model and a damaged one."""
    folder = tmp_path_factory.mktemp("shelf")
    for path in models_folder.glob("*.pth"):
        (folder / path.name).write_bytes(path.read_bytes())
    save_checkpoint(folder / "other.pth", build_model("cnn1"), metrics={"loss": float("nan")})
    (folder / "damaged.pth").write_bytes(b"PK\3\4 damaged")
    return folder


def make_service(folder: Path, place: Path, access: Access | None = None) -> Service:
    return Service(
        models_folder=folder,
        feedback=FeedbackStore(place / "feedback.sqlite"),
        jobs=FakeJobs(),
        access=access,
        device="cpu",
    )


@pytest.fixture(scope="module")
def client(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """Return a client of a server for this machine; tests that change something use others."""
    app = build_api(make_service(folder, tmp_path_factory.mktemp("api")))
    with TestClient(app, base_url=HERE, raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def fresh(folder: Path, tmp_path: Path) -> Iterator[Callable[..., TestClient]]:
    """Return a function that makes a client of a server of its own."""
    clients = []

    def make(access: Access | None = None) -> TestClient:
        app = build_api(make_service(folder, tmp_path, access))
        clients.append(TestClient(app, base_url=HERE, raise_server_exceptions=False))
        return clients[-1].__enter__()

    yield make
    for client in clients:
        client.__exit__()


@pytest.fixture
def seven(digit_png: Callable[..., Path]) -> bytes:
    return digit_png(7).read_bytes()


def base64_of(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")


def encode(kind: str, *, ink: int = 0) -> bytes:
    """Draw a stroke in some format."""
    pixels = np.full((60, 60), 255, np.uint8)
    pixels[10:50, 25:32] = ink
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def png_that_claims(width: int, height: int) -> bytes:
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunk = struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
    return b"\x89PNG\r\n\x1a\n" + chunk + encode("PNG")[33:]


def long_gif(frames: int) -> bytes:
    """Repeat the one frame of a GIF, without drawing ten thousand pictures."""
    single = encode("GIF")
    start = single.index(b",", 13 + 3 * 2 ** ((single[10] & 7) + 1))
    return single[:start] + single[start:-1] * frames + b";"


# --- reading ------------------------------------------------------------------------------------


WAYS: dict[str, Callable[[bytes], dict[str, Any]]] = {
    "base64": lambda c: {"json": {"image": base64_of(c)}},
    "data URL": lambda c: {"json": {"image": f"data:image/png;base64,{base64_of(c)}"}},
    "base64 with line breaks": lambda c: {"json": {"image": base64.encodebytes(c).decode("ascii")}},
    "a form": lambda c: {"files": {"image": ("seven.png", c, "image/png")}},
    "a form with file": lambda c: {"files": {"file": c}},
    "raw bytes": lambda c: {"content": c, "headers": {"content-type": "image/png"}},
    "octets": lambda c: {
        "content": c,
        "headers": {"content-type": "application/octet-stream; charset=binary"},
    },
}


@pytest.mark.parametrize("way", WAYS)
def test_a_picture_is_read_alike_however_it_is_sent(
    client: TestClient, tiny_predictor: Any, seven: bytes, way: str
) -> None:
    expected = tiny_predictor.predict(seven)

    answer = client.post("/predict", **WAYS[way](seven))

    assert answer.status_code == 200
    values = answer.json()
    assert values == {
        **expected.to_dict(),
        "model": "mnist_cnn_best",
        "version": tiny_predictor.checkpoint.version,
    }
    assert (values["digit"], len(values["probabilities"])) == (7, 10)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF"])
def test_the_usual_formats_are_read(client: TestClient, kind: str) -> None:
    answer = client.post("/predict", json={"image": base64_of(encode(kind))})

    assert answer.status_code == 200, answer.text


def test_of_an_animation_the_first_frame_is_read(client: TestClient) -> None:
    animation = long_gif(10_000)

    answer = client.post("/predict", json={"image": base64_of(animation)})

    single = client.post("/predict", json={"image": base64_of(encode("GIF"))})
    assert len(animation) > 100_000
    assert answer.json() == single.json()


def test_a_batch_has_an_answer_or_a_problem_for_each_picture(
    client: TestClient, digit_png: Callable[..., Path]
) -> None:
    good = [base64_of(digit_png(digit).read_bytes()) for digit in range(10)]
    images = [*good, "not base64!", "", base64_of(b"text"), base64_of(encode("PNG")[:40])]

    answers = client.post("/predict/batch", json={"images": images}).json()["answers"]

    assert [each["digit"] for each in answers[:10]] == list(range(10))
    assert [each["error"] for each in answers[10:]] == ["encoding", "encoding", "image", "image"]
    assert [each["detail"].partition(":")[0] for each in answers[10:]] == [
        f"images[{at}]" for at in (10, 11, 12, 13)
    ]


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_a_batch_may_be_full_of_pictures_of_any_format(client: TestClient, kind: str) -> None:
    """More GIFs than the line for slow pictures holds were refused, however often one tried."""
    images = [base64_of(encode(kind))] * MAX_PICTURES

    answer = client.post("/predict/batch", json={"images": images})

    assert answer.status_code == 200, answer.text
    assert len({each["digit"] for each in answer.json()["answers"]}) == 1


def test_a_batch_can_be_a_form(client: TestClient, digit_png: Callable[..., Path]) -> None:
    files = [("images", digit_png(digit).read_bytes()) for digit in (3, 7)]

    answers = client.post("/predict/batch", files=files).json()["answers"]

    assert [each["digit"] for each in answers] == [3, 7]


def test_a_number_is_read_with_a_box_for_each_digit(
    client: TestClient, digit_png: Callable[..., Path], tiny_predictor: Any
) -> None:
    pair = np.hstack([np.asarray(Image.open(digit_png(digit))) for digit in (3, 7)])
    buffer = io.BytesIO()
    Image.fromarray(pair).save(buffer, "PNG")
    expected = tiny_predictor.read(buffer.getvalue()).to_dict()

    answer = client.post("/read", json={"image": base64_of(buffer.getvalue())})

    assert answer.status_code == 200
    values = answer.json()
    assert values["text"] == expected["text"] == "37"
    assert values["digits"] == expected["digits"]
    assert (values["model"], values["turn"]) == ("mnist_cnn_best", 0)
    turned = client.post("/read?turn=180", json={"image": base64_of(buffer.getvalue())})
    assert turned.json()["turn"] == 180


# --- what is refused ----------------------------------------------------------------------------

SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><text y="20">7</text></svg>'
BAD_IMAGES = [
    ("", 422, "empty"),
    ("%%%", 422, "image: not base64"),
    ("abc", 422, "base64"),
    ("data:image/png,abc", 422, "data URL"),
    ("data:image/png;base64,", 422, "empty"),
    ("data:" + "x" * 1000, 422, "data URL"),
    ("\u0667" * 8, 422, "base64"),
    (base64_of(b"just text"), 415, "image: not a picture"),
    (base64_of(SVG), 415, "not a picture"),
    (base64_of(b"<html><body>7</body></html>"), 415, "not a picture"),
    (base64_of(b"%PDF-1.7 ..."), 415, "not a picture"),
    (base64_of(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"), 415, "not a picture"),
    (base64_of(encode("PNG")[:60]), 415, "image: the file is damaged"),
    (base64_of(encode("JPEG")[:200]), 415, "damaged"),
    (base64_of(png_that_claims(100_000, 100_000)), 413, "image: too large"),
    (base64_of(png_that_claims(0, 10)), 415, "image"),
    (base64_of(encode("PNG", ink=255)), 422, "image: the picture is blank"),
    (7, 422, "string"),
    (None, 422, "string"),
    (["x"], 422, "string"),
    ({"image": "x"}, 422, "string"),
    ("/etc/passwd", 422, "base64"),
    ("../../etc/passwd", 422, "base64"),
    ("file:///etc/passwd", 422, "base64"),
    ("http://127.0.0.1/x.png", 422, "base64"),
]


@pytest.mark.parametrize("path", ["/predict", "/read", "/feedback"])
@pytest.mark.parametrize(("image", "status", "hint"), BAD_IMAGES)
def test_a_bad_picture_is_refused_with_its_field_and_the_next_good_one_read(
    client: TestClient, seven: bytes, path: str, image: object, status: int, hint: str
) -> None:
    extra = {"correct": 7} if path == "/feedback" else {}

    answer = client.post(path, json={"image": image, **extra})

    assert answer.status_code == status, answer.text
    assert set(answer.json()) == {"error", "detail"}
    assert answer.json()["detail"].startswith("image")
    assert hint in answer.json()["detail"]
    assert "Traceback" not in answer.text
    assert client.post("/predict", json={"image": base64_of(seven)}).json()["digit"] == 7


JSON = {"content-type": "application/json"}
FORM = {"content-type": "multipart/form-data; boundary=x"}
NESTED = b"[" * 1_000 + b"]" * 1_000
BAD_BODIES: list[tuple[str, dict[str, Any], int, str]] = [
    ("nothing", {}, 415, "Content-Type"),
    ("empty", {"content": b"", "headers": JSON}, 400, "body"),
    ("no JSON", {"content": b"{image: 7}", "headers": JSON}, 400, "body"),
    ("half", {"content": b'{"image": "', "headers": JSON}, 400, "body"),
    ("zero byte", {"content": b'{"image": "\0"}', "headers": JSON}, 400, "body"),
    ("nested", {"content": NESTED, "headers": JSON}, 400, "body"),
    ("lists", {"content": b"[" + b"[]," * 2**20, "headers": JSON}, 413, "too many values"),
    ("no UTF-8", {"content": b'{"image": "\xff"}', "headers": JSON}, 400, "body"),
    ("surrogate", {"content": b'{"image": "\\ud800"}', "headers": JSON}, 400, "body"),
    ("list", {"json": ["x"]}, 422, "body"),
    ("text", {"json": "x"}, 422, "body"),
    ("null", {"json": None, "headers": JSON, "content": b"null"}, 422, "body"),
    ("missing", {"json": {}}, 422, "image: field required"),
    ("unknown", {"json": {"image": "", "path": "/etc/passwd"}}, 422, "path: extra"),
    ("other field", {"files": {"picture": b"x"}}, 422, "picture: unknown field"),
    ("two files", {"files": [("image", b"x")] * 2}, 422, "image: 2 pictures; at most 1 is taken"),
    ("two of another name", {"files": [("file", b"x")] * 2}, 422, "file: 2 pictures"),
    (
        "gzip",
        {"content": b"\x1f\x8b", "headers": {**JSON, "content-encoding": "gzip"}},
        415,
        "Content-Encoding: gzip is not read here",
    ),
    ("a text field", {"data": {"image": "x"}, "files": {"file": b"x"}}, 422, "image"),
    ("no field", {"content": b"--x--\r\n", "headers": FORM}, 422, "image: field required"),
    ("text", {"files": {"image": (None, "x")}}, 422, "image: it has to be a file"),
    ("form of text", {"data": {"image": "x"}}, 415, "Content-Type"),
    ("plain text", {"content": b"x", "headers": {"content-type": "text/plain"}}, 415, "curl"),
    ("XML", {"content": b"<a/>", "headers": {"content-type": "text/xml"}}, 415, "Content"),
    (
        "no boundary",
        {"content": b"--x", "headers": {"content-type": "multipart/form-data"}},
        400,
        "body",
    ),
    (
        "damaged form",
        {
            "content": b"--x\r\nrubbish\r\n\r\n",
            "headers": FORM,
        },
        400,
        "body",
    ),
    ("empty raw", {"content": b"", "headers": {"content-type": "image/png"}}, 415, "body"),
    ("raw SVG", {"content": SVG, "headers": {"content-type": "image/svg+xml"}}, 415, "body"),
]


@pytest.mark.parametrize(
    ("sent", "status", "hint"), [row[1:] for row in BAD_BODIES], ids=[row[0] for row in BAD_BODIES]
)
def test_a_body_that_is_not_what_it_says_is_refused_with_advice(
    client: TestClient, seven: bytes, sent: dict[str, Any], status: int, hint: str
) -> None:
    sent = {key: value for key, value in sent.items() if not (key == "json" and value is None)}

    answer = client.post("/predict", **sent)

    assert answer.status_code == status, answer.text
    assert set(answer.json()) == {"error", "detail"}
    assert hint in answer.json()["detail"]
    assert client.post("/predict", json={"image": base64_of(seven)}).json()["digit"] == 7


@pytest.mark.parametrize(
    ("images", "hint"),
    [([], "images"), (["x"] * (MAX_PICTURES + 1), str(MAX_PICTURES)), ("x", "array"), ([7], "[0]")],
)
def test_a_batch_of_the_wrong_size_or_kind_is_refused(
    client: TestClient, images: object, hint: str
) -> None:
    answer = client.post("/predict/batch", json={"images": images})

    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("images")
    assert hint in answer.json()["detail"]


def test_each_route_that_takes_a_picture_takes_one_of_20_megabytes(client: TestClient) -> None:
    """The guard had a list of them, and a route that was not in it would have had 64 kB."""
    document = client.get("/openapi.json").json()
    taking = set()
    for path, operations in document["paths"].items():
        for operation in operations.values():
            body = operation.get("requestBody", {}).get("content", {})
            reference = body.get("application/json", {}).get("schema", {}).get("$ref", "")
            schema = document["components"]["schemas"].get(reference.rpartition("/")[2], {})
            if {"image", "images"} & schema.get("properties", {}).keys() or "image/png" in body:
                taking.add(path)

    limits = client.app.state.body_limits  # type: ignore[attr-defined]

    assert taking == limits.keys() == {"/predict", "/predict/batch", "/read", "/feedback"}
    assert all(limit >= 20 * 2**20 * 4 / 3 for limit in limits.values())


def test_a_body_of_100_megabytes_is_refused_and_the_next_one_read(
    client: TestClient, seven: bytes
) -> None:
    parts = (b"x" * 2**20 for _ in range(100))  # without saying how many there will be

    answer = client.post("/predict", content=parts, headers=JSON)

    assert (answer.status_code, answer.json()["error"]) == (413, "too_large")
    assert client.post("/predict", json={"image": base64_of(seven)}).json()["digit"] == 7


@pytest.mark.parametrize("path", ["/predict", "/predict/batch"])
def test_more_than_can_wait_is_refused_with_a_time_to_come_back(
    fresh: Callable[..., TestClient], seven: bytes, path: str
) -> None:
    text = base64_of(seven)
    body = {"images": [text, text]} if path.endswith("batch") else {"image": text}
    client = fresh()
    client.app.state.engine.reader.capacity = 0  # type: ignore[attr-defined]

    answer = client.post(path, json=body)

    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) >= 1
    assert answer.json()["error"] == "overloaded"
    assert client.get("/ready").status_code == 503
    assert client.get("/health").status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/predict", 405),
        ("PUT", "/predict", 405),
        ("DELETE", "/models", 405),
        ("POST", "/health", 405),
        ("PATCH", "/retrain", 405),
        ("GET", "/models/current", 405),
        ("POST", "/docs", 405),
        ("GET", "/predict/", 404),
        ("POST", "/predict/nothing", 404),
        ("GET", "/feedback/1/picture", 404),
        ("GET", "/nothing", 404),
    ],
)
def test_what_is_not_there_is_told_in_the_same_form(
    client: TestClient, method: str, path: str, status: int
) -> None:
    answer = client.request(method, path)

    assert answer.status_code == status
    assert set(answer.json()) == {"error", "detail"}
    assert ("allow" in answer.headers) == (status == 405)


@pytest.mark.parametrize("path", ["/docs", "/openapi.json", "/health", "/predict"])
def test_the_methods_that_a_path_claims_to_have_are_those_that_it_has(
    client: TestClient, path: str
) -> None:
    """HEAD was said to be allowed for /docs, and answered with 404."""
    allowed = client.patch(path).headers["allow"].split(", ")

    has = [
        method
        for method in ("GET", "HEAD", "POST", "PUT", "DELETE")
        if client.request(method, path).status_code not in (404, 405)
    ]

    assert has == allowed


# --- models, training, feedback -----------------------------------------------------------------


def test_the_status_describes_what_reads_and_what_learns(
    fresh: Callable[..., TestClient], tiny_predictor: Any
) -> None:
    client = fresh()
    client.post("/retrain", json={"epochs": 3})

    status = client.get("/model-status").json()

    assert status["model"]["name"] == "mnist_cnn_best"
    assert status["model"]["architecture"] == "mlp"
    assert status["model"]["parameters"] == 242_762
    assert status["model"]["version"] == tiny_predictor.checkpoint.version
    assert status["model"]["metrics"] == {"validation_accuracy": 0.99}
    assert status["model"]["created"].startswith("20")
    assert (status["device"], status["changes"]) == ("cpu", "open")
    assert status["uptime_s"] >= 0
    assert status["training"]["running"] is True
    assert status["history"][0]["history"][0]["train_loss"] is None  # NaN is no JSON


def test_models_are_listed_with_their_problems_and_without_paths(
    client: TestClient, folder: Path
) -> None:
    answer = client.get("/models")

    models = {model["name"]: model for model in answer.json()["models"]}
    assert set(models) == {"mnist_cnn", "mnist_cnn_best", "other", "damaged"}
    assert [name for name, model in models.items() if model["in_use"]] == ["mnist_cnn_best"]
    assert models["other"]["metrics"] == {"loss": None}
    assert "damaged" in models["damaged"]["problem"]
    assert str(folder) not in answer.text


def test_a_chosen_model_reads_from_then_on(fresh: Callable[..., TestClient], seven: bytes) -> None:
    client = fresh()

    chosen = client.put("/models/current", json={"name": "other"})

    assert (chosen.status_code, chosen.json()["in_use"]) == (200, True)
    answer = client.post("/predict", json={"image": base64_of(seven)}).json()
    assert answer["model"] == "other"
    assert client.get("/ready").json()["model"] == "other"


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("nothing", 404),
        ("../../etc/passwd", 404),
        ("/etc/passwd", 404),
        ("..\\other", 404),
        ("other.pth\0", 404),
        ("damaged", 400),
        ("", 422),
        ("x" * 201, 422),
        (7, 422),
        (None, 422),
    ],
)
def test_a_model_that_cannot_be_used_leaves_the_old_one_in_use(
    client: TestClient, name: object, status: int
) -> None:
    answer = client.put("/models/current", json={"name": name})

    assert answer.status_code == status
    assert set(answer.json()) == {"error", "detail"}
    assert client.get("/ready").json()["model"] == "mnist_cnn_best"


def test_a_training_run_is_started_followed_and_cancelled_and_only_one_runs(
    fresh: Callable[..., TestClient],
) -> None:
    client = fresh()

    nothing = client.get("/retrain").json()
    started = client.post("/retrain", json={"epochs": 2, "lr": 0.001, "corrections": True})
    second = client.post("/retrain", json={})
    running = client.get("/retrain")
    cancelled = client.delete("/retrain")
    again = client.delete("/retrain")

    assert nothing == {"running": False, "job": None}
    assert (started.status_code, started.json()["state"]) == (202, "running")
    assert started.json()["settings"] == asdict(JobSettings(epochs=2, lr=0.001, corrections=True))
    assert (second.status_code, second.json()["error"]) == (409, "busy")
    assert running.json()["running"] is True
    assert "/home" not in running.text  # the log stays here
    assert (cancelled.status_code, cancelled.json()["state"]) == (200, "cancelled")
    assert again.status_code == 404


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ('{"epochs": -1}', "epochs"),
        ('{"epochs": 0}', "epochs"),
        ('{"epochs": 1e3}', "epochs"),
        ('{"epochs": 2.5}', "epochs"),
        ('{"epochs": "3"}', "epochs"),
        ('{"epochs": true}', "epochs"),
        ('{"epochs": null}', "epochs"),
        (f'{{"epochs": {"9" * 400}}}', "epochs"),
        (f'{{"epochs": {"9" * 5000}}}', "body"),
        ('{"lr": NaN}', "lr"),
        ('{"lr": Infinity}', "lr"),
        ('{"lr": -Infinity}', "lr"),
        ('{"lr": 1e400}', "lr"),
        ('{"lr": 0}', "lr"),
        ('{"lr": -0.1}', "lr"),
        ('{"seed": -1}', "seed"),
        ('{"limit": -1}', "limit"),
        ('{"corrections": "yes"}', "corrections"),
        ('{"name": "../../etc/passwd"}', "name"),
        ('{"name": "a/b"}', "name"),
        ('{"name": "-rf"}', "name"),
        ('{"model": 7}', "model"),
        ('{"output": "/etc"}', "output"),
        ('{"data_folder": "/etc"}', "data_folder"),
        ("[]", "body"),
        ("{", "body"),
    ],
)
def test_settings_that_cannot_work_are_refused_by_name_and_nothing_is_started(
    client: TestClient, settings: str, field: str
) -> None:
    answer = client.post("/retrain", content=settings, headers=JSON)

    assert answer.status_code in (400, 422)
    assert answer.json()["detail"].startswith(field)
    assert client.get("/retrain").json()["job"] is None


def test_the_settings_of_the_api_are_those_of_a_run() -> None:
    assert Training().model_dump() == asdict(JobSettings())


def test_a_correction_is_stored_once_listed_and_erased(
    fresh: Callable[..., TestClient], seven: bytes
) -> None:
    client = fresh()
    opinion = {"image": base64_of(seven), "correct": 1}

    first = client.post("/feedback", json=opinion)
    again = client.post("/feedback", json=opinion)
    listed = client.get("/feedback").json()
    erased = client.delete(f"/feedback/{first.json()['id']}")
    gone = client.delete(f"/feedback/{first.json()['id']}")

    assert first.status_code == 201
    assert (first.json()["digit"], first.json()["correct"]) == (7, 1)
    assert (first.json()["source"], first.json()["is_new"]) == ("api", True)
    assert again.json() == {**first.json(), "is_new": False}
    assert (listed["total"], listed["counts"]["1"], len(listed["corrections"])) == (1, 1, 1)
    assert (erased.status_code, erased.content, gone.status_code) == (204, b"", 404)
    assert client.get("/feedback").json()["total"] == 0


def test_a_picture_of_no_digit_can_be_corrected_too(
    fresh: Callable[..., TestClient], seven: bytes
) -> None:
    client = fresh()

    stored = client.post("/feedback", json={"image": base64_of(seven), "correct": None})

    assert (stored.status_code, stored.json()["correct"]) == (201, None)
    assert client.get("/feedback").json()["counts"]["none"] == 1


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_a_correction_has_to_say_that_it_is_json(
    client: TestClient, seven: bytes, kind: str
) -> None:
    """Anything was stored, also what a form of another site may send unasked."""
    body = json.dumps({"image": base64_of(seven), "correct": 7})

    answer = client.post("/feedback", content=body, headers={"content-type": kind})

    assert (answer.status_code, answer.json()["error"]) == (415, "content_type")
    assert "curl: --json" in answer.json()["detail"]
    assert client.get("/feedback").json()["total"] == 0


def test_a_compressed_correction_is_refused_as_that(client: TestClient) -> None:
    """It was called no JSON."""
    packed = {**JSON, "content-encoding": "br"}

    answer = client.post("/feedback", content=b"\x0b\x02\x80", headers=packed)

    assert answer.status_code == 415
    assert "Content-Encoding: br" in answer.json()["detail"]


def test_a_body_that_says_it_is_not_compressed_is_read(client: TestClient, seven: bytes) -> None:
    headers = {"content-type": "image/png", "content-encoding": "identity"}

    assert client.post("/predict", content=seven, headers=headers).json()["digit"] == 7


@pytest.mark.parametrize("correct", [10, -1, 7.5, "7", True, [7], "none"])
def test_only_a_digit_or_null_is_a_correction(
    client: TestClient, seven: bytes, correct: object
) -> None:
    answer = client.post("/feedback", json={"image": base64_of(seven), "correct": correct})

    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("correct: it has to be a digit, 0 to 9, or null")
    assert client.get("/feedback").json()["total"] == 0


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/feedback?page=0"),
        ("GET", "/feedback?page=x"),
        ("GET", "/feedback?page=1e99"),
        ("DELETE", "/feedback/0"),
        ("DELETE", "/feedback/-1"),
        ("DELETE", "/feedback/1_0"),
        ("DELETE", "/feedback/+1"),
        ("DELETE", "/feedback/1.0"),
        ("DELETE", "/feedback/%D9%A3"),
        ("DELETE", f"/feedback/{10**30}"),
        ("DELETE", "/feedback/..%2F1"),
        ("POST", "/read?turn=45"),
    ],
)
def test_wrong_numbers_in_addresses_are_refused(client: TestClient, method: str, path: str) -> None:
    answer = client.request(method, path)

    assert answer.status_code == (404 if "%2F" in path else 422)
    assert set(answer.json()) == {"error", "detail"}


@pytest.mark.parametrize(
    ("method", "path", "hint"),
    [
        ("POST", "/predict?model=cnn1", "model: unknown parameter; this route has none"),
        ("POST", "/predict/batch?image=x", "image: unknown parameter"),
        ("POST", "/read?turm=90", "turm: unknown parameter; there is turn"),
        ("POST", "/read?turn=0&turn=90", "turn: given 2 times"),
        ("GET", "/feedback?digit=3", "digit: unknown parameter; there is page"),
        ("DELETE", "/feedback/1?force=1", "force: unknown parameter"),
        ("GET", "/models?", None),
        ("GET", "/models?=", "query: unknown parameter"),
        ("GET", "/health?at=1763800000", None),  # monitors get past caches so
        ("HEAD", "/ready?at=1763800000", None),
        ("PUT", "/models/current?x=1", "x: unknown parameter"),
        ("PUT", "/models/current?name=last", "name: unknown parameter"),
        ("POST", "/retrain?epochs=3", "epochs: unknown parameter"),
        ("GET", "/docs?x=1", None),  # not ours
    ],
)
def test_a_parameter_that_would_have_no_effect_is_refused_by_its_name(
    client: TestClient, method: str, path: str, hint: str | None
) -> None:
    """`/read?turm=90` was answered as if nothing had been asked."""
    answer = client.request(method, path)

    if hint is None:
        assert answer.status_code == 200
        return
    assert answer.status_code == 422
    if method != "HEAD":
        assert answer.json()["error"] == "invalid"
        assert answer.json()["detail"].startswith(hint)


FOR_MONITORS = ("/health", "/ready", "/metrics")


def test_every_route_but_those_for_monitors_refuses_unknown_parameters(client: TestClient) -> None:
    for path, operations in client.get("/openapi.json").json()["paths"].items():
        for method in operations.keys() - ({"get"} if path in FOR_MONITORS else set()):
            answer = client.request(method, f"{path}?surely_unknown=1".replace("{picture_id}", "1"))

            assert answer.status_code == 422, (method, path)
            assert answer.json()["detail"].startswith("surely_unknown: ")


def test_a_full_disk_is_told_and_reading_goes_on(
    fresh: Callable[..., TestClient], seven: bytes
) -> None:
    client = fresh()
    client.app.state.engine.service.feedback.max_bytes = 1  # type: ignore[attr-defined]

    answer = client.post("/feedback", json={"image": base64_of(seven), "correct": 7})

    assert answer.status_code == 507
    assert set(answer.json()) == {"error", "detail"}
    assert client.post("/predict", json={"image": base64_of(seven)}).json()["digit"] == 7


def test_strangers_are_told_no_path_of_the_server(
    fresh: Callable[..., TestClient], seven: bytes, tmp_path: Path
) -> None:
    """The file of the corrections and the last line of a failed training were told to everybody."""
    path = str(tmp_path / "feedback.sqlite")
    client = fresh(Access(beyond_loopback=True))
    service = client.app.state.engine.service  # type: ignore[attr-defined]
    service.feedback.max_bytes = 1
    run = replace(
        service.jobs.start(JobSettings()),
        state="failed",
        message="Failed after 0 of 3 epochs.",
        log=f"cannot write {path}",
        last_words=f"cannot write {path}",
    )
    service.jobs.runs = [run]

    answers = [
        client.post("/feedback", json={"image": base64_of(seven), "correct": 7}),
        client.get("/retrain"),
        client.get("/model-status"),
    ]

    assert [answer.status_code for answer in answers] == [507, 200, 200]
    assert not any(str(tmp_path) in answer.text for answer in answers)
    assert answers[1].json()["job"]["message"] == "Failed after 0 of 3 epochs."


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_a_decoder_that_cannot_start_is_no_mistake_of_who_sent_the_picture(
    fresh: Callable[..., TestClient], monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """It was answered with 400, which programs do not try again, and with our exit code."""
    client = fresh(Access(beyond_loopback=True))
    broken = Decoders(1)
    monkeypatch.setattr(decoding, "WorkerProcess", lambda module: WorkerProcess("no_such_module"))
    monkeypatch.setattr(micro_batch, "decoders_for", lambda content: broken)
    client.app.state.engine.reader._quick = broken  # type: ignore[attr-defined]

    answer = client.post("/predict", json={"image": base64_of(encode(kind))})

    broken.close()
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) >= 1
    assert answer.json()["error"] == "worker"
    assert "try again" in answer.json()["detail"]
    assert "exit code" not in answer.text


# --- who may change something -------------------------------------------------------------------

CHANGES: list[tuple[str, str, dict[str, Any]]] = [
    ("PUT", "/models/current", {"name": "other"}),
    ("POST", "/retrain", {"epochs": 1}),
    ("DELETE", "/retrain", {}),
    ("GET", "/feedback", {}),
    ("DELETE", "/feedback/1", {}),
]


def send(client: TestClient, change: tuple[str, str, dict[str, Any]], token: str | None) -> int:
    method, path, values = change
    headers = {} if token is None else {"authorization": f"Bearer {token}"}
    content = {"json": values} if values else {}
    return client.request(method, path, headers=headers, **content).status_code


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: " ".join(change[:2]))
@pytest.mark.parametrize(
    ("access", "token", "status"),
    [
        (Access(beyond_loopback=True), None, 403),
        (Access(beyond_loopback=True), TOKEN, 403),
        (Access(beyond_loopback=True, token=TOKEN), None, 401),
        (Access(beyond_loopback=True, token=TOKEN), "", 401),
        (Access(beyond_loopback=True, token=TOKEN), TOKEN + "x", 401),
        (Access(token=TOKEN), None, 401),
    ],
)
def test_without_the_token_nothing_can_be_changed(
    fresh: Callable[..., TestClient],
    change: tuple[str, str, dict[str, Any]],
    access: Access,
    token: str | None,
    status: int,
) -> None:
    client = fresh(access)

    assert send(client, change, token) == status
    assert client.get("/ready").json()["model"] == "mnist_cnn_best"
    assert client.get("/retrain").json()["job"] is None


@pytest.mark.parametrize("access", [Access(), Access(beyond_loopback=True, token=TOKEN)])
def test_with_the_token_or_at_the_machine_itself_everything_can_be_changed(
    fresh: Callable[..., TestClient], access: Access
) -> None:
    client = fresh(access)

    assert [send(client, change, TOKEN) for change in CHANGES] == [200, 202, 200, 200, 404]


@pytest.mark.parametrize(
    ("change", "status"), [(CHANGES[0], 401), (CHANGES[1], 401), (("POST", "/predict", {}), 408)]
)
def test_without_the_token_no_body_is_waited_for(
    fresh: Callable[..., TestClient], change: tuple[str, str, dict[str, Any]], status: int
) -> None:
    """31 MB of empty lists were once read, and made into objects, before the token was asked for.

    Of this body nothing ever comes; who waits for it gives up at once.
    """
    app = build_api(fresh(Access(token=TOKEN)).app.state.engine.service, Rules(body_timeout_s=0))  # type: ignore[attr-defined]

    sent = run_asgi(app, [], method=change[0], path=change[1], headers=[CONTENT_TYPE])

    assert sent[0]["status"] == status


@pytest.mark.parametrize("change", CHANGES[:2], ids=lambda change: " ".join(change[:2]))
def test_a_change_has_to_say_that_it_is_json(
    client: TestClient, change: tuple[str, str, dict[str, Any]]
) -> None:
    method, path, values = change

    answer = client.request(
        method, path, content=json.dumps(values), headers={"content-type": "text/plain"}
    )

    assert (answer.status_code, answer.json()["error"]) == (415, "content_type")
    assert "application/json" in answer.json()["detail"]


@pytest.mark.parametrize("scheme", ["Basic", "Token", ""])
def test_the_token_counts_only_as_a_bearer(fresh: Callable[..., TestClient], scheme: str) -> None:
    client = fresh(Access(token=TOKEN))

    answer = client.delete("/retrain", headers={"authorization": f"{scheme} {TOKEN}".strip()})

    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert TOKEN not in answer.text


def test_every_route_that_changes_something_asks_for_the_token(client: TestClient) -> None:
    """A new route must not be forgotten: what is neither reading nor open is in `CHANGES`."""
    document = client.get("/openapi.json").json()
    open_to_all = {("POST", path) for path in ("/predict", "/predict/batch", "/read", "/feedback")}

    changing = {
        (method.upper(), path)
        for path, methods in document["paths"].items()
        for method in methods
        if method != "get"
    }

    listed = {(method, re.sub(r"\d+", "{picture_id}", path)) for method, path, _ in CHANGES}
    assert changing - open_to_all == listed - {("GET", "/feedback")}


# --- operation ----------------------------------------------------------------------------------


def test_health_readiness_and_numbers_are_told(client: TestClient, seven: bytes) -> None:
    client.post("/predict", json={"image": base64_of(seven)})

    numbers = client.get("/metrics")

    assert client.get("/health").json() == {"status": "ok"}
    assert client.get("/ready").json() == {"status": "ready", "model": "mnist_cnn_best"}
    assert numbers.headers["content-type"].startswith("text/plain")
    assert 'digits_requests_total{method="POST",route="/predict",status="200"}' in numbers.text
    assert 'digits_read_total{verdict="ok"}' in numbers.text
    assert 'digits_model_info{architecture="mlp",name="mnist_cnn_best"' in numbers.text


@pytest.mark.parametrize("path", ["/health", "/ready"])
def test_who_asks_only_for_the_head_gets_what_get_would_say(client: TestClient, path: str) -> None:
    """Load balancers do, and were told that the method is wrong."""
    whole, head = client.get(path), client.head(path)

    assert head.status_code == whole.status_code == 200
    assert head.headers["content-length"] == whole.headers["content-length"]
    assert head.content == b""


def test_a_stopping_server_is_alive_but_not_ready(fresh: Callable[..., TestClient]) -> None:
    client = fresh()
    client.app.state.stopping = True  # type: ignore[attr-defined]

    assert (client.get("/ready").status_code, client.get("/health").status_code) == (503, 200)


def test_an_application_that_ends_lets_its_threads_go(folder: Path, tmp_path: Path) -> None:
    app = build_api(make_service(folder, tmp_path))
    threads = app.state.engine.reader._threads

    with TestClient(app):
        assert all(thread.is_alive() for thread in threads)

    assert not any(thread.is_alive() for thread in threads)


def test_a_server_that_starts_follows_what_an_earlier_one_has_begun(
    folder: Path, tmp_path: Path
) -> None:
    """It read with the old model after a promotion, until somebody looked at the training."""
    service = make_service(folder, tmp_path)
    app = build_api(service)
    before = service.jobs.follows  # type: ignore[attr-defined]

    with TestClient(app):
        during = service.jobs.follows  # type: ignore[attr-defined]

    assert (before, during) == (False, True)


def test_an_application_may_live_again_and_says_between_its_lives_that_it_stopped(
    folder: Path, tmp_path: Path, seven: bytes
) -> None:
    """It was closed for good, and said that 0 pictures were more than could be read."""
    client = TestClient(build_api(make_service(folder, tmp_path)), base_url=HERE)
    image = {"image": base64_of(seven)}

    def ask() -> list[Any]:
        return [client.post(path, json=image) for path in ("/predict", "/read")]

    with client:
        first = ask()
    between = ask()
    with client:
        second = ask()

    codes = [[answer.status_code for answer in life] for life in (first, between, second)]
    assert codes == [[200, 200], [503, 503], [200, 200]]
    assert all("the server is stopping" in answer.json()["detail"] for answer in between)


def test_the_documentation_needs_no_other_host(client: TestClient) -> None:
    page = client.get("/docs")

    addresses = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(addresses) >= 3
    assert all(address.startswith("/") for address in addresses)
    assert [client.get(address).status_code for address in addresses] == [200] * len(addresses)


def test_every_route_is_documented_with_a_summary_and_its_problems(client: TestClient) -> None:
    document = client.get("/openapi.json").json()

    operations = [op for methods in document["paths"].values() for op in methods.values()]
    assert len(operations) == 15
    assert all(op["summary"] and op["description"] and op["tags"] for op in operations)
    body = document["paths"]["/predict"]["post"]["requestBody"]["content"]
    assert {"application/json", "multipart/form-data", "image/png"} <= set(body)
    problem = {"$ref": "#/components/schemas/Problem"}
    for op in operations:
        assert {"400", "403", "413", "429", "500", "503"} <= set(op["responses"])
        for status, response in op["responses"].items():
            if status >= "400":
                assert response["content"]["application/json"]["schema"] == problem
    text = json.dumps(document)
    references = set(re.findall(r"#/components/schemas/(\w+)", text))
    assert references <= set(document["components"]["schemas"])


def test_other_sites_may_use_the_api_only_if_listed(folder: Path, tmp_path: Path) -> None:
    rules = Rules.for_host("127.0.0.1", origins=["https://school.example"])
    app = build_api(make_service(folder, tmp_path), rules)
    client = TestClient(app, base_url=HERE)
    ask = {"access-control-request-method": "POST"}

    good = client.options("/predict", headers={"origin": "https://school.example", **ask})
    bad = client.options("/predict", headers={"origin": "https://evil.example", **ask})

    assert good.headers["access-control-allow-origin"] == "https://school.example"
    assert "access-control-allow-origin" not in bad.headers


HOSTILE_HEADERS: list[tuple[str, bytes, int]] = [
    # An address with one bracket: the guard failed, and the server answered in plain text.
    *(("origin", value, 403) for value in (b"http://[", b"http://]", b"http://[::1", b"[")),
    *(
        ("origin", value, 403)
        for value in (b"http://[x]", b"http://a\xe2\x84\x80b", b"http://\xbd")
    ),
    *(("origin", value, 403) for value in (b"null", b"://", b"\xff\xfe", b"%", b"http:" * 5000)),
    *(("host", value, 403) for value in (b"[", b"]", b"", b":", b"a]:[", b"\xff", b"x" * 9999)),
    *(("host", value, 403) for value in (b"127.0.0.1/..", b"127.0.0.1@evil.example", b"%00")),
    *(("sec-fetch-site", value, 403) for value in (b"\xff", b"[", b"cross-site")),
    *(
        ("content-length", value, 400)
        for value in (b"-1", b"+1", b"1e3", b"\xb2", b"", b"9" * 5000)
    ),
    ("content-length", b"9" * 18, 413),
    *(("content-type", value, 415) for value in (b"", b"[", b"\xff", b";", b"x" * 9999)),
    *(
        ("content-type", value, 400)
        for value in (b"multipart/form-data; boundary=\xff", b"a/b+json")
    ),
    *(("referer", value, 200) for value in (b"http://[", b"\xff", b"")),
    *(("x-forwarded-for", value, 200) for value in (b"[", b"\xff", b"1" * 9999)),
    *(("authorization", value, 200) for value in (b"Bearer", b"Basic \xff", b"\xff", b"Bearer [")),
    *(("accept-encoding", value, 200) for value in (b"\xff", b"[")),
    *(("cookie", value, 200) for value in (b"\xff", b"=;=;", b"a=[")),
    *(("range", value, 200) for value in (b"bytes=[", b"\xff")),
    *(("expect", value, 200) for value in (b"\xff", b"100-continue")),
]


@pytest.mark.parametrize(("name", "value", "status"), HOSTILE_HEADERS)
def test_whatever_a_header_says_the_answer_has_our_form(
    client: TestClient,
    seven: bytes,
    caplog: pytest.LogCaptureFixture,
    name: str,
    value: bytes,
    status: int,
) -> None:
    headers = {"content-type": b"image/png", name: value}

    answer = client.post("/predict", content=seven, headers=list(headers.items()))

    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/json"
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    assert set(answer.json()) == {"error", "detail"} or answer.json()["digit"] == 7
    assert "Traceback" not in caplog.text


def test_requests_are_logged_as_json_without_what_was_sent(
    folder: Path, tmp_path: Path, seven: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    app = build_api(make_service(folder, tmp_path), log_requests=True)
    secret = base64_of(seven)
    caplog.set_level("INFO", logger="access")

    client = TestClient(app, base_url=HERE)
    client.post(
        f"/predict?secret={TOKEN}",
        json={"image": secret},
        headers={"authorization": f"Bearer {TOKEN}"},
    )
    client.post("/predict", json={"image": secret})
    client.get('/no"thing%0A{"status": 200}')

    lines = [record.message for record in caplog.records if record.name == "access"]
    rows = [json.loads(line) for line in lines]
    found = [(row["method"], row["status"]) for row in rows]
    assert found == [("POST", 422), ("POST", 200), ("GET", 404)]
    assert rows[0]["path"] == "/predict"
    assert all("\n" not in line for line in lines)
    assert TOKEN not in caplog.text
    assert secret[:40] not in caplog.text
