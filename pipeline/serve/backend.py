"""What the backend answers: a mask for a click, the champion's prediction for a task. No HTTP in here."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from connectors.label_studio_push import OutgoingPrediction, validate
from pipeline.mask_results import choose_control, mask_results
from pipeline.sam.model import Embedding, Segmenter
from pipeline.serve.embedded import EmbeddedImages
from pipeline.serve.messages import PredictMessage, TaskMessage
from pipeline.serve.prompts import Click, parse_click, pointed_at
from schemas.errors import BusyError, ImageError
from schemas.labels import LabelConfig
from schemas.params import Params

logger = logging.getLogger("maskloop.serve")

Results = list[Any]


class Predictor(Protocol):
    """What answers without a click: see `pipeline.serve.champion.Champion`."""

    def model_version(self) -> str | None:
        """Version of the model; None if there is none."""
        ...

    def predict(self, task_id: int, address: str, label_config: str) -> dict[str, Any] | None:
        """A prediction for a task; None if there is no model."""
        ...


@dataclass(frozen=True, slots=True)
class Reply:
    """Label Studio's `results`, and how long the mask decoder took."""

    results: Results
    decoder_s: float = 0.0


class Backend:
    """One segmenter and one champion. Threads may ask at once: the decoder answers one click at a time."""

    def __init__(self, segmenter: Segmenter, images: EmbeddedImages, champion: Predictor, params: Params) -> None:
        self._segmenter = segmenter
        self._images = images
        self._champion = champion
        self._params = params
        self._decoder = threading.Lock()
        self._places = threading.BoundedSemaphore(params.serve.queue)
        self._asking = 0
        self._idle = threading.Condition()

    def model_version(self) -> str:
        """Version of what it predicts with: the champion, or the segmenter where there is none."""
        return self._champion.model_version() or self._segmenter.version

    def reply(self, message: PredictMessage) -> Reply:
        """Answer a `POST /predict`: a click if it has a context, else predictions.

        Raises BusyError if the queue is full, ImageError for an image that can't be had, ClassMapError or PushError if
        the answer does not fit the label config, RegionError for a malformed click.
        """
        with self._place():
            if message.params.context is None:
                return Reply(self._predictions(message))
            return self._clicked(message.tasks[0], message.params.context.result, message.label_config)

    def embed(self, task_id: int, address: str) -> None:
        """Have a task's image embedded, once nobody is waiting for an answer. Raises ImageError."""
        with self._idle:
            self._idle.wait_for(lambda: self._asking == 0)
        self._images.of(task_id, address)

    def _clicked(self, task: TaskMessage, result: list[dict[str, Any]], label_config: str) -> Reply:
        config = LabelConfig.parse(label_config)
        embedding = self._images.of(task.id, image_address(task, config))
        click = parse_click(result, embedding.size_hw)
        if click is None:
            return Reply([self._prediction([], 0.0)])
        control = choose_control(config, click.label, self._params.serve.answer_as)
        logits, predicted_iou, decoder_s = self._decoded(embedding, click)
        options = self._params.predict
        score = min(max(predicted_iou, 0.0), 1.0)
        mask = pointed_at(self._segmenter.mask(logits, embedding.size_hw), click.prompt)
        regions = mask_results(
            mask,
            click.label,
            control,
            click.region_id,
            round(score, 6),
            options.tolerance_px,
            options.min_area_px,
            options.max_vertices,
        )
        validate(label_config, [OutgoingPrediction(task.id, score, regions)])
        return Reply([self._prediction(regions, score)], decoder_s)

    def _decoded(self, embedding: Embedding, click: Click) -> tuple[NDArray[np.float32], float, float]:
        """Logits (h, w) of the best mask, its predicted IoU, and the seconds that the network took."""
        with self._decoder:
            started = time.perf_counter()
            logits, predicted_iou = self._segmenter.logits(embedding, click.prompt)
            return logits[0], float(predicted_iou[0]), time.perf_counter() - started

    def _prediction(self, regions: list[dict[str, Any]], score: float) -> dict[str, Any]:
        return {"result": regions, "score": round(score, 6), "model_version": self._segmenter.version}

    def _predictions(self, message: PredictMessage) -> Results:
        """One entry a task, empty for one whose image can't be had; none at all without a champion."""
        if self._champion.model_version() is None:
            return []
        config = LabelConfig.parse(message.label_config)
        results: Results = []
        for task in message.tasks:
            try:
                found = self._champion.predict(task.id, image_address(task, config), message.label_config)
            except ImageError as error:
                logger.warning("%s", error)
                found = None
            results.append(found or [])
        return results

    @contextmanager
    def _place(self) -> Iterator[None]:
        if not self._places.acquire(blocking=False):
            raise BusyError(f"{self._params.serve.queue} requests are waiting already", "Try again in a moment.")
        with self._idle:
            self._asking += 1
        try:
            yield
        finally:
            self._places.release()
            with self._idle:
                self._asking -= 1
                self._idle.notify_all()


def image_address(task: TaskMessage, config: LabelConfig) -> str:
    """Where a task's image is; of several pages the first. Raises ImageError if the task's data does not say."""
    address = task.data.get(config.image_field)
    if isinstance(address, list) and address:
        address = address[0]
    if not isinstance(address, str) or not address:
        raise ImageError("image_missing", f"task {task.id} has no image in data.{config.image_field}")
    return address
