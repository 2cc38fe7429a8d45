"""What stands in a drawn street: buildings and trees. Each draws itself, region by region."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np

from pipeline.scene_canvas import (
    NEAR_M,
    Canvas,
    Colour,
    Floats,
    Patch,
    RectanglePx,
    ShapePx,
    is_inside,
    outline,
)
from pipeline.texture import Front, draw_front

TO_CAMERA = (0.0, 0.0, -1.0)
MAX_TEXELS_PER_M = 36.0


class Drawable(Protocol):
    """Something upright. `z_m`: things are drawn from the largest to the smallest."""

    @property
    def z_m(self) -> float: ...

    def draw(self, canvas: Canvas) -> None:
        """Paint it and its regions."""
        ...


def convex_hull(points_px: Floats) -> Floats:
    """Corners of the convex hull of points (N, 2), in order, float64 (M, 2)."""
    return cv2.convexHull(points_px.astype(np.float32))[:, 0].astype(np.float64)


@dataclass(frozen=True, slots=True)
class Building:
    """A house beside the street: its front in the plane x = `x_m`, from `start_m` to `end_m` along the street.

    `ridge_m` is how far the roof rises over the eaves, 0 for a flat one.
    """

    x_m: float
    start_m: float
    end_m: float
    height_m: float
    ridge_m: float
    depth_m: float
    roof: Colour
    front: Front

    @property
    def z_m(self) -> float:
        """Where it ends: what stands before it is nearer."""
        return self.end_m

    def draw(self, canvas: Canvas) -> None:
        near = max(self.start_m, canvas.camera.z_m + NEAR_M)
        if self.end_m <= near:
            return
        away = math.copysign(1.0, self.x_m)
        section = self._section(away)
        ends = [np.column_stack([section, np.full(len(section), z)]) for z in (near, self.end_m)]
        hull = convex_hull(canvas.camera.project(np.concatenate(ends)))
        if not canvas.sees(hull):
            return
        light = canvas.light
        with canvas.region("building", hull, (near + self.end_m) / 2, grain=0.035) as patch:
            patch.fill(hull, light.on(self.roof, (-away * 0.6, 0.8, 0.0)))
            if near == self.start_m:
                patch.fill(canvas.camera.project(ends[0]), light.on(self.front.wall, TO_CAMERA))
                left = min(self.x_m, self.x_m + away * self.depth_m)
                self._lay(canvas, patch, near, (left, near), (1.0, 0.0, 0.0), self.depth_m, TO_CAMERA)
            length = self.end_m - self.start_m
            self._lay(canvas, patch, near, (self.x_m, self.start_m), (0.0, 0.0, 1.0), length, (-away, 0.0, 0.0))

    def _section(self, away: float) -> Floats:
        """Outline across the street, (5, 2): x and y in metres."""
        back = self.x_m + away * self.depth_m
        ridge = ((self.x_m + back) / 2, self.height_m + self.ridge_m)
        return np.array([(self.x_m, 0), (self.x_m, self.height_m), ridge, (back, self.height_m), (back, 0)])

    def _lay(
        self,
        canvas: Canvas,
        patch: Patch,
        near_m: float,
        corner_m: tuple[float, float],
        along: tuple[float, float, float],
        length_m: float,
        normal: tuple[float, float, float],
    ) -> None:
        light = canvas.light
        per_metre = float(np.clip(1.5 * canvas.camera.scale_px(near_m), 3, MAX_TEXELS_PER_M))
        texels = draw_front(self.front, (length_m, self.height_m), per_metre, light.horizon, light.lit_windows)
        shaded = np.clip(texels * light.shade(normal), 0, 255).astype(np.uint8)
        plane = canvas.camera.plane((corner_m[0], self.height_m, corner_m[1]), along, (0.0, -1.0, 0.0))
        patch.warp(shaded, per_metre, plane)


@dataclass(frozen=True, slots=True)
class FarBuilding:
    """A house that closes the street, seen from the front only: a rectangle in the picture."""

    x_m: float
    z_m: float
    width_m: float
    height_m: float
    front: Front

    def draw(self, canvas: Canvas) -> None:
        camera, light = canvas.camera, canvas.light
        corners = camera.upright(self.x_m, self.z_m, [(0, self.height_m)])
        scale = camera.scale_px(self.z_m)
        size = (self.width_m * scale, self.height_m * scale)
        left, top = corners[0].tolist()
        whole = RectanglePx(left, top, *size, camera.roll_deg % 360)
        shape: ShapePx = whole if is_inside(whole) else outline(whole)
        texels = draw_front(self.front, (self.width_m, self.height_m), 4.0, light.horizon, light.lit_windows)
        shaded = np.clip(texels * light.shade(TO_CAMERA), 0, 255).astype(np.uint8)
        plane = camera.plane((self.x_m, self.height_m, self.z_m), (1.0, 0.0, 0.0), (0.0, -1.0, 0.0))
        with canvas.region("building", shape, self.z_m, grain=0.04) as patch:
            patch.fill(outline(shape), light.on(self.front.wall, TO_CAMERA))
            patch.warp(shaded, 4.0, plane)


@dataclass(frozen=True, slots=True)
class Tree:
    """A trunk with a crown `wide_m` × `high_m`; `pointed` from 0 (round) to 1 (a cone)."""

    x_m: float
    z_m: float
    trunk_m: float
    wide_m: float
    high_m: float
    pointed: float
    leaf: Colour
    seed: int

    def draw(self, canvas: Canvas) -> None:
        rng = np.random.default_rng(self.seed)
        camera = canvas.camera
        thick = 0.06 + 0.03 * self.wide_m
        lean = rng.uniform(-0.2, 0.2)
        foot, fork = (-1.3 * thick, 1.3 * thick), (lean - 0.7 * thick, lean + 0.7 * thick)
        top = self.trunk_m + 0.3 * self.high_m
        trunk = camera.upright(self.x_m, self.z_m, [(foot[0], 0), (fork[0], top), (fork[1], top), (foot[1], 0)])
        bark = rng.uniform([60, 48, 38], [110, 92, 75])
        crown = camera.upright(self.x_m + lean, self.z_m, self._crown(rng))
        if not (canvas.sees(trunk) or canvas.sees(crown)):
            return
        with canvas.region("tree", trunk, self.z_m, grain=0.15) as patch:
            patch.fill(trunk, canvas.light.on(bark, TO_CAMERA))
        with canvas.region("tree", crown, self.z_m, grain=0.12) as patch:
            self._leaves(patch, crown, canvas, rng)

    def _crown(self, rng: np.random.Generator) -> Floats:
        """Bumpy outline, (N, 2): across and up in metres from the trunk's foot."""
        bumps = int(rng.integers(9, 14))
        angles = np.linspace(0, 2 * np.pi, 6 * bumps, endpoint=False) + rng.uniform(0, 1)
        reach = 0.86 + 0.14 * np.abs(np.sin(angles * bumps / 2)) + 0.02 * rng.standard_normal(len(angles))
        for wave in (2, 3, 5):
            reach += rng.uniform(0.02, 0.07) * np.sin(wave * angles + rng.uniform(0, 2 * np.pi))
        across, up = reach * np.cos(angles), reach * np.sin(angles)
        across *= 1 - self.pointed * (up + 1) / 2
        return np.column_stack([across * self.wide_m / 2, self.trunk_m + (up + 1) * self.high_m / 2])

    def _leaves(self, patch: Patch, crown: Floats, canvas: Canvas, rng: np.random.Generator) -> None:
        """Clumps of leaves, darker below and away from the sun."""
        light = canvas.light
        patch.fill(crown, self.leaf * 0.5 * light.ambient)
        low, high = crown.min(axis=0), crown.max(axis=0)
        size = float((high - low).max())
        count = int(np.clip(size * 5, 16, 400))
        spots = rng.random((count, 2))
        toward_sun = (spots - 0.5) @ np.array([light.sun[0], -light.sun[1]])
        shine = light.ambient * 0.8 + light.direct * (0.45 + 0.9 * toward_sun) + rng.normal(0, 0.12, count)
        order = np.argsort(shine)
        tints = self.leaf * (1 + rng.normal(0, 0.06, (count, 3)))
        radii = size * rng.uniform(0.018, 0.05, count) + 0.5
        colours = np.clip(tints * np.clip(shine, 0.25, 1.5)[:, None], 0, 255)
        patch.discs((low + spots * (high - low))[order], radii[order], colours[order])
