"""From masks to classes: who gives a mask its class, what it adds to a human mask, and what the stage writes."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch

from connectors.base import Credentials
from connectors.images import open_rgb
from connectors.sam_pickle import ImagePrelabels, Prelabel, write_sam_pickle
from connectors.storage import read_json, read_table
from pipeline import checkpoint
from pipeline.assign import Assignment, assign, assign_mask, newly_covered
from pipeline.assigned import SOURCES, fill, positions
from pipeline.human_regions import HumanRegions
from pipeline.inference import load_network
from pipeline.models import build
from pipeline.prelabel_report import prelabel_section
from pipeline.prelabel_summary import masks_to_cover
from pipeline.progress import Silent
from pipeline.pull import pull
from schemas.errors import DataError
from schemas.labels import VOID_INDEX, ClassEntry, ClassMap
from schemas.manifest import ASSIGNED, ASSIGNED_SCHEMA, CHAMPION_DIR, PRELABEL_REPORT, PRELABELS_DIR
from schemas.params import PrelabelParams, RasteriseParams
from schemas.tasks import Annotation
from tests.conftest import LEFT_HALF, Project, annotation, polygon, task
from tests.model_cards import model_card

SIZE_HW = (10, 20)
CLASS_MAP = ClassMap([ClassEntry(name, "#000000") for name in ("road", "car", "tree")])
ROAD, CAR, TREE = range(3)


def box(top: int, left: int, bottom: int, right: int) -> np.ndarray:
    mask = np.zeros(SIZE_HW, bool)
    mask[top:bottom, left:right] = True
    return mask


def prelabel(mask: np.ndarray, label: str | None = None, score: float | None = None) -> Prelabel:
    made = Prelabel.from_mask(mask, ((0, 0),), 0.9, 0.9)
    return Prelabel(
        **{name: getattr(made, name) for name in Prelabel.__slots__} | {"label": label, "label_score": score}
    )


def annotated(*regions: dict[str, Any]) -> Annotation:
    return Annotation(1, None, None, None, False, False, None, None, json.dumps(list(regions)))


def human(*regions: dict[str, Any]) -> HumanRegions:
    return HumanRegions.of([annotated(*regions)], SIZE_HW, CLASS_MAP, RasteriseParams())


def asked(item: Prelabel, regions: HumanRegions, votes: np.ndarray | None = None, **params: Any) -> Assignment:
    column_major = None if votes is None else votes.ravel(order="F")
    return assign_mask(item, positions(item), regions, column_major, PrelabelParams(**params), CLASS_MAP)


NOBODY = HumanRegions.none(SIZE_HW)
LEFT = human(polygon(LEFT_HALF, "car", "r7"))  # 10 columns of 20


@pytest.mark.parametrize("seed", range(4))
def test_positions_are_the_pixels_in_column_major_order(seed: int) -> None:
    mask = np.random.default_rng(seed).random((13, 9)) < 0.4
    assert np.array_equal(positions(Prelabel.from_mask(mask, ())), np.flatnonzero(mask.ravel(order="F")))


def test_every_pixel_knows_the_region_on_top() -> None:
    regions = human(
        polygon(LEFT_HALF, "road", "below"),
        polygon([[0, 0], [25, 0], [25, 100], [0, 100]], "void", "cut"),
        polygon(LEFT_HALF, "zebra", "unknown label"),
    )
    assert regions.region_ids == ("", "below", "cut")
    assert regions.class_indices.tolist() == [VOID_INDEX, ROAD, VOID_INDEX]
    assert regions.instances[0].tolist() == [2] * 5 + [1] * 5 + [0] * 10
    assert regions.areas_px.tolist() == [100, 50, 50]


def test_more_regions_than_a_byte_can_number() -> None:
    columns = [[[x, 0], [x + 0.25, 0], [x + 0.25, 100], [x, 100]] for x in np.arange(0, 100, 0.25)]
    wide = [polygon(points, "road", str(number), (800, 2)) for number, points in enumerate(columns)]
    regions = HumanRegions.of([annotated(*wide)], (2, 800), CLASS_MAP, RasteriseParams())
    assert np.array_equal(regions.instances[0], np.repeat(np.arange(1, 401), 2))


@pytest.mark.parametrize(("columns", "class_index"), [(10, CAR), (8, CAR), (13, CAR), (6, None), (15, None)])
def test_a_mask_that_matches_a_region_takes_its_class(columns: int, class_index: int | None) -> None:
    answer = asked(prelabel(box(0, 0, 10, columns)), LEFT)
    assert answer.class_index == class_index
    if class_index is not None:
        overlap = min(columns, 10) / max(columns, 10)
        assert answer == Assignment(CAR, "human", pytest.approx(overlap), "r7")


def test_who_is_asked_first_answers() -> None:
    item, votes = prelabel(box(0, 0, 10, 10), "tree", 0.8), np.full(SIZE_HW, ROAD, np.uint8)
    assert asked(item, LEFT, votes).by == "human"
    assert asked(item, LEFT, votes, assign=["detector", "human"]) == Assignment(TREE, "detector", 0.8)
    assert asked(item, NOBODY, votes) == Assignment(TREE, "detector", 0.8)
    assert asked(item, LEFT, votes, assign=["champion"]) == Assignment(ROAD, "champion", 1.0)
    assert asked(prelabel(box(0, 0, 10, 10), "zebra", 0.8), NOBODY) == Assignment()
    assert asked(item, LEFT, votes, assign=[]) == Assignment()


@pytest.mark.parametrize(("car_columns", "expected"), [(6, CAR), (7, CAR), (5, None)])
def test_the_champion_must_agree_on_most_of_a_mask(car_columns: int, expected: int | None) -> None:
    votes = np.full(SIZE_HW, ROAD, np.uint8)
    votes[:, :car_columns] = CAR
    votes[:5, car_columns:] = TREE
    assert asked(prelabel(box(0, 0, 10, 10)), NOBODY, votes).class_index == expected


def test_a_mask_of_a_region_that_cuts_a_hole_is_void() -> None:
    regions = human(polygon(LEFT_HALF, "void", "cut"))
    answer = asked(prelabel(box(0, 0, 10, 10), "tree", 0.8), regions)
    assert (answer.class_index, answer.by) == (VOID_INDEX, "human")


def test_larger_masks_cover_first() -> None:
    masks = [box(0, 0, 10, 5), box(0, 0, 10, 20), box(0, 0, 5, 10)]
    assert newly_covered([prelabel(mask) for mask in masks], 200) == [0, 200, 0]
    halves = [box(0, 0, 10, 10), box(0, 5, 10, 15), box(9, 0, 10, 20)]
    assert newly_covered([prelabel(mask) for mask in halves], 200) == [100, 50, 5]


def row(number: int, class_index: int | None, by: str | None, score: float, area_px: int = 100) -> dict[str, Any]:
    return {"mask": number, "class_index": class_index, "by": by, "score": score, "area_px": area_px}


def test_masks_fill_what_no_region_touches() -> None:
    mask = np.full(SIZE_HW, VOID_INDEX, np.uint8)
    mask[:, :5] = ROAD
    touched = mask == ROAD
    touched[:, 5:7] = True  # a region labelled void
    items = [prelabel(box(0, 0, 10, 12)), prelabel(box(0, 10, 10, 20))]
    rows = [row(0, CAR, "detector", 0.5), row(1, TREE, "champion", 0.9)]
    filled = fill(mask, touched, items, rows, SOURCES, refine=False)
    assert filled.mask[3].tolist() == [ROAD] * 5 + [VOID_INDEX] * 2 + [CAR] * 5 + [TREE] * 8
    assert filled.sources[3].tolist() == [1] * 5 + [0] * 2 + [2] * 5 + [3] * 8
    assert filled.pixels == {"human": 50, "sam": 50, "model": 80}
    only_sam = fill(mask, touched, items, rows, ("human", "sam"), refine=False)
    assert only_sam.pixels == {"human": 50, "sam": 50, "model": 0}
    assert fill(mask, touched, items, rows, ("human",), refine=False).pixels == {"human": 50, "sam": 0, "model": 0}


@pytest.mark.parametrize("seed", range(10))
def test_a_human_pixel_is_never_overwritten(seed: int) -> None:
    random = np.random.default_rng(seed)
    mask = random.choice([ROAD, CAR, VOID_INDEX], SIZE_HW).astype(np.uint8)
    touched = (mask != VOID_INDEX) | (random.random(SIZE_HW) < 0.2)
    items = [prelabel(random.random(SIZE_HW) < 0.5) for _ in range(6)]
    rows = [
        row(n, int(random.integers(3)), str(random.choice(["human", "detector", "champion"])), float(random.random()))
        for n in range(6)
    ]
    filled = fill(mask, touched, items, rows, SOURCES, refine=True)
    assert np.array_equal(filled.mask[touched], mask[touched])
    assert np.array_equal(filled.sources == 1, mask != VOID_INDEX)
    assert np.array_equal(filled.sources == 0, filled.mask == VOID_INDEX)
    covered = np.logical_or.reduce([item.mask(SIZE_HW) for item in items])
    assert np.array_equal(filled.sources > 1, covered & ~touched)


def test_the_stronger_mask_wins() -> None:
    mask, touched = np.full(SIZE_HW, VOID_INDEX, np.uint8), np.zeros(SIZE_HW, bool)
    items = [prelabel(box(0, 0, 10, 10)) for _ in range(3)]

    def winner(*rows: dict[str, Any], refine: bool = True) -> int:
        return int(fill(mask, touched, items, rows, SOURCES, refine).mask[0, 0])

    assert winner(row(0, ROAD, "champion", 1.0), row(1, CAR, "detector", 0.3)) == CAR
    assert winner(row(0, ROAD, "detector", 0.4), row(1, CAR, "detector", 0.3)) == ROAD
    assert winner(row(0, ROAD, "champion", 0.9, 100), row(1, CAR, "champion", 0.9, 20)) == CAR
    assert winner(row(0, ROAD, "human", 0.8), row(1, CAR, "detector", 0.9)) == ROAD
    assert winner(row(0, ROAD, "human", 0.8), row(1, CAR, "detector", 0.9), refine=False) == CAR
    assert winner(row(0, None, None, 0.0), row(1, VOID_INDEX, "human", 0.9)) == VOID_INDEX


@pytest.mark.parametrize(("wanted", "masks"), [(0.3, 1), (0.5, 2), (0.6, 3), (0.9, 3), (0.95, None)])
def test_how_many_masks_it_takes(wanted: float, masks: int | None) -> None:
    assert masks_to_cover(np.array([0.4, 0.5, 0.9]), wanted) == masks


@pytest.fixture
def annotated_project(project: Project) -> Project:
    """Task 1: its left half is a car. Task 2: nobody annotated it."""
    project.image("b.png", seed=1)
    project.export([task(1, [polygon(LEFT_HALF, "car", "r7")]), task(2, image="b.png")])
    pull(project.params, project.folder, Silent(), Credentials())
    return project


def save_pickles(project: Project, *items: Prelabel) -> None:
    for path in (project.folder / "data/images").iterdir():
        content = ImagePrelabels(path.stem, SIZE_HW, "sam", "made", items)
        write_sam_pickle(project.folder / PRELABELS_DIR / f"{path.stem}.pkl", content)


def assigned_rows(project: Project) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = read_table(project.folder / ASSIGNED, ASSIGNED_SCHEMA).to_pylist()
    return rows


def test_the_stage_writes_a_row_for_every_mask(annotated_project: Project) -> None:
    save_pickles(annotated_project, prelabel(box(0, 0, 10, 9)), prelabel(box(0, 5, 10, 15), "tree", 0.7))
    said = assign(annotated_project.params, annotated_project.folder, Silent())
    assert said == "3 of 4 masks have a class; 2 of 2 tasks looked at, 0 unusable pickles"
    rows = assigned_rows(annotated_project)
    assert [(row["task_id"], row["mask"], row["class_index"], row["by"]) for row in rows] == [
        (1, 0, CAR, "human"),
        (1, 1, TREE, "detector"),
        (2, 0, None, None),
        (2, 1, TREE, "detector"),
    ]
    assert [row["new_px"] for row in rows] == [50, 100] * 2
    assert [(row["human_px"], row["agreeing_px"]) for row in rows] == [(90, 90), (50, 0), (0, 0), (0, 0)]
    assert (rows[0]["score"], rows[0]["region_id"], rows[0]["model_version"]) == (0.9, "r7", None)


def test_the_report_counts_masks_and_agreement(annotated_project: Project) -> None:
    save_pickles(annotated_project, prelabel(box(0, 0, 10, 9)), prelabel(box(0, 5, 10, 15), "tree", 0.7))
    assign(annotated_project.params, annotated_project.folder, Silent())
    found = read_json(annotated_project.folder / PRELABEL_REPORT)
    assert (found["images"], found["masks"], found["masks_per_image"]["median"]) == (2, 4, 2)
    assert found["covering"] == {
        "0.5": {"median": 1.0, "images": 2},
        "0.9": {"median": None, "images": 0},
        "0.95": {"median": None, "images": 0},
    }
    assert found["curve"] == [0.5, 0.75]
    assert found["assigned"]["human"] == {"masks": 1, "share": 0.25, "compared_px": 90, "agreement": 1.0}
    assert found["assigned"]["detector"] == {"masks": 2, "share": 0.5, "compared_px": 50, "agreement": 0.0}
    assert (found["unassigned"], found["classes"]) == (0.25, {"car": 1, "tree": 2})
    assert "<svg" in prelabel_section(annotated_project.folder).curve


def test_only_what_changed_is_looked_at_again(annotated_project: Project) -> None:
    save_pickles(annotated_project, prelabel(box(0, 0, 10, 9)))
    params, folder = annotated_project.params, annotated_project.folder
    assign(params, folder, Silent())
    before = (folder / ASSIGNED).read_bytes()
    assert "0 of 2 tasks looked at" in assign(params, folder, Silent())
    assert (folder / ASSIGNED).read_bytes() == before

    annotated_project.export(
        [task(1, [polygon(LEFT_HALF, "road", "r8")]), {**task(2, image="b.png"), "annotations": []}]
    )
    pull(params, folder, Silent(), Credentials())
    assert "1 of 2 tasks looked at" in assign(params, folder, Silent())
    assert assigned_rows(annotated_project)[0]["class_index"] == ROAD

    annotated_project.raw["prelabel"] = {"assign_iou": 0.95}
    assert "2 of 2 tasks looked at" in assign(annotated_project.params, folder, Silent())
    assert assigned_rows(annotated_project)[0]["class_index"] is None


def test_a_skipped_annotation_gives_no_class(annotated_project: Project) -> None:
    skipped = annotation([polygon(LEFT_HALF, "car")], was_cancelled=True)
    annotated_project.export([{**task(1), "annotations": [skipped]}])
    pull(annotated_project.params, annotated_project.folder, Silent(), Credentials())
    save_pickles(annotated_project, prelabel(box(0, 0, 10, 10)))
    assign(annotated_project.params, annotated_project.folder, Silent())
    assert [row["by"] for row in assigned_rows(annotated_project)] == [None]


def test_an_unusable_pickle_is_counted_and_said(annotated_project: Project) -> None:
    save_pickles(annotated_project, prelabel(box(0, 0, 10, 9)))
    first, second = sorted((annotated_project.folder / PRELABELS_DIR).iterdir())
    first.write_bytes(b"torn")
    other = Prelabel.from_mask(np.ones((4, 4), bool), ())
    write_sam_pickle(second, ImagePrelabels(second.stem, (4, 4), "sam", "made", (other,)))
    lines: list[str] = []

    class Listening(Silent):
        def say(self, text: str) -> None:
            lines.append(text)

    said = assign(annotated_project.params, annotated_project.folder, Listening())
    assert said == "0 of 0 masks have a class; 2 of 2 tasks looked at, 2 unusable pickles"
    assert len(lines) == 2
    with pytest.raises(DataError, match="no image has a pre-label"):
        prelabel_section(annotated_project.folder)


def crown(project: Project) -> str:
    """Give the project a champion with random weights; returns its version."""
    torch.manual_seed(0)
    class_map = project.params.class_map
    card = model_card(class_map)
    weights = build("unet", len(class_map), card.architecture_options).state_dict()
    return checkpoint.save(project.folder / CHAMPION_DIR, weights, card).model_version


def test_the_last_rounds_champion_votes_with_its_version_recorded(annotated_project: Project) -> None:
    annotated_project.raw["prelabel"] = {"assign_share": 0.01}
    annotated_project.raw["train"] = {"device": "cpu", "precision": "float32"}
    params, folder = annotated_project.params, annotated_project.folder
    items = prelabel(box(0, 0, 10, 10)), prelabel(box(2, 8, 9, 15))
    save_pickles(annotated_project, *items)
    assign(params, folder, Silent())
    assert [row["by"] for row in assigned_rows(annotated_project)] == ["human", None, None, None]

    version = crown(annotated_project)
    assert "2 of 2 tasks looked at" in assign(params, folder, Silent())
    rows = assigned_rows(annotated_project)
    assert [row["by"] for row in rows] == ["human", "champion", "champion", "champion"]
    assert {row["model_version"] for row in rows} == {version}
    network, _ = load_network(folder / CHAMPION_DIR, params)
    (predicted,) = network.predict([open_rgb(folder / "b.png")])
    for row, item in zip(rows[2:], items, strict=True):
        counts = np.bincount(predicted.mask[item.mask(SIZE_HW)], minlength=3)
        assert (row["class_index"], row["score"]) == (counts.argmax(), counts.max() / item.area)


def test_a_champion_of_other_classes_does_not_vote(annotated_project: Project) -> None:
    crown(annotated_project)
    save_pickles(annotated_project, prelabel(box(0, 12, 10, 20)))
    annotated_project.raw["classes"] = [{"name": name} for name in ("road", "car", "tree", "sky")]
    assign(annotated_project.params, annotated_project.folder, Silent())
    assert {row["model_version"] for row in assigned_rows(annotated_project)} == {None}
