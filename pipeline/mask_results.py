"""One object's mask as regions of a Label Studio project: polygons with their holes, or a brush stroke."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from connectors.label_studio_json import brush_result, hole_result, polygon_result
from pipeline.raster import points_pct
from pipeline.rle import encode_brush
from pipeline.sam.specks import without_specks
from pipeline.trace import trace
from schemas.errors import ClassMapError
from schemas.labels import VOID_INDEX, LabelConfig

Ring = NDArray[np.float64]

TAGS = {"polygon": "PolygonLabels", "brush": "BrushLabels"}
"""Controls that a mask can be drawn with, the preferred one first."""


@dataclass(frozen=True, slots=True)
class Control:
    """One such control of a project's label config."""

    kind: str
    from_name: str
    to_name: str


def choose_control(config: LabelConfig, label: str, kind: Literal["auto", "polygon", "brush"] = "auto") -> Control:
    """The control of a kind that has the label; of any kind for `auto`. Raises ClassMapError if there is none."""
    kinds = list(TAGS) if kind == "auto" else [kind]
    for each in kinds:
        tag = TAGS[each]
        if label in config.labels.get(tag, ()):
            return Control(each, *config.controls[tag])
    wanted = " or ".join(f"<{TAGS[each]}>" for each in kinds)
    raise ClassMapError(
        f"the project's label config has no {wanted} with the label {label!r}",
        "`maskloop label-config` prints a label config that fits the class map.",
    )


def mask_results(
    mask: NDArray[np.bool_],
    label: str,
    control: Control,
    region_id: str,
    score: float | None = None,
    tolerance_px: float = 0.0,
    min_area_px: int = 0,
    max_vertices: int | None = None,
) -> list[dict[str, Any]]:
    """Items of a `result` that cover a mask, bool (H, W); none for an empty one. `score` in 0..1.

    Holes and specks under `min_area_px` pixels are filled and left out, though never all of the mask. A brush stroke
    covers what then is there exactly, polygons within `tolerance_px`: one for each 4-connected component and one for
    each of its holes, which is cut out of it as `parse_regions` reads it; one with over `max_vertices` vertices gets a
    greater tolerance. The first region has the id `region_id`, the others ids made from it.
    """
    size_hw = (mask.shape[0], mask.shape[1])
    if not mask.any():
        return []
    names = {"from_name": control.from_name, "to_name": control.to_name}
    if control.kind == "brush":
        tidied, _ = without_specks(mask, min_area_px)
        return [brush_result(region_id, label, encode_brush(tidied), size_hw, score) | names]
    items: list[dict[str, Any]] = []
    for outline, holes in _rings(mask, tolerance_px, min_area_px, max_vertices):
        parent = _numbered(region_id, len(items))
        items.append(polygon_result(parent, label, points_pct(outline, size_hw), size_hw, score) | names)
        for hole in holes:
            hole_id = _numbered(region_id, len(items))
            items.append(hole_result(hole_id, parent, label, points_pct(hole, size_hw), size_hw) | names)
    return items


def _rings(
    mask: NDArray[np.bool_], tolerance_px: float, min_area_px: int, max_vertices: int | None
) -> Iterator[tuple[Ring, list[Ring]]]:
    """Outline and holes of each component, in pixels, the largest component first."""
    inside = np.ascontiguousarray(mask).view(np.uint8) - np.uint8(1)  # 0 and VOID_INDEX
    rings = trace(inside, tolerance_px, min(min_area_px, int(mask.sum())), max_vertices)
    if sum(ring.class_index != VOID_INDEX for ring in rings) == 1:  # as most masks have
        outline, *holes = (ring.points_px for ring in rings)
        yield outline, holes
        return
    _, numbers, stats, _ = cv2.connectedComponentsWithStats(np.ascontiguousarray(mask).view(np.uint8), connectivity=4)
    largest_first = 1 + np.argsort(-stats[1:, cv2.CC_STAT_AREA], kind="stable")
    for place, number in enumerate(largest_first):
        left, top, width, height, area = (int(value) for value in stats[number])
        if place > 0 and area < min_area_px:
            return
        own = numbers[top : top + height, left : left + width] == number
        traced = trace(own.view(np.uint8) - np.uint8(1), tolerance_px, min(min_area_px, area), max_vertices)
        first, *others = [ring.points_px + np.array([left, top]) for ring in traced]
        yield first, others


def _numbered(region_id: str, number: int) -> str:
    return region_id if number == 0 else hashlib.sha256(f"{region_id}:{number}".encode()).hexdigest()[:10]
