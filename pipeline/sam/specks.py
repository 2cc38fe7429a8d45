"""Filling small holes of a mask and removing its specks, as `remove_small_regions` of segment_anything does it."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]


def without_specks(mask: Mask, min_area_px: int) -> tuple[Mask, bool]:
    """The mask, bool (H, W), without 8-connected holes and then islands under `min_area_px`; whether it changed.

    If every island is smaller, the largest one stays.
    """
    numbers, sizes = _components(~mask)
    small = np.flatnonzero(sizes[1:] < min_area_px) + 1
    filled = mask | np.isin(numbers, small) if len(small) else mask

    numbers, sizes = _components(filled)
    large = np.flatnonzero(sizes[1:] >= min_area_px) + 1
    if len(large) == len(sizes) - 1:
        return filled, len(small) > 0
    return np.isin(numbers, large if len(large) else sizes[1:].argmax() + 1), True


def _components(mask: Mask) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Number of each pixel's 8-connected component, 0 outside of the mask, and the pixels of each number."""
    _, numbers, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    return numbers.astype(np.int32, copy=False), stats[:, cv2.CC_STAT_AREA].astype(np.int32, copy=False)
