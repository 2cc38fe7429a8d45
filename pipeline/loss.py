"""What training minimises: cross-entropy over labelled pixels, weighted by class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.dataset import Sample
from schemas.labels import VOID_INDEX


def class_weights(samples: Sequence[Sample], kind: str) -> Tensor:
    """Weight per class, float32 (C,); 0 for a class without a pixel.

    `median_frequency` (Eigen & Fergus 2015, used by SegNet) is median(freq) / freq(c), where freq(c) is the pixels of
    c over all pixels of the images that show c; `sqrt_median_frequency` its square root; `none` is 1.
    """
    pixels = np.array([sample.class_pixels for sample in samples], dtype=np.float64)
    area = np.array([sample.height * sample.width for sample in samples], dtype=np.float64)
    present = pixels.sum(axis=0) > 0
    weights = present.astype(np.float64)
    if kind != "none":
        frequency = pixels.sum(axis=0)[present] / (area @ (pixels > 0))[present]
        weights[present] = np.median(frequency) / frequency
    if kind == "sqrt_median_frequency":
        weights = np.sqrt(weights)
    return torch.from_numpy(weights).float()


def segmentation_loss(heads: Sequence[Tensor], masks: Tensor, weights: Tensor, auxiliary_weight: float) -> Tensor:
    """Cross-entropy of the main head plus `auxiliary_weight` times that of the others; 0 where all is void.

    `heads`: logits (N, C, H, W); `masks`: uint8 (N, H, W), class index or 255; `weights`: (C,).
    """
    target = masks.long()
    labelled = target[target != VOID_INDEX]
    total_weight = weights[labelled].sum().clamp_min(torch.finfo(weights.dtype).tiny)
    main, *auxiliary = (
        F.cross_entropy(logits.float(), target, weights, ignore_index=VOID_INDEX, reduction="sum") / total_weight
        for logits in heads
    )
    return main + auxiliary_weight * sum(auxiliary, start=main.new_zeros(()))
