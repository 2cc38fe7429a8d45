"""What the CLI shows while a stage works: bars on a terminal, plain lines elsewhere (a log, a scheduler, CI)."""

from __future__ import annotations

import datetime
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TimeRemainingColumn,
)
from rich.text import Text

from pipeline.progress import What

T = TypeVar("T")

LINE_EVERY_S = 5.0
STANDING_EVERY_S = 60.0


class ConsoleProgress:
    """A `pipeline.progress.Progress` on a console."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def say(self, text: str) -> None:
        """Print one line."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def track(self, items: Iterable[T], total: int | None, what: What) -> Iterator[T]:
        """Yield `items` under a bar, or with a line every five seconds where there is no terminal: every minute if
        `what` says how it stands, as who knows that has more to say.
        """
        return self._bar(items, total, what) if self._console.is_terminal else self._lines(items, total, what)

    def _bar(self, items: Iterable[T], total: int | None, what: What) -> Iterator[T]:
        pace_columns = () if callable(what) else (Speed(), TimeRemainingColumn())
        columns = (SpinnerColumn(), Standing(what), BarColumn(), MofNCompleteColumn(), *pace_columns)
        with Progress(*columns, console=self._console, transient=True) as bar:
            yield from bar.track(items, total=total)

    def _lines(self, items: Iterable[T], total: int | None, what: What) -> Iterator[T]:
        start = last = time.monotonic()
        every_s = STANDING_EVERY_S if callable(what) else LINE_EVERY_S
        for done, item in enumerate(items):
            if time.monotonic() - last >= every_s:
                last = time.monotonic()
                of = "" if total is None else f" of {total}"
                rest = "" if callable(what) else pace(done, total, last - start)
                self.say(f"  {current(what)}: {done}{of}{rest}")
            yield item


class Standing(ProgressColumn):
    """What is being done, as it stands."""

    def __init__(self, what: What) -> None:
        super().__init__()
        self._what = what

    def render(self, task: Task) -> Text:
        """The text, literally."""
        return Text(current(self._what))


def current(what: What) -> str:
    """The text at the moment."""
    return what() if callable(what) else what


class Speed(ProgressColumn):
    """How many a second."""

    def render(self, task: Task) -> Text:
        """Nothing until the first ones are done."""
        return Text("" if task.speed is None else f"{task.speed:.3g}/s")


def pace(done: int, total: int | None, elapsed_s: float) -> str:
    """How many a second so far, and how long the rest takes at that pace; empty while nothing is done."""
    if not done or elapsed_s <= 0:
        return ""
    speed = f", {done / elapsed_s:.3g} a second"
    if total is None:
        return speed
    return f"{speed}, {datetime.timedelta(seconds=round((total - done) * elapsed_s / done))} left"
