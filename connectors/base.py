"""What the pipeline asks of a place that annotations come from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from schemas.labels import LabelConfig
from schemas.tasks import Task


@dataclass(frozen=True, slots=True)
class Credentials:
    """What the environment says about the server: its address, and the token, which no `repr` shows."""

    url: str | None = None
    api_key: str | None = field(default=None, repr=False)


class Source(Protocol):
    """A place that annotations come from."""

    def label_config(self) -> LabelConfig | None:
        """The project's label config; None where the source has none (an export file)."""
        ...

    def listing(self) -> dict[int, str]:
        """Task id → revision, of every task there is now."""
        ...

    def tasks(self, stale: dict[int, str]) -> Iterator[Task]:
        """Yield the tasks in `stale` (id → listed revision) in order of id, each with its whole set of annotations.

        May yield others that changed meanwhile. A task deleted meanwhile is not yielded.
        """
        ...

    def fetch_image(self, url: str) -> bytes:
        """The bytes of an image that a task names. Raises ImageError if it can't be had."""
        ...
