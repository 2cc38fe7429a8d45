"""The registry of data set formats: one line each."""

from __future__ import annotations

import difflib
from importlib import import_module
from typing import TYPE_CHECKING

from schemas.errors import ParamsError

if TYPE_CHECKING:  # numpy and Pillow, which the command line does without
    from connectors.labelled import Format

# name → (module, what in it is the format, what it is)
FORMATS: dict[str, tuple[str, str, str]] = {
    "coco": ("connectors.coco", "POLYGONS", "COCO instances as polygons"),
    "coco-rle": ("connectors.coco", "RUN_LENGTHS", "COCO instances as run lengths"),
    "coco-panoptic": ("connectors.coco_panoptic", "PANOPTIC", "COCO panoptic PNGs"),
    "yolo-seg": ("connectors.yolo", "YOLO_SEG", "Ultralytics YOLO's text files of polygons"),
    "voc": ("connectors.voc", "VOC", "Pascal VOC's palette PNGs"),
    "cityscapes": ("connectors.cityscapes", "CITYSCAPES", "Cityscapes' folders of cities"),
    "mask-folder": ("connectors.mask_folder", "MASK_FOLDER", "class-index PNGs beside the images"),
}


def known_format(name: str) -> str:
    """`name`, if there is such a format. Raises ParamsError with the nearest one and all that are known."""
    if name in FORMATS:
        return name
    nearest = difflib.get_close_matches(name.lower(), FORMATS, n=1, cutoff=0.4)
    hint = f", did you mean `{nearest[0]}`?" if nearest else ""
    raise ParamsError(f"there is no format `{name}`{hint}", f"Known are {', '.join(FORMATS)}.")


def open_format(name: str) -> Format:
    """The format of that name. Raises ParamsError if there is none."""
    module, attribute, _ = FORMATS[known_format(name)]
    found: Format = getattr(import_module(module), attribute)
    return found
