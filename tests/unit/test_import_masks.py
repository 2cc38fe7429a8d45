"""Importing a mask folder into an imitation of a server: what is refused before anything is sent, and what is sent."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import orjson
import pytest
from PIL import Image

from connectors.masks import write_mask
from pipeline.import_masks import MaskFolder, import_mask_folder
from pipeline.progress import Silent
from schemas.errors import DataError, ParamsError
from schemas.labels import ClassEntry, ClassMap
from tests.unit.test_outlines import painted

CLASS_MAP = ClassMap([ClassEntry(name, "#000000") for name in ("road", "car", "traffic sign")])
MASK = np.array([[0, 0, 1, 2], [0, 11, 11, 255], [2, 2, 2, 0]], np.uint8)


class FakeServer:
    """Takes projects, uploads and tasks as Label Studio does."""

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
def folder(tmp_path: Path) -> MaskFolder:
    for name in ("seq1_b", "seq1_a", "seq2_a"):
        (tmp_path / "images").mkdir(exist_ok=True)
        Image.new("RGB", (4, 3)).save(tmp_path / f"images/{name}.png")
        write_mask(tmp_path / f"masks/{name}.png", MASK)
    return MaskFolder(tmp_path / "images", tmp_path / "masks", frozenset({11}), 0.0, r"^(\w+?)_", "train")


def run(server: Any, folder: MaskFolder, project: int | None = None) -> tuple[int, int]:
    return import_mask_folder(server, folder, CLASS_MAP, "street", project, Silent())


def changed(folder: MaskFolder, **fields: Any) -> MaskFolder:
    known = {name: getattr(folder, name) for name in MaskFolder.__slots__}
    return MaskFolder(**known | fields)


def test_tasks_hold_image_group_split_and_the_whole_mask(folder: MaskFolder):
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


def test_a_given_project_is_used(folder: MaskFolder):
    server = FakeServer()
    assert run(server, changed(folder, group_regex=None, split=None), project=4) == (4, 3)
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
def test_a_wrong_group_regex_is_said_before_anything_is_sent(folder: MaskFolder, pattern: str, said: str):
    server = FakeServer()
    with pytest.raises(ParamsError, match=said):
        run(server, changed(folder, group_regex=pattern))
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
def test_the_file_at_fault_is_named_before_anything_is_sent(folder: MaskFolder, damage, said: str):
    server = FakeServer()
    damage(folder.images / "seq2_a.png", folder.masks / "seq2_a.png")
    with pytest.raises(DataError, match=said):
        run(server, folder)
    assert server.sent == []
