"""From an export file to masks: what pull and rasterise do together."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from connectors.base import Credentials
from connectors.masks import read_mask
from pipeline.progress import Silent
from pipeline.pull import pull
from pipeline.rasterise import rasterise
from schemas.errors import MaskloopError
from tests.conftest import LEFT_HALF, WHOLE, Project, annotation, polygon, task

VOID = 255


def run(project: Project) -> None:
    pull(project.params, project.folder, Silent(), Credentials())
    rasterise(project.params, project.folder, Silent())


def mask_of(project: Project, task_id: int) -> Any:
    return read_mask(project.folder / f"data/masks/{task_id}.png")


def rows(project: Project, name: str) -> list[dict[str, Any]]:
    return pq.read_table(project.folder / f"data/{name}.parquet").to_pylist()


def outputs(project: Project) -> dict[str, bytes]:
    files = [path for path in sorted((project.folder / "data").rglob("*")) if path.is_file()]
    return {str(path.relative_to(project.folder)): path.read_bytes() for path in files}


def test_regions_become_class_indices(project: Project):
    project.export([task(1, [polygon(WHOLE, "tree"), polygon(LEFT_HALF, "car", "r2")])])
    run(project)
    expected = np.full((10, 20), 2)
    expected[:, :10] = 1
    np.testing.assert_array_equal(mask_of(project, 1), expected)
    (row,) = rows(project, "manifest")
    assert row["class_pixels"] == [0, 100, 100]
    assert (row["width"], row["height"], row["regions"], row["split"]) == (20, 10, 2, None)
    assert (project.folder / row["image"]).read_bytes() == (project.folder / "a.png").read_bytes()


@pytest.mark.parametrize(("unlabelled", "value"), [("void", VOID), ("tree", 2)])
def test_unlabelled_pixels(project: Project, unlabelled: str, value: int):
    project.raw["rasterise"] = {"unlabelled": unlabelled}
    project.export([task(1, [polygon(LEFT_HALF, "car")])])
    run(project)
    assert set(np.unique(mask_of(project, 1)[:, 10:])) == {value}


def test_priority_goes_before_order_and_void_cuts_what_was_before_it(project: Project):
    project.raw["classes"] = [{"name": "road"}, {"name": "car", "priority": 1}, {"name": "tree"}]
    quarter = [[0, 0], [25, 0], [25, 100], [0, 100]]
    project.export([task(1, [polygon(LEFT_HALF, "car"), polygon(quarter, "void"), polygon(WHOLE, "tree")])])
    run(project)
    mask = mask_of(project, 1)
    assert set(np.unique(mask[:, :5])) == {VOID}  # void cuts the car, and the tree drawn later is below the car's level
    assert set(np.unique(mask[:, 5:10])) == {1}
    assert set(np.unique(mask[:, 10:])) == {2}


def test_the_latest_finished_annotation_counts(project: Project):
    raw = task(1)
    raw["annotations"] = [
        annotation([polygon(WHOLE, "car")], 1, updated_at="2026-01-02"),
        annotation([polygon(WHOLE, "tree")], 2, updated_at="2026-01-01"),
        annotation([polygon(WHOLE, "road")], 3, updated_at="2026-01-03", was_cancelled=True),
    ]
    project.export([raw])
    run(project)
    assert set(np.unique(mask_of(project, 1))) == {1}


@pytest.mark.parametrize(
    ("policy", "left", "right"), [("order", 2, 2), ("priority", 1, 2), ("smallest_on_top", 1, 2), ("void", VOID, 2)]
)
def test_overlap_policies_and_what_they_contest(project: Project, policy: str, left: int, right: int):
    project.raw["rasterise"] = {"overlap": policy}
    project.raw["classes"] = [{"name": "road"}, {"name": "car", "priority": 1}, {"name": "tree"}]
    project.export([task(1, [polygon(LEFT_HALF, "car"), polygon(WHOLE, "tree")])])
    run(project)
    assert set(np.unique(mask_of(project, 1)[:, :10])) == {left}
    assert set(np.unique(mask_of(project, 1)[:, 10:])) == {right}
    (row,) = rows(project, "manifest")
    assert row["contested"] == [{"a": 1, "b": 2, "pixels": 100}]
    assert (row["annotators"], row["agreement"], row["annotation_ids"]) == (1, None, [10])


RIGHT_HALF = [[50, 0], [100, 0], [100, 100], [50, 100]]


def three_annotators(task_id: int = 1) -> dict[str, Any]:
    """Two say car, the latest says tree on the right half; the first is the ground truth."""
    raw = task(task_id)
    raw["annotations"] = [
        annotation([polygon(WHOLE, "car")], 1, updated_at="2026-01-01", completed_by=7, ground_truth=True),
        annotation([polygon(WHOLE, "car"), polygon(LEFT_HALF, "lake")], 2, updated_at="2026-01-02", completed_by=8),
        annotation([polygon(RIGHT_HALF, "tree")], 3, updated_at="2026-01-03", completed_by=9),
    ]
    return raw


@pytest.mark.parametrize(
    ("policy", "left", "right", "used", "rejects"),
    [
        ("latest", VOID, 2, [3], 0),
        ("ground_truth_first", 1, 1, [1], 0),
        ("majority", 1, 1, [1, 2, 3], 1),
        ("staple", 1, 1, [1, 2, 3], 1),
    ],
)
def test_several_annotators(project: Project, policy: str, left: int, right: int, used: list[int], rejects: int):
    project.raw["rasterise"] = {"annotators": policy}
    project.export([three_annotators()])
    run(project)
    assert set(np.unique(mask_of(project, 1)[:, :10])) == {left}
    assert set(np.unique(mask_of(project, 1)[:, 10:])) == {right}
    (row,) = rows(project, "manifest")
    assert row["annotators"] == 3
    assert row["agreement"] == pytest.approx(1 / 3)  # 1 between the first two, 0 between each and the third
    assert (row["annotation_ids"], row["annotation_id"]) == (used, used[-1])
    assert [reject["reason"] for reject in rows(project, "rejects")] == ["unknown_label"] * rejects


def test_an_annotation_that_can_not_be_painted_has_no_vote(project: Project):
    project.raw["rasterise"] = {"annotators": "majority"}
    raw = three_annotators()
    raw["annotations"][2]["result"] = [polygon(WHOLE, size_wh=(99, 99))]
    project.export([raw])
    run(project)
    (row,) = rows(project, "manifest")
    assert (row["annotation_ids"], row["annotators"], row["agreement"]) == ([1, 2], 2, 1.0)
    assert {reject["reason"] for reject in rows(project, "rejects")} == {"unknown_label", "size_mismatch"}


def test_exif_turned_photos_are_seen_as_the_browser_shows_them(project: Project):
    exif = Image.Exif()
    exif[0x0112] = 6
    project.image("turned.jpg", (20, 10), exif=exif)  # shows as 10 × 20
    project.export([task(1, [polygon(LEFT_HALF, "car", size_wh=(10, 20))], "turned.jpg")])
    run(project)
    assert mask_of(project, 1).shape == (20, 10)
    assert rows(project, "rejects") == []


def test_what_can_not_be_used_is_listed_and_the_rest_is_used(project: Project):
    (project.folder / "broken.png").write_bytes((project.folder / "a.png").read_bytes()[:80])
    project.export(
        [
            task(1, [polygon([[0, 0], [1, 1]], region_id="two"), polygon(LEFT_HALF, "lake", "lake"), polygon(WHOLE)]),
            task(2, [polygon(WHOLE)], "gone.png"),
            task(3, [polygon(WHOLE)], "broken.png"),
            task(4, [polygon(WHOLE, size_wh=(99, 99))]),
            task(5, [polygon([[0, 0], [1, 1], [float("nan"), 1]])]),
        ]
    )
    run(project)
    found = {(row["task_id"], row["region_id"], row["reason"]) for row in rows(project, "rejects")}
    assert found == {
        (1, "two", "too_few_points"),
        (1, "lake", "unknown_label"),
        (2, None, "image_missing"),
        (3, None, "image_corrupt"),
        (4, None, "size_mismatch"),
        (5, "r1", "not_a_number"),
    }
    assert all(row["remedy"] and row["detail"] for row in rows(project, "rejects") if row["reason"] != "malformed")
    assert [row["task_id"] for row in rows(project, "manifest")] == [1, 5]
    assert rows(project, "manifest")[0]["rejected_regions"] == 2


def test_a_corrupt_stroke_is_rejected_and_the_others_painted(project: Project):
    stroke = polygon([]) | {"id": "s", "type": "brushlabels", "value": {"rle": [255] * 9, "brushlabels": ["car"]}}
    project.export([task(1, [stroke, polygon(WHOLE, "tree")])])
    run(project)
    assert set(np.unique(mask_of(project, 1))) == {2}
    assert [(row["region_id"], row["reason"]) for row in rows(project, "rejects")] == [("s", "bad_rle")]


def test_the_same_export_gives_the_same_bytes(project: Project, tmp_path_factory: pytest.TempPathFactory):
    project.export([task(1, [polygon(WHOLE)]), task(2, [polygon(LEFT_HALF, "lake")])])
    run(project)
    first = outputs(project)
    run(project)
    assert outputs(project) == first


def test_a_delta_equals_a_full_rebuild(project: Project, tmp_path: Path):
    other = project.image("b.png", seed=1)
    before = [
        task(1, [polygon(WHOLE)]),
        task(2, [polygon(LEFT_HALF, "lake")], "b.png"),
        task(3, [polygon(WHOLE, "car")]),
    ]
    after = [task(1, [polygon(WHOLE)]), task(2, [polygon(LEFT_HALF, "car")], "b.png"), task(4, [polygon(WHOLE, "car")])]
    project.export(before)
    run(project)
    kept = (project.folder / "data/masks/1.png").stat().st_mtime_ns
    project.export(after)
    run(project)
    assert (project.folder / "data/masks/1.png").stat().st_mtime_ns == kept
    (tmp_path / "fresh").mkdir()
    fresh = Project(tmp_path / "fresh")
    (fresh.folder / "b.png").write_bytes(other.read_bytes())
    fresh.export(after)
    run(fresh)
    assert outputs(project) == outputs(fresh)
    assert not (project.folder / "data/masks/3.png").exists()


def summary(project: Project) -> str:
    pull(project.params, project.folder, Silent(), Credentials())
    return rasterise(project.params, project.folder, Silent())


def test_only_what_changed_is_read(project: Project):
    tasks = [task(number, [polygon(WHOLE, "car")] if number % 2 else None) for number in range(1, 41)]
    tasks[4] = task(5, [polygon(WHOLE, size_wh=(9, 9))])
    project.export(tasks)
    assert summary(project).endswith("40 tasks read")
    before = outputs(project)
    assert summary(project).endswith(" 0 tasks read")
    assert outputs(project) == before
    tasks[0] = task(1, [polygon(LEFT_HALF, "tree")])
    project.export(tasks)
    assert summary(project).endswith(" 1 tasks read")
    (project.folder / "data/masks/3.png").unlink()
    assert summary(project).endswith(" 1 tasks read")
    project.raw["rasterise"] = {"overlap": "order"}
    assert summary(project).endswith("40 tasks read")


@pytest.mark.parametrize("name", [".maskloop/rasterised.parquet", "data/samples.parquet", "data/rejects.parquet"])
@pytest.mark.parametrize("content", [None, b"", b"older"])
def test_without_a_fitting_record_everything_is_made_again(project: Project, name: str, content: bytes | None):
    project.export([task(1, [polygon(WHOLE)]), task(2, [polygon(LEFT_HALF, "lake")])])
    run(project)
    before = outputs(project)
    if content is None:
        (project.folder / name).unlink()
    else:
        (project.folder / name).write_bytes(content)
    assert summary(project).endswith(" 2 tasks read")
    assert outputs(project) == before


def test_a_killed_run_leaves_no_record(project: Project, monkeypatch: pytest.MonkeyPatch):
    project.export([task(1, [polygon(WHOLE)])])
    run(project)
    project.export([task(1, [polygon(WHOLE)]), task(2, [polygon(WHOLE)])])
    monkeypatch.setattr("pipeline.sampling.write_mask", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(project)
    monkeypatch.undo()
    assert summary(project).endswith(" 2 tasks read")


def test_the_pool_gives_the_same_bytes(project: Project, tmp_path_factory: pytest.TempPathFactory, monkeypatch):
    tasks = [task(number, [polygon(WHOLE, "car"), polygon(LEFT_HALF, "lake")]) for number in range(1, 81)]
    alone = Project(tmp_path_factory.mktemp("alone"))
    for made, pool_from in ((project, 10), (alone, 1000)):
        monkeypatch.setattr("pipeline.rasterise.POOL_FROM", pool_from)
        monkeypatch.setattr("pipeline.rasterise._cores", lambda: 2)
        made.export(tasks)
        run(made)
    assert outputs(project) == outputs(alone)


def test_an_image_that_comes_back_is_fetched_again(project: Project):
    project.export([task(1, [polygon(WHOLE)], "late.png")])
    run(project)
    assert rows(project, "manifest") == []
    project.image("late.png", seed=3)
    run(project)
    assert [row["task_id"] for row in rows(project, "manifest")] == [1]
    assert rows(project, "rejects") == []


@pytest.mark.parametrize("content", ["", "{", "{}", json.dumps([{"id": 1}]), json.dumps([{"image": "x", "label": []}])])
def test_what_is_no_export_is_one_line_and_leaves_everything(project: Project, content: str):
    project.export([task(1, [polygon(WHOLE)])])
    run(project)
    before = outputs(project)
    (project.folder / "export.json").write_text(content)
    with pytest.raises(MaskloopError) as caught:
        run(project)
    assert "\n" not in str(caught.value)
    assert outputs(project) == before
