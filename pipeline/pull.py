"""Stage `pull`: tasks with their annotations into `data/tasks/`, image bytes into `data/images/`.

A delta: only tasks whose revision changed are read, a changed task's whole annotation set is replaced, and tasks that
are gone are removed. Parts are written as soon as they are complete, so a killed pull goes on where it was; the same
state of the source gives the same bytes.
"""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from pathlib import Path

from connectors.base import Credentials, Source
from connectors.images import inspect
from connectors.sources import open_source
from connectors.storage import remove_others, write_bytes
from connectors.task_store import Row, part_of, read_part, read_tasks, task_row, tidy, write_part
from pipeline.progress import Progress
from schemas.errors import ImageError
from schemas.manifest import IMAGES_DIR, TASKS_DIR
from schemas.params import Params

IMAGE_COLUMNS = ("image", "image_sha256", "image_width", "image_height", "image_error")


def pull(params: Params, folder: Path, progress: Progress, credentials: Credentials) -> str:
    """Bring `data/tasks/` and `data/images/` up to date with the source. Raises SourceError as the source does."""
    source = open_source(params, credentials)
    listing = source.listing()
    tasks_dir, images_dir = folder / TASKS_DIR, folder / IMAGES_DIR
    images_dir.mkdir(parents=True, exist_ok=True)
    tidy(tasks_dir, {int(path.stem) for path in tasks_dir.glob("[0-9]*.parquet")})
    known = {row["task_id"]: row for row in _overview(tasks_dir)}
    stale = {
        task_id: revision
        for task_id, revision in listing.items()
        if task_id not in known or known[task_id]["revision"] != revision
    }
    deleted = set(known) - set(listing)
    imageless = {task_id for task_id, row in known.items() if not _has_image(row, folder)} - set(stale) - deleted

    fetcher = ImageFetcher(source, folder, params.pull.image_workers)
    read = 0
    tasks = progress.track(source.tasks(stale), len(stale), "tasks")
    for part, of_part in groupby(tasks, key=lambda task: part_of(task.task_id)):
        rows = read_part(tasks_dir, part)
        changed = [task_row(task) for task in of_part]
        read += len(changed)
        write_part(tasks_dir, part, rows | fetcher.with_images(changed, rows))
    for part in sorted({part_of(task_id) for task_id in imageless | deleted}):
        rows = {task_id: row for task_id, row in read_part(tasks_dir, part).items() if task_id not in deleted}
        again = [row for task_id, row in rows.items() if task_id in imageless]
        write_part(tasks_dir, part, rows | fetcher.with_images(again, {}))

    kept = _overview(tasks_dir)
    remove_others(images_dir, {Path(row["image"]).name for row in kept if row["image"]})
    failed = [f"task {row['task_id']}: {row['image_error']}" for row in kept if row["image_error"]]
    for line in failed[:5]:
        progress.say(f"no image: {line}")
    return (
        f"{len(kept)} tasks: {read} read, {len(deleted)} removed, {fetcher.fetched} images fetched, "
        f"{len(failed)} without a usable image"
    )


class ImageFetcher:
    """Fetches the images that are not there yet; `fetched` counts them."""

    def __init__(self, source: Source, folder: Path, workers: int) -> None:
        self.fetched = 0
        self._source = source
        self._folder = folder
        self._workers = workers

    def with_images(self, rows: list[Row], known: dict[int, Row]) -> dict[int, Row]:
        """Rows by task id with their image columns filled; an image known under the same address is kept."""
        with ThreadPoolExecutor(self._workers) as pool:
            filled = pool.map(lambda row: row | self._image_columns(row, known.get(row["task_id"])), rows)
            return {row["task_id"]: row for row in filled}

    def _image_columns(self, row: Row, before: Row | None) -> Row:
        if before and before["image_url"] == row["image_url"] and _has_image(before, self._folder):
            return {column: before[column] for column in IMAGE_COLUMNS}
        try:
            return dict(zip(IMAGE_COLUMNS, (*self._fetch(row["image_url"]), None), strict=True))
        except ImageError as error:
            return dict.fromkeys(IMAGE_COLUMNS) | {"image_error": f"{error.reason}: {error}"}

    def _fetch(self, url: str) -> tuple[str, str, int, int]:
        if not url:
            raise ImageError("image_missing", "the task's data names no image", "Import the task again with its image.")
        content = self._source.fetch_image(url)
        extension, (height, width) = inspect(content)
        sha256 = hashlib.sha256(content).hexdigest()
        path = IMAGES_DIR / f"{sha256}{extension}"
        if write_bytes(self._folder / path, content):
            self.fetched += 1
        return str(path), sha256, width, height


def _overview(tasks_dir: Path) -> list[Row]:
    rows: list[Row] = read_tasks(tasks_dir, ["task_id", "revision", "image", "image_error"]).to_pylist()
    return rows


def _has_image(row: Row, folder: Path) -> bool:
    return row["image"] is not None and (folder / row["image"]).is_file()
