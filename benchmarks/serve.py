"""Smart clicks over real HTTP against a running `maskloop serve`: what the server adds to the mask decoder.

`python -m benchmarks.serve [--model MODEL] [--clicks N]`. Without a model it is a SAM of random weights with a
decoder of the published size and an encoder of two layers, whose time only the first click of an image shows.
"""

from __future__ import annotations

import argparse
import io
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import yaml
from PIL import Image, ImageFilter

from schemas.labels import ClassEntry, ClassMap, label_config

SIZES_HW = ((360, 480), (1080, 1920), (3000, 4000))
LIMIT_MS = 100.0
CONFIG = label_config(ClassMap([ClassEntry("car", "#00008e")]), smart=True)
CONFIGS = {"polygon": CONFIG, "brush": CONFIG.replace("PolygonLabels", "Choices")}


def main() -> None:
    """Print a line for each size and kind; fail if the median of a second click is over the limit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model")
    parser.add_argument("--clicks", type=int, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, images() as host:
        folder = Path(name)
        model = options.model or random_sam(folder / "sam")
        process, url = serve(folder, model, f"http://127.0.0.1:{host.server_address[1]}")
        try:
            worst = max(measure(url, size_hw, kind, options.clicks) for size_hw in SIZES_HW for kind in CONFIGS)
        finally:
            process.terminate()
            process.wait(20)
    if worst > LIMIT_MS:
        sys.exit(f"the server adds {worst:.0f} ms to the decoder, over {LIMIT_MS:.0f} ms")


def measure(url: str, size_hw: tuple[int, int], kind: str, clicks: int) -> float:
    """Milliseconds that a second click takes beyond the decoder's, the median of `clicks`."""
    random = np.random.default_rng(0)
    with httpx.Client(base_url=url, timeout=600) as client:
        first_ms, _, _ = click(client, size_hw, kind, (50, 50))
        timed = [click(client, size_hw, kind, tuple(random.uniform(5, 95, 2))) for _ in range(clicks)]
    whole = statistics.median(total for total, _, _ in timed)
    decoder = statistics.median(decoder for _, decoder, _ in timed)
    added = sorted(total - decoder for total, decoder, _ in timed)
    kilobytes = statistics.median(size for _, _, size in timed) / 1000
    print(
        f"{size_hw[1]}x{size_hw[0]} {kind:8} first click {first_ms:6.0f} ms, second {whole:5.0f} ms: "
        f"decoder {decoder:5.0f}, server {statistics.median(added):5.0f}, at the least {added[0]:.0f} "
        f"(answer {kilobytes:.0f} kB)",
        flush=True,
    )
    return statistics.median(added)


def click(
    client: httpx.Client, size_hw: tuple[int, int], kind: str, at_pct: tuple[float, ...]
) -> tuple[float, float, int]:
    """Milliseconds of the whole request, of its decoder, and bytes of the answer."""
    x, y = at_pct
    prompt = {"id": f"{x}-{y}", "type": "keypointlabels", "value": {"x": x, "y": y, "keypointlabels": ["car"]}}
    message: dict[str, Any] = {
        "tasks": [{"id": 1, "data": {"image": f"/{size_hw[0]}x{size_hw[1]}.jpg"}}],
        "label_config": CONFIGS[kind],
        "params": {"context": {"result": [prompt | {"is_positive": True}]}},
    }
    started = time.perf_counter()
    response = client.post("/predict", json=message)
    total_ms = (time.perf_counter() - started) * 1000
    response.raise_for_status()
    timing = re.search(r"decoder;dur=([\d.]+)", response.headers["Server-Timing"])
    assert timing is not None
    return total_ms, float(timing[1]), len(response.content)


def images() -> ThreadingHTTPServer:
    """A server on loopback of blurred noise of any size, `/HxW.jpg`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            height, width = map(int, self.path.strip("/").removesuffix(".jpg").split("x"))
            pixels = np.random.default_rng(0).integers(0, 255, (height // 8, width // 8, 3), dtype=np.uint8)
            picture = Image.fromarray(pixels).resize((width, height)).filter(ImageFilter.GaussianBlur(4))
            target = io.BytesIO()
            picture.save(target, "JPEG")
            self.send_response(200)
            self.end_headers()
            self.wfile.write(target.getvalue())

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def random_sam(folder: Path) -> str:
    """Save a SAM with a decoder of the published size, two encoder layers, and random weights.

    Positions and upscaling are made smooth, so that masks have outlines like objects' rather than those of noise.
    """
    import torch
    from transformers import SamConfig, SamModel

    model = SamModel(SamConfig(vision_config={"num_hidden_layers": 2, "global_attn_indexes": [1]}))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            if parameter.dim() > 1 and "pos_embed" not in name:
                fan_in = parameter[0].numel() if "embed" not in name and "token" not in name else 1
                parameter.normal_(0, fan_in**-0.5, generator=generator)
            if "upscale_conv" in name and parameter.dim() > 1:
                parameter.copy_(parameter.mean((2, 3), keepdim=True).expand_as(parameter))
        model.shared_image_embedding.positional_embedding.normal_(0, 0.5, generator=generator)
    model.save_pretrained(folder)
    return str(folder)


def serve(folder: Path, model: str, source_url: str) -> tuple[subprocess.Popen[bytes], str]:
    """A running `maskloop serve` and its address."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    params = {
        "source": {"kind": "label_studio", "url": source_url, "project": 1},
        "classes": [{"name": "car"}],
        "serve": {"port": port, "model": model, "prefetch": 0},
    }
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    environment = os.environ | {"LABEL_STUDIO_API_KEY": "0" * 40}
    with (folder / "serve.log").open("wb") as log:
        command = [str(Path(sys.executable).parent / "maskloop"), "serve"]
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"
    while process.poll() is None:
        try:
            httpx.get(f"{url}/health").raise_for_status()
            return process, url
        except httpx.TransportError:
            time.sleep(0.2)
    sys.exit((folder / "serve.log").read_text())


if __name__ == "__main__":
    main()
