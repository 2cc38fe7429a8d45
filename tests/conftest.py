"""Shared by all tests: small projects made of an export file and images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from schemas.params import Params, parse_params

CLASSES = [
    {"name": "road", "color": "#804080"},
    {"name": "car", "color": "#00008e"},
    {"name": "tree", "color": "#6b8e23"},
]


def polygon(
    points: Any, label: str = "road", region_id: str = "r1", size_wh: tuple[int, int] = (20, 10)
) -> dict[str, Any]:
    """A polygon as Label Studio exports it."""
    return {
        "id": region_id,
        "from_name": "polygon",
        "to_name": "image",
        "type": "polygonlabels",
        "original_width": size_wh[0],
        "original_height": size_wh[1],
        "image_rotation": 0,
        "value": {"points": points, "closed": True, "polygonlabels": [label]},
    }


def annotation(result: list[Any], annotation_id: int = 1, **extra: Any) -> dict[str, Any]:
    """An annotation as Label Studio exports it."""
    return {
        "id": annotation_id,
        "completed_by": 1,
        "result": result,
        "was_cancelled": False,
        "ground_truth": False,
        "created_at": "2026-01-01T00:00:00.000000Z",
        "updated_at": "2026-01-01T00:00:00.000000Z",
        "lead_time": 12.5,
        **extra,
    }


def task(task_id: int, result: list[Any] | None = None, image: str = "a.png", **data: Any) -> dict[str, Any]:
    """A task as Label Studio exports it, with one annotation unless `result` is None."""
    annotations = [] if result is None else [annotation(result, task_id * 10)]
    return {"id": task_id, "data": {"image": image, **data}, "annotations": annotations}


LEFT_HALF = [[0, 0], [50, 0], [50, 100], [0, 100]]
WHOLE = [[0, 0], [100, 0], [100, 100], [0, 100]]


class Project:
    """A project folder fed by an export file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.raw: dict[str, Any] = {
            "source": {"kind": "label_studio_export", "path": str(folder / "export.json")},
            "classes": CLASSES,
        }
        self.image("a.png")

    @property
    def params(self) -> Params:
        return parse_params(self.raw)

    def image(self, name: str, size_wh: tuple[int, int] = (20, 10), seed: int = 0, **options: Any) -> Path:
        pixels = np.random.default_rng(seed).integers(0, 255, (size_wh[1], size_wh[0], 3), dtype=np.uint8)
        Image.fromarray(pixels).save(self.folder / name, **options)
        return self.folder / name

    def export(self, tasks: list[dict[str, Any]]) -> None:
        (self.folder / "export.json").write_text(json.dumps(tasks))


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)
