"""Where the edges of polygons cross the rows of pixel centres, decided exactly.

The answer is that of rational arithmetic on the float64 coordinates, not an approximation. A crossing is located in
floating point with a bound on the error; where a centre lies within the bound, the sign of an orientation determinant
decides, in the end evaluated exactly as an expansion (J. R. Shewchuk, "Adaptive Precision Floating-Point Arithmetic and
Fast Robust Geometric Predicates", Discrete & Computational Geometry 18, 1997). Coordinates must be 0 or of a magnitude
in 1e-140 .. 1e140, so that no product under- or overflows.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from connectors.compiled import compiled
from connectors.error_free import two_product, two_sum

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Columns = NDArray[np.int32]

CROSSING_ERROR = 2.0**-49
"""Bound on the error of a crossing's x relative to |ax| + |bx| + 1: eight roundings of at most 2⁻⁵³ each, doubled."""

DETERMINANT_ERROR = (3 + 16 * 2.0**-53) * 2.0**-53
"""Bound on the error of an orientation determinant relative to the sum of its products (Shewchuk's ccwerrboundA)."""

GRID, GRID_REACH = 2.0**6, 2.0**19
"""Multiples of 1 / GRID within ± GRID_REACH: their differences have 26 bits, the products of those 52, none rounded."""


@compiled
def _sign_by_expansion(ax: float, ay: float, bx: float, by: float, cx: float, cy: float) -> float:
    """Number with the sign of ax·by − ay·bx + bx·cy − by·cx + cx·ay − cy·ax."""
    factors = ((ax, by), (-ay, bx), (bx, cy), (-by, cx), (cx, ay), (-cy, ax))
    expansion: Floats = np.zeros(2 * len(factors))
    for size in range(len(factors)):
        high, low = two_product(factors[size][0], factors[size][1])
        for end, carry in ((2 * size, low), (2 * size + 1, high)):  # GROW-EXPANSION, theorem 10
            for i in range(end):
                carry, expansion[i] = two_sum(carry, expansion[i])
            expansion[end] = carry
    for i in range(expansion.size - 1, -1, -1):
        if expansion[i] != 0.0:
            return float(expansion[i])
    return 0.0


@compiled
def _is_left(ax: float, ay: float, bx: float, by: float, cx: float, cy: float) -> bool:
    """Whether c lies strictly left of the edge from a down to b (ay ≤ cy < by). Exact."""
    acx, acx_error = two_sum(ax, -cx)
    acy, acy_error = two_sum(ay, -cy)
    bcx, bcx_error = two_sum(bx, -cx)
    bcy, bcy_error = two_sum(by, -cy)
    if abs(acx * bcy - acy * bcx) > DETERMINANT_ERROR * (abs(acx * bcy) + abs(acy * bcx)):
        return acx * bcy > acy * bcx
    if acx_error == 0.0 and acy_error == 0.0 and bcx_error == 0.0 and bcy_error == 0.0:
        left, left_low = two_product(acx, bcy)
        right, right_low = two_product(acy, bcx)
        return left > right or (left == right and left_low > right_low)  # rounding is monotone
    return _sign_by_expansion(ax, ay, bx, by, cx, cy) > 0.0


@compiled
def first_row(y: float, height: int) -> int:
    """First row whose centre is at y or below, in 0 .. height."""
    t = y - 0.5
    if not t > 0.0:
        return 0
    return height if t >= height else math.ceil(t)


@compiled
def _first_column(t: float, bound: float, ax: float, ay: float, bx: float, by: float, cy: float, width: int) -> int:
    """First column whose centre, on the line y = cy, is not left of the edge from a down to b, in 0 .. width.

    `t` estimates where the edge crosses the line, in columns (centre to centre), to within `bound`.
    """
    if not t > -bound:
        return 0
    if t > width + bound:
        return width
    low, high = 0, width
    if bound < 0.5:
        column = math.ceil(t)
        nearest = column if column - t < 0.5 else column - 1
        low, high = max(nearest, 0), min(nearest + 1, width)
    while low < high:
        middle = (low + high) // 2
        if _is_left(ax, ay, bx, by, middle + 0.5, cy):
            low = middle + 1
        else:
            high = middle
    return low


@compiled
def add_ends(points_px: Floats, height: int, row_ends: Ints) -> tuple[int, int]:
    """Add the edges of a ring to the rows where they begin to cross and subtract them where they cease to.

    Returns the ring's first row and its last one + 1, of a ring without points `height` and 0.
    """
    top, bottom = height, 0
    if points_px.shape[0] == 0:
        return top, bottom
    previous = first_row(points_px[-1, 1], height)
    for point in range(points_px.shape[0]):
        row = first_row(points_px[point, 1], height)
        row_ends[min(previous, row)] += 1
        row_ends[max(previous, row)] -= 1
        top, bottom = min(top, row), max(bottom, row)
        previous = row
    return top, bottom


@compiled
def _is_on_grid(x: float, y: float) -> bool:
    """Whether orientation determinants of such points and of pixel centres are computed without rounding."""
    in_reach = abs(x) < GRID_REACH and abs(y) < GRID_REACH
    return in_reach and x * GRID == math.floor(x * GRID) and y * GRID == math.floor(y * GRID)


@compiled
def add_crossings(points_px: Floats, height: int, width: int, row_ends: Ints, columns: Columns) -> None:
    """Put the columns where a ring crosses each row to columns[row_ends[row]], which moves on."""
    if points_px.shape[0] == 0:
        return
    last, right = points_px.shape[0] - 1, float(width)
    from_x, from_y = points_px[last, 0], points_px[last, 1]
    from_row, from_grid = first_row(from_y, height), _is_on_grid(from_x, from_y)
    for point in range(last + 1):
        to_x, to_y = points_px[point, 0], points_px[point, 1]
        to_row, to_grid = first_row(to_y, height), _is_on_grid(to_x, to_y)
        if from_row != to_row:
            if from_row < to_row:
                top, bottom, ax, ay, bx, by = from_row, to_row, from_x, from_y, to_x, to_y
            else:
                top, bottom, ax, ay, bx, by = to_row, from_row, to_x, to_y, from_x, from_y
            slope = (bx - ax) / (by - ay)
            if from_grid and to_grid:
                for row in range(top, bottom):
                    below, above = by - (row + 0.5), ay - (row + 0.5)
                    nearest = np.floor(ax - above * slope)
                    is_left = (ax - (nearest + 0.5)) * below > above * (bx - (nearest + 0.5))
                    columns[row_ends[row]] = np.int32(min(max(nearest + is_left, 0.0), right))
                    row_ends[row] += 1
            else:
                bound = CROSSING_ERROR * (abs(ax) + abs(bx) + 1.0)
                for row in range(top, bottom):
                    t = ax + (row + 0.5 - ay) * slope - 0.5
                    column = np.ceil(t)
                    if bound < column - t < 1.0 - bound:
                        columns[row_ends[row]] = np.int32(min(max(column, 0.0), right))
                    else:
                        columns[row_ends[row]] = _first_column(t, bound, ax, ay, bx, by, row + 0.5, width)
                    row_ends[row] += 1
        from_x, from_y, from_row, from_grid = to_x, to_y, to_row, to_grid
