from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.curves import FLATNESS_PX, flatten

coordinate = st.floats(-500, 500).map(lambda x: round(x, 3))
curve = st.lists(st.tuples(coordinate, coordinate), min_size=4, max_size=4)


def on_curve(points: np.ndarray, t: np.ndarray) -> np.ndarray:
    """De Casteljau's points of one cubic curve, (4, 2), at t."""
    rows = [np.broadcast_to(point, (t.size, 2)) for point in points]
    while len(rows) > 1:
        rows = [a + (b - a) * t[:, np.newaxis] for a, b in pairwise(rows)]
    return rows[0]


def distances(points: np.ndarray, ring: np.ndarray) -> np.ndarray:
    """Of each point from the nearest line of the ring."""
    start, step = ring, np.roll(ring, -1, axis=0) - ring
    length = np.maximum((step**2).sum(axis=1), 1e-300)
    t = np.clip(((points[:, np.newaxis] - start) * step).sum(axis=2) / length, 0, 1)
    return np.linalg.norm(points[:, np.newaxis] - start - t[:, :, np.newaxis] * step, axis=2).min(axis=1)


@settings(max_examples=60, deadline=None)
@given(curve)
def test_no_point_of_a_curve_is_farther_from_the_lines_than_promised(points):
    there = np.array(points, np.float64)
    back = np.stack([there[3], there[3], there[0], there[0]])
    ring = flatten(np.stack([there, back]))
    assert FLATNESS_PX <= 0.05
    assert distances(on_curve(there, np.linspace(0, 1, 400)), ring).max() <= FLATNESS_PX + 1e-9


def test_straight_lines_stay_as_they_are():
    corners = np.array([(0.1, 0.2), (7.3, 0.4), (3.3, 9.9)])
    ends = np.roll(corners, -1, axis=0)
    ring = flatten(np.stack([corners, corners, ends, ends], axis=1))
    np.testing.assert_array_equal(ring, corners)


@pytest.mark.parametrize(("reach", "most"), [(1.0, 12), (100.0, 105), (10_000.0, 1_040)])
def test_few_lines_suffice(reach: float, most: int):
    bend = np.array([[(0, 0), (0, reach), (reach, reach), (reach, 0)], [(reach, 0), (reach, 0), (0, 0), (0, 0)]])
    assert 3 < len(flatten(bend)) <= most
