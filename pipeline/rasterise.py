"""Stage `rasterise`: regions → class-index PNGs in `data/masks/`, one row a sample, and the rejects with their reasons.

A mask (uint8, H×W) holds class indices and 255 for void. Which region wins where several lie on each other says
`pipeline.overlap`, which annotations count `pipeline.annotations`. Only tasks that changed since the last run are read,
painted and written (`pipeline.rasterised` knows which); tasks are read a row group at a time, by the process that
paints them.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image

from connectors.masks import write_mask
from connectors.storage import encode_table, names, write_bytes
from connectors.task_store import Batch, Row, batches, read_batch, row_annotations
from pipeline import classes
from pipeline.annotations import chosen, usable
from pipeline.consensus import CONSENSUS, agreement
from pipeline.overlap import total
from pipeline.painting import Painted, paint_annotation
from pipeline.progress import Progress
from pipeline.rasterised import Rasterised, file_name
from schemas.errors import ImageError, RegionError
from schemas.labels import VOID_INDEX
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
from schemas.tasks import Annotation

RASTER_VERSION = "2"
"""Part of every mask's `inputs_sha256`: raise it when the same regions give other pixels."""

POOL_FROM = 256
"""Number of tasks to paint from which a process pool is quicker than one process."""


@dataclass(frozen=True, slots=True)
class Made:
    """What became of some tasks: their samples (MANIFEST_SCHEMA) and rejects (REJECTS_SCHEMA)."""

    samples: pa.Table
    rejects: pa.Table


def rasterise(params: Params, folder: Path, progress: Progress) -> str:
    """Write masks, samples and rejects. Until `split` has run, the manifest is the samples without their splits.

    Raises ClassMapError if the class map breaks the contract of `classes.lock`.
    """
    classes.check(folder, params.class_map)
    (folder / MASKS_DIR).mkdir(parents=True, exist_ok=True)
    masks_before = names(folder / MASKS_DIR)
    last = Rasterised.read(folder, _settings(params), masks_before)
    if last.stale:
        last.forget()
    work = list(batches(folder / TASKS_DIR, last.stale))
    made = list(progress.track(_made(params, folder, work), len(work), "batches of masks"))
    samples = _by_task([last.samples, *(part.samples for part in made)])
    rejects = _by_task([last.rejects, *(part.rejects for part in made)])
    encoded = encode_table(samples)
    for path in (SAMPLES, MANIFEST):
        write_bytes(folder / path, encoded)
    write_bytes(folder / REJECTS, encode_table(rejects))
    for name in masks_before - set(map(file_name, samples["mask"].to_pylist())) - {".gitignore"}:
        (folder / MASKS_DIR / name).unlink()
    last.remember()
    regions = pc.sum(samples["regions"]).as_py() or 0
    return (
        f"{len(samples)} masks from {regions} regions, {len(rejects)} rejects ({REJECTS}); {len(last.stale)} tasks read"
    )


def _settings(params: Params) -> str:
    """What decides masks and rows besides the tasks, as JSON."""
    fields = [params.split.group_by, params.split.assigned_by]
    entries = [entry.model_dump() for entry in params.classes]
    return json.dumps([RASTER_VERSION, entries, params.rasterise.model_dump(), fields])


def _by_task(tables: list[pa.Table]) -> pa.Table:
    table = pa.concat_tables(tables)
    return table.take(pc.sort_indices(table["task_id"]))  # stable


def _made(params: Params, folder: Path, work: list[Batch]) -> Iterator[Made]:
    """What comes of the batches: this process works from their end, the pool from their beginning."""
    paint = partial(rasterise_batch, params, folder)
    helpers = _cores() - 1 if sum(map(len, work)) >= POOL_FROM else 0
    if not helpers:
        yield from map(paint, work)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(helpers, mp_context=context) as pool:
        futures = [pool.submit(paint, batch) for batch in work]
        for future, batch in zip(reversed(futures), reversed(work), strict=True):
            yield paint(batch) if future.cancel() else future.result()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def rasterise_batch(params: Params, folder: Path, batch: Batch) -> Made:
    """Read and paint some tasks."""
    outcomes = [rasterise_task(params, folder, row) for row in read_batch(folder / TASKS_DIR, batch)]
    samples = [sample for sample, _ in outcomes if sample]
    rejects = [reject for _, rejects in outcomes for reject in rejects]
    return Made(
        pa.Table.from_pylist(samples, schema=MANIFEST_SCHEMA), pa.Table.from_pylist(rejects, schema=REJECTS_SCHEMA)
    )


def rasterise_task(params: Params, folder: Path, row: Row) -> tuple[Row | None, list[Row]]:
    """Paint one task's annotations and write its mask. Returns its sample, None if it gives none, and its rejects."""
    annotations = chosen(row_annotations(row), params.rasterise.annotators)
    if not annotations:
        return None, []
    try:
        size_hw = _displayed_size(row, folder)
    except ImageError as error:
        return None, [_reject(row, annotations[-1], None, error)]
    counted, rejects = _painted(params, row, annotations, size_hw)
    if not counted:
        return None, rejects
    merge = CONSENSUS.get(params.rasterise.annotators)
    all_masks = [painted.mask for _, painted in counted]
    mask = all_masks[-1] if merge is None or len(counted) == 1 else merge(all_masks)
    if merge is None:
        others = [other for other in usable(row_annotations(row)) if other != annotations[-1]]
        all_masks += [painted.mask for _, painted in _painted(params, row, others, size_hw)[0]]
    path = MASKS_DIR / f"{row['task_id']}.png"
    write_mask(folder / path, mask)
    counts = Image.fromarray(mask).histogram()
    data = json.loads(row["data"])
    latest = counted[-1][0]
    sample = {
        "task_id": row["task_id"],
        "image": row["image"],
        "mask": str(path),
        "width": size_hw[1],
        "height": size_hw[0],
        "group": _data_field(data, params.split.group_by) or row["image_sha256"],
        "split": None,
        "image_sha256": row["image_sha256"],
        "class_pixels": counts[: len(params.classes)],
        "void_pixels": counts[VOID_INDEX],
        "annotation_id": latest.annotation_id,
        "annotator": latest.annotator,
        "regions": sum(painted.regions for _, painted in counted),
        "rejected_regions": len(rejects),
        "assigned_split": _data_field(data, params.split.assigned_by),
        "inputs_sha256": _inputs_digest(params, row, annotations),
        "contested": total(painted.contested for _, painted in counted),
        "annotators": len(all_masks),
        "agreement": agreement(all_masks),
        "annotation_ids": [annotation.annotation_id for annotation, _ in counted],
    }
    return sample, rejects


def _painted(
    params: Params, row: Row, annotations: list[Annotation], size_hw: tuple[int, int]
) -> tuple[list[tuple[Annotation, Painted]], list[Row]]:
    """The annotations that could be painted, and the rejects of all."""
    painted, rejects = [], []
    for annotation in annotations:
        try:
            result = paint_annotation(annotation, size_hw, params.class_map, params.rasterise)
        except RegionError as error:
            rejects.append(_reject(row, annotation, None, error))
        else:
            painted.append((annotation, result))
            rejects += [_reject(row, annotation, region_id, error) for region_id, error in result.rejects]
    return painted, rejects


def _displayed_size(row: Row, folder: Path) -> tuple[int, int]:
    if row["image"] is None:
        reason, _, detail = str(row["image_error"]).partition(": ")
        raise ImageError(reason, detail, "Mend the image in Label Studio; the next `dvc repro` pulls it again.")
    if not (folder / row["image"]).is_file():
        raise ImageError("image_missing", f"{row['image']} does not exist", "Run `maskloop pull` to fetch it again.")
    return row["image_height"], row["image_width"]


def _data_field(data: dict[str, Any], name: str | None) -> str | None:
    value = data.get(name) if name else None
    return None if value is None else str(value)


def _inputs_digest(params: Params, row: Row, annotations: list[Annotation]) -> str:
    """SHA-256 of everything that decides the mask and its place in a split."""
    worked = [[annotation.annotation_id, annotation.annotator, annotation.result] for annotation in annotations]
    inputs = [_settings(params), [row["image"], row["data"]], worked]
    return hashlib.sha256(json.dumps(inputs).encode()).hexdigest()


def _reject(row: Row, annotation: Annotation, region_id: str | None, error: RegionError | ImageError) -> Row:
    return {
        "task_id": row["task_id"],
        "annotation_id": annotation.annotation_id,
        "region_id": region_id,
        "reason": error.reason,
        "detail": str(error),
        "remedy": error.remedy,
    }
