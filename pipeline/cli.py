"""The command `maskloop`: one verb a stage. The only place that prints, and reads environment and params.yaml."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from dotenv import dotenv_values
from rich.console import Console
from rich.markup import escape
from typer.core import TyperGroup

from connectors.base import Credentials
from connectors.formats import FORMATS, known_format
from pipeline.display import ConsoleProgress
from schemas.errors import MaskloopError
from schemas.params import load_params

# Read by the OpenMP runtime when torch is imported: spinning threads starve each other on shared cores.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "0")

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="The loop from annotation to training data to model and back. Run the whole of it with [b]dvc repro[/b].",
    epilog="Start with [b]maskloop init[/b], then [b]maskloop doctor[/b], then [b]dvc repro[/b].",
)


class FormatGroup(TyperGroup):
    """Commands named by formats."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of a format. Raises ParamsError, with the nearest, if there is none."""
        return super().get_command(ctx, known_format(cmd_name))


import_app = typer.Typer(
    cls=FormatGroup, no_args_is_help=True, help="Make a Label Studio project out of a data set in a well-known format."
)
demo_app = typer.Typer(
    no_args_is_help=True, help="The whole loop on drawn street scenes, with a Label Studio of its own."
)
classes_app = typer.Typer(no_args_is_help=True, help="The class contract: which index each class has, for good.")
app.add_typer(import_app, name="import")
app.add_typer(classes_app, name="classes")
app.add_typer(demo_app, name="demo")

out = Console(highlight=False, soft_wrap=True, emoji=False)
err = Console(stderr=True, highlight=False, soft_wrap=True, emoji=False)

ONLINE = frozenset({"probe", "pull", "push"})
STAGES = {
    "configure": "Fill the defaults into data/params.yaml, which the other stages depend on.",
    "probe": "Look whether the source of annotations has changed.",
    "pull": "Fetch changed tasks, their annotations and images.",
    "prelabel": "Propose class-agnostic masks for every image, as SAM-format pickles.",
    "rasterise": "Paint the annotations' regions into class-index masks.",
    "split": "Assign every sample to train, val or test.",
    "train": "Train a challenger on the train split.",
    "evaluate": "Measure the challenger on val and test.",
    "gate": "Let the challenger replace the champion, or not.",
    "predict": "Predict the tasks that nobody annotated, with the champion.",
    "push": "Send the predictions to Label Studio as pre-annotations.",
    "report": "Write reports/index.html.",
}


def main() -> None:
    """Run the command; an expected error is one line and its remedy on stderr, and exit code 1."""
    try:
        app()
    except MaskloopError as error:
        fail(error)
    except OSError as error:  # a full disk, a folder that may not be written, a program that is not installed
        fail(MaskloopError(str(error), "What was there before is unchanged: mend it and run the command again."))


def fail(error: MaskloopError) -> None:
    """Print an error with its remedy and exit with code 1."""
    err.print(f"[red]error:[/red] {_escaped(error)}")
    if error.remedy:
        err.print(f"       {_escaped(error.remedy)}")
    sys.exit(1)


def _escaped(text: object) -> str:
    return escape(str(text))


def environment() -> dict[str, str]:
    """The environment over what `.env` in the current folder says."""
    return {name: value for name, value in dotenv_values(".env").items() if value} | dict(os.environ)


def credentials() -> Credentials:
    """Where the server is and with which token."""
    found = environment()
    return Credentials(found.get("LABEL_STUDIO_URL"), found.get("LABEL_STUDIO_API_KEY"))


def run_stage(verb: str) -> None:
    """Run one stage in the current folder and print its summary."""
    params = load_params(Path("params.yaml"))
    stage: Callable[..., str] = getattr(importlib.import_module(f"pipeline.{verb}"), verb)
    extra: dict[str, Any] = {"credentials": credentials()} if verb in ONLINE else {}
    summary = stage(params, Path(), ConsoleProgress(out), **extra)
    out.print(f"[green]{verb}[/green]: {_escaped(summary)}")


def _stage_command(verb: str) -> Callable[[], None]:
    def command() -> None:
        run_stage(verb)

    return command


for _verb, _help in STAGES.items():
    app.command(_verb, help=_help, epilog=f"Example: [b]maskloop {_verb}[/b], in the folder of params.yaml.")(
        _stage_command(_verb)
    )


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
        out.print(f"{mark} {check.name}: {_escaped(check.found)}")
        if check.remedy:
            out.print(f"      → {_escaped(check.remedy)}")
    if not all(check.ok for check in checks):
        raise typer.Exit(1)


@app.command("label-config", epilog="Example: [b]maskloop label-config[/b], for Settings → Labeling Interface.")
def print_label_config() -> None:
    """Print a Label Studio label config made from the class map."""
    from schemas.labels import label_config

    out.print(label_config(load_params(Path("params.yaml")).class_map), markup=False)


@app.command(
    epilog="Example: [b]maskloop retrain[/b] in cron. Exit codes: 0 promoted, 3 kept, 4 nothing new, 5 busy, 1 failed."
)
def retrain() -> None:
    """One unattended round: lock, dvc repro, and an exit code that says what came of it."""
    from pipeline.retrain import retrain as run_round

    verdict = run_round(Path(), environment())
    out.print(f"[b]{verdict.name.lower().replace('_', ' ')}[/b]: {_escaped(verdict.meaning)}")
    raise typer.Exit(verdict.value)


ClassesOption = Annotated[
    Path | None, typer.Option(help="Class names in index order: .txt, or YAML such as a params.yaml.")
]
TitleOption = Annotated[str | None, typer.Option(help="Title of the new project. Default: the folder's name.")]
ProjectOption = Annotated[int | None, typer.Option(help="Add to this project instead of a new one.")]
VoidOption = Annotated[
    list[int] | None,
    typer.Option(
        min=0, max=255, help="Value without a class: of a mask (besides 255), a category id. May be repeated."
    ),
]
GroupOption = Annotated[str | None, typer.Option(help="Its first group, found in the name, is data.video.")]
SplitOption = Annotated[str | None, typer.Option(help="Becomes data.split, for split.assigned_by.")]
ToleranceOption = Annotated[float, typer.Option(min=0, help="Pixels that polygons may leave the edges by; 0 is exact.")]
UrlOption = Annotated[str | None, typer.Option(help="The server, if not LABEL_STUDIO_URL.")]


def _import(
    name: str,
    folder: Path,
    masks: Path | None,
    classes: Path | None,
    title: str | None,
    project: int | None,
    void: list[int] | None,
    options: tuple[float, str | None, str | None],
    url: str | None,
) -> None:
    """Import a whole data set, or the images of one folder with the masks of another."""
    from connectors.format_files import class_map_of, read_classes
    from connectors.formats import open_format
    from connectors.label_studio import Server
    from connectors.mask_folder import read_pairs
    from pipeline.import_dataset import TaskOptions, import_dataset

    found = open_format(name)
    class_map = class_map_of(read_classes(classes) if classes else found.classes(folder))
    values = frozenset(void or ())
    labelled = (
        read_pairs(folder, masks, len(class_map), values) if masks else found.read(folder, class_map.names, values)
    )
    access = credentials()
    server = Server.open(url or access.url, access.api_key)
    number, tasks = import_dataset(
        server,
        labelled,
        TaskOptions(*options),
        class_map,
        title or folder.resolve().name,
        project,
        ConsoleProgress(out),
    )
    out.print(f"{tasks} tasks in project {number}: {server.url}/projects/{number}/data")


@import_app.command(
    "mask-folder",
    epilog=r"Example: [b]maskloop import mask-folder train trainannot --classes classes.txt --void 11 "
    r"--group-regex '^(\w+?)_' --url http://127.0.0.1:8080[/b]",
)
def import_mask_folder(
    images: Annotated[Path, typer.Argument(help="Folder of images; without MASKS that of a whole data set.")],
    masks: Annotated[
        Path | None, typer.Argument(help="Folder of class-index PNGs with the same names.", show_default=False)
    ] = None,
    classes: ClassesOption = None,
    title: TitleOption = None,
    project: ProjectOption = None,
    void: VoidOption = None,
    group_regex: GroupOption = None,
    split: SplitOption = None,
    tolerance: ToleranceOption = 0.0,
    url: UrlOption = None,
) -> None:
    """Make a Label Studio project out of images and class-index masks, traced to polygons."""
    if masks and not classes:
        raise typer.BadParameter("is needed: two folders do not name the classes", param_hint="--classes")
    _import("mask-folder", images, masks, classes, title, project, void, (tolerance, group_regex, split), url)


def _import_command(name: str) -> Callable[..., None]:
    def command(
        folder: Annotated[Path, typer.Argument(help="The data set's folder.")],
        classes: ClassesOption = None,
        title: TitleOption = None,
        project: ProjectOption = None,
        void: VoidOption = None,
        group_regex: GroupOption = None,
        split: SplitOption = None,
        tolerance: ToleranceOption = 0.0,
        url: UrlOption = None,
    ) -> None:
        _import(name, folder, None, classes, title, project, void, (tolerance, group_regex, split), url)

    return command


for _name, (_, _, _what) in FORMATS.items():
    if _name != "mask-folder":
        import_app.command(
            _name,
            help=f"Make a Label Studio project out of {_what}.",
            epilog=f"Example: [b]maskloop import {_name} DIR[/b]",
        )(_import_command(_name))


@app.command(epilog="Example: [b]maskloop export coco exports/coco[/b], in the folder of params.yaml.")
def export(
    format_name: Annotated[str, typer.Argument(metavar="FORMAT", help=f"One of {', '.join(FORMATS)}.")],
    folder: Annotated[Path, typer.Argument(help="Where to; what is unchanged is not written again.")],
    tolerance: ToleranceOption = 0.0,
) -> None:
    """Write the manifest's images and masks in a well-known format."""
    from pipeline.export_dataset import export_dataset

    params = load_params(Path("params.yaml"))
    summary = export_dataset(params, Path(), format_name, folder, tolerance, ConsoleProgress(out))
    out.print(f"[green]export[/green]: {_escaped(summary)}")


@classes_app.command("show", epilog="Example: [b]maskloop classes show[/b]")
def classes_show() -> None:
    """Print what classes.lock says: index and name of every class."""
    from pipeline.classes import read_lock

    for name, index in read_lock(Path()).items():
        out.print(f"{index:3}  {_escaped(name)}")


@classes_app.command("rename", epilog="Example: [b]maskloop classes rename tree vegetation[/b]")
def classes_rename(
    old: Annotated[str, typer.Argument(help="What classes.lock calls the class.")],
    new: Annotated[str, typer.Argument(help="What it is to be called.")],
) -> None:
    """Give a class another name in classes.lock; its index stays."""
    from pipeline.classes import rename

    index = rename(Path(), old, new)
    out.print(f"class {index} is {_escaped(new)} in classes.lock; now rename it in params.yaml and in Label Studio")


@demo_app.command("start", epilog="Example: [b]maskloop demo start[/b], or [b]make demo[/b]")
def demo_start(
    folder: Annotated[Path, typer.Option(help="Where the demo lives.")] = Path(".demo"),
    server_command: Annotated[Path, typer.Option(help="The server's executable.")] = Path(
        ".venv-label-studio/bin/label-studio"
    ),
    epochs: Annotated[int | None, typer.Option(help="Train this long instead of as params.yaml says.")] = None,
) -> None:
    """Start Label Studio, fill it with the sample project, run the loop, and say where to look."""
    from pipeline.demo import start

    out.print(_escaped(start(folder, server_command, epochs, dict(os.environ), ConsoleProgress(out))))


@demo_app.command("stop", epilog="Example: [b]maskloop demo stop[/b], or [b]make demo-stop[/b]")
def demo_stop(folder: Annotated[Path, typer.Option(help="Where the demo lives.")] = Path(".demo")) -> None:
    """Stop the demo's Label Studio; what it holds stays."""
    from pipeline.demo import stop

    out.print(stop(folder))


if __name__ == "__main__":
    main()
