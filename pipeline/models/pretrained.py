"""State dicts that others trained on ImageNet: read from files, or fetched into torch's cache."""

from __future__ import annotations

import pickle
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from schemas.errors import ParamsError

HOST = "https://download.pytorch.org/models/"


def download(name: str) -> dict[str, Tensor]:
    """One of torchvision's weight files, from `torch.hub`'s cache; fetched there first if need be.

    The end of the name is the start of the file's SHA-256, which a fetched file must have. Raises ParamsError if it
    can't be fetched.
    """
    path = Path(torch.hub.get_dir()) / "checkpoints" / name
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        digest = path.stem.rpartition("-")[2]
        try:
            torch.hub.download_url_to_file(HOST + name, str(path), digest, progress=False)
        except (OSError, RuntimeError) as error:
            raise ParamsError(
                f"train.encoder_weights: {HOST}{name} can't be fetched: {error}",
                f"Put the file at {path}, or give the path of such a file as `train.encoder_weights`.",
            ) from error
    return read_state_dict(path)


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """A state dict in a safetensors file, or in one of `torch.save`, of which nothing but tensors is unpickled.

    Raises ParamsError if there is no such file or it holds something else.
    """
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, SafetensorError, pickle.UnpicklingError) as error:
        problem = str(error).splitlines()[0] if str(error) else "it is empty"
        raise ParamsError(
            f"train.encoder_weights: {path} can't be read: {problem}",
            "It must be a .safetensors file, or a state dict that `torch.save` wrote.",
        ) from error
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not (isinstance(content, dict) and content and all(isinstance(each, Tensor) for each in content.values())):
        raise ParamsError(
            f"train.encoder_weights: {path} holds {type(content).__name__}, expected a state dict",
            "Save `model.state_dict()`, a mapping of names to tensors.",
        )
    return {str(name).removeprefix("module."): tensor for name, tensor in content.items()}
