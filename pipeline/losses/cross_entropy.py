"""Cross-entropy, weighted by class."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from schemas.labels import VOID_INDEX


def cross_entropy(logits: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    """−w log p of each pixel's class, float32 (N, H, W)."""
    return F.cross_entropy(logits, target, weights, ignore_index=VOID_INDEX, reduction="none")
