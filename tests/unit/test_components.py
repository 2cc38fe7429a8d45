"""Components of a mask: disjoint, complete, and each outlined by one ring that covers exactly its pixels."""

import numpy as np
import pytest

from pipeline.components import components
from pipeline.raster import fill_polygon
from tests.unit.test_outlines import MASKS


@pytest.mark.parametrize("name", MASKS)
def test_one_ring_covers_exactly_the_pixels_of_a_component(name: str):
    mask = MASKS[name]
    again = np.full_like(mask, 255)
    for component in components(mask):
        left, top, width, height = component.box_xywh
        pixels = np.zeros(mask.shape, np.bool_)
        pixels[top : top + height, left : left + width] = component.pixels
        assert component.pixels.any(axis=0).all() and component.pixels.any(axis=1).all()  # the box is tight
        assert (again[pixels] == 255).all()
        np.testing.assert_array_equal(fill_polygon(mask.shape, [component.outline]), pixels)
        again[pixels] = component.class_index
    np.testing.assert_array_equal(again, mask)


def test_pixels_that_touch_at_a_corner_are_two_components_and_the_larger_comes_first():
    found = components(np.array([[1, 255, 255], [255, 1, 1]], np.uint8))
    assert [component.box_xywh for component in found] == [(1, 1, 2, 1), (0, 0, 1, 1)]


def test_a_tolerance_saves_points():
    row, column = np.mgrid[:60, :80]
    disc = np.where((row - 30) ** 2 + (column - 40) ** 2 < 25**2, 1, 255).astype(np.uint8)
    disc[28:32, 38:42] = 255
    (exact,), (simple,) = components(disc), components(disc, 0.75)
    assert len(simple.outline) < len(exact.outline) / 3
    inside = fill_polygon((60, 80), [simple.outline])
    assert (inside & (disc == 1)).sum() / (inside | (disc == 1)).sum() > 0.97
    np.testing.assert_array_equal(simple.pixels, exact.pixels)
