"""`maskloop export`: the manifest's images and masks in a well-known format."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from connectors.formats import open_format
from connectors.labelled import Sample
from connectors.masks import read_mask
from connectors.storage import read_table
from connectors.task_store import Row
from pipeline.components import components
from pipeline.progress import Progress
from schemas.errors import DataError
from schemas.manifest import MANIFEST, MANIFEST_SCHEMA, SPLITS
from schemas.params import Params

COLUMNS = ["task_id", "image", "mask", "split", "class_pixels"]


def export_dataset(
    params: Params, folder: Path, format_name: str, target: Path, tolerance_px: float, progress: Progress
) -> str:
    """Write every sample of the manifest below `target`; what is there already is left as it is.

    `tolerance_px`: how far polygons may leave the pixel edges, where the format has polygons. Raises ParamsError if
    there is no such format, DataError if the manifest is not split, or if files of an earlier export are left over.
    """
    found = open_format(format_name)
    rows = _rows(folder, len(params.classes))
    samples = progress.track(_samples(folder, rows, tolerance_px), len(rows), "samples")
    written = set(found.write(samples, params.class_map, target))
    _refuse_left_over(target, written)
    counts = Counter(row["split"] for row in rows)
    splits = ", ".join(f"{counts[split]} {split}" for split in SPLITS)
    return f"{splits} samples as {format_name} in {target} ({len(written)} files)"


def _rows(folder: Path, classes: int) -> list[Row]:
    rows = read_table(folder / MANIFEST, MANIFEST_SCHEMA).select(COLUMNS).to_pylist()
    if not rows:
        raise DataError(f"{folder / MANIFEST} holds no sample", "Annotate some tasks, then run `dvc repro`.")
    for row in rows:
        if row["split"] not in SPLITS:
            raise DataError(f"{folder / MANIFEST}: task {row['task_id']} has no split", "Run `dvc repro split`.")
        if len(row["class_pixels"]) != classes:
            found = f"{folder / MANIFEST} was made for {len(row['class_pixels'])} classes"
            raise DataError(f"{found}, params.yaml has {classes}", "Run `dvc repro split`.")
    return sorted(rows, key=lambda row: row["task_id"])


def _samples(folder: Path, rows: list[Row], tolerance_px: float) -> Iterator[Sample]:
    for row in rows:
        mask = read_mask(folder / row["mask"])
        outlined = partial(components, mask, tolerance_px)
        yield Sample(row["task_id"], folder / row["image"], mask, row["split"], outlined)


def _refuse_left_over(target: Path, written: set[Path]) -> None:
    """Raise DataError if the folders hold other files like those written: a reader would take them for samples."""
    folders = {path.relative_to(target).parts[0] for path in written if path.parent != target} | set(SPLITS)
    suffixes = {path.suffix for path in written}
    present = {path for name in folders for path in (target / name).rglob("*") if path.suffix in suffixes}
    left_over = sorted(str(path.relative_to(target)) for path in present - written if path.is_file())
    if left_over:
        raise DataError(
            f"{target} also holds {len(left_over)} files that are not of this export: {', '.join(left_over[:3])}",
            "Remove them, or export into a new folder: readers would take them for samples.",
        )
