from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import nn

from errors import DigitError
from explain import explain, find_layers, first_filters
from model import DigitNetwork, build_model, compute_logits, list_models

if TYPE_CHECKING:
    from tests.conftest import Handwriting

TOGETHER = "mnistnet+cnn2"

# For each network the shapes of its convolutional layers' answers.
SHAPES: dict[str, list[tuple[int, int, int]]] = {
    "mnistnet": [(32, 28, 28), (64, 14, 14), (128, 7, 7)],
    "cnn1": [(16, 28, 28)],
    "cnn2": [(16, 28, 28), (32, 14, 14)],
    "cnn3": [(16, 28, 28), (32, 14, 14), (64, 7, 7)],
    "mlp": [],
    "cnn_dense": [(32, 28, 28), (64, 14, 14), (128, 7, 7)],
    "cnn_bn": [(32, 28, 28), (64, 14, 14)],
    "cnn_deep": [(32, 28, 28)] * 2 + [(64, 14, 14)] * 2 + [(128, 7, 7)] * 2,
    TOGETHER: [(32, 28, 28), (64, 14, 14), (128, 7, 7), (16, 28, 28), (32, 14, 14)],
}


@pytest.fixture
def digit(handwriting: Handwriting) -> np.ndarray:
    return handwriting.images[0]


@pytest.mark.parametrize("name", [*list_models(), TOGETHER])
def test_every_network_is_explained_layer_by_layer(name: str, digit: np.ndarray):
    model = build_model(name)

    found = explain(model, digit, 3)

    assert [layer.maps.shape for layer in found.layers] == SHAPES[name]
    assert found.target == 3
    for layer in found.layers:
        assert layer.heat.shape == (28, 28)
        assert layer.heat.min() >= 0
        assert layer.heat.max() in (0, pytest.approx(1))
    assert (found.heat is None) == (name == "mlp")


@pytest.mark.parametrize("name", ["mnistnet", "mlp", TOGETHER])
@pytest.mark.parametrize("target", [0, 7])
def test_the_influences_add_up_to_what_the_ink_changed(name: str, target: int, digit: np.ndarray):
    model = build_model(name).eval()
    pictures = torch.stack([torch.from_numpy(digit), torch.zeros(28, 28)])[:, None]
    with_ink, without = compute_logits(model, pictures)[:, target].tolist()

    found = explain(model, digit, target)

    assert found.influence.sum() == pytest.approx(with_ink - without, abs=0.01)
    assert not found.influence[digit == 0].any(), "paper without ink speaks for nothing"


def test_heat_is_what_the_paper_on_hirescam_says(digit: np.ndarray):
    model = build_model("cnn1").eval()
    pixels = torch.from_numpy(digit)[None, None]
    layers = list(model.layers.children())
    first, rest = nn.Sequential(*layers[:2]), nn.Sequential(*layers[2:])
    maps = first(model.scaling(pixels)).detach().requires_grad_()
    logits = rest(maps)
    (gradient,) = torch.autograd.grad(logits[0, 4], maps)
    expected = (gradient * maps).sum(1).relu()[0].detach().numpy()

    found = explain(model, digit, 4)

    assert expected.max() > 0
    np.testing.assert_allclose(found.heat, expected / expected.max(), atol=1e-5)
    np.testing.assert_allclose(found.layers[0].maps, maps[0].detach(), atol=1e-6)


@pytest.mark.parametrize("name", ["mnistnet", "cnn3"])
def test_where_pooling_drops_the_edge_of_a_map_there_is_no_heat(name: str, digit: np.ndarray):
    """Grad-CAM lit the last row and column of 7x7, which pooling to 3x3 never reads."""
    model = build_model(name)

    heat = explain(model, digit, 3).layers[-1].heat

    assert heat.max() == pytest.approx(1)
    assert not heat[26:].any()
    assert not heat[:, 26:].any()


def test_networks_that_answer_together_are_named_and_their_heat_is_the_mean(digit: np.ndarray):
    found = explain(build_model(TOGETHER), digit, 3)

    assert [layer.name for layer in found.layers[2:5]] == [
        "Network 1, layer 3",
        "Network 2, layer 1",
        "Network 2, layer 2",
    ]
    mean = np.mean([found.layers[place].heat for place in (2, 4)], axis=0)
    np.testing.assert_allclose(found.heat, mean / mean.max(), atol=1e-6)


def test_another_digit_has_another_explanation(digit: np.ndarray, tiny_model: DigitNetwork):
    zero, one = explain(tiny_model, digit, 0), explain(tiny_model, digit, 1)

    assert zero.influence.sum() > one.influence.sum()  # the picture shows a zero


def test_the_network_stays_as_it_was(digit: np.ndarray):
    model = build_model("cnn2").train()
    before = {name: value.clone() for name, value in model.state_dict().items()}

    explain(model, digit, 0)

    assert model.training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks")
    assert not any(getattr(module, name) for module in model.modules() for name in hooks)


def test_many_threads_may_explain_and_read_with_one_network(handwriting: Handwriting):
    model = build_model("cnn2").eval()
    digits = handwriting.images[:6]
    alone = [explain(model, digit, 5) for digit in digits]
    logits = compute_logits(model, torch.from_numpy(digits)[:, None])
    together: list[Any] = [None] * len(digits)
    read: list[torch.Tensor] = []

    def work(place: int) -> None:
        together[place] = explain(model, digits[place], 5)
        read.append(compute_logits(model, torch.from_numpy(digits)[:, None]))

    threads = [threading.Thread(target=work, args=(place,)) for place in range(len(digits))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    for one, other in zip(alone, together, strict=True):
        np.testing.assert_allclose(one.influence, other.influence, atol=1e-5)
        np.testing.assert_allclose(one.heat, other.heat, atol=1e-5)
    assert all(torch.allclose(logits, each, atol=1e-5) for each in read)


@pytest.mark.parametrize(
    ("digit", "target", "hint"),
    [
        (np.zeros((27, 28), np.float32), 0, "prepare it first"),
        (np.zeros((1, 28, 28), np.float32), 0, "prepare it first"),
        (np.zeros((28, 28), np.float32), 10, "0 to 9"),
        (np.zeros((28, 28), np.float32), -1, "0 to 9"),
        (np.zeros((28, 28), np.float32), "3", "0 to 9"),
    ],
)
def test_what_cannot_be_explained_is_refused(digit: np.ndarray, target: Any, hint: str):
    with pytest.raises(DigitError, match=hint):
        explain(build_model("mlp"), digit, target)


def test_a_picture_without_ink_is_explained_by_nothing():
    found = explain(build_model("cnn1"), np.zeros((28, 28), np.float32), 0)

    assert not found.influence.any()
    assert np.isfinite(found.layers[0].heat).all()


@pytest.mark.parametrize(
    ("name", "kind", "shape"),
    [("mnistnet", "convolution", (32, 3, 3)), ("mlp", "dense", (256, 28, 28))],
)
def test_the_filters_are_the_weights_of_the_first_layer(
    name: str, kind: str, shape: tuple[int, ...]
):
    model = build_model(name)

    filters = first_filters(model)

    assert (filters.kind, filters.weights.shape) == (kind, shape)
    first = next(parameter for parameter in model.parameters())
    np.testing.assert_array_equal(filters.weights.ravel(), first.detach().numpy().ravel())


def test_a_network_that_does_not_look_at_pictures_has_no_filters():
    with pytest.raises(DigitError, match="no layer"):
        first_filters(nn.Sequential(nn.Linear(10, 10)))


def test_a_convolution_without_activation_is_looked_at_itself():
    convolution, other = nn.Conv2d(1, 2, 3), nn.Conv2d(2, 2, 3)
    model = nn.Sequential(convolution, other, nn.Flatten(), nn.Linear(8, 4), nn.ReLU())

    assert find_layers(model) == [convolution, other]
