"""What every architecture shares: the contract that training and prediction rely on."""

from __future__ import annotations

from typing import Any, ClassVar

import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn


class Options(BaseModel):
    """Base of an architecture's options: frozen, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Segmenter(nn.Module):
    """Base of the architectures.

    A subclass sets `options_type` and `multiple`, takes `(classes, options)`, and implements `heads_of_padded`.
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

    def heads(self, images: Tensor) -> tuple[Tensor, ...]:
        """Logits of every head, each float32 (N, C, H, W), for normalised images, float (N, 3, H, W) of any size."""
        height, width = images.shape[-2:]
        padding = (0, -width % self.multiple, 0, -height % self.multiple)
        padded = F.pad(images, padding, mode="replicate") if any(padding) else images
        return tuple(head[..., :height, :width] for head in self.heads_of_padded(padded))

    def forward(self, images: Tensor) -> Tensor:
        """Logits of the main head, float32 (N, C, H, W), for normalised images, float (N, 3, H, W) of any size."""
        return self.heads(images)[0]


def conv_norm_relu(
    inputs: int, outputs: int, kernel: int = 3, stride: int = 1, dilation: int = 1, relu: bool = True
) -> nn.Sequential:
    """Convolution that keeps the size (up to its stride), batch normalisation, and ReLU unless told otherwise."""
    padding = dilation * (kernel // 2)
    layers: list[nn.Module] = [
        nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation, bias=False),
        nn.BatchNorm2d(outputs),
    ]
    if relu:
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


def initialise(model: nn.Module) -> None:
    """Initialise convolutions for ReLU networks (He et al. 2015, fan-out)."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def enlarge(logits: Tensor, like: Tensor) -> Tensor:
    """Bilinear interpolation of logits (N, C, h, w), in float32, to the height and width of `like`."""
    return F.interpolate(logits.float(), size=like.shape[-2:], mode="bilinear", align_corners=False)
