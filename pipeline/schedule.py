"""The learning rate over the steps of a run, by the names that `train.schedule` gives."""

from __future__ import annotations

import math
from collections.abc import Callable

from schemas.params import TrainParams

RISE_SHARE = 0.3
START_DIVISOR = 25.0
END_DIVISOR = 2.5e5
"""One-cycle's shape, that of torch's OneCycleLR."""


def learning_rate(options: TrainParams, step: int, steps: int) -> float:
    """Learning rate of step 0..steps-1: `train.warmup` of the steps rising in a line, then `train.schedule`."""
    warmup_steps = round(options.warmup * steps)
    if step < warmup_steps:
        return options.learning_rate * (step + 1) / (warmup_steps + 1)
    share = (step - warmup_steps) / (steps - warmup_steps)
    return options.learning_rate * SCHEDULES[options.schedule](options, share)


def poly(options: TrainParams, share: float) -> float:
    """(1 − share)^`train.poly_power`, as in PSPNet (Zhao et al. 2017)."""
    return float((1 - share) ** options.poly_power)


def cosine(options: TrainParams, share: float) -> float:
    """Half a cosine from 1 to 0 (Loshchilov & Hutter: SGDR, 2017, without restarts)."""
    return _between(1, 0, share)


def one_cycle(options: TrainParams, share: float) -> float:
    """Up from 1/25 to 1 over the first 30 %, then down to nearly nothing (Smith & Topin: Super-Convergence, 2018)."""
    if share < RISE_SHARE:
        return _between(1 / START_DIVISOR, 1, share / RISE_SHARE)
    return _between(1, 1 / END_DIVISOR, (share - RISE_SHARE) / (1 - RISE_SHARE))


SCHEDULES: dict[str, Callable[[TrainParams, float], float]] = {"poly": poly, "cosine": cosine, "one_cycle": one_cycle}
"""(parameters, share of the steps done, 0..1) → factor of the learning rate, 0..1."""


def _between(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2
