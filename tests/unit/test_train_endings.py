"""How training ends before its last epoch: killed, out of patience, out of memory, or at a loss that isn't finite."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

from connectors.masks import write_mask
from connectors.storage import read_json
from pipeline import checkpoint
from pipeline.losses import Criterion
from pipeline.progress import Silent
from pipeline.train import BEST_DIR, train
from pipeline.training.failures import is_memory_short
from schemas.errors import ParamsError
from schemas.manifest import CHALLENGER_DIR, MASKS_DIR, SCRATCH_DIR
from tests.unit.drawn_project import draw_project, drawn_params


class Heard(Silent):
    """Keeps what is said; raises KeyboardInterrupt before the batch `stop_before`, counted over the whole run."""

    def __init__(self, stop_before: int = 10**9):
        self.lines: list[str] = []
        self.standing: list[str] = []
        self.batches = itertools.count()
        self.stop_before = stop_before

    def say(self, text):
        self.lines.append(text)

    def track(self, items, total, what):
        for item in items:
            if callable(what):
                self.standing.append(what())
                if next(self.batches) == self.stop_before:
                    raise KeyboardInterrupt
            yield item


def model_version(folder: Path) -> str:
    return read_json(folder / CHALLENGER_DIR / "model.json")["model_version"]


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_a_run_stopped_within_epochs_goes_on_to_bit_identical_weights(tmp_path, precision):
    options = {"architecture": "pspnet", "architecture_options": {"width": 8}, "precision": precision, "ema": 0.9}
    params = drawn_params(**options, batch_size=2, accumulate=2, epochs=3, save_every_s=0)
    for name in ("whole", "broken"):
        draw_project(tmp_path / name, {"train": 7, "val": 1})
    train(params, tmp_path / "whole", Silent())
    for stop_before in (2, 3, 4):  # of 12 batches, 4 an epoch: the next runs begin where the last was saved
        with pytest.raises(KeyboardInterrupt):
            train(params, tmp_path / "broken", Heard(stop_before))
    heard = Heard()
    train(params, tmp_path / "broken", heard)
    assert "going on after epoch 2, batch 1 of the next, where the last run stopped" in heard.lines
    assert len(heard.standing) == 3
    assert model_version(tmp_path / "whole") == model_version(tmp_path / "broken")
    tables = [sorted((tmp_path / name).rglob("*.tsv")) for name in ("whole", "broken")]
    assert [path.read_bytes() for path in tables[0]] == [path.read_bytes() for path in tables[1]]


def test_patience_ends_a_run_that_gets_no_better(tmp_path):
    draw_project(tmp_path, {"train": 2, "val": 1})
    heard = Heard()
    frozen = {"learning_rate": 1e-30, "architecture_options": {"width": 4, "depth": 2, "norm": "group"}}
    train(drawn_params(**frozen, epochs=9, validate_every=1, patience=2), tmp_path, heard)
    assert [line.split(":")[0] for line in heard.lines if line.startswith("epoch ")][-1] == "epoch 3/9"
    assert "2 validations without a better one than after epoch 1" in heard.lines
    assert checkpoint.read_card(tmp_path / CHALLENGER_DIR).epoch == 1


def fail_at(monkeypatch, call, effect):
    """Make the `call`-th loss of a run go wrong."""
    calls, whole = itertools.count(1), Criterion.__call__

    def criterion(self, heads, masks):
        return effect(whole(self, heads, masks)) if next(calls) == call else whole(self, heads, masks)

    monkeypatch.setattr(Criterion, "__call__", criterion)


def out_of_memory(loss):
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


@pytest.mark.parametrize(
    ("effect", "message", "remedy"),
    [
        (lambda loss: loss * torch.nan, "no longer finite in epoch 3, batch 2", "Lower `train.learning_rate`"),
        (out_of_memory, "out of memory on cpu with 2 images of 32x48 at a time", "Raise `train.accumulate`"),
    ],
)
def test_what_fails_says_what_helps_and_keeps_the_best_weights(tmp_path, monkeypatch, effect, message, remedy):
    draw_project(tmp_path, {"train": 4, "val": 1})
    params = drawn_params(epochs=6)
    with monkeypatch.context() as patch:
        fail_at(patch, 6, effect)
        with pytest.raises(ParamsError, match=message) as caught:
            train(params, tmp_path, Silent())
    assert caught.value.remedy.startswith(remedy)
    assert "after epoch 2, are kept: `train.start_from: .maskloop/best`." in caught.value.remedy
    assert checkpoint.read_card(tmp_path / BEST_DIR).epoch == 2
    assert not (tmp_path / CHALLENGER_DIR).exists()
    heard = Heard()
    train(params, tmp_path, heard)
    assert any("going on after epoch 2" in line for line in heard.lines), "the state before it is whole"
    train(drawn_params(epochs=1, start_from=str(BEST_DIR)), tmp_path, heard)
    assert any(line.startswith("starting from unet-") for line in heard.lines)


def test_other_errors_stay_what_they_are(tmp_path, monkeypatch):
    draw_project(tmp_path, {"train": 2, "val": 1})

    def broken(loss):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    fail_at(monkeypatch, 1, broken)
    with pytest.raises(RuntimeError, match="mat1"):
        train(drawn_params(), tmp_path, Silent())


def test_a_cpu_that_has_not_enough_memory_is_known():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**46)
    assert is_memory_short(caught.value)
    assert is_memory_short(MemoryError())


def test_batches_without_a_labelled_pixel_teach_nothing_and_are_counted_once(tmp_path):
    draw_project(tmp_path, {"train": 3, "val": 1})
    write_mask(tmp_path / MASKS_DIR / "2.png", np.full((40, 60), 255, np.uint8))
    heard = Heard()
    train(drawn_params(batch_size=1, epochs=4, augment=[], crop_hw=[32, 48]), tmp_path, heard)
    (line,) = [line for line in heard.lines if "no labelled pixel" in line]
    assert line.startswith("4 batches showed no labelled pixel")


def test_fewer_samples_than_a_batch_is_said(tmp_path):
    draw_project(tmp_path, {"train": 2, "val": 1})
    heard = Heard()
    train(drawn_params(batch_size=4, epochs=1), tmp_path, heard)
    assert any(line.startswith("2 samples in the train split, fewer than a batch (4)") for line in heard.lines)


def test_the_bar_says_how_it_stands(tmp_path):
    draw_project(tmp_path, {"train": 4, "val": 1})
    heard = Heard()
    train(drawn_params(epochs=2, validate_every=1), tmp_path, heard)
    assert heard.standing[0] == "epoch 1/2: "
    assert heard.standing[-1].startswith("epoch 2/2: loss ")
    for part in ("val mIoU 0.", " images/s, 0 min "):
        assert part in heard.standing[-1]


def test_nothing_is_left_of_a_run_that_ended_well(tmp_path):
    draw_project(tmp_path, {"train": 2, "val": 1})
    train(drawn_params(epochs=1, save_every_s=0), tmp_path, Silent())
    assert [path.name for path in (tmp_path / SCRATCH_DIR).iterdir()] == ["cache"]
