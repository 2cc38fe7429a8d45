"""Whether a probability means what it says: the expected calibration error."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from schemas.labels import VOID_INDEX

BINS = 15


class CalibrationError:
    """Expected calibration error (Guo, Pleiss, Sun, Weinberger, ICML 2017) over all labelled pixels seen.

    Pixels fall into 15 bins of equal width by their confidence; the error is the mean, weighted by pixels, of the gap
    between a bin's accuracy and its mean confidence. Streamed on the device that the masks are on.
    """

    def __init__(self, device: torch.device) -> None:
        self._sums = torch.zeros((3, BINS), dtype=torch.float64, device=device)  # pixels, right ones, confidence

    def update(self, actual: Tensor, predicted: Tensor, confidence: Tensor) -> None:
        """Count an image: masks uint8 (H, W), void is 255 in `actual`; `confidence` float32 (H, W) in 0..1."""
        bins = (confidence * BINS).ceil_().sub_(1).clamp_(0, BINS - 1).to(torch.uint8)
        bins = bins.masked_fill(actual == VOID_INDEX, BINS).reshape(-1)  # void: a bin of its own, dropped
        right = torch.bincount(bins * 2 + (actual == predicted).reshape(-1), minlength=2 * BINS + 2).reshape(-1, 2)
        sums = torch.bincount(bins, confidence.reshape(-1).double(), BINS + 1)
        self._sums += torch.stack([right.sum(1).double(), right[:, 1].double(), sums])[:, :BINS]

    def value(self) -> float:
        """The error, 0..1; NaN if nothing was labelled."""
        pixels, right, confidence = self._sums.cpu()
        total = float(pixels.sum())
        return float((right - confidence).abs().sum()) / total if total else math.nan
