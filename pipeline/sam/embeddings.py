"""Embeddings, computed once per image and kept: in memory for the image at hand, on disk for the ones to come."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from connectors.storage import replacing
from pipeline.sam.model import Embedding, Segmenter
from schemas.manifest import SCRATCH_DIR

EMBEDDINGS_DIR = SCRATCH_DIR / "embeddings"
SUFFIX = ".safetensors"
HEADER_BYTES = 1024  # more than a file has beside its tensors

Load = Callable[[], NDArray[np.uint8]]


class EmbeddingCache:
    """Embeddings by image hash and model version; the least recently used go first, from memory and from disk.

    A file is whole or not there, `<folder>/<version>/<image_sha256>.safetensors`; one that can't be read is made anew.
    One thread at a time computes.
    """

    def __init__(self, segmenter: Segmenter, folder: Path, disk_mb: float = 4096, memory_mb: float = 512) -> None:
        self._segmenter = segmenter
        self._folder = folder
        self._disk_bytes, self._memory_bytes = int(disk_mb * 2**20), int(memory_mb * 2**20)
        self._recent: OrderedDict[str, Embedding] = OrderedDict()
        self._lock = threading.Lock()

    def embedding(self, image_sha256: str, load: Load, evict: bool = True) -> Embedding:
        """The embedding of an image, whose pixels, RGB uint8 (H, W, 3), `load` gives if they are needed.

        `evict=False`: where the disk's share is used up, nothing is written instead of something removed.
        """
        with self._lock:
            found = self._recent.pop(image_sha256, None) or self._read(image_sha256)
            if found is None:
                found = self._segmenter.embed(load())
                self._write(image_sha256, found, evict)
            self._remember(image_sha256, found)
            return found

    def prefetch(self, images: Iterable[tuple[str, Load]]) -> Iterator[str]:
        """Make what is missing on disk, in the order in which it will be wanted, until the disk's share is used up.

        Yields the hash of each image that is there; what is not in `images` makes room.
        """
        room = self._disk_bytes
        for image_sha256, load in images:
            path = self._path(image_sha256)
            if not path.exists():
                self.embedding(image_sha256, load)
            if not path.exists():  # larger than the whole share
                return
            path.touch()
            size = path.stat().st_size
            room -= size
            yield image_sha256
            if room < size:
                return

    def _path(self, image_sha256: str) -> Path:
        return self._folder / self._segmenter.version / f"{image_sha256}{SUFFIX}"

    def _read(self, image_sha256: str) -> Embedding | None:
        path = self._path(image_sha256)
        try:
            with safe_open(path, framework="pt", device=str(self._segmenter.device)) as file:
                height, width = (int(length) for length in file.metadata()["size_hw"].split())
                features = tuple(file.get_tensor(str(level)) for level in range(len(file.keys())))
            path.touch()
        except FileNotFoundError:
            return None
        except (SafetensorError, ValueError, KeyError, TypeError, OSError):  # torn or foreign: replaced by a new one
            return None
        return Embedding(features, (height, width))

    def _write(self, image_sha256: str, embedding: Embedding, evict: bool) -> None:
        size = _bytes(embedding) + HEADER_BYTES
        files = sorted(self._folder.glob(f"*/*{SUFFIX}"), key=lambda path: (path.stat().st_mtime_ns, path.name))
        used = sum(path.stat().st_size for path in files)
        if size > self._disk_bytes or (not evict and used + size > self._disk_bytes):
            return
        for path in files:
            if used + size <= self._disk_bytes:
                break
            used -= path.stat().st_size
            path.unlink()
        tensors = {str(level): feature.contiguous().cpu() for level, feature in enumerate(embedding.features)}
        with replacing(self._path(image_sha256)) as temporary:
            save_file(tensors, temporary, {"size_hw": "{} {}".format(*embedding.size_hw)})

    def _remember(self, image_sha256: str, embedding: Embedding) -> None:
        self._recent[image_sha256] = embedding
        while len(self._recent) > 1 and sum(map(_bytes, self._recent.values())) > self._memory_bytes:
            self._recent.popitem(last=False)


def _bytes(embedding: Embedding) -> int:
    return sum(feature.numel() * feature.element_size() for feature in embedding.features)
