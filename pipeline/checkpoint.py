"""A model folder: `<model_version>.safetensors` and `model.json`, the card that says what the weights are.

The weights are written first, then the card, then what they replace is removed, so a kill at any time leaves a model.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

import safetensors.torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from torch import Tensor

from connectors.storage import read_json, remove_others, write_bytes, write_json
from pipeline.models import build
from pipeline.models.base import Segmenter
from schemas.errors import ClassMapError, DataError, ParamsError
from schemas.labels import ClassMap

CARD = "model.json"


class ModelCard(BaseModel):
    """What model.json holds. `mean` and `std` are per channel in [0, 1]; `val_mean_iu` is in 0..1."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    model_version: str = Field(default="", pattern=r"^[\w-]*$")  # set by `save`
    architecture: str
    architecture_options: dict[str, Any]
    classes: tuple[str, ...]
    class_map_digest: str
    size_hw: tuple[int, int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    data_sha256: str
    seed: int
    epoch: int
    val_mean_iu: float | None


def save(folder: Path, weights: dict[str, Tensor], card: ModelCard) -> ModelCard:
    """Make `folder` hold these weights; returns the card with its model version, architecture and weights' hash."""
    content = safetensors.torch.save({name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()})
    return _commit(folder, content, card.model_copy(update={"model_version": _version(card.architecture, content)}))


def copy(source: Path, target: Path) -> ModelCard:
    """Make `target` hold the model of `source`. Raises DataError if there is none or it is damaged."""
    card = read_card(source)
    return _commit(target, _read_weights(source, card), card)


def read_card(folder: Path) -> ModelCard:
    """Read model.json. Raises DataError if it is missing or malformed."""
    path = folder / CARD
    try:
        return ModelCard.model_validate(read_json(path))
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in problem["loc"])
        raise DataError(f"{path}: `{where}`: {problem['msg']}", "Train again with `dvc repro --force train`.") from None


def load(folder: Path, class_map: ClassMap) -> tuple[Segmenter, ModelCard]:
    """The model of a folder, in evaluation mode, on the CPU, and its card. Nothing is unpickled.

    Raises DataError if it is missing or damaged, ClassMapError if it was trained for other classes.
    """
    card = read_card(folder)
    if card.class_map_digest != class_map.digest():
        raise ClassMapError(
            f"the model in {folder} knows the classes {', '.join(card.classes)}, "
            f"but params.yaml has {', '.join(class_map.names)}",
            "Run `dvc repro` to train for the new classes.",
        )
    content = _read_weights(folder, card)
    try:
        model = build(card.architecture, len(card.classes), card.architecture_options)
        model.load_state_dict(safetensors.torch.load(content))
    except (ParamsError, RuntimeError, SafetensorError) as error:
        problem = f"the model in {folder} does not fit this version of maskloop: {error}"
        raise DataError(problem, "Train again.") from error
    return model.eval(), card


def read_weights(folder: Path) -> tuple[ModelCard, dict[str, Tensor]]:
    """The card of a folder and its state dict, on the CPU. Raises DataError if it is missing or damaged."""
    card = read_card(folder)
    try:
        return card, safetensors.torch.load(_read_weights(folder, card))
    except SafetensorError as error:
        raise DataError(f"the weights in {folder} can't be read: {error}", "Train again.") from error


def _commit(folder: Path, content: bytes, card: ModelCard) -> ModelCard:
    weights_name = f"{card.model_version}.safetensors"
    write_bytes(folder / weights_name, content, fsync=True)
    write_json(folder / CARD, card.model_dump(mode="json"), fsync=True)
    remove_others(folder, keep={weights_name, CARD})
    return card


def _read_weights(folder: Path, card: ModelCard) -> bytes:
    path = folder / f"{card.model_version}.safetensors"
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path} does not exist, though {CARD} names it", "Train again.") from None
    if _version(card.architecture, content) != card.model_version:
        raise DataError(f"{path} is damaged: its hash is not the one in its name", "Train again.")
    return content


def _version(architecture: str, content: bytes) -> str:
    name = re.sub(r"\W", "-", architecture)
    return f"{name}-{hashlib.sha256(content).hexdigest()[:12]}"
