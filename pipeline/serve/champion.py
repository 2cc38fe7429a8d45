"""The champion's predictions for tasks that Label Studio names: what `maskloop predict` makes, on demand."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from connectors.images import decode_rgb
from connectors.label_studio_push import OutgoingPrediction, named, validate
from pipeline.checkpoint import CARD, read_card
from pipeline.inference import Network, load_network
from pipeline.outlines import outlines
from pipeline.serve.embedded import Fetch
from schemas.labels import LabelConfig
from schemas.manifest import CHAMPION_DIR
from schemas.params import Params


class Champion:
    """`models/champion` of a project folder, loaded again when another one has taken its place."""

    def __init__(self, params: Params, folder: Path, fetch: Fetch) -> None:
        self._params = params
        self._folder = folder / CHAMPION_DIR
        self._fetch = fetch
        self._lock = threading.Lock()
        self._loaded: tuple[str, Network] | None = None

    def model_version(self) -> str | None:
        """Version of the champion; None if there is none. Raises DataError if its card is malformed."""
        return read_card(self._folder).model_version if (self._folder / CARD).exists() else None

    def predict(self, task_id: int, address: str, label_config: str) -> dict[str, Any] | None:
        """A prediction as Label Studio stores it, with the names of the project's controls; None without a champion.

        Raises ImageError if the image can't be had, ClassMapError if classes or controls do not fit, and PushError if
        the project's label config does not allow it: it would make the task impossible to open.
        """
        with self._lock:
            version, network = self._network()
            if network is None:
                return None
            image = decode_rgb(self._fetch(task_id, address), f"the image of task {task_id}")
            (prediction,) = network.predict([image])
        options, config = self._params.predict, LabelConfig.parse(label_config)
        identity = f"{version}:{task_id}"
        found = outlines(
            prediction.mask,
            self._params.class_map,
            identity,
            options.tolerance_px,
            options.min_area_px,
            prediction.confidence,
            options.max_vertices,
        )
        score = round(float(prediction.confidence.mean()), 6)
        result = [named(item, config) for item in found]
        validate(label_config, [OutgoingPrediction(task_id, score, result)])
        return {"result": result, "score": score, "model_version": version}

    def _network(self) -> tuple[str, Network | None]:
        version = self.model_version()
        if version is None:
            return "", None
        if self._loaded is None or self._loaded[0] != version:
            network, card = load_network(self._folder, self._params)
            self._loaded = card.model_version, network
        return self._loaded
