"""A personal access token (a JWT refresh token) does what a legacy one does: listing, tasks, image bytes, writes."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from connectors.base import Credentials
from connectors.label_studio import LabelStudioProject, Server
from connectors.label_studio_setup import create_project, import_tasks, upload_images
from pipeline.progress import Silent
from pipeline.pull import pull
from schemas.labels import ClassEntry, ClassMap, label_config
from schemas.params import parse_params


@pytest.fixture(scope="module")
def personal_token(server: Server) -> str:
    token = str(server.send("POST", "/api/token/", {})["token"])
    assert token.count(".") == 2
    return token


def test_a_personal_access_token_pulls_and_writes(server: Server, personal_token: str, tmp_path: Path):
    personal = Server.open(server.url, personal_token)
    project = create_project(personal, "tokens", label_config(ClassMap([ClassEntry("road", "#000000")])))
    Image.new("RGB", (20, 10)).save(tmp_path / "a.png")
    ((_, address),) = upload_images(personal, project, [tmp_path / "a.png"])
    assert list(import_tasks(personal, project, [{"data": {"image": address}}])) == [1]
    params = parse_params(
        {"source": {"kind": "label_studio", "project": project}, "classes": [{"name": "road"}]},
    )
    credentials = Credentials(server.url, personal_token)
    assert pull(params, tmp_path, Silent(), credentials).endswith("1 images fetched, 0 without a usable image")
    assert len(LabelStudioProject.connect(params, credentials).listing()) == 1
    assert personal_token not in repr(credentials)
