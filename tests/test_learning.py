import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from learning import (
    SCHEDULES,
    SLOWEST,
    PoolThenNorm,
    RunningAverage,
    StripDropout,
    ask_teachers,
    choose_precision,
    compute_loss,
    distillation_loss,
    learning_rate_factor,
    prepare_network,
)
from model import MNISTNet, build_model, list_models

CPU = torch.device("cpu")


# --- the network --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list_models())
def test_a_prepared_network_gives_the_same_answers_under_the_same_names(name):
    model = build_model(name).eval()
    prepared = copy.deepcopy(model)
    pixels = torch.rand(4, 1, 28, 28)

    prepare_network(prepared, CPU)

    assert prepared.state_dict().keys() == model.state_dict().keys()
    with torch.no_grad():
        assert torch.allclose(prepared(pixels), model(pixels), atol=1e-5)


def test_pooling_before_batch_norm_gives_the_same_answers_under_the_same_names():
    model = MNISTNet().train()
    pixels = torch.rand(16, 1, 28, 28)
    with torch.no_grad():
        for block in (model.conv1, model.conv2, model.conv3):
            norm = block[1]
            assert isinstance(norm, nn.BatchNorm2d)
            norm.weight.uniform_(0.1, 2)  # gains as training leaves them
            norm.bias.normal_()
        model(pixels)
    early = copy.deepcopy(model)

    prepare_network(early, CPU, pool_first=True)

    assert sum(isinstance(layer, PoolThenNorm) for layer in early.modules()) == 3
    assert early.state_dict().keys() == model.state_dict().keys()
    with torch.no_grad():
        assert torch.allclose(early.eval()(pixels), model.eval()(pixels), atol=1e-4)


def test_a_negative_gain_keeps_batch_norm_before_pooling():
    """It turns the order of values round: the largest would become the smallest."""
    model = build_model("cnn_bn")
    norms = [layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)]
    norms[0].weight.data[3] = -0.5

    prepare_network(model, CPU, pool_first=True)

    early = [isinstance(n, PoolThenNorm) for n in model.modules() if isinstance(n, nn.BatchNorm2d)]
    assert early == [False, True]


def test_weights_with_a_negative_gain_keep_the_usual_order_when_they_are_loaded():
    """`--resume RUN --pool-first`, or a run with --start that was resumed, answered otherwise."""
    usual = build_model("cnn_bn").eval()
    gains = [layer.weight for layer in usual.modules() if isinstance(layer, nn.BatchNorm2d)]
    gains[0].data[3] = -0.5
    pixels = torch.rand(4, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    early = build_model("cnn_bn")
    prepare_network(early, CPU, pool_first=True)

    early.load_state_dict(usual.state_dict())

    norms = [layer for layer in early.modules() if isinstance(layer, PoolThenNorm)]
    for norm in norms:
        norm.keep_order()
    assert [norm.is_early for norm in norms] == [False, True]
    with torch.no_grad():
        assert torch.allclose(early.eval()(pixels), usual(pixels), atol=1e-4)


def test_gains_are_kept_from_turning_negative():
    norm = PoolThenNorm(nn.BatchNorm2d(3), nn.MaxPool2d(2))
    norm.weight.data = torch.tensor([-0.1, 0.0, 0.7])

    norm.keep_order()

    assert norm.weight.tolist() == pytest.approx([0.0, 0.0, 0.7])


def test_dropout_rates_are_multiplied():
    model = build_model("mnistnet")

    prepare_network(model, CPU, dropout=0.5)

    rates = [layer.rate for layer in model.modules() if isinstance(layer, StripDropout)]
    assert sorted(rates) == [0.125, 0.125, 0.125, 0.25]


@pytest.mark.parametrize("shape", [(64, 8, 6, 6), (64, 300)])
def test_dropout_zeroes_its_share_and_keeps_the_mean(shape):
    dropout = StripDropout(0.25)
    ones = torch.ones(shape)

    dropped = dropout(ones)

    assert dropped.unique().tolist() == pytest.approx([0, 1 / 0.75])
    assert (dropped == 0).float().mean() == pytest.approx(0.25, abs=0.02)


def test_dropout_cuts_another_mask_for_every_batch():
    dropout = StripDropout(0.5)
    ones = torch.ones(16, 100)

    once, again = dropout(ones), dropout(ones)

    assert not torch.equal(once, again)


def test_a_renewed_strip_is_another_one():
    dropout = StripDropout(0.5)
    dropout(torch.ones(16, 100))
    old = dropout.strip

    dropout.renew()
    dropout(torch.ones(16, 100))

    assert not torch.equal(dropout.strip, old)


def test_dropout_does_nothing_when_the_network_is_used():
    dropout = StripDropout(0.5).eval()
    values = torch.rand(4, 10)

    assert torch.equal(dropout(values), values)


def test_the_strip_is_not_saved_with_the_weights():
    dropout = StripDropout(0.5)
    dropout(torch.ones(4, 10))

    assert not dropout.state_dict()


@pytest.mark.parametrize(
    ("wanted", "has_tiles", "expected"),
    [
        ("fp32", True, torch.float32),
        ("bf16", False, torch.bfloat16),
        ("auto", True, torch.bfloat16),
        ("auto", False, torch.float32),
    ],
)
def test_bfloat16_is_taken_where_the_processor_multiplies_it(
    wanted, has_tiles, expected, monkeypatch
):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: has_tiles, raising=False)

    assert choose_precision(wanted, CPU) is expected


def test_without_the_question_about_tiles_arithmetic_stays_float32(monkeypatch):
    monkeypatch.delattr(torch.cpu, "_is_amx_tile_supported", raising=False)

    assert choose_precision("auto", CPU) is torch.float32


# --- the schedule -------------------------------------------------------------------------------


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("steps", [1, 2, 7, 100])
def test_every_schedule_stays_above_0_and_reaches_no_more_than_1(schedule, steps):
    rates = [learning_rate_factor(step, steps, 10, schedule) for step in range(steps)]

    assert all(0 < rate <= 1 for rate in rates)


def test_one_cycle_climbs_for_a_fifth_of_the_steps_and_falls_to_almost_nothing():
    rates = [learning_rate_factor(step, 100, 10, "one-cycle") for step in range(100)]

    assert rates.index(max(rates)) == 20
    assert rates[:21] == sorted(rates[:21])
    assert rates[20:] == sorted(rates[20:], reverse=True)
    assert rates[-1] < 0.01


def test_cosine_climbs_for_one_epoch():
    rates = [learning_rate_factor(step, 100, 10, "cosine") for step in range(100)]

    assert rates.index(max(rates)) == 10


# --- the running average ------------------------------------------------------------------------


def fill(model, value):
    for weights in model.parameters():
        nn.init.constant_(weights, value)


def first_weight(model):
    return float(next(model.parameters()).flatten()[0])


def test_the_average_lies_between_the_old_and_the_new_weights():
    model = build_model("mlp")
    fill(model, 0.0)
    average = RunningAverage(model, decay=0.9)

    fill(model, 1.0)
    average.update(model)
    early = first_weight(average.model)
    for _ in range(50):
        average.update(model)

    assert 0 < early < first_weight(average.model) < 1


def test_the_random_weights_of_the_start_are_soon_forgotten():
    model = build_model("mlp")
    fill(model, 100.0)
    average = RunningAverage(model, decay=0.999)

    fill(model, 1.0)
    for _ in range(100):
        average.update(model)

    assert first_weight(average.model) == pytest.approx(1.0, abs=0.01)


def test_batch_statistics_are_averaged_and_counts_copied():
    model = build_model("cnn_bn").train()
    average = RunningAverage(model, decay=0.5)
    for _ in range(3):
        model(torch.rand(8, 1, 28, 28))
        average.update(model)

    ours, theirs = average.model.state_dict(), model.state_dict()

    count = next(name for name in ours if name.endswith("num_batches_tracked"))
    mean = next(name for name in ours if name.endswith("running_mean"))
    assert ours[count] == theirs[count] == 3
    assert 0 < ours[mean].abs().sum() < theirs[mean].abs().sum()


def test_the_average_learns_nothing_by_itself():
    average = RunningAverage(build_model("mnistnet"), decay=0.9)

    assert not average.model.training
    assert not any(weights.requires_grad for weights in average.model.parameters())


# --- the loss -----------------------------------------------------------------------------------


def test_digits_have_the_usual_cross_entropy():
    logits, labels = torch.randn(6, 10), torch.arange(6)

    loss = compute_loss(logits, labels, label_smoothing=0.1)

    assert loss == pytest.approx(float(F.cross_entropy(logits, labels, label_smoothing=0.1)))


def test_a_picture_of_no_digit_is_best_answered_by_doubt():
    nothing = torch.tensor([-1])
    sure = torch.tensor([[9.0] + [0.0] * 9])

    doubt = compute_loss(torch.zeros(1, 10), nothing)

    assert doubt == pytest.approx(torch.log(torch.tensor(10.0)).item())
    assert doubt < compute_loss(sure, nothing)


def test_the_loss_is_the_mean_over_digits_and_others():
    logits = torch.randn(2, 10)

    both = compute_loss(logits, torch.tensor([3, -1]))

    one = compute_loss(logits[:1], torch.tensor([3]))
    other = compute_loss(logits[1:], torch.tensor([-1]))
    assert both == pytest.approx(float(one + other) / 2)


def test_teachers_are_averaged_as_probabilities():
    class Fixed(nn.Module):
        def __init__(self, digit):
            super().__init__()
            self.logits = torch.full((10,), -100.0)
            self.logits[digit] = 100.0

        def forward(self, pixels):
            return self.logits.expand(len(pixels), 10)

    teacher_probabilities = ask_teachers(
        [Fixed(1), Fixed(7)], torch.zeros(2, 1, 28, 28), temperature=1.0
    )

    assert teacher_probabilities.shape == (2, 10)
    assert teacher_probabilities[0, [1, 7]].tolist() == pytest.approx([0.5, 0.5])


def test_a_pupil_who_answers_as_the_teacher_has_the_smallest_loss():
    logits = torch.randn(4, 10)
    teacher_probabilities = F.softmax(logits / 3, dim=1)

    same = distillation_loss(logits, teacher_probabilities, temperature=3)

    assert same < distillation_loss(
        logits + torch.randn(4, 10), teacher_probabilities, temperature=3
    )
    wanted = logits.clone().requires_grad_()
    distillation_loss(wanted, teacher_probabilities, temperature=3).backward()
    assert wanted.grad is not None
    assert wanted.grad.abs().max() < 1e-6


@pytest.mark.parametrize("schedule", ["one-cycle", "cosine"])
@pytest.mark.parametrize(("steps", "per_epoch"), [(1, 1), (10, 10), (10, 3), (100_000, 50)])
def test_every_step_of_a_schedule_changes_something(
    schedule: str, steps: int, per_epoch: int
) -> None:
    """A run of one epoch would else do nothing but climb, and a long one end with steps of zero."""
    factors = [learning_rate_factor(step, steps, per_epoch, schedule) for step in range(steps)]

    assert min(factors) >= min(SLOWEST, 1 / steps)
    assert max(factors) <= 1
    assert steps == 1 or factors[-1] < max(factors)


def test_the_advice_of_teachers_is_the_softer_the_higher_the_temperature() -> None:
    logits = torch.tensor([[4.0, 0.0]])

    teacher_probabilities = ask_teachers([nn.Identity()], logits, 4.0)

    assert torch.allclose(teacher_probabilities, (logits / 4).softmax(dim=1))


def test_the_teachers_pull_as_hard_at_any_temperature():
    """Hinton's factor makes up for what softening takes from the gradient: T squared, not T."""
    # Where logits are small, the gradient is their difference, but for terms of a higher order.
    numbers = torch.Generator().manual_seed(0)
    logits, opinion = 0.01 * torch.randn(2, 4, 10, generator=numbers, dtype=torch.float64)
    pull = []

    for temperature in (1.0, 8.0):
        wanted = logits.clone().requires_grad_()
        teacher_probabilities = (opinion / temperature).softmax(dim=1)
        distillation_loss(wanted, teacher_probabilities, temperature).backward()

        assert wanted.grad is not None
        pull.append(float(wanted.grad.norm()))

    assert pull[0] == pytest.approx(pull[1], rel=0.02)
