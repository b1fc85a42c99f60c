"""Corrections are learned, and nothing else is forgotten."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

import train
from corrections import MOST_REPEATS, SHARE, load_corrections, repeat
from dataset import Digits, load_mnist
from errors import SettingsError
from feedback import FeedbackStore
from hands import NOT_A_DIGIT
from model import DigitNetwork, compute_logits
from registry import load_checkpoint, save_checkpoint
from runs import measure


@pytest.fixture
def store(tmp_path: Path) -> FeedbackStore:
    return FeedbackStore(tmp_path / "feedback.sqlite")


@pytest.fixture
def correct(store: FeedbackStore) -> Callable[[np.ndarray, int | None], None]:
    """Return a function that stores a picture, 28x28 from 0.0 to 1.0, and what it shows."""

    def correct(image: np.ndarray, digit: int | None) -> None:
        png = cv2.imencode(".png", cv2.resize(np.rint(255 - image * 255), (112, 112)))[1].tobytes()
        answer = SimpleNamespace(digit=0, confidence=0.6, verdict="ok", image=image)
        store.add(png, answer, digit, model="best", model_version="abc")

    return correct


def digits_of(count: int) -> Digits:
    return Digits(torch.zeros(count, 28, 28, dtype=torch.uint8), torch.arange(count) % 10)


def share_of_threes(model: DigitNetwork, images: torch.Tensor) -> float:
    return float((compute_logits(model, images).argmax(dim=1) == 3).float().mean())


def confidence(model: DigitNetwork, image: np.ndarray) -> float:
    return float(compute_logits(model, torch.from_numpy(image)[None, None]).softmax(dim=1).max())


def test_the_newest_word_about_each_picture_counts(store, correct, handwriting):
    three, scribble = handwriting.images[3], handwriting.images[4]
    correct(three, 8)
    correct(three, 3)
    correct(scribble, None)

    found = load_corrections(store.path)

    assert found.labels.tolist() == [3, NOT_A_DIGIT]
    assert found.images.dtype == torch.uint8
    assert np.array_equal(found.images[0].numpy(), np.rint(three * 255))


def test_where_there_are_none_it_is_said_what_to_do(tmp_path):
    with pytest.raises(SettingsError, match="correct some answers"):
        load_corrections(tmp_path / "empty.sqlite")


@pytest.mark.parametrize(
    ("count", "among", "times"),
    [
        (1, 55_000, MOST_REPEATS),  # one picture must not be learned by heart
        (100, 55_000, MOST_REPEATS),
        (1_000, 54_000, 6),
        (6_000, 54_000, 1),
        (50_000, 54_000, 1),  # nothing is thrown away
        (3, 10, 1),
    ],
)
def test_corrections_make_a_tenth_of_an_epoch_and_none_is_shown_too_often(count, among, times):
    mixed = repeat(digits_of(count), among=among)

    assert len(mixed) == count * times
    assert torch.equal(mixed.labels.bincount(), digits_of(count).labels.bincount() * times)
    if 1 < times < MOST_REPEATS:
        assert len(mixed) / (len(mixed) + among) == pytest.approx(SHARE, rel=0.05)


def test_a_corrected_hand_is_learned_and_the_others_are_not_forgotten(
    tmp_path, mnist_folder, tiny_model, handwriting, store, correct, monkeypatch
):
    """Somebody writes the 3 in mirror image, which the network has never seen."""
    monkeypatch.setattr("train._report", lambda *args, **options: None)  # pictures take seconds
    save_checkpoint(tmp_path / "models" / "mnist_cnn_best.pth", tiny_model)
    mirrored = [image[:, ::-1] for image in handwriting.images[handwriting.labels == 3]]
    for image in mirrored[:6]:
        correct(np.ascontiguousarray(image), 3)
    net = np.zeros((28, 28), np.float32)  # crossing lines: not a digit
    net[6:22:5, 4:24] = net[4:24, 6:22:5] = 1
    correct(net, None)

    code = train.main(
        [
            *("--recipe", "refine", "--model", "mlp", "--epochs", "4", "--lr", "0.001"),
            *("--hands", "0", "--non-digits", "0", "--precision", "fp32", "--threads", "1"),
            *("--corrections", str(store.path), "--run", "one", "--no-test", "--no-cuda"),
            *("--data-dir", str(mnist_folder), "--output", str(tmp_path / "outputs")),
            *("--models-dir", str(tmp_path / "models"), "--name", "new"),
        ]
    )

    new = load_checkpoint("new_best", tmp_path / "models").model
    fresh = torch.from_numpy(np.stack(mirrored[6:60])).unsqueeze(1)  # the same hand, never shown
    before, after = (share_of_threes(model, fresh) for model in (tiny_model, new))
    corrected = load_corrections(store.path).take(slice(6))
    others = load_mnist("test", mnist_folder)
    assert code == 0
    assert measure(tiny_model, corrected).accuracy < 0.5
    assert measure(new, corrected).accuracy == 1
    assert after > before + 0.5
    assert confidence(new, net) < 0.5 < confidence(tiny_model, net)
    assert measure(new, others).accuracy > measure(tiny_model, others).accuracy - 0.02
