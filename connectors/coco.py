"""COCO instances (https://cocodataset.org/#format-data): `annotations/instances_<split>.json`, images in `<split>/`.

An instance is a 4-connected component of the mask: a mask knows no objects. Areas and boxes are those of its pixels.
A polygon runs along pixel edges, so pycocotools gives back the very same pixels; a hole is cut by a slit of no width,
because COCO takes several rings for a union. Category ids are class index + 1.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from connectors import coco_rle
from connectors.coco_json import Annotated, Entry, field, image_entry, read_annotated, read_categories, write_dataset
from connectors.format_files import write_image
from connectors.labelled import Component, Instance, Labelled, Outline, Sample
from schemas.errors import DataError
from schemas.labels import ClassMap
from schemas.params import ClassParams

KIND = "instances"
REMEDY = "Mend the annotation, or take it out."
MALFORMED = (KeyError, TypeError, ValueError, OverflowError)

Segmentation = Callable[[Component, tuple[int, int]], Any]


@dataclass(frozen=True, slots=True)
class CocoInstances:
    """Reads every form of segmentation; writes the one that `segmentation` makes."""

    segmentation: Segmentation

    def write(self, samples: Iterable[Sample], class_map: ClassMap, folder: Path) -> Iterator[Path]:
        """See `Format.write`."""
        images: dict[str, list[Entry]] = defaultdict(list)
        annotations: dict[str, list[bytes]] = defaultdict(list)  # as JSON: a fraction of what the objects take
        for sample in samples:
            path = write_image(sample, folder / sample.split / sample.name)
            yield path
            images[sample.split].append(image_entry(sample, path))
            lines = annotations[sample.split]
            for component in sample.components():
                lines.append(self._annotation(len(lines) + 1, sample, component))
        for split in images:
            yield write_dataset(folder, KIND, split, images[split], annotations[split], class_map)

    def _annotation(self, number: int, sample: Sample, component: Component) -> bytes:
        size_hw = (sample.mask.shape[0], sample.mask.shape[1])
        return orjson.dumps(
            {
                "id": number,
                "image_id": sample.task_id,
                "category_id": component.class_index + 1,
                "iscrowd": 0,
                "area": int(np.count_nonzero(component.pixels)),
                "bbox": component.box_xywh,
                "segmentation": self.segmentation(component, size_hw),
            }
        )

    def classes(self, folder: Path) -> tuple[ClassParams, ...]:
        """See `Format.classes`: the categories in order of id."""
        return read_categories(folder, KIND)

    def read(self, folder: Path, classes: Sequence[str], void: frozenset[int]) -> Iterator[Labelled]:
        """See `Format.read`. Crowds lie below, and smaller instances on larger ones."""
        for item in read_annotated(folder, KIND, classes, void):
            annotations = sorted(item.annotations, key=_height)
            instances = [instance for entry in annotations for instance in _instances(entry, item)]
            yield Labelled(item.image, item.dataset.path, item.size_hw, instances, item.dataset.split)


def _polygon(component: Component, size_hw: tuple[int, int]) -> list[list[float]]:
    numbers: list[float] = component.outline.ravel().tolist()
    return [[int(number) if number.is_integer() else number for number in numbers]]


def _run_lengths(component: Component, size_hw: tuple[int, int]) -> dict[str, Any]:
    left, top, width, height = component.box_xywh
    mask = np.zeros(size_hw, np.bool_)
    mask[top : top + height, left : left + width] = component.pixels
    rle = coco_rle.encode(mask)
    return {"size": rle["size"], "counts": rle["counts"].decode("ascii")}


POLYGONS = CocoInstances(_polygon)
RUN_LENGTHS = CocoInstances(_run_lengths)


def _height(annotation: Entry) -> tuple[bool, float]:
    """Sorts annotations from the lowest to the topmost."""
    area = annotation.get("area")
    return not annotation.get("iscrowd"), -area if isinstance(area, int | float) else 0.0


def _instances(annotation: Entry, item: Annotated) -> Iterator[Instance]:
    path, what = item.dataset.path, f"annotation {annotation.get('id')} (image {item.image_id})"
    category = field(annotation, "category_id", int, path, what)
    index = item.values.index(category, f"{path}: {what}: the category id")
    segmentation = annotation.get("segmentation")
    try:
        if isinstance(segmentation, dict):
            yield Instance(index, pixels=_decoded(segmentation, item.size_hw))
        elif isinstance(segmentation, list) and segmentation:
            yield from [Instance(index, _ring(numbers)) for numbers in segmentation]
        else:
            raise DataError("there is no segmentation")
    except DataError as error:
        raise DataError(f"{path}: {what}: {error}", REMEDY) from None
    except MALFORMED as error:
        raise DataError(f"{path}: {what}: {type(error).__name__}: {error}", REMEDY) from None


def _decoded(segmentation: Entry, size_hw: tuple[int, int]) -> NDArray[np.bool_]:
    if segmentation["size"] != list(size_hw):
        raise DataError(f"the segmentation's size is {segmentation['size']}, the image's {list(size_hw)}")
    return coco_rle.decode(coco_rle.proven(segmentation["counts"], size_hw), size_hw)


def _ring(numbers: list[float]) -> Outline:
    ring = np.array(numbers, np.float64)
    if ring.ndim != 1 or ring.size < 6 or ring.size % 2 or not np.isfinite(ring).all():
        raise DataError("a polygon is no list of at least three pairs of numbers")
    return ring.reshape(-1, 2)
