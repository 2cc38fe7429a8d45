"""Ultralytics' YOLO segmentation (https://docs.ultralytics.com/datasets/segment): one line of text an object.

`data.yaml` names the classes and the splits' folders; `images/<split>/NAME.jpg` has its objects in
`labels/<split>/NAME.txt`, each `class x1 y1 x2 y2 …` in shares of width and height. The format has neither holes nor
void: a component's hole is cut by a slit of no width, so exact readers get the mask back, and void is what no line
covers. Lines go from the largest component to the smallest.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from connectors.format_files import IMAGE_SUFFIXES, Values, existing_folder, image_size, parse_classes, write_image
from connectors.labelled import Component, Instance, Labelled, Sample
from connectors.storage import write_bytes
from schemas.errors import DataError
from schemas.labels import VOID_LABEL, ClassMap
from schemas.manifest import SPLITS
from schemas.params import ClassParams

INDEX = "data.yaml"


class YoloSegmentation:
    """Polygons in shares of the image."""

    def write(self, samples: Iterable[Sample], class_map: ClassMap, folder: Path) -> Iterator[Path]:
        """See `Format.write`."""
        splits: set[str] = set()
        for sample in samples:
            splits.add(sample.split)
            yield write_image(sample, folder / "images" / sample.split / sample.name)
            height, width = sample.mask.shape
            lines = [_line(component, width, height) for component in sample.components()]
            path = folder / "labels" / sample.split / f"{sample.name}.txt"
            write_bytes(path, "".join(lines).encode())
            yield path
        index = {split: f"images/{split}" for split in SPLITS if split in splits}
        names = dict(enumerate(class_map.names))
        write_bytes(
            folder / INDEX, yaml.safe_dump(index | {"names": names}, sort_keys=False, allow_unicode=True).encode()
        )
        yield folder / INDEX

    def classes(self, folder: Path) -> tuple[ClassParams, ...]:
        """See `Format.classes`: `names` in data.yaml."""
        names = _names(_index(folder), folder / INDEX)
        entries = [{"name": names[number]} for number in sorted(names) if names[number] != VOID_LABEL]
        return parse_classes(entries, folder / INDEX)

    def read(self, folder: Path, classes: Sequence[str], void: frozenset[int]) -> Iterator[Labelled]:
        """See `Format.read`. As for Ultralytics, an image without a text file is one without objects."""
        index = _index(folder)
        values = Values(_names(index, folder / INDEX), classes, void)
        for split in (name for name in SPLITS if index.get(name)):
            for images in _image_folders(folder, index, split):
                for image in sorted(path for path in images.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES):
                    labels = _labels_path(image)
                    size_hw = image_size(image)[1]
                    yield Labelled(image, labels, size_hw, _instances(labels, size_hw, values), split)


YOLO_SEG = YoloSegmentation()


def _line(component: Component, width: int, height: int) -> str:
    shares = (component.outline / [width, height]).clip(0, 1).ravel()
    return f"{component.class_index} {' '.join(f'{share:.6g}' for share in shares)}\n"


def _index(folder: Path) -> dict[str, Any]:
    path = folder / INDEX
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path} does not exist", "Name the folder of data.yaml.") from None
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise DataError(f"{path} can't be read: {error}", "Replace the file.") from error
    if not isinstance(content, dict) or not any(content.get(split) for split in SPLITS):
        raise DataError(f"{path} names no split", f"Expected are folders of images as {', '.join(SPLITS)}.")
    return content


def _names(index: dict[str, Any], path: Path) -> dict[int, str]:
    """Class number → name."""
    names = index.get("names")
    names = dict(enumerate(names)) if isinstance(names, list) else names
    if not isinstance(names, dict) or not all(isinstance(number, int) for number in names):
        raise DataError(f"{path} holds no `names` of the classes", "Expected is a list, or a mapping from numbers.")
    return {number: str(name) for number, name in names.items()}


def _image_folders(folder: Path, index: dict[str, Any], split: str) -> list[Path]:
    entries = index[split] if isinstance(index[split], list) else [index[split]]
    root = folder / str(index.get("path") or ".")
    return [existing_folder(root / str(entry), f"`{split}` in {folder / INDEX}") for entry in entries]


def _labels_path(image: Path) -> Path:
    """Where Ultralytics looks: the last folder called `images` is `labels` instead."""
    parts = list(image.with_suffix(".txt").parts)
    if "images" in parts:
        parts[len(parts) - 1 - parts[::-1].index("images")] = "labels"
    return Path(*parts)


def _instances(path: Path, size_hw: tuple[int, int], values: Values) -> list[Instance]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} can't be read: {error}", "Replace the file.") from error
    return [
        _instance(line.split(), size_hw, values, f"{path}:{number}")
        for number, line in enumerate(lines, 1)
        if line.strip()
    ]


def _instance(words: list[str], size_hw: tuple[int, int], values: Values, where: str) -> Instance:
    try:
        number, shares = int(words[0]), np.array([float(word) for word in words[1:]])
    except ValueError as error:
        raise DataError(f"{where}: {error}", "A line is `class x1 y1 x2 y2 …`.") from None
    if shares.size < 6 or shares.size % 2:
        raise DataError(f"{where}: {shares.size} numbers are no polygon", "A line is `class x1 y1 x2 y2 x3 y3 …`.")
    if not ((shares >= 0) & (shares <= 1)).all():  # NaN is neither
        raise DataError(f"{where}: a coordinate is outside 0..1", "They are shares of width and height.")
    height, width = size_hw
    return Instance(values.index(number, f"{where}: the class"), shares.reshape(-1, 2) * [width, height])
