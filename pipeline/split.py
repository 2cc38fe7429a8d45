"""Stage `split`: train, val or test for every sample, by a hash of its group.

The hash decides alone: a sample keeps its split whatever else is added or removed, and a group never straddles two.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

from connectors.storage import read_table, write_table
from connectors.task_store import Row
from pipeline.progress import Progress
from schemas.errors import DataError
from schemas.manifest import MANIFEST, MANIFEST_SCHEMA, SAMPLES, SPLITS
from schemas.params import Params, SplitParams


def split(params: Params, folder: Path, progress: Progress) -> str:
    """Write `data/manifest.parquet`: the samples with their split. Raises DataError if there is no sample at all."""
    rows = read_table(folder / SAMPLES, MANIFEST_SCHEMA).to_pylist()
    if not rows:
        raise DataError(
            "no annotated task gave a mask, so there is nothing to train on",
            "Annotate some tasks in Label Studio, or see data/rejects.parquet for why none could be used.",
        )
    for row in rows:
        row["split"] = assign(row, params.split)
    write_table(folder / MANIFEST, rows, MANIFEST_SCHEMA)
    counts = Counter(row["split"] for row in rows)
    groups = len({row["group"] for row in rows})
    return f"{', '.join(f'{counts[name]} {name}' for name in SPLITS)} samples of {groups} groups"


def assign(row: Row, params: SplitParams) -> str:
    """Split of one sample. Raises DataError if its task names a split that does not exist."""
    if row["assigned_split"] is not None:
        if row["assigned_split"] not in SPLITS:
            raise DataError(
                f"task {row['task_id']}: data.{params.assigned_by} is {row['assigned_split']!r}, "
                f"expected one of {', '.join(SPLITS)}",
                "Mend the task's data, or leave split.assigned_by out.",
            )
        return str(row["assigned_split"])
    return split_of(row["group"], params)


def split_of(group: str, params: SplitParams) -> str:
    """Split of a group: its SHA-256 with the seed, as a number in [0, 1), test first, then val, then train."""
    digest = hashlib.sha256(f"{params.seed}:{group}".encode()).digest()
    position = int.from_bytes(digest[:8], "big") / 2**64
    if position < params.test:
        return "test"
    return "val" if position < params.test + params.val else "train"
