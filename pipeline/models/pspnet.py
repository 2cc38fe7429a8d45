"""PSPNet (Zhao, Shi, Qi, Wang, Jia, CVPR 2017): pyramid pooling on a dilated ResNet, with an auxiliary head.

The ResNet has the paper's stem of three 3×3 convolutions. The default is a ResNet-18 (basic blocks, 2-2-2-2) of
width 24, small enough to learn on a CPU; `backbone: resnet50` gives the paper's bottlenecks. All weights start random.
The pyramid's 1×1 convolutions have no batch normalisation, so that a batch of one image trains, too.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from pipeline.models.base import Options, Segmenter, conv_norm_relu, enlarge, initialise

BLOCKS = {"resnet18": (2, 2, 2, 2), "resnet50": (3, 4, 6, 3)}
WIDTHS = {"resnet18": 24, "resnet50": 64}
DROPOUT = 0.1


class PSPNetOptions(Options):
    """`width`: channels of the first stage (default 24, for resnet50 64). `output_stride`: pixels per feature.

    `pyramid`: cells a side of each pooling level.
    """

    backbone: Literal["resnet18", "resnet50"] = "resnet18"
    width: int | None = Field(default=None, ge=4)
    output_stride: Literal[8, 16, 32] = 8
    pyramid: tuple[int, ...] = Field(default=(1, 2, 3, 6), min_length=1)


class PSPNet(Segmenter):
    """Dilated ResNet, pyramid pooling module, classifier; the auxiliary head looks at the third of four stages."""

    options_type = PSPNetOptions
    auxiliary_weight = 0.4

    def __init__(self, classes: int, options: PSPNetOptions) -> None:
        super().__init__(classes, options)
        self.multiple = options.output_stride
        self.backbone = ResNet(options)
        middle, last = self.backbone.outputs
        self.pyramid = PyramidPooling(last, options.pyramid)
        self.main = head(self.pyramid.outputs, max(last // 4, 1), classes)
        self.auxiliary = head(middle, max(middle // 4, 1), classes)
        initialise(self)

    def heads_of_padded(self, images: Tensor) -> tuple[Tensor, ...]:
        """Logits of the main head and, in training mode, of the auxiliary one, float32 (N, C, H, W)."""
        middle, last = self.backbone(images)
        logits = [self.main(self.pyramid(last))]
        if self.training:
            logits.append(self.auxiliary(middle))
        return tuple(enlarge(each, images) for each in logits)


class PyramidPooling(nn.Module):
    """Context at several scales: average pooling to n×n cells, a 1×1 convolution, and back, beside the features."""

    def __init__(self, inputs: int, cells: tuple[int, ...]) -> None:
        super().__init__()
        width = max(inputs // len(cells), 1)
        self.levels = nn.ModuleList(
            nn.Sequential(nn.AdaptiveAvgPool2d(each), nn.Conv2d(inputs, width, 1), nn.ReLU(inplace=True))
            for each in cells
        )
        self.outputs = inputs + width * len(cells)

    def forward(self, features: Tensor) -> Tensor:
        """(N, inputs, h, w) → (N, outputs, h, w)."""
        size = features.shape[-2:]
        context = [F.interpolate(level(features), size, mode="bilinear", align_corners=False) for level in self.levels]
        return torch.cat([features, *context], dim=1)


class ResNet(nn.Module):
    """ResNet (He et al. 2016) whose last stages dilate instead of halving, so as to keep `output_stride`."""

    def __init__(self, options: PSPNetOptions) -> None:
        super().__init__()
        width = options.width or WIDTHS[options.backbone]
        block = Basic if options.backbone == "resnet18" else Bottleneck
        half = max(width // 2, 1)
        self.stem = nn.Sequential(
            conv_norm_relu(3, half, stride=2),
            conv_norm_relu(half, half),
            conv_norm_relu(half, width),
            nn.MaxPool2d(3, stride=2, padding=1),
        )
        self.stages = nn.ModuleList()
        channels, stride_so_far, dilation = width, 4, 1
        for stage, count in enumerate(BLOCKS[options.backbone]):
            stride = 2 if stage and stride_so_far < options.output_stride else 1
            if stage and stride == 1:
                dilation *= 2
            stride_so_far *= stride
            blocks = []
            for position in range(count):
                blocks.append(block(channels, width * 2**stage, stride if position == 0 else 1, dilation))
                channels = width * 2**stage * block.expansion
            self.stages.append(nn.Sequential(*blocks))
        self.outputs = channels // 2, channels

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Features of the third and the fourth stage, at `output_stride` or, the third, less."""
        first, second, third, fourth = self.stages
        middle = third(second(first(self.stem(images))))
        return middle, fourth(middle)


class Basic(nn.Module):
    """Two 3×3 convolutions beside a shortcut."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int, dilation: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv_norm_relu(inputs, width, stride=stride, dilation=dilation),
            conv_norm_relu(width, width, dilation=dilation, relu=False),
        )
        self.shortcut = shortcut(inputs, width, stride)

    def forward(self, features: Tensor) -> Tensor:
        """(N, inputs, h, w) → (N, width, h / stride, w / stride)."""
        return F.relu(self.body(features) + self.shortcut(features), inplace=True)


class Bottleneck(nn.Module):
    """1×1, 3×3 and 1×1 convolutions beside a shortcut."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int, dilation: int) -> None:
        super().__init__()
        outputs = width * self.expansion
        self.body = nn.Sequential(
            conv_norm_relu(inputs, width, kernel=1),
            conv_norm_relu(width, width, stride=stride, dilation=dilation),
            conv_norm_relu(width, outputs, kernel=1, relu=False),
        )
        self.shortcut = shortcut(inputs, outputs, stride)

    def forward(self, features: Tensor) -> Tensor:
        """(N, inputs, h, w) → (N, 4 · width, h / stride, w / stride)."""
        return F.relu(self.body(features) + self.shortcut(features), inplace=True)


def shortcut(inputs: int, outputs: int, stride: int) -> nn.Module:
    """The identity, or where size or channels change average pooling and a 1×1 convolution (ResNet-D, He et al. 2019).

    Not a strided 1×1 convolution: its backward pass on a CPU corrupts memory in torch 2.13 where the channels are few
    and last in memory.
    """
    if stride == 1 and inputs == outputs:
        return nn.Identity()
    project = conv_norm_relu(inputs, outputs, kernel=1, relu=False)
    return nn.Sequential(nn.AvgPool2d(stride), project) if stride > 1 else project


def head(inputs: int, width: int, classes: int) -> nn.Sequential:
    """3×3 convolution, dropout, and a 1×1 convolution to the logits."""
    return nn.Sequential(conv_norm_relu(inputs, width), nn.Dropout2d(DROPOUT), nn.Conv2d(width, classes, 1))
