"""`kill -9` while `maskloop train` is at any step: run again, it ends in the weights of an undisturbed run."""

import random
import subprocess
import time
from pathlib import Path

import yaml

from connectors.storage import read_json
from tests.integration.conftest import ProjectFolder
from tests.unit.drawn_project import draw_project, drawn_params

OPTIONS = {
    "architecture": "pspnet",
    "architecture_options": {"width": 8},
    "batch_size": 2,
    "epochs": 60,
    "validate_every": 20,
    "ema": 0.99,
    "save_every_s": 0,
}


def project(folder: Path) -> ProjectFolder:
    draw_project(folder, {"train": 7, "val": 2})
    (folder / "params.yaml").write_text(yaml.safe_dump(drawn_params(**OPTIONS).model_dump(mode="json")))
    return ProjectFolder(folder)


def saved_at(made: ProjectFolder) -> float:
    return max((path.stat().st_mtime for path in made.folder.glob(".maskloop/train/*/last.pt")), default=0.0)


def kill_after_next_save(made: ProjectFolder, delay_s: float) -> None:
    before = saved_at(made)
    process = subprocess.Popen(["maskloop", "train"], cwd=made.folder, env=made.environment)
    while saved_at(made) <= before and process.poll() is None:
        time.sleep(0.005)
    time.sleep(delay_s)
    process.kill()
    assert process.wait() != 0, "it ended before it was killed"


def test_training_killed_at_random_steps_ends_in_the_same_weights(tmp_path: Path):
    whole, killed = project(tmp_path / "whole"), project(tmp_path / "killed")
    whole.ok("maskloop", "train")
    delays_s = [random.random() * 0.4 for _ in range(2)]
    for delay_s in delays_s:
        kill_after_next_save(killed, delay_s)
    assert "going on after epoch" in killed.ok("maskloop", "train")
    cards = [read_json(each.folder / "models/challenger/model.json") for each in (whole, killed)]
    assert cards[0] == cards[1], delays_s
