"""A network learns from one epoch after another, as its settings say."""

from __future__ import annotations

import contextlib
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

import learner as learner_module
from dataset import Digits
from distributed import ALONE, Team
from errors import DivergenceError, SettingsError
from learner import Learner, build_learner, copy_weights
from learning import RunningAverage, StripDropout
from model import DigitNetwork, InputScaling, build_model
from recipes import Settings
from registry import save_checkpoint
from runs import Score, measure
from tests.conftest import Handwriting

CPU = torch.device("cpu")


@pytest.fixture
def digits(handwriting: Handwriting) -> Digits:
    """Return 200 handwritten digits."""
    images = torch.from_numpy(handwriting.images[:200] * 255).round().byte()
    return Digits(images, torch.from_numpy(handwriting.labels[:200]))


def learn(settings: Settings, digits: Digits, models_folder: Path = Path()) -> Learner:
    """Let a network learn for all its epochs."""
    learner = build_learner(settings, CPU, models_folder)
    for epoch in range(1, settings.epochs + 1):
        learner.learn(digits, epoch)
    return learner


def quick(**options: Any) -> Settings:
    """Give settings for a second's work, which mean the same on every processor."""
    small: dict[str, Any] = {"model": "mlp", "epochs": 2, "batch_size": 50, "precision": "fp32"}
    return Settings(**small | options)


def test_what_is_seen_often_is_read_better(digits: Digits) -> None:
    learner = build_learner(quick(epochs=8, augment=False, ema=0.9), CPU)
    before = measure(learner.result, digits)

    scores = [learner.learn(digits, epoch) for epoch in range(1, 9)]

    assert scores[-1].loss < scores[0].loss
    assert scores[-1].accuracy > scores[0].accuracy
    assert measure(learner.result, digits).accuracy > before.accuracy + 0.5


def test_the_learning_rate_of_the_last_step_is_the_schedule_s_lowest(digits: Digits) -> None:
    settings = quick(lr=0.01, schedule="one-cycle")

    learner = learn(settings, digits)

    assert 0 < learner.optimizer.param_groups[0]["lr"] < 0.01 / 2


@pytest.mark.parametrize(("small", "wanted"), [(1, [24, 28]), (9, [24, 28]), (0, [28, 28])])
def test_small_epochs_train_on_a_part_of_the_pictures_but_never_the_last(
    digits: Digits, monkeypatch: pytest.MonkeyPatch, small: int, wanted: list[int]
) -> None:
    sizes = []
    augment = learner_module.augment

    def watch(pixels: torch.Tensor, *args: Any, size: int) -> torch.Tensor:
        sizes.append(size)
        return augment(pixels, *args, size=size)

    monkeypatch.setattr(learner_module, "augment", watch)

    learn(quick(model="mnistnet", small_epochs=small), digits.take(slice(50)))

    assert sizes == wanted


@pytest.mark.parametrize("name", ["mnistnet", "mlp"])
def test_a_teacher_sees_the_whole_of_the_picture_of_which_its_pupil_sees_a_part(
    tmp_path: Path, digits: Digits, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """`--recipe fast --teachers mlp` ended in a traceback about the shapes of two matrices."""
    save_checkpoint(tmp_path / "teacher.pth", build_model(name))
    shown = []
    ask = learner_module.ask_teachers
    monkeypatch.setattr(
        learner_module,
        "ask_teachers",
        lambda teachers, pixels, *rest: shown.append(pixels) or ask(teachers, pixels, *rest),
    )
    settings = quick(model="mnistnet", small_epochs=1, teachers=("teacher",), elastic_px=0.5)
    learner = build_learner(settings, CPU, tmp_path)
    seen = []
    learner.model.register_forward_pre_hook(lambda model, inputs: seen.extend(inputs))

    for epoch in (1, 2):
        learner.learn(digits.take(slice(50)), epoch)

    assert [tuple(pixels.shape[2:]) for pixels in seen] == [(24, 24), (28, 28)]
    assert [tuple(pixels.shape[2:]) for pixels in shown] == [(28, 28), (28, 28)]
    assert torch.equal(seen[0], shown[0][..., :24, :24])


def test_no_gain_turns_negative_where_pooling_comes_first(digits: Digits) -> None:
    learner = learn(quick(model="mnistnet", pool_first=True, lr=0.5, ema=0.0), digits)

    weights = learner.result.state_dict()
    gains = torch.cat([weights[f"conv{block}.1.weight"] for block in (1, 2, 3)])
    assert (gains >= 0).all()
    assert (gains == 0).any()  # some wanted to


@pytest.mark.parametrize("wanted", [True, False])
def test_a_network_is_compiled_if_that_is_asked_for(
    digits: Digits, monkeypatch: pytest.MonkeyPatch, wanted: bool
) -> None:
    compiled = []
    monkeypatch.setattr(torch, "compile", lambda network: compiled.append(network) or network)

    learner = learn(quick(epochs=1, compile=wanted), digits)

    assert compiled == [learner.model] * wanted


def test_a_pupil_comes_to_say_what_its_teacher_says(
    tmp_path: Path, digits: Digits, tiny_model: DigitNetwork
) -> None:
    """The labels are wrong and the teacher is right, and only the teacher counts."""
    save_checkpoint(tmp_path / "teacher.pth", tiny_model)
    assert digits.labels is not None
    wrong = Digits(digits.images, (digits.labels + 1) % 10)
    settings = quick(epochs=8, augment=False, ema=0.9, teachers=("teacher",), teaching=1.0)

    learner = learn(settings, wrong, tmp_path)

    assert measure(learner.result, digits).accuracy > 0.5
    assert measure(learner.result, wrong).accuracy < 0.1


@pytest.mark.parametrize(
    ("source", "target"),
    [
        (build_model("cnn1"), build_model("mlp")),
        (build_model("mlp", InputScaling(0.1, 0.3)), build_model("mlp")),
    ],
)
def test_weights_of_a_network_that_is_built_otherwise_are_refused(
    source: DigitNetwork, target: DigitNetwork
) -> None:
    with pytest.raises(SettingsError, match=f"--start holds a {source.name}"):
        copy_weights(source, target)


def test_networks_that_answer_together_are_no_start() -> None:
    with pytest.raises(SettingsError, match="start from one of them"):
        copy_weights(build_model("mlp+mlp"), build_model("mlp"))


def test_weights_are_taken_over_from_a_network_that_softens_otherwise() -> None:
    source, target = build_model("mlp", InputScaling(0.5, 0.5, 0.15)), build_model("mlp")

    copy_weights(source, target)

    pairs = zip(source.parameters(), target.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)
    assert target.scaling.soften == 0.0


@pytest.mark.parametrize(("augment", "soften"), [(True, 0.3), (False, 0.0)])
def test_a_network_softens_what_it_reads_as_augmentation_does(augment: bool, soften: float) -> None:
    settings = Settings(model="mlp", soften=0.3, augment=augment)

    learner = build_learner(settings, torch.device("cpu"))

    assert learner.model.scaling.soften == soften


def test_training_that_diverges_says_so(digits: Digits) -> None:
    """The command ended as if it had been called wrongly, after hours perhaps."""
    with pytest.raises(DivergenceError, match="smaller --lr than 1e") as caught:
        learn(quick(model="cnn1", lr=1e30), digits)

    assert caught.value.exit_code == 1


@pytest.mark.parametrize(
    ("model", "kind", "decay"), [("mlp", torch.optim.Adam, 0), ("cnn1", torch.optim.AdamW, 0.03)]
)
def test_one_network_learns_by_adam_and_all_others_by_adamw(
    model: str, kind: type[torch.optim.Optimizer], decay: float
) -> None:
    learner = build_learner(quick(model=model, weight_decay=0.03), CPU)

    assert type(learner.optimizer) is kind
    assert learner.optimizer.param_groups[0]["weight_decay"] == decay


def test_each_epoch_drops_other_values(digits: Digits) -> None:
    learner = build_learner(quick(model="cnn1", dropout=1.0), CPU)
    strips = []

    for epoch in (1, 2):
        learner.learn(digits.take(slice(50)), epoch)
        strips.append(
            [layer.strip for layer in learner.model.modules() if isinstance(layer, StripDropout)]
        )

    assert strips[0]
    assert not any(map(torch.equal, *strips))


def test_fewer_pictures_than_a_batch_are_one_step(digits: Digits) -> None:
    learner = build_learner(quick(epochs=1), CPU, team=ALONE)

    score = learner.learn(digits.take(slice(7)), 1)

    assert math.isfinite(score.loss)
    assert learner.average is not None
    assert learner.average.count == 1


def test_a_checkpoint_names_its_sources_and_not_their_places(
    tmp_path: Path, tiny_model: DigitNetwork
) -> None:
    version = save_checkpoint(tmp_path / "models" / "first.pth", tiny_model)
    path = str(tmp_path / "models" / "first.pth")
    places = {"start": path, "teachers": (path, "first"), "corrections": str(tmp_path / "c.sqlite")}

    learner = build_learner(quick(**places), CPU, tmp_path / "models")

    assert str(tmp_path) not in json.dumps(learner.record)
    assert learner.record["start"] == f"first@{version}"
    assert learner.record["teachers"] == [f"first@{version}"] * 2
    assert learner.record["corrections"] == "c.sqlite"
    assert learner.record.keys() == learner.settings.to_dict().keys()


def test_an_epoch_asks_the_device_for_no_number_and_leaves_nothing_on_the_cpu(
    digits: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A GPU would have to wait at each step.

    The device "meta" stands in for it: its tensors have no values that could be asked for, and
    most operations refuse to mix them with tensors of the CPU. It knows no autocast, no random
    generator and no fused optimizer, so those are not tested here, and CUDA itself is not either.
    """
    meta = torch.device("meta")
    generator = torch.Generator
    monkeypatch.setattr(torch, "Generator", lambda device="cpu": generator())
    monkeypatch.setattr(torch, "autocast", lambda *args, **options: contextlib.nullcontext())
    monkeypatch.setattr(
        learner_module,
        "_build_optimizer",
        lambda model, settings: torch.optim.AdamW(model.parameters(), fused=False),
    )
    settings = quick(model="mnistnet", small_epochs=1, pool_first=True, elastic_px=0.5, ema=0.0)
    learner = build_learner(settings, meta, team=Counted())
    learner.average = RunningAverage(build_model("mnistnet"), 0.9)
    learner.average.model.to(meta)

    scores = [learner.learn(digits.to(meta), epoch) for epoch in (1, 2)]

    assert scores == [Score(2.0, 0.5)] * 2
    assert learner.average.count == 8


class Counted(Team):
    """A team whose sums are known: four steps with a loss of 2, half of 200 digits right."""

    def all_reduce(self, values: torch.Tensor) -> torch.Tensor:
        """Refuse sums of another device than "meta"."""
        assert values.device.type == "meta"
        return torch.tensor([8.0, 100.0, 200.0])
