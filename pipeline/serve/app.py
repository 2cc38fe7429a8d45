"""The ML backend over HTTP, as label_studio/ml/api_connector.py asks: /health, /setup, /predict, /webhook."""

from __future__ import annotations

import logging
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from pipeline.serve.backend import Backend
from pipeline.serve.guard import Access, Guard
from pipeline.serve.messages import PredictMessage
from pipeline.serve.prefetch import Prefetcher
from schemas.errors import BusyError, MaskloopError, SourceError
from schemas.labels import LabelConfig

logger = logging.getLogger("maskloop.serve")

UNPROCESSABLE, BAD_GATEWAY, BUSY = 422, 502, 503


def create_app(
    backend: Backend, access: Access, max_request_mb: float, prefetcher: Prefetcher | None = None
) -> FastAPI:
    """The application. An error is `{"error": …, "remedy": …}` with a status: 401, 413, 422, 502, 503 or 500."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(Guard, access=access, max_bytes=int(max_request_mb * 1e6))
    app.add_exception_handler(MaskloopError, _failed)
    app.add_exception_handler(RequestValidationError, _malformed)
    app.add_exception_handler(HTTPException, _refused)

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "UP"}

    @app.post("/setup")
    def setup() -> dict[str, str]:
        # Its body, which holds a token of Label Studio, is not even parsed.
        return {"model_version": backend.model_version()}

    @app.post("/predict")
    def predict(message: PredictMessage, response: Response) -> dict[str, list[Any]]:
        reply = backend.reply(message)
        if prefetcher is not None and message.params.context is not None and message.project_number is not None:
            config = LabelConfig.parse(message.label_config)
            prefetcher.after(message.project_number, message.tasks[0].id, config)
        response.headers["Server-Timing"] = f"decoder;dur={reply.decoder_s * 1000:.3f}"
        return {"results": reply.results}

    @app.post("/webhook")
    async def webhook() -> dict[str, str]:
        # Hints, not truth: the next `dvc repro` sees what changed, and `maskloop retrain` trains.
        return {"status": "ignored"}

    return app


async def _failed(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, MaskloopError)
    status = BUSY if isinstance(error, BusyError) else BAD_GATEWAY if isinstance(error, SourceError) else UNPROCESSABLE
    logger.warning("%s", error)
    headers = {"Retry-After": "1"} if status == BUSY else None
    return JSONResponse({"error": str(error), "remedy": error.remedy}, status, headers)


async def _malformed(_: Request, error: Exception) -> JSONResponse:
    """What is wrong, without what was sent."""
    assert isinstance(error, RequestValidationError)
    problem = error.errors()[0]
    where = ".".join(str(part) for part in problem["loc"] if part != "body")
    said = f"`{where}`: {problem['msg']}" if where else str(problem["msg"])
    return JSONResponse({"error": f"the request is malformed: {said}"}, UNPROCESSABLE)


async def _refused(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": str(error.detail)}, error.status_code)
