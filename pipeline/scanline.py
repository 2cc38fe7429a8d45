"""The compiled part of `pipeline.raster`: scanlines over pixel centres, decided exactly.

The answer is that of rational arithmetic on the float64 coordinates, not an approximation: a crossing of a row of
centres is located in floating point with a bound on the error, and where a centre lies within the bound, the sign of an
orientation determinant decides, evaluated exactly as an expansion (J. R. Shewchuk, "Adaptive Precision Floating-Point
Arithmetic and Fast Robust Geometric Predicates", Discrete & Computational Geometry 18, 1997). Coordinates must be 0 or
of a magnitude in 1e-140 .. 1e140, so that no product under- or overflows.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from connectors.compiled import compiled
from connectors.error_free import two_product, two_sum
from pipeline.bit_planes import Bits, set_bits

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Mask = NDArray[np.uint8]
Columns = NDArray[np.int32]

CROSSING_ERROR = 2.0**-49
"""Bound on the error of a crossing's x relative to |ax| + |bx| + 1: eight roundings of at most 2⁻⁵³ each, doubled."""

ELLIPSE_ERROR = 2.0**-48
"""Bound on the error of u² + v² relative to (1 + (|dx| + |dy|) / radius)²: 22 roundings of 2⁻⁵³, and some."""

BAND_PX = 2**17
"""Pixels painted by all regions before the next ones are: less than fits into a processor's second cache."""

MOST_CROSSINGS = 2**18
"""Crossings that wait to be painted together, unless one region has more."""

MANY_CROSSINGS = 32
"""Rows with more crossings are sorted by counting, others by insertion."""


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
    if acx_error == 0.0 and acy_error == 0.0 and bcx_error == 0.0 and bcy_error == 0.0:
        left, left_low = two_product(acx, bcy)
        right, right_low = two_product(acy, bcx)
        return left > right or (left == right and left_low > right_low)  # rounding is monotone
    return _sign_by_expansion(ax, ay, bx, by, cx, cy) > 0.0


@compiled
def _first_row(y: float, height: int) -> int:
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
        gap = column - t
        if bound < gap < 1.0 - bound:
            return min(column, width)
        nearest = column if gap < 0.5 else column - 1
        low, high = max(nearest, 0), min(nearest + 1, width)
    while low < high:
        middle = (low + high) // 2
        if _is_left(ax, ay, bx, by, middle + 0.5, cy):
            low = middle + 1
        else:
            high = middle
    return low


@compiled
def _sort_many(columns: Columns, width: int) -> None:
    """Sort the crossings of a row, 0 .. width, by counting."""
    counts = np.zeros(width + 1, np.int32)
    for column in columns:
        counts[column] += 1
    place = 0
    for column in range(width + 1):
        for _ in range(counts[column]):
            columns[place] = column
            place += 1


@compiled
def _paint_rows(
    mask: Mask, planes: Bits, plane: int, top: int, bottom: int, columns: Columns, starts: Ints, value: int
) -> None:
    """Paint between the 1st and 2nd, 3rd and 4th … crossing of each row; a row's crossings come in any order.

    Those of row top + i are columns[starts[i]] .. columns[starts[i + 1]].
    """
    for row in range(top, bottom):
        start, end = starts[row - top], starts[row - top + 1]
        if end - start > MANY_CROSSINGS:
            _sort_many(columns[start:end], mask.shape[1])
        else:
            for i in range(start + 1, end):
                column, j = columns[i], i
                while j > start and columns[j - 1] > column:
                    columns[j] = columns[j - 1]
                    j -= 1
                columns[j] = column
        for i in range(start, end, 2):
            mask[row, columns[i] : columns[i + 1]] = value
            if plane >= 0 and columns[i] < columns[i + 1]:
                set_bits(planes[plane, row], columns[i], columns[i + 1])


@compiled
def _paint_bands(
    mask: Mask, planes: Bits, plane_of: Ints, extents: Ints, first: int, columns: Columns, starts: Ints, values: Mask
) -> None:
    """Paint the regions from `first` on, as many as `extents` has, one band of rows after the other.

    A band stays in the processor's cache while all regions paint it. Of each region `extents` holds the top row, the
    bottom row + 1, and where in `starts` its rows begin.
    """
    height, width = mask.shape
    band = max(BAND_PX // width, 1)
    for begin in range(0, height, band):
        for i in range(extents.shape[0]):
            top, bottom = max(extents[i, 0], begin), min(extents[i, 1], begin + band)
            if top < bottom:
                region_starts = starts[extents[i, 2] + top - extents[i, 0] :]
                _paint_rows(mask, planes, plane_of[first + i], top, bottom, columns, region_starts, values[first + i])


@compiled
def paint_polygons(mask: Mask, points_px: Floats, ring_starts: Ints, region_starts: Ints, values: Mask) -> None:
    """Paint polygons into `mask` in place, later regions over earlier ones.

    Args:
        mask: uint8 (H, W), C-contiguous.
        points_px: float64 (N, 2), columns x, y in pixels; rings one after the other, each closed by itself.
        ring_starts: int64 (R + 1,), ring i has the points ring_starts[i] .. ring_starts[i + 1].
        region_starts: int64 (G + 1,), region g has the rings region_starts[g] .. region_starts[g + 1] (even-odd).
        values: uint8 (G,), what each region is painted with.
    """
    no_planes = np.zeros((0, 0, 0), np.uint64)
    plane_of = np.full(values.size, -1, np.int64)
    paint_planes(mask, no_planes, points_px, ring_starts, region_starts, values, plane_of)


@compiled
def paint_planes(
    mask: Mask,
    planes: Bits,
    points_px: Floats,
    ring_starts: Ints,
    region_starts: Ints,
    values: Mask,
    plane_of: Ints,
) -> None:
    """As `paint_polygons`; besides, region g's pixels are set in planes[plane_of[g]] unless that is -1.

    `planes`: see `pipeline.bit_planes`. `plane_of`: int64 (G,).
    """
    height, width = mask.shape
    rows = np.empty(points_px.shape[0], np.int32)
    for point in range(rows.size):
        rows[point] = _first_row(points_px[point, 1], height)
    row_ends = np.zeros(height + 1, np.int64)
    columns, starts = np.empty(MOST_CROSSINGS, np.int32), np.empty(max(MOST_CROSSINGS, height + 1), np.int64)
    extents = np.empty((values.size, 3), np.int64)
    first, crossings, used = 0, 0, 0  # of the regions that wait to be painted together
    for region in range(values.size):
        rings = range(region_starts[region], region_starts[region + 1])
        # Rows that the region's edges begin and cease to cross …
        top, bottom = height, 0
        for ring in rings:
            previous = ring_starts[ring + 1] - 1
            for point in range(ring_starts[ring], ring_starts[ring + 1]):
                row, end = rows[previous], rows[point]
                previous = point
                if row != end:
                    row, end = min(row, end), max(row, end)
                    row_ends[row] += 1
                    row_ends[end] -= 1
                    top, bottom = min(top, row), max(bottom, end)
        bottom = max(top, bottom)
        total, crossed = 0, 0
        for row in range(top, bottom):
            crossed += row_ends[row]
            total += crossed
        if crossings + total > columns.size or used + bottom - top >= starts.size:
            _paint_bands(mask, planes, plane_of, extents[first:region], first, columns, starts, values)
            first, crossings, used = region, 0, 0
            if total > columns.size:
                columns = np.empty(total, np.int32)
        extents[region, 0], extents[region, 1], extents[region, 2] = top, bottom, used
        # … become the places in `columns` where each row's crossings start …
        crossed, end = 0, crossings
        for row in range(top, bottom):
            crossed += row_ends[row]
            row_ends[row] = end
            starts[used] = end
            used += 1
            end += crossed
        starts[used] = end
        used += 1
        crossings += total
        # … and, as the crossings are put there, end.
        for ring in rings:
            previous = ring_starts[ring + 1] - 1
            for point in range(ring_starts[ring], ring_starts[ring + 1]):
                a, b = (previous, point) if rows[previous] < rows[point] else (point, previous)
                previous = point
                if rows[a] == rows[b]:
                    continue
                ax, ay, bx, by = points_px[a, 0], points_px[a, 1], points_px[b, 0], points_px[b, 1]
                slope, bound = (bx - ax) / (by - ay), CROSSING_ERROR * (abs(ax) + abs(bx) + 1.0)
                for row in range(rows[a], rows[b]):
                    t = ax + (row + 0.5 - ay) * slope - 0.5
                    columns[row_ends[row]] = _first_column(t, bound, ax, ay, bx, by, row + 0.5, width)
                    row_ends[row] += 1
        row_ends[top : bottom + 1] = 0
    _paint_bands(mask, planes, plane_of, extents[first:], first, columns, starts, values)


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
    left, right = _first_row(x - reach_x, width), _first_row(x + reach_x, width)
    for row in range(_first_row(y - reach_y, height), _first_row(y + reach_y, height)):
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
