"""Polygons → pixels, row by row: the compiled part of `pipeline.raster`.

The crossings of many regions are found first (`pipeline.crossings`), then painted together, band of rows by band.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from connectors.compiled import compiled
from pipeline.bit_planes import Bits, set_bits
from pipeline.crossings import Columns, Floats, Ints, add_crossings, add_ends

Mask = NDArray[np.uint8]

KEEP = -1
"""As background: regions go over what the mask holds."""

BAND_PX = 2**17
"""Pixels painted by all regions before the next ones are: less than fits into a processor's second cache."""

MOST_CROSSINGS = 2**16
"""Crossings that wait to be painted together, unless one region has more."""

MANY_CROSSINGS = 32
"""Rows with more crossings are sorted by counting, others by insertion."""


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
    mask: Mask,
    background: int,
    planes: Bits,
    plane_of: Ints,
    extents: Ints,
    first: int,
    columns: Columns,
    starts: Ints,
    values: Mask,
) -> None:
    """Paint the regions from `first` on, as many as `extents` has, one band of rows after the other.

    A band stays in the processor's cache while the background and all regions paint it. Of each region `extents` holds
    the top row, the bottom row + 1, and where in `starts` its rows begin.
    """
    height, width = mask.shape
    band = max(BAND_PX // width, 1)
    for begin in range(0, height, band):
        if background >= 0:
            for row in range(begin, min(begin + band, height)):
                mask[row, :] = background
        for i in range(extents.shape[0]):
            top, bottom = max(extents[i, 0], begin), min(extents[i, 1], begin + band)
            if top < bottom:
                region_starts = starts[extents[i, 2] + top - extents[i, 0] :]
                _paint_rows(mask, planes, plane_of[first + i], top, bottom, columns, region_starts, values[first + i])


@compiled
def paint_polygons(
    mask: Mask, background: int, points_px: Floats, ring_starts: Ints, region_starts: Ints, values: Mask
) -> None:
    """Paint polygons into `mask` in place, later regions over earlier ones.

    Args:
        mask: uint8 (H, W), C-contiguous.
        background: 0 .. 255, painted everywhere before; or KEEP, and the regions go over what the mask holds.
        points_px: float64 (N, 2), columns x, y in pixels; rings one after the other, each closed by itself.
        ring_starts: int64 (R + 1,), ring i has the points ring_starts[i] .. ring_starts[i + 1].
        region_starts: int64 (G + 1,), region g has the rings region_starts[g] .. region_starts[g + 1] (even-odd).
        values: uint8 (G,), what each region is painted with.
    """
    no_planes = np.zeros((0, 0, 0), np.uint64)
    plane_of = np.full(values.size, -1, np.int64)
    paint_planes(mask, background, no_planes, points_px, ring_starts, region_starts, values, plane_of)


@compiled
def paint_planes(
    mask: Mask,
    background: int,
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
    row_ends = np.zeros(height + 1, np.int64)
    columns, starts = np.empty(MOST_CROSSINGS, np.int32), np.empty(max(MOST_CROSSINGS, height + 1), np.int64)
    extents = np.empty((values.size, 3), np.int64)
    first, crossings, used = 0, 0, 0  # of the regions that wait to be painted together
    for region in range(values.size):
        rings = range(region_starts[region], region_starts[region + 1])
        # How many edges begin and cease to cross each row …
        top, bottom = height, 0
        for ring in rings:
            ring_px = points_px[ring_starts[ring] : ring_starts[ring + 1]]
            ring_top, ring_bottom = add_ends(ring_px, height, row_ends)
            top, bottom = min(top, ring_top), max(bottom, ring_bottom)
        bottom = max(top, bottom)
        total, crossed = 0, 0
        for row in range(top, bottom):
            crossed += row_ends[row]
            total += crossed
        if crossings + total > columns.size or used + bottom - top >= starts.size:
            _paint_bands(mask, background, planes, plane_of, extents[first:region], first, columns, starts, values)
            background, first, crossings, used = KEEP, region, 0, 0
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
            ring_px = points_px[ring_starts[ring] : ring_starts[ring + 1]]
            add_crossings(ring_px, height, width, row_ends, columns)
        row_ends[top : bottom + 1] = 0
    _paint_bands(mask, background, planes, plane_of, extents[first:], first, columns, starts, values)
