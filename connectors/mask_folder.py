"""A folder of images with a folder of class-index masks of the same names, as CamVid and many others are published."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from connectors.masks import read_mask
from schemas.errors import DataError, ParamsError
from schemas.labels import VOID_INDEX
from schemas.params import ClassParams, Params, parse_params

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp"})


def read_classes(path: Path) -> tuple[ClassParams, ...]:
    """Classes from a file: one name a line (.txt), or YAML: a list as `classes` in params.yaml, or a whole params.yaml.

    Raises ParamsError if the file is missing or holds something else.
    """
    try:
        text = path.read_text(encoding="utf-8")
        raw: Any = text.rstrip().split("\n") if path.suffix == ".txt" else yaml.safe_load(text)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ParamsError(f"the class file {path} can't be read: {error}") from error
    entries = raw.get("classes") if isinstance(raw, dict) else raw
    if not isinstance(entries, list):
        raise ParamsError(f"the class file {path} holds no list of classes", "Give one class a line, in index order.")
    named = [{"name": entry.strip()} if isinstance(entry, str) else entry for entry in entries]
    params: Params = parse_params({"source": {"kind": "label_studio", "project": 1}, "classes": named}, str(path))
    return params.classes


def pairs(images: Path, masks: Path) -> list[tuple[Path, Path]]:
    """Images with their masks, by name. Raises DataError naming what has no partner, or that there is nothing."""
    for folder in (images, masks):
        if not folder.is_dir():
            raise DataError(f"{folder} is no folder", "Name the folders of the images and of the masks.")
    found = [path for path in sorted(images.iterdir()) if path.suffix.lower() in IMAGE_SUFFIXES]
    image_of = {path.stem: path for path in found}
    doubled = [path.name for path in found if image_of[path.stem] != path]
    if doubled:
        raise DataError(f"{images} holds two images of one name: {', '.join(doubled[:5])}", "Rename or remove one.")
    mask_of = {path.stem: path for path in sorted(masks.iterdir()) if path.suffix.lower() == ".png"}
    alone = sorted(set(image_of) ^ set(mask_of))
    if alone:
        raise DataError(
            f"{len(alone)} files have no partner of the same name: {', '.join(alone[:5])}",
            "Every image needs a PNG mask with its name.",
        )
    if not image_of:
        raise DataError(f"{images} holds no image", f"Known are {', '.join(sorted(IMAGE_SUFFIXES))}.")
    return [(path, mask_of[stem]) for stem, path in image_of.items()]


def read_class_mask(path: Path, classes: int, void: frozenset[int]) -> NDArray[np.uint8]:
    """A mask, uint8 (H, W), with every value of `void` turned into 255.

    Raises DataError if it holds a value that is neither a class index nor void.
    """
    mask = read_mask(path)
    lookup = np.arange(VOID_INDEX + 1, dtype=np.uint8)
    lookup[list(void)] = VOID_INDEX
    mask = lookup[mask]
    unknown = sorted({int(value) for value in np.unique(mask)} - set(range(classes)) - {VOID_INDEX})
    if unknown:
        raise DataError(
            f"{path} holds the values {unknown}, expected 0..{classes - 1} or void",
            "Add classes, or say --void VALUE for pixels without a class.",
        )
    return mask
