"""The drawn street scenes: repeatable, complete, and drawn where their outlines say."""

import numpy as np
import pytest

from pipeline.raster import fill_polygon
from pipeline.scene_canvas import HEIGHT, WIDTH, Camera, EllipsePx, RectanglePx, outline
from pipeline.scene_car import union_of_convex
from pipeline.scenes import SAMPLE_CLASSES, draw_scene
from schemas.labels import ClassMap


def class_mask(scene):
    mask = np.full((HEIGHT, WIDTH), 255, np.uint8)
    for label, shape in scene.regions:
        mask[fill_polygon((HEIGHT, WIDTH), [outline(shape)])] = ClassMap(SAMPLE_CLASSES).index(label)
    return mask


@pytest.fixture(scope="module")
def scenes():
    return {(clip, frame): draw_scene(7, clip, frame) for clip in range(4) for frame in range(2)}


def test_the_same_arguments_draw_the_same_scene(scenes):
    again = draw_scene(7, 2, 1)
    np.testing.assert_array_equal(again.image, scenes[2, 1].image)
    assert [label for label, _ in again.regions] == [label for label, _ in scenes[2, 1].regions]
    for (_, ours), (_, theirs) in zip(again.regions, scenes[2, 1].regions, strict=True):
        np.testing.assert_array_equal(outline(ours), outline(theirs))


def test_every_frame_is_another_picture(scenes):
    assert len({scene.image.tobytes() for scene in scenes.values()} | {draw_scene(8, 0, 0).image.tobytes()}) == 9


def test_a_picture_is_rgb_and_uses_its_range(scenes):
    for scene in scenes.values():
        assert scene.image.shape == (HEIGHT, WIDTH, 3)
        assert scene.image.dtype == np.uint8
        assert scene.image.std() > 20


def test_regions_cover_every_pixel_with_known_classes(scenes):
    for scene in scenes.values():
        mask = class_mask(scene)
        assert mask.max() < len(SAMPLE_CLASSES)
        assert (mask == 0).mean() > 0.1, "the road"
        assert len(np.unique(mask)) >= 7


def test_regions_that_nothing_is_seen_of_are_left_out(scenes):
    for scene in scenes.values():
        for _, shape in scene.regions:
            assert fill_polygon((2 * HEIGHT, 2 * WIDTH), [2 * outline(shape)]).any()


def test_outlines_lie_where_the_picture_changes(scenes):
    """Along the outlines the picture's gradient is far stronger than elsewhere."""
    for scene in scenes.values():
        mask = class_mask(scene).astype(int)
        grey = scene.image.astype(float).mean(axis=2)
        step = np.abs(np.diff(grey, axis=1))
        on_border = np.diff(mask, axis=1) != 0
        assert step[on_border].mean() > 2 * step[~on_border].mean()


def test_no_class_has_a_colour_of_its_own(scenes):
    """Buildings and cars have other mean colours in every scene."""
    for index in (2, 5):
        means = [scene.image[class_mask(scene) == index].mean(axis=0) for scene in scenes.values()]
        assert np.ptp(means, axis=0).max() > 25


def test_shapes_turn_clockwise():
    square = outline(RectanglePx(10, 20, 4, 2, 90))
    np.testing.assert_allclose(square, [[10, 20], [10, 24], [8, 24], [8, 20]], atol=1e-12)
    ellipse = outline(EllipsePx(50, 60, 8, 2, 90))
    np.testing.assert_allclose([np.ptp(ellipse[:, 0]), np.ptp(ellipse[:, 1])], [4, 16], atol=1e-9)


def test_the_camera_sees_the_ground_where_it_projects_it():
    camera = Camera(np.array([1.0, 1.6, 5.0]), 400, (250, 170), 2.0)
    x, z = camera.ground(250)
    points = camera.project([(x[50, 300], 0, z[50, 300])])
    np.testing.assert_allclose(points[0], [300.5, 300.5], atol=0.01)


def test_union_of_convex_covers_what_either_covers():
    low = np.array([[10.0, 40], [60, 40], [60, 70], [10, 70]])
    high = np.array([[20.0, 41], [28, 20], [45, 20], [52, 44]])
    union = union_of_convex(low, high, np.array([35.0, 41]))
    parts = [fill_polygon((100, 100), [polygon]) for polygon in (low, high, union)]
    np.testing.assert_array_equal(parts[2], parts[0] | parts[1])
