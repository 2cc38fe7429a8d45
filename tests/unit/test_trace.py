"""The tracer: painting what it found gives back the mask, and neighbours share their simplified border."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from PIL import Image

from pipeline import raster
from pipeline.trace import trace
from schemas.regions import Polygon, Region

CAMVID = Path(__file__).parents[3] / "shared" / "camvid" / "valannot"
VOID = 255


def painted(regions, size_hw):
    """The mask that the traced regions give when painted in order."""
    mask = np.full(size_hw, VOID, np.uint8)
    if regions:
        starts = np.cumsum([0, *(len(region.points_px) for region in regions)])
        values = np.array([region.class_index for region in regions], np.uint8)
        points = np.concatenate([region.points_px for region in regions])
        raster.paint_polygons(mask, raster.KEEP, points, starts, np.arange(starts.size), values)
    return mask


def assert_round_trip(mask):
    np.testing.assert_array_equal(painted(trace(mask, 0.0), mask.shape), mask)


masks = npst.arrays(
    np.uint8, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements=st.sampled_from([0, 1, 2, VOID])
)


@settings(max_examples=300, deadline=None)
@given(masks)
def test_noise_comes_back_bit_for_bit(mask):
    assert_round_trip(mask)


@pytest.mark.parametrize("values", [(0, 1), (0, VOID), (0, 1, 2, 3, VOID)])
def test_much_noise_comes_back_bit_for_bit(values):
    assert_round_trip(np.random.default_rng(0).choice(np.array(values, np.uint8), (150, 211)))


def blobs(seed, size_hw, classes=5, scale=12):
    """Smooth regions: the strongest of some random cosine fields at each pixel."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[: size_hw[0], : size_hw[1]] / scale
    waves = rng.normal(size=(classes, 8, 2))
    phases = rng.uniform(0, 2 * np.pi, (classes, 8))
    fields = [
        sum(np.cos(a * rows + b * columns + phase) for (a, b), phase in zip(wave, phase_row, strict=True))
        for wave, phase_row in zip(waves, phases, strict=True)
    ]
    return np.argmax(fields, axis=0).astype(np.uint8)


def test_percent_round_trip_at_an_odd_size_is_exact():
    mask = blobs(3, (353, 481))
    regions = [
        Region(str(i), "car", Polygon(raster.points_pct(found.points_px, mask.shape)), mask.shape)
        for i, found in enumerate(trace(mask, 0.0))
    ]
    values = [found.class_index for found in trace(mask, 0.0)]
    again = np.full(mask.shape, VOID, np.uint8)
    raster.paint(again, zip(regions, values, strict=True))
    np.testing.assert_array_equal(again, mask)


def test_a_square_has_four_corners_clockwise_from_the_top_left():
    mask = np.full((6, 7), VOID, np.uint8)
    mask[1:4, 2:6] = 3
    (region,) = trace(mask, 0.0)
    assert sorted(map(tuple, region.points_px)) == [(2, 1), (2, 4), (6, 1), (6, 4)]
    assert (region.class_index, region.area_px, region.pixels) == (3, 12, 12)
    assert region.points_px.dtype == np.float64


def test_holes_are_painted_later_and_void_only_where_it_is_one():
    mask = np.full((9, 9), VOID, np.uint8)
    mask[1:8, 1:8] = 0
    mask[2:7, 2:7] = 1
    mask[3:6, 3:6] = VOID
    found = [(region.class_index, region.area_px, region.pixels) for region in trace(mask, 0.0)]
    assert found == [(0, 49, 24), (1, 25, 16), (VOID, 9, 9)]


def test_an_all_void_mask_has_no_regions():
    assert trace(np.full((5, 5), VOID, np.uint8), 1.0) == []


def test_diagonal_neighbours_are_two_regions():
    mask = np.array([[1, VOID], [VOID, 1]], np.uint8)
    assert [region.pixels for region in trace(mask, 0.0)] == [1, 1]


@settings(max_examples=300, deadline=None)
@given(masks, st.integers(0, 8))
def test_small_components_show_what_lies_below(mask, min_area_px):
    regions = trace(mask, 0.0, min_area_px)
    assert all(region.pixels >= min_area_px for region in regions)
    shown = painted(regions, mask.shape)
    for region in trace(mask, 0.0):
        own = raster.fill_polygon(mask.shape, [region.points_px]) & (mask == region.class_index)
        if min_area_px <= region.pixels == own.sum():  # none of its class in its holes
            assert (shown[own] == region.class_index).all()


@settings(max_examples=300, deadline=None)
@given(masks, st.floats(0, 5))
def test_no_ring_collapses(mask, tolerance_px):
    for region in trace(mask, tolerance_px):
        points = region.points_px
        assert len(points) >= 3
        following = np.roll(points, -1, axis=0)
        assert np.sum(points[:, 0] * following[:, 1] - points[:, 1] * following[:, 0]) > 0


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("tolerance_px", [0.5, 1.0, 2.0])
def test_neighbours_share_their_simplified_border(seed, tolerance_px):
    """Every edge inside the image belongs to two regions, or is the rim of a hole that is painted later."""
    mask = blobs(seed, (120, 160))
    edges = set()
    for region in trace(mask, tolerance_px):
        ring = [tuple(point) for point in region.points_px]
        edges |= set(zip(ring, ring[1:] + ring[:1], strict=True))
    backwards = {(end, start) for start, end in edges}
    shared = edges & backwards
    assert len(shared) > len(edges) / 2
    shown = painted(trace(mask, tolerance_px), mask.shape)
    assert not (shown == VOID).any()  # no gap anywhere


def crack_middles(ring):
    """Middles of the pixel edges that a ring of pixel corners runs along."""
    middles = []
    for start, end in zip(ring, np.roll(ring, -1, axis=0), strict=True):
        cracks = int(np.abs(end - start).sum())
        middles += [start + (end - start) * (i + 0.5) / cracks for i in range(cracks)]
    return np.array(middles)


@pytest.mark.parametrize("tolerance_px", [0.2, 0.5, 1.0, 2.0])
def test_no_crack_is_farther_from_the_simplified_ring_than_the_tolerance(tolerance_px):
    mask = blobs(7, (90, 110))
    for exact, simple in zip(trace(mask, 0.0), trace(mask, tolerance_px), strict=True):
        starts, ends = simple.points_px, np.roll(simple.points_px, -1, axis=0)
        along = ends - starts
        offsets = crack_middles(exact.points_px)[:, None] - starts
        t = np.clip((offsets * along).sum(-1) / (along**2).sum(-1), 0, 1)
        distance = np.linalg.norm(offsets - t[..., None] * along, axis=-1).min(axis=1)
        assert distance.max() <= tolerance_px + 1e-9


@settings(max_examples=300, deadline=None)
@given(masks)
def test_a_tenth_of_a_pixel_changes_no_pixel_of_noise(mask):
    np.testing.assert_array_equal(painted(trace(mask, 0.1), mask.shape), mask)


@pytest.mark.parametrize("max_vertices", [4, 12, 40])
def test_a_region_over_its_budget_gets_a_greater_tolerance_and_the_others_stay(max_vertices):
    mask = blobs(5, (120, 160))
    free, bound = trace(mask, 0.5), trace(mask, 0.5, max_vertices=max_vertices)
    assert max(len(region.points_px) for region in free) > 40
    for before, after in zip(free, bound, strict=True):
        if len(before.points_px) <= max_vertices:
            np.testing.assert_array_equal(after.points_px, before.points_px)
        else:
            assert 3 <= len(after.points_px) <= max_vertices
    assert np.mean(painted(bound, mask.shape) == mask) > {4: 0.4, 12: 0.75, 40: 0.97}[max_vertices]


@settings(max_examples=200, deadline=None)
@given(masks, st.sampled_from([0.0, 0.5, 2.0]), st.integers(4, 9))
def test_a_budget_never_adds_vertices_and_no_ring_collapses(mask, tolerance_px, max_vertices):
    for free, bound in zip(trace(mask, tolerance_px), trace(mask, tolerance_px, 0, max_vertices), strict=True):
        assert 3 <= len(bound.points_px) <= len(free.points_px)
        assert len(free.points_px) > max_vertices or np.array_equal(free.points_px, bound.points_px)


def fewest_vertices(points, middles, tolerance_px):
    """Vertices of the shortest path from the first point to the last by brute force."""
    best = np.full(len(points), len(points))
    best[0] = 0
    for i, j in itertools.combinations(range(len(points)), 2):
        along = points[j] - points[i]
        between = np.array([points[k] for k in range(i + 1, j) if middles[k]]).reshape(-1, 2) - points[i]
        t = np.clip(between @ along / max(along @ along, 1e-9), 0, 1)
        if (np.linalg.norm(between - t[:, None] * along, axis=1) <= tolerance_px + 1e-9).all():
            best[j] = min(best[j], best[i] + 1)
    return best[-1]


@pytest.mark.parametrize("seed", range(6))
def test_a_staircase_gets_hardly_more_vertices_than_it_needs(seed):
    """Between two corners of the image: the least number of segments, or one more each 2 where the fit is better."""
    heights = 40 + np.cumsum(np.random.default_rng(seed).integers(-1, 2, 60))
    mask = (np.arange(100)[:, None] >= heights).astype(np.uint8)
    (ring,) = [region.points_px for region in trace(mask, 0.75) if region.class_index == 1]
    columns = np.flatnonzero(np.diff(heights)) + 1
    starts, ends = np.array([0, *columns]), np.array([*columns, 60])
    points, middles = [(0.0, float(heights[0]))], [False]
    for start, end in zip(starts, ends, strict=True):
        run = [(start + 0.5, heights[start]), (end - 0.5, heights[start])][: 1 + (end - start > 1)]
        step = [] if end == 60 else [(float(end), (heights[start] + heights[end]) / 2)]
        points, middles = points + run + step, middles + [True] * (len(run) + len(step))
    points, middles = np.array([*points, (60.0, heights[-1])]), [*middles, False]
    least = fewest_vertices(points, middles, 0.75)
    border = len(ring) - 3  # segments, of all but the image's two lower corners and the ring's own closing
    assert least * 0.9 <= border <= least * 1.5 + 1


def camvid_masks(count):
    files = sorted(CAMVID.glob("*.png"))[:count]
    if not files:
        pytest.skip(f"CamVid is not at {CAMVID.parent}")
    masks = [np.array(Image.open(file)) for file in files]
    return [np.where(mask == 11, VOID, mask).astype(np.uint8) for mask in masks]


def mean_iu(masks, tolerance_px):
    matrix = np.zeros((256, 256), np.int64)
    for mask in masks:
        shown = painted(trace(mask, tolerance_px), mask.shape)
        matrix += np.bincount(mask.astype(int).ravel() * 256 + shown.ravel(), minlength=65536).reshape(256, 256)
    hits = np.diag(matrix)[:11]
    return float(np.mean(hits / (matrix.sum(0) + matrix.sum(1) - np.diag(matrix))[:11]))


def test_camvid_comes_back_bit_for_bit():
    for mask in camvid_masks(101):
        assert_round_trip(mask)


def test_camvid_survives_simplification():
    masks = camvid_masks(20)
    assert mean_iu(masks, 0.5) > 0.993
    assert mean_iu(masks, 1.0) > 0.95
