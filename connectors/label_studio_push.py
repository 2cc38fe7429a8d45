"""Predictions into Label Studio: validated before, counted after, and replaced only once the new ones are there.

Label Studio drops invalid items of a bulk import without a word and piles up a model version that is pushed twice, so
the order is: validate all, import what is missing under the new version, count, switch the project to it, delete the
old one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from label_studio_sdk.label_interface.interface import LabelInterface

from connectors.batches import batches
from connectors.label_studio import LabelStudioProject
from connectors.label_studio_json import dumps, loads
from schemas.errors import ClassMapError, PushError
from schemas.labels import LabelConfig

OURS = re.compile(r"^[a-z0-9_]+-[0-9a-f]{12}$")
"""Architecture and weights' hash: the form of maskloop's model versions. Others belong to others and are left alone."""

PRELABELS = re.compile(r"^sam-[0-9a-f]{12}$")
"""Those of them that are pre-labels: they and the models' predictions replace only their own kind."""

CONTROL_OF = {"polygonlabels": "PolygonLabels", "brushlabels": "BrushLabels"}
"""Type of a result → the control that it belongs to."""


@dataclass(frozen=True, slots=True)
class OutgoingPrediction:
    """One task's prediction. `result` is Label Studio's list of results; `score` in 0..1."""

    task_id: int
    score: float
    result: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class PushOutcome:
    """How many predictions were sent, how many were there already, and which old versions were deleted."""

    pushed: int
    unchanged: int
    deleted_versions: list[str]


def push_predictions(
    project: LabelStudioProject,
    model_version: str,
    predictions: list[OutgoingPrediction],
    chunk_tasks: int,
    chunk_bytes: int,
    shown: bool = True,
) -> PushOutcome:
    """Make `predictions` the project's pre-annotations. Raises PushError before anything is sent if one is invalid.

    `shown`: whether the project is switched to them, so that annotators start from them. Running it again after any
    interruption ends in the same state. Annotations are never touched.
    """
    config = project.label_config()
    info = project.info()
    prepared = [_prepared(prediction, config) for prediction in predictions]
    validate(str(info["label_config"]), prepared)
    versions = _versions(project)
    there = project.predicted_tasks(model_version) if versions.get(model_version) else set()
    missing = [prediction for prediction in prepared if prediction.task_id not in there]
    items = [
        {"task": entry.task_id, "model_version": model_version, "score": entry.score, "result": entry.result}
        for entry in missing
    ]
    for chunk in batches(items, chunk_tasks, chunk_bytes, lambda item: len(dumps(item))):
        answer = project.server.send("POST", f"/api/projects/{project.project}/import/predictions", chunk)
        created = answer.get("created") if isinstance(answer, dict) else None
        if created != len(chunk):
            raise PushError(
                f"Label Studio stored {created} of {len(chunk)} predictions of {model_version}",
                "Some tasks may be gone: run `dvc repro` again; it pushes only what is missing.",
            )
    if shown and prepared and info.get("model_version") != model_version:
        project.server.send("PATCH", f"/api/projects/{project.project}/", {"model_version": model_version})
    old = sorted(name for name in versions if _is_replaced(name, model_version))
    if prepared:
        for name in old:
            path = f"/api/projects/{project.project}/model-versions/"
            project.server.send("DELETE", path, {"model_version": name})
    return PushOutcome(len(missing), len(prepared) - len(missing), old if prepared else [])


def validate(label_config: str, predictions: Iterable[OutgoingPrediction]) -> None:
    """Raise PushError naming the first invalid prediction: the SDK's own check, and what it lets through."""
    interface = LabelInterface(label_config)
    for prediction in predictions:
        body = {"result": prediction.result, "score": prediction.score}
        errors = list(interface.validate_prediction(body, return_errors=True))  # type: ignore[no-untyped-call]
        errors += _overlooked(prediction)
        if errors:
            raise PushError(
                f"the prediction for task {prediction.task_id} is invalid: {errors[0]:.300}",
                "Nothing was sent. Does the project's label config still match the class map?",
            )


def _overlooked(prediction: OutgoingPrediction) -> Iterator[str]:
    ids = [item.get("id") for item in prediction.result]
    if len(set(ids)) < len(ids):
        yield "two regions have the same id"
    for item in prediction.result:
        where = f"region {item.get('id')}"
        if item.get("type") == "polygonlabels":
            points = item["value"].get("points", [])
            if len(points) < 3:
                yield f"{where}: a polygon of {len(points)} points"
            if not all(0 <= coordinate <= 100 for point in points for coordinate in point):
                yield f"{where}: a coordinate outside 0..100"
        if not (item.get("original_width") and item.get("original_height")):
            yield f"{where}: no original size"
        if not 0 <= item.get("score", 0) <= 1:
            yield f"{where}: score {item['score']} outside 0..1"
    if not (math.isfinite(prediction.score) and 0 <= prediction.score <= 1):
        yield f"score {prediction.score} outside 0..1"


def _prepared(prediction: OutgoingPrediction, config: LabelConfig) -> OutgoingPrediction:
    """The prediction with the controls' names of this project."""
    return OutgoingPrediction(prediction.task_id, prediction.score, [named(item, config) for item in prediction.result])


def named(item: dict[str, Any], config: LabelConfig) -> dict[str, Any]:
    """A region with the names of its control in this project. Raises ClassMapError if the project has none."""
    tag = CONTROL_OF[item["type"]]
    control = config.controls.get(tag)
    if control is None:
        raise ClassMapError(
            f"the project's label config has no <{tag}>, which predictions need", "Add one with all classes."
        )
    return item | {"from_name": control[0], "to_name": control[1]}


def _is_replaced(name: str, model_version: str) -> bool:
    """Whether a version is an older one of the same kind as `model_version`."""
    same_kind = bool(PRELABELS.match(name)) == bool(PRELABELS.match(model_version))
    return bool(OURS.match(name)) and same_kind and name != model_version


def _versions(project: LabelStudioProject) -> dict[str, int]:
    """Model version → number of its predictions."""
    answer = project.server.get(f"/api/projects/{project.project}/model-versions/")
    versions: dict[str, int] = loads(answer.content)
    return versions
