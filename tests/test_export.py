"""The ONNX file: the same probabilities as PyTorch's, for any number of pictures."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

import export
from errors import CheckpointError, SettingsError
from model import build_model, list_models
from predict import MNISTPredictor
from registry import Checkpoint, load_checkpoint, save_checkpoint
from utils import PROJECT


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory, models_folder: Path) -> Checkpoint:
    """Return the tiny network with a temperature and thresholds that no other one has."""
    tiny = load_checkpoint("best", models_folder)
    path = tmp_path_factory.mktemp("own") / "own.pth"
    refusal = {"unsure_above": 0.31, "not_a_digit_above": 0.64}
    save_checkpoint(path, tiny.model, temperature=1.7, refusal=refusal)
    return load_checkpoint(path)


@pytest.fixture(scope="module")
def exported(checkpoint: Checkpoint) -> Path:
    """Return what the command line makes of it."""
    assert export.main(["--model", str(checkpoint.path)]) == 0
    return checkpoint.path.with_suffix(".onnx")


@pytest.mark.parametrize("architecture", list_models())
def test_every_network_gives_the_same_probabilities_as_in_pytorch(
    tmp_path: Path, architecture: str
) -> None:
    network = build_model(architecture).eval()
    path = tmp_path / "network.pth"
    save_checkpoint(path, network, temperature=0.5)

    result = export.export(load_checkpoint(path), tmp_path / "network.onnx")

    pixels = torch.rand(5, 1, 28, 28)
    found = export.open_session(result.path).run(["probabilities"], {"pixels": pixels.numpy()})
    with torch.inference_mode():
        wanted = torch.softmax(network(pixels) / 0.5, dim=1).numpy()
    np.testing.assert_allclose(found[0], wanted, atol=1e-4)
    assert result.difference <= 1e-4
    assert result.size == result.path.stat().st_size


def test_the_file_gives_what_the_predictor_gives(
    exported: Path, checkpoint: Checkpoint, digit_png: Callable[..., Path]
) -> None:
    predictor = MNISTPredictor(checkpoint.path, device="cpu")
    predictions = [predictor.predict(digit_png(digit)) for digit in range(10)]
    pixels = np.stack([each.image for each in predictions])[:, None]

    found = export.open_session(exported).run(None, {"pixels": pixels})[0]

    wanted = np.stack([each.probabilities for each in predictions])
    np.testing.assert_allclose(found, wanted, atol=1e-4)


@pytest.mark.parametrize("count", [1, 2, 3, 100])
def test_any_number_of_pictures_is_read_at_once(exported: Path, count: int) -> None:
    session = export.open_session(exported)

    found = session.run(None, {"pixels": np.zeros((count, 1, 28, 28), "f4")})[0]

    assert found.shape == (count, 10)
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-5)


def test_version_and_thresholds_travel_with_the_file(
    exported: Path, checkpoint: Checkpoint
) -> None:
    metadata = export.read_metadata(export.open_session(exported))

    assert metadata["version"] == checkpoint.version
    assert metadata["architecture"] == "mlp"
    assert metadata["temperature"] == 1.7
    assert (metadata["unsure_above"], metadata["not_a_digit_above"]) == (0.31, 0.64)


def test_the_file_says_nothing_of_the_machine_that_wrote_it(exported: Path) -> None:
    """PyTorch notes the line and file of the program on every node."""
    text = str(onnx.load(exported))

    assert str(PROJECT) not in text
    assert ".py" not in text


def test_a_wrong_translation_is_not_written(
    tmp_path: Path, checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "own.onnx"
    path.write_bytes(b"an older file")
    doubtful = export.HonestNetwork(checkpoint.model, 2 * checkpoint.temperature).eval()
    stranger = export.to_onnx(doubtful, {})
    monkeypatch.setattr(export, "to_onnx", lambda network, metadata: stranger)

    with pytest.raises(CheckpointError, match=r"own\.pth.* differ .*nothing was written"):
        export.export(checkpoint, path)

    assert path.read_bytes() == b"an older file"


def test_answers_that_are_no_numbers_are_not_taken_for_equal(checkpoint: Checkpoint) -> None:
    broken = export.HonestNetwork(checkpoint.model, float("nan")).eval()

    difference = export.compare(checkpoint.model, export.to_onnx(broken, {}))

    assert not difference <= export.TOLERANCE


@pytest.mark.parametrize("library", ["onnx", "onnxscript", "onnxruntime"])
def test_a_missing_library_is_an_error_that_says_what_to_install(
    tmp_path: Path, checkpoint: Checkpoint, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)

    with pytest.raises(SettingsError, match=r"requirements-export\.txt"):
        export.export(checkpoint, tmp_path / "own.onnx")


def test_the_command_line_writes_where_it_is_told_and_says_what_came_out(
    tmp_path: Path, checkpoint: Checkpoint, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "new folder" / "x.onnx"

    code = export.main(["--model", str(checkpoint.path), "-o", str(path)])

    assert code == 0
    shown = f"is in {path}: {path.stat().st_size / 1e6:.2f} MB; its probabilities are PyTorch's"
    assert shown in capsys.readouterr().out


def test_an_unknown_model_is_one_line_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    code = export.main(["--model", "nonsense"])

    assert code == 1
    assert capsys.readouterr().err.startswith("error: no model 'nonsense'")


def test_the_speed_of_both_is_measured_with_its_conditions(
    tmp_path: Path, exported: Path, checkpoint: Checkpoint
) -> None:
    threads = torch.get_num_threads()

    tables = export.measure_speed(checkpoint, exported, rounds=2)

    for table in tables:
        assert set(table.rows) == {"PyTorch", "ONNX Runtime"}
        assert all(row["ms a picture"] > 0 for row in table.rows.values())
        assert table.conditions["model"] == checkpoint.version
        assert json.loads(table.save(tmp_path).read_text())["samples"]
    assert torch.get_num_threads() == threads
