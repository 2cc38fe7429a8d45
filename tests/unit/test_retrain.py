"""One unattended round: what its exit code says, with stages of one shell line in place of the real ones."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from pipeline.retrain import Verdict, locked, retrain
from schemas.errors import BusyError, DataError

ENVIRONMENT = {**os.environ, "DVC_NO_ANALYTICS": "1"}
STAGES = {
    "train": {"cmd": "test -s labels && cp labels model", "deps": ["labels"], "outs": ["model"]},
    "gate": {
        "cmd": 'mkdir -p reports && printf \'{"decision": "%s"}\' "$(cat model)" > reports/gate.json',
        "deps": ["model"],
        "outs": [{"reports/gate.json": {"cache": False}}],
    },
    "push": {"cmd": "true", "always_changed": True},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    subprocess.run(
        [sys.executable, "-m", "dvc", "init", "--no-scm", "--quiet"], cwd=tmp_path, env=ENVIRONMENT, check=True
    )
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"stages": STAGES}))
    return tmp_path


def test_what_rounds_end_in(folder: Path):
    def verdicts() -> Iterator[Verdict]:
        for labels in ("promoted", "promoted", "kept", "", "kept"):
            (folder / "labels").write_text(labels)
            yield retrain(folder, ENVIRONMENT)

    assert list(verdicts()) == [
        Verdict.PROMOTED,
        Verdict.NOTHING_NEW,
        Verdict.KEPT,
        Verdict.FAILED,  # the train stage
        Verdict.NOTHING_NEW,
    ]


def test_a_held_lock_means_busy_and_nothing_runs(tmp_path: Path):
    (tmp_path / "dvc.yaml").write_text("no dvc would read this")
    with locked(tmp_path):
        assert retrain(tmp_path, {}) is Verdict.BUSY
        with pytest.raises(BusyError, match="another round is running"):
            locked(tmp_path)


def test_the_lock_is_free_again_after_the_round_and_after_an_error(tmp_path: Path):
    held = locked(tmp_path)
    with pytest.raises(ZeroDivisionError), held:
        raise ZeroDivisionError
    with locked(tmp_path):
        pass


def test_a_folder_without_stages_is_said(tmp_path: Path):
    with pytest.raises(DataError, match=r"has no dvc\.yaml") as caught:
        retrain(tmp_path, {})
    assert "maskloop init" in caught.value.remedy


def test_every_verdict_has_its_exit_code_and_meaning():
    assert {verdict.name: verdict.value for verdict in Verdict} == {
        "PROMOTED": 0,
        "FAILED": 1,
        "KEPT": 3,
        "NOTHING_NEW": 4,
        "BUSY": 5,
    }
    assert len({verdict.meaning for verdict in Verdict}) == 5


def test_a_sigterm_ends_the_running_stage_too(folder: Path):
    stages = {"train": {"cmd": "echo $$ > pid && exec sleep 300"}}
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    script = (
        "import os; from pathlib import Path; from pipeline.retrain import retrain; retrain(Path(), dict(os.environ))"
    )
    root = str(Path(__file__).parents[2])
    process = subprocess.Popen([sys.executable, "-c", script], cwd=folder, env=ENVIRONMENT | {"PYTHONPATH": root})
    deadline = time.monotonic() + 60
    while not (folder / "pid").exists() or not (folder / "pid").read_text().strip():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    process.terminate()
    process.wait(timeout=30)
    stage = int((folder / "pid").read_text())
    while Path(f"/proc/{stage}").exists() and "zombie" not in Path(f"/proc/{stage}/status").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    with locked(folder):
        pass
