"""What a training step is made of: precision, dropout, schedule, loss, running average.

    prepare_network -> network -> compute_loss -> optimizer, with learning_rate_factor
                                                      -> RunningAverage.update

Each piece stands alone and knows nothing of files or settings; `learner.py` puts them together.
The speed of training on a CPU is decided here. Seconds of one core for an epoch of 55,000
pictures (batches of 128, Xeon with AMX, PyTorch 2.12.1, network alone, dropout as it comes):

    float32, as PyTorch gives it                 41
    + pooling before ReLU                        36
    + bfloat16                                   21
    + dropout from a strip of random numbers     17
    (without any dropout                         16)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model import DigitNetwork, build_model, pool_before_relu

SCHEDULES = ("one-cycle", "cosine", "constant")
PRECISIONS = ("auto", "fp32", "bf16")

WARM_UP_SHARE = 0.2  # part of all steps in which one-cycle climbs
SLOWEST = 1e-4  # of the highest learning rate: a step of zero would be a step for nothing


def choose_precision(wanted: str, device: torch.device) -> torch.dtype:
    """Take bfloat16 where the hardware multiplies it faster than float32.

    Parameters
    ----------
    wanted : {"auto", "fp32", "bf16"}
    device : torch.device

    Returns
    -------
    torch.dtype
        torch.float32 or torch.bfloat16.
    """
    if wanted != "auto":
        return torch.bfloat16 if wanted == "bf16" else torch.float32
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        # Matrix tiles (AMX) make a step 1.7 times as fast. The question has no public name in
        # PyTorch yet, hence the way around if it should go away.
        has_tiles = getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
        fast = device.type == "cpu" and has_tiles()
    return torch.bfloat16 if fast else torch.float32


def prepare_network(
    model: DigitNetwork, device: torch.device, *, dropout: float = 1.0, pool_first: bool = False
) -> None:
    """Make a network quick to train, in place; names and values of its weights stay.

    Parameters
    ----------
    model : DigitNetwork
    device : torch.device
        Where it is moved to.
    dropout : float, default=1.0
        Multiplies its dropout rates.
    pool_first : bool, default=False
        Pool even before batch normalisation; see `PoolThenNorm`.
    """
    pool_before_relu(model)
    if pool_first:
        _pool_before_norm(model)
    for block in list(model.modules()):
        for name, layer in list(block.named_children()):
            if isinstance(layer, nn.Dropout):
                layer.p *= dropout
                if device.type == "cpu":
                    setattr(block, name, StripDropout(layer.p).train(layer.training))
    model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]


class PoolThenNorm(nn.BatchNorm2d):
    """Max-pooling and then batch normalisation, in the place of the other order.

    A training step on a CPU spends a quarter of its time on normalising values of which pooling
    throws three quarters away. As long as no gain is negative, normalisation keeps the order of
    values, so a trained network gives the same answers in either order. In training the mean and
    the variance are those of the values that remain.

    Where weights with a negative gain are loaded, as when a run is resumed that learned them
    otherwise, the usual order stays: pooling would keep the smallest values for the largest.

    Attributes
    ----------
    is_early : bool
        Whether pooling comes first.
    """

    is_early = True

    def __init__(self, norm: nn.BatchNorm2d, pool: nn.MaxPool2d) -> None:
        """Take over the weights and statistics of `norm`, and do what `pool` does first."""
        super().__init__(norm.num_features, norm.eps, norm.momentum)
        self.load_state_dict(norm.state_dict())
        self.window = pool.kernel_size

    def forward(self, values: Tensor) -> Tensor:
        """Pool and normalise values of shape (B, C, H, W)."""
        if self.is_early:
            return super().forward(F.max_pool2d(values, self.window))
        return F.max_pool2d(super().forward(values), self.window)

    def _load_from_state_dict(self, *args: Any, **options: Any) -> None:
        """Look at the gains that come: asking for them at every step would make a GPU wait."""
        super()._load_from_state_dict(*args, **options)
        self.is_early = bool((self.weight >= 0).all())

    @torch.no_grad()
    def keep_order(self) -> None:
        """Raise negative gains to zero, if pooling comes first; to be called after every step."""
        if self.is_early:
            self.weight.clamp_(min=0)


def _pool_before_norm(model: nn.Module) -> None:
    """Join pooling with the batch normalisation before it, where no gain is negative, in place."""
    for block in list(model.modules()):
        if isinstance(block, nn.Sequential):
            for place in range(len(block) - 1):
                norm, pool = block[place], block[place + 1]
                if (
                    isinstance(norm, nn.BatchNorm2d)
                    and isinstance(pool, nn.MaxPool2d)
                    and norm.weight.min() >= 0
                ):
                    block[place], block[place + 1] = PoolThenNorm(norm, pool), nn.Identity()


class StripDropout(nn.Module):
    """Dropout that cuts its masks from a strip of random numbers, drawn now and then.

    Drawing a number for every value of every batch takes a fifth of a training step on a CPU.
    The strip holds four masks, each batch cuts one at a random place, and `renew` draws it anew.
    """

    CUTS = 4
    strip: Tensor

    def __init__(self, rate: float) -> None:
        """Zero values with probability `rate`, from 0.0 to below 1.0."""
        super().__init__()
        self.rate = rate
        self.register_buffer("strip", torch.empty(0), persistent=False)

    def forward(self, values: Tensor) -> Tensor:
        """Zero some values and enlarge the others, so that the mean stays; nothing in eval mode."""
        if not self.training or self.rate == 0:
            return values
        count = values.numel()
        if len(self.strip) < self.CUTS * count or self.strip.dtype != values.dtype:
            kept = torch.rand(self.CUTS * count, device=values.device) >= self.rate
            self.strip = kept.to(values.dtype) / (1 - self.rate)
        start = int(torch.randint(len(self.strip) - count + 1, ()))
        mask = self.strip[start : start + count]
        if values.dim() == 4:
            # As the values lie in memory (channels last), or the product walks in big jumps.
            batch, channels, height, width = values.shape
            return values * mask.view(batch, height, width, channels).permute(0, 3, 1, 2)
        return values * mask.view(values.shape)

    def renew(self) -> None:
        """Throw the strip away; the next batch draws another."""
        self.strip = self.strip[:0]


def learning_rate_factor(step: int, steps: int, steps_per_epoch: int, schedule: str) -> float:
    """Say which part of the highest learning rate a step uses.

    Parameters
    ----------
    step : int
        From 0 to `steps` - 1.
    steps, steps_per_epoch : int
        In the whole run, and in one epoch.
    schedule : {"one-cycle", "cosine", "constant"}
        One-cycle climbs in a fifth of the steps and then falls; cosine climbs in one epoch.

    Returns
    -------
    float
        Above 0, at most 1.

    References
    ----------
    Smith and Topin 2017, "Super-convergence"; Loshchilov and Hutter 2016, "SGDR".
    """
    if schedule == "constant":
        return 1.0
    climb = steps * WARM_UP_SHARE if schedule == "one-cycle" else min(steps_per_epoch, steps / 2)
    if step < climb:
        return (step + 1) / (climb + 1)
    done = (step - climb) / (steps - climb)
    return max((1 + math.cos(math.pi * done)) / 2, SLOWEST)


class RunningAverage:
    """An exponential average over the steps of a network's weights and batch statistics.

    Weights jump about their optimum while the learning rate is high; their average lies nearer
    to it (Polyak and Juditsky 1992). It starts short, so that the random weights of the start
    are soon forgotten.

    Attributes
    ----------
    model : DigitNetwork
        The averaged weights, in evaluation mode.
    count : int
        Steps so far.
    """

    START = 10  # steps; the first of them count in full

    def __init__(self, model: DigitNetwork, decay: float) -> None:
        """Start from a copy of `model`; `decay` is from 0.0 to below 1.0."""
        self.model = build_model(model.name, model.scaling)
        self.model.load_state_dict(model.state_dict())
        prepare_network(self.model, next(model.parameters()).device)
        self.model.eval().requires_grad_(False)
        self.decay = decay
        self.count = 0

    @torch.no_grad()
    def update(self, model: DigitNetwork) -> None:
        """Move the average towards the weights as they are now."""
        self.count += 1
        decay = min(self.decay, self.count / (self.count + self.START))
        pairs = zip(self.model.state_dict().values(), model.state_dict().values(), strict=True)
        for mean, value in pairs:
            if mean.is_floating_point():
                mean.lerp_(value, 1 - decay)
            else:
                mean.copy_(value)


@torch.no_grad()
def ask_teachers(teachers: Sequence[nn.Module], pixels: Tensor, temperature: float) -> Tensor:
    """Average what the teachers say about a batch.

    Parameters
    ----------
    teachers : sequence of Module
        At least one, in evaluation mode.
    pixels : Tensor of shape (B, 1, 28, 28), float
    temperature : float
        Above 0; the higher, the softer the answers.

    Returns
    -------
    Tensor of shape (B, 10), float32
        Probabilities.
    """
    answers = [F.softmax(teacher(pixels).float() / temperature, dim=1) for teacher in teachers]
    return torch.stack(answers).mean(dim=0)


def compute_loss(logits: Tensor, labels: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
    """Cross entropy; what is no digit has no right answer, so there all ten shall be as likely.

    Parameters
    ----------
    logits : Tensor of shape (B, 10)
    labels : Tensor of shape (B,), int64
        0 to 9; below 0 for a picture of no digit.
    label_smoothing : float, default=0.0
        Part of the target that is spread over all ten digits.

    Returns
    -------
    Tensor
        One number, the mean over the batch.

    References
    ----------
    Hendrycks, Mazeika, Dietterich 2018, "Deep anomaly detection with outlier exposure", section 4.
    """
    of_digits = F.cross_entropy(
        logits, labels.clamp(min=0), label_smoothing=label_smoothing, reduction="none"
    )
    of_the_rest = -F.log_softmax(logits, dim=1).mean(dim=1)
    return torch.where(labels < 0, of_the_rest, of_digits).mean()


def distillation_loss(logits: Tensor, teacher_probabilities: Tensor, temperature: float) -> Tensor:
    """Cross entropy to the teachers' answers, both sides softened.

    Parameters
    ----------
    logits : Tensor of shape (B, 10)
    teacher_probabilities : Tensor of shape (B, 10)
        From `ask_teachers` with the same temperature.
    temperature : float

    Returns
    -------
    Tensor
        One number. Times the temperature squared, as the gradients would else shrink with it.

    References
    ----------
    Hinton, Vinyals, Dean 2015, "Distilling the knowledge in a neural network", section 2.
    """
    return F.cross_entropy(logits / temperature, teacher_probabilities) * temperature**2
