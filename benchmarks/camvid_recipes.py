"""Named parameters for training on CamVid: what reaches a score in few minutes, and each paper's network for a GPU."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Recipe:
    """`train`: what differs from the default parameters of training.

    `mean_iu`: what val mean IU, 0..1, it has to reach; `minutes`: within how many of training, on two CPU cores. None
    for those that need a GPU.
    """

    about: str
    train: Mapping[str, Any]
    mean_iu: float | None = None
    minutes: float | None = None


def augment(smallest: float, largest: float) -> list[dict[str, dict[str, Any]]]:
    """The default augmentation, scaled by other factors."""
    return [
        {"HorizontalFlip": {"p": 0.5}},
        {"RandomScale": {"scale_limit": [smallest - 1, largest - 1], "p": 1.0}},
        {"ColorJitter": {"brightness": 0.3, "contrast": 0.3, "saturation": 0.3, "hue": 0.03, "p": 0.8}},
    ]


FINE_PSPNET = {
    "architecture": "pspnet",
    "architecture_options": {"output_stride": 16, "decoder_stride": 2},
    "learning_rate": 3e-3,
    "warmup": 0.05,
    "ema": 0.99,
}
"""Half the cost of the default, and logits at a stride of 2, for what is thinner than the default's 8 pixels.

The default scales, 0.5 to 1.25, show a crop most of the image: larger ones learned more slowly.
"""

FINE_EFFICIENTNET = {
    "architecture": "efficientnet_lite0_fpn",
    "architecture_options": {"pyramid": 48, "decoder_stride": 4},
    "encoder_weights": "imagenet",
    "augment": augment(0.75, 1.5),
}
WITH_LOVASZ = {"loss": {"cross_entropy": 1.0, "lovasz": 0.5}}
"""Mean IU itself, in which a pole counts as much as the road; it makes a step of the small PSPNet 40 % dearer."""

CONVERGED = {
    "crop_hw": [288, 384],
    "batch_size": 8,
    "epochs": 150,
    "learning_rate": 1e-3,
    "warmup": 0.05,
    "ema": 0.999,
    "validate_every": 10,
    "augment": augment(0.5, 1.5),
}
"""For a GPU, with batch normalisation everywhere."""

FCN = {"architecture_options": {"norm": "batch"}, **CONVERGED}

RECIPES = {
    "defaults": Recipe("the default parameters: a small PSPNet", {}),
    "scratch10": Recipe(
        "small PSPNet with a decoder, 10 minutes", {**FINE_PSPNET, "epochs": 23, "validate_every": 23}, 0.55, 10
    ),
    "scratch30": Recipe(
        "the same, 30 minutes",
        {**FINE_PSPNET, "epochs": 66, "validate_every": 11},
        0.60,
        30,
    ),
    "imagenet10": Recipe(
        "EfficientNet-Lite0 from ImageNet weights, 10 minutes",
        {**FINE_EFFICIENTNET, **WITH_LOVASZ, "epochs": 8, "validate_every": 4},
        0.60,
        10,
    ),
    "fcn32s": Recipe("FCN-32s from scratch, GPU", {"architecture": "fcn32s", **FCN}),
    "fcn16s": Recipe("FCN-16s from scratch, GPU", {"architecture": "fcn16s", **FCN}),
    "fcn8s": Recipe("FCN-8s from scratch, GPU", {"architecture": "fcn8s", **FCN}, 0.590),
    "segnet": Recipe("SegNet from scratch, GPU", {"architecture": "segnet", **CONVERGED}, 0.621),
    "unet": Recipe(
        "U-Net of the paper's width from scratch, GPU",
        {"architecture": "unet", "architecture_options": {"width": 64}, **CONVERGED},
        0.518,
    ),
    "pspnet": Recipe(
        "PSPNet on ResNet-50 from scratch, GPU",
        {"architecture": "pspnet", "architecture_options": {"backbone": "resnet50"}, **CONVERGED},
        0.508,
    ),
}
"""By name. What those for a GPU have to reach is the published figure (benchmarks/README.md) and two points."""
