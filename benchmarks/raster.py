"""Polygons → class-index mask: images per second of maskloop, OpenCV and PIL on CamVid's contours, in one run.

    python -m benchmarks.raster [CAMVID_FOLDER]

Interleaved rounds, medians. Each peer gets its own input format ready-made; only painting is timed.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from pipeline.scanline import paint_polygons
from schemas.labels import VOID_INDEX

ROUNDS = 15
IMAGES = 40
CAMVID_VOID = 11

Mask = NDArray[np.uint8]
Outlines = list[tuple[NDArray[np.int32], int]]


def contours(mask: Mask) -> Outlines:
    """OpenCV's contours of every class (int32 (N, 2) pixels) with their class indices."""
    found: Outlines = []
    for value in np.setdiff1d(mask, [CAMVID_VOID]):
        outlines, _ = cv2.findContours((mask == value).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
        found += [(outline[:, 0], int(value)) for outline in outlines if len(outline) >= 3]
    return found


def maskloop_painter(outlines: Outlines, size_hw: tuple[int, ...]) -> Callable[[], Mask]:
    points = np.concatenate([outline for outline, _ in outlines]).astype(np.float64)
    starts = np.cumsum([0, *(len(outline) for outline, _ in outlines)])
    regions, values = np.arange(starts.size), np.array([value for _, value in outlines], np.uint8)

    def draw() -> Mask:
        mask = np.full(size_hw, VOID_INDEX, np.uint8)
        paint_polygons(mask, points, starts, regions, values)
        return mask

    return draw


def opencv_painter(outlines: Outlines, size_hw: tuple[int, ...]) -> Callable[[], Mask]:
    def draw() -> Mask:
        mask = np.full(size_hw, VOID_INDEX, np.uint8)
        for outline, value in outlines:
            cv2.fillPoly(mask, [outline], value)
        return mask

    return draw


def pil_painter(outlines: Outlines, size_hw: tuple[int, ...]) -> Callable[[], Mask]:
    listed = [(outline.ravel().tolist(), value) for outline, value in outlines]

    def draw() -> Mask:
        image = Image.new("L", (size_hw[1], size_hw[0]), VOID_INDEX)
        pencil = ImageDraw.Draw(image)
        for outline, value in listed:
            pencil.polygon(outline, fill=value)
        return np.asarray(image)

    return draw


PAINTERS = {"maskloop": maskloop_painter, "cv2.fillPoly": opencv_painter, "PIL": pil_painter}


def main(folder: Path) -> None:
    files = sorted((folder / "trainannot").glob("*.png"))[:IMAGES]
    if not files:
        sys.exit(f"{folder} has no trainannot/*.png; give the CamVid folder as argument")
    cv2.setNumThreads(1)
    masks = [np.array(Image.open(file)) for file in files]
    outlines = [contours(mask) for mask in masks]
    polygons, points = sum(map(len, outlines)), sum(len(outline) for image in outlines for outline, _ in image)
    print(f"{len(files)} images, {polygons / len(files):.0f} polygons and {points / len(files):.0f} points each")
    jobs = {
        name: [painter(image, mask.shape) for image, mask in zip(outlines, masks, strict=True)]
        for name, painter in PAINTERS.items()
    }
    jobs["maskloop"][0]()  # compile
    seconds: dict[str, list[float]] = {name: [] for name in jobs}
    for _ in range(ROUNDS):
        for name, draws in jobs.items():
            start = time.perf_counter()
            for draw in draws:
                draw()
            seconds[name].append(time.perf_counter() - start)
    ours = statistics.median(seconds["maskloop"])
    for name, taken in seconds.items():
        median = statistics.median(taken)
        print(f"{name:14}{len(files) / median:8.0f} images/s   maskloop is {median / ours:.2f}x as fast")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "../shared/camvid"))
