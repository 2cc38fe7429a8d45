"""Who paints the conformance cases right: maskloop and its peers on `tests/conformance/cases`, in one run.

    python -m benchmarks.conformance

A peer takes the place of maskloop's rasteriser; reading, EXIF, order, priorities, holes, strokes and bitmasks remain
maskloop's, so only "which pixels does this outline cover" is the peer's. Ellipses and curves reach it as fine polygons,
in the coordinates that suit it best (half a pixel to the left and up, where that gives fewer wrong pixels). The
converter of label-studio-sdk reads the JSON by itself: its COCO export, painted in order by pycocotools, then its brush
export on top. A mask of the wrong size, or none, counts as wrong in all pixels.
"""

from __future__ import annotations

import importlib
import json
import logging
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch
from xml.sax.saxutils import quoteattr

import numpy as np
from numpy.typing import NDArray

from pipeline import raster
from pipeline.curves import flatten
from pipeline.painting import Painter
from schemas.labels import VOID_INDEX
from schemas.regions import Ellipse, Polygon, Rectangle, Vector
from tests.conformance import run

Mask = NDArray[np.uint8]
Floats = NDArray[np.float64]
Size = tuple[int, int]
Case = dict[str, Any]
Cover = Callable[[Size, Floats], Mask]
"""Size and ring, float64 (N, 2) pixels → uint8 (H, W), not 0 where it covers."""

ELLIPSE_POINTS = 720
LABEL_TAGS = ("Polygon", "Rectangle", "Ellipse", "Brush", "Bitmask", "Vector")


def opencv() -> Cover:
    cv2 = importlib.import_module("cv2")

    def cover(size_hw: Size, ring: Floats) -> Mask:
        mask = np.zeros(size_hw, np.uint8)
        cv2.fillPoly(mask, [np.rint((ring - 0.5) * 2**16).astype(np.int32)], 1, shift=16)
        return mask

    return cover


def pillow() -> Cover:
    image, draw = importlib.import_module("PIL.Image"), importlib.import_module("PIL.ImageDraw")

    def cover(size_hw: Size, ring: Floats) -> Mask:
        canvas = image.new("L", size_hw[::-1])
        draw.Draw(canvas).polygon([tuple(point) for point in ring.tolist()], fill=1)
        return np.asarray(canvas)

    return cover


def pycocotools() -> Cover:
    coco = importlib.import_module("pycocotools.mask")

    def cover(size_hw: Size, ring: Floats) -> Mask:
        covered: Mask = coco.decode(coco.merge(coco.frPyObjects([ring.ravel().tolist()], *size_hw)))
        return covered

    return cover


def scikit_image() -> Cover:
    draw = importlib.import_module("skimage.draw")

    def cover(size_hw: Size, ring: Floats) -> Mask:
        mask = np.zeros(size_hw, np.uint8)
        mask[draw.polygon(ring[:, 1] - 0.5, ring[:, 0] - 0.5, size_hw)] = 1
        return mask

    return cover


def supervision() -> Cover:
    module = importlib.import_module("supervision")
    return lambda size_hw, ring: module.polygon_to_mask(np.rint(ring).astype(np.int32), size_hw[::-1])


def rasterio() -> Cover:
    features = importlib.import_module("rasterio.features")

    def cover(size_hw: Size, ring: Floats) -> Mask:
        outline = {"type": "Polygon", "coordinates": [[*ring.tolist(), ring[0].tolist()]]}
        covered: Mask = features.rasterize([(outline, 1)], out_shape=size_hw, dtype="uint8")
        return covered

    return cover


def painting(cover: Cover) -> Callable[[Case, Path], Mask]:
    """maskloop with another's rasteriser."""

    def paint(mask: Mask, shapes: Sequence[Any], values: Sequence[int]) -> None:
        size_hw = (mask.shape[0], mask.shape[1])
        for shape, value in zip(shapes, values, strict=True):
            mask[cover(size_hw, ring_px(shape, size_hw)) != 0] = value

    def make(case: Case, folder: Path) -> Mask:
        painters = patch.dict(raster.PAINTERS, dict.fromkeys((Polygon, Rectangle, Ellipse, Vector), paint))
        with painters, patch.object(Painter, "paint", Painter.paint_any):  # not the way that is compiled as a whole
            return run.make(case, folder).mask

    return make


def ring_px(shape: Polygon | Rectangle | Ellipse | Vector, size_hw: Size) -> Floats:
    if isinstance(shape, Polygon):
        return raster.points_px(shape.points_pct, size_hw)
    if isinstance(shape, Rectangle):
        return raster.rectangle_px(shape, size_hw)
    if isinstance(shape, Vector):
        return flatten(raster.points_px(shape.curves_pct, size_hw))
    t, turn = np.linspace(0, 2 * np.pi, ELLIPSE_POINTS, endpoint=False), np.radians(shape.rotation_deg)
    centre, radii = raster.points_px(
        np.array([(shape.x_pct, shape.y_pct), (shape.radius_x_pct, shape.radius_y_pct)]), size_hw
    )
    x, y = radii[0] * np.cos(t), radii[1] * np.sin(t)
    return centre + np.stack([x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn)], axis=1)


def label_studio_sdk(case: Case, folder: Path) -> Mask:
    """What is left of a task in the converter's exports."""
    brush = importlib.import_module("label_studio_sdk.converter.brush")
    converter_module = importlib.import_module("label_studio_sdk.converter")
    run.write_project(case, folder)
    case["task"]["data"]["image"] = str(folder / case["task"]["data"]["image"])
    (folder / run.EXPORT).write_text(json.dumps([case["task"]]))
    names = [entry["name"] for entry in case["params"]["classes"]]
    converter = converter_module.Converter(label_config([*names, "void"]), str(folder), download_resources=False)
    converter.convert_to_coco(str(folder / run.EXPORT), str(folder / "coco"), is_dir=False)
    exported = json.loads((folder / "coco/result.json").read_text())
    image = exported["images"][-1]
    size_hw = (image["height"], image["width"])
    values = {name: index for index, name in enumerate(names)} | {"void": VOID_INDEX}
    categories = {entry["id"]: values.get(entry["name"], VOID_INDEX) for entry in exported["categories"]}
    mask, cover = np.full(size_hw, VOID_INDEX, np.uint8), pycocotools()
    for entry in exported["annotations"]:
        if entry["image_id"] == image["id"]:
            left, top, width, height = entry["bbox"]
            box = [(left, top), (left + width, top), (left + width, top + height), (left, top + height)]
            (ring,) = [np.reshape(ring, (-1, 2)) for ring in entry["segmentation"]] or [np.array(box)]
            if len(ring) >= 3:
                mask[cover(size_hw, ring) != 0] = categories[entry["category_id"]]
    for item in converter.iter_from_json_file(str(folder / run.EXPORT)):
        for results in item["output"].values():
            strokes = [result for result in results if result["type"] == "BrushLabels"]
            for stroke in strokes:
                (alpha,) = brush.decode_from_annotation("brush", [stroke]).values()
                mask[alpha > 127] = values[stroke["brushlabels"][0]]
    return mask


def label_config(names: list[str]) -> str:
    labels = "".join(f"<Label value={quoteattr(name)}/>" for name in names)
    tags = (f'<{tag}Labels name="{tag.lower()}" toName="image">{labels}</{tag}Labels>' for tag in LABEL_TAGS)
    return f'<View><Image name="image" value="$image"/>{"".join(tags)}</View>'


PEERS: dict[str, Callable[[], Callable[[Case, Path], Mask]]] = {
    "maskloop": lambda: lambda case, folder: run.make(case, folder).mask,
    "rasterio": lambda: painting(rasterio()),
    "scikit-image": lambda: painting(scikit_image()),
    "pycocotools": lambda: painting(pycocotools()),
    "OpenCV": lambda: painting(opencv()),
    "PIL": lambda: painting(pillow()),
    "supervision": lambda: painting(supervision()),
    "label-studio-sdk converter": lambda: label_studio_sdk,
}


def wrong_pixels(make: Callable[[Case, Path], Mask], case: Case, expected: Mask) -> int:
    """How many pixels differ; all of them, where it gives no mask or one of another size."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            mask = make(case, Path(folder))
        except (ValueError, KeyError, IndexError, TypeError, FileNotFoundError):
            return expected.size
    return int((mask != expected).sum()) if mask.shape == expected.shape else expected.size


def main() -> None:
    logging.disable()
    names = run.names()
    pixels = sum(run.load(name)[1].size for name in names)
    print(f"{len(names)} cases, {pixels} pixels\n\n| | cases right | wrong pixels |\n|---|---|---|")
    for peer, prepare in PEERS.items():
        try:
            make = prepare()
        except ModuleNotFoundError as error:
            print(f"| {peer} | not installed: no module {error.name} | |")
            continue
        wrong = [wrong_pixels(make, *run.load(name)) for name in names]
        print(f"| {peer} | {wrong.count(0)} of {len(names)} | {sum(wrong)} |")


if __name__ == "__main__":
    main()
