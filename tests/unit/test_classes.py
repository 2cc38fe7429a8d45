"""The class contract: indices are given for good."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from pipeline import classes
from pipeline.configure import configure
from pipeline.progress import Silent
from pipeline.rasterise import rasterise
from schemas.errors import ClassMapError
from schemas.labels import ClassEntry, ClassMap
from tests.conftest import Project
from tests.unit.test_cli import maskloop


def class_map(*names: str) -> ClassMap:
    return ClassMap([ClassEntry(name, "#000000") for name in names])


def test_the_first_lock_holds_all_and_later_ones_grow(tmp_path: Path):
    assert classes.lock(tmp_path, class_map("road", "Straße")) == ["road", "Straße"]
    assert classes.lock(tmp_path, class_map("road", "Straße")) == []
    assert classes.lock(tmp_path, class_map("road", "Straße", "car")) == ["car"]
    assert classes.read_lock(tmp_path) == {"road": 0, "Straße": 1, "car": 2}
    assert "Straße" in (tmp_path / "classes.lock").read_text()


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("car", "road", "tree"), "`road` was 0 and would be 1; `car` was 1 and would be 0"),  # reordered
        (("road", "tree"), "`car` was 1 and would be 2|1 was `car` and would be `tree`; `tree` was 2 and would be 1"),
        (("road", "bus", "tree"), "1 was `car` and would be `bus`"),  # renamed or reused
        (("road", "car"), "`tree` (2) is gone"),
        (("new", "road", "car", "tree"), "`road` was 0 and would be 1"),  # put first
    ],
    ids=["reordered", "removed", "renamed", "cut", "inserted"],
)
def test_a_broken_contract_names_what_changed_and_leaves_the_lock(tmp_path: Path, names: tuple[str, ...], said: str):
    classes.lock(tmp_path, class_map("road", "car", "tree"))
    before = (tmp_path / "classes.lock").read_bytes()
    with pytest.raises(ClassMapError) as caught:
        classes.lock(tmp_path, class_map(*names))
    assert any(option in str(caught.value) for option in said.split("|"))
    assert "maskloop classes rename OLD NEW" in caught.value.remedy
    assert (tmp_path / "classes.lock").read_bytes() == before


def test_a_renamed_class_keeps_its_index(tmp_path: Path):
    classes.lock(tmp_path, class_map("road", "car", "tree"))
    assert classes.rename(tmp_path, "car", "bus") == 1
    assert classes.lock(tmp_path, class_map("road", "bus", "tree")) == []
    assert classes.read_lock(tmp_path) == {"road": 0, "bus": 1, "tree": 2}
    with pytest.raises(ClassMapError):
        classes.check(tmp_path, class_map("road", "car", "tree"))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("lake", "sea", "no class `lake`, only `road`, `car`"),
        ("road", "car", "has a class `car` already, with index 1"),
    ],
)
def test_renames_that_make_no_sense(tmp_path: Path, old: str, new: str, said: str):
    classes.lock(tmp_path, class_map("road", "car"))
    with pytest.raises(ClassMapError, match=said):
        classes.rename(tmp_path, old, new)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"road": 1}', '{"road": "0"}', '{"road": 0, "car": 0}'])
def test_a_malformed_lock_is_one_line(tmp_path: Path, content: str):
    (tmp_path / "classes.lock").write_text(content)
    with pytest.raises(ClassMapError) as caught:
        classes.check(tmp_path, class_map("road"))
    assert "classes.lock" in str(caught.value) and "\n" not in str(caught.value)


def test_configure_writes_the_lock_and_stops_where_it_is_broken(project: Project):
    assert "road, car, tree new in classes.lock" in configure(project.params, project.folder, Silent())
    assert json.loads((project.folder / "classes.lock").read_text()) == {"road": 0, "car": 1, "tree": 2}
    resolved = (project.folder / "data/params.yaml").read_bytes()
    project.raw["classes"] = project.raw["classes"][::-1]
    for stage in (configure, rasterise):
        with pytest.raises(ClassMapError):
            stage(project.params, project.folder, Silent())
    assert (project.folder / "data/params.yaml").read_bytes() == resolved


def test_the_commands(project: Project):
    (project.folder / "params.yaml").write_text(yaml.safe_dump(project.raw))
    assert maskloop(project.folder, "configure").returncode == 0
    renamed = maskloop(project.folder, "classes", "rename", "car", "[bus]")
    assert "class 1 is [bus] in classes.lock; now rename it in params.yaml" in renamed.stdout
    assert maskloop(project.folder, "classes", "show").stdout.split() == ["0", "road", "1", "[bus]", "2", "tree"]
    stopped = maskloop(project.folder, "configure")
    assert stopped.returncode == 1
    assert "1 was `[bus]` and would be `car`" in stopped.stderr and "Traceback" not in stopped.stderr
