"""The training loop: every epoch, every batch, a validation now and then, and the state kept on the way."""

from __future__ import annotations

import math
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pipeline.dataset import Pairs, Sample, TrainingBatches
from pipeline.inference import Network, measure
from pipeline.metrics import scores
from pipeline.progress import Progress
from pipeline.schedule import learning_rate
from pipeline.training.logs import Log
from pipeline.training.standing import Standing
from pipeline.training.state import StateFile, TrainState
from pipeline.training.step import Learner
from pipeline.training.team import Team
from schemas.errors import ParamsError
from schemas.params import TrainParams

RECENT = 50


@dataclass(frozen=True, slots=True)
class Run:
    """What a run works with. `log` takes an epoch's metrics; `val_pairs` are the samples of `val`, decoded."""

    options: TrainParams
    network: Network
    batches: TrainingBatches
    val: list[Sample]
    val_pairs: Pairs
    team: Team
    state_file: StateFile
    log: Log
    progress: Progress


def fit(run: Run, learner: Learner, state: TrainState) -> None:
    """Train from `state`, which is kept up to date and saved on the way, to the last epoch or until patience ends.

    Raises ParamsError if the loss is no longer finite.
    """
    options, steps = run.options, run.batches.steps
    if state.has_begun:
        resume(run, learner, state)
    mean_iu = next((each["val/miou"] for each in reversed(state.history) if "val/miou" in each), None)
    first_step = state.epoch * steps + state.step
    standing = Standing(options.epochs, steps, options.batch_size, first_step, mean_iu)
    for epoch in range(state.epoch, options.epochs):
        if options.patience and state.stale >= options.patience:
            run.progress.say(f"{state.stale} validations without a better one than after epoch {state.best_epoch}")
            break
        learner.model.train()
        losses = Losses(state, epoch)
        remaining = run.batches.epoch(epoch, state.step)
        for images, masks in run.progress.track(remaining, steps - state.step, standing.now):
            step = epoch * steps + state.step
            losses.add(*learner.learn(images, masks, step))
            state.step += 1
            standing.learned(step, losses.recent)
            if state.step < steps and run.state_file.is_due(is_epoch_end=False):
                losses.read()
                save(run, learner, state)
        losses.read()
        metrics = {"train/loss": losses.mean, "learning_rate": learning_rate(options, step, options.epochs * steps)}
        state.epoch, state.step, state.losses = epoch + 1, 0, []

        is_last = state.epoch == options.epochs
        if state.epoch % options.validate_every == 0 or is_last:
            with learner.ema.applied(learner.model) if learner.ema else nullcontext():
                metrics["val/miou"] = validate(run)
                if metrics["val/miou"] > state.best_mean_iu:
                    state.best_mean_iu, state.best_epoch = metrics["val/miou"], state.epoch
                    state.best_weights = {name: each.cpu().clone() for name, each in learner.model.state_dict().items()}
        state.history.append(metrics)
        if is_last or run.state_file.is_due(is_epoch_end=True):
            save(run, learner, state)
        run.log(metrics)
        run.progress.say(standing.after(state.epoch, metrics))


class Losses:
    """The losses of an epoch's batches, read from a GPU one batch late, so that it always has the next one to do."""

    def __init__(self, state: TrainState, epoch: int) -> None:
        self._state, self._epoch, self._unread = state, epoch, list[tuple[Tensor, Tensor]]()

    @property
    def mean(self) -> float:
        """The mean of those read."""
        return float(np.mean(self._state.losses))

    @property
    def recent(self) -> float:
        """The mean of the last few that are read; 0 before the first."""
        few = self._state.losses[-RECENT:]
        return sum(few) / max(len(few), 1)

    def add(self, loss: Tensor, weight: Tensor) -> None:
        """Take a batch's loss and the weight of its labelled pixels, scalars, and read those of the one before."""
        self.read()
        self._unread.append((loss, weight))
        if loss.device.type == "cpu":
            self.read()

    def read(self) -> None:
        """Read what is left. Raises ParamsError if it isn't finite."""
        while self._unread:
            loss, weight = (each.item() for each in self._unread.pop())
            if not math.isfinite(loss):
                where = f"epoch {self._epoch + 1}, batch {len(self._state.losses) + 1}"
                raise ParamsError(
                    f"the loss is no longer finite in {where}",
                    "Lower `train.learning_rate`, or set `train.clip_norm: 1.0`.",
                )
            self._state.losses.append(loss)
            self._state.unlabelled += weight == 0


def resume(run: Run, learner: Learner, state: TrainState) -> None:
    """Bring network, optimiser and logs to where `state` is."""
    batch = f", batch {state.step} of the next" if state.step else ""
    run.progress.say(f"going on after epoch {state.epoch}{batch}, where the last run stopped")
    learner.model.load_state_dict(state.model)
    learner.optimiser.load_state_dict(state.optimiser)
    learner.scaler.load_state_dict(state.scaler)
    if learner.ema:
        learner.ema.load(state.ema)
    for metrics in state.history:
        run.log(metrics)


def save(run: Run, learner: Learner, state: TrainState) -> None:
    """Write the state, if this process leads."""
    state.model, state.optimiser = learner.model.state_dict(), learner.optimiser.state_dict()
    state.scaler, state.ema = learner.scaler.state_dict(), learner.ema.weights if learner.ema else {}
    if run.team.leads:
        run.state_file.save(state)


def validate(run: Run) -> float:
    """Mean IU, 0..1, over all pixels of the val masks at full size; each process predicts some of them."""
    run.team.align(run.network.model)
    mine = range(run.team.rank, len(run.val), run.team.size)
    images = (run.val_pairs[index][0] for index in mine)
    classes = len(run.val[0].class_pixels)
    confusion = np.zeros((classes, classes), np.int64)
    for _, _, counts in measure(run.network, [run.val[index] for index in mine], run.options.batch_size, images):
        confusion += counts
    total = run.team.total(torch.from_numpy(confusion).to(run.network.compute.device))
    return scores(total.cpu().numpy()).mean_iu
