"""Augmentation from `train.augment`; the only module that imports albumentations.

Geometry comes first, on the whole sample, then the crop, then flips and what changes colours, on the crop alone.
Lists of nothing but flips, RandomScale and ColorJitter take a path that crops before everything: `pipeline.crop_first`.
"""

from __future__ import annotations

import difflib
import inspect
import os
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # else importing it asks the network for a newer release

import albumentations as A
from albumentations.augmentations.crops.transforms import CropSizeError

from pipeline.crop_first import CropFirst
from schemas.errors import ParamsError
from schemas.labels import VOID_INDEX

NEAREST = cv2.INTER_NEAREST
REMEDY = "Transforms and their arguments: https://albumentations.ai/docs"
FLIPS = (A.HorizontalFlip, A.VerticalFlip)
FAILURES = (ValueError, TypeError, LookupError, AttributeError, RuntimeError, cv2.error, CropSizeError)
TRIALS = 3
TRIAL_INDICES = (101, 102)

Image = NDArray[np.uint8]
Mask = NDArray[np.uint8]


class Augmenter:
    """The transforms of `train.augment`, padding with void where the sample is too small, and a random crop."""

    def __init__(
        self, augment: list[dict[str, dict[str, Any]]], image_hw: tuple[int, int], window_hw: tuple[int, int]
    ) -> None:
        """`image_hw`: size of the samples; `window_hw`: size of the crops. Tries every transform once.

        Raises ParamsError for an unknown transform or argument, an impossible value, a transform that needs more than
        an image and its mask, and one that would write a class into masks or hand on anything but uint8 RGB.
        """
        named = [(name, arguments) for entry in augment for name, arguments in entry.items()]
        transforms = [_transform(name, arguments) for name, arguments in named]
        for name, arguments in named:
            _try(name, _transform(name, {**arguments, "p": 1.0}), image_hw)
        self._crop_first = _crop_first(transforms, window_hw)
        height, width = window_hw
        on_crop = [each for each in transforms if isinstance(each, (A.ImageOnlyTransform, *FLIPS))]
        geometry = [each for each in transforms if each not in on_crop]
        pad = A.PadIfNeeded(height, width, position="random", border_mode=0, fill=0, fill_mask=VOID_INDEX)
        steps = [*geometry, pad, A.RandomCrop(height, width), *on_crop]
        self._compose = A.Compose(steps, mask_interpolation=NEAREST)

    @property
    def is_crop_first(self) -> bool:
        """Whether samples take the fast path."""
        return self._crop_first is not None

    def __call__(self, image: Image, mask: Mask, seed: int) -> tuple[Image, Mask]:
        """Augment an image, uint8 (H, W, 3), with its mask, uint8 (H, W); the same seed gives the same result."""
        if self._crop_first:
            return self._crop_first(image, mask, seed)
        self._compose.set_random_seed(seed)
        try:
            result = self._compose(image=image, mask=mask)
        except FAILURES as error:
            raise ParamsError(f"train.augment can't be applied in this order: {_first_problem(error)}") from error
        return result["image"], result["mask"]


def transform_names() -> list[str]:
    """Names of the transforms that albumentations has for images, with their masks or without."""
    bases = (A.DualTransform, A.ImageOnlyTransform)
    kinds = {name: getattr(A, name) for name in dir(A)}
    return [name for name, kind in kinds.items() if inspect.isclass(kind) and issubclass(kind, bases)]


def _transform(name: str, arguments: dict[str, Any]) -> A.BasicTransform:
    known = transform_names()
    if name not in known:
        raise ParamsError(f"train.augment: unknown transform `{name}`{_nearest(name, known)}", REMEDY)
    kind = getattr(A, name)
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
    except FAILURES as error:
        raise ParamsError(f"train.augment: `{name}`: {_first_problem(error)}", REMEDY) from None


def _try(name: str, transform: A.BasicTransform, image_hw: tuple[int, int]) -> None:
    """Apply a transform to drawn samples, so that what can't work is said before training."""
    random = np.random.default_rng(0)
    image = random.integers(0, 256, (*image_hw, 3), np.uint8)
    mask = np.where(image[..., 0] < 128, *TRIAL_INDICES).astype(np.uint8)
    compose = A.Compose([transform], mask_interpolation=NEAREST)
    for seed in range(TRIALS):
        compose.set_random_seed(seed)
        try:
            result = compose(image=image, mask=mask)
        except FAILURES as error:
            problem = f"`{name}` can't be applied to an image with its mask: {_first_problem(error)}"
            raise ParamsError(f"train.augment: {problem}", REMEDY) from None
        found_image, found_mask = result["image"], result["mask"]
        if found_image.dtype != np.uint8 or found_image.shape[2:] != (3,):
            raise ParamsError(
                f"train.augment: `{name}` hands on {found_image.dtype} with shape {found_image.shape}, not uint8 RGB",
                "Leave it out: normalisation comes later, by itself.",
            )
        invented = sorted(set(np.unique(found_mask).tolist()) - {*TRIAL_INDICES, VOID_INDEX})
        if invented:
            problem = f"`{name}` would write class index {invented[0]} into masks that don't hold it"
            raise ParamsError(f"train.augment: {problem}", "Set its `fill_mask` to 255, or leave it out.")


def _crop_first(transforms: list[A.BasicTransform], window_hw: tuple[int, int]) -> CropFirst | None:
    """The fast path, if there is nothing in `transforms` that it can't do."""
    kinds = [type(each) for each in transforms]
    if not set(kinds) <= {*FLIPS, A.RandomScale, A.ColorJitter} or len(set(kinds)) < len(kinds):
        return None
    by_kind = dict(zip(kinds, transforms, strict=True))
    scale, jitter = by_kind.get(A.RandomScale), by_kind.get(A.ColorJitter)
    if scale and scale.interpolation != cv2.INTER_LINEAR:
        return None
    return CropFirst(
        window_hw=window_hw,
        scale_p=scale.p if scale else 0.0,
        scale=tuple(1 + limit for limit in scale.scale_limit) if scale else (1.0, 1.0),
        mirror_p=by_kind[A.HorizontalFlip].p if A.HorizontalFlip in by_kind else 0.0,
        overturn_p=by_kind[A.VerticalFlip].p if A.VerticalFlip in by_kind else 0.0,
        colour_p=jitter.p if jitter else 0.0,
        brightness=jitter.brightness if jitter else (1.0, 1.0),
        contrast=jitter.contrast if jitter else (1.0, 1.0),
        saturation=jitter.saturation if jitter else (1.0, 1.0),
        hue=jitter.hue if jitter else (0.0, 0.0),
    )


def _nearest(name: str, known: list[str]) -> str:
    nearest = difflib.get_close_matches(name, known, n=1)
    return f" (did you mean `{nearest[0]}`?)" if nearest else ""


def _first_problem(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[1:3]) if len(lines) > 2 else f"{type(error).__name__}: {error}"
