"""Importing data sets into an imitation of a server: what is refused before anything is sent, and what is sent."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import orjson
import pytest
from PIL import Image

from connectors.labelled import Instance, Labelled
from connectors.mask_folder import read_pairs
from connectors.masks import write_mask
from pipeline.import_dataset import TaskOptions, import_dataset, result
from pipeline.progress import Silent
from schemas.errors import DataError, ParamsError
from schemas.labels import ClassEntry, ClassMap
from tests.unit.test_outlines import painted

CLASS_MAP = ClassMap([ClassEntry(name, "#000000") for name in ("road", "car", "traffic sign")])
MASK = np.array([[0, 0, 1, 2], [0, 11, 11, 255], [2, 2, 2, 0]], np.uint8)


class FakeServer:
    """Takes projects, uploads and tasks as Label Studio does."""

    url = "http://localhost"

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.tasks: list[dict[str, Any]] = []
        self.uploads: list[str] = []

    def send(self, method: str, path: str, body: Any = None, files: Any = None) -> Any:
        self.sent.append(path)
        if path == "/api/projects/":
            return {"id": 9}
        if files:
            self.uploads += [name for name, _ in files.values()]
            return {"file_upload_ids": list(range(len(self.uploads) - len(files), len(self.uploads)))}
        self.tasks += body
        return {"task_count": len(body)}

    def get(self, path: str, query: dict[str, str]) -> Any:
        found = [{"id": number, "file": f"upload/9/{self.uploads[number]}"} for number in orjson.loads(query["ids"])]
        return SimpleNamespace(content=orjson.dumps(found[::-1]))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("seq1_b", "seq1_a", "seq2_a"):
        (tmp_path / "images").mkdir(exist_ok=True)
        Image.new("RGB", (4, 3)).save(tmp_path / f"images/{name}.png")
        write_mask(tmp_path / f"masks/{name}.png", MASK)
    return tmp_path


OPTIONS = TaskOptions(0.0, r"^(\w+?)_", "train")


def run(server: Any, folder: Path, options: TaskOptions = OPTIONS, project: int | None = None) -> tuple[int, int]:
    labelled = read_pairs(folder / "images", folder / "masks", len(CLASS_MAP), frozenset({11}))
    return import_dataset(server, labelled, options, CLASS_MAP, "street", project, Silent())


def test_tasks_hold_image_group_split_and_the_whole_mask(folder: Path):
    server = FakeServer()
    assert run(server, folder) == (9, 3)
    assert [task["data"] for task in server.tasks] == [
        {"name": f"{name}.png", "video": name[:4], "split": "train", "image": f"/data/upload/9/{name}.png"}
        for name in ("seq1_a", "seq1_b", "seq2_a")
    ]
    for task in server.tasks:
        (work,) = task["annotations"]
        assert work["ground_truth"] is False
        np.testing.assert_array_equal(painted(work["result"], MASK.shape), np.where(MASK == 11, 255, MASK))


def test_a_given_project_is_used(folder: Path):
    server = FakeServer()
    assert run(server, folder, TaskOptions(), project=4) == (4, 3)
    assert "/api/projects/" not in server.sent
    assert set(server.tasks[0]["data"]) == {"name", "image"}


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("(", r"'\(' is no regular expression"),
        (r"^\w+_", "finds no group in 'seq1_a'"),
        (r"^(frame)", "finds no group in 'seq1_a'"),
        (r"^(x)?seq", "finds no group in 'seq1_a'"),
        (r"^seq(1)", "finds no group in 'seq2_a'"),
    ],
)
def test_a_wrong_group_regex_is_said_before_anything_is_sent(folder: Path, pattern: str, said: str):
    server = FakeServer()
    with pytest.raises(ParamsError, match=said):
        run(server, folder, TaskOptions(group_regex=pattern))
    assert server.sent == []


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda images, masks: Image.new("RGB", (3, 4)).save(images), r"seq2_a\.png is 4×3, its image shows as 3×4"),
        (lambda images, masks: images.write_bytes(b"text"), r"images/seq2_a\.png: the image is no image"),
        (lambda images, masks: write_mask(masks, MASK + 3), r"masks/seq2_a\.png holds the values \[3, 4, 5, 14\]"),
        (lambda images, masks: Image.new("RGB", (4, 3)).save(masks), r"masks/seq2_a\.png has mode RGB"),
    ],
)
def test_the_file_at_fault_is_named_before_anything_is_sent(folder: Path, damage, said: str):
    server = FakeServer()
    damage(folder / "images/seq2_a.png", folder / "masks/seq2_a.png")
    with pytest.raises(DataError, match=said):
        run(server, folder)
    assert server.sent == []


def test_instances_lie_on_one_another_and_their_holes_show_what_is_below(tmp_path: Path):
    ring = np.ones((5, 6), np.bool_)
    ring[2, 2:4] = False
    square = np.array([[1, 1], [4, 1], [4, 3.0], [1, 3]])
    content = [Instance(0, outline=square), Instance(1, pixels=ring), Instance(255, outline=square[:3])]
    found = result(Labelled(tmp_path / "a.png", tmp_path / "a.json", ring.shape, content), CLASS_MAP)
    expected = np.array([[1] * 6, [1, 1, 255, 255, 1, 1], [1, 1, 0, 255, 1, 1], [1] * 6, [1] * 6], np.uint8)
    np.testing.assert_array_equal(painted(found, ring.shape), expected)
    assert len({item["id"] for item in found}) == 3


def test_the_split_of_the_data_set_goes_into_the_task(folder: Path):
    for option, expected in ((None, "val"), ("test", "test")):
        server = FakeServer()
        labelled = read_pairs(folder / "images", folder / "masks", len(CLASS_MAP), frozenset({11}), "val")
        import_dataset(server, labelled, TaskOptions(split=option), CLASS_MAP, "street", 4, Silent())
        assert {task["data"]["split"] for task in server.tasks} == {expected}
