"""The connected components of a mask, each as one ring: what formats of polygons are written from."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from skimage import measure

from connectors.labelled import Component, Mask, Outline
from pipeline.trace import trace
from schemas.labels import VOID_INDEX


def components(mask: Mask, tolerance_px: float = 0.0) -> list[Component]:
    """4-connected components of equal class in a mask, uint8 (H, W), void apart; the largest first.

    At tolerance 0 an outline covers exactly its component's pixels, by the even-odd rule and by pycocotools; else its
    arcs may leave the pixel edges by `tolerance_px`, neighbours each by themselves.
    """
    numbers = measure.label(mask, background=VOID_INDEX, connectivity=1)  # type: ignore[no-untyped-call]
    found = []
    for region in measure.regionprops(numbers):  # type: ignore[no-untyped-call]
        top, left, bottom, right = region.bbox
        pixels: NDArray[np.bool_] = region.image
        inside = np.where(pixels, 0, VOID_INDEX).astype(np.uint8)
        rings = [traced.points_px for traced in trace(inside, tolerance_px)]
        class_index = int(mask[top:bottom, left:right][pixels][0])
        outline = slit(rings[0], rings[1:]) + np.array([left, top])
        found.append(Component(class_index, (left, top, right - left, bottom - top), pixels, outline))
    return sorted(found, key=lambda component: -int(np.count_nonzero(component.pixels)))


def slit(ring: Outline, holes: list[Outline]) -> Outline:
    """One ring of a ring and its holes: a way to each hole and back again, which encloses nothing.

    Both passes cross every line of pixel centres at one and the same point, so they cancel out by the even-odd rule.
    """
    for hole in holes:
        nearest = int(((ring - hole[0]) ** 2).sum(axis=1).argmin())
        ring = np.concatenate([ring[: nearest + 1], hole, hole[:1], ring[nearest:]])
    return ring
