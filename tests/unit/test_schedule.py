"""Learning rates over a run, against their formulas and torch's own."""

import math

import pytest
import torch

from pipeline.schedule import SCHEDULES, learning_rate
from schemas.errors import ParamsError
from tests.unit.drawn_project import drawn_params

STEPS = 100


def rates(**train):
    options = drawn_params(learning_rate=0.1, **train).train
    return [learning_rate(options, step, STEPS) for step in range(STEPS)]


def test_poly_falls_from_the_learning_rate_to_nothing():
    found = rates(schedule="poly", poly_power=2)
    assert found == pytest.approx([0.1 * (1 - step / STEPS) ** 2 for step in range(STEPS)])


def test_cosine_is_torchs():
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, STEPS)
    for found in rates(schedule="cosine"):
        assert found == pytest.approx(optimiser.param_groups[0]["lr"], abs=1e-9)
        optimiser.step()
        scheduler.step()


def test_one_cycle_rises_to_the_learning_rate_and_falls():
    found = rates(schedule="one_cycle")
    assert found[0] == pytest.approx(0.1 / 25)
    assert max(found) == found[30] == pytest.approx(0.1)
    assert found[:31] == sorted(found[:31])
    assert found[30:] == sorted(found[30:], reverse=True)
    assert found[-1] < 0.1 / 500


@pytest.mark.parametrize("schedule", ["poly", "cosine"])
def test_warmup_rises_in_a_line_then_the_schedule_starts(schedule):
    found = rates(schedule=schedule, warmup=0.2)
    assert found[:21] == pytest.approx([0.1 * (step + 1) / 21 for step in range(21)])
    assert found[20:] == sorted(found[20:], reverse=True)
    assert found[-1] < 0.005


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_rate_is_usable(schedule):
    assert all(0 < rate <= 0.1 and math.isfinite(rate) for rate in rates(schedule=schedule))


def test_one_cycle_needs_no_warmup():
    with pytest.raises(ParamsError, match="one_cycle rises by itself"):
        drawn_params(schedule="one_cycle", warmup=0.1)
