"""`maskloop import mask-folder`: a Label Studio project out of images and class-index masks, traced to polygons."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from connectors.images import inspect
from connectors.label_studio import Server
from connectors.label_studio_setup import annotation, create_project, import_tasks, upload_images
from connectors.mask_folder import pairs, read_class_mask
from pipeline.outlines import outlines
from pipeline.progress import Progress
from schemas.errors import DataError, ImageError, ParamsError
from schemas.labels import ClassMap, label_config


@dataclass(frozen=True, slots=True)
class MaskFolder:
    """What to import: `void` mask values, `tolerance_px` of the traced polygons, and what goes into each task's data.

    `group_regex`: its first group, searched in the file's name, becomes `data.video`. `split` becomes `data.split`.
    """

    images: Path
    masks: Path
    void: frozenset[int]
    tolerance_px: float = 0.0
    group_regex: str | None = None
    split: str | None = None


def import_mask_folder(
    server: Server, folder: MaskFolder, class_map: ClassMap, title: str, project: int | None, progress: Progress
) -> tuple[int, int]:
    """Upload everything, into a new project unless one is given. Returns the project's number and the number of tasks.

    All masks are read and traced before anything is sent. Raises DataError or ParamsError naming the file at fault.
    """
    found = pairs(folder.images, folder.masks)
    traced = [
        _traced(image, mask, folder, class_map) for image, mask in progress.track(found, len(found), "masks traced")
    ]
    if project is None:
        project = create_project(server, title, label_config(class_map))
    uploads = upload_images(server, project, [image for image, _ in found])
    addresses = dict(progress.track(uploads, len(found), "images uploaded"))
    tasks = [
        {"data": data | {"image": addresses[image]}, "annotations": [annotation(result)]}
        for (image, _), (data, result) in zip(found, traced, strict=True)
    ]
    for _ in progress.track(import_tasks(server, project, tasks), None, "task batches"):
        pass
    return project, len(tasks)


def _traced(image: Path, mask_path: Path, folder: MaskFolder, class_map: ClassMap) -> tuple[dict[str, Any], list[Any]]:
    mask = read_class_mask(mask_path, len(class_map), folder.void)
    try:
        _, size_hw = inspect(image.read_bytes())
    except ImageError as error:
        raise DataError(f"{image}: {error}", error.remedy) from error
    if mask.shape != size_hw:
        raise DataError(
            f"{mask_path} is {mask.shape[1]}×{mask.shape[0]}, its image shows as {size_hw[1]}×{size_hw[0]}",
            "Image and mask must have the same size.",
        )
    data = {"name": image.name}
    if folder.group_regex:
        data["video"] = _group(image.stem, folder.group_regex)
    if folder.split:
        data["split"] = folder.split
    return data, outlines(mask, class_map, image.name, folder.tolerance_px)


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
