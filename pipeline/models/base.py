"""What every architecture shares: the contract that training and prediction rely on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

Norm = Literal["batch", "group", "instance", "none"]


class Options(BaseModel):
    """Base of an architecture's options: frozen, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True, slots=True)
class Published:
    """An encoder that others have trained on ImageNet, and published.

    `names`: the encoder's entries in the model's state dict → their names in the published one. `fetch`: reads the
    published state dict, from the local cache or the network; raises ParamsError where there is none for these options.
    """

    names: dict[str, str]
    fetch: Callable[[], dict[str, Tensor]]


class Segmenter(nn.Module):
    """Base of the architectures.

    A subclass sets `options_type` and `multiple`, takes `(classes, options)`, and implements `heads_of_padded`; if its
    encoder is a published one, `published`, too.
    """

    options_type: ClassVar[type[Options]]
    multiple: int
    """Height and width of what the network proper sees are multiples of this, in pixels."""
    auxiliary_weight: float = 0.0
    """Weight of the auxiliary heads' loss beside the main head's."""

    def __init__(self, classes: int, options: Any) -> None:
        super().__init__()

    def heads_of_padded(self, images: Tensor) -> tuple[Tensor, ...]:
        """Logits of the main head, then in training mode of the auxiliary heads, each (N, C, H, W)."""
        raise NotImplementedError

    def published(self) -> Published | None:
        """Where the encoder's ImageNet weights are; None if nobody published any."""
        return None

    def heads(self, images: Tensor) -> tuple[Tensor, ...]:
        """Logits of every head, each float32 (N, C, H, W), for normalised images, float (N, 3, H, W) of any size.

        The images are padded right and below to multiples of `multiple` by repeating their edge, the logits cropped.
        """
        height, width = images.shape[-2:]
        padding = (0, -width % self.multiple, 0, -height % self.multiple)
        padded = F.pad(images, padding, mode="replicate") if any(padding) else images
        return tuple(head[..., :height, :width] for head in self.heads_of_padded(padded))

    def forward(self, images: Tensor) -> Tensor:
        """Logits of the main head, float32 (N, C, H, W), for normalised images, float (N, 3, H, W) of any size."""
        return self.heads(images)[0]


def conv_norm_relu(
    inputs: int,
    outputs: int,
    kernel: int = 3,
    stride: int = 1,
    dilation: int = 1,
    relu: bool = True,
    norm: Norm = "batch",
) -> nn.Sequential:
    """Convolution that keeps the size (up to its stride), normalisation, and ReLU unless told otherwise."""
    padding = dilation * (kernel // 2)
    layers: list[nn.Module] = [
        nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation, bias=norm == "none"),
        normalisation(norm, outputs),
    ]
    if relu:
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


def normalisation(norm: Norm, channels: int) -> nn.Module:
    """The layer by its name; groups are of 16 channels (Wu & He 2018), or of all where 16 does not divide them."""
    if norm == "batch":
        return nn.BatchNorm2d(channels)
    if norm == "instance":
        return nn.InstanceNorm2d(channels, affine=True)
    if norm == "group":
        return nn.GroupNorm(channels // 16 if channels % 16 == 0 else 1, channels)
    return nn.Identity()


def initialise(model: nn.Module) -> None:
    """Initialise convolutions for ReLU networks (He et al. 2015, fan-out)."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def initialise_classifier(layer: nn.Conv2d, std: float = 0.01) -> nn.Conv2d:
    """Small weights, so that training starts from nearly equal probabilities. Returns the layer."""
    nn.init.normal_(layer.weight, std=std)
    return layer


def enlarge(logits: Tensor, like: Tensor) -> Tensor:
    """Bilinear interpolation of logits (N, C, h, w), in float32, to the height and width of `like`."""
    return F.interpolate(logits.float(), size=like.shape[-2:], mode="bilinear", align_corners=False)
