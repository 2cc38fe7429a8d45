"""Bits of pixels: packed, set by spans, and compared, against plain numpy."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from pipeline.bit_planes import crossings, empty_planes, packed, set_bits, unpacked, value_counts

SIZES = [(1, 1), (3, 63), (3, 64), (3, 65), (5, 130), (7, 8)]


@pytest.mark.parametrize("size_hw", SIZES)
def test_what_is_packed_comes_back(size_hw: tuple[int, int]):
    flags = np.random.default_rng(0).integers(0, 2, size_hw, np.uint8)
    np.testing.assert_array_equal(unpacked(packed(flags), size_hw), flags.astype(bool))


def test_every_span_of_a_row():
    width = 140
    for start, end in itertools.combinations(range(width + 1), 2):
        plane = empty_planes(1, (1, width))[0]
        set_bits(plane[0], start, end)
        (row,) = unpacked(plane, (1, width))
        assert row.nonzero()[0].tolist() == list(range(start, end))


@pytest.mark.parametrize("count", [0, 1, 2, 5])
@pytest.mark.parametrize("size_hw", SIZES)
def test_crossings_are_counted(count: int, size_hw: tuple[int, int]):
    flags = np.random.default_rng(count).integers(0, 2, (count, *size_hw), np.uint8)
    planes = empty_planes(count, size_hw)
    for plane, flag in zip(planes, flags, strict=True):
        plane[:] = packed(flag)
    shared, twice = crossings(planes)
    expected = np.zeros((count, count), np.int64)
    for a, b in itertools.combinations(range(count), 2):
        expected[a, b] = (flags[a] & flags[b]).sum()
    np.testing.assert_array_equal(shared, expected)
    np.testing.assert_array_equal(unpacked(twice, size_hw), flags.sum(axis=0) > 1)


@pytest.mark.parametrize("size_hw", SIZES)
def test_values_are_counted(size_hw: tuple[int, int]):
    mask = np.random.default_rng(0).choice(np.array([0, 7, 255], np.uint8), size_hw)
    mask[0] = 7
    np.testing.assert_array_equal(value_counts(mask), np.bincount(mask.ravel(), minlength=256))
