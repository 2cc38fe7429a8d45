"""Weights that make up for classes of few pixels."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.dataset import Sample

Floats = NDArray[np.float64]


def class_weights(samples: Sequence[Sample], kind: str) -> Tensor:
    """Weight per class, float32 (C,); 0 for a class without a pixel.

    - `none`: 1.
    - `median_frequency` (Eigen & Fergus 2015, used by SegNet): median(freq) / freq(c), where freq(c) is the pixels of
      c over all pixels of the images that show c.
    - `sqrt_median_frequency`: its square root.
    - `effective_number` (Cui, Jia, Lin, Song, Belongie, CVPR 2019): (1 − β) / (1 − βⁿ) for n pixels, scaled to a mean
      of 1. β is (N − 1) / N, where N, the number of pixels that differ in kind, is taken to be the median class's:
      rarer classes weigh as 1 / n, more frequent ones ever more alike.
    """
    pixels = np.array([sample.class_pixels for sample in samples], dtype=np.float64)
    area = np.array([sample.height * sample.width for sample in samples], dtype=np.float64)
    counts = pixels.sum(axis=0)
    present = counts > 0
    weights = present.astype(np.float64)
    if kind != "none" and present.any():
        weights[present] = RULES[kind](counts[present], (area @ (pixels > 0))[present])
    return torch.from_numpy(weights).float()


def _median_frequency(counts: Floats, areas: Floats) -> Floats:
    frequency = counts / areas
    weights: Floats = np.median(frequency) / frequency
    return weights


def _sqrt_median_frequency(counts: Floats, areas: Floats) -> Floats:
    weights: Floats = np.sqrt(_median_frequency(counts, areas))
    return weights


def _effective_number(counts: Floats, areas: Floats) -> Floats:
    kinds = max(2.0, float(np.median(counts)))
    weights: Floats = 1 / -np.expm1(counts * np.log1p(-1 / kinds))
    return np.asarray(weights / weights.mean())


RULES: dict[str, Callable[[Floats, Floats], Floats]] = {
    "median_frequency": _median_frequency,
    "sqrt_median_frequency": _sqrt_median_frequency,
    "effective_number": _effective_number,
}
"""(pixels of each class, pixels of the images that show it) → its weight."""
