"""One annotation → one mask: its usable regions painted in their order, the others as rejects."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from connectors.label_studio_json import parse_regions
from pipeline.overlap import Contested, Stack, contested, stacked
from pipeline.raster import paint, paint_region
from schemas.errors import RegionError
from schemas.labels import VOID_INDEX, VOID_LABEL, ClassMap
from schemas.params import RasteriseParams
from schemas.regions import Region
from schemas.tasks import Annotation

Reject = tuple[str, RegionError]
"""Region id, and why it could not be painted."""


@dataclass(frozen=True, slots=True)
class Painted:
    """`mask`: uint8 (H, W), class index or 255. `regions`: how many were painted."""

    mask: NDArray[np.uint8]
    regions: int
    contested: Contested
    rejects: list[Reject]


def paint_annotation(
    annotation: Annotation, size_hw: tuple[int, int], class_map: ClassMap, params: RasteriseParams
) -> Painted:
    """Paint an annotation's regions. Raises RegionError where nothing of it can be used, as with `size_mismatch`."""
    regions, rejects = _usable_regions(annotation, size_hw, class_map)
    background = class_map.index(params.unlabelled)
    mask = np.full(size_hw, background, np.uint8)
    try:
        stack = _paint(mask, regions, class_map, params.overlap)
    except RegionError:
        regions, broken = _sifted(regions, size_hw)
        rejects += broken
        mask = np.full(size_hw, background, np.uint8)
        stack = _paint(mask, regions, class_map, params.overlap)
    conflict = contested(stack, size_hw)
    if params.overlap == "void":
        mask[conflict.pixels] = VOID_INDEX
    return Painted(mask, len(regions), conflict, rejects)


def _paint(mask: NDArray[np.uint8], regions: list[Region], class_map: ClassMap, policy: str) -> Stack:
    height, width = mask.shape
    stack = stacked(regions, class_map, policy, (height, width))
    paint(mask, stack)
    return stack


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


def _usable_regions(
    annotation: Annotation, size_hw: tuple[int, int], class_map: ClassMap
) -> tuple[list[Region], list[Reject]]:
    """The regions that can be painted, and the rejects. Raises RegionError `size_mismatch` for a whole annotation."""
    regions: list[Region] = []
    rejects: list[Reject] = []
    for item in parse_regions(annotation.result):
        if not isinstance(item, Region):
            rejects.append(item)
        elif class_map.index(item.label) is None:
            error = RegionError(
                "unknown_label",
                f"label {item.label!r} is not in the class map ({', '.join(class_map.names)}, {VOID_LABEL})",
                "Add it to the end of `classes` in params.yaml, or relabel the region.",
            )
            rejects.append((item.region_id, error))
        elif item.size_hw != size_hw:
            raise RegionError(
                "size_mismatch",
                f"region {item.region_id} was drawn on {item.size_hw[1]}×{item.size_hw[0]} pixels, "
                f"the image shows as {size_hw[1]}×{size_hw[0]}",
                "The image was replaced: annotate the task again.",
            )
        else:
            regions.append(item)
    return regions, rejects
