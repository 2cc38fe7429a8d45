"""Pushing to an imitation of a project: what is refused, in which order things happen, what an interruption leaves."""

import math
import re
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import orjson
import pytest

from connectors.base import Credentials
from connectors.label_studio_json import brush_result, parse_regions
from connectors.label_studio_push import OutgoingPrediction, PushOutcome, push_predictions, validate
from connectors.sam_pickle import ImagePrelabels, Prelabel, write_sam_pickle
from connectors.storage import write_table
from connectors.task_store import read_tasks
from pipeline.progress import Silent
from pipeline.pull import pull
from pipeline.push_prelabels import outgoing_prelabels
from pipeline.raster import paint
from pipeline.rle import encode_brush
from schemas.errors import ClassMapError, DataError, PushError
from schemas.labels import ClassEntry, ClassMap, LabelConfig, label_config
from schemas.manifest import ASSIGNED, ASSIGNED_SCHEMA, PRELABELS_DIR, TASKS_DIR
from schemas.regions import Region
from tests.conftest import WHOLE, Project, polygon, task

CONFIG = label_config(ClassMap([ClassEntry("road", "#804080"), ClassEntry("car", "#00008e")]))
OLD, NEW = "unet-0123456789ab", "pspnet-ba9876543210"
FOREIGN = "sam2.1_hiera_tiny"
TRIANGLE = [[0, 0], [50, 0], [50, 50]]


def outgoing(task_id: int, *result: dict[str, Any]) -> OutgoingPrediction:
    return OutgoingPrediction(task_id, 0.5, list(result or [polygon(TRIANGLE)]))


class FakeProject:
    """The part of a project that a push uses. It is its own server, and `calls` is what was asked of it to write."""

    def __init__(self, config: str = CONFIG) -> None:
        self.server, self.project = self, 7
        self.config = config
        self.model_version: str | None = None
        self.stored: list[tuple[int, str]] = []  # task, model version
        self.items: list[dict[str, Any]] = []
        self.calls: list[str] = []
        self.drops: Callable[[dict[str, Any]], bool] = lambda item: False

    def label_config(self) -> LabelConfig:
        return LabelConfig.parse(self.config)

    def info(self) -> dict[str, Any]:
        return {"label_config": self.config, "model_version": self.model_version}

    def predicted_tasks(self, model_version: str) -> set[int]:
        return {task_id for task_id, version in self.stored if version == model_version}

    def get(self, path: str) -> Any:
        assert path == "/api/projects/7/model-versions/"
        versions = [version for _, version in self.stored]
        return SimpleNamespace(content=orjson.dumps({version: versions.count(version) for version in versions}))

    def send(self, method: str, path: str, body: Any) -> Any:
        if path.endswith("/import/predictions"):
            self.calls.append(f"import {len(body)}")
            kept = [item for item in body if not self.drops(item)]
            self.items += kept
            self.stored += [(item["task"], item["model_version"]) for item in kept]
            return {"created": len(kept)}
        assert (method, path) in {("PATCH", "/api/projects/7/"), ("DELETE", "/api/projects/7/model-versions/")}
        version = body["model_version"]
        self.calls.append(f"{'switch' if method == 'PATCH' else 'delete'} {version}")
        if method == "PATCH":
            assert version in {stored for _, stored in self.stored}, "Label Studio answers this with HTTP 400"
            self.model_version = version
        else:
            assert version != self.model_version, "Label Studio would unset the project's model version"
            self.stored = [entry for entry in self.stored if entry[1] != version]
        return None


def push(project: Any, *predictions: OutgoingPrediction, chunk_tasks: int = 2, chunk_bytes: int = 10**6) -> PushOutcome:
    return push_predictions(project, NEW, list(predictions), chunk_tasks, chunk_bytes)


@pytest.mark.parametrize(
    ("result", "said"),
    [
        ([polygon(TRIANGLE, "lake")], "lake"),
        ([polygon(TRIANGLE) | {"from_name": "shape"}], "shape"),
        ([polygon(TRIANGLE) | {"to_name": "photo"}], "photo"),
        ([polygon(TRIANGLE) | {"type": "rectanglelabels"}], "rectanglelabels"),
        ([polygon(TRIANGLE[:2])], "a polygon of 2 points"),
        ([polygon([])], "a polygon of 0 points"),
        ([polygon(TRIANGLE), polygon(TRIANGLE, "car")], "two regions have the same id"),
        ([polygon([*TRIANGLE, [50, 100.01]])], "100.01"),
        ([polygon([*TRIANGLE, [-0.01, 50]])], "a coordinate outside 0..100"),
        ([polygon([*TRIANGLE, [math.nan, 50]])], "nan"),
        ([polygon(TRIANGLE) | {"original_width": None}], "no original size"),
        ([polygon(TRIANGLE, size_wh=(20, 0))], "no original size"),
        ([polygon(TRIANGLE) | {"score": 1.01}], "score 1.01 outside 0..1"),
        ([polygon(TRIANGLE) | {"score": math.nan}], "score nan outside 0..1"),
    ],
)
def test_an_invalid_prediction_is_named(result: list[dict[str, Any]], said: str):
    validate(CONFIG, [outgoing(1)])
    with pytest.raises(PushError) as caught:
        validate(CONFIG, [outgoing(1), OutgoingPrediction(42, 0.5, result)])
    assert "task 42 is invalid" in str(caught.value)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("score", [-0.1, 1.1, math.nan, math.inf])
def test_a_score_of_a_prediction_is_in_0_to_1(score: float):
    with pytest.raises(PushError, match=r"[Ss]core"):
        validate(CONFIG, [OutgoingPrediction(42, score, [])])


def test_a_prediction_of_nothing_is_valid():
    validate(CONFIG, [OutgoingPrediction(1, 0.0, []), OutgoingPrediction(2, 1.0, [polygon(TRIANGLE) | {"score": 0.0}])])


def test_the_new_is_imported_before_it_is_switched_to_and_the_old_deleted_last():
    project = FakeProject()
    project.stored, project.model_version = [(1, OLD), (2, OLD)], OLD
    assert push(project, outgoing(1), outgoing(2), outgoing(3)) == PushOutcome(3, 0, [OLD])
    assert project.calls == ["import 2", "import 1", f"switch {NEW}", f"delete {OLD}"]
    assert project.stored == [(1, NEW), (2, NEW), (3, NEW)]
    assert project.items[0] == {"task": 1, "model_version": NEW, "score": 0.5, "result": [polygon(TRIANGLE)]}


def test_a_second_push_changes_nothing():
    project = FakeProject()
    push(project, outgoing(1), outgoing(2))
    project.calls.clear()
    assert push(project, outgoing(1), outgoing(2)) == PushOutcome(0, 2, [])
    assert project.calls == []


@pytest.mark.parametrize(
    ("stored", "active", "calls"),
    [
        ([(1, OLD), (1, NEW), (2, NEW)], OLD, ["import 1", f"switch {NEW}", f"delete {OLD}"]),  # between two imports
        ([(1, OLD), (1, NEW), (2, NEW), (3, NEW)], OLD, [f"switch {NEW}", f"delete {OLD}"]),  # before the switch
        ([(1, OLD), (1, NEW), (2, NEW), (3, NEW)], NEW, [f"delete {OLD}"]),  # before the deletion
        ([(1, NEW), (3, NEW)], NEW, ["import 1"]),  # somebody deleted one
    ],
)
def test_an_interrupted_push_does_only_what_is_missing(stored, active, calls):
    project = FakeProject()
    project.stored, project.model_version = stored, active
    push(project, outgoing(1), outgoing(2), outgoing(3))
    assert project.calls == calls
    assert sorted(project.stored) == [(1, NEW), (2, NEW), (3, NEW)]
    assert project.model_version == NEW


def test_others_model_versions_are_left_alone():
    project = FakeProject()
    others = [(1, name) for name in (FOREIGN, "undefined", "unet", "unet-0123456789ab-v2", "UNET-0123456789ab")]
    project.stored = [*others, (1, OLD)]
    assert push(project, outgoing(1)).deleted_versions == [OLD]
    assert project.stored == [*others, (1, NEW)]


def test_fewer_stored_than_sent_ends_before_the_switch():
    project = FakeProject()
    project.stored, project.model_version = [(1, OLD)], OLD
    project.drops = lambda item: item["task"] == 2
    with pytest.raises(PushError, match=f"stored 1 of 2 predictions of {NEW}"):
        push(project, outgoing(1), outgoing(2), outgoing(3))
    assert project.calls == ["import 2"]
    assert project.model_version == OLD
    assert (1, OLD) in project.stored


def test_one_invalid_prediction_and_nothing_is_sent():
    project = FakeProject()
    with pytest.raises(PushError, match="task 3"):
        push(project, outgoing(1), outgoing(2), outgoing(3, polygon(TRIANGLE, "lake")))
    assert project.calls == []


def test_nothing_predicted_leaves_the_project_as_it_is():
    project = FakeProject()
    project.stored, project.model_version = [(1, OLD)], OLD
    assert push(project) == PushOutcome(0, 0, [])
    assert project.calls == []


def test_a_request_is_limited_in_bytes():
    project = FakeProject()
    push(project, outgoing(1), outgoing(2), outgoing(3), chunk_tasks=100, chunk_bytes=700)
    assert project.calls == ["import 2", "import 1", f"switch {NEW}"]


def test_the_controls_have_the_names_of_this_project():
    project = FakeProject(CONFIG.replace('name="polygon"', 'name="shape"').replace("image", "photo"))
    push(project, outgoing(1))
    assert [(item["from_name"], item["to_name"]) for item in project.items[0]["result"]] == [("shape", "photo")]


def test_a_project_without_polygons_is_said():
    with pytest.raises(ClassMapError, match="no <PolygonLabels>"):
        push(FakeProject(CONFIG.replace("PolygonLabels", "KeyPointLabels")), outgoing(1))


SAM_OLD, SAM_NEW = "sam-0123456789ab", "sam-ba9876543210"


def test_pre_labels_and_predictions_replace_only_their_own_kind():
    project = FakeProject()
    project.stored, project.model_version = [(1, OLD), (1, SAM_OLD)], OLD
    assert push_predictions(project, SAM_NEW, [outgoing(1)], 2, 10**6, shown=False).deleted_versions == [SAM_OLD]
    assert project.model_version == OLD
    assert push(project, outgoing(1)).deleted_versions == [OLD]
    assert sorted(project.stored) == [(1, NEW), (1, SAM_NEW)]
    assert project.model_version == NEW


def test_what_annotators_see_no_more_is_deleted_after_the_switch():
    project = FakeProject()
    project.stored, project.model_version = [(1, SAM_OLD)], SAM_OLD
    push(project, outgoing(1))
    push_predictions(project, SAM_NEW, [outgoing(1)], 2, 10**6, shown=False)
    assert sorted(project.stored) == [(1, NEW), (1, SAM_NEW)]


def test_a_brush_stroke_gets_the_names_of_the_brush():
    stroke = brush_result("s1", "car", encode_brush(np.eye(10, 20, dtype=np.bool_)), (10, 20), 0.5)
    project = FakeProject(CONFIG.replace('name="brush"', 'name="stroke"'))
    push(project, outgoing(1, stroke))
    assert project.items[0]["result"][0]["from_name"] == "stroke"
    with pytest.raises(PushError, match="no original size"):
        validate(CONFIG, [outgoing(1, stroke | {"original_height": None})])
    with pytest.raises(ClassMapError, match="no <BrushLabels>"):
        push(FakeProject(CONFIG.replace("BrushLabels", "Choices")), outgoing(1, stroke))


@pytest.fixture
def pulled(project: Project) -> Project:
    """Tasks 1 (annotated) and 2 (open) with three pre-labels each: of a car, of no class, and of a road, tiny."""
    for number in (1, 2):
        project.image(f"{number}.png", (60, 40), seed=number)
    project.export([task(1, [polygon(WHOLE, size_wh=(60, 40))], "1.png"), task(2, image="2.png")])
    project.raw["predict"] = {"tolerance_px": 0, "min_area_px": 5}
    pull(project.params, project.folder, Silent(), Credentials())
    masks = np.zeros((3, 40, 60), np.bool_)
    masks[0, 5:15, 5:25], masks[1, 2:38, 2:58], masks[2, 0, :2] = True, True, True
    masks[1, 5:15, 5:25] = False
    prelabels = tuple(Prelabel.from_mask(mask, [], iou) for mask, iou in zip(masks, (0.8, 1.2, 0.9), strict=True))
    rows = []
    for entry in read_tasks(project.folder / TASKS_DIR).to_pylist():
        image = ImagePrelabels(entry["image_sha256"], (40, 60), "sam", "0" * 64, prelabels)
        write_sam_pickle(project.folder / PRELABELS_DIR / f"{entry['image_sha256']}.pkl", image)
        rows += [assigned(entry, number, *given) for number, given in enumerate(((1, 0.5), (None, None), (0, 1.0)))]
    write_table(project.folder / ASSIGNED, rows, ASSIGNED_SCHEMA)
    return project


def assigned(entry: dict[str, Any], mask: int, class_index: int | None, score: float | None) -> dict[str, Any]:
    counts = dict.fromkeys(("image_px", "area_px", "new_px", "human_px", "agreeing_px"), 0)
    known = {"task_id": entry["task_id"], "image_sha256": entry["image_sha256"], "inputs_sha256": "0" * 64}
    return {**counts, **known, "mask": mask, "class_index": class_index, "score": score}


def outgoing_of(project: Project, **push: Any) -> tuple[str, list[OutgoingPrediction]]:
    project.raw["push"] = push
    return outgoing_prelabels(project.params, project.folder, Silent())


def painted(result: list[dict[str, Any]], label: str) -> Any:
    mask = np.zeros((40, 60), np.uint8)
    for region in parse_regions(orjson.dumps(result).decode()):
        assert isinstance(region, Region)
        paint(mask, [(region, int(region.label == label))])
    return mask == 1


@pytest.mark.parametrize("prelabels_as", ["polygon", "brush"])
def test_pre_labels_of_open_tasks_go_out_in_their_label(pulled: Project, prelabels_as: str):
    model_version, (prediction,) = outgoing_of(pulled, prelabels_as=prelabels_as)
    assert re.fullmatch(r"sam-[0-9a-f]{12}", model_version)
    (region,) = prediction.result  # the one without a class and the tiny one stay home
    assert (prediction.task_id, prediction.score, region["score"]) == (2, 0.4, 0.4)
    assert region["type"] == f"{prelabels_as}labels"
    expected = np.zeros((40, 60), np.bool_)
    expected[5:15, 5:25] = True
    assert np.array_equal(painted(prediction.result, "car"), expected)
    validate(label_config(pulled.params.class_map), [prediction])


def test_unassigned_pre_labels_go_to_the_label_that_is_named_for_them(pulled: Project):
    _, (prediction,) = outgoing_of(pulled, unassigned_label="thing")
    first = prediction.result[0]
    assert first["value"]["polygonlabels"] == ["thing"] and first["score"] == 1.0  # the largest lies below
    assert painted(prediction.result, "thing")[2:38, 2:58].sum() == 36 * 56 - 10 * 20
    assert prediction.score == pytest.approx((1.0 * (36 * 56 - 200) + 0.4 * 200) / (36 * 56))
    with pytest.raises(PushError, match="thing"):
        validate(label_config(pulled.params.class_map), [prediction])


def test_the_model_version_changes_with_what_goes_out(pulled: Project):
    version, _ = outgoing_of(pulled)
    assert outgoing_of(pulled)[0] == version
    assert (
        len({version, outgoing_of(pulled, prelabels_as="brush")[0], outgoing_of(pulled, unassigned_label="x")[0]}) == 3
    )


def test_a_pickle_that_cannot_be_read_is_said_and_without_assign_nothing_goes(pulled: Project):
    for path in (pulled.folder / PRELABELS_DIR).iterdir():
        path.write_bytes(b"?")
    said: list[str] = []
    progress = Silent()
    progress.say = said.append  # type: ignore[method-assign]
    assert outgoing_prelabels(pulled.params, pulled.folder, progress)[1] == []
    assert "pre-labels of task 2 stay home" in said[0]
    (pulled.folder / ASSIGNED).unlink()
    with pytest.raises(DataError, match=r"assigned\.parquet"):
        outgoing_of(pulled)


def test_a_label_that_is_no_class_may_be_in_the_label_config():
    class_map = ClassMap([ClassEntry("road", "#804080")])
    config = LabelConfig.parse(CONFIG.replace("car", "thing"))
    config.check(class_map, "thing")
    with pytest.raises(ClassMapError, match="thing"):
        config.check(class_map)
