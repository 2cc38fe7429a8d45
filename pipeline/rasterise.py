"""Stage `rasterise`: regions → class-index PNGs in `data/masks/`, one row a sample, and the rejects with their reasons.

A mask (uint8, H×W) holds class indices and 255 for void. Which region wins where several lie on each other says
`pipeline.overlap`, which annotations count `pipeline.annotations`. Only tasks that changed since the last run are read,
painted and written (`pipeline.rasterised` knows which); tasks are read a row group at a time, by the process that
paints them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from connectors.storage import encode_table, names, remove_others, write_bytes
from connectors.task_store import Batch, batches, read_batch
from pipeline import assigned, classes
from pipeline.assigned import Filler, sources_path
from pipeline.processes import process_pool
from pipeline.progress import Progress
from pipeline.rasterised import Rasterised
from pipeline.sampling import Sampler, settings
from schemas.manifest import (
    MANIFEST,
    MANIFEST_SCHEMA,
    MASKS_DIR,
    REJECTS,
    REJECTS_SCHEMA,
    SAMPLES,
    SOURCES_DIR,
    TASKS_DIR,
)
from schemas.params import Params

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
    for made_here in (MASKS_DIR, SOURCES_DIR):
        (folder / made_here).mkdir(parents=True, exist_ok=True)
    masks_before = names(folder / MASKS_DIR)
    last = Rasterised.read(folder, settings(params) + assigned.digest(params, folder), masks_before)
    if len(last.stale):
        last.forget()
    work = list(batches(last.stale))
    made = list(progress.track(_made(params, folder, work), len(work), "batches of masks"))
    samples = _by_task([last.samples, *(part.samples for part in made)])
    rejects = _by_task([last.rejects, *(part.rejects for part in made)])
    encoded = encode_table(samples)
    for path in (SAMPLES, MANIFEST):
        write_bytes(folder / path, encoded)
    write_bytes(folder / REJECTS, encode_table(rejects))
    for name in masks_before - {f"{task_id}.png" for task_id in samples["task_id"].to_pylist()} - {".gitignore"}:
        (folder / MASKS_DIR / name).unlink()
    remove_others(folder / SOURCES_DIR, {sources_path(task_id).name for task_id in _filled(samples)})
    last.remember()
    regions = pc.sum(samples["regions"]).as_py() or 0
    return (
        f"{len(samples)} masks from {regions} regions, {len(rejects)} rejects ({REJECTS}); {len(last.stale)} tasks read"
    )


def _filled(samples: pa.Table) -> list[int]:
    """Ids of the tasks whose masks hold more than what people labelled."""
    by_others = pc.add(*(pc.struct_field(samples["source_pixels"], name) for name in ("sam", "model")))
    task_ids: list[int] = samples["task_id"].filter(pc.greater(by_others, 0)).to_pylist()
    return task_ids


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
    with process_pool(helpers) as pool:
        futures = [pool.submit(paint, batch) for batch in work]
        for future, batch in zip(reversed(futures), reversed(work), strict=True):
            yield paint(batch) if future.cancel() else future.result()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def rasterise_batch(params: Params, folder: Path, batch: Batch) -> Made:
    """Read and paint some tasks."""
    task_ids = [task_id for group in batch.groups.values() for task_id in group]
    sampler = Sampler(params, folder, Filler(params, folder, task_ids))
    outcomes = [sampler.sample(row) for row in read_batch(folder / TASKS_DIR, batch)]
    samples = [sample for sample, _ in outcomes if sample]
    rejects = [reject for _, rejects in outcomes for reject in rejects]
    return Made(
        pa.Table.from_pylist(samples, schema=MANIFEST_SCHEMA), pa.Table.from_pylist(rejects, schema=REJECTS_SCHEMA)
    )
