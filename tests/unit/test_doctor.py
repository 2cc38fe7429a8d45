"""Each thing that a round needs is looked at, and what is wrong comes with what to mend."""

import shutil
from types import SimpleNamespace

import pytest
import torch
import yaml

from connectors.base import Credentials
from pipeline import doctor
from pipeline.doctor import Check, examine
from schemas.labels import ClassMap, LabelConfig, label_config
from tests.conftest import WHOLE, Project, polygon, task


@pytest.fixture
def ready(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A folder in which nothing is wrong."""
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=50e9))
    project.export([task(1, [polygon(WHOLE)]), task(2)])
    (project.folder / ".dvc").mkdir()
    (project.folder / "dvc.yaml").touch()
    return project


def checks(project: Project) -> dict[str, Check]:
    (project.folder / "params.yaml").write_text(yaml.safe_dump(project.raw))
    return {check.name: check for check in examine(project.folder, Credentials())}


def wrong(project: Project) -> Check:
    """The only thing that is wrong."""
    (found,) = (check for check in checks(project).values() if not check.ok)
    assert found.remedy
    assert "\n" not in found.found
    return found


def test_all_is_well(ready: Project):
    found = checks(ready)
    assert list(found) == ["params.yaml", "dvc", "export file", "disk", "device"]
    assert all(check.ok and not check.remedy for check in found.values())
    assert found["export file"].found == "reached, 2 tasks"
    assert found["disk"].found == "50.0 GB free"


def test_without_params_nothing_else_is_looked_at(project: Project):
    (only,) = examine(project.folder, Credentials())
    assert (only.name, only.ok) == ("params.yaml", False)
    assert "maskloop init" in only.remedy


def test_wrong_params_are_named(ready: Project):
    ready.raw["classes"] = [{"name": "road", "colour": "#000000"}]
    assert "did you mean `color`" in wrong(ready).found


def test_a_missing_export_file(ready: Project):
    (ready.folder / "export.json").unlink()
    found = checks(ready)
    assert [check.name for check in found.values() if not check.ok] == ["export file"]
    assert "can't be read" in found["export file"].found


def test_an_empty_export_file(ready: Project):
    ready.export([])
    assert "holds no task" in wrong(ready).found


def test_a_folder_without_dvc(ready: Project):
    (ready.folder / ".dvc").rmdir()
    assert wrong(ready).found == "no .dvc here"


def test_little_disk(ready: Project, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=4e9))
    assert wrong(ready).name == "disk"


def test_a_gpu_that_is_asked_for_and_absent(ready: Project, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    ready.raw["train"] = {"device": "cuda"}
    assert wrong(ready).name == "device"


def test_no_token(ready: Project):
    ready.raw["source"] = {"kind": "label_studio", "url": "http://127.0.0.1:9", "project": 1}
    found = wrong(ready)
    assert (found.name, found.found) == ("server, token, project", "no token for Label Studio")
    assert "LABEL_STUDIO_API_KEY" in found.remedy


@pytest.mark.parametrize(("names", "ok"), [(["road", "car", "tree"], True), (["road", "lake"], False)])
def test_the_label_config_is_compared(ready: Project, monkeypatch: pytest.MonkeyPatch, names: list[str], ok: bool):
    known = ready.params.class_map.entries[0]
    theirs = ClassMap([type(known)(name, known.color) for name in names])
    source = SimpleNamespace(
        listing=lambda: {1: "", 2: ""}, label_config=lambda: LabelConfig.parse(label_config(theirs, "photo"))
    )
    monkeypatch.setattr(doctor, "open_source", lambda params, credentials: source)
    found = checks(ready)["label config"]
    assert found.ok is ok
    assert all(name in found.found for name in (["data.photo"] if ok else ["lake", "car", "tree"]))
