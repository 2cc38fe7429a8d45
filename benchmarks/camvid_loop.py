"""Real frames through a real Label Studio: CamVid goes in, and out of the loop come masks, a network and predictions.

    python -m benchmarks.camvid_loop [CAMVID] [--frames 130] [--val 30] [--open 30] [--epochs 8]

CAMVID holds `train`, `trainannot`, `val` and `valannot` as the SegNet tutorial published them (360×480, 11 = void).
Every stage is a `maskloop` process of its own, on a server started for this run; seconds include the process's start.
Peers, on the same project and in one process: label-studio-sdk's paging with one download after another; json + PIL.
Ends with exit code 1 if a mask differs from the published one by more than 0.1 %, or the server lacks a prediction.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from benchmarks.camvid_data import CLASSES, PUBLISHED_VOID
from benchmarks.camvid_peers import pil_rasterise, race, sdk_pull
from connectors.base import Credentials
from connectors.label_studio import LabelStudioProject, Server
from connectors.label_studio_server import LocalServer, Login
from connectors.label_studio_setup import create_project, import_tasks, upload_images
from connectors.masks import read_mask
from connectors.storage import read_json, read_table, sha256_file
from pipeline.progress import Silent
from pipeline.pull import pull
from pipeline.rasterise import rasterise
from schemas.errors import MaskloopError
from schemas.labels import VOID_INDEX, ClassEntry, ClassMap, label_config
from schemas.manifest import IMAGES_DIR, MANIFEST, MANIFEST_SCHEMA, PUSH, TASKS_DIR
from schemas.params import Params, load_params

STAGES = ("configure", "probe", "pull", "rasterise", "split", "train", "evaluate", "gate", "predict", "push")
AGAIN = ("probe", "pull", "rasterise", "split", "push")
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
        return cls(
            spaced(sorted((camvid / "train").glob("*.png")), train), annotated, left[max(0, len(left) - without) :]
        )

    @property
    def masks(self) -> dict[str, Path]:
        """Published masks of the annotated frames, by the image's SHA-256."""
        return {sha256_file(path): published_mask(path) for path in self.train + self.val}


def spaced(paths: list[Path], number: int) -> list[Path]:
    """`number` of the paths (all, if there are fewer), evenly spaced."""
    number = min(number, len(paths))
    return [paths[index * len(paths) // number] for index in range(number)]


def published_mask(image: Path) -> Path:
    """CamVid's mask of a frame."""
    return image.parents[1] / f"{image.parent.name}annot" / image.name


class Loop:
    """A project folder, whose stages run as `maskloop` processes."""

    def __init__(self, folder: Path, login: Login) -> None:
        self.folder = folder
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
        row(name or str(arguments[0]), time.perf_counter() - started, said)


def row(name: str, seconds: float, said: str) -> None:
    """Print one row of the table."""
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
        "train": {"epochs": epochs, "validate_every": epochs},
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
    row("import open", time.perf_counter() - started, f"{imported} tasks without annotation")
    return project


def fresh_rasterise(params: Params, project: Path, folder: Path) -> None:
    """The rasterise stage in a folder of its own, on the tasks and images that the project has pulled."""
    for path in (TASKS_DIR, IMAGES_DIR):
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).symlink_to(project / path)
    rasterise(params, folder, Silent())


def fingerprint(folder: Path) -> str:
    """A hash over the names and bytes of all files in a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return hashlib.sha256("".join(f"{path} {sha256_file(path)}\n" for path in files).encode()).hexdigest()


def examine(loop: Loop, server: Server, project: int, frames: Frames) -> list[str]:
    """Print masks against published ones and what the server holds. Returns what is wrong."""
    published = frames.masks
    samples = read_table(loop.folder / MANIFEST, MANIFEST_SCHEMA).to_pylist()
    equality = Equality.of((loop.folder / each["mask"], published[each["image_sha256"]]) for each in samples)
    print(f"\nmasks     {len(samples)} masks: {equality}")
    version = read_json(loop.folder / PUSH)["model_version"]
    predicted = len(LabelStudioProject(server, project, 100).predicted_tasks(version))
    held = int(server.get(f"/api/projects/{project}/").json()["total_predictions_number"])
    print(f"server    {held} predictions after two pushes, on {predicted} of {len(frames.open)} open tasks")
    wrong = {
        f"{len(samples)} of {len(published)} annotated frames gave a mask": len(samples) != len(published),
        f"equal pixels are under {REQUIRED_SHARE:.1%}": equality.share < REQUIRED_SHARE,
        f"the server should hold {len(frames.open)} predictions": {held, predicted} != {len(frames.open)},
    }
    return [text for text, is_so in wrong.items() if is_so]


def compare(loop: Loop, server: Server, project: int, frames: Frames, login: Login) -> None:
    """Print the rates of pull and rasterise beside those of their peers, and how exact PIL's masks are."""
    folder = loop.folder.parent / "race"
    folder.mkdir()
    export = folder / "export.json"
    export.write_bytes(server.get(f"/api/projects/{project}/export", {"exportType": "JSON"}).content)
    params, access = load_params(loop.folder / "params.yaml"), Credentials(login.url, login.api_key)
    pulls: dict[str, Callable[[Path], object]] = {
        "maskloop": lambda target: pull(params, target, Silent(), access),
        "label-studio-sdk": lambda target: sdk_pull(login, project, target),
    }
    painters: dict[str, Callable[[Path], object]] = {
        "maskloop": lambda target: fresh_rasterise(params, loop.folder, target),
        "json + PIL": lambda target: pil_rasterise(export, target),
    }
    annotated = frames.train + frames.val
    race("pull", len(annotated + frames.open), pulls, folder)
    race("rasterise", len(annotated), painters, folder)
    drawn = folder / "rasterise" / "json + PIL-0"
    print(f"PIL       {Equality.of((drawn / path.name, published_mask(path)) for path in annotated)}")


def run(folder: Path, login: Login, frames: Frames, epochs: int) -> list[str]:
    """The whole benchmark on a server that is up. Returns what is wrong."""
    folder.mkdir()
    loop, server = Loop(folder, login), Server.open(login.url, login.api_key)
    project = fill_server(loop, server, frames, epochs)
    for verb in STAGES:
        loop.maskloop(verb)
    before = fingerprint(folder / "data")
    for verb in AGAIN:
        loop.maskloop(verb, name=f"{verb} again")
    changed = [] if fingerprint(folder / "data") == before else ["the stages with nothing new changed data/"]
    wrong = examine(loop, server, project, frames) + changed
    compare(loop, server, project, frames, login)
    return wrong


def parsed_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("camvid", nargs="?", type=Path, default=Path("../shared/camvid"))
    parser.add_argument("--server-command", type=Path, default=Path(".venv-label-studio/bin/label-studio"))
    parser.add_argument("--frames", type=int, default=130, help="annotated frames to train on")
    parser.add_argument("--val", type=int, default=30, help="annotated frames to validate with")
    parser.add_argument("--open", type=int, default=30, help="frames without annotation, to predict")
    parser.add_argument("--epochs", type=int, default=8, help="with 130 frames 5-11 s each on two cores")
    return parser.parse_args()


def main() -> None:
    """Run the benchmark; whatever happens, the server ends with it."""
    arguments = parsed_arguments()
    camvid = arguments.camvid.resolve()
    if not (camvid / "trainannot").is_dir():
        sys.exit(f"{arguments.camvid} holds no CamVid (train, trainannot, val, valannot)")
    if shutil.which("maskloop") is None:
        sys.exit("no `maskloop` on the path: activate its environment")
    frames = Frames.choose(camvid, arguments.frames, arguments.val, arguments.open)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    print(f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}; seconds, and what each step said:\n")
    with tempfile.TemporaryDirectory(prefix="camvid-loop-") as temporary:
        local = LocalServer(Path(temporary) / "label-studio", arguments.server_command)
        try:
            started = time.perf_counter()
            list(local.start())
            login = local.login()
            assert login is not None
            row("server start", time.perf_counter() - started, "Label Studio with an empty data folder")
            wrong = run(Path(temporary) / "project", login, frames, arguments.epochs)
        except MaskloopError as error:
            sys.exit(f"{error} {error.remedy or ''}")
        finally:
            local.stop()
    if wrong:
        sys.exit(f"wrong: {'; '.join(wrong)}")


if __name__ == "__main__":
    main()
