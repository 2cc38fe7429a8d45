"""What a click means in pixels, and which part of a mask it points at."""

import math

import numpy as np
import pytest

from pipeline.sam.model import Prompt
from pipeline.serve.prompts import parse_click, pointed_at
from schemas.errors import RegionError
from tests.unit.serve_parts import point, rectangle

SIZE_HW = (40, 60)


def test_percent_of_the_image_become_pixels_from_pixel_centres():
    click = parse_click([point(50, 25)], SIZE_HW)
    assert click is not None and click.label == "car"
    assert click.prompt.points_xy.tolist() == [[29.5, 9.5]]  # the edge between pixels 29 and 30
    assert click.prompt.positive.tolist() == [True]
    assert click.prompt.box_xyxy is None


@pytest.mark.parametrize("no", [False, 0])
def test_negative_points_and_a_box_go_into_one_prompt(no):
    click = parse_click([point(50, 25), point(10, 10, positive=no), rectangle(10, 20, 50, 40)], SIZE_HW)
    assert click is not None
    assert click.prompt.positive.tolist() == [True, False]
    assert click.prompt.box_xyxy == (5.5, 7.5, 35.5, 23.5)


def test_more_prompts_refine_the_same_region():
    first, both = parse_click([point(50, 25)], SIZE_HW), parse_click([point(50, 25), point(60, 25)], SIZE_HW)
    other = parse_click([point(60, 25)], SIZE_HW)
    assert first is not None and both is not None and other is not None
    assert first.region_id == both.region_id != other.region_id


def test_prompts_of_another_label_belong_to_another_object():
    click = parse_click([point(50, 25, "road"), point(10, 10), point(20, 10)], SIZE_HW)
    assert click is not None
    assert click.label == "car" and len(click.prompt.points_xy) == 2


def test_nothing_clicked_is_no_click():
    assert parse_click([], SIZE_HW) is None
    assert parse_click([{"type": "brushlabels", "value": {}}], SIZE_HW) is None


def test_what_lies_outside_is_brought_to_the_rim():
    click = parse_click([point(-5, 120)], SIZE_HW)
    assert click is not None and click.prompt.points_xy.tolist() == [[-0.5, 39.5]]


@pytest.mark.parametrize(
    "item",
    [
        point("9", 1),  # type: ignore[arg-type]
        point(math.nan, 1),
        point(True, 1),
        point(1, 1) | {"value": {"x": 1, "y": 1}},
        point(1, 1) | {"value": None},
        point(1, 1) | {"value": {"x": 1, "y": 1, "keypointlabels": [3]}},
        rectangle(1, 1, None, 4),  # type: ignore[arg-type]
    ],
)
def test_a_malformed_click_is_refused(item):
    with pytest.raises(RegionError) as caught:
        parse_click([item], SIZE_HW)
    assert caught.value.reason == "malformed"


def prompt(*points: tuple[float, float, bool]) -> Prompt:
    return Prompt(np.array([p[:2] for p in points]).reshape(-1, 2), np.array([p[2] for p in points], np.bool_))


def test_the_part_under_the_click_is_meant():
    mask = np.zeros(SIZE_HW, np.bool_)
    mask[5:15, 5:15] = mask[5:15, 30:55] = True
    left = mask.copy()
    left[:, 20:] = False
    assert np.array_equal(pointed_at(mask, prompt((8, 8, True))), left)
    assert np.array_equal(pointed_at(mask, prompt((8, 8, True), (40, 8, False))), left)
    assert np.array_equal(pointed_at(mask, prompt((8, 8, True), (40, 8, True))), mask)
    assert np.array_equal(pointed_at(mask, prompt((22, 30, True))), mask & ~left)  # beside both: the larger
    box = Prompt(box_xyxy=(5.0, 5.0, 55.0, 15.0))
    assert np.array_equal(pointed_at(mask, box), mask)


def test_nothing_is_meant_in_an_empty_mask():
    assert not pointed_at(np.zeros(SIZE_HW, np.bool_), prompt((1, 1, True))).any()
