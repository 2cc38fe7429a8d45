"""Mask → polygons: maskloop's tracer beside cv2.findContours + approxPolyDP, in one run.

    python -m benchmarks.trace [CAMVID_FOLDER]

CamVid masks at 480×360, and enlarged to 1080p and 12 MP, at tolerance 0.5. Interleaved rounds, medians, one thread.
What comes of both is painted again by the painter that suits it, maskloop's rule and cv2.fillPoly with the holes of
each region, larger regions first, and compared with the mask. Fails below 3× at 1080p, under a mean IoU of 0.99, or
with more vertices than OpenCV; and unless tolerance 0 gives the masks back bit for bit.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.sized_masks import CAMVID, SIZES_HW, Mask, camvid_masks, enlarged
from benchmarks.timing import medians
from pipeline.scanline import paint_polygons
from pipeline.trace import trace
from schemas.labels import VOID_INDEX

IMAGES = {"480×360": 20, "1080p": 5, "12 MP": 2}
ROUNDS = 7
TOLERANCE_PX = 0.5

Outlines = list[tuple[list[NDArray[np.float64]], int]]
"""Per region its rings (outer, then holes, if any), float64 (N, 2), and its class index."""


def maskloop(mask: Mask, tolerance_px: float = TOLERANCE_PX) -> Outlines:
    return [([region.points_px], region.class_index) for region in trace(mask, tolerance_px)]


def opencv(mask: Mask) -> Outlines:
    found: Outlines = []
    for value in np.setdiff1d(mask, [VOID_INDEX]):
        rings, levels = cv2.findContours((mask == value).astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
        simple = [cv2.approxPolyDP(ring, TOLERANCE_PX, closed=True)[:, 0] for ring in rings]
        regions = {number: [ring] for number, ring in enumerate(simple) if levels[0][number][3] < 0}
        for ring, level in zip(simple, levels[0], strict=True):
            if level[3] >= 0:
                regions[level[3]].append(ring)
        found += [(region, int(value)) for region in regions.values()]
    return found


def painted(outlines: Outlines, size_hw: tuple[int, int]) -> Mask:
    mask = np.empty(size_hw, np.uint8)
    points = np.concatenate([rings[0] for rings, _ in outlines])
    starts = np.cumsum([0, *(len(rings[0]) for rings, _ in outlines)])
    values = np.array([value for _, value in outlines], np.uint8)
    paint_polygons(mask, VOID_INDEX, points, starts, np.arange(starts.size), values)
    return mask


def painted_by_opencv(outlines: Outlines, size_hw: tuple[int, int]) -> Mask:
    mask = np.full(size_hw, VOID_INDEX, np.uint8)
    for rings, value in sorted(outlines, key=lambda each: -cv2.contourArea(each[0][0])):
        cv2.fillPoly(mask, rings, value)
    return mask


def vertices_of(images: list[Outlines]) -> int:
    return sum(len(ring) for image in images for rings, _ in image for ring in rings)


def mean_iou(a: Mask, b: Mask) -> float:
    """Over the classes of `a`."""
    classes = np.setdiff1d(a, [VOID_INDEX])
    return float(np.mean([np.sum((a == c) & (b == c)) / np.sum((a == c) | (b == c)) for c in classes]))


def trace_all(job: Callable[[Mask], object], masks: list[Mask]) -> None:
    for mask in masks:
        job(mask)


def main(folder: Path) -> None:
    cv2.setNumThreads(1)
    missed = []
    for size, size_hw in SIZES_HW.items():
        masks = [enlarged(mask, size_hw) for mask in camvid_masks(folder, IMAGES[size])]
        if not all(np.array_equal(painted(maskloop(mask, 0.0), size_hw), mask) for mask in masks):
            sys.exit("tolerance 0 does not give a mask back")
        ours, theirs = [maskloop(mask) for mask in masks], [opencv(mask) for mask in masks]
        vertices = [
            sum(len(ring) for image in each for rings, _ in image for ring in rings) / len(masks)
            for each in (ours, theirs)
        ]
        kept = [
            np.mean([mean_iou(mask, paint(image, size_hw)) for mask, image in zip(masks, images, strict=True)])
            for paint, images in ((painted, ours), (painted_by_opencv, theirs))
        ]
        jobs = {"maskloop": partial(trace_all, maskloop, masks), "OpenCV": partial(trace_all, opencv, masks)}
        seconds = medians(jobs, ROUNDS)
        ratio = seconds["OpenCV"] / seconds["maskloop"]
        for index, (name, taken) in enumerate(seconds.items()):
            each = 1000 * taken / len(masks)
            print(f"{size:8} {name:9}{each:8.2f} ms  {vertices[index]:7.0f} vertices  mean IoU {kept[index]:.4f}")
        print(f"{size:8} maskloop is {ratio:.1f}x as fast, tolerance 0 is exact", flush=True)
        if size == "1080p" and ratio < 3:
            missed.append(f"{ratio:.1f}x at {size}, wanted 3x")
        if kept[0] < 0.99 or vertices[0] >= vertices[1]:
            missed.append(f"mean IoU {kept[0]:.4f} with {vertices[0]:.0f} vertices at {size}")
    if missed:
        sys.exit("; ".join(missed))


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else CAMVID))
