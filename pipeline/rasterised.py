"""What `rasterise` made last time, and which tasks have changed since.

The record lies in `.maskloop/`: for every task what it was like, and in the metadata the settings and the hashes of the
tables that came of it. Where it does not fit the tables on disk, as after a `dvc checkout`, every task counts as
changed. It is deleted before the first mask is painted and written after the last, so a killed run leaves none.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from connectors.storage import encode_table, names, open_table, read_table, sha256_file, write_bytes
from connectors.task_store import read_index
from schemas.errors import DataError
from schemas.manifest import (
    IMAGES_DIR,
    MANIFEST_SCHEMA,
    MASKS_DIR,
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
    """`samples` and `rejects`: rows of the tasks that are as they were. `stale`: index of all other tasks."""

    samples: pa.Table
    rejects: pa.Table
    stale: pa.Table
    _folder: Path
    _settings: str
    _tasks: pa.Table

    @classmethod
    def read(cls, folder: Path, settings: str, masks: set[str]) -> Rasterised:
        """Compare the tasks with the record. `masks`: names of the masks on disk."""
        columns = [name for name in RASTERISED_SCHEMA.names if name != "has_image"]
        index = read_index(folder / TASKS_DIR, columns)
        has_image = pc.is_in(index["image"], _paths(IMAGES_DIR, names(folder / IMAGES_DIR)))
        tasks = index.select(columns).append_column(RASTERISED_SCHEMA.field("has_image"), has_image)
        before, samples, rejects = _record(folder, settings)
        has_mask = pc.is_in(samples["mask"], _paths(MASKS_DIR, masks))
        gone = samples["task_id"].filter(pc.invert(has_mask))
        fresh = pc.and_(_unchanged(tasks, before), pc.invert(_is_in(tasks["task_id"], gone)))
        kept = tasks["task_id"].filter(fresh)
        stale = index.filter(pc.invert(fresh))
        return cls(_of(kept, samples), _of(kept, rejects), stale, folder, settings, tasks)

    def forget(self) -> None:
        """Delete the record."""
        (self._folder / RASTERISED).unlink(missing_ok=True)

    def remember(self) -> None:
        """Record what the tasks were like, now that their samples and rejects are written."""
        metadata = {SETTINGS: self._settings, **_hashes(self._folder)}
        write_bytes(self._folder / RASTERISED, encode_table(self._tasks.replace_schema_metadata(metadata)))


def _paths(folder: Path, found: Iterable[str]) -> pa.Array:
    """Paths as tables hold them."""
    prefix = f"{folder.as_posix()}/"
    return pa.array([prefix + name for name in found], pa.string())


def _unchanged(tasks: pa.Table, before: pa.Table) -> pa.ChunkedArray:
    """Which tasks the record holds just as they are; tables of RASTERISED_SCHEMA."""
    place = pc.index_in(tasks["task_id"], before["task_id"].combine_chunks())
    recorded = before.take(place)
    same = pc.is_valid(place)
    for name in tasks.column_names:
        same = pc.and_(same, _equal(tasks[name], recorded[name]))
    return same


def _equal(a: pa.ChunkedArray, b: pa.ChunkedArray) -> pa.ChunkedArray:
    """Whether values are equal, where null equals null."""
    return pc.if_else(pc.or_(pc.is_null(a), pc.is_null(b)), pc.equal(pc.is_null(a), pc.is_null(b)), pc.equal(a, b))


def _is_in(task_ids: pa.ChunkedArray, wanted: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.is_in(task_ids, wanted.combine_chunks())


def _of(task_ids: pa.ChunkedArray, table: pa.Table) -> pa.Table:
    return table.filter(_is_in(table["task_id"], task_ids))


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
