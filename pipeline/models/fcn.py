"""FCN-32s, FCN-16s and FCN-8s (Long, Shelhamer, Darrell, CVPR 2015) on VGG-16.

fc6 and fc7 are convolutions, the scores of pool4 and pool3 are added on the way up, and transposed convolutions, which
start as bilinear interpolation, enlarge. The three share their names, so that each can start from the one before.

Beside the paper: the edge is padded to multiples of 32 instead of by 100 pixels, fc6 keeps the size; the last
enlargement learns, too; the scores start small and random, not at zero, so that all weights learn without ImageNet's;
`norm: batch` is there for training from scratch.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from pipeline.models.base import Options, Published, Segmenter, initialise, initialise_classifier
from pipeline.models.vgg import STRIDE, published_vgg, vgg_layers


class FCNOptions(Options):
    """`width`: channels of the first stage, the paper's 64; fc6 and fc7 have 64 times as many."""

    width: int = Field(default=64, ge=1)
    norm: Literal["batch", "none"] = "none"
    dropout: float = Field(default=0.5, ge=0, lt=1)


class FCN32s(Segmenter):
    """VGG-16 with scores at one 32nd of the size, enlarged at once."""

    options_type = FCNOptions
    multiple = STRIDE
    skips: ClassVar[tuple[str, ...]] = ()
    """Whose scores are added, deepest first: `pool4`, `pool3`."""

    def __init__(self, classes: int, options: FCNOptions) -> None:
        super().__init__(classes, options)
        self.norm: Literal["batch", "none"] = options.norm
        width, hidden = options.width, 64 * options.width
        self.features = vgg_layers(width, options.norm)
        self.fc6 = nn.Conv2d(8 * width, hidden, 7, padding=3)
        self.fc7 = nn.Conv2d(hidden, hidden, 1)
        self.dropout = nn.Dropout(options.dropout)
        self.score = nn.Conv2d(hidden, classes, 1)
        channels = {"pool4": 8 * width, "pool3": 4 * width}
        skips = {name: nn.Conv2d(channels[name], classes, 1) for name in self.skips}
        self.score_skips = nn.ModuleDict(skips)
        initialise(self)
        self.upscore = nn.ModuleDict({name: bilinear(classes, 2) for name in self.skips})
        self.enlarge = bilinear(classes, STRIDE // 2 ** len(self.skips))
        initialise_classifier(self.score)
        for skip in skips.values():
            nn.init.zeros_(skip.weight)

    def heads_of_padded(self, images: Tensor) -> tuple[Tensor, ...]:
        """Logits, float32 (N, C, H, W)."""
        pools: list[Tensor] = []
        features = images
        for layer in self.features:
            features = layer(features)
            if isinstance(layer, nn.MaxPool2d):
                pools.append(features)
        for layer in (self.fc6, self.fc7):
            features = self.dropout(F.relu(layer(features), inplace=True))
        scores = self.score(features)
        for name in self.skips:
            scores = self.upscore[name](scores) + self.score_skips[name](pools[int(name[-1]) - 1])
        return (self.enlarge(scores).float(),)

    def published(self) -> Published:
        """torchvision's `vgg16` or `vgg16_bn`; its first two fully connected layers are fc6 and fc7."""
        return published_vgg(self, self.norm, {"fc6": "classifier.0", "fc7": "classifier.3"})


class FCN16s(FCN32s):
    """Scores of pool4 beside; the last enlargement is by 16."""

    skips = ("pool4",)


class FCN8s(FCN32s):
    """Scores of pool4 and pool3 beside; the last enlargement is by 8."""

    skips = ("pool4", "pool3")


def bilinear(channels: int, factor: int) -> nn.ConvTranspose2d:
    """A transposed convolution that enlarges by an even `factor`, and starts as bilinear interpolation."""
    layer = nn.ConvTranspose2d(channels, channels, 2 * factor, factor, factor // 2, bias=False)
    ramp = 1 - torch.abs((torch.arange(2 * factor) + 0.5) / factor - 1)
    with torch.no_grad():
        layer.weight.zero_()
        layer.weight[range(channels), range(channels)] = torch.outer(ramp, ramp).to(layer.weight)
    return layer
