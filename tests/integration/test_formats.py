"""The sample project exported in every format, and imported from each into a project that has the same masks."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from connectors.base import Credentials
from connectors.formats import FORMATS, open_format
from connectors.label_studio import Server
from connectors.masks import read_mask
from pipeline import cli
from pipeline.progress import Silent
from pipeline.pull import pull
from pipeline.rasterise import rasterise
from pipeline.split import split
from schemas.errors import DataError, ParamsError
from schemas.params import parse_params
from tests.integration.conftest import ProjectFolder
from tests.unit.test_import_dataset import FakeServer

Sections = dict[str, Any]


@pytest.fixture(scope="module")
def project(source: Sections, classes: list[Sections], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The sample project's folder, in which the commands run."""
    sections = {
        "source": source,
        "classes": classes,
        "split": {"val": 0.2, "test": 0.15, "seed": 11, "group_by": "video"},
    }
    made = ProjectFolder(tmp_path_factory.mktemp("formats"))
    made.params(**sections)
    build(sections, made.folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(made.folder)
        yield made.folder


def build(sections: Sections, folder: Path) -> None:
    params = parse_params(sections)
    pull(params, folder, Silent(), credentials=Credentials())
    rasterise(params, folder, Silent())
    split(params, folder, Silent())


def maskloop(*arguments: object) -> str:
    result = CliRunner(env={"COLUMNS": "300"}).invoke(cli.app, [str(argument) for argument in arguments])
    if result.exception is not None:
        raise result.exception
    return result.output


def manifest(folder: Path) -> list[Sections]:
    rows: list[Sections] = pq.read_table(folder / "data/manifest.parquet").to_pylist()
    return rows


@pytest.mark.parametrize("name", FORMATS)
def test_exported_and_imported_again_the_masks_are_the_same(
    project: Path, classes: list[Sections], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    rows = manifest(project)
    folder, again = tmp_path / "data set", tmp_path / "again"
    summary = maskloop("export", name, folder)
    assert f"{sum(row['split'] == 'train' for row in rows)} train, " in summary
    times = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert maskloop("export", name, folder).splitlines()[-1] == summary.splitlines()[-1]
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == times

    server = FakeServer()
    monkeypatch.setattr(Server, "open", lambda url, key: server)
    assert f"{len(rows)} tasks in project 9" in maskloop("import", name, folder)
    labelled = open_format(name).read(folder, [entry["name"] for entry in classes], frozenset())
    path_of = {item.image.name: item.image for item in labelled}
    tasks = [task | {"id": number} for number, task in enumerate(server.tasks, 1)]
    for task in tasks:
        task["data"] |= {"image": str(path_of[task["data"]["name"]].relative_to(folder))}
        task["annotations"] = [work | {"id": task["id"], "was_cancelled": False} for work in task["annotations"]]
    (folder / "export.json").write_text(json.dumps(tasks))
    source = {"kind": "label_studio_export", "path": str(folder / "export.json")}
    build({"source": source, "classes": classes, "split": {"assigned_by": "split"}}, again)

    found = {task_name(tasks[row["task_id"] - 1]): row for row in manifest(again)}
    assert found.keys() == {str(row["task_id"]) for row in rows}
    for row in rows:
        copy = found[str(row["task_id"])]
        assert copy["split"] == row["split"]
        np.testing.assert_array_equal(read_mask(again / copy["mask"]), read_mask(project / row["mask"]))


def task_name(task: Sections) -> str:
    """Number of the task that an imported one was."""
    return Path(task["data"]["name"]).stem.removeprefix("maskloop_").removesuffix("_000000_leftImg8bit").lstrip("0")


def test_polygons_may_be_simplified(project: Path, tmp_path: Path):
    maskloop("export", "yolo-seg", tmp_path / "exact")
    maskloop("export", "yolo-seg", tmp_path / "half", "--tolerance", "0.5")
    size = {kind: sum(path.stat().st_size for path in (tmp_path / kind).rglob("*.txt")) for kind in ("exact", "half")}
    assert size["half"] < 0.6 * size["exact"]


@pytest.mark.parametrize("name", FORMATS)
def test_what_an_earlier_export_left_over_is_named(project: Path, classes: list[Sections], name: str, tmp_path: Path):
    maskloop("export", name, tmp_path)
    (labelled, *_) = open_format(name).read(tmp_path, [entry["name"] for entry in classes], frozenset())
    stale = labelled.image.with_name(f"gone{labelled.image.suffix}")
    shutil.copy(labelled.image, stale)
    with pytest.raises(DataError, match=rf"1 files that are not of this export: {stale.relative_to(tmp_path)}"):
        maskloop("export", name, tmp_path)


@pytest.mark.parametrize("command", [["export", "coco2"], ["import", "coco2"]])
def test_an_unknown_format_is_named_with_the_nearest(project: Path, command: list[str]):
    with pytest.raises(ParamsError, match="no format `coco2`, did you mean `coco`") as caught:
        maskloop(*command, "somewhere")
    assert caught.value.remedy == f"Known are {', '.join(FORMATS)}."


def test_another_class_map_is_said(
    project: Path, classes: list[Sections], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    shutil.copytree(project / "data", tmp_path / "data")
    (tmp_path / "params.yaml").write_text("source: {kind: label_studio, project: 1}\nclasses: [{name: road}]")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=rf"was made for {len(classes)} classes, params\.yaml has 1"):
        maskloop("export", "coco", "out")
    assert not (tmp_path / "out").exists()


def test_a_manifest_without_splits_is_said(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    shutil.copytree(project, tmp_path, dirs_exist_ok=True)
    shutil.copy(tmp_path / "data/samples.parquet", tmp_path / "data/manifest.parquet")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="has no split"):
        maskloop("export", "coco", "out")
