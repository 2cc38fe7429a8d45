"""Stage `train`: fit a network to the train split and keep the weights that do best on the val split.

Every epoch's state is saved, and all randomness is a pure function of seed and epoch, so a killed run goes on exactly.
"""

from __future__ import annotations

import copy
import hashlib
import json
import math
import pickle
import shutil
import time
from contextlib import nullcontext
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from dvclive.live import Live
from torch import Tensor
from torch.optim import AdamW, Optimizer

from connectors.storage import replacing
from pipeline import checkpoint
from pipeline.dataset import (
    MEAN,
    STD,
    Pairs,
    Sample,
    TrainingBatches,
    digest,
    normalise,
    read_samples,
    require,
)
from pipeline.ema import Ema
from pipeline.inference import Compute, Network, measure
from pipeline.losses import Criterion
from pipeline.losses.class_weights import class_weights
from pipeline.metrics import scores
from pipeline.models.initial import initial_model
from pipeline.progress import Progress
from pipeline.sample_cache import decoded
from pipeline.schedule import learning_rate
from schemas.errors import ParamsError
from schemas.manifest import CHALLENGER_DIR, SCRATCH_DIR, TRAIN_REPORT_DIR
from schemas.params import Params, TrainParams

STATES_DIR = SCRATCH_DIR / "train"


@dataclass(slots=True)
class TrainState:
    """What a run has reached after `epoch` epochs, in types that `torch.load(weights_only=True)` accepts.

    `best_weights` had the mean IU `best_mean_iu` on val after `best_epoch`. `history`: per epoch, the logged metrics.
    """

    epoch: int = 0
    best_epoch: int = 0
    best_mean_iu: float = -1.0
    model: dict[str, Tensor] = field(default_factory=dict)
    optimiser: dict[str, Any] = field(default_factory=dict)
    best_weights: dict[str, Tensor] = field(default_factory=dict)
    ema: dict[str, Tensor] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)


class LocalLive(Live):
    """DVCLive that only writes files: it looks for no repository, so it never starts one (`dvc init`) either."""

    def _init_dvc(self) -> None:
        pass


def train(params: Params, folder: Path, progress: Progress) -> str:
    """Train, and write `models/challenger/` and `reports/train/`.

    Raises DataError if train or val lacks labelled samples, ParamsError for training parameters that can't be.
    """
    options, class_map = params.train, params.class_map
    samples = read_samples(folder, len(params.classes))
    require(samples, ("train", "val"))
    weights = class_weights(samples["train"], options.class_weights)
    absent = [name for name, weight in zip(class_map.names, weights, strict=True) if weight == 0]
    if absent:
        progress.say(f"without a pixel in the train split, so the model can't learn them: {', '.join(absent)}")

    compute = Compute.choose(options)
    torch.manual_seed(options.seed)
    model = initial_model(options, class_map, folder, progress)
    network = Network(compute.place(model), options.size_hw, MEAN, STD, compute)
    criterion = Criterion(options.loss, weights.to(compute.device), options.ohem, model.auxiliary_weight)
    parts = [samples["train"], samples["val"]]
    train_pairs, val_pairs = decoded(folder, parts, options.size_hw, options.cache_gb, progress)
    batches = TrainingBatches(train_pairs, options, compute.workers(options), compute.device.type == "cuda")

    data_sha256 = digest(samples)
    state_path = folder / STATES_DIR / run_key(options, data_sha256, class_map.digest()) / "last.pt"
    state = load_state(state_path, progress)
    with LocalLive(str(folder / TRAIN_REPORT_DIR), save_dvc_exp=False, dvcyaml=None) as live:
        fit(options, network, batches, samples["val"], val_pairs, criterion, state, state_path, live, progress)

    card = checkpoint.ModelCard(
        architecture=options.architecture,
        architecture_options=options.architecture_options,
        classes=class_map.names,
        class_map_digest=class_map.digest(),
        size_hw=options.size_hw,
        mean=MEAN,
        std=STD,
        data_sha256=data_sha256,
        seed=options.seed,
        epoch=state.best_epoch,
        val_mean_iu=state.best_mean_iu,
    )
    card = checkpoint.save(folder / CHALLENGER_DIR, state.best_weights, card)
    shutil.rmtree(folder / STATES_DIR)
    return f"{card.model_version}: mean IU {state.best_mean_iu:.3f} on val, after epoch {state.best_epoch}"


def fit(
    options: TrainParams,
    network: Network,
    batches: TrainingBatches,
    val: list[Sample],
    val_pairs: Pairs,
    criterion: Criterion,
    state: TrainState,
    state_path: Path,
    live: Live,
    progress: Progress,
) -> None:
    """Train from `state` to the last epoch, saving the state after each."""
    model = network.model
    optimiser = AdamW(model.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay)
    ema = Ema(model, options.ema) if options.ema else None
    if state.epoch:
        progress.say(f"going on after epoch {state.epoch}, where the last run stopped")
        model.load_state_dict(state.model)
        optimiser.load_state_dict(state.optimiser)
        if ema:
            ema.load(state.ema)
    for metrics in state.history:
        log(live, metrics)
    started, first_epoch = time.monotonic(), state.epoch
    for epoch in range(state.epoch, options.epochs):
        epoch_started = time.monotonic()
        metrics = train_epoch(options, network, batches, criterion, optimiser, ema, epoch)
        if not math.isfinite(metrics["train/loss"]):
            raise ParamsError(f"the loss is no longer finite in epoch {epoch + 1}", "Lower `train.learning_rate`.")
        images_per_s = batches.steps * options.batch_size / (time.monotonic() - epoch_started)

        state.epoch = epoch + 1
        if state.epoch % options.validate_every == 0 or state.epoch == options.epochs:
            with ema.applied(model) if ema else nullcontext():
                metrics["val/miou"] = validate(network, val, val_pairs, options.batch_size)
                if metrics["val/miou"] > state.best_mean_iu:
                    state.best_mean_iu, state.best_epoch = metrics["val/miou"], state.epoch
                    state.best_weights = copy.deepcopy(model.state_dict())
        state.history.append(metrics)
        state.model, state.optimiser = model.state_dict(), optimiser.state_dict()
        state.ema = ema.weights if ema else {}
        save_state(state_path, state)
        log(live, metrics)

        epoch_s = (time.monotonic() - started) / (state.epoch - first_epoch)
        minutes, seconds = divmod(round(epoch_s * (options.epochs - state.epoch)), 60)
        miou = f", val mIoU {metrics['val/miou']:.3f}" if "val/miou" in metrics else ""
        progress.say(
            f"epoch {state.epoch}/{options.epochs}: loss {metrics['train/loss']:.3f}{miou}, "
            f"{images_per_s:.0f} images/s, {minutes} min {seconds:02} s left"
        )


def train_epoch(
    options: TrainParams,
    network: Network,
    batches: TrainingBatches,
    criterion: Criterion,
    optimiser: Optimizer,
    ema: Ema | None,
    epoch: int,
) -> dict[str, float]:
    """One pass over the train split. Returns its mean loss and its last learning rate, by DVCLive's names."""
    model, compute = network.model.train(), network.compute
    torch.manual_seed(int(np.random.SeedSequence([options.seed, epoch]).generate_state(1)[0]))
    losses = []
    for step, (images, masks) in enumerate(batches.epoch(epoch), start=epoch * batches.steps):
        rate = learning_rate(options, step, options.epochs * batches.steps)
        for group in optimiser.param_groups:
            group["lr"] = rate
        with compute.autocast():
            heads = model.heads(normalise(images.to(compute.device, non_blocking=True), network.mean, network.std))
        loss = criterion(heads, masks.to(compute.device, non_blocking=True))
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        if ema:
            ema.update(model, step)
        losses.append(loss.item())
    return {"train/loss": float(np.mean(losses)), "learning_rate": rate}


def validate(network: Network, val: list[Sample], pairs: Pairs, batch_size: int) -> float:
    """Mean IU, 0..1, over all pixels of the val masks at full size."""
    images = (pairs[index][0] for index in range(len(val)))
    confusions = np.stack([confusion for _, _, confusion in measure(network, val, batch_size, images)])
    return scores(confusions.sum(axis=0)).mean_iu


def log(live: Live, metrics: dict[str, float]) -> None:
    """Write one epoch's metrics to `reports/train/`."""
    for name, value in metrics.items():
        live.log_metric(name, value)
    live.next_step()  # type: ignore[no-untyped-call]


def run_key(options: TrainParams, data_sha256: str, class_map_digest: str) -> str:
    """Name of a run's state: the same parameters, data and classes give the same run."""
    text = json.dumps([options.model_dump(mode="json"), data_sha256, class_map_digest], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def save_state(path: Path, state: TrainState) -> None:
    """Write a run's state atomically."""
    with replacing(path) as temporary:
        torch.save({each.name: getattr(state, each.name) for each in fields(state)}, temporary)


def load_state(path: Path, progress: Progress) -> TrainState:
    """Read a run's state; a fresh one if there is none, or if it is damaged, which is said."""
    if not path.is_file():
        return TrainState()
    try:
        return TrainState(**torch.load(path, map_location="cpu", weights_only=True))
    except (RuntimeError, pickle.UnpicklingError, EOFError, TypeError):
        progress.say(f"{path} can't be read, so training starts anew")
        return TrainState()
