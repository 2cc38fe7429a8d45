"""Several annotators: masks of a few pixels, each case by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from pipeline.consensus import agreement, majority, staple

V = 255


def mask(*rows: list[int]) -> np.ndarray:
    return np.array(rows, np.uint8)


@pytest.mark.parametrize("merge", [majority, staple])
@pytest.mark.parametrize(
    ("masks", "expected"),
    [
        ([[0, 1, 2, V]], [0, 1, 2, V]),  # one annotator: his mask
        ([[0, 1, 2, V]] * 3, [0, 1, 2, V]),  # all alike
        ([[0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 1, 0]], [0, 0, 1, 1]),  # two of three
        ([[0, 0], [1, 1]], [V, V]),  # a tie
        ([[0, 0, 1, 1], [0, 0, 1, V], [0, 0, 1, V]], [0, 0, 1, V]),  # void is an answer like a class
        ([[254, 3], [254, 3]], [254, 3]),
    ],
)
def test_what_most_say(merge, masks: list[list[int]], expected: list[int]):
    merged = merge([mask(row) for row in masks])
    assert merged.dtype == np.uint8
    assert merged.tolist() == [expected]


def test_majority_needs_more_votes_than_any_other_not_more_than_half():
    assert majority([mask([row]) for row in (0, 0, 1, 2, V)]).tolist() == [[0]]
    assert majority([mask([row]) for row in (0, 0, 1, 1, V)]).tolist() == [[V]]
    assert majority([mask([row]) for row in (0, 1, 2)]).tolist() == [[V]]


def test_staple_believes_the_reliable_against_the_majority():
    """Three good annotators (2 % errors) and four that answer at random: at ties of a vote they decide."""
    random = np.random.default_rng(3)
    truth = random.integers(0, 3, (40, 50)).astype(np.uint8)

    def answers(error: float) -> np.ndarray:
        return np.where(random.random(truth.shape) < error, random.integers(0, 3, truth.shape), truth).astype(np.uint8)

    masks = [answers(error) for error in (0.03, 0.03, 0.03, 1.0, 1.0, 1.0, 1.0)]
    wrong_by_vote, wrong_by_staple = ((merge(masks) != truth).mean() for merge in (majority, staple))
    assert wrong_by_staple < 0.005
    assert wrong_by_vote > 10 * wrong_by_staple


def test_staple_finds_the_closed_form_of_two_classes():
    """Warfield's binary case, run pixel by pixel with his equations 15, 18 and 19, gives the same mask."""
    random = np.random.default_rng(0)
    truth = random.random(600) < 0.4
    decisions = np.array([np.where(random.random(600) < error, ~truth, truth) for error in (0.1, 0.2, 0.45)])
    weight = decisions.mean(axis=0)
    prior = weight.mean()
    for _ in range(3000):
        sensitivity = (decisions * weight).sum(axis=1) / weight.sum()
        specificity = (~decisions * (1 - weight)).sum(axis=1) / (1 - weight).sum()
        yes = prior * np.where(decisions, sensitivity[:, None], 1 - sensitivity[:, None]).prod(axis=0)
        no = (1 - prior) * np.where(decisions, 1 - specificity[:, None], specificity[:, None]).prod(axis=0)
        weight = yes / (yes + no)
    merged = staple([row.astype(np.uint8)[None] for row in decisions])
    np.testing.assert_array_equal(merged[0], weight > 0.5)


@pytest.mark.parametrize("merge", [majority, staple])
def test_the_order_of_annotators_does_not_matter(merge):
    masks = [np.random.default_rng(seed).integers(0, 3, (20, 30)).astype(np.uint8) for seed in range(3)]
    first = merge(masks)
    for order in itertools.permutations(masks):
        np.testing.assert_array_equal(merge(list(order)), first)


@pytest.mark.parametrize(
    ("masks", "expected"),
    [
        ([[0, 1]], None),  # nobody to agree with
        ([[0, 1, V], [0, 1, V]], 1.0),
        ([[V, V], [V, V]], 1.0),  # both say: no class
        ([[0, 0], [1, 1]], 0.0),
        ([[0, 0, 1, 1], [0, 1, 1, 1]], (1 / 2 + 2 / 3) / 2),
        ([[0, 0, 0, V], [0, 0, V, V]], 2 / 3),  # void against a class counts
        ([[0, 0], [0, 0], [0, 1]], (1.0 + 0.25 + 0.25) / 3),  # mean over the three pairs
    ],
)
def test_agreement(masks: list[list[int]], expected: float | None):
    assert agreement([mask(row) for row in masks]) == (None if expected is None else pytest.approx(expected))
