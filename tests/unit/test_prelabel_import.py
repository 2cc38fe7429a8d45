"""Pickles made elsewhere: matched by hash, name, task or pixels, kept by `prelabel`, or listed with a reason."""

from __future__ import annotations

import csv
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from connectors.sam_pickle import IMPORTED, read_sam_pickle
from connectors.storage import sha256_file
from connectors.task_store import task_row, write_part
from pipeline import cli
from pipeline.prelabel import prelabel
from pipeline.prelabel_import import prelabel_import
from pipeline.progress import Silent
from schemas.errors import DataError
from schemas.manifest import IMAGES_DIR, PRELABEL_IMPORT, PRELABELS_DIR, TASKS_DIR
from schemas.params import parse_params
from schemas.tasks import Task

SIZE_HW = (10, 20)
ADDRESSES = {
    1: "/data/upload/7/0a1b2c3d-street%20one.png",
    2: "/data/local-files/?d=frames/frame_0002.jpg",
    31: "https://images.example.com/a/photo.png?signature=x",
    32: "https://images.example.com/b/photo.png",
}


def pixels(task_id: int) -> np.ndarray:
    return np.random.default_rng(task_id).integers(0, 256, (*SIZE_HW, 3), np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project of four images, fetched."""
    rows = {}
    (tmp_path / IMAGES_DIR).mkdir(parents=True)
    for task_id, address in ADDRESSES.items():
        path = tmp_path / IMAGES_DIR / "image.png"
        Image.fromarray(pixels(task_id)).save(path)
        sha256 = sha256_file(path)
        path = path.rename(path.with_stem(sha256))
        image = {"image": path.relative_to(tmp_path).as_posix(), "image_sha256": sha256}
        size = {"image_width": SIZE_HW[1], "image_height": SIZE_HW[0]}
        rows[task_id] = task_row(Task(task_id, "1", {"image": address}, address)) | image | size
    write_part(tmp_path / TASKS_DIR, 0, rows)
    (tmp_path / "made").mkdir()
    return tmp_path


def content(size_hw: tuple[int, int] = SIZE_HW, **more: Any) -> dict[str, Any]:
    mask = np.zeros(size_hw, bool)
    mask[:4, :3] = True
    record = {
        "segmentation": mask,
        "area": 12,
        "bbox": [0, 0, 3, 4],
        "predicted_iou": 0.9,
        "point_coords": [[1.0, 1.0]],
        "stability_score": 0.95,
        "crop_box": [0, 0, size_hw[1], size_hw[0]],
    }
    return {"masks": [record], **more}


def save(folder: Path, name: str, what: object) -> None:
    path = folder / "made" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(what if isinstance(what, bytes) else pickle.dumps(what))


def sha256_of(folder: Path, task_id: int) -> str:
    return sha256_file(
        next(p for p in (folder / IMAGES_DIR).iterdir() if np.array_equal(Image.open(p), pixels(task_id)))
    )


def imported(folder: Path) -> set[int]:
    present = {path.stem for path in (folder / PRELABELS_DIR).glob("*.pkl")}
    return {task_id for task_id in ADDRESSES if sha256_of(folder, task_id) in present}


@pytest.mark.parametrize(
    ("name", "task_id"),
    [
        ("street one.pkl", 1),
        ("street one.png.pkl", 1),
        ("0a1b2c3d-street one.pickle", 1),
        ("deeper/frame_0002.pkl", 2),
        ("2.pkl", 2),
        ("31.PKL", 31),
    ],
)
def test_a_pickle_finds_its_image_by_its_name(folder: Path, name: str, task_id: int) -> None:
    save(folder, name, content())
    assert prelabel_import(folder, folder / "made", Silent()) == "1 of 1 pickles imported for 4 images"
    assert imported(folder) == {task_id}
    (path,) = (folder / PRELABELS_DIR).iterdir()
    read = read_sam_pickle(path)
    assert (read.image_sha256, read.params_sha256, read.size_hw) == (path.stem, IMPORTED, SIZE_HW)
    assert read.prelabels[0].area == 12
    assert (folder / PRELABEL_IMPORT).read_text() == "file,reason,detail,remedy\n"


def test_a_pickle_finds_its_image_by_the_hash_in_it(folder: Path) -> None:
    save(folder, "whatever.pkl", content(image_sha256=sha256_of(folder, 32)))
    prelabel_import(folder, folder / "made", Silent())
    assert imported(folder) == {32}


@pytest.mark.parametrize("name", ["whatever.pkl", "photo.pkl"])
def test_a_pickle_finds_its_image_by_the_pixels_in_it(folder: Path, name: str) -> None:
    save(folder, name, content(image=pixels(32)))
    prelabel_import(folder, folder / "made", Silent())
    assert imported(folder) == {32}
    (path,) = (folder / PRELABELS_DIR).iterdir()
    assert read_sam_pickle(path).image is None  # ours say which image it is by the hash


class Hostile:
    def __reduce__(self) -> tuple[object, ...]:
        return os.system, ("touch ran",)


def test_what_is_left_out_is_listed_with_its_reason(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    save(folder, "1.pkl", content())
    save(folder, "2.pkl", content(extra=Hostile()))
    save(folder, "photo.pkl", content())
    save(folder, "stranger.pkl", content(image=pixels(99)))
    save(folder, "street one.pkl", content())
    save(folder, "frame_0002.pkl", content(size_hw=(10, 21)))
    save(folder, "torn.pkl", b"\x80\x04")
    save(folder, "notes.txt", b"not a pickle")
    summary = prelabel_import(folder, folder / "made", Silent())
    assert summary == (
        "1 of 7 pickles imported for 4 images, 1 ambiguous, 1 duplicate, 1 other_size, 2 refused, 1 unmatched "
        "(listed in reports/prelabel_import.csv)"
    )
    with (folder / PRELABEL_IMPORT).open(newline="") as stream:
        listed = {row["file"]: row for row in csv.DictReader(stream)}
    assert {name: row["reason"] for name, row in listed.items()} == {
        "2.pkl": "refused",
        "photo.pkl": "ambiguous",
        "stranger.pkl": "unmatched",
        "street one.pkl": "duplicate",
        "frame_0002.pkl": "other_size",
        "torn.pkl": "refused",
    }
    assert "system" in listed["2.pkl"]["detail"] and str(folder) not in listed["2.pkl"]["detail"]
    assert all(row["remedy"] for row in listed.values())
    assert imported(folder) == {1} and not (folder / "ran").exists()


def test_prelabel_keeps_what_was_imported(folder: Path) -> None:
    save(folder, "1.pkl", content())
    prelabel_import(folder, folder / "made", Silent())
    (path,) = (folder / PRELABELS_DIR).iterdir()
    before = path.read_bytes()
    params = parse_params({"source": {"kind": "label_studio", "project": 1}, "classes": [{"name": "road"}]})
    assert "3 pre-labelled by felzenszwalb, 1 kept" in prelabel(params, folder, Silent())
    assert path.read_bytes() == before


def test_an_empty_folder_says_so(folder: Path) -> None:
    with pytest.raises(DataError, match=r"holds no file \*\.pkl"):
        prelabel_import(folder, folder / "made", Silent())


def test_the_command_imports(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    save(folder, "1.pkl", content())
    result = CliRunner(env={"COLUMNS": "200"}).invoke(cli.app, ["prelabel", "--import", "made"])
    assert (result.exit_code, imported(folder)) == (0, {1})
    assert "1 of 1 pickles imported" in result.output
