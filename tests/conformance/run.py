"""A stored case through the real path: export file → pull → rasterise."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from connectors.base import Credentials
from connectors.masks import read_mask
from pipeline.progress import Silent
from pipeline.pull import pull
from pipeline.rasterise import rasterise
from schemas.params import parse_params
from tests.conformance.build import FOLDER

EXPORT = "export.json"
ORIENTATION = 0x0112
SIDEWAYS = 5
"""EXIF orientations from this one on swap width and height."""


@dataclass(frozen=True)
class Made:
    """`mask`: uint8 (H, W). `rejects`: the reasons, sorted."""

    mask: NDArray[np.uint8]
    rejects: list[str]


def names() -> list[str]:
    return sorted(file.stem for file in FOLDER.glob("*.json"))


def load(name: str) -> tuple[dict[str, Any], NDArray[np.uint8]]:
    """A stored case and the mask it must give."""
    return json.loads((FOLDER / f"{name}.json").read_text()), read_mask(FOLDER / f"{name}.png")


def write_project(case: dict[str, Any], folder: Path) -> None:
    """The export file and the image, with its EXIF orientation."""
    size_hw = case["size_hw"] if case["exif"] < SIDEWAYS else case["size_hw"][::-1]
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (*size_hw, 3), np.uint8))
    exif = Image.Exif()
    if case["exif"]:
        exif[ORIENTATION] = case["exif"]
    image.save(folder / case["task"]["data"]["image"], exif=exif)
    (folder / EXPORT).write_text(json.dumps([case["task"]]))


def make(case: dict[str, Any], folder: Path) -> Made:
    write_project(case, folder)
    source = {"kind": "label_studio_export", "path": str(folder / EXPORT)}
    params = parse_params({"source": source, **case["params"]})
    pull(params, folder, Silent(), Credentials())
    rasterise(params, folder, Silent())
    rejects = pq.read_table(folder / "data/rejects.parquet").to_pylist()
    return Made(read_mask(folder / "data/masks/1.png"), sorted(reject["reason"] for reject in rejects))
