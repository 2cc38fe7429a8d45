"""A mask as polygons in Label Studio's words, read back and painted: the same mask."""

import json

import numpy as np
import pytest

from connectors.label_studio_json import dumps, parse_regions
from pipeline.outlines import outline_iou, outlines
from pipeline.raster import paint
from schemas.labels import ClassEntry, ClassMap
from schemas.regions import Region

VOID = 255
CLASS_MAP = ClassMap([ClassEntry(name, "#000000") for name in ("road", "car", "traffic sign")])


def blobs(size_hw: tuple[int, int], seed: int) -> np.ndarray:
    """A mask of rectangles over one another, some of them void."""
    random = np.random.default_rng(seed)
    mask = np.zeros(size_hw, np.uint8)
    for _ in range(25):
        (top, left), (height, width) = random.integers(0, size_hw), random.integers(1, np.array(size_hw) // 2 + 2)
        mask[top : top + height, left : left + width] = random.choice([0, 1, 2, VOID])
    return mask


def painted(result: object, size_hw: tuple[int, int]) -> np.ndarray:
    """What the rasterise stage makes of a `result`: later over earlier, on void."""
    mask = np.full(size_hw, VOID, np.uint8)
    for region in parse_regions(dumps(result)):
        assert isinstance(region, Region), region
        assert region.size_hw == size_hw
        index = CLASS_MAP.index(region.label)
        assert index is not None
        paint(mask, [(region, index)])
    return mask


RING = np.pad(np.pad(np.full((3, 4), VOID, np.uint8), 2, constant_values=1), 1, constant_values=2)
NOISE = np.random.default_rng(0).choice([0, 1, 2, VOID], (31, 47)).astype(np.uint8)
MASKS = {
    "one class": np.zeros((5, 7), np.uint8),
    "nothing": np.full((5, 7), VOID, np.uint8),
    "one pixel": np.array([[2]], np.uint8),
    "a void hole": RING,
    "noise": NOISE,
    **{f"blobs {seed}": blobs(size_hw, seed) for seed, size_hw in enumerate([(60, 80), (97, 61), (1, 300), (333, 7)])},
}


@pytest.mark.parametrize("name", MASKS)
def test_painting_the_outlines_gives_the_mask_back(name: str):
    mask = MASKS[name]
    np.testing.assert_array_equal(painted(outlines(mask, CLASS_MAP, "a"), mask.shape), mask)


def test_a_hole_becomes_a_region_labelled_void():
    labels = [item["value"]["polygonlabels"][0] for item in outlines(RING, CLASS_MAP, "a")]
    assert labels == ["traffic sign", "car", "void"]


def test_ids_are_distinct_and_stable():
    mask = MASKS["noise"]
    ids = [[item["id"] for item in outlines(mask, CLASS_MAP, identity)] for identity in ("a", "a", "b")]
    assert ids[0] == ids[1]
    assert len({*ids[0], *ids[2]}) == 2 * len(ids[0]) > 500


def test_scores_are_means_over_the_regions_own_pixels():
    confidence = np.zeros(RING.shape, np.float32)
    confidence[RING == 2], confidence[RING == 1], confidence[RING == VOID] = 0.25, 0.5, 0.75
    scored = outlines(RING, CLASS_MAP, "a", confidence=confidence)
    assert [item["score"] for item in scored] == [0.25, 0.5, 0.75]
    assert all("score" not in item for item in outlines(RING, CLASS_MAP, "a"))


def test_small_regions_stay_home_and_tolerance_saves_points():
    mask = MASKS["blobs 0"]
    assert len(outlines(mask, CLASS_MAP, "a", min_area_px=60)) < len(outlines(mask, CLASS_MAP, "a"))
    stairs = np.tri(60, 60, dtype=np.uint8)
    exact, simple = (json.dumps(outlines(stairs, CLASS_MAP, "a", tolerance)) for tolerance in (0.0, 1.0))
    assert len(simple) < len(exact) / 5


def test_the_iou_is_the_mean_over_the_classes_of_mask_and_outlines():
    mask = np.array([[0, 0, 0, 1], [0, 0, 0, VOID]], np.uint8)
    exact = dumps(outlines(mask, CLASS_MAP, "a"))
    assert outline_iou(mask, exact, CLASS_MAP) == 1.0
    other = np.array([[0, 0, 0, 2], [0, 0, VOID, VOID]], np.uint8)  # road 5 of 6, car 0 of 1, traffic sign 0 of 1
    assert outline_iou(other, exact, CLASS_MAP) == pytest.approx((5 / 6 + 0 + 0) / 3)
    assert outline_iou(np.full((2, 2), VOID, np.uint8), "[]", CLASS_MAP) is None
