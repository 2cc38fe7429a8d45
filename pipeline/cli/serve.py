"""The command that answers smart clicks in Label Studio."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.settings import credentials, environment, read_params
from pipeline.cli.terminal import out
from schemas.errors import ParamsError

app = typer.Typer()


@app.command(
    epilog="Examples: [b]maskloop serve[/b], then Settings → Model in Label Studio: http://127.0.0.1:9090; "
    "[b]MASKLOOP_SERVE_SECRET=… maskloop serve --host 0.0.0.0 --model facebook/sam2.1-hiera-tiny[/b]"
)
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on, if not serve.host.")] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Port, if not serve.port.")] = None,
    model: Annotated[str | None, typer.Option(help="A Segment Anything, if not serve.model.")] = None,
) -> None:
    """Answer smart clicks in Label Studio: an ML backend with Segment Anything and the champion."""
    try:
        from pipeline.serve.guard import Access
        from pipeline.serve.server import serve as run
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("fastapi", "starlette", "uvicorn"):
            raise
        raise ParamsError(f"{error.name} is not installed", "Install it: pip install 'maskloop[serve,sam]'") from None

    found = environment()
    access = Access(
        found.get("MASKLOOP_SERVE_USER"), found.get("MASKLOOP_SERVE_PASSWORD"), found.get("MASKLOOP_SERVE_SECRET")
    )
    params = read_params()
    given = {"host": host, "port": port, "model": model}
    options = params.serve.model_copy(update={name: value for name, value in given.items() if value is not None})
    out.print(f"http://{options.host}:{options.port} for Label Studio: Settings → Model. Ctrl-C ends it.")
    run(params.model_copy(update={"serve": options}), Path(), credentials(), access)
