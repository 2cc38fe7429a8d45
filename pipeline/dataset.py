"""Samples as the network sees them: listed from the manifest, decoded, and cut into seeded batches."""

from __future__ import annotations

import copy
import hashlib
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from connectors.images import open_rgb
from connectors.masks import read_mask
from connectors.storage import read_table
from pipeline.assigned import HUMAN, sources_path
from pipeline.augment import Augmenter
from pipeline.prefetch import prefetched
from schemas.errors import DataError, ParamsError
from schemas.labels import VOID_INDEX
from schemas.manifest import MANIFEST, MANIFEST_SCHEMA, SPLITS
from schemas.params import TrainParams

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True, slots=True)
class Sample:
    """One row of the manifest. `class_pixels`: labelled pixels per class index, of `height` × `width`.

    `sources`: where it is to be measured on what people labelled alone, the mask of whose each pixel is.
    """

    task_id: int
    image: Path
    mask: Path
    height: int
    width: int
    class_pixels: tuple[int, ...]
    inputs_sha256: str
    sources: Path | None = None


def read_samples(folder: Path, classes: int) -> dict[str, list[Sample]]:
    """Samples by split, in task order. Raises DataError if the manifest is missing, not split, or of other classes."""
    samples: dict[str, list[Sample]] = {split: [] for split in SPLITS}
    for row in sorted(read_table(folder / MANIFEST, MANIFEST_SCHEMA).to_pylist(), key=lambda row: row["task_id"]):
        if row["split"] not in samples:
            raise DataError(f"{folder / MANIFEST}: task {row['task_id']} has no split", "Run `dvc repro`.")
        if len(row["class_pixels"]) != classes:
            found = f"{folder / MANIFEST} was made for {len(row['class_pixels'])} classes"
            raise DataError(f"{found}, params.yaml has {classes}", "Run `dvc repro`.")
        is_filled = any((row["source_pixels"] or {}).get(source) for source in ("sam", "model"))
        sources = folder / sources_path(row["task_id"]) if is_filled and row["split"] != "train" else None
        decisive = [row["image_sha256"], row["inputs_sha256"], *(["human"] if sources else [])]
        samples[row["split"]].append(
            Sample(
                task_id=row["task_id"],
                image=folder / row["image"],
                mask=folder / row["mask"],
                height=row["height"],
                width=row["width"],
                class_pixels=tuple(row["class_pixels"]),
                inputs_sha256=hashlib.sha256(" ".join(decisive).encode()).hexdigest(),
                sources=sources,
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
    if sample.sources is not None:
        mask[read_mask(sample.sources) != HUMAN] = VOID_INDEX
    return mask


def load_mask_resized(sample: Sample, size_hw: tuple[int, int]) -> NDArray[np.uint8]:
    """The mask at `size_hw` by nearest neighbour, uint8 (h, w): class index or 255. Raises DataError."""
    mask = Image.fromarray(load_mask(sample))
    return np.asarray(mask.resize(size_hw[::-1], Image.Resampling.NEAREST))


class Pairs(Protocol):
    """Decoded samples: images, uint8 (h, w, 3), each with its mask, uint8 (h, w)."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]: ...


class TrainingBatches:
    """Augmented batches of the train split; what a batch holds depends on (seed, epoch, position) alone."""

    def __init__(
        self,
        pairs: Pairs,
        params: TrainParams,
        workers: int = 0,
        pinned: bool = False,
        share: int = 0,
        shares: int = 1,
    ) -> None:
        """`pairs` at `train.size_hw`; `workers` threads prepare batches ahead, `pinned` in memory that a GPU reads.

        Of every batch it gives the `share`-th, 0..shares-1, of `shares` equal parts, in which it lies in one piece.
        Raises ParamsError if `train.augment` is wrong or the batch has no such parts.
        """
        if params.batch_size % (shares * params.accumulate):
            raise ParamsError(
                f"train.batch_size is {params.batch_size}, which {shares} processes can't take in equal shares of "
                f"{params.accumulate} equal parts (train.accumulate)",
                f"Make `train.batch_size` a multiple of {shares * params.accumulate}.",
            )
        self._share_size = params.batch_size // shares
        self._first = share * self._share_size
        self._pairs, self._params, self._workers, self._pinned = pairs, params, workers, pinned
        self._augment = Augmenter(params.augment, params.size_hw, params.window_hw)
        self._own = threading.local()  # an Augmenter serves one thread
        self.steps = -(-len(pairs) // params.batch_size)

    def epoch(self, epoch: int, step: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches from the `step`-th on: images, uint8 (B, h, w, 3), and masks, uint8 (B, h, w), every sample once.

        All have the same size: where the samples do not fill the last one, the order starts anew.
        """
        size, seed = self._params.batch_size, self._params.seed
        order = np.resize(np.random.default_rng([seed, epoch]).permutation(len(self._pairs)), self.steps * size)

        def batch(start: int) -> tuple[Tensor, Tensor]:
            mine = range(start + self._first, start + self._first + self._share_size)
            return self._batch(order[mine.start : mine.stop], [sample_seed(seed, epoch, place) for place in mine])

        return prefetched(batch, range(step * size, len(order), size), self._workers)

    def _batch(self, indices: NDArray[np.int64], seeds: Sequence[int]) -> tuple[Tensor, Tensor]:
        if not hasattr(self._own, "augment"):
            self._own.augment = copy.deepcopy(self._augment)
        shape = (len(seeds), *self._params.window_hw)
        images = torch.empty((*shape, 3), dtype=torch.uint8, pin_memory=self._pinned)
        masks = torch.empty(shape, dtype=torch.uint8, pin_memory=self._pinned)
        for image, mask, index, seed in zip(images.numpy(), masks.numpy(), indices, seeds, strict=True):
            image[:], mask[:] = self._own.augment(*self._pairs[index], seed)
        return images, masks


def sample_seed(seed: int, epoch: int, position: int) -> int:
    """Seed of one augmentation, 0..2³²-1."""
    return int(np.random.SeedSequence([seed, epoch, position]).generate_state(1)[0])


def normalise(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """uint8 (N, H, W, 3) in [0, 255] → float (N, 3, H, W), channels last in memory, on the images' device."""
    scale = torch.tensor(std, device=images.device) * 255
    shift = torch.tensor(mean, device=images.device) * 255
    return ((images.float() - shift) / scale).permute(0, 3, 1, 2)
