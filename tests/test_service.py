"""What page and API share: the model is swapped whole, and stays when the new one is no good."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from access import Access
from errors import (
    THE_PICTURE,
    BlankImageError,
    CheckpointError,
    DataFormatError,
    DigitError,
    ImageError,
    ModelNotFoundError,
    OutputError,
    WorkerError,
)
from feedback import FeedbackStore
from job_records import Job
from job_settings import JobSettings
from model import build_model
from registry import save_checkpoint
from service import Service


@pytest.fixture
def folder(tmp_path: Path, models_folder: Path) -> Path:
    """Return a models folder with a good model, an untrained one, and a damaged one."""
    folder = shutil.copytree(models_folder, tmp_path / "models")
    save_checkpoint(folder / "other.pth", build_model("cnn1"))
    (folder / "damaged.pth").write_bytes(b"PK\3\4 not a checkpoint")
    return folder


@pytest.fixture
def service(folder: Path) -> Service:
    return Service(models_folder=folder, device="cpu")


def test_a_chosen_model_reads_from_then_on(service: Service, digit_png: Callable[..., Path]):
    picture = digit_png(7).read_bytes()
    before = service.predictor.predict(picture)

    checkpoint = service.use_model("other")

    assert (checkpoint.name, checkpoint.architecture) == ("other", "cnn1")
    assert service.predictor.checkpoint is checkpoint
    assert before.digit == 7
    assert service.predictor.predict(picture).confidence != before.confidence


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("nothing", ModelNotFoundError),
        ("", ModelNotFoundError),
        ("../models/other", ModelNotFoundError),
        ("../../etc/passwd", ModelNotFoundError),
        ("other\0", ModelNotFoundError),
        ("x" * 100_000, ModelNotFoundError),
        ("damaged", CheckpointError),
    ],
)
def test_the_old_model_stays_when_the_new_one_cannot_be_used(
    service: Service, name: str, error: type[Exception]
):
    old = service.predictor

    with pytest.raises(error):
        service.use_model(name)

    assert service.predictor is old


def test_a_path_is_for_whoever_starts_the_server_not_for_strangers(folder: Path):
    path = str(folder / "other.pth")

    service = Service(model=path, device="cpu")

    assert service.predictor.checkpoint.name == "other"
    with pytest.raises(ModelNotFoundError):
        service.use_model(path)


def test_those_who_read_while_models_change_get_whole_answers(
    service: Service, digit_png: Callable[..., Path]
):
    picture = digit_png(7).read_bytes()
    confidences = set()
    for name in ("best", "other"):
        service.use_model(name)
        confidences.add(service.predictor.predict(picture).confidence)
    seen: list[float] = []
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            seen.append(service.predictor.predict(picture).confidence)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for number in range(10):
        service.use_model(("best", "other")[number % 2])
    stop.set()
    for reader in readers:
        reader.join()

    assert seen
    assert set(seen) <= confidences


def test_a_service_is_open_to_this_machine_only_unless_told_otherwise(folder: Path):
    access = Access(beyond_loopback=True)

    assert Service(models_folder=folder, device="cpu").access.changes_are == "open"
    assert Service(models_folder=folder, device="cpu", access=access).access is access


@pytest.mark.parametrize(
    ("promoted", "in_use", "changes"),
    [(True, "best", True), (False, "best", False), (True, "other", False)],
)
def test_a_new_best_model_reads_from_then_on_where_the_former_one_did(
    service: Service, folder: Path, promoted: bool, in_use: str, changes: bool
):
    service.use_model(in_use)
    before = service.predictor
    shutil.copyfile(folder / "other.pth", folder / "mnist_cnn_best.pth")
    outcome = {"promotion": {"promoted": promoted}}

    service.follow_promotion(Job("run", JobSettings(), "finished", "", "", "mine", outcome=outcome))

    assert (service.predictor is not before) == changes
    if changes:
        assert service.predictor.checkpoint.architecture == "cnn1"


def test_trainings_learn_from_the_store_that_the_service_was_given(folder: Path, tmp_path: Path):
    """An empty one was taken for none, and the corrections of the project were learned instead."""
    store = FeedbackStore(tmp_path / "own.sqlite")

    service = Service(models_folder=folder, device="cpu", feedback=store)

    assert service.jobs.corrections == store.path
    assert not store.path.exists()  # it is opened when somebody needs it


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (CheckpointError, "choose another"),
        (DigitError, "its log says"),
        (OutputError, "disk"),
        (DataFormatError, "disk"),
        (WorkerError, "processes"),
    ],
)
def test_other_machines_are_told_nothing_of_the_files_here(
    service: Service, caplog: pytest.LogCaptureFixture, kind: type[Exception], words: str
):
    error = kind("cannot keep corrections in /home/somebody/feedback.sqlite: it is full")

    at_home = service.tell(error)
    service.access = Access(beyond_loopback=True, token="a token of some length")
    elsewhere = service.tell(error, token="another token")
    to_administrator = service.tell(error, token="a token of some length")

    assert at_home == to_administrator == str(error)
    assert words in elsewhere
    assert "/home" not in elsewhere
    assert str(error) in caplog.text


def test_what_is_wrong_with_a_picture_is_told_to_everybody_with_its_name(service: Service):
    service.access = Access(beyond_loopback=True)
    nameless = ImageError("not a picture; save it as PNG or JPEG", THE_PICTURE)
    named = ImageError("not a picture; save it as PNG or JPEG", "folder/7.png")

    assert service.tell(nameless) == "the picture: not a picture; save it as PNG or JPEG"
    assert service.tell(nameless, subject="7.png") == "7.png: not a picture; save it as PNG or JPEG"
    assert service.tell(named, subject="7.png") == str(named)
    assert service.tell(BlankImageError(), subject="7.png") == str(BlankImageError())
