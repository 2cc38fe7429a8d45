"""One task → its mask, its row among the samples, and its rejects."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from connectors.label_studio_json import dumps, loads
from connectors.masks import write_mask
from connectors.task_store import Row, row_annotations
from pipeline.annotations import chosen, usable
from pipeline.assigned import Filler
from pipeline.bit_planes import value_counts
from pipeline.consensus import CONSENSUS, agreement
from pipeline.overlap import total
from pipeline.painting import Painted, Painter
from schemas.errors import ImageError, RegionError
from schemas.labels import VOID_INDEX
from schemas.manifest import MASKS_DIR
from schemas.params import Params
from schemas.tasks import Annotation

RASTER_VERSION = "3"
"""Part of every mask's `inputs_sha256`: raise it when the same regions give other pixels."""


def settings(params: Params) -> str:
    """What decides masks and rows besides the tasks, as JSON."""
    fields = [params.split.group_by, params.split.assigned_by]
    entries = [entry.model_dump() for entry in params.classes]
    return json.dumps([RASTER_VERSION, entries, params.rasterise.model_dump(), fields])


class Sampler:
    """Makes samples in a project folder."""

    def __init__(self, params: Params, folder: Path, filler: Filler) -> None:
        self._params = params
        self._folder = folder
        self._filler = filler
        self._settings = settings(params)
        self._painter = Painter(params.class_map, params.rasterise)

    def sample(self, row: Row) -> tuple[Row | None, list[Row]]:
        """Paint a task's annotations and write its mask. Returns its sample, None if it gives none, and its rejects."""
        annotators = self._params.rasterise.annotators
        annotations = chosen(row_annotations(row), annotators)
        if not annotations:
            return None, []
        try:
            size_hw = self._displayed_size(row)
        except ImageError as error:
            return None, [_reject(row, annotations[-1], None, error)]
        counted, rejects = self._painted(row, annotations, size_hw)
        if not counted:
            return None, rejects
        merge = CONSENSUS.get(annotators)
        all_masks = [painted.mask for _, painted in counted]
        mask = all_masks[-1] if merge is None or len(counted) == 1 else merge(all_masks)
        if merge is None:
            others = [other for other in usable(row_annotations(row)) if other != annotations[-1]]
            all_masks += [painted.mask for _, painted in self._painted(row, others, size_hw)[0]]
        filled = self._filler.fill(row, mask, annotations)
        mask = filled.mask if filled else mask
        path = MASKS_DIR / f"{row['task_id']}.png"
        write_mask(self._folder / path, mask)
        counts = value_counts(mask).tolist()
        group, assigned_split = self._data_fields(row)
        latest = counted[-1][0]
        sample = {
            "task_id": row["task_id"],
            "image": row["image"],
            "mask": str(path),
            "width": size_hw[1],
            "height": size_hw[0],
            "group": group or row["image_sha256"],
            "split": None,
            "image_sha256": row["image_sha256"],
            "class_pixels": counts[: len(self._params.classes)],
            "void_pixels": counts[VOID_INDEX],
            "annotation_id": latest.annotation_id,
            "annotator": latest.annotator,
            "regions": sum(painted.regions for _, painted in counted),
            "rejected_regions": len(rejects),
            "assigned_split": assigned_split,
            "inputs_sha256": self._inputs_digest(row, annotations),
            "contested": total(painted.contested for _, painted in counted),
            "annotators": len(all_masks),
            "agreement": agreement(all_masks),
            "annotation_ids": [annotation.annotation_id for annotation, _ in counted],
            "passed_over": _passed_over(painted for _, painted in counted),
            "source_pixels": filled.pixels if filled else {"human": sum(counts[:VOID_INDEX]), "sam": 0, "model": 0},
        }
        return sample, rejects

    def _painted(
        self, row: Row, annotations: Sequence[Annotation], size_hw: tuple[int, int]
    ) -> tuple[list[tuple[Annotation, Painted]], list[Row]]:
        """The annotations that could be painted, and the rejects of all."""
        painted, rejects = [], []
        for annotation in annotations:
            try:
                result = self._painter.paint(annotation.result, size_hw)
            except RegionError as error:
                rejects.append(_reject(row, annotation, None, error))
            else:
                painted.append((annotation, result))
                rejects += [_reject(row, annotation, region_id, error) for region_id, error in result.rejects]
        return painted, rejects

    def _displayed_size(self, row: Row) -> tuple[int, int]:
        if row["image"] is None:
            reason, _, detail = str(row["image_error"]).partition(": ")
            raise ImageError(reason, detail, "Mend the image in Label Studio; the next `dvc repro` pulls it again.")
        if not (self._folder / row["image"]).is_file():
            raise ImageError(
                "image_missing", f"{row['image']} does not exist", "Run `maskloop pull` to fetch it again."
            )
        return row["image_height"], row["image_width"]

    def _data_fields(self, row: Row) -> tuple[str | None, str | None]:
        """What the task's data says of its group and its split."""
        group_by, assigned_by = self._params.split.group_by, self._params.split.assigned_by
        data = loads(row["data"]) if group_by or assigned_by else {}
        return _data_field(data, group_by), _data_field(data, assigned_by)

    def _inputs_digest(self, row: Row, annotations: Sequence[Annotation]) -> str:
        """SHA-256 of everything that decides the mask and its place in a split."""
        results = [annotation.result.encode() for annotation in annotations]
        worked = [
            [annotation.annotation_id, annotation.annotator, len(result)]
            for annotation, result in zip(annotations, results, strict=True)
        ]
        inputs = [self._settings, row["image"], row["data"], worked, self._filler.inputs(row["task_id"])]
        digest = hashlib.sha256(dumps(inputs).encode())
        for result in results:
            digest.update(result)
        return digest.hexdigest()


def _data_field(data: dict[str, Any], name: str | None) -> str | None:
    value = data.get(name) if name else None
    return None if value is None else str(value)


def _passed_over(painted: Iterable[Painted]) -> list[dict[str, str | int]]:
    """Rows of PASSED_OVER_TYPE in the order of their types."""
    counts: Counter[str] = Counter()
    for one in painted:
        counts.update(one.passed_over)
    return [{"kind": kind, "count": count} for kind, count in sorted(counts.items())]


def _reject(row: Row, annotation: Annotation, region_id: str | None, error: RegionError | ImageError) -> Row:
    return {
        "task_id": row["task_id"],
        "annotation_id": annotation.annotation_id,
        "region_id": region_id,
        "reason": error.reason,
        "detail": str(error),
        "remedy": error.remedy,
    }
