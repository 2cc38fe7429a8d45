"""The predict stage with a network of random weights: rows for open tasks alone, and polygons that are the mask."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from connectors.base import Credentials
from connectors.label_studio_json import loads, parse_regions
from connectors.masks import read_mask
from connectors.storage import read_table
from pipeline import checkpoint
from pipeline.models import build
from pipeline.predict import predict
from pipeline.progress import Silent
from pipeline.pull import pull
from pipeline.raster import paint
from schemas.errors import ClassMapError, DataError
from schemas.manifest import CHAMPION_DIR, PREDICTIONS_DIR, PREDICTIONS_SCHEMA
from schemas.regions import Region
from tests.conftest import WHOLE, Project, annotation, polygon, task
from tests.model_cards import model_card


class Said(Silent):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture
def pulled(project: Project) -> Project:
    """Task 1 is annotated, 4 skipped, 2 and 3 are open, of different sizes; a champion of random weights."""
    for number, size_wh in ((1, (40, 30)), (2, (60, 45)), (3, (33, 50))):
        project.image(f"{number}.png", size_wh, seed=number)
    skipped = task(4, image="1.png") | {"annotations": [annotation([], 5, was_cancelled=True)]}
    project.export(
        [task(1, [polygon(WHOLE, size_wh=(40, 30))], "1.png"), task(2, image="2.png"), task(3, image="3.png"), skipped]
    )
    project.raw |= {
        "predict": {"tolerance_px": 0, "min_area_px": 0, "batch_size": 1},
        "train": {"device": "cpu", "precision": "float32"},
    }
    pull(project.params, project.folder, Silent(), Credentials())
    torch.manual_seed(0)
    class_map = project.params.class_map
    card = model_card(class_map)
    weights = build("unet", len(class_map), card.architecture_options).state_dict()
    weights["classify.weight"] -= weights["classify.weight"].mean(dim=1, keepdim=True)  # else one class wins everywhere
    checkpoint.save(project.folder / CHAMPION_DIR, weights, card)
    return project


def predicted(project: Project, said: Said | None = None) -> list[dict[str, Any]]:
    predict(project.params, project.folder, said or Said())
    rows: list[dict[str, Any]] = read_table(
        project.folder / PREDICTIONS_DIR / "predictions.parquet", PREDICTIONS_SCHEMA
    ).to_pylist()
    return rows


def files(project: Project) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (project.folder / PREDICTIONS_DIR).iterdir()}


def test_open_tasks_get_rows_with_scores(pulled: Project):
    rows = predicted(pulled)
    assert [(row["task_id"], row["width"], row["height"]) for row in rows] == [(2, 60, 45), (3, 33, 50)]
    version = checkpoint.read_card(pulled.folder / CHAMPION_DIR).model_version
    for row in rows:
        result = loads(row["result"])
        assert row["model_version"] == version
        assert row["regions"] == len(result) == len({item["id"] for item in result}) > 1
        assert 0 < row["score"] < 1
        assert all(0 <= item["score"] <= 1 for item in result)
    assert set(files(pulled)) == {"predictions.parquet", "2.png", "3.png"}


def test_painting_the_polygons_gives_the_mask_back(pulled: Project):
    class_map = pulled.params.class_map
    for row in predicted(pulled):
        mask = read_mask(pulled.folder / row["mask"])
        painted = np.full_like(mask, 255)
        for region in parse_regions(row["result"]):
            assert isinstance(region, Region)
            paint(painted, [(region, class_map.names.index(region.label))])
        np.testing.assert_array_equal(painted, mask)
        assert len(np.unique(mask)) > 1
        assert row["outline_iou"] == 1.0


def test_what_a_budget_of_vertices_costs_is_stated(pulled: Project):
    pulled.raw["predict"]["max_vertices"] = 6
    summary = predict(pulled.params, pulled.folder, Silent())
    rows = read_table(pulled.folder / PREDICTIONS_DIR / "predictions.parquet", PREDICTIONS_SCHEMA).to_pylist()
    kept = [row["outline_iou"] for row in rows]
    assert all(0 < iou < 1 for iou in kept)
    assert summary.endswith(f"a mean IoU of {np.mean(kept):.4f}")


@pytest.mark.parametrize("batch_size", [1, 8])
def test_again_gives_the_same_bytes(pulled: Project, batch_size: int):
    pulled.raw["predict"]["batch_size"] = batch_size
    predicted(pulled)
    before = files(pulled)
    predicted(pulled)
    assert files(pulled) == before


def test_an_image_that_is_gone_is_left_out_with_a_line(pulled: Project):
    first, second = predicted(pulled)
    Path(pulled.folder / first["image"]).unlink()
    said = Said()
    assert predicted(pulled, said) == [second]
    assert len(said.lines) == 1
    assert said.lines[0].startswith("task 2 left out: ")
    assert set(files(pulled)) == {"predictions.parquet", "3.png"}


def test_a_task_that_has_been_annotated_is_predicted_no_more(pulled: Project):
    predicted(pulled)
    pulled.export([task(2, [polygon(WHOLE, size_wh=(60, 45))], "2.png"), task(3, image="3.png")])
    pull(pulled.params, pulled.folder, Silent(), Credentials())
    assert [row["task_id"] for row in predicted(pulled)] == [3]
    assert set(files(pulled)) == {"predictions.parquet", "3.png"}


def test_nothing_open_is_an_empty_table(pulled: Project):
    pulled.export([task(1, [polygon(WHOLE, size_wh=(40, 30))], "1.png")])
    pull(pulled.params, pulled.folder, Silent(), Credentials())
    assert predicted(pulled) == []


def test_without_a_champion_it_is_said(project: Project):
    with pytest.raises(DataError, match="does not exist"):
        predict(project.params, project.folder, Silent())


def test_a_champion_of_other_classes_is_refused(pulled: Project):
    pulled.raw["classes"] = [{"name": "lake"}]
    with pytest.raises(ClassMapError, match="lake"):
        predict(pulled.params, pulled.folder, Silent())
