"""Embeds the images of the tasks that annotators will see next, while nobody is waiting for an answer."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from pipeline.serve.backend import Backend, image_address
from pipeline.serve.messages import TaskMessage
from schemas.errors import MaskloopError
from schemas.labels import LabelConfig

logger = logging.getLogger("maskloop.serve")

LISTING_S = 60.0
"""How long a list of open tasks is believed."""

OpenTasks = Callable[[int], list[tuple[int, dict[str, Any]]]]


class Prefetcher:
    """One background thread. The tasks after the latest one that was clicked in are embedded, by id.

    That is the order in which Label Studio hands tasks out, unless the project samples them at random. `open_tasks`:
    number of a project → ids and data of its tasks without annotation, by id. At most `count` are embedded ahead.
    """

    def __init__(self, backend: Backend, open_tasks: OpenTasks, count: int) -> None:
        self._backend = backend
        self._open_tasks = open_tasks
        self._count = count
        self._wanted: tuple[int, int, LabelConfig] | None = None
        self._changed = threading.Condition()
        self._listed: dict[int, tuple[float, list[tuple[int, dict[str, Any]]]]] = {}
        threading.Thread(target=self._work, name="prefetch", daemon=True).start()

    def after(self, project: int, task_id: int, config: LabelConfig) -> None:
        """Somebody works on this task now. Returns at once."""
        with self._changed:
            self._wanted = (project, task_id, config)
            self._changed.notify()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._wanted is not None)
                assert self._wanted is not None
                (project, task_id, config), self._wanted = self._wanted, None
            try:
                self._embed_after(project, task_id, config)
            except MaskloopError as error:
                logger.warning("prefetch: %s", error)
            except Exception as error:  # noqa: BLE001 - the thread must outlive whatever one image does
                logger.error("prefetch: %s", type(error).__name__)

    def _embed_after(self, project: int, task_id: int, config: LabelConfig) -> None:
        following = [task for task in self._listing(project) if task[0] > task_id]
        for number, data in following[: self._count]:
            if self._wanted is not None:  # somebody is further already
                return
            self._backend.embed(number, image_address(TaskMessage(id=number, data=data), config))

    def _listing(self, project: int) -> list[tuple[int, dict[str, Any]]]:
        listed_at, tasks = self._listed.get(project, (-LISTING_S, []))
        if time.monotonic() - listed_at >= LISTING_S:
            tasks = self._open_tasks(project)
            self._listed = {project: (time.monotonic(), tasks)}
        return tasks
