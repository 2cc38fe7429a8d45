"""Stage `configure`: params.yaml, validated and with every default filled in, as the file that the other stages
depend on.

A params.yaml with only `source` and `classes` would give DVC no key to watch for the other stages; this one has them
all. It also holds the class map to its contract, see `pipeline.classes`.
"""

from __future__ import annotations

from pathlib import Path

import yaml

from connectors.storage import write_bytes
from pipeline import classes
from pipeline.progress import Progress
from schemas.manifest import CLASSES_LOCK, RESOLVED_PARAMS
from schemas.params import Params


def configure(params: Params, folder: Path, progress: Progress) -> str:
    """Write `data/params.yaml` and `classes.lock`.

    Raises ClassMapError if the class map would change what an index of existing masks means.
    """
    new = classes.lock(folder, params.class_map)
    text = yaml.safe_dump(params.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    changed = write_bytes(folder / RESOLVED_PARAMS, text.encode())
    added = f" ({', '.join(new)} new in {CLASSES_LOCK})" if new else ""
    return f"{len(params.classes)} classes{added}; {RESOLVED_PARAMS} {'written' if changed else 'unchanged'}"
