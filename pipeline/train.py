"""Stage `train`: fit a network to the train split and keep the weights that do best on the val split.

A run's state is saved on the way, and all randomness is a pure function of seed and step, so a killed run goes on
exactly. Under torchrun several processes share it, see `pipeline.training.team`.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from pipeline import checkpoint
from pipeline.auto import configured
from pipeline.dataset import MEAN, STD, Sample, TrainingBatches, digest, read_samples, require
from pipeline.inference import Compute, Network
from pipeline.losses import Criterion
from pipeline.losses.class_weights import class_weights
from pipeline.models.initial import initial_model
from pipeline.progress import Progress, Silent
from pipeline.sample_cache import decoded
from pipeline.training import logs
from pipeline.training.failures import explained
from pipeline.training.loop import Run, fit
from pipeline.training.state import STATES_DIR, StateFile, TrainState, run_key
from pipeline.training.step import Learner
from pipeline.training.team import Team, assembled
from schemas.errors import DataError
from schemas.labels import ClassMap
from schemas.manifest import CHALLENGER_DIR, SCRATCH_DIR
from schemas.params import Params, TrainParams

BEST_DIR = SCRATCH_DIR / "best"
"""Where the best weights of a run that failed are kept, as a model folder."""


def train(params: Params, folder: Path, progress: Progress) -> str:
    """Train, and write `models/challenger/` and `reports/train/`. Under torchrun, returns "" where it doesn't lead.

    Raises DataError if train or val lacks labelled samples, ParamsError for training parameters that can't be.
    """
    with assembled(Compute.choose(params.train).device.type == "cuda") as team:
        return train_in(team, params, folder, progress if team.leads else Silent())


def train_in(team: Team, params: Params, folder: Path, progress: Progress) -> str:
    """`train` as one of the processes of `team`."""
    class_map, compute = params.class_map, Compute.choose(params.train)
    samples = read_samples(folder, len(class_map))
    require(samples, ("train", "val"))
    options = params.train
    if options.auto:
        if team.leads:
            options = configured(options, samples["train"], compute, folder, progress)
        options = team.from_leader(options)
    weights = class_weights(samples["train"], options.class_weights)
    absent = [name for name, weight in zip(class_map.names, weights, strict=True) if weight == 0]
    warn(samples["train"], options, absent, progress)

    torch.manual_seed(options.seed)
    model = initial_model(options, class_map, folder, progress)
    network = Network(compute.place(model), options.size_hw, MEAN, STD, compute)
    criterion = Criterion(options.loss, weights.to(compute.device), options.ohem, model.auxiliary_weight)
    with team.one_by_machine():
        parts = [samples["train"], samples["val"]]
        train_pairs, val_pairs = decoded(folder, parts, options.size_hw, options.cache_gb, progress)
    is_cuda = compute.device.type == "cuda"
    batches = TrainingBatches(train_pairs, options, compute.workers(options), is_cuda, team.rank, team.size)

    data_sha256 = digest(samples)
    key = run_key(options, data_sha256, class_map.digest(), team.size)
    state_file = StateFile(folder / STATES_DIR / key / "last.pt", options.save_every_s)
    state = team.from_leader(state_file.load(progress) if team.leads else TrainState())

    def save_best(where: Path) -> str:
        return checkpoint.save(
            folder / where, state.best_weights, model_card(options, class_map, data_sha256, state)
        ).model_version

    def keep_best() -> str:
        if not (state.best_weights and team.leads):
            return ""
        version = save_best(BEST_DIR)
        return f"The best weights, {version} after epoch {state.best_epoch}, are kept: `train.start_from: {BEST_DIR}`."

    with logging(team, options, folder, key) as log, explained(options, compute.device, team.size, keep_best):
        learner = Learner(options, network, criterion, team, options.epochs * batches.steps)
        fit(Run(options, network, batches, samples["val"], val_pairs, team, state_file, log, progress), learner, state)
    if not team.leads:
        return ""
    if state.unlabelled:
        progress.say(
            f"{state.unlabelled} batches showed no labelled pixel, and taught nothing: a larger `train.crop_hw` or "
            "`train.batch_size` sees more"
        )
    if not state.best_weights:
        raise DataError("no pixel of the val split could be measured", "Annotate more images.")
    version = save_best(CHALLENGER_DIR)
    shutil.rmtree(folder / STATES_DIR)
    return f"{version}: mean IU {state.best_mean_iu:.3f} on val, after epoch {state.best_epoch}"


def model_card(options: TrainParams, class_map: ClassMap, data_sha256: str, state: TrainState) -> checkpoint.ModelCard:
    """The card of the best weights."""
    return checkpoint.ModelCard(
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


def warn(train: list[Sample], options: TrainParams, absent: list[str], progress: Progress) -> None:
    """Say what won't go well: classes that can't be learned, and fewer samples than a batch."""
    if absent:
        progress.say(f"without a pixel in the train split, so the model can't learn them: {', '.join(absent)}")
    if len(train) < options.batch_size:
        progress.say(
            f"{len(train)} samples in the train split, fewer than a batch ({options.batch_size}), which shows some "
            "more than once: lower `train.batch_size` or annotate more images"
        )


@contextmanager
def logging(team: Team, options: TrainParams, folder: Path, key: str) -> Iterator[logs.Log]:
    """Where metrics go, from the process that leads; the others' go nowhere."""
    if not team.leads:
        yield lambda metrics: None
        return
    with logs.opened(options, folder, key) as log:
        yield log
