"""Real frames through a real Label Studio: CamVid goes in, and out of the loop come masks, a network and predictions.

    python -m benchmarks.camvid_loop [CAMVID] [--frames 130] [--val 30] [--open 30] [--epochs 6]

CAMVID holds `train`, `trainannot`, `val` and `valannot` as the SegNet tutorial published them (360×480, 11 = void).
Every stage is a `maskloop` process of its own, on a server started for this run; its seconds include the process's start.
Peers, on the same project and in one process: label-studio-sdk's paging with one download after another; json + PIL.
Ends with exit code 1 if a mask differs from the published one by more than 0.1 %, or the server lacks a prediction.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import yaml
from label_studio_sdk import LabelStudio
from PIL import Image, ImageDraw

from benchmarks.camvid_train import BEST, CLASSES, PUBLISHED_VOID
from connectors.base import Credentials
from connectors.label_studio import LabelStudioProject, Server
from connectors.label_studio_server import LocalServer, Login
from connectors.label_studio_setup import create_project, import_tasks, upload_images
from connectors.masks import read_mask
from connectors.storage import read_json, read_table, sha256_file
from pipeline.progress import Silent
from pipeline.pull import pull
from pipeline.rasterise import rasterise
from schemas.labels import VOID_INDEX, ClassEntry, ClassMap, label_config
from schemas.manifest import IMAGES_DIR, MANIFEST, MANIFEST_SCHEMA, PUSH, TASKS_DIR
from schemas.params import Params, load_params

STAGES = ("configure", "probe", "pull", "rasterise", "split", "train", "evaluate", "gate", "predict", "push")
AGAIN = ("probe", "pull", "rasterise", "split", "push")
ROUNDS = 3
REQUIRED_SHARE = 0.999
VIDEO = "^([^_]+)_"


@dataclass(frozen=True, slots=True)
class Frames:
    """The frames of one run: annotated ones to train on and to validate with, and ones that nobody annotated."""

    train: list[Path]
    val: list[Path]
    open: list[Path]

    @classmethod
    def choose(cls, camvid: Path, train: int, val: int, without: int) -> Frames:
        """Annotated frames evenly spaced over their folder, so over all videos; open ones from the end of `val`."""
        annotated = spaced(sorted((camvid / "val").glob("*.png")), val)
        left = [path for path in sorted((camvid / "val").glob("*.png")) if path not in annotated]
        return cls(spaced(sorted((camvid / "train").glob("*.png")), train), annotated, left[len(left) - without :])

    @property
    def masks(self) -> dict[str, Path]:
        """Published masks of the annotated frames, by the image's SHA-256."""
        return {sha256_file(path): published_mask(path) for path in self.train + self.val}


def spaced(paths: list[Path], number: int) -> list[Path]:
    """`number` of the paths, evenly spaced."""
    return [paths[index * len(paths) // number] for index in range(number)]


def published_mask(image: Path) -> Path:
    """CamVid's mask of a frame."""
    return image.parents[1] / f"{image.parent.name}annot" / image.name


class Loop:
    """A project folder, its stages run as `maskloop` processes, and the table of their seconds."""

    def __init__(self, folder: Path, login: Login) -> None:
        self.folder = folder
        self.seconds: dict[str, float] = {}
        access = {"LABEL_STUDIO_URL": login.url, "LABEL_STUDIO_API_KEY": login.api_key}
        self._environment = os.environ | access | {"DVC_NO_ANALYTICS": "1"}

    def maskloop(self, *arguments: str | Path, name: str | None = None) -> None:
        """Run one command and print its row. Exits with its error if it fails."""
        started = time.perf_counter()
        run = subprocess.run(
            ["maskloop", *arguments],
            cwd=self.folder,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if run.returncode != 0:
            sys.exit(
                f"`maskloop {arguments[0]}` ended with {run.returncode}: {run.stderr.strip() or run.stdout.strip()}"
            )
        said = run.stdout.strip().splitlines()[-1].removeprefix(f"{arguments[0]}: ")
        self.row(name or str(arguments[0]), time.perf_counter() - started, said)

    def row(self, name: str, seconds: float, said: str) -> None:
        """Note and print one row."""
        self.seconds[name] = seconds
        print(f"{name:<16}{seconds:>8.1f}  {said}", flush=True)


@dataclass(frozen=True, slots=True)
class Equality:
    """Pixels of masks against the published ones: of those with a published class, and of the published void."""

    labelled: int
    equal: int
    void: int
    void_filled: int

    @classmethod
    def of(cls, pairs: Iterable[tuple[Path, Path]]) -> Equality:
        """Compare masks (255 = void) with published masks (11 = void)."""
        counts = np.zeros(4, np.int64)
        for mask_path, published_path in pairs:
            mask, published = read_mask(mask_path), read_mask(published_path)
            labelled = published != PUBLISHED_VOID
            filled = ~labelled & (mask != VOID_INDEX)
            counts += [labelled.sum(), (mask == published)[labelled].sum(), (~labelled).sum(), filled.sum()]
        return cls(*map(int, counts))

    @property
    def share(self) -> float:
        """Share of the labelled pixels that are equal, 0..1."""
        return self.equal / self.labelled

    def __str__(self) -> str:
        return (
            f"{self.share:.4%} of {self.labelled:,} labelled pixels equal the published masks, "
            f"{self.void_filled:,} of {self.void:,} void pixels got a class"
        )


def fill_server(loop: Loop, server: Server, frames: Frames, epochs: int) -> int:
    """A project with the annotated frames by `maskloop import mask-folder`, and the open ones; and its params.yaml."""
    classes = ClassMap([ClassEntry(name, "#808080", 0) for name in CLASSES])
    project = create_project(server, "CamVid", label_config(classes))
    params = {
        "source": {"kind": "label_studio", "project": project},
        "classes": [{"name": name} for name in CLASSES],
        "split": {"group_by": "video", "assigned_by": "split"},
        "train": {**BEST, "epochs": epochs, "validate_every": epochs},
    }
    (loop.folder / "params.yaml").write_text(yaml.safe_dump(params))
    for split, images in (("train", frames.train), ("val", frames.val)):
        folders = loop.folder / "import" / split, loop.folder / "import" / f"{split}annot"
        for folder, paths in zip(folders, (images, [published_mask(image) for image in images]), strict=True):
            folder.mkdir(parents=True)
            for path in paths:
                (folder / path.name).symlink_to(path)
        options = ["--classes", "params.yaml", "--project", str(project), "--void", str(PUBLISHED_VOID)]
        options += ["--group-regex", VIDEO, "--split", split]
        loop.maskloop("import", "mask-folder", *folders, *options, name=f"import {split}")
    started = time.perf_counter()
    tasks = [
        {"data": {"image": address, "name": path.name, "video": path.name.partition("_")[0]}}
        for path, address in upload_images(server, project, frames.open)
    ]
    imported = sum(import_tasks(server, project, tasks))
    loop.row("import open", time.perf_counter() - started, f"{imported} tasks without annotation")
    return project


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


def fresh_rasterise(params: Params, project: Path, folder: Path) -> None:
    """The rasterise stage in a folder of its own, on the tasks and images that the project has pulled."""
    for path in (TASKS_DIR, IMAGES_DIR):
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).symlink_to(project / path)
    rasterise(params, folder, Silent())


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


def fingerprint(folder: Path) -> str:
    """A hash over the names and bytes of all files in a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return hashlib.sha256("".join(f"{path} {sha256_file(path)}\n" for path in files).encode()).hexdigest()


def run(folder: Path, login: Login, frames: Frames, epochs: int, loop: Loop) -> list[str]:
    """The whole benchmark on a server that is up. Returns what is wrong, so an empty list if all is well."""
    server = Server.open(login.url, login.api_key)
    project = fill_server(loop, server, frames, epochs)
    for verb in STAGES:
        loop.maskloop(verb)
    before = fingerprint(loop.folder / "data")
    for verb in AGAIN:
        loop.maskloop(verb, name=f"{verb} again")

    published = frames.masks
    rows = read_table(loop.folder / MANIFEST, MANIFEST_SCHEMA).to_pylist()
    ours = Equality.of((loop.folder / row["mask"], published[row["image_sha256"]]) for row in rows)
    version = read_json(loop.folder / PUSH)["model_version"]
    predicted = len(LabelStudioProject(server, project, 100).predicted_tasks(version))
    held = int(server.get(f"/api/projects/{project}/").json()["total_predictions_number"])
    print(f"\nmasks     {len(rows)} masks: {ours}")
    print(
        f"server    {held} predictions after two pushes, on {predicted} of {len(frames.open)} open tasks, by {version}"
    )
    print(f"again     data/ is {'the same' if before == fingerprint(loop.folder / 'data') else 'CHANGED'} to the byte")

    export = folder / "export.json"
    export.write_bytes(server.get(f"/api/projects/{project}/export", {"exportType": "JSON"}).content)
    params, access = load_params(loop.folder / "params.yaml"), Credentials(login.url, login.api_key)
    pulls: dict[str, Callable[[Path], object]] = {
        "maskloop": lambda target: pull(params, target, Silent(), access),
        "label-studio-sdk": lambda target: sdk_pull(login, project, target),
    }
    race("pull", len(rows) + len(frames.open), pulls, folder)
    painters: dict[str, Callable[[Path], object]] = {
        "maskloop": lambda target: fresh_rasterise(params, loop.folder, target),
        "json + PIL": lambda target: pil_rasterise(export, target),
    }
    race("rasterise", len(rows), painters, folder)
    pil = Equality.of((folder / "rasterise" / "json + PIL-0" / path.name, path) for path in published.values())
    print(f"PIL       {pil}")
    wrong = {
        f"only {len(rows)} of {len(published)} annotated frames gave a mask": len(rows) != len(published),
        f"equal pixels are under {REQUIRED_SHARE:.1%}": ours.share < REQUIRED_SHARE,
        f"the server should hold {len(frames.open)} predictions": {held, predicted} != {len(frames.open)},
    }
    return [text for text, is_so in wrong.items() if is_so]


def main() -> None:
    """Run the benchmark; whatever happens, the server ends with it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("camvid", nargs="?", type=Path, default=Path("../shared/camvid"))
    parser.add_argument("--server-command", type=Path, default=Path(".venv-label-studio/bin/label-studio"))
    parser.add_argument("--frames", type=int, default=130, help="annotated frames to train on")
    parser.add_argument("--val", type=int, default=30, help="annotated frames to validate with")
    parser.add_argument("--open", type=int, default=30, help="frames without annotation, to predict")
    parser.add_argument("--epochs", type=int, default=6)
    arguments = parser.parse_args()
    camvid = arguments.camvid.resolve()
    if not (camvid / "trainannot").is_dir():
        sys.exit(f"{arguments.camvid} holds no CamVid (train, trainannot, val, valannot)")
    if shutil.which("maskloop") is None:
        sys.exit("no `maskloop` on the path: activate its environment")
    frames = Frames.choose(camvid, arguments.frames, arguments.val, arguments.open)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    print(
        f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}; seconds, and what each step said:\n", flush=True
    )
    with tempfile.TemporaryDirectory(prefix="camvid-loop-") as temporary:
        local = LocalServer(Path(temporary) / "label-studio", arguments.server_command)
        try:
            started = time.perf_counter()
            for _ in local.start():
                pass
            login = local.login()
            assert login is not None
            project = Path(temporary) / "project"
            project.mkdir()
            loop = Loop(project, login)
            loop.row("server start", time.perf_counter() - started, "Label Studio with an empty data folder")
            wrong = run(Path(temporary), login, frames, arguments.epochs, loop)
        finally:
            local.stop()
    if wrong:
        sys.exit(f"wrong: {'; '.join(wrong)}")


if __name__ == "__main__":
    main()
