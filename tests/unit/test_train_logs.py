"""What `train.log_to` adds to DVCLive's files."""

import sys
import types
from contextlib import contextmanager

import pytest

from pipeline.progress import Silent
from pipeline.train import train
from pipeline.training.logs import TENSORBOARD_DIR
from schemas.errors import ParamsError
from tests.unit.drawn_project import draw_project, drawn_params


def test_tensorboard_gets_every_metric_of_every_epoch(tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    draw_project(tmp_path, {"train": 2, "val": 1})
    train(drawn_params(epochs=3, validate_every=2, log_to=["tensorboard"]), tmp_path, Silent())
    (run,) = (tmp_path / TENSORBOARD_DIR).iterdir()
    events = accumulator.EventAccumulator(str(run)).Reload()
    steps = {name: [event.step for event in events.Scalars(name)] for name in events.Tags()["scalars"]}
    assert steps == {"train/loss": [0, 1, 2], "learning_rate": [0, 1, 2], "val/miou": [1, 2]}


def test_mlflow_gets_parameters_and_metrics(tmp_path, monkeypatch):
    found = {"metrics": []}

    @contextmanager
    def start_run(run_name):
        found["run"] = run_name
        yield

    fake = types.ModuleType("mlflow")
    fake.set_experiment = lambda name: found.update(experiment=name)
    fake.start_run = start_run
    fake.log_params = lambda params: found.update(params=params)
    fake.log_metrics = lambda metrics, step: found["metrics"].append((step, set(metrics)))
    monkeypatch.setitem(sys.modules, "mlflow", fake)
    draw_project(tmp_path, {"train": 2, "val": 1})
    train(drawn_params(epochs=2, log_to=["mlflow"]), tmp_path, Silent())
    assert found["experiment"] == "maskloop"
    assert found["params"]["epochs"] == "2"
    assert found["metrics"] == [(0, {"train/loss", "learning_rate"}), (1, {"train/loss", "learning_rate", "val/miou"})]


@pytest.mark.parametrize("name", ["tensorboard", "mlflow"])
def test_what_is_not_installed_is_said_before_any_training(tmp_path, monkeypatch, name):
    for module in [each for each in sys.modules if each.startswith("torch.utils.tensorboard")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, name, None)
    draw_project(tmp_path, {"train": 2, "val": 1})
    with pytest.raises(ParamsError, match=f"train.log_to names {name}, which is not installed") as caught:
        train(drawn_params(log_to=[name]), tmp_path, Silent())
    assert f"pip install 'maskloop[{name}]'" in caught.value.remedy
