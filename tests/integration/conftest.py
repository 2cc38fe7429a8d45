"""The sample project as an export file: no server."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.sample_project import SampleProject, write_sample_project

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
QUICK = {"size_hw": [48, 64], "epochs": 3, "architecture_options": {"width": 4}, "validate_every": 1}


@dataclass
class ProjectFolder:
    """A folder with params.yaml, dvc.yaml and DVC set up, and commands run in it as a user would."""

    folder: Path
    environment: dict[str, str] = field(
        default_factory=lambda: {
            **{name: value for name, value in os.environ.items() if not name.startswith("LABEL_STUDIO")},
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "DVC_NO_ANALYTICS": "1",
        }
    )

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False, timeout=600
        )

    def ok(self, *command: str) -> str:
        result = self.run(*command)
        assert result.returncode == 0, f"{' '.join(command)}\n{result.stdout}{result.stderr}"
        return result.stdout + result.stderr

    def params(self, **sections: Any) -> None:
        (self.folder / "params.yaml").write_text(yaml.safe_dump(sections))


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> SampleProject:
    return write_sample_project(tmp_path_factory.mktemp("sample"))


@pytest.fixture(scope="session")
def source(sample: SampleProject) -> dict[str, str]:
    """The `source` section for the sample project."""
    return {
        "kind": "label_studio_export",
        "path": str(sample.export),
        "images": str(sample.export.parent),
    }


@pytest.fixture(scope="session")
def classes() -> list[dict[str, Any]]:
    """The `classes` section for the sample project."""
    return list(yaml.safe_load((ROOT / "params.yaml").read_text())["classes"])
