"""The rasteriser against rational arithmetic, on polygons made to break it."""

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import raster
from pipeline.rle import encode_brush
from pipeline.scanline import MOST_CROSSINGS
from schemas.errors import RegionError
from schemas.regions import Bitmask, Brush, Ellipse, Polygon, Rectangle, Region, Vector
from tests.conformance import geometry
from tests.unit.test_bitmask import png

SIZE_HW = (7, 9)


def assert_exact(size_hw, rings):
    rings = [np.array(ring, np.float64).reshape(-1, 2) for ring in rings]
    np.testing.assert_array_equal(raster.fill_polygon(size_hw, rings), geometry.polygon(size_hw, rings))


# Coordinates that meet centres often, miss them by one rounding, or lie far away.
grid = st.integers(-4, 24).map(lambda n: n / 2)
fine_grid = st.integers(-2 * 64, 12 * 64).map(lambda n: n / 64)
reach = st.tuples(st.sampled_from([-1, 1]), st.integers(-3, 3)).map(lambda pair: pair[0] * (2.0**19 + pair[1] / 64))
near_grid = st.tuples(grid, st.integers(-2, 2)).map(lambda pair: pair[0] + pair[1] * max(math.ulp(pair[0]), 2.0**-90))
anywhere = st.floats(-1e3, 1e3).map(lambda x: x if abs(x) > 1e-140 else 0.0)
extreme = st.tuples(st.sampled_from([-1.0, 1.0]), st.floats(1.0, 10.0), st.integers(-130, 130)).map(
    lambda parts: parts[0] * parts[1] * 10.0 ** parts[2]
)
percent = st.tuples(st.integers(0, 100_000), st.sampled_from([7, 9])).map(lambda pair: pair[0] / 1000 * pair[1] / 100)
coordinate = st.one_of(grid, near_grid, anywhere, extreme, percent)


def rings_of(numbers):
    return st.lists(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=8), min_size=1, max_size=3)


@settings(max_examples=600, deadline=None)
@given(rings_of(coordinate))
def test_equals_rational_arithmetic(rings):
    assert_exact(SIZE_HW, rings)


@settings(max_examples=300, deadline=None)
@given(rings_of(grid))
def test_equals_rational_arithmetic_on_centres(rings):
    assert_exact(SIZE_HW, rings)


@settings(max_examples=300, deadline=None)
@given(rings_of(st.one_of(fine_grid, fine_grid, grid, reach)))
def test_equals_rational_arithmetic_where_determinants_have_no_error(rings):
    assert_exact(SIZE_HW, rings)


@settings(max_examples=300, deadline=None)
@given(rings_of(near_grid))
def test_equals_rational_arithmetic_one_rounding_beside_centres(rings):
    assert_exact(SIZE_HW, rings)


@settings(max_examples=200, deadline=None)
@given(rings_of(extreme))
def test_equals_rational_arithmetic_far_beyond_the_image(rings):
    assert_exact(SIZE_HW, rings)


@pytest.mark.parametrize(
    "rings",
    [
        [[(0, 0), (9, 7), (9, 0), (0, 7)]],  # bow tie
        [[(0.5, 0.5), (4.5, 0.5), (4.5, 4.5), (0.5, 4.5)]],  # corners on centres
        [[(1, 1), (8, 1), (8, 6), (1, 6)], [(2, 2), (2, 5), (7, 5), (7, 2)]],  # hole
        [[(1, 1), (8, 6)]],  # no area
        [[(1, 1), (3, 3), (5, 5), (8, 8)]],  # collinear
        [[(2, 2), (2, 2), (2, 2)]],  # one point
        [[(2.4, 2.4), (2.6, 2.4), (2.5, 2.6)]],  # tiny, on a centre
        [[(2.6, 2.6), (2.9, 2.6), (2.7, 2.9)]],  # tiny, between centres
        [[(-1e9, -1e9), (1e9, -1e9), (1e9, 1e9), (-1e9, 1e9)]],  # all of it
        [[(100, 100), (120, 100), (110, 120)]],  # outside
        [[(4.5, -3), (20, 3.5), (4.5, 11), (-11, 3.5)]],  # partly outside
        [[]],
    ],
)
def test_hard_polygons(rings):
    assert_exact(SIZE_HW, rings)


def test_the_square_of_the_docstring():
    square = np.array([(0.5, 0.5), (4.5, 0.5), (4.5, 4.5), (0.5, 4.5)])
    expected = np.zeros((6, 6), bool)
    expected[:4, :4] = True
    np.testing.assert_array_equal(raster.fill_polygon((6, 6), [square]), expected)


@pytest.mark.parametrize("n", range(30, 72))
def test_a_centre_missed_by_one_part_in_a_product_too_long_for_a_float(n):
    """F(n)² and F(n-1)·F(n+1) differ by one (Cassini), so the long edge passes the centre just left or right of it."""
    fibonacci = [0, 1]
    while len(fibonacci) < n + 2:
        fibonacci.append(fibonacci[-1] + fibonacci[-2])
    low, middle, high = fibonacci[n - 1 : n + 2]
    assert_exact(SIZE_HW, [[(4.5 - low, 3.5 - middle), (4.5 + middle, 3.5 + high), (-high, high)]])


def test_many_crossings_in_a_row():
    comb = [(x / 4, (1, 6)[x % 2]) for x in range(1, 160)]
    assert_exact((7, 50), [[*comb, (45, 0), (-3, 0)]])


def test_triangles_that_tile_an_image_cover_every_pixel_once():
    rng = np.random.default_rng(1)
    rows, columns, size_hw = 20, 20, (113, 151)
    x, y = np.meshgrid(np.linspace(-1, 152, columns + 1), np.linspace(-1, 114, rows + 1))
    corners = np.stack([x, y], axis=-1)
    corners[1:-1, 1:-1] += rng.uniform(-2, 2, (rows - 1, columns - 1, 2))
    corners[5:15, 5:15] = np.round(corners[5:15, 5:15] * 2) / 2  # some on centres
    count = np.zeros(size_hw, int)
    for row in range(rows):
        for column in range(columns):
            a, b = corners[row, column], corners[row, column + 1]
            c, d = corners[row + 1, column + 1], corners[row + 1, column]
            for triangle in ((a, b, c), (a, c, d)):
                count += raster.fill_polygon(size_hw, [np.array(triangle)])
    assert (count == 1).all()


def test_later_regions_lie_on_top_and_nothing_else_is_touched():
    mask = np.full((6, 8), 255, np.uint8)
    square = np.array([(1, 1), (5, 1), (5, 5), (1, 5)], np.float64)
    points = np.concatenate([square, square + 1])
    values = np.array([3, 7], np.uint8)
    raster.paint_polygons(mask, raster.KEEP, points, np.array([0, 4, 8]), np.arange(3), values)
    expected = np.full((6, 8), 255, np.uint8)
    expected[1:5, 1:5] = 3
    expected[2:6, 2:6] = 7
    np.testing.assert_array_equal(mask, expected)
    raster.paint_polygons(mask, 9, points[:4], np.array([0, 4]), np.arange(2), values[:1])
    expected[:] = 9
    expected[1:5, 1:5] = 3
    np.testing.assert_array_equal(mask, expected)
    raster.paint_polygons(mask, 4, points[:0], np.array([0]), np.array([0]), values[:0])
    assert (mask == 4).all()


def test_more_crossings_than_are_painted_together():
    random = np.random.default_rng(3)
    size_hw = (310, 290)
    comb = np.column_stack([np.arange(600) / 2.1, np.tile([3.0, 300.0], 300)])
    rings = [*random.uniform(-20, 320, (240, 3, 2)), np.concatenate([comb, [(290, 305), (0, 305)]]), np.zeros((0, 2))]
    points, starts = np.concatenate(rings), np.cumsum([0, *map(len, rings)])
    values = np.arange(len(rings), dtype=np.uint8)
    together, singly = np.empty(size_hw, np.uint8), np.full(size_hw, 9, np.uint8)
    raster.paint_polygons(together, 9, points, starts, np.arange(starts.size), values)
    for ring, value in zip(rings, values, strict=True):
        singly[raster.fill_polygon(size_hw, [ring])] = value
    np.testing.assert_array_equal(together, singly)
    rows = sum(int(np.ptp(ring[:, 1].clip(0, 310))) for ring in rings[:240])
    assert min(2 * rows, 600 * 297) > MOST_CROSSINGS


def test_rectangle_turns_clockwise_about_its_top_left_corner_in_pixels():
    turned = Rectangle(x_pct=50, y_pct=10, width_pct=20, height_pct=30, rotation_deg=90)
    corners = raster.rectangle_px(turned, (100, 200))  # 40 × 30 px at (100, 10)
    np.testing.assert_array_equal(corners, [(100, 10), (100, 50), (70, 50), (70, 10)])
    mask = np.zeros((100, 200), np.uint8)
    raster.paint_region(mask, Region("r", "car", turned, (100, 200)), 1)
    expected = np.zeros((100, 200), np.uint8)
    expected[10:50, 70:100] = 1
    np.testing.assert_array_equal(mask, expected)


@pytest.mark.parametrize("degrees", [0.0, 30.0, 90.0, 200.0, -45.0])
def test_ellipse_by_its_formula(degrees):
    shape = Ellipse(x_pct=45, y_pct=55, radius_x_pct=40, radius_y_pct=15, rotation_deg=degrees)
    rows, columns = np.mgrid[:61, :83] + 0.5
    dx, dy, angle = columns - 0.45 * 83, rows - 0.55 * 61, math.radians(degrees)
    u = (dx * math.cos(angle) + dy * math.sin(angle)) / (0.4 * 83)
    v = (dy * math.cos(angle) - dx * math.sin(angle)) / (0.15 * 61)
    np.testing.assert_array_equal(raster.fill_ellipse((61, 83), shape), u * u + v * v < 1)


halves = st.integers(0, 60).map(lambda n: n / 2)
radii = st.sampled_from([2.5, 5.0, 6.5, 13.0, 20.5, 7.25, 1e-9, 0.3, 200.0])


@settings(max_examples=150, deadline=None)
@given(halves, halves, radii, radii, st.sampled_from([0.0, 90.0, 180.0, 30.0]))
def test_ellipse_equals_rational_arithmetic(x, y, radius_x, radius_y, degrees):
    size_hw = (25, 30)
    percent = Ellipse(x / 30 * 100, y / 25 * 100, radius_x / 30 * 100, radius_y / 25 * 100, degrees)
    x, y = percent.x_pct * 30 / 100, percent.y_pct * 25 / 100
    radius_x, radius_y = percent.radius_x_pct * 30 / 100, percent.radius_y_pct * 25 / 100
    exact = geometry.ellipse(size_hw, (Fraction(x), Fraction(y)), (Fraction(radius_x), Fraction(radius_y)), degrees)
    np.testing.assert_array_equal(raster.fill_ellipse(size_hw, percent), exact)


def test_a_centre_on_the_rim_of_an_ellipse_is_out():
    """9² + 40² = 41², but (9 / 41)² + (40 / 41)² is less than 1 in floats."""
    inside = raster.fill_ellipse((100, 100), Ellipse(50.5, 50.5, 41, 41, 0))
    assert not inside[50 + 9, 50 + 40] and not inside[50 - 40, 50 - 9]
    assert inside[50 + 9, 50 + 39]


def test_many_centres_too_near_to_the_rim_for_floats():
    inside = raster.fill_ellipse((50, 9), Ellipse(50, 50, 1e-300, 45, 0))
    assert inside[:, 4].sum() == 44 and inside.sum() == 44


def test_ellipse_without_a_radius_covers_nothing():
    assert not raster.fill_ellipse((9, 9), Ellipse(50, 50, 0, 20, 0)).any()


def regions_of_every_shape():
    stroke = np.zeros((40, 60), bool)
    stroke[20:30, 5:50] = True
    size_hw = (40, 60)
    triangle = Polygon(np.array([(10.0, 10.0), (90.0, 20.0), (40.0, 80.0)]))
    shapes = [
        triangle,
        Polygon(triangle.points_pct + 5),
        Rectangle(30, 20, 40, 50, 15),
        Brush(encode_brush(stroke)),
        Ellipse(50, 50, 20, 30, 70),
        triangle,
        Bitmask(png(255 * np.roll(stroke, 12, axis=0).astype(np.uint8))),
        Vector(np.array([[(5, 5), (60, 0), (60, 60), (5, 60)], [(5, 60), (5, 60), (5, 5), (5, 5)]], np.float64)),
    ]
    return [Region(f"r{i}", "car", shape, size_hw) for i, shape in enumerate(shapes)]


def test_painting_together_equals_painting_one_by_one():
    regions = regions_of_every_shape()
    together, singly = np.zeros((2, 40, 60), np.uint8)
    raster.paint(together, [(region, i + 1) for i, region in enumerate(regions)])
    for i, region in enumerate(regions):
        before = singly.copy()
        raster.paint_region(singly, region, i + 1)
        assert (before != singly).any()
    np.testing.assert_array_equal(together, singly)


@pytest.mark.parametrize("index", range(8))
def test_holes_are_cut_out_of_every_shape_and_show_what_lies_below(index):
    region = regions_of_every_shape()[index]
    mask = np.full((40, 60), 7, np.uint8)
    raster.paint_region(mask, region, 1)
    holes = tuple(other.shape for other in regions_of_every_shape() if other.region_id != region.region_id)
    cut = np.zeros((40, 60), np.uint8)
    for hole in holes:
        raster.paint_region(cut, Region("h", "car", hole, (40, 60)), 1)
    expected = np.where(cut == 1, 7, mask)
    holed = np.full((40, 60), 7, np.uint8)
    raster.paint_region(holed, replace(region, holes=holes), 1)
    np.testing.assert_array_equal(holed, expected)


def test_holes_between_regions_without_any():
    square = Polygon(np.array([(0, 0), (100, 0), (100, 100), (0, 100)], np.float64))
    middle = Polygon(np.array([(25, 25), (75, 25), (75, 75), (25, 75)], np.float64))
    mask = np.zeros((4, 4), np.uint8)
    below, above = Region("a", "car", square, (4, 4)), Region("b", "car", square, (4, 4), (middle,))
    raster.paint(mask, [(below, 1), (above, 2)])
    np.testing.assert_array_equal(mask, [[2, 2, 2, 2], [2, 1, 1, 2], [2, 1, 1, 2], [2, 2, 2, 2]])


def test_a_stroke_of_another_size_is_refused():
    region = regions_of_every_shape()[3]
    with pytest.raises(RegionError) as caught:
        raster.paint_region(np.zeros((40, 61), np.uint8), region, 1)
    assert caught.value.reason == "bad_rle"


def test_nothing_to_paint():
    mask = np.zeros((4, 4), np.uint8)
    raster.paint(mask, [])
    assert not mask.any()


@pytest.mark.parametrize("size_hw", [(353, 481), (360, 480), (1080, 1920), (3, 7)])
def test_percent_round_trip_keeps_pixel_corners(size_hw):
    height, width = size_hw
    corners = np.array([(x, x % (height + 1)) for x in range(width + 1)], np.float64)
    back = raster.points_px(raster.points_pct(corners, size_hw), size_hw)
    assert np.abs(back - corners).max() < 1e-12 * max(size_hw)


def test_numbers_that_are_none_paint_nothing_outside_the_mask():
    for bad in (math.nan, math.inf, -math.inf, 1e308):
        ring = np.array([(1, 1), (bad, 3), (5, bad), (bad, bad), (2, 6)])
        assert raster.fill_polygon(SIZE_HW, [ring]).shape == SIZE_HW
