"""`data/tasks/`: Parquet parts of 1,000 task ids each, so that a delta rewrites only the parts it touches.

A part has row groups of few tasks, so that some tasks are read without decoding all the others' annotations.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from connectors.storage import encode_table, open_table, read_table, remove_others, write_bytes
from schemas.tasks import TASKS_SCHEMA, Annotation, Task

PART_TASKS = 1000
GROUP_TASKS = range(5, 26)
GROUP_BYTES = 256 * 1024
"""A row group has about that many bytes of annotations, within the bounds of GROUP_TASKS."""

LARGE_COLUMNS = ("data", "annotations.list.element.result")
BATCH_TASKS = 50
SLICE_TASKS = 8
"""Number of tasks that are in memory as Python objects at a time."""

INDEX_FIELDS = [pa.field("part", pa.int32(), nullable=False), pa.field("row_group", pa.int32(), nullable=False)]

Row = dict[str, Any]


def read_tasks(tasks_dir: Path, columns: list[str] | None = None) -> pa.Table:
    """All tasks, sorted by task id, as a table of TASKS_SCHEMA (or some of its columns). Empty if there are none.

    Raises DataError if a part is corrupt.
    """
    schema = TASKS_SCHEMA if columns is None else pa.schema([TASKS_SCHEMA.field(name) for name in columns])
    parts = [read_table(path, TASKS_SCHEMA, columns) for path in sorted(tasks_dir.glob("[0-9]*.parquet"))]
    return pa.concat_tables(parts) if parts else schema.empty_table()


def annotated_tasks(tasks_dir: Path) -> set[int]:
    """Ids of the tasks that hold an annotation, without reading any. Raises DataError if a part is corrupt."""
    found: set[int] = set()
    for path in sorted(tasks_dir.glob("[0-9]*.parquet")):
        with open_table(path, TASKS_SCHEMA) as file:
            table = file.read(["task_id", "annotations.list.element.annotation_id"], use_threads=False)
        found.update(table.filter(pc.greater(pc.list_value_length(table["annotations"]), 0))["task_id"].to_pylist())
    return found


def part_of(task_id: int) -> int:
    """Number of the part that holds a task."""
    return task_id // PART_TASKS


def read_part(tasks_dir: Path, part: int) -> dict[int, Row]:
    """Rows of one part by task id; empty if there is no such part."""
    path = _path(tasks_dir, part)
    return {row["task_id"]: row for row in read_table(path, TASKS_SCHEMA).to_pylist()} if path.exists() else {}


def write_part(tasks_dir: Path, part: int, rows: dict[int, Row]) -> bool:
    """Replace one part, or remove it if no row is left. Returns whether anything changed."""
    path = _path(tasks_dir, part)
    if rows:
        table = pa.Table.from_pylist([rows[task_id] for task_id in sorted(rows)], schema=TASKS_SCHEMA)
        return write_bytes(path, encode_table(table, _group_tasks(table), LARGE_COLUMNS))
    existed = path.exists()
    path.unlink(missing_ok=True)
    return existed


def _group_tasks(table: pa.Table) -> int:
    most = GROUP_BYTES * len(table) // max(int(table["annotations"].nbytes), 1)
    return min(max(most, GROUP_TASKS.start), GROUP_TASKS.stop - 1)


def read_index(tasks_dir: Path, columns: list[str]) -> pa.Table:
    """Some columns of all tasks, sorted by task id, and where each lies (INDEX_FIELDS). Raises DataError."""
    schema = pa.schema([*(TASKS_SCHEMA.field(name) for name in columns), *INDEX_FIELDS])
    tables = [schema.empty_table()]
    for path in sorted(tasks_dir.glob("[0-9]*.parquet")):
        with open_table(path, TASKS_SCHEMA) as file:
            sizes = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
            found = file.read(columns, use_threads=False).select(columns)
        groups = np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)
        places = [np.full(len(found), int(path.stem), np.int32), groups]
        tables.append(pa.Table.from_arrays([*found.columns, *map(pa.array, places)], schema=schema))
    return pa.concat_tables(tables).combine_chunks()


@dataclass(frozen=True, slots=True)
class Batch:
    """Some tasks of one part: number of the row group → ids of its tasks that are wanted."""

    part: int
    groups: dict[int, list[int]]

    def __len__(self) -> int:
        return sum(map(len, self.groups.values()))


def batches(index: pa.Table) -> Iterator[Batch]:
    """The tasks of an index in its order, about BATCH_TASKS together."""
    batch = Batch(-1, {})
    columns = (index[name].to_pylist() for name in ("task_id", "part", "row_group"))
    for task_id, part, group in zip(*columns, strict=True):
        is_full = len(batch) >= BATCH_TASKS and group not in batch.groups
        if part != batch.part or is_full:
            if batch.groups:
                yield batch
            batch = Batch(part, {})
        batch.groups.setdefault(group, []).append(task_id)
    if batch.groups:
        yield batch


def read_batch(tasks_dir: Path, batch: Batch) -> Iterator[Row]:
    """Rows of a batch in the order of their ids."""
    with open_table(_path(tasks_dir, batch.part), TASKS_SCHEMA) as file:
        for group, task_ids in batch.groups.items():
            table = file.read_row_group(group, use_threads=False)
            few = table.to_batches(SLICE_TASKS)
            if len(task_ids) < len(table):
                places = pc.index_in(pa.array(task_ids, pa.int64()), table["task_id"].combine_chunks())
                few = [table.slice(place, 1) for place in places.to_pylist()]
            for each in few:
                yield from each.to_pylist()


def tidy(tasks_dir: Path, parts: set[int]) -> None:
    """Remove whatever a killed run left beside the given parts."""
    tasks_dir.mkdir(parents=True, exist_ok=True)
    remove_others(tasks_dir, {_path(tasks_dir, part).name for part in parts})


def task_row(task: Task) -> Row:
    """The row of a task whose image has not been fetched."""
    return {
        "task_id": task.task_id,
        "revision": task.revision,
        "data": json.dumps(task.data, ensure_ascii=False, sort_keys=True),
        "image_url": task.image_url,
        "image": None,
        "image_sha256": None,
        "image_width": None,
        "image_height": None,
        "image_error": None,
        "annotations": [{name: getattr(entry, name) for name in Annotation.__slots__} for entry in task.annotations],
    }


def row_annotations(row: Row) -> list[Annotation]:
    """The annotations of a row."""
    return [Annotation(**entry) for entry in row["annotations"] or []]


def _path(tasks_dir: Path, part: int) -> Path:
    return tasks_dir / f"{part:08d}.parquet"
