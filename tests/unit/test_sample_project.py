"""The sample project: what it holds, and that its parser and rasteriser take all of it."""

import itertools
import json
from collections import Counter

import numpy as np
import pytest
from PIL import Image, ImageOps

from connectors.label_studio_json import dumps, parse_regions, parse_task
from pipeline.raster import fill_polygon, paint
from pipeline.sample_project import (
    SKIPPED_TASK,
    TURNED_TASK,
    TWICE_TASK,
    SampleProject,
    clip_polygon,
    write_sample_project,
)
from pipeline.scene_canvas import HEIGHT, WIDTH, outline
from pipeline.scenes import CLIPS, FRAMES, SAMPLE_CLASSES, draw_scene
from schemas.labels import CONTROLS, ClassMap
from schemas.regions import Region

CLASS_MAP = ClassMap(SAMPLE_CLASSES)


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> SampleProject:
    return write_sample_project(tmp_path_factory.mktemp("sample"))


def annotations(project):
    return [(task, annotation) for task in project.tasks for annotation in task["annotations"]]


def task_mask(annotation):
    mask = np.full((HEIGHT, WIDTH), 255, np.uint8)
    regions = list(parse_regions(dumps(annotation["result"])))
    assert all(isinstance(region, Region) for region in regions)
    paint(mask, [(region, CLASS_MAP.index(region.label)) for region in regions])
    return mask


def test_the_same_seed_writes_the_same_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.sample_project.CLIPS", 2)
    first, second, other = (
        write_sample_project(tmp_path / name, seed) for name, seed in (("a", 3), ("b", 3), ("c", 4))
    )
    for ours, theirs in zip((first.export, *first.images), (second.export, *second.images), strict=True):
        assert ours.read_bytes() == theirs.read_bytes()
    assert first.export.read_bytes() != other.export.read_bytes()


def test_counts(project):
    assert len(project.tasks) == len(project.images) == CLIPS * FRAMES == 60
    counts = Counter(len(task["annotations"]) for task in project.tasks)
    assert counts == {0: 20, 1: 39, 2: 1}
    skipped = [task["id"] for task, annotation in annotations(project) if annotation["was_cancelled"]]
    assert skipped == [SKIPPED_TASK]
    assert len({task["data"]["video"] for task in project.tasks}) == CLIPS
    kinds = Counter(item["type"] for _, annotation in annotations(project) for item in annotation["result"])
    assert kinds["polygonlabels"] > sum(kinds.values()) / 2
    assert all(kinds[kind] >= 10 for kind in ("rectanglelabels", "ellipselabels", "brushlabels"))
    rotations = {
        i["value"]["rotation"] for _, a in annotations(project) for i in a["result"] if "rotation" in i["value"]
    }
    assert 0.0 in rotations
    assert len(rotations) > 5


def test_the_export_is_what_was_returned_and_parses(project):
    exported = json.loads(project.export.read_bytes())
    assert exported == list(project.tasks)
    for task, path in zip(exported, project.images, strict=True):
        assert project.export.parent / parse_task(task, "image").image_url == path
        assert path.is_file()


def test_every_class_occurs_in_at_least_ten_scenes(project):
    scenes_of = Counter()
    for task in project.tasks:
        labels = {item["value"][item["type"]][0] for a in task["annotations"][:1] for item in a["result"]}
        scenes_of.update(labels)
    assert set(scenes_of) == set(CLASS_MAP.names)
    assert min(scenes_of.values()) >= 10, scenes_of


def test_items_have_the_form_of_the_label_config(project):
    controls = {name for _, name, _ in ((tag, name, extra) for tag, name, extra in CONTROLS)}
    ids = []
    for _, annotation in annotations(project):
        for item in annotation["result"]:
            assert item["from_name"] in controls
            assert item["type"] == item["from_name"] + "labels"
            assert (item["original_width"], item["original_height"]) == (WIDTH, HEIGHT)
            assert len(item["id"]) == 10
            ids.append(item["id"])
    assert len(ids) == len(set(ids))


def test_all_percentages_lie_in_the_image(project):
    for item in itertools.chain.from_iterable(annotation["result"] for _, annotation in annotations(project)):
        value = item["value"]
        numbers = list(itertools.chain.from_iterable(value.get("points", [])))
        numbers += [value[key] for key in ("x", "y", "width", "height", "radiusX", "radiusY") if key in value]
        assert all(0 <= number <= 100 for number in numbers), item


def test_annotations_rasterise_to_the_drawn_truth(project):
    """Clipping, percentages and brush strokes change no pixel, save where a rounded edge hits a pixel centre."""
    for task_id in (4, 13, 28, TURNED_TASK):
        truth = np.full((HEIGHT, WIDTH), 255, np.uint8)
        for label, shape in draw_scene(0, *divmod(task_id - 1, FRAMES)).regions:
            truth[fill_polygon((HEIGHT, WIDTH), [outline(shape)])] = CLASS_MAP.index(label)
        mask = task_mask(project.tasks[task_id - 1]["annotations"][0])
        assert (mask != 255).all()
        assert (mask != truth).sum() <= 20, task_id


def test_the_second_annotator_is_a_little_off(project):
    ours, theirs = project.tasks[TWICE_TASK - 1]["annotations"]
    assert ours["completed_by"] != theirs["completed_by"]
    assert 0.001 < (task_mask(ours) != task_mask(theirs)).mean() < 0.15


def test_the_turned_photo_shows_the_drawn_picture(project):
    drawn = draw_scene(0, *divmod(TURNED_TASK - 1, FRAMES)).image
    with Image.open(project.images[TURNED_TASK - 1]) as stored:
        assert stored.size == (HEIGHT, WIDTH)
        shown = ImageOps.exif_transpose(stored)
        assert shown.size == (WIDTH, HEIGHT)
        assert np.abs(np.asarray(shown).astype(int) - drawn).mean() < 4
    with Image.open(project.images[0]) as upright:
        assert upright.size == (WIDTH, HEIGHT)
        assert not upright.getexif()


def test_clipping_keeps_what_lies_inside():
    triangle = np.array([[-5.0, 5], [5, -5], [5, 5]])
    clipped = clip_polygon(triangle, (10, 10))
    np.testing.assert_allclose(sorted(clipped.tolist()), [[0, 0], [0, 0], [0, 5], [5, 0], [5, 5]])
    assert len(clip_polygon(triangle - 100, (10, 10))) == 0
