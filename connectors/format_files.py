"""What the formats share: image files on their way out, class names and JSON on their way in."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

from connectors.images import inspect, open_rgb
from connectors.labelled import Labelled, Mask, Sample
from connectors.masks import read_mask
from connectors.storage import write_bytes
from schemas.errors import DataError, ImageError, ParamsError
from schemas.labels import VOID_INDEX, VOID_LABEL, ClassEntry, ClassMap
from schemas.params import ClassParams, parse_params

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp"})
"""Kinds of image that every reader of these formats knows."""

ORIENTATION = 0x0112
JPEG_QUALITY = 95
FOREIGN = "Add classes, or say --void VALUE for pixels without a class."


def write_image(sample: Sample, stem: Path, suffixes: frozenset[str] = IMAGE_SUFFIXES) -> Path:
    """Write a sample's image under `stem` with a suffix out of `suffixes`. Returns the path.

    The bytes are copied where they can be; else, and where EXIF turns the image (which most readers of these formats
    ignore), it is written anew, as PNG if that is allowed. Raises DataError if it is no image of the mask's size.
    """
    suffix, size_hw = image_size(sample.image)
    if sample.mask.shape != size_hw:
        raise DataError(
            f"{sample.image} shows as {size_hw[1]}×{size_hw[0]}, its mask is "
            f"{sample.mask.shape[1]}×{sample.mask.shape[0]}",
            "Run `dvc repro`.",
        )
    if suffix in suffixes and _is_upright(sample.image):
        content = sample.image.read_bytes()
    else:
        suffix = ".png" if ".png" in suffixes else ".jpg"
        content = encode_image(Image.fromarray(open_rgb(sample.image)), suffix)
    path = stem.with_name(stem.name + suffix)
    write_bytes(path, content)
    return path


def _is_upright(path: Path) -> bool:
    with Image.open(path) as image:
        return int(image.getexif().get(ORIENTATION, 1)) == 1


def encode_image(image: Image.Image, suffix: str = ".png") -> bytes:
    """An image as PNG, or as JPEG of quality 95 without chroma subsampling."""
    sink = io.BytesIO()
    if suffix == ".png":
        image.save(sink, "PNG")
    else:
        image.save(sink, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return sink.getvalue()


def image_size(path: Path) -> tuple[str, tuple[int, int]]:
    """Suffix by content, and (height, width) as displayed. Raises DataError naming a file that is no image."""
    if not path.is_file():
        raise DataError(f"the image {path} does not exist", "Put it there, or take its labels out.")
    try:
        return inspect(path.read_bytes())
    except ImageError as error:
        raise DataError(f"{path}: {error}", error.remedy) from error


def check_size(image: Path, size_hw: tuple[int, int], what: str) -> None:
    """Raise DataError unless the image is one and shows in the size of `what` its labels are."""
    _, (height, width) = image_size(image)
    if (height, width) != size_hw:
        raise DataError(
            f"{what} is {size_hw[1]}×{size_hw[0]}, its image shows as {width}×{height}",
            "Image and labels must have the same size, after turning the image as its EXIF says.",
        )


def existing_folder(path: Path, format_name: str) -> Path:
    """`path`. Raises DataError if it is no folder, which the format expects there."""
    if not path.is_dir():
        raise DataError(f"{path} is no folder, which {format_name} has there", "Name the data set's folder.")
    return path


def write_classes(path: Path, names: Sequence[str]) -> Path:
    """Write class names, one a line. Returns the path."""
    write_bytes(path, "".join(f"{name}\n" for name in names).encode())
    return path


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
    return parse_classes([{"name": entry.strip()} if isinstance(entry, str) else entry for entry in entries], path)


def class_map_of(classes: Iterable[ClassParams]) -> ClassMap:
    """The class map of classes in index order."""
    return ClassMap([ClassEntry(entry.name, entry.color, entry.priority) for entry in classes])


def parse_classes(entries: Iterable[Any], path: Path) -> tuple[ClassParams, ...]:
    """Classes from entries as in params.yaml's `classes`. Raises ParamsError naming the file and what is wrong."""
    return parse_params({"source": {"kind": "label_studio", "project": 1}, "classes": list(entries)}, str(path)).classes


class Values:
    """A format's own values → class indices."""

    def __init__(self, name_of: Mapping[int, str], classes: Sequence[str], void: frozenset[int]) -> None:
        """`name_of`: value → label; one that is not among `classes` is foreign unless `void` holds its value."""
        index_of = {name: index for index, name in enumerate(classes)} | {VOID_LABEL: VOID_INDEX}
        self._name_of = name_of
        self._index_of = {value: index_of[name] for value, name in name_of.items() if name in index_of}
        self._index_of |= dict.fromkeys(void, VOID_INDEX)

    def index(self, value: int, what: str) -> int:
        """Class index of a value, 255 for void. Raises DataError that begins with `what`, which names the file."""
        if value not in self._index_of:
            name = f" ({self._name_of[value]})" if value in self._name_of else ""
            raise DataError(f"{what} {value}{name} is neither a class's nor void", FOREIGN)
        return self._index_of[value]


def read_class_mask(path: Path, classes: int, void: frozenset[int]) -> Mask:
    """A mask, uint8 (H, W), with every value of `void` turned into 255.

    Raises DataError if it holds a value that is neither a class index nor void.
    """
    mask = read_mask(path)
    lookup = np.arange(VOID_INDEX + 1, dtype=np.uint8)
    lookup[list(void)] = VOID_INDEX
    mask = lookup[mask]
    unknown = sorted({int(value) for value in np.unique(mask)} - set(range(classes)) - {VOID_INDEX})
    if unknown:
        raise DataError(f"{path} holds the values {unknown}, expected 0..{classes - 1} or void", FOREIGN)
    return mask


def labelled_by_mask(image: Path, mask_path: Path, classes: int, void: frozenset[int], split: str | None) -> Labelled:
    """An image with its class-index mask. Raises DataError if sizes differ or the mask holds a foreign value."""
    if not mask_path.is_file():
        raise DataError(f"the mask {mask_path} of {image} does not exist", "Every image needs its mask.")
    mask = read_class_mask(mask_path, classes, void)
    size_hw = (mask.shape[0], mask.shape[1])
    check_size(image, size_hw, str(mask_path))
    return Labelled(image, mask_path, size_hw, mask, split)
