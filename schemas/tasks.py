"""Tasks and annotations as stored in `data/tasks/`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

ANNOTATION_TYPE = pa.struct(
    [
        ("annotation_id", pa.int64()),
        ("annotator", pa.string()),  # Label Studio's user id
        ("created_at", pa.string()),
        ("updated_at", pa.string()),
        ("was_cancelled", pa.bool_()),
        ("ground_truth", pa.bool_()),
        ("parent_prediction", pa.int64()),
        ("lead_time_s", pa.float64()),
        ("result", pa.string()),  # Label Studio's `result` as JSON, untouched
    ]
)

TASKS_SCHEMA = pa.schema(
    [
        pa.field("task_id", pa.int64(), nullable=False),
        pa.field("revision", pa.string(), nullable=False),  # changes whenever the task or its annotations do
        ("data", pa.string()),  # the task's `data` as JSON
        ("image_url", pa.string()),
        ("image", pa.string()),  # path relative to the project folder, null if it could not be fetched
        ("image_sha256", pa.string()),
        ("image_width", pa.int32()),  # as displayed (EXIF applied), in pixels
        ("image_height", pa.int32()),
        ("image_error", pa.string()),  # why `image` is null
        ("annotations", pa.list_(ANNOTATION_TYPE)),
    ],
    metadata={"maskloop.table": "tasks", "maskloop.version": "1"},
)


@dataclass(frozen=True, slots=True)
class Annotation:
    """One annotator's work on one task. `result` is Label Studio's list of results as a JSON string."""

    annotation_id: int
    annotator: str | None
    created_at: str | None
    updated_at: str | None
    was_cancelled: bool
    ground_truth: bool
    parent_prediction: int | None
    lead_time_s: float | None
    result: str


@dataclass(frozen=True, slots=True)
class Task:
    """One task with its whole set of annotations; drafts and predictions are not part of it.

    `revision` changes whenever the task or its annotations do: the server's `updated_at`, or a hash of an export's entry.
    """

    task_id: int
    revision: str
    data: dict[str, Any]
    image_url: str
    annotations: tuple[Annotation, ...] = field(default=())
