"""A Label Studio JSON export file as a Source: the same tasks through the same parser, with no server."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from connectors.label_studio_json import dumps, loads, parse_task
from schemas.errors import ImageError, ParamsError, SourceFormatError
from schemas.params import ExportSource, Params
from schemas.tasks import Task

UPLOAD_PREFIX = re.compile(r"^[0-9a-f]{8}-")
"""What Label Studio puts before the name of an uploaded file."""


class LabelStudioExport:
    """An export file and the folder with its images. A task's revision is a hash of its entry."""

    def __init__(self, tasks: list[Any], images: Path, image_field: str) -> None:
        self._raw: dict[int, Any] = {}
        for raw in tasks:
            task_id = parse_task(raw, image_field, "listed").task_id
            if task_id in self._raw:
                raise SourceFormatError(f"the export holds task {task_id} twice", "Export again from one project.")
            self._raw[task_id] = raw
        self._images = images
        self._image_field = image_field

    @classmethod
    def open(cls, params: Params) -> LabelStudioExport:
        """Read the file that `source.path` names. Raises ParamsError or SourceFormatError."""
        source = params.source
        assert isinstance(source, ExportSource)
        images = source.images or source.path.parent
        if not images.is_dir():
            raise ParamsError(f"source.images: {images} is no folder", "Name the folder that holds the images.")
        try:
            tasks = loads(source.path.read_bytes())
        except OSError as error:
            raise ParamsError(f"source.path: {source.path} can't be read: {error.strerror}") from error
        except ValueError as error:
            raise SourceFormatError(f"{source.path} is not valid JSON: {error}", "Export again, as `JSON`.") from error
        if not isinstance(tasks, list):
            raise SourceFormatError(f"{source.path} holds {type(tasks).__name__}, expected a list of tasks")
        return cls(tasks, images, source.image_field)

    def label_config(self) -> None:
        """An export carries no label config."""

    def listing(self) -> dict[int, str]:
        """Task id → hash of its entry in the file."""
        return {task_id: _revision(self._raw[task_id]) for task_id in sorted(self._raw)}

    def tasks(self, stale: dict[int, str]) -> Iterator[Task]:
        """Yield the stale tasks by id."""
        for task_id in sorted(stale):
            raw = self._raw[task_id]
            yield parse_task(raw, self._image_field, _revision(raw))

    def fetch_image(self, url: str) -> bytes:
        """The bytes of the image: looked up by relative path, then by name, then by name without upload prefix."""
        address = f"{url or 'an empty address':.200}"
        missing = ImageError("image_missing", f"{address} is not in {self._images}", "Put the image file there.")
        try:
            for candidate in _candidates(url):
                path = Path(os.path.normpath(self._images / candidate))
                if path.is_relative_to(os.path.normpath(self._images)) and path.is_file():
                    return path.read_bytes()
        except (OSError, ValueError) as error:  # an embedded image, a malformed address: no name a file could have
            raise missing from error
        raise missing


def _candidates(url: str) -> Iterator[str]:
    yield url  # a file name may hold what means something in an address
    parts = urlsplit(url)
    path = parse_qs(parts.query).get("d", [unquote(parts.path)])[0].lstrip("/")
    name = PurePosixPath(path).name
    if name:
        yield from (path, name, UPLOAD_PREFIX.sub("", name))


def _revision(raw: Any) -> str:
    return hashlib.sha256(dumps(raw).encode()).hexdigest()
