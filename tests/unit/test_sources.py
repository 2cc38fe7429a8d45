"""Masks filled beyond what people labelled: by whom, counted, brought up to date, and never measured on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from connectors.base import Credentials
from connectors.masks import read_mask
from connectors.sam_pickle import ImagePrelabels, Prelabel, read_sam_pickle, write_sam_pickle
from connectors.storage import read_table, write_table
from connectors.task_store import read_tasks
from pipeline import prelabel as stage
from pipeline.assign import assign
from pipeline.dataset import load_mask, read_samples
from pipeline.progress import Silent
from pipeline.pull import pull
from pipeline.rasterise import rasterise
from schemas.errors import DataError, ParamsError
from schemas.labels import VOID_INDEX
from schemas.manifest import ASSIGNED, MANIFEST, MANIFEST_SCHEMA, MASKS_DIR, PRELABELS_DIR, SOURCES_DIR
from schemas.params import parse_params
from tests.conftest import LEFT_HALF, Project, polygon, task
from tests.unit.test_assign import SIZE_HW, TREE, box, prelabel

ROAD = 0
CUT = [[50, 0], [60, 0], [60, 100], [50, 100]]


@pytest.fixture
def filled(project: Project) -> Project:
    """Task 1: its left half is road, columns 10 and 11 void; a tree is detected in columns 9 to 15. Task 2: no mask."""
    project.raw["prelabel"] = {"assign": ["human", "detector"]}
    project.raw["rasterise"] = {"sources": ["human", "sam"]}
    project.image("b.png", seed=1)
    project.export(
        [
            task(1, [polygon(LEFT_HALF, "road", "r1"), polygon(CUT, "void", "r2")]),
            task(2, [polygon(LEFT_HALF, "road", "r3")], image="b.png"),
        ]
    )
    pull(project.params, project.folder, Silent(), Credentials())
    save_pickle(project, prelabel(box(0, 9, 10, 16), "tree", 0.7))
    run(project)
    return project


def save_pickle(project: Project, *items: Prelabel) -> None:
    (row,) = (row for row in tasks(project) if row["task_id"] == 1)
    content = ImagePrelabels(row["image_sha256"], SIZE_HW, "sam", "made", items)
    write_sam_pickle(project.folder / PRELABELS_DIR / f"{row['image_sha256']}.pkl", content)


def tasks(project: Project) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = read_tasks(project.folder / "data/tasks").to_pylist()
    return rows


def run(project: Project) -> str:
    assign(project.params, project.folder, Silent())
    return rasterise(project.params, project.folder, Silent())


def manifest(project: Project) -> dict[int, dict[str, Any]]:
    return {row["task_id"]: row for row in read_table(project.folder / MANIFEST, MANIFEST_SCHEMA).to_pylist()}


def names(project: Project) -> list[str]:
    return sorted(path.name for path in (project.folder / SOURCES_DIR).iterdir())


def test_masks_fill_what_nobody_labelled_and_the_manifest_counts_by_whom(filled: Project) -> None:
    mask = read_mask(filled.folder / MASKS_DIR / "1.png")
    sources = read_mask(filled.folder / SOURCES_DIR / "1.png")
    assert mask[0].tolist() == [ROAD] * 10 + [VOID_INDEX] * 2 + [TREE] * 4 + [VOID_INDEX] * 4
    assert sources[0].tolist() == [1] * 10 + [0] * 2 + [2] * 4 + [0] * 4
    assert names(filled) == ["1.png"]
    rows = manifest(filled)
    assert rows[1]["source_pixels"] == {"human": 100, "sam": 40, "model": 0}
    assert rows[2]["source_pixels"] == {"human": 100, "sam": 0, "model": 0}
    assert rows[1]["class_pixels"] == [100, 0, 40]


def test_only_changed_assignments_change_a_sample(filled: Project) -> None:
    before = manifest(filled)
    assert run(filled).endswith("0 tasks read")
    save_pickle(filled, prelabel(box(0, 9, 10, 14), "tree", 0.7))
    run(filled)
    after = manifest(filled)
    assert after[1]["source_pixels"]["sam"] == 20
    assert after[1]["inputs_sha256"] != before[1]["inputs_sha256"]
    assert after[2] == before[2]


def test_people_alone_again_leave_nothing_behind(filled: Project) -> None:
    filled.raw["rasterise"] = {"sources": ["human"]}
    rasterise(filled.params, filled.folder, Silent())
    assert names(filled) == []
    assert manifest(filled)[1]["source_pixels"] == {"human": 100, "sam": 0, "model": 0}


def test_people_alone_need_no_assignment(project: Project) -> None:
    project.export([task(1, [polygon(LEFT_HALF)])])
    pull(project.params, project.folder, Silent(), Credentials())
    rasterise(project.params, project.folder, Silent())
    assert manifest(project)[1]["source_pixels"] == {"human": 100, "sam": 0, "model": 0}


@pytest.mark.parametrize(("split", "labelled"), [("train", 140), ("val", 100), ("test", 100)])
def test_only_training_sees_what_people_did_not_label(filled: Project, split: str, labelled: int) -> None:
    rows = [{**row, "split": split} for row in manifest(filled).values()]
    write_table(filled.folder / MANIFEST, rows, MANIFEST_SCHEMA)
    sample = read_samples(filled.folder, 3)[split][0]
    assert np.count_nonzero(load_mask(sample) != VOID_INDEX) == labelled


def test_what_was_assigned_must_be_what_is_there(filled: Project) -> None:
    save_pickle(filled, prelabel(box(0, 0, 10, 3), "tree", 0.7))
    filled.raw["rasterise"] = {"sources": ["human", "sam", "model"]}
    with pytest.raises(DataError, match=r"is not what data/assigned\.parquet was made from"):
        rasterise(filled.params, filled.folder, Silent())
    (filled.folder / ASSIGNED).unlink()
    with pytest.raises(DataError, match=r"assigned\.parquet does not exist"):
        rasterise(filled.params, filled.folder, Silent())


def test_a_sample_begins_with_people(project: Project) -> None:
    project.raw["rasterise"] = {"sources": ["sam"]}
    with pytest.raises(ParamsError, match="leaves out `human`"):
        parse_params(project.raw)


def test_pickles_hold_the_image_where_it_is_asked_for(project: Project) -> None:
    project.export([task(1)])
    pull(project.params, project.folder, Silent(), Credentials())
    for embed in (False, True):
        project.raw["prelabel"] = {"embed_image": embed}
        stage.prelabel(project.params, project.folder, Silent())
        (path,) = (project.folder / PRELABELS_DIR).glob("*.pkl")
        image = read_sam_pickle(path).image
        assert (image is not None) == embed
    assert image is not None and image.shape == (*SIZE_HW, 3)
