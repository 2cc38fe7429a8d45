"""Networks of transformers from the hub or a folder, with errors that say what to do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoConfig
from transformers.utils import logging

from schemas.errors import DataError, ParamsError

logging.disable_progress_bar()  # type: ignore[no-untyped-call]
logging.set_verbosity_error()  # type: ignore[no-untyped-call]


def load_pretrained(model: str, architectures: Mapping[str, Any], parameter: str) -> tuple[str, Any]:
    """Kind and network, float32, of a hub id or a folder. `parameter` is who asked for it, such as `prelabel.model`.

    Raises ParamsError if it is unknown, out of reach, or of a kind that is not among `architectures`, and DataError if
    its weights are corrupt or of another network.
    """
    with reported(model, parameter):
        kind = AutoConfig.from_pretrained(model).model_type
        if kind not in architectures:
            known = ", ".join(sorted(architectures))
            raise ParamsError(f"{parameter}: {model} is a {kind}, expected one of: {known}")
        network, info = architectures[kind].from_pretrained(model, dtype=torch.float32, output_loading_info=True)
    missing = sorted(str(key) for key in (*info["missing_keys"], *info["mismatched_keys"]))
    if missing:
        raise DataError(
            f"the weights of {model} lack {len(missing)} parameters of a {kind}, such as {missing[0]}",
            "Copy or download them again.",
        )
    return kind, network


@contextmanager
def reported(model: str, parameter: str) -> Iterator[None]:
    """What transformers raises while it loads `model`, as errors of ours."""
    try:
        yield
    except (SafetensorError, RuntimeError) as error:
        raise DataError(
            f"the weights of {model} are corrupt or of another network: {_first_line(error)}",
            "Copy or download them again.",
        ) from None
    except (OSError, ValueError, KeyError) as error:  # unknown, out of reach and not cached, or no such files
        raise ParamsError(
            f"{parameter}: {model} can't be loaded: {_first_line(error)}",
            "Check its name and the network; without a network give a local folder.",
        ) from None


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
