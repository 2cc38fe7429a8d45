"""U-Net (Ronneberger, Fischer, Brox, MICCAI 2015), padded so that the output has the input's size.

Beside the paper: batch normalisation after each convolution, and a width to choose (the paper's is 64).
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn

from pipeline.models.base import Options, Segmenter, conv_norm_relu, initialise


class UNetOptions(Options):
    """`width`: channels at full resolution, doubled at each of `depth` halvings."""

    width: int = Field(default=16, ge=1)
    depth: int = Field(default=4, ge=1, le=7)


class UNet(Segmenter):
    """A contracting path, and an expanding one that concatenates what the contracting one saw at the same size."""

    options_type = UNetOptions

    def __init__(self, classes: int, options: UNetOptions) -> None:
        super().__init__(classes, options)
        self.multiple = 2**options.depth
        widths = [options.width * 2**level for level in range(options.depth + 1)]
        self.down = nn.ModuleList(
            double_conv(inputs, outputs) for inputs, outputs in zip([3, *widths], widths, strict=False)
        )
        self.pool = nn.MaxPool2d(2)
        steps = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.grow = nn.ModuleList(nn.ConvTranspose2d(inputs, outputs, 2, stride=2) for inputs, outputs in steps)
        self.up = nn.ModuleList(double_conv(2 * outputs, outputs) for _, outputs in steps)
        self.classify = nn.Conv2d(options.width, classes, 1)
        initialise(self)

    def heads_of_padded(self, images: Tensor) -> tuple[Tensor, ...]:
        """Logits, float32 (N, C, H, W)."""
        seen: list[Tensor] = []
        features = images
        for level, block in enumerate(self.down):
            features = block(self.pool(features) if level else features)
            seen.append(features)
        for grow, block, skip in zip(self.grow, self.up, seen[-2::-1], strict=True):
            features = block(torch.cat([skip, grow(features)], dim=1))
        return (self.classify(features).float(),)


def double_conv(inputs: int, outputs: int) -> nn.Sequential:
    """Two 3×3 convolutions, each with normalisation and ReLU."""
    return nn.Sequential(conv_norm_relu(inputs, outputs), conv_norm_relu(outputs, outputs))
