"""What a user sees when something is wrong with the server, the token or the project: one line, exit code 1."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from connectors.label_studio import Server
from connectors.label_studio_server import LocalServer
from connectors.label_studio_setup import create_project
from schemas.labels import ClassEntry, ClassMap, label_config


def maskloop(folder: Path, verb: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).parent / "maskloop"), verb]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("LABEL_STUDIO")}
    return subprocess.run(command, cwd=folder, env=clean | environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def empty_project(server: Server) -> int:
    return create_project(server, "empty", label_config(ClassMap([ClassEntry("lake", "#0000ff")])))


@pytest.mark.parametrize(
    ("token", "url", "project", "classes", "said"),
    [
        ("wrong", None, None, ["lake"], "refuses the token"),
        (None, None, None, ["lake"], "no token for Label Studio"),
        ("right", "http://127.0.0.1:9", None, ["lake"], "no usable answer from http://127.0.0.1:9"),
        ("right", "127.0.0.1:9", None, ["lake"], "is no http(s) URL"),
        ("right", None, 4711, ["lake"], "has no project 4711"),
        ("right", None, None, ["road", "car"], "class map lacks: lake"),
        ("right", None, None, ["road", "car"], "label config lacks: car, road"),
    ],
)
def test_one_line_says_what_is_wrong(
    tmp_path: Path,
    local: LocalServer,
    empty_project: int,
    token: str | None,
    url: str | None,
    project: int | None,
    classes: list[str],
    said: str,
):
    login = local.login()
    assert login is not None
    source = {"kind": "label_studio", "url": url or login.url, "project": project or empty_project}
    params = {"source": source, "classes": [{"name": name} for name in classes], "pull": {"patience_s": 1}}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    environment = {} if token is None else {"LABEL_STUDIO_API_KEY": login.api_key if token == "right" else token}
    result = maskloop(tmp_path, "probe", **environment)
    assert result.returncode == 1
    assert said in result.stderr
    assert "Traceback" not in result.stderr
    assert login.api_key not in result.stdout + result.stderr
    assert not (tmp_path / "data/probe.json").exists()


def test_an_empty_project_ends_in_one_line_at_split(tmp_path: Path, local: LocalServer, empty_project: int):
    login = local.login()
    assert login is not None
    source = {"kind": "label_studio", "url": login.url, "project": empty_project}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({"source": source, "classes": [{"name": "lake"}]}))
    for verb in ("configure", "probe", "pull", "prelabel", "rasterise"):
        result = maskloop(tmp_path, verb, LABEL_STUDIO_API_KEY=login.api_key)
        assert result.returncode == 0, result.stderr
    result = maskloop(tmp_path, "split", LABEL_STUDIO_API_KEY=login.api_key)
    assert result.returncode == 1
    assert "no annotated task gave a mask" in result.stderr
    assert "Traceback" not in result.stderr
