"""A small project folder drawn by the seed: what the train, evaluate and gate tests work on."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from connectors.masks import write_mask
from connectors.storage import sha256_file, write_table
from schemas.manifest import IMAGES_DIR, MANIFEST, MANIFEST_SCHEMA, MASKS_DIR
from schemas.params import Params, parse_params

CLASSES = ("ground", "box", "never")
COLORS = np.array([[60, 120, 60], [220, 40, 40]], np.uint8)


def drawn_params(classes: tuple[str, ...] = CLASSES, **train: Any) -> Params:
    """Params for a network that trains in a second; `train` overrides that section."""
    small = {
        "architecture": "unet",
        "architecture_options": {"width": 4, "depth": 2},
        "size_hw": [32, 48],
        "epochs": 4,
        "batch_size": 2,
        "validate_every": 2,
        "device": "cpu",
    }
    return parse_params(
        {
            "source": {"kind": "label_studio_export", "path": "export.json"},
            "classes": [{"name": name} for name in classes],
            "train": {**small, **train},
        }
    )


def draw_project(folder: Path, splits: dict[str, int], size_hw: tuple[int, int] = (40, 60)) -> None:
    """A manifest with red boxes on green ground, void along the top edge; `splits` says how many samples each has."""
    random = np.random.default_rng(0)
    rows: list[dict[str, Any]] = []
    for split, count in splits.items():
        for _ in range(count):
            task_id = len(rows) + 1
            height, width = size_hw
            mask = np.zeros(size_hw, np.uint8)
            top, left = random.integers(0, height // 2), random.integers(0, width // 2)
            mask[top : top + height // 2, left : left + width // 2] = 1
            image = COLORS[mask] + random.integers(0, 30, (*size_hw, 3), np.uint8)
            mask[:2] = 255
            rows.append(_row(folder, task_id, split, image, mask))
    write_table(folder / MANIFEST, rows, MANIFEST_SCHEMA)


def _row(folder: Path, task_id: int, split: str, image: np.ndarray, mask: np.ndarray) -> dict[str, Any]:
    image_path, mask_path = IMAGES_DIR / f"{task_id}.png", MASKS_DIR / f"{task_id}.png"
    (folder / IMAGES_DIR).mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(folder / image_path)
    write_mask(folder / mask_path, mask)
    pixels = np.bincount(mask.reshape(-1), minlength=256)
    return {
        "task_id": task_id,
        "image": str(image_path),
        "mask": str(mask_path),
        "width": mask.shape[1],
        "height": mask.shape[0],
        "group": str(task_id),
        "split": split,
        "image_sha256": sha256_file(folder / image_path),
        "class_pixels": pixels[: len(CLASSES)].tolist(),
        "void_pixels": int(pixels[255]),
        "annotation_id": task_id,
        "annotator": None,
        "regions": 1,
        "rejected_regions": 0,
        "assigned_split": None,
        "inputs_sha256": hashlib.sha256(mask.tobytes()).hexdigest(),
        "contested": [],
        "annotators": 1,
        "agreement": None,
        "annotation_ids": [task_id],
    }
