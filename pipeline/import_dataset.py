"""`maskloop import`: a Label Studio project out of a data set in a well-known format, its masks traced to polygons."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from connectors.label_studio import Server
from connectors.label_studio_json import polygon_result
from connectors.label_studio_setup import annotation, create_project, import_tasks, upload_images
from connectors.labelled import Instance, Labelled, Outline
from pipeline.components import components
from pipeline.outlines import outlines
from pipeline.progress import Progress
from pipeline.raster import points_pct
from schemas.errors import ParamsError
from schemas.labels import VOID_INDEX, ClassMap, label_config


@dataclass(frozen=True, slots=True)
class TaskOptions:
    """`tolerance_px` of traced polygons, and what goes into each task's data.

    `group_regex`: its first group, searched in the image's stem, becomes `data.video`. `split` becomes `data.split`;
    None leaves that to the data set.
    """

    tolerance_px: float = 0.0
    group_regex: str | None = None
    split: str | None = None


def import_dataset(
    server: Server,
    labelled: Iterable[Labelled],
    options: TaskOptions,
    class_map: ClassMap,
    title: str,
    project: int | None,
    progress: Progress,
) -> tuple[int, int]:
    """Upload everything, into a new project unless one is given. Returns the project's number and the number of tasks.

    All labels are read and traced before anything is sent. Raises DataError or ParamsError naming the file at fault.
    """
    traced = [
        (item.image, _data(item, options), result(item, class_map, options.tolerance_px))
        for item in progress.track(labelled, None, "images read")
    ]
    if project is None:
        project = create_project(server, title, label_config(class_map))
    uploads = upload_images(server, project, [image for image, _, _ in traced])
    addresses = dict(progress.track(uploads, len(traced), "images uploaded"))
    tasks = [
        {"data": data | {"image": addresses[image]}, "annotations": [annotation(regions)]}
        for image, data, regions in traced
    ]
    for _ in progress.track(import_tasks(server, project, tasks), None, "task batches"):
        pass
    return project, len(tasks)


def result(labelled: Labelled, class_map: ClassMap, tolerance_px: float = 0.0) -> list[dict[str, Any]]:
    """Label Studio's `result` for an image's labels: polygons whose painting in order gives them back.

    Rings stay as they are; what is made of pixels is traced, with `tolerance_px`.
    """
    name = labelled.image.name
    if isinstance(labelled.content, np.ndarray):
        return outlines(labelled.content, class_map, name, tolerance_px)
    rings = [
        (class_map.label(instance.class_index), ring)
        for instance in labelled.content
        for ring in _rings(instance, tolerance_px)
    ]
    return [
        polygon_result(_region_id(name, number), label, points_pct(ring, labelled.size_hw), labelled.size_hw)
        for number, (label, ring) in enumerate(rings)
    ]


def _rings(instance: Instance, tolerance_px: float) -> Iterator[Outline]:
    if instance.outline is not None:
        yield instance.outline
    if instance.pixels is not None:
        inside = np.where(instance.pixels, 0, VOID_INDEX).astype(np.uint8)
        yield from (component.outline for component in components(inside, tolerance_px))


def _region_id(name: str, number: int) -> str:
    return hashlib.sha256(f"{name}:{number}".encode()).hexdigest()[:10]


def _data(labelled: Labelled, options: TaskOptions) -> dict[str, Any]:
    data = {"name": labelled.image.name}
    if options.group_regex:
        data["video"] = _group(labelled.image.stem, options.group_regex)
    split = options.split or labelled.split
    return data | {"split": split} if split else data


def _group(stem: str, pattern: str) -> str:
    try:
        match = re.search(pattern, stem)
    except re.error as error:
        raise ParamsError(f"--group-regex {pattern!r} is no regular expression: {error}") from error
    if not (match and match.groups() and match[1]):
        raise ParamsError(
            f"--group-regex {pattern!r} finds no group in {stem!r}", "Give one with (…) that matches every name."
        )
    return match[1]
