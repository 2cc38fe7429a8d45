"""What pre-labels are worth: how many masks cover an image, which have a class by whom, and how far people agree."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from schemas.labels import VOID_INDEX, ClassMap

WANTED = (0.5, 0.9, 0.95)
"""Shares of an image for which the masks that cover them are counted."""

CURVE_MASKS = 200
"""The curve ends at this many masks."""

WAYS = ("human", "detector", "champion")


def summary(assigned: pa.Table, class_map: ClassMap) -> dict[str, Any]:
    """What `reports/prelabels.json` holds, from a table of ASSIGNED_SCHEMA.

    Shares are in 0..1. `covering`: by wanted share the median number of masks, largest first, that cover it, over the
    images where some number does; `images` says how many those are. `curve`: the median share that the first 1, 2, …
    masks cover. `agreement`: of the pixels to which people gave a class and the mask one, too, those with the same.
    """
    images = _covered(assigned)
    counts = [len(shares) for shares in images.values()]
    return {
        "images": len(images),
        "masks": sum(counts),
        "masks_per_image": _spread(counts),
        "covering": {f"{wanted:g}": _covering(images, wanted) for wanted in WANTED},
        "per_image": {sha256: _per_image(shares) for sha256, shares in images.items()},
        "curve": _curve(list(images.values())),
        "assigned": {way: _of_way(assigned, way) for way in WAYS},
        "unassigned_masks": assigned["by"].null_count,
        "unassigned": _share(assigned["by"].null_count, len(assigned)),
        "classes": _classes(assigned, class_map),
    }


def _covered(assigned: pa.Table) -> dict[str, NDArray[np.float64]]:
    """By image the share that its masks cover together, after the largest, the two largest, …"""
    columns = ["image_sha256", "task_id", "mask", "area_px", "new_px", "image_px"]
    table = assigned.select(columns).to_pandas().drop_duplicates(["image_sha256", "mask"])
    table = table.sort_values(["image_sha256", "area_px", "mask"], ascending=[True, False, True])
    return {
        str(sha256): np.cumsum(rows["new_px"].to_numpy()) / rows["image_px"].to_numpy()
        for sha256, rows in table.groupby("image_sha256", sort=True)
    }


def masks_to_cover(shares: NDArray[np.float64], wanted: float) -> int | None:
    """How many masks cover a share of the image; `shares` (N,) ascend. None if all of them together do not."""
    number = int(np.searchsorted(shares, wanted)) + 1
    return number if number <= shares.size else None


def _per_image(shares: NDArray[np.float64]) -> dict[str, Any]:
    covering = {f"{wanted:g}": masks_to_cover(shares, wanted) for wanted in WANTED}
    return {"masks": shares.size, "covered": round(float(shares[-1]), 6), "covering": covering}


def _covering(images: dict[str, NDArray[np.float64]], wanted: float) -> dict[str, Any]:
    numbers = [number for shares in images.values() if (number := masks_to_cover(shares, wanted)) is not None]
    return {"median": float(np.median(numbers)) if numbers else None, "images": len(numbers)}


def _curve(images: list[NDArray[np.float64]]) -> list[float]:
    longest = min(max(map(len, images), default=0), CURVE_MASKS)
    padded = np.array([np.pad(shares, (0, max(longest - shares.size, 0)), "edge")[:longest] for shares in images])
    return [round(float(value), 6) for value in np.median(padded, axis=0)] if images else []


def _spread(counts: list[int]) -> dict[str, float] | None:
    if not counts:
        return None
    return {"least": min(counts), "median": float(np.median(counts)), "most": max(counts)}


def _of_way(assigned: pa.Table, way: str) -> dict[str, Any]:
    """Masks that got their class this way, and how far people agree."""
    rows = assigned.filter(pc.equal(assigned["by"], way))
    human_px, agreeing_px = (pc.sum(rows[name]).as_py() or 0 for name in ("human_px", "agreeing_px"))
    return {
        "masks": len(rows),
        "share": _share(len(rows), len(assigned)),
        "compared_px": human_px,
        "agreement": _share(agreeing_px, human_px) if human_px else None,
    }


def _classes(assigned: pa.Table, class_map: ClassMap) -> dict[str, int]:
    """Masks by label."""
    counts = assigned["class_index"].value_counts().to_pylist()
    found = {entry["values"]: entry["counts"] for entry in counts if entry["values"] not in (None, VOID_INDEX)}
    return {class_map.label(index): number for index, number in sorted(found.items())}


def _share(part: int, whole: int) -> float:
    return round(part / whole, 6) if whole else 0.0
