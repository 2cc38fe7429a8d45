"""All scores of a split in one pass over its images, on the device that predicts them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pipeline.boundary import BoundaryF1, BoundaryIou
from pipeline.calibration import CalibrationError
from pipeline.metrics import Confusion, confusion_counts, mean_of_present, number, scores


class Meter:
    """FCN's measures, boundary IoU and F1, and the expected calibration error. Void is never counted."""

    def __init__(self, classes: int, device: torch.device) -> None:
        """`device`: where the masks will be."""
        self._classes = classes
        self._confusion = torch.zeros((classes, classes), dtype=torch.int64, device=device)
        self._boundary_iou = BoundaryIou(classes, device)
        self._boundary_f1 = BoundaryF1(classes, device)
        self._calibration = CalibrationError(device)

    def update(self, actual: Tensor, predicted: Tensor, confidence: Tensor) -> None:
        """Count an image: masks uint8 (H, W), void is 255 in `actual`; `confidence` float32 (H, W) in 0..1."""
        self._confusion += confusion_counts(actual, predicted, self._classes)
        self._boundary_iou.update(actual, predicted)
        self._boundary_f1.update(actual, predicted)
        self._calibration.update(actual, predicted, confidence)

    def confusion(self) -> Confusion:
        """Confusion matrix of all images, int64 (C, C)."""
        return self._confusion.cpu().numpy()

    def as_json(self, names: Sequence[str]) -> dict[str, Any]:
        """All scores, 0..1, as JSON's types: null where nothing was counted, such as an absent class, which is left
        out of the means.
        """
        iou, f1 = self._boundary_iou.per_class(), self._boundary_f1.per_class()
        return {
            **scores(self.confusion()).as_json(names),
            "boundary_iou": number(mean_of_present(iou)),
            "boundary_f1": number(self._boundary_f1.mean()),
            "expected_calibration_error": number(self._calibration.value()),
            "per_class_boundary_iou": {name: number(float(value)) for name, value in zip(names, iou, strict=True)},
            "per_class_boundary_f1": {name: number(float(value)) for name, value in zip(names, f1, strict=True)},
        }
