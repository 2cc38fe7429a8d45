"""Confusion matrix and all scores of a mask against its peers, one thread, interleaved rounds, counts compared.

    python -m benchmarks.metrics [CAMVID]

Masks are CamVid's val labels (drawn blocks without it) and themselves shifted by 2 px; 1080p is drawn.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch
from numpy.typing import NDArray
from torchmetrics.functional.classification import multiclass_confusion_matrix

from benchmarks.timing import medians
from connectors.masks import read_mask
from pipeline.meter import Meter
from pipeline.metrics import confusion_matrix
from schemas.labels import VOID_INDEX

CLASSES = 11
MASKS = 8
ROUNDS = 9


def main() -> None:
    """Run the benchmark; fails unless all counts agree and torchmetrics takes at least 10 times as long."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("camvid", nargs="?", type=Path, default=Path("../shared/camvid"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    paths = sorted((arguments.camvid / "valannot").glob("*.png"))[:MASKS]
    small = [read_mask(path) for path in paths] or [drawn((360, 480), seed) for seed in range(MASKS)]
    print("480×360:", "CamVid's labels" if paths else "drawn")
    ratios = [compare("480×360", small), compare("1080p", [drawn((1080, 1920), seed) for seed in range(2)])]
    assert min(ratios) >= 10, "less than 10 times torchmetrics"


def drawn(size_hw: tuple[int, int], seed: int) -> NDArray[np.uint8]:
    """Blocks of 20 px, some of them void."""
    blocks = np.random.default_rng(seed).integers(0, CLASSES + 1, (size_hw[0] // 20, size_hw[1] // 20)).astype(np.uint8)
    return np.kron(blocks, np.ones((20, 20), np.uint8))


def compare(size: str, masks: list[NDArray[np.uint8]]) -> float:
    """Print images/s of each; returns how many times as long torchmetrics takes as maskloop."""
    actual = [np.where(mask >= CLASSES, VOID_INDEX, mask).astype(np.uint8) for mask in masks]
    predicted = [np.minimum(np.roll(mask, 2, 1), CLASSES - 1) for mask in masks]
    pairs = list(zip(actual, predicted, strict=True))
    tensors = [(torch.from_numpy(a), torch.from_numpy(p)) for a, p in pairs]
    confidence = torch.rand(actual[0].shape)

    def ours() -> object:
        return sum(confusion_matrix(a, p, CLASSES) for a, p in pairs)

    def torchmetrics() -> object:
        return sum(multiclass_confusion_matrix(p, a, CLASSES, ignore_index=VOID_INDEX) for a, p in tensors)

    def meter() -> object:
        scores = Meter(CLASSES, torch.device("cpu"))
        for a, p in tensors:
            scores.update(a, p, confidence)
        return scores.confusion()

    jobs: dict[str, Callable[[], object]] = {
        "maskloop, confusion matrix": ours,
        "torchmetrics, confusion matrix": torchmetrics,
        "maskloop, all scores (with boundaries, calibration)": meter,
    }
    for job in (torchmetrics, meter):
        np.testing.assert_array_equal(np.asarray(job()), ours())
    seconds = medians(jobs, ROUNDS)
    best = seconds["maskloop, confusion matrix"]
    for name, taken in seconds.items():
        print(f"{size:8} {name:52} {len(pairs) / taken:8.0f} images/s {taken / best:8.1f}×")
    return seconds["torchmetrics, confusion matrix"] / best


if __name__ == "__main__":
    main()
