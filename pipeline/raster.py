"""The exact rasteriser: shapes → pixels.

Pixel (row r, column c) covers [c, c+1) × [r, r+1). It belongs to a shape iff its centre (c + ½, r + ½) does, for a
polygon by the even-odd rule. A centre exactly on an edge belongs to what lies to the right of it, and on a horizontal
edge to what lies below, so polygons that share an edge never overlap and never leave a gap:

    centres on the edges of     + - - - +        # belongs to the square
    a square, x right, y down   # # # # .        . belongs to its neighbour
                                # # # # .        (top and left edges are in,
                                # # # # .         bottom and right edges are out)
                                . . . . .

The decision is exact: see `pipeline.crossings`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.bitmask import decode_bitmask
from pipeline.crossings import Floats, Ints
from pipeline.curves import flatten
from pipeline.ellipse import paint_ellipse
from pipeline.rle import decode_brush
from pipeline.scanline import KEEP, Mask, paint_polygons
from schemas.regions import Bitmask, Brush, Ellipse, Polygon, Rectangle, Region, Vector


def points_px(points_pct: Floats, size_hw: tuple[int, int]) -> Floats:
    """Percent of width and height → pixels; float64 (…, 2), the last axis x, y."""
    height, width = size_hw
    pixels: Floats = points_pct * np.array([width, height], np.float64) / 100
    return pixels


def points_pct(points_px: Floats, size_hw: tuple[int, int]) -> Floats:
    """Pixels → percent of width and height, float64 (N, 2): the inverse of `points_px` up to one rounding (2⁻⁵²).

    Points on pixel corners come back to within 1e-12 px, so polygons along pixel edges cover the same pixels again.
    """
    height, width = size_hw
    percent: Floats = points_px * 100 / np.array([width, height], np.float64)
    return percent


def rectangle_px(shape: Rectangle, size_hw: tuple[int, int]) -> Floats:
    """Corners in pixels, float64 (4, 2), clockwise from the top-left one, about which the rectangle is rotated."""
    height, width = size_hw
    x, y = shape.x_pct * width / 100, shape.y_pct * height / 100
    along, down = shape.width_pct * width / 100, shape.height_pct * height / 100
    cos, sin = _cos_sin(shape.rotation_deg)
    right, below = np.array([along * cos, along * sin]), np.array([-down * sin, down * cos])
    corners: Floats = np.array([x, y]) + np.array([np.zeros(2), right, right + below, below])
    return corners


def _cos_sin(degrees: float) -> tuple[float, float]:
    """Cosine and sine, exact at quarter turns."""
    quarters, rest = divmod(degrees, 90.0)
    cos, sin = math.cos(math.radians(rest)), math.sin(math.radians(rest))
    return ((cos, sin), (-sin, cos), (-cos, -sin), (sin, -cos))[int(quarters) % 4]


def fill_polygon(size_hw: tuple[int, int], rings: Sequence[Floats]) -> NDArray[np.bool_]:
    """Pixels of the polygon that the rings (float64 (N, 2) pixels each) bound together by even-odd; bool (H, W)."""
    mask = np.empty(size_hw, np.uint8)
    paint_polygons(mask, 0, *_joined(rings), np.array([0, len(rings)]), np.ones(1, np.uint8))
    return mask.view(np.bool_)


def fill_ellipse(size_hw: tuple[int, int], shape: Ellipse) -> NDArray[np.bool_]:
    """Pixels of the ellipse; bool (H, W)."""
    mask = np.zeros(size_hw, np.uint8)
    _paint_ellipses(mask, [shape], [1])
    return mask.view(np.bool_)


def paint_region(mask: Mask, region: Region, value: int) -> None:
    """Paint one region into `mask` (uint8 (H, W)) with `value` (0..255). Raises RegionError as `paint` does."""
    paint(mask, [(region, value)])


def paint(mask: Mask, regions_and_values: Iterable[tuple[Region, int]]) -> None:
    """Paint regions, each with its value (0..255), into `mask` (uint8 (H, W), C-contiguous), later over earlier.

    Neighbours of one shape type are painted together, so an image of polygons is one compiled call. Raises RegionError
    `bad_rle` or `bad_bitmask` with the mask half painted; `paint_region` then tells which region it is.
    """
    for (kind, holed), run in itertools.groupby(regions_and_values, key=_kind):
        if holed:
            for region, value in run:
                _paint_holed(mask, region, value)
        else:
            regions, values = zip(*run, strict=True)
            PAINTERS[kind](mask, [region.shape for region in regions], values)


def _kind(region_and_value: tuple[Region, int]) -> tuple[type, bool]:
    region, _ = region_and_value
    return type(region.shape), bool(region.holes)


def _paint_holed(mask: Mask, region: Region, value: int) -> None:
    inside = np.zeros_like(mask)
    PAINTERS[type(region.shape)](inside, [region.shape], [1])
    for hole in region.holes:
        PAINTERS[type(hole)](inside, [hole], [0])
    mask[inside.view(np.bool_)] = value


def _joined(rings: Sequence[Floats]) -> tuple[Floats, Ints]:
    """Rings one after the other, and where each starts."""
    if not rings:
        return np.empty((0, 2)), np.zeros(1, np.int64)
    return np.concatenate(rings, dtype=np.float64), np.cumsum([0, *map(len, rings)], dtype=np.int64)


def _size_hw(mask: Mask) -> tuple[int, int]:
    height, width = mask.shape
    return height, width


def _paint_rings(mask: Mask, points: Floats, starts: Ints, values: Sequence[int]) -> None:
    """Paint rings, each a region of its own, over what `mask` holds."""
    paint_polygons(mask, KEEP, points, starts, np.arange(starts.size), np.array(values, np.uint8))


def _paint_polygons(mask: Mask, shapes: Sequence[Polygon], values: Sequence[int]) -> None:
    points, starts = _joined([shape.points_pct for shape in shapes])
    _paint_rings(mask, points_px(points, _size_hw(mask)), starts, values)


def _paint_rectangles(mask: Mask, shapes: Sequence[Rectangle], values: Sequence[int]) -> None:
    points, starts = _joined([rectangle_px(shape, _size_hw(mask)) for shape in shapes])
    _paint_rings(mask, points, starts, values)


def _paint_ellipses(mask: Mask, shapes: Sequence[Ellipse], values: Sequence[int]) -> None:
    height, width = mask.shape
    for shape, value in zip(shapes, values, strict=True):
        x, y = shape.x_pct * width / 100, shape.y_pct * height / 100
        radius_x, radius_y = shape.radius_x_pct * width / 100, shape.radius_y_pct * height / 100
        if radius_x > 0 and radius_y > 0:
            turn = 0.0 if radius_x == radius_y else shape.rotation_deg  # a circle's is only a rounding error
            numbers = (x, y, radius_x, radius_y, *_cos_sin(turn))
            for pixel in paint_ellipse(mask, *numbers, value).tolist():
                row, column = divmod(pixel, width)
                if _is_in_ellipse(row, column, *map(Fraction, numbers)):
                    mask[row, column] = value


def _is_in_ellipse(
    row: int,
    column: int,
    x: Fraction,
    y: Fraction,
    radius_x: Fraction,
    radius_y: Fraction,
    cos: Fraction,
    sin: Fraction,
) -> bool:
    dx, dy = column + Fraction(1, 2) - x, row + Fraction(1, 2) - y
    return ((dx * cos + dy * sin) / radius_x) ** 2 + ((dy * cos - dx * sin) / radius_y) ** 2 < 1


def _paint_brushes(mask: Mask, shapes: Sequence[Brush], values: Sequence[int]) -> None:
    for shape, value in zip(shapes, values, strict=True):
        mask[decode_brush(shape.rle, _size_hw(mask))] = value


def _paint_bitmasks(mask: Mask, shapes: Sequence[Bitmask], values: Sequence[int]) -> None:
    for shape, value in zip(shapes, values, strict=True):
        mask[decode_bitmask(shape.png, _size_hw(mask))] = value


def _paint_vectors(mask: Mask, shapes: Sequence[Vector], values: Sequence[int]) -> None:
    size_hw = _size_hw(mask)
    points, starts = _joined([flatten(points_px(shape.curves_pct, size_hw)) for shape in shapes])
    _paint_rings(mask, points, starts, values)


PAINTERS: dict[type, Callable[[Mask, Sequence[Any], Sequence[int]], None]] = {
    Polygon: _paint_polygons,
    Rectangle: _paint_rectangles,
    Ellipse: _paint_ellipses,
    Brush: _paint_brushes,
    Bitmask: _paint_bitmasks,
    Vector: _paint_vectors,
}
"""Shape type → what paints a run of such shapes."""
