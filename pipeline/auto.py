"""Self-configuration, `train.auto: true`: sizes, batch, epochs and learning rate from the data and the device.

In the manner of nnU-Net (Isensee, Jaeger, Kohl, Petersen, Maier-Hein, Nature Methods 2021): a fingerprint of the data,
then rules, no search. The same data, parameters and device give the same answer.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from connectors.storage import write_json
from pipeline.dataset import Sample
from pipeline.inference import Compute
from pipeline.models import build
from pipeline.models.base import Segmenter
from pipeline.progress import Progress
from schemas.manifest import TRAIN_REPORT_DIR
from schemas.params import TrainParams

AUTO = TRAIN_REPORT_DIR / "auto.json"

STEP_PX = 32
LEAST_CROP_PX = 128
USABLE = 0.8
"""Share of the memory that is planned with."""
OVERHEAD = 1.5
"""Peak of a step over what the forward pass keeps for the backward pass."""
BYTES_PER_PARAMETER = 22
"""float32 weights, gradients, AdamW's two moments and a moving average, and the weights once more in half precision."""
RARE = 0.25
"""Share of the images below which a class is rare."""
PROBES_PX = (64, 96)
"""Sides of two square images: what differs between them goes with the number of pixels."""


@dataclass(frozen=True, slots=True)
class Aim:
    """What a kind of device is given to do.

    `size_px`: pixels of the network's input at most; `crop_share`: side of a crop by that of the input; `crops`: how
    many are trained on in all.
    """

    size_px: int
    crop_share: float
    batch_size: int
    crops: int


AIMS = {"cpu": Aim(360 * 480, 0.5, 4, 15_000), "cuda": Aim(1024 * 1024, 1.0, 16, 150_000)}
BASE_LEARNING_RATE, BASE_BATCH = 2e-3, 4
"""Of AdamW, as measured on CamVid with a small PSPNet."""


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What decides. `rarest`: share (0..1] of the train images that show the rarest class that occurs.

    `bytes_per_pixel`: kept by the forward pass for each pixel trained on; `memory`: of the device, bytes.
    """

    samples: int
    median_hw: tuple[int, int]
    rarest: float
    device: str
    memory: int
    parameters: int
    bytes_per_pixel: float
    is_normalised: bool
    is_pretrained: bool


def configured(
    options: TrainParams, samples: Sequence[Sample], compute: Compute, folder: Path, progress: Progress
) -> TrainParams:
    """`options` with what the rules decide; says each with its reason, and writes `reports/train/auto.json`.

    Raises ParamsError for an architecture that can't be built.
    """
    found = fingerprint(options, samples, compute)
    decided = decide(found)
    for name, (value, reason) in decided.items():
        progress.say(f"train.{name}: {value} ({reason})")
    chosen = options.model_copy(update={name: value for name, (value, _) in decided.items()})
    content = {
        "found": asdict(found),
        "decided": {name: value for name, (value, _) in decided.items()},
        "because": {name: reason for name, (_, reason) in decided.items()},
    }
    write_json(folder / AUTO, content)
    return chosen


def fingerprint(options: TrainParams, samples: Sequence[Sample], compute: Compute) -> Fingerprint:
    """What the rules need to know of samples, network and device."""
    model = build(options.architecture, len(samples[0].class_pixels), options.architecture_options)
    shown = np.array([sample.class_pixels for sample in samples]) > 0
    return Fingerprint(
        samples=len(samples),
        median_hw=_median_hw(samples),
        rarest=float(min((share for share in shown.mean(axis=0) if share), default=1.0)),
        device=compute.device.type,
        memory=device_memory(compute.device),
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        bytes_per_pixel=bytes_per_pixel(model, len(samples[0].class_pixels), compute.precision),
        is_normalised=any(isinstance(module, _NormBase | nn.GroupNorm) for module in model.modules()),
        is_pretrained=bool(options.encoder_weights or options.start_from),
    )


def decide(found: Fingerprint) -> dict[str, tuple[Any, str]]:
    """Each parameter's value, with the reason in words."""
    aim = AIMS[found.device]
    size_hw = _size(found.median_hw, aim)
    crop_hw = _crop(size_hw, aim)
    while (fits := _images_that_fit(found, crop_hw)) < 1 and max(crop_hw) > STEP_PX:
        crop_hw = (_multiple(crop_hw[0] * 0.75), _multiple(crop_hw[1] * 0.75))
    batch_size = min(aim.batch_size, 2 ** math.floor(math.log2(found.samples)))
    accumulate = next(n for n in range(1, batch_size + 1) if batch_size % n == 0 and batch_size // n <= max(fits, 1))
    rarity = min(2.0, max(1.0, math.sqrt(RARE / found.rarest)))
    epochs = min(1000, max(10, math.ceil(aim.crops * rarity / found.samples)))
    factors = {
        f"√({batch_size}/{BASE_BATCH}) for the batch": math.sqrt(batch_size / BASE_BATCH),
        "1/20 as nothing is normalised": 1.0 if found.is_normalised else 1 / 20,
        "1/4 as the network is large": 1 / 4 if found.is_normalised and found.parameters > 10e6 else 1.0,
        "1/4 as it starts from trained weights": 1 / 4 if found.is_pretrained else 1.0,
    }
    used = [name for name, factor in factors.items() if factor != 1]
    rate = float(f"{BASE_LEARNING_RATE * math.prod(factors.values()):.2g}")
    median = "x".join(map(str, found.median_hw))
    memory = f"{found.memory / 2**30:.1f} GiB of memory hold {fits} crops"
    rare = (
        f", the rarest class is in {found.rarest:.0%} of the images: {rarity:.2g} times as long" if rarity > 1 else ""
    )
    return {
        "size_hw": (size_hw, f"images are {median}, at most {aim.size_px:,} pixels on {found.device}"),
        "crop_hw": (crop_hw, f"{aim.crop_share:.0%} of a side on {found.device}; {memory}"),
        "batch_size": (batch_size, f"{aim.batch_size} on {found.device}, {found.samples} samples"),
        "accumulate": (accumulate, memory),
        "epochs": (epochs, f"{aim.crops:,} crops on {found.device}, {found.samples} samples{rare}"),
        "validate_every": (max(1, round(epochs / 20)), "20 times in all"),
        "learning_rate": (rate, "; ".join([f"{BASE_LEARNING_RATE:g} for AdamW", *used])),
    }


def device_memory(device: torch.device) -> int:
    """All memory of the GPU, or of the machine, in bytes."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def bytes_per_pixel(model: Segmenter, classes: int, precision: torch.dtype) -> float:
    """Bytes that a training step's forward pass keeps for each pixel of its images, measured on the CPU."""
    small, large = (_bytes_kept(model, classes, precision, side) for side in PROBES_PX)
    return (large - small) / (PROBES_PX[1] ** 2 - PROBES_PX[0] ** 2)


def _bytes_kept(model: Segmenter, classes: int, precision: torch.dtype, side: int) -> int:
    """Bytes of what the forward pass and the loss of one image save for the backward pass, parameters apart."""
    own = {each.untyped_storage().data_ptr() for each in model.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    images = torch.zeros((1, 3, side, side)).to(memory_format=torch.channels_last)
    target = torch.zeros((1, side, side), dtype=torch.int64)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        with torch.autocast("cpu", precision, enabled=precision != torch.float32):
            heads = model.heads(images)
        losses = [F.cross_entropy(head.float(), target) for head in heads]  # held, so that no storage is used twice
    del losses
    return sum(kept.values())


def _images_that_fit(found: Fingerprint, crop_hw: tuple[int, int]) -> int:
    left = USABLE * found.memory - BYTES_PER_PARAMETER * found.parameters
    return max(0, int(left / (OVERHEAD * found.bytes_per_pixel * crop_hw[0] * crop_hw[1])))


def _median_hw(samples: Sequence[Sample]) -> tuple[int, int]:
    height, width = np.median([(sample.height, sample.width) for sample in samples], axis=0)
    return int(height), int(width)


def _size(median_hw: tuple[int, int], aim: Aim) -> tuple[int, int]:
    height, width = median_hw
    scale = math.sqrt(aim.size_px / (height * width))
    if scale >= 1:
        return max(STEP_PX, height), max(STEP_PX, width)
    return _multiple(height * scale), _multiple(width * scale)


def _crop(size_hw: tuple[int, int], aim: Aim) -> tuple[int, int]:
    height, width = (min(side, max(LEAST_CROP_PX, _above(aim.crop_share * side))) for side in size_hw)
    return height, width


def _multiple(pixels: float) -> int:
    return max(STEP_PX, STEP_PX * round(pixels / STEP_PX))


def _above(pixels: float) -> int:
    return STEP_PX * math.ceil(pixels / STEP_PX)
