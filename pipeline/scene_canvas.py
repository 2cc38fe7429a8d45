"""What street scenes are drawn with: a camera, a light, and a canvas that records the exact outline of all it paints.

World coordinates are metres: x to the right, y up from the ground, z along the street. Picture coordinates are pixels,
x to the right, y down, (0, 0) the outer corner of the first pixel. Colours are RGB in [0, 255].
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.raster import fill_polygon

WIDTH, HEIGHT = 480, 360
SUPERSAMPLE = 2
"""Pictures are drawn this many times larger and then averaged down."""

NEAR_M, FAR_M = 1.0, 5000.0
"""Nothing closer to the camera or farther than this is drawn."""

SUBPIXEL_BITS = 4

Floats = NDArray[np.float64]
Pixels = NDArray[np.uint8]
Colour = Floats
"""float64 (3,), RGB in [0, 255]."""


@dataclass(frozen=True, slots=True)
class EllipsePx:
    """Centre and radii in pixels; `rotation_deg` clockwise about the centre."""

    x: float
    y: float
    radius_x: float
    radius_y: float
    rotation_deg: float


@dataclass(frozen=True, slots=True)
class RectanglePx:
    """Top-left corner and size in pixels; `rotation_deg` (0..360) clockwise about the top-left corner."""

    x: float
    y: float
    width: float
    height: float
    rotation_deg: float


ShapePx = Floats | EllipsePx | RectanglePx
"""A polygon is float64 (N, 2), columns x, y in pixels."""


def outline(shape: ShapePx) -> Floats:
    """A shape's outline as a polygon, float64 (N, 2) in pixels; an ellipse gets 64 points."""
    if isinstance(shape, np.ndarray):
        return shape
    if isinstance(shape, RectanglePx):
        corners = np.array([[0, 0], [shape.width, 0], [shape.width, shape.height], [0, shape.height]])
        return corners @ turn(shape.rotation_deg).T + [shape.x, shape.y]
    angles = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    ring = np.stack([shape.radius_x * np.cos(angles), shape.radius_y * np.sin(angles)], axis=1)
    return ring @ turn(shape.rotation_deg).T + [shape.x, shape.y]


def turn(degrees: float) -> Floats:
    """Rotation clockwise in the picture, float64 (2, 2)."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return np.array([[cos, -sin], [sin, cos]])


def is_inside(shape: ShapePx) -> bool:
    """Whether a shape lies wholly in the picture."""
    points = outline(shape)
    return bool((points >= 0).all() and (points <= [WIDTH, HEIGHT]).all())


@dataclass(frozen=True)
class Camera:
    """A pinhole camera that looks along z. `position_m` (x, y, z); the street vanishes at `vanishing_px` (x, y).

    Planes of one z stay parallel to the picture, so upright circles stay circles; `roll_deg` turns the picture.
    """

    position_m: Floats
    focal_px: float
    vanishing_px: tuple[float, float]
    roll_deg: float

    @property
    def z_m(self) -> float:
        """How far along the street the camera stands."""
        return float(self.position_m[2])

    @cached_property
    def matrix(self) -> Floats:
        """Metres from the camera → homogeneous pixels, float64 (3, 3)."""
        x, y = self.vanishing_px
        pinhole = np.array([[self.focal_px, 0, x], [0, -self.focal_px, y], [0, 0, 1]])
        roll = np.eye(3)
        roll[:2, :2] = turn(self.roll_deg)
        centre = np.array([WIDTH / 2, HEIGHT / 2])
        roll[:2, 2] = centre - roll[:2, :2] @ centre
        return np.array(roll @ pinhole)

    def project(self, points_m: Any) -> Floats:
        """Points (N, 3) in metres, all before the camera → float64 (N, 2) in pixels."""
        seen = (np.asarray(points_m, np.float64) - self.position_m) @ self.matrix.T
        return np.array(seen[:, :2] / seen[:, 2:])

    def upright(self, x_m: float, z_m: float, offsets_m: Any) -> Floats:
        """Points (N, 2) across and up from the ground point (x, z), in the plane facing the camera → (N, 2) pixels."""
        offsets = np.asarray(offsets_m, np.float64)
        return self.project(np.column_stack([x_m + offsets[:, 0], offsets[:, 1], np.full(len(offsets), z_m)]))

    def plane(self, origin_m: Any, along_m: Any, down_m: Any) -> Floats:
        """Homography (3, 3) from coordinates (along, down) of a plane to pixels."""
        axes = np.column_stack([along_m, down_m, np.asarray(origin_m, np.float64) - self.position_m])
        return np.array(self.matrix @ axes)

    def scale_px(self, z_m: float) -> float:
        """Pixels a metre takes at this z."""
        return self.focal_px / max(z_m - self.z_m, NEAR_M)

    def ground(self, top: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """World x and z of the ground under the picture's pixels from row `top` down, float32 (HEIGHT - top, WIDTH).

        z is `FAR_M` at and over the horizon.
        """
        columns, rows = np.arange(WIDTH) + 0.5, np.arange(top, HEIGHT)[:, None] + 0.5
        inverse = np.linalg.inv(self.matrix)
        ray_x, ray_y, ray_z = (inverse[i, 0] * columns + inverse[i, 1] * rows + inverse[i, 2] for i in range(3))
        below = ray_y < -1e-4
        length = self.position_m[1] / -np.where(below, ray_y, -1.0)
        x = self.position_m[0] + ray_x * length
        z = np.where(below, self.z_m + ray_z * length, FAR_M)
        return x.astype(np.float32), z.astype(np.float32)


@dataclass(frozen=True, slots=True)
class Light:
    """Sun, sky and air. `sun`: unit vector towards it; `direct` and `ambient` multiply colours.

    `haze_m`: the distance at which a third of the contrast is left. `clouds` and `lit_windows`: shares, 0..1.
    `tint` multiplies the finished picture's RGB.
    """

    sun: Floats
    direct: float
    ambient: float
    zenith: Colour
    horizon: Colour
    tint: Floats
    haze_m: float
    clouds: float
    lit_windows: float

    def on(self, colour: Colour, normal: Any) -> Colour:
        """Colour of a surface that faces along the unit vector `normal`."""
        return np.clip(colour * self.shade(normal), 0, 255)

    def shade(self, normal: Any) -> float:
        """What the light multiplies the colour of such a surface with."""
        return self.ambient + self.direct * max(0.0, float(np.dot(self.sun, normal)))


class Patch:
    """The part of the canvas under one region while it is painted. What goes beyond the region is cut off."""

    def __init__(self, layer: Pixels, corner: Floats) -> None:
        self.layer = layer
        self._corner = corner

    def fill(self, points_px: Floats, colour: Colour) -> None:
        """Fill a polygon, (N, 2) in pixels."""
        points = (points_px * SUPERSAMPLE - self._corner - 0.5) * (1 << SUBPIXEL_BITS)
        rounded = np.clip(np.rint(points), -(1 << 24), 1 << 24).astype(np.int32)
        cv2.fillPoly(self.layer, [rounded], colour.tolist(), cv2.LINE_8, SUBPIXEL_BITS)

    def fill_from(self, picture: Pixels, top: int) -> None:
        """Copy from a supersampled picture as wide as the canvas, uint8 (H, W, 3), whose first row is row `top`."""
        rows, columns = self.layer.shape[:2]
        left, first = self._corner.astype(int) - [0, top]
        self.layer[:] = picture[first : first + rows, left : left + columns]

    def discs(self, centres_px: Floats, radii_px: Floats, colours: Floats) -> None:
        """Draw discs one over the other: centres (N, 2) and radii (N,) in pixels, colours (N, 3)."""
        centres = np.rint((centres_px * SUPERSAMPLE - self._corner - 0.5) * (1 << SUBPIXEL_BITS)).astype(int)
        radii = np.rint(radii_px * SUPERSAMPLE * (1 << SUBPIXEL_BITS)).astype(int)
        for centre, radius, colour in zip(centres.tolist(), radii.tolist(), colours.tolist(), strict=True):
            cv2.circle(self.layer, centre, radius, colour, cv2.FILLED, cv2.LINE_8, SUBPIXEL_BITS)

    def warp(self, texture: Pixels, per_metre: float, plane: Floats) -> None:
        """Lay a texture, uint8 (H, W, 3), `per_metre` texels a metre, on a plane given by its homography."""
        texels = np.array([[1 / per_metre, 0, 0.5 / per_metre], [0, 1 / per_metre, 0.5 / per_metre], [0, 0, 1]])
        to_layer = np.diag([SUPERSAMPLE, SUPERSAMPLE, 1.0])
        to_layer[:2, 2] = -self._corner - 0.5
        size = (self.layer.shape[1], self.layer.shape[0])
        whole = to_layer @ plane @ texels
        cv2.warpPerspective(texture, whole, size, self.layer, cv2.INTER_LINEAR, cv2.BORDER_TRANSPARENT)


class Canvas:
    """A picture painted region by region, near over far, and the outlines of what was painted."""

    def __init__(self, camera: Camera, light: Light, grain: NDArray[np.float32]) -> None:
        """`grain`: tileable noise, float32 (N, N), that every surface is mottled with."""
        self.camera = camera
        self.light = light
        size_hw = (HEIGHT * SUPERSAMPLE, WIDTH * SUPERSAMPLE)
        repeats = [-(-size // grain.shape[0]) for size in size_hw]
        self._grain = np.tile(grain, repeats)[: size_hw[0], : size_hw[1], None]
        self._painted = np.zeros((*size_hw, 3), np.uint8)
        self._owner = np.full(size_hw, -1, np.int16)
        self._regions: list[tuple[str, ShapePx]] = []

    @staticmethod
    def sees(points_px: Floats) -> bool:
        """Whether the box around points (N, 2) meets the picture."""
        return bool((points_px.max(axis=0) > 0).all() and (points_px.min(axis=0) < [WIDTH, HEIGHT]).all())

    @contextmanager
    def region(self, label: str, shape: ShapePx, z_m: float | None = None, grain: float = 0.0) -> Iterator[Patch]:
        """Yield a patch to paint the region on; it is cut to the shape and, given its `z_m`, mottled and hazed."""
        points = outline(shape) * SUPERSAMPLE
        size = np.array([WIDTH, HEIGHT]) * SUPERSAMPLE
        low = np.clip(np.floor(points.min(axis=0)), 0, size - 1).astype(int)
        high = np.maximum(np.clip(np.ceil(points.max(axis=0)), 0, size).astype(int), low + 1)
        window = (slice(low[1], high[1]), slice(low[0], high[0]))
        patch = Patch(self._painted[window].copy(), low.astype(np.float64))
        yield patch
        covered = fill_polygon((int(high[1] - low[1]), int(high[0] - low[0])), [points - low])
        if z_m is not None:
            clear = math.exp(-(z_m - self.camera.z_m) / self.light.haze_m)
            colours = patch.layer * (clear + clear * grain * self._grain[window])
            colours += (self.light.horizon * (1 - clear)).astype(np.float32)
            patch.layer[:] = colours.clip(0, 255)
        cv2.copyTo(patch.layer, covered.view(np.uint8), self._painted[window])
        self._owner[window][covered] = len(self._regions)
        self._regions.append((label, shape))

    def visible(self) -> list[tuple[str, ShapePx]]:
        """Label and shape of all regions of which something can be seen, in the order they were painted."""
        seen = np.unique(self._owner)
        return [self._regions[index] for index in seen.tolist() if index >= 0]

    def picture(self) -> NDArray[np.float32]:
        """The picture averaged down, float32 (HEIGHT, WIDTH, 3) in [0, 255]."""
        return cv2.resize(self._painted, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA).astype(np.float32)
