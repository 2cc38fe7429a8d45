"""How well the train stage learns CamVid on this machine: minutes, mean IU on full-size val labels, images/s.

    python benchmarks/camvid_train.py [CAMVID] [--keep FOLDER] [--set KEY=VALUE ...]

CAMVID holds `train`, `trainannot`, `val` and `valannot` as the SegNet tutorial published them (360×480, 11 = void).
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "0")

import numpy as np
import yaml

from connectors.masks import read_mask, write_mask
from connectors.storage import read_json, sha256_file, write_table
from pipeline.train import train
from schemas.labels import VOID_INDEX
from schemas.manifest import CHALLENGER_DIR, IMAGES_DIR, MANIFEST, MANIFEST_SCHEMA, MASKS_DIR
from schemas.params import Params, parse_params

CLASSES = ["sky", "building", "pole", "road", "sidewalk", "tree", "sign", "fence", "car", "pedestrian", "bicyclist"]
PUBLISHED_VOID = 11


class Printed:
    """A Progress that prints what is said."""

    def __init__(self) -> None:
        self._started = time.monotonic()

    def track(self, items: Any, total: int | None, what: str) -> Any:
        """Yield `items`."""
        yield from items

    def say(self, text: str) -> None:
        """Print one line with the seconds since the start."""
        print(f"{time.monotonic() - self._started:6.0f} s  {text}", flush=True)


def camvid_project(camvid: Path, folder: Path) -> None:
    """Lay CamVid out in a project folder: images, masks with 255 for void, and the manifest."""
    rows = []
    for split in ("train", "val"):
        for source in sorted((camvid / split).glob("*.png")):
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
    """The parameters that did best, with `changes`."""
    return parse_params(
        {
            "source": {"kind": "label_studio_export", "path": "unused.json"},
            "classes": [{"name": name} for name in CLASSES],
            "train": changes,
        }
    )


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("camvid", nargs="?", type=Path, default=Path("../shared/camvid"))
    parser.add_argument("--keep", type=Path, help="project folder to use and keep (default: a temporary one)")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="other train params, as YAML")
    arguments = parser.parse_args()
    if not (arguments.camvid / "trainannot").is_dir():
        sys.exit(f"{arguments.camvid} holds no CamVid (train, trainannot, val, valannot)")
    changes = {key: yaml.safe_load(value) for key, _, value in (each.partition("=") for each in arguments.set)}
    params = camvid_params(changes)
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.keep or Path(temporary)
        camvid_project(arguments.camvid, folder)
        started = time.monotonic()
        print(train(params, folder, Printed()))
        seconds = time.monotonic() - started
        card = read_json(folder / CHALLENGER_DIR / "model.json")
        images = params.train.epochs * len(list((arguments.camvid / "train").glob("*.png")))
        print(
            f"{seconds / 60:.1f} minutes, val mean IU {card['val_mean_iu']:.4f} (full-size labels), "
            f"{images / seconds:.0f} images/s with decoding and validation"
        )


if __name__ == "__main__":
    main()
