"""Samples as the network sees them: listed from the manifest, decoded once into RAM, cut into seeded batches."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from connectors.images import open_rgb
from connectors.masks import read_mask
from connectors.storage import read_table
from pipeline.augment import Augmenter
from pipeline.progress import Progress
from schemas.errors import DataError
from schemas.labels import VOID_INDEX
from schemas.manifest import MANIFEST, MANIFEST_SCHEMA, SPLITS
from schemas.params import TrainParams

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True, slots=True)
class Sample:
    """One row of the manifest. `class_pixels`: labelled pixels per class index, of `height` × `width`."""

    task_id: int
    image: Path
    mask: Path
    height: int
    width: int
    class_pixels: tuple[int, ...]
    inputs_sha256: str


def read_samples(folder: Path, classes: int) -> dict[str, list[Sample]]:
    """Samples by split, in task order. Raises DataError if the manifest is missing, not split, or of other classes."""
    samples: dict[str, list[Sample]] = {split: [] for split in SPLITS}
    for row in sorted(read_table(folder / MANIFEST, MANIFEST_SCHEMA).to_pylist(), key=lambda row: row["task_id"]):
        if row["split"] not in samples:
            raise DataError(f"{folder / MANIFEST}: task {row['task_id']} has no split", "Run `dvc repro`.")
        if len(row["class_pixels"]) != classes:
            found = f"{folder / MANIFEST} was made for {len(row['class_pixels'])} classes"
            raise DataError(f"{found}, params.yaml has {classes}", "Run `dvc repro`.")
        samples[row["split"]].append(
            Sample(
                task_id=row["task_id"],
                image=folder / row["image"],
                mask=folder / row["mask"],
                height=row["height"],
                width=row["width"],
                class_pixels=tuple(row["class_pixels"]),
                inputs_sha256=hashlib.sha256(f"{row['image_sha256']} {row['inputs_sha256']}".encode()).hexdigest(),
            )
        )
    return samples


def require(samples: dict[str, list[Sample]], splits: Sequence[str]) -> None:
    """Raise DataError, with the counts, unless each of `splits` has a sample with a labelled pixel."""
    for split in splits:
        if not any(sum(sample.class_pixels) for sample in samples[split]):
            found = ", ".join(f"{len(samples[name])} in {name}" for name in SPLITS)
            what = "labelled pixel" if samples[split] else "sample"
            raise DataError(
                f"there is no {what} in the {split} split (samples found: {found})",
                "Annotate more images (of more than one group), or change the shares in `split` in params.yaml.",
            )


def digest(samples: dict[str, list[Sample]]) -> str:
    """SHA-256 of what a model learns from: images, masks' inputs and splits of train and val."""
    lines = [f"{split} {sample.inputs_sha256}" for split in ("train", "val") for sample in samples[split]]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def load_image(sample: Sample, size_hw: tuple[int, int]) -> NDArray[np.uint8]:
    """The image at `size_hw`, uint8 (h, w, 3) in [0, 255], with antialiasing. Raises ImageError."""
    image = open_rgb(sample.image)
    return image if image.shape[:2] == size_hw else resize_image(image, size_hw)


def resize_image(image: NDArray[np.uint8], size_hw: tuple[int, int]) -> NDArray[np.uint8]:
    """Bilinear resize with antialiasing, uint8 (H, W, 3) → (h, w, 3)."""
    resized = Image.fromarray(image).resize(size_hw[::-1], Image.Resampling.BILINEAR, reducing_gap=2.0)
    return np.asarray(resized)


def load_mask(sample: Sample) -> NDArray[np.uint8]:
    """The mask at full size, uint8 (H, W). Raises DataError if it has another size or impossible values."""
    mask = read_mask(sample.mask)
    if mask.shape != (sample.height, sample.width):
        found, expected = "x".join(map(str, mask.shape)), f"{sample.height}x{sample.width}"
        raise DataError(f"{sample.mask} is {found}, expected {expected} (height x width)", "Run `dvc repro`.")
    classes = len(sample.class_pixels)
    wrong = mask[(mask >= classes) & (mask != VOID_INDEX)]
    if wrong.size:
        raise DataError(
            f"{sample.mask} holds the value {wrong[0]}, expected 0..{classes - 1} or {VOID_INDEX}", "Run `dvc repro`."
        )
    return mask


def load_images(
    samples: Sequence[Sample], size_hw: tuple[int, int], progress: Progress, what: str
) -> NDArray[np.uint8]:
    """All images at `size_hw`, uint8 (N, h, w, 3) in [0, 255]."""
    images = np.empty((len(samples), *size_hw, 3), np.uint8)
    for index, sample in enumerate(progress.track(samples, len(samples), f"decoding {what} images")):
        images[index] = load_image(sample, size_hw)
    return images


def load_masks(samples: Sequence[Sample], size_hw: tuple[int, int]) -> NDArray[np.uint8]:
    """All masks at `size_hw` by nearest neighbour, uint8 (N, h, w): class index or 255."""
    masks = np.empty((len(samples), *size_hw), np.uint8)
    for index, sample in enumerate(samples):
        mask = Image.fromarray(load_mask(sample))
        masks[index] = np.asarray(mask.resize(size_hw[::-1], Image.Resampling.NEAREST))
    return masks


class TrainingBatches:
    """Augmented batches of the train split; what a batch holds depends on (seed, epoch, position) alone."""

    def __init__(self, images: NDArray[np.uint8], masks: NDArray[np.uint8], params: TrainParams) -> None:
        """`images` uint8 (N, h, w, 3), `masks` uint8 (N, h, w). Raises ParamsError if `train.augment` is wrong."""
        self._images, self._masks, self._params = images, masks, params
        self._augment = Augmenter(params.augment, params.window_hw)
        self.steps = -(-len(images) // params.batch_size)

    def epoch(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches of (images, uint8 (B, h, w, 3)) and (masks, uint8 (B, h, w)), every sample once.

        All have the same size: where the samples do not fill the last one, the order starts anew.
        """
        size, seed = self._params.batch_size, self._params.seed
        order = np.resize(np.random.default_rng([seed, epoch]).permutation(len(self._images)), self.steps * size)
        for start in range(0, len(order), size):
            pairs = [
                self._augment(self._images[index], self._masks[index], sample_seed(seed, epoch, start + offset))
                for offset, index in enumerate(order[start : start + size])
            ]
            images, masks = zip(*pairs, strict=True)
            yield torch.from_numpy(np.stack(images)), torch.from_numpy(np.stack(masks))


def sample_seed(seed: int, epoch: int, position: int) -> int:
    """Seed of one augmentation, 0..2³²-1."""
    return int(np.random.SeedSequence([seed, epoch, position]).generate_state(1)[0])


def normalise(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """uint8 (N, H, W, 3) in [0, 255] → float (N, 3, H, W), channels last in memory, on the images' device."""
    scale = torch.tensor(std, device=images.device) * 255
    shift = torch.tensor(mean, device=images.device) * 255
    return ((images.float() - shift) / scale).permute(0, 3, 1, 2)
