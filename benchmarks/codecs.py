"""Mask PNG and brush RLE: times and sizes beside OpenCV's PNG encoder and label-studio-sdk's RLE, in one run.

    python -m benchmarks.codecs [CAMVID_FOLDER]

CamVid masks at 480×360, and enlarged to 1080p and 12 MP; the brush masks are one class of each. Interleaved rounds,
medians. Fails below 4× cv2.imencode, above 1.5× its size, below 10× (encode) or 50× (decode) the SDK, and where the
masks or the SDK's bytes are not met exactly.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from label_studio_sdk.converter.brush import decode_rle, encode_rle

from benchmarks.sized_masks import CAMVID, SIZES_HW, Mask, camvid_masks, enlarged
from benchmarks.timing import medians
from connectors.masks import encode_png
from pipeline.rle import decode_brush, encode_brush

IMAGES = {"480×360": 8, "1080p": 4, "12 MP": 1}
ROUNDS = {"480×360": 7, "1080p": 5, "12 MP": 3}
ALPHA = 3


def png_jobs(masks: list[Mask]) -> tuple[float, dict[str, partial[object]]]:
    """maskloop's size beside OpenCV's, and the jobs. Ends the program if a mask does not come back."""
    ours = [encode_png(mask) for mask in masks]
    for mask, content in zip(masks, ours, strict=True):
        if not np.array_equal(cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED), mask):
            sys.exit("a mask does not come back from its PNG")
    theirs = sum(cv2.imencode(".png", mask)[1].size for mask in masks)

    def encode_all(encode: object) -> None:
        for mask in masks:
            encode(mask)  # type: ignore[operator]

    jobs = {"maskloop": partial(encode_all, encode_png), "cv2": partial(encode_all, partial(cv2.imencode, ".png"))}
    return sum(map(len, ours)) / theirs, jobs


def main(folder: Path) -> None:
    cv2.setNumThreads(1)
    missed = []

    def report(size: str, what: str, jobs: dict[str, partial[object]], peer: str, at_least: float, count: int) -> None:
        seconds = medians(jobs, ROUNDS[size])
        ratio = seconds[peer] / seconds["maskloop"]
        each = ", ".join(f"{name} {1000 * taken / count:.2f} ms" for name, taken in seconds.items())
        print(f"{size:8} {what:11} {each}: {ratio:.1f}x as fast", flush=True)
        if ratio < at_least:
            missed.append(f"{what} {ratio:.1f}x at {size}, wanted {at_least:g}x")

    for size, size_hw in SIZES_HW.items():
        masks = [enlarged(mask, size_hw) for mask in camvid_masks(folder, IMAGES[size])]
        weight, jobs = png_jobs(masks)
        report(size, "PNG", jobs, "cv2", 4, len(masks))
        print(f"{size:8} PNG         {weight:.2f}x OpenCV's size")
        if weight > 1.5:
            missed.append(f"PNG {weight:.2f}x the size at {size}")

        brushes = [mask == np.bincount(mask.ravel(), minlength=256)[:11].argmax() for mask in masks]
        flat = [np.repeat(np.where(brush, 255, 0).astype(np.uint8).ravel(), 4) for brush in brushes]
        encoded = [encode_brush(brush) for brush in brushes]
        for brush, rgba, rle in zip(brushes, flat, encoded, strict=True):
            if rle != bytes(encode_rle(rgba)) or not np.array_equal(decode_brush(rle, size_hw), brush):
                sys.exit("brush RLE differs from the SDK's")
        listed = [list(rle) for rle in encoded]
        jobs = {
            "maskloop": partial(_each, encode_brush, brushes),
            "label-studio-sdk": partial(_each, encode_rle, flat),
        }
        report(size, "RLE encode", jobs, "label-studio-sdk", 10, len(masks))
        jobs = {
            "maskloop": partial(_each, lambda rle, hw=size_hw: decode_brush(rle, hw), encoded),
            "label-studio-sdk": partial(
                _each, lambda rle, hw=size_hw: decode_rle(rle).reshape(*hw, 4)[..., ALPHA] > 127, listed
            ),
        }
        report(size, "RLE decode", jobs, "label-studio-sdk", 50, len(masks))
    if missed:
        sys.exit("; ".join(missed))


def _each(job: object, items: list[object]) -> None:
    for item in items:
        job(item)  # type: ignore[operator]


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else CAMVID))
