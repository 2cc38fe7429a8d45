"""Stage `probe`: a fingerprint of what the source holds now, so that DVC runs `pull` exactly when something changed."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path

from connectors.base import Credentials
from connectors.sources import open_source
from connectors.storage import write_json
from connectors.task_store import read_tasks
from pipeline.progress import Progress
from schemas.manifest import PROBE, TASKS_DIR
from schemas.params import Params


def probe(params: Params, folder: Path, progress: Progress, credentials: Credentials) -> str:
    """Write `data/probe.json`: number of tasks and a hash over their ids and revisions.

    While images are missing, the time is part of it, so that pull tries them again. Raises ClassMapError if the
    project's label config and the class map disagree, and SourceError as the source does.
    """
    source = open_source(params, credentials)
    config = source.label_config()
    if config is not None:
        config.check(params.class_map, params.push.unassigned_label)
    listing = source.listing()
    fingerprint = hashlib.sha256(json.dumps(sorted(listing.items())).encode()).hexdigest()
    state: dict[str, object] = {"tasks": len(listing), "sha256": fingerprint}
    missing = read_tasks(folder / TASKS_DIR, ["image_error"])["image_error"].drop_null()
    if len(missing):
        state["retry_images_at"] = int(time.time())
    write_json(folder / PROBE, state)
    return f"{len(listing)} tasks, fingerprint {fingerprint[:12]}"
