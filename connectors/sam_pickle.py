"""Pre-labels on disk: one pickle per image with the records of segment_anything's `SamAutomaticMaskGenerator`.

Files of any origin are read through `numeric_pickle`, so none of their code runs.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco

from connectors.coco_rle import compress, decode, decompress, encode, proven
from connectors.numeric_pickle import MALFORMED, REMEDY, PlainArray, load_numeric_pickle
from connectors.numeric_values import as_box, as_items, as_number, as_pair, as_point, as_text, as_whole
from connectors.storage import write_bytes
from schemas.errors import DataError

PROTOCOL = 4
MAX_PIXELS = 2**31 - 1
MIN_RECORD_BYTES = 32

IMPORTED = "imported"
"""`params_sha256` of pre-labels made elsewhere."""


@dataclass(frozen=True, slots=True)
class Prelabel:
    """One proposed mask of an image of (H, W) pixels; fields and units as in segment_anything.

    `counts`: COCO's compressed run lengths, column-major. `bbox`: [x, y, w, h] and `area`: pixels. `point_coords`: the
    prompt points [[x, y]]. `predicted_iou`, `stability_score`: 0..1, 0.0 from a proposer that estimates neither, so
    that a filter by quality drops what nobody vouched for. `label`, `label_score` (0..1): the class name that a text
    detector gave it, None where none did.
    """

    counts: bytes
    area: int
    bbox: tuple[int, int, int, int]
    predicted_iou: float
    point_coords: tuple[tuple[float, float], ...]
    stability_score: float
    crop_box: tuple[int, int, int, int]
    label: str | None = None
    label_score: float | None = None

    @classmethod
    def from_mask(
        cls,
        mask: NDArray[np.bool_],
        points_xy: Sequence[tuple[float, float]],
        predicted_iou: float = 0.0,
        stability_score: float = 0.0,
    ) -> Prelabel:
        """The pre-label of a bool (H, W) mask."""
        return cls._from_rle(encode(mask), points_xy, predicted_iou, stability_score)

    @classmethod
    def from_runs(
        cls,
        runs: list[int],
        size_hw: tuple[int, int],
        points_xy: Sequence[tuple[float, float]],
        predicted_iou: float = 0.0,
        stability_score: float = 0.0,
    ) -> Prelabel:
        """The pre-label of column-major run lengths that begin with background, in pixels."""
        return cls._from_rle(compress(runs, size_hw), points_xy, predicted_iou, stability_score)

    @classmethod
    def _from_rle(
        cls,
        rle: dict[str, Any],
        points_xy: Sequence[tuple[float, float]],
        predicted_iou: float,
        stability_score: float,
    ) -> Prelabel:
        height, width = rle["size"]
        x, y, box_width, box_height = (int(value) for value in coco.toBbox(rle))
        return cls(
            counts=rle["counts"],
            area=int(coco.area(rle)),
            bbox=(x, y, box_width, box_height),
            predicted_iou=float(predicted_iou),
            point_coords=tuple((float(x), float(y)) for x, y in points_xy),
            stability_score=float(stability_score),
            crop_box=(0, 0, width, height),
        )

    def mask(self, size_hw: tuple[int, int]) -> NDArray[np.bool_]:
        """Decode to bool (H, W)."""
        return decode(decompress(self.counts), size_hw)


@dataclass(frozen=True, slots=True)
class ImagePrelabels:
    """All pre-labels of one image. `params_sha256` says what they were made with; IMPORTED for those made elsewhere.

    `image`: RGB, uint8 (H, W, 3) in [0, 255], where it travels along. Files made elsewhere may lack hash and model
    (empty here).
    """

    image_sha256: str
    size_hw: tuple[int, int]
    model: str
    params_sha256: str
    prelabels: tuple[Prelabel, ...]
    image: NDArray[np.uint8] | None = field(default=None, compare=False)


def write_sam_pickle(path: Path, image: ImagePrelabels) -> bool:
    """Write atomically; the same pre-labels give the same bytes. Returns whether the file changed."""
    height, width = image.size_hw
    embedded = {} if image.image is None else {"image": np.ascontiguousarray(image.image)}
    content = embedded | {
        "image_sha256": image.image_sha256,
        "size_hw": (height, width),
        "model": image.model,
        "params_sha256": image.params_sha256,
        "masks": [_record(prelabel, image.size_hw) for prelabel in image.prelabels],
    }
    return write_bytes(path, pickle.dumps(content, protocol=PROTOCOL))


def _record(prelabel: Prelabel, size_hw: tuple[int, int]) -> dict[str, Any]:
    record = {
        "segmentation": {"size": list(size_hw), "counts": prelabel.counts},
        "area": prelabel.area,
        "bbox": list(prelabel.bbox),
        "predicted_iou": prelabel.predicted_iou,
        "point_coords": [list(point) for point in prelabel.point_coords],
        "stability_score": prelabel.stability_score,
        "crop_box": list(prelabel.crop_box),
    }
    if prelabel.label is not None:
        record |= {"label": prelabel.label, "label_score": prelabel.label_score}
    return record


def read_sam_pickle(path: Path) -> ImagePrelabels:
    """Read a SAM-format pickle: a dict with `masks`, or segment_anything's bare list of them.

    Masks are boolean arrays or COCO run lengths, compressed or not. Raises DataError if the file is missing, names a
    global that is not allowed, holds less data than its masks claim, or has another form.
    """
    content = load_numeric_pickle(path)
    try:
        return _parse(content, budget=path.stat().st_size)
    except DataError as error:
        raise DataError(f"{path}: {error}", REMEDY) from None
    except MALFORMED as error:
        raise DataError(f"{path} is no SAM pickle: {type(error).__name__}: {error}", REMEDY) from None


def _parse(content: Any, budget: int) -> ImagePrelabels:
    if isinstance(content, list):
        content = {"masks": content}
    if not isinstance(content, dict) or not isinstance(content.get("masks"), list):
        raise DataError("expected a dict with a list `masks`, or that list")
    if not all(isinstance(record, dict) for record in content["masks"]):
        raise DataError("something in `masks` is no dict")
    image = _image(content.get("image"))
    height, width = size_hw = _size_hw(content, image)
    if min(size_hw) < 1 or height * width > MAX_PIXELS:
        raise DataError(f"size_hw is {height}x{width}, expected 1 to {MAX_PIXELS} pixels")
    if image is not None and image.shape[:2] != size_hw:
        raise DataError(f"the image has {image.shape[0]}x{image.shape[1]} pixels, but size_hw is {height}x{width}")
    prelabels = []
    for record in content["masks"]:
        budget -= _payload(record)
        if budget < 0:
            raise DataError("its masks share their data and claim more than the file holds")
        prelabels.append(_parse_record(record, size_hw))
    return ImagePrelabels(
        image_sha256=as_text(content.get("image_sha256", "")),
        size_hw=size_hw,
        model=as_text(content.get("model", "")),
        params_sha256=as_text(content.get("params_sha256", "")),
        prelabels=tuple(prelabels),
        image=image,
    )


def _image(value: Any) -> NDArray[np.uint8] | None:
    if value is None:
        return None
    if not isinstance(value, PlainArray):
        raise DataError(f"the image is {type(value).__name__}, expected a uint8 array (H, W, 3)")
    array = value.value
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3:
        raise DataError(f"the image is a {array.dtype} array of shape {array.shape}, expected uint8 (H, W, 3)")
    return array


def _size_hw(content: dict[str, Any], image: NDArray[np.uint8] | None) -> tuple[int, int]:
    """What the file says of its image's size: outright, by its image, or by the first mask."""
    if "size_hw" in content:
        return as_pair(content["size_hw"])
    if image is not None:
        return image.shape[0], image.shape[1]
    if not content["masks"]:
        raise DataError("it has neither `size_hw`, nor `image`, nor a mask, so nothing says how large the image is")
    segmentation = content["masks"][0]["segmentation"]
    return as_pair(segmentation.value.shape if isinstance(segmentation, PlainArray) else segmentation["size"])


def _payload(record: dict[str, Any]) -> int:
    """Bytes that a record takes at the least in a file of which nothing is used twice."""
    segmentation, points = record["segmentation"], record["point_coords"]
    data = segmentation if isinstance(segmentation, PlainArray) else segmentation["counts"]
    return MIN_RECORD_BYTES + sum(
        part.value.nbytes if isinstance(part, PlainArray) else len(part) for part in (data, points)
    )


def _parse_record(record: dict[str, Any], size_hw: tuple[int, int]) -> Prelabel:
    rle = _rle(record["segmentation"], size_hw)
    label, score = record.get("label"), record.get("label_score")
    return Prelabel(
        counts=rle["counts"],
        area=int(coco.area(rle)),
        bbox=as_box(record["bbox"]),
        predicted_iou=as_number(record["predicted_iou"]),
        point_coords=tuple(as_point(point) for point in as_items(record["point_coords"])),
        stability_score=as_number(record["stability_score"]),
        crop_box=as_box(record["crop_box"]),
        label=None if label is None else as_text(label),
        label_score=None if score is None else as_number(score),
    )


def _rle(segmentation: Any, size_hw: tuple[int, int]) -> dict[str, Any]:
    """COCO's compressed RLE of any of the three forms, proven to cover exactly `size_hw`."""
    if isinstance(segmentation, PlainArray):
        mask = segmentation.value
        if mask.dtype != np.bool_ or mask.shape != size_hw:
            raise DataError(f"a mask is a {mask.dtype} array of shape {mask.shape}, expected bool {size_hw}")
        return encode(mask)
    if (size := as_pair(segmentation["size"])) != size_hw:
        raise DataError(f"a mask has size {size}, expected {size_hw}")
    counts = segmentation["counts"]
    if isinstance(counts, bytes | str):
        proven(counts, size_hw)
        return {"size": list(size_hw), "counts": counts.encode("ascii") if isinstance(counts, str) else counts}
    return compress(proven([as_whole(run) for run in as_items(counts)], size_hw), size_hw)
