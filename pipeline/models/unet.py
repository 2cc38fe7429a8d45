"""U-Net (Ronneberger, Fischer, Brox, MICCAI 2015), padded so that the output has the input's size.

Beside the paper: whole feature maps are concatenated, nothing is cropped; normalisation after each convolution, batch
normalisation unless told otherwise (the paper has none); no dropout; a width to choose (the paper's is 64).
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from pipeline.models.base import Norm, Options, Segmenter, conv_norm_relu, initialise


class UNetOptions(Options):
    """`width`: channels at full resolution, doubled at each of `depth` halvings.

    `upsampling`: `transposed` convolutions, as in the paper, or 1×1 convolutions and `bilinear` interpolation.
    """

    width: int = Field(default=16, ge=1)
    depth: int = Field(default=4, ge=1, le=7)
    norm: Norm = "batch"
    upsampling: Literal["transposed", "bilinear"] = "transposed"


class UNet(Segmenter):
    """A contracting path, and an expanding one that concatenates what the contracting one saw at the same size."""

    options_type = UNetOptions

    def __init__(self, classes: int, options: UNetOptions) -> None:
        super().__init__(classes, options)
        self.multiple = 2**options.depth
        norm = options.norm
        widths = [options.width * 2**level for level in range(options.depth + 1)]
        self.down = nn.ModuleList(
            double_conv(inputs, outputs, norm) for inputs, outputs in zip([3, *widths], widths, strict=False)
        )
        self.pool = nn.MaxPool2d(2)
        steps = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.grow = nn.ModuleList(doubling(inputs, outputs, options.upsampling) for inputs, outputs in steps)
        self.up = nn.ModuleList(double_conv(2 * outputs, outputs, norm) for _, outputs in steps)
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


def double_conv(inputs: int, outputs: int, norm: Norm) -> nn.Sequential:
    """Two 3×3 convolutions, each with normalisation and ReLU."""
    return nn.Sequential(conv_norm_relu(inputs, outputs, norm=norm), conv_norm_relu(outputs, outputs, norm=norm))


def doubling(inputs: int, outputs: int, upsampling: str) -> nn.Module:
    """(N, inputs, h, w) → (N, outputs, 2h, 2w)."""
    if upsampling == "transposed":
        return nn.ConvTranspose2d(inputs, outputs, 2, stride=2)
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1), nn.Upsample(scale_factor=2, mode="bilinear"))
