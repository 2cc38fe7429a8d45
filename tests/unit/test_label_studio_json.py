import json
from typing import Any

import numpy as np
import pytest

from connectors.label_studio_json import parse_regions, parse_task, polygon_result
from schemas.errors import RegionError, SourceFormatError
from schemas.regions import Brush, Ellipse, Polygon, Rectangle, Region
from tests.conftest import annotation, polygon, task


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
