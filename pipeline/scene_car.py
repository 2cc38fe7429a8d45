"""Cars for drawn street scenes: a body and a cabin, both convex, seen from any side."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np

from pipeline.scene_canvas import NEAR_M, Canvas, Colour, Floats, Patch
from pipeline.scene_objects import convex_hull

UNDERSIDE = np.array([24.0, 24, 27])
GLASS = np.array([38.0, 46, 56])
TYRE_AND_RIM = ((0.36, UNDERSIDE * 0.7), (0.2, np.array([128.0, 130, 134])))
"""Radius in metres and colour."""

FACES = {
    "rear": [0, 1, 3, 2],
    "front": [4, 5, 7, 6],
    "left": [0, 2, 6, 4],
    "right": [1, 3, 7, 5],
    "top": [2, 3, 7, 6],
}
"""Faces of a block by the numbers of its corners: rear then front, each low then high, each left then right."""


@dataclass(frozen=True, slots=True)
class Build:
    """A car's proportions in metres; where the cabin's foot and roof begin and end, in shares of the length."""

    length: float
    width: float
    waist: float
    height: float
    cabin_foot: tuple[float, float]
    cabin_roof: tuple[float, float]


BUILDS = (
    Build(4.6, 1.82, 0.95, 1.47, (0.10, 0.78), (0.26, 0.58)),  # saloon
    Build(4.1, 1.78, 1.00, 1.52, (0.02, 0.78), (0.10, 0.58)),  # hatchback
    Build(4.7, 1.92, 1.12, 1.75, (0.02, 0.76), (0.08, 0.62)),  # off-roader
    Build(5.2, 2.00, 1.25, 2.30, (0.01, 0.90), (0.02, 0.74)),  # van
)


@dataclass(frozen=True, slots=True)
class Car:
    """A car whose middle stands at (x, z), driving towards `heading_deg`: 0 along the street, 90 to the right."""

    x_m: float
    z_m: float
    heading_deg: float
    build: Build
    paint: Colour

    @property
    def footprint(self) -> Floats:
        """Corners on the ground, (4, 2): x and z in metres."""
        half, wide = self.build.length / 2, self.build.width / 2
        return self._place([(half, wide, 0), (half, -wide, 0), (-half, -wide, 0), (-half, wide, 0)])[:, [0, 2]]

    def draw(self, canvas: Canvas) -> None:
        build, camera = self.build, canvas.camera
        half, wide = build.length / 2, build.width / 2
        if self.z_m - max(half, wide) < camera.z_m + NEAR_M:
            return
        body = self._block((-half, half), (-half * 0.97, half * 0.97), (wide, wide * 0.94), (0.24, build.waist))
        foot, roof = ([(share - 0.5) * build.length for share in ends] for ends in (build.cabin_foot, build.cabin_roof))
        cabin = self._block(foot, roof, (wide * 0.93, wide * 0.76), (build.waist - 0.04, build.height))
        under = self._block((-half * 0.93, half * 0.93), (-half, half), (wide * 0.96, wide), (0.0, 0.55))
        middle = self._place([((foot[0] + foot[1]) / 2, 0.0, build.waist - 0.02)])
        low = convex_hull(camera.project(np.concatenate([body, under])))
        shape = union_of_convex(low, convex_hull(camera.project(cabin)), camera.project(middle)[0])
        if not canvas.sees(shape):
            return
        with canvas.region("car", shape, self.z_m, grain=0.02) as patch:
            patch.fill(shape, UNDERSIDE)
            self._block_faces(canvas, patch, body)
            self._wheels(canvas, patch)
            self._lamps(canvas, patch, body)
            self._block_faces(canvas, patch, cabin, glazed=True)

    def _place(self, local: object) -> Floats:
        """Points (N, 3) as ahead, right, up from the car's middle on the ground → world metres."""
        ahead, right, up = np.asarray(local, np.float64).T
        cos, sin = math.cos(math.radians(self.heading_deg)), math.sin(math.radians(self.heading_deg))
        return np.column_stack([self.x_m + ahead * sin + right * cos, up, self.z_m + ahead * cos - right * sin])

    def _block(
        self,
        low_ends: tuple[float, float] | list[float],
        high_ends: tuple[float, float] | list[float],
        half_widths: tuple[float, float],
        heights: tuple[float, float],
    ) -> Floats:
        """Eight corners (8, 3) in world metres, numbered as in `FACES`."""
        corners = [
            ((low_ends, high_ends)[level][end], side * half_widths[level], heights[level])
            for end, level, side in itertools.product((0, 1), (0, 1), (-1, 1))
        ]
        return self._place(corners)

    def _block_faces(self, canvas: Canvas, patch: Patch, block: Floats, glazed: bool = False) -> None:
        """Paint the faces that look at the camera; panes into those of a cabin."""
        light, camera = canvas.light, canvas.camera
        for name, corners in FACES.items():
            face = block[corners]
            normal = _normal(face, block.mean(axis=0))
            if np.dot(normal, camera.position_m - face.mean(axis=0)) <= 0:
                continue
            points = camera.project(face)
            patch.fill(points, light.on(self.paint, normal))
            if not glazed and name in ("rear", "front"):
                fold = points[[1, 0]] * 0.45 + points[[2, 3]] * 0.55
                patch.fill(np.concatenate([points[[0, 1]], fold]), light.on(self.paint * 0.8, normal))
            if glazed and name != "top":
                centre = points.mean(axis=0)
                sheen = light.horizon * (0.25 if normal[1] > 0.2 else 0.12)
                patch.fill(centre + (points - centre) * [0.86, 0.78], np.clip(light.on(GLASS, normal) + sheen, 0, 255))

    def _wheels(self, canvas: Canvas, patch: Patch) -> None:
        """Tyres and rims on the side that looks at the camera."""
        camera, build = canvas.camera, self.build
        angles = np.linspace(0, 2 * np.pi, 20, endpoint=False)
        circle = np.column_stack([np.cos(angles), np.zeros(20), np.sin(angles)])
        for side in (-1, 1):
            foot, beside = self._place([(0, 0, 0), (0, side, 0)])
            if np.dot(beside - foot, camera.position_m - foot) <= build.width / 2:
                continue
            for end, (radius, colour) in itertools.product((-0.31, 0.31), TYRE_AND_RIM):
                centre = np.array([end * build.length, side * build.width / 2, 0.33])
                patch.fill(camera.project(self._place(centre + radius * circle)), colour)

    def _lamps(self, canvas: Canvas, patch: Patch, body: Floats) -> None:
        """Lamps and number plate on the end that looks at the camera."""
        camera = canvas.camera
        for name, lamp in (("rear", np.array([190.0, 28, 30])), ("front", np.array([245.0, 240, 215]))):
            face = body[FACES[name]]
            if np.dot(_normal(face, body.mean(axis=0)), camera.position_m - face.mean(axis=0)) <= 0:
                continue
            corner, across, up = face[0], face[1] - face[0], face[3] - face[0]
            parts = [
                (0.03, 0.2, 0.58, 0.82, lamp),
                (0.8, 0.97, 0.58, 0.82, lamp),
                (0.37, 0.63, 0.2, 0.38, np.full(3, 215.0)),
            ]
            for left, right, bottom, top, colour in parts:
                box = [
                    corner + across * s + up * t
                    for s, t in ((left, bottom), (right, bottom), (right, top), (left, top))
                ]
                patch.fill(camera.project(box), colour * min(1.0, canvas.light.shade((0.0, 0.0, -1.0)) + 0.25))


def _normal(face: Floats, inside: Floats) -> Floats:
    """Unit vector out of a face (4, 3), away from the point `inside`."""
    normal = np.cross(face[1] - face[0], face[3] - face[0])
    normal = np.array(normal / np.linalg.norm(normal))
    return normal if np.dot(normal, face.mean(axis=0) - inside) > 0 else -normal


def union_of_convex(a: Floats, b: Floats, common: Floats) -> Floats:
    """Outline of the union of two convex polygons (N, 2) and (M, 2) that share the inner point `common`.

    The union is star-shaped around that point: its corners, sorted by angle, are those of each polygon that the other
    does not hold and the crossings of their edges.
    """
    corners = [p for p in a if not _holds(b, p)] + [p for p in b if not _holds(a, p)]
    for p, q in zip(a, np.roll(a, -1, axis=0), strict=True):
        for r, s in zip(b, np.roll(b, -1, axis=0), strict=True):
            along, other = q - p, s - r
            cross = along[0] * other[1] - along[1] * other[0]
            if cross == 0:
                continue
            t = ((r - p)[0] * other[1] - (r - p)[1] * other[0]) / cross
            u = ((r - p)[0] * along[1] - (r - p)[1] * along[0]) / cross
            if 0 <= t <= 1 and 0 <= u <= 1:
                corners.append(p + t * along)
    points = np.array(corners)
    return points[np.argsort(np.arctan2(*(points - common).T[::-1]))]


def _holds(polygon: Floats, point: Floats) -> bool:
    """Whether a convex polygon holds a point."""
    edges, to_point = np.roll(polygon, -1, axis=0) - polygon, point - polygon
    cross = edges[:, 0] * to_point[:, 1] - edges[:, 1] * to_point[:, 0]
    return bool((cross >= 0).all() or (cross <= 0).all())
