"""Putting the backend together: where it may listen, what it serves, and that its predictions are the stage's."""

from __future__ import annotations

import shutil
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from connectors.base import Credentials
from connectors.label_studio_json import loads
from pipeline.serve.champion import Champion
from pipeline.serve.guard import Access
from pipeline.serve.server import build, check_access
from schemas.errors import ClassMapError, ImageError, MaskloopError, ParamsError, PushError
from schemas.labels import ClassEntry, ClassMap, LabelConfig, label_config
from schemas.manifest import CHAMPION_DIR
from schemas.params import parse_params
from tests.conftest import Project
from tests.tiny_sam import write_tiny_sam
from tests.unit.serve_parts import Site, png, point, site
from tests.unit.test_predict import predicted, pulled

__all__ = ["pulled"]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.3.2.1", "::1", "localhost"])
def test_loopback_needs_no_secret(host: str):
    check_access(host, Access())


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "maskloop.example.com", ""])
def test_any_other_address_does(host: str):
    for access in (Access(), Access(user="ls"), Access(secret=""), Access(user="ls", password="")):
        with pytest.raises(ParamsError, match="no secret is set") as caught:
            check_access(host, access)
        assert "MASKLOOP_SERVE_SECRET" in caught.value.remedy
    check_access(host, Access(secret="s3cret"))
    check_access(host, Access(user="ls", password="s3cret"))


@pytest.fixture
def own() -> Iterator[Site]:
    with site() as here:
        yield here


def params(own: Site, **sections: Any) -> Any:
    source = {"kind": "label_studio", "url": own.url, "project": 7}
    return parse_params({"source": source, "classes": [{"name": "road"}, {"name": "car"}], **sections})


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ({}, "prelabel.model is felzenszwalb, which answers no clicks"),
        ({"serve": {"model": "facebook/sam-vit-nowhere"}}, "facebook/sam-vit-nowhere"),
        ({"source": {"kind": "label_studio_export", "path": "a.json"}}, "source.kind is label_studio_export"),
    ],
)
def test_what_cannot_be_served_is_said(
    own: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sections: dict[str, Any], said: str
):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(MaskloopError) as caught:
        build(params(own, **sections), tmp_path, Credentials(None, "0" * 40), Access())
    assert said in str(caught.value)


@pytest.mark.parametrize("section", [{"serve": {}}, {"prelabel": {}}])
def test_a_project_folder_becomes_a_backend(own: Site, tmp_path: Path, section: dict[str, dict[str, str]]):
    for options in section.values():
        options["model"] = str(write_tiny_sam(tmp_path / "sam"))
    own.pages["/data/1.png"] = png()
    client = TestClient(build(params(own, **section), tmp_path, Credentials(None, "0" * 40), Access()))
    version = client.post("/setup", json={}).json()["model_version"]
    found = params(own)
    message = {
        "tasks": [{"id": 1, "data": {"image": "/data/1.png"}}],
        "label_config": label_config(found.class_map, smart=True),
        "params": {"context": {"result": [point(50, 50)]}},
    }
    response = client.post("/predict", json=message)
    assert response.status_code == 200, response.text
    assert response.json()["results"][0]["model_version"] == version
    assert own.asked == [("/data/1.png", f"Token {'0' * 40}")]


def champion(project: Project) -> Champion:
    def fetch(task_id: int, address: str) -> bytes:
        path = project.folder / address
        if not path.exists():
            raise ImageError("image_missing", f"task {task_id}: gone")
        return path.read_bytes()

    return Champion(project.params, project.folder, fetch)


@pytest.mark.parametrize("max_vertices", [None, 4])
def test_the_champion_predicts_what_the_stage_predicts(pulled: Project, max_vertices: int | None):
    pulled.raw.setdefault("predict", {})["max_vertices"] = max_vertices
    config = label_config(pulled.params.class_map).replace('name="polygon"', 'name="shape"')
    backend = champion(pulled)
    rows = predicted(pulled)
    assert rows
    for row in rows:
        prediction = backend.predict(row["task_id"], row["image"], config)
        assert prediction is not None
        result = [item | {"from_name": "shape"} for item in loads(row["result"])]
        assert prediction == {"result": result, "score": row["score"], "model_version": row["model_version"]}
    assert backend.model_version() == rows[0]["model_version"]


def test_a_prediction_that_would_break_the_task_is_not_answered(pulled: Project):
    backend, config = champion(pulled), label_config(pulled.params.class_map)
    with pytest.raises(ClassMapError, match="PolygonLabels"):
        backend.predict(2, "2.png", config.replace("PolygonLabels", "Choices"))
    other = config
    for label in pulled.params.class_map.names:
        other = other.replace(f'"{label}"', f'"{label}s"')
    with pytest.raises(PushError):
        backend.predict(2, "2.png", other)
    with pytest.raises(ImageError):
        backend.predict(2, "nowhere.png", config)


def test_there_may_be_no_champion(pulled: Project):
    backend = champion(pulled)
    shutil.rmtree(pulled.folder / CHAMPION_DIR)
    assert backend.model_version() is None
    assert backend.predict(2, "2.png", label_config(pulled.params.class_map)) is None


def test_the_smart_label_config_keeps_the_plain_controls_plain():
    class_map = ClassMap([ClassEntry("road", "#804080")])
    plain, smart = label_config(class_map), label_config(class_map, smart=True)
    assert "smart" not in plain
    assert smart.count('smartOnly="true"') == 2 and smart.count('smart="false"') == 4
    assert LabelConfig.parse(smart) == LabelConfig.parse(plain)


def test_headings_tell_the_rows_of_a_smart_label_config_apart():
    config = label_config(ClassMap([ClassEntry("road", "#804080")]), smart=True)
    headings = [header.get("value") for header in ElementTree.fromstring(config).iter("Header")]
    assert headings == ["Polygon", "Rectangle", "Ellipse", "Brush", "Smart point", "Smart rectangle"]
