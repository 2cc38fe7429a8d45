"""Several processes and several parts: the same loss curve as one process that takes the batch whole."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from pipeline import checkpoint
from pipeline.progress import Silent
from pipeline.train import train
from schemas.errors import ParamsError
from schemas.manifest import CHALLENGER_DIR, TRAIN_REPORT_DIR
from tests.unit.drawn_project import draw_project, drawn_params

ROOT = Path(__file__).parents[2]
OPTIONS = {
    "architecture_options": {"width": 4, "depth": 2, "norm": "group"},
    "batch_size": 4,
    "epochs": 4,
    "learning_rate": 0.01,
    "precision": "float32",
    "clip_norm": 1.0,
    "ema": 0.9,
}


def curve(folder: Path, name: str) -> list[float]:
    with (folder / TRAIN_REPORT_DIR / f"plots/metrics/{name}.tsv").open() as stream:
        return [float(row[name.split("/")[1]]) for row in csv.DictReader(stream, delimiter="\t")]


def torchrun(folder: Path, processes: int, **options: object) -> subprocess.CompletedProcess[str]:
    params = drawn_params(**options).model_dump(mode="json")
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [*launcher, "-m", "pipeline.cli", "train"]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("alone")
    draw_project(folder, {"train": 7, "val": 3})
    train(drawn_params(**OPTIONS), folder, Silent())
    return folder


def test_two_processes_learn_as_one(alone: Path, tmp_path: Path):
    draw_project(tmp_path, {"train": 7, "val": 3})
    result = torchrun(tmp_path, 2, **OPTIONS)
    assert result.returncode == 0, result.stderr
    np.testing.assert_allclose(curve(tmp_path, "train/loss"), curve(alone, "train/loss"), rtol=1e-4)
    np.testing.assert_allclose(curve(tmp_path, "val/miou"), curve(alone, "val/miou"), atol=0.01)
    cards = [checkpoint.read_card(folder / CHALLENGER_DIR) for folder in (alone, tmp_path)]
    assert cards[0].epoch == cards[1].epoch
    assert [result.stdout.count(text) for text in ("epoch 4/4", "train: unet-")] == [1, 1], "only one process speaks"


@pytest.mark.parametrize("parts", [2, 4])
def test_a_batch_in_parts_is_learned_as_the_whole(alone: Path, tmp_path: Path, parts: int):
    draw_project(tmp_path, {"train": 7, "val": 3})
    train(drawn_params(**OPTIONS, accumulate=parts), tmp_path, Silent())
    np.testing.assert_allclose(curve(tmp_path, "train/loss"), curve(alone, "train/loss"), rtol=1e-4)


def test_parts_that_are_not_equal_are_refused():
    with pytest.raises(ParamsError, match="batches of 4 have no 3 equal parts"):
        drawn_params(batch_size=4, accumulate=3)


def test_clipping_changes_what_is_learned(alone: Path, tmp_path: Path):
    draw_project(tmp_path, {"train": 7, "val": 3})
    train(drawn_params(**{**OPTIONS, "clip_norm": 1e-3}), tmp_path, Silent())
    assert curve(tmp_path, "train/loss")[0] != curve(alone, "train/loss")[0]
