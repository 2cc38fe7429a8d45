"""Soft Dice loss (Milletari, Navab, Ahmadi: V-Net, 3DV 2016), over the classes of a batch."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from schemas.labels import VOID_INDEX


def dice(logits: Tensor, target: Tensor) -> Tensor:
    """1 − 2 Σ p g / (Σ p + Σ g), the sums over all labelled pixels, averaged over the classes that the masks show."""
    classes = logits.shape[1]
    labelled = target != VOID_INDEX
    actual = F.one_hot(target.masked_fill(~labelled, classes), classes + 1)[..., :classes].permute(0, 3, 1, 2)
    p = logits.softmax(1) * labelled[:, None]
    overlap, sizes = (p * actual).sum((0, 2, 3)), actual.sum((0, 2, 3))
    losses = 1 - 2 * overlap / (p.sum((0, 2, 3)) + sizes).clamp_min(1e-6)
    present = sizes > 0
    return (losses * present).sum() / present.sum().clamp_min(1)
