"""The answer key: a Label Studio task → its mask, read and painted by nothing of maskloop's.

Geometry is rational (`tests.conformance.geometry`); strokes are decoded by Label Studio's SDK, bitmasks by Pillow.
"""

from __future__ import annotations

import base64
import io
from fractions import Fraction
from typing import Any

import numpy as np
from label_studio_sdk.converter.brush import decode_rle
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from tests.conformance import geometry
from tests.conformance.geometry import Curve, Inside, Point, Size

VOID = 255
GAP_PX = 1e-9
"""A case's centres lie on an edge exactly, or at least this far from it."""

CLEARANCE_PX = 0.01
"""Nor does a curve come nearer to a centre than this: it may be drawn as lines that are so near to it."""

Result = dict[str, Any]


def mask(case: dict[str, Any]) -> NDArray[np.uint8]:
    """The mask, uint8 (H, W), that a case (see `tests.conformance.cases`) must give."""
    params = case["params"]
    rasterise = params.get("rasterise", {})
    finished = [entry for entry in case["task"]["annotations"] if not entry["was_cancelled"]]
    finished.sort(key=lambda entry: (entry["updated_at"], entry["id"]))
    masks = [_annotation_mask(entry["result"], case["size_hw"], params["classes"], rasterise) for entry in finished]
    policy = rasterise.get("annotators", "latest")
    if policy == "majority":
        return _majority(masks)
    if policy == "ground_truth_first":
        return max(zip(finished, range(len(masks)), masks, strict=True), key=lambda e: (e[0]["ground_truth"], e[1]))[2]
    return masks[-1]


def _majority(masks: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    votes = np.stack([np.sum([mask == value for mask in masks], axis=0) for value in range(VOID + 1)])
    most = votes.max(axis=0)
    winner = votes.argmax(axis=0)
    return np.where((votes == most).sum(axis=0) == 1, winner, VOID).astype(np.uint8)


def _annotation_mask(
    result: list[Result], size: list[int], classes: list[dict[str, Any]], rasterise: dict[str, str]
) -> NDArray[np.uint8]:
    size_hw = (size[0], size[1])
    values = {entry["name"]: index for index, entry in enumerate(classes)} | {"void": VOID}
    priorities = {entry["name"]: entry.get("priority", 0) for entry in classes}
    policy = rasterise.get("overlap", "priority")
    levels: list[tuple[int, int, Inside]] = []
    for item in filter(_covers, result):
        label = _label(item, result)
        if _is_hole(item) or label not in values:
            continue
        inside = _inside(item, size_hw)
        for hole in result:
            if _is_hole(hole) and hole.get("parentID") == item["id"] and _covers(hole):
                inside = inside & ~_inside(hole, size_hw)
        value = values[label]
        level = {"priority": priorities.get(label, 0), "smallest_on_top": -int(inside.sum())}
        below = max((entry[0] for entry in levels), default=-(10**9))
        levels.append((below if value == VOID else level.get(policy, 0), value, inside))
    painted = np.full(size_hw, values[rasterise.get("unlabelled", "void")], np.uint8)
    for _, value, inside in sorted(levels, key=lambda entry: entry[0]):
        painted[inside] = value
    if policy == "void":
        classes_here = {value for _, value, _ in levels if value != VOID}
        cover = [np.any([inside for _, other, inside in levels if other == value], axis=0) for value in classes_here]
        painted[np.sum(cover, axis=0) > 1] = VOID
    return painted


def _covers(item: Result) -> bool:
    """Whether it is a region of the image that a mask can show."""
    kind = item["type"].removesuffix("labels")
    if kind not in SHAPES or item.get("item_index"):
        return False
    return bool(item["value"]["closed"]) if kind == "vector" else len(item["value"].get("points", "any")) >= 3


def _is_hole(item: Result) -> bool:
    text = item.get("meta", {}).get("text", [])
    return "hole" in ([text] if isinstance(text, str) else text)


def _label(item: Result, result: list[Result]) -> str:
    """Its label, in its own `value` or in a result of the same id; empty if it has none."""
    same = [item, *(entry for entry in result if entry.get("id") == item["id"])]
    labels = [label for entry in same for label in entry["value"].get(entry["type"], [])]
    return str(labels[0]) if labels else ""


def _inside(item: Result, size_hw: Size) -> Inside:
    return SHAPES[item["type"].removesuffix("labels")](item["value"], size_hw)


def _px(x: float, y: float, size_hw: Size) -> Point:
    return Fraction(x) * size_hw[1] / 100, Fraction(y) * size_hw[0] / 100


def _polygon(value: Result, size_hw: Size) -> Inside:
    return geometry.polygon(size_hw, [[_px(x, y, size_hw) for x, y in value["points"]]], GAP_PX)


def _rectangle(value: Result, size_hw: Size) -> Inside:
    along, down = _px(value["width"], value["height"], size_hw)
    corners = geometry.rectangle(_px(value["x"], value["y"], size_hw), along, down, value.get("rotation", 0))
    return geometry.polygon(size_hw, [corners], GAP_PX)


def _ellipse(value: Result, size_hw: Size) -> Inside:
    centre, radii = _px(value["x"], value["y"], size_hw), _px(value["radiusX"], value["radiusY"], size_hw)
    return geometry.ellipse(size_hw, centre, radii, value.get("rotation", 0), GAP_PX)


def _brush(value: Result, size_hw: Size) -> Inside:
    alpha: Inside = decode_rle(value["rle"]).reshape(*size_hw, 4)[:, :, 3] > 127
    return alpha


def _bitmask(value: Result, size_hw: Size) -> Inside:
    """Nothing, if it is no image or one of another size."""
    try:
        image = Image.open(io.BytesIO(base64.b64decode(value["imageDataURL"].partition(",")[2])))
    except UnidentifiedImageError:
        return np.zeros(size_hw, bool)
    return np.asarray(image)[:, :, 3] > 127 if image.size == size_hw[::-1] else np.zeros(size_hw, bool)


def _vector(value: Result, size_hw: Size) -> Inside:
    """Even-odd over every link from vertex to vertex, which needs no order."""
    vertices = {vertex["id"]: vertex for vertex in value["vertices"]}
    links = [(vertices[end["prevPointId"]], end) for end in value["vertices"] if end.get("prevPointId")]
    curves = [_curve(start, end, size_hw) for start, end in links]
    if len(links) < len(vertices):
        ends = vertices.keys() - {start["id"] for start, _ in links}
        first = next(vertex for vertex in value["vertices"] if not vertex.get("prevPointId"))
        curves.append(_curve({**vertices[ends.pop()], "isBezier": False}, {**first, "isBezier": False}, size_hw))
    for curve in curves:
        if not geometry.is_straight(curve) and geometry.distance_px(curve, size_hw) < CLEARANCE_PX:
            raise geometry.AmbiguousError("a curve comes too near to a centre")
    return geometry.path(size_hw, curves)


def _curve(start: Result, end: Result, size_hw: Size) -> Curve:
    """As Label Studio draws it: a handle that one vertex lacks lies 0.3 of the way to the other."""
    a, b = _px(start["x"], start["y"], size_hw), _px(end["x"], end["y"], size_hw)
    leaving = start["controlPoint2"] if start["isBezier"] else None
    arriving = end["controlPoint1"] if end["isBezier"] else None
    if not leaving and not arriving:
        return a, a, b, b
    return (
        a,
        _px(leaving["x"], leaving["y"], size_hw) if leaving else _towards(a, b),
        _px(arriving["x"], arriving["y"], size_hw) if arriving else _towards(b, a),
        b,
    )


def _towards(a: Point, b: Point) -> Point:
    share = Fraction(3, 10)
    return a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share


SHAPES = {
    "polygon": _polygon,
    "rectangle": _rectangle,
    "ellipse": _ellipse,
    "brush": _brush,
    "bitmask": _bitmask,
    "vector": _vector,
}
