"""Regions that lie on each other: which one wins, and how many pixels were contested.

Policies (`rasterise.overlap`):

    order            the later region lies on top
    priority         the region whose class has the higher priority; of equals, the later
    smallest_on_top  the region that covers fewer pixels; of equals, the later
    void             no class wins: contested pixels become void

A region labelled `void` is no contestant: it cuts whatever was drawn before it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.bit_planes import Bits, crossings, empty_planes, packed, unpacked
from pipeline.raster import paint, paint_region
from schemas.labels import VOID_INDEX, ClassMap
from schemas.regions import Region

Stack = list[tuple[Region, int]]
"""Regions with their mask values, bottom first."""


@dataclass(frozen=True, slots=True)
class Contested:
    """`pairs`: pixels that regions of both classes cover, by (lower, higher) class index, without pairs at 0.

    `plane`: the pixels where regions of at least two classes lie on each other, a plane of `pipeline.bit_planes`.
    """

    pairs: dict[tuple[int, int], int]
    plane: Bits
    size_hw: tuple[int, int]

    @classmethod
    def of(cls, planes: Bits, classes: Sequence[int], size_hw: tuple[int, int]) -> Contested:
        """Count what the planes of some class indices, in ascending order, share."""
        shared, plane = crossings(planes)
        pairs = {(classes[a], classes[b]): int(shared[a, b]) for a, b in np.argwhere(shared).tolist()}
        return cls(pairs, plane, size_hw)

    @property
    def pixels(self) -> NDArray[np.bool_]:
        """The contested pixels, bool (H, W)."""
        return unpacked(self.plane, self.size_hw)


def stacked(regions: Sequence[Region], class_map: ClassMap, policy: str, size_hw: tuple[int, int]) -> Stack:
    """Regions, given in drawing order, in painting order with their mask values. Their labels are in the class map.

    Raises RegionError `bad_rle` where `smallest_on_top` meets a stroke that can't be decoded.
    """
    level = _levels(class_map, policy, size_hw)
    indices = [class_map.index(region.label) for region in regions]
    pairs = [(region, index) for region, index in zip(regions, indices, strict=True) if index is not None]
    levels = [0.0 if index == VOID_INDEX else level(region, index) for region, index in pairs]
    return [pairs[number] for number in painting_order([index for _, index in pairs], levels)]


def painting_order(indices: Sequence[int], levels: Sequence[float]) -> list[int]:
    """Numbers of the regions, given in drawing order with their class indices and levels, from the bottom up.

    A region labelled `void` lies on whatever was drawn before it, so its own level counts for nothing.
    """
    highest = -math.inf
    heights = []
    for index, level in zip(indices, levels, strict=True):
        height = highest if index == VOID_INDEX else level
        highest = max(highest, height)
        heights.append(height)
    return sorted(range(len(heights)), key=heights.__getitem__)


def _levels(class_map: ClassMap, policy: str, size_hw: tuple[int, int]) -> Callable[[Region, int], float]:
    if policy == "priority":
        return lambda region, index: class_map.entries[index].priority
    if policy == "smallest_on_top":
        scratch = np.empty(size_hw, np.uint8)
        return lambda region, index: -_area_px(region, scratch)
    return lambda region, index: 0


def _area_px(region: Region, scratch: NDArray[np.uint8]) -> int:
    scratch[:] = 0
    paint_region(scratch, region, 1)
    return int(np.count_nonzero(scratch))


def contested(stack: Iterable[tuple[Region, int]], size_hw: tuple[int, int]) -> Contested:
    """Count the pixels that regions of different classes contest. Each class is painted once into a plane of bits."""
    by_class: dict[int, Stack] = {}
    for region, index in stack:
        if index != VOID_INDEX:
            by_class.setdefault(index, []).append((region, 1))
    classes = sorted(by_class)
    planes = empty_planes(len(classes), size_hw)
    scratch = np.empty(size_hw, np.uint8)
    for plane, index in zip(planes, classes, strict=True):
        scratch[:] = 0
        paint(scratch, by_class[index])
        plane[:] = packed(scratch)
    return Contested.of(planes, classes, size_hw)


def total(conflicts: Iterable[Contested]) -> list[dict[str, int]]:
    """The pairs of several annotations together, as rows of CONTESTED_TYPE in the order of their class indices."""
    pixels: Counter[tuple[int, int]] = Counter()
    for conflict in conflicts:
        pixels.update(conflict.pairs)
    return [{"a": a, "b": b, "pixels": count} for (a, b), count in sorted(pixels.items())]
