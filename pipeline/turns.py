"""Whose turn it is: images in the order in which annotators will see them."""

from __future__ import annotations

from pathlib import Path

from connectors.task_store import annotated_tasks, read_tasks
from schemas.manifest import TASKS_DIR


def images_in_turn(folder: Path) -> dict[str, str]:
    """SHA-256 → path relative to `folder` of every image that was fetched.

    Those of tasks that nobody annotated come first, then the others, by task id: the order in which Label Studio hands
    tasks out, unless the project samples them at random.
    """
    tasks = read_tasks(folder / TASKS_DIR, columns=["task_id", "image_sha256", "image"]).to_pylist()
    done = annotated_tasks(folder / TASKS_DIR)
    tasks.sort(key=lambda task: (task["task_id"] in done, task["task_id"]))
    return {task["image_sha256"]: task["image"] for task in tasks if task["image_sha256"] and task["image"]}
