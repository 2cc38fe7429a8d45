"""The order in which annotators will see images."""

from __future__ import annotations

from pathlib import Path

from connectors.task_store import annotated_tasks, task_row, write_part
from pipeline.turns import images_in_turn
from schemas.manifest import TASKS_DIR
from schemas.tasks import Annotation, Task

DONE = Annotation(1, None, None, None, False, False, None, None, "[]")


def write(folder: Path, tasks: dict[int, tuple[str | None, int]]) -> None:
    """Task id → hash of its image, None where it was not fetched, and the number of its annotations."""
    for part in {task_id // 1000 for task_id in tasks}:
        rows = {}
        for task_id, (sha256, count) in tasks.items():
            if task_id // 1000 == part:
                row = task_row(Task(task_id, "1", {"image": "x"}, "x", (DONE,) * count))
                rows[task_id] = row | ({"image": f"{sha256}.png", "image_sha256": sha256} if sha256 else {})
        write_part(folder / TASKS_DIR, part, rows)


def test_tasks_that_nobody_annotated_come_first_by_id(tmp_path: Path) -> None:
    write(tmp_path, {3: ("c", 1), 1200: ("a", 0), 7: ("b", 0), 8: (None, 0), 1: ("d", 2)})
    assert annotated_tasks(tmp_path / TASKS_DIR) == {1, 3}
    assert list(images_in_turn(tmp_path).items()) == [("b", "b.png"), ("a", "a.png"), ("d", "d.png"), ("c", "c.png")]


def test_an_image_of_two_tasks_has_the_turn_of_the_open_one(tmp_path: Path) -> None:
    write(tmp_path, {1: ("a", 1), 2: ("b", 0), 3: ("a", 0), 4: ("c", 1)})
    assert list(images_in_turn(tmp_path)) == ["b", "a", "c"]


def test_a_folder_without_tasks_has_no_images(tmp_path: Path) -> None:
    assert images_in_turn(tmp_path) == {}
