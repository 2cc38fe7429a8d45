"""The automatic mask generator against segment_anything's, on the same weights in the same run.

    python -m benchmarks.sam_automatic [--points 4] [--rounds 3]

A random SAM with the decoder of the published ones (256 channels, 1024 px, logits of 256 px) and a small encoder, so
that what is timed is what follows the encoder: grids of points on an image, in interleaved rounds, in seconds of CPU of
one thread (several spin while they wait for each other on a busy machine, which is no work).
The thresholds are set so that about as many masks pass as with trained weights and SAM's defaults. segment_anything
runs with plain stand-ins for the functions of torchvision that it calls. Fails unless both find the same masks.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.sam.automatic import CPU_BATCH, AutomaticOptions, MaskGenerator, point_grid
from pipeline.sam.model import load_segmenter
from tests.original_sam import SamAutomaticMaskGenerator, original_sam

SIDE, WIDTH, EMBEDDED = 1024, 32, 256
SIZES_HW = ((360, 480), (1080, 1920))
PASSING = {"pred_iou": 0.4, "stability": 0.4}
"""Shares of the masks that a trained SAM lets pass by each filter, about."""


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=4, help="points per side of the grid")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "sam_vit_small.pth"
        sam = original_sam(checkpoint, SIDE, WIDTH, EMBEDDED, depth=80.0)
        segmenter = load_segmenter(str(checkpoint), "cpu", "float32")
    print(f"{arguments.points}² points, medians of {arguments.rounds} rounds, CPU seconds, one thread")
    for size_hw in SIZES_HW:
        compare(segmenter, sam, size_hw, arguments.points, arguments.rounds)


def compare(segmenter: Any, sam: Any, size_hw: tuple[int, int], per_side: int, rounds: int) -> None:
    """Print a line for images of this size."""
    image = drawn(size_hw)
    options = thresholds(segmenter, image, per_side)
    ours = MaskGenerator(segmenter, AutomaticOptions(**options))
    theirs = SamAutomaticMaskGenerator(sam, output_mode="coco_rle", **options)
    embedding = segmenter.embed(image)
    points = torch.from_numpy(point_grid(per_side) * [size_hw[1], size_hw[0]])[:, None]

    def decode(prompts: torch.Tensor) -> object:
        return segmenter.decode(embedding, prompts, torch.ones(prompts.shape[:2]))

    found: dict[str, list[Any]] = {}
    tasks: dict[str, Callable[[], object]] = {
        "maskloop": lambda: found.update(ours=ours.generate(image)),
        "segment_anything": lambda: found.update(theirs=theirs.generate(image)),
        "network": lambda: (segmenter.embed(image), decode(points)),
        "network, small batches": lambda: (segmenter.embed(image), [decode(few) for few in points.split(CPU_BATCH)]),
    }
    times: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(rounds):
        for name, task in tasks.items():
            times[name].append(timed(task))
    must_be_equal(found["ours"], found["theirs"])
    mine, other, network, batched = (statistics.median(each) for each in times.values())
    print(
        f"{size_hw[0]}x{size_hw[1]}: {len(found['ours'])} masks; maskloop {mine:.2f} s, "
        f"segment_anything {other:.2f} s, {other / mine:.2f}× as fast; the network alone {batched:.2f} s in "
        f"batches of {CPU_BATCH} and {network:.2f} s in one, so what follows it {max(mine - batched, 0):.2f} s and "
        f"{other - network:.2f} s"
    )


def drawn(size_hw: tuple[int, int]) -> NDArray[np.uint8]:
    """Coloured squares, RGB uint8 (H, W, 3)."""
    colours = np.random.default_rng(0).integers(0, 256, (6, 8, 3))
    return np.kron(colours, np.ones((size_hw[0] // 6, size_hw[1] // 8, 1))).astype(np.uint8)


def thresholds(segmenter: Any, image: NDArray[np.uint8], per_side: int) -> dict[str, Any]:
    """Options by which the shares `PASSING` pass on this image."""
    lenient = {"points_per_side": per_side, "box_nms_thresh": 1.0, "stability_score_thresh": 0.0}
    found = MaskGenerator(segmenter, AutomaticOptions(**lenient, pred_iou_thresh=0.0)).generate(image)
    all_masks = 3 * per_side**2
    by_iou = sorted((item.predicted_iou for item in found), reverse=True)
    least_iou = max(by_iou[min(int(all_masks * PASSING["pred_iou"]), len(by_iou) - 1)], 1e-6)
    stable = sorted((item.stability_score for item in found if item.predicted_iou > least_iou), reverse=True)
    least_stable = stable[int(len(stable) * PASSING["stability"])]
    return {"points_per_side": per_side, "pred_iou_thresh": least_iou, "stability_score_thresh": least_stable}


def timed(run: Callable[[], object]) -> float:
    """CPU seconds it takes."""
    start = time.process_time()
    run()
    return time.process_time() - start


def must_be_equal(ours: list[Any], theirs: list[dict[str, Any]]) -> None:
    """Exit unless both are the same masks in the same order, up to single pixels."""
    if len(ours) != len(theirs):
        raise SystemExit(f"{len(ours)} masks, expected {len(theirs)}")
    for mine, other in zip(ours, theirs, strict=True):
        if abs(mine.area - other["area"]) > max(2, 0.001 * other["area"]):
            raise SystemExit(f"a mask of {mine.area} px, expected {other['area']}")


if __name__ == "__main__":
    main()
