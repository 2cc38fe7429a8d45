"""Which region wins, and how many pixels were contested: rectangles on an image of 10 × 10 pixels."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from pipeline.overlap import Stack, contested, stacked, total
from pipeline.raster import fill_polygon, paint, points_px
from schemas.labels import ClassEntry, ClassMap
from schemas.regions import Polygon, Rectangle, Region

SIZE_HW = (10, 10)
CLASSES = ClassMap([ClassEntry("road", "#000000"), ClassEntry("car", "#000000", 5), ClassEntry("tree", "#000000")])


def box(label: str, x: int, y: int, width: int, height: int) -> Region:
    """A rectangle in pixels, which here are tenths of the image."""
    return Region(f"{label}{x}{y}", label, Rectangle(10 * x, 10 * y, 10 * width, 10 * height, 0), SIZE_HW)


def value_at(regions: list[Region], policy: str, x: int, y: int) -> int:
    mask = np.full(SIZE_HW, 99, np.uint8)
    paint(mask, stacked(regions, CLASSES, policy, SIZE_HW))
    return int(mask[y, x])


SMALL_TREE, BIG_ROAD, CAR = box("tree", 2, 2, 2, 2), box("road", 0, 0, 10, 10), box("car", 1, 1, 5, 5)


@pytest.mark.parametrize(
    ("policy", "winners"),
    [("order", [0, 0, 1]), ("priority", [1, 1, 1]), ("smallest_on_top", [2, 2, 2]), ("void", [0, 0, 1])],
)
def test_who_lies_on_top(policy: str, winners: list[int]):
    orders = ([SMALL_TREE, CAR, BIG_ROAD], [CAR, SMALL_TREE, BIG_ROAD], [BIG_ROAD, SMALL_TREE, CAR])
    assert [value_at(list(order), policy, 2, 2) for order in orders] == winners


@pytest.mark.parametrize("policy", ["order", "priority", "smallest_on_top"])
def test_of_equals_the_later_lies_on_top(policy: str):
    first, second = box("road", 0, 0, 4, 4), box("tree", 2, 2, 4, 4)
    assert value_at([first, second], policy, 2, 2) == 2
    assert value_at([second, first], policy, 2, 2) == 0


@pytest.mark.parametrize("policy", ["order", "priority", "smallest_on_top"])
def test_void_cuts_what_was_drawn_before_it_alone(policy: str):
    void = box("void", 2, 2, 3, 3)
    assert value_at([SMALL_TREE, CAR, void], policy, 2, 2) == 255
    assert value_at([void, CAR], policy, 2, 2) == 1


def test_contested_pixels_by_pair():
    stack = stacked([BIG_ROAD, CAR, SMALL_TREE, box("void", 0, 0, 10, 10)], CLASSES, "order", SIZE_HW)
    found = contested(stack, SIZE_HW)
    assert found.pairs == {(0, 1): 25, (0, 2): 4, (1, 2): 4}
    expected = np.zeros(SIZE_HW, bool)
    expected[1:6, 1:6] = True
    np.testing.assert_array_equal(found.pixels, expected)


@pytest.mark.parametrize(
    "regions",
    [
        [],
        [CAR],
        [box("road", 0, 0, 4, 4), box("road", 2, 2, 4, 4)],
        [box("road", 0, 0, 5, 10), box("car", 5, 0, 5, 10)],
    ],
    ids=["nothing", "one", "of one class", "neighbours"],
)
def test_nothing_contested(regions: list[Region]):
    found = contested(stacked(regions, CLASSES, "order", SIZE_HW), SIZE_HW)
    assert found.pairs == {}
    assert not found.pixels.any()


@pytest.mark.parametrize("size_hw", [(1, 1), (7, 9), (8, 8), (13, 21), (64, 65)])
def test_counts_equal_those_of_single_regions(size_hw: tuple[int, int]):
    random = np.random.default_rng(1)
    shapes = [random.uniform(0, 100, (5, 2)) for _ in range(12)]
    indices = random.integers(0, 4, 12).tolist()
    stack: Stack = [
        (Region("", "", Polygon(points), size_hw), index) for points, index in zip(shapes, indices, strict=True)
    ]
    covered = np.zeros((4, *size_hw), bool)
    for points, index in zip(shapes, indices, strict=True):
        covered[index] |= fill_polygon(size_hw, [points_px(points, size_hw)])
    pairs = {(a, b): int((covered[a] & covered[b]).sum()) for a, b in itertools.combinations(range(4), 2)}
    found = contested(stack, size_hw)
    assert found.pairs == {pair: pixels for pair, pixels in pairs.items() if pixels}
    np.testing.assert_array_equal(found.pixels, covered.sum(axis=0) > 1)


def test_totals_are_sorted():
    first = contested(stacked([BIG_ROAD, CAR], CLASSES, "order", SIZE_HW), SIZE_HW)
    second = contested(stacked([SMALL_TREE, CAR, BIG_ROAD], CLASSES, "order", SIZE_HW), SIZE_HW)
    assert total([second, first]) == [
        {"a": 0, "b": 1, "pixels": 50},
        {"a": 0, "b": 2, "pixels": 4},
        {"a": 1, "b": 2, "pixels": 4},
    ]
