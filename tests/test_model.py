"""The networks: their sizes, their shapes, and the scaling that each one does by itself."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

import model as model_module
from errors import ArchitectureError
from model import (
    CLASSES,
    FORWARD_BATCH,
    MNIST_SCALING,
    InputScaling,
    MNISTNet,
    build_for_inference,
    build_model,
    compute_logits,
    count_parameters,
    list_models,
    main,
    pool_before_relu,
    to_unit_pixels,
)
from utils import PROJECT

# Counted by hand from the layers: weights + biases, and two for each channel of a batch norm.
PARAMETERS = {
    "mnistnet": 422_474,
    "cnn1": 16 * 10 + (16 * 14 * 14 + 1) * 128 + 129 * 10,
    "cnn2": 16 * 10 + 32 * (16 * 9 + 1) + (32 * 7 * 7 + 1) * 128 + 129 * 10,
    "cnn3": 160 + 32 * 145 + 64 * (32 * 9 + 1) + (64 * 3 * 3 + 1) * 128 + 129 * 10,
    "mlp": 242_762,
    "cnn_dense": 32 * 10 + 64 * 289 + 128 * 577 + (128 * 7 * 7 + 1) * 128 + 129 * 10,
    "cnn_deep": sum(
        wide * (narrow * 9 + 1) + 2 * wide
        for narrow, wide in ((1, 32), (32, 32), (32, 64), (64, 64), (64, 128), (128, 128))
    )
    + (128 * 3 * 3 + 1) * 256
    + 257 * 10,
    "cnn_bn": 32 * 10 + 64 + 64 * 289 + 128 + (64 * 7 * 7 + 1) * 128 + 129 * 10,
}


@pytest.mark.parametrize("name", list_models())
def test_a_network_has_the_parameters_that_its_layers_add_up_to(name: str) -> None:
    assert count_parameters(build_model(name)) == PARAMETERS[name]


@pytest.mark.parametrize("name", list_models())
@pytest.mark.parametrize("batch", [1, 3])
def test_a_network_turns_pictures_into_ten_finite_logits(name: str, batch: int) -> None:
    logits = build_model(name).eval()(torch.rand(batch, 1, 28, 28))

    assert logits.shape == (batch, 10)
    assert logits.isfinite().all()


@pytest.mark.parametrize("name", list_models())
def test_every_weight_takes_part_in_the_answer(name: str) -> None:
    model = build_model(name).eval()

    model(torch.rand(4, 1, 28, 28)).square().sum().backward()

    assert all(p.grad is not None and p.grad.any() for p in model.parameters())


@pytest.mark.parametrize(
    ("name", "scaling", "span"),
    [
        ("mnistnet", InputScaling(0.1307, 0.3081), "[-0.424, 2.82]"),
        ("mlp", InputScaling(0.5, 0.5), "[-1, 1]"),
        ("cnn_dense", InputScaling(0.0, 1.0), "[0, 1]"),
    ],
)
def test_a_network_knows_its_usual_scaling(name: str, scaling: InputScaling, span: str) -> None:
    model = build_model(name)

    assert model.scaling == scaling
    assert str(model.scaling) == span


@pytest.mark.parametrize("name", list_models())
def test_a_network_scales_its_input_by_itself(name: str) -> None:
    """With another scaling, the same weights see the same numbers if the pixels make up for it."""
    model = build_model(name).eval()
    shifted = build_model(name, InputScaling(0.25, 0.5)).eval()
    shifted.load_state_dict(model.state_dict())
    pixels = torch.rand(2, 1, 28, 28)

    unscaled = model.scaling(pixels) * 0.5 + 0.25

    assert torch.allclose(shifted(unscaled), model(pixels), atol=1e-5)
    assert not torch.allclose(shifted(pixels), model(pixels), atol=1e-5)


def test_scaling_is_no_part_of_the_weights() -> None:
    """Weights must load into a bare MNISTNet; the scaling has its own field in a checkpoint."""
    assert not [name for name in build_model().state_dict() if "scaling" in name]


def test_the_default_is_mnistnet_and_stands_first() -> None:
    assert isinstance(build_model(), MNISTNet)
    assert list_models()[0] == "mnistnet"
    assert set(list_models()) == set(PARAMETERS)


def test_dropout_can_be_turned_off() -> None:
    model = MNISTNet(dropout=0.0).train()
    pixels = torch.rand(8, 1, 28, 28)

    assert torch.equal(model(pixels), model(pixels))
    assert not torch.equal(MNISTNet().fc1.weight, model.fc1.weight)


@pytest.mark.parametrize(
    ("name", "unknown"),
    [("resnet", "resnet"), ("", ""), ("MNISTNet", "MNISTNet"), ("mlp+", ""), ("mlp+x+mlp", "x")],
)
def test_an_unknown_network_is_refused_with_the_names_there_are(name: str, unknown: str) -> None:
    with pytest.raises(ArchitectureError, match="choose one of: mnistnet, cnn1") as caught:
        build_model(name)

    assert repr(unknown) in str(caught.value)


def test_too_many_networks_are_not_built() -> None:
    with pytest.raises(ArchitectureError, match="at most 16"):
        build_model("+".join(["mlp"] * 17))


# --- the same answers, sooner -----------------------------------------------------------------


def test_pooling_comes_before_relu() -> None:
    block = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.ReLU())

    pool_before_relu(block)

    names = [type(layer).__name__ for layer in block]
    assert names == ["Conv2d", "MaxPool2d", "ReLU", "Flatten", "ReLU"]


@pytest.mark.parametrize("name", list_models())
def test_a_network_built_for_inference_gives_the_same_answers(name: str) -> None:
    model = build_model(name).train()
    pixels = torch.rand(16, 1, 28, 28)
    for _ in range(3):  # gives batch normalisation statistics that are not those of the start
        model(pixels * 0.8)
    model.eval()

    quick = build_for_inference(model)

    with torch.no_grad():
        assert torch.allclose(quick(pixels), model(pixels), atol=1e-5)
    left = {type(layer) for layer in quick.modules()}
    assert left.isdisjoint({nn.BatchNorm2d, nn.Dropout})
    assert not quick.training


def test_a_network_built_for_inference_softens_what_it_reads_as_before() -> None:
    model = build_model("mnistnet", replace(MNIST_SCALING, soften=0.2)).eval()
    pixels = torch.rand(2, 1, 28, 28)

    with torch.no_grad():
        assert torch.allclose(build_for_inference(model)(pixels), model(pixels), atol=1e-5)


def test_building_for_inference_leaves_the_network_as_it_was() -> None:
    model = build_model().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    layers = [type(layer) for layer in model.modules()]

    build_for_inference(model)

    assert model.training
    assert [type(layer) for layer in model.modules()] == layers
    after = model.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert all(parameter.requires_grad for parameter in model.parameters())


# --- many pictures at once --------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, FORWARD_BATCH, FORWARD_BATCH + 1])
def test_logits_of_any_number_of_pictures_are_those_of_single_ones(count: int) -> None:
    model = build_model("cnn_bn").eval()
    pixels = torch.rand(count, 1, 28, 28)

    logits = compute_logits(model, pixels)

    assert logits.shape == (count, CLASSES)
    assert logits.dtype == torch.float32
    if count:
        with torch.no_grad():
            assert torch.allclose(logits[-1:], model(pixels[-1:]), atol=1e-5)


def test_bytes_and_floats_give_the_same_logits() -> None:
    model = build_model("cnn1")
    pixels = torch.randint(0, 256, (5, 1, 28, 28), dtype=torch.uint8)

    from_bytes = compute_logits(model, pixels)

    assert torch.equal(from_bytes, compute_logits(model, pixels.float() / 255))
    assert to_unit_pixels(pixels).max() <= 1


@pytest.mark.parametrize("training", [True, False])
def test_a_network_keeps_its_mode(training: bool) -> None:
    """Evaluating between two epochs must not turn dropout off for the rest of a training."""
    model = build_model().train(training)

    compute_logits(model, torch.rand(2, 1, 28, 28))

    assert model.training is training


def test_a_network_keeps_its_mode_when_the_pictures_are_wrong() -> None:
    model = build_model().train()

    with pytest.raises(RuntimeError):
        compute_logits(model, torch.rand(2, 3, 28, 28))

    assert model.training


# --- the command line -------------------------------------------------------------------------


def test_the_file_prints_a_table_of_the_networks(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(PROJECT / "model.py")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )

    lines = {line.split()[0]: line for line in done.stdout.splitlines()}
    assert set(list_models()) < set(lines)
    assert "422,474" in lines["mnistnet"]
    assert "1.69 MB" in lines["mnistnet"]
    assert "242,762" in lines["mlp"]
    assert "[-1, 1]" in lines["mlp"]


def test_a_network_with_the_wrong_shape_fails_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    networks = {name: build_model(name) for name in list_models()}
    monkeypatch.setattr(model_module, "build_model", networks.get)
    monkeypatch.setattr(model_module, "CLASSES", 11)

    with pytest.raises(ArchitectureError, match=r"\(2, 10\), not \(2, 11\)"):
        main([])


@pytest.mark.parametrize("name", list_models())
def test_a_network_softens_what_it_reads_but_not_what_it_learns_from(name):
    usual = build_model(name).scaling
    softening = build_model(name, replace(usual, soften=0.2)).eval()
    plain = build_model(name).eval()
    plain.load_state_dict(softening.state_dict())
    dot = torch.zeros(1, 1, 28, 28)
    dot[0, 0, 10, 12] = 1.0
    line = torch.tensor([0.2, 0.6, 0.2])
    blurred = torch.zeros(1, 1, 28, 28)
    blurred[0, 0, 9:12, 11:14] = line[:, None] * line

    with torch.no_grad():
        torch.testing.assert_close(softening(dot), plain(blurred))

    assert torch.equal(softening.train().enter(dot), plain.enter(dot))
