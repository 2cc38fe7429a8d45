"""Label Studio's JSON ⇄ tasks, annotations and regions. Pure: no network, no files.

The format is Label Studio's own, https://labelstud.io/guide/export#Label-Studio-JSON-format-of-annotated-tasks
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from schemas.errors import RegionError, SourceFormatError
from schemas.regions import Brush, Ellipse, Polygon, Rectangle, Region, Shape
from schemas.tasks import Annotation, Task

SLACK_PCT = 1e-3
"""Coordinates this far outside 0..100 are rounding, not mistakes."""

NOT_REGIONS = frozenset(
    {"relation", "choices", "textarea", "rating", "number", "datetime", "taxonomy", "pairwise", "ranker"}
    | {"keypoint", "keypointlabels"}
)
"""Result types that describe a task or a point and cover no pixel."""


def loads(text: str | bytes) -> Any:
    """Parse JSON; also the `NaN` that Python's own writer lets through. Raises ValueError."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return json.loads(text)


def dumps(value: Any) -> str:
    """Compact JSON text."""
    try:
        return orjson.dumps(value).decode()
    except (TypeError, orjson.JSONEncodeError):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def parse_task(raw: Any, image_field: str, revision: str | None = None) -> Task:
    """A task from the API or an export. Raises SourceFormatError if it does not look like one."""
    if not isinstance(raw, dict) or not isinstance(raw.get("id"), int) or not isinstance(raw.get("data"), dict):
        found = ", ".join(raw) if isinstance(raw, dict) else type(raw).__name__
        raise SourceFormatError(
            f"a task needs an integer `id` and a `data` object, found: {found:.200}",
            "Export as `JSON`; JSON-MIN and other formats leave out what is needed.",
        )
    task_id = raw["id"]
    annotations = raw.get("annotations")
    if not isinstance(annotations, list):
        raise SourceFormatError(
            f"task {task_id}: `annotations` is {type(annotations).__name__}, expected a list", "Export as `JSON`."
        )
    url = raw["data"].get(image_field)
    return Task(
        task_id=task_id,
        revision=revision or str(raw.get("updated_at")),
        data=raw["data"],
        image_url=url if isinstance(url, str) else "",
        annotations=tuple(sorted((_annotation(task_id, entry) for entry in annotations), key=_by_id)),
    )


def _by_id(annotation: Annotation) -> int:
    return annotation.annotation_id


def _annotation(task_id: int, raw: Any) -> Annotation:
    if not isinstance(raw, dict) or not isinstance(raw.get("id"), int) or not isinstance(raw.get("result"), list):
        raise SourceFormatError(f"task {task_id}: an annotation needs an integer `id` and a `result` list")
    annotator = raw.get("completed_by")
    if isinstance(annotator, dict):
        annotator = annotator.get("id")
    lead_time = raw.get("lead_time")
    return Annotation(
        annotation_id=raw["id"],
        annotator=None if annotator is None else str(annotator),
        created_at=raw.get("created_at"),
        updated_at=raw.get("updated_at"),
        was_cancelled=bool(raw.get("was_cancelled")),
        ground_truth=bool(raw.get("ground_truth")),
        parent_prediction=raw.get("parent_prediction"),
        lead_time_s=None if lead_time is None else float(lead_time),
        result=dumps(raw["result"]),
    )


def parse_regions(result: str) -> Iterable[Region | tuple[str, RegionError]]:
    """Yield the regions of an annotation's `result` in stacking order (later on top).

    A result that can't be a region is yielded as (region id, RegionError) in its place; what covers no pixel by its
    nature (relations, choices, key points …) is passed over. Raises RegionError `malformed` if `result` is no list.
    """
    items = loads(result)
    if not isinstance(items, list):
        raise RegionError("malformed", f"`result` is {type(items).__name__}, expected a list")
    shared = _shared_labels(items)
    for item in items:
        if not isinstance(item, dict):
            yield "", RegionError("malformed", f"a result is {type(item).__name__}, expected an object")
            continue
        kind = item.get("type")
        if kind in NOT_REGIONS or kind == "labels":
            continue
        region_id = str(item.get("id", ""))
        try:
            yield _region(item, _labels(item) or shared.get(region_id, []))
        except RegionError as error:
            yield region_id, error


def _shared_labels(items: list[Any]) -> dict[str, list[str]]:
    """Labels by region id where, with <Labels>, they come in a result of their own beside the shape's."""
    return {
        str(item.get("id", "")): _labels(item)
        for item in items
        if isinstance(item, dict) and item.get("type") == "labels"
    }


def _labels(item: dict[str, Any]) -> list[str]:
    value = item.get("value")
    labels = value.get(str(item.get("type"))) if isinstance(value, dict) else None
    return [str(label) for label in labels] if isinstance(labels, list) else []


def _region(item: dict[str, Any], labels: list[str]) -> Region:
    kind, value = item.get("type"), item.get("value")
    parse = SHAPES.get(str(kind).removesuffix("labels"))
    if parse is None:
        raise RegionError(
            "unsupported_type",
            f"a region of type {kind!r}, expected one of {', '.join(SHAPES)}",
            "Draw it with one of the supported tools.",
        )
    if not isinstance(value, dict):
        raise RegionError("malformed", f"`value` is {type(value).__name__}, expected an object")
    if not labels:
        raise RegionError("no_label", "the region has no label", "Give it one in Label Studio.")
    if len(labels) > 1:
        raise RegionError(
            "several_labels", f"the region has {len(labels)} labels: {', '.join(labels)}", "Leave it one."
        )
    width, height = item.get("original_width"), item.get("original_height")
    if not (isinstance(width, int) and isinstance(height, int) and width > 0 and height > 0):
        raise RegionError(
            "missing_size",
            f"`original_width` × `original_height` is {width} × {height}, expected positive integers",
            "Open the task in Label Studio and submit it again.",
        )
    return Region(str(item.get("id", "")), labels[0], parse(value), (height, width))


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


SHAPES: dict[str, Callable[[dict[str, Any]], Shape]] = {
    "polygon": _polygon,
    "rectangle": _rectangle,
    "ellipse": _ellipse,
    "brush": _brush,
}


def polygon_result(
    region_id: str, label: str, points_pct: NDArray[np.float64], size_hw: tuple[int, int], score: float | None = None
) -> dict[str, Any]:
    """One polygon as an item of a `result`. `points_pct`: float64 (N, 2), x and y in percent; `score` in 0..1."""
    item: dict[str, Any] = {
        "id": region_id,
        "from_name": "polygon",
        "to_name": "image",
        "type": "polygonlabels",
        "original_width": size_hw[1],
        "original_height": size_hw[0],
        "image_rotation": 0,
        "value": {"points": points_pct.tolist(), "closed": True, "polygonlabels": [label]},
    }
    return item if score is None else item | {"score": score}
