"""An object's mask as regions: painting them gives the mask back, holes and all."""

import numpy as np
import pytest
from numpy.typing import NDArray

from connectors.label_studio_json import dumps, parse_regions
from connectors.label_studio_push import OutgoingPrediction, validate
from pipeline.mask_results import Control, choose_control, mask_results
from pipeline.raster import paint
from schemas.errors import ClassMapError
from schemas.labels import VOID_INDEX, ClassEntry, ClassMap, LabelConfig, label_config
from schemas.regions import Region

CLASS_MAP = ClassMap([ClassEntry("road", "#804080"), ClassEntry("car", "#00008e")])
CONFIG = label_config(CLASS_MAP)
POLYGON, BRUSH = Control("polygon", "polygon", "image"), Control("brush", "brush", "image")


def blobs(seed: int, size_hw: tuple[int, int] = (60, 80)) -> NDArray[np.bool_]:
    """Random rectangles on and out of each other: several parts, holes, islands in holes."""
    random = np.random.default_rng(seed)
    mask = np.zeros(size_hw, np.bool_)
    for number in range(14):
        y, x = random.integers(0, size_hw[0] - 4), random.integers(0, size_hw[1] - 4)
        height, width = random.integers(3, 30, 2)
        mask[y : y + height, x : x + width] = number % 3 != 2
    return mask


def painted(result: list, size_hw: tuple[int, int]) -> NDArray[np.bool_]:
    mask = np.full(size_hw, VOID_INDEX, np.uint8)
    for region in parse_regions(dumps(result), "image"):
        assert isinstance(region, Region), region
        paint(mask, [(region, CLASS_MAP.index(region.label))])
    return mask == CLASS_MAP.index("car")


@pytest.mark.parametrize("control", [POLYGON, BRUSH])
@pytest.mark.parametrize("seed", range(8))
def test_painting_the_regions_gives_the_mask_back(control: Control, seed: int):
    mask = blobs(seed)
    result = mask_results(mask, "car", control, "r1", 0.5)
    assert np.array_equal(painted(result, mask.shape), mask)
    assert result[0]["id"] == "r1"
    validate(CONFIG, [OutgoingPrediction(1, 0.5, result)])


@pytest.mark.parametrize("seed", range(4))
def test_polygons_have_as_many_vertices_as_they_may(seed: int):
    result = mask_results(blobs(seed), "car", POLYGON, "r1", max_vertices=8)
    counts = [len(item["value"]["points"]) for item in result]
    assert max(counts) <= 8
    assert max(len(item["value"]["points"]) for item in mask_results(blobs(seed), "car", POLYGON, "r1")) > 8


def test_a_ring_with_an_island_is_an_outline_a_hole_and_a_polygon():
    mask = np.zeros((30, 30), np.bool_)
    mask[2:28, 2:28] = True
    mask[8:22, 8:22] = False
    mask[12:18, 12:18] = True
    outline, hole, island = mask_results(mask, "car", POLYGON, "r1")
    assert hole["parentID"] == outline["id"] and hole["meta"]["text"] == ["hole"]
    assert "meta" not in island
    assert len({item["id"] for item in (outline, hole, island)}) == 3


@pytest.mark.parametrize("control", [POLYGON, BRUSH])
def test_specks_and_pinholes_are_left_out_and_closed(control: Control):
    mask = np.zeros((30, 30), np.bool_)
    mask[2:20, 2:20] = True
    mask[5, 5] = False
    mask[25, 25] = True
    (only,) = mask_results(mask, "car", control, "r1", min_area_px=4)
    whole = np.zeros_like(mask)
    whole[2:20, 2:20] = True
    assert np.array_equal(painted([only], mask.shape), whole)


def test_an_empty_mask_is_no_region():
    assert mask_results(np.zeros((5, 5), np.bool_), "car", BRUSH, "r1") == []


def test_the_control_is_the_one_that_has_the_label():
    config = LabelConfig.parse(CONFIG.replace('name="brush"', 'name="stroke"'))
    assert choose_control(config, "car") == POLYGON
    assert choose_control(config, "car", "brush") == Control("brush", "stroke", "image")
    only_brush = LabelConfig.parse(CONFIG.replace("PolygonLabels", "Choices"))
    assert choose_control(only_brush, "car").kind == "brush"
    with pytest.raises(ClassMapError, match="no <PolygonLabels> or <BrushLabels> with the label 'lake'"):
        choose_control(config, "lake")
    with pytest.raises(ClassMapError, match="no <PolygonLabels> with"):
        choose_control(only_brush, "car", "polygon")
