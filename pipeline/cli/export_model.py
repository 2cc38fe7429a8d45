"""The command that hands a model on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from pipeline.cli.settings import read_params
from pipeline.cli.terminal import done

app = typer.Typer()

Format = Annotated[
    Literal["onnx", "torch-export"] | None, typer.Option("--format", help="Default: by the file's name, .onnx or .pt2.")
]


@app.command("export-model", epilog="Example: [b]maskloop export-model model.onnx[/b]")
def export_model(
    file: Annotated[Path, typer.Argument(help="The file to write.")],
    file_format: Format = None,
    challenger: Annotated[bool, typer.Option("--challenger", help="The challenger instead of the champion.")] = False,
) -> None:
    """Write the champion as one file that runs without maskloop: RGB uint8 (N, h, w, 3) in, logits (N, C, h, w) out."""
    from pipeline.export_model import export_model as write
    from schemas.manifest import CHALLENGER_DIR, CHAMPION_DIR

    chosen = file_format or ("onnx" if file.suffix == ".onnx" else "torch-export")
    done("export-model", write(CHALLENGER_DIR if challenger else CHAMPION_DIR, read_params().class_map, file, chosen))
