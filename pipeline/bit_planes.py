"""Planes of bits, one a class: which pixels its regions cover. Compiled, 64 pixels at a time.

`Bits`: uint64 (P, H, ⌈W / 64⌉); pixel (row r, column c) is bit c % 64, from the lowest, of word (r, c // 64).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from connectors.compiled import compiled

Bits = NDArray[np.uint64]
Ints = NDArray[np.int64]

WORD = 64
ALL = np.uint64(0xFFFFFFFFFFFFFFFF)
NONE = np.uint64(0)
PAIRS, NIBBLES = np.uint64(0x5555555555555555), np.uint64(0x3333333333333333)
BYTES, ONES = np.uint64(0x0F0F0F0F0F0F0F0F), np.uint64(0x0101010101010101)
ONE, TWO, FOUR, TOP_BYTE = np.uint64(1), np.uint64(2), np.uint64(4), np.uint64(56)
LOW_BYTE = np.uint64(255)


def empty_planes(count: int, size_hw: tuple[int, int]) -> Bits:
    """Planes without a bit set."""
    return np.zeros((count, size_hw[0], -(-size_hw[1] // WORD)), np.uint64)


def packed(flags: NDArray[np.uint8]) -> Bits:
    """One plane, (H, ⌈W / 64⌉), of flags 0 or 1, uint8 (H, W)."""
    height, width = flags.shape
    plane: Bits = empty_planes(1, (height, width))[0]
    plane.view(np.uint8)[:, : -(-width // 8)] = np.packbits(flags, axis=1, bitorder="little")
    return plane


def unpacked(plane: Bits, size_hw: tuple[int, int]) -> NDArray[np.bool_]:
    """The pixels of one plane, bool (H, W)."""
    return np.unpackbits(plane.view(np.uint8), axis=1, count=size_hw[1], bitorder="little").view(np.bool_)


@compiled
def set_bits(row: Bits, start: int, end: int) -> None:
    """Set the pixels start .. end (start < end) of one row of a plane, uint64 (⌈W / 64⌉,)."""
    first, last = start // WORD, (end - 1) // WORD
    head = ALL << np.uint64(start % WORD)
    tail = ALL >> np.uint64(WORD - 1 - (end - 1) % WORD)
    if first == last:
        row[first] |= head & tail
    else:
        row[first] |= head
        row[first + 1 : last] = ALL
        row[last] |= tail


@compiled
def _count(word: np.uint64) -> int:
    """How many bits are set."""
    word -= (word >> ONE) & PAIRS
    word = (word & NIBBLES) + ((word >> TWO) & NIBBLES)
    return int((((word + (word >> FOUR)) & BYTES) * ONES) >> TOP_BYTE)


@compiled
def crossings(planes: Bits) -> tuple[Ints, Bits]:
    """Where planes lie on each other.

    Returns the pixels that two planes share, int64 (P, P), filled in for the first plane below the second; and the
    plane of the pixels that at least two planes share, (H, ⌈W / 64⌉).
    """
    count, height, width = planes.shape
    once, twice = np.zeros((height, width), np.uint64), np.zeros((height, width), np.uint64)
    for plane in planes:
        for row in range(height):
            for column in range(width):
                word = plane[row, column]
                twice[row, column] |= once[row, column] & word
                once[row, column] |= word
    shared = np.zeros((count, count), np.int64)
    for row in range(height):
        for column in range(width):
            crossed = twice[row, column]
            if crossed != NONE:
                for a in range(count - 1):
                    word = planes[a, row, column] & crossed
                    if word != NONE:
                        for b in range(a + 1, count):
                            shared[a, b] += _count(word & planes[b, row, column])
    return shared, twice


@compiled
def _count_values(words: Bits, rest: NDArray[np.uint8]) -> Ints:
    counts = np.zeros(256, np.int64)
    for word in words:
        value = word & LOW_BYTE
        if word == value * ONES:
            counts[value] += 8
        else:
            for byte in range(8):
                counts[(word >> np.uint64(8 * byte)) & LOW_BYTE] += 1
    for pixel in rest:
        counts[pixel] += 1
    return counts


def value_counts(mask: NDArray[np.uint8]) -> Ints:
    """How many pixels of a mask, uint8 (H, W) and C-contiguous, have each value 0..255; int64 (256,)."""
    pixels = mask.reshape(-1)
    whole = pixels.size // 8 * 8
    counts: Ints = _count_values(pixels[:whole].view(np.uint64), pixels[whole:])
    return counts
