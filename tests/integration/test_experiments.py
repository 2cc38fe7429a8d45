"""Experiments as DVC keeps them: queued, run, compared and plotted."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.integration.conftest import QUICK, ProjectFolder

WHO = ("-c", "user.name=test", "-c", "user.email=test@localhost")


@pytest.fixture(scope="module")
def compared(source: dict[str, str], classes: list[Any], tmp_path_factory: pytest.TempPathFactory) -> ProjectFolder:
    """A project with a first round and an experiment from the queue."""
    made = ProjectFolder(tmp_path_factory.mktemp("experiments"))
    made.ok("git", "init", "--quiet")
    made.ok("maskloop", "init")
    raw = yaml.safe_load((made.folder / "params.yaml").read_text())
    split = {"val": 0.2, "test": 0.15, "seed": 11, "group_by": "video"}
    made.params(**(raw | {"source": source, "classes": classes, "split": split, "train": QUICK | {"epochs": 1}}))
    made.ok("dvc", "repro", "evaluate")
    made.ok("git", "add", "--all")
    made.ok("git", *WHO, "commit", "--quiet", "--message", "first round")
    made.ok("git", "config", "user.name", "test")
    made.ok("git", "config", "user.email", "test@localhost")
    made.ok("dvc", "exp", "run", "--queue", "--name", "longer", "-S", "train.epochs=2", "evaluate")
    made.ok("dvc", "exp", "run", "--run-all")
    return made


def test_an_experiment_from_the_queue_is_shown_with_its_parameters_and_scores(compared: ProjectFolder):
    shown = json.loads(compared.ok("dvc", "exp", "show", "--json"))
    (baseline,) = [each for each in shown if each["rev"] != "workspace"]
    ((revision,),) = [each["revs"] for each in baseline["experiments"]]
    assert revision["name"] == "longer"
    assert revision["data"]["params"]["data/params.yaml"]["data"]["train"]["epochs"] == 2
    assert 0 <= revision["data"]["metrics"]["reports/evaluate.json"]["data"]["val"]["mean_iu"] <= 1


def test_its_curves_are_plotted_beside_the_first_rounds(compared: ProjectFolder, tmp_path: Path):
    compared.ok("dvc", "plots", "diff", "HEAD", "longer", "--out", str(tmp_path))
    page = (tmp_path / "index.html").read_text()
    for what in ("loss.tsv", "miou.tsv", "longer"):
        assert what in page
