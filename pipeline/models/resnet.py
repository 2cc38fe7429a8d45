"""ResNet (He et al., CVPR 2016) whose last stages dilate instead of halving (Yu, Koltun, Funkhouser, CVPR 2017).

Layers are named as in torchvision's `resnet18`, `resnet50` and `resnet101`, so that their weights fit; those of the
deep stem as in the PSPNet authors' own `resnet50_v2`.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

BLOCKS = {"resnet18": (2, 2, 2, 2), "resnet50": (3, 4, 6, 3), "resnet101": (3, 4, 23, 3)}


class Design(NamedTuple):
    """What tells the ResNets apart.

    `stem`: `deep`, three 3×3 convolutions, or `single`, one of 7×7. `shortcut`: what precedes the 1×1 convolution
    where a block halves the size: `average` pooling (ResNet-D, He et al. 2019) or plain `subsample`.
    """

    backbone: Literal["resnet18", "resnet50", "resnet101"]
    width: int
    output_stride: int
    stem: Literal["deep", "single"]
    shortcut: Literal["average", "subsample"]


class ResNet(nn.Module):
    """Stem and four stages; `channels` and `strides` (pixels per feature) are those of each."""

    def __init__(self, design: Design) -> None:
        super().__init__()
        width = design.width
        if design.stem == "single":
            channels = width
            self.conv1, self.bn1 = nn.Conv2d(3, width, 7, 2, padding=3, bias=False), nn.BatchNorm2d(width)
        else:
            channels = width if design.backbone == "resnet18" else 2 * width
            half = max(channels // 2, 1)
            self.conv1, self.bn1 = nn.Conv2d(3, half, 3, 2, padding=1, bias=False), nn.BatchNorm2d(half)
            self.conv2, self.bn2 = nn.Conv2d(half, half, 3, padding=1, bias=False), nn.BatchNorm2d(half)
            self.conv3, self.bn3 = nn.Conv2d(half, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)
        self.deep = design.stem == "deep"
        stages = []
        stride_so_far, dilation = 4, 1
        self.strides, self.channels = [2], [channels]
        for stage, count in enumerate(BLOCKS[design.backbone]):
            stride = 2 if stage and stride_so_far < design.output_stride else 1
            if stage and stride == 1:
                dilation *= 2
            stride_so_far *= stride
            blocks = []
            for position in range(count):
                block = Block(channels, width * 2**stage, stride if position == 0 else 1, dilation, design)
                blocks.append(block)
                channels = block.outputs
            stages.append(nn.Sequential(*blocks))
            self.strides.append(min(stride_so_far, design.output_stride))
            self.channels.append(channels)
        self.layer1, self.layer2, self.layer3, self.layer4 = stages

    def forward(self, images: Tensor) -> list[Tensor]:
        """Features of the stem, before its pooling, and of the four stages, (N, channels, H / stride, W / stride)."""
        features = F.relu(self.bn1(self.conv1(images)), inplace=True)
        if self.deep:
            features = F.relu(self.bn2(self.conv2(features)), inplace=True)
            features = F.relu(self.bn3(self.conv3(features)), inplace=True)
        seen = [features]
        features = F.max_pool2d(features, 3, stride=2, padding=1)
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            features = stage(features)
            seen.append(features)
        return seen


class Block(nn.Module):
    """Beside a shortcut, two 3×3 convolutions in ResNet-18, else a bottleneck: 1×1, 3×3 and 1×1 to four times as many.

    The first 3×3 convolution strides.
    """

    def __init__(self, inputs: int, width: int, stride: int, dilation: int, design: Design) -> None:
        super().__init__()
        self.outputs = width
        if design.backbone == "resnet18":
            self.conv1 = nn.Conv2d(inputs, width, 3, stride, dilation, dilation, bias=False)
            self.conv2 = nn.Conv2d(width, width, 3, 1, dilation, dilation, bias=False)
        else:
            self.outputs = 4 * width
            self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
            self.conv2 = nn.Conv2d(width, width, 3, stride, dilation, dilation, bias=False)
            self.conv3 = nn.Conv2d(width, self.outputs, 1, bias=False)
            self.bn3 = nn.BatchNorm2d(self.outputs)
        self.bn1, self.bn2 = nn.BatchNorm2d(width), nn.BatchNorm2d(width)
        self.bottleneck = design.backbone != "resnet18"
        window = stride if design.shortcut == "average" else 1
        changes = stride > 1 or inputs != self.outputs
        self.downsample = Projection(inputs, self.outputs, stride, window) if changes else nn.Identity()

    def forward(self, features: Tensor) -> Tensor:
        """(N, inputs, h, w) → (N, outputs, h / stride, w / stride)."""
        inner = F.relu(self.bn1(self.conv1(features)), inplace=True)
        inner = self.bn2(self.conv2(inner))
        if self.bottleneck:
            inner = self.bn3(self.conv3(F.relu(inner, inplace=True)))
        return F.relu(inner + self.downsample(features), inplace=True)


class Projection(nn.Sequential):
    """A shortcut where size or channels change: pooling over `window`, a 1×1 convolution, batch normalisation.

    Not a strided 1×1 convolution, though with a window of 1 it computes the same: its backward pass on a CPU corrupts
    memory in torch 2.13 where the channels are few and last in memory.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, window: int) -> None:
        super().__init__(nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs))
        self.stride, self.window = stride, window

    def forward(self, features: Tensor) -> Tensor:
        """(N, inputs, h, w) → (N, outputs, h / stride, w / stride)."""
        if self.stride > 1:
            features = F.avg_pool2d(features, self.window, self.stride)
        for layer in self:
            features = layer(features)
        return features
