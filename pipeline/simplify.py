"""Compiled part of `pipeline.trace`: rings along pixel edges → rings of few vertices within a tolerance.

A ring is led through the middles of its cracks, which makes a straight line of a slanted border's stairs, and cut at
its junctions, where three or more cracks meet. Between two junctions those vertices are kept, out of middles and
corners, that cost least: a path's cost is the number of its segments, and for each how badly it fits. No middle may be
farther from its segment than the tolerance. That is a shortest path over all segments that fit (H. Imai, M. Iri,
"Polygonal approximations of a curve - formulations and algorithms", Computational Morphology, 1988), found by narrowing
a wedge of directions from each start (W. S. Chan, F. Chin, "Approximation of polygonal curves with minimum number of
line segments or minimum error", 1996). An arc is taken in a direction of its own, so both of its regions get the very
same vertices: no gap, no overlap.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from connectors.compiled import compiled

Ints = NDArray[np.int64]
Numbers = NDArray[np.int32]
Floats = NDArray[np.float64]
Flags = NDArray[np.uint8]

JUNCTION, CORNER = -1, 0
"""Kinds of points; that of a middle is twice the number of cracks which it stands for."""

MISFIT = 0.6
"""What a crack costs, in segments, that is as far from its segment as the tolerance; else by the distance squared."""

SLACK = 1.0 + 1e-9
"""Factor by which a middle just as far away as the tolerance is within it, however the distance is rounded."""

LEAST_TOLERANCE_PX = 1e-6

REACH = 256
"""Points ahead that a first pass looks; a second one, over the vertices that it left, has no limit."""


X, Y, KIND, COST, S, SX, SY, SXX, SXY, SYY = range(10)
"""Columns of an arc's points: place in half pixels, kind, cost of the cheapest path from the arc's first point, and the
sums of 1, x, y, x², xy, y² over the cracks before, x and y from the first point on."""


def simplified(points: Numbers, ends: Ints, tolerance_px: float) -> tuple[Floats, Ints]:
    """Rings in pixels, float64 (N, 2), and where each ends, of rings as `pipeline.cracks.outer_rings` gives them.

    `tolerance_px` is above 0. A ring that would collapse keeps all its corners.
    """
    longest = int(np.diff(ends, prepend=0).max(initial=0))
    halves, new_ends = _simplified(points, ends, 2.0 * max(tolerance_px, LEAST_TOLERANCE_PX) * SLACK, 3 * longest + 1)
    return halves / 2.0, new_ends


@compiled
def _simplified(points: Numbers, ends: Ints, tolerance: float, room: int) -> tuple[Numbers, Ints]:
    """The same in half pixels; no ring's course has more points than `room`."""
    course, arc = np.empty((room, 3), np.int32), np.empty((room, 10))
    keep, arc_keep, previous = np.empty(room, np.uint8), np.empty(room, np.uint8), np.empty(room, np.int32)
    vertices, new_ends = np.empty((3 * points.shape[0], 2), np.int32), np.empty(ends.size, np.int64)
    start, size = 0, 0
    for ring in range(ends.size):
        end, first = ends[ring], size
        count, is_anchored = _lead_through_middles(points, start, end, course)
        _choose(course, count, tolerance, keep, arc, arc_keep, previous)
        if not is_anchored and count < REACH:
            _turn(course, count, keep)
            _choose(course, count, tolerance, keep, arc, arc_keep, previous)
        if _encloses_nothing(course, count, keep):
            for i in range(start, end):
                vertices[size, 0], vertices[size, 1] = 2 * points[i, 0], 2 * points[i, 1]
                size += 1
        else:
            for i in range(count):
                if keep[i]:
                    vertices[size, 0], vertices[size, 1] = course[i, 0], course[i, 1]
                    size += 1
        size = _straighten(vertices, first, size)
        start, new_ends[ring] = end, size
    return vertices[:size], new_ends


@compiled
def _lead_through_middles(points: Numbers, start: int, end: int, course: Numbers) -> tuple[int, bool]:
    """Write x, y in half pixels and kind of the points on a ring's course, from its first junction round to it again.

    Of a straight run the first and the last middle stand for all. Returns how many points the course has before it
    returns to its first, and whether that one is a junction.
    """
    anchor = start
    while anchor < end and points[anchor, 2] == 0:
        anchor += 1
    is_anchored = anchor < end
    i, count = anchor if is_anchored else start, 0
    before = end - 1 if i == start else i - 1
    run = abs(points[i, 0] - points[before, 0]) + abs(points[i, 1] - points[before, 1])
    for _ in range(start, end):
        following = i + 1 if i + 1 < end else start
        x, y = points[i, 0], points[i, 1]
        dx, dy = points[following, 0] - x, points[following, 1] - y
        cracks = abs(dx) + abs(dy)
        step_x, step_y = dx // cracks, dy // cracks
        if points[i, 2] or min(run, cracks) > 1:
            course[count, 0], course[count, 1] = 2 * x, 2 * y
            course[count, 2] = JUNCTION if points[i, 2] else CORNER
            count += 1
        run = cracks
        course[count, 0], course[count, 1] = 2 * x + step_x, 2 * y + step_y
        course[count, 2] = max(cracks, 2)
        count += 1
        if cracks > 1:
            course[count, 0], course[count, 1] = 2 * (x + dx) - step_x, 2 * (y + dy) - step_y
            course[count, 2] = cracks
            count += 1
        i = following
    course[count, 0], course[count, 1], course[count, 2] = course[0, 0], course[0, 1], course[0, 2]
    return count, is_anchored


@compiled
def _turn(course: Numbers, count: int, keep: Flags) -> None:
    """Turn the course to begin at the middle one of its kept points: a better start than an arbitrary one."""
    kept = 0
    for i in range(count):
        kept += keep[i]
    shift, left = -1, kept // 2 + 1
    while left > 0:
        shift += 1
        left -= keep[shift]
    before = course[:count].copy()
    for i in range(count + 1):
        for column in range(3):
            course[i, column] = before[(shift + i) % count, column]


@compiled
def _choose(
    course: Numbers, count: int, tolerance: float, keep: Flags, arc: Floats, arc_keep: Flags, previous: Numbers
) -> None:
    """Set `keep` to which of the course's points are vertices; the last three arguments are scratch."""
    start = 0
    for end in range(1, count + 1):
        if end == count or course[end, 2] == JUNCTION:
            size, step = end - start + 1, 1 if _is_forward(course, start, end) else -1
            i = start if step > 0 else end
            for k in range(size):
                arc[k, X], arc[k, Y], arc[k, KIND], arc_keep[k] = course[i, 0], course[i, 1], course[i, 2], 1
                i += step
            if size > 2:
                _add_up(arc, size)
                _shorten(arc, size, tolerance, REACH, arc_keep, previous)
                if size > REACH:
                    _shorten(arc, size, tolerance, size, arc_keep, previous)
            i = start if step > 0 else end
            for k in range(size):
                keep[i] = arc_keep[k]
                i += step
            start = end


@compiled
def _is_forward(course: Numbers, start: int, end: int) -> bool:
    """Whether the arc's own direction, which depends on its points alone, is from start to end."""
    while start < end:
        for axis in range(2):
            if course[start, axis] != course[end, axis]:
                return bool(course[start, axis] < course[end, axis])
        start, end = start + 1, end - 1
    return True


@compiled
def _add_up(arc: Floats, size: int) -> None:
    """Write the sums."""
    s, sx, sy, sxx, sxy, syy = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for i in range(size):
        arc[i, S], arc[i, SX], arc[i, SY], arc[i, SXX], arc[i, SXY], arc[i, SYY] = s, sx, sy, sxx, sxy, syy
        if arc[i, KIND] > 0.0:
            cracks, x, y = arc[i, KIND] / 2.0, arc[i, X] - arc[0, X], arc[i, Y] - arc[0, Y]
            s += cracks
            sx += cracks * x
            sy += cracks * y
            sxx += cracks * x * x
            sxy += cracks * x * y
            syy += cracks * y * y


@compiled
def _misfit(arc: Floats, i: int, j: int) -> float:
    """Sum over the cracks between points i and j of their middles' squared distances from the line through both."""
    x, y = arc[i, X] - arc[0, X], arc[i, Y] - arc[0, Y]
    dx, dy = arc[j, X] - arc[i, X], arc[j, Y] - arc[i, Y]
    k = i + 1
    s, sx, sy = arc[j, S] - arc[k, S], arc[j, SX] - arc[k, SX], arc[j, SY] - arc[k, SY]
    sxx = arc[j, SXX] - arc[k, SXX] + x * (s * x - 2.0 * sx)
    sxy = arc[j, SXY] - arc[k, SXY] + s * x * y - x * sy - y * sx
    syy = arc[j, SYY] - arc[k, SYY] + y * (s * y - 2.0 * sy)
    return float(max(dx * dx * syy - 2.0 * dx * dy * sxy + dy * dy * sxx, 0.0) / (dx * dx + dy * dy))


@compiled
def _shorten(arc: Floats, size: int, tolerance: float, reach: int, keep: Flags, previous: Numbers) -> None:
    """Of the arc's kept points keep those on the cheapest path from its first to its last."""
    arc[0, COST] = 0.0
    for i in range(1, size):
        arc[i, COST] = math.inf
    for i in range(size - 1):
        if keep[i]:
            _reach_out(arc, i, min(size - 1, i + reach), tolerance, keep, previous)
    i = size - 1
    while i > 0:
        keep[previous[i] + 1 : i] = 0
        i = previous[i]


@compiled
def _reach_out(arc: Floats, i: int, end: int, tolerance: float, keep: Flags, previous: Numbers) -> None:
    """Better the paths to those kept points behind i, as far as `end`, that a fitting segment from i leads to.

    A wedge from direction (ax, ay) to (bx, by) holds the rays from i that pass within the tolerance of all middles so
    far. None of these may be farther from i than the segment is long.
    """
    tolerance2, farthest2, is_whole = tolerance * tolerance, 0.0, True
    ax, ay, bx, by = 0.0, 0.0, 0.0, 0.0
    base, factor, x, y = arc[i, COST] + 1.0, MISFIT / tolerance2, arc[i, X], arc[i, Y]
    for j in range(i + 1, end + 1):
        dx, dy = arc[j, X] - x, arc[j, Y] - y
        length2 = dx * dx + dy * dy
        fits = length2 > 0.0 and length2 >= farthest2 and ax * dy - ay * dx >= 0.0 and dx * by - dy * bx >= 0.0
        if fits and keep[j] and base < arc[j, COST]:
            cost = base + factor * _misfit(arc, i, j)
            if cost < arc[j, COST]:
                arc[j, COST], previous[j] = cost, i
        if arc[j, KIND] > 0.0:
            farthest2 = max(farthest2, length2)
            if length2 > tolerance2:
                along = math.sqrt(length2 - tolerance2)
                from_x, from_y = dx * along + dy * tolerance, dy * along - dx * tolerance
                to_x, to_y = dx * along - dy * tolerance, dy * along + dx * tolerance
                if is_whole or ax * from_y - ay * from_x > 0.0:
                    ax, ay = from_x, from_y
                if is_whole or to_x * by - to_y * bx > 0.0:
                    bx, by = to_x, to_y
                is_whole = False
                if ax * by - ay * bx < 0.0 or (ax + bx) * dx + (ay + by) * dy < 0.0:
                    return


@compiled
def _encloses_nothing(course: Numbers, count: int, keep: Flags) -> bool:
    """Whether the ring of the kept points has no area, or runs the wrong way."""
    area2, last = np.int64(0), 0
    for i in range(1, count + 1):
        if keep[i]:
            area2 += np.int64(course[last, 0]) * course[i, 1] - np.int64(course[last, 1]) * course[i, 0]
            last = i
    return bool(area2 <= 0)


@compiled
def _straighten(vertices: Numbers, start: int, end: int) -> int:
    """Close up the ring from start to end without its points within a horizontal or vertical line; return its end."""
    left = start
    first_x, first_y = vertices[start, 0], vertices[start, 1]
    px, py = vertices[end - 1, 0], vertices[end - 1, 1]
    for i in range(start, end):
        x, y = vertices[i, 0], vertices[i, 1]
        qx, qy = (vertices[i + 1, 0], vertices[i + 1, 1]) if i + 1 < end else (first_x, first_y)
        is_level = py == y == qy and (px < x < qx or px > x > qx)
        is_upright = px == x == qx and (py < y < qy or py > y > qy)
        if not (is_level or is_upright):
            vertices[left, 0], vertices[left, 1] = x, y
            left += 1
        px, py = x, y
    return left
