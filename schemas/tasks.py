"""Tasks and annotations as stored in `data/tasks/`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

ANNOTATION_TYPE = pa.struct(
    [
        pa.field("annotation_id", pa.int64()),
        pa.field("annotator", pa.string()),  # Label Studio's user id
        pa.field("created_at", pa.string()),
        pa.field("updated_at", pa.string()),
        pa.field("was_cancelled", pa.bool_()),
        pa.field("ground_truth", pa.bool_()),
        pa.field("parent_prediction", pa.int64()),
        pa.field("lead_time_s", pa.float64()),
        pa.field("result", pa.string()),  # Label Studio's `result` as JSON, untouched
    ]
)

TASKS_SCHEMA = pa.schema(
    [
        pa.field("task_id", pa.int64(), nullable=False),
        pa.field("revision", pa.string(), nullable=False),  # changes whenever the task or its annotations do
        pa.field("data", pa.string()),  # the task's `data` as JSON
        pa.field("image_url", pa.string()),
        pa.field("image", pa.string()),  # path relative to the project folder, null if it could not be fetched
        pa.field("image_sha256", pa.string()),
        pa.field("image_width", pa.int32()),  # as displayed (EXIF applied), in pixels
        pa.field("image_height", pa.int32()),
        pa.field("image_error", pa.string()),  # why `image` is null
        pa.field("annotations", pa.list_(ANNOTATION_TYPE)),
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

    `revision` changes whenever the task or its annotations do: the server's `updated_at`, or a hash of an export's
    entry.
    """

    task_id: int
    revision: str
    data: dict[str, Any]
    image_url: str
    annotations: tuple[Annotation, ...] = field(default=())
