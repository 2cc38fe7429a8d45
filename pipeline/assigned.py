"""What assigned masks add to a human one: `rasterise.sources` beyond `human`.

    human   regions of annotations
    sam     masks to which a text detector gave a class, and with `prelabel.refine` those that match a human region
    model   masks to which the champion gave a class

They fill pixels that no region touches; what people labelled, or cut out, stays as it is. Where masks lie on each other
the stronger wins: human before detector before champion, then the higher score, then the smaller mask.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from connectors.coco_rle import decompress
from connectors.masks import write_mask
from connectors.sam_pickle import Prelabel, read_sam_pickle
from connectors.storage import read_table, sha256_file
from connectors.task_store import Row
from pipeline.human_regions import HumanRegions
from schemas.errors import DataError
from schemas.labels import VOID_INDEX
from schemas.manifest import ASSIGNED, ASSIGNED_SCHEMA, PRELABELS_DIR, SOURCES_DIR
from schemas.params import Params
from schemas.tasks import Annotation

SOURCES = ("human", "sam", "model")
HUMAN = 1
"""What a mask of sources holds where people labelled; it holds 2 and 3 for the others, 0 where a mask is void."""

SOURCE_OF = {"human": "sam", "detector": "sam", "champion": "model"}
"""By who gave a mask its class, whose the pixels are that it adds."""

STRENGTH = {"champion": 0, "detector": 1, "human": 2}


@dataclass(frozen=True, slots=True)
class Filled:
    """`mask`: class indices, uint8 (H, W), 255 void. `sources`: 1 + index in SOURCES, uint8 (H, W), 0 where void."""

    mask: NDArray[np.uint8]
    sources: NDArray[np.uint8]

    @property
    def pixels(self) -> dict[str, int]:
        """Labelled pixels by source."""
        counts = np.bincount(self.sources.ravel(), minlength=len(SOURCES) + 1)
        return dict(zip(SOURCES, counts[1:].tolist(), strict=True))


def fill(
    mask: NDArray[np.uint8],
    touched: NDArray[np.bool_],
    prelabels: Sequence[Prelabel],
    rows: Sequence[Row],
    allowed: Collection[str],
    refine: bool,
) -> Filled:
    """Fill the void pixels of a human mask, uint8 (H, W), that no region touches (bool (H, W)).

    `rows`: of ASSIGNED_SCHEMA, each with the number of its pre-label. `allowed`: the sources that may fill.
    """
    free = ((mask == VOID_INDEX) & ~touched).ravel(order="F")
    filled = mask.flatten(order="F")
    sources = (filled != VOID_INDEX).astype(np.uint8)
    usable = [row for row in rows if _fills(row, allowed, refine)]
    for row in sorted(usable, key=lambda row: (STRENGTH[row["by"]], row["score"] or 0.0, -row["area_px"], row["mask"])):
        inside = positions(prelabels[row["mask"]])
        inside = inside[free[inside]]
        filled[inside] = row["class_index"]
        sources[inside] = 1 + SOURCES.index(SOURCE_OF[row["by"]])
    shape = mask.shape
    return Filled(
        np.ascontiguousarray(filled.reshape(shape, order="F")), np.ascontiguousarray(sources.reshape(shape, order="F"))
    )


def _fills(row: Row, allowed: Collection[str], refine: bool) -> bool:
    if row["class_index"] in (None, VOID_INDEX) or SOURCE_OF[row["by"]] not in allowed:
        return False
    return refine or row["by"] != "human"


def positions(prelabel: Prelabel) -> NDArray[np.int64]:
    """The pixels of a pre-label as positions in its column-major image, int64 (A,), ascending."""
    runs = np.array(decompress(prelabel.counts), np.int64)
    ends = np.cumsum(runs)[1::2]
    lengths = runs[1::2]
    return np.arange(lengths.sum()) + np.repeat(ends - np.cumsum(lengths), lengths)


def digest(params: Params, folder: Path) -> str:
    """What decides the masks besides the tasks: "" where people alone do. Raises DataError if `assign` has not run."""
    if set(params.rasterise.sources) == {"human"}:
        return ""
    if not (folder / ASSIGNED).is_file():
        raise DataError(f"{folder / ASSIGNED} does not exist", "Run `dvc repro`.")
    return f"{sha256_file(folder / ASSIGNED)} {params.prelabel.refine}"


class Filler:
    """Fills the masks of some tasks as `rasterise.sources` says, and writes `data/sources/`, whose each pixel is."""

    def __init__(self, params: Params, folder: Path, task_ids: Sequence[int]) -> None:
        self._params = params
        self._folder = folder
        self._rows: dict[int, list[Row]] = {task_id: [] for task_id in task_ids}
        if digest(params, folder):
            wanted = pc.field("task_id").isin(self._rows)
            for row in read_table(folder / ASSIGNED, ASSIGNED_SCHEMA).filter(wanted).to_pylist():
                self._rows[row["task_id"]].append(row)

    def inputs(self, task_id: int) -> list[Any]:
        """What decides how a task is filled; empty where nothing fills it."""
        rows = self._rows[task_id]
        return [rows[0]["inputs_sha256"], self._params.prelabel.refine] if rows else []

    def fill(self, row: Row, mask: NDArray[np.uint8], annotations: Sequence[Annotation]) -> Filled | None:
        """Fill the human mask, uint8 (H, W), of a row of TASKS_SCHEMA made from these annotations.

        None where nothing fills it. Raises DataError if the pre-labels are missing or not those that were assigned.
        """
        rows = self._rows[row["task_id"]]
        path = self._folder / sources_path(row["task_id"])
        if not rows:
            path.unlink(missing_ok=True)
            return None
        pickle_path = self._folder / PRELABELS_DIR / f"{row['image_sha256']}.pkl"
        prelabels = read_sam_pickle(pickle_path).prelabels
        if [item.area for item in prelabels] != [item["area_px"] for item in rows]:
            raise DataError(f"{pickle_path} is not what {ASSIGNED} was made from", "Run `dvc repro assign`.")
        params = self._params.rasterise
        size_hw = (mask.shape[0], mask.shape[1])
        touched = HumanRegions.of(annotations, size_hw, self._params.class_map, params).touched
        filled = fill(mask, touched, prelabels, rows, params.sources, self._params.prelabel.refine)
        write_mask(path, filled.sources)
        return filled


def sources_path(task_id: int) -> Path:
    """Where whose each pixel is lies, relative to the project folder, where anything but people filled the mask."""
    return SOURCES_DIR / f"{task_id}.png"
