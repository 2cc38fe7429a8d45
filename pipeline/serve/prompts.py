"""Smart clicks → prompts: what an annotator pointed at, in pixels of the image."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.sam.model import Prompt
from schemas.errors import RegionError

POINT, RECTANGLE = "keypointlabels", "rectanglelabels"


@dataclass(frozen=True, slots=True)
class Click:
    """One object that an annotator points at: its label, its prompt, and an id that stays as prompts are added."""

    label: str
    region_id: str
    prompt: Prompt


def parse_click(result: list[dict[str, Any]], size_hw: tuple[int, int]) -> Click | None:
    """All prompts of a context together, each in percent of an image of that size; None if there is none.

    The label is the last prompt's. Prompts with other labels belong to other objects and are left out. Of several
    rectangles the last one counts. Raises RegionError `malformed` for a prompt without numbers or without a label.
    """
    prompts = [item for item in result if item.get("type") in (POINT, RECTANGLE)]
    if not prompts:
        return None
    label = _label(prompts[-1])
    prompts = [item for item in prompts if _label(item) == label]
    points, positive, box = [], [], None
    for item in prompts:
        x, y = _pixels(item, "x", size_hw[1]), _pixels(item, "y", size_hw[0])
        if item["type"] == POINT:
            points.append((x, y))
            positive.append(item.get("is_positive") not in (False, 0))
        else:
            width, height = _pixels(item, "width", size_hw[1]), _pixels(item, "height", size_hw[0])
            box = _box(x, y, width, height)
    # Label Studio's coordinates run from pixel edges, a Prompt's from pixel centres.
    points_xy = np.array(points, np.float64).reshape(-1, 2) - 0.5
    first = str(prompts[0].get("id", ""))
    region_id = hashlib.sha256(f"click:{first}".encode()).hexdigest()[:10]
    return Click(label, region_id, Prompt(points_xy, np.array(positive, np.bool_), box))


def pointed_at(mask: NDArray[np.bool_], prompt: Prompt) -> NDArray[np.bool_]:
    """The part of a mask, bool (H, W), that is meant: all of it in a box, else what is connected with a positive point.

    Where no point meets the mask, its largest part.
    """
    if prompt.box_xyxy is not None or not mask.any():
        return mask
    height, width = mask.shape
    pixels = np.ascontiguousarray(mask).view(np.uint8)
    meant = np.zeros((height + 2, width + 2), np.uint8)  # with the border that floodFill wants
    for x, y in np.rint(prompt.points_xy[prompt.positive]).astype(int).clip(0, (width - 1, height - 1)).tolist():
        if mask[y, x] and not meant[y + 1, x + 1]:
            cv2.floodFill(pixels, meant, (x, y), 0, flags=8 | cv2.FLOODFILL_MASK_ONLY | 1 << 8)
    if meant.any():
        return meant[1:-1, 1:-1].astype(np.bool_)
    _, numbers, stats, _ = cv2.connectedComponentsWithStats(pixels, connectivity=8)
    largest: NDArray[np.bool_] = numbers == 1 + stats[1:, cv2.CC_STAT_AREA].argmax()
    return largest


def _label(item: dict[str, Any]) -> str:
    value = item.get("value")
    labels = (value.get(item["type"]) or value.get("labels")) if isinstance(value, dict) else None
    if not isinstance(labels, list) or not labels or not isinstance(labels[0], str):
        raise RegionError("malformed", "a smart click without a label", "Choose a label before clicking.")
    return labels[0]


def _pixels(item: dict[str, Any], key: str, length: int) -> float:
    percent = item["value"].get(key)
    if isinstance(percent, bool) or not isinstance(percent, int | float) or not math.isfinite(percent):
        raise RegionError("malformed", f"a smart click whose `{key}` is {percent!r:.40}, expected a number")
    return min(max(float(percent), 0.0), 100.0) * length / 100


def _box(x: float, y: float, width: float, height: float) -> tuple[float, float, float, float]:
    return x - 0.5, y - 0.5, x + width - 0.5, y + height - 0.5
