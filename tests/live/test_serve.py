"""Smart clicks: a real Label Studio connected to a running `maskloop serve`, and a browser that clicks."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import yaml
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Page

from connectors.label_studio import Server
from connectors.label_studio_json import dumps, loads, parse_regions
from connectors.label_studio_server import LocalServer
from connectors.label_studio_setup import create_project, import_tasks, upload_images
from pipeline import checkpoint
from pipeline.mask_results import Control, mask_results
from pipeline.models import build
from pipeline.raster import paint
from pipeline.sam.embeddings import EMBEDDINGS_DIR
from pipeline.sam.model import load_segmenter
from pipeline.serve.prompts import parse_click, pointed_at
from schemas.labels import ClassEntry, ClassMap, label_config
from schemas.manifest import CHAMPION_DIR
from schemas.regions import Region
from tests.live.conftest import login_of, missing, started
from tests.live.editor import SELECTED, Editor, signed_in
from tests.model_cards import model_card
from tests.tiny_sam import write_tiny_sam

CLASS_MAP = ClassMap([ClassEntry("road", "#804080"), ClassEntry("car", "#00008e")])
SIZE_HW = (120, 160)
MIN_AREA_PX = 60
USER, PASSWORD = "label-studio", "correct-horse"
SMART_LABELS = {"KeyPointTool": 4, "RectangleTool": 5}
"""Tool → which of the label config's controls, in its order, has the labels for it."""

SELECTED_TOOL = f"""() => {{
    const tool = {SELECTED}.objects[0].getToolsManager().findSelectedTool();
    return [tool?.toolName, tool?.dynamic];
}}"""

OPEN_TO_LOOPBACK = {"LABEL_STUDIO_SSRF_PROTECTION_ENABLED": "false", "LABEL_STUDIO_ML_BLOCK_LOCAL_IP": "false"}


@pytest.fixture(scope="module")
def server(local: LocalServer) -> Server:
    login = login_of(local)
    return Server.open(login.url, login.api_key)


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    """A Label Studio that may connect to backends on loopback."""
    server = started(tmp_path_factory.mktemp("serve") / "server", OPEN_TO_LOOPBACK)
    yield server
    server.stop()


@dataclass
class Connected:
    """A project whose ML backend is a running `maskloop serve`; its log is a file."""

    server: Server
    project: int
    tasks: list[int]
    images: list[NDArray[np.uint8]]
    folder: Path
    url: str
    log: Path


@pytest.fixture(scope="module")
def connected(local: LocalServer, server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connected]:
    login = login_of(local)
    folder = tmp_path_factory.mktemp("project")
    tiles = np.random.default_rng(1).integers(0, 250, (SIZE_HW[0] // 20, SIZE_HW[1] // 20, 3), dtype=np.uint8)
    images = [np.kron(tiles + np.uint8(number), np.ones((20, 20, 1), np.uint8)) for number in range(3)]
    paths = [folder / f"{number}.png" for number in range(3)]
    for path, image in zip(paths, images, strict=True):
        Image.fromarray(image).save(path)
    project = create_project(server, "smart clicks", label_config(CLASS_MAP, smart=True))
    addresses = [address for _, address in upload_images(server, project, paths)]
    assert sum(import_tasks(server, project, [{"data": {"image": address}} for address in addresses])) == 3
    tasks = sorted(task["id"] for task in loads(server.get(f"/api/projects/{project}/tasks/").content))

    port, log = free_port(), folder / "serve.log"
    params = {
        "source": {"kind": "label_studio", "url": login.url, "project": project},
        "classes": [{"name": name} for name in CLASS_MAP.names],
        "prelabel": {"model": str(write_tiny_sam(folder / "sam", "sam2"))},
        "predict": {"tolerance_px": 0, "min_area_px": MIN_AREA_PX},
        "serve": {"port": port},
    }
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    environment = os.environ | {
        "LABEL_STUDIO_API_KEY": login.api_key,
        "MASKLOOP_SERVE_USER": USER,
        "MASKLOOP_SERVE_PASSWORD": PASSWORD,
    }
    with log.open("wb") as stream:
        command = [str(Path(sys.executable).parent / "maskloop"), "serve"]
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=stream, stderr=stream)
    url = f"http://127.0.0.1:{port}"
    try:
        wait_for(url, process, log)
        body = {"project": project, "url": url, "title": "maskloop", "is_interactive": True}
        credentials = {"auth_method": "BASIC_AUTH", "basic_auth_user": USER, "basic_auth_pass": PASSWORD}
        backend = server.send("POST", "/api/ml/", body | credentials)
        assert backend["state"] == "CO"
        yield Connected(server, project, tasks, images, folder, url, log)
    finally:
        process.terminate()
        process.wait(20)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        try:
            if httpx.get(f"{url}/health", auth=(USER, PASSWORD)).json() == {"status": "UP"}:
                return
        except httpx.TransportError:
            time.sleep(0.2)
    raise AssertionError(log.read_text())


class Network:
    """The backend's own network in this process: what it says to prompts in the project's images."""

    def __init__(self, connected: Connected) -> None:
        self._segmenter = load_segmenter(str(connected.folder / "sam"), device="cpu")
        self.version = self._segmenter.version
        self._embeddings = [self._segmenter.embed(image) for image in connected.images]

    def painted(self, number: int, prompts: list[dict[str, Any]]) -> NDArray[np.bool_]:
        """The pixels of the regions that prompts in an image must become."""
        click = parse_click(prompts, SIZE_HW)
        assert click is not None
        answer = self._segmenter.segment(self._embeddings[number], click.prompt)
        mask = pointed_at(answer.masks[0], click.prompt)
        polygon = Control("polygon", "polygon", "image")
        return painted(mask_results(mask, click.label, polygon, click.region_id, min_area_px=MIN_AREA_PX))

    def spot(self, number: int) -> tuple[int, int]:
        """A pixel (x, y) that lies in the answer to a click there, where the answer is smallest."""
        sizes = {}
        for y in range(15, SIZE_HW[0] - 15, 10):
            for x in range(15, SIZE_HW[1] - 15, 10):
                value = {"x": (x + 0.5) * 100 / SIZE_HW[1], "y": (y + 0.5) * 100 / SIZE_HW[0]}
                prompt = {"id": "p", "type": "keypointlabels", "value": value | {"keypointlabels": ["car"]}}
                mask = self.painted(number, [prompt])
                if mask[y, x]:
                    sizes[x, y] = int(mask.sum())
        return min(sizes, key=lambda place: sizes[place])


@pytest.fixture(scope="module")
def network(connected: Connected) -> Network:
    return Network(connected)


def painted(result: list[dict[str, Any]]) -> NDArray[np.bool_]:
    mask = np.zeros(SIZE_HW, np.uint8)
    for region in parse_regions(dumps(result), "image"):
        assert isinstance(region, Region) and region.label == "car"
        paint(mask, [(region, 1)])
    return mask == 1


@pytest.fixture(scope="module")
def page(local: LocalServer) -> Iterator[Page]:
    chromium = shutil.which("chromium")
    if chromium is None:
        missing("no chromium to click with")
    with signed_in(login_of(local), chromium) as page:
        yield page


class SmartEditor(Editor):
    """The editor with its smart tools."""

    def __init__(self, page: Page, connected: Connected, number: int) -> None:
        super().__init__(page, connected.server.url, connected.project, connected.tasks[number], 0)
        if not page.evaluate("window.Htx.autoAnnotation"):
            page.get_by_text("Auto-Annotation").click()

    def smart(self, tool: str) -> None:
        """Take a smart tool and the label of a car."""
        self.rest()
        for _ in range(3):
            self.page.get_by_role("button").filter(has_text="Auto-Detect").click()
            if self.page.evaluate(SELECTED_TOOL) == [tool, True]:
                break
        self.page.locator(".lsf-label", has_text="car").nth(SMART_LABELS[tool]).click()
        self.page.wait_for_timeout(300)

    def prompts(self, count: int) -> list[dict[str, Any]]:
        """The prompts that were made, as they were sent, once there are so many and they are answered."""
        self.page.wait_for_function(f"count => {SELECTED}.regions.length === count", arg=count)
        self.page.wait_for_function(f"!window.Htx.awaitingSuggestions && {SELECTED}.suggestions.size > 0")
        return self.serialised()

    def accept(self) -> list[dict[str, Any]]:
        """Accept what is suggested; the regions there are then."""
        self.page.locator(".lsf-auto-accept__action_type_accept").click()
        self.page.wait_for_function(f"{SELECTED}.suggestions.size === 0")
        return self.serialised()


def test_label_studio_says_it_is_connected(connected: Connected, network: Network):
    (backend,) = loads(connected.server.get("/api/ml", {"project": connected.project}).content)
    assert (backend["state"], backend["is_interactive"]) == ("CO", True)
    assert backend["model_version"] == network.version
    assert httpx.get(f"{connected.url}/health").status_code == 401


def test_a_click_with_the_smart_tool_becomes_a_region_at_the_click(connected: Connected, network: Network, page: Page):
    x, y = network.spot(0)
    editor = SmartEditor(page, connected, 0)
    editor.smart("KeyPointTool")
    editor.click((x + 0.5, y + 0.5))
    (prompt,) = editor.prompts(1)
    assert prompt["type"] == "keypointlabels" and prompt["is_positive"]
    regions = editor.accept()
    assert page.evaluate(f"{SELECTED}.regions.length") == len(regions) > 0
    assert {region["type"] for region in regions} == {"polygonlabels"}
    assert painted(regions)[y, x]
    assert np.array_equal(painted(regions), network.painted(0, [prompt]))
    editor.submit()
    stored = loads(connected.server.get(f"/api/tasks/{connected.tasks[0]}/annotations/").content)[0]["result"]
    assert np.array_equal(painted(stored), painted(regions))


def test_a_negative_click_refines_the_region(connected: Connected, network: Network, page: Page):
    x, y = network.spot(1)
    editor = SmartEditor(page, connected, 1)
    editor.smart("KeyPointTool")
    editor.click((x + 0.5, y + 0.5))
    first = network.painted(1, editor.prompts(1))
    editor.smart("KeyPointTool")
    page.keyboard.down("Alt")
    editor.click(((x + 40) % SIZE_HW[1], (y + 30) % SIZE_HW[0]))
    page.keyboard.up("Alt")
    prompts = editor.prompts(2)
    assert [prompt["is_positive"] for prompt in prompts] == [True, False]
    refined = painted(editor.accept())
    assert np.array_equal(refined, network.painted(1, prompts))
    assert not np.array_equal(refined, first)


def test_a_rectangle_becomes_a_region(connected: Connected, network: Network, page: Page):
    editor = SmartEditor(page, connected, 2)
    editor.smart("RectangleTool")
    editor.drag((30, 20), (120, 90))
    (prompt,) = editor.prompts(1)
    assert prompt["type"] == "rectanglelabels"
    assert np.array_equal(painted(editor.accept()), network.painted(2, [prompt]))


def test_the_next_tasks_were_embedded_ahead(connected: Connected):
    deadline = time.monotonic() + 20
    while len(list((connected.folder / EMBEDDINGS_DIR).rglob("*.safetensors"))) < 3:
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_the_champion_predicts_what_label_studio_retrieves(connected: Connected, server: Server):
    card = model_card(CLASS_MAP, (48, 64))
    weights = build("unet", len(CLASS_MAP), card.architecture_options).state_dict()
    version = checkpoint.save(connected.folder / CHAMPION_DIR, weights, card).model_version
    selected = {"selectedItems": {"all": False, "included": connected.tasks[1:]}}
    path = f"/api/dm/actions?id=retrieve_tasks_predictions&project={connected.project}"
    server.send("POST", path, selected | {"project": connected.project})
    for task in connected.tasks[1:]:
        predictions = loads(server.get("/api/predictions/", {"task": task}).content)
        (prediction,) = [entry for entry in predictions if entry["model_version"] == version]
        assert prediction["result"] and 0 <= prediction["score"] <= 1


def test_tokens_and_passwords_are_in_no_log_and_no_file(connected: Connected, local: LocalServer):
    said = connected.log.read_text()
    assert "POST /predict" in said and "Traceback" not in said
    secrets = [login_of(local).api_key.encode(), PASSWORD.encode()]
    holders = [
        path
        for path in connected.folder.rglob("*")
        if path.is_file() and any(secret in path.read_bytes() for secret in secrets)
    ]
    assert holders == []
