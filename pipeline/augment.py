"""Augmentation from `train.augment`; the only module that imports albumentations."""

from __future__ import annotations

import difflib
import inspect
import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # else importing it asks the network for a newer release

import albumentations as A

from schemas.errors import ParamsError
from schemas.labels import VOID_INDEX

NEAREST = 0  # cv2.INTER_NEAREST
REMEDY = "Transforms and their arguments: https://albumentations.ai/docs"


class Augmenter:
    """The transforms of `train.augment` in order, then padding with void and a random crop to the size."""

    def __init__(self, augment: list[dict[str, dict[str, Any]]], size_hw: tuple[int, int]) -> None:
        """Raises ParamsError for an unknown transform or argument, an impossible value, or a smoothed mask."""
        transforms = [_transform(name, arguments) for entry in augment for name, arguments in entry.items()]
        height, width = size_hw
        pad = A.PadIfNeeded(height, width, position="random", border_mode=0, fill=0, fill_mask=VOID_INDEX)
        self._compose = A.Compose([*transforms, pad, A.RandomCrop(height, width)])

    def __call__(
        self, image: NDArray[np.uint8], mask: NDArray[np.uint8], seed: int
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Augment an image, uint8 (H, W, 3), with its mask, uint8 (H, W); the same seed gives the same result."""
        self._compose.set_random_seed(seed)
        result = self._compose(image=image, mask=mask)
        return result["image"], result["mask"]


def _transform(name: str, arguments: dict[str, Any]) -> A.BasicTransform:
    kind = getattr(A, name, None)
    if not (inspect.isclass(kind) and issubclass(kind, (A.DualTransform, A.ImageOnlyTransform))):
        known = [each for each in dir(A) if inspect.isclass(getattr(A, each))]
        raise ParamsError(f"train.augment: unknown transform `{name}`{_nearest(name, known)}", REMEDY)
    known_arguments = inspect.signature(kind).parameters
    for argument in arguments:
        if argument not in known_arguments:
            hint = _nearest(argument, list(known_arguments))
            raise ParamsError(f"train.augment: `{name}` has no argument `{argument}`{hint}", REMEDY)
    if arguments.get("mask_interpolation", NEAREST) != NEAREST:
        raise ParamsError(
            f"train.augment: `{name}` would smooth masks, which invents classes", "Leave out `mask_interpolation`."
        )
    fill = known_arguments.get("fill_mask")
    void = {"fill_mask": VOID_INDEX} if fill is not None and fill.default is not None else {}
    try:
        return kind(**{**void, **arguments})
    except (TypeError, ValueError) as error:
        raise ParamsError(f"train.augment: `{name}`: {_first_problem(error)}", REMEDY) from None


def _nearest(name: str, known: list[str]) -> str:
    nearest = difflib.get_close_matches(name, known, n=1)
    return f" (did you mean `{nearest[0]}`?)" if nearest else ""


def _first_problem(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[1:3]) if len(lines) > 2 else str(error)
