"""`maskloop serve`: the backend put together and run."""

from __future__ import annotations

import copy
import ipaddress
import logging
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.config import LOGGING_CONFIG

from connectors.base import Credentials
from connectors.label_studio import LabelStudioProject
from pipeline.propose import PROPOSERS
from pipeline.sam.embeddings import EMBEDDINGS_DIR, EmbeddingCache
from pipeline.sam.model import load_segmenter
from pipeline.serve.app import create_app
from pipeline.serve.backend import Backend
from pipeline.serve.champion import Champion
from pipeline.serve.embedded import EmbeddedImages
from pipeline.serve.guard import Access
from pipeline.serve.images import ImageFetcher
from pipeline.serve.prefetch import Prefetcher
from schemas.errors import ParamsError
from schemas.params import Params

logger = logging.getLogger("maskloop.serve")


def serve(params: Params, folder: Path, credentials: Credentials, access: Access) -> None:
    """Serve until the process is told to end.

    Raises ParamsError if anybody on the network could ask, if there is no model, or if the source is no server.
    """
    options = params.serve
    check_access(options.host, access)
    app = build(params, folder, credentials, access)
    uvicorn.run(
        app,
        host=options.host,
        port=options.port,
        log_config=_logging(),
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=5,
    )


def check_access(host: str, access: Access) -> None:
    """Raise ParamsError unless only this machine reaches `host` or a secret is asked for."""
    if access.is_open and not _is_loopback(host):
        raise ParamsError(
            f"serve.host is {host}, so anybody on the network could ask, and no secret is set",
            "Set MASKLOOP_SERVE_SECRET, or MASKLOOP_SERVE_USER and MASKLOOP_SERVE_PASSWORD.",
        )


def build(params: Params, folder: Path, credentials: Credentials, access: Access) -> FastAPI:
    """The application of a project folder. Raises as `serve` does."""
    options = params.serve
    project = LabelStudioProject.connect(params, credentials)
    fetcher = ImageFetcher(project.server, options.image_hosts, int(options.max_image_mb * 1e6))
    segmenter = load_segmenter(_model(params), params.prelabel.device, params.prelabel.precision)
    cache = EmbeddingCache(segmenter, folder / EMBEDDINGS_DIR, memory_mb=0)
    images = EmbeddedImages(fetcher.fetch, cache, options.cache_mb)
    backend = Backend(segmenter, images, Champion(params, folder, fetcher.fetch), params)

    def open_tasks(number: int) -> list[tuple[int, dict[str, Any]]]:
        return LabelStudioProject(project.server, number, params.pull.page_size).open_tasks()

    prefetcher = Prefetcher(backend, open_tasks, options.prefetch) if options.prefetch else None
    return create_app(backend, access, options.max_request_mb, prefetcher)


def _model(params: Params) -> str:
    model = params.serve.model or params.prelabel.model
    if model in PROPOSERS:
        raise ParamsError(
            f"prelabel.model is {model}, which answers no clicks",
            "Set `serve.model` in params.yaml to a Segment Anything, such as facebook/sam2.1-hiera-tiny.",
        )
    return model


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def _logging() -> dict[str, Any]:
    """uvicorn's own logging, and this package's in the same form. Neither holds headers or bodies."""
    config = copy.deepcopy(LOGGING_CONFIG)
    config["loggers"]["maskloop"] = {"handlers": ["default"], "level": "INFO", "propagate": False}
    return config
