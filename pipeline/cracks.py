"""Compiled part of `pipeline.trace`: class-index mask → outer rings of its components, along pixel edges ("cracks").

Components are joined from runs of equal values in a row, not pixel by pixel (K. Wu, E. Otoo, K. Suzuki, "Optimizing
two-pass connected-component labeling algorithms", Pattern Analysis and Applications 12, 2009, for the union-find), so
the cost beyond one comparison a pixel is that of the borders. To follow a border it is enough to compare values:
whatever is compared is a neighbour across an edge.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from connectors.compiled import compiled
from schemas.labels import VOID_INDEX

Mask = NDArray[np.uint8]
Ints = NDArray[np.int64]
Numbers = NDArray[np.int32]

RIGHT, DOWN, LEFT, UP = 0, 1, 2, 3
STEP_X = (1, 0, -1, 0)
STEP_Y = (0, 1, 0, -1)


def outer_rings(mask: Mask, min_area_px: int) -> tuple[Mask, Ints, Ints, Numbers, Ints]:
    """Outer rings of the 4-connected components that differ from what is painted below them.

    Args:
        mask: uint8 (H, W), 255 is void, and so is all around the image: component number 0.
        min_area_px: a component of fewer pixels shows what lies below instead.

    Returns:
        In raster order of their first pixels: values; own pixels; enclosed pixels; and the rings' points one after the
        other, int32 (N, 3) of x, y in pixels and whether it is a junction, where three or more cracks meet or at a
        corner of the image; and where each ring ends in them. A ring runs clockwise through turns and junctions, from
        the top-left corner of the component's first pixel.
    """
    padded = np.full((mask.shape[0] + 2, mask.shape[1] + 2), VOID_INDEX, np.uint8)
    padded[1:-1, 1:-1] = mask
    flat = padded.ravel()
    bounds = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    runs = np.concatenate([[0], bounds, [flat.size]])
    shown, pixels, traced, areas, points, ends = _outer_rings(padded, runs, min_area_px)
    return shown[traced], pixels[traced], areas, points, ends


@compiled
def _root(parents: Numbers, i: int) -> int:
    while parents[i] != i:
        parents[i] = parents[parents[i]]
        i = parents[i]
    return i


@compiled
def _numbered(flat: Mask, runs: Ints, width: int) -> tuple[Numbers, int]:
    """Component of each run, from runs[i] to runs[i + 1] in the flat image of that width; and how many there are."""
    parents = np.empty(runs.size - 1, np.int32)
    above = 0
    for i in range(parents.size):
        parents[i] = i
        start, end = runs[i] - width, runs[i + 1] - width
        while runs[above + 1] <= start:
            above += 1
        k = above
        while runs[k] < end:
            if flat[runs[k]] == flat[runs[i]]:
                a, b = _root(parents, i), _root(parents, k)
                parents[max(a, b)] = min(a, b)
            k += 1
    count = 0
    for i in range(parents.size):
        if parents[i] == i:
            parents[i] = count
            count += 1
        else:
            parents[i] = parents[parents[i]]
    return parents, count


@compiled
def _run_at(runs: Ints, place: int) -> int:
    """Which run the pixel at a flat index is in."""
    low, high = 0, runs.size - 1
    while high - low > 1:
        middle = (low + high) // 2
        if runs[middle] <= place:
            low = middle
        else:
            high = middle
    return low


@compiled
def _outer_rings(padded: Mask, runs: Ints, min_area_px: int) -> tuple[Mask, Ints, Ints, Ints, Numbers, Ints]:
    """As `outer_rings`, but values and own pixels of all components, and then which of them have rings."""
    width, flat = padded.shape[1], padded.ravel()
    numbers, count = _numbered(flat, runs, width)
    firsts, pixels = np.zeros(count, np.int64), np.zeros(count, np.int64)
    for i in range(numbers.size):
        if pixels[numbers[i]] == 0:
            firsts[numbers[i]] = runs[i]
        pixels[numbers[i]] += runs[i + 1] - runs[i]
    shown, below = np.empty(count, np.uint8), np.zeros(count, np.int64)
    shown[0] = VOID_INDEX
    traced: Ints = np.empty(count, np.int64)
    areas, ends = np.empty(count, np.int64), np.empty(count, np.int64)
    outer = np.zeros(flat.size, np.uint8)
    points: Numbers = np.empty((4096, 3), np.int32)
    found, end = 0, 0
    for i in range(1, count):
        # What lies above the first pixel either holds the component in a hole or lies beside it in the same hole.
        above = firsts[i] - width
        below[i] = numbers[_run_at(runs, above)]
        if outer[above]:
            below[i] = below[below[i]]
        points, next_end, area = _follow(padded, firsts[i], outer, points, end)
        value = flat[firsts[i]]
        shown[i] = value if pixels[i] >= min_area_px else shown[below[i]]
        if shown[i] != shown[below[i]]:
            end = next_end
            traced[found], areas[found], ends[found] = i, area, end
            found += 1
    return shown, pixels, traced[:found], areas[:found], points[:end], ends[:found]


@compiled
def _grown(array: Numbers) -> Numbers:
    """The array with room for as many rows again."""
    larger = np.empty((2 * array.shape[0], array.shape[1]), np.int32)
    for i in range(array.shape[0]):
        for column in range(array.shape[1]):
            larger[i, column] = array[i, column]
    return larger


@compiled
def _follow(padded: Mask, first: int, outer: Mask, points: Numbers, size: int) -> tuple[Numbers, int, int]:
    """Walk the outer cracks of the component whose first pixel is at flat index `first`.

    Writes turns and junctions behind the first `size` points (grown as needed) and sets `outer` where a pixel's lower
    crack is on the way. Returns the points, how many they are now, and the enclosed area.
    """
    height, width = padded.shape[0] - 2, padded.shape[1] - 2
    start_y, start_x = first // (width + 2) - 1, first % (width + 2) - 1
    value = padded[start_y + 1, start_x + 1]
    x, y, heading, turned, area = start_x, start_y, RIGHT, True, 0
    while True:
        around = (padded[y, x], padded[y, x + 1], padded[y + 1, x + 1], padded[y + 1, x])  # clockwise from top left
        if (x, y) != (start_x, start_y):
            turn = 0
            if around[(heading + 2) % 4] != value:  # ahead, on the right
                turn = 1
            elif around[(heading + 1) % 4] == value:  # ahead, on the left
                turn = 3
            heading, turned = (heading + turn) % 4, turn != 0
        elif area != 0:
            return points, size, area
        cracks = 0
        for i in range(4):
            cracks += around[i] != around[i - 1]
        junction = cracks > 2 or ((x == 0 or x == width) and (y == 0 or y == height))
        if turned or junction:
            if size == points.shape[0]:
                points = _grown(points)
            points[size, 0], points[size, 1], points[size, 2] = x, y, junction
            size += 1
        x += STEP_X[heading]
        y += STEP_Y[heading]
        area -= STEP_X[heading] * y
        if heading == LEFT:
            outer[y * (width + 2) + x + 1] = 1
