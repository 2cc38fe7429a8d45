"""How stages report progress without printing: the CLI passes an object that draws, tests pass `Silent`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

T = TypeVar("T")

What = str | Callable[[], str]
"""What is being done, or a function that says how it stands at the moment."""


class Progress(Protocol):
    """What a stage may say while it works."""

    def track(self, items: Iterable[T], total: int | None, what: What) -> Iterator[T]:
        """Yield `items` while showing how many of `total` are done."""
        ...

    def say(self, text: str) -> None:
        """Show one line."""
        ...


class Silent:
    """A Progress that shows nothing."""

    def track(self, items: Iterable[T], total: int | None, what: What) -> Iterator[T]:
        """Yield `items`."""
        yield from items

    def say(self, text: str) -> None:
        """Show nothing."""
