"""COCO's run lengths (column-major, beginning with background), proven before pycocotools' C code sees them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco

from schemas.errors import DataError

Rle = dict[str, Any]
"""COCO's compressed form: `size` [H, W] and `counts` as bytes."""

LONGEST_RUN = 7
"""Characters of one run length: 35 bits, so that no sum of them leaves int64."""


def encode(mask: NDArray[np.bool_]) -> Rle:
    """The run lengths of a mask, bool (H, W)."""
    rle: Rle = coco.encode(np.asfortranarray(mask, dtype=np.uint8))
    return rle


def compress(runs: list[int], size_hw: tuple[int, int]) -> Rle:
    """The compressed form of run lengths that cover `size_hw`."""
    rle: Rle = coco.frPyObjects({"size": list(size_hw), "counts": runs}, *size_hw)
    return rle


def decompress(counts: bytes | str) -> list[int]:
    """Run lengths of COCO's compressed form: 5 bits a character; the fourth on are differences to the last but one.

    Raises DataError if they are corrupt or break off.
    """
    raw = counts.encode("utf-8", "surrogatepass") if isinstance(counts, str) else counts
    characters = np.frombuffer(raw, np.uint8).astype(np.int64) - 48
    if characters.size == 0 or characters[-1] & 32:
        raise DataError("the compressed run lengths of a mask break off")
    ends = np.flatnonzero((characters & 32) == 0)
    lengths = np.diff(ends, prepend=-1)
    if characters.min() < 0 or characters.max() > 63 or lengths.max() > LONGEST_RUN:
        raise DataError("the compressed run lengths of a mask are corrupt")
    starts = ends - lengths + 1
    shifts = 5 * (np.arange(characters.size) - np.repeat(starts, lengths))
    values = np.add.reduceat((characters & 31) << shifts, starts)
    values -= np.where(characters[ends] & 16, 1 << (5 * lengths), 0)
    for first in (1, 2):  # every other value, each on top of the last
        values[first::2] = np.cumsum(values[first::2])
    runs: list[int] = values.tolist()
    return runs


def proven(counts: bytes | str | list[int], size_hw: tuple[int, int]) -> list[int]:
    """The run lengths of either form of `counts`. Raises DataError unless they cover exactly `size_hw`."""
    height, width = size_hw
    runs = decompress(counts) if isinstance(counts, bytes | str) else counts
    if sum(runs) != height * width or min(runs) < 0:
        raise DataError(f"the run lengths of a mask sum up to {sum(runs)} px, expected {height * width}")
    return runs


def decode(runs: list[int], size_hw: tuple[int, int]) -> NDArray[np.bool_]:
    """The mask, bool (H, W), of run lengths that cover `size_hw`."""
    inside = np.arange(len(runs)) % 2 == 1
    return np.repeat(inside, runs).reshape(size_hw, order="F")
