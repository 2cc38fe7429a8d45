"""The architectures, by the name that `train.architecture` gives. A new one is one file here and one registry line.

Nothing here imports torch until a network is built, so that the command line can list them.
"""

from __future__ import annotations

import difflib
import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from schemas.errors import ParamsError

if TYPE_CHECKING:
    from pipeline.models.base import Segmenter


@dataclass(frozen=True, slots=True)
class Cost:
    """What a network costs with `options`, for 11 classes and images of 360×480.

    `parameters_m`: weights that learn, auxiliary heads with them, in millions. `gmacs`: multiplications and additions
    of convolutions for the main head of one image, in thousand millions.
    """

    options: str
    parameters_m: float
    gmacs: float


@dataclass(frozen=True, slots=True)
class Architecture:
    """`code`: module of this package and class in it. `costs`: of the defaults, then of other options."""

    code: str
    about: str
    costs: tuple[Cost, ...]

    def load(self) -> type[Segmenter]:
        """Import the class."""
        module, name = self.code.split(":")
        segmenter: type[Segmenter] = getattr(importlib.import_module(f"pipeline.models.{module}"), name)
        return segmenter


ARCHITECTURES = {
    "fcn32s": Architecture("fcn:FCN32s", "FCN-32s on VGG-16 (2015)", (Cost("", 134.8, 78.0),)),
    "fcn16s": Architecture("fcn:FCN16s", "FCN-16s: with scores of pool4", (Cost("", 134.4, 78.0),)),
    "fcn8s": Architecture("fcn:FCN8s", "FCN-8s: with scores of pool4 and pool3", (Cost("", 134.3, 78.0),)),
    "segnet": Architecture(
        "segnet:SegNet", "SegNet (2017): unpools by the encoder's indices", (Cost("", 29.4, 113.6),)
    ),
    "segnet_basic": Architecture("segnet:SegNetBasic", "SegNet-Basic: 7×7, four each way", (Cost("", 1.4, 60.5),)),
    "unet": Architecture(
        "unet:UNet", "U-Net (2015), narrow; the paper's:", (Cost("", 1.9, 8.2), Cost("width: 64", 31.0, 129.9))
    ),
    "pspnet": Architecture(
        "pspnet:PSPNet",
        "PSPNet (2017), small; the paper's:",
        (
            Cost("", 1.8, 5.0),
            Cost("backbone: resnet50", 49.1, 121.4),
            Cost("backbone: resnet101", 68.1, 172.5),
            Cost("decoder_stride: 2", 1.8, 5.3),
        ),
    ),
    "efficientnet_lite0_fpn": Architecture(
        "efficientnet:EfficientNetFPN",
        "EfficientNet-Lite0 (2019) and a feature pyramid",
        (Cost("", 3.3, 2.7), Cost("decoder_stride: 2", 3.3, 3.0)),
    ),
}

SMP_PREFIX = "smp:"
"""Names that begin so are networks of segmentation-models-pytorch."""


def build(architecture: str, classes: int, options: dict[str, Any]) -> Segmenter:
    """A freshly initialised network with `classes` outputs; the same torch seed gives the same weights.

    Raises ParamsError for an unknown architecture or option, or an impossible value of one.
    """
    segmenter = segmenter_type(architecture)
    known = list(segmenter.options_type.model_fields)
    try:
        checked = segmenter.options_type.model_validate(options)
    except ValidationError as error:
        problems = "; ".join(_describe(item, known) for item in error.errors(include_url=False))
        raise ParamsError(
            f"train.architecture_options: {problems}", f"Options of {architecture}: {', '.join(known)}."
        ) from None
    return segmenter(classes, checked)


def segmenter_type(architecture: str) -> type[Segmenter]:
    """The class of an architecture by its name. Raises ParamsError for an unknown one."""
    if architecture.startswith(SMP_PREFIX):
        from pipeline.models import smp

        return smp.segmenter_type(architecture)
    if architecture not in ARCHITECTURES:
        nearest = difflib.get_close_matches(architecture, ARCHITECTURES, n=1, cutoff=0.75)
        hint = f" (did you mean `{nearest[0]}`?)" if nearest else ""
        raise ParamsError(
            f"train.architecture is {architecture!r}{hint}, known are: {', '.join(ARCHITECTURES)}",
            f"Set `train.architecture` to one of them, or to `{SMP_PREFIX}NETWORK/ENCODER`.",
        )
    return ARCHITECTURES[architecture].load()


def overview() -> list[str]:
    """A table for people: its head, then a line for each architecture, and for each choice of options with a cost."""
    lines = [f"{'architecture':<24}{'parameters':>10}  {'at 360×480':>12}"]
    for name, architecture in ARCHITECTURES.items():
        for cost in architecture.costs:
            what, about = (f"  {cost.options}", "") if cost.options else (name, architecture.about)
            lines.append(f"{what:<24}{cost.parameters_m:8.1f} M  {cost.gmacs:6.1f} GMACs  {about}".rstrip())
    return lines


def _describe(item: Any, known: list[str]) -> str:
    name = str(item["loc"][0])
    if item["type"] == "extra_forbidden":
        nearest = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean `{nearest[0]}`?" if nearest else f"known here: {', '.join(known)}"
        return f"unknown option `{name}` ({hint})"
    return f"`{name}`: {item['msg']} (found {item['input']!r:.80})"
