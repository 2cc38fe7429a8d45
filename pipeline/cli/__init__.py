"""The command `maskloop`, put together from groups of commands: each is a module with its `app`, and its line here.

What a command needs beyond parsing its own line it imports when it runs, so that `maskloop --help` is quick.
"""

from __future__ import annotations

import os

import typer

from pipeline.cli import classes, demo, export_model, formats, project, segment, serve, stages
from pipeline.cli.terminal import fail
from schemas.errors import MaskloopError

# Read by the OpenMP runtime when torch is imported: spinning threads starve each other on shared cores.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "0")

# In the order in which the help lists them; a group says itself whether its commands have a common first word.
GROUPS = (
    stages.app,
    project.app,
    formats.app,
    classes.app,
    segment.app,
    serve.app,
    export_model.app,
    demo.app,
)

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="The loop from annotation to training data to model and back. Run the whole of it with [b]dvc repro[/b].",
    epilog="Start with [b]maskloop init[/b], then [b]maskloop doctor[/b], then [b]dvc repro[/b].",
)
for group in GROUPS:
    app.add_typer(group)


def main() -> None:
    """Run the command; an expected error is one line and its remedy on stderr, and exit code 1."""
    try:
        app()
    except MaskloopError as error:
        fail(error)
    except OSError as error:  # a full disk, a folder that may not be written, a program that is not installed
        fail(MaskloopError(str(error), "What was there before is unchanged: mend it and run the command again."))
