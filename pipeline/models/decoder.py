"""Finer logits: features are enlarged step by step, each time joined with what the encoder saw at that size.

As feature pyramids do (Lin et al., CVPR 2017), here for logits: a pole of two pixels is less than one feature at a
stride of 8, so its borders must come from finer ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.models.base import conv_norm_relu

FEWEST = 24


class Decoder(nn.Module):
    """For each finer size a 1×1 convolution, bilinear enlargement, the sum with the skip, and a 3×3 convolution.

    The sum, where U-Net concatenates, halves the cost of the finest step, which is the dearest. A step has as many
    channels as its skip, but at least FEWEST, to which a narrower skip is widened; `outputs` are those of the last.
    """

    def __init__(self, inputs: int, skips: Sequence[int]) -> None:
        """`skips`: channels of the finer features, from coarse to fine."""
        super().__init__()
        widths = [inputs, *(max(skip, FEWEST) for skip in skips)]
        self.narrow = nn.ModuleList(nn.Conv2d(before, after, 1) for before, after in pairwise(widths))
        self.lateral = nn.ModuleList(
            nn.Identity() if skip == width else nn.Conv2d(skip, width, 1)
            for skip, width in zip(skips, widths[1:], strict=True)
        )
        self.merge = nn.ModuleList(conv_norm_relu(width, width) for width in widths[1:])
        self.outputs = widths[-1]

    def forward(self, features: Tensor, skips: Sequence[Tensor]) -> Tensor:
        """(N, inputs, h, w) and finer features, from coarse to fine → (N, outputs, H, W) at the finest size."""
        for narrow, lateral, merge, skip in zip(self.narrow, self.lateral, self.merge, skips, strict=True):
            larger = F.interpolate(narrow(features), skip.shape[-2:], mode="bilinear", align_corners=False)
            features = merge(larger + lateral(skip))
        return features
