"""Commands that read and write data sets in well-known formats."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from connectors.formats import FORMATS, known_format
from pipeline.cli.settings import credentials, read_params
from pipeline.cli.terminal import done, out
from pipeline.display import ConsoleProgress

MASK_FOLDER = "mask-folder"


class FormatGroup(TyperGroup):
    """Commands named by formats."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of a format. Raises ParamsError, with the nearest, if there is none."""
        return super().get_command(ctx, known_format(cmd_name))


app = typer.Typer()
import_app = typer.Typer(
    name="import",
    cls=FormatGroup,
    no_args_is_help=True,
    help="Make a Label Studio project out of a data set in a well-known format.",
)
app.add_typer(import_app)

Classes = Annotated[Path | None, typer.Option(help="Class names in index order: .txt, or YAML such as a params.yaml.")]
Title = Annotated[str | None, typer.Option(help="Title of the new project. Default: the folder's name.")]
Project = Annotated[int | None, typer.Option(help="Add to this project instead of a new one.")]
Void = Annotated[
    list[int] | None,
    typer.Option(
        min=0, max=255, help="Value without a class: of a mask (besides 255), a category id. May be repeated."
    ),
]
GroupRegex = Annotated[str | None, typer.Option(help="Its first group, found in the name, is data.video.")]
Split = Annotated[str | None, typer.Option(help="Becomes data.split, for split.assigned_by.")]
Tolerance = Annotated[float, typer.Option(min=0, help="Pixels that polygons may leave the edges by; 0 is exact.")]
Url = Annotated[str | None, typer.Option(help="The server, if not LABEL_STUDIO_URL.")]


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


def import_format(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(help="The data set's folder.")],
    classes: Classes = None,
    title: Title = None,
    project: Project = None,
    void: Void = None,
    group_regex: GroupRegex = None,
    split: Split = None,
    tolerance: Tolerance = 0.0,
    url: Url = None,
) -> None:
    """Make a Label Studio project out of a data set in the format that the command is named by."""
    name = str(context.info_name)
    _import(name, folder, None, classes, title, project, void, (tolerance, group_regex, split), url)


for name, (_, _, what) in FORMATS.items():
    if name != MASK_FOLDER:
        summary = f"Make a Label Studio project out of {what}."
        import_app.command(name, help=summary, epilog=f"Example: [b]maskloop import {name} DIR[/b]")(import_format)


@import_app.command(
    MASK_FOLDER,
    epilog=r"Example: [b]maskloop import mask-folder train trainannot --classes classes.txt --void 11 "
    r"--group-regex '^(\w+?)_' --url http://127.0.0.1:8080[/b]",
)
def import_mask_folder(
    images: Annotated[Path, typer.Argument(help="Folder of images; without MASKS that of a whole data set.")],
    masks: Annotated[
        Path | None, typer.Argument(help="Folder of class-index PNGs with the same names.", show_default=False)
    ] = None,
    classes: Classes = None,
    title: Title = None,
    project: Project = None,
    void: Void = None,
    group_regex: GroupRegex = None,
    split: Split = None,
    tolerance: Tolerance = 0.0,
    url: Url = None,
) -> None:
    """Make a Label Studio project out of images and class-index masks, traced to polygons."""
    if masks and not classes:
        raise typer.BadParameter("is needed: two folders do not name the classes", param_hint="--classes")
    _import(MASK_FOLDER, images, masks, classes, title, project, void, (tolerance, group_regex, split), url)


@app.command(epilog="Example: [b]maskloop export coco exports/coco[/b], in the folder of params.yaml.")
def export(
    format_name: Annotated[str, typer.Argument(metavar="FORMAT", help=f"One of {', '.join(FORMATS)}.")],
    folder: Annotated[Path, typer.Argument(help="Where to; what is unchanged is not written again.")],
    tolerance: Tolerance = 0.0,
) -> None:
    """Write the manifest's images and masks in a well-known format."""
    from pipeline.export_dataset import export_dataset

    done("export", export_dataset(read_params(), Path(), format_name, folder, tolerance, ConsoleProgress(out)))
