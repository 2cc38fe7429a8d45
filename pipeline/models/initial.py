"""The network that training starts from: random weights, ImageNet's in the encoder, or those of a model folder."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn

from pipeline import checkpoint
from pipeline.models import build
from pipeline.models.base import Segmenter
from pipeline.models.pretrained import read_state_dict
from pipeline.progress import Progress
from schemas.errors import ParamsError
from schemas.labels import ClassMap
from schemas.params import TrainParams

IMAGENET = "imagenet"


def initial_model(options: TrainParams, class_map: ClassMap, folder: Path, progress: Progress) -> Segmenter:
    """Build `train.architecture` and give it the weights that `train.encoder_weights` or `train.start_from` names.

    Relative paths are in `folder`. Raises ParamsError or DataError if there are none, or they don't fit.
    """
    model = build(options.architecture, len(class_map), options.architecture_options)
    if options.encoder_weights:
        load_encoder(model, options.architecture, options.encoder_weights, folder, progress)
    if options.start_from:
        start_from(model, folder / options.start_from, class_map, progress)
    return model


def load_encoder(model: Segmenter, architecture: str, weights: str, folder: Path, progress: Progress) -> None:
    """Fill the model's encoder from `imagenet` or a file; what the file has beside it is left.

    Raises ParamsError unless the file has all of the encoder, in the same shapes.
    """
    published = model.published()
    if published is None:
        raise ParamsError(
            f"train.encoder_weights is {weights!r}, but the encoder of {architecture} is maskloop's own",
            "Leave out `train.encoder_weights`, or choose another `train.architecture`.",
        )
    source = published.fetch() if weights == IMAGENET else read_state_dict(folder / weights)
    weights_of_model = model.state_dict()
    encoder = {name: weights_of_model[name] for name in published.names}
    found = as_convolutions({name: source[of] for name, of in published.names.items() if of in source}, encoder)
    needed = [name for name in encoder if not name.endswith("num_batches_tracked")]
    absent = [published.names[name] for name in needed if name not in found]
    problems = [f"without {listed(absent)}"] if absent else []
    problems += [
        f"{published.names[name]} is {shape(found[name])}, expected {shape(encoder[name])}"
        for name in needed
        if name in found and found[name].shape != encoder[name].shape
    ]
    if problems:
        raise ParamsError(
            f"train.encoder_weights: {weights} does not fit {architecture}: {'; '.join(problems[:3])}",
            "`train.architecture_options` must describe the network that the file is of; its names are those that "
            "docs/architectures.md says.",
        )
    with torch.no_grad():
        for name, tensor in found.items():
            encoder[name].copy_(tensor)
        fold_biases(model, published.names, source)
    progress.say(f"encoder: {len(needed)} tensors of {weights}, {len(source) - len(found)} tensors of it not used")


def start_from(model: Segmenter, folder: Path, class_map: ClassMap, progress: Progress) -> None:
    """Give the model those weights of a model folder that match by name and shape, and say which don't.

    Raises DataError if the folder has no intact model, ParamsError if nothing matches.
    """
    card, source = checkpoint.read_weights(folder)
    target = model.state_dict()
    fits = [name for name, tensor in target.items() if name in source and source[name].shape == tensor.shape]
    if not fits:
        raise ParamsError(
            f"train.start_from: nothing in {folder} ({card.architecture}) matches this architecture",
            "Start from a model of the same family, such as fcn16s from fcn32s.",
        )
    with torch.no_grad():
        for name in fits:
            target[name].copy_(source[name])
    progress.say(f"starting from {card.model_version}: {len(fits)} of {len(target)} tensors")
    if kept := [name for name in target if name not in fits]:
        progress.say(f"not in it, or of another shape, and so freshly initialised: {listed(kept)}")
    if unused := [name for name in source if name not in fits]:
        progress.say(f"of it not used: {listed(unused)}")
    if card.class_map_digest != class_map.digest():
        progress.say(f"it was trained for other classes: {', '.join(card.classes)}")


def as_convolutions(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of fully connected layers (outputs, inputs) as those of the convolutions that compute the same."""
    return {
        name: tensor.reshape(expected[name].shape)
        if tensor.ndim == 2 and expected[name].ndim == 4 and tensor.numel() == expected[name].numel()
        else tensor
        for name, tensor in found.items()
    }


def fold_biases(model: nn.Module, names: Mapping[str, str], source: Mapping[str, Tensor]) -> None:
    """Take biases that the source has, and our convolutions lack, into the normalisation that follows: it subtracts."""
    for name, module in model.named_modules():
        if not isinstance(module, nn.Sequential):
            continue
        for (first, convolution), (_, norm) in pairwise(module.named_children()):
            if isinstance(convolution, nn.Conv2d) and convolution.bias is None and isinstance(norm, nn.BatchNorm2d):
                weight = names.get(f"{name}.{first}.weight", "")
                bias = source.get(weight.removesuffix("weight") + "bias")
                if bias is not None and norm.running_mean is not None:
                    norm.running_mean -= bias


def listed(names: list[str], most: int = 6) -> str:
    """The first names, and how many more."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def shape(tensor: Tensor) -> str:
    """Such as 64×3×7×7."""
    return "×".join(map(str, tensor.shape)) or "a scalar"
