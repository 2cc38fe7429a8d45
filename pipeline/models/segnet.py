"""SegNet and SegNet-Basic (Badrinarayanan, Kendall, Cipolla, TPAMI 2017).

The decoder unpools: each value goes where the encoder's max-pooling found its maximum, all else is 0, and convolutions
fill the gaps. SegNet has VGG-16's convolutions, and them mirrored as its decoder, all with batch normalisation.
SegNet-Basic has four 7×7 convolutions each way, its decoder without ReLU.

Beside the paper: no convolution before a batch normalisation has a bias; SegNet-Basic gets images normalised by channel
instead of by local contrast.
"""

from __future__ import annotations

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from pipeline.models.base import Options, Published, Segmenter, conv_norm_relu, initialise, initialise_classifier
from pipeline.models.vgg import STAGES, STRIDE, published_vgg, vgg_layers


class SegNetOptions(Options):
    """`width`: channels of the first stage, the paper's 64."""

    width: int = Field(default=64, ge=1)


class SegNet(Segmenter):
    """VGG-16's convolutions, and them mirrored."""

    options_type = SegNetOptions
    multiple = STRIDE

    def __init__(self, classes: int, options: SegNetOptions) -> None:
        super().__init__(classes, options)
        self.features = vgg_layers(options.width, "batch")
        self.decoder = nn.ModuleList()
        widths = [factor * options.width for factor, _ in STAGES]
        for stage in reversed(range(len(STAGES))):
            last = [conv_norm_relu(widths[stage], widths[stage - 1])] if stage else []
            same = [conv_norm_relu(widths[stage], widths[stage]) for _ in range(STAGES[stage][1] - 1)]
            self.decoder.append(nn.Sequential(*same, *last))
        self.classify = nn.Conv2d(options.width, classes, 3, padding=1)
        initialise(self)
        initialise_classifier(self.classify)

    def heads_of_padded(self, images: Tensor) -> tuple[Tensor, ...]:
        """Logits, float32 (N, C, H, W)."""
        found: list[Tensor] = []
        features = images
        for layer in self.features:
            if isinstance(layer, nn.MaxPool2d):
                features, indices = F.max_pool2d(features, 2, return_indices=True)
                found.append(indices)
            else:
                features = layer(features)
        for block in self.decoder:
            features = block(unpool(features, found.pop()))
        return (self.classify(features).float(),)

    def published(self) -> Published:
        """torchvision's `vgg16_bn`."""
        return published_vgg(self, "batch", {})


class SegNetBasic(Segmenter):
    """Four 7×7 convolutions down, four up."""

    options_type = SegNetOptions
    multiple = 16

    def __init__(self, classes: int, options: SegNetOptions) -> None:
        super().__init__(classes, options)
        width = options.width
        self.encoder = nn.ModuleList(conv_norm_relu(inputs, width, kernel=7) for inputs in (3, width, width, width))
        self.decoder = nn.ModuleList(conv_norm_relu(width, width, kernel=7, relu=False) for _ in self.encoder)
        self.classify = nn.Conv2d(width, classes, 1)
        initialise(self)
        initialise_classifier(self.classify)

    def heads_of_padded(self, images: Tensor) -> tuple[Tensor, ...]:
        """Logits, float32 (N, C, H, W)."""
        found: list[Tensor] = []
        features = images
        for block in self.encoder:
            features, indices = F.max_pool2d(block(features), 2, return_indices=True)
            found.append(indices)
        for block in self.decoder:
            features = block(unpool(features, found.pop()))
        return (self.classify(features).float(),)


def unpool(features: Tensor, indices: Tensor) -> Tensor:
    """(N, C, h, w) → (N, C, 2h, 2w): each value at its index into the larger plane, int64 (N, C, h, w), else 0.

    `max_unpool2d` does the same, but slower, and torch can't promise it to be deterministic on a GPU.
    """
    batch, channels, height, width = features.shape
    planes = features.new_zeros(batch, channels, 4 * height * width)
    return planes.scatter(2, indices.flatten(2), features.flatten(2)).view(batch, channels, 2 * height, 2 * width)
