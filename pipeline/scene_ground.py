"""The sky and the ground of drawn street scenes: clouds, asphalt with its markings, paving, and shadows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.scene_canvas import FAR_M, HEIGHT, NEAR_M, SUPERSAMPLE, WIDTH, Canvas, Colour, Floats, Pixels
from pipeline.scene_car import Car
from pipeline.scene_objects import Building, Drawable, Tree
from pipeline.scene_posts import LampPost, Sign

UP = (0.0, 1.0, 0.0)
Map = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Pavement:
    """The street's floor. The road reaches from -`half_road_m` to `half_road_m`; `lanes` in all, half of them each way.

    `crossing_m`: from where to where along z another road crosses, if one does; `zebra` paints stripes before it.
    """

    half_road_m: float
    sidewalk_m: float
    lanes: int
    crossing_m: tuple[float, float] | None
    zebra: bool
    asphalt: Colour
    paving: Colour
    slab_m: float
    marking: Colour

    @property
    def lane_m(self) -> float:
        """Width of one lane."""
        return 2 * self.half_road_m / self.lanes


def draw_sky(canvas: Canvas, noise: Map) -> None:
    """Region `sky`, down to the horizon: a gradient with clouds."""
    camera, light = canvas.camera, canvas.light
    slope = np.tan(np.radians(camera.roll_deg))
    x, y = camera.project(camera.position_m[None] + np.array([0, 0, 1]))[0]
    horizon = np.array([y + (column - x) * slope for column in (0, WIDTH)])
    shape = np.array([(0, 0), (WIDTH, 0), (WIDTH, horizon[1] + 1), (0, horizon[0] + 1)])
    rows, columns = np.mgrid[0 : int(shape[:, 1].max()) + 2, 0:WIDTH].astype(np.float32)
    height = np.clip((y - rows) / 200, 0.02, 1.2)
    tone = light.horizon + (light.zenith - light.horizon) * np.sqrt(np.clip(height, 0, 1))[..., None]
    clouds = _look_up(noise, (columns - x) / (height + 0.35) * 0.35, 90 / (height + 0.35))
    cover = np.clip((clouds + 2.2 * light.clouds - 1.1) * 0.8, 0, 1) * light.clouds
    white = light.horizon * 0.25 + 255 * 0.72 * min(1.0, light.ambient + 0.4 * light.direct)
    large = _enlarged(tone + (white - tone) * cover[..., None])
    with canvas.region("sky", shape) as patch:
        patch.layer[:] = large[: patch.layer.shape[0]]


def draw_ground(canvas: Canvas, pavement: Pavement, noise: Map, shadow: Map) -> None:
    """Regions `sidewalk`, left and right, and over them `road`, and the road that crosses it."""
    areas = _areas(canvas, pavement)
    horizon = max(0, int(min(area[:, 1].min() for _, area in areas)))
    x, z = canvas.camera.ground(horizon)
    light = canvas.light
    away = np.maximum(z - canvas.camera.z_m, NEAR_M)
    clear = np.exp(-away / light.haze_m)
    lit = (light.ambient + light.direct * max(0.35, light.sun[1]) * (1 - 0.8 * shadow[horizon:])) * clear
    fade = np.minimum(25 / away, 1)
    air = light.horizon.astype(np.float32) * (1 - clear)[..., None]
    painted = _markings(pavement, x, z, away / np.float32(canvas.camera.focal_px))[..., None]
    asphalt = pavement.asphalt.astype(np.float32) * _asphalt(pavement, x, z, noise, fade)[..., None]
    road = asphalt + (pavement.marking.astype(np.float32) - asphalt) * painted
    slabs = pavement.paving.astype(np.float32) * _slabs(pavement, x, z, noise, fade)[..., None]
    surfaces = {"road": road, "sidewalk": slabs}
    large = {label: _enlarged(surface * lit[..., None] + air) for label, surface in surfaces.items()}
    for label, area in areas:
        with canvas.region(label, area) as patch:
            patch.fill_from(large[label], horizon * SUPERSAMPLE)


def _enlarged(picture: Map) -> Pixels:
    """A picture, float32 (H, W, 3) in [0, 255], `SUPERSAMPLE` times as large."""
    rounded = picture.clip(0, 255).astype(np.uint8)
    return cv2.resize(rounded, None, fx=SUPERSAMPLE, fy=SUPERSAMPLE, interpolation=cv2.INTER_LINEAR).astype(np.uint8)


def _areas(canvas: Canvas, pavement: Pavement) -> list[tuple[str, Floats]]:
    """Label and outline in pixels of each part of the ground, in painting order."""
    near, half = canvas.camera.z_m + NEAR_M, pavement.half_road_m

    def quad(left: float, right: float, start: float, end: float) -> Floats:
        return canvas.camera.project([(left, 0, start), (left, 0, end), (right, 0, end), (right, 0, start)])

    areas = [
        ("sidewalk", quad(-FAR_M, -half, near, FAR_M)),
        ("sidewalk", quad(half, FAR_M, near, FAR_M)),
        ("road", quad(-half, half, near, FAR_M)),
    ]
    if pavement.crossing_m and pavement.crossing_m[1] > near:
        start, end = max(near, pavement.crossing_m[0]), pavement.crossing_m[1]
        areas += [("road", quad(-FAR_M, -half, start, end)), ("road", quad(half, FAR_M, start, end))]
    return areas


def _look_up(noise: Map, x: Map, y: Map) -> Map:
    """Tileable noise (N, N) at any coordinates, in texels."""
    size = noise.shape[0]
    tile = np.pad(noise, ((0, 1), (0, 1)), mode="wrap")
    columns, rows = (np.mod(values, size, dtype=np.float32) for values in (x, y))
    return np.asarray(cv2.remap(tile, columns, rows, cv2.INTER_LINEAR), np.float32)


def _asphalt(pavement: Pavement, x: Map, z: Map, noise: Map, fade: Map) -> Map:
    """How bright the road is: grain, patches, and the darker tracks of tyres."""
    grain = _look_up(noise, x * 60, z * 60) * 0.09 * fade + _look_up(noise, x * 4, z * 1.5) * 0.07
    lane = np.mod(x + pavement.half_road_m, pavement.lane_m) / pavement.lane_m
    tracks = 0.06 * np.cos(4 * np.pi * lane) * fade
    return np.asarray(1 + grain + tracks, np.float32)


def _markings(pavement: Pavement, x: Map, z: Map, pixel_m: Map) -> Map:
    """How much of the road is painted: dashes between lanes, lines in the middle and at the edges, a zebra."""
    half, lane = pavement.half_road_m, pavement.lane_m

    def stripe(distance_m: Map | Floats, half_width_m: float) -> Map:
        return np.asarray(np.clip((half_width_m - np.abs(distance_m)) / pixel_m + 0.5, 0, 1), np.float32)

    across = np.abs(x)
    dashes = np.mod(z, 9) < 4
    edge = stripe(across - half + 0.35, 0.07)
    if pavement.lanes > 2:
        between = np.mod(across + lane / 2, lane) - lane / 2
        inner = (across > lane / 2) & (across < half - lane / 2)
        lines = np.maximum(stripe(across - 0.16, 0.07), stripe(between, 0.08) * (dashes & inner))
    else:
        lines = stripe(x, 0.08) * dashes
    lines = np.maximum(lines, edge) * (across < half)
    if pavement.crossing_m:
        start, end = pavement.crossing_m
        lines = lines * ((z < start - 5) | (z > end + 5))
        if pavement.zebra:
            walk = np.abs(z - (start + end) / 2) - (end - start) / 2
            stripes = (walk > 1) & (walk < 4) & (across < half)
            lines = np.maximum(lines, stripe(np.mod(x, 1.0) - 0.5, 0.25) * stripes)
    return np.asarray(lines, np.float32)


def _slabs(pavement: Pavement, x: Map, z: Map, noise: Map, fade: Map) -> Map:
    """How bright the sidewalk is: slabs of many tones, their seams, and the kerb."""
    slab = pavement.slab_m
    row = np.floor(z / slab)
    column = np.floor((x + 0.5 * slab * np.mod(row, 2)) / slab)
    tone = _look_up(noise, column * 17, row * 23) * 0.05 + _look_up(noise, x * 40, z * 40) * 0.06
    seam = (np.mod(z, slab) < 0.05) | (np.mod(x + 0.5 * slab * np.mod(row, 2), slab) < 0.05)
    from_kerb = np.abs(x) - pavement.half_road_m
    shade = 1 + (tone - 0.22 * seam) * fade
    shade = np.where(from_kerb < 0.3, 1.12, shade)
    shade = np.where(from_kerb < 0.1, 0.7, shade)
    return np.asarray(shade, np.float32)


def cast_shadows(canvas: Canvas, things: Sequence[Drawable]) -> Map:
    """How much of the sun is kept from the ground, float32 (H, W) in 0..1: soft-edged shadows of what stands about."""
    layer = np.zeros((HEIGHT, WIDTH), np.uint8)
    sun = canvas.light.sun
    drift = -sun[[0, 2]] / max(0.12, float(sun[1]))
    for thing in things:
        if isinstance(thing, Building):
            away = np.sign(thing.x_m) * thing.depth_m
            foot = np.array([(x, z) for x in (thing.x_m, thing.x_m + away) for z in (thing.start_m, thing.end_m)])
            _shade(canvas, layer, np.concatenate([foot, foot + drift * thing.height_m]))
        elif isinstance(thing, Tree):
            angles = np.linspace(0, 2 * np.pi, 16, endpoint=False)
            ring = np.column_stack([np.cos(angles), np.sin(angles)]) * thing.wide_m * 0.45
            tall = np.linspace(thing.trunk_m, thing.trunk_m + thing.high_m, 3)
            base = np.array([thing.x_m, thing.z_m])
            _shade(canvas, layer, np.concatenate([base + ring + drift * height for height in tall]))
            _shade(canvas, layer, _strip(base, drift * thing.trunk_m, 0.2))
        elif isinstance(thing, LampPost | Sign):
            _shade(canvas, layer, _strip(np.array([thing.x_m, thing.z_m]), drift * thing.height_m, 0.1))
        elif isinstance(thing, Car):
            _shade(canvas, layer, np.concatenate([thing.footprint, thing.footprint + drift * 0.9]))
    return cv2.GaussianBlur(layer, (0, 0), 0.9).astype(np.float32) / np.float32(255)


def _strip(foot: Floats, reach: Floats, half: float) -> Floats:
    across = np.array([half, 0.0])
    return np.array([foot - across, foot + across, foot + reach + across, foot + reach - across])


def _shade(canvas: Canvas, layer: NDArray[np.uint8], ground_m: Floats) -> None:
    """Fill the convex hull of ground points (N, 2), x and z, unless it begins behind the camera."""
    points = np.column_stack(
        [ground_m[:, 0], np.zeros(len(ground_m)), np.maximum(ground_m[:, 1], canvas.camera.z_m + NEAR_M)]
    )
    if ground_m[:, 1].max() <= canvas.camera.z_m + NEAR_M:
        return
    hull = cv2.convexHull(canvas.camera.project(points).astype(np.float32))
    cv2.fillConvexPoly(layer, np.rint(np.clip(hull, -20000, 20000)).astype(np.int32), 255)
