"""Every command of the README, run as it stands there, in order, against the live server."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from connectors.label_studio import Server
from connectors.label_studio_server import LocalServer
from connectors.masks import write_mask
from pipeline.demo import sample_project
from pipeline.progress import Silent
from tests.live.conftest import ROOT

README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```sh\n(.*?)```", README, re.S)
PATH = f"{Path(sys.executable).parent}:{os.environ['PATH']}"


def shell(script: str, folder: Path, **environment: str) -> str:
    result = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env=os.environ | {"PATH": PATH, "DVC_NO_ANALYTICS": "1"} | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert result.returncode == 0, f"{script}\n{result.stdout[-3000:]}{result.stderr[-3000:]}"
    return result.stdout + result.stderr


def test_make_demo_twice_and_make_demo_stop(tmp_path: Path):
    """The first block: `make demo`, here in a folder of the test's own and with little training."""
    assert BLOCKS[0].split("\n")[0] == "make demo"
    demo = tmp_path / "demo"
    options = [f"DEMO={demo}", "DEMO_OPTIONS=--epochs 2"]
    before = shell("git status --porcelain", ROOT)
    try:
        first = shell(f"make demo {options[0]} '{options[1]}'", ROOT)
        second = shell(f"make demo {options[0]} '{options[1]}'", ROOT)
    finally:
        stopped = shell(f"make demo-stop {options[0]}", ROOT)
    for line in ("Champion ", "mean IU", "Report:", "Review:", "login:", "password:"):
        assert line in first and line in second
    assert "20 predictions pushed, 0 were there already" in first
    assert "0 predictions pushed, 20 were there already" in second
    assert set(re.findall(r"Running stage '(\w+)'", second)) == {"probe", "push"}
    assert re.findall(r"projects/\d+", first) == re.findall(r"projects/\d+", second)
    assert (demo / "loop/reports/index.html").stat().st_size > 50_000
    for secret in ("label-studio/login.json", "loop/.env"):
        assert (demo / secret).stat().st_mode & 0o077 == 0
    assert "Label Studio stopped" in stopped
    assert shell("git status --porcelain", ROOT) == before


def test_ci_runs_what_the_readme_says():
    assert BLOCKS[0].split("\n")[1] == "make test"
    assert (ROOT / ".ci/run").read_text().rstrip().endswith("make test")
    assert "pytest" in shell("make --dry-run test", ROOT)


@pytest.fixture(scope="module")
def project(server: Server, tmp_path_factory: pytest.TempPathFactory) -> int:
    return sample_project(server, tmp_path_factory.mktemp("sample"), Silent())


def test_a_project_of_your_own(local: LocalServer, project: int, tmp_path: Path):
    """The blocks from `export` to `dvc exp run`, with the live server's address, token and project, little trained."""
    login = local.login()
    assert login is not None
    script = "\n".join(BLOCKS[1:4])
    wanted = {
        "https://label-studio.example.com": login.url,
        "your-token": login.api_key,
        "--project 7": f"--project {project}",
        "maskloop doctor": "sed -i 's/^  epochs: .*/  epochs: 2/' params.yaml\nmaskloop doctor",
        "train.epochs=80": "train.epochs=1",
        "git commit": "git -c user.name=test -c user.email=test@localhost commit --quiet",
    }
    for written, real in wanted.items():
        assert written in script
        script = script.replace(written, real)
    output = shell(script, tmp_path)
    assert "wrong" not in output.split("dvc repro")[0].replace("server, token, project", "")
    assert "reports/evaluate.json" in output
    assert (tmp_path / "street/reports/index.html").exists()


def test_import_mask_folder(local: LocalServer, server: Server, tmp_path: Path):
    """The last block."""
    login = local.login()
    assert login is not None
    (tmp_path / "images").mkdir()
    (tmp_path / "classes.txt").write_text("road\ncar\n")
    mask = np.random.default_rng(0).integers(0, 2, (12, 16), np.uint8)
    write_mask(tmp_path / "masks/a.png", mask)
    Image.new("RGB", (16, 12)).save(tmp_path / "images/a.png")
    output = shell(BLOCKS[4], tmp_path, LABEL_STUDIO_URL=login.url, LABEL_STUDIO_API_KEY=login.api_key)
    assert re.search(rf"1 tasks in project \d+: {login.url}/projects/\d+/data", output)


def test_every_block_is_run_by_a_test():
    assert len(BLOCKS) == 5
    assert "retrain" in README and "label-config" in README


@pytest.mark.parametrize("verb", ["label-config", "retrain"])
def test_the_commands_named_in_the_text(local: LocalServer, project: int, tmp_path: Path, verb: str):
    login = local.login()
    assert login is not None
    environment = {"LABEL_STUDIO_URL": login.url, "LABEL_STUDIO_API_KEY": login.api_key}
    shell(f"maskloop init --project {project} && sed -i 's/^  epochs: .*/  epochs: 1/' params.yaml", tmp_path)
    output = shell(f"maskloop {verb}", tmp_path, **environment)
    assert {"label-config": "<PolygonLabels", "retrain": "promoted: a new champion"}[verb] in output
