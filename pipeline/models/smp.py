"""Networks of segmentation-models-pytorch by name, such as `smp:DeepLabV3Plus/resnet50`, where it is installed.

Their options are the keyword arguments of its `create_model`.
"""

from __future__ import annotations

import importlib
from functools import partial

from pydantic import ConfigDict
from torch import Tensor, nn

from pipeline.models.base import Options, Published, Segmenter
from schemas.errors import ParamsError

PREFIX = "smp:"


class SmpOptions(Options):
    """Whatever the network takes: its constructor refuses the rest."""

    model_config = ConfigDict(extra="allow", frozen=True)


class SmpSegmenter(Segmenter):
    """The base of the classes that `segmenter_type` makes, one a name."""

    options_type = SmpOptions
    multiple = 32
    decoder: str
    encoder: str

    def __init__(self, classes: int, options: SmpOptions) -> None:
        super().__init__(classes, options)
        self.create = partial(create, self.decoder, self.encoder, classes, options)
        self.network = self.create(None)

    def heads_of_padded(self, images: Tensor) -> tuple[Tensor, ...]:
        """Logits, float32 (N, C, H, W)."""
        return (self.network(images).float(),)

    def published(self) -> Published:
        """What segmentation-models-pytorch fetches from its hub."""
        encoder = "network.encoder."
        names = {name: name.removeprefix(encoder) for name in self.state_dict() if name.startswith(encoder)}
        return Published(names, self._fetch)

    def _fetch(self) -> dict[str, Tensor]:
        try:
            encoder: nn.Module = self.create("imagenet").get_submodule("encoder")
        except OSError as error:
            raise ParamsError(
                f"train.encoder_weights: the weights of {self.encoder} can't be fetched: {error}",
                "Fetch them where there is a network, and take the cache over.",
            ) from error
        return encoder.state_dict()


def segmenter_type(architecture: str) -> type[Segmenter]:
    """The class for `smp:DECODER/ENCODER`. Raises ParamsError unless the name has these two parts."""
    name, _, encoder = architecture.removeprefix(PREFIX).partition("/")
    if not (name and encoder):
        raise ParamsError(
            f"train.architecture is {architecture!r}, expected {PREFIX}NETWORK/ENCODER",
            f"Write, for example, `{PREFIX}DeepLabV3Plus/resnet50`.",
        )
    return type("SmpSegmenter", (SmpSegmenter,), {"decoder": name, "encoder": encoder})


def create(decoder: str, encoder: str, classes: int, options: SmpOptions, weights: str | None) -> nn.Module:
    """The network as segmentation-models-pytorch makes it.

    Raises ParamsError if that can't be imported, or does not know the names or an option.
    """
    try:
        smp = importlib.import_module("segmentation_models_pytorch")
    except (ImportError, RuntimeError) as error:  # torchvision beside a torch it was not built for: RuntimeError
        raise ParamsError(
            f"train.architecture is {PREFIX}{decoder}/{encoder}, but segmentation-models-pytorch can't be imported: "
            f"{error}",
            "Run `pip install segmentation-models-pytorch` with the torchvision that fits torch, "
            "or choose one of maskloop's own.",
        ) from error
    try:
        network: nn.Module = smp.create_model(decoder, encoder, weights, classes=classes, **(options.model_extra or {}))
    except (KeyError, TypeError, ValueError) as error:
        raise ParamsError(f"train.architecture is {PREFIX}{decoder}/{encoder}: {error.args[0]}") from error
    return network
