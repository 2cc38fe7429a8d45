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

from pipeline.raster import paint, paint_region
from schemas.labels import VOID_INDEX, ClassMap
from schemas.regions import Region

Stack = list[tuple[Region, int]]
"""Regions with their mask values, bottom first."""


@dataclass(frozen=True, slots=True)
class Contested:
    """`pairs`: pixels that regions of both classes cover, by (lower, higher) class index, without pairs at 0.

    `bits`: uint64 (⌈H·W / 64⌉,), row by row the pixels where regions of at least two classes lie on each other.
    """

    pairs: dict[tuple[int, int], int]
    bits: NDArray[np.uint64]
    size_hw: tuple[int, int]

    @property
    def pixels(self) -> NDArray[np.bool_]:
        """The contested pixels, bool (H, W)."""
        height, width = self.size_hw
        flags = np.unpackbits(self.bits.view(np.uint8), count=height * width)
        return flags.reshape(self.size_hw).view(np.bool_)


def stacked(regions: Sequence[Region], class_map: ClassMap, policy: str, size_hw: tuple[int, int]) -> Stack:
    """Regions, given in drawing order, in painting order with their mask values. Their labels are in the class map.

    Raises RegionError `bad_rle` where `smallest_on_top` meets a stroke that can't be decoded.
    """
    level = _levels(class_map, policy, size_hw)
    highest = -math.inf
    keyed: list[tuple[float, Region, int]] = []
    for region in regions:
        index = class_map.index(region.label)
        assert index is not None
        height = highest if index == VOID_INDEX else level(region, index)
        highest = max(highest, height)
        keyed.append((height, region, index))
    return [(region, index) for _, region, index in sorted(keyed, key=lambda entry: entry[0])]


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
    """Count the pixels that regions of different classes contest.

    Each class is painted once into a plane of bits; whole words of 64 pixels are then compared at a time.
    """
    by_class: dict[int, Stack] = {}
    for region, index in stack:
        if index != VOID_INDEX:
            by_class.setdefault(index, []).append((region, 1))
    classes = sorted(by_class)
    size = size_hw[0] * size_hw[1]
    planes = np.zeros((len(classes), -(-size // 64)), np.uint64)
    once, twice = np.zeros_like(planes, shape=planes.shape[1:]), np.zeros_like(planes, shape=planes.shape[1:])
    scratch = np.empty(size_hw, np.uint8)
    for plane, index in zip(planes, classes, strict=True):
        scratch[:] = 0
        paint(scratch, by_class[index])
        plane.view(np.uint8)[: -(-size // 8)] = np.packbits(scratch)
        twice |= once & plane
        once |= plane
    crossed = planes[:, twice != 0]
    pairs: dict[tuple[int, int], int] = {}
    for position, index in enumerate(classes[:-1]):
        shared = np.bitwise_count(crossed[position + 1 :] & crossed[position]).sum(axis=1, dtype=np.int64)
        others = zip(classes[position + 1 :], shared.tolist(), strict=True)
        pairs |= {(index, other): pixels for other, pixels in others if pixels}
    return Contested(pairs, twice, size_hw)


def total(conflicts: Iterable[Contested]) -> list[dict[str, int]]:
    """The pairs of several annotations together, as rows of CONTESTED_TYPE in the order of their class indices."""
    pixels: Counter[tuple[int, int]] = Counter()
    for conflict in conflicts:
        pixels.update(conflict.pairs)
    return [{"a": a, "b": b, "pixels": count} for (a, b), count in sorted(pixels.items())]
