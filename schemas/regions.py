"""Regions: what an annotator drew, in Label Studio's own units (percent of the displayed image)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Polygon:
    """`points_pct`: float64 (N, 2), N ≥ 3, columns x, y in percent of image width and height."""

    points_pct: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Rectangle:
    """Top-left corner and size in percent; `rotation_deg` clockwise about the top-left corner."""

    x_pct: float
    y_pct: float
    width_pct: float
    height_pct: float
    rotation_deg: float


@dataclass(frozen=True, slots=True)
class Ellipse:
    """Centre and radii in percent (x of width, y of height); `rotation_deg` clockwise about the centre."""

    x_pct: float
    y_pct: float
    radius_x_pct: float
    radius_y_pct: float
    rotation_deg: float


@dataclass(frozen=True, slots=True)
class Brush:
    """`rle`: Label Studio's brush RLE (not COCO's), decoding to H·W·4 bytes, four equal alpha channels."""

    rle: bytes


@dataclass(frozen=True, slots=True)
class Bitmask:
    """`png`: an RGBA image of the size of the one it was drawn on; a pixel belongs iff its alpha is over 127."""

    png: bytes


@dataclass(frozen=True, slots=True)
class Vector:
    """A closed path of cubic Bézier curves: `curves_pct`, float64 (N, 4, 2), each start, two control points, end.

    Columns x, y in percent; a curve ends where the next one starts, the last where the first does. One whose control
    points are its ends is a straight line.
    """

    curves_pct: NDArray[np.float64]


Shape = Polygon | Rectangle | Ellipse | Brush | Bitmask | Vector


@dataclass(frozen=True, slots=True)
class Region:
    """One shape with its label. `size_hw`: height and width in pixels of the image it was drawn on, as displayed.

    `holes` are cut out of it: what lies below shows through them.
    """

    region_id: str
    label: str
    shape: Shape
    size_hw: tuple[int, int]
    holes: tuple[Shape, ...] = ()
