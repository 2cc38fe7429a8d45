"""Mask PNG and brush RLE: times and sizes beside OpenCV's PNG encoder and label-studio-sdk's RLE, in one run.

    python -m benchmarks.codecs [CAMVID_FOLDER]

CamVid masks at 480×360, and enlarged to 1080p and 12 MP; the brush masks are the largest class of each. Interleaved
rounds, medians. Fails below 4× cv2.imencode, above 1.5× its size, below 10× (encode) or 50× (decode) the SDK, and where
a mask does not come back or the SDK's bytes are not met exactly.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
from label_studio_sdk.converter.brush import decode_rle, encode_rle

from benchmarks.sized_masks import CAMVID, SIZES_HW, camvid_masks, enlarged
from benchmarks.timing import medians
from connectors.masks import encode_png
from pipeline.rle import decode_brush, encode_brush
from schemas.labels import VOID_INDEX

Item = TypeVar("Item")

IMAGES = {"480×360": 8, "1080p": 4, "12 MP": 1}
ROUNDS = 5
ALPHA = 3
MOST_OF_SIZE = 1.5


def each(job: Callable[[Item], object], items: Sequence[Item]) -> Callable[[], object]:
    return lambda: [job(item) for item in items]


def main(folder: Path) -> None:
    cv2.setNumThreads(1)
    missed = []

    def compare(what: str, ours: Callable[[], object], theirs: Callable[[], object], at_least: float) -> None:
        seconds = medians({"maskloop": ours, "peer": theirs}, ROUNDS)
        ratio = seconds["peer"] / seconds["maskloop"]
        mine, others = (1000 * taken / len(masks) for taken in seconds.values())
        print(f"{size:8} {what}: maskloop {mine:.2f} ms, {others:.2f} ms: {ratio:.1f}x as fast", flush=True)
        if ratio < at_least:
            missed.append(f"{what} {ratio:.1f}x at {size}, wanted {at_least:g}x")

    for size, size_hw in SIZES_HW.items():
        masks = [enlarged(mask, size_hw) for mask in camvid_masks(folder, IMAGES[size])]
        ours = [encode_png(mask) for mask in masks]
        decoded = [cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED) for content in ours]
        if not all(map(np.array_equal, decoded, masks)):
            sys.exit("a mask does not come back from its PNG")
        share = sum(map(len, ours)) / sum(cv2.imencode(".png", mask)[1].size for mask in masks)
        compare("PNG, beside cv2.imencode", each(encode_png, masks), each(partial(cv2.imencode, ".png"), masks), 4)
        print(f"{size:8} PNG: {share:.2f}x the size")
        if share > MOST_OF_SIZE:
            missed.append(f"PNG {share:.2f}x the size at {size}")

        largest = [np.bincount(mask[mask != VOID_INDEX]).argmax() for mask in masks]
        brushes = [mask == index for mask, index in zip(masks, largest, strict=True)]
        words = [np.repeat(np.where(brush, np.uint8(255), np.uint8(0)).ravel(), 4) for brush in brushes]
        encoded = [encode_brush(brush) for brush in brushes]
        if encoded != [bytes(encode_rle(rgba)) for rgba in words]:
            sys.exit("brush RLE differs from the SDK's")

        def ours_decode(rle: bytes, size_hw: tuple[int, int] = size_hw) -> object:
            return decode_brush(rle, size_hw)

        def theirs_decode(rle: list[int], size_hw: tuple[int, int] = size_hw) -> object:
            return decode_rle(rle).reshape(*size_hw, 4)[..., ALPHA] > 127

        listed = [list(rle) for rle in encoded]
        if not all(map(np.array_equal, map(ours_decode, encoded), map(theirs_decode, listed))):
            sys.exit("a brush mask is not what the SDK decodes")
        compare("RLE encode, beside the SDK", each(encode_brush, brushes), each(encode_rle, words), 10)
        compare("RLE decode, beside the SDK", each(ours_decode, encoded), each(theirs_decode, listed), 50)
    if missed:
        sys.exit("; ".join(missed))


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else CAMVID))
