"""The train stage on drawn data: it learns, repeats itself, resumes exactly, and says what is missing."""

import csv
import json
import pickle

import pytest

from connectors.storage import read_json
from pipeline import checkpoint
from pipeline.progress import Silent
from pipeline.train import train
from schemas.errors import DataError, ParamsError
from schemas.manifest import CHALLENGER_DIR, IMAGES_DIR, SCRATCH_DIR, TRAIN_REPORT_DIR
from tests.unit.drawn_project import CLASSES, draw_project, drawn_params


class Said(Silent):
    """Keeps what is said; raises KeyboardInterrupt when it hears `stop_at`."""

    def __init__(self, stop_at: str = "\0"):
        self.lines: list[str] = []
        self.stop_at = stop_at

    def say(self, text: str) -> None:
        self.lines.append(text)
        if text.startswith(self.stop_at):
            raise KeyboardInterrupt


def weights_of(folder):
    return read_json(folder / CHALLENGER_DIR / "model.json")["model_version"]


def test_it_learns_and_reports(tmp_path):
    draw_project(tmp_path, {"train": 6, "val": 2})
    said = Said()
    summary = train(drawn_params(epochs=12, learning_rate=0.02, augment=[]), tmp_path, said)
    card = checkpoint.read_card(tmp_path / CHALLENGER_DIR)
    assert card.val_mean_iu > 0.8
    assert card.classes == CLASSES
    assert card.model_version in summary
    assert "never" in said.lines[0]
    assert sum(line.startswith("epoch ") for line in said.lines) == 12
    assert not (tmp_path / SCRATCH_DIR / "train").exists()
    metrics = read_json(tmp_path / TRAIN_REPORT_DIR / "metrics.json")
    assert {"train", "val", "learning_rate"} <= set(metrics)
    with (tmp_path / TRAIN_REPORT_DIR / "plots/metrics/val/miou.tsv").open() as stream:
        rows = list(csv.DictReader(stream, delimiter="\t"))
    assert [int(row["step"]) for row in rows] == [1, 3, 5, 7, 9, 11]
    assert max(float(row["miou"]) for row in rows) == card.val_mean_iu


@pytest.mark.parametrize("architecture", ["unet", "pspnet"])
def test_an_interrupted_run_goes_on_to_bit_identical_weights(tmp_path, architecture):
    options = {"unet": {"width": 4, "depth": 2}, "pspnet": {"width": 8}}[architecture]
    params = drawn_params(architecture=architecture, architecture_options=options, epochs=5, batch_size=3)
    for name in ("whole", "broken"):
        draw_project(tmp_path / name, {"train": 4, "val": 1})
    train(params, tmp_path / "whole", Silent())
    for epoch in (1, 3):
        with pytest.raises(KeyboardInterrupt):
            train(params, tmp_path / "broken", Said(f"epoch {epoch}/5"))
    assert not (tmp_path / "broken" / CHALLENGER_DIR).exists()
    said = Said()
    train(params, tmp_path / "broken", said)
    assert any("going on after epoch 3" in line for line in said.lines)
    assert weights_of(tmp_path / "whole") == weights_of(tmp_path / "broken")
    written = [
        {path.relative_to(tmp_path / name): path.read_bytes() for path in (tmp_path / name).rglob("*.tsv")}
        for name in ("whole", "broken")
    ]
    assert written[0] == written[1]


@pytest.mark.parametrize("damage", ["cut", "no zip", "a pickle"])
def test_a_damaged_state_means_a_fresh_start(tmp_path, damage):
    draw_project(tmp_path, {"train": 4, "val": 1})
    with pytest.raises(KeyboardInterrupt):
        train(drawn_params(), tmp_path, Said("epoch 2/4"))
    (state,) = (tmp_path / SCRATCH_DIR / "train").rglob("last.pt")
    content = {"cut": state.read_bytes()[:-500], "no zip": b"", "a pickle": pickle.dumps(Said, protocol=2)}
    state.write_bytes(content[damage])
    said = Said()
    train(drawn_params(), tmp_path, said)
    assert any("starts anew" in line for line in said.lines)
    assert any(line.startswith("epoch 1/4") for line in said.lines)


def test_a_loss_that_explodes_is_said(tmp_path):
    draw_project(tmp_path, {"train": 4, "val": 1})
    with pytest.raises(ParamsError, match="no longer finite in epoch"):
        train(drawn_params(learning_rate=1e30, precision="float32"), tmp_path, Silent())


def test_other_params_do_not_resume(tmp_path):
    draw_project(tmp_path, {"train": 4, "val": 1})
    with pytest.raises(KeyboardInterrupt):
        train(drawn_params(), tmp_path, Said("epoch 2/4"))
    said = Said()
    train(drawn_params(seed=1), tmp_path, said)
    assert not any("going on" in line for line in said.lines)


@pytest.mark.parametrize(
    ("splits", "message"),
    [({"val": 2}, "no sample in the train split"), ({"train": 2}, "no sample in the val split")],
)
def test_too_little_data_is_said(tmp_path, splits, message):
    draw_project(tmp_path, splits)
    with pytest.raises(DataError, match=message):
        train(drawn_params(), tmp_path, Silent())


def test_wrong_augmentation_ends_before_any_training(tmp_path):
    draw_project(tmp_path, {"train": 1, "val": 1})
    with pytest.raises(ParamsError, match="unknown transform"):
        train(drawn_params(augment=[{"Flop": {}}]), tmp_path, Silent())


VARIANTS = [
    {"loss": {"cross_entropy": 1.0, "lovasz": 0.5, "dice": 0.5}, "schedule": "one_cycle"},
    {"loss": {"focal": 1.0}, "ema": 0.9, "schedule": "cosine", "warmup": 0.2},
    {"ohem": 0.5, "class_weights": "effective_number", "workers": 2, "cache_gb": 0},
]


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_loss_schedule_and_average_learns_and_goes_on_exactly(tmp_path, variant):
    params = drawn_params(**{"epochs": 8, "learning_rate": 0.02, "augment": [], **variant})
    for name in ("whole", "broken"):
        draw_project(tmp_path / name, {"train": 6, "val": 2})
    train(params, tmp_path / "whole", Silent())
    with pytest.raises(KeyboardInterrupt):
        train(params, tmp_path / "broken", Said("epoch 3/8"))
    train(params, tmp_path / "broken", Silent())
    assert checkpoint.read_card(tmp_path / "whole" / CHALLENGER_DIR).val_mean_iu > 0.6
    assert weights_of(tmp_path / "whole") == weights_of(tmp_path / "broken")


def test_where_samples_are_kept_changes_nothing(tmp_path):
    versions = []
    for name, options in {"cached": {}, "not": {"cache_gb": 0}, "threads": {"workers": 2}}.items():
        draw_project(tmp_path / name, {"train": 3, "val": 1})
        train(drawn_params(epochs=2, **options), tmp_path / name, Silent())
        versions.append(weights_of(tmp_path / name))
    assert len(set(versions)) == 1


def test_a_second_run_decodes_nothing(tmp_path):
    draw_project(tmp_path, {"train": 2, "val": 1})
    train(drawn_params(epochs=1), tmp_path, Silent())
    for image in (tmp_path / IMAGES_DIR).iterdir():
        image.unlink()
    train(drawn_params(epochs=1, seed=1), tmp_path, Silent())


def test_an_unknown_loss_ends_before_any_training(tmp_path):
    draw_project(tmp_path, {"train": 1, "val": 1})
    with pytest.raises(ParamsError, match="unknown loss `tversky`"):
        train(drawn_params(loss={"tversky": 1.0}), tmp_path, Silent())


def test_metrics_are_json(tmp_path):
    draw_project(tmp_path, {"train": 2, "val": 1})
    train(drawn_params(epochs=1), tmp_path, Silent())
    json.loads((tmp_path / TRAIN_REPORT_DIR / "metrics.json").read_text())
