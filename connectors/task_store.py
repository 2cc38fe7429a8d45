"""`data/tasks/`: Parquet parts of 1,000 task ids each, so that a delta rewrites only the parts it touches.

A part has row groups of 25 tasks, so that a few tasks are read without decoding all the others' annotations.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Set
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from connectors.storage import encode_table, open_table, read_table, remove_others, write_bytes
from schemas.tasks import TASKS_SCHEMA, Annotation, Task

PART_TASKS = 1000
GROUP_TASKS = 25
BATCH_TASKS = 50

Row = dict[str, Any]


def read_tasks(tasks_dir: Path, columns: list[str] | None = None) -> pa.Table:
    """All tasks, sorted by task id, as a table of TASKS_SCHEMA (or some of its columns). Empty if there are none.

    Raises DataError if a part is corrupt.
    """
    schema = TASKS_SCHEMA if columns is None else pa.schema([TASKS_SCHEMA.field(name) for name in columns])
    parts = [read_table(path, TASKS_SCHEMA, columns) for path in sorted(tasks_dir.glob("[0-9]*.parquet"))]
    return pa.concat_tables(parts) if parts else schema.empty_table()


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
        return write_bytes(path, encode_table(table, GROUP_TASKS))
    existed = path.exists()
    path.unlink(missing_ok=True)
    return existed


@dataclass(frozen=True, slots=True)
class Batch:
    """Some tasks of one part: number of the row group → ids of its tasks that are wanted."""

    part: int
    groups: dict[int, list[int]]

    def __len__(self) -> int:
        return sum(map(len, self.groups.values()))


def batches(tasks_dir: Path, wanted: Set[int]) -> Iterator[Batch]:
    """Where the wanted tasks lie, in the order of their ids, about BATCH_TASKS together."""
    for path in sorted(tasks_dir.glob("[0-9]*.parquet")):
        with open_table(path, TASKS_SCHEMA) as file:
            task_ids = iter(file.read(["task_id"])["task_id"].to_pylist())
            sizes = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
        batch = Batch(int(path.stem), {})
        for group, size in enumerate(sizes):
            if found := [task_id for task_id in islice(task_ids, size) if task_id in wanted]:
                batch.groups[group] = found
            if len(batch) >= BATCH_TASKS:
                yield batch
                batch = Batch(batch.part, {})
        if batch.groups:
            yield batch


def read_batch(tasks_dir: Path, batch: Batch) -> list[Row]:
    """Rows of a batch in the order of their ids."""
    rows: list[Row] = []
    with open_table(_path(tasks_dir, batch.part), TASKS_SCHEMA) as file:
        for group, task_ids in batch.groups.items():
            table = file.read_row_group(group)
            rows += table.filter(pc.is_in(table["task_id"], pa.array(task_ids, pa.int64()))).to_pylist()
    return rows


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
