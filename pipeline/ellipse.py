"""Ellipses → pixels: those whose centre lies strictly inside, but for the few that floats can't decide."""

from __future__ import annotations

import math

import numpy as np

from connectors.compiled import compiled
from pipeline.crossings import Ints, first_row
from pipeline.scanline import Mask

ELLIPSE_ERROR = 2.0**-48
"""Bound on the error of u² + v² relative to (1 + (|dx| + |dy|) / radius)²: 22 roundings of 2⁻⁵³, and some."""


@compiled
def paint_ellipse(
    mask: Mask, x: float, y: float, radius_x: float, radius_y: float, cos: float, sin: float, value: int
) -> Ints:
    """Paint one ellipse into `mask` (uint8 (H, W)) in place: the pixels whose centre lies strictly inside.

    Centre and radii in pixels; `cos`, `sin` of its rotation, clockwise about the centre. Returns the pixels left for
    rational arithmetic, int64 (N,) indices into the flat mask: those whose centre is too near to the rim for floats.
    """
    height, width = mask.shape
    undecided: Ints = np.empty(16, np.int64)
    count = 0
    reach_x = math.hypot(radius_x * cos, radius_y * sin) + 1.0
    reach_y = math.hypot(radius_x * sin, radius_y * cos) + 1.0
    left, right = first_row(x - reach_x, width), first_row(x + reach_x, width)
    for row in range(first_row(y - reach_y, height), first_row(y + reach_y, height)):
        dy = row + 0.5 - y
        for column in range(left, right):
            dx = column + 0.5 - x
            u, v = (dx * cos + dy * sin) / radius_x, (dy * cos - dx * sin) / radius_y
            square = u * u + v * v
            bound = ELLIPSE_ERROR * (1.0 + (abs(dx) + abs(dy)) / min(radius_x, radius_y)) ** 2
            if square < 1.0 - bound:
                mask[row, column] = value
            elif square <= 1.0 + bound:
                if count == undecided.size:
                    larger: Ints = np.empty(2 * count, np.int64)
                    for i in range(count):
                        larger[i] = undecided[i]
                    undecided = larger
                undecided[count] = row * width + column
                count += 1
    return undecided[:count]
