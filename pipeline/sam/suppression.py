"""Removing near-duplicates: greedy non-maximum suppression of boxes, as `torchvision.ops.nms` defines it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def suppress(boxes_xyxy: Floats, scores: Floats, iou_threshold: float) -> NDArray[np.int64]:
    """Indices of the boxes that stay, best score first, the earlier of equals first.

    A box goes if its IoU with a better one that stays is over the threshold. `boxes_xyxy`: float32 (N, 4); `scores`:
    float32 (N,). An empty box overlaps with nothing.
    """
    order = np.argsort(-scores, kind="stable")
    left, top, right, bottom = boxes_xyxy[order].T
    areas = (right - left) * (bottom - top)
    alive = np.ones(len(order), np.bool_)
    for best in range(len(order)):
        if not alive[best]:
            continue
        rest = best + 1 + np.flatnonzero(alive[best + 1 :])
        width = np.minimum(right[best], right[rest]) - np.maximum(left[best], left[rest])
        height = np.minimum(bottom[best], bottom[rest]) - np.maximum(top[best], top[rest])
        shared = np.maximum(width, 0) * np.maximum(height, 0)
        union = areas[best] + areas[rest] - shared
        iou = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
        alive[rest[iou.astype(np.float64) > iou_threshold]] = False
    return order[alive]
