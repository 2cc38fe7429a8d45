"""What the commands print on: the only place that prints."""

from __future__ import annotations

import sys
from typing import NoReturn

from rich.console import Console
from rich.markup import escape

from schemas.errors import MaskloopError

out = Console(highlight=False, soft_wrap=True, emoji=False)
err = Console(stderr=True, highlight=False, soft_wrap=True, emoji=False)


def literal(text: object) -> str:
    """`text` as markup that prints as it is."""
    return escape(str(text))


def done(verb: str, summary: str) -> None:
    """Print what a command did."""
    out.print(f"[green]{verb}[/green]: {literal(summary)}")


def fail(error: MaskloopError) -> NoReturn:
    """Print an error with its remedy and exit with code 1."""
    err.print(f"[red]error:[/red] {literal(error)}")
    if error.remedy:
        err.print(f"       {literal(error.remedy)}")
    sys.exit(1)
