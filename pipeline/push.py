"""Stage `push`: the champion's predictions, and pre-labels where `push.what` says so, become pre-annotations.

Each goes out under a model version of its own; annotators see the first of `push.what` that has any.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from connectors.base import Credentials
from connectors.label_studio import LabelStudioProject
from connectors.label_studio_json import loads
from connectors.label_studio_push import OutgoingPrediction, PushOutcome, push_predictions
from connectors.storage import read_table, write_json
from pipeline.progress import Progress
from pipeline.push_prelabels import outgoing_prelabels
from schemas.manifest import PREDICTIONS_DIR, PREDICTIONS_SCHEMA, PUSH
from schemas.params import LabelStudioSource, Params

Outgoing = tuple[str, list[OutgoingPrediction]]
"""A model version and its predictions; none of them where there is nothing to push."""


def push(params: Params, folder: Path, progress: Progress, credentials: Credentials) -> str:
    """Push what the server lacks and write `reports/push.json`, which stays as it is when there is nothing to push.

    Raises PushError if a prediction is invalid (nothing of its model version is sent then) or the server stored fewer
    than were sent, and DataError if what is to be pushed was not made.
    """
    found = [WHAT[what](params, folder, progress) for what in params.push.what]
    if not isinstance(params.source, LabelStudioSource):
        write_json(folder / PUSH, {"kind": "no server", "model_version": None, "pushed": 0, "review_url": None})
        return "the source is an export file: no server to push to"
    outgoing = [(model_version, predictions) for model_version, predictions in found if predictions]
    if not outgoing:
        if not (folder / PUSH).exists():
            write_json(folder / PUSH, {"kind": "nothing", "model_version": None, "pushed": 0, "review_url": None})
        return "no task without annotation, so nothing to push"

    project = LabelStudioProject.connect(params, credentials)
    limits = params.push.chunk_tasks, int(params.push.chunk_mb * 1e6)
    outcomes = {
        model_version: push_predictions(project, model_version, predictions, *limits, shown=number == 0)
        for number, (model_version, predictions) in enumerate(outgoing)
    }
    pushed = sum(outcome.pushed for outcome in outcomes.values())
    if pushed or not (folder / PUSH).exists():
        write_json(
            folder / PUSH,
            {
                "kind": "pushed",
                "model_version": outgoing[0][0],
                "pushed": pushed,
                "unchanged": sum(outcome.unchanged for outcome in outcomes.values()),
                "deleted_versions": [name for outcome in outcomes.values() for name in outcome.deleted_versions],
                "review_url": f"{project.server.url}/projects/{project.project}/data",
            },
        )
    return "; ".join(_said(model_version, outcome) for model_version, outcome in outcomes.items())


def _said(model_version: str, outcome: PushOutcome) -> str:
    return f"{model_version}: {outcome.pushed} predictions pushed, {outcome.unchanged} were there already"


def _outgoing_predictions(_params: Params, folder: Path, _progress: Progress) -> Outgoing:
    """The champion's, as `predict` wrote them."""
    rows = read_table(folder / PREDICTIONS_DIR / "predictions.parquet", PREDICTIONS_SCHEMA).to_pylist()
    predictions = [OutgoingPrediction(row["task_id"], row["score"], loads(row["result"])) for row in rows]
    return (rows[0]["model_version"] if rows else ""), predictions


WHAT: dict[str, Callable[[Params, Path, Progress], Outgoing]] = {
    "model": _outgoing_predictions,
    "sam": outgoing_prelabels,
}
