"""CamVid as a maskloop project, for the benchmarks that need one.

Its folder holds `train`, `trainannot`, `val` and `valannot` as the SegNet tutorial published them (360×480, 11 = void).
"""

from __future__ import annotations

import hashlib
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np

from connectors.masks import read_mask, write_mask
from connectors.storage import sha256_file, write_table
from schemas.labels import VOID_INDEX
from schemas.manifest import IMAGES_DIR, MANIFEST, MANIFEST_SCHEMA, MASKS_DIR
from schemas.params import Params, parse_params

CAMVID = Path("../shared/camvid")
CLASSES = ["sky", "building", "pole", "road", "sidewalk", "tree", "sign", "fence", "car", "pedestrian", "bicyclist"]
PUBLISHED_VOID = 11


def require_camvid(camvid: Path) -> None:
    """End the program with one line where CamVid is not."""
    if not (camvid / "trainannot").is_dir():
        sys.exit(f"{camvid} holds no CamVid (train, trainannot, val, valannot)")


def camvid_project(camvid: Path, folder: Path, images: int | None = None) -> None:
    """Lay CamVid out in a project folder: images, masks with 255 for void, and the manifest.

    `images`: how many of each split, evenly spread; all of them unless given.
    """
    rows = []
    for split in ("train", "val"):
        sources = sorted((camvid / split).glob("*.png"))
        chosen = np.unique(np.linspace(0, len(sources) - 1, images or len(sources)).round().astype(int))
        for source in (sources[at] for at in chosen):
            image, mask_path = folder / IMAGES_DIR / source.name, folder / MASKS_DIR / source.name
            image.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, image)
            mask = read_mask(camvid / f"{split}annot" / source.name)
            mask[mask == PUBLISHED_VOID] = VOID_INDEX
            write_mask(mask_path, mask)
            pixels = np.bincount(mask.reshape(-1), minlength=256)
            rows.append(
                {
                    "task_id": len(rows) + 1,
                    "image": str(image.relative_to(folder)),
                    "mask": str(mask_path.relative_to(folder)),
                    "width": mask.shape[1],
                    "height": mask.shape[0],
                    "group": source.name.split("_")[0],
                    "split": split,
                    "image_sha256": sha256_file(image),
                    "class_pixels": pixels[: len(CLASSES)].tolist(),
                    "void_pixels": int(pixels[VOID_INDEX]),
                    "annotation_id": len(rows) + 1,
                    "annotator": None,
                    "regions": 0,
                    "rejected_regions": 0,
                    "assigned_split": split,
                    "inputs_sha256": hashlib.sha256(mask.tobytes()).hexdigest(),
                    "contested": [],
                    "annotators": 0,
                    "agreement": None,
                    "annotation_ids": [],
                }
            )
    write_table(folder / MANIFEST, rows, MANIFEST_SCHEMA)


def camvid_params(changes: dict[str, Any]) -> Params:
    """The defaults with `changes` to those of training."""
    return parse_params(
        {
            "source": {"kind": "label_studio_export", "path": "unused.json"},
            "classes": [{"name": name} for name in CLASSES],
            "train": changes,
        }
    )
