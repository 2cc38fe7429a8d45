"""One optimiser step: from a batch to changed weights, in parts and by several processes if need be."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.nn.parallel import DistributedDataParallel
from torch.optim import AdamW

from pipeline.dataset import normalise
from pipeline.ema import Ema
from pipeline.inference import Network
from pipeline.losses import Criterion
from pipeline.models.base import Segmenter
from pipeline.schedule import learning_rate
from pipeline.training.team import Team
from schemas.params import TrainParams

TINY = torch.finfo(torch.float32).tiny


class Heads(nn.Module):
    """A network as DistributedDataParallel wants it: what is called gives the logits of every head."""

    def __init__(self, model: Segmenter) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Logits, each (N, C, H, W), for normalised images, float (N, 3, H, W)."""
        return self.model.heads(images)


class Learner:
    """A network in training, with its optimiser, its loss scale (for float16) and its moving average."""

    def __init__(self, options: TrainParams, network: Network, criterion: Criterion, team: Team, steps: int) -> None:
        """`steps`: of the whole run. On GPUs, several processes share the statistics of batch normalisation."""
        self._options, self._network, self._criterion, self._team, self._steps = (
            options,
            network,
            criterion,
            team,
            steps,
        )
        self.model = network.model
        self.optimiser = AdamW(self.model.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay)
        self.scaler = GradScaler(self._device.type, enabled=network.compute.precision == torch.float16)
        self.ema = Ema(self.model, options.ema) if options.ema else None
        self._heads: nn.Module = Heads(self.model)
        if team.size > 1:
            if self._device.type == "cuda":
                self._heads = nn.SyncBatchNorm.convert_sync_batchnorm(self._heads)  # type: ignore[no-untyped-call]
            self._heads = DistributedDataParallel(self._heads)

    @property
    def _device(self) -> torch.device:
        return self._network.compute.device

    def learn(self, images: Tensor, masks: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """Take this process's part of a batch, uint8 (n, h, w, 3) and (n, h, w), as step 0..steps-1 of the run.

        Returns the whole batch's loss and the weight of its labelled pixels, 0 if it has none: scalars on the device.
        Each part counts by its share of that weight, so that pixel losses are those of the batch taken at once.
        """
        options, compute, team = self._options, self._network.compute, self._team
        torch.manual_seed(int(np.random.SeedSequence([options.seed, step, team.rank]).generate_state(1)[0]))
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(options, step, self._steps)
        images, masks = (each.to(self._device, non_blocking=True) for each in (images, masks))
        weight = team.total(self._criterion.weight(masks))
        loss = torch.zeros((), device=self._device)
        self.optimiser.zero_grad()
        parts = list(zip(images.chunk(options.accumulate), masks.chunk(options.accumulate), strict=True))
        for index, (part, mask) in enumerate(parts):
            with self._gradients_kept(index < len(parts) - 1):
                with compute.autocast():
                    heads = self._heads(normalise(part, self._network.mean, self._network.std))
                share = self._criterion.weight(mask) / weight.clamp_min(TINY)
                part_loss = self._criterion(heads, mask) * share
                self.scaler.scale(part_loss * team.size).backward()  # type: ignore[no-untyped-call]
            loss += part_loss.detach()
        if options.clip_norm:
            self.scaler.unscale_(self.optimiser)
            nn.utils.clip_grad_norm_(self.model.parameters(), options.clip_norm)
        self.scaler.step(self.optimiser)
        self.scaler.update()
        if self.ema:
            self.ema.update(self.model, step)
        return team.total(loss), weight

    def _gradients_kept(self, is_kept: bool) -> Any:
        """Within it, gradients stay in this process if `is_kept`: the last part's backward sums up those of all."""
        if is_kept and isinstance(self._heads, DistributedDataParallel):
            return self._heads.no_sync()
        return nullcontext()
