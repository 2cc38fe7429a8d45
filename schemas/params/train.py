"""The section `train`."""

from __future__ import annotations

import math
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from schemas.params.section import Section


class TrainParams(Section):
    """Architecture, schedule and augmentation.

    `size_hw`: images are brought to this size for the network and its output back to full size. `crop_hw`: random
    crops of that size, at most `size_hw`, are trained on. `architecture_options` go to the architecture's constructor.
    `encoder_weights`: what the encoder starts with, `imagenet` or the path of a file; `start_from`: a model folder
    whose weights training starts with; see `pipeline.models.initial`.
    `augment`: albumentations transforms by name with their arguments. `warmup`: share of the steps in which the
    learning rate rises. `ema`: decay of the weights' moving average. `loss`: factors by name, see `pipeline.losses`.
    `ohem`: share of the pixels, the hardest, that pixel losses learn from. `cache_gb`: limit of the decoded samples
    kept in `.maskloop/cache`. `workers`: threads that prepare batches; null: none on a CPU, up to 4 with a GPU.
    `auto`: sizes, batch, epochs and learning rate are decided by the data and the machine, see `pipeline.auto`.
    `batch_size`: images per step, over all processes; each takes its share in `accumulate` parts, one after the other.
    `clip_norm`: limit of the gradient's norm. `patience`: validations without a better one after which training ends.
    `save_every_s`: seconds after which a run's state is saved within an epoch. `log_to`: who logs beside DVCLive.
    """

    auto: bool = False
    architecture: str = "pspnet"
    architecture_options: dict[str, Any] = Field(default_factory=dict)
    encoder_weights: str | None = Field(default=None, min_length=1)
    start_from: str | None = Field(default=None, min_length=1)
    size_hw: tuple[int, int] = (360, 480)
    crop_hw: tuple[int, int] = (192, 256)
    epochs: int = Field(default=40, ge=1)
    batch_size: int = Field(default=4, ge=1)
    accumulate: int = Field(default=1, ge=1)
    learning_rate: float = Field(default=2e-3, gt=0)
    weight_decay: float = Field(default=1e-2, ge=0)
    poly_power: float = Field(default=0.9, gt=0)
    schedule: Literal["poly", "cosine", "one_cycle"] = "poly"
    warmup: float = Field(default=0.0, ge=0, lt=1)
    clip_norm: float | None = Field(default=None, gt=0)
    ema: float | None = Field(default=None, gt=0, lt=1)
    loss: dict[str, float] = Field(default={"cross_entropy": 1.0}, min_length=1)
    ohem: float | None = Field(default=None, gt=0, le=1)
    class_weights: Literal["none", "median_frequency", "sqrt_median_frequency", "effective_number"] = (
        "sqrt_median_frequency"
    )
    augment: list[dict[str, dict[str, Any]]] = Field(
        default=[
            {"HorizontalFlip": {"p": 0.5}},
            {"RandomScale": {"scale_limit": [-0.5, 0.25], "p": 1.0}},
            {"ColorJitter": {"brightness": 0.3, "contrast": 0.3, "saturation": 0.3, "hue": 0.03, "p": 0.8}},
        ]
    )
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    validate_every: int = Field(default=5, ge=1)  # epochs
    patience: int | None = Field(default=None, ge=1)
    save_every_s: float = Field(default=300.0, ge=0)
    log_to: tuple[Literal["tensorboard", "mlflow"], ...] = ()
    cache_gb: float = Field(default=10.0, ge=0)
    workers: int | None = Field(default=None, ge=0, le=64)
    seed: int = 0

    @property
    def window_hw(self) -> tuple[int, int]:
        """Size of the random crops: `crop_hw` where it fits into `size_hw`."""
        return min(self.crop_hw[0], self.size_hw[0]), min(self.crop_hw[1], self.size_hw[1])

    @field_validator("size_hw", "crop_hw")
    @classmethod
    def _at_least_one_cell(cls, value: tuple[int, int]) -> tuple[int, int]:
        if min(value) < 32:
            raise ValueError(f"is {value[0]}x{value[1]}, and the networks need at least 32x32")
        return value

    @field_validator("loss")
    @classmethod
    def _no_loss_is_maximised(cls, value: dict[str, float]) -> dict[str, float]:
        wrong = [name for name, factor in value.items() if not 0 < factor < math.inf]
        if wrong:
            raise ValueError(f"the factor of `{wrong[0]}` is {value[wrong[0]]:g}, and must be above 0")
        return value

    @model_validator(mode="after")
    def _equal_parts(self) -> TrainParams:
        if self.batch_size % self.accumulate:
            raise ValueError(f"batches of {self.batch_size} have no {self.accumulate} equal parts (`accumulate`)")
        return self

    @model_validator(mode="after")
    def _one_start(self) -> TrainParams:
        if self.encoder_weights and self.start_from:
            raise ValueError("`start_from` has weights for the encoder, too: leave out `encoder_weights`")
        return self

    @model_validator(mode="after")
    def _one_rise(self) -> TrainParams:
        if self.schedule == "one_cycle" and self.warmup:
            raise ValueError("one_cycle rises by itself: leave out `warmup`")
        return self
