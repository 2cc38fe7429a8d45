"""Lovász-Softmax loss (Berman, Rannen Triki, Blaschko, CVPR 2018): a surrogate of the mean IU itself."""

from __future__ import annotations

import torch
from torch import Tensor

from schemas.labels import VOID_INDEX

LAST = torch.iinfo(torch.int32).max


def lovasz(logits: Tensor, target: Tensor) -> Tensor:
    """Lovász extension of each class's Jaccard loss over a batch, averaged over the classes that the masks show."""
    classes = logits.shape[1]
    probabilities = logits.softmax(1).transpose(0, 1).reshape(classes, -1)
    flat = target.reshape(-1)
    total, present = logits.new_zeros(()), logits.new_zeros(())
    for index in range(classes):
        actual = flat == index
        errors = torch.where(flat != VOID_INDEX, (actual.float() - probabilities[index]).abs(), 0)
        is_present = actual.any().float()
        total = total + is_present * torch.dot(errors, _slopes(errors.detach(), actual, flat == VOID_INDEX))
        present = present + is_present
    return total / present.clamp_min(1)


def _slopes(errors: Tensor, actual: Tensor, void: Tensor) -> Tensor:
    """Gradient of the Lovász extension with respect to the errors, (P,) (the paper's algorithm 1); void comes last."""
    order = _descending(errors).masked_fill(void, LAST).sort(stable=True).indices
    hits = actual[order]
    intersection = hits.sum() - hits.cumsum(0)
    union = hits.sum() + (~hits).cumsum(0)
    jaccard = 1 - intersection / union
    slopes = torch.diff(jaccard, prepend=jaccard.new_zeros(1))
    return torch.empty_like(slopes).scatter_(0, order, slopes)


def _descending(errors: Tensor) -> Tensor:
    """Integers, int32 from 0 to below LAST, that rise as the errors, float32 and not negative, fall.

    The bits of such floats are ordered as they are, and a CPU sorts integers by radix, 6 times as fast.
    """
    return LAST - 1 - errors.view(torch.int32)
