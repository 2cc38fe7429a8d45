import io

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
    assert text.splitlines() == [f"  masks [painted]: {done}{of}" for done in range(3)]


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
