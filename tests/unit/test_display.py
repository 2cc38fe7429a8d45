import io
import re

import pytest
from rich.console import Console

from pipeline import display
from pipeline.display import ConsoleProgress


def shown(every_s: float, monkeypatch: pytest.MonkeyPatch, total: int | None = 3) -> tuple[list[int], str]:
    monkeypatch.setattr(display, "LINE_EVERY_S", every_s)
    stream = io.StringIO()
    progress = ConsoleProgress(Console(file=stream, width=20))
    items = list(progress.track(iter(range(3)), total, "masks [painted]"))
    return items, stream.getvalue()


@pytest.mark.parametrize(("total", "of"), [(3, " of 3"), (None, "")])
def test_where_there_is_no_terminal_lines_say_how_far(monkeypatch: pytest.MonkeyPatch, total: int | None, of: str):
    items, text = shown(0.0, monkeypatch, total)
    assert items == [0, 1, 2]
    lines = text.splitlines()
    assert lines[0] == f"  masks [painted]: 0{of}"
    for done, line in enumerate(lines[1:], start=1):
        left = ", 0:00:00 left" if total else ""
        assert re.fullmatch(rf"  masks \[painted\]: {done}{of}, \S+ a second{left}", line)


@pytest.mark.parametrize(
    ("done", "total", "elapsed_s", "expected"),
    [
        (0, 10, 5.0, ""),
        (4, 10, 8.0, ", 0.5 a second, 0:00:12 left"),
        (1, 7201, 1.0, ", 1 a second, 2:00:00 left"),
        (3, None, 2.0, ", 1.5 a second"),
    ],
)
def test_pace(done: int, total: int | None, elapsed_s: float, expected: str):
    assert display.pace(done, total, elapsed_s) == expected


def test_quick_work_says_nothing(monkeypatch: pytest.MonkeyPatch):
    assert shown(3600.0, monkeypatch) == ([0, 1, 2], "")


def test_a_terminal_gets_a_bar_that_goes_away():
    stream = io.StringIO()
    progress = ConsoleProgress(Console(file=stream, force_terminal=True, width=80))
    assert list(progress.track([1, 2], 2, "tasks")) == [1, 2]
    assert "2/2" in stream.getvalue()
    assert stream.getvalue().endswith("\x1b[2K")


def test_what_is_said_is_printed_as_it_is():
    stream = io.StringIO()
    ConsoleProgress(Console(file=stream, width=10, emoji=False)).say("[bold]a long line[/bold] :car: of text")
    assert stream.getvalue() == "[bold]a long line[/bold] :car: of text\n"


def test_how_it_stands_is_asked_anew_on_a_terminal():
    stream, standing = io.StringIO(), iter("abcdefghij")
    progress = ConsoleProgress(Console(file=stream, force_terminal=True, width=80))
    assert list(progress.track([1, 2], 2, lambda: f"loss [{next(standing)}]")) == [1, 2]
    assert {"loss [a]", "loss [b]"} <= set(re.findall(r"loss \[.\]", stream.getvalue()))


def test_how_it_stands_is_a_line_a_minute_elsewhere(monkeypatch: pytest.MonkeyPatch):
    stream = io.StringIO()
    progress = ConsoleProgress(Console(file=stream, width=20))
    monkeypatch.setattr(display, "LINE_EVERY_S", 0.0)
    assert list(progress.track([1, 2], 2, lambda: "loss 0.5")) == [1, 2]
    assert stream.getvalue() == ""
    monkeypatch.setattr(display, "STANDING_EVERY_S", 0.0)
    assert list(progress.track([1, 2], 2, lambda: "loss 0.5")) == [1, 2]
    assert stream.getvalue() == "  loss 0.5: 0 of 2\n  loss 0.5: 1 of 2\n"
