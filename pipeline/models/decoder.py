"""Finer logits: features are enlarged step by step, each time joined with what the encoder saw at that size.

As U-Net expands (Ronneberger et al. 2015), and DeepLabV3+ in one step (Chen et al., ECCV 2018): a pole of two pixels is
less than one feature at a stride of 8, so its borders must come from finer ones.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.models.base import conv_norm_relu


class Decoder(nn.Module):
    """Bilinear enlargement, concatenation and a 3×3 convolution for each finer size; `outputs` are its channels."""

    def __init__(self, inputs: int, skips: Sequence[int]) -> None:
        """`skips`: channels of the finer features, from coarse to fine; none of the steps leaves more than its skip."""
        super().__init__()
        self.merge = nn.ModuleList()
        channels = inputs
        for skip in skips:
            outputs = min(channels, skip)
            self.merge.append(conv_norm_relu(channels + skip, outputs))
            channels = outputs
        self.outputs = channels

    def forward(self, features: Tensor, skips: Sequence[Tensor]) -> Tensor:
        """(N, inputs, h, w) and finer features, from coarse to fine → (N, outputs, H, W) at the finest size."""
        for merge, skip in zip(self.merge, skips, strict=True):
            larger = F.interpolate(features, skip.shape[-2:], mode="bilinear", align_corners=False)
            features = merge(torch.cat([larger, skip], dim=1))
        return features
