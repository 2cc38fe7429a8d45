"""Which human region each pixel belongs to: what pre-labels are compared with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from connectors.label_studio_json import parse_regions
from pipeline.overlap import stacked
from pipeline.raster import paint, paint_region
from schemas.errors import RegionError
from schemas.labels import ClassMap
from schemas.params import RasteriseParams
from schemas.regions import Region
from schemas.tasks import Annotation

VALUES = 255
"""Regions that one pass can tell apart in uint8."""


@dataclass(frozen=True)
class HumanRegions:
    """The regions of a task's annotations that can be painted, a later annotation's on an earlier one's.

    `instances`: int32 (H, W), the number of the region that lies on top, from 1; 0 where none lies. `class_indices`:
    uint8 (N + 1,), by that number, 255 at 0 and for regions labelled `void`. `region_ids`: (N + 1,), "" at 0.
    """

    instances: NDArray[np.int32]
    class_indices: NDArray[np.uint8]
    region_ids: tuple[str, ...]

    @classmethod
    def none(cls, size_hw: tuple[int, int]) -> HumanRegions:
        """Those of an image that nobody annotated."""
        return cls(np.zeros(size_hw, np.int32), np.array([255], np.uint8), ("",))

    @classmethod
    def of(
        cls,
        annotations: Sequence[Annotation],
        size_hw: tuple[int, int],
        class_map: ClassMap,
        params: RasteriseParams,
    ) -> HumanRegions:
        """Paint the regions of annotations; what can't be painted is among the rejects of `rasterise`."""
        stack: list[tuple[Region, int]] = []
        for annotation in annotations:
            regions = _paintable(annotation, size_hw, class_map, params)
            stack += stacked(regions, class_map, params.overlap, size_hw)
        instances = np.zeros(size_hw, np.int32)
        for first in range(0, len(stack), VALUES):
            numbers = np.zeros(size_hw, np.uint8)
            paint(numbers, [(region, value) for value, (region, _) in enumerate(stack[first : first + VALUES], 1)])
            np.copyto(instances, numbers.astype(np.int32) + first, where=numbers > 0)
        indices = np.array([255, *(index for _, index in stack)], np.uint8)
        return cls(instances, indices, ("", *(region.region_id for region, _ in stack)))

    @cached_property
    def areas_px(self) -> NDArray[np.int64]:
        """Visible pixels of each region, int64 (N + 1,)."""
        return np.bincount(self.instances.ravel(), minlength=len(self.region_ids))

    @cached_property
    def column_major(self) -> NDArray[np.int32]:
        """`instances` in the order of COCO's run lengths, int32 (H·W,)."""
        return self.instances.ravel(order="F")

    @property
    def touched(self) -> NDArray[np.bool_]:
        """Pixels that some region covers, be it to cut a hole; bool (H, W)."""
        return self.instances > 0


def _paintable(
    annotation: Annotation, size_hw: tuple[int, int], class_map: ClassMap, params: RasteriseParams
) -> list[Region]:
    scratch = np.zeros(size_hw, np.uint8)
    regions = []
    try:
        parsed = list(parse_regions(annotation.result, params.image_tag))
    except RegionError:
        return []
    for item in parsed:
        if isinstance(item, Region) and item.size_hw == size_hw and class_map.index(item.label) is not None:
            try:
                paint_region(scratch, item, 1)
            except RegionError:
                continue  # a reject of `rasterise`
            regions.append(item)
    return regions
