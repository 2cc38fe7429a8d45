"""Stage `predict`: the champion's masks for tasks that nobody annotated, and the polygons they become in Label Studio.

Polygons are traced along pixel edges, largest first, so that painting them in order gives the mask back.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from statistics import fmean

from connectors.images import open_rgb
from connectors.label_studio_json import dumps
from connectors.masks import write_mask
from connectors.storage import remove_others, write_table
from connectors.task_store import Row, read_tasks, row_annotations
from pipeline.inference import Network, Prediction, load_network
from pipeline.outlines import outline_iou, outlines
from pipeline.progress import Progress
from schemas.errors import ImageError
from schemas.manifest import CHAMPION_DIR, PREDICTIONS_DIR, PREDICTIONS_SCHEMA, TASKS_DIR
from schemas.params import Params


def predict(params: Params, folder: Path, progress: Progress) -> str:
    """Write `data/predictions/`: one mask a task and `predictions.parquet`. Raises DataError without a champion."""
    network, card = load_network(folder / CHAMPION_DIR, params)
    rows = [row for row in read_tasks(folder / TASKS_DIR).to_pylist() if row["image"] and not row_annotations(row)]
    predicted = []
    for row, prediction in progress.track(_predictions(network, rows, folder, params, progress), len(rows), "tasks"):
        path = PREDICTIONS_DIR / f"{row['task_id']}.png"
        write_mask(folder / path, prediction.mask)
        predicted.append(_row(row, str(path), prediction, params, card.model_version))
    write_table(folder / PREDICTIONS_DIR / "predictions.parquet", predicted, PREDICTIONS_SCHEMA)
    remove_others(folder / PREDICTIONS_DIR, {"predictions.parquet", *(Path(row["mask"]).name for row in predicted)})
    unreadable = len(rows) - len(predicted)
    said = f"{len(predicted)} tasks predicted by {card.model_version}, {unreadable} without a readable image"
    kept = [row["outline_iou"] for row in predicted if row["outline_iou"] is not None]
    return f"{said}; outlines redraw their masks with a mean IoU of {fmean(kept):.4f}" if kept else said


def _predictions(
    network: Network, rows: list[Row], folder: Path, params: Params, progress: Progress
) -> Iterator[tuple[Row, Prediction]]:
    for start in range(0, len(rows), params.predict.batch_size):
        batch = []
        for row in rows[start : start + params.predict.batch_size]:
            try:
                batch.append((row, open_rgb(folder / row["image"])))
            except ImageError as error:
                progress.say(f"task {row['task_id']} left out: {error}")
        if batch:
            predictions = network.predict([image for _, image in batch])
            yield from zip((row for row, _ in batch), predictions, strict=True)


def _row(row: Row, path: str, prediction: Prediction, params: Params, model_version: str) -> Row:
    options = params.predict
    result = outlines(
        prediction.mask,
        params.class_map,
        f"{model_version}:{row['task_id']}",
        options.tolerance_px,
        options.min_area_px,
        prediction.confidence,
        options.max_vertices,
    )
    text = dumps(result)
    return {
        "task_id": row["task_id"],
        "image": row["image"],
        "mask": path,
        "width": prediction.mask.shape[1],
        "height": prediction.mask.shape[0],
        "model_version": model_version,
        "score": round(float(prediction.confidence.mean()), 6),
        "regions": len(result),
        "result": text,
        "outline_iou": outline_iou(prediction.mask, text, params.class_map),
    }
