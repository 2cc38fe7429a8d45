"""Stage `assign`: which class each pre-label has, `data/assigned.parquet`. Masks of Segment Anything come without one.

`prelabel.assign` lists what is asked, in this order; the first that has an answer gives the class:

    human      the region whose visible pixels the mask matches with an IoU of at least `prelabel.assign_iou`
    detector   the class of the box that prompted the mask, with the text detector's score
    champion   the class of at least the share `prelabel.assign_share` of the mask's pixels

and else the mask is unassigned. A mask that matches a region labelled `void` is void.

The champion that votes is the last round's. It comes out of `gate`, which comes out of the masks of `rasterise`, which
may come out of this stage: as a dependency it would close a circle in the DAG, and a new champion alone would start
another round, and so on without an end. So DVC is not told of it. A new champion votes as soon as something else gives
this stage work; then all images are voted on again, and each row says by which model version.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from connectors.images import open_rgb
from connectors.sam_pickle import Prelabel, read_sam_pickle
from connectors.storage import encode_table, read_table, sha256_file, write_bytes, write_json
from connectors.task_store import Row, batches, read_batch, read_index, row_annotations
from pipeline.annotations import chosen
from pipeline.assigned import positions
from pipeline.checkpoint import CARD
from pipeline.human_regions import HumanRegions
from pipeline.inference import Network, load_network
from pipeline.prelabel_summary import summary
from pipeline.progress import Progress
from schemas.errors import ClassMapError, DataError, ImageError
from schemas.labels import VOID_INDEX, ClassMap
from schemas.manifest import ASSIGNED, ASSIGNED_SCHEMA, CHAMPION_DIR, PRELABEL_REPORT, PRELABELS_DIR, TASKS_DIR
from schemas.params import Params, PrelabelParams
from schemas.tasks import Annotation


@dataclass(frozen=True, slots=True)
class Assignment:
    """The class of a mask (None: unassigned), who gave it, and how sure: IoU, detector's score or share of votes."""

    class_index: int | None = None
    by: str | None = None
    score: float | None = None
    region_id: str | None = None


def assign(params: Params, folder: Path, progress: Progress) -> str:
    """Write `data/assigned.parquet` and `reports/prelabels.json`. Only tasks whose inputs changed are looked at.

    A pickle that can't be read, or is of another size than its image, is counted and said, and gives no rows.
    """
    champion = _champion(params, folder, progress) if "champion" in params.prelabel.assign else None
    assigner = _Assigner(params, folder, *(champion or (None, None)))
    last = _last(folder)
    digests = dict(zip(last["task_id"].to_pylist(), last["inputs_sha256"].to_pylist(), strict=True))
    kept, tables, looked_at, problems = [], [], 0, 0
    index = read_index(folder / TASKS_DIR, ["task_id"])
    for row in progress.track(_task_rows(folder, index), len(index), "tasks"):
        if not assigner.has_pickle(row):
            continue
        digest = assigner.inputs_sha256(row)
        if digests.get(row["task_id"]) == digest:
            kept.append(row["task_id"])
            continue
        looked_at += 1
        try:
            tables.append(pa.Table.from_pylist(list(assigner.rows(row, digest)), schema=ASSIGNED_SCHEMA))
        except (DataError, ImageError) as error:
            progress.say(f"pre-labels of task {row['task_id']} left out: {error}")
            problems += 1
    tables.append(last.filter(pc.is_in(last["task_id"], pa.array(kept, pa.int64()))))
    table = pa.concat_tables(tables).sort_by([("task_id", "ascending"), ("mask", "ascending")])
    write_bytes(folder / ASSIGNED, encode_table(table))
    write_json(folder / PRELABEL_REPORT, summary(table, params.class_map))
    assigned = len(table) - table["class_index"].null_count
    return (
        f"{assigned} of {len(table)} masks have a class; {looked_at} of {looked_at + len(kept)} tasks looked at, "
        f"{problems} unusable pickles"
    )


def _task_rows(folder: Path, index: pa.Table) -> Iterator[Row]:
    """Rows of TASKS_SCHEMA, a few in memory at a time."""
    for batch in batches(index):
        yield from read_batch(folder / TASKS_DIR, batch)


def assign_mask(
    prelabel: Prelabel,
    inside: NDArray[np.int64],
    human: HumanRegions,
    votes: NDArray[np.uint8] | None,
    params: PrelabelParams,
    class_map: ClassMap,
) -> Assignment:
    """The class of one pre-label.

    `inside`: its pixels as column-major positions, int64 (A,). `votes`: the champion's class indices, column-major
    uint8 (H·W,), None without a champion.
    """
    ways = {
        "human": lambda: _by_human(inside, human, params.assign_iou),
        "detector": lambda: _by_detector(prelabel, class_map),
        "champion": lambda: None if votes is None else _by_champion(inside, votes, params.assign_share),
    }
    answers = (ways[way]() for way in params.assign)
    return next((answer for answer in answers if answer is not None), Assignment())


def _by_human(inside: NDArray[np.int64], human: HumanRegions, least_iou: float) -> Assignment | None:
    shared = np.bincount(human.column_major[inside], minlength=human.areas_px.size)
    iou = shared / np.maximum(human.areas_px + inside.size - shared, 1)
    iou[0] = 0
    best = int(iou.argmax())
    if iou[best] < least_iou:
        return None
    return Assignment(int(human.class_indices[best]), "human", float(iou[best]), human.region_ids[best])


def _by_detector(prelabel: Prelabel, class_map: ClassMap) -> Assignment | None:
    index = None if prelabel.label is None else class_map.index(prelabel.label)
    return None if index is None else Assignment(index, "detector", prelabel.label_score)


def _by_champion(inside: NDArray[np.int64], votes: NDArray[np.uint8], least_share: float) -> Assignment | None:
    counts = np.bincount(votes[inside], minlength=1)
    best = int(counts.argmax())
    share = float(counts[best] / max(inside.size, 1))
    return Assignment(best, "champion", share) if share >= least_share else None


def newly_covered(prelabels: Sequence[Prelabel], image_px: int) -> list[int]:
    """Of each mask the pixels that no larger one covers; of masks of one size the earlier goes first."""
    covered = np.zeros(image_px, np.bool_)
    new = [0] * len(prelabels)
    for number in sorted(range(len(prelabels)), key=lambda number: -prelabels[number].area):
        inside = positions(prelabels[number])
        new[number] = inside.size - int(np.count_nonzero(covered[inside]))
        covered[inside] = True
    return new


class _Assigner:
    """Assigns the masks of a task."""

    def __init__(self, params: Params, folder: Path, network: Network | None, model_version: str | None) -> None:
        self._params = params
        self._folder = folder
        self._network = network
        self._model_version = model_version
        self._class_map = params.class_map
        chosen_params = params.prelabel.model_dump(include={"assign", "assign_iou", "assign_share"})
        how_painted = params.rasterise.model_dump(include={"overlap", "annotators", "image_tag"})
        classes = [entry.model_dump() for entry in params.classes]
        how_predicted = params.predict.model_dump(include={"tile_hw", "overlap", "flips"}) if network else None
        self._settings = json.dumps([chosen_params, how_painted, classes, model_version, how_predicted])

    def has_pickle(self, row: Row) -> bool:
        """Whether the task's image has pre-labels."""
        return bool(row["image"] and row["image_height"]) and self._pickle(row).is_file()

    def inputs_sha256(self, row: Row) -> str:
        """SHA-256 of all that decides the rows of a task, in hex."""
        results = [annotation.result for annotation in self._annotations(row)]
        inputs = [self._settings, sha256_file(self._pickle(row)), results]
        return hashlib.sha256(json.dumps(inputs).encode()).hexdigest()

    def rows(self, row: Row, digest: str) -> Iterator[Row]:
        """Rows of ASSIGNED_SCHEMA. Raises DataError or ImageError if pickle or image can't be used."""
        found = read_sam_pickle(self._pickle(row))
        size_hw = row["image_height"], row["image_width"]
        if found.size_hw != size_hw:
            raise DataError(f"its masks have {found.size_hw} pixels, the image {size_hw}", "Make them again.")
        human = HumanRegions.of(self._annotations(row), size_hw, self._class_map, self._params.rasterise)
        votes = self._votes(row)
        labelled = human.class_indices[human.column_major]
        new_px = newly_covered(found.prelabels, labelled.size)
        for number, prelabel in enumerate(found.prelabels):
            inside = positions(prelabel)
            answer = assign_mask(prelabel, inside, human, votes, self._params.prelabel, self._class_map)
            counts = np.bincount(labelled[inside], minlength=VOID_INDEX + 1)[:VOID_INDEX]
            yield {
                "task_id": row["task_id"],
                "image_sha256": row["image_sha256"],
                "mask": number,
                "image_px": labelled.size,
                "area_px": inside.size,
                "new_px": new_px[number],
                "class_index": answer.class_index,
                "by": answer.by,
                "score": answer.score,
                "region_id": answer.region_id,
                "human_px": int(counts.sum()),
                "agreeing_px": 0 if answer.class_index in (None, VOID_INDEX) else int(counts[answer.class_index]),
                "model_version": self._model_version,
                "inputs_sha256": digest,
            }

    def _annotations(self, row: Row) -> list[Annotation]:
        return chosen(row_annotations(row), self._params.rasterise.annotators)

    def _pickle(self, row: Row) -> Path:
        return self._folder / PRELABELS_DIR / f"{row['image_sha256']}.pkl"

    def _votes(self, row: Row) -> NDArray[np.uint8] | None:
        if self._network is None:
            return None
        (prediction,) = self._network.predict([open_rgb(self._folder / row["image"])])
        return prediction.mask.ravel(order="F")


def _champion(params: Params, folder: Path, progress: Progress) -> tuple[Network, str] | None:
    """The last round's champion and its version; None, said if it is damaged or of other classes, without one."""
    if not (folder / CHAMPION_DIR / CARD).is_file():
        return None
    try:
        network, card = load_network(folder / CHAMPION_DIR, params)
    except (ClassMapError, DataError) as error:
        progress.say(f"no champion votes: {error}")
        return None
    return network, card.model_version


def _last(folder: Path) -> pa.Table:
    """What the last run wrote; empty if it wrote nothing that can be read."""
    try:
        return read_table(folder / ASSIGNED, ASSIGNED_SCHEMA)
    except DataError:
        return ASSIGNED_SCHEMA.empty_table()
