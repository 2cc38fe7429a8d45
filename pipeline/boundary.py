"""How well contours are met: boundary IoU and boundary F1, streamed on the device that the masks are on.

Void (255 in the actual mask) is never counted: the prediction is void there too, and void makes no contour.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from pipeline.metrics import divide
from schemas.labels import VOID_INDEX

BAND_SHARE = 0.02
"""Boundary IoU: width of the band along contours, of the image diagonal (the paper's)."""
RADIUS_SHARE = 0.0075
"""Boundary F1: how far apart contours may be, of the image diagonal (SegNet's)."""
MOST_BITS = 62

Floats = NDArray[np.float64]


class BoundaryIou:
    """Boundary IoU (Cheng, Girshick, Dollár, Berg, Kirillov, CVPR 2021) of each class over all pixels seen.

    The IoU of the pixels of a class that lie within d of its contour, actual and predicted; d, in chessboard distance,
    is 2 % of the diagonal, at least 1 px; the image's edge is a contour, as in the authors' code.
    """

    def __init__(self, classes: int, device: torch.device) -> None:
        self._classes = classes
        self._pixels = torch.zeros((classes + 1) ** 2, dtype=torch.int64, device=device)

    def update(self, actual: Tensor, predicted: Tensor) -> None:
        """Count an image: `actual` uint8 (H, W), class index or 255; `predicted` uint8 (H, W), class index."""
        width = max(1, round(BAND_SHARE * math.hypot(*actual.shape)))
        none = self._classes
        bands = [
            torch.where(_in_band(labels, width), labels, none).clamp_max(none).int()
            for labels in (actual, predicted.masked_fill(actual == VOID_INDEX, VOID_INDEX))
        ]
        self._pixels += torch.bincount((bands[0] * (none + 1) + bands[1]).reshape(-1), minlength=len(self._pixels))

    def per_class(self) -> Floats:
        """Boundary IoU, 0..1, float64 (C,); NaN for a class neither labelled nor predicted."""
        pixels = self._pixels.reshape(self._classes + 1, -1).cpu().numpy()
        both = np.diag(pixels)[:-1]
        either = pixels.sum(axis=0)[:-1] + pixels.sum(axis=1)[:-1] - both
        return divide(both, either)


class BoundaryF1:
    """Boundary F1 (Csurka, Larlus, Perronnin, BMVC 2013), the BF score of the SegNet paper.

    For each image and class, the harmonic mean of the share of predicted contour pixels with an actual one of the same
    class within r, and the reverse; r, Euclidean, is 0.75 % of the diagonal. A contour pixel has a pixel of another
    class beside, above or below it; the image's edge is no contour. A class without a contour in both masks is left
    out; with one in only one of them it scores 0.
    """

    def __init__(self, classes: int, device: torch.device) -> None:
        self._classes = classes
        self._sums = torch.zeros((2, classes), dtype=torch.float64, device=device)  # of F1, of images
        self._image_sums = torch.zeros(2, dtype=torch.float64, device=device)

    def update(self, actual: Tensor, predicted: Tensor) -> None:
        """Count an image: `actual` uint8 (H, W), class index or 255; `predicted` uint8 (H, W), class index."""
        radius = RADIUS_SHARE * math.hypot(*actual.shape)
        predicted = predicted.masked_fill(actual == VOID_INDEX, VOID_INDEX)
        contours = [_on_contour(actual), _on_contour(predicted)]
        counts = []
        for labels, contour, others, other_contour in (
            (actual, contours[0], predicted, contours[1]),
            (predicted, contours[1], actual, contours[0]),
        ):
            met = contour & _is_near(labels, others, other_contour, radius, self._classes)
            counts.append([torch.bincount(labels[each], minlength=self._classes).double() for each in (met, contour)])
        (met_actual, actual_pixels), (met_predicted, predicted_pixels) = counts
        recall, precision = met_actual / actual_pixels, met_predicted / predicted_pixels
        f1 = (2 * precision * recall / (precision + recall)).nan_to_num(0)
        counted = (actual_pixels + predicted_pixels > 0).double()
        self._sums += torch.stack([f1 * counted, counted])
        if counted.any():
            self._image_sums += torch.stack([(f1 * counted).sum() / counted.sum(), counted.new_ones(())])

    def per_class(self) -> Floats:
        """Mean over the images of F1, 0..1, float64 (C,); NaN for a class without a contour in any."""
        sums, images = self._sums.cpu().numpy()
        return divide(sums, images)

    def mean(self) -> float:
        """Mean over images of the mean over their classes, 0..1; NaN without a contour."""
        total, images = self._image_sums.tolist()
        return total / images if images else math.nan


def _in_band(labels: Tensor, width: int) -> Tensor:
    """Which pixels, bool (H, W), are within `width` of another class or of what lies beyond the image's edge."""
    highest = _window_max(labels.masked_fill(labels == VOID_INDEX, 0), width)
    lowest = VOID_INDEX - _window_max(VOID_INDEX - labels, width)
    band = (highest != labels) | (lowest != labels)
    band[:width] = band[-width:] = True
    band[:, :width] = band[:, -width:] = True
    return band


def _window_max(values: Tensor, radius: int) -> Tensor:
    """Maximum over the square of 2 · radius + 1 pixels around each pixel, uint8 (H, W), by doubling the window."""
    for axis in (0, 1):
        padded = F.pad(values, (radius, radius) if axis else (0, 0, radius, radius))
        span, window = 1, 2 * radius + 1
        while span < window:
            step = min(span, window - span)
            length = padded.shape[axis] - step
            padded = torch.maximum(padded.narrow(axis, 0, length), padded.narrow(axis, step, length))
            span += step
        values = padded
    return values


def _on_contour(labels: Tensor) -> Tensor:
    """Which pixels, bool (H, W), have a 4-neighbour of another class; void is none."""
    contour = torch.zeros_like(labels, dtype=torch.bool)
    labelled = labels != VOID_INDEX
    for axis in (0, 1):
        length = labels.shape[axis] - 1
        sides = [(0, length), (1, length)]
        one, other = (labels.narrow(axis, *side) for side in sides)
        differ = (one != other) & labelled.narrow(axis, *sides[0]) & labelled.narrow(axis, *sides[1])
        for side in sides:
            contour.narrow(axis, *side).logical_or_(differ)
    return contour


def _is_near(labels: Tensor, others: Tensor, contour: Tensor, radius: float, classes: int) -> Tensor:
    """Which pixels, bool (H, W), have a pixel of `contour` whose class in `others` is their own within `radius`."""
    near = torch.zeros_like(contour)
    for start in range(0, classes, MOST_BITS):
        count = min(MOST_BITS, classes - start)
        kind = torch.uint8 if count <= 8 else torch.int32 if count <= 31 else torch.int64
        mine = (others >= start) & (others < start + count)
        shift = torch.where(mine, others - start, 0).to(kind)
        bits = torch.where(contour & mine, torch.ones_like(shift) << shift, 0)
        own = (labels >= start) & (labels < start + count)
        around = _dilate(bits, radius) >> torch.where(own, labels - start, 0).to(kind)
        near |= own & (around & 1).bool()
    return near


def _dilate(bits: Tensor, radius: float) -> Tensor:
    """Every bit set within the Euclidean `radius` of where it is set; integers (H, W), row by row of the disc."""
    grown = bits.clone()
    row, half = bits.clone(), 0  # `row`: bits spread by `half` to the left and the right
    for offset in range(math.floor(radius), -1, -1):
        while (half + 1) ** 2 + offset**2 <= radius**2:
            half += 1
            _spread(row, bits, half, axis=1)
        if offset < bits.shape[0]:
            _spread(grown, row, offset, axis=0)
    return grown


def _spread(target: Tensor, source: Tensor, by: int, axis: int) -> None:
    """Set in `target` the bits of `source`, `by` pixels away in both directions of an axis."""
    length = source.shape[axis] - by
    if length > 0:
        target.narrow(axis, by, length).bitwise_or_(source.narrow(axis, 0, length))
        target.narrow(axis, 0, length).bitwise_or_(source.narrow(axis, by, length))
