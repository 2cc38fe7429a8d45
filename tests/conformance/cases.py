"""The cases: one Label Studio task each, small, with what `params.yaml` says.

`python -m tests.conformance.build` stores them beside their masks, so that any tool can be held against them.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from label_studio_sdk.converter.brush import encode_rle
from numpy.typing import NDArray
from PIL import Image

Result = dict[str, Any]
Case = dict[str, Any]

CLASSES = [{"name": "road"}, {"name": "car"}, {"name": "tree"}]
SIZE_HW = (10, 20)
"""One pixel is 5 × 10 percent, so centres are exact in binary."""


def cases() -> list[Case]:
    groups = (polygons, tilings, percents, rectangles, ellipses, strokes, bitmasks, vectors, holes, orientations)
    groups += (overlaps, labels, annotators, no_regions)
    return [case for group in groups for case in group()]


def case(
    name: str,
    about: str,
    result: list[Result],
    size_hw: tuple[int, int] = SIZE_HW,
    rejects: Sequence[str] = (),
    exif: int = 0,
    classes: Sequence[dict[str, Any]] = CLASSES,
    others: Sequence[dict[str, Any]] = (),
    **rasterise: str,
) -> Case:
    """A case whose task has one annotation with this result, and `others`."""
    params: dict[str, Any] = {"classes": list(classes)}
    annotations = [annotation(1, result), *others]
    return {
        "name": name,
        "about": about,
        "size_hw": list(size_hw),
        "exif": exif,
        "params": params | ({"rasterise": rasterise} if rasterise else {}),
        "rejects": list(rejects),
        "task": {
            "id": 1,
            "data": {"image": "image.jpg" if exif else "image.png"},
            "annotations": sized(annotations, size_hw),
        },
    }


def annotation(
    annotation_id: int, result: list[Result], updated_at: str = "2026-01-01", **extra: Any
) -> dict[str, Any]:
    return {
        "id": annotation_id,
        "completed_by": annotation_id,
        "result": result,
        "was_cancelled": False,
        "ground_truth": False,
        "updated_at": updated_at,
        **extra,
    }


def sized(annotations: list[dict[str, Any]], size_hw: tuple[int, int]) -> list[dict[str, Any]]:
    """Every region says on what size it was drawn."""
    size = {"original_width": size_hw[1], "original_height": size_hw[0], "image_rotation": 0}
    return [
        entry
        | {"result": [item if item["type"] in ("relation", "choices") else size | item for item in entry["result"]]}
        for entry in annotations
    ]


def region(kind: str, value: dict[str, Any], label: str | None = "road", region_id: str = "r1", **extra: Any) -> Result:
    labelled = value | ({f"{kind}labels": [label]} if label else {})
    return {
        "id": region_id,
        "from_name": kind,
        "to_name": "image",
        "type": f"{kind}labels",
        "value": labelled,
        **extra,
    }


def polygon(
    points: Sequence[Sequence[float]], label: str | None = "road", region_id: str = "r1", **extra: Any
) -> Result:
    value = {"points": [list(point) for point in points], "closed": True}
    return region("polygon", value, label, region_id, **extra)


def polygon_px(
    points: Sequence[Sequence[float]],
    label: str = "road",
    region_id: str = "r1",
    size_hw: tuple[int, int] = SIZE_HW,
    **extra: Any,
) -> Result:
    """A polygon given in pixels, written in percent as Label Studio would."""
    height, width = size_hw
    return polygon([(x / width * 100, y / height * 100) for x, y in points], label, region_id, **extra)


def box_px(
    left: float, top: float, right: float, bottom: float, label: str = "road", region_id: str = "r1", **extra: Any
) -> Result:
    return polygon_px([(left, top), (right, top), (right, bottom), (left, bottom)], label, region_id, **extra)


def rectangle(x: float, y: float, width: float, height: float, rotation: float = 0, **extra: Any) -> Result:
    return region("rectangle", {"x": x, "y": y, "width": width, "height": height, "rotation": rotation}, **extra)


def ellipse(x: float, y: float, radius_x: float, radius_y: float, rotation: float = 0, **extra: Any) -> Result:
    return region("ellipse", {"x": x, "y": y, "radiusX": radius_x, "radiusY": radius_y, "rotation": rotation}, **extra)


def brush(alpha: NDArray[np.uint8], **extra: Any) -> Result:
    """A stroke from its anti-aliased alpha, uint8 (H, W)."""
    return region("brush", {"format": "rle", "rle": encode_rle(np.repeat(alpha.ravel(), 4))}, **extra)


def bitmask(alpha: NDArray[np.uint8], grey: int = 0, **extra: Any) -> Result:
    """A bitmask from its alpha, uint8 (H, W), drawn in `grey`."""
    file = io.BytesIO()
    Image.fromarray(np.dstack([np.full_like(alpha, grey)] * 3 + [alpha])).save(file, "PNG")
    return region(
        "bitmask", {"imageDataURL": f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"}, **extra
    )


def vector(points: Sequence[Sequence[float]], closed: bool = True, linked: bool = True, **extra: Any) -> Result:
    """A path; each point is x, y in percent, and for a curve its two handles: x, y, x1, y1, x2, y2."""
    vertices: list[dict[str, Any]] = []
    for number, (x, y, *handles) in enumerate(points):
        before = (number - 1) % len(points)
        vertex = {"id": f"p{number}", "x": x, "y": y, "isBezier": bool(handles)}
        if number or (closed and linked):
            vertex["prevPointId"] = f"p{before}"
        if handles:
            vertex["controlPoint1"] = {"x": handles[0], "y": handles[1]}
            vertex["controlPoint2"] = {"x": handles[2], "y": handles[3]}
        vertices.append(vertex)
    return region("vector", {"vertices": vertices, "closed": closed}, **extra)


def hole(item: Result, region_id: str = "h1", parent: str = "r1", text: Any = ("hole",)) -> Result:
    text = text if isinstance(text, str) else list(text)
    return item | {"id": region_id, "parentID": parent, "meta": {"text": text}}


def disc(size_hw: tuple[int, int] = SIZE_HW) -> NDArray[np.uint8]:
    """Alpha of a soft disc, uint8 (H, W), every value from 0 to 255 about its rim."""
    rows, columns = np.mgrid[: size_hw[0], : size_hw[1]]
    distance = np.hypot(rows - size_hw[0] / 2, columns - size_hw[1] / 2)
    return np.clip(128 + 40 * (size_hw[0] / 3 - distance), 0, 255).astype(np.uint8)


WHOLE = [(0, 0), (100, 0), (100, 100), (0, 100)]
STAR = [(50 + 45 * math.sin(k * 0.8 * math.pi), 50 - 45 * math.cos(k * 0.8 * math.pi)) for k in range(5)]
TRIANGLE = [(11, 13), (93, 37), (29, 91)]


def polygons() -> Iterator[Case]:
    yield case("polygon-triangle", "three points, anywhere", [polygon(TRIANGLE)])
    yield case("polygon-anticlockwise", "the same, the other way round", [polygon(TRIANGLE[::-1])])
    concave = [(5, 5), (95, 5), (95, 95), (52, 31), (5, 95)]
    yield case("polygon-concave", "a notch", [polygon(concave)])
    yield case("polygon-bow-tie", "edges that cross: even-odd", [polygon([(3, 7), (97, 91), (97, 7), (3, 91)])])
    yield case("polygon-pentagram", "its middle is out: even-odd", [polygon(STAR)], (40, 40))
    yield case(
        "polygon-on-centres", "corners on centres: top and left in, bottom and right out", [box_px(2.5, 1.5, 8.5, 6.5)]
    )
    diamond = [(10.5, 0.5), (18.5, 4.5), (10.5, 8.5), (2.5, 4.5)]
    yield case("polygon-edges-through-centres", "slanted edges that pass through centres", [polygon_px(diamond)])
    diagonal = [(0.5, 0.5), (9.5, 9.5), (0.5, 9.5)]
    yield case("polygon-diagonal", "an edge at 45° through ten centres", [polygon_px(diagonal)])
    yield case("polygon-whole", "the whole image", [polygon(WHOLE)])
    yield case("polygon-border", "along the image's border on two sides", [polygon([(0, 0), (100, 0), (0, 100)])])
    yield case("polygon-pixel", "exactly one pixel", [box_px(7, 3, 8, 4)])
    yield case("polygon-tiny", "smaller than a pixel, around a centre", [box_px(7.4, 3.4, 7.6, 3.6)])
    yield case(
        "polygon-between-centres", "smaller than a pixel, between centres: nothing", [box_px(7.6, 3.6, 7.9, 3.9)]
    )
    yield case(
        "polygon-sliver", "thinner than a pixel: only the centres it meets", [polygon([(0, 3), (100, 88), (100, 91)])]
    )
    yield case("polygon-no-area", "points on one line", [polygon([(10, 10), (50, 50), (90, 90)])])
    doubled = [(11, 13), (11, 13), (93, 37), (93, 37), (29, 91), (11, 13)]
    yield case("polygon-repeated-points", "points met twice, the first one at the end again", [polygon(doubled)])
    spiral = [(50 + k * 1.9 * math.cos(k * 0.7), 50 + k * 1.9 * math.sin(k * 0.7)) for k in range(25)]
    yield case("polygon-spiral", "turns about itself", [polygon(spiral)], (40, 40))
    comb = [(1 + 98 * k / 96, (20, 80)[k % 2]) for k in range(97)]
    yield case("polygon-comb", "96 crossings in a row", [polygon([*comb, (99, 97), (1, 97)])], (12, 50))
    rounding = [(0, -1e-9), (100.0000001, 0), (100, 100)]
    yield case("polygon-beyond-by-rounding", "a hair outside the image is no mistake", [polygon(rounding)])
    two = polygon([(10, 10), (90, 90)], "car", "r2")
    yield case("polygon-unfinished", "two points are no polygon", [polygon(TRIANGLE), two], rejects=["too_few_points"])


def tilings() -> Iterator[Case]:
    """Neighbours neither overlap nor leave a gap: no pixel is void, and order does not matter."""
    halves = [polygon_px([(0, 0), (20, 0), (0, 10)]), polygon_px([(20, 0), (20, 10), (0, 10)], "car", "r2")]
    yield case("tiling-diagonal", "two triangles share an edge through centres", halves)
    yield case("tiling-diagonal-reversed", "the same in the other order: the same mask", halves[::-1])
    thirds = [
        box_px(k * 20 / 3, 0, (k + 1) * 20 / 3, 10, name, f"r{k}") for k, name in enumerate(["road", "car", "tree"])
    ]
    yield case("tiling-thirds", "three strips whose borders no decimal can say", thirds)
    border = [(0, 0), (7, 0), (20, 0), (20, 4), (20, 10), (13, 10), (0, 10), (0, 6)]
    fan = [polygon_px([(10.5, 4.5), border[k], border[(k + 1) % 8]], CLASSES[k % 3]["name"], f"r{k}") for k in range(8)]
    yield case("tiling-fan", "eight triangles about a centre", fan)
    yield case("tiling-grid", "36 quadrilaterals with corners anywhere", list(_grid()), (36, 48))


def _grid(size_hw: tuple[int, int] = (36, 48)) -> Iterator[Result]:
    shift = np.random.default_rng(3).uniform(-2.5, 2.5, (7, 7, 2)).round(2)
    x, y = np.meshgrid(np.linspace(0, size_hw[1], 7), np.linspace(0, size_hw[0], 7))
    shift[[0, -1], :] = shift[:, [0, -1]] = 0
    corners = np.dstack([x, y]) + shift
    for row, column in np.ndindex(6, 6):
        ring = [corners[row, column], corners[row, column + 1], corners[row + 1, column + 1], corners[row + 1, column]]
        points = [(float(x), float(y)) for x, y in ring]
        yield polygon_px(points, CLASSES[(row + column * 2) % 3]["name"], f"r{row}-{column}", size_hw)


def percents() -> Iterator[Case]:
    """What a pixel is in percent is seldom exact; along pixel edges it need not be."""
    for width in (3, 7, 9, 13, 353):
        size_hw = (11, width)
        columns = [*range(0, width, max(1, width // 16)), width]
        stairs = [(x, 10 * left // width) for left, right in pairwise(columns) for x in (left, right)]
        about = f"stairs along the pixel edges of {width} columns"
        yield case(
            f"percent-width-{width}", about, [polygon_px([*stairs, (width, 11), (0, 11)], size_hw=size_hw)], size_hw
        )
    rounded = [[(round(x, digits), round(y, digits)) for x, y in STAR] for digits in (0, 2, 5)]
    for digits, points in zip((0, 2, 5), rounded, strict=True):
        yield case(f"percent-{digits}-decimals", f"a star rounded to {digits} decimals", [polygon(points)], (31, 43))


def rectangles() -> Iterator[Case]:
    yield case("rectangle", "upright", [rectangle(12, 17, 61, 52)])
    yield case("rectangle-on-centres", "sides through centres", [rectangle(12.5, 15, 50, 60)])
    yield case("rectangle-thin", "between two rows of centres: nothing", [rectangle(10, 26, 70, 6)])
    yield case("rectangle-full-turn", "rotation 360 is none", [rectangle(12, 17, 61, 52, 360)])
    for degrees, x, y in ((90, 60, 10), (180, 80, 80), (270, 20, 90)):
        about = f"turned clockwise by {degrees}° about its top-left corner, in pixels"
        yield case(f"rectangle-turned-{degrees}", about, [rectangle(x, y, 25, 40, degrees)])
    for degrees, x, y in ((30, 30, 10), (45, 40, 12), (-45, 20, 55), (200.5, 70, 70), (359.99, 10, 20)):
        about = f"turned by {degrees}° on pixels that are not square in percent"
        yield case(f"rectangle-turned-{degrees}", about, [rectangle(x, y, 41, 33, degrees)], (31, 47))
    yield case("rectangle-turned-beyond", "turned partly out of the image", [rectangle(70, 20, 60, 50, 20)], (31, 47))


def ellipses() -> Iterator[Case]:
    yield case("ellipse", "radii in percent of width and of height", [ellipse(47, 52, 31, 37)], (31, 47))
    yield case("ellipse-circle", "a circle in pixels", [ellipse(50, 50, 20, 40)])
    yield case("ellipse-touching-centres", "four centres on its rim are out", [ellipse(52.5, 55, 20, 40)])
    for radius in (25, 37, 41):
        items = [ellipse(50.5, 50.5, radius, radius), ellipse(50.5, 50.5, 5, 5, 90, label="car", region_id="r2")]
        yield case(f"ellipse-radius-{radius}", "its rim passes through centres, which are out", items, (100, 100))
    for degrees in (30, 90, 200, -45):
        about = f"turned clockwise by {degrees}° about its centre"
        yield case(f"ellipse-turned-{degrees}", about, [ellipse(45, 55, 40, 15, degrees)], (31, 47))
    yield case("ellipse-beyond", "partly outside the image", [ellipse(95, 10, 30, 30)], (31, 47))
    yield case("ellipse-tiny", "between centres: nothing", [ellipse(50, 50, 1, 2)])
    yield case("ellipse-thin", "a line of pixels", [ellipse(50, 55, 45, 3)])


def strokes() -> Iterator[Case]:
    yield case("brush", "an anti-aliased disc: alpha over 127", [brush(disc())])
    edge = np.zeros(SIZE_HW, np.uint8)
    edge[2], edge[4], edge[6] = 126, 127, 128
    yield case("brush-threshold", "alpha 126 and 127 are out, 128 is in", [brush(edge)])
    yield case(
        "brush-noise", "no two pixels alike", [brush(np.random.default_rng(0).integers(0, 256, SIZE_HW, np.uint8))]
    )
    yield case("brush-whole", "all of the image", [brush(np.full(SIZE_HW, 255, np.uint8))])
    yield case("brush-empty", "erased again: nothing", [brush(np.zeros(SIZE_HW, np.uint8))])
    yield case(
        "brush-on-polygon", "a stroke over a polygon", [polygon(WHOLE), brush(disc(), label="car", region_id="r2")]
    )


def bitmasks() -> Iterator[Case]:
    yield case("bitmask", "a PNG whose alpha counts", [bitmask(disc())])
    edge = np.zeros(SIZE_HW, np.uint8)
    edge[:, 3], edge[:, 9], edge[:, 15] = 126, 127, 128
    yield case("bitmask-threshold", "alpha 126 and 127 are out, 128 is in", [bitmask(edge)])
    yield case("bitmask-white", "its colour counts for nothing", [bitmask(disc(), grey=255)])
    small = bitmask(np.full((5, 5), 255, np.uint8), label="car", region_id="r2")
    yield case("bitmask-other-size", "of another size: refused", [polygon(TRIANGLE), small], rejects=["bad_bitmask"])
    broken = region("bitmask", {"imageDataURL": "data:image/png;base64,iVBORw0KGgo="}, "car", "r2")
    yield case("bitmask-broken", "no PNG: refused", [polygon(TRIANGLE), broken], rejects=["bad_bitmask"])


# Curves that come no nearer than 0.02 px to any centre of 16 × 16 pixels.
CIRCLE = [
    (48.3, 11.6, 29.1, 9.3, 73.5, 8.5),
    (89.5, 48.6, 90.0, 29.2, 89.1, 70.2),
    (49.6, 88.7, 70.4, 90.2, 27.2, 90.6),
    (8.9, 51.8, 9.6, 70.4, 10.6, 29.7),
]
EIGHT = [(18.5, 21.6, 45.5, -5.9, -3.1, 43.1), (81.2, 79.8, 63.7, 97.3, 100.4, 60.3)]
ONE_HANDLE = [(14.7, 19.8), (82.6, 23.1, 59.0, -6.0, 100.6, 43.9), (53.6, 89.5)]
FAR_HANDLES = [(21.7, 79.3, -40.4, 61.6, 28.2, -58.7), (80.6, 81.4, 68.0, -60.5, 138.3, 60.6)]
CROSSING = [
    (11.4, 51.6, 12.3, 90.3, 8.9, 10.8),
    (51.2, 51.5, 30.1, 21.3, 72.0, 79.4),
    (89.0, 50.2, 91.3, 19.8, 90.7, 88.5),
    (50.6, 48.2, 68.8, 21.5, 30.3, 79.9),
]


def vectors() -> Iterator[Case]:
    size_hw = (16, 16)
    yield case("vector-straight", "a closed path without curves is a polygon", [vector(TRIANGLE)])
    yield case("vector-curves", "four Bézier curves", [vector(CIRCLE)], size_hw)
    yield case(
        "vector-mixed", "curves beside straight lines", [vector([*CIRCLE[:2], (51.9, 63.1), (13.3, 92.3)])], size_hw
    )
    yield case(
        "vector-one-handle", "a curve between a vertex with handles and one without", [vector(ONE_HANDLE)], size_hw
    )
    yield case("vector-two-points", "two vertices and two curves", [vector(EIGHT)], size_hw)
    yield case("vector-handles-outside", "handles beyond the image", [vector(FAR_HANDLES)], size_hw)
    yield case("vector-crossing", "a curve that crosses itself: even-odd", [vector(CROSSING)], size_hw)
    yield case(
        "vector-unlinked-end",
        "no link from last to first: closed by a straight line",
        [vector(CIRCLE, linked=False)],
        size_hw,
    )
    shuffled = vector(CIRCLE)
    shuffled["value"]["vertices"].insert(1, shuffled["value"]["vertices"].pop())
    yield case("vector-order-by-links", "prevPointId orders the vertices, not the list", [shuffled], size_hw)
    line = vector(TRIANGLE, closed=False, label="car", region_id="r2")
    yield case("vector-open", "an open path covers nothing", [polygon(TRIANGLE), line], rejects=["not_closed"])


def holes() -> Iterator[Case]:
    below, above = polygon(WHOLE, "tree", "r0"), box_px(2, 1, 18, 9, "car")
    window = hole(box_px(5, 3, 10, 7, "car"))
    yield case("hole", "through it shows void", [above, window])
    yield case("hole-shows-below", "through it shows what lies below", [below, above, window])
    yield case("hole-text", "meta text as a string", [below, above, window | {"meta": {"text": "hole"}}])
    yield case("hole-first", "the hole is listed before its region", [window, below, above])
    yield case(
        "hole-on-centres",
        "a hole's edges follow the rule of polygons",
        [below, above, hole(box_px(4.5, 2.5, 9.5, 6.5))],
    )
    second = hole(box_px(8, 2, 15, 5, "car"), "h2")
    yield case("hole-two", "two holes that overlap", [below, above, window, second])
    beyond = hole(box_px(14, 4, 20, 10, "car"))
    yield case("hole-beyond", "a hole that leaves its region cuts only that", [below, above, beyond])
    island = box_px(6, 4, 8, 6, "road", "r2")
    yield case("hole-island", "an island in a hole", [below, above, window, island])
    cover = box_px(3, 2, 8, 6, "road", "r2")
    yield case("hole-covered", "a later region lies over the hole", [below, above, cover, window])
    shapes = {
        "rectangle": rectangle(10, 10, 80, 80, label="car"),
        "ellipse": ellipse(50, 50, 45, 45, label="car"),
        "brush": brush(disc(), label="car"),
        "bitmask": bitmask(disc(), label="car"),
        "vector": vector([(10, 10), (90, 12), (85, 90), (12, 85)], label="car"),
    }
    for kind, item in shapes.items():
        yield case(f"hole-in-{kind}", f"a polygon cut out of a {kind}", [below, item, hole(box_px(8, 4, 13, 7, "car"))])
    inner = hole(box_px(6, 4, 8, 6, "car"), "h2", "h1")
    yield case("hole-in-hole", "refused", [below, above, window, inner], rejects=["hole_without_parent"])
    orphan = hole(box_px(6, 4, 8, 6, "car"), "h1", "gone")
    yield case("hole-without-parent", "refused", [below, above, orphan], rejects=["hole_without_parent"])
    child = box_px(5, 3, 10, 7, "road", "r2", parentID="r1", meta={"text": ["checked"]})
    yield case("hole-no-hole", "a child that is no hole is a region", [below, above, child])


def orientations() -> Iterator[Case]:
    """Coordinates are of the image as browsers show it, with its EXIF orientation applied."""
    corner = [(0, 0), (70, 0), (0, 60)]
    for orientation in range(1, 9):
        items = [polygon(corner), rectangle(60, 55, 30, 40, 15, label="car", region_id="r2")]
        yield case(f"exif-{orientation}", f"EXIF orientation {orientation}", items, (19, 33), exif=orientation)


def overlaps() -> Iterator[Case]:
    left, right = box_px(2, 2, 12, 8, "road"), box_px(8, 1, 18, 6, "car", "r2")
    third = box_px(6, 4, 14, 10, "tree", "r3")
    ranked = [{"name": "road", "priority": 2}, {"name": "car"}, {"name": "tree", "priority": 1}]
    yield case("overlap-order", "the later on top", [left, right, third])
    yield case("overlap-order-reversed", "the later on top", [third, right, left])
    yield case("overlap-one-class", "the same class twice", [left, right | {"value": left["value"]}])
    yield case("overlap-priority", "priority goes before order", [left, right, third], classes=ranked)
    yield case(
        "overlap-priority-equal", "of equals the later", [right, box_px(1, 0, 19, 3, "car", "r4")], classes=ranked
    )
    cut = box_px(5, 3, 16, 5, "void", "r9")
    yield case("overlap-void-cuts", "a void region cuts what was drawn before it", [left, right, cut, third])
    yield case("overlap-void-below", "a void region first: later ones lie over it", [cut, left, right])
    yield case("overlap-void-priority", "void cuts regions of any priority", [left, right, cut, third], classes=ranked)
    yield case("overlap-unlabelled-class", "what nobody labelled is a class", [left, right], unlabelled="tree")
    yield case("overlap-policy-order", "priorities do not count", [left, right, third], classes=ranked, overlap="order")
    small = [box_px(9, 3, 11, 5, "tree", "r3"), left, right]
    yield case("overlap-policy-smallest", "what covers fewer pixels on top", small, overlap="smallest_on_top")
    yield case("overlap-policy-void", "contested pixels become void", [left, right, third], overlap="void")


def labels() -> Iterator[Case]:
    names = ["道路", "école é", "дерево 🌳", 'say "x, y" & <z>', "سيارة"]
    classes = [{"name": name} for name in names]
    strips = [box_px(4 * k, 0, 4 * k + 4, 10, name, f"r{k}") for k, name in enumerate(names)]
    yield case("label-unicode", "names in any script", strips, classes=classes)
    composed = [{"name": "caf\u00e9"}, {"name": "cafe\u0301"}]
    forms = [box_px(0, 0, 8, 10, "caf\u00e9"), box_px(8, 0, 20, 10, "cafe\u0301", "r2")]
    yield case("label-normal-forms", "composed and decomposed are two names", forms, classes=composed)
    bare = polygon(TRIANGLE, None) | {"type": "polygon"}
    name = {"id": "r1", "type": "labels", "from_name": "label", "to_name": "image", "value": {"labels": ["car"]}}
    yield case("label-beside", "the label in a result of its own", [bare, name])
    unknown = box_px(0, 0, 9, 9, "sky", "r2")
    yield case(
        "label-unknown", "not in the class map: refused", [polygon(TRIANGLE), unknown], rejects=["unknown_label"]
    )
    none = polygon(TRIANGLE, None, "r2")
    yield case("label-none", "without label: refused", [box_px(0, 0, 9, 9), none], rejects=["no_label"])


def annotators() -> Iterator[Case]:
    mine, other, third = [box_px(0, 0, 12, 8)], [box_px(6, 2, 20, 10, "car")], [box_px(3, 0, 9, 10, "tree")]
    later = annotation(2, other, "2026-01-02")
    yield case("annotators-latest", "the latest counts", mine, others=[later])
    older = annotation(2, other, "2025-12-31")
    yield case("annotators-older", "a higher id is not later", mine, others=[older])
    yield case("annotators-tie", "at one time the higher id counts", mine, others=[annotation(2, other)])
    cancelled = annotation(3, third, "2026-01-03", was_cancelled=True)
    yield case("annotators-cancelled", "skipped work counts for nothing", mine, others=[later, cancelled])
    truth = annotation(2, other, "2025-12-31", ground_truth=True)
    yield case(
        "annotators-ground-truth", "ground truth goes first", mine, others=[truth], annotators="ground_truth_first"
    )
    three = [later, annotation(3, third)]
    yield case("annotators-majority", "a vote for each pixel, void at ties", mine, others=three, annotators="majority")


def no_regions() -> Iterator[Case]:
    shape = polygon(TRIANGLE)
    keypoint = region("keypoint", {"x": 50, "y": 50, "width": 1}, "car", "k1")
    relation = {"type": "relation", "from_id": "r1", "to_id": "k1", "direction": "right"}
    choices = {"id": "c1", "type": "choices", "from_name": "c", "to_name": "image", "value": {"choices": ["night"]}}
    text = {"id": "t1", "type": "textarea", "from_name": "t", "to_name": "image", "value": {"text": ["car"]}}
    yield case(
        "no-region", "key points, relations, choices, text cover nothing", [keypoint, shape, relation, choices, text]
    )
    pages = [shape | {"item_index": 0}, box_px(0, 0, 9, 9, "car", "r2", item_index=1)]
    yield case("page-other", "a region of another page is refused", pages, rejects=["other_page"])
    yield case("view-rotation", "image_rotation is how it was looked at", [shape | {"image_rotation": 90}])
    yield case("empty", "finished, with nothing drawn", [])
