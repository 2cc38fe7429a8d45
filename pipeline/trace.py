"""The tracer: class-index mask → polygons along pixel edges ("cracks"), the inverse of `pipeline.raster`.

A region is a 4-connected component of one value; of it only the outer ring is kept, and what lies in its holes is
painted later, on top. So rings in order of falling filled area, painted one after the other, give back the mask: bit
for bit at tolerance 0. What is compiled is `pipeline.cracks`, which finds the rings, and `pipeline.simplify`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.cracks import Numbers, outer_rings
from pipeline.simplify import simplified

Mask = NDArray[np.uint8]
Points = NDArray[np.float64]

FIRST_TOLERANCE_PX = 0.5
TOLERANCE_GROWTH = 1.25
"""By which factor the tolerance rises of a region that has more vertices than it may."""


@dataclass(frozen=True, slots=True)
class TracedRegion:
    """One component of a mask.

    `points_px`: float64 (N, 2), N ≥ 3, columns x, y, open ring. `area_px`: what the unsimplified ring encloses, holes
    included. `pixels`: how many pixels are the component's own.
    """

    class_index: int
    points_px: Points
    area_px: int
    pixels: int


def trace(mask: Mask, tolerance_px: float, min_area_px: int = 0, max_vertices: int | None = None) -> list[TracedRegion]:
    """Regions of a class-index mask in the order in which they must be painted (filled area falling).

    Args:
        mask: uint8 (H, W), 255 is void. Void is traced only where an earlier region would cover it.
        tolerance_px: 0 keeps every corner; else how far the middles of cracks may be from the simplified ring (a corner
            may be half a pixel more). Neighbours share their simplified border.
        min_area_px: components of fewer pixels are left out; their pixels show what lies below.
        max_vertices: at least 4. A region that has more is simplified by itself, with a tolerance that rises until it
            fits, so its border is no longer its neighbours'. One that would collapse first keeps the fewest it can.
    """
    values, pixels, areas, points, ends = outer_rings(mask, min_area_px)
    exact = np.split(points, ends[:-1])
    if tolerance_px > 0:
        vertices, vertex_ends = simplified(points, ends, tolerance_px)
        rings = np.split(vertices, vertex_ends[:-1])
    else:
        rings = [ring[:, :2].astype(np.float64) for ring in exact]
    if max_vertices is not None:
        rings = [
            ring if len(ring) <= max_vertices else _within_budget(ring, corners, max_vertices, tolerance_px)
            for ring, corners in zip(rings, exact, strict=True)
        ]
    return [
        TracedRegion(int(values[i]), rings[i], int(areas[i]), int(pixels[i])) for i in np.argsort(-areas, kind="stable")
    ]


def _within_budget(ring: Points, corners: Numbers, max_vertices: int, tolerance_px: float) -> Points:
    """`ring`, or of its corners the first simplification that has at most `max_vertices`, else the shortest."""
    alone = corners * np.array([1, 1, 0], np.int32)
    tolerance_px = max(tolerance_px, FIRST_TOLERANCE_PX)
    extent = float(np.ptp(corners[:, :2], axis=0).max())
    while len(ring) > max_vertices and tolerance_px < extent:
        shorter, _ = simplified(alone, np.array([len(alone)]), tolerance_px)
        ring = min(ring, shorter, key=len)
        tolerance_px *= TOLERANCE_GROWTH
    return ring
