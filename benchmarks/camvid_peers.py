"""What `benchmarks.camvid_loop` races pull and rasterise against: what one would write without maskloop."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
from label_studio_sdk import LabelStudio
from PIL import Image, ImageDraw

from benchmarks.camvid_data import CLASSES
from connectors.label_studio_server import Login
from schemas.labels import VOID_INDEX

ROUNDS = 3


def sdk_pull(login: Login, project: int, folder: Path) -> None:
    """All tasks and their images by label-studio-sdk's paging, one after another."""
    sdk: Any = LabelStudio(base_url=login.url, api_key=login.api_key)  # type: ignore[no-untyped-call]
    with httpx.Client(base_url=login.url, headers={"Authorization": f"Token {login.api_key}"}) as http:
        for task in sdk.tasks.list(project=project, fields="all"):
            (folder / f"{task.id}.json").write_text(task.json())
            (folder / f"{task.id}.png").write_bytes(http.get(task.data["image"]).raise_for_status().content)


def pil_rasterise(export: Path, folder: Path) -> None:
    """An export's polygons painted by PIL into masks that are named as the images."""
    for task in json.loads(export.read_bytes()):
        regions = task["annotations"][0]["result"]
        width, height = regions[0]["original_width"], regions[0]["original_height"]
        mask = Image.new("L", (width, height), VOID_INDEX)
        pencil = ImageDraw.Draw(mask)
        for region in regions:
            label = region["value"]["polygonlabels"][0]
            points = [(x * width / 100, y * height / 100) for x, y in region["value"]["points"]]
            pencil.polygon(points, fill=CLASSES.index(label) if label in CLASSES else VOID_INDEX)
        mask.save(folder / task["data"]["name"])


def race(stage: str, frames: int, runners: dict[str, Callable[[Path], object]], folder: Path) -> None:
    """Print frames/s of a stage (the first runner) and of its peer: interleaved rounds in fresh folders, medians."""
    seconds: dict[str, list[float]] = {name: [] for name in runners}
    for number in range(ROUNDS):
        for name, runner in runners.items():
            target = folder / stage / f"{name}-{number}"
            target.mkdir(parents=True)
            started = time.perf_counter()
            runner(target)
            seconds[name].append(time.perf_counter() - started)
    (ours, ours_s), (peer, peer_s) = ((name, statistics.median(taken)) for name, taken in seconds.items())
    rates = f"{ours} {frames / ours_s:.1f} frames/s, {peer} {frames / peer_s:.1f}"
    print(f"{stage:<10}{rates}: {peer_s / ours_s:.2f}x as fast", flush=True)
