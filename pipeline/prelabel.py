"""The prelabel stage: one SAM-format pickle per distinct image, `data/prelabels/<image_sha256>.pkl`."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from connectors.images import open_rgb
from connectors.sam_pickle import ImagePrelabels, read_sam_pickle, write_sam_pickle
from connectors.storage import remove_others
from connectors.task_store import read_tasks
from pipeline.progress import Progress
from pipeline.propose import make_proposer
from schemas.errors import DataError, ImageError
from schemas.manifest import PRELABELS_DIR, TASKS_DIR
from schemas.params import Params, PrelabelParams


def prelabel(params: Params, folder: Path, progress: Progress) -> str:
    """Write the pickles that are missing or made with other parameters, and remove those of images that are gone.

    An image that can't be read is counted and left out here; `rasterise` rejects it with its reason. Raises ParamsError
    for an unknown proposer.
    """
    make_proposer(params.prelabel)
    images = distinct_images(folder)
    prelabels_dir = folder / PRELABELS_DIR
    prelabels_dir.mkdir(parents=True, exist_ok=True)
    removed = remove_others(prelabels_dir, {_name(sha256) for sha256 in images})

    made_with = params_sha256(params.prelabel)
    stale = [sha256 for sha256 in images if not _is_current(prelabels_dir / _name(sha256), made_with)]
    jobs = [(folder / images[sha256], prelabels_dir / _name(sha256)) for sha256 in stale]
    readable = list(progress.track(_in_parallel(params.prelabel, jobs), len(jobs), "pre-labelling images"))

    return (
        f"{len(images)} images: {sum(readable)} pre-labelled by {params.prelabel.model}, "
        f"{len(images) - len(stale)} kept, {readable.count(False)} unreadable, {removed} old files removed"
    )


def distinct_images(folder: Path) -> dict[str, str]:
    """SHA-256 → path relative to `folder` of every image that was fetched, sorted."""
    tasks = read_tasks(folder / TASKS_DIR, columns=["image_sha256", "image"]).to_pylist()
    return dict(
        sorted((task["image_sha256"], task["image"]) for task in tasks if task["image_sha256"] and task["image"])
    )


def params_sha256(params: PrelabelParams) -> str:
    """SHA-256 of all that decides the proposals of an image, in hex."""
    return hashlib.sha256(params.model_dump_json().encode()).hexdigest()


def prelabel_image(params: PrelabelParams, image_path: Path, pickle_path: Path) -> bool:
    """Write the pickle of one image. False, and no pickle, if the image can't be read."""
    try:
        image = open_rgb(image_path)
    except ImageError:
        pickle_path.unlink(missing_ok=True)
        return False
    prelabels = tuple(make_proposer(params).propose(image))
    size_hw = (image.shape[0], image.shape[1])
    content = ImagePrelabels(pickle_path.stem, size_hw, params.model, params_sha256(params), prelabels)
    write_sam_pickle(pickle_path, content)
    return True


def _in_parallel(params: PrelabelParams, jobs: list[tuple[Path, Path]]) -> Iterator[bool]:
    """`prelabel_image` of every (image path, pickle path), in order of completion."""
    if not jobs:
        return
    workers = min(os.cpu_count() or 1, len(jobs))
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        futures = [pool.submit(prelabel_image, params, *job) for job in jobs]
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
        return read_sam_pickle(pickle_path).params_sha256 == made_with
    except DataError:
        return False


def _name(image_sha256: str) -> str:
    return f"{image_sha256}.pkl"
