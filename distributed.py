"""Train in several processes at once, each with its part of every batch.

    process 0, the leader: half of a batch -> gradients -+
                                                         +-> their mean -> the same step in both
    process 1:             other half      -> gradients -+

torchrun starts the processes, and tells each one in the environment who it is. PyTorch's
`DistributedDataParallel` averages the gradients; here is only what training needs besides. A
process that was started alone is a team of one, for which everything below does nothing.

    $ torchrun --nproc_per_node 2 -- train.py --recipe fast
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.distributed as dist

# `DistributedDataParallel` imports it late, and its functions keep the group that there is by then
# as their default: its threads would outlive the group, and abort a process that ends (PyTorch
# 2.12). Imported before there is a group, they keep none.
import torch.distributed.nn.functional
from torch import Tensor, nn

from errors import SettingsError
from utils import pick_device

T = TypeVar("T")


@dataclass(frozen=True)
class Team:
    """The processes of one training, seen from one of them.

    Attributes
    ----------
    rank : int
        Which process this is; 0 leads: it measures, prints and writes.
    size : int
        How many there are.
    """

    rank: int = 0
    size: int = 1

    @property
    def is_leader(self) -> bool:
        """Whether this process measures, prints and writes."""
        return self.rank == 0

    def wrap(self, model: nn.Module) -> nn.Module:
        """Let `backward` leave the mean of all processes' gradients in the model's weights."""
        if self.size == 1:
            return model
        # Each process keeps its own statistics of batch normalisation; the leader's count.
        return nn.parallel.DistributedDataParallel(model, broadcast_buffers=False)

    def broadcast(self, value: T) -> T:
        """Give the leader's value to all; everyone waits for it here.

        Tensors arrive on the CPU: pickled as they are, those of the leader's card would come to
        lie on that card once more for each process.
        """
        if self.size == 1:
            return value
        content = io.BytesIO()
        if self.is_leader:
            torch.save(value, content)
        contents = [content.getvalue()]
        dist.broadcast_object_list(contents, src=0)
        if self.is_leader:
            return value
        received: T = torch.load(io.BytesIO(contents[0]), map_location="cpu", weights_only=True)
        return received

    def all_reduce(self, values: Tensor) -> Tensor:
        """Add up the tensors of all processes, in place."""
        if self.size > 1:
            dist.all_reduce(values)
        return values

    def check_batch(self, batch_size: int) -> None:
        """Refuse batches that cannot be cut into equal parts.

        Raises
        ------
        SettingsError
            The message says what the size may be.
        """
        if batch_size % self.size:
            raise SettingsError(
                f"--batch-size {batch_size} cannot be shared by {self.size} processes: "
                f"it has to be a multiple of {self.size}"
            )


ALONE = Team()


@contextlib.contextmanager
def join_team(device_name: str) -> Iterator[tuple[Team, torch.device]]:
    """Meet the processes that torchrun has started; without torchrun, be a team of one.

    Parameters
    ----------
    device_name : str
        As for `utils.pick_device`. Where it means CUDA, each process takes a card of its own.

    Yields
    ------
    Team
    torch.device
        On which this process computes.

    Raises
    ------
    SettingsError
        If there is no such device, or there are more processes than cards.
    """
    device = pick_device(device_name)
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield ALONE, device
        return
    if device.type == "cuda":
        place = int(os.environ["LOCAL_RANK"])
        if place >= torch.cuda.device_count():
            raise SettingsError(
                f"{size} processes need as many CUDA cards, and this machine has "
                f"{torch.cuda.device_count()}; start fewer, or use --no-cuda"
            )
        device = torch.device("cuda", place)
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Team(dist.get_rank(), size), device
    finally:
        dist.destroy_process_group()
