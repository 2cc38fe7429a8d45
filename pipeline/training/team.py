"""The processes of one run: one alone, or those that torchrun started, on one machine or several."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from schemas.errors import ParamsError

T = TypeVar("T")

PATIENCE = datetime.timedelta(hours=6)
"""How long a process waits for another, which may be decoding all samples."""


@dataclass(frozen=True, slots=True)
class Team:
    """`rank`: which of the `size` processes this is, 0..size-1; `local_rank`: which of those on this machine."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes and speaks."""
        return self.rank == 0

    def total(self, tensor: Tensor) -> Tensor:
        """The sum of all processes' tensors, in place."""
        if self.size > 1:
            dist.all_reduce(tensor)
        return tensor

    def from_leader(self, value: T) -> T:
        """What the leader passed here, in every process."""
        if self.size == 1:
            return value
        values = [value]
        dist.broadcast_object_list(values)
        return values[0]

    def align(self, model: nn.Module) -> None:
        """Give every process the leader's buffers: the running statistics of batch normalisation, which differ."""
        if self.size > 1:
            for buffer in model.buffers():
                dist.broadcast(buffer, src=0)

    @contextmanager
    def one_by_machine(self) -> Iterator[None]:
        """What is within, one process of each machine does first, then the others: they find files made already."""
        if self.size > 1 and self.local_rank > 0:
            dist.barrier()
        yield
        if self.size > 1 and self.local_rank == 0:
            dist.barrier()


@contextmanager
def assembled(is_cuda: bool) -> Iterator[Team]:
    """The processes that torchrun started, by NCCL with a GPU each or by gloo; without torchrun, this one.

    Raises ParamsError if there are fewer GPUs than processes. After an error the others are left to torchrun, which
    ends them.
    """
    if not dist.is_torchelastic_launched():
        yield Team()
        return
    local_rank = dist.get_node_local_rank()
    if is_cuda:
        if local_rank >= torch.cuda.device_count():
            raise ParamsError(
                f"process {local_rank + 1} of this machine finds {torch.cuda.device_count()} GPUs",
                "Set torchrun's --nproc-per-node to the number of GPUs, or `train.device` to `cpu`.",
            )
        torch.cuda.set_device(local_rank)
    dist.init_process_group("nccl" if is_cuda else "gloo", timeout=PATIENCE)
    yield Team(dist.get_rank(), dist.get_world_size(), local_rank)
    dist.destroy_process_group()
