"""Batches limited in number and in bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def batches(items: Iterable[T], most: int, most_bytes: int, size_of: Callable[[T], int]) -> Iterator[list[T]]:
    """Yield lists of at most `most` items and `most_bytes` bytes in all; an item larger than that goes alone."""
    batch: list[T] = []
    size = 0
    for item in items:
        item_size = size_of(item)
        if batch and (len(batch) == most or size + item_size > most_bytes):
            yield batch
            batch, size = [], 0
        batch.append(item)
        size += item_size
    if batch:
        yield batch
