"""Three networks become one whose answer is their mean."""

from __future__ import annotations

import pytest
import torch

from ensemble import combine, main
from model import Ensemble, build_for_inference, build_model
from registry import load_checkpoint, save_checkpoint
from utils import set_seed


@pytest.fixture
def members(tmp_path):
    for seed in range(3):
        set_seed(seed)
        save_checkpoint(
            tmp_path / f"seed{seed}.pth",
            build_model("mnistnet").eval(),
            metrics={"validation_accuracy": 0.5},
        )
    save_checkpoint(tmp_path / "mlp.pth", build_model("mlp").eval())
    return tmp_path


def test_the_answer_is_the_mean_of_three_networks(members):
    checkpoints = [load_checkpoint(f"seed{seed}", members) for seed in range(3)]
    pixels = torch.rand(4, 1, 28, 28)

    with torch.no_grad():
        answer = combine(checkpoints)(pixels).softmax(dim=1)

    with torch.no_grad():
        parts = [checkpoint.model(pixels).softmax(dim=1) for checkpoint in checkpoints]
    torch.testing.assert_close(answer, torch.stack(parts).mean(dim=0))


def test_an_ensemble_is_saved_loaded_and_folded_like_any_network(members, mnist_folder, capsys):
    names = ["seed0", "seed1", "seed2"]
    places = ["--models-dir", str(members), "--data-dir", str(mnist_folder)]

    assert main([*names, *places]) == 0

    assert "1,267,422 parameters" in capsys.readouterr().out
    checkpoint = load_checkpoint("ensemble", members)
    assert isinstance(checkpoint.model, Ensemble)
    assert 0 <= checkpoint.metrics["validation_accuracy"] <= 1
    pixels = torch.rand(3, 1, 28, 28)
    with torch.no_grad():
        quick = build_for_inference(checkpoint.model)(pixels)
        torch.testing.assert_close(quick, checkpoint.model(pixels), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("names", "exit_code", "hint"),
    [
        (["seed0", "seed1"], 2, "made of 3 checkpoints, not of 2"),
        (["seed0", "seed1", "seed1"], 2, "given twice"),
        (["seed0", "seed1", "mlp"], 2, "is a mlp"),
        (["seed0", "seed1", "nobody"], 1, "nobody"),
    ],
)
def test_what_makes_no_ensemble_is_refused_with_advice(members, names, exit_code, hint, capsys):
    code = main([*names, "--models-dir", str(members)])

    assert code == exit_code
    assert hint in capsys.readouterr().err
    assert not (members / "ensemble.pth").exists()
