"""Scores of semantic segmentation: confusion matrix and FCN's four measures (Long, Shelhamer, Darrell, CVPR 2015)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Confusion = NDArray[np.int64]
"""Pixel counts, (C, C): row = actual class index, column = predicted class index."""


def confusion_matrix(actual: NDArray[np.uint8], predicted: NDArray[np.uint8], classes: int) -> Confusion:
    """Confusion matrix, int64 (C, C), of two uint8 arrays of one shape.

    `actual` holds 0..C-1, anything else counts as void, which is never counted. `predicted` holds 0..C-1.
    """
    masks = [torch.from_numpy(np.ascontiguousarray(mask)) for mask in (actual, predicted)]
    return confusion_counts(masks[0], masks[1], classes).numpy()


def confusion_counts(actual: Tensor, predicted: Tensor, classes: int) -> Tensor:
    """`confusion_matrix` of tensors, uint8 of one shape, on the device that they are on."""
    narrow = (classes + 1) * classes <= 256
    key_type = torch.uint8 if narrow else torch.int32
    key = actual.clamp_max(classes).to(key_type).mul(classes).add_(predicted)
    counts = torch.bincount(key.reshape(-1), minlength=(classes + 1) * classes)
    return counts.reshape(classes + 1, classes)[:classes]


@dataclass(frozen=True, slots=True)
class Scores:
    """FCN's four measures and the IU per class, all in 0..1; NaN where a class is absent or nothing was counted."""

    pixel_accuracy: float
    mean_accuracy: float
    mean_iu: float
    frequency_weighted_iu: float
    per_class: tuple[float, ...]

    def as_json(self, names: Sequence[str]) -> dict[str, Any]:
        """The numbers as JSON's types, NaN as None, with `per_class` by label."""
        return {
            "pixel_accuracy": number(self.pixel_accuracy),
            "mean_accuracy": number(self.mean_accuracy),
            "mean_iu": number(self.mean_iu),
            "frequency_weighted_iu": number(self.frequency_weighted_iu),
            "per_class": {name: number(value) for name, value in zip(names, self.per_class, strict=True)},
        }


def scores(confusion: Confusion) -> Scores:
    """FCN's measures of a confusion matrix n, where n[i, j] pixels of class i are predicted to be j.

    A class is absent from mean accuracy if no pixel is labelled with it, from mean IU if it isn't predicted either.
    """
    right = np.diag(confusion).astype(np.float64)
    labelled = confusion.sum(axis=1).astype(np.float64)
    union = labelled + confusion.sum(axis=0) - right
    accuracy = divide(right, labelled)
    iu = divide(right, union)
    total = labelled.sum()
    return Scores(
        pixel_accuracy=float(right.sum() / total) if total else math.nan,
        mean_accuracy=mean_of_present(accuracy),
        mean_iu=mean_of_present(iu) if total else math.nan,
        frequency_weighted_iu=float(np.nansum(labelled * iu) / total) if total else math.nan,
        per_class=tuple(float(value) for value in iu),
    )


def number(value: float) -> float | None:
    """None for NaN, which JSON lacks."""
    return None if math.isnan(value) else value


def divide(part: NDArray[Any], whole: NDArray[Any]) -> NDArray[np.float64]:
    """part / whole by element; NaN where `whole` is 0."""
    return np.asarray(np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0))


def mean_of_present(values: NDArray[np.float64]) -> float:
    """Mean of what isn't NaN; NaN if all is."""
    present = values[~np.isnan(values)]
    return float(present.mean()) if present.size else math.nan
