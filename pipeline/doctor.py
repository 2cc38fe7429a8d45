"""`maskloop doctor`: everything a round needs, checked one by one, each with what to mend."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from connectors.base import Credentials
from connectors.sources import open_source
from schemas.errors import MaskloopError
from schemas.params import LabelStudioSource, Params, load_params

DISK_FREE_GB = 5.0


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at: whether it is well, what was found, and how to mend it."""

    name: str
    ok: bool
    found: str
    remedy: str = ""


def examine(folder: Path, credentials: Credentials) -> Iterator[Check]:
    """Yield the checks in the order in which a round would fail on them."""
    try:
        params = load_params(folder / "params.yaml")
    except MaskloopError as error:
        yield Check("params.yaml", False, str(error), error.remedy)
        return
    yield Check("params.yaml", True, f"{len(params.classes)} classes, source {params.source.kind}")
    yield _stages(folder)
    yield from _source(params, credentials)
    yield _disk(folder)
    yield _device(params)


def _stages(folder: Path) -> Check:
    missing = [name for name in ("dvc.yaml", ".dvc") if not (folder / name).exists()]
    if missing:
        return Check("dvc", False, f"no {' and no '.join(missing)} here", "Run `maskloop init` in an empty folder.")
    return Check("dvc", True, "dvc.yaml and .dvc are here")


def _source(params: Params, credentials: Credentials) -> Iterator[Check]:
    name = "server, token, project" if isinstance(params.source, LabelStudioSource) else "export file"
    impatient = params.model_copy(update={"pull": params.pull.model_copy(update={"patience_s": 3.0})})
    try:
        source = open_source(impatient, credentials)
        tasks = len(source.listing())
        yield (
            Check(name, True, f"reached, {tasks} tasks")
            if tasks
            else Check(name, False, "reached, but it holds no task", "Import images into the project.")
        )
        config = source.label_config()
    except MaskloopError as error:
        yield Check(name, False, str(error), error.remedy)
        return
    if config is None:
        return
    try:
        config.check(params.class_map, params.push.unassigned_label)
        yield Check("label config", True, f"its labels are the class map's; the image is data.{config.image_field}")
    except MaskloopError as error:
        yield Check("label config", False, str(error), f"{error.remedy} `maskloop label-config` prints one that fits.")


def _disk(folder: Path) -> Check:
    if not os.access(folder, os.W_OK):
        return Check("disk", False, f"{folder.absolute()} may not be written", "Change its owner or permissions.")
    free_gb = shutil.disk_usage(folder).free / 1e9
    remedy = "Make room: images, masks and DVC's cache each take their share." if free_gb < DISK_FREE_GB else ""
    return Check("disk", not remedy, f"{free_gb:.1f} GB free", remedy)


def _device(params: Params) -> Check:
    from pipeline.inference import Compute

    try:
        compute = Compute.choose(params.train)
    except MaskloopError as error:
        return Check("device", False, str(error), error.remedy)
    return Check("device", True, f"{compute.device} in {str(compute.precision).removeprefix('torch.')}")
