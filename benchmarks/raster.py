"""Polygons → class-index mask: images per second of maskloop and its peers on CamVid's contours, in one run.

    python -m benchmarks.raster [CAMVID_FOLDER]

At 480×360, and enlarged to 1080p and 12 MP. Interleaved rounds, medians, one thread. Each peer gets its own input
format ready-made, and clears one canvas to void and paints on it, image by image; only that is timed. Fails below 1.3×
cv2.fillPoly, 10× rasterio or 50× pycocotools. rasterio and supervision take part where they are installed.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from pycocotools import mask as coco

from benchmarks.sized_masks import CAMVID, SIZES_HW, camvid_masks, enlarged
from benchmarks.timing import medians
from pipeline.scanline import paint_polygons
from schemas.labels import VOID_INDEX

IMAGES = {"480×360": 20, "1080p": 6, "12 MP": 2}
ROUNDS = 9
AT_LEAST = {"cv2.fillPoly": 1.3, "rasterio": 10, "pycocotools": 50}

Mask = NDArray[np.uint8]
Outlines = Sequence[tuple[NDArray[np.int32], int]]
Draw = Callable[[Mask], None]


def contours(mask: Mask) -> Outlines:
    """OpenCV's contours of every class (int32 (N, 2) pixels) with their class indices."""
    found = []
    for value in np.setdiff1d(mask, [VOID_INDEX]):
        outlines, _ = cv2.findContours((mask == value).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
        found += [(outline[:, 0], int(value)) for outline in outlines if len(outline) >= 3]
    return found


def maskloop(outlines: Outlines) -> Draw:
    points = np.concatenate([outline for outline, _ in outlines]).astype(np.float64)
    starts = np.cumsum([0, *(len(outline) for outline, _ in outlines)])
    values = np.array([value for _, value in outlines], np.uint8)
    return lambda mask: paint_polygons(mask, VOID_INDEX, points, starts, np.arange(starts.size), values)


def opencv(outlines: Outlines) -> Draw:
    def draw(mask: Mask) -> None:
        for outline, value in outlines:
            cv2.fillPoly(mask, [outline], value)

    return draw


def pillow(outlines: Outlines) -> Draw:
    listed = [(outline.ravel().tolist(), value) for outline, value in outlines]

    def draw(mask: Mask) -> None:
        image = Image.fromarray(mask)
        pencil = ImageDraw.Draw(image)
        for outline, value in listed:
            pencil.polygon(outline, fill=value)

    return draw


def pycocotools(outlines: Outlines) -> Draw:
    listed = [([outline.ravel().astype(float).tolist()], value) for outline, value in outlines]

    def draw(mask: Mask) -> None:
        for outline, value in listed:
            mask[coco.decode(coco.merge(coco.frPyObjects(outline, *mask.shape))).view(bool)] = value

    return draw


def rasterio(outlines: Outlines) -> Draw:
    features = importlib.import_module("rasterio.features")
    shapes = [
        ({"type": "Polygon", "coordinates": [[*outline.tolist(), outline[0].tolist()]]}, value)
        for outline, value in outlines
    ]
    return lambda mask: features.rasterize(shapes, out=mask)


def supervision(outlines: Outlines) -> Draw:
    polygon_to_mask = importlib.import_module("supervision").polygon_to_mask

    def draw(mask: Mask) -> None:
        for outline, value in outlines:
            mask[polygon_to_mask(outline, mask.shape[::-1]).astype(bool)] = value

    return draw


def on_void(painter: Callable[[Outlines], Draw]) -> Callable[[Outlines], Draw]:
    """A peer that clears the canvas before it paints; maskloop does both together."""

    def prepare(outlines: Outlines) -> Draw:
        draw = painter(outlines)

        def clear_and_draw(mask: Mask) -> None:
            mask.fill(VOID_INDEX)
            draw(mask)

        return clear_and_draw

    return prepare


PEERS = {
    "cv2.fillPoly": opencv,
    "PIL": pillow,
    "pycocotools": pycocotools,
    "rasterio": rasterio,
    "supervision": supervision,
}


def paint_all(draws: Sequence[Draw], canvas: Mask) -> None:
    for draw in draws:
        draw(canvas)


def main(folder: Path) -> None:
    cv2.setNumThreads(1)
    painters = {"maskloop": maskloop} | {
        name: on_void(painter)
        for name, painter in PEERS.items()
        if name not in ("rasterio", "supervision") or importlib.util.find_spec(name)
    }
    missed = []
    for size, size_hw in SIZES_HW.items():
        outlines = [contours(enlarged(mask, size_hw)) for mask in camvid_masks(folder, IMAGES[size])]
        polygons, points = sum(map(len, outlines)), sum(len(outline) for image in outlines for outline, _ in image)
        count = len(outlines)
        print(f"{size}: {count} images, {polygons / count:.0f} polygons and {points / count:.0f} points each")
        canvas = np.empty(size_hw, np.uint8)
        jobs = {
            name: partial(paint_all, [painter(image) for image in outlines], canvas)
            for name, painter in painters.items()
        }
        seconds = medians(jobs, ROUNDS)
        for name, taken in seconds.items():
            ratio = taken / seconds["maskloop"]
            print(f"  {name:14}{count / taken:9.1f} images/s   maskloop is {ratio:.1f}x as fast", flush=True)
            if ratio < AT_LEAST.get(name, 0):
                missed.append(f"{ratio:.1f}x {name} at {size}, wanted {AT_LEAST[name]}x")
    if missed:
        sys.exit("; ".join(missed))


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else CAMVID))
