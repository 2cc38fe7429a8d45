"""The prelabel stage: one SAM-format pickle per distinct image, `data/prelabels/<image_sha256>.pkl`.

Each is written when its image is done, so a run that was killed goes on with the next image.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

from connectors.images import open_rgb
from connectors.sam_pickle import IMPORTED, ImagePrelabels, read_sam_pickle, write_sam_pickle
from connectors.storage import remove_others, sha256_file
from pipeline.processes import process_pool
from pipeline.progress import Progress
from pipeline.propose import Proposer, make_proposer
from pipeline.turns import images_in_turn
from schemas.errors import DataError, ImageError
from schemas.manifest import PRELABELS_DIR
from schemas.params import Params

AFTERWARDS = {"assign", "assign_iou", "assign_share", "refine"}
"""Parameters of `assign`, which finds the classes of masks that are there already."""

INDECISIVE = {"device", "points_per_batch", "embeddings_gb"}
"""Parameters of how proposals are computed, not of what comes out."""


def prelabel(params: Params, folder: Path, progress: Progress) -> str:
    """Write the pickles that are missing or made with other parameters, and remove those of images that are gone.

    An image that can't be read is counted and left out here; `rasterise` rejects it with its reason. Raises ParamsError
    for an unknown proposer.
    """
    proposer = make_proposer(params, folder)
    images = images_in_turn(folder)
    prelabels_dir = folder / PRELABELS_DIR
    prelabels_dir.mkdir(parents=True, exist_ok=True)
    removed = remove_others(prelabels_dir, {_name(sha256) for sha256 in images})

    made_with = params_sha256(params)
    stale = [sha256 for sha256 in images if not _is_current(prelabels_dir / _name(sha256), made_with)]
    jobs = [
        Job(folder / images[sha256], prelabels_dir / _name(sha256), made_with, params.prelabel.embed_image)
        for sha256 in stale
    ]
    run = _in_parallel(params, folder, jobs) if proposer.in_parallel else (job.run(proposer) for job in jobs)
    readable = list(progress.track(run, len(jobs), "pre-labelling images"))

    return (
        f"{len(images)} images: {sum(readable)} pre-labelled by {params.prelabel.model}, "
        f"{len(images) - len(stale)} kept, {readable.count(False)} unreadable, {removed} old files removed"
    )


def params_sha256(params: Params) -> str:
    """SHA-256 of all that decides the proposals of an image, in hex: parameters, weights, and what to look for."""
    decisive = params.prelabel.model_dump(mode="json", exclude=AFTERWARDS | INDECISIVE)
    for model in (params.prelabel.model, params.prelabel.detector):
        files = _files_of(model) if model else []
        decisive |= {f"{model}: {file.name}": sha256_file(file) for file in files}
    if params.prelabel.detector is not None:
        decisive["classes"] = [[entry.name, *entry.synonyms] for entry in params.classes]
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Job:
    """One image to pre-label, and where to."""

    image_path: Path
    pickle_path: Path
    made_with: str
    embed_image: bool

    def run(self, proposer: Proposer) -> bool:
        """Write the pickle. False, and no pickle, if the image can't be read."""
        try:
            image = open_rgb(self.image_path)
        except ImageError:
            self.pickle_path.unlink(missing_ok=True)
            return False
        prelabels = tuple(proposer.propose(image, self.pickle_path.stem))
        size_hw = (image.shape[0], image.shape[1])
        embedded = image if self.embed_image else None
        content = ImagePrelabels(self.pickle_path.stem, size_hw, proposer.name, self.made_with, prelabels, embedded)
        write_sam_pickle(self.pickle_path, content)
        return True


def _run(params: Params, folder: Path, job: Job) -> bool:
    return job.run(make_proposer(params, folder))


def _files_of(model: str) -> list[Path]:
    """The files of a local model; none of a hub id, which names its weights."""
    path = Path(model)
    return sorted(file for file in path.iterdir() if file.is_file()) if path.is_dir() else [path] * path.is_file()


def _in_parallel(params: Params, folder: Path, jobs: list[Job]) -> Iterator[bool]:
    """The jobs by a process for each core, in order of completion."""
    if not jobs:
        return
    workers = min(os.cpu_count() or 1, len(jobs))
    with process_pool(workers) as pool:
        futures = [pool.submit(_run, params, folder, job) for job in jobs]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BrokenProcessPool:
            raise DataError(
                "a process that pre-labels images was killed",
                "It may have run out of memory: shrink the images, then run `dvc repro` again; finished ones are kept.",
            ) from None
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _is_current(pickle_path: Path, made_with: str) -> bool:
    if not pickle_path.exists():
        return False
    try:
        return read_sam_pickle(pickle_path).params_sha256 in (made_with, IMPORTED)
    except DataError:
        return False


def _name(image_sha256: str) -> str:
    return f"{image_sha256}.pkl"
