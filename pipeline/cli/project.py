"""Commands that set a project up, examine it, and run rounds of it unattended."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.settings import credentials, environment, read_params
from pipeline.cli.terminal import literal, out

app = typer.Typer()


@app.command(epilog="Example: [b]mkdir street && cd street && maskloop init --project 7[/b]")
def init(
    project: Annotated[int, typer.Option(min=1, help="Number of the Label Studio project.")] = 1,
    force: Annotated[bool, typer.Option(help="Replace an existing params.yaml.")] = False,
) -> None:
    """Make the current folder a project: a commented params.yaml, dvc.yaml, and DVC set up."""
    from pipeline.init import init as init_folder

    for line in init_folder(Path(), project, force):
        out.print(line)


@app.command(epilog="Example: [b]LABEL_STUDIO_API_KEY=… maskloop doctor[/b]")
def doctor() -> None:
    """Check server, token, project, label config, disk and GPU, and say what to mend (exit code 1)."""
    from pipeline.doctor import examine

    checks = list(examine(Path(), credentials()))
    for check in checks:
        mark = "[green]ok[/green]  " if check.ok else "[red]wrong[/red]"
        out.print(f"{mark} {check.name}: {literal(check.found)}")
        if check.remedy:
            out.print(f"      → {literal(check.remedy)}")
    if not all(check.ok for check in checks):
        raise typer.Exit(1)


@app.command("label-config", epilog="Example: [b]maskloop label-config[/b], for Settings → Labeling Interface.")
def print_label_config(
    smart: Annotated[bool, typer.Option("--smart", help="With controls for smart clicks (maskloop serve).")] = False,
) -> None:
    """Print a Label Studio label config made from the class map."""
    from schemas.labels import label_config

    out.print(label_config(read_params().class_map, smart=smart), markup=False)


@app.command(
    epilog="Example: [b]maskloop retrain[/b] in cron. Exit codes: 0 promoted, 3 kept, 4 nothing new, 5 busy, 1 failed."
)
def retrain() -> None:
    """One unattended round: lock, dvc repro, and an exit code that says what came of it."""
    from pipeline.retrain import retrain as run_round

    verdict = run_round(Path(), environment())
    out.print(f"[b]{verdict.name.lower().replace('_', ' ')}[/b]: {literal(verdict.meaning)}")
    raise typer.Exit(verdict.value)
