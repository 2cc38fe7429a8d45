"""Cubic Bézier curves → straight lines, close enough for pixels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FLATNESS_PX = 0.01
"""How far a line may be from the curve that it stands for."""

Floats = NDArray[np.float64]


def flatten(curves_px: Floats) -> Floats:
    """Ring of points, float64 (N, 2), that a closed path of cubic Bézier curves, float64 (M, 4, 2), becomes.

    Each curve is cut into equally long pieces of its parameter, as few as keep every line within FLATNESS_PX of it
    (Wang, Algorithm for the subdivision of Bézier curves, 1984: a curve of degree d in n pieces is off by at most
    d (d − 1) / 8 n² times its largest second difference). A curve whose control points are its ends stays one line.
    """
    return np.concatenate([_points(curve, pieces) for curve, pieces in zip(curves_px, _pieces(curves_px), strict=True)])


def _pieces(curves_px: Floats) -> NDArray[np.int64]:
    bends = np.linalg.norm(np.diff(curves_px, 2, axis=1), axis=2).max(axis=1)
    pieces: NDArray[np.int64] = np.maximum(1, np.ceil(np.sqrt(3 * 2 / 8 * bends / FLATNESS_PX))).astype(np.int64)
    straight = (curves_px[:, 0] == curves_px[:, 1]).all(axis=1) & (curves_px[:, 2] == curves_px[:, 3]).all(axis=1)
    pieces[straight] = 1
    return pieces


def _points(curve_px: Floats, pieces: int) -> Floats:
    """Points of one curve, float64 (pieces, 2), its end left to the next one."""
    t = np.arange(pieces)[:, np.newaxis] / pieces
    start, leaving, arriving, end = curve_px
    points: Floats = (1 - t) ** 3 * start + 3 * (1 - t) ** 2 * t * leaving + 3 * (1 - t) * t**2 * arriving + t**3 * end
    return points
