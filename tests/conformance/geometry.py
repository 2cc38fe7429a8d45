"""Which pixel centres lie inside a shape, in rational arithmetic: the rule itself, and none of maskloop's code.

Coordinates are pixels; a centre is (column + ½, row + ½). Numbers are taken as the fractions that they are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

Point = tuple[Fraction, Fraction]
Curve = tuple[Point, Point, Point, Point]
Inside = NDArray[np.bool_]
Size = tuple[int, int]

HALF = Fraction(1, 2)
PI = Fraction("3.14159265358979323846264338327950288419716939937510")
DIGITS = 10**40


class AmbiguousError(Exception):
    """A centre lies so near to a boundary that rounding a coordinate may decide: no case for an answer key."""


def polygon(
    size_hw: Size, rings: Sequence[Sequence[tuple[float | Fraction, float | Fraction]]], gap: float = 0
) -> Inside:
    """A centre is in iff an odd number of edges pass at or left of it (edges: top in, bottom out).

    With a `gap`, centres must lie on an edge or at least so far from it. Raises AmbiguousError.
    """
    height, width = size_hw
    inside = np.zeros(size_hw, bool)
    edges = [tuple(map(Fraction, (*ring[i - 1], *ring[i]))) for ring in rings for i in range(len(ring))]
    for row in range(height):
        y = row + HALF
        for ax, ay, bx, by in edges:
            if any(0 < abs(end - y) < gap for end in (ay, by)):
                raise AmbiguousError(f"a vertex at y = {float(ay)} or {float(by)} beside row {row}")
            if (ay <= y) != (by <= y):
                crossing = ax + (y - ay) * (bx - ax) / (by - ay) - HALF
                if 0 < abs(crossing - round(crossing)) < gap:
                    raise AmbiguousError(f"an edge crosses row {row} at column {float(crossing)}")
                first = min(max(math.ceil(crossing), 0), width)
                inside[row, first:] ^= True
    return inside


def cos_sin(degrees: float) -> Point:
    """Exact at quarter turns, else to 40 digits."""
    quarters, rest = divmod(Fraction(degrees), 90)
    angle = rest * PI / 180
    cos = sum((-1) ** k * angle ** (2 * k) / math.factorial(2 * k) for k in range(25))
    sin = sum((-1) ** k * angle ** (2 * k + 1) / math.factorial(2 * k + 1) for k in range(25))
    cos, sin = Fraction(round(cos * DIGITS), DIGITS), Fraction(round(sin * DIGITS), DIGITS)
    return ((cos, sin), (-sin, cos), (-cos, -sin), (sin, -cos))[int(quarters) % 4]


def rectangle(corner: Point, along: Fraction, down: Fraction, degrees: float) -> list[Point]:
    """Corners, clockwise from the one about which it is turned clockwise."""
    (x, y), (cos, sin) = corner, cos_sin(degrees)
    right, below = (along * cos, along * sin), (-down * sin, down * cos)
    return [
        (x, y),
        (x + right[0], y + right[1]),
        (x + right[0] + below[0], y + right[1] + below[1]),
        (x + below[0], y + below[1]),
    ]


def ellipse(size_hw: Size, centre: Point, radii: Point, degrees: float, gap: float = 0) -> Inside:
    """Centres strictly inside, turned clockwise about its centre; a circle is not turned."""
    (x, y), (radius_x, radius_y) = centre, radii
    cos, sin = cos_sin(degrees if radius_x != radius_y else 0)
    inside = np.zeros(size_hw, bool)
    for row, column in np.ndindex(size_hw):
        dx, dy = column + HALF - x, row + HALF - y
        value = ((dx * cos + dy * sin) / radius_x) ** 2 + ((dy * cos - dx * sin) / radius_y) ** 2
        if 0 < abs(value - 1) < gap:
            raise AmbiguousError(f"the ellipse passes row {row}, column {column} at {float(value)}")
        inside[row, column] = value < 1
    return inside


def path(size_hw: Size, curves: Sequence[Curve]) -> Inside:
    """Centres inside a closed path of cubic Bézier curves, by the same rule as polygons."""
    inside = np.zeros(size_hw, bool)
    for row, column in np.ndindex(size_hw):
        centre = (column + HALF, row + HALF)
        inside[row, column] = sum(passes_left(curve, centre) for curve in curves) % 2
    return inside


def passes_left(curve: Curve, centre: Point, depth: int = 0) -> int:
    """How often, modulo 2, the curve crosses the line y = centre at or left of the centre.

    Exact without solving anything: a curve lies in the hull of its control points, so it is halved until they all lie
    above or below the centre, or left of it, or right.
    """
    x, y = centre
    if len({point[1] <= y for point in curve}) == 1 or all(point[0] > x for point in curve):
        return 0
    if is_straight(curve):
        (ax, ay), (bx, by) = curve[0], curve[3]
        return ax + (y - ay) * (bx - ax) / (by - ay) <= x
    if all(point[0] <= x for point in curve):
        return (curve[0][1] <= y) != (curve[3][1] <= y)
    if depth > 60:
        raise AmbiguousError(f"a curve passes through the centre {float(x)}, {float(y)}")
    return sum(passes_left(half, centre, depth + 1) for half in halves(curve))


def is_straight(curve: Curve) -> bool:
    return curve[0] == curve[1] and curve[2] == curve[3]


def halves(curve: Curve) -> tuple[Curve, Curve]:
    """De Casteljau at ½."""
    a, b, c, d = curve
    ab, bc, cd = _middle(a, b), _middle(b, c), _middle(c, d)
    abc, bcd = _middle(ab, bc), _middle(bc, cd)
    middle = _middle(abc, bcd)
    return (a, ab, abc, middle), (middle, bcd, cd, d)


def _middle(a: Point, b: Point) -> Point:
    return (a[0] + b[0]) / 2, (a[1] + b[1]) / 2


def distance_px(curve: Curve, size_hw: Size) -> float:
    """Least distance of a pixel centre from the curve, to about 1e-4 px."""
    points = np.array([[float(x), float(y)] for x, y in curve])
    t = np.linspace(0, 1, 4001)[:, np.newaxis]
    line = (
        (1 - t) ** 3 * points[0] + 3 * (1 - t) ** 2 * t * points[1] + 3 * (1 - t) * t**2 * points[2] + t**3 * points[3]
    )
    nearest = np.clip(np.floor(line), 0, [size_hw[1] - 1, size_hw[0] - 1]) + 0.5
    return float(np.linalg.norm(line - nearest, axis=1).min())
