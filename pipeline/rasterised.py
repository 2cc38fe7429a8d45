"""What `rasterise` made last time, and which tasks have changed since.

The record lies in `.maskloop/`: for every task what it was like, and in the metadata the settings and the hashes of the
tables that came of it. Where it does not fit the tables on disk, as after a `dvc checkout`, every task counts as
changed. It is deleted before the first mask is painted and written after the last, so a killed run leaves none.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from connectors.storage import encode_table, names, open_table, read_table, sha256_file, write_bytes
from connectors.task_store import read_tasks
from schemas.errors import DataError
from schemas.manifest import (
    IMAGES_DIR,
    MANIFEST_SCHEMA,
    RASTERISED,
    RASTERISED_SCHEMA,
    REJECTS,
    REJECTS_SCHEMA,
    SAMPLES,
    TASKS_DIR,
)

SETTINGS = b"maskloop.settings"


@dataclass(frozen=True, slots=True)
class Rasterised:
    """`samples` and `rejects`: rows of the tasks that are as they were. `stale`: ids of all other tasks."""

    samples: pa.Table
    rejects: pa.Table
    stale: frozenset[int]
    _folder: Path
    _settings: str
    _tasks: pa.Table

    @classmethod
    def read(cls, folder: Path, settings: str, masks: set[str]) -> Rasterised:
        """Compare the tasks with the record. `masks`: names of the masks on disk."""
        tasks = _tasks(folder)
        before, samples, rejects = _record(folder, settings)
        gone = _without_mask(samples, masks)
        recorded = {entry[0]: entry for entry in _entries(before) if entry[0] not in gone}
        current = {entry[0]: entry for entry in _entries(tasks)}
        stale = frozenset(task_id for task_id, entry in current.items() if recorded.get(task_id) != entry)
        kept = pa.array(current.keys() - stale, pa.int64())
        return cls(_of(kept, samples), _of(kept, rejects), stale, folder, settings, tasks)

    def forget(self) -> None:
        """Delete the record."""
        (self._folder / RASTERISED).unlink(missing_ok=True)

    def remember(self) -> None:
        """Record what the tasks were like, now that their samples and rejects are written."""
        metadata = {SETTINGS: self._settings, **_hashes(self._folder)}
        write_bytes(self._folder / RASTERISED, encode_table(self._tasks.replace_schema_metadata(metadata)))


def file_name(path: str) -> str:
    """The last part of a path as tables hold it."""
    return path.rpartition("/")[2]


def _tasks(folder: Path) -> pa.Table:
    columns = [name for name in RASTERISED_SCHEMA.names if name != "has_image"]
    tasks = read_tasks(folder / TASKS_DIR, columns)
    on_disk = names(folder / IMAGES_DIR)
    has_image = [image is not None and file_name(image) in on_disk for image in tasks["image"].to_pylist()]
    return tasks.append_column(RASTERISED_SCHEMA.field("has_image"), pa.array(has_image, pa.bool_()))


def _entries(tasks: pa.Table) -> Iterator[tuple[Any, ...]]:
    """Rows of RASTERISED_SCHEMA, the task id first."""
    return zip(*(column.to_pylist() for column in tasks.columns), strict=True)


def _of(task_ids: pa.Array, table: pa.Table) -> pa.Table:
    return table.filter(pc.is_in(table["task_id"], task_ids))


def _hashes(folder: Path) -> dict[bytes, str]:
    return {str(path).encode(): sha256_file(folder / path) for path in (SAMPLES, REJECTS)}


def _record(folder: Path, settings: str) -> tuple[pa.Table, pa.Table, pa.Table]:
    """Tasks, samples and rejects of the last run, all empty if they don't belong together or to the settings."""
    try:
        with open_table(folder / RASTERISED, RASTERISED_SCHEMA) as file:
            metadata, tasks = file.schema_arrow.metadata, file.read()
        expected = {SETTINGS: settings, **_hashes(folder)}
        if {key: metadata[key].decode() for key in expected if key in metadata} == expected:
            samples = read_table(folder / SAMPLES, MANIFEST_SCHEMA)
            return tasks, samples, read_table(folder / REJECTS, REJECTS_SCHEMA)
    except (DataError, FileNotFoundError):
        pass  # nothing recorded, or by another version
    return RASTERISED_SCHEMA.empty_table(), MANIFEST_SCHEMA.empty_table(), REJECTS_SCHEMA.empty_table()


def _without_mask(samples: pa.Table, masks: set[str]) -> set[int]:
    """Ids of the samples whose mask is not there."""
    pairs = zip(samples["task_id"].to_pylist(), samples["mask"].to_pylist(), strict=True)
    return {task_id for task_id, mask in pairs if file_name(mask) not in masks}
