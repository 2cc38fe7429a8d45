"""Parts of the backend for its tests: a segmenter that answers with discs, web servers on loopback, messages."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import torch
from PIL import Image

from pipeline.sam.model import Embedding, Prompt

RADIUS = 6.0


class Discs:
    """A Segmenter: a disc around every positive point without those around negative ones, and the box, if any."""

    version = "discs"
    device = torch.device("cpu")

    def __init__(self) -> None:
        self.embedded = 0
        self.hold = threading.Event()  # while clear, nothing is embedded
        self.hold.set()

    def embed(self, image: np.ndarray) -> Embedding:
        self.hold.wait(10)
        self.embedded += 1
        return Embedding((torch.zeros(1, 4, 2, 2),), (image.shape[0], image.shape[1]))

    def logits(self, embedding: Embedding, prompt: Prompt) -> tuple[np.ndarray, np.ndarray]:
        rows, columns = np.mgrid[: embedding.size_hw[0], : embedding.size_hw[1]]
        mask = np.zeros(embedding.size_hw, np.bool_)
        if prompt.box_xyxy is not None:
            left, top, right, bottom = prompt.box_xyxy
            mask |= (columns >= left) & (columns <= right) & (rows >= top) & (rows <= bottom)
        for wanted in (True, False):
            for x, y in prompt.points_xy[prompt.positive == wanted]:
                mask[(columns - x) ** 2 + (rows - y) ** 2 <= RADIUS**2] = wanted
        return mask[None] - np.float32(0.5), np.array([1.07], np.float32)

    def mask(self, logits: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
        assert logits.shape == size_hw
        return logits > 0

    def segment(self, *_: Any, **__: Any) -> Any:
        raise NotImplementedError

    def decode(self, *_: Any, **__: Any) -> Any:
        raise NotImplementedError

    def resampling(self, *_: Any, **__: Any) -> Any:
        raise NotImplementedError


def png(size_wh: tuple[int, int] = (60, 40), seed: int = 0) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (size_wh[1], size_wh[0], 3), dtype=np.uint8)
    target = io.BytesIO()
    Image.fromarray(pixels).save(target, "PNG")
    return target.getvalue()


class Site:
    """A web server on loopback: `pages` maps a path to a body, or to an address to redirect to; `asked` is its log."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.pages: dict[str, bytes | str] = {}
        self.asked: list[tuple[str, str | None]] = []  # path, Authorization


@contextmanager
def site() -> Iterator[Site]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            here.asked.append((self.path, self.headers.get("Authorization")))
            page = here.pages.get(self.path)
            self.send_response(404 if page is None else 200 if isinstance(page, bytes) else 302)
            if isinstance(page, str):
                self.send_header("Location", page)
            self.end_headers()
            if isinstance(page, bytes):
                self.wfile.write(page)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        here = Site(f"http://127.0.0.1:{server.server_address[1]}")
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield here
        server.shutdown()
        thread.join()


def point(x: float, y: float, label: str = "car", positive: bool = True, **extra: Any) -> dict[str, Any]:
    """A smart key point as Label Studio's editor sends it."""
    value = {"x": x, "y": y, "width": 0.4, "keypointlabels": [label], "labels": [label]}
    return {
        "id": f"p{x}-{y}",
        "from_name": "smart-point",
        "to_name": "image",
        "type": "keypointlabels",
        "original_width": 60,
        "original_height": 40,
        "image_rotation": 0,
        "is_positive": positive,
        "value": value,
        **extra,
    }


def rectangle(x: float, y: float, width: float, height: float, label: str = "car") -> dict[str, Any]:
    """A smart rectangle."""
    value = {"x": x, "y": y, "width": width, "height": height, "rotation": 0, "rectanglelabels": [label]}
    return point(0, 0, label) | {"id": f"b{x}-{y}", "type": "rectanglelabels", "value": value}
