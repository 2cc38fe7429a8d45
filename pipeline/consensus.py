"""One mask out of several annotators', and how far they agree.

Every finished annotation has one voice, and void is an answer like a class. Masks: uint8 (H, W), class index or 255.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from schemas.labels import VOID_INDEX

Mask = NDArray[np.uint8]
Floats = NDArray[np.float64]

STAPLE_STEPS = 500
STAPLE_SETTLED = 1e-9
"""EM ends when no probability moves by more."""

STAPLE_TIE = 1e-6
"""Probabilities nearer to each other than this tie."""


def majority(masks: Sequence[Mask]) -> Mask:
    """What most masks say of each pixel; void where two values have equally many votes."""
    answers, decisions, pattern_of = _patterns(masks)
    return _decided(_votes(answers, decisions), answers, 0.5, pattern_of, masks[0].shape)


def staple(masks: Sequence[Mask]) -> Mask:
    """The most probable true mask by multi-class STAPLE; void where two values tie.

    S. K. Warfield, K. H. Zou, W. M. Wells, "Simultaneous Truth and Performance Level Estimation (STAPLE): An Algorithm
    for the Validation of Image Segmentation", IEEE Transactions on Medical Imaging 23(7), 2004, section II.E.
    Expectation maximisation over each annotator's confusion matrix, from the shares of votes as first estimate and as
    prior; without the spatial prior. Pixels on which all annotators answered alike are computed once.
    """
    answers, decisions, pattern_of = _patterns(masks)
    pixels = np.bincount(pattern_of.ravel()).astype(np.float64)
    probability = _votes(answers, decisions) / len(masks)
    prior = pixels @ probability / pixels.sum()
    said = decisions[:, :, None] == np.arange(answers.size)  # (annotator, pattern, answer)
    for _ in range(STAPLE_STEPS):
        before = probability
        weight = probability * pixels[:, None]
        total = np.maximum(weight.sum(axis=0), np.finfo(np.float64).tiny)
        confusion = np.einsum("jpa,pt->jat", said, weight) / total  # P(answer a | truth t)
        with np.errstate(divide="ignore"):
            evidence = np.log(prior) + sum(
                np.log(matrix[answer]) for matrix, answer in zip(confusion, decisions, strict=True)
            )
        probability = np.exp(evidence - evidence.max(axis=1, keepdims=True))
        probability /= probability.sum(axis=1, keepdims=True)
        if np.abs(probability - before).max() < STAPLE_SETTLED:
            break
    return _decided(probability, answers, STAPLE_TIE, pattern_of, masks[0].shape)


CONSENSUS = {"majority": majority, "staple": staple}
"""What `rasterise.annotators` says → masks of all annotators → mask."""


def agreement(masks: Sequence[Mask]) -> float | None:
    """Mean IoU over every two masks and, for these, over the classes in either, 0..1; None for a single mask.

    A pixel that only one of the two left void counts against the other's class. Two masks without any class agree.
    """
    pairs = list(itertools.combinations(masks, 2))
    return sum(_mean_iou(a, b) for a, b in pairs) / len(pairs) if pairs else None


def _mean_iou(a: Mask, b: Mask) -> float:
    in_a, in_b = np.bincount(a.ravel(), minlength=256), np.bincount(b.ravel(), minlength=256)
    in_both = np.bincount(a[a == b], minlength=256)
    union = (in_a + in_b - in_both)[:VOID_INDEX]
    present = union > 0
    return float((in_both[:VOID_INDEX][present] / union[present]).mean()) if present.any() else 1.0


def _patterns(masks: Sequence[Mask]) -> tuple[Mask, NDArray[np.int64], NDArray[np.int64]]:
    """Distinct combinations of answers that occur.

    Returns the mask values that occur (A,); for every annotator the position among these of what he answers to each
    combination (J, P); and the number of each pixel's combination (H·W,).
    """
    answers = np.flatnonzero(sum(np.bincount(mask.ravel(), minlength=256) for mask in masks)).astype(np.uint8)
    position = np.zeros(256, np.int64)
    position[answers] = np.arange(answers.size)
    decisions = np.zeros((0, 1), np.int64)
    pattern_of = np.zeros(masks[0].size, np.int64)
    for mask in masks:
        combination = pattern_of * answers.size + position[mask.ravel()]
        occurs = np.bincount(combination) > 0
        before, answer = np.divmod(np.flatnonzero(occurs), answers.size)
        decisions = np.vstack([decisions[:, before], answer])
        pattern_of = (np.cumsum(occurs) - 1)[combination]
    return answers, decisions, pattern_of


def _votes(answers: Mask, decisions: NDArray[np.int64]) -> Floats:
    """Number of annotators by combination and answer, (P, A)."""
    votes: Floats = (decisions[:, :, None] == np.arange(answers.size)).sum(axis=0).astype(np.float64)
    return votes


def _decided(score: Floats, answers: Mask, tie: float, pattern_of: NDArray[np.int64], size_hw: tuple[int, ...]) -> Mask:
    """The answer with the highest score for each pixel, void where a second one comes within `tie`."""
    best = answers[score.argmax(axis=1)]
    tied = (score > score.max(axis=1, keepdims=True) - tie).sum(axis=1) > 1
    mask: Mask = np.where(tied, VOID_INDEX, best).astype(np.uint8)[pattern_of].reshape(size_hw)
    return mask
