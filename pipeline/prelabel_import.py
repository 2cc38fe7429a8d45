"""`maskloop prelabel --import DIR`: SAM pickles made elsewhere become pre-labels of the project's images.

A pickle belongs to an image, in this order, by `image_sha256` (the hash of the image's file), by its own name (the name
of the image's file with or without its ending, its hash, or a task's id), or by the pixels of the image in it. What was
imported is kept by later runs of `prelabel`; what was not is listed with its reason in `reports/prelabel_import.csv`.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np
from numpy.typing import NDArray

from connectors.images import open_rgb
from connectors.sam_pickle import IMPORTED, ImagePrelabels, read_sam_pickle, write_sam_pickle
from connectors.storage import write_bytes
from connectors.task_store import Row, read_tasks
from pipeline.progress import Progress
from schemas.errors import DataError, ImageError
from schemas.manifest import PRELABEL_IMPORT, PRELABELS_DIR, TASKS_DIR

SUFFIXES = frozenset({".pkl", ".pickle"})
COLUMNS = ["task_id", "image_url", "image", "image_sha256", "image_width", "image_height"]
UPLOAD_PREFIX = re.compile(r"^[0-9a-f]{8}-")
"""What Label Studio puts before the name of an uploaded file."""


@dataclass(frozen=True, slots=True)
class Left:
    """A file that was not imported. `reason` is a short stable code."""

    file: str
    reason: str
    detail: str
    remedy: str


def prelabel_import(folder: Path, source: Path, progress: Progress) -> str:
    """Import every pickle below `source` into `data/prelabels/`. Raises DataError if there is none."""
    paths = sorted(path for path in source.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    if not paths:
        raise DataError(f"{source} holds no file *.pkl or *.pickle", "Name the folder that SAM's pickles lie in.")
    images = ProjectImages(folder)
    taken: dict[str, str] = {}
    left: list[Left] = []
    for path in progress.track(paths, len(paths), "pickles"):
        name = path.relative_to(source).as_posix()
        try:
            found = read_sam_pickle(path)
            image_sha256 = images.match(path, found)
            if image_sha256 in taken:
                raise _Unmatched("duplicate", f"{taken[image_sha256]} has the same image", "Keep one of the two.")
        except _Unmatched as error:
            left.append(Left(name, error.reason, str(error), error.remedy))
        except DataError as error:
            left.append(Left(name, "refused", str(error).replace(f"{path}", name), error.remedy))
        else:
            taken[image_sha256] = name
            ours = replace(found, image_sha256=image_sha256, params_sha256=IMPORTED, image=None)
            write_sam_pickle(folder / PRELABELS_DIR / f"{image_sha256}.pkl", ours)
    write_bytes(folder / PRELABEL_IMPORT, _csv(left))
    reasons = "".join(f", {count} {reason}" for reason, count in sorted(Counter(item.reason for item in left).items()))
    listed = f" (listed in {PRELABEL_IMPORT})" if left else ""
    return f"{len(taken)} of {len(paths)} pickles imported for {images.count} images{reasons}{listed}"


class _Unmatched(DataError):
    """A pickle that belongs to no image, or not to one alone. `reason` is a short stable code."""

    def __init__(self, reason: str, message: str, remedy: str) -> None:
        super().__init__(message, remedy)
        self.reason = reason


@dataclass
class ProjectImages:
    """The images of a project, by everything that a pickle may know them by."""

    folder: Path
    _rows: dict[str, Row] = field(init=False)  # by SHA-256
    _by_name: dict[str, set[str]] = field(init=False)
    _by_task: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        rows = [row for row in read_tasks(self.folder / TASKS_DIR, COLUMNS).to_pylist() if row["image"]]
        self._rows = {row["image_sha256"]: row for row in rows}
        self._by_task = {str(row["task_id"]): row["image_sha256"] for row in rows}
        self._by_name = defaultdict(set)
        for row in rows:
            for name in {*_names(row["image_url"] or ""), *_names(row["image"])}:
                self._by_name[name].add(row["image_sha256"])

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._rows)

    @cached_property
    def _by_pixels(self) -> dict[str, str]:
        hashes = {}
        for image_sha256, row in self._rows.items():
            try:
                hashes[pixels_sha256(open_rgb(self.folder / row["image"]))] = image_sha256
            except ImageError:
                continue  # `rasterise` rejects it with its reason
        return hashes

    def match(self, path: Path, found: ImagePrelabels) -> str:
        """SHA-256 of the image that a pickle belongs to. Raises _Unmatched if there is none, or no single one."""
        if found.image_sha256 in self._rows:
            return self._sized(found.image_sha256, found)
        named = self._named(path.stem)
        if len(named) == 1:
            return self._sized(next(iter(named)), found)
        if found.image is not None and (match := self._by_pixels.get(pixels_sha256(found.image))):
            return match
        if named:
            message = f"{len(named)} different images have the name {path.stem}"
            raise _Unmatched("ambiguous", message, "Name the pickle by the id of the task.")
        raise _Unmatched(
            "unmatched",
            f"no image has the name or the hash of this pickle, and no task the id {path.stem}",
            "Name it like the image, or run `maskloop pull` if its task is new.",
        )

    def _named(self, stem: str) -> set[str]:
        if named := self._by_name.get(stem):
            return named
        return {self._by_task[stem]} if stem in self._by_task else set()

    def _sized(self, image_sha256: str, found: ImagePrelabels) -> str:
        size_hw = self._rows[image_sha256]["image_height"], self._rows[image_sha256]["image_width"]
        if found.size_hw != size_hw:
            raise _Unmatched(
                "other_size",
                f"its masks have {found.size_hw[0]}x{found.size_hw[1]} pixels, the image {size_hw[0]}x{size_hw[1]}",
                "Make them on the image as a browser shows it, EXIF orientation applied, at full size.",
            )
        return image_sha256


def pixels_sha256(image: NDArray[np.uint8]) -> str:
    """SHA-256 of an RGB image's size and pixels, uint8 (H, W, 3), in hex."""
    digest = hashlib.sha256(f"{image.shape[0]}x{image.shape[1]}".encode())
    digest.update(np.ascontiguousarray(image).data)
    return digest.hexdigest()


def _names(address: str) -> set[str]:
    """Names of an image's file, by its address: with and without ending, and Label Studio's prefix of uploads."""
    parts = urlsplit(address)
    path = PurePosixPath(parse_qs(parts.query).get("d", [unquote(parts.path)])[0])
    name = UPLOAD_PREFIX.sub("", path.name)
    return {path.name, path.stem, name, PurePosixPath(name).stem} - {""}


def _csv(left: list[Left]) -> bytes:
    sink = io.StringIO()
    writer = csv.writer(sink, lineterminator="\n")
    writer.writerow(["file", "reason", "detail", "remedy"])
    writer.writerows([item.file, item.reason, item.detail, item.remedy] for item in left)
    return sink.getvalue().encode()
