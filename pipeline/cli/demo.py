"""Commands that show the whole loop on drawn street scenes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.terminal import literal, out
from pipeline.display import ConsoleProgress

app = typer.Typer(
    name="demo", no_args_is_help=True, help="The whole loop on drawn street scenes, with a Label Studio of its own."
)

Folder = Annotated[Path, typer.Option(help="Where the demo lives.")]


@app.command(epilog="Example: [b]maskloop demo start[/b], or [b]make demo[/b]")
def start(
    folder: Folder = Path(".demo"),
    server_command: Annotated[Path, typer.Option(help="The server's executable.")] = Path(
        ".venv-label-studio/bin/label-studio"
    ),
    epochs: Annotated[int | None, typer.Option(help="Train this long instead of as params.yaml says.")] = None,
) -> None:
    """Start Label Studio, fill it with the sample project, run the loop, and say where to look."""
    from pipeline import demo

    out.print(literal(demo.start(folder, server_command, epochs, dict(os.environ), ConsoleProgress(out))))


@app.command(epilog="Example: [b]maskloop demo stop[/b], or [b]make demo-stop[/b]")
def stop(folder: Folder = Path(".demo")) -> None:
    """Stop the demo's Label Studio; what it holds stays."""
    from pipeline import demo

    out.print(demo.stop(folder))
