"""One annotation → one mask: its usable regions painted in their order, the others as rejects.

There are two ways. The general one takes any region there is, one Python object each, and defines the result. An
annotation of plain polygons alone, which almost all are, is read and painted by two compiled calls to the same result.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from connectors.label_studio_json import parse_regions
from connectors.polygon_json import PolygonReader, Polygons
from pipeline.bit_planes import empty_planes
from pipeline.overlap import Contested, Stack, contested, painting_order, stacked
from pipeline.raster import paint, paint_region, points_px
from pipeline.scanline import paint_planes
from schemas.errors import RegionError
from schemas.labels import VOID_INDEX, VOID_LABEL, ClassMap
from schemas.params import RasteriseParams
from schemas.regions import Region

Reject = tuple[str, RegionError]
"""Region id, and why it could not be painted."""


@dataclass(frozen=True, slots=True)
class Painted:
    """`mask`: uint8 (H, W), class index or 255. `regions`: how many were painted.

    `passed_over`: how many results cover no pixel by their nature, by type.
    """

    mask: NDArray[np.uint8]
    regions: int
    contested: Contested
    rejects: list[Reject]
    passed_over: Counter[str] = field(default_factory=Counter)


class Painter:
    """Paints annotations by a class map and the parameters of the stage."""

    def __init__(self, class_map: ClassMap, params: RasteriseParams) -> None:
        self._class_map = class_map
        self._params = params
        background = class_map.index(params.unlabelled)
        assert background is not None
        self._background = background
        self._reader = PolygonReader([*class_map.names, VOID_LABEL], params.image_tag)
        self._values = np.array([*range(len(class_map)), VOID_INDEX], np.uint8)
        self._priorities = [entry.priority for entry in class_map.entries] if params.overlap == "priority" else [0]
        self._reads_polygons = params.overlap != "smallest_on_top"

    def paint(self, result: str | bytes, size_hw: tuple[int, int]) -> Painted:
        """Paint the regions of an annotation's `result`.

        Raises RegionError where nothing of it can be used, as with `size_mismatch`.
        """
        text = result.encode() if isinstance(result, str) else result
        polygons = self._reader.read(text, size_hw) if self._reads_polygons else None
        return self.paint_any(text, size_hw) if polygons is None else self._paint_polygons(polygons, size_hw)

    def _paint_polygons(self, polygons: Polygons, size_hw: tuple[int, int]) -> Painted:
        values = self._values[polygons.labels]
        points, starts = points_px(polygons.points_pct, size_hw), polygons.starts
        if len(set(self._priorities)) > 1:
            levels = [*self._priorities, 0]
            order = painting_order(values.tolist(), [levels[label] for label in polygons.labels.tolist()])
            points, starts, values = _reordered(points, starts, values, np.array(order, np.int64))
        classes = np.flatnonzero(np.bincount(values, minlength=VOID_INDEX)[:VOID_INDEX])
        plane_of = np.full(VOID_INDEX + 1, -1, np.int64)
        plane_of[classes] = np.arange(classes.size)
        planes = empty_planes(classes.size, size_hw)
        mask = np.empty(size_hw, np.uint8)
        paint_planes(mask, self._background, planes, points, starts, np.arange(starts.size), values, plane_of[values])
        conflict = Contested.of(planes, classes.tolist(), size_hw)
        return Painted(self._with_void(mask, conflict), values.size, conflict, [])

    def paint_any(self, result: str | bytes, size_hw: tuple[int, int]) -> Painted:
        """As `paint`, the general way."""
        passed_over: Counter[str] = Counter()
        regions, rejects = self._usable_regions(result, size_hw, passed_over)
        try:
            mask, stack = self._paint(regions, size_hw)
        except RegionError:
            regions, broken = _sifted(regions, size_hw)
            rejects += broken
            mask, stack = self._paint(regions, size_hw)
        conflict = contested(stack, size_hw)
        return Painted(self._with_void(mask, conflict), len(regions), conflict, rejects, passed_over)

    def _with_void(self, mask: NDArray[np.uint8], conflict: Contested) -> NDArray[np.uint8]:
        if self._params.overlap == "void":
            mask[conflict.pixels] = VOID_INDEX
        return mask

    def _paint(self, regions: list[Region], size_hw: tuple[int, int]) -> tuple[NDArray[np.uint8], Stack]:
        mask = np.full(size_hw, self._background, np.uint8)
        stack = stacked(regions, self._class_map, self._params.overlap, size_hw)
        paint(mask, stack)
        return mask, stack

    def _usable_regions(
        self, result: str | bytes, size_hw: tuple[int, int], passed_over: Counter[str]
    ) -> tuple[list[Region], list[Reject]]:
        """The regions that can be painted, and the rejects. Raises RegionError `size_mismatch` for the whole result."""
        regions: list[Region] = []
        rejects: list[Reject] = []
        for item in parse_regions(result, self._params.image_tag, passed_over):
            if not isinstance(item, Region):
                rejects.append(item)
            elif self._class_map.index(item.label) is None:
                rejects.append((item.region_id, _unknown_label(item.label, self._class_map)))
            elif item.size_hw != size_hw:
                raise _size_mismatch(item, size_hw)
            else:
                regions.append(item)
        return regions, rejects


def _unknown_label(label: str, class_map: ClassMap) -> RegionError:
    return RegionError(
        "unknown_label",
        f"label {label!r} is not in the class map ({', '.join(class_map.names)}, {VOID_LABEL})",
        "Add it to the end of `classes` in params.yaml, or relabel the region.",
    )


def _size_mismatch(region: Region, size_hw: tuple[int, int]) -> RegionError:
    return RegionError(
        "size_mismatch",
        f"region {region.region_id} was drawn on {region.size_hw[1]}×{region.size_hw[0]} pixels, "
        f"the image shows as {size_hw[1]}×{size_hw[0]}",
        "The image was replaced: annotate the task again.",
    )


def _reordered(
    points: NDArray[np.float64], starts: NDArray[np.int64], values: NDArray[np.uint8], order: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.uint8]]:
    """Polygons, given one after the other with their starts and values, in another order."""
    sizes = np.diff(starts)[order]
    ends = np.cumsum(sizes)
    shift = np.repeat(starts[order] - (ends - sizes), sizes)
    return points[np.arange(shift.size) + shift], np.concatenate([[0], ends]), values[order]


def _sifted(regions: list[Region], size_hw: tuple[int, int]) -> tuple[list[Region], list[Reject]]:
    """The regions whose pixels can be decoded, and the others."""
    scratch = np.empty(size_hw, np.uint8)
    sound: list[Region] = []
    broken: list[Reject] = []
    for region in regions:
        try:
            paint_region(scratch, region, 0)
        except RegionError as error:
            broken.append((region.region_id, error))
        else:
            sound.append(region)
    return sound, broken
