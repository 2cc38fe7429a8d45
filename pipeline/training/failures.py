"""What ends training early, said with its remedy, and what is kept then."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from schemas.errors import ParamsError
from schemas.params import TrainParams

CPU_SIGNS = ("DefaultCPUAllocator", "not enough memory", "can't allocate memory", "Cannot allocate memory")


@contextmanager
def explained(
    options: TrainParams, device: torch.device, processes: int, keep_best: Callable[[], str]
) -> Iterator[None]:
    """Within it, memory that runs out raises ParamsError; its remedy, as every ParamsError's, ends in `keep_best()`."""
    try:
        yield
    except ParamsError as error:
        raise ParamsError(str(error), f"{error.remedy} {keep_best()}".strip()) from None
    except (RuntimeError, MemoryError) as error:
        if not is_memory_short(error):
            raise
        part = options.batch_size // (options.accumulate * processes)
        height, width = options.window_hw
        raise ParamsError(
            f"out of memory on {device} with {part} images of {height}x{width} at a time",
            "Raise `train.accumulate` (parts of the same batch), or lower `train.batch_size` or `train.crop_hw`. "
            f"{keep_best()}".strip(),
        ) from None


def is_memory_short(error: Exception) -> bool:
    """Whether it says that a GPU's or the machine's memory is used up."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return any(sign in str(error) for sign in CPU_SIGNS)
