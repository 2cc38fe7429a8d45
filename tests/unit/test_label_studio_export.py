"""An export file as a source: where its images are found, and when a task counts as changed."""

import json
from pathlib import Path
from typing import Any

import pytest

from connectors.label_studio_export import LabelStudioExport
from schemas.errors import ImageError, ParamsError, SourceFormatError
from tests.conftest import LEFT_HALF, WHOLE, Project, annotation, polygon, task


@pytest.fixture
def export(tmp_path: Path) -> LabelStudioExport:
    """No tasks; in the folder: road.png, sub/car.png, with a space.png, and beside it secret.png."""
    images = tmp_path / "images"
    (images / "sub").mkdir(parents=True)
    for path in ("images/road.png", "images/sub/car.png", "images/with a space.png", "secret.png"):
        (tmp_path / path).write_text(path)
    (images / "link.png").symlink_to(tmp_path / "secret.png")
    return LabelStudioExport([], images, "image")


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("road.png", "road.png"),
        ("sub/car.png", "sub/car.png"),
        ("/data/upload/7/road.png", "road.png"),
        ("/data/upload/7/0a1b2c3d-road.png", "road.png"),
        ("/data/local-files/?d=sub/car.png", "sub/car.png"),
        ("/data/local-files/?d=photos%2F2026%2Froad.png", "road.png"),
        ("https://storage.example/bucket/road.png?X-Signature=abc", "road.png"),
        ("s3://bucket/photos/road.png", "road.png"),
        ("with%20a%20space.png", "with a space.png"),
    ],
)
def test_images_are_found(export: LabelStudioExport, url: str, found: str):
    assert export.fetch_image(url) == f"images/{found}".encode()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "gone.png",
        "sub",
        "../secret.png",
        "../../../../../../etc/passwd",
        "%2e%2e/secret.png",
        "/data/local-files/?d=../secret.png",
        "/etc/passwd",
        "ZZZZZZZZ-road.png",
        "data:image/png;base64," + "A" * 5000,
        "http://[half/road.png",
        "a\0b.png",
    ],
)
def test_nothing_else_is_read(export: LabelStudioExport, url: str):
    with pytest.raises(ImageError) as caught:
        export.fetch_image(url)
    assert caught.value.reason == "image_missing"
    assert len(str(caught.value)) < 500


def test_a_revision_changes_with_the_content_and_not_with_the_order(project: Project):
    tasks = [task(1, [polygon(WHOLE)]), task(2, [polygon(WHOLE)])]

    def listing() -> dict[int, str]:
        return LabelStudioExport.open(project.params).listing()

    project.export(tasks)
    before = listing()
    project.export(tasks[::-1])
    assert listing() == before
    project.export([tasks[0], task(2, [polygon(LEFT_HALF)])])
    after = listing()
    assert after[1] == before[1]
    assert after[2] != before[2]


def test_only_stale_tasks_are_yielded_with_their_annotations(project: Project):
    both = task(2) | {"annotations": [annotation([], 9), annotation([], 8, was_cancelled=True)]}
    project.export([task(3), both, task(1)])
    source = LabelStudioExport.open(project.params)
    found = list(source.tasks({3: "", 2: ""}))
    assert [entry.task_id for entry in found] == [2, 3]
    assert [entry.annotation_id for entry in found[0].annotations] == [8, 9]
    assert found[0].revision == source.listing()[2]
    assert source.label_config() is None


def test_the_image_field_is_the_params(project: Project):
    project.raw["source"]["image_field"] = "photo"
    project.export([task(1, photo="b.png")])
    (found,) = LabelStudioExport.open(project.params).tasks({1: ""})
    assert found.image_url == "b.png"


@pytest.mark.parametrize(
    ("content", "error", "said"),
    [
        (None, ParamsError, "can't be read: No such file"),
        ("[", SourceFormatError, "not valid JSON"),
        ("{}", SourceFormatError, "holds dict, expected a list of tasks"),
        (json.dumps([{"image": "a.png", "label": []}]), SourceFormatError, "an integer `id`"),
        (json.dumps([{"id": 1, "data": {}}]), SourceFormatError, "task 1: `annotations`"),
    ],
)
def test_a_wrong_file_is_one_line(project: Project, content: str | None, error: Any, said: str):
    if content is not None:
        (project.folder / "export.json").write_text(content)
    with pytest.raises(error, match=said) as caught:
        LabelStudioExport.open(project.params)
    assert "\n" not in str(caught.value)


def test_a_missing_image_folder_is_named(project: Project):
    project.export([])
    project.raw["source"]["images"] = str(project.folder / "nowhere")
    with pytest.raises(ParamsError, match="nowhere is no folder"):
        LabelStudioExport.open(project.params)
