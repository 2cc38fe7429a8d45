"""`data/tasks/`: Parquet parts of 1,000 task ids each, so that a delta rewrites only the parts it touches."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa

from connectors.storage import read_table, remove_others, write_table
from schemas.tasks import TASKS_SCHEMA, Annotation, Task

PART_TASKS = 1000

Row = dict[str, Any]


def read_tasks(tasks_dir: Path, columns: list[str] | None = None) -> pa.Table:
    """All tasks, sorted by task id, as a table of TASKS_SCHEMA (or some of its columns). Empty if there are none.

    Raises DataError if a part is corrupt.
    """
    schema = TASKS_SCHEMA if columns is None else pa.schema([TASKS_SCHEMA.field(name) for name in columns])
    parts = [read_table(path, TASKS_SCHEMA).select(schema.names) for path in sorted(tasks_dir.glob("[0-9]*.parquet"))]
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
        return write_table(path, [rows[task_id] for task_id in sorted(rows)], TASKS_SCHEMA)
    existed = path.exists()
    path.unlink(missing_ok=True)
    return existed


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
