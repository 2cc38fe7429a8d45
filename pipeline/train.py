"""Stage `train`: fit a network to the train split and keep the weights that do best on the val split.

Every epoch's state is saved, and all randomness is a pure function of seed and epoch, so a killed run goes on exactly.
"""

from __future__ import annotations

import copy
import hashlib
import json
import pickle
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from dvclive import Live
from numpy.typing import NDArray
from torch import Tensor

from connectors.storage import replacing
from pipeline import checkpoint
from pipeline.dataset import (
    MEAN,
    STD,
    Sample,
    TrainingBatches,
    digest,
    load_images,
    load_masks,
    normalise,
    read_samples,
    require,
)
from pipeline.inference import Compute, Network, measure
from pipeline.metrics import scores
from pipeline.models import Segmenter, build
from pipeline.progress import Progress
from schemas.errors import DataError
from schemas.labels import VOID_INDEX
from schemas.manifest import CHALLENGER_DIR, SCRATCH_DIR, TRAIN_REPORT_DIR
from schemas.params import Params, TrainParams

STATES_DIR = SCRATCH_DIR / "train"


@dataclass(slots=True)
class TrainState:
    """All that a run has reached after `epoch` epochs, in types that `torch.load(weights_only=True)` accepts.

    `best_weights` had `best_mean_iu` on val after `best_epoch`. `history`: one dict of DVCLive metrics per epoch.
    """

    epoch: int = 0
    best_epoch: int = 0
    best_mean_iu: float = -1.0
    model: dict[str, Tensor] = field(default_factory=dict)
    optimiser: dict[str, Any] = field(default_factory=dict)
    best_weights: dict[str, Tensor] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)


def train(params: Params, folder: Path, progress: Progress) -> str:
    """Train, and write `models/challenger/` and `reports/train/`.

    Raises DataError if train or val lacks labelled samples, ParamsError for impossible training parameters.
    """
    options, class_map = params.train, params.class_map
    samples = read_samples(folder)
    require(samples, ("train", "val"))
    weights = class_weights([sample for sample in samples["train"]], options.class_weights)
    absent = [name for name, weight in zip(class_map.names, weights, strict=True) if weight == 0]
    if absent:
        progress.say(f"no pixel in the train split, so the model can't learn: {', '.join(absent)}")

    compute = Compute.choose(options)
    torch.manual_seed(options.seed)
    model = build(options.architecture, len(class_map), options.architecture_options)
    model = model.to(compute.device, memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(model.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay)
    network = Network(model, options.size_hw, MEAN, STD, compute)
    images = load_images(samples["train"], options.size_hw, progress, "train")
    batches = TrainingBatches(images, load_masks(samples["train"], options.size_hw), options)
    val_images = load_images(samples["val"], options.size_hw, progress, "val")
    weights = weights.to(compute.device)

    data_sha256 = digest(samples)
    state_path = folder / STATES_DIR / run_key(options, data_sha256, class_map.digest()) / "last.pt"
    state = load_state(state_path)
    if state.epoch:
        progress.say(f"going on after epoch {state.epoch}, where the last run was interrupted")
        model.load_state_dict(state.model)
        optimiser.load_state_dict(state.optimiser)

    with Live(str(folder / TRAIN_REPORT_DIR), report=None, save_dvc_exp=False, dvcyaml=None) as live:
        for metrics in state.history:
            log(live, metrics)
        started, first_epoch = time.monotonic(), state.epoch
        for epoch in range(state.epoch, options.epochs):
            torch.manual_seed(epoch_seed(options.seed, epoch))
            epoch_started = time.monotonic()
            losses = []
            for step, (batch, masks) in enumerate(batches.epoch(epoch), start=epoch * batches.steps):
                rate = poly(options, step / (options.epochs * batches.steps))
                for group in optimiser.param_groups:
                    group["lr"] = rate
                with compute.autocast():
                    heads = model.train().heads(normalise(batch.to(compute.device), MEAN, STD))
                loss = segmentation_loss(heads, masks.to(compute.device), weights, model.auxiliary_weight)
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                losses.append(loss.item())
            images_per_s = batches.steps * options.batch_size / (time.monotonic() - epoch_started)

            metrics = {"train/loss": float(np.mean(losses)), "learning_rate": rate}
            state.epoch = epoch + 1
            if state.epoch % options.validate_every == 0 or state.epoch == options.epochs:
                metrics["val/miou"] = validate(network, samples["val"], val_images, options.batch_size)
                if metrics["val/miou"] > state.best_mean_iu:
                    state.best_mean_iu, state.best_epoch = metrics["val/miou"], state.epoch
                    state.best_weights = copy.deepcopy(model.state_dict())
            state.history.append(metrics)
            state.model, state.optimiser = model.state_dict(), optimiser.state_dict()
            save_state(state_path, state)
            log(live, metrics)
            left_s = (time.monotonic() - started) / (state.epoch - first_epoch) * (options.epochs - state.epoch)
            progress.say(epoch_line(state, options.epochs, images_per_s, left_s))

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
    return f"{card.model_version}: mean IU {state.best_mean_iu:.3f} on val after {state.best_epoch} epochs"
