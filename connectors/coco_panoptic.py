"""COCO panoptic (https://cocodataset.org/#format-data): PNGs of segment ids beside `annotations/panoptic_<split>.json`.

A pixel's segment id is R + 256·G + 256²·B, 0 is void. A mask knows no objects, so a class is stuff, one segment, whose
id and category id are class index + 1. Images lie in `<split>/`, PNGs in `annotations/panoptic_<split>/`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import orjson
from numpy.typing import NDArray
from PIL import Image

from connectors.coco_json import Dataset, Entry, field, image_entry, read_annotated, read_categories, write_dataset
from connectors.format_files import Values, encode_image, write_image
from connectors.labelled import Labelled, Mask, Sample
from connectors.storage import write_bytes
from schemas.errors import DataError
from schemas.labels import VOID_INDEX, ClassMap
from schemas.params import ClassParams

KIND = "panoptic"


class CocoPanoptic:
    """Masks without loss: one segment a class."""

    def write(self, samples: Iterable[Sample], class_map: ClassMap, folder: Path) -> Iterator[Path]:
        """See `Format.write`."""
        images: dict[str, list[Entry]] = defaultdict(list)
        annotations: dict[str, list[bytes]] = defaultdict(list)
        for sample in samples:
            image = write_image(sample, folder / sample.split / sample.name)
            yield image
            segments = folder / "annotations" / f"{KIND}_{sample.split}" / f"{sample.name}.png"
            write_bytes(segments, _encode(sample.mask))
            yield segments
            images[sample.split].append(image_entry(sample, image))
            annotations[sample.split].append(orjson.dumps(_annotation(sample, segments.name)))
        for split in images:
            yield write_dataset(folder, KIND, split, images[split], annotations[split], class_map)

    def classes(self, folder: Path) -> tuple[ClassParams, ...]:
        """See `Format.classes`: the categories in order of id."""
        return read_categories(folder, KIND)

    def read(self, folder: Path, classes: Sequence[str], void: frozenset[int]) -> Iterator[Labelled]:
        """See `Format.read`."""
        for item in read_annotated(folder, KIND, classes, void):
            if len(item.annotations) != 1:
                found = (
                    f"{item.dataset.path}: image {item.image_id} has {len(item.annotations)} annotations, expected 1"
                )
                raise DataError(found, "Replace the file.")
            path, mask = _mask(item.annotations[0], item.values, item.dataset)
            if mask.shape != item.size_hw:
                expected = f"{item.size_hw[1]}×{item.size_hw[0]}"
                raise DataError(f"{path} is {mask.shape[1]}×{mask.shape[0]}, its image {expected}", "Replace the file.")
            yield Labelled(item.image, path, item.size_hw, mask, item.dataset.split)


PANOPTIC = CocoPanoptic()


def _encode(mask: Mask) -> bytes:
    pixels = np.zeros((*mask.shape, 3), np.uint8)
    pixels[..., 0] = mask + np.uint8(1)  # 255, void, becomes 0
    return encode_image(Image.fromarray(pixels))


def _annotation(sample: Sample, file_name: str) -> Entry:
    present = [int(index) for index in np.unique(sample.mask) if index != VOID_INDEX]
    return {
        "image_id": sample.task_id,
        "file_name": file_name,
        "segments_info": [_segment(index, sample.mask == index) for index in present],
    }


def _segment(index: int, pixels: NDArray[np.bool_]) -> Entry:
    rows, columns = np.flatnonzero(pixels.any(axis=1)), np.flatnonzero(pixels.any(axis=0))
    left, top = int(columns[0]), int(rows[0])
    return {
        "id": index + 1,
        "category_id": index + 1,
        "iscrowd": 0,
        "area": int(np.count_nonzero(pixels)),
        "bbox": [left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top],
    }


def _mask(annotation: Entry, values: Values, dataset: Dataset) -> tuple[Path, Mask]:
    """The PNG of an annotation and its mask."""
    what = f"the annotation of image {annotation['image_id']}"
    path = dataset.path.with_suffix("") / field(annotation, "file_name", str, dataset.path, what)
    index_of = {0: VOID_INDEX}
    for segment in field(annotation, "segments_info", list, dataset.path, what):
        if not isinstance(segment, dict):
            raise DataError(f"{dataset.path}: `segments_info` of {what} holds no objects", "Replace the file.")
        number = field(segment, "id", int, dataset.path, f"a segment in {what}")
        category = field(segment, "category_id", int, dataset.path, f"segment {number} in {what}")
        index_of[number] = values.index(category, f"{dataset.path}: segment {number} in {what}: the category id")
    ids, places = np.unique(_segment_ids(path), return_inverse=True)
    foreign = [int(number) for number in ids if int(number) not in index_of]
    if foreign:
        raise DataError(f"{path} holds segments that {dataset.path} does not list: {foreign[:5]}", "Replace either.")
    lookup = np.array([index_of[int(number)] for number in ids], np.uint8)
    return path, lookup[places]


def _segment_ids(path: Path) -> NDArray[np.int64]:
    """Segment ids, int64 (H, W)."""
    try:
        with Image.open(path) as image:
            if image.mode != "RGB":
                raise DataError(f"{path} has mode {image.mode}, expected RGB", "A segment id is R + 256·G + 256²·B.")
            pixels = np.asarray(image).astype(np.int64)
    except FileNotFoundError:
        raise DataError(f"{path} does not exist", "The JSON names it.") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{path} can't be decoded: {error}", "Replace the file.") from error
    ids: NDArray[np.int64] = pixels @ np.array([1, 256, 256**2])
    return ids
