"""Label Studio's JSON ⇄ tasks, annotations and regions. Pure: no network, no files.

The format is Label Studio's own, https://labelstud.io/guide/export#Label-Studio-JSON-format-of-annotated-tasks
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from connectors.label_studio_shapes import SHAPES
from schemas.errors import RegionError, SourceFormatError
from schemas.regions import Region, Shape
from schemas.tasks import Annotation, Task

NOT_REGIONS = frozenset(
    {"relation", "choices", "textarea", "rating", "number", "datetime", "taxonomy", "pairwise", "ranker"}
    | {"keypoint", "keypointlabels"}
)
"""Result types that describe a task or a point and cover no pixel."""

HOLE = "hole"
"""What the `meta.text` of a hole says."""


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
    if isinstance(url, list) and url:  # of several pages the first one
        url = url[0]
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


def parse_regions(
    result: str | bytes, to_name: str | None = None, passed_over: Counter[str] | None = None
) -> Iterator[Region | tuple[str, RegionError]]:
    """Yield the regions of an annotation's `result` in stacking order (later on top), each with its holes.

    A result that can't be a region is yielded as (region id, RegionError) in its place. What covers no pixel by its
    nature (relations, choices, key points …) is passed over, and counted by type in `passed_over` if that is given.
    With a `to_name`, regions drawn on another image tag are yielded as errors. Raises RegionError `malformed` if
    `result` is no list.

    A region is a hole if its `meta.text` says `hole`; it is cut out of the region that its `parentID` names.
    """
    items = loads(result)
    if not isinstance(items, list):
        raise RegionError("malformed", f"`result` is {type(items).__name__}, expected a list")
    shared = _shared_labels(items)
    regions: list[Region | tuple[str, RegionError]] = []
    holes: list[tuple[str, Region]] = []
    for item in items:
        if not isinstance(item, dict):
            regions.append(("", RegionError("malformed", f"a result is {type(item).__name__}, expected an object")))
            continue
        kind = item.get("type")
        if kind in NOT_REGIONS or kind == "labels":
            if passed_over is not None and kind != "labels":
                passed_over[str(kind)] += 1
            continue
        region_id = _region_id(item)
        try:
            _check_image(item, to_name)
            if _is_hole(item):
                hole = Region(region_id, "", _shape_parser(item)(), _size_hw(item))
                holes.append((str(item.get("parentID") or ""), hole))
            else:
                regions.append(_region(item, _labels(item) or shared.get(region_id, [])))
        except RegionError as error:
            regions.append((region_id, error))
    yield from _with_holes(regions, holes)


def _with_holes(
    regions: list[Region | tuple[str, RegionError]], holes: list[tuple[str, Region]]
) -> Iterator[Region | tuple[str, RegionError]]:
    """The regions with their holes (given with their parents' ids), then the holes that have none to be cut out of."""
    sizes = {region.region_id: region.size_hw for region in regions if isinstance(region, Region)}
    cut: dict[str, list[Shape]] = defaultdict(list)
    orphans = []
    for parent, hole in holes:
        if sizes.get(parent) == hole.size_hw:
            cut[parent].append(hole.shape)
        else:
            orphans.append((hole.region_id, _hole_without_parent(parent)))
    for region in regions:
        if isinstance(region, Region) and region.region_id in cut:
            yield replace(region, holes=tuple(cut[region.region_id]))
        else:
            yield region
    yield from orphans


def _hole_without_parent(parent: str) -> RegionError:
    found = f"its parent {parent!r} is no usable region of the same image" if parent else "it has no parent"
    return RegionError(
        "hole_without_parent",
        f"a hole needs a region to be cut out of; {found}",
        "Drag it onto its region in Label Studio's region list, or clear its meta text.",
    )


def _region_id(item: dict[str, Any]) -> str:
    return str(item.get("id", ""))


def _is_hole(item: dict[str, Any]) -> bool:
    meta = item.get("meta")
    text = meta.get("text") if isinstance(meta, dict) else None
    return any(isinstance(line, str) and line.strip().lower() == HOLE for line in _listed(text))


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _check_image(item: dict[str, Any], to_name: str | None) -> None:
    """Raises RegionError if the region was not drawn on the image that the mask is of."""
    if to_name is not None and item.get("to_name") != to_name:
        raise RegionError(
            "other_image",
            f"the region was drawn on {item.get('to_name')!r}, expected {to_name!r}",
            "Give each image a task of its own.",
        )
    page = item.get("item_index")
    if page:
        raise RegionError(
            "other_page",
            f"the region was drawn on page index {page!r:.40}, the mask is of page 0",
            "Give each page a task of its own.",
        )


def _shared_labels(items: list[Any]) -> dict[str, list[str]]:
    """Labels by region id where, with <Labels>, they come in a result of their own beside the shape's."""
    return {
        _region_id(item): _labels(item) for item in items if isinstance(item, dict) and item.get("type") == "labels"
    }


def _labels(item: dict[str, Any]) -> list[str]:
    """Labels beside the shape: under the type's own name, or under `labels` where a task has several images."""
    value = item.get("value")
    if not isinstance(value, dict):
        return []
    labels = value.get(str(item.get("type"))) or value.get("labels")
    return [str(label) for label in labels] if isinstance(labels, list) else []


def _region(item: dict[str, Any], labels: list[str]) -> Region:
    shape = _shape_parser(item)
    if not labels:
        raise RegionError("no_label", "the region has no label", "Give it one in Label Studio.")
    if len(labels) > 1:
        raise RegionError(
            "several_labels", f"the region has {len(labels)} labels: {', '.join(labels)}", "Leave it one."
        )
    size_hw = _size_hw(item)
    return Region(_region_id(item), labels[0], shape(), size_hw)


def _shape_parser(item: dict[str, Any]) -> Callable[[], Shape]:
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
    return partial(parse, value)


def _size_hw(item: dict[str, Any]) -> tuple[int, int]:
    width, height = item.get("original_width"), item.get("original_height")
    if not (isinstance(width, int) and isinstance(height, int) and width > 0 and height > 0):
        raise RegionError(
            "missing_size",
            f"`original_width` × `original_height` is {width} × {height}, expected positive integers",
            "Open the task in Label Studio and submit it again.",
        )
    return height, width


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


def brush_result(
    region_id: str, label: str, rle: bytes, size_hw: tuple[int, int], score: float | None = None
) -> dict[str, Any]:
    """One brush stroke as an item of a `result`. `rle`: Label Studio's own, of a mask of that size; `score` in 0..1."""
    item: dict[str, Any] = {
        "id": region_id,
        "from_name": "brush",
        "to_name": "image",
        "type": "brushlabels",
        "original_width": size_hw[1],
        "original_height": size_hw[0],
        "image_rotation": 0,
        "value": {"format": "rle", "rle": list(rle), "brushlabels": [label]},
    }
    return item if score is None else item | {"score": score}


def hole_result(
    region_id: str, parent_id: str, label: str, points_pct: NDArray[np.float64], size_hw: tuple[int, int]
) -> dict[str, Any]:
    """A hole in the region `parent_id`, as an item of the same `result`; its `label` counts for nothing here."""
    item = polygon_result(region_id, label, points_pct, size_hw)
    return item | {"parentID": parent_id, "meta": {"text": [HOLE]}}
