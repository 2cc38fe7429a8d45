"""Where a run's metrics go, epoch by epoch: DVCLive's files, and TensorBoard and MLflow if `train.log_to` says so."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from dvclive.live import Live

from schemas.errors import ParamsError
from schemas.manifest import SCRATCH_DIR, TRAIN_REPORT_DIR
from schemas.params import TrainParams

TENSORBOARD_DIR = SCRATCH_DIR / "tensorboard"
MLFLOW_EXPERIMENT = "maskloop"

Metrics = Mapping[str, float]
Log = Callable[[Metrics], None]


class LocalLive(Live):
    """DVCLive that only writes files: it looks for no repository, so it never starts one (`dvc init`) either."""

    def _init_dvc(self) -> None:
        pass


@contextmanager
def opened(options: TrainParams, folder: Path, key: str) -> Iterator[Log]:
    """What takes the metrics of one epoch after the other, from the run's first; `key`: its name.

    Raises ParamsError if something in `train.log_to` is not installed or refuses.
    """
    with ExitStack() as stack:
        logs = [stack.enter_context(_dvclive(folder))]
        logs += [stack.enter_context(LOGS[name](options, folder, key)) for name in options.log_to]

        def log(metrics: Metrics) -> None:
            for each in logs:
                each(metrics)

        yield log


@contextmanager
def _dvclive(folder: Path) -> Iterator[Log]:
    with LocalLive(str(folder / TRAIN_REPORT_DIR), save_dvc_exp=False, dvcyaml=None) as live:

        def log(metrics: Metrics) -> None:
            for name, value in metrics.items():
                live.log_metric(name, value)
            live.next_step()

        yield log


@contextmanager
def _tensorboard(options: TrainParams, folder: Path, key: str) -> Iterator[Log]:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise _absent("tensorboard") from None
    run = folder / TENSORBOARD_DIR / key
    shutil.rmtree(run, ignore_errors=True)
    with SummaryWriter(str(run)) as writer:
        writer.add_text("train", _table(options))
        epochs = iter(range(options.epochs))

        def log(metrics: Metrics) -> None:
            step = next(epochs)
            for name, value in metrics.items():
                writer.add_scalar(name, value, step)

        yield log


@contextmanager
def _mlflow(options: TrainParams, folder: Path, key: str) -> Iterator[Log]:
    try:
        import mlflow
    except ImportError:
        raise _absent("mlflow") from None
    try:
        mlflow.set_experiment(MLFLOW_EXPERIMENT)
        with mlflow.start_run(run_name=key):
            mlflow.log_params({name: str(value) for name, value in options.model_dump(mode="json").items()})
            epochs = iter(range(options.epochs))

            def log(metrics: Metrics) -> None:
                mlflow.log_metrics(dict(metrics), step=next(epochs))

            yield log
    except mlflow.MlflowException as error:
        raise ParamsError(
            f"mlflow at {mlflow.get_tracking_uri()} refuses: {error}",
            "Set MLFLOW_TRACKING_URI to a server that answers, or take mlflow out of `train.log_to`: the run goes on.",
        ) from None


LOGS: dict[str, Callable[[TrainParams, Path, str], Any]] = {"tensorboard": _tensorboard, "mlflow": _mlflow}


def _absent(package: str) -> ParamsError:
    return ParamsError(
        f"train.log_to names {package}, which is not installed",
        f"Install it with `pip install 'maskloop[{package}]'`, or take it out of `train.log_to`.",
    )


def _table(options: TrainParams) -> str:
    rows = [f"| {name} | {value} |" for name, value in options.model_dump(mode="json").items()]
    return "\n".join(["| parameter | value |", "|---|---|", *rows])
