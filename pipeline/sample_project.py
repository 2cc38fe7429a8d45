"""The sample project: drawn street scenes as image files and a Label Studio export, of every kind of task one meets."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from connectors.label_studio_json import dumps, polygon_result
from connectors.storage import write_bytes
from pipeline.raster import fill_polygon, points_pct
from pipeline.rle import encode_brush
from pipeline.scene_canvas import EllipsePx, Floats, RectanglePx, ShapePx, is_inside, outline
from pipeline.scenes import CLIPS, FRAMES, Scene, draw_scene

EXPORT = "export.json"
IMAGES_DIR = "images"
JPEG_QUALITY = 95

UNLABELLED_FRAME = 1
"""Of each clip this frame has no annotation: the model gets to pre-annotate it."""

SKIPPED_TASK, TWICE_TASK, TURNED_TASK = 16, 25, 34
"""The task an annotator skipped, the one that two annotated, and the one whose photo lies on its side."""

BRUSH_EVERY = 4
"""In every fourth task tree crowns are brush strokes."""

ANNOTATORS = (1, 2)
SHIFT_PX = 1.5
"""How far right and down the second annotator's regions lie."""

ORIENTATION, QUARTER_TURN = 0x0112, 6
"""EXIF tag, and its value for a picture to be shown turned clockwise by 90°."""


@dataclass(frozen=True, slots=True)
class SampleProject:
    """What was written: the export file, the image files in the order of the tasks, and the tasks as exported."""

    export: Path
    images: tuple[Path, ...]
    tasks: tuple[dict[str, Any], ...]


def write_sample_project(folder: Path, seed: int = 0) -> SampleProject:
    """Draw 60 scenes into `folder`/images and write `folder`/export.json. The same seed gives the same bytes.

    40 tasks have annotations, one of them skipped, one by two annotators, one of a photo that EXIF turns; 20 have none.
    """
    images, tasks = [], []
    for number in range(CLIPS * FRAMES):
        clip, frame = divmod(number, FRAMES)
        scene = draw_scene(seed, clip, frame)
        path = folder / IMAGES_DIR / f"clip-{clip:02}-frame-{frame}.jpg"
        write_bytes(path, _jpeg(scene.image, turned=number + 1 == TURNED_TASK))
        images.append(path)
        tasks.append(_task(number + 1, path.name, clip, _annotations(number + 1, scene)))
    write_bytes(folder / EXPORT, dumps(tasks).encode())
    return SampleProject(folder / EXPORT, tuple(images), tuple(tasks))


def _jpeg(image: NDArray[np.uint8], turned: bool) -> bytes:
    """JPEG of an RGB picture (H, W, 3); `turned` ones are stored lying on their left side, for EXIF to put upright."""
    stored = Image.fromarray(np.rot90(image) if turned else image)
    exif = Image.Exif()
    if turned:
        exif[ORIENTATION] = QUARTER_TURN
    buffer = io.BytesIO()
    stored.save(buffer, "JPEG", quality=JPEG_QUALITY, exif=exif)
    return buffer.getvalue()


def _task(task_id: int, name: str, clip: int, annotations: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "id": task_id,
        "data": {"image": f"{IMAGES_DIR}/{name}", "video": f"clip-{clip:02}"},
        "annotations": annotations,
        "predictions": [],
        "drafts": [],
    }


def _annotations(task_id: int, scene: Scene) -> list[dict[str, Any]]:
    if (task_id - 1) % FRAMES == UNLABELLED_FRAME:
        return []
    annotators = ANNOTATORS if task_id == TWICE_TASK else ANNOTATORS[:1]
    return [_annotation(task_id, annotator, scene) for annotator in annotators]


def _annotation(task_id: int, annotator: int, scene: Scene) -> dict[str, Any]:
    skipped = task_id == SKIPPED_TASK
    result = (
        []
        if skipped
        else _result(f"{task_id}/{annotator}", scene, task_id % BRUSH_EVERY == 0, SHIFT_PX * (annotator - 1))
    )
    minute = f"2026-01-{annotator:02}T{9 + task_id // 60:02}:{task_id % 60:02}"
    return {
        "id": 10 * task_id + annotator,
        "completed_by": annotator,
        "result": result,
        "was_cancelled": skipped,
        "ground_truth": False,
        "created_at": f"{minute}:00.000000Z",
        "updated_at": f"{minute}:30.000000Z",
        "lead_time": 2.0 + 4.0 * len(result),
    }


def _result(name: str, scene: Scene, brushes: bool, shift_px: float) -> list[dict[str, Any]]:
    """The scene's regions in painter's order, moved by `shift_px`, as a `result`; region ids derive from `name`."""
    size_hw = (scene.image.shape[0], scene.image.shape[1])
    items = []
    for number, (label, shape) in enumerate(scene.regions):
        region_id = hashlib.sha256(f"{name}/{number}".encode()).hexdigest()[:10]
        item = _item(region_id, label, _moved(shape, shift_px), size_hw, brushes and _is_crown(label, shape))
        items += [item] if item else []
    return items


def _is_crown(label: str, shape: ShapePx) -> bool:
    """Whether it is a tree's crown; trunks have four corners."""
    return label == "tree" and isinstance(shape, np.ndarray) and len(shape) > 4


def _moved(shape: ShapePx, by_px: float) -> ShapePx:
    if isinstance(shape, np.ndarray):
        return shape + by_px
    if isinstance(shape, RectanglePx):
        return RectanglePx(shape.x + by_px, shape.y + by_px, shape.width, shape.height, shape.rotation_deg)
    return EllipsePx(shape.x + by_px, shape.y + by_px, shape.radius_x, shape.radius_y, shape.rotation_deg)


def _item(region_id: str, label: str, shape: ShapePx, size_hw: tuple[int, int], brush: bool) -> dict[str, Any] | None:
    """One region as an item of a `result`, None if nothing of it lies in the picture."""
    if brush:
        mask = fill_polygon(size_hw, [outline(shape)])
        value: dict[str, Any] = {"format": "rle", "rle": list(encode_brush(mask))}
        return _other_result(region_id, label, "brush", value, size_hw) if mask.any() else None
    if isinstance(shape, np.ndarray) or not is_inside(shape):
        points = clip_polygon(outline(shape), size_hw)
        return polygon_result(region_id, label, points_pct(points, size_hw), size_hw) if len(points) >= 3 else None
    height, width = size_hw
    value = {"x": shape.x * 100 / width, "y": shape.y * 100 / height, "rotation": shape.rotation_deg}
    if isinstance(shape, RectanglePx):
        value |= {"width": shape.width * 100 / width, "height": shape.height * 100 / height}
        return _other_result(region_id, label, "rectangle", value, size_hw)
    value |= {"radiusX": shape.radius_x * 100 / width, "radiusY": shape.radius_y * 100 / height}
    return _other_result(region_id, label, "ellipse", value, size_hw)


def _other_result(
    region_id: str, label: str, control: str, value: dict[str, Any], size_hw: tuple[int, int]
) -> dict[str, Any]:
    return {
        "id": region_id,
        "from_name": control,
        "to_name": "image",
        "type": f"{control}labels",
        "original_width": size_hw[1],
        "original_height": size_hw[0],
        "image_rotation": 0,
        "value": value | {f"{control}labels": [label]},
    }


def clip_polygon(points_px: Floats, size_hw: tuple[int, int]) -> Floats:
    """The part of a polygon (N, 2) within the picture, (M, 2) in pixels, M = 0 if there is none.

    Sutherland and Hodgman, Reentrant Polygon Clipping (1974): cut along one side of the picture after the other.
    """
    for axis, limit, sign in ((0, 0, 1), (0, size_hw[1], -1), (1, 0, 1), (1, size_hw[0], -1)):
        kept: list[Floats] = []
        inside = sign * (points_px[:, axis] - limit) >= 0
        for number, point in enumerate(points_px):
            before = points_px[number - 1]
            if inside[number] != inside[number - 1]:
                crossing = before + (point - before) * ((limit - before[axis]) / (point[axis] - before[axis]))
                crossing[axis] = limit
                kept.append(crossing)
            if inside[number]:
                kept.append(point)
        points_px = np.array(kept).reshape(-1, 2)
    return points_px
