"""The networks: a batch of 28x28 pictures in, ten logits for each picture out.

    (B, 1, 28, 28) pixels 0..1 -> the network's own input scaling -> layers -> (B, 10) logits

Every network scales its own input inside `forward`, so nobody who calls one can apply the wrong
scaling; the scaling is saved with the weights (see `registry.py`). Run this file for a table of
all networks:

    $ python model.py
"""

from __future__ import annotations

import argparse
import copy
import itertools
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from errors import ArchitectureError

IMAGE_SIZE = 28
CLASSES = 10
MNIST_MEAN = 0.1307  # 60,000 train images, pixels 0..1
MNIST_STD = 0.3081
LEAKY_SLOPE = 0.01

# Batches of more than about 256 pictures fall out of the processor's cache and run at half speed.
FORWARD_BATCH = 256


MEMBER_MARK = "+"  # between the names of the networks that answer together
MAX_MEMBERS = 16

MAX_SOFTEN = 0.25  # a quarter of each neighbour along each axis is a full blur


@dataclass(frozen=True)
class InputScaling:
    """What a network does to pixels first: subtract `mean`, divide by `std`.

    Attributes
    ----------
    mean, std : float
        In units of pixels from 0.0 (background) to 1.0 (full ink). `std` is above zero.
    soften : float
        How much of each neighbour, along each axis, is mixed into a pixel before a picture is
        read, from 0.0 to 0.25. In training nothing is mixed: there pictures are turned, moved and
        bent, which softens them just so, and what is read should look like what was learned.
    """

    mean: float = 0.0
    std: float = 1.0
    soften: float = 0.0

    def __call__(self, pixels: Tensor) -> Tensor:
        """Scale pixels of any shape."""
        return (pixels - self.mean) / self.std

    def __str__(self) -> str:
        low, high = (0 - self.mean) / self.std, (1 - self.mean) / self.std
        return f"[{low:.3g}, {high:.3g}]"


UNIT_SCALING = InputScaling()
SYMMETRIC_SCALING = InputScaling(0.5, 0.5)
MNIST_SCALING = InputScaling(MNIST_MEAN, MNIST_STD)


class DigitNetwork(nn.Module):
    """What all networks share: a name, an input scaling, pixels in and logits out.

    Parameters
    ----------
    scaling : InputScaling, optional
        Replaces the network's usual scaling, for weights that were trained with another one.
    """

    name: str
    summary: str
    usual_scaling: InputScaling = MNIST_SCALING
    softener: Tensor  # (1, 1, 3, 3)

    def __init__(self, scaling: InputScaling | None = None) -> None:
        super().__init__()
        self.scaling = scaling or self.usual_scaling
        share = self.scaling.soften
        # Named, as the registry builds networks on the device "meta", where nothing has a value.
        line = torch.tensor([share, 1 - 2 * share, share], device="cpu")
        self.register_buffer("softener", (line[:, None] * line)[None, None], persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        """Compute the logits of a batch.

        Parameters
        ----------
        pixels : Tensor of shape (B, 1, 28, 28), float
            White ink on black, 0.0 to 1.0.

        Returns
        -------
        Tensor of shape (B, 10)
            One logit for each digit; softmax makes probabilities of them.
        """
        return self.layers(self.enter(pixels))

    layers: nn.Module

    def enter(self, pixels: Tensor) -> Tensor:
        """Soften pixels, unless in training, and scale them."""
        if self.scaling.soften and not self.training:
            kernel = self.softener.to(pixels.dtype)
            pixels = nn.functional.conv2d(pixels, kernel, padding=1)
        return self.scaling(pixels)


class MNISTNet(DigitNetwork):
    """The default: three convolution blocks and three dense layers, 422,474 parameters."""

    name = "mnistnet"
    summary = "3 blocks conv-BN-ReLU-pool-dropout (32, 64, 128), dense 256-128-10"

    def __init__(self, scaling: InputScaling | None = None, *, dropout: float = 1.0) -> None:
        """Build the network; `dropout` multiplies the usual rates 0.25 and 0.5 (0 turns it off)."""
        super().__init__(scaling)
        self.conv1 = _conv_block(1, 32, dropout=0.25 * dropout)
        self.conv2 = _conv_block(32, 64, dropout=0.25 * dropout)
        self.conv3 = _conv_block(64, 128, dropout=0.25 * dropout)
        self.fc1 = nn.Linear(128 * 3 * 3, 256)
        self.dropout = nn.Dropout(0.5 * dropout)
        self.fc2 = nn.Linear(256, 128)
        self.fc3 = nn.Linear(128, CLASSES)

    def forward(self, pixels: Tensor) -> Tensor:
        """Compute the logits of a batch; see `DigitNetwork.forward`."""
        x = self.enter(pixels)
        x = self.conv1(x)  # (B, 32, 14, 14)
        x = self.conv2(x)  # (B, 64, 7, 7)
        x = self.conv3(x)  # (B, 128, 3, 3)
        x = x.flatten(1)  # (B, 1152)
        x = self.dropout(torch.relu(self.fc1(x)))  # (B, 256)
        x = torch.relu(self.fc2(x))  # (B, 128)
        return self.fc3(x)  # (B, 10)


class LeakyCNN(DigitNetwork):
    """One to three convolutions with LeakyReLU and pooling, then two dense layers."""

    depth: int

    def __init__(self, scaling: InputScaling | None = None) -> None:
        super().__init__(scaling)
        channels = [1, *(16 * 2**block for block in range(self.depth))]  # 1, 16, 32, 64
        blocks: list[nn.Module] = []
        for wide_in, wide_out in itertools.pairwise(channels):
            blocks += [
                nn.Conv2d(wide_in, wide_out, 3, padding=1),
                nn.LeakyReLU(LEAKY_SLOPE),
                nn.MaxPool2d(2),
                nn.Dropout(0.25),
            ]
        side = IMAGE_SIZE // 2**self.depth
        self.layers = nn.Sequential(
            *blocks,  # (B, 8 * 2**depth, side, side)
            nn.Flatten(),
            nn.Linear(channels[-1] * side * side, 128),
            nn.LeakyReLU(LEAKY_SLOPE),
            nn.Dropout(0.5),
            nn.Linear(128, CLASSES),
        )


class CNN1(LeakyCNN):
    """One convolution: the simplest network that looks at neighbourhoods, not the smallest."""

    name, depth = "cnn1", 1
    summary = "1 conv-LeakyReLU-pool-dropout (16), dense 128-10"


class CNN2(LeakyCNN):
    """Two convolutions."""

    name, depth = "cnn2", 2
    summary = "2 conv-LeakyReLU-pool-dropout (16, 32), dense 128-10"


class CNN3(LeakyCNN):
    """Three convolutions."""

    name, depth = "cnn3", 3
    summary = "3 conv-LeakyReLU-pool-dropout (16, 32, 64), dense 128-10"


class ImprovedMNISTNet(DigitNetwork):
    """Fully connected 784-256-128-64-10, for inputs from -1 to 1; 242,762 parameters."""

    name = "mlp"
    summary = "fully connected 784-256-128-64-10 with ReLU"
    usual_scaling = SYMMETRIC_SCALING

    def __init__(self, scaling: InputScaling | None = None) -> None:
        super().__init__(scaling)
        self.layers = nn.Sequential(
            nn.Flatten(),  # (B, 784)
            nn.Linear(IMAGE_SIZE * IMAGE_SIZE, 256),
            nn.ReLU(),
            nn.Linear(256, 128),
            nn.ReLU(),
            nn.Linear(128, 64),
            nn.ReLU(),
            nn.Linear(64, CLASSES),
        )


class DenseCNN(DigitNetwork):
    """Three plain 3x3 convolutions, pooling after the first two, then a dense layer of 128."""

    name = "cnn_dense"
    summary = "3 conv-ReLU (32, 64, 128), pool after two, dense 128-10"
    usual_scaling = UNIT_SCALING

    def __init__(self, scaling: InputScaling | None = None) -> None:
        super().__init__(scaling)
        self.layers = nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),  # (B, 32, 14, 14)
            nn.Conv2d(32, 64, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),  # (B, 64, 7, 7)
            nn.Conv2d(64, 128, 3, padding=1),
            nn.ReLU(),  # (B, 128, 7, 7)
            nn.Flatten(),
            nn.Linear(128 * 7 * 7, 128),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Linear(128, CLASSES),
        )


class BatchNormCNN(DigitNetwork):
    """Two convolution blocks with batch normalisation, then two dense layers."""

    name = "cnn_bn"
    summary = "2 blocks conv-BN-ReLU-pool-dropout (32, 64), dense 128-10"

    def __init__(self, scaling: InputScaling | None = None) -> None:
        super().__init__(scaling)
        self.layers = nn.Sequential(
            _conv_block(1, 32, dropout=0.25),  # (B, 32, 14, 14)
            _conv_block(32, 64, dropout=0.25),  # (B, 64, 7, 7)
            nn.Flatten(),
            nn.Linear(64 * 7 * 7, 128),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Linear(128, CLASSES),
        )


class DeepCNN(DigitNetwork):
    """Six convolutions in three blocks, then two dense layers: slower than the default."""

    name = "cnn_deep"
    summary = "3 blocks of 2 conv-BN-ReLU, pool, dropout (32, 64, 128), dense 256-10"

    def __init__(self, scaling: InputScaling | None = None) -> None:
        super().__init__(scaling)
        self.layers = nn.Sequential(
            _double_block(1, 32, dropout=0.25),  # (B, 32, 14, 14)
            _double_block(32, 64, dropout=0.25),  # (B, 64, 7, 7)
            _double_block(64, 128, dropout=0.25),  # (B, 128, 3, 3)
            nn.Flatten(),
            nn.Linear(128 * 3 * 3, 256),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Linear(256, CLASSES),
        )


class Ensemble(DigitNetwork):
    """Networks that were trained apart, and the mean of their probabilities.

    It is not trained but put together, see `ensemble.py`. Its name lists its members, as in
    "mnistnet+cnn_deep".

    Parameters
    ----------
    members : sequence of DigitNetwork
    scaling : InputScaling, optional
        As of all members.
    """

    def __init__(
        self, members: Sequence[DigitNetwork], scaling: InputScaling | None = None
    ) -> None:
        super().__init__(scaling)
        self.members = nn.ModuleList(members)
        self.name = MEMBER_MARK.join(member.name for member in members)
        self.summary = f"the mean of {len(members)} networks"

    def forward(self, pixels: Tensor) -> Tensor:
        """Compute the logarithms of the mean probabilities; see `DigitNetwork.forward`."""
        answers = [torch.log_softmax(member(pixels), dim=1) for member in self.members]
        return torch.logsumexp(torch.stack(answers), dim=0) - math.log(len(answers))  # (B, 10)


def _conv_block(wide_in: int, wide_out: int, *, dropout: float) -> nn.Sequential:
    """Conv 3x3, BatchNorm, ReLU, MaxPool 2, Dropout: half the side, `wide_out` channels."""
    return nn.Sequential(
        nn.Conv2d(wide_in, wide_out, 3, padding=1),
        nn.BatchNorm2d(wide_out),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Dropout(dropout),
    )


def _double_block(wide_in: int, wide_out: int, *, dropout: float) -> nn.Sequential:
    """As `_conv_block`, with a second convolution before the pooling."""
    first = nn.Conv2d(wide_in, wide_out, 3, padding=1), nn.BatchNorm2d(wide_out), nn.ReLU()
    return nn.Sequential(*first, *_conv_block(wide_out, wide_out, dropout=dropout))


DEFAULT_ARCHITECTURE = MNISTNet.name
_NETWORKS: dict[str, Callable[[InputScaling | None], DigitNetwork]] = {
    network.name: network
    for network in (MNISTNet, CNN1, CNN2, CNN3, ImprovedMNISTNet, DenseCNN, BatchNormCNN, DeepCNN)
}


def list_models() -> list[str]:
    """Name every network that can be trained, the default first."""
    return list(_NETWORKS)


def build_model(
    name: str = DEFAULT_ARCHITECTURE, scaling: InputScaling | None = None
) -> DigitNetwork:
    """Build a network with fresh random weights.

    Parameters
    ----------
    name : str, default="mnistnet"
        One of `list_models()`, or several joined by "+": an ensemble of them.
    scaling : InputScaling, optional
        Replaces the network's usual input scaling.

    Raises
    ------
    ArchitectureError
        If no network has that name.
    """
    names = name.split(MEMBER_MARK)
    for each in names:
        if each not in _NETWORKS:
            choices = ", ".join(list_models())
            raise ArchitectureError(f"no network {each!r}; choose one of: {choices}")
    if len(names) > MAX_MEMBERS:
        raise ArchitectureError(f"an ensemble of {len(names)}; at most {MAX_MEMBERS} are read")
    networks = [_NETWORKS[each](scaling) for each in names]
    return Ensemble(networks, scaling) if len(networks) > 1 else networks[0]


def build_for_inference(model: DigitNetwork) -> DigitNetwork:
    """Copy a trained network into a form that gives the same answers sooner.

    Batch normalisation is folded into the convolution before it, pooling goes before ReLU, and
    dropout, which does nothing any more, goes away. The copy cannot be trained or saved.

    Parameters
    ----------
    model : DigitNetwork
        Stays as it is.

    Returns
    -------
    DigitNetwork
        In evaluation mode, on the same device. Its logits differ by rounding only (1e-5).
    """
    quick = copy.deepcopy(model).eval().requires_grad_(False)
    for block in list(quick.modules()):
        if isinstance(block, nn.Sequential):
            _fold_batch_norm(block)
        for name, layer in list(block.named_children()):
            if isinstance(layer, nn.Dropout):
                setattr(block, name, nn.Identity())
    pool_before_relu(quick)
    # Channels last is how convolutions run fastest; `compute_logits` lays the input out so.
    quick.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return quick


def _fold_batch_norm(block: nn.Sequential) -> None:
    """Let each convolution do what the batch normalisation after it would do, in place."""
    for place in range(len(block) - 1):
        first, second = block[place], block[place + 1]
        if isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d):
            block[place] = fuse_conv_bn_eval(first, second)
            block[place + 1] = nn.Identity()
    for place in reversed(range(len(block))):
        if isinstance(block[place], nn.Identity | nn.Dropout):
            del block[place]


def pool_before_relu(model: nn.Module) -> None:
    """Let neighbouring ReLU and max-pooling change places: same result, a quarter of the work.

    Both keep the order of values, so they commute; neither has weights, so the state dict keeps
    its names.
    """
    for block in model.modules():
        if isinstance(block, nn.Sequential):
            for place in range(len(block) - 1):
                first, second = block[place], block[place + 1]
                if isinstance(first, nn.ReLU | nn.LeakyReLU) and isinstance(second, nn.MaxPool2d):
                    block[place], block[place + 1] = second, first


def count_parameters(model: nn.Module) -> int:
    """Count the weights that training changes."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


@torch.inference_mode()
def compute_logits(model: nn.Module, pixels: Tensor, *, batch_size: int = FORWARD_BATCH) -> Tensor:
    """Run a network in evaluation mode over any number of pictures.

    Parameters
    ----------
    model : Module
        Left in the mode (training or evaluation) in which it came.
    pixels : Tensor of shape (N, 1, 28, 28)
        uint8 from 0 to 255, or float from 0.0 to 1.0. N may be zero.
    batch_size : int, default=256
        Pictures in one forward pass.

    Returns
    -------
    Tensor of shape (N, 10), float32, on the CPU
    """
    device = next(model.parameters()).device
    was_training = model.training
    if was_training:  # asking is cheaper than walking through all layers for one picture
        model.eval()
    try:
        parts = [
            model(to_unit_pixels(part.to(device)).contiguous(memory_format=torch.channels_last))
            for part in (pixels.split(batch_size) if len(pixels) > batch_size else [pixels])
            if len(part)
        ]
    finally:
        if was_training:
            model.train()
    if len(parts) == 1:  # the usual case of a page: one picture, and nothing to join
        return parts[0].float().cpu()
    return torch.cat(parts).float().cpu() if parts else torch.empty(0, CLASSES)


def to_unit_pixels(pixels: Tensor) -> Tensor:
    """Turn bytes 0..255 into floats 0.0..1.0; floats pass unchanged."""
    return pixels.float() / 255 if pixels.dtype == torch.uint8 else pixels


def build_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    return argparse.ArgumentParser(
        description="Print the table of networks and check their shapes."
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Print one row for each network; fail if one does not give ten logits."""
    build_parser().parse_args(argv)
    print(f"{'name':<10} {'parameters':>10} {'size':>8}  {'input':<15} layers")
    for name in list_models():
        model = build_model(name).eval()
        logits = model(torch.zeros(2, 1, IMAGE_SIZE, IMAGE_SIZE))
        if logits.shape != (2, CLASSES):
            raise ArchitectureError(f"{name} gave {tuple(logits.shape)}, not (2, {CLASSES})")
        parameters = count_parameters(model)
        size = f"{4 * parameters / 1e6:.2f} MB"
        print(f"{name:<10} {parameters:>10,} {size:>8}  {model.scaling!s:<15} {model.summary}")
    print(f"every network turns (2, 1, {IMAGE_SIZE}, {IMAGE_SIZE}) into (2, {CLASSES})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
