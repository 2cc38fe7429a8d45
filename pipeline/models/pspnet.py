"""PSPNet (Zhao, Shi, Qi, Wang, Jia, CVPR 2017): pyramid pooling on a dilated ResNet, with an auxiliary head.

The default is a ResNet-18 of width 24, small enough to learn on a CPU; `backbone: resnet50` or `resnet101` gives the
paper's, with its stem of three 3×3 convolutions, and with `stem: single` torchvision's ResNet.
Beside the paper: the pyramid's 1×1 convolutions have no batch normalisation, so that a batch of one image trains, too;
`decoder_stride` adds a decoder.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from pipeline.models.base import Options, Published, Segmenter, conv_norm_relu, enlarge, initialise
from pipeline.models.decoder import Decoder
from pipeline.models.pretrained import download
from pipeline.models.resnet import Design, ResNet
from schemas.errors import ParamsError

WIDTHS = {"resnet18": 24, "resnet50": 64, "resnet101": 64}
FILES = {
    "resnet18": "resnet18-f37072fd.pth",
    "resnet50": "resnet50-0676ba61.pth",
    "resnet101": "resnet101-63fe2227.pth",
}
DROPOUT = 0.1


class PSPNetOptions(Options):
    """`width`: channels of the first stage, before a bottleneck's fourfold (default 24, for resnet50 and 101 64).

    `output_stride`: pixels per feature. `pyramid`: cells a side of each pooling level. `stem`: three 3×3 convolutions
    (`deep`), or torchvision's 7×7 one (`single`). `decoder_stride`: pixels per logit behind a decoder on the finer
    features; None: the paper's, as many as `output_stride`.
    """

    backbone: Literal["resnet18", "resnet50", "resnet101"] = "resnet18"
    width: int | None = Field(default=None, ge=4)
    output_stride: Literal[8, 16, 32] = 8
    pyramid: tuple[int, ...] = Field(default=(1, 2, 3, 6), min_length=1)
    stem: Literal["deep", "single"] = "deep"
    decoder_stride: Literal[2, 4] | None = None


class PSPNet(Segmenter):
    """Dilated ResNet, pyramid pooling module, classifier; the auxiliary head looks at the third of four stages."""

    options_type = PSPNetOptions
    auxiliary_weight = 0.4

    def __init__(self, classes: int, options: PSPNetOptions) -> None:
        super().__init__(classes, options)
        self.options = options
        self.multiple = options.output_stride
        small_and_deep = options.backbone == "resnet18" and options.stem == "deep"
        self.backbone = ResNet(
            Design(
                options.backbone,
                options.width or WIDTHS[options.backbone],
                options.output_stride,
                options.stem,
                shortcut="average" if small_and_deep else "subsample",
            )
        )
        middle, last = self.backbone.channels[-2:]
        self.pyramid = PyramidPooling(last, options.pyramid)
        width = max(last // 4, 1)
        self.skips = self._skips()
        self.main: nn.Module
        if self.skips:
            self.main = FineHead(
                self.pyramid.outputs, width, [self.backbone.channels[at] for at in self.skips], classes
            )
        else:
            self.main = head(self.pyramid.outputs, width, classes)
        self.auxiliary = head(middle, max(middle // 4, 1), classes)
        initialise(self)

    def heads_of_padded(self, images: Tensor) -> tuple[Tensor, ...]:
        """Logits of the main head and, in training mode, of the auxiliary one, float32 (N, C, H, W)."""
        features = self.backbone(images)
        context = self.pyramid(features[-1])
        main = self.main(context, [features[at] for at in self.skips]) if self.skips else self.main(context)
        logits = [main, self.auxiliary(features[-2])] if self.training else [main]
        return tuple(enlarge(each, images) for each in logits)

    def _skips(self) -> list[int]:
        """Positions, from coarse to fine, of the features for the decoder: the last of each stride that it passes."""
        finest = self.options.decoder_stride or self.options.output_stride
        last_of = {stride: at for at, stride in enumerate(self.backbone.strides)}
        return [last_of[stride] for stride in sorted(last_of, reverse=True) if finest <= stride < self.multiple]

    def published(self) -> Published:
        """torchvision's ResNet of that depth; of a deep stem, it has none."""
        names = {f"backbone.{name}": name for name in self.backbone.state_dict()}
        return Published(names, self._fetch)

    def _fetch(self) -> dict[str, Tensor]:
        if self.options.stem == "deep":
            raise ParamsError(
                "train.encoder_weights: torchvision has no ImageNet weights for a ResNet with the deep stem",
                "Set `train.architecture_options.stem` to `single`, or give a file as `train.encoder_weights`.",
            )
        return download(FILES[self.options.backbone])


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


class FineHead(nn.Module):
    """The head with a decoder before its classifier."""

    def __init__(self, inputs: int, width: int, skips: list[int], classes: int) -> None:
        super().__init__()
        self.reduce = conv_norm_relu(inputs, width)
        self.decoder = Decoder(width, skips)
        self.dropout = nn.Dropout2d(DROPOUT)
        self.classify = nn.Conv2d(self.decoder.outputs, classes, 1)

    def forward(self, features: Tensor, skips: list[Tensor]) -> Tensor:
        """Logits (N, C, h, w) of the finest skip's size."""
        logits: Tensor = self.classify(self.dropout(self.decoder(self.reduce(features), skips)))
        return logits


def head(inputs: int, width: int, classes: int) -> nn.Sequential:
    """3×3 convolution, dropout, and a 1×1 convolution to the logits."""
    return nn.Sequential(conv_norm_relu(inputs, width), nn.Dropout2d(DROPOUT), nn.Conv2d(width, classes, 1))
