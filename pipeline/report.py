"""Stage `report`: what the round came to, as one HTML page that needs nothing but itself."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import jinja2
import numpy as np
import pandas as pd
from markupsafe import Markup
from numpy.typing import NDArray

from connectors.images import open_rgb
from connectors.masks import read_mask
from connectors.storage import read_json, read_table, write_bytes
from connectors.task_store import Row, read_tasks
from pipeline.figures import Curve, confusion_svg, curves_svg, overlay_uri, photo_uri
from pipeline.label_quality import label_quality
from pipeline.prelabel_report import prelabel_section
from pipeline.progress import Progress
from schemas.errors import DataError, ImageError
from schemas.labels import ClassMap
from schemas.manifest import (
    CONFUSION,
    EVALUATION,
    GATE,
    MANIFEST,
    MANIFEST_SCHEMA,
    PREDICTIONS_DIR,
    PREDICTIONS_SCHEMA,
    PUSH,
    REJECTS,
    REJECTS_SCHEMA,
    REPORT,
    SAMPLE_SCORES,
    SAMPLE_SCORES_SCHEMA,
    SPLITS,
    TASKS_DIR,
    TRAIN_REPORT_DIR,
)
from schemas.params import Params

MEASURES = {
    "mean_iu": "Mean IU",
    "pixel_accuracy": "Pixel accuracy",
    "mean_accuracy": "Mean accuracy",
    "frequency_weighted_iu": "Frequency-weighted IU",
    "boundary_iou": "Boundary IoU",
    "boundary_f1": "Boundary F1",
    "expected_calibration_error": "Calibration error (low is good)",
}
METRIC_NAMES = {"miou": "mean IU"}
SHOWN_REJECTS = 50
PICTURE_WIDTH_PX = 360

T = TypeVar("T")


def report(params: Params, folder: Path, progress: Progress) -> str:
    """Write `reports/index.html`. A part whose input is missing says so; raises DataError if all of them are."""
    parts = Parts(folder)
    page: dict[str, Any] = {
        "gate": parts.read("gate", lambda: read_json(folder / GATE)),
        "evaluation": parts.read("scores", lambda: read_json(folder / EVALUATION)),
        "push": parts.read("push", lambda: read_json(folder / PUSH)),
        "curves": parts.read("curves", lambda: learning_curves(folder)),
        "confusion": parts.read("confusion", lambda: confusion(folder)),
        "quality": parts.read("quality", lambda: label_quality(manifest_rows(folder), params.class_map)),
        "shares": parts.read("shares", lambda: class_shares(folder, params.class_map)),
        "rejects": parts.read("rejects", lambda: read_table(folder / REJECTS, REJECTS_SCHEMA).to_pylist()),
        "prelabels": parts.read("prelabels", lambda: prelabel_section(folder)),
        "overlays": parts.read("overlays", lambda: overlays(params, folder, progress)),
        "annotated": parts.read("samples", lambda: read_table(folder / MANIFEST, MANIFEST_SCHEMA).num_rows),
        "predicted": parts.read("predictions", lambda: predicted_tasks(folder)),
    }
    if len(parts.missing) == len(page):
        raise DataError(f"nothing to report: {folder} holds no result of any stage", "Run `dvc repro`.")
    rejects = page["rejects"] or []
    page |= {
        "missing": parts.missing,
        "tasks": read_tasks(folder / TASKS_DIR, columns=["task_id"]).num_rows,
        "classes": params.classes,
        "measures": MEASURES,
        "reasons": Counter(row["reason"] for row in rejects).most_common(),
        "shown_rejects": rejects[:SHOWN_REJECTS],
        "rejects_path": REJECTS.as_posix(),
        "review_url": web_address((page["push"] or {}).get("review_url")),
    }
    write_bytes(folder / REPORT, render(page).encode())
    gaps = f", without {', '.join(sorted(parts.missing))}" if parts.missing else ""
    return f"{REPORT.as_posix()} written{gaps}"


@dataclass(slots=True)
class Parts:
    """Reads the parts of the page and remembers in `missing`, by part, why one can't be shown."""

    folder: Path
    missing: dict[str, str] = field(default_factory=dict)

    def read(self, name: str, part: Callable[[], T]) -> T | None:
        """The part, or None if its input is missing or unusable."""
        try:
            return part()
        except DataError as error:
            self.missing[name] = f"{error}. {error.remedy}".replace(f"{self.folder.as_posix()}/", "")
            return None


@dataclass(frozen=True, slots=True)
class ClassShare:
    """How much of a split's labelled pixels a class takes, 0..1."""

    label: str
    color: str
    share: float


@dataclass(frozen=True, slots=True)
class SplitShares:
    """Class shares of one split, with its number of samples and the share of all its pixels that is void."""

    split: str
    samples: int
    void_share: float
    classes: tuple[ClassShare, ...]


@dataclass(frozen=True, slots=True)
class Overlay:
    """One sample as image, annotation and prediction (data URIs); `problem` says why there are none."""

    task_id: int
    mean_iu: float
    pictures: tuple[str, ...]
    problem: str = ""


def render(page: dict[str, Any]) -> str:
    """The HTML of a page. Raises DataError if an input lacks what the page shows of it."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    try:
        return environment.get_template("report.html.j2").render(page)
    except jinja2.UndefinedError as error:
        raise DataError(f"a file of reports/ has another form than expected: {error}", "Run `dvc repro`.") from error


def web_address(url: str | None) -> str | None:
    """The address if a page may link to it, else None."""
    return url if url is not None and urlsplit(url).scheme in ("http", "https") else None


def learning_curves(folder: Path) -> dict[str, Markup]:
    """One SVG per metric that DVCLive has logged, train and val of the same metric together."""
    plots = folder / TRAIN_REPORT_DIR / "plots" / "metrics"
    metrics: dict[str, dict[str, Curve]] = defaultdict(dict)
    # What lies in plots/train and plots/val comes before the rest, such as the learning rate.
    for path in sorted(plots.rglob("*.tsv"), key=lambda path: (path.parent == plots, path)):
        table = _read_columns(path, "\t", {"step": np.int64, path.stem: np.float64})
        name = METRIC_NAMES.get(path.stem, path.stem.replace("_", " "))
        part = "" if path.parent == plots else path.parent.name
        metrics[name][part] = ((table["step"] + 1).tolist(), table[path.stem].tolist())
    if not metrics:
        raise DataError(f"{plots} holds no learning curve", "Run `dvc repro`.")
    return {
        f"{name}, {' and '.join(curves)}" if "" not in curves else name: curves_svg(name, curves)
        for name, curves in metrics.items()
    }


def confusion(folder: Path) -> Markup:
    """The confusion matrix on val as SVG."""
    table = _read_columns(folder / CONFUSION, ",", {"actual": str, "predicted": str, "pixels": np.int64})
    labels = list(dict.fromkeys([*table["actual"], *table["predicted"]]))
    pixels = np.zeros((len(labels), len(labels)), dtype=np.int64)
    for actual, predicted, count in table.itertuples(index=False):
        pixels[labels.index(actual), labels.index(predicted)] = count
    return confusion_svg(labels, pixels)


def _read_columns(path: Path, separator: str, types: dict[str, Any]) -> pd.DataFrame:
    """Some columns of a text table, in the order of `types`. Raises DataError if the file has another form."""
    try:
        table = pd.read_csv(
            path, sep=separator, usecols=list(types), dtype=types, keep_default_na=False, na_values=["nan"]
        )
    except FileNotFoundError:
        raise DataError(f"{path} does not exist", "Run `dvc repro`.") from None
    except ValueError as error:
        raise DataError(
            f"{path} does not hold {', '.join(types)}: {error}", "Delete it and run `dvc repro`."
        ) from error
    return table[list(types)]


def manifest_rows(folder: Path) -> list[Row]:
    """Rows of the manifest."""
    rows: list[Row] = read_table(folder / MANIFEST, MANIFEST_SCHEMA).to_pylist()
    return rows


def class_shares(folder: Path, class_map: ClassMap) -> list[SplitShares]:
    """What each split that has samples is made of."""
    rows = manifest_rows(folder)
    by_split = {split: [row for row in rows if row["split"] == split] for split in SPLITS}
    return [_split_shares(split, chosen, class_map) for split, chosen in by_split.items() if chosen]


def _split_shares(split: str, rows: list[Row], class_map: ClassMap) -> SplitShares:
    pixels: NDArray[np.int64] = np.array([row["class_pixels"] for row in rows], dtype=np.int64).sum(axis=0)
    void = sum(row["void_pixels"] for row in rows)
    labelled = max(int(pixels.sum()), 1)
    entries = zip(class_map.entries, pixels.tolist(), strict=True)
    classes = tuple(ClassShare(entry.name, entry.color, count / labelled) for entry, count in entries)
    return SplitShares(split, len(rows), void / max(int(pixels.sum()) + void, 1), classes)


def predicted_tasks(folder: Path) -> int:
    """Number of tasks that have a prediction."""
    return int(read_table(folder / PREDICTIONS_DIR / "predictions.parquet", PREDICTIONS_SCHEMA).num_rows)


def overlays(params: Params, folder: Path, progress: Progress) -> dict[str, list[Overlay]]:
    """Worst, typical and best val samples by mean IU."""
    scores = read_table(folder / SAMPLE_SCORES, SAMPLE_SCORES_SCHEMA).to_pylist()
    samples = {row["task_id"]: row for row in manifest_rows(folder)}
    ranked = sorted(
        (row for row in scores if row["split"] == "val" and row["mean_iu"] is not None and row["task_id"] in samples),
        key=lambda row: (row["mean_iu"], row["task_id"]),
    )
    groups = {name: rows for name, rows in select(ranked, params.report.overlays).items() if rows}
    if not groups:
        raise DataError("no val sample has been scored", "Annotate more tasks, then run `dvc repro`.")
    total = sum(len(rows) for rows in groups.values())
    drawn = progress.track(_draw(groups, samples, folder, params.class_map), total, "overlays")
    return {name: [next(drawn) for _ in rows] for name, rows in groups.items()}


def select(ranked: list[T], count: int) -> dict[str, list[T]]:
    """`count` worst, typical (around the median) and best of a list that runs from worst to best; none twice."""
    worst, rest = ranked[:count], ranked[count:]
    best, rest = rest[len(rest) - count :][::-1] if len(rest) > count else rest[::-1], rest[: max(len(rest) - count, 0)]
    first = max((len(rest) - count) // 2, 0)
    return {"worst": worst, "typical": rest[first : first + count], "best": best}


def _draw(
    groups: dict[str, list[Row]], samples: dict[int, Row], folder: Path, class_map: ClassMap
) -> Iterator[Overlay]:
    for rows in groups.values():
        for row in rows:
            sample = samples[row["task_id"]]
            masks = (folder / sample["mask"], folder / row["prediction"])
            try:
                image = open_rgb(folder / sample["image"])
                laid_over = (overlay_uri(image, read_mask(mask), class_map, PICTURE_WIDTH_PX) for mask in masks)
                pictures, problem = (photo_uri(image, PICTURE_WIDTH_PX), *laid_over), ""
            except (DataError, ImageError) as error:
                pictures, problem = (), str(error).replace(f"{folder.as_posix()}/", "")
            yield Overlay(row["task_id"], row["mean_iu"], pictures, problem)
