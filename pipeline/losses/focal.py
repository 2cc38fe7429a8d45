"""Focal loss (Lin, Goyal, Girshick, He, Dollár: Focal Loss for Dense Object Detection, ICCV 2017)."""

from __future__ import annotations

import torch
from torch import Tensor

from pipeline.losses.cross_entropy import cross_entropy

GAMMA = 2.0
"""The paper's best."""


def focal(logits: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    """−w (1 − p)^γ log p of each pixel's class, float32 (N, H, W), with γ = 2; w is the paper's α."""
    minus_log_p = cross_entropy(logits, target, torch.ones_like(weights))
    weighted = cross_entropy(logits, target, weights)
    return (-torch.expm1(-minus_log_p)) ** GAMMA * weighted
