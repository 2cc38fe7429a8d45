"""The `value` of a Label Studio region → its shape, by region type.

What the editor writes is told by its source, https://github.com/HumanSignal/label-studio (web/libs/editor/src/regions).
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from schemas.errors import RegionError
from schemas.regions import Bitmask, Brush, Ellipse, Polygon, Rectangle, Shape, Vector

SLACK_PCT = 1e-3
"""Coordinates this far outside 0..100 are rounding, not mistakes."""

FARTHEST_HANDLE_PCT = 1000.0
"""Control points of a curve may lie outside the image, though not farther than this."""

PNG_URI = "data:image/png;base64,"


def _number(value: dict[str, Any], key: str, default: float | None = None) -> float:
    found = value.get(key, default)
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise RegionError("malformed", f"`{key}` is {found!r:.40}, expected a number")
    if not math.isfinite(found):
        raise RegionError("not_a_number", f"`{key}` is {found}", "Draw the region again.")
    return float(found)


def _inside(key: str, low: float, high: float) -> None:
    if low < -SLACK_PCT or high > 100 + SLACK_PCT:
        raise RegionError(
            "outside_image",
            f"{key} spans {low:g} to {high:g} percent, expected 0 to 100",
            "Move the region into the image.",
        )


def _polygon(value: dict[str, Any]) -> Shape:
    points = value.get("points")
    if not isinstance(points, list):
        raise RegionError("malformed", f"`points` is {type(points).__name__}, expected a list")
    if len(points) < 3:
        raise RegionError(
            "too_few_points", f"a polygon of {len(points)} points, expected at least 3", "Finish or delete it."
        )
    try:
        array = np.array(points, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise RegionError("malformed", "`points` holds something else than pairs of numbers") from error
    if array.ndim != 2 or array.shape[1] != 2:
        raise RegionError("malformed", f"`points` has shape {array.shape}, expected (N, 2)")
    if not np.isfinite(array).all():
        raise RegionError("not_a_number", "a point is not a finite number", "Draw the region again.")
    _inside("the polygon", float(array.min()), float(array.max()))
    return Polygon(array)


def _rectangle(value: dict[str, Any]) -> Shape:
    x, y = _number(value, "x"), _number(value, "y")
    width, height = _number(value, "width"), _number(value, "height")
    rotation = _number(value, "rotation", 0.0)
    if width <= 0 or height <= 0:
        raise RegionError("no_area", f"a rectangle of {width:g} × {height:g} percent", "Delete it.")
    if rotation % 360 == 0:
        _inside("the rectangle's x", x, x + width)
        _inside("the rectangle's y", y, y + height)
    return Rectangle(x, y, width, height, rotation)


def _ellipse(value: dict[str, Any]) -> Shape:
    x, y = _number(value, "x"), _number(value, "y")
    radius_x, radius_y = _number(value, "radiusX"), _number(value, "radiusY")
    if radius_x <= 0 or radius_y <= 0:
        raise RegionError("no_area", f"an ellipse with radii {radius_x:g} and {radius_y:g} percent", "Delete it.")
    _inside("the ellipse's centre", min(x, y), max(x, y))
    return Ellipse(x, y, radius_x, radius_y, _number(value, "rotation", 0.0))


def _brush(value: dict[str, Any]) -> Shape:
    rle = value.get("rle")
    if not isinstance(rle, list) or not rle:
        raise RegionError(
            "bad_rle", f"`rle` is {type(rle).__name__}, expected a list of bytes", "Draw the stroke again."
        )
    try:
        return Brush(bytes(rle))
    except (TypeError, ValueError) as error:
        raise RegionError(
            "bad_rle", "`rle` holds something else than bytes 0..255", "Draw the stroke again."
        ) from error


def _bitmask(value: dict[str, Any]) -> Shape:
    uri = value.get("imageDataURL")
    if not isinstance(uri, str) or not uri.startswith(PNG_URI):
        raise RegionError(
            "bad_bitmask", f"`imageDataURL` is {uri!r:.40}, expected {PNG_URI}…", "Draw the bitmask again."
        )
    try:
        return Bitmask(base64.b64decode(uri.removeprefix(PNG_URI), validate=True))
    except binascii.Error as error:
        raise RegionError("bad_bitmask", f"`imageDataURL` is no base64: {error}", "Draw the bitmask again.") from error


def _vector(value: dict[str, Any]) -> Shape:
    vertices = value.get("vertices")
    if not isinstance(vertices, list) or not all(isinstance(vertex, dict) for vertex in vertices):
        raise RegionError("malformed", "`vertices` is no list of objects")
    if value.get("closed") is not True:
        raise RegionError("not_closed", "an open path covers no pixel", "Close it, or delete it.")
    if len(vertices) < 3 and not any(vertex.get("isBezier") for vertex in vertices):
        raise RegionError("too_few_points", f"a path of {len(vertices)} points, expected at least 3", "Delete it.")
    curves = np.array(_curves(vertices))
    _inside("the path", float(curves[:, 0].min()), float(curves[:, 0].max()))
    farthest = float(np.abs(curves).max())
    if farthest > FARTHEST_HANDLE_PCT:
        raise RegionError(
            "outside_image",
            f"a control point at {farthest:g} percent, expected at most {FARTHEST_HANDLE_PCT:g}",
            "Draw the curve again.",
        )
    return Vector(curves)


def _curves(vertices: list[dict[str, Any]]) -> list[list[tuple[float, float]]]:
    """The path's curves as Label Studio draws them: each vertex names the one before it in `prevPointId`.

    Without that it follows its neighbour in the list, and the path is closed by a straight line.
    """
    names = [str(vertex.get("id") or number) for number, vertex in enumerate(vertices)]
    before = [str(vertex.get("prevPointId") or name) for vertex, name in zip(vertices, ["", *names], strict=False)]
    following = dict(zip(before, range(len(vertices)), strict=True))
    first = following.get("", 0)
    path, curves = [first], []
    while (number := following.get(names[path[-1]])) is not None:
        curves.append(_curve(vertices[path[-1]], vertices[number]))
        if number == first or len(path) == len(vertices):
            break
        path.append(number)
    if len(set(path)) < len(vertices):
        raise RegionError("branched", "the path branches or falls apart", "Draw it as one closed path.")
    if len(curves) < len(path):
        start, end = _point(vertices[path[-1]]), _point(vertices[first])
        curves.append([start, start, end, end])
    return curves


def _curve(start: dict[str, Any], end: dict[str, Any]) -> list[tuple[float, float]]:
    """Cubic Bézier from vertex to vertex; where only one of them has a handle, the other's is on the line between."""
    a, b = _point(start), _point(end)
    leaving, arriving = _handle(start, "controlPoint2"), _handle(end, "controlPoint1")
    if leaving is None and arriving is None:
        return [a, a, b, b]
    return [a, leaving or _towards(a, b), arriving or _towards(b, a), b]


def _towards(a: tuple[float, float], b: tuple[float, float]) -> tuple[float, float]:
    """Where Label Studio puts the handle that a vertex lacks: 0.3 of the way."""
    return a[0] + (b[0] - a[0]) * 0.3, a[1] + (b[1] - a[1]) * 0.3


def _handle(vertex: dict[str, Any], key: str) -> tuple[float, float] | None:
    handle = vertex.get(key)
    return _point(handle) if vertex.get("isBezier") and isinstance(handle, dict) else None


def _point(value: dict[str, Any]) -> tuple[float, float]:
    return _number(value, "x"), _number(value, "y")


SHAPES: dict[str, Callable[[dict[str, Any]], Shape]] = {
    "polygon": _polygon,
    "rectangle": _rectangle,
    "ellipse": _ellipse,
    "brush": _brush,
    "bitmask": _bitmask,
    "vector": _vector,
}
