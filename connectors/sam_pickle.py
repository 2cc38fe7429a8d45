"""Pre-labels on disk: one pickle per image with the records of segment_anything's `SamAutomaticMaskGenerator`.

Files of any origin are read through `numeric_pickle`, so none of their code runs.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco

from connectors.coco_rle import compress, decode, decompress, encode, proven
from connectors.numeric_pickle import MALFORMED, REMEDY, PlainArray, PlainScalar, load_numeric_pickle
from connectors.storage import write_bytes
from schemas.errors import DataError

PROTOCOL = 4
MAX_PIXELS = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Prelabel:
    """One proposed mask of an image of (H, W) pixels; fields and units as in segment_anything.

    `counts`: COCO's compressed run lengths, column-major. `bbox`: [x, y, w, h] and `area`: pixels. `point_coords`: the
    prompt points [[x, y]]. `predicted_iou`, `stability_score`: 0..1, 0.0 from a proposer that estimates neither, so
    that a filter by quality drops what nobody vouched for.
    """

    counts: bytes
    area: int
    bbox: tuple[int, int, int, int]
    predicted_iou: float
    point_coords: tuple[tuple[float, float], ...]
    stability_score: float
    crop_box: tuple[int, int, int, int]

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
    """All pre-labels of one image. `params_sha256` says what they were made with; empty in files made elsewhere."""

    image_sha256: str
    size_hw: tuple[int, int]
    model: str
    params_sha256: str
    prelabels: tuple[Prelabel, ...]


def write_sam_pickle(path: Path, image: ImagePrelabels) -> bool:
    """Write atomically; the same pre-labels give the same bytes. Returns whether the file changed."""
    height, width = image.size_hw
    content = {
        "image_sha256": image.image_sha256,
        "size_hw": (height, width),
        "model": image.model,
        "params_sha256": image.params_sha256,
        "masks": [
            {
                "segmentation": {"size": [height, width], "counts": prelabel.counts},
                "area": prelabel.area,
                "bbox": list(prelabel.bbox),
                "predicted_iou": prelabel.predicted_iou,
                "point_coords": [list(point) for point in prelabel.point_coords],
                "stability_score": prelabel.stability_score,
                "crop_box": list(prelabel.crop_box),
            }
            for prelabel in image.prelabels
        ],
    }
    return write_bytes(path, pickle.dumps(content, protocol=PROTOCOL))


def read_sam_pickle(path: Path) -> ImagePrelabels:
    """Read a SAM-format pickle whose masks are boolean arrays or COCO run lengths, compressed or not.

    Raises DataError if the file is missing, names a global that is not allowed, or has another form.
    """
    content = load_numeric_pickle(path)
    try:
        return _parse(content)
    except DataError as error:
        raise DataError(f"{path}: {error}", REMEDY) from None
    except MALFORMED as error:
        raise DataError(f"{path} is no SAM pickle: {type(error).__name__}: {error}", REMEDY) from None


def _parse(content: Any) -> ImagePrelabels:
    if not isinstance(content, dict) or not isinstance(content.get("masks"), list):
        raise DataError("expected a dict with `image_sha256`, `size_hw`, `model` and a list `masks`")
    height, width = (_whole(value) for value in content["size_hw"])
    if min(height, width) < 1 or height * width > MAX_PIXELS:
        raise DataError(f"size_hw is {height}x{width}, expected 1 to {MAX_PIXELS} pixels")
    return ImagePrelabels(
        image_sha256=_text(content["image_sha256"]),
        size_hw=(height, width),
        model=_text(content["model"]),
        params_sha256=_text(content.get("params_sha256", "")),
        prelabels=tuple(_parse_record(record, (height, width)) for record in content["masks"]),
    )


def _parse_record(record: dict[str, Any], size_hw: tuple[int, int]) -> Prelabel:
    rle = _rle(record["segmentation"], size_hw)
    return Prelabel(
        counts=rle["counts"],
        area=int(coco.area(rle)),
        bbox=_box(record["bbox"]),
        predicted_iou=_number(record["predicted_iou"]),
        point_coords=tuple((_number(x), _number(y)) for x, y in _items(record["point_coords"])),
        stability_score=_number(record["stability_score"]),
        crop_box=_box(record["crop_box"]),
    )


def _rle(segmentation: Any, size_hw: tuple[int, int]) -> dict[str, Any]:
    """COCO's compressed RLE of any of the three forms, proven to cover exactly `size_hw`."""
    if isinstance(segmentation, PlainArray):
        mask = segmentation.value
        if mask.dtype != np.bool_ or mask.shape != size_hw:
            raise DataError(f"a mask is a {mask.dtype} array of shape {mask.shape}, expected bool {size_hw}")
        return encode(mask)
    size = tuple(_whole(value) for value in segmentation["size"])
    if size != size_hw:
        raise DataError(f"a mask has size {size}, expected {size_hw}")
    counts = segmentation["counts"]
    if isinstance(counts, bytes | str):
        proven(counts, size_hw)
        return {"size": list(size_hw), "counts": counts.encode("ascii") if isinstance(counts, str) else counts}
    return compress(proven([_whole(run) for run in _items(counts)], size_hw), size_hw)


def _items(value: Any) -> list[Any]:
    return value.value.tolist() if isinstance(value, PlainArray) else list(value)


def _box(value: Any) -> tuple[int, int, int, int]:
    x, y, width, height = (round(_number(item)) for item in _items(value))
    return x, y, width, height


def _number(value: Any) -> float:
    value = value.value if isinstance(value, PlainScalar) else value
    if not isinstance(value, int | float):
        raise DataError(f"found {type(value).__name__}, expected a number")
    return float(value)


def _whole(value: Any) -> int:
    number = _number(value)
    if number != int(number):
        raise DataError(f"found {number:g}, expected a whole number")
    return int(number)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise DataError(f"found {type(value).__name__}, expected text")
    return value
