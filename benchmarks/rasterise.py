"""The whole rasterise stage: tasks on disk → masks and manifest; full, delta and no-op runs, memory, and a peer.

    python -m benchmarks.rasterise [--tasks 10000] [--folder FOLDER]

Draws a project of polygons and runs the stage in processes of its own: on one core, on all, after 1 % of the tasks
changed, and with nothing new. Fails unless the delta leaves what a full rebuild leaves, byte for byte, and writes only
changed masks. The peer reads the same tasks as an export with json and paints with PIL, on one core.
"""

from __future__ import annotations

import argparse
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
from schemas.manifest import IMAGES_DIR, MASKS_DIR, SCRATCH_DIR, TASKS_DIR
from schemas.params import parse_params
from schemas.tasks import Annotation, Task

SIZE_HW = (240, 320)
POLYGONS = 20
POINTS = 32
CLASSES = 8
CHANGED = 0.01
DELTA_LIMIT = 0.03
RESIDENT_LIMIT_MB = 500
PARAMS = {
    "source": {"kind": "label_studio_export", "path": "export.json"},
    "classes": [{"name": f"class {index}"} for index in range(CLASSES)],
}

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Run:
    """One run of something in a process of its own, with its peak resident memory and that of its largest child."""

    seconds: float
    resident_mb: float
    child_mb: float


def drawn_task(task_id: int, revision: int) -> Row:
    """A task with blobs as an annotator draws them."""
    random = np.random.default_rng([task_id, revision])
    angles = np.linspace(0, 2 * np.pi, POINTS, endpoint=False)
    regions = []
    for number in range(POLYGONS):
        radius = random.uniform(4, 25) * random.uniform(0.8, 1.2, POINTS)
        blob = random.uniform(10, 90, 2) + radius[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        value = {"points": blob.clip(0, 100).tolist(), "polygonlabels": [f"class {random.integers(CLASSES)}"]}
        size = {"original_width": SIZE_HW[1], "original_height": SIZE_HW[0]}
        regions.append({"id": f"r{number}", "type": "polygonlabels", **size, "value": value | {"closed": True}})
    work = Annotation(task_id, "1", None, f"2026-01-0{revision}", False, False, None, None, json.dumps(regions))
    row = task_row(Task(task_id, str(revision), {"image": f"{task_id}.png"}, f"{task_id}.png", (work,)))
    image = {"image": str(IMAGES_DIR / f"{task_id}.png"), "image_sha256": f"{task_id:064}"}
    return row | image | {"image_width": SIZE_HW[1], "image_height": SIZE_HW[0]}


def write_tasks(folder: Path, tasks: int, revisions: dict[int, int]) -> None:
    """Write `data/tasks/`; tasks not in `revisions` have revision 1."""
    for part in range(-(-tasks // PART_TASKS)):
        ids = range(part * PART_TASKS, min((part + 1) * PART_TASKS, tasks))
        rows = {task_id: drawn_task(task_id, revisions.get(task_id, 1)) for task_id in ids}
        write_part(folder / TASKS_DIR, part, rows)


def stage(folder: Path) -> None:
    """The rasterise stage."""
    from pipeline.rasterise import rasterise

    rasterise(parse_params(PARAMS), folder, Silent())


def script(folder: Path) -> None:
    """What people write by hand: json, PIL's polygons, PIL's PNG, a JSON list as manifest."""
    masks = folder / "script"
    masks.mkdir(exist_ok=True)
    index_of = {entry["name"]: index for index, entry in enumerate(PARAMS["classes"])}  # type: ignore[index]
    rows = []
    for task in json.loads((folder / "export.json").read_text()):
        mask = Image.new("L", SIZE_HW[::-1], 255)
        pencil = ImageDraw.Draw(mask)
        for region in task["annotations"][0]["result"]:
            points = [(x * SIZE_HW[1] / 100, y * SIZE_HW[0] / 100) for x, y in region["value"]["points"]]
            pencil.polygon(points, fill=index_of[region["value"]["polygonlabels"][0]])
        mask.save(masks / f"{task['id']}.png")
        rows.append({"task_id": task["id"], "mask": f"{task['id']}.png", "pixels": mask.histogram()[:CLASSES]})
    (folder / "script.json").write_text(json.dumps(rows))


def write_export(folder: Path, tasks: int) -> None:
    """The same tasks as the file that the script reads."""
    rows = (drawn_task(task_id, 1) for task_id in range(tasks))
    export = [
        {"id": row["task_id"], "annotations": [{"result": json.loads(row_annotations(row)[0].result)}]} for row in rows
    ]
    (folder / "export.json").write_text(json.dumps(export))


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
    from pipeline import raster, rasterise  # noqa: F401

    raster.fill_polygon((1, 1), [np.zeros((3, 2))])  # loads the compiled code
    pa.array([0])  # makes pyarrow import pandas
    start = time.perf_counter()
    job(folder)
    seconds = time.perf_counter() - start
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    child = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    sender.send(Run(seconds, own / 1024, child / 1024))


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


def main(folder: Path, tasks: int) -> None:
    print(f"{tasks} tasks of {POLYGONS} polygons with {POINTS} points, {SIZE_HW[1]}x{SIZE_HW[0]} px, in {folder}")
    for task_id in range(tasks):
        write_bytes(folder / IMAGES_DIR / f"{task_id}.png", b"not read")
    write_tasks(folder, tasks, {})
    every, one = os.sched_getaffinity(0), {min(os.sched_getaffinity(0))}
    runs = {f"full, {len(every)} cores": measured(stage, folder, every)}
    clear(folder)
    runs["full, 1 core"] = full = measured(stage, folder, one)
    runs["nothing new"] = measured(stage, folder, one)
    before = outputs(folder)
    changed = np.random.default_rng(0).choice(tasks, max(int(tasks * CHANGED), 1), replace=False)
    write_tasks(folder, tasks, {int(task_id): 2 for task_id in changed})
    runs[f"{len(changed)} tasks changed"] = delta = measured(stage, folder, one)
    after = outputs(folder)
    written = {name for name in after if name.endswith(".png") and after[name][1] != before[name][1]}
    clear(folder)
    measured(stage, folder, every)
    rebuilt = outputs(folder)
    write_export(folder, tasks)
    runs["json + PIL, 1 core"] = measured(script, folder, one)

    for name, run in runs.items():
        rate = f"{tasks / run.seconds:8.0f} tasks/s" if "full" in name or "PIL" in name else " " * 16
        share = f"{100 * run.seconds / full.seconds:6.1f} % of full"
        print(f"{name:22}{run.seconds:8.2f} s {rate}{share}{run.resident_mb:8.0f} MB + {run.child_mb:.0f}")
    on_all = runs[f"full, {len(every)} cores"]
    print(f"full on {len(every)} cores is {full.seconds / on_all.seconds:.2f}x as fast as on one")
    print(
        f"maskloop is {runs['json + PIL, 1 core'].seconds / full.seconds:.2f}x as fast as json + PIL, on one core each"
    )
    equal = {name: content for name, (content, _) in after.items()} == {
        name: entry[0] for name, entry in rebuilt.items()
    }
    failures = [
        *(["the delta differs from a full rebuild"] if not equal else []),
        *(
            ["masks of unchanged tasks were written"]
            if not written <= {f"{task_id}.png" for task_id in changed}
            else []
        ),
        *(
            [f"the delta took over {DELTA_LIMIT:.0%} of a full run"]
            if delta.seconds > DELTA_LIMIT * full.seconds
            else []
        ),
        *(
            ["too much memory"]
            if max(full.resident_mb, on_all.resident_mb, on_all.child_mb) > RESIDENT_LIMIT_MB
            else []
        ),
    ]
    print(f"delta: {len(written)} masks written, {'equal to' if equal else 'unlike'} a full rebuild")
    if failures:
        sys.exit("; ".join(failures))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", type=int, default=10_000)
    parser.add_argument("--folder", type=Path, help="Where to draw the project. Default: a temporary folder.")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        main(arguments.folder or Path(temporary), arguments.tasks)
