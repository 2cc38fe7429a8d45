"""Pre-labels as pre-annotations: the masks of tasks that nobody annotated, each in the label that `assign` gave it."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from connectors.label_studio_json import dumps
from connectors.label_studio_push import OutgoingPrediction
from connectors.sam_pickle import Prelabel, read_sam_pickle
from connectors.storage import read_table
from connectors.task_store import Row, read_tasks, row_annotations
from pipeline.mask_results import Control, mask_results
from pipeline.progress import Progress
from schemas.errors import DataError
from schemas.manifest import ASSIGNED, ASSIGNED_SCHEMA, PRELABELS_DIR, TASKS_DIR
from schemas.params import Params, PredictParams


@dataclass(frozen=True, slots=True)
class Labelled:
    """A pre-label that goes out: the label that it is shown with, and how sure that is (0..1)."""

    prelabel: Prelabel
    label: str
    certainty: float = 1.0

    @property
    def score(self) -> float:
        """That the mask is right and its label too, 0..1."""
        return round(min(max(self.prelabel.predicted_iou, 0.0), 1.0) * self.certainty, 6)


def outgoing_prelabels(params: Params, folder: Path, progress: Progress) -> tuple[str, list[OutgoingPrediction]]:
    """The model version, `sam-` and a hash of all that goes out, and one prediction for each open task with a mask.

    What has no class goes to `push.unassigned_label` or stays home. A pickle that can't be read is said. Raises
    DataError if `assign` has not run.
    """
    assigned: dict[int, dict[int, Row]] = defaultdict(dict)
    for row in read_table(folder / ASSIGNED, ASSIGNED_SCHEMA).to_pylist():
        assigned[row["task_id"]][row["mask"]] = row
    tasks = [row for row in read_tasks(folder / TASKS_DIR).to_pylist() if row["image"] and not row_annotations(row)]
    predictions = []
    for row in progress.track(tasks, len(tasks), "pre-labels"):
        try:
            prediction = _outgoing(row, assigned[row["task_id"]], params, folder)
        except DataError as error:
            progress.say(f"pre-labels of task {row['task_id']} stay home: {error}")
            continue
        if prediction.result:
            predictions.append(prediction)
    digest = hashlib.sha256()
    for prediction in predictions:
        digest.update(dumps([prediction.task_id, prediction.score, prediction.result]).encode())
    return f"sam-{digest.hexdigest()[:12]}", predictions


def prelabel_results(
    labelled: Sequence[Labelled],
    size_hw: tuple[int, int],
    kind: Literal["polygon", "brush"],
    identity: str,
    options: PredictParams,
) -> list[dict[str, Any]]:
    """Pre-labels of one image as a `result`: the largest first, so that smaller ones lie on top, each with its score.

    `identity` seeds the region ids, so that the same masks have the same ids.
    """
    control = Control(kind, kind, "image")
    result = []
    for number, each in enumerate(sorted(labelled, key=lambda each: -each.prelabel.area)):
        region_id = hashlib.sha256(f"{identity}:{number}".encode()).hexdigest()[:10]
        mask = each.prelabel.mask(size_hw)
        result += mask_results(
            mask,
            each.label,
            control,
            region_id,
            each.score,
            options.tolerance_px,
            options.min_area_px,
            options.max_vertices,
        )
    return result


def _outgoing(row: Row, assigned: dict[int, Row], params: Params, folder: Path) -> OutgoingPrediction:
    if not assigned:
        return OutgoingPrediction(row["task_id"], 0.0, [])
    found = read_sam_pickle(folder / PRELABELS_DIR / f"{row['image_sha256']}.pkl")
    labelled = []
    for number, prelabel in enumerate(found.prelabels):
        entry = assigned.get(number, {})
        class_index, certainty = entry.get("class_index"), entry.get("score")
        label = params.push.unassigned_label if class_index is None else params.class_map.label(class_index)
        if label is not None and prelabel.area >= params.predict.min_area_px:
            sure = 1.0 if class_index is None or certainty is None else min(max(certainty, 0.0), 1.0)
            labelled.append(Labelled(prelabel, label, sure))
    area = sum(each.prelabel.area for each in labelled)
    score = sum(each.score * each.prelabel.area for each in labelled) / area if area else 0.0
    result = prelabel_results(
        labelled, found.size_hw, params.push.prelabels_as, f"{found.image_sha256}:{row['task_id']}", params.predict
    )
    return OutgoingPrediction(row["task_id"], round(score, 6), result)
