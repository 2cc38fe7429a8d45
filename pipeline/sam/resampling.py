"""From the network's logits to masks of the image, only where there can be a mask."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis of the resampling. `weights`: float32 (out, in).

    `first`, `last`: the inputs that each output is an average of. `reached`: for each input, the first output that it
    is part of and the one after the last.
    """

    weights: Tensor
    first: NDArray[np.int64]
    last: NDArray[np.int64]
    reached: tuple[NDArray[np.int64], NDArray[np.int64]]

    @classmethod
    def of(cls, weights: Tensor) -> Axis:
        """The axis with these weights, whose nonzero ones lie in a band."""
        used = (weights > 0).cpu().numpy()
        outputs, inputs = used.shape
        first, last = used.argmax(axis=1), inputs - 1 - used[:, ::-1].argmax(axis=1)
        in_use = used.any(axis=0)
        begin = np.where(in_use, used.argmax(axis=0), 0)
        end = np.where(in_use, outputs - used[::-1].argmax(axis=0), 0)
        return cls(weights, first, last, (begin, end))

    def span(self, inputs: NDArray[np.int64]) -> tuple[slice, slice]:
        """Outputs that any of the ascending `inputs` is part of, and all inputs of those; both empty if none is."""
        begins, ends = self.reached[0][inputs], self.reached[1][inputs]
        reaching = ends > begins
        if not reaching.any():
            return slice(0, 0), slice(0, 0)
        begin, end = int(begins[reaching].min()), int(ends[reaching].max())
        return slice(begin, end), slice(int(self.first[begin]), int(self.last[end - 1]) + 1)


@dataclass(frozen=True, slots=True)
class Window:
    """Logits of the image within a rectangle. `values`: float32 (h, w) on the device; `top`, `left`: its corner."""

    values: Tensor
    top: int
    left: int


class Resampling:
    """Brings logits (h, w) to the size of an image by `rows @ logits @ columns.T`, window by window.

    An output is an average of its neighbours, so wherever none of those is over a threshold it isn't either. The
    window around all that are is exact, and for a small object a small part of the image.
    """

    def __init__(self, rows: Tensor, columns: Tensor) -> None:
        self._rows, self._columns = Axis.of(rows), Axis.of(columns)

    def windows(self, logits: Tensor, above: float) -> Iterator[Window]:
        """For each of (M, h, w) logits the window outside of which no pixel of the image is over `above`."""
        over = logits > above
        in_rows, in_columns = over.any(dim=2).cpu().numpy(), over.any(dim=1).cpu().numpy()
        for plane, of_rows, of_columns in zip(logits, in_rows, in_columns, strict=True):
            rows, row_inputs = self._rows.span(np.flatnonzero(of_rows))
            columns, column_inputs = self._columns.span(np.flatnonzero(of_columns))
            part = self._rows.weights[rows, row_inputs] @ plane[row_inputs, column_inputs]
            values = part @ self._columns.weights[columns, column_inputs].T
            yield Window(values, rows.start, columns.start)


def stability(window: Window, offset: float) -> float:
    """IoU of the masks at the thresholds `offset` and `-offset`, float32 in 0..1; 0 where both are empty.

    `calculate_stability_score` of segment_anything. The window must hold all that is over `-offset`.
    """
    wide = int(torch.count_nonzero(window.values > -offset))
    narrow = int(torch.count_nonzero(window.values > offset))
    return float(np.float32(narrow) / np.float32(wide)) if wide else 0.0


def column_runs(mask: NDArray[np.bool_], top: int, left: int, size_hw: tuple[int, int]) -> list[int]:
    """COCO's run lengths, column-major and beginning with background, of an image of `size_hw` with `mask` in it.

    `mask`: bool (h, w), its corner at row `top` and column `left`.
    """
    height, width = size_hw
    columns = np.zeros((mask.shape[1], mask.shape[0] + 2), np.bool_)
    columns[:, 1:-1] = mask.T
    column, row = np.divmod(np.flatnonzero(columns[:, 1:] != columns[:, :-1]), mask.shape[0] + 1)
    edges = (left + column) * height + top + row
    joined = np.flatnonzero(edges[2::2] == edges[1:-1:2])  # a run that goes on at the top of the next column
    edges = np.delete(edges, np.concatenate((2 * joined + 1, 2 * joined + 2)))
    runs: list[int] = np.diff(edges, prepend=0, append=height * width).tolist()
    return runs if runs[-1] else runs[:-1]
