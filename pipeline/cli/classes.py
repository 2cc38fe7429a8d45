"""Commands on the class contract, classes.lock."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.terminal import literal, out

app = typer.Typer(
    name="classes", no_args_is_help=True, help="The class contract: which index each class has, for good."
)


@app.command(epilog="Example: [b]maskloop classes show[/b]")
def show() -> None:
    """Print what classes.lock says: index and name of every class."""
    from pipeline.classes import read_lock

    for name, index in read_lock(Path()).items():
        out.print(f"{index:3}  {literal(name)}")


@app.command(epilog="Example: [b]maskloop classes rename tree vegetation[/b]")
def rename(
    old: Annotated[str, typer.Argument(help="What classes.lock calls the class.")],
    new: Annotated[str, typer.Argument(help="What it is to be called.")],
) -> None:
    """Give a class another name in classes.lock; its index stays."""
    from pipeline import classes

    index = classes.rename(Path(), old, new)
    out.print(f"class {index} is {literal(new)} in classes.lock; now rename it in params.yaml and in Label Studio")
