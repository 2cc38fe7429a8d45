"""Both ways of painting an annotation give the same, on drawn annotations and on the conformance cases."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from pipeline.painting import Painted, Painter
from schemas.errors import RegionError
from schemas.params import parse_params
from tests.conformance import run

SIZE_HW = (37, 70)
POLICIES = ["order", "priority", "smallest_on_top", "void"]
Outcome = tuple[Any, ...]


def painter(policy: str, image_tag: str | None = None) -> Painter:
    params = parse_params(
        {
            "source": {"kind": "label_studio_export", "path": "export.json"},
            "classes": [{"name": "road"}, {"name": "car", "priority": 2}, {"name": "tree", "priority": 1}],
            "rasterise": {"overlap": policy, "image_tag": image_tag},
        }
    )
    return Painter(params.class_map, params.rasterise)


def outcome(painted: Painted) -> Outcome:
    rejects = [(region_id, error.reason, str(error)) for region_id, error in painted.rejects]
    contested = painted.contested.pairs, painted.contested.pixels.tobytes()
    return painted.mask.shape, painted.mask.tobytes(), painted.regions, contested, rejects, painted.passed_over


def assert_ways_agree(made: Painter, result: bytes, size_hw: tuple[int, int]) -> None:
    try:
        expected: Outcome | str = outcome(made.paint_any(result, size_hw))
    except RegionError as error:
        expected = str(error)
    try:
        found: Outcome | str = outcome(made.paint(result, size_hw))
    except RegionError as error:
        found = str(error)
    assert found == expected


def drawn_result(random: np.random.Generator) -> list[dict[str, Any]]:
    """Polygons of some labels; now and then a broken one or a result that is no polygon."""
    results: list[dict[str, Any]] = []
    for number in range(random.integers(0, 12)):
        points = random.uniform(0, 100, (random.integers(3, 9), 2)).round(random.integers(0, 15)).tolist()
        label = str(random.choice(["road", "car", "tree", "void"]))
        size = {"original_width": SIZE_HW[1], "original_height": SIZE_HW[0]}
        value = {"points": points, "polygonlabels": [label], "closed": True}
        results.append({"id": f"r{number}", "to_name": "image", "type": "polygonlabels", **size, "value": value})
    if results and random.random() < 0.5:
        some: dict[str, Any] = results[random.integers(len(results))]
        changes = [
            lambda: some["value"].update(polygonlabels=["lake"]),
            lambda: some["value"].update(points=[[0, 0]]),
            lambda: some.update(original_width=5),
            lambda: some.update(to_name="other"),
            lambda: some.update(type="choices"),
            lambda: some.update(meta={"text": ["hole"]}, parentID="r0"),
            lambda: some.update(type="rectanglelabels", value={"x": 1, "y": 2, "width": 50, "height": 60}),
        ]
        changes[random.integers(len(changes))]()
    return results


@pytest.mark.parametrize("image_tag", [None, "image"])
@pytest.mark.parametrize("policy", POLICIES)
def test_the_two_ways_agree_on_drawn_annotations(policy: str, image_tag: str | None):
    random = np.random.default_rng(POLICIES.index(policy))
    made = painter(policy, image_tag)
    for _ in range(150):
        assert_ways_agree(made, json.dumps(drawn_result(random)).encode(), SIZE_HW)


@pytest.mark.parametrize("name", run.names())
def test_the_two_ways_agree_on_the_conformance_cases(name: str):
    case, mask = run.load(name)
    params = parse_params({"source": {"kind": "label_studio_export", "path": "x"}, **case["params"]})
    made = Painter(params.class_map, params.rasterise)
    for work in case["task"]["annotations"]:
        assert_ways_agree(made, json.dumps(work["result"]).encode(), mask.shape)


def test_regions_on_other_image_tags_are_rejected():
    left, right = drawn_result(np.random.default_rng(3))[:2]
    right["to_name"] = "right"
    painted = painter("order", "image").paint(json.dumps([left, right]), SIZE_HW)
    assert painted.regions == 1
    assert [error.reason for _, error in painted.rejects] == ["other_image"]


def test_what_covers_no_pixel_is_counted():
    results = [{"type": "choices"}, {"type": "relation"}, {"type": "choices"}]
    assert painter("order").paint(json.dumps(results), SIZE_HW).passed_over == {"choices": 2, "relation": 1}
