"""Samples decoded once: images and masks at the network's size as memory-mapped uint8 under `.maskloop/cache`.

A cache is a folder of `images.npy`, `masks.npy` and `rows.json`, named by the hash of what is in it: the size and what
each sample was made from. It gets its name when it is whole, so a killed build leaves none and is done again.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from connectors.storage import read_json, replacing_folder, write_json
from pipeline.dataset import Sample, load_image, load_mask_resized
from pipeline.progress import Progress
from schemas.errors import DataError
from schemas.manifest import SCRATCH_DIR

CACHE_DIR = SCRATCH_DIR / "cache"
VERSION = 1
BYTES_PER_PIXEL = 4

Pair = tuple[NDArray[np.uint8], NDArray[np.uint8]]


@dataclass(frozen=True, slots=True)
class CachedSamples:
    """Samples in a cache: `images` uint8 (M, h, w, 3), `masks` uint8 (M, h, w), and where in them each sample is."""

    images: NDArray[np.uint8]
    masks: NDArray[np.uint8]
    rows: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Pair:
        """The image, uint8 (h, w, 3), and the mask, uint8 (h, w), of a sample."""
        return self.images[self.rows[index]], self.masks[self.rows[index]]


@dataclass(frozen=True, slots=True)
class UncachedSamples:
    """Samples that are decoded each time they are asked for."""

    samples: Sequence[Sample]
    size_hw: tuple[int, int]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Pair:
        """The image, uint8 (h, w, 3), and the mask, uint8 (h, w), of a sample. Raises ImageError, DataError."""
        return load_image(self.samples[index], self.size_hw), load_mask_resized(self.samples[index], self.size_hw)


DecodedSamples = CachedSamples | UncachedSamples


def decoded(
    folder: Path, parts: Sequence[Sequence[Sample]], size_hw: tuple[int, int], limit_gb: float, progress: Progress
) -> list[DecodedSamples]:
    """Each of `parts` (splits, say) decoded at `size_hw`, from one cache, which is built if it isn't there.

    All caches together stay below `limit_gb`: the ones used longest ago go first, and samples that need more than that
    are decoded each time instead. Raises ImageError or DataError for a sample that can't be read.
    """
    samples = {sample.inputs_sha256: sample for part in parts for sample in part}
    names = sorted(samples)
    size = len(names) * size_hw[0] * size_hw[1] * BYTES_PER_PIXEL
    if size > limit_gb * 1e9:
        progress.say(f"decoded samples need {size / 1e9:.1f} GB, train.cache_gb is {limit_gb:g}: they aren't kept")
        return [UncachedSamples(part, size_hw) for part in parts]
    text = json.dumps([VERSION, size_hw, names])
    path = folder / CACHE_DIR / hashlib.sha256(text.encode()).hexdigest()[:24]
    arrays = _open(path)
    if arrays is None:
        _make_room(path.parent, limit_gb * 1e9 - size)
        _build(path, [samples[name] for name in names], size_hw, progress)
        arrays = _open(path)
    if arrays is None:
        raise DataError(f"{path} can't be read back", "Is the disk full or failing?")
    os.utime(path)
    rows = {name: row for row, name in enumerate(names)}
    return [CachedSamples(*arrays, tuple(rows[sample.inputs_sha256] for sample in part)) for part in parts]


def _open(path: Path) -> Pair | None:
    """Images and masks of a cache, mapped into memory; None if there is none, or if it is damaged."""
    try:
        return np.load(path / "images.npy", mmap_mode="r"), np.load(path / "masks.npy", mmap_mode="r")
    except (FileNotFoundError, EOFError, ValueError):
        return None


def _build(path: Path, samples: Sequence[Sample], size_hw: tuple[int, int], progress: Progress) -> None:
    """Decode samples into a cache, or copy them from another of the same size."""
    known = _known_rows(path.parent, size_hw)
    with replacing_folder(path) as temporary:
        images = _new(temporary / "images.npy", (len(samples), *size_hw, 3))
        masks = _new(temporary / "masks.npy", (len(samples), *size_hw))
        fresh = UncachedSamples(samples, size_hw)
        for index, sample in enumerate(progress.track(samples, len(samples), "decoding images")):
            images[index], masks[index] = known.get(sample.inputs_sha256) or fresh[index]
        images.flush()
        masks.flush()
        rows = [sample.inputs_sha256 for sample in samples]
        write_json(temporary / "rows.json", {"version": VERSION, "size_hw": size_hw, "rows": rows})


def _new(path: Path, shape: tuple[int, ...]) -> np.memmap[Any, np.dtype[np.uint8]]:
    return open_memmap(path, "w+", np.uint8, shape)  # type: ignore[no-untyped-call, no-any-return]


def _known_rows(cache: Path, size_hw: tuple[int, int]) -> dict[str, Pair]:
    """What the other caches of the same size hold, by what the sample was made from."""
    known: dict[str, Pair] = {}
    for path in _caches(cache):
        arrays = _open(path)
        if arrays is None or not (path / "rows.json").is_file():
            continue
        content = read_json(path / "rows.json")
        if content["version"] == VERSION and tuple(content["size_hw"]) == size_hw:
            known |= {name: (arrays[0][row], arrays[1][row]) for row, name in enumerate(content["rows"])}
    return known


def _make_room(cache: Path, limit: float) -> None:
    """Remove caches, the one used longest ago first, until the rest takes at most `limit` bytes."""
    by_use = sorted(_caches(cache), key=lambda path: (-path.stat().st_mtime, path.name))
    total = 0
    for path in by_use:
        total += sum(file.stat().st_size for file in path.iterdir())
        if total > limit:
            shutil.rmtree(path)


def _caches(cache: Path) -> Iterable[Path]:
    return [path for path in sorted(cache.iterdir()) if path.is_dir()] if cache.is_dir() else []
