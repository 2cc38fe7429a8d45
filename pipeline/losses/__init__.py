"""What training minimises: a weighted sum of losses, by the names that `train.loss` gives.

A new loss is one file here and one registry line. Void pixels (255) add nothing to any of them, value or gradient.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from pipeline.losses.cross_entropy import cross_entropy
from pipeline.losses.dice import dice
from pipeline.losses.focal import focal
from pipeline.losses.lovasz import lovasz
from pipeline.losses.ohem import hardest
from schemas.errors import ParamsError
from schemas.labels import VOID_INDEX

PixelLoss = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(logits float32 (N, C, H, W), target int64 (N, H, W), class weights (C,)) → loss per pixel (N, H, W), 0 on void."""

RegionLoss = Callable[[Tensor, Tensor], Tensor]
"""(logits float32 (N, C, H, W), target int64 (N, H, W)) → loss of the batch, a scalar; class weights don't apply."""

PIXEL_LOSSES: dict[str, PixelLoss] = {"cross_entropy": cross_entropy, "focal": focal}
REGION_LOSSES: dict[str, RegionLoss] = {"dice": dice, "lovasz": lovasz}
LOSSES = (*PIXEL_LOSSES, *REGION_LOSSES)


class Criterion:
    """The loss of a batch: the sum of `terms` for the main head, plus `auxiliary_weight` times that of the others."""

    def __init__(
        self, terms: Mapping[str, float], weights: Tensor, ohem: float | None = None, auxiliary_weight: float = 0.0
    ) -> None:
        """`terms`: factor by loss; `weights`: of the classes, float32 (C,), on the device that the masks will be on.

        `ohem`: share (0..1] of a batch's labelled pixels, those of the highest loss, that pixel losses learn from.
        Raises ParamsError for an unknown loss.
        """
        unknown = [name for name in terms if name not in LOSSES]
        if unknown:
            nearest = difflib.get_close_matches(unknown[0], LOSSES, n=1)
            hint = f" (did you mean `{nearest[0]}`?)" if nearest else ""
            raise ParamsError(f"train.loss: unknown loss `{unknown[0]}`{hint}", f"Known are: {', '.join(LOSSES)}.")
        self._terms, self._weights, self._ohem, self._auxiliary_weight = terms, weights, ohem, auxiliary_weight
        self._weight_of_index = weights.new_zeros(VOID_INDEX + 1)
        self._weight_of_index[: len(weights)] = weights

    def __call__(self, heads: Sequence[Tensor], masks: Tensor) -> Tensor:
        """Loss of logits, each (N, C, H, W), for masks, uint8 (N, H, W): class index or 255; 0 where all is void."""
        target = masks.long()
        main, *auxiliary = (self._sum(logits.float(), target) for logits in heads)
        return main + self._auxiliary_weight * sum(auxiliary, start=main.new_zeros(()))

    def weight(self, masks: Tensor) -> Tensor:
        """Class weights of the labelled pixels of masks, uint8 (N, H, W), summed up: a scalar."""
        return self._weight_of_index[masks.long()].sum()

    def _sum(self, logits: Tensor, target: Tensor) -> Tensor:
        total = logits.new_zeros(())
        for name, factor in self._terms.items():
            if name in PIXEL_LOSSES:
                pixels = PIXEL_LOSSES[name](logits, target, self._weights)
                total = total + factor * self._mean(pixels, target)
            else:
                total = total + factor * REGION_LOSSES[name](logits, target)
        return total

    def _mean(self, pixels: Tensor, target: Tensor) -> Tensor:
        """Mean of the pixel losses that count, weighted by class as they are; 0 if none counts."""
        labelled = target != VOID_INDEX
        counted = labelled if self._ohem is None else hardest(pixels.detach(), labelled, self._ohem)
        weight = torch.where(counted, self._weights[target.masked_fill(~labelled, 0)], 0)
        kept = pixels if self._ohem is None else torch.where(counted, pixels, 0)
        return kept.sum() / weight.sum().clamp_min(torch.finfo(weight.dtype).tiny)
