"""The backend over HTTP: clicks become regions at the click, and what does not belong is told so in one line."""

from __future__ import annotations

import base64
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from connectors.images import decode_rgb
from connectors.label_studio_json import dumps, parse_regions
from connectors.label_studio_push import OutgoingPrediction, validate
from pipeline.raster import paint
from pipeline.sam.embeddings import EmbeddingCache
from pipeline.sam.model import load_segmenter
from pipeline.serve.app import create_app
from pipeline.serve.backend import Backend
from pipeline.serve.embedded import EmbeddedImages
from pipeline.serve.guard import Access
from pipeline.serve.prefetch import Prefetcher
from pipeline.serve.prompts import parse_click, pointed_at
from schemas.errors import ImageError, PushError, UnreachableError
from schemas.labels import VOID_INDEX, ClassEntry, ClassMap, label_config
from schemas.params import Params, parse_params
from schemas.regions import Region
from tests.tiny_sam import write_tiny_sam
from tests.unit.serve_parts import Discs, png, point, rectangle

CLASS_MAP = ClassMap([ClassEntry("road", "#804080"), ClassEntry("car", "#00008e")])
CONFIG = label_config(CLASS_MAP, smart=True)
BRUSH_ONLY = CONFIG.replace("PolygonLabels", "Choices")
SIZE_HW = (40, 60)
TOKEN = "feedfacefeedfacefeedfacefeedfacefeedface"


class Champion:
    """Answers as the champion does; `version` None: there is none."""

    def __init__(self) -> None:
        self.version: str | None = "unet-0123456789ab"
        self.error: Exception | None = None

    def model_version(self) -> str | None:
        return self.version

    def predict(self, task_id: int, address: str, label_config: str) -> dict[str, Any] | None:
        if self.error is not None:
            raise self.error
        return {"result": [], "score": task_id / 10, "model_version": self.version}


class Running:
    """An application with its parts; images are `/N.png`, and `fetched` lists those asked for."""

    def __init__(self, folder: Path, segmenter: Any = None, **serve: Any) -> None:
        self.segmenter = segmenter or Discs()
        self.champion = Champion()
        self.fetched: list[str] = []
        self.params: Params = parse_params(
            {
                "source": {"kind": "label_studio", "project": 7},
                "classes": [{"name": "road"}, {"name": "car"}],
                "predict": {"tolerance_px": 0, "min_area_px": 0},
                "serve": serve,
            }
        )
        self.images = EmbeddedImages(self.fetch, EmbeddingCache(self.segmenter, folder, memory_mb=0), 16)
        self.backend = Backend(self.segmenter, self.images, self.champion, self.params)

    def fetch(self, task_id: int, address: str) -> bytes:
        if not address.endswith(".png"):
            raise ImageError("image_refused", f"task {task_id}: not from there")
        self.fetched.append(address)
        return png((SIZE_HW[1], SIZE_HW[0]), seed=task_id)

    def client(
        self, access: Access | None = None, prefetcher: Prefetcher | None = None, authorisation: str = ""
    ) -> TestClient:
        app = create_app(self.backend, access or Access(), self.params.serve.max_request_mb, prefetcher)
        headers = {"Authorization": authorisation} if authorisation else {}
        return TestClient(app, headers=headers)


@pytest.fixture
def running(tmp_path: Path) -> Running:
    return Running(tmp_path)


def message(*prompts: dict[str, Any], task: int = 1, config: str = CONFIG, **extra: Any) -> dict[str, Any]:
    """What Label Studio posts for a click."""
    return {
        "tasks": [{"id": task, "data": {"image": f"/{task}.png"}, "project": 7, "annotations": [], "drafts": []}],
        "project": "7.1764000000",
        "label_config": config,
        "params": {"login": None, "password": None, "context": {"result": list(prompts)}},
        **extra,
    }


def unprompted(*tasks: int) -> dict[str, Any]:
    found = message()
    found["tasks"] = [{"id": task, "data": {"image": f"/{task}.png"}} for task in tasks]
    found["params"]["context"] = None
    return found


def regions(client: TestClient, *prompts: dict[str, Any], config: str = CONFIG) -> list[dict[str, Any]]:
    response = client.post("/predict", json=message(*prompts, config=config))
    assert response.status_code == 200, response.text
    (prediction,) = response.json()["results"]
    validate(config, [OutgoingPrediction(1, prediction["score"], prediction["result"])])
    return list(prediction["result"])


def painted(result: list[dict[str, Any]], label: str = "car") -> np.ndarray:
    mask = np.full(SIZE_HW, VOID_INDEX, np.uint8)
    for region in parse_regions(dumps(result), "image"):
        assert isinstance(region, Region) and region.label == label
        paint(mask, [(region, 1)])
    return mask == 1


def test_what_label_studio_asks_on_connecting(running: Running):
    client = running.client()
    assert client.get("/health").json() == {"status": "UP"}
    setup = {"project": "7.1", "schema": CONFIG, "hostname": "http://a", "access_token": TOKEN, "extra_params": None}
    assert client.post("/setup", json=setup).json() == {"model_version": "unet-0123456789ab"}
    running.champion.version = None
    assert client.post("/setup", json=setup).json() == {"model_version": "discs"}
    for body in ({"action": "START_TRAINING", "project": {}}, {"action": "ANNOTATION_CREATED", "task": {}}):
        assert client.post("/webhook", json=body).status_code == 200


def test_a_click_becomes_a_region_there_in_the_clicked_label(running: Running):
    (region,) = regions(running.client(), point(50, 50))
    assert (region["type"], region["from_name"], region["to_name"]) == ("polygonlabels", "polygon", "image")
    assert region["value"]["polygonlabels"] == ["car"]
    assert region["score"] == 1.0  # a network may estimate more than is possible
    found = painted([region])
    rows, columns = np.nonzero(found)
    assert (rows.mean(), columns.mean()) == pytest.approx((19.5, 29.5))
    assert found.sum() == pytest.approx(np.pi * 6**2, rel=0.05)


def test_it_is_a_brush_stroke_where_the_project_has_no_polygons_or_the_params_say_so(running: Running, tmp_path: Path):
    (stroke,) = regions(running.client(), point(50, 50), config=BRUSH_ONLY)
    polygon = regions(running.client(), point(50, 50))
    assert stroke["type"] == "brushlabels" and stroke["from_name"] == "brush"
    assert np.array_equal(painted([stroke]), painted(polygon))
    (asked_for,) = regions(Running(tmp_path, answer_as="brush").client(), point(50, 50))
    assert asked_for == stroke


def test_a_rectangle_and_negative_points_refine_one_region(running: Running):
    client = running.client()
    (box,) = regions(client, rectangle(25, 25, 50, 50))
    box_mask = painted([box])
    assert box_mask[10:30, 15:45].all() and box_mask.sum() == 20 * 30
    (first,) = regions(client, point(40, 50))
    (both,) = regions(client, point(40, 50), point(48, 50))
    (less,) = regions(client, point(40, 50), point(48, 50), point(55, 50, positive=False))
    assert first["id"] == both["id"] == less["id"]
    assert painted([both]).sum() > max(painted([first]).sum(), painted([less]).sum())
    assert painted([both])[19, 33] and not painted([less])[19, 33]


def test_a_context_without_a_prompt_clears_the_suggestion(running: Running):
    assert regions(running.client()) == []


def test_the_second_click_needs_neither_image_nor_encoder(running: Running):
    client = running.client()
    regions(client, point(50, 50))
    response = client.post("/predict", json=message(point(20, 20)))
    assert running.fetched == ["/1.png"]
    assert running.segmenter.embedded == 1
    assert response.headers["Server-Timing"].startswith("decoder;dur=")


def test_a_restarted_backend_has_its_embeddings_still(tmp_path: Path):
    regions(Running(tmp_path).client(), point(50, 50))
    again = Running(tmp_path)
    regions(again.client(), point(50, 50))
    assert again.segmenter.embedded == 0


def test_without_a_click_the_champion_answers_every_task(running: Running):
    results = running.client().post("/predict", json=unprompted(1, 2)).json()["results"]
    assert [result["score"] for result in results] == [0.1, 0.2]
    assert running.segmenter.embedded == 0


def test_without_a_champion_there_is_no_prediction(running: Running):
    running.champion.version = None
    response = running.client().post("/predict", json=unprompted(1, 2))
    assert (response.status_code, response.json()) == (200, {"results": []})


def test_a_task_whose_image_is_gone_has_no_prediction(running: Running):
    running.champion.error = ImageError("image_missing", "gone")
    assert running.client().post("/predict", json=unprompted(1, 2)).json() == {"results": [[], []]}


@pytest.mark.parametrize(
    ("change", "status", "said"),
    [
        (lambda body: body.pop("tasks"), 422, "`tasks`: Field required"),
        (lambda body: body.update(tasks=[]), 422, "`tasks`"),
        (lambda body: body.update(label_config="<View>"), 422, "not valid XML"),
        (lambda body: body.update(label_config="<View/>"), 422, "no <Image>"),
        (lambda body: body["tasks"][0].update(data={}), 422, "no image in data.image"),
        (lambda body: body["tasks"][0].update(data={"image": "http://169.254.169.254/"}), 422, "not from there"),
        (lambda body: body["params"].update(context={"result": [point(1, 1, "lake")]}), 422, "'lake'"),
        (lambda body: body["params"].update(context={"result": [{"type": "keypointlabels"}]}), 422, "without a label"),
        (lambda body: body["params"].update(context={"result": 3}), 422, "params.context.result"),
    ],
)
def test_what_does_not_fit_is_one_line(running: Running, change: Callable[[Any], Any], status: int, said: str):
    body = message(point(50, 50))
    change(body)
    response = running.client().post("/predict", json=body)
    assert response.status_code == status
    assert said in response.json()["error"]


def test_malformed_json_and_unknown_paths_are_json_errors(running: Running):
    client = running.client()
    broken = client.post("/predict", content=b"{", headers={"content-type": "application/json"})
    assert broken.status_code == 422 and "malformed" in broken.json()["error"]
    assert client.get("/docs").status_code == client.get("/openapi.json").status_code == 404
    assert client.get("/predict").json() == {"error": "Method Not Allowed"}


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (UnreachableError("no usable answer from http://a"), 502, "no usable answer"),
        (PushError("the prediction for task 1 is invalid"), 422, "task 1 is invalid"),
        (RuntimeError(f"secret {TOKEN}"), 500, "an error of the server"),
    ],
)
def test_a_failure_is_told_without_a_traceback(
    running: Running, error: Exception, status: int, said: str, caplog: pytest.LogCaptureFixture
):
    running.champion.error = error
    response = running.client().post("/predict", json=unprompted(1))
    assert response.status_code == status
    assert said in response.json()["error"]
    assert "Traceback" not in response.text + caplog.text
    assert TOKEN not in response.text + caplog.text


def test_a_full_queue_is_said_and_empties(tmp_path: Path):
    running = Running(tmp_path, queue=1)
    client = running.client()
    running.segmenter.hold.clear()
    answers: list[int] = []
    waiting = threading.Thread(
        target=lambda: answers.append(client.post("/predict", json=message(point(50, 50))).status_code)
    )
    waiting.start()
    until(lambda: running.fetched == ["/1.png"])
    full = client.post("/predict", json=message(point(50, 50), task=2))
    assert full.status_code == 503 and full.headers["Retry-After"] == "1"
    running.segmenter.hold.set()
    waiting.join()
    assert answers == [200]
    assert client.post("/predict", json=message(point(50, 50))).status_code == 200


def test_a_click_does_not_wait_for_another_images_encoder(running: Running):
    client = running.client()
    regions(client, point(50, 50))
    running.segmenter.hold.clear()
    ahead = threading.Thread(target=running.backend.embed, args=(2, "/2.png"))
    ahead.start()
    until(lambda: "/2.png" in running.fetched)
    regions(client, point(20, 20))
    assert running.segmenter.embedded == 1
    running.segmenter.hold.set()
    ahead.join()
    assert running.segmenter.embedded == 2


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_the_next_tasks_are_embedded_in_the_order_of_their_ids(running: Running):
    listed: list[int] = []

    def open_tasks(project: int) -> list[tuple[int, dict[str, Any]]]:
        listed.append(project)
        return [(number, {"image": f"/{number}.png"}) for number in (1, 3, 4, 8, 9)]

    client = running.client(prefetcher=Prefetcher(running.backend, open_tasks, 2))
    response = client.post("/predict", json=message(point(50, 50), task=3))
    assert response.status_code == 200
    until(lambda: running.segmenter.embedded == 3)
    assert running.fetched == ["/3.png", "/4.png", "/8.png"]
    assert client.post("/predict", json=message(point(50, 50), task=4)).status_code == 200
    until(lambda: running.segmenter.embedded == 4)
    assert running.fetched == ["/3.png", "/4.png", "/8.png", "/8.png", "/9.png"] or running.fetched[-1] == "/9.png"
    assert listed == [7]


def test_the_prefetcher_outlives_errors(running: Running, caplog: pytest.LogCaptureFixture):
    def open_tasks(project: int) -> list[tuple[int, dict[str, Any]]]:
        if project == 1:
            raise UnreachableError("no usable answer from http://a")
        if project == 2:
            raise RuntimeError(TOKEN)
        return [(2, {"image": "/2.png"})]

    client = running.client(prefetcher=Prefetcher(running.backend, open_tasks, 2))
    with caplog.at_level(logging.WARNING):
        for project, logged in ((1, "no usable answer"), (2, "RuntimeError")):
            client.post("/predict", json=message(point(50, 50), project=project))
            until(lambda logged=logged: logged in caplog.text)
        client.post("/predict", json=message(point(50, 50), project=7))
        until(lambda: running.segmenter.embedded == 2)
    assert TOKEN not in caplog.text


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.mark.parametrize("path", ["/health", "/setup", "/predict", "/webhook", "/docs"])
@pytest.mark.parametrize(
    ("access", "authorisation", "admitted"),
    [
        (Access(), "", True),
        (Access(user="ls", password="päss"), basic("ls", "päss"), True),
        (Access(user="ls", password="päss"), basic("ls", "pass"), False),
        (Access(user="ls", password="päss"), basic("", "päss"), False),
        (Access(user="ls", password="päss"), "", False),
        (Access(user="ls", password="päss"), "Bearer päss".encode().decode("latin-1"), False),
        (Access(password="only"), basic("", "only"), True),
        (Access(user="ls"), "", True),  # a user alone guards nothing
        (Access(secret="s3cret"), "Bearer s3cret", True),
        (Access(secret="s3cret"), basic("anybody", "s3cret"), True),
        (Access(secret="s3cret"), "Bearer s3crets", False),
        (Access(secret="s3cret"), "Bearer ", False),
        (Access(secret="s3cret"), "Basic !!!", False),
        (Access(secret="s3cret"), "Basic /////w==", False),
        (Access(secret="s3cret"), basic("", ""), False),
        (Access(secret="s3cret"), "Token s3cret", False),
    ],
)
def test_every_path_wants_the_secret(running: Running, path: str, access: Access, authorisation: str, admitted: bool):
    client = running.client(access)
    headers = {"Authorization": authorisation.encode("latin-1")}
    response = client.post(path, json={}, headers=headers)
    assert (response.status_code != 401) == admitted
    if not admitted:
        assert response.json() == {"error": "wrong or missing credentials"}
        assert "Basic" in response.headers["WWW-Authenticate"]


def test_a_secret_is_in_no_repr():
    assert "s3cret" not in repr(Access("user-s3cret", "pass-s3cret", "s3cret"))


def test_a_large_request_is_refused_before_it_is_read_or_while_it_is(tmp_path: Path):
    client = Running(tmp_path, max_request_mb=0.002).client()
    assert client.post("/predict", content=bytes(2001)).status_code == 413
    streamed = client.post("/predict", content=(bytes(500) for _ in range(10)))  # without a length
    assert streamed.status_code == 413
    assert streamed.json() == {"error": "the request is larger than 0.002 MB"}
    assert client.post("/predict", content=bytes(2000)).status_code == 422


def test_the_token_of_setup_is_neither_kept_nor_logged(running: Running, caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.DEBUG):
        assert running.client().post("/setup", json={"access_token": TOKEN}).status_code == 200
        assert running.client().post("/predict", json={"access_token": TOKEN, "tasks": TOKEN}).status_code == 422
    assert TOKEN not in caplog.text


@pytest.mark.parametrize("kind", ["sam", "sam2"])
def test_the_real_networks_answer_at_the_click(tmp_path: Path, kind: str):
    segmenter = load_segmenter(str(write_tiny_sam(tmp_path / "sam", kind)), device="cpu")
    client = Running(tmp_path, segmenter).client()
    embedding = segmenter.embed(decode_rgb(png((SIZE_HW[1], SIZE_HW[0]), seed=1), "1.png"))
    met = 0
    for x in range(5, 100, 15):
        for y in range(5, 100, 15):
            click = parse_click([point(x, y)], SIZE_HW)
            assert click is not None
            expected = pointed_at(segmenter.segment(embedding, click.prompt).masks[0], click.prompt)
            assert np.array_equal(painted(regions(client, point(x, y))), expected)
            met += expected[y * SIZE_HW[0] // 100, x * SIZE_HW[1] // 100]
    assert met > 0  # random weights cover some of the clicks
    refined = regions(client, point(50, 50), point(70, 30, positive=False), rectangle(20, 20, 50, 50))
    assert refined == regions(client, point(50, 50), point(70, 30, positive=False), rectangle(20, 20, 50, 50))
