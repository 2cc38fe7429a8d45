"""The whole rasterise stage: tasks on disk → masks and manifest; full, delta and no-op runs, memory, and two peers.

    python -m benchmarks.rasterise [--dense] [--tasks 10000] [--without-peers] [--folder FOLDER]

Draws a project of polygons and runs the stage in processes of its own: on one core, on all, after 1 % of the tasks
changed, and with nothing new. Fails unless the delta leaves what a full rebuild leaves, byte for byte, and writes only
changed masks. The peers read the same tasks as an export, on one core: json + PIL, and, a few of them, Label Studio's
COCO export + pycocotools + PIL + pandas. `--dense` draws images like CamVid's traced frames.
"""

from __future__ import annotations

import argparse
import importlib
import json
import multiprocessing
import os
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image, ImageDraw

from connectors.storage import write_bytes
from connectors.task_store import PART_TASKS, row_annotations, task_row, write_part
from pipeline.progress import Silent
from schemas.labels import label_config
from schemas.manifest import IMAGES_DIR, MASKS_DIR, SCRATCH_DIR, TASKS_DIR
from schemas.params import parse_params
from schemas.tasks import Annotation, Task

CLASSES = 8
CHANGED = 0.01
DELTA_LIMIT = 0.03
RESIDENT_LIMIT_MB = 500
CONVERTED = 200
"""Number of tasks that the converter gets."""

PARAMS = {
    "source": {"kind": "label_studio_export", "path": "export.json"},
    "classes": [{"name": f"class {index}"} for index in range(CLASSES)],
}

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Scene:
    """What the drawn images are like; the radii of the blobs in percent."""

    size_hw: tuple[int, int]
    polygons: int
    points: int
    radius_pct: tuple[float, float]

    def __str__(self) -> str:
        return f"{self.polygons} polygons with {self.points} points, {self.size_hw[1]}x{self.size_hw[0]} px"


SPARSE = Scene((240, 320), 20, 32, (4, 25))
DENSE = Scene((360, 480), 125, 42, (2, 9))


@dataclass(frozen=True, slots=True)
class Run:
    """One run of something in a process of its own, with its peak resident memory and that of its largest child.

    `cpu_s`: processor time of it and its children, which other work on the machine disturbs less than the clock's.
    """

    seconds: float
    cpu_s: float
    resident_mb: float
    child_mb: float


def drawn_task(scene: Scene, task_id: int, revision: int) -> Row:
    """A task with blobs as an annotator draws them."""
    random = np.random.default_rng([task_id, revision])
    angles = np.linspace(0, 2 * np.pi, scene.points, endpoint=False)
    height, width = scene.size_hw
    regions = []
    for number in range(scene.polygons):
        radius = random.uniform(*scene.radius_pct) * random.uniform(0.8, 1.2, scene.points)
        blob = random.uniform(10, 90, 2) + radius[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        value = {"points": blob.clip(0, 100).tolist(), "polygonlabels": [f"class {random.integers(CLASSES)}"]}
        names = {"id": f"r{number}", "from_name": "polygon", "to_name": "image", "type": "polygonlabels"}
        regions.append(names | {"original_width": width, "original_height": height, "value": value | {"closed": True}})
    work = Annotation(task_id, "1", None, f"2026-01-0{revision}", False, False, None, None, json.dumps(regions))
    row = task_row(Task(task_id, str(revision), {"image": f"{task_id}.png"}, f"{task_id}.png", (work,)))
    image = {"image": str(IMAGES_DIR / f"{task_id}.png"), "image_sha256": f"{task_id:064}"}
    return row | image | {"image_width": width, "image_height": height}


def write_tasks(scene: Scene, folder: Path, tasks: int, revisions: dict[int, int]) -> None:
    """Write `data/tasks/`; tasks not in `revisions` have revision 1."""
    for part in range(-(-tasks // PART_TASKS)):
        ids = range(part * PART_TASKS, min((part + 1) * PART_TASKS, tasks))
        rows = {task_id: drawn_task(scene, task_id, revisions.get(task_id, 1)) for task_id in ids}
        write_part(folder / TASKS_DIR, part, rows)


def stage(folder: Path) -> None:
    """The rasterise stage."""
    from pipeline.rasterise import rasterise

    rasterise(parse_params(PARAMS), folder, Silent())


def class_names() -> list[str]:
    return [entry.name for entry in parse_params(PARAMS).classes]


def script(folder: Path) -> None:
    """What people write by hand: json, PIL's polygons, PIL's PNG, a JSON list as manifest."""
    masks = folder / "script"
    masks.mkdir(exist_ok=True)
    index_of = {name: index for index, name in enumerate(class_names())}
    rows = []
    for task in json.loads((folder / "export.json").read_text()):
        regions = task["annotations"][0]["result"]
        width, height = regions[0]["original_width"], regions[0]["original_height"]
        mask = Image.new("L", (width, height), 255)
        pencil = ImageDraw.Draw(mask)
        for region in regions:
            points = [(x * width / 100, y * height / 100) for x, y in region["value"]["points"]]
            pencil.polygon(points, fill=index_of[region["value"]["polygonlabels"][0]])
        mask.save(masks / f"{task['id']}.png")
        rows.append({"task_id": task["id"], "mask": f"{task['id']}.png", "pixels": mask.histogram()[:CLASSES]})
    (folder / "script.json").write_text(json.dumps(rows))


def converter(folder: Path) -> None:
    """Label Studio's own way: its COCO export, painted by pycocotools, saved by PIL, the manifest by pandas."""
    import pandas as pd
    from label_studio_sdk.converter import Converter
    from pycocotools import mask as coco_mask

    masks = folder / "converter"
    masks.mkdir(exist_ok=True)
    exporter = Converter(label_config(parse_params(PARAMS).class_map), str(folder), download_resources=False)
    exporter.convert_to_coco(str(folder / "few.json"), str(folder / "coco"), is_dir=False)
    exported = json.loads((folder / "coco/result.json").read_text())
    index_of = {name: index for index, name in enumerate(class_names())}
    values = {entry["id"]: index_of.get(entry["name"], 255) for entry in exported["categories"]}
    annotations = pd.DataFrame(exported["annotations"]).groupby("image_id")
    rows = []
    for image in exported["images"]:
        mask = np.full((image["height"], image["width"]), 255, np.uint8)
        for entry in annotations.get_group(image["id"]).itertuples():
            runs = coco_mask.frPyObjects(entry.segmentation, *mask.shape)
            mask[coco_mask.decode(coco_mask.merge(runs)).astype(bool)] = values[entry.category_id]
        name = f"{Path(image['file_name']).stem}.png"
        Image.fromarray(mask).save(masks / name)
        rows.append({"mask": name, "pixels": np.bincount(mask.ravel(), minlength=256)[:CLASSES].tolist()})
    pd.DataFrame(rows).to_parquet(folder / "converter.parquet")


def write_exports(scene: Scene, folder: Path, tasks: int) -> None:
    """The same tasks as the files that the peers read."""
    export = []
    for row in (drawn_task(scene, task_id, 1) for task_id in range(tasks)):
        image = {"image": str(folder / row["image"])}
        result = json.loads(row_annotations(row)[0].result)
        export.append({"id": row["task_id"], "data": image, "annotations": [{"id": row["task_id"], "result": result}]})
    (folder / "export.json").write_text(json.dumps(export))
    (folder / "few.json").write_text(json.dumps(export[:CONVERTED]))


def measured(job: Callable[[Path], None], folder: Path, cores: set[int]) -> Run:
    """Run a job in a process of its own on some cores; imports and the loading of compiled code are not timed."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_measure, args=(job, folder, cores, sender))
    process.start()
    sender.close()
    run: Run = receiver.recv()
    process.join()
    return run


def _measure(job: Callable[[Path], None], folder: Path, cores: set[int], sender: Any) -> None:
    os.sched_setaffinity(0, cores)
    if job is converter:
        for name in ("label_studio_sdk.converter", "pandas", "pycocotools.mask"):
            importlib.import_module(name)
    if job is stage:
        from pipeline import rasterise  # noqa: F401
        from pipeline.bit_planes import value_counts
        from pipeline.painting import Painter

        params = parse_params(PARAMS)
        value_counts(Painter(params.class_map, params.rasterise).paint("[]", (8, 8)).mask)  # loads compiled code
        pa.array([0])  # makes pyarrow import pandas
    start, cpu_start = time.perf_counter(), time.process_time()
    job(folder)
    seconds, cpu_s = time.perf_counter() - start, time.process_time() - cpu_start
    status = Path("/proc/self/status").read_text()  # getrusage would count what the parent had before exec
    own = int(status.partition("VmHWM:")[2].split()[0])
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s += children.ru_utime + children.ru_stime
    sender.send(Run(seconds, cpu_s, own / 1024, children.ru_maxrss / 1024))


def outputs(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Masks and tables with their bytes and times."""
    paths = [*(folder / MASKS_DIR).iterdir(), *(folder / "data").glob("*.parquet")]
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in paths}


def clear(folder: Path) -> None:
    """Back to before the first run."""
    shutil.rmtree(folder / MASKS_DIR)
    shutil.rmtree(folder / SCRATCH_DIR)
    for path in (folder / "data").glob("*.parquet"):
        path.unlink()


def main(scene: Scene, folder: Path, tasks: int, with_peers: bool) -> None:
    print(f"{tasks} tasks of {scene}, in {folder}", flush=True)
    for task_id in range(tasks):
        write_bytes(folder / IMAGES_DIR / f"{task_id}.png", b"not read")
    write_tasks(scene, folder, tasks, {})
    every, one = os.sched_getaffinity(0), {min(os.sched_getaffinity(0))}
    all_cores = f"full, {len(every)} cores"

    def timed(name: str, job: Callable[[Path], None], cores: set[int], count: int) -> Run:
        run = measured(job, folder, cores)
        rate = f"{count / run.seconds:8.1f} tasks/s" if count else " " * 16
        memory = f"{run.resident_mb:8.0f} MB + {run.child_mb:.0f}"
        print(f"{name:26}{run.seconds:8.2f} s {run.cpu_s:8.2f} cpu s {rate}{memory}", flush=True)
        return run

    on_all = timed(all_cores, stage, every, tasks)
    clear(folder)
    full = timed("full, 1 core", stage, one, tasks)
    timed("nothing new", stage, one, 0)
    before = outputs(folder)
    changed = np.random.default_rng(0).choice(tasks, max(int(tasks * CHANGED), 1), replace=False)
    write_tasks(scene, folder, tasks, {int(task_id): 2 for task_id in changed})
    delta = timed(f"{len(changed)} tasks changed", stage, one, 0)
    after = outputs(folder)
    clear(folder)
    measured(stage, folder, every)
    rebuilt = outputs(folder)
    peers = (("json + PIL", script, tasks), ("converter", converter, min(tasks, CONVERTED)))
    if with_peers:
        write_exports(scene, folder, tasks)
    for name, job, count in peers if with_peers else ():
        run = timed(f"{name}, 1 core", job, one, count)
        wall, cpu = run.seconds / count * tasks / full.seconds, run.cpu_s / count * tasks / full.cpu_s
        print(f"  maskloop is {wall:.1f}x as fast by the clock, {cpu:.1f}x by processor time", flush=True)

    print(f"on {len(every)} cores {full.seconds / on_all.seconds:.2f}x as fast as on one")
    written = {name for name in after if name.endswith(".png") and after[name][1] != before.get(name, (b"", 0))[1]}
    equal = {name: entry[0] for name, entry in after.items()} == {name: entry[0] for name, entry in rebuilt.items()}
    share = delta.seconds / full.seconds
    print(
        f"delta: {100 * share:.1f} % of full, {len(written)} masks written, {'' if equal else 'un'}equal to a rebuild"
    )
    failures = {
        "the delta differs from a full rebuild": not equal,
        "masks of unchanged tasks were written": not written <= {f"{task_id}.png" for task_id in changed},
        f"the delta took over {DELTA_LIMIT:.0%} of a full run": share > DELTA_LIMIT,
        "too much memory": max(full.resident_mb, on_all.resident_mb, on_all.child_mb) > RESIDENT_LIMIT_MB,
    }
    if any(failures.values()):
        sys.exit("; ".join(failure for failure, happened in failures.items() if happened))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", type=int, default=10_000)
    parser.add_argument("--dense", action="store_true", help=f"{DENSE} instead of {SPARSE}")
    parser.add_argument("--without-peers", action="store_true", help="Time maskloop alone.")
    parser.add_argument("--folder", type=Path, help="Where to draw the project. Default: a temporary folder.")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        main(DENSE if arguments.dense else SPARSE, folder, arguments.tasks, not arguments.without_peers)
