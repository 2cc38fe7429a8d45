"""Stage `push`: the champion's predictions become the project's pre-annotations, under one model version a model."""

from __future__ import annotations

from pathlib import Path

from connectors.base import Credentials
from connectors.label_studio_json import loads
from connectors.storage import read_table, write_json
from pipeline.progress import Progress
from schemas.manifest import PREDICTIONS_DIR, PREDICTIONS_SCHEMA, PUSH
from schemas.params import LabelStudioSource, Params


def push(params: Params, folder: Path, progress: Progress, credentials: Credentials) -> str:
    """Push what the server lacks and write `reports/push.json`, which stays as it is when there is nothing to push.

    Raises PushError if a prediction is invalid (nothing is sent then) or the server stored fewer than were sent.
    """
    rows = read_table(folder / PREDICTIONS_DIR / "predictions.parquet", PREDICTIONS_SCHEMA).to_pylist()
    if not isinstance(params.source, LabelStudioSource):
        write_json(folder / PUSH, {"kind": "no server", "model_version": None, "pushed": 0, "review_url": None})
        return "the source is an export file: no server to push to"
    if not rows:
        if not (folder / PUSH).exists():
            write_json(folder / PUSH, {"kind": "nothing", "model_version": None, "pushed": 0, "review_url": None})
        return "no task without annotation, so nothing to push"

    from connectors.label_studio import LabelStudioProject
    from connectors.label_studio_push import OutgoingPrediction, push_predictions

    project = LabelStudioProject.connect(params, credentials)
    model_version = rows[0]["model_version"]
    predictions = [OutgoingPrediction(row["task_id"], row["score"], loads(row["result"])) for row in rows]
    outcome = push_predictions(
        project, model_version, predictions, params.push.chunk_tasks, int(params.push.chunk_mb * 1e6)
    )
    if outcome.pushed or not (folder / PUSH).exists():
        write_json(
            folder / PUSH,
            {
                "kind": "pushed",
                "model_version": model_version,
                "pushed": outcome.pushed,
                "unchanged": outcome.unchanged,
                "deleted_versions": outcome.deleted_versions,
                "review_url": f"{project.server.url}/projects/{project.project}/data",
            },
        )
    return f"{model_version}: {outcome.pushed} predictions pushed, {outcome.unchanged} were there already"
