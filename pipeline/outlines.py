"""A mask as Label Studio polygons: what predictions and imported masks become."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from connectors.label_studio_json import parse_regions, polygon_result
from pipeline.raster import fill_polygon, paint, points_pct
from pipeline.trace import trace
from schemas.labels import VOID_INDEX, ClassMap
from schemas.regions import Region


def outlines(
    mask: NDArray[np.uint8],
    class_map: ClassMap,
    identity: str,
    tolerance_px: float = 0.0,
    min_area_px: int = 0,
    confidence: NDArray[np.float32] | None = None,
    max_vertices: int | None = None,
) -> list[dict[str, Any]]:
    """Label Studio's `result` for a mask, uint8 (H, W), 255 void: polygons whose painting in order gives it back.

    `identity` seeds the region ids, so that the same mask has the same ids. With a `confidence` (H, W) in 0..1 each
    region gets a score: the mean over its own pixels. Of the other arguments see `pipeline.trace.trace`.
    """
    size_hw = (mask.shape[0], mask.shape[1])
    result = []
    for number, region in enumerate(trace(mask, tolerance_px, min_area_px, max_vertices)):
        score = None
        if confidence is not None:
            inside = fill_polygon(size_hw, [region.points_px]) & (mask == region.class_index)
            score = round(float(confidence[inside].mean()), 6) if inside.any() else 0.0
        region_id = hashlib.sha256(f"{identity}:{number}".encode()).hexdigest()[:10]
        label = class_map.label(region.class_index)
        result.append(polygon_result(region_id, label, points_pct(region.points_px, size_hw), size_hw, score))
    return result


def outline_iou(mask: NDArray[np.uint8], result: str, class_map: ClassMap) -> float | None:
    """What outlines keep of their mask, 0..1: its IoU with `result` (JSON) redrawn, mean over the classes of either.

    None where neither holds a class.
    """
    redrawn = np.full_like(mask, VOID_INDEX)
    regions = [region for region in parse_regions(result) if isinstance(region, Region)]
    indices = [class_map.index(region.label) for region in regions]
    paint(redrawn, [(region, index) for region, index in zip(regions, indices, strict=True) if index is not None])
    of_mask, of_redrawn, of_both = (
        np.bincount(pixels, minlength=VOID_INDEX + 1)[:VOID_INDEX]
        for pixels in (mask.ravel(), redrawn.ravel(), mask[mask == redrawn])
    )
    union = of_mask + of_redrawn - of_both
    present = union > 0
    return float(np.mean(of_both[present] / union[present])) if present.any() else None
