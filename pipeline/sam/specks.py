"""Filling small holes of a mask and removing its specks, as `remove_small_regions` of segment_anything does it."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.cracks import outer_rings

Mask = NDArray[np.bool_]


def without_specks(mask: Mask, min_area_px: int) -> tuple[Mask, bool]:
    """The mask, bool (H, W), without 8-connected holes and then islands under `min_area_px`; whether it changed.

    If every island is smaller, the largest one stays.
    """
    if not (_has_small(mask, min_area_px) or _has_small(~mask, min_area_px)):
        return mask, False
    numbers, sizes = _components(~mask)
    small = np.flatnonzero(sizes[1:] < min_area_px) + 1
    filled = mask | np.isin(numbers, small) if len(small) else mask

    numbers, sizes = _components(filled)
    large = np.flatnonzero(sizes[1:] >= min_area_px) + 1
    if len(large) == len(sizes) - 1:
        return filled, len(small) > 0
    return np.isin(numbers, large if len(large) else sizes[1:].argmax() + 1), True


def _has_small(mask: Mask, min_area_px: int) -> bool:
    """Whether a 4-connected component is smaller; where none is, no 8-connected one is, and this is quicker to see."""
    _, pixels, *_ = outer_rings(np.ascontiguousarray(mask).view(np.uint8) - np.uint8(1), 0)
    return bool((pixels < min_area_px).any())


def _components(mask: Mask) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Number of each pixel's 8-connected component, 0 outside of the mask, and the pixels of each number."""
    _, numbers, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    return numbers.astype(np.int32, copy=False), stats[:, cv2.CC_STAT_AREA].astype(np.int32, copy=False)
