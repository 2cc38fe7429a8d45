"""Cityscapes' folders (Cordts et al., "The Cityscapes Dataset for Semantic Urban Scene Understanding", CVPR 2016).

    leftImg8bit/<split>/<city>/<city>_<sequence>_<frame>_leftImg8bit.png
    gtFine/<split>/<city>/<city>_<sequence>_<frame>_gtFine_labelIds.png     class indices, 255 void
    gtFine/<split>/<city>/<city>_<sequence>_<frame>_gtFine_color.png        in the classes' colours, void black

The sequence is the task's id. `classes.txt`, which Cityscapes itself has not, names the classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from connectors.format_files import (
    encode_image,
    existing_folder,
    labelled_by_mask,
    read_classes,
    write_classes,
    write_image,
)
from connectors.labelled import Labelled, Sample
from connectors.masks import write_mask
from connectors.storage import write_bytes
from schemas.errors import DataError
from schemas.labels import VOID_INDEX, ClassMap
from schemas.params import ClassParams

PNG = frozenset({".png"})
CITY = "maskloop"
"""All that is exported lies in one city."""

IMAGE, LABELS, COLOR = "leftImg8bit", "gtFine_labelIds", "gtFine_color"


class Cityscapes:
    """Folders of splits and cities."""

    def write(self, samples: Iterable[Sample], class_map: ClassMap, folder: Path) -> Iterator[Path]:
        """See `Format.write`."""
        colors = np.zeros((VOID_INDEX + 1, 3), np.uint8)
        colors[: len(class_map)] = [class_map.color_rgb(index) for index in range(len(class_map))]
        for sample in samples:
            name = f"{CITY}_{sample.task_id:06d}_000000"
            yield write_image(sample, folder / "leftImg8bit" / sample.split / CITY / f"{name}_{IMAGE}", PNG)
            truth = folder / "gtFine" / sample.split / CITY
            write_mask(truth / f"{name}_{LABELS}.png", sample.mask)
            yield truth / f"{name}_{LABELS}.png"
            write_bytes(truth / f"{name}_{COLOR}.png", encode_image(Image.fromarray(colors[sample.mask])))
            yield truth / f"{name}_{COLOR}.png"
        yield write_classes(folder / "classes.txt", class_map.names)

    def classes(self, folder: Path) -> tuple[ClassParams, ...]:
        """See `Format.classes`: classes.txt."""
        return read_classes(folder / "classes.txt")

    def read(self, folder: Path, classes: Sequence[str], void: frozenset[int]) -> Iterator[Labelled]:
        """See `Format.read`."""
        images = existing_folder(folder / "leftImg8bit", "Cityscapes")
        found = sorted(images.glob(f"*/*/*_{IMAGE}.png"))
        if not found:
            raise DataError(f"{images} holds no <split>/<city>/*_{IMAGE}.png", "Name the data set's folder.")
        for image in found:
            split, city = image.parts[-3:-1]
            stem = image.stem.removesuffix(IMAGE)
            mask = folder / "gtFine" / split / city / f"{stem}{LABELS}.png"
            yield labelled_by_mask(image, mask, len(classes), void, split)


CITYSCAPES = Cityscapes()
