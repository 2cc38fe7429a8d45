"""New projects on a Label Studio server: created, filled with images, and filled with tasks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from connectors.batches import batches
from connectors.label_studio import Server
from connectors.label_studio_json import dumps, loads
from schemas.errors import SourceFormatError

UPLOAD_FILES, UPLOAD_BYTES = 50, 25_000_000
"""Limits of one upload: Label Studio answers over 100 files with HTTP 500."""

IMPORT_TASKS, IMPORT_BYTES = 200, 8_000_000
"""Limits of one task import: a few hundred MB end in a misleading HTTP 500."""


def find_project(server: Server, title: str) -> int | None:
    """Number of the project with exactly this title, the oldest if there are several; None if there is none."""
    answer = loads(server.get("/api/projects/", {"title": title, "page_size": 1000}).content)
    return min((project["id"] for project in answer["results"] if project["title"] == title), default=None)


def create_project(server: Server, title: str, label_config: str) -> int:
    """Create a project and return its number. Raises SourceError if the server refuses the label config."""
    # Without this setting the labelling stream shows no pre-annotation.
    body = {"title": title, "label_config": label_config, "show_collab_predictions": True}
    return int(server.send("POST", "/api/projects/", body)["id"])


def upload_images(server: Server, project: int, paths: list[Path]) -> Iterator[tuple[Path, str]]:
    """Upload image files; yields each with the address that goes into a task's data."""
    for batch in batches(paths, UPLOAD_FILES, UPLOAD_BYTES, lambda path: path.stat().st_size):
        files = {f"file{number}": (path.name, path.read_bytes()) for number, path in enumerate(batch)}
        answer = server.send("POST", f"/api/projects/{project}/import?commit_to_project=false", files=files)
        ids = answer["file_upload_ids"]
        if len(ids) != len(batch):
            raise SourceFormatError(f"the server took {len(ids)} of {len(batch)} uploaded files")
        uploads = loads(server.get(f"/api/projects/{project}/file-uploads", {"ids": dumps(ids)}).content)
        address_of = {upload["id"]: f"/data/{upload['file']}" for upload in uploads}
        yield from zip(batch, (address_of[upload_id] for upload_id in ids), strict=True)


def import_tasks(server: Server, project: int, tasks: list[dict[str, Any]]) -> Iterator[int]:
    """Import tasks (`data`, perhaps `annotations`) in batches; yields how many each batch held."""
    for batch in batches(tasks, IMPORT_TASKS, IMPORT_BYTES, lambda task: len(dumps(task))):
        answer = server.send("POST", f"/api/projects/{project}/import", batch)
        if answer["task_count"] != len(batch):
            raise SourceFormatError(f"the server took {answer['task_count']} of {len(batch)} tasks")
        yield len(batch)


def annotation(result: list[dict[str, Any]], **extra: Any) -> dict[str, Any]:
    """An annotation to import; Label Studio would take it for ground truth if it were not told otherwise."""
    return {"result": result, "ground_truth": False, **extra}
