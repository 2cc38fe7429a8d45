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


@pytest.fixture
def found(monkeypatch):
    """What a stand-in for mlflow is told."""
    found = {"metrics": []}

    @contextmanager
    def start_run(run_name):
        found["run"] = run_name
        yield

    fake = types.ModuleType("mlflow")
    fake.MlflowException = type("MlflowException", (Exception,), {})
    fake.get_tracking_uri = lambda: "http://127.0.0.1:1"
    fake.set_experiment = lambda name: found.update(experiment=name)
    fake.start_run = start_run
    fake.log_params = lambda params: found.update(params=params)
    fake.log_metrics = lambda metrics, step: found["metrics"].append((step, set(metrics)))
    monkeypatch.setitem(sys.modules, "mlflow", fake)
    return found


def test_mlflow_gets_parameters_and_metrics(tmp_path, found):
    draw_project(tmp_path, {"train": 2, "val": 1})
    train(drawn_params(epochs=2, log_to=["mlflow"]), tmp_path, Silent())
    assert found["experiment"] == "maskloop"
    assert found["params"]["epochs"] == "2"
    assert found["metrics"] == [(0, {"train/loss", "learning_rate"}), (1, {"train/loss", "learning_rate", "val/miou"})]


@pytest.mark.usefixtures("found")
def test_a_server_that_refuses_is_said_and_the_run_goes_on_later(tmp_path, monkeypatch):
    mlflow = sys.modules["mlflow"]

    def refuse(metrics, step):
        raise mlflow.MlflowException("no answer")

    draw_project(tmp_path, {"train": 2, "val": 1})
    with monkeypatch.context() as patch:
        patch.setattr(mlflow, "log_metrics", refuse)
        with pytest.raises(ParamsError, match=r"mlflow at http://127.0.0.1:1 refuses: no answer") as caught:
            train(drawn_params(log_to=["mlflow"]), tmp_path, Silent())
    assert "MLFLOW_TRACKING_URI" in caught.value.remedy
    said = []
    progress = Silent()
    progress.say = said.append
    train(drawn_params(), tmp_path, progress)
    assert said[1] == "going on after epoch 1, where the last run stopped"


@pytest.mark.parametrize("name", ["tensorboard", "mlflow"])
def test_what_is_not_installed_is_said_before_any_training(tmp_path, monkeypatch, name):
    for module in [each for each in sys.modules if each.startswith("torch.utils.tensorboard")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, name, None)
    draw_project(tmp_path, {"train": 2, "val": 1})
    with pytest.raises(ParamsError, match=f"train.log_to names {name}, which is not installed") as caught:
        train(drawn_params(log_to=[name]), tmp_path, Silent())
    assert f"pip install 'maskloop[{name}]'" in caught.value.remedy
