"""Posts for drawn street scenes: lamps and traffic signs."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from pipeline.scene_canvas import Canvas, Colour, EllipsePx, Floats, RectanglePx, ShapePx, is_inside, outline, turn
from pipeline.scene_objects import TO_CAMERA

WHITE, RED, BLUE, YELLOW, GREEN = (
    np.array(rgb, np.float64) for rgb in ([235, 235, 232], [196, 32, 38], [32, 84, 170], [238, 190, 40], [30, 110, 75])
)

SIGNS: dict[str, tuple[tuple[Colour, Colour], ...]] = {
    "round": ((RED, WHITE), (WHITE, BLUE), (RED, BLUE)),
    "triangle": ((RED, WHITE), (RED, YELLOW)),
    "octagon": ((WHITE, RED),),
    "square": ((WHITE, BLUE), (YELLOW, WHITE)),
    "board": ((WHITE, BLUE), (WHITE, GREEN), (RED * 0.5, YELLOW)),
}
"""Kinds of traffic sign, each with the rims and faces it may have."""


@dataclass(frozen=True, slots=True)
class LampPost:
    """A street lamp whose arm reaches over the road."""

    x_m: float
    z_m: float
    height_m: float
    arm_m: float
    colour: Colour

    def draw(self, canvas: Canvas) -> None:
        top, thin = self.height_m, 0.08
        profile = [
            (-0.15, 0),
            (-thin, top),
            (self.arm_m, top + 0.5),
            (self.arm_m + 0.1, top + 0.25),
            (thin, top - 0.3),
            (0.15, 0),
        ]
        facing = np.array([-math.copysign(1.0, self.x_m), 1.0])
        outline_px = canvas.camera.upright(self.x_m, self.z_m, np.array(profile) * facing)
        _draw_post(canvas, outline_px, self.z_m, self.colour)


@dataclass(frozen=True, slots=True)
class Sign:
    """A traffic sign on a post. `kind` as in `SIGNS`; `tilt_deg` clockwise; `turned_deg` away from the camera."""

    x_m: float
    z_m: float
    height_m: float
    size_m: float
    kind: str
    tilt_deg: float
    turned_deg: float
    paint: tuple[Colour, Colour]

    def draw(self, canvas: Canvas) -> None:
        camera = canvas.camera
        for offset in (-0.3, 0.3) if self.kind == "board" else (0.0,):
            x, top = self.x_m + offset * self.size_m, self.height_m + 0.4 * self.size_m
            post = camera.upright(x, self.z_m, [(-0.07, 0), (-0.07, top), (0.07, top), (0.07, 0)])
            _draw_post(canvas, post, self.z_m, np.array([150.0, 152, 155]))
        shape = self._shape(canvas)
        if not is_inside(shape):
            shape = outline(shape)
        rim, face = self.paint
        normal = (0.0, 0.25, -0.97)
        points = outline(shape)
        centre = points.mean(axis=0)
        with canvas.region("traffic sign", shape, self.z_m, grain=0.02) as patch:
            patch.fill(points, canvas.light.on(rim, normal))
            patch.fill(centre + (points - centre) * 0.78, canvas.light.on(face, normal))
            for row in (-0.22, 0.0, 0.22) if self.kind == "board" else (0.0,):
                stroke = np.array([(-0.28, row - 0.06), (0.28, row - 0.06), (0.28, row + 0.06), (-0.28, row + 0.06)])
                extent = np.ptp(points, axis=0)
                patch.fill(
                    centre + stroke * extent, canvas.light.on(rim if self.kind == "board" else rim * 0.45, normal)
                )

    def _shape(self, canvas: Canvas) -> ShapePx:
        camera = canvas.camera
        centre = camera.upright(self.x_m, self.z_m, [(0, self.height_m)])[0]
        radius = self.size_m / 2 * camera.scale_px(self.z_m)
        narrow = radius * math.cos(math.radians(self.turned_deg))
        rotation = (camera.roll_deg + self.tilt_deg) % 360
        x, y = centre.tolist()
        if self.kind == "round":
            return EllipsePx(x, y, narrow, radius, rotation)
        if self.kind in ("square", "board"):
            half_height = radius * (0.6 if self.kind == "board" else 1.0)
            to_centre = outline(RectanglePx(0, 0, narrow, half_height, rotation))[2]
            return RectanglePx(x - to_centre[0], y - to_centre[1], 2 * narrow, 2 * half_height, rotation)
        sides, start = {"triangle": (3, -90.0), "octagon": (8, 22.5)}[self.kind]
        angles = np.radians(start + np.arange(sides) * 360 / sides)
        corners = np.column_stack([narrow * np.cos(angles), radius * np.sin(angles)])
        return np.array(centre + corners @ turn(rotation).T)


def _draw_post(canvas: Canvas, points_px: Floats, z_m: float, colour: Colour) -> None:
    """A post: one region of label `pole`, lit on the side of the sun."""
    light = canvas.light
    with canvas.region("pole", points_px, z_m, grain=0.04) as patch:
        patch.fill(points_px, light.on(colour, TO_CAMERA) * 0.9)
        bright = math.copysign(0.5, light.sun[0]) * (points_px[-1] - points_px[0])
        patch.fill(points_px + bright, light.on(colour, (math.copysign(1.0, light.sun[0]), 0.0, 0.0)) * 1.05)
