"""Textures for drawn street scenes: tileable noise and house fronts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Colour = NDArray[np.float64]

FLOOR_M = 3.2


def tileable_noise(rng: np.random.Generator, size: int, roughness: float) -> NDArray[np.float32]:
    """Noise that repeats without a seam, float32 (size, size), mean 0, deviation 1.

    White noise with its spectrum divided by frequency^roughness: 0 stays white, 1 is like clouds, 2 smoother still.
    """
    spectrum = np.fft.rfft2(rng.standard_normal((size, size)))
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None, :])
    frequency[0, 0] = np.inf
    noise = np.fft.irfft2(spectrum / frequency**roughness, (size, size))
    return np.asarray(noise / noise.std(), np.float32)


@dataclass(frozen=True, slots=True)
class Front:
    """How a house front looks. `kind`: plaster, brick, ribbon or glass; bays and windows in metres."""

    kind: str
    wall: Colour
    trim: Colour
    shop: Colour | None
    bay_m: float
    window_m: tuple[float, float]
    seed: int

    @classmethod
    def random(cls, rng: np.random.Generator) -> Front:
        """A front of any kind: warm and cold tints, with or without a shop."""
        kind = str(rng.choice(["plaster", "plaster", "brick", "brick", "ribbon", "glass"]))
        wall = {
            "plaster": rng.uniform(110, 225) * rng.uniform([0.92, 0.85, 0.68], [1.1, 1.05, 1.05]),
            "brick": rng.uniform(85, 165) * rng.uniform([1.05, 0.62, 0.5], [1.3, 0.85, 0.75]),
            "ribbon": rng.uniform(95, 200) * rng.uniform([0.92, 0.94, 0.9], [1.05, 1.03, 1.08]),
            "glass": rng.uniform(70, 140) * rng.uniform([0.75, 0.92, 0.95], [0.95, 1.05, 1.25]),
        }[kind]
        shop = rng.uniform(30, 220, 3) if rng.random() < 0.5 else None
        window = (rng.uniform(1.0, 1.5), rng.uniform(1.4, 2.1))
        trim = wall * 0.3 + rng.uniform(150, 180)
        return cls(
            kind, wall.clip(0, 240), trim.clip(0, 245), shop, rng.uniform(2.2, 3.4), window, int(rng.integers(1 << 31))
        )


class Wall:
    """A flat front, drawn in metres from its top-left corner; `texels` is uint8 (H, W, 3)."""

    def __init__(self, width_m: float, height_m: float, per_metre: float, colour: Colour) -> None:
        self.width_m, self.height_m, self.per_metre = width_m, height_m, per_metre
        size_hw = (max(2, round(height_m * per_metre)), max(2, round(width_m * per_metre)))
        self.texels: Pixels = np.empty((*size_hw, 3), np.uint8)
        self.texels[:] = colour.astype(np.uint8)

    def box(self, left: float, top: float, right: float, bottom: float, colour: Colour) -> None:
        """Fill a box; what lies outside the wall is cut off."""
        x0, y0, x1, y1 = (max(0, round(value * self.per_metre)) for value in (left, top, right, bottom))
        if x0 < x1 and y0 < y1:
            self.texels[y0:y1, x0:x1] = colour.clip(0, 255).astype(np.uint8)


def draw_front(front: Front, size_m: tuple[float, float], per_metre: float, sky: Colour, lit: float) -> Pixels:
    """A house front of `size_m` (width, height), uint8 (H, W, 3), row 0 at the eaves; the same front in every size.

    `sky` is what the panes reflect; `lit` (0..1) of them are lit from inside.
    """
    rng = np.random.default_rng(front.seed)
    width, height = size_m
    wall = Wall(width, height, per_metre, front.wall)
    if front.kind == "brick" and per_metre > 7:
        for course in np.arange(0.0, height, 0.3).tolist():
            wall.box(0, course, width, course + 0.06, front.wall * 0.8)
    floors = max(1, int(height / FLOOR_M))
    for floor in range(floors):
        top = height - (floor + 1) * FLOOR_M
        if floor == 0 and front.shop is not None:
            _shop(wall, front, front.shop, top, sky, rng)
        else:
            _floor(wall, front, top, sky, lit, rng)
    wall.box(0, 0, width, 0.35, front.trim)
    wall.box(0, 0.35, width, 0.5, front.wall * 0.55)
    wall.box(0, height - 0.5, width, height, front.wall * 0.6)
    return wall.texels


def _pane(sky: Colour, lit: float, rng: np.random.Generator) -> Colour:
    reflection = sky * rng.uniform(0.18, 0.55) + rng.uniform(5, 25)
    return rng.uniform([210, 160, 80], [255, 225, 150]) if rng.random() < lit else reflection


def _floor(wall: Wall, front: Front, top: float, sky: Colour, lit: float, rng: np.random.Generator) -> None:
    """One storey of windows, `top` metres below the eaves."""
    if front.kind == "glass":
        wide, high, sill = front.bay_m * 0.92, FLOOR_M * 0.86, 0.22
    elif front.kind == "ribbon":
        wide, high, sill = front.bay_m * 0.97, FLOOR_M * 0.5, 0.8
    else:
        (wide, high), sill = front.window_m, 0.75
    bays = max(1, int(wall.width_m / front.bay_m))
    margin = (wall.width_m - bays * front.bay_m) / 2
    bottom = top + FLOOR_M - sill
    is_framed = front.kind in ("plaster", "brick") and wall.per_metre > 6
    for bay in range(bays):
        middle = margin + (bay + 0.5) * front.bay_m
        left, right = middle - wide / 2, middle + wide / 2
        pane = _pane(sky, lit, rng)
        if is_framed:
            wall.box(left - 0.14, bottom - high - 0.16, right + 0.14, bottom + 0.16, front.trim)
        wall.box(left, bottom - high, right, bottom, pane)
        wall.box(left, bottom - high, right, bottom - high * rng.uniform(0.55, 1.0), pane * 0.65 + sky * 0.15)
        if is_framed:
            wall.box(middle - 0.04, bottom - high, middle + 0.04, bottom, front.trim)


def _shop(wall: Wall, front: Front, colour: Colour, top: float, sky: Colour, rng: np.random.Generator) -> None:
    """A ground floor with wide panes under a coloured board, some with a striped awning."""
    wall.box(0, top, wall.width_m, top + FLOOR_M, front.wall * 0.5)
    awning = rng.random() < 0.5
    for left in np.arange(0.3, wall.width_m - 1.5, 3.4).tolist():
        right = min(left + 3.1, wall.width_m - 0.3)
        wall.box(left, top + 0.8, right, top + FLOOR_M - 0.45, _pane(sky, 0.35, rng))
        wall.box(left, top + 0.15, right, top + 0.75, colour)
        for stripe in np.arange(left, right, 0.5).tolist() if awning else ():
            wall.box(stripe, top + 0.7, min(stripe + 0.25, right), top + 1.2, colour)
            wall.box(stripe + 0.25, top + 0.7, min(stripe + 0.5, right), top + 1.2, colour * 0.2 + 190)
