"""Street scenes that maskloop draws itself: a seeded picture and the exact outlines of everything in it.

A clip is one street under one light; its frames differ in where the camera and the cars are. What is drawn comes from
perspective projection of a small world, so every region's outline is known exactly, hidden parts included.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.scene_canvas import HEIGHT, WIDTH, Camera, Canvas, Light, ShapePx
from pipeline.scene_car import BUILDS, Car
from pipeline.scene_ground import Pavement, cast_shadows, draw_ground, draw_sky
from pipeline.scene_objects import Building, Drawable, FarBuilding, Tree
from pipeline.scene_posts import SIGNS, LampPost, Sign
from pipeline.texture import Front, tileable_noise
from schemas.labels import ClassEntry

SAMPLE_CLASSES = (
    ClassEntry("road", "#804080"),
    ClassEntry("sidewalk", "#f423e8"),
    ClassEntry("building", "#464646"),
    ClassEntry("tree", "#6b8e23"),
    ClassEntry("sky", "#4682b4"),
    ClassEntry("car", "#00008e"),
    ClassEntry("traffic sign", "#dcdc00"),
    ClassEntry("pole", "#999999"),
)

CLIPS, FRAMES = 20, 3
STREET_M = 140.0
"""How long the streets are; a row of houses or trees closes them."""

Generator = np.random.Generator


@dataclass(frozen=True, slots=True)
class Scene:
    """`image`: RGB, uint8 (360, 480, 3). `regions`: label and shape in pixels, in painter's order (later on top).

    Shapes may reach beyond the picture; together they cover every pixel.
    """

    image: NDArray[np.uint8]
    regions: list[tuple[str, ShapePx]]


@dataclass(frozen=True, slots=True)
class Street:
    """What the frames of a clip share. `traffic`: cars with their speed in m a frame, where they are in frame 0."""

    camera: Camera
    light: Light
    pavement: Pavement
    things: tuple[Drawable, ...]
    traffic: tuple[tuple[Car, float], ...]


def draw_scene(seed: int, clip: int, frame: int) -> Scene:
    """Draw one frame of a clip. The same arguments give the same scene."""
    street = _street(np.random.default_rng([seed, clip]))
    rng = np.random.default_rng([seed, clip, frame + 1])
    position = street.camera.position_m + np.array([rng.uniform(-0.3, 0.3), 0, frame * rng.uniform(4, 6)])
    sway = (rng.uniform(-6, 6), rng.uniform(-3, 3))
    vanishing = (street.camera.vanishing_px[0] + sway[0], street.camera.vanishing_px[1] + sway[1])
    camera = replace(street.camera, position_m=position, vanishing_px=vanishing)
    cars = [replace(car, z_m=car.z_m + frame * speed) for car, speed in street.traffic]
    canvas = Canvas(camera, street.light, tileable_noise(rng, 256, 0.5))
    clouds = tileable_noise(np.random.default_rng([seed, clip]), 256, 1.3)
    draw_sky(canvas, clouds)
    shadow = cast_shadows(canvas, [*street.things, *cars])
    far = [thing for thing in street.things if thing.z_m > STREET_M]
    near = [thing for thing in street.things if camera.z_m + 2 < thing.z_m <= STREET_M]
    for thing in far:
        thing.draw(canvas)
    draw_ground(canvas, street.pavement, tileable_noise(rng, 256, 0.8), shadow)
    for thing in sorted([*near, *cars], key=lambda thing: -thing.z_m):
        thing.draw(canvas)
    return Scene(_develop(canvas.picture(), street.light, rng), canvas.visible())


def _develop(picture: NDArray[np.float32], light: Light, rng: Generator) -> NDArray[np.uint8]:
    """What lens and sensor do: tint, vignette, contrast, blur, noise."""
    y, x = np.mgrid[-1 : 1 : HEIGHT * 1j, -1 : 1 : WIDTH * 1j]
    vignette = 1 - rng.uniform(0.06, 0.16) * (x * x + y * y)
    exposed = picture * light.tint * rng.uniform(0.93, 1.07) * vignette[..., None]
    contrast = rng.uniform(0.95, 1.12)
    blurred = cv2.GaussianBlur((exposed - 118) * contrast + 118, (0, 0), rng.uniform(0.35, 0.6))
    noisy = blurred + rng.normal(0, rng.uniform(1.5, 4.5), (HEIGHT, WIDTH, 1)) + rng.normal(0, 1.5, blurred.shape)
    return np.asarray(np.clip(np.rint(noisy), 0, 255), np.uint8)


def _street(rng: Generator) -> Street:
    lanes = int(rng.choice([2, 2, 4]))
    half = lanes * rng.uniform(3.1, 3.7) / 2 + (rng.uniform(1.5, 2.2) if lanes == 2 else 0.3)
    start = rng.uniform(30, 75)
    crossing = (start, start + rng.uniform(9, 14)) if rng.random() < 0.5 else None
    pavement = Pavement(
        half_road_m=half,
        sidewalk_m=rng.uniform(3.5, 6.5),
        lanes=lanes,
        crossing_m=crossing,
        zebra=rng.random() < 0.75,
        asphalt=rng.uniform(72, 122) * rng.uniform([0.96, 0.96, 0.96], [1.05, 1.03, 1.06]),
        paving=rng.uniform(112, 170) * rng.uniform([0.97, 0.94, 0.84], [1.08, 1.0, 1.0]),
        slab_m=rng.uniform(0.7, 1.4),
        marking=rng.uniform([205, 200, 180], [235, 232, 225]),
    )
    own_lane = half * (0.5 if lanes == 2 else rng.choice([0.25, 0.72]))
    camera = Camera(
        position_m=np.array([own_lane * 0.8, rng.uniform(1.4, 2.3), 0.0]),
        focal_px=rng.uniform(330, 430),
        vanishing_px=(WIDTH / 2 + rng.uniform(-60, 60), rng.uniform(160, 205)),
        roll_deg=float(rng.choice([0.0, rng.uniform(-2.5, 2.5)])),
    )
    things = [*_skyline(rng, pavement)]
    for side in (-1, 1):
        things += [*_houses(rng, pavement, side), *_furniture(rng, pavement, side)]
    return Street(camera, _light(rng), pavement, tuple(things), tuple(_traffic(rng, pavement)))


def _light(rng: Generator) -> Light:
    """Noon, a low golden sun, an overcast day, or dusk."""
    mood = rng.choice(["noon", "noon", "golden", "overcast", "dusk"])
    side = rng.choice([-1.0, 1.0])
    height = {"noon": rng.uniform(0.8, 1.6), "golden": rng.uniform(0.35, 0.6)}.get(str(mood), 1.5)
    sun = np.array([side * rng.uniform(0.5, 1.0), height, rng.uniform(-0.9, 0.5)])
    direct, ambient, zenith, horizon, tint, haze, clouds, lit = {
        "noon": (0.75, 0.5, (70, 125, 205), (185, 212, 235), (1.0, 1.0, 1.0), 420, rng.uniform(0.1, 0.7), 0.02),
        "golden": (0.75, 0.6, (95, 130, 190), (246, 205, 160), (1.08, 0.98, 0.86), 260, rng.uniform(0.2, 0.6), 0.12),
        "overcast": (0.12, 0.8, (165, 174, 184), (208, 212, 216), (0.97, 1.0, 1.02), 190, 0.9, 0.06),
        "dusk": (0.1, 0.68, (58, 76, 122), (204, 158, 146), (0.97, 0.97, 1.05), 240, rng.uniform(0.3, 0.8), 0.4),
    }[str(mood)]
    wobble = rng.uniform(0.93, 1.07, 3)
    return Light(
        sun=sun / np.linalg.norm(sun),
        direct=direct,
        ambient=ambient,
        zenith=np.clip(np.array(zenith) * wobble, 0, 255),
        horizon=np.clip(np.array(horizon) * wobble, 0, 255),
        tint=np.array(tint),
        haze_m=haze * rng.uniform(0.8, 1.3),
        clouds=clouds,
        lit_windows=lit,
    )


def _houses(rng: Generator, pavement: Pavement, side: int) -> list[Drawable]:
    """A row of houses along one side, with gaps that hold trees, open where the other road crosses."""
    line = pavement.half_road_m + pavement.sidewalk_m
    typical = rng.uniform(7, 19)
    things: list[Drawable] = []
    z = rng.uniform(-12, -4)
    while z < STREET_M - 20:
        length = rng.uniform(9, 24)
        if pavement.crossing_m and z < pavement.crossing_m[1] + 2 and z + length > pavement.crossing_m[0] - 2:
            if pavement.crossing_m[0] - 2 - z < 6:
                z = pavement.crossing_m[1] + 2
                continue
            length = pavement.crossing_m[0] - 2 - z
        x = side * (line + rng.choice([0.0, 0.0, rng.uniform(0, 1.5)]))
        if rng.random() < 0.17:
            things += [_tree(rng, side * (line + rng.uniform(2, 8)), z + share * length) for share in (0.2, 0.6, 0.95)]
            z += length
            continue
        ridge = rng.uniform(1.5, 4.0) if rng.random() < 0.4 else 0.0
        roof = rng.uniform([95, 52, 42], [150, 84, 70]) if rng.random() < 0.6 else rng.uniform(60, 95) * np.ones(3)
        height = float(np.clip(typical * rng.uniform(0.7, 1.4), 5, 28))
        things.append(Building(x, z, z + length, height, ridge, rng.uniform(8, 14), roof, Front.random(rng)))
        z += length + (rng.uniform(1.5, 6) if rng.random() < 0.25 else 0.0)
    return things


def _skyline(rng: Generator, pavement: Pavement) -> list[Drawable]:
    """What closes the street and shows through the gaps: houses in a row, or a wood."""
    if rng.random() < 0.4:
        spots = np.arange(-135.0, 135.0, 7.0).tolist()
        wood = [replace(_tree(rng, x, STREET_M + rng.uniform(2, 25)), trunk_m=0.5) for x in spots]
        grown = [replace(tree, wide_m=rng.uniform(11, 17), high_m=rng.uniform(9, 16)) for tree in wood]
        return sorted(grown, key=lambda tree: -tree.z_m)
    edges = np.cumsum(rng.uniform(9, 30, 17)) - 170
    tall = rng.uniform(10, 26)
    return [
        FarBuilding(left, STREET_M + 20, right - left, tall * rng.uniform(0.6, 1.7), Front.random(rng))
        for left, right in pairwise(edges.tolist())
    ]


def _tree(rng: Generator, x_m: float, z_m: float) -> Tree:
    autumn = rng.random() < 0.15
    leaf = rng.uniform([150, 95, 30], [205, 150, 60]) if autumn else rng.uniform([58, 98, 30], [128, 158, 72])
    pointed = rng.uniform(0.6, 0.9) if rng.random() < 0.2 else rng.uniform(0, 0.25)
    wide = rng.uniform(2.6, 5.2)
    high = wide * (rng.uniform(1.4, 2.0) if pointed > 0.5 else rng.uniform(0.85, 1.25))
    trunk = rng.uniform(0.6, 1.4) if pointed > 0.5 else rng.uniform(1.9, 3.0)
    return Tree(x_m, z_m, trunk, wide, high, pointed, leaf, int(rng.integers(1 << 31)))


def _furniture(rng: Generator, pavement: Pavement, side: int) -> list[Drawable]:
    """Trees, lamps and signs along one kerb."""
    things: list[Drawable] = []
    kerb = side * (pavement.half_road_m + 0.7)
    spacing, planted = rng.uniform(9, 17), rng.random() < 0.75
    lamp_step, lamp_height = rng.uniform(22, 34), rng.uniform(6, 8.5)
    metal = rng.uniform(50, 165) * rng.uniform([0.92, 0.95, 0.92], [1.03, 1.05, 1.08])

    def is_free(z: float) -> bool:
        return pavement.crossing_m is None or not pavement.crossing_m[0] - 1 < z < pavement.crossing_m[1] + 1

    if planted:
        things += [
            _tree(rng, kerb + side * rng.uniform(0.3, 1.0), z + rng.uniform(-1, 1))
            for z in np.arange(rng.uniform(6, 14), STREET_M - 30, spacing).tolist()
            if is_free(z) and rng.random() < 0.8
        ]
    things += [
        LampPost(kerb, z, lamp_height, rng.uniform(1.4, 2.6), metal)
        for z in np.arange(rng.uniform(9, 20), 95, lamp_step).tolist()
        if is_free(z)
    ]
    for z in (np.cumsum(rng.uniform(8, 19, 6)) + 3).tolist():
        if is_free(z) and rng.random() < 0.8:
            things.append(_sign(rng, kerb - side * rng.uniform(0.0, 0.3), z))
    return things


def _sign(rng: Generator, x_m: float, z_m: float) -> Sign:
    kind = str(rng.choice(["round", "round", "triangle", "square", "octagon", "board"]))
    paint = SIGNS[kind][int(rng.integers(len(SIGNS[kind])))]
    size = rng.uniform(1.7, 2.5) if kind == "board" else rng.uniform(0.8, 1.1)
    tilt = rng.normal(0, 3) if rng.random() < 0.5 else 0.0
    return Sign(x_m, z_m, rng.uniform(2.3, 3.2), size, kind, tilt, rng.uniform(0, 35), paint)


def _traffic(rng: Generator, pavement: Pavement) -> list[tuple[Car, float]]:
    """Cars in each lane, parked ones at the kerbs, and perhaps one that crosses."""
    traffic: list[tuple[Car, float]] = []
    for lane in range(pavement.lanes):
        share = (lane + 0.5) / pavement.lanes if pavement.lanes > 2 else (0.27, 0.73)[lane]
        x = pavement.half_road_m * (2 * share - 1)
        heading, speed = (0.0, rng.uniform(3, 7)) if x > 0 else (180.0, -rng.uniform(4, 9))
        places = np.cumsum(rng.uniform(9, 28, 5)) + (2 if x > 0 else 6)
        traffic += [(_car(rng, x + rng.uniform(-0.2, 0.2), z, heading), speed) for z in places.tolist()]
    for side in (-1, 1):
        if pavement.lanes == 2 and rng.random() < 0.7:
            x = side * (pavement.half_road_m - 1.05)
            for z in np.arange(rng.uniform(5, 12), 80, 6.3).tolist():
                blocked = pavement.crossing_m and pavement.crossing_m[0] - 7 < z < pavement.crossing_m[1] + 7
                if not blocked and rng.random() < 0.5:
                    traffic.append((_car(rng, x, z, 0.0 if side > 0 else 180.0), 0.0))
    if pavement.crossing_m and rng.random() < 0.7:
        start, end = pavement.crossing_m
        heading = float(rng.choice([90.0, 270.0]))
        z = start + (end - start) * (0.3 if heading == 90 else 0.7)
        traffic.append((_car(rng, rng.uniform(-9, 9), z, heading), 0.0))
    return traffic


def _car(rng: Generator, x_m: float, z_m: float, heading_deg: float) -> Car:
    grey = rng.uniform(25, 235) * np.ones(3)
    bright = rng.uniform([150, 20, 20], [200, 60, 50])[rng.permutation(3)]
    any_colour = rng.uniform(20, 210, 3)
    paint = (grey, bright, any_colour)[int(rng.choice(3, p=[0.45, 0.2, 0.35]))]
    return Car(x_m, z_m, heading_deg, BUILDS[int(rng.choice(4, p=[0.35, 0.3, 0.22, 0.13]))], paint)
