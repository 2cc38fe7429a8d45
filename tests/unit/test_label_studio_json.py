import json
from collections import Counter
from typing import Any

import numpy as np
import pytest

from connectors.label_studio_json import hole_result, parse_regions, parse_task, polygon_result
from schemas.errors import RegionError, SourceFormatError
from schemas.regions import Bitmask, Brush, Ellipse, Polygon, Rectangle, Region, Vector
from tests.conftest import annotation, polygon, task

TRIANGLE = [[0, 0], [50, 0], [50, 100]]


def item(kind: str, value: dict[str, Any], **changed: Any) -> dict[str, Any]:
    labelled = {f"{kind}labels": ["car"], **value}
    return polygon([]) | {"type": f"{kind}labels", "value": labelled} | changed


def only(raw: Any) -> Region | RegionError:
    (found,) = parse_regions(json.dumps([raw]))
    return found if isinstance(found, Region) else found[1]


def test_a_polygon():
    region = only(polygon([[0, 0], [50, 0], [50, 100]], "car", "abc"))
    assert isinstance(region, Region) and isinstance(region.shape, Polygon)
    assert (region.region_id, region.label, region.size_hw) == ("abc", "car", (10, 20))
    np.testing.assert_array_equal(region.shape.points_pct, [[0, 0], [50, 0], [50, 100]])


def test_a_rectangle_an_ellipse_and_a_stroke():
    rectangle = only(item("rectangle", {"x": 10, "y": 20, "width": 30, "height": 40, "rotation": 45}))
    ellipse = only(item("ellipse", {"x": 10, "y": 20, "radiusX": 3, "radiusY": 4}))
    stroke = only(item("brush", {"format": "rle", "rle": [0, 1, 255]}))
    assert isinstance(rectangle, Region) and rectangle.shape == Rectangle(10, 20, 30, 40, 45)
    assert isinstance(ellipse, Region) and ellipse.shape == Ellipse(10, 20, 3, 4, 0)
    assert isinstance(stroke, Region) and stroke.shape == Brush(b"\x00\x01\xff")


def test_a_bitmask():
    region = only(item("bitmask", {"imageDataURL": "data:image/png;base64,iVBORw0KGgo="}))
    assert isinstance(region, Region) and region.shape == Bitmask(b"\x89PNG\r\n\x1a\n")


def vertex(name: str, x: float, y: float, before: str | None = None, *handles: tuple[float, float]) -> dict[str, Any]:
    """A vertex as the editor writes it; `handles`: controlPoint1 and controlPoint2."""
    points = {f"controlPoint{number}": {"x": x, "y": y} for number, (x, y) in enumerate(handles, 1)}
    return {"id": name, "x": x, "y": y, "prevPointId": before, "isBezier": bool(handles), **points}


def path(*vertices: dict[str, Any], closed: bool = True) -> dict[str, Any]:
    return item("vector", {"vertices": list(vertices), "closed": closed})


def curves(raw: Any) -> list[list[list[float]]]:
    region = only(raw)
    assert isinstance(region, Region) and isinstance(region.shape, Vector)
    return region.shape.curves_pct.tolist()


def test_a_closed_path_follows_its_links():
    a, b, c = vertex("a", 0, 0, "c"), vertex("b", 50, 0, "a"), vertex("c", 50, 100, "b")
    triangle = [[[0, 0], [0, 0], [50, 0], [50, 0]], [[50, 0], [50, 0], [50, 100], [50, 100]]]
    triangle.append([[50, 100], [50, 100], [0, 0], [0, 0]])
    assert curves(path(a, b, c)) == triangle
    assert curves(path(a, c, b)) == triangle
    assert curves(path(a | {"prevPointId": None}, b, c)) == triangle
    bare = [{"x": x, "y": y} for x, y in ((0, 0), (50, 0), (50, 100))]
    assert curves(path(*bare)) == triangle


def test_a_curve_between_two_vertices_with_handles_and_one_without():
    a = vertex("a", 10, 10, "c", (0, 20), (20, 0))
    b = vertex("b", 50, 10, "a", (40, 0), (60, 20))
    c = vertex("c", 50, 90, "b")
    found = np.array(curves(path(a, b, c)))
    np.testing.assert_allclose(
        found,
        [
            [(10, 10), (20, 0), (40, 0), (50, 10)],
            [(50, 10), (60, 20), (50, 66), (50, 90)],  # 0.3 of the way from c to b
            [(50, 90), (38, 66), (0, 20), (10, 10)],  # 0.3 of the way from c to a
        ],
    )


def test_a_path_without_a_link_from_last_to_first_is_closed_by_a_straight_line():
    a, b = vertex("a", 10, 10, None, (0, 20), (20, 0)), vertex("b", 50, 10, "a", (40, 0), (60, 20))
    assert curves(path(a, b))[1] == [[50, 10], [50, 10], [10, 10], [10, 10]]


def test_labels_in_a_result_of_their_own():
    shape = polygon([[0, 0], [50, 0], [50, 100]]) | {"type": "polygon"}
    shape["value"] = {"points": shape["value"]["points"]}
    labels = {"id": "r1", "type": "labels", "value": {"labels": ["tree"]}}
    (region,) = parse_regions(json.dumps([shape, labels]))
    assert isinstance(region, Region) and region.label == "tree"


def test_two_regions_with_one_id_are_both_kept():
    same = [polygon([[0, 0], [50, 0], [50, 100]]), polygon([[0, 0], [50, 0], [0, 100]])]
    assert len(list(parse_regions(json.dumps(same)))) == 2


def test_what_covers_no_pixel_is_passed_over():
    relation = {"type": "relation", "from_id": "a", "to_id": "b"}
    choices = {"id": "c", "type": "choices", "value": {"choices": ["night"]}}
    keypoint = {"id": "k", "type": "keypointlabels", "value": {"x": 1, "y": 1, "keypointlabels": ["car"]}}
    assert list(parse_regions(json.dumps([relation, choices, keypoint]))) == []
    passed_over: Counter[str] = Counter()
    results = [relation, choices, keypoint, relation, polygon(TRIANGLE)]
    assert len(list(parse_regions(json.dumps(results), passed_over=passed_over))) == 1
    assert passed_over == {"relation": 2, "choices": 1, "keypointlabels": 1}


def test_regions_of_another_image_or_page():
    left, right = polygon(TRIANGLE), polygon(TRIANGLE, region_id="r2") | {"to_name": "right"}
    assert len([region for region in parse_regions(json.dumps([left, right])) if isinstance(region, Region)]) == 2
    first, second = parse_regions(json.dumps([left, right]), to_name="image")
    assert isinstance(first, Region) and isinstance(second, tuple)
    assert (second[0], second[1].reason) == ("r2", "other_image")
    assert isinstance(only(polygon(TRIANGLE) | {"item_index": 0}), Region)


def hole(region_id: str, parent: str | None, text: Any = "hole", **changed: Any) -> dict[str, Any]:
    return polygon(TRIANGLE, region_id=region_id) | {"parentID": parent, "meta": {"text": text}} | changed


@pytest.mark.parametrize("text", ["hole", " Hole\n", ["hole"], ["checked", "hole"]])
def test_a_hole_belongs_to_the_region_that_its_parent_id_names(text: Any):
    results = [hole("h", "r2", text), polygon(TRIANGLE, "car", "r1"), polygon(TRIANGLE, "car", "r2")]
    first, second = parse_regions(json.dumps(results))
    assert isinstance(first, Region) and first.holes == ()
    assert isinstance(second, Region) and len(second.holes) == 1


@pytest.mark.parametrize("text", ["pothole", "a hole", ["holes"], 3, None, []])
def test_a_child_that_does_not_say_so_is_no_hole(text: Any):
    found = list(parse_regions(json.dumps([polygon(TRIANGLE), hole("h", "r1", text)])))
    assert [isinstance(region, Region) and region.holes for region in found] == [(), ()]


def test_a_hole_needs_no_label_and_may_be_of_any_shape():
    unlabelled = hole("h", "r1", value={"points": TRIANGLE})
    round_one = hole("i", "r1", type="ellipselabels", value={"x": 50, "y": 50, "radiusX": 5, "radiusY": 5})
    (region,) = parse_regions(json.dumps([polygon(TRIANGLE), unlabelled, round_one]))
    assert isinstance(region, Region)
    assert [type(shape) for shape in region.holes] == [Polygon, Ellipse]


@pytest.mark.parametrize(
    "orphan",
    [
        hole("h", "gone"),
        hole("h", None),
        hole("h", "h"),
        hole("h", "other"),  # itself a hole
        hole("h", "open"),  # itself refused
        hole("h", "r1", original_width=40),  # of another size
    ],
)
def test_a_hole_without_a_usable_parent_is_refused(orphan: dict[str, Any]):
    results = [polygon(TRIANGLE), hole("other", "r1"), path(closed=False) | {"id": "open"}, orphan]
    found = dict(pair for pair in parse_regions(json.dumps(results)) if not isinstance(pair, Region))
    assert found["h"].reason == "hole_without_parent"
    (region,) = (region for region in parse_regions(json.dumps(results)) if isinstance(region, Region))
    assert len(region.holes) == 1


def test_a_hole_that_is_broken_is_refused_by_itself():
    results = [polygon(TRIANGLE), hole("h", "r1", original_width=None), hole("i", "r1", value={"points": [[0, 0]]})]
    region, *refused = parse_regions(json.dumps(results))
    assert isinstance(region, Region) and region.holes == ()
    assert [pair[1].reason for pair in refused if isinstance(pair, tuple)] == ["missing_size", "too_few_points"]


def test_a_written_hole_is_read_back():
    points = np.array([[20.0, 10], [30, 10], [30, 20]])
    parent = polygon_result("id1", "car", np.array(TRIANGLE, np.float64), (10, 20))
    (region,) = parse_regions(json.dumps([parent, hole_result("id2", "id1", "car", points, (10, 20))]))
    assert isinstance(region, Region)
    (shape,) = region.holes
    assert isinstance(shape, Polygon)
    np.testing.assert_array_equal(shape.points_pct, points)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (polygon([[0, 0], [50, 50]]), "too_few_points"),
        (polygon([[0, 0], [50, 50], [101, 0]]), "outside_image"),
        (polygon([[0, 0], [50, 50], [-3, 0]]), "outside_image"),
        (polygon([[0, 0], [50, 50], [float("nan"), 0]]), "not_a_number"),
        (polygon([[0, 0], [50, 50], [float("inf"), 0]]), "not_a_number"),
        (polygon([[0, 0], [50, 50], ["a", 0]]), "malformed"),
        (polygon([[0, 0], [50, 50], [1]]), "malformed"),
        (polygon("points"), "malformed"),
        (polygon([[0, 0], [50, 0], [50, 50]]) | {"original_width": None}, "missing_size"),
        (polygon([[0, 0], [50, 0], [50, 50]]) | {"value": {"points": [[0, 0], [1, 0], [1, 1]]}}, "no_label"),
        (polygon([[0, 0], [50, 0], [50, 50]]) | {"value": 3}, "malformed"),
        (item("rectangle", {"x": 90, "y": 0, "width": 20, "height": 5}), "outside_image"),
        (item("rectangle", {"x": 0, "y": 0, "width": 0, "height": 5}), "no_area"),
        (item("rectangle", {"x": None, "y": 0, "width": 1, "height": 5}), "malformed"),
        (item("ellipse", {"x": 5, "y": float("nan"), "radiusX": 1, "radiusY": 1}), "not_a_number"),
        (item("ellipse", {"x": 5, "y": 5, "radiusX": -1, "radiusY": 1}), "no_area"),
        (item("brush", {"rle": []}), "bad_rle"),
        (item("brush", {"rle": [1, 300]}), "bad_rle"),
        (item("bitmask", {}), "bad_bitmask"),
        (item("bitmask", {"imageDataURL": "data:image/jpeg;base64,AAAA"}), "bad_bitmask"),
        (item("bitmask", {"imageDataURL": "https://example.com/a.png"}), "bad_bitmask"),
        (item("bitmask", {"imageDataURL": "data:image/png;base64,%%%%"}), "bad_bitmask"),
        (item("vector", {"vertices": 3, "closed": True}), "malformed"),
        (item("vector", {"vertices": [[1, 2]], "closed": True}), "malformed"),
        (path(closed=False), "not_closed"),
        (path(), "too_few_points"),
        (path(vertex("a", 0, 0, "b"), vertex("b", 5, 5, "a")), "too_few_points"),
        (path(vertex("a", 0, 0), vertex("b", 5, 5, "a"), vertex("c", 9, 0, "a")), "branched"),
        (path(vertex("a", 0, 0), vertex("b", 5, 5, "a"), vertex("c", 9, 0, "gone")), "branched"),
        (path(vertex("a", 0, 0, "a"), vertex("b", 5, 5, "c"), vertex("c", 9, 0, "b")), "branched"),
        (path(vertex("a", 0, 0), vertex("a", 5, 5), vertex("a", 9, 0)), "branched"),
        (path(vertex("a", 0, 0), vertex("b", 5, 5, "a"), vertex("c", 900, 0, "b")), "outside_image"),
        (path(vertex("a", 0, 0, "b", (0, 2000), (5, 5)), vertex("b", 5, 5, "a")), "outside_image"),
        (path(vertex("a", 0, 0), vertex("b", 5, 5, "a"), {"id": "c", "x": 1}), "malformed"),
        (polygon(TRIANGLE) | {"item_index": 1}, "other_page"),
        (item("cuboid", {}), "unsupported_type"),
        (
            polygon([[0, 0], [50, 0], [50, 50]]) | {"value": {"points": [], "polygonlabels": ["a", "b"]}},
            "several_labels",
        ),
        ("text", "malformed"),
    ],
)
def test_what_can_not_be_used_has_a_reason(raw: Any, reason: str):
    found = only(raw)
    assert isinstance(found, RegionError)
    assert found.reason == reason


def test_rounding_at_the_border_is_no_mistake():
    assert isinstance(only(polygon([[0, -1e-9], [100.0000001, 0], [50, 50]])), Region)


def test_a_task_with_its_annotations_in_order():
    raw = task(7, image="x.png", video="a")
    raw["annotations"] = [annotation([], 5, completed_by={"id": 3}), annotation([], 4, was_cancelled=True)]
    parsed = parse_task(raw | {"updated_at": "2026"}, "image")
    assert (parsed.task_id, parsed.revision, parsed.image_url) == (7, "2026", "x.png")
    assert [(entry.annotation_id, entry.annotator, entry.was_cancelled) for entry in parsed.annotations] == [
        (4, "1", True),
        (5, "3", False),
    ]


def test_of_several_pages_the_first_is_the_image():
    assert parse_task(task(7) | {"data": {"image": ["1.png", "2.png"]}}, "image").image_url == "1.png"


@pytest.mark.parametrize("raw", [3, {"id": "7"}, {"id": 1, "data": {}}, task(1) | {"annotations": [{"id": 1}]}])
def test_what_is_no_task(raw: Any):
    with pytest.raises(SourceFormatError):
        parse_task(raw, "image")


def test_a_written_polygon_is_read_back():
    points = np.array([[0.1, 0.2], [33.3, 0], [5, 99.9]])
    region = only(polygon_result("id1", "car", points, (10, 20), 0.5))
    assert isinstance(region, Region) and isinstance(region.shape, Polygon)
    np.testing.assert_array_equal(region.shape.points_pct, points)
    assert region.size_hw == (10, 20)
