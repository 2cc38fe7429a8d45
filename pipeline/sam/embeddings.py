"""Embeddings, computed once per image and kept: in memory for the image at hand, on disk for the ones to come."""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True, order=True)
class Worth:
    """How much a file is worth keeping. `turn`: minus its place in the line, minus infinity beside it."""

    turn: float
    used_ns: int


class EmbeddingCache:
    """Embeddings by image hash and model version; the least recently used go first, from memory and from disk.

    `line`: hashes of the images that will be asked for, the next one first, where that is known. On disk they are worth
    more than all others, and the earlier more than the later, which are not even written where the share is used up.
    A file is whole or not there, `<folder>/<version>/<image_sha256>.safetensors`; one that can't be read is made anew.
    One thread at a time computes.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        folder: Path,
        disk_mb: float = 4096,
        memory_mb: float = 512,
        line: Iterable[str] = (),
    ) -> None:
        self._segmenter = segmenter
        self._folder = folder
        self._places = {image_sha256: place for place, image_sha256 in enumerate(line)}
        self._disk_bytes, self._memory_bytes = int(disk_mb * 2**20), int(memory_mb * 2**20)
        self._recent: OrderedDict[str, Embedding] = OrderedDict()
        self._lock = threading.Lock()

    def embedding(self, image_sha256: str, load: Load) -> Embedding:
        """The embedding of an image, whose pixels, RGB uint8 (H, W, 3), `load` gives if they are needed."""
        with self._lock:
            found = self._recent.pop(image_sha256, None) or self._read(image_sha256)
            if found is None:
                found = self._segmenter.embed(load())
                self._write(image_sha256, found)
            self._remember(image_sha256, found)
            return found

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

    def _write(self, image_sha256: str, embedding: Embedding) -> None:
        """Keep it on disk if its share, without the files that are worth less, has room for it."""
        path = self._path(image_sha256)
        size, worth = _bytes(embedding) + HEADER_BYTES, self._worth(path, time.time_ns())
        files = sorted(self._files(), key=lambda file: (file[0], file[1].name))
        excess = sum(taken for _, _, taken in files) + size - self._disk_bytes
        removed = []
        for less, other, taken in files:
            if excess <= 0 or less >= worth:
                break
            removed.append(other)
            excess -= taken
        if excess > 0:
            return
        for other in removed:
            other.unlink(missing_ok=True)
        tensors = {str(level): feature.contiguous().cpu() for level, feature in enumerate(embedding.features)}
        with replacing(path) as temporary:
            save_file(tensors, temporary, {"size_hw": "{} {}".format(*embedding.size_hw)})

    def _files(self) -> Iterator[tuple[Worth, Path, int]]:
        """All files, of whatever model, with their worth and their bytes."""
        for path in self._folder.glob(f"*/*{SUFFIX}"):
            try:
                status = path.stat()
            except FileNotFoundError:  # another process made room
                continue
            yield self._worth(path, status.st_mtime_ns), path, status.st_size

    def _worth(self, path: Path, used_ns: int) -> Worth:
        is_ours = path.parent.name == self._segmenter.version
        place = self._places.get(path.stem) if is_ours else None
        return Worth(-math.inf if place is None else -place, used_ns)

    def _remember(self, image_sha256: str, embedding: Embedding) -> None:
        self._recent[image_sha256] = embedding
        while len(self._recent) > 1 and sum(map(_bytes, self._recent.values())) > self._memory_bytes:
            self._recent.popitem(last=False)


def _bytes(embedding: Embedding) -> int:
    return sum(feature.numel() * feature.element_size() for feature in embedding.features)
