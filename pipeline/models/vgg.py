"""VGG-16 (Simonyan & Zisserman, ICLR 2015): the thirteen convolutions that FCN and SegNet share.

Layers stand and are named as in torchvision's `vgg16` and `vgg16_bn`, so that their weights fit. Where a batch
normalisation follows, the convolution has no bias: a published one is taken into the running mean.
"""

from __future__ import annotations

from typing import Literal

from torch import nn

from pipeline.models.base import Published, Segmenter
from pipeline.models.pretrained import download

STAGES = ((1, 2), (2, 2), (4, 3), (8, 3), (8, 3))
"""Per stage: its channels as a multiple of the first one's, and its convolutions."""

STRIDE = 32

FILES = {"none": "vgg16-397923af.pth", "batch": "vgg16_bn-6c64b313.pth"}  # of torchvision


def vgg_layers(width: int, norm: Literal["batch", "none"]) -> nn.Sequential:
    """Convolutions, ReLUs and five 2×2 max-poolings, (N, 3, H, W) → (N, 8 · width, H / 32, W / 32)."""
    layers: list[nn.Module] = []
    channels = 3
    for factor, convolutions in STAGES:
        for _ in range(convolutions):
            layers.append(nn.Conv2d(channels, factor * width, 3, padding=1, bias=norm == "none"))
            channels = factor * width
            if norm == "batch":
                layers.append(nn.BatchNorm2d(channels))
            layers.append(nn.ReLU(inplace=True))
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers)


def published_vgg(model: Segmenter, norm: Literal["batch", "none"], renamed: dict[str, str]) -> Published:
    """torchvision's VGG-16 for a model whose `features` are `vgg_layers`; `renamed`: further layers → their names."""
    prefixes = {"features": "features", **renamed}
    layer_of = {name: name.split(".")[0] for name in model.state_dict()}
    names = {name: prefixes[layer] + name.removeprefix(layer) for name, layer in layer_of.items() if layer in prefixes}
    return Published(names, lambda: download(FILES[norm]))
