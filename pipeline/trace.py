"""The tracer: class-index mask → polygons along pixel edges ("cracks"), the inverse of `pipeline.raster`.

A region is a 4-connected component of one value; of it only the outer ring is kept, and what lies in its holes is
painted later, on top. So rings in order of falling filled area, painted one after the other, give back the mask: bit
for bit at tolerance 0.

To simplify, a ring is led through the middles of its cracks, which makes a straight line of a slanted border's stairs,
and cut at its junctions, the corners where three or more cracks meet. Each arc between two junctions is simplified by
itself (D. H. Douglas, T. K. Peucker, "Algorithms for the reduction of the number of points required to represent a
digitized line or its caricature", Cartographica 10, 1973), with ties decided by the arc's own direction rather than the
ring's. So both neighbours get the very same arc: no gap and no overlap.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from schemas.labels import VOID_INDEX

Mask = NDArray[np.uint8]
Ints = NDArray[np.int64]
Numbers = NDArray[np.int32]

OUTSIDE = -1
"""Component number of what surrounds the image."""

RIGHT, DOWN, LEFT, UP = 0, 1, 2, 3
STEP_X = (1, 0, -1, 0)
STEP_Y = (0, 1, 0, -1)


@dataclass(frozen=True, slots=True)
class TracedRegion:
    """One component of a mask.

    `points_px`: float64 (N, 2), N ≥ 3, columns x, y, open ring. `area_px`: what the unsimplified ring encloses, holes
    included. `pixels`: how many pixels are the component's own.
    """

    class_index: int
    points_px: NDArray[np.float64]
    area_px: int
    pixels: int


def trace(mask: Mask, tolerance_px: float, min_area_px: int = 0) -> list[TracedRegion]:
    """Regions of a class-index mask in the order in which they must be painted (filled area falling).

    Args:
        mask: uint8 (H, W), 255 is void. Void is traced only where an earlier region would cover it.
        tolerance_px: 0 keeps every corner; else how far the middles of cracks may be from the simplified ring (a corner
            may be half a pixel more).
        min_area_px: components of fewer pixels are left out; their pixels show what lies below.
    """
    components, firsts, pixels = _components(np.ascontiguousarray(mask))
    values = mask.ravel()[firsts]
    traced, points, ends, areas = _trace(components, firsts, values, pixels >= min_area_px, (2.0 * tolerance_px) ** 2)
    rings = np.split(points / 2, ends[:-1])
    return [
        TracedRegion(int(values[traced[i]]), rings[i], int(areas[i]), int(pixels[traced[i]]))
        for i in np.argsort(-areas, kind="stable")
    ]


@njit(cache=True)
def _root(parents: Numbers, i: int) -> int:
    while parents[i] != i:
        parents[i] = parents[parents[i]]
        i = parents[i]
    return i


@njit(cache=True)
def _components(mask: Mask) -> tuple[Numbers, Ints, Ints]:
    """4-connected components of equal value, numbered in raster order of their first pixels.

    Returns the numbers as int32 (H + 2, W + 2) with a rim of OUTSIDE, each one's first pixel (flat index into the
    mask), and its count of pixels. Two passes with union-find.
    """
    height, width = mask.shape
    numbers = np.full((height + 2, width + 2), OUTSIDE, np.int32)
    parents = np.empty(mask.size, np.int32)
    found = 0
    for y in range(height):
        for x in range(width):
            value = mask[y, x]
            above = y > 0 and mask[y - 1, x] == value
            if x > 0 and mask[y, x - 1] == value:
                number = numbers[y + 1, x]
                if above and numbers[y, x + 1] != number:
                    a, b = _root(parents, number), _root(parents, numbers[y, x + 1])
                    parents[max(a, b)] = min(a, b)
            elif above:
                number = numbers[y, x + 1]
            else:
                number = np.int32(found)
                parents[found] = number
                found += 1
            numbers[y + 1, x + 1] = number
    final = np.empty(found, np.int32)
    count = 0
    for i in range(found):
        root = _root(parents, i)
        final[i] = final[root] if root < i else count
        count += root == i
    firsts, pixels = np.full(count, -1, np.int64), np.zeros(count, np.int64)
    for y in range(height):
        for x in range(width):
            number = final[numbers[y + 1, x + 1]]
            numbers[y + 1, x + 1] = number
            if pixels[number] == 0:
                firsts[number] = y * width + x
            pixels[number] += 1
    return numbers, firsts, pixels


@njit(cache=True)
def _trace(
    numbers: Numbers, firsts: Ints, values: Mask, kept: NDArray[np.bool_], tolerance2: float
) -> tuple[Ints, Numbers, Ints, Ints]:
    """Trace the kept components that differ from what lies below them.

    Returns, in raster order, which components they are; their rings' points x, y in half pixels, one after the other;
    where each ring ends; and the area in pixels that it enclosed before it was simplified.
    """
    parents, shown = np.empty(firsts.size, np.int64), np.empty(firsts.size, np.uint8)
    traced, ends, areas = np.empty_like(parents), np.empty_like(parents), np.empty_like(parents)
    outer = np.zeros((numbers.shape[0] - 2, numbers.shape[1] - 2), np.uint8)
    ring: Numbers = np.empty((1024, 3), np.int32)
    points: Numbers = np.empty((4096, 2), np.int32)
    count, end = 0, 0
    for i in range(firsts.size):
        y, x = divmod(firsts[i], outer.shape[1])
        ring, size, area = _follow(numbers, x, y, outer, ring)
        # The component above the first pixel either holds this one in a hole or lies beside it in the same hole.
        parents[i] = numbers[y, x + 1]
        if parents[i] != OUTSIDE and outer[y - 1, x]:
            parents[i] = parents[parents[i]]
        below = VOID_INDEX if parents[i] == OUTSIDE else shown[parents[i]]
        shown[i] = values[i] if kept[i] else below
        if shown[i] == below:
            continue
        course = _middles(ring[:size]) if tolerance2 > 0.0 else _doubled(ring[:size])
        closed, keep = _simplify(course, tolerance2)
        while end + keep.size > points.shape[0]:
            points = _grown(points)
        for point in np.flatnonzero(keep):
            points[end, 0], points[end, 1] = closed[point, 0], closed[point, 1]
            end += 1
        traced[count], ends[count], areas[count] = i, end, area
        count += 1
    return traced[:count], points[:end], ends[:count], areas[:count]


@njit(cache=True)
def _grown(array: Numbers) -> Numbers:
    """The array with room for as many rows again."""
    larger = np.empty((2 * array.shape[0], array.shape[1]), array.dtype)
    larger[: array.shape[0]] = array
    return larger


@njit(cache=True)
def _follow(numbers: Numbers, start_x: int, start_y: int, outer: Mask, ring: Numbers) -> tuple[Numbers, int, int]:
    """Walk the outer cracks of the component whose first pixel is given, clockwise from that pixel's top-left corner.

    Writes x, y, is-junction of every turn and junction to `ring` (grown as needed) and sets `outer` where a pixel's
    lower crack is on the way. Returns the ring, its length and the enclosed area.
    """
    height, width = outer.shape
    number = numbers[start_y + 1, start_x + 1]
    x, y, heading, turned, size, area = start_x, start_y, RIGHT, True, 0, 0
    while True:
        around = (numbers[y, x], numbers[y, x + 1], numbers[y + 1, x + 1], numbers[y + 1, x])  # clockwise from top left
        if (x, y) != (start_x, start_y):
            turn = 0
            if around[(heading + 2) % 4] != number:  # ahead, on the right
                turn = 1
            elif around[(heading + 1) % 4] == number:  # ahead, on the left
                turn = 3
            heading, turned = (heading + turn) % 4, turn != 0
        elif size > 0:
            return ring, size, area
        cracks = 0
        for i in range(4):
            cracks += around[i] != around[i - 1]
        junction = cracks > 2 or ((x == 0 or x == width) and (y == 0 or y == height))
        if turned or junction:
            if size == ring.shape[0]:
                ring = _grown(ring)
            ring[size, 0], ring[size, 1], ring[size, 2] = x, y, junction
            size += 1
        x += STEP_X[heading]
        y += STEP_Y[heading]
        area -= STEP_X[heading] * y
        if heading == LEFT:
            outer[y - 1, x] = 1


@njit(cache=True)
def _distance2(points: Numbers, i: int, a: int, b: int) -> float:
    """Squared distance of point i from the segment between points a and b; the same whichever comes first."""
    bx, by = np.int64(points[b, 0]) - points[a, 0], np.int64(points[b, 1]) - points[a, 1]
    px, py = np.int64(points[i, 0]) - points[a, 0], np.int64(points[i, 1]) - points[a, 1]
    length2, along = bx * bx + by * by, bx * px + by * py
    if along <= 0:
        return float(px * px + py * py)
    if along >= length2:
        return float((px - bx) ** 2 + (py - by) ** 2)
    across = float(bx * py - by * px)
    return across * across / float(length2)


@njit(cache=True)
def _farthest(points: Numbers, a: int, b: int, forward: bool) -> tuple[int, float]:
    """Point between a and b that is farthest from the segment, of equals the first in the arc's direction."""
    farthest, distance2 = a, -1.0
    for i in range(a + 1, b):
        d = _distance2(points, i, a, b)
        if d > distance2 or (d == distance2 and not forward):
            farthest, distance2 = i, d
    return farthest, distance2


@njit(cache=True)
def _is_forward(points: Numbers, a: int, b: int) -> bool:
    """Whether the arc's own direction, which depends on its points alone, is from a to b."""
    while a < b:
        for axis in range(2):
            if points[a, axis] != points[b, axis]:
                return bool(points[a, axis] < points[b, axis])
        a, b = a + 1, b - 1
    return True


@njit(cache=True)
def _simplify_arc(points: Numbers, a: int, b: int, tolerance2: float, keep: Mask, stack: Ints) -> None:
    """Douglas-Peucker on points a .. b: set `keep` for those that stay between them."""
    forward = _is_forward(points, a, b)
    stack[0], stack[1], height = a, b, 1
    while height > 0:
        height -= 1
        a, b = stack[2 * height], stack[2 * height + 1]
        split, distance2 = _farthest(points, a, b, forward)
        if distance2 > tolerance2:
            keep[split] = 1
            stack[2 * height], stack[2 * height + 1] = a, split
            stack[2 * height + 2], stack[2 * height + 3] = split, b
            height += 2


@njit(cache=True)
def _doubled(ring: Numbers) -> Numbers:
    """The ring in half pixels."""
    doubled = ring.copy()
    doubled[:, :2] *= 2
    return doubled


@njit(cache=True)
def _middles(ring: Numbers) -> Numbers:
    """The ring, in half pixels, through its junctions and the middles of its cracks, as few as have the same course."""
    size = ring.shape[0]
    middles, count = np.empty((3 * size, 3), np.int32), 0
    for i in range(size):
        p, q = ring[i], ring[(i + 1) % size]
        if p[2]:
            middles[count, 0], middles[count, 1], middles[count, 2] = 2 * p[0], 2 * p[1], 1
            count += 1
        step_x, step_y = np.sign(q[0] - p[0]), np.sign(q[1] - p[1])
        middles[count, 0], middles[count, 1], middles[count, 2] = 2 * p[0] + step_x, 2 * p[1] + step_y, 0
        count += 1
        if abs(q[0] - p[0]) + abs(q[1] - p[1]) > 1:
            middles[count, 0], middles[count, 1], middles[count, 2] = 2 * q[0] - step_x, 2 * q[1] - step_y, 0
            count += 1
    return middles[:count]


@njit(cache=True)
def _closed_at_anchor(ring: Numbers) -> Numbers:
    """The ring with its first point again at the end, turned to begin at a junction if it has one.

    If it has none, its first point (of the topmost, the leftmost) and the one farthest from it serve as junctions.
    """
    size, shift = ring.shape[0], 0
    while shift < size and ring[shift, 2] == 0:
        shift += 1
    closed = np.empty((size + 1, 3), np.int32)
    for i in range(size + 1):
        closed[i] = ring[(i + shift) % size]
    if shift == size:
        closed[_farthest(closed, 0, size, True)[0], 2] = 1
    closed[size, 2] = 1
    return closed


@njit(cache=True)
def _simplify(ring: Numbers, tolerance2: float) -> tuple[Numbers, Mask]:
    """The closed ring and which of its points stay: all of them where it would collapse."""
    closed, size = _closed_at_anchor(ring), ring.shape[0]
    keep, stack = np.zeros(size + 1, np.uint8), np.empty(2 * size + 4, np.int64)
    anchor = 0
    for i in range(1, size + 1):
        if closed[i, 2]:
            keep[i] = 1
            _simplify_arc(closed, anchor, i, tolerance2, keep, stack)
            anchor = i
    keep[0] = 0
    left = np.flatnonzero(keep)
    area2 = 0
    for i in range(left.size):
        p, q, r = closed[left[i - 1]], closed[left[i]], closed[left[(i + 1) % left.size]]
        area2 += np.int64(p[0]) * q[1] - np.int64(p[1]) * q[0]
        if _is_within_straight(p, q, r):
            keep[left[i]] = 0
    if area2 <= 0:
        keep[1:] = 1
    return closed, keep


@njit(cache=True)
def _is_within_straight(p: Numbers, q: Numbers, r: Numbers) -> bool:
    """Whether q lies between p and r on a horizontal or vertical line."""
    for axis in range(2):
        other = 1 - axis
        if p[axis] == q[axis] == r[axis] and (p[other] < q[other] < r[other] or p[other] > q[other] > r[other]):
            return True
    return False
