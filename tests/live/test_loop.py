"""The whole loop against a real Label Studio: `dvc repro`, what it left there, and what a second one does."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from playwright.sync_api import Page

from connectors.base import Credentials
from connectors.label_studio import LabelStudioProject, Server
from connectors.label_studio_json import loads
from connectors.label_studio_server import LocalServer
from connectors.task_store import read_tasks
from pipeline.demo import sample_project
from pipeline.progress import Silent
from pipeline.pull import pull
from schemas.params import load_params
from tests.conftest import polygon
from tests.live.editor import SELECTED, Editor

QUICK = {"size_hw": [48, 64], "epochs": 2, "architecture_options": {"width": 4}, "validate_every": 1}


@dataclass
class Loop:
    """A project folder on the sample project of the live server."""

    folder: Path
    server: Server
    project: int
    first_output: str

    @property
    def environment(self) -> dict[str, str]:
        login_dir = str(Path(sys.executable).parent)
        return os.environ | {
            "PATH": f"{login_dir}:{os.environ['PATH']}",
            "LABEL_STUDIO_URL": self.server.url,
            "LABEL_STUDIO_API_KEY": self.api_key,
            "DVC_NO_ANALYTICS": "1",
        }

    api_key: str = ""

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False, timeout=600
        )

    def repro(self) -> str:
        result = self.run(sys.executable, "-m", "dvc", "repro")
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout + result.stderr

    def tasks(self) -> list[dict[str, Any]]:
        query = {"project": self.project, "fields": "all", "page_size": 1000}
        return list(loads(self.server.get("/api/tasks", query).content)["tasks"])

    def model_version(self) -> str:
        return str(loads(self.server.get(f"/api/projects/{self.project}/").content)["model_version"])


def executed(output: str) -> set[str]:
    return set(re.findall(r"Running stage '(\w+)'", output))


@pytest.fixture(scope="module")
def loop(local: LocalServer, server: Server, tmp_path_factory: pytest.TempPathFactory) -> Loop:
    login = local.login()
    assert login is not None
    project = sample_project(server, tmp_path_factory.mktemp("sample"), Silent())
    folder = tmp_path_factory.mktemp("loop")
    loop = Loop(folder, server, project, "", login.api_key)
    assert loop.run("maskloop", "init", "--project", str(project)).returncode == 0
    raw = yaml.safe_load((folder / "params.yaml").read_text())
    raw["train"] |= QUICK
    (folder / "params.yaml").write_text(yaml.safe_dump(raw))
    doctor = loop.run("maskloop", "doctor")
    assert doctor.returncode == 0, doctor.stdout
    loop.first_output = loop.repro()
    return loop


def test_every_stage_ran(loop: Loop):
    assert executed(loop.first_output) == set(yaml.safe_load((loop.folder / "dvc.yaml").read_text())["stages"])


def test_what_was_annotated_is_in_the_manifest(loop: Loop):
    rows = pq.read_table(loop.folder / "data/manifest.parquet").to_pylist()
    assert len(rows) == 39  # 40 annotated, one of them skipped
    assert {row["split"] for row in rows} == {"train", "val", "test"}
    assert pq.read_table(loop.folder / "data/rejects.parquet").num_rows == 0
    turned = [row for row in rows if row["image"].endswith(".jpg") and (row["width"], row["height"]) != (480, 360)]
    assert turned == []


def test_the_twenty_open_tasks_have_one_prediction_each(loop: Loop):
    predicted = [task for task in loop.tasks() if task["predictions"]]
    assert len(predicted) == 20
    assert all(len(task["predictions"]) == 1 and not task["annotations"] for task in predicted)
    assert {task["predictions"][0]["model_version"] for task in predicted} == {loop.model_version()}
    assert loop.model_version() == json.loads((loop.folder / "reports/gate.json").read_text())["champion"]


def test_the_token_is_nowhere_in_the_folder(loop: Loop):
    holders = [
        path
        for path in loop.folder.rglob("*")
        if path.is_file() and path.name != ".env" and loop.api_key.encode() in path.read_bytes()
    ]
    assert holders == []
    assert loop.api_key not in loop.first_output


def test_nothing_new_runs_only_the_look_at_the_server_and_push(loop: Loop):
    predictions = {task["id"]: task["predictions"] for task in loop.tasks()}
    assert executed(loop.repro()) == {"probe", "push"}
    assert {task["id"]: task["predictions"] for task in loop.tasks()} == predictions


def test_dvc_shows_metrics_and_plots(loop: Loop):
    metrics = loop.run(sys.executable, "-m", "dvc", "metrics", "show")
    assert metrics.returncode == 0 and "reports/evaluate.json" in metrics.stdout
    plots = loop.run(sys.executable, "-m", "dvc", "plots", "show")
    assert plots.returncode == 0, plots.stderr
    assert "index.html" in plots.stdout


def test_a_browser_shows_the_prediction_as_regions(loop: Loop, page: Page):
    expected = next(task for task in loop.tasks() if task["predictions"])
    result = expected["predictions"][0]["result"]
    editor = Editor(page, loop.server.url, loop.project, expected["id"], regions=len(result))
    shown = editor.page.evaluate(f"{SELECTED}.regions.map(region => region.labels).flat()")
    assert sorted(shown) == sorted(item["value"]["polygonlabels"][0] for item in result)
    assert len(page.screenshot(path=loop.folder / "task.png")) > 20_000


def test_corrections_come_back_and_deletions_too(loop: Loop):
    """Runs last but one: it changes the project."""
    open_task, other = [task for task in loop.tasks() if task["predictions"]][:2]
    annotated = next(task for task in loop.tasks() if task["annotations"])
    whole = polygon([[0, 0], [100, 0], [100, 100], [0, 100]], "sky", "corrected", (480, 360))
    path = f"/api/tasks/{open_task['id']}/annotations/"
    loop.server.send("POST", path, {"result": [whole], "parent_prediction": open_task["predictions"][0]["id"]})
    loop.server.send("DELETE", f"/api/tasks/{other['id']}/")
    human = next(task for task in loop.tasks() if task["id"] == annotated["id"])["annotations"]
    before = (loop.folder / "data/masks" / f"{annotated['id']}.png").stat().st_mtime_ns

    assert {"pull", "rasterise", "train"} <= executed(loop.repro())

    rows = {row["task_id"]: row for row in pq.read_table(loop.folder / "data/manifest.parquet").to_pylist()}
    sky = [entry["name"] for entry in yaml.safe_load((loop.folder / "params.yaml").read_text())["classes"]].index("sky")
    assert rows[open_task["id"]]["class_pixels"][sky] == 480 * 360
    stored = read_tasks(loop.folder / "data/tasks").to_pylist()
    assert other["id"] not in {row["task_id"] for row in stored}
    (corrected,) = next(row for row in stored if row["task_id"] == open_task["id"])["annotations"]
    assert corrected["parent_prediction"] == open_task["predictions"][0]["id"]
    assert (loop.folder / "data/masks" / f"{annotated['id']}.png").stat().st_mtime_ns == before
    after = next(task for task in loop.tasks() if task["id"] == annotated["id"])["annotations"]
    assert [entry["result"] for entry in after] == [entry["result"] for entry in human]
    versions = loads(loop.server.get(f"/api/projects/{loop.project}/model-versions/").content)
    assert set(versions) == {loop.model_version()}
    champion = json.loads((loop.folder / "reports/gate.json").read_text())["champion"]
    assert loop.model_version() == champion


def test_a_pull_waits_for_a_server_that_restarts(loop: Loop, local: LocalServer, tmp_path: Path):
    params = load_params(loop.folder / "params.yaml")
    credentials = Credentials(loop.server.url, loop.api_key)
    project = LabelStudioProject.connect(params, credentials)
    assert local.stop()
    restart = threading.Timer(2.0, lambda: list(local.start()))
    restart.start()
    try:
        summary = pull(params, tmp_path, Silent(), credentials)
    finally:
        restart.join()
    assert summary.startswith(f"{len(project.listing())} tasks")
    assert read_tasks(tmp_path / "data/tasks").num_rows == len(project.listing())
