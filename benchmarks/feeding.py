"""CPU time to feed the trainer one augmented sample: maskloop's cache and fast path against the usual data set.

    python -m benchmarks.feeding [CAMVID]

The peer reads image and mask with cv2.imread and passes them through the same albumentations, pad, crop and Normalize,
in a plain loop without a DataLoader's own cost. Both end with what the network takes: the peer in float32 (N, 3, h, w)
on the CPU; ours in uint8 to be normalised on the device, and, in a line of its own, normalised on the CPU too.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"

import albumentations as A
import cv2
import numpy as np
import torch

from benchmarks.camvid_data import CLASSES, camvid_params, camvid_project
from pipeline.dataset import MEAN, STD, TrainingBatches, normalise, read_samples
from pipeline.progress import Silent
from pipeline.sample_cache import decoded
from schemas.labels import VOID_INDEX

SAMPLES = 96
ROUNDS = 5


def main() -> None:
    """Run the benchmark; fails unless the peer takes at least 4 times the CPU time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("camvid", nargs="?", type=Path, default=Path("../shared/camvid"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if (arguments.camvid / "trainannot").is_dir():
            camvid_project(arguments.camvid, folder)
        else:
            print("CamVid is not here: drawn noise instead, which decodes more slowly")
            draw(folder / "camvid")
            camvid_project(folder / "camvid", folder)
        compare(folder)


def draw(camvid: Path) -> None:
    """Images and masks laid out as CamVid is."""
    random = np.random.default_rng(0)
    for split in ("train", "val"):
        for name in (split, f"{split}annot"):
            (camvid / name).mkdir(parents=True)
        for index in range(SAMPLES if split == "train" else 1):
            image = random.integers(0, 256, (360, 480, 3), np.uint8)
            mask = np.kron(random.integers(0, 11, (18, 24)).astype(np.uint8), np.ones((20, 20), np.uint8))
            cv2.imwrite(str(camvid / split / f"a_{index:03}.png"), image)
            cv2.imwrite(str(camvid / f"{split}annot" / f"a_{index:03}.png"), mask)


def compare(folder: Path) -> None:
    """Print CPU milliseconds per sample of each."""
    options = camvid_params({}).train
    samples = read_samples(folder, len(CLASSES))["train"][:SAMPLES]
    started = time.process_time()
    (pairs,) = decoded(folder, [samples], options.size_hw, 10, Silent())
    print(f"building the cache, once: {1e3 * (time.process_time() - started) / len(samples):.2f} ms per sample")
    batches = TrainingBatches(pairs, options)
    general = TrainingBatches(pairs, options.model_copy(update={"augment": [*options.augment, {"NoOp": {}}]}))
    height, width = options.window_hw
    usual = A.Compose(
        [
            *(getattr(A, name)(**arguments) for each in options.augment for name, arguments in each.items()),
            A.PadIfNeeded(height, width, border_mode=0, fill=0, fill_mask=VOID_INDEX),
            A.RandomCrop(height, width),
            A.Normalize(MEAN, STD),
        ]
    )

    def peer() -> Any:
        for sample in samples:
            image = cv2.cvtColor(cv2.imread(str(sample.image)), cv2.COLOR_BGR2RGB)
            mask = cv2.imread(str(sample.mask), cv2.IMREAD_GRAYSCALE)
            result = usual(image=image, mask=mask)
            torch.from_numpy(result["image"].transpose(2, 0, 1).copy())

    def normalised() -> Any:
        for images, _ in batches.epoch(0):
            normalise(images, MEAN, STD)

    jobs: dict[str, Callable[[], Any]] = {
        "maskloop: cache, crop first, uint8": lambda: list(batches.epoch(0)),
        "maskloop, normalised on the CPU": normalised,
        "maskloop: cache, albumentations, uint8": lambda: list(general.epoch(0)),
        "cv2.imread, albumentations, Normalize": peer,
    }
    taken: dict[str, list[float]] = {name: [] for name in jobs}
    for counts in (False, *[True] * ROUNDS):
        for name, job in jobs.items():
            started = time.process_time()
            job()
            if counts:
                taken[name].append(1e3 * (time.process_time() - started) / len(samples))
    ours = median(taken["maskloop: cache, crop first, uint8"])
    for name, times in taken.items():
        print(f"{name:40} {median(times):6.3f} ms CPU per sample, {median(times) / ours:5.1f}×")
    assert median(taken["cv2.imread, albumentations, Normalize"]) >= 4 * ours, "less than 4 times fewer"


if __name__ == "__main__":
    main()
