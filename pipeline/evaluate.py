"""Stage `evaluate`: the challenger's scores on the val and the test split, in all and for every sample."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np

from connectors.masks import write_mask
from connectors.storage import remove_others, write_bytes, write_json, write_table
from pipeline.dataset import Sample, read_samples, require
from pipeline.inference import Network, load_network, measure
from pipeline.meter import Meter
from pipeline.metrics import Confusion, number, scores
from pipeline.progress import Progress
from schemas.manifest import CHALLENGER_DIR, CONFUSION, EVALUATION, REPORTS_DIR, SAMPLE_SCORES, SAMPLE_SCORES_SCHEMA
from schemas.params import Params

PREDICTED_MASKS_DIR = REPORTS_DIR / "predictions"


def evaluate(params: Params, folder: Path, progress: Progress) -> str:
    """Write `reports/evaluate.json`, `confusion.csv` (of val), `samples.parquet` and the predicted masks.

    Raises DataError without a challenger or a val sample, ClassMapError if the challenger has other classes.
    """
    samples = read_samples(folder, len(params.classes))
    require(samples, ("val",))
    network, card = load_network(folder / CHALLENGER_DIR, params)
    report: dict[str, Any] = {}
    rows: list[dict[str, Any]] = []
    for split in ("val", "test"):
        if not samples[split]:
            progress.say(f"the {split} split is empty, so nothing is said about it")
            continue
        meter, split_rows = evaluate_split(params, folder, network, split, samples[split], progress)
        report[split] = {"samples": len(samples[split]), **meter.as_json(card.classes)}
        rows += split_rows
        if split == "val":
            write_bytes(folder / CONFUSION, confusion_csv(meter.confusion(), card.classes))
    write_json(folder / EVALUATION, report)
    write_table(folder / SAMPLE_SCORES, rows, SAMPLE_SCORES_SCHEMA)
    remove_others(folder / PREDICTED_MASKS_DIR, {Path(row["prediction"]).name for row in rows})
    means = [f"{split} {part['mean_iu']:.3f}" for split, part in report.items() if part["mean_iu"] is not None]
    return f"{card.model_version}: mean IU {', '.join(means)}"


def evaluate_split(
    params: Params, folder: Path, network: Network, split: str, samples: list[Sample], progress: Progress
) -> tuple[Meter, list[dict[str, Any]]]:
    """All scores of a split and one SAMPLE_SCORES row per sample; writes the predicted masks."""
    meter = Meter(len(params.classes), network.compute.device)
    rows = []
    measured = measure(network, samples, params.evaluate.batch_size, meter=meter)
    for sample, prediction, confusion in progress.track(measured, len(samples), f"{split} samples"):
        path = PREDICTED_MASKS_DIR / f"{sample.task_id}.png"
        write_mask(folder / path, prediction.mask)
        own = scores(confusion)
        rows.append(
            {
                "task_id": sample.task_id,
                "split": split,
                "mean_iu": number(own.mean_iu),
                "pixel_accuracy": number(own.pixel_accuracy),
                "prediction": str(path),
            }
        )
    return meter, rows


def confusion_csv(confusion: Confusion, names: tuple[str, ...]) -> bytes:
    """The confusion matrix as CSV: actual label, predicted label, pixels; one line per pair."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["actual", "predicted", "pixels"])
    for (actual, predicted), pixels in np.ndenumerate(confusion):
        writer.writerow([names[actual], names[predicted], pixels])
    return text.getvalue().encode()
