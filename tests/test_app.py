from __future__ import annotations

import base64
import gzip
import io
import re
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

import app
import widgets

if TYPE_CHECKING:
    from predict import MNISTPredictor


def data_url(content: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def drawing(content: bytes) -> dict[str, Any]:
    return {"kind": "drawing", "name": "drawing.png", "size": 1, "data": data_url(content)}


def upload(content: bytes, name: str = "scan.png") -> dict[str, Any]:
    return {"kind": "picture", "name": name, "size": len(content), "data": data_url(content)}


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def text_of(html: str) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", html).split())


WHITE = png(np.full((280, 280), 255, np.uint8))


# ---- What the pad sends -------------------------------------------------------------------------


def test_a_drawing_is_answered_as_the_predictor_reads_it(
    tiny_predictor: MNISTPredictor, digit_png: Callable[..., Path]
):
    content = digit_png(7).read_bytes()
    expected = tiny_predictor.predict(content)

    answer, steps = app.read_pad(tiny_predictor, drawing(content), False)

    assert expected.digit == 7
    assert answer == widgets.render_answer(expected)
    assert steps == ""


@pytest.mark.parametrize("value", [None, "", {}, drawing(WHITE)])
def test_an_empty_pad_asks_for_a_digit_and_is_no_error(tiny_predictor: MNISTPredictor, value: Any):
    answer, steps = app.read_pad(tiny_predictor, value, True)

    assert "Draw a digit" in answer
    assert "answer-blank" in answer
    assert "<img" not in steps


def test_an_uploaded_picture_without_ink_is_told_apart_from_an_empty_pad(
    tiny_predictor: MNISTPredictor,
):
    answer = app.answer_pad(tiny_predictor, upload(WHITE, "empty page.png"))

    assert "There is no ink in this picture" in answer
    assert "empty page.png" in answer


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        (7, "reload the page"),
        ("data:image/png;base64,AAAA", "reload the page"),
        ([1, 2], "reload the page"),
        ({"name": "a.png"}, "try again"),
        ({"name": "a.png", "data": 5}, "try again"),
        ({"name": "a.png", "data": "/etc/passwd"}, "try again"),
        ({"name": "a.png", "data": "http://example.org/a.png"}, "try again"),
        ({"name": "a.png", "data": "file:///a;base64,AAAA"}, "try again"),
        ({"name": "a.png", "data": "data:image/png,AAAA"}, "try again"),
        ({"name": "a.png", "data": "data:image/png;base64,A*A="}, "damaged"),
        ({"name": "a.png", "data": "data:image/png;base64,AAAAA"}, "damaged"),
        ({"name": "a.png", "data": "data:image/png;base64,ÄÖ=="}, "damaged"),
        ({"name": "a.png", "data": "data:image/png;base64,"}, "a.png is an empty file"),
        ({"name": "a.png", "data": "data:"}, "a.png is an empty file"),  # how Chromium sends it
        ({"name": "a.png", "size": 50 * 2**20, "data": ""}, "a.png has 50 MB and at most 20 MB"),
        (upload(b"a letter", "a.txt"), "a.txt: not a picture"),
        (upload(png(np.eye(64, dtype=np.uint8) * 255)[:60], "cut.png"), "cut.png: the file is dam"),
    ],
)
def test_what_is_not_a_picture_is_refused_on_the_page_with_advice(
    tiny_predictor: MNISTPredictor, value: Any, hint: str
):
    answer, steps = app.read_pad(tiny_predictor, value, True)

    assert "This picture cannot be read" in answer
    assert hint in text_of(answer)
    assert "There is nothing to show" in steps


def test_what_the_file_is_called_cannot_become_part_of_the_page(tiny_predictor: MNISTPredictor):
    name = '"><script>alert(1)</script>' + "x" * 500

    answer = app.answer_pad(tiny_predictor, upload(b"no picture", name))

    assert "<script" not in answer
    assert "&lt;script&gt;" in answer
    assert "x" * widgets.MAX_NAME not in answer


# ---- What the page shows ------------------------------------------------------------------------


def test_the_steps_are_worked_out_only_while_somebody_looks(
    monkeypatch: pytest.MonkeyPatch, tiny_predictor: MNISTPredictor, digit_png: Callable[..., Path]
):
    value = drawing(digit_png(2).read_bytes())
    calls = []
    monkeypatch.setattr(app, "show_steps", lambda value: calls.append(value) or "steps")

    closed = app.read_pad(tiny_predictor, value, False)
    opened = app.read_pad(tiny_predictor, value, True)

    assert (closed[1], opened[1]) == ("", "steps")
    assert len(calls) == 1


def test_the_steps_lead_from_the_picture_to_what_the_model_sees(digit_png: Callable[..., Path]):
    html = app.show_steps(drawing(digit_png(2).read_bytes()))

    captions = re.findall(r"<figcaption>(\d+)\. (.*?)</figcaption>", html)
    assert [number for number, _ in captions] == [str(i + 1) for i in range(len(captions))]
    assert len(captions) >= 3
    assert html.count("data:image/png;base64,") == len(captions)


# ---- Test pictures ------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def nothing_loaded():
    app.load_test_pictures.cache_clear()
    yield
    app.load_test_pictures.cache_clear()


def write_mnist(folder: Path, count: int = 3) -> None:
    """Write files in MNIST's format: black pictures with one white pixel, labelled 0, 1, 2, ..."""
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    images = np.zeros((count, 28, 28), np.uint8)
    images[:, 5, 5] = 255
    for split in ("train", "t10k"):
        head = struct.pack(">4i", 0x803, count, 28, 28)
        (raw / f"{split}-images-idx3-ubyte").write_bytes(head + images.tobytes())
        head = struct.pack(">2i", 0x801, count)
        (raw / f"{split}-labels-idx1-ubyte").write_bytes(head + bytes(range(count)))


def test_a_test_picture_is_from_mnist_where_its_files_are(tmp_path: Path):
    write_mnist(tmp_path)

    sample = app.pick_sample(np.random.default_rng(0), tmp_path)

    picture = widgets.read_picture(sample)
    assert picture is not None
    assert sample["name"] == f"MNIST test picture {picture.label} of 3"
    pixels = np.asarray(Image.open(io.BytesIO(picture.content)))
    assert pixels.shape == (28, 28)
    assert pixels[5, 5] == 255


def test_without_mnist_a_test_picture_is_drawn_and_nothing_is_downloaded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setattr("dataset.load_mnist", lambda *args: pytest.fail("tried to load"))

    samples = [app.pick_sample(np.random.default_rng(seed), tmp_path) for seed in range(8)]

    assert {sample["name"] for sample in samples} == {"Drawn by this program"}
    assert len({sample["label"] for sample in samples}) > 2
    assert len({sample["data"] for sample in samples}) == 8


def test_with_half_of_mnist_nothing_is_downloaded_either(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    write_mnist(tmp_path)
    (tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte").unlink()
    monkeypatch.setattr("dataset.load_mnist", lambda *args: pytest.fail("tried to load"))

    sample = app.pick_sample(np.random.default_rng(0), tmp_path)

    assert sample["name"] == "Drawn by this program"


def test_damaged_mnist_files_are_reported_and_a_digit_is_drawn(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    write_mnist(tmp_path)
    (tmp_path / "MNIST" / "raw" / "t10k-images-idx3-ubyte").write_bytes(gzip.compress(b"no"))

    sample = app.pick_sample(np.random.default_rng(0), tmp_path)

    assert sample["name"] == "Drawn by this program"
    assert "damaged" in caplog.text


def test_a_test_picture_comes_with_its_answer(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tiny_predictor: MNISTPredictor
):
    monkeypatch.setenv("DIGITS_DATA", str(tmp_path))

    sample, answer, steps = app.show_sample(tiny_predictor, False)

    assert f"Labelled {sample['label']}" in answer
    assert steps == ""


# ---- The page and its command line --------------------------------------------------------------


def test_the_page_offers_no_handler_of_its_own_to_other_programs(tiny_predictor: MNISTPredictor):
    page = app.build_page(tiny_predictor)

    info = page.get_api_info()
    assert info["named_endpoints"] == {}
    assert info["unnamed_endpoints"] == {}
    assert len(page.fns) >= 4


def test_the_page_reports_to_nobody_and_keeps_no_history(
    monkeypatch: pytest.MonkeyPatch, tiny_predictor: MNISTPredictor
):
    page = app.build_page(tiny_predictor)
    monkeypatch.setattr(app, "build_page", lambda predictor: page)

    server = app.build_app(tiny_predictor)

    assert page.analytics_enabled is False
    assert page.run_history is False
    paths = {getattr(route, "path", None) for route in server.routes}
    assert not paths & {"/docs", "/redoc"}  # both would load scripts from another host


def test_a_port_in_use_is_told_with_its_number_and_the_flag(capsys: pytest.CaptureFixture[str]):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]

        code = app.main(["--port", str(port)])

    message = capsys.readouterr().err
    assert code == 1
    assert f"port {port}" in message
    assert "--port" in message
    assert "Traceback" not in message


def test_an_unknown_model_is_told_before_anything_is_served(capsys: pytest.CaptureFixture[str]):
    code = app.main(["--port", "0", "--model", "no such model"])

    captured = capsys.readouterr()
    assert code == 1
    assert "no such model" in captured.err
    assert captured.out == ""


@pytest.mark.parametrize("port", ["-1", "65536", "http", "80.5", ""])
def test_a_wrong_port_is_wrong_usage(port: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as caught:
        app.main([f"--port={port}"])

    assert caught.value.code == 2
    assert "0 to 65535" in capsys.readouterr().err


def test_an_unknown_host_is_told(capsys: pytest.CaptureFixture[str]):
    code = app.main(["--host", "203.0.113.7", "--port", "0"])  # kept free for examples

    assert code == 1
    assert "203.0.113.7" in capsys.readouterr().err
