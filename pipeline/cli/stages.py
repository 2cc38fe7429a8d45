"""One command a stage of dvc.yaml, named by the stage's verb and run in the folder of params.yaml."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline import models
from pipeline.cli.settings import credentials, read_params
from pipeline.cli.terminal import done, out
from pipeline.display import ConsoleProgress

app = typer.Typer()

# verb → what it does; the work is the function of that name in the module of that name
STAGES = {
    "configure": "Fill the defaults into data/params.yaml, which the other stages depend on.",
    "probe": "Look whether the source of annotations has changed.",
    "pull": "Fetch changed tasks, their annotations and images.",
    "prelabel": "Propose class-agnostic masks for every image, as SAM-format pickles.",
    "assign": "Give pre-labels a class, where people, the detector or the champion know it.",
    "rasterise": "Paint the annotations' regions into class-index masks.",
    "split": "Assign every sample to train, val or test.",
    "train": "Train a challenger on the train split.",
    "evaluate": "Measure the challenger on val and test.",
    "gate": "Let the challenger replace the champion, or not.",
    "predict": "Predict the tasks that nobody annotated, with the champion.",
    "push": "Send the predictions to Label Studio as pre-annotations.",
    "report": "Write reports/index.html.",
}
ONLINE = frozenset({"probe", "pull", "push"})  # these talk to the source, and are given its credentials


def run_stage(verb: str) -> None:
    """Run one stage in the current folder and print its summary."""
    params = read_params()
    stage: Callable[..., str] = getattr(importlib.import_module(f"pipeline.{verb}"), verb)
    extra: dict[str, Any] = {"credentials": credentials()} if verb in ONLINE else {}
    if summary := stage(params, Path(), ConsoleProgress(out), **extra):
        done(verb, summary)


def _stage_command(context: typer.Context) -> None:
    run_stage(str(context.info_name))


@app.command(
    "prelabel",
    help=STAGES["prelabel"],
    epilog="Examples, in the folder of params.yaml: [b]maskloop prelabel[/b]; "
    "[b]maskloop prelabel --import ../pickles[/b]",
)
def _prelabel_command(
    made_elsewhere: Annotated[
        Path | None,
        typer.Option("--import", metavar="DIR", help="Take SAM's pickles from this folder instead of making any."),
    ] = None,
) -> None:
    if made_elsewhere is None:
        run_stage("prelabel")
        return
    from pipeline.prelabel_import import prelabel_import

    done("prelabel", prelabel_import(Path(), made_elsewhere, ConsoleProgress(out)))


for verb, what in STAGES.items():
    if verb == "prelabel":
        continue
    epilog = f"Example: [b]maskloop {verb}[/b], in the folder of params.yaml."
    if verb == "train":
        epilog = "\n".join([*models.overview(), "", epilog])
    app.command(verb, help=what, epilog=epilog)(_stage_command)
