"""The command that asks Segment Anything about one image."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.settings import read_params
from pipeline.cli.terminal import done
from schemas.errors import ParamsError

app = typer.Typer()

PARAMS = Path("params.yaml")
EPILOG = (
    "Examples: [b]maskloop segment street.jpg --point 320,180 --model facebook/sam-vit-base[/b]; "
    "[b]maskloop segment street.jpg --box 280,150,360,220[/b]; the second of the three masks, without the sky: "
    "[b]maskloop segment street.jpg --previous segment/logits-2.npy --not-point 40,20[/b]"
)


@app.command(epilog=EPILOG)
def segment(
    image: Annotated[Path, typer.Argument(help="The image file.")],
    point: Annotated[list[str] | None, typer.Option(help="x,y of a pixel on the object; may be repeated.")] = None,
    not_point: Annotated[list[str] | None, typer.Option(help="x,y of a pixel that is not on it.")] = None,
    box: Annotated[str | None, typer.Option(help="x0,y0,x1,y1 around the object.")] = None,
    previous: Annotated[Path | None, typer.Option(help="logits-….npy of an earlier mask, to refine it.")] = None,
    model: Annotated[str | None, typer.Option(help="A Segment Anything; else prelabel.model of params.yaml.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for the masks and the picture.")] = Path("segment"),
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
) -> None:
    """Outline the object at some points or in a box; a single point, a part or a whole, gives three masks."""
    from pipeline.sam.embeddings import EMBEDDINGS_DIR, EmbeddingCache
    from pipeline.sam.model import load_segmenter
    from pipeline.sam.segment import make_prompt, segment_image

    corners = None if box is None else _numbers("--box", box, "x0,y0,x1,y1")
    prompt = make_prompt(
        [_pair("--point", text) for text in point or ()],
        [_pair("--not-point", text) for text in not_point or ()],
        None if corners is None else (corners[0], corners[1], corners[2], corners[3]),
        previous,
    )
    segmenter = load_segmenter(model or _model_of_params(), device)
    disk_mb = read_params().prelabel.embeddings_gb * 1024 if PARAMS.exists() else 0.0
    cache = EmbeddingCache(segmenter, EMBEDDINGS_DIR, disk_mb)
    answer = segment_image(image, prompt, segmenter, cache, out)
    scores = ", ".join(f"{score:.2f}" for score in answer.predicted_iou)
    masks = "1 mask" if len(answer.masks) == 1 else f"{len(answer.masks)} masks"
    done("segment", f"{masks} with predicted IoU {scores}: {out / 'overlay.png'}")


def _model_of_params() -> str:
    from pipeline.sam.names import EXAMPLES, is_sam

    model = read_params().prelabel.model if PARAMS.exists() else None
    if model is None or not is_sam(model):
        raise ParamsError("no Segment Anything to ask", f"Name it with --model: {EXAMPLES}.")
    return model


def _pair(option: str, text: str) -> tuple[float, float]:
    x, y = _numbers(option, text, "x,y")
    return x, y


def _numbers(option: str, text: str, form: str) -> list[float]:
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if len(values) != form.count(",") + 1:
        raise ParamsError(f"{option} is {text!r}, expected {form}", "Give pixels, separated by commas without spaces.")
    return values
