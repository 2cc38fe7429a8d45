"""Every region type, drawn with the mouse in Label Studio's own editor or imported, is the mask of what it shows."""

from __future__ import annotations

import base64
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Page
from scipy.ndimage import distance_transform_edt  # type: ignore[import-untyped]

from connectors.base import Credentials
from connectors.label_studio import Server
from connectors.label_studio_json import hole_result, loads, polygon_result
from connectors.label_studio_server import LocalServer
from connectors.label_studio_setup import annotation, create_project, import_tasks, upload_images
from connectors.masks import read_mask
from pipeline.progress import Silent
from pipeline.pull import pull
from pipeline.rasterise import rasterise
from pipeline.rle import encode_brush
from schemas.params import parse_params
from tests.live.conftest import login_of
from tests.live.editor import Editor, Point

HEIGHT, WIDTH = SIZE_HW = (300, 400)
GREY = 160
TOOLS = ("polygon", "rectangle", "ellipse", "brush", "bitmask", "vector")
"""The classes, too: each is drawn with the tool of its name."""

OPTIONS = {"rectangle": 'canRotate="true"', "vector": 'closable="true" curves="true" minPoints="3"'}
LABEL_CONFIG = "<View><Image name='image' value='$image'/>{}</View>".format(
    "".join(
        f'<{tool.title()}Labels name="{tool}" toName="image" {OPTIONS.get(tool, "")}>'
        f'<Label value="{tool}" background="#{number * 0x2A:02x}00ff"/></{tool.title()}Labels>'
        for number, tool in enumerate(TOOLS)
    )
)

OUTER = [(260, 25), (360, 25), (360, 105), (300, 120), (260, 105)]
INNER = [(290, 45), (330, 45), (330, 80), (290, 80)]
STRAIGHT = [(250, 150), (340, 150), (350, 210), (255, 200)]
CURVED = [(60, 210), (130, 210), (130, 265), (60, 265)]
PLACES = {
    "rectangle": [(40, 25, 120, 95)],
    "ellipse": [(130, 25, 230, 105)],
    "polygon": [(255, 20, 365, 125)],
    "brush": [(30, 135, 125, 185)],
    "bitmask": [(130, 125, 242, 192)],
    "vector": [(245, 140, 355, 215), (50, 190, 155, 275)],
}
"""Boxes (left, top, right, bottom) outside of which a class has no pixel."""
VISIBLE = (slice(15, -15), slice(20, -20))
"""The editor cuts the image's edges off."""


@dataclass
class RegionProject:
    """A project with a control for every region type, and two tasks on a grey image."""

    server: Server
    number: int
    credentials: Credentials

    def tasks(self) -> list[dict[str, Any]]:
        query = {"project": self.number, "fields": "all", "page_size": 100}
        return sorted(loads(self.server.get("/api/tasks", query).content)["tasks"], key=lambda task: int(task["id"]))

    def masks(self, folder: Path) -> dict[int, NDArray[np.uint8]]:
        """What maskloop makes of it, by task; nothing may be rejected."""
        source = {"kind": "label_studio", "url": self.server.url, "project": self.number}
        params = parse_params({"source": source, "classes": [{"name": tool} for tool in TOOLS]})
        pull(params, folder, Silent(), self.credentials)
        rasterise(params, folder, Silent())
        assert pq.read_table(folder / "data/rejects.parquet").to_pylist() == []
        rows = pq.read_table(folder / "data/samples.parquet").to_pylist()
        return {row["task_id"]: read_mask(folder / row["mask"]) for row in rows}


@pytest.fixture(scope="module")
def regions(server: Server, local: LocalServer, tmp_path_factory: pytest.TempPathFactory) -> RegionProject:
    number = create_project(server, "regions", LABEL_CONFIG)
    image = tmp_path_factory.mktemp("regions") / "grey.png"
    Image.new("RGB", (WIDTH, HEIGHT), (GREY,) * 3).save(image)
    ((_, address),) = upload_images(server, number, [image])
    data = {"data": {"image": address}}
    list(import_tasks(server, number, [data, data | {"annotations": [annotation(imported_result())]}]))
    return RegionProject(server, number, Credentials(server.url, login_of(local).api_key))


def draw(editor: Editor) -> None:
    """One region with every tool, two with the vector tool, a hole in the polygon."""
    for points in (INNER, OUTER):
        editor.choose("polygon")
        editor.trace(*points)
    editor.choose("rectangle")
    editor.drag((60, 30), (120, 60))
    editor.choose("ellipse")
    editor.drag((180, 65), (220, 85))
    editor.choose("brush")
    editor.drag((40, 145), (110, 145), (110, 170))
    editor.choose("bitmask")
    editor.drag((150, 145), (220, 145), (220, 170))
    for points in (STRAIGHT, CURVED):
        editor.choose("vector")
        editor.path(*points)
    editor.bend(CURVED[1])
    editor.rotate(2, 30)
    editor.rotate(3, 20)
    editor.note(0, "hole")
    editor.nest(0, 1)


def test_what_was_imported_is_shown_and_comes_back_the_same(regions: RegionProject, page: Page, tmp_path: Path):
    task = regions.tasks()[1]
    before = regions.masks(tmp_path)[task["id"]]
    sent = imported_result()
    editor = Editor(page, regions.server.url, regions.number, task["id"], regions=len(sent))
    painted = ((before != 255) | inside(INNER))[VISIBLE]
    for _ in range(20):  # the editor draws bitmasks and strokes some time after it has the regions
        if farthest(editor.shown(SIZE_HW)[VISIBLE], painted) <= 3:
            break
        page.wait_for_timeout(500)
    assert farthest(editor.shown(SIZE_HW)[VISIBLE], painted) <= 3
    editor.note(2, "seen")  # an update needs a change
    editor.submit()

    (updated,) = regions.tasks()[1]["annotations"]
    assert [item["type"] for item in updated["result"]] == [item["type"] for item in sent]
    hole = next(item for item in updated["result"] if item["id"] == "hole")
    assert (hole["parentID"], hole["meta"]["text"]) == ("outer", ["hole"])
    assert updated["updated_at"] > task["annotations"][0]["updated_at"]
    np.testing.assert_array_equal(regions.masks(tmp_path)[task["id"]], before)
    assert set(np.unique(before)) == {*range(len(TOOLS)), 255}


def test_what_is_drawn_is_the_mask(regions: RegionProject, page: Page, tmp_path: Path):
    task = regions.tasks()[0]["id"]
    editor = Editor(page, regions.server.url, regions.number, task, regions=0)
    draw(editor)
    assert editor.kinds() == Counter({"polygonlabels": 2, "vectorlabels": 2} | {f"{t}labels": 1 for t in TOOLS[1:5]})
    hole, outer = editor.serialised()[:2]
    assert (hole["parentID"], hole["meta"]["text"]) == (outer["id"], ["hole"])
    shown = editor.shown(SIZE_HW)
    editor.submit()

    mask = regions.masks(tmp_path)[task]

    for index, tool in enumerate(TOOLS):
        places = boxes(PLACES[tool])
        assert not ((mask == index) & ~places).any(), tool
        filled = boxes([(*INNER[0], *INNER[2])]) & (tool == "polygon")  # the editor shows it as a region of its own
        assert farthest((mask == index) | filled, shown & places) <= 3, tool  # vertices are shown white
    polygon, rectangle, ellipse, _, _, vector = (mask == index for index in range(len(TOOLS)))
    assert farthest(polygon, inside(OUTER) & ~inside(INNER)) <= 1
    assert farthest(rectangle, turned_rectangle((60, 30), (60, 30), 30)) <= 1
    assert farthest(ellipse, turned_ellipse((180, 65), (40, 20), 20)) <= 1
    assert farthest(vector & boxes(PLACES["vector"][:1]), inside(STRAIGHT)) <= 1


def imported_result() -> list[dict[str, Any]]:
    """The regions that `draw` draws, as a program would write them."""
    stroke = np.zeros(SIZE_HW, bool)
    stroke[140:150, 40:110] = True
    return [
        polygon_result("outer", "polygon", percent(OUTER), SIZE_HW),
        hole_result("hole", "outer", "polygon", percent(INNER), SIZE_HW),
        region("rectangle", {"x": 15, "y": 10, "width": 15, "height": 10, "rotation": 30}),
        region("ellipse", {"x": 45, "y": 65 / 3, "radiusX": 10, "radiusY": 20 / 3, "rotation": 20}),
        region("brush", {"format": "rle", "rle": list(encode_brush(stroke))}),
        region("bitmask", {"imageDataURL": data_url(np.roll(stroke, 110, axis=1))}),
        region("vector", {"vertices": vertices(STRAIGHT), "closed": True}, "straight"),
        region("vector", {"vertices": vertices(CURVED, bent=1), "closed": True}, "curved"),
    ]


def region(tool: str, value: dict[str, Any], region_id: str = "") -> dict[str, Any]:
    return {
        "id": region_id or tool,
        "from_name": tool,
        "to_name": "image",
        "type": f"{tool}labels",
        "original_width": WIDTH,
        "original_height": HEIGHT,
        "image_rotation": 0,
        "value": value | {f"{tool}labels": [tool]},
    }


def vertices(points: Sequence[Point], bent: int | None = None) -> list[dict[str, Any]]:
    """A closed path; vertex number `bent` has handles."""
    found: list[dict[str, Any]] = []
    for number, (x, y) in enumerate(percent(points).tolist()):
        before = (number - 1) % len(points)
        vertex = {"id": f"v{number}", "prevPointId": f"v{before}", "x": x, "y": y, "isBezier": number == bent}
        handles = {"controlPoint1": {"x": x - 5, "y": y - 7}, "controlPoint2": {"x": x + 5, "y": y + 7}}
        found.append(vertex | (handles if number == bent else {}))
    return found


def data_url(pixels: NDArray[np.bool_]) -> str:
    rgba = np.zeros((*pixels.shape, 4), np.uint8)
    rgba[pixels] = 255
    sink = io.BytesIO()
    Image.fromarray(rgba).save(sink, "PNG")
    return "data:image/png;base64," + base64.b64encode(sink.getvalue()).decode()


def percent(points: Sequence[Point]) -> NDArray[np.float64]:
    return np.array(points) * 100 / (WIDTH, HEIGHT)


def centres() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    return columns + 0.5, rows + 0.5


def boxes(corners: list[tuple[int, int, int, int]]) -> NDArray[np.bool_]:
    """Pixels in any of the boxes (left, top, right, bottom)."""
    found = np.zeros(SIZE_HW, bool)
    for left, top, right, bottom in corners:
        found[top:bottom, left:right] = True
    return found


def inside(polygon: Sequence[Point]) -> NDArray[np.bool_]:
    """Pixels whose centre is in a polygon, by crossings."""
    x, y = centres()
    found = np.zeros(SIZE_HW, bool)
    for (x1, y1), (x2, y2) in zip(polygon, [*polygon[1:], polygon[0]], strict=True):
        if y1 != y2:
            found ^= ((y1 > y) != (y2 > y)) & (x < (x2 - x1) * (y - y1) / (y2 - y1) + x1)
    return found


def turned(about: Point, degrees: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Pixel centres as seen from a frame at `about`, turned clockwise."""
    x, y = centres()
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    x, y = x - about[0], y - about[1]
    return x * cosine + y * sine, y * cosine - x * sine


def turned_rectangle(corner: Point, size: Point, degrees: float) -> NDArray[np.bool_]:
    x, y = turned(corner, degrees)
    return (x >= 0) & (x < size[0]) & (y >= 0) & (y < size[1])


def turned_ellipse(centre: Point, radii: Point, degrees: float) -> NDArray[np.bool_]:
    x, y = turned(centre, degrees)
    return (x / radii[0]) ** 2 + (y / radii[1]) ** 2 < 1


def farthest(found: NDArray[np.bool_], expected: NDArray[np.bool_]) -> float:
    """How many pixels the two are apart where they are farthest apart."""
    missing, surplus = expected & ~found, found & ~expected
    return max(
        float(distance_transform_edt(~found)[missing].max(initial=0.0)),
        float(distance_transform_edt(~expected)[surplus].max(initial=0.0)),
    )
