"""Online hard example mining (Shrivastava, Gupta, Girshick, CVPR 2016), by pixel."""

from __future__ import annotations

import torch
from torch import Tensor


def hardest(pixels: Tensor, labelled: Tensor, share: float) -> Tensor:
    """Which pixels, bool (N, H, W), are the `share` (0..1] of the labelled ones with the highest loss; at least one.

    `pixels`: loss per pixel, (N, H, W); `labelled`: bool (N, H, W). Of equal losses the first in memory come first.
    """
    order = torch.where(labelled, pixels, -1).reshape(-1).sort(descending=True, stable=True).indices
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(order), device=order.device)
    kept = (labelled.sum() * share).ceil()
    return (rank.reshape(pixels.shape) < kept) & labelled
