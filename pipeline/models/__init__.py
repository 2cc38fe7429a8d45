"""The architectures, by the name that `train.architecture` gives. A new one is one file here and one registry line."""

from __future__ import annotations

import difflib
from typing import Any

from pydantic import ValidationError

from pipeline.models.base import Segmenter
from pipeline.models.pspnet import PSPNet
from pipeline.models.unet import UNet
from schemas.errors import ParamsError

ARCHITECTURES: dict[str, type[Segmenter]] = {
    "pspnet": PSPNet,
    "unet": UNet,
}


def build(architecture: str, classes: int, options: dict[str, Any]) -> Segmenter:
    """A freshly initialised network with `classes` outputs; the same torch seed gives the same weights.

    Raises ParamsError for an unknown architecture or option, or an impossible value of one.
    """
    if architecture not in ARCHITECTURES:
        raise ParamsError(
            f"train.architecture is {architecture!r}, known are: {', '.join(ARCHITECTURES)}",
            "Set `train.architecture` to one of them.",
        )
    model_type = ARCHITECTURES[architecture]
    known = list(model_type.options_type.model_fields)
    try:
        checked = model_type.options_type.model_validate(options)
    except ValidationError as error:
        problems = "; ".join(_describe(item, known) for item in error.errors(include_url=False))
        raise ParamsError(
            f"train.architecture_options: {problems}", f"Options of {architecture}: {', '.join(known)}."
        ) from None
    return model_type(classes, checked)


def _describe(item: Any, known: list[str]) -> str:
    name = str(item["loc"][0])
    if item["type"] == "extra_forbidden":
        nearest = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean `{nearest[0]}`?" if nearest else f"known here: {', '.join(known)}"
        return f"unknown option `{name}` ({hint})"
    return f"`{name}`: {item['msg']} (found {item['input']!r:.80})"
