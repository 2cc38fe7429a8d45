"""Evaluate and gate on drawn data."""

import json
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from connectors.masks import read_mask
from connectors.storage import read_json
from pipeline import checkpoint
from pipeline.dataset import read_samples
from pipeline.evaluate import evaluate
from pipeline.gate import gate
from pipeline.inference import load_network, measure
from pipeline.models import build
from pipeline.progress import Silent
from pipeline.train import train
from schemas.errors import DataError
from schemas.manifest import CHALLENGER_DIR, CHAMPION_DIR, CONFUSION, EVALUATION, GATE, SAMPLE_SCORES
from schemas.params import PredictParams
from tests.unit.drawn_project import CLASSES, draw_project, drawn_params

GOOD = {"epochs": 12, "learning_rate": 0.02, "augment": []}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    draw_project(folder, {"train": 6, "val": 3, "test": 2})
    train(drawn_params(**GOOD), folder, Silent())
    return folder


@pytest.fixture
def folder(trained, tmp_path):
    """A project with a good challenger and no champion."""
    draw_project(tmp_path, {"train": 6, "val": 3, "test": 2})
    checkpoint.copy(trained / CHALLENGER_DIR, tmp_path / CHALLENGER_DIR)
    return tmp_path


def put_untrained(model_dir, trained):
    """Put weights that never saw an image into `model_dir`. Returns their card."""
    torch.manual_seed(5)
    model = build("unet", len(CLASSES), {"width": 4, "depth": 2})
    return checkpoint.save(model_dir, model.state_dict(), checkpoint.read_card(trained / CHALLENGER_DIR))


def test_no_champion_means_promotion(folder):
    assert gate(drawn_params(), folder, Silent()) == "promoted: there was no champion"
    report = read_json(folder / GATE)
    assert report["decision"] == "promoted"
    assert report["champion_before"] is None
    assert report["champion"] == report["challenger"]["model_version"]
    assert report["val_samples"] == 3
    assert checkpoint.read_card(folder / CHAMPION_DIR) == checkpoint.read_card(folder / CHALLENGER_DIR)


@pytest.mark.parametrize("killed_before", ["the copy", "dvc.lock"])
def test_killed_and_run_again_it_ends_in_the_same_state(folder, killed_before):
    gate(drawn_params(), folder, Silent())
    first = (folder / GATE).read_bytes()
    if killed_before == "the copy":
        shutil.rmtree(folder / CHAMPION_DIR)
    assert gate(drawn_params(), folder, Silent()) == "promoted: there was no champion"
    assert (folder / GATE).read_bytes() == first
    assert checkpoint.read_card(folder / CHAMPION_DIR) == checkpoint.read_card(folder / CHALLENGER_DIR)


def test_the_champion_as_its_own_challenger_is_kept(folder):
    gate(drawn_params(), folder, Silent())
    (folder / GATE).unlink()
    assert gate(drawn_params(), folder, Silent()) == "kept: the challenger is the champion already"


def test_a_worse_challenger_is_not_promoted_unless_tolerated(folder, trained):
    gate(drawn_params(), folder, Silent())
    champion = checkpoint.read_card(folder / CHAMPION_DIR)
    worse = put_untrained(folder / CHALLENGER_DIR, trained)
    assert gate(drawn_params(), folder, Silent()).startswith("kept: the challenger is worse: mean IU ")
    report = read_json(folder / GATE)
    assert report["champion"] == report["champion_before"]["model_version"] == champion.model_version
    assert report["challenger"]["mean_iu"] < report["champion_before"]["mean_iu"]
    assert checkpoint.read_card(folder / CHAMPION_DIR) == champion

    lenient = drawn_params().model_copy(update={"gate": {"tolerance": 1.0}})
    lenient = type(lenient).model_validate(lenient.model_dump(warnings=False))
    assert gate(lenient, folder, Silent()).startswith("promoted: mean IU ")
    assert checkpoint.read_card(folder / CHAMPION_DIR) == worse


def test_a_better_challenger_is_promoted(folder, trained):
    put_untrained(folder / CHAMPION_DIR, trained)
    assert gate(drawn_params(), folder, Silent()).startswith("promoted: mean IU ")
    assert checkpoint.read_card(folder / CHAMPION_DIR) == checkpoint.read_card(folder / CHALLENGER_DIR)


@pytest.mark.parametrize("damage", ["classes", "weights"])
def test_a_champion_that_cannot_be_compared_is_replaced(folder, trained, damage):
    old = put_untrained(folder / CHAMPION_DIR, trained)
    if damage == "classes":
        path = folder / CHAMPION_DIR / "model.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "class_map_digest": "other"}))
    else:
        (folder / CHAMPION_DIR / f"{old.model_version}.safetensors").write_bytes(b"")
    assert gate(drawn_params(), folder, Silent()).startswith("promoted: the champion can't be compared: ")
    assert checkpoint.load(folder / CHAMPION_DIR, drawn_params().class_map)


def test_evaluate_writes_scores_that_agree_with_its_masks(folder):
    summary = evaluate(drawn_params(), folder, Silent())
    report = read_json(folder / EVALUATION)
    assert set(report) == {"val", "test"}
    assert f"val {report['val']['mean_iu']:.3f}" in summary
    assert report["val"]["mean_iu"] == checkpoint.read_card(folder / CHALLENGER_DIR).val_mean_iu
    assert report["val"]["per_class"]["never"] is None
    assert report["val"]["per_class_boundary_iou"]["never"] is None
    assert 0 < report["val"]["boundary_iou"] < report["val"]["mean_iu"]
    assert 0 < report["val"]["boundary_f1"] <= 1
    assert 0 < report["val"]["expected_calibration_error"] < 1
    rows = pq.read_table(folder / SAMPLE_SCORES).to_pylist()
    assert {row["task_id"]: row["split"] for row in rows} == {7: "val", 8: "val", 9: "val", 10: "test", 11: "test"}
    for row in rows:
        actual = read_mask(folder / f"data/masks/{row['task_id']}.png")
        predicted = read_mask(folder / row["prediction"])
        labelled = actual != 255
        assert predicted.max() < len(CLASSES)
        assert row["pixel_accuracy"] == pytest.approx((actual == predicted)[labelled].mean())
    lines = (folder / CONFUSION).read_text().splitlines()
    assert lines[0] == "actual,predicted,pixels"
    assert sum(int(line.rsplit(",", 1)[1]) for line in lines[1:]) == 3 * (40 * 60 - 2 * 60)


def test_evaluate_measures_what_predict_does_in_tiles(folder):
    """Overlapping tiles and flips give other masks than the whole image, and the scores are of those masks."""
    params = drawn_params()
    tiled = params.model_copy(update={"predict": PredictParams(tile_hw=(32, 32), flips=True)})
    evaluate(params, folder, Silent())
    whole = read_json(folder / EVALUATION)["val"]
    evaluate(tiled, folder, Silent())
    found = read_json(folder / EVALUATION)["val"]
    assert found["pixel_accuracy"] != whole["pixel_accuracy"]
    assert found["pixel_accuracy"] > 0.8 * whole["pixel_accuracy"]


def test_evaluate_without_a_test_split_says_so(folder):
    draw_project(folder, {"train": 1, "val": 1})
    evaluate(drawn_params(), folder, Silent())
    assert set(read_json(folder / EVALUATION)) == {"val"}


def test_without_a_challenger_there_is_nothing_to_judge(tmp_path):
    draw_project(tmp_path, {"train": 1, "val": 1})
    with pytest.raises(DataError, match="does not exist"):
        gate(drawn_params(), tmp_path, Silent())


def test_predictions_have_each_images_size_and_a_probability(folder):
    network, _ = load_network(folder / CHALLENGER_DIR, drawn_params())
    images = [np.full((*size_hw, 3), 90, np.uint8) for size_hw in ((33, 70), (200, 100))]
    for image, prediction in zip(images, network.predict(images), strict=True):
        assert prediction.mask.shape == prediction.confidence.shape == image.shape[:2]
        assert prediction.mask.dtype == np.uint8
        assert prediction.mask.max() < len(CLASSES)
        assert 1 / len(CLASSES) <= prediction.confidence.min() <= prediction.confidence.max() <= 1


def test_batches_do_not_change_what_is_measured(folder):
    network, _ = load_network(folder / CHALLENGER_DIR, drawn_params(precision="float32"))
    val = read_samples(folder, 3)["val"]
    one, all_at_once = (sum(confusion for _, _, confusion in measure(network, val, size)) for size in (1, 3))
    np.testing.assert_array_equal(one, all_at_once)
