"""Stage `rasterise`: regions → class-index PNGs in `data/masks/`, one row a sample, and the rejects with their reasons.

A mask (uint8, H×W) holds class indices and 255 for void. Regions are painted in stacking order, later ones on top,
unless a class's priority says otherwise. A mask whose inputs did not change is neither painted nor written again.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from connectors.label_studio_json import parse_regions
from connectors.masks import write_mask
from connectors.storage import read_table, remove_others, write_table
from connectors.task_store import Row, read_tasks, row_annotations
from pipeline.annotations import chosen
from pipeline.progress import Progress
from pipeline.raster import paint, paint_region
from schemas.errors import DataError, ImageError, RegionError
from schemas.labels import VOID_INDEX, VOID_LABEL, ClassMap
from schemas.manifest import (
    MANIFEST,
    MANIFEST_SCHEMA,
    MASKS_DIR,
    REJECTS,
    REJECTS_SCHEMA,
    SAMPLES,
    TASKS_DIR,
)
from schemas.params import Params
from schemas.regions import Region
from schemas.tasks import Annotation

RASTER_VERSION = "1"
"""Part of every mask's `inputs_sha256`: raise it when the same regions give other pixels."""

POOL_FROM = 256
"""Number of tasks to paint from which a process pool is quicker than one process."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one task: its sample (None if it gave none) and its rejects."""

    sample: Row | None
    rejects: list[Row]


@dataclass(frozen=True, slots=True)
class Work:
    """One task's row, and what the last run made of it (None if nothing that could be kept)."""

    row: Row
    before: Outcome | None


def rasterise(params: Params, folder: Path, progress: Progress) -> str:
    """Write masks, samples and rejects. Until `split` has run, the manifest is the samples without their splits."""
    (folder / MASKS_DIR).mkdir(parents=True, exist_ok=True)
    known = _last_outcomes(folder)
    work = [Work(row, known.get(row["task_id"])) for row in read_tasks(folder / TASKS_DIR).to_pylist()]
    outcomes = list(progress.track(_outcomes(params, folder, work), len(work), "masks"))
    samples = [outcome.sample for outcome in outcomes if outcome.sample]
    rejects = [reject for outcome in outcomes for reject in outcome.rejects]
    for path in (SAMPLES, MANIFEST):
        write_table(folder / path, samples, MANIFEST_SCHEMA)
    write_table(folder / REJECTS, rejects, REJECTS_SCHEMA)
    remove_others(folder / MASKS_DIR, {Path(sample["mask"]).name for sample in samples})
    regions = sum(sample["regions"] for sample in samples)
    return f"{len(samples)} masks from {regions} regions, {len(rejects)} rejects ({REJECTS})"


def _last_outcomes(folder: Path) -> dict[int, Outcome]:
    if not ((folder / SAMPLES).exists() and (folder / REJECTS).exists()):
        return {}
    try:
        samples = read_table(folder / SAMPLES, MANIFEST_SCHEMA).to_pylist()
        rejects = read_table(folder / REJECTS, REJECTS_SCHEMA).to_pylist()
    except DataError:
        return {}  # of another version, so nothing of it can be kept
    rejects_of: dict[int, list[Row]] = defaultdict(list)
    for reject in rejects:
        rejects_of[reject["task_id"]].append(reject)
    return {
        sample["task_id"]: Outcome(sample, rejects_of[sample["task_id"]])
        for sample in samples
        if (folder / sample["mask"]).is_file()
    }


def _outcomes(params: Params, folder: Path, work: list[Work]) -> Iterator[Outcome]:
    task = partial(rasterise_task, params, folder)
    if len(work) < POOL_FROM:
        yield from map(task, work)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(os.cpu_count(), mp_context=context) as pool:
        yield from pool.map(task, work, chunksize=32)


def rasterise_task(params: Params, folder: Path, work: Work) -> Outcome:
    """Paint one task's chosen annotation, unless nothing that decides its mask has changed."""
    row = work.row
    annotation = chosen(row_annotations(row))
    if annotation is None:
        return Outcome(None, [])
    reject = partial(_reject, row["task_id"], annotation.annotation_id)
    digest = _inputs_digest(params, row, annotation)
    try:
        size_hw = _displayed_size(row, folder)
        if work.before and work.before.sample and work.before.sample["inputs_sha256"] == digest:
            return work.before
        regions, rejects = _usable_regions(annotation, size_hw, params.class_map, reject)
    except (ImageError, RegionError) as error:
        return Outcome(None, [reject(None, error)])
    mask = np.full(size_hw, params.class_map.index(params.rasterise.unlabelled), dtype=np.uint8)
    painted, bad_strokes = _paint(mask, _stacked(regions, params.class_map))
    rejects += [reject(region_id, error) for region_id, error in bad_strokes]
    path = MASKS_DIR / f"{row['task_id']}.png"
    write_mask(folder / path, mask)
    counts = np.bincount(mask.ravel(), minlength=VOID_INDEX + 1)
    data = json.loads(row["data"])
    sample = {
        "task_id": row["task_id"],
        "image": row["image"],
        "mask": str(path),
        "width": size_hw[1],
        "height": size_hw[0],
        "group": _data_field(data, params.split.group_by) or row["image_sha256"],
        "split": None,
        "image_sha256": row["image_sha256"],
        "class_pixels": counts[: len(params.classes)].tolist(),
        "void_pixels": int(counts[VOID_INDEX]),
        "annotation_id": annotation.annotation_id,
        "annotator": annotation.annotator,
        "regions": painted,
        "rejected_regions": len(rejects),
        "assigned_split": _data_field(data, params.split.assigned_by),
        "inputs_sha256": digest,
    }
    return Outcome(sample, rejects)


def _displayed_size(row: Row, folder: Path) -> tuple[int, int]:
    if row["image"] is None:
        reason, _, detail = str(row["image_error"]).partition(": ")
        raise ImageError(reason, detail, "Mend the image in Label Studio; the next `dvc repro` pulls it again.")
    if not (folder / row["image"]).is_file():
        raise ImageError("image_missing", f"{row['image']} does not exist", "Run `maskloop pull` to fetch it again.")
    return row["image_height"], row["image_width"]


def _usable_regions(
    annotation: Annotation, size_hw: tuple[int, int], class_map: ClassMap, reject: Callable[[str, RegionError], Row]
) -> tuple[list[Region], list[Row]]:
    """The regions that can be painted, and the rejects. Raises RegionError `size_mismatch` for a whole task."""
    regions, rejects = [], []
    for item in parse_regions(annotation.result):
        if not isinstance(item, Region):
            rejects.append(reject(*item))
        elif class_map.index(item.label) is None:
            error = RegionError(
                "unknown_label",
                f"label {item.label!r} is not in the class map ({', '.join(class_map.names)}, {VOID_LABEL})",
                "Add it to the end of `classes` in params.yaml, or relabel the region.",
            )
            rejects.append(reject(item.region_id, error))
        elif item.size_hw != size_hw:
            raise RegionError(
                "size_mismatch",
                f"region {item.region_id} was drawn on {item.size_hw[1]}×{item.size_hw[0]} pixels, "
                f"the image shows as {size_hw[1]}×{size_hw[0]}",
                "The image was replaced: annotate the task again.",
            )
        else:
            regions.append(item)
    return regions, rejects


def _stacked(regions: Sequence[Region], class_map: ClassMap) -> list[tuple[Region, int]]:
    """Regions with their mask values, bottom first: by priority, then by order.

    A void region cuts whatever was drawn before it, so it takes the highest priority among those.
    """
    highest = 0
    keyed = []
    for region in regions:
        index = class_map.index(region.label)
        assert index is not None
        priority = highest if index == VOID_INDEX else class_map.entries[index].priority
        highest = max(highest, priority)
        keyed.append((priority, region, index))
    return [(region, index) for _, region, index in sorted(keyed, key=lambda entry: entry[0])]


def _paint(mask: NDArray[np.uint8], stack: list[tuple[Region, int]]) -> tuple[int, list[tuple[str, RegionError]]]:
    """Paint the stack. Returns the number of regions painted, and those whose strokes can't be decoded."""
    background = mask.copy()
    try:
        paint(mask, stack)
        return len(stack), []
    except RegionError:
        mask[:] = background
    failed = []
    for region, value in stack:
        try:
            paint_region(mask, region, value)
        except RegionError as error:
            failed.append((region.region_id, error))
    return len(stack) - len(failed), failed


def _data_field(data: dict[str, Any], name: str | None) -> str | None:
    value = data.get(name) if name else None
    return None if value is None else str(value)


def _inputs_digest(params: Params, row: Row, annotation: Annotation) -> str:
    """SHA-256 of everything that decides the mask and its row."""
    inputs = [
        RASTER_VERSION,
        [entry.model_dump() for entry in params.classes],
        params.rasterise.model_dump(),
        [params.split.group_by, params.split.assigned_by],
        [row["image"], row["data"]],
        [annotation.annotation_id, annotation.annotator, annotation.result],
    ]
    return hashlib.sha256(json.dumps(inputs).encode()).hexdigest()


def _reject(task_id: int, annotation_id: int, region_id: str | None, error: RegionError | ImageError) -> Row:
    return {
        "task_id": task_id,
        "annotation_id": annotation_id,
        "region_id": region_id,
        "reason": error.reason,
        "detail": str(error),
        "remedy": error.remedy,
    }
