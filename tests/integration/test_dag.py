"""`dvc repro` as a user runs it, on the sample project as an export file."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

from connectors.masks import read_mask
from tests.integration.conftest import QUICK, ROOT, ProjectFolder

Sections = dict[str, Any]


def project(folder: Path, **sections: Any) -> ProjectFolder:
    folder.mkdir(parents=True, exist_ok=True)
    made = ProjectFolder(folder)
    made.params(**sections)
    shutil.copy(ROOT / "dvc.yaml", folder)
    made.ok("dvc", "init", "--no-scm", "--quiet")
    return made


def with_prelabels(folder: Path, done: ProjectFolder, **sections: Any) -> ProjectFolder:
    """A project that holds the pre-labels already, as one has whose later stages are run again."""
    shutil.copytree(done.folder / "data/prelabels", folder / "data/prelabels")
    return project(folder, **sections)


def executed(output: str) -> list[str]:
    return re.findall(r"Running stage '(\w+)'", output)


@pytest.fixture(scope="module")
def sections(source: Sections, classes: list[Sections]) -> Sections:
    split = {"val": 0.2, "test": 0.15, "seed": 11, "group_by": "video"}
    return {"source": source, "classes": classes, "split": split, "train": QUICK}


@pytest.fixture(scope="module")
def done(sections: Sections, tmp_path_factory: pytest.TempPathFactory) -> ProjectFolder:
    made = project(tmp_path_factory.mktemp("done"), **sections)
    made.ok("dvc", "repro")
    return made


def content(made: ProjectFolder, name: str) -> Any:
    return json.loads((made.folder / name).read_text())


def test_every_sample_has_a_mask_of_declared_classes(done: ProjectFolder, classes: list[Sections]):
    rows = pq.read_table(done.folder / "data/manifest.parquet").to_pylist()
    assert len(rows) == 39
    for row in rows:
        mask = read_mask(done.folder / row["mask"])
        assert mask.shape == (row["height"], row["width"])
        assert set(np.unique(mask)) <= {*range(len(classes)), 255}
        assert np.bincount(mask.ravel(), minlength=256)[: len(classes)].tolist() == row["class_pixels"]
    groups: dict[str, set[str]] = {}
    for row in rows:
        groups.setdefault(row["group"], set()).add(row["split"])
    assert all(len(splits) == 1 for splits in groups.values())


def test_the_champion_predicted_the_open_tasks(done: ProjectFolder):
    rows = pq.read_table(done.folder / "data/predictions/predictions.parquet").to_pylist()
    assert len(rows) == 20
    assert {row["model_version"] for row in rows} == {content(done, "reports/gate.json")["champion"]}
    assert content(done, "reports/push.json")["kind"] == "no server"


def test_the_report_stands_alone(done: ProjectFolder):
    page = (done.folder / "reports/index.html").read_text()
    assert content(done, "reports/gate.json")["champion"] in page
    assert not re.search(r"(src|href)=[\"']?(https?:)?//", page)


def test_nothing_new_runs_next_to_nothing(done: ProjectFolder):
    assert executed(done.ok("dvc", "repro")) == ["probe", "push"]


def test_the_same_inputs_give_the_same_bytes(done: ProjectFolder, sections: Sections, tmp_path: Path):
    again = project(tmp_path, **sections)
    again.ok("dvc", "repro", "train")
    for name in ("data/manifest.parquet", "data/rejects.parquet", "models/challenger/model.json"):
        assert (again.folder / name).read_bytes() == (done.folder / name).read_bytes(), name


def test_training_killed_and_run_again_ends_in_the_same_model(done: ProjectFolder, sections: Sections, tmp_path: Path):
    killed = with_prelabels(tmp_path, done, **sections)
    killed.ok("dvc", "repro", "split")
    process = subprocess.Popen(["maskloop", "train"], cwd=killed.folder, env=killed.environment)
    deadline = time.monotonic() + 120
    while not list(killed.folder.glob(".maskloop/train/*/last.pt")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (killed.folder / "models/challenger/model.json").exists()
    assert "going on after epoch" in killed.ok("maskloop", "train")
    assert content(killed, "models/challenger/model.json") == content(done, "models/challenger/model.json")


@pytest.mark.parametrize("verb", ["pull", "prelabel", "rasterise"])
def test_a_data_stage_killed_anywhere_ends_in_the_same_state(
    done: ProjectFolder, sections: Sections, tmp_path: Path, verb: str
):
    killed = project(tmp_path, **sections)
    folders = {"pull": ["data/tasks", "data/images"], "prelabel": ["data/prelabels"], "rasterise": ["data/masks"]}
    if verb != "pull":
        killed.ok("maskloop", "pull")
    process = subprocess.Popen(["maskloop", verb], cwd=killed.folder, env=killed.environment)
    first = killed.folder / folders[verb][-1]
    while process.poll() is None and not (first.is_dir() and any(first.iterdir())):
        time.sleep(0.005)
    process.kill()
    process.wait()
    killed.ok("maskloop", verb)
    for name in folders[verb]:
        ours, theirs = (
            {path.name: path.read_bytes() for path in (made.folder / name).iterdir()} for made in (killed, done)
        )
        assert ours == theirs


def test_source_and_classes_are_enough(done: ProjectFolder, source: Sections, classes: list[Sections], tmp_path: Path):
    minimal = ProjectFolder(tmp_path)
    minimal.params(source=source, classes=classes)
    shutil.copytree(done.folder / "data/prelabels", tmp_path / "data/prelabels")
    minimal.ok("maskloop", "init")
    minimal.ok("dvc", "repro", "split")
    assert {row["split"] for row in pq.read_table(tmp_path / "data/manifest.parquet").to_pylist()} >= {"train", "val"}


def test_an_experiment_changes_one_parameter(sections: Sections, tmp_path: Path):
    made = ProjectFolder(tmp_path)
    made.ok("git", "init", "--quiet")
    made.ok("maskloop", "init")
    raw = yaml.safe_load((tmp_path / "params.yaml").read_text())
    made.params(**(raw | sections))
    who = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
    made.ok("git", "add", "--all")
    made.ok("git", *who, "commit", "--quiet", "--message", "start")
    made.ok("dvc", "exp", "run", "-S", "train.epochs=1", "evaluate")
    assert yaml.safe_load((tmp_path / "data/params.yaml").read_text())["train"]["epochs"] == 1
    assert "val.mean_iu" in made.ok("dvc", "metrics", "show")


@pytest.mark.parametrize(
    ("changed", "stage", "said"),
    [
        ({"train": {"epoch": 3}}, "configure", "did you mean `epochs`?"),
        ({"source": {"kind": "label_studio_export", "path": "gone.json"}}, "probe", "gone.json can't be read"),
        ({"split": {"val": 0.0, "test": 0.0}}, "train", "val"),
        ({"train": {"architecture": "resnet"}}, "train", "pspnet"),
        ({"prelabel": {"model": "sam3"}}, "prelabel", "felzenszwalb"),
    ],
)
def test_bad_parameters_end_in_one_line(
    done: ProjectFolder, sections: Sections, tmp_path: Path, changed: Sections, stage: str, said: str
):
    made = with_prelabels(tmp_path, done, **(sections | changed))
    result = made.run("dvc", "repro", stage)
    assert result.returncode != 0
    output = result.stdout + result.stderr
    assert said in output
    assert "Traceback" not in output
    assert executed(output)[-1] == stage


def test_one_annotated_task_alone_ends_in_one_line(sections: Sections, tmp_path: Path):
    tasks = json.loads(Path(sections["source"]["path"]).read_text())
    (tmp_path / "export.json").write_text(json.dumps(tasks[:2]))
    source = sections["source"] | {"path": str(tmp_path / "export.json")}
    made = project(tmp_path, **(sections | {"source": source}))
    result = made.run("dvc", "repro")
    output = result.stdout + result.stderr
    assert result.returncode != 0
    assert executed(output)[-1] == "train"
    assert re.search(r"error: .*1 train|error: .*no sample", output), output
    assert "Traceback" not in output
