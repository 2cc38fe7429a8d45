"""COCO's run lengths (column-major, beginning with background), proven before pycocotools' C code sees them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco

from schemas.errors import DataError

Rle = dict[str, Any]
"""COCO's compressed form: `size` [H, W] and `counts` as bytes."""


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
    runs: list[int] = []
    value = shift = 0
    for character in counts.encode("ascii") if isinstance(counts, str) else counts:
        bits = character - 48
        if not 0 <= bits < 64 or shift > 60:
            raise DataError("the compressed run lengths of a mask are corrupt")
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    if shift or not runs:
        raise DataError("the compressed run lengths of a mask break off")
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
