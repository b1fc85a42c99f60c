"""Networks become one whose answer is their mean."""

from __future__ import annotations

import re

import pytest
import torch

from ensemble import average, combine, main
from model import (
    MNIST_MEAN,
    MNIST_STD,
    Ensemble,
    InputScaling,
    build_for_inference,
    build_model,
)
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
    for name in ("mlp", "cnn_deep", "mlp+mlp"):
        save_checkpoint(tmp_path / f"{name}.pth", build_model(name).eval())
    return tmp_path


@pytest.mark.parametrize("names", [("seed0", "cnn_deep"), ("seed0", "seed1", "seed2")])
def test_the_answer_is_the_mean_of_those_of_the_members(members, names):
    checkpoints = [load_checkpoint(name, members) for name in names]
    pixels = torch.rand(4, 1, 28, 28)

    with torch.no_grad():
        answer = combine(checkpoints)(pixels).exp()  # they add up to 1 without a softmax

    with torch.no_grad():
        parts = [checkpoint.model(pixels).softmax(dim=1) for checkpoint in checkpoints]
    torch.testing.assert_close(answer, torch.stack(parts).mean(dim=0))


def test_an_ensemble_is_saved_loaded_and_folded_like_any_network(members, mnist_folder, capsys):
    names = ["seed0", "seed1", "seed2"]
    places = ["--models-dir", str(members), "--data-dir", str(mnist_folder)]

    assert main([*names, *places, "--test"]) == 0

    printed = capsys.readouterr().out
    assert "1,267,422 parameters" in printed
    assert re.search(r"^seed2 +50\.00%$", printed, re.MULTILINE)
    assert re.findall(r"^ensemble +\d+\.\d\d% of the (\w+) pictures$", printed, re.MULTILINE) == [
        "validation",
        "test",
    ]
    checkpoint = load_checkpoint("ensemble", members)
    versions = [load_checkpoint(name, members).version for name in names]
    assert checkpoint.settings == {"members": versions}
    assert isinstance(checkpoint.model, Ensemble)
    assert checkpoint.architecture == "mnistnet+mnistnet+mnistnet"
    assert checkpoint.metrics.keys() >= {"validation_accuracy", "test_accuracy"}
    pixels = torch.rand(3, 1, 28, 28)
    with torch.no_grad():
        quick = build_for_inference(checkpoint.model)(pixels)
        torch.testing.assert_close(quick, checkpoint.model(pixels), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("names", "exit_code", "hint"),
    [
        (["seed0"], 2, "made of 2 to 16 checkpoints, not of 1"),
        (["seed0", "seed1", "seed1"], 2, "given twice"),
        (["seed0", "seed1", "mlp"], 2, "mlp.pth scales its input by"),
        (["seed0", "mlp+mlp"], 2, "is an ensemble itself"),
        (["seed0", "seed1", "nobody"], 1, "nobody"),
    ],
)
def test_what_makes_no_ensemble_is_refused_with_advice(members, names, exit_code, hint, capsys):
    code = main([*names, "--models-dir", str(members)])

    assert code == exit_code
    assert hint in capsys.readouterr().err
    assert not (members / "ensemble.pth").exists()


@pytest.mark.parametrize(
    ("flags", "hint"),
    [
        ([], "there is a model 'ensemble' already"),
        (["--name", "seed2"], "there is a model 'seed2' already"),
        (["--name", "best"], "not a model's own name; 'best' is mnist_cnn_best"),
        (["--name", "best", "--replace"], "not a model's own name"),
        (["--name", "../seed2", "--replace"], "give a name, not a path"),
        (["--name", ""], "give a name, not a path or nothing"),
    ],
)
def test_no_model_is_replaced_by_an_ensemble_unless_that_is_said(members, flags, hint, capsys):
    save_checkpoint(members / "ensemble.pth", build_model("mlp"))
    before = {path.name: path.read_bytes() for path in members.parent.rglob("*.pth")}

    code = main(["seed0", "seed1", *flags, "--models-dir", str(members)])

    assert code == 2
    assert hint in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in members.parent.rglob("*.pth")} == before


def test_an_ensemble_replaces_a_model_if_that_is_said(members, mnist_folder):
    save_checkpoint(members / "ensemble.pth", build_model("mlp"))
    places = ["--models-dir", str(members), "--data-dir", str(mnist_folder)]

    assert main(["seed0", "seed1", *places, "--replace"]) == 0

    assert isinstance(load_checkpoint("ensemble", members).model, Ensemble)


def test_the_average_is_one_network_with_the_mean_of_the_weights(members, mnist_folder):
    places = ["--models-dir", str(members), "--data-dir", str(mnist_folder)]

    assert main(["--average", "seed0", "seed1", "--name", "mine", *places]) == 0

    mine = load_checkpoint("mine", members)
    assert mine.metrics.keys() == {"validation_accuracy", "validation_loss"}  # not the test's
    checkpoints = [load_checkpoint(name, members) for name in ("seed0", "seed1")]
    parts = [checkpoint.model.state_dict() for checkpoint in checkpoints]
    assert mine.architecture == "mnistnet"
    assert mine.settings == {"average": [checkpoint.version for checkpoint in checkpoints]}
    for name, value in mine.model.state_dict().items():
        if value.is_floating_point():
            torch.testing.assert_close(value, (parts[0][name] + parts[1][name]) / 2)


def test_how_much_the_average_softens_is_said_by_the_last(members):
    crisp = load_checkpoint("seed0", members)
    soft = build_model("mnistnet", InputScaling(MNIST_MEAN, MNIST_STD, 0.15)).eval()
    save_checkpoint(members / "soft.pth", soft)

    assert average([crisp, load_checkpoint("soft", members)]).scaling.soften == 0.15


@pytest.mark.parametrize(
    ("names", "hint"),
    [(["seed0"], "at least two"), (["seed0", "mlp"], "have no mean")],
)
def test_what_has_no_average_is_refused_with_advice(members, names, hint, capsys):
    code = main(["--average", *names, "--models-dir", str(members)])

    assert code == 2
    assert hint in capsys.readouterr().err
