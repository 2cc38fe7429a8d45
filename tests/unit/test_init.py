"""A new project folder: what is written, what is left alone, and how DVC is set up in and outside git."""

import subprocess
from pathlib import Path

import pytest
import yaml

from pipeline import init as module
from pipeline.init import CHECKOUT, init
from schemas.errors import DataError
from schemas.params import LabelStudioSource, load_params


@pytest.fixture
def without_dvc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_init_dvc", lambda folder: "DVC set up")


@pytest.mark.usefixtures("without_dvc")
class TestFiles:
    def test_params_are_commented_and_valid(self, tmp_path: Path):
        said = list(init(tmp_path, 42, force=False))
        params = load_params(tmp_path / "params.yaml")
        assert isinstance(params.source, LabelStudioSource)
        assert params.source.project == 42
        sections = set(yaml.safe_load((tmp_path / "params.yaml").read_text()))
        assert sections == set(type(params).model_fields)
        assert (tmp_path / "params.yaml").read_text().count("#") > 20
        assert (tmp_path / "dvc.yaml").read_bytes() == (CHECKOUT / "dvc.yaml").read_bytes()
        assert (tmp_path / ".gitignore").read_text() == ".env\n/.maskloop/\n"
        assert [line.split()[0] for line in said] == ["params.yaml", "dvc.yaml", ".gitignore", "DVC"]

    def test_existing_params_stay_and_the_rest_is_made(self, tmp_path: Path):
        (tmp_path / "params.yaml").write_text("mine")
        said = list(init(tmp_path, 1, force=False))
        assert "--force" in said[0]
        assert (tmp_path / "params.yaml").read_text() == "mine"
        assert (tmp_path / "dvc.yaml").exists()

    def test_force_replaces_params_alone(self, tmp_path: Path):
        (tmp_path / "params.yaml").write_text("mine")
        (tmp_path / "dvc.yaml").write_text("stages: {}")
        (tmp_path / ".gitignore").write_text("mine\n/.maskloop/")
        (tmp_path / ".dvc").mkdir()
        assert len(list(init(tmp_path, 2, force=True))) == 2
        assert load_params(tmp_path / "params.yaml").source.project == 2
        assert (tmp_path / "dvc.yaml").read_text() == "stages: {}"
        assert (tmp_path / ".gitignore").read_text() == "mine\n/.maskloop/\n.env\n"

    def test_a_second_time_there_is_nothing_to_do(self, tmp_path: Path):
        list(init(tmp_path, 1, force=False))
        (tmp_path / ".dvc").mkdir()
        assert len(list(init(tmp_path, 1, force=True))) == 1


@pytest.mark.parametrize(
    ("git_in", "how"), [(None, "--no-scm"), (".", "in git"), ("..", "--subdir")], ids=["no git", "top", "below"]
)
def test_dvc_is_set_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, git_in: str | None, how: str):
    monkeypatch.setenv("DVC_NO_ANALYTICS", "1")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    folder = tmp_path / "street"
    folder.mkdir()
    if git_in:
        subprocess.run(["git", "init", "--quiet", git_in], cwd=folder, check=True)
    assert list(init(folder, 1, force=False))[-1] == f"DVC set up ({how})"
    assert (folder / ".dvc/config").exists()


def test_when_dvc_refuses_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module.sys, "executable", "/bin/false")
    with pytest.raises(DataError, match="`dvc init` failed"):
        list(init(tmp_path, 1, force=False))
