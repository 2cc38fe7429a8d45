"""The embedded images of tasks: fetched once, embedded once, and at hand without waiting for another one's encoder."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable

from connectors.images import decode_rgb
from pipeline.sam.embeddings import EmbeddingCache
from pipeline.sam.model import Embedding

MAX_ADDRESSES = 100_000

Fetch = Callable[[int, str], bytes]


class EmbeddedImages:
    """Embeddings by a task's image address: the latest in memory, up to `memory_mb`, the others in `cache`.

    `fetch`: task id and address → the image's bytes; raises ImageError.
    """

    def __init__(self, fetch: Fetch, cache: EmbeddingCache, memory_mb: float) -> None:
        self._fetch = fetch
        self._cache = cache
        self._memory_bytes = int(memory_mb * 2**20)
        self._recent: OrderedDict[str, Embedding] = OrderedDict()
        self._sha256_of: OrderedDict[str, str] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, task_id: int, address: str) -> Embedding:
        """The embedding of a task's image. Raises ImageError if it can't be had, is refused, or is corrupt."""
        with self._lock:
            sha256 = self._sha256_of.get(address, "")
            found = self._recent.get(sha256)
            if found is not None:
                self._recent.move_to_end(sha256)
                return found
        content = self._fetch(task_id, address)
        sha256 = hashlib.sha256(content).hexdigest()
        found = self._cache.embedding(sha256, lambda: decode_rgb(content, f"the image of task {task_id}"))
        with self._lock:
            self._sha256_of[address] = sha256
            self._recent[sha256] = found
            self._recent.move_to_end(sha256)
            while len(self._sha256_of) > MAX_ADDRESSES:
                self._sha256_of.popitem(last=False)
            while len(self._recent) > 1 and sum(map(_bytes, self._recent.values())) > self._memory_bytes:
                self._recent.popitem(last=False)
        return found


def _bytes(embedding: Embedding) -> int:
    return sum(feature.numel() * feature.element_size() for feature in embedding.features)
