"""CamVid's published masks, also at sizes that they were not published in."""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from schemas.labels import VOID_INDEX

Mask = NDArray[np.uint8]

CAMVID = "../shared/camvid"
CAMVID_VOID = 11
SIZES_HW = {"480×360": (360, 480), "1080p": (1080, 1920), "12 MP": (3000, 4000)}


def camvid_masks(folder: Path, count: int) -> list[Mask]:
    """The first training masks, uint8 (360, 480), 255 void; ends the program with one line where there are none."""
    files = sorted((folder / "trainannot").glob("*.png"))[:count]
    if not files:
        sys.exit(f"{folder} has no trainannot/*.png; give the CamVid folder as argument")
    masks = [np.array(Image.open(file)) for file in files]
    return [np.where(mask == CAMVID_VOID, VOID_INDEX, mask).astype(np.uint8) for mask in masks]


def enlarged(mask: Mask, size_hw: tuple[int, int]) -> Mask:
    """The mask at another size with smooth borders: of each value's bilinear share the greatest wins."""
    if mask.shape == size_hw:
        return mask
    larger, greatest = np.zeros(size_hw, np.uint8), np.zeros(size_hw, np.float32)
    for value in np.unique(mask):
        share = cv2.resize((mask == value).astype(np.float32), size_hw[::-1], interpolation=cv2.INTER_LINEAR)
        wins = share > greatest
        larger[wins], greatest[wins] = value, share[wins]
    return larger
