"""What a run has reached, on disk: a killed run goes on from there to the same weights."""

from __future__ import annotations

import hashlib
import json
import pickle
import time
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from connectors.storage import replacing
from pipeline.progress import Progress
from schemas.manifest import SCRATCH_DIR
from schemas.params import TrainParams

STATES_DIR = SCRATCH_DIR / "train"
WITHOUT_EFFECT = {"workers", "cache_gb", "save_every_s", "log_to"}
"""Parameters that change no weight, so that a run goes on with other ones."""
WAIT_PER_SAVE_S = 20.0
CHEAP_SAVE_S = 1.0


@dataclass(slots=True)
class TrainState:
    """What a run has reached after `epoch` whole epochs and `step` batches of the next, in types that
    `torch.load(weights_only=True)` accepts.

    `best_weights` had the mean IU `best_mean_iu` on val after `best_epoch`. `losses`: of the batches since the last
    whole epoch. `unlabelled`: batches so far without a labelled pixel. `history`: per epoch, the logged metrics.
    """

    epoch: int = 0
    step: int = 0
    best_epoch: int = 0
    best_mean_iu: float = -1.0
    unlabelled: int = 0
    model: dict[str, Tensor] = field(default_factory=dict)
    optimiser: dict[str, Any] = field(default_factory=dict)
    scaler: dict[str, Any] = field(default_factory=dict)
    best_weights: dict[str, Tensor] = field(default_factory=dict)
    ema: dict[str, Tensor] = field(default_factory=dict)
    losses: list[float] = field(default_factory=list)
    history: list[dict[str, float]] = field(default_factory=list)

    @property
    def stale(self) -> int:
        """Validations since the best one."""
        return sum("val/miou" in metrics for metrics in self.history[self.best_epoch :])

    @property
    def has_begun(self) -> bool:
        """Whether it is the state of a run that was interrupted."""
        return self.epoch > 0 or self.step > 0


class StateFile:
    """Where a run's state is kept. Saving takes at most about a twentieth of the time, unless it is quick."""

    def __init__(self, path: Path, every_s: float) -> None:
        """`every_s`: seconds after which the state is saved within an epoch, too."""
        self._path, self._every_s = path, every_s
        self._saved, self._cost_s = time.monotonic(), 0.0

    def is_due(self, is_epoch_end: bool) -> bool:
        """Whether it is time to save."""
        rest_s = self._cost_s * WAIT_PER_SAVE_S if self._cost_s > CHEAP_SAVE_S else 0.0
        return time.monotonic() - self._saved >= (rest_s if is_epoch_end else max(rest_s, self._every_s))

    def save(self, state: TrainState) -> None:
        """Write the state atomically."""
        started = time.monotonic()
        with replacing(self._path) as temporary:
            torch.save({each.name: getattr(state, each.name) for each in fields(state)}, temporary)
        self._saved = time.monotonic()
        self._cost_s = self._saved - started

    def load(self, progress: Progress) -> TrainState:
        """The state, on the CPU; a fresh one if there is none, or if it is damaged, which is said."""
        if not self._path.is_file():
            return TrainState()
        try:
            return TrainState(**torch.load(self._path, map_location="cpu", weights_only=True))
        except (RuntimeError, pickle.UnpicklingError, EOFError, TypeError):
            progress.say(f"{self._path} can't be read, so training starts anew")
            return TrainState()


def run_key(options: TrainParams, data_sha256: str, class_map_digest: str, processes: int) -> str:
    """Name of a run: the same parameters, data, classes and number of processes give the same one."""
    effective = options.model_dump(mode="json", exclude=WITHOUT_EFFECT)
    text = json.dumps([effective, data_sha256, class_map_digest, processes], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
