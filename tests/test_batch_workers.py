from __future__ import annotations

import io
import os
import signal
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import batch_workers
import worker_process
from batch_input import Input
from batch_workers import Answer, WorkerPool, in_chunks, read_input


def file_input(path: Path, **more) -> Input:
    return Input(str(path), str(path), size=path.stat().st_size, **more)


def encoded(form: str) -> bytes:
    """Return a black bar on white, which any network may take for a one."""
    values = np.full((40, 40), 255, np.uint8)
    values[8:32, 18:23] = 0
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, form)
    return buffer.getvalue()


@pytest.fixture
def good(tmp_path: Path) -> Path:
    path = tmp_path / "good.png"
    path.write_bytes(encoded("PNG"))
    return path


def test_a_picture_is_prepared_and_measured(good, monkeypatch):
    clock = iter([5.0, 5.25])
    monkeypatch.setattr(batch_workers.time, "perf_counter", lambda: next(clock))

    answer = read_input(file_input(good))

    assert answer.prepared is not None
    assert answer.prepared.digit.shape == (28, 28)
    assert (answer.status, answer.width, answer.height) == ("", 40, 40)
    assert (answer.sha256, answer.seconds) == ("", 0.25)


BAD = [
    # name, content, status, what the reason says
    ("empty.png", b"", "error", "empty"),
    ("text.png", b"not a picture", "error", "PNG or JPEG"),
    ("torn.png", encoded("PNG")[:60], "error", "damaged"),
    ("torn.jpg", encoded("JPEG")[:200], "error", "damaged"),
    ("phone.heic", b"\0\0\0\x18ftypheic" + bytes(40), "error", "PNG or JPEG"),
    ("torn.txt", encoded("PNG")[:60], "error", "damaged"),
    ("game.txt", b"FTEX" + bytes(36) + b"\x14" + bytes(5), "error", "not a picture"),
    ("notes.txt", b"buy milk", "skipped", "not a picture"),
    ("empty.log", b"", "skipped", "empty"),
    ("._good.png", bytes(100), "skipped", "not a picture"),
]


@pytest.mark.parametrize(("name", "content", "status", "hint"), BAD)
def test_bad_files_get_a_reason_and_other_files_are_left_out(tmp_path, name, content, status, hint):
    path = tmp_path / name
    path.write_bytes(content)

    answer = read_input(file_input(path))

    assert (answer.prepared, answer.status) == (None, status)
    assert hint in answer.reason
    assert name not in answer.reason  # the row has it already


def test_the_reason_is_the_same_for_a_file_and_for_what_is_in_memory(tmp_path):
    path = tmp_path / "text.png"
    path.write_bytes(b"not a picture")

    reasons = [read_input(each).reason for each in (file_input(path), Input("a", data=b"Dear Sir"))]

    assert reasons == ["not a picture in a known format; save it as PNG or JPEG"] * 2


def test_content_decides_and_not_the_name(tmp_path):
    path = tmp_path / "picture.txt"
    path.write_bytes(encoded("JPEG"))

    assert read_input(file_input(path)).prepared is not None


def test_a_text_that_somebody_listed_is_an_error(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_bytes(b"buy milk")

    assert read_input(file_input(path, is_listed=True)).status == "error"


def test_a_blank_picture_is_not_a_digit_and_keeps_its_size(tmp_path):
    path = tmp_path / "blank.png"
    Image.new("L", (30, 20), 255).save(path)

    answer = read_input(file_input(path))

    assert (answer.status, answer.width, answer.height) == ("not a digit", 30, 20)
    assert "blank" in answer.reason


@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF"])
@pytest.mark.parametrize(("orientation", "size"), [(6, (20, 30)), (9, (30, 20))])
def test_a_blank_picture_keeps_its_size_upright(form, orientation, size, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "blank"
    Image.new("L", (30, 20), 255).save(path, form, exif=exif)

    answer = read_input(file_input(path))

    assert (answer.width, answer.height) == size


def test_a_blank_photograph_with_text_as_orientation_keeps_its_size(tmp_path):
    entry = struct.pack("<HHHI4sI", 1, 0x0112, 2, 2, b"6", 0)
    path = tmp_path / "blank.jpg"
    Image.new("L", (30, 20), 255).save(path, exif=b"Exif\0\0II*\0\x08\0\0\0" + entry)

    answer = read_input(file_input(path))

    assert (answer.status, answer.width, answer.height) == ("not a digit", 30, 20)


def test_mnist_pixels_are_taken_as_they_are():
    pixels = bytes(i % 256 for i in range(784))

    answer = read_input(Input("test.csv#1", data=pixels, is_raw=True))

    assert answer.prepared is not None
    assert np.array_equal(np.rint(answer.prepared.digit * 255).astype(np.uint8).tobytes(), pixels)


def test_the_checksum_is_that_of_the_file(good):
    import hashlib

    answer = read_input(file_input(good), with_hash=True)

    assert answer.sha256 == hashlib.sha256(good.read_bytes()).hexdigest()
    assert read_input(Input("a", data=good.read_bytes()), with_hash=True).sha256 == answer.sha256


def test_a_picture_at_an_address_is_fetched_or_has_a_reason(good):
    pytest.importorskip("pyarrow")

    there = read_input(Input("a", good.as_uri()), with_hash=True)
    gone = read_input(Input("b", good.as_uri() + ".gone"))

    assert there.width == 40
    assert there.sha256 == read_input(file_input(good), with_hash=True).sha256
    assert gone.status == "error"
    assert "cannot be fetched" in gone.reason


def test_an_error_that_nobody_foresaw_costs_one_row(good, monkeypatch):
    def fail(source):
        raise RuntimeError("the codec is confused")

    monkeypatch.setattr(batch_workers, "prepare", fail)

    answer = read_input(file_input(good))

    assert answer.status == "error"
    assert "RuntimeError: the codec is confused" in answer.reason


@pytest.mark.parametrize("workers", [0, 2])
def test_answers_come_in_the_order_of_the_inputs(tmp_path, workers):
    inputs = []
    for number in range(70):
        path = tmp_path / f"{number:03}.png"
        Image.new("L", (10 + number, 10), 255).save(path)
        inputs.append(file_input(path))

    with WorkerPool(workers) as pool:
        answers = list(pool.answer((item, None) for item in inputs))

    assert [item.path for item, _ in answers] == [item.path for item in inputs]
    assert [answer.width for _, answer in answers] == list(range(10, 80))


def test_known_answers_pass_through_in_their_places(good):
    with WorkerPool(1) as pool:
        answers = list(pool.answer([(file_input(good), "known"), (file_input(good), None)] * 2))

    assert [type(answer) for _, answer in answers] == [str, Answer, str, Answer]


def test_a_picture_that_kills_its_worker_is_an_error_and_its_neighbours_are_read(
    good, tmp_path, monkeypatch
):
    deadly = tmp_path / "deadly.png"
    deadly.write_bytes(good.read_bytes())
    # A worker that ends as if a decoder had crashed, at one file.
    code = worker_process._START.replace(
        "importlib.import_module",
        "import batch_workers, os; read = batch_workers.prepare\n"
        "def prepare(source):\n"
        "    if str(source).endswith('deadly.png'): os.kill(os.getpid(), 9)\n"
        "    return read(source)\n"
        "batch_workers.prepare = prepare\n"
        "importlib.import_module",
    )
    monkeypatch.setattr(worker_process, "_START", code)

    with WorkerPool(1) as pool:
        answers = list(pool.answer((file_input(path), None) for path in (good, deadly, good)))

    assert [answer.status for _, answer in answers] == ["", "error", ""]
    assert "crashed" in answers[1][1].reason


@pytest.mark.skipif(not hasattr(signal, "ITIMER_PROF"), reason="needs a clock of processor time")
def test_a_picture_that_takes_for_ever_is_an_error_and_its_neighbours_are_read(
    good, endless_gif, tmp_path, monkeypatch
):
    endless = tmp_path / "endless.gif"
    endless.write_bytes(endless_gif)
    brief = "import batch_workers; batch_workers.serve.__kwdefaults__['limit_s'] = 0.5; "
    code = worker_process._START.replace("importlib.import", brief + "importlib.import")
    monkeypatch.setattr(worker_process, "_START", code)

    with WorkerPool(1) as pool:
        answers = list(pool.answer((file_input(path), None) for path in (good, endless, good)))

    assert [answer.status for _, answer in answers] == ["", "error", ""]
    assert "takes too long" in answers[1][1].reason


def test_workers_end_with_their_pool_and_ignore_ctrl_c(good):
    with WorkerPool(2) as pool:
        list(pool.answer([(file_input(good), None)]))
        processes = [worker._process for worker in pool.workers]
        os.kill(processes[0].pid, signal.SIGINT)
        (answer,) = (answer for _, answer in pool.answer([(file_input(good), None)]))

    assert answer.status == ""
    assert [process.poll() for process in processes] == [0, 0]


def test_workers_end_where_one_of_them_cannot_be_started(monkeypatch):
    started: list[worker_process.WorkerProcess] = []

    def start(*words):
        if len(started) == 2:
            raise OSError("no more processes")
        started.append(worker_process.WorkerProcess(*words))
        return started[-1]

    monkeypatch.setattr(batch_workers, "WorkerProcess", start)

    with pytest.raises(OSError, match="no more processes"):
        WorkerPool(3)

    assert [worker._process.poll() is None for worker in started] == [False, False]


def test_large_files_travel_alone_and_small_ones_together():
    small, large = Input("s", "s", size=300), Input("l", "l", size=5_000_000)

    chunks = list(in_chunks((item, None) for item in [small] * 40 + [large] * 2))

    assert [len(chunk) for chunk in chunks] == [32, 9, 1]
