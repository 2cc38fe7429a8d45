"""From images to class-index masks: what validation, evaluate, gate and predict share."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.checkpoint import ModelCard, load
from pipeline.dataset import Sample, load_image, load_mask, normalise, resize_image
from pipeline.decide import Decision, decide, decide_bands
from pipeline.meter import Meter
from pipeline.metrics import Confusion, confusion_counts
from pipeline.models.base import Segmenter
from pipeline.tiles import WHOLE, Tiling, blended_bands
from schemas.errors import ParamsError
from schemas.params import Params, TrainParams

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True, slots=True)
class Compute:
    """Where and how a network runs: the device, and autocast to `precision`, or plain float32."""

    device: torch.device
    precision: torch.dtype = torch.float32

    @classmethod
    def choose(cls, params: TrainParams) -> Compute:
        """What `train.device` and `train.precision` ask for; `auto` is a GPU if there is one, and bfloat16 if native.

        Raises ParamsError if CUDA is asked for and absent.
        """
        has_cuda = torch.cuda.is_available()
        if params.device == "cuda" and not has_cuda:
            raise ParamsError("train.device is `cuda`, but torch finds no GPU", "Set it to `auto` or `cpu`.")
        device = torch.device("cuda" if has_cuda and params.device != "cpu" else "cpu")
        if params.precision != "auto":
            return cls(device, PRECISIONS[params.precision])
        if device.type == "cuda":
            is_native = torch.cuda.is_bf16_supported(including_emulation=False)
        else:
            is_native = bool(torch.cpu.get_capabilities().get("avx512_bf16", False))
        return cls(device, torch.bfloat16 if is_native else torch.float32)

    def autocast(self) -> AbstractContextManager[None]:
        """The context in which the network's forward pass runs."""
        return torch.autocast(self.device.type, self.precision, enabled=self.precision != torch.float32)

    def workers(self, params: TrainParams) -> int:
        """Threads that prepare batches: `train.workers`, else up to 4 beside a GPU, none where the cores compute."""
        if params.workers is not None:
            return params.workers
        return min(4, os.cpu_count() or 1) if self.device.type == "cuda" else 0

    def place(self, model: Segmenter) -> Segmenter:
        """The model on the device, its weights channels-last in memory."""
        return model.to(self.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


@dataclass(frozen=True, slots=True)
class Prediction:
    """`mask`: class index, 0..C-1, uint8 (H, W). `confidence`: its probability, 0..1, float32 (H, W)."""

    mask: NDArray[np.uint8]
    confidence: NDArray[np.float32]

    @classmethod
    def of(cls, decision: Decision) -> Prediction:
        """A decision, brought to the CPU."""
        mask, confidence = decision
        return cls(mask.cpu().numpy(), confidence.cpu().numpy())


@dataclass(frozen=True, slots=True)
class Network:
    """A model with all it takes to feed it: input size, normalisation, device, precision, and how images are cut."""

    model: Segmenter
    size_hw: tuple[int, int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    compute: Compute
    tiling: Tiling = WHOLE

    def predict(self, images: Sequence[NDArray[np.uint8]]) -> list[Prediction]:
        """Predict one batch of RGB images, uint8 (H, W, 3) in [0, 255], of any sizes; predictions have their sizes."""
        resized = np.stack([resize_image(image, self.size_hw) for image in images])
        return self.predict_resized(resized, [(image.shape[0], image.shape[1]) for image in images])

    def predict_resized(self, images: NDArray[np.uint8], sizes_hw: Sequence[tuple[int, int]]) -> list[Prediction]:
        """Predict one batch already at `size_hw`, uint8 (N, h, w, 3), each to its full size in `sizes_hw`."""
        return [Prediction.of(decision) for decision in self.decide(images, sizes_hw)]

    @torch.inference_mode()
    def decide(self, images: NDArray[np.uint8], sizes_hw: Sequence[tuple[int, int]]) -> list[Decision]:
        """`predict_resized` that leaves its results on the device."""
        pixels = torch.from_numpy(images).to(self.compute.device)
        if not self.tiling.cuts(self.size_hw):
            return [decide(*each) for each in zip(self._logits(pixels), sizes_hw, strict=True)]
        return [
            decide_bands(blended_bands(self._logits, image, self.tiling), self.size_hw[0], size_hw)
            for image, size_hw in zip(pixels, sizes_hw, strict=True)
        ]

    def _logits(self, images: Tensor) -> Tensor:
        """Logits, float32 (N, C, h, w), of images, uint8 (N, h, w, 3)."""
        inputs = normalise(images, self.mean, self.std)
        with self.compute.autocast():
            logits: Tensor = self.model.eval()(inputs).float()
            if self.tiling.flips:
                logits = (logits + self.model(inputs.flip(-1)).float().flip(-1)) / 2
        return logits


def load_network(folder: Path, params: Params) -> tuple[Network, ModelCard]:
    """The model of a folder, ready to predict, and its card. Raises what `checkpoint.load` raises."""
    model, card = load(folder, params.class_map)
    compute = Compute.choose(params.train)
    tiling = Tiling.of(params.predict)
    return Network(compute.place(model), card.size_hw, card.mean, card.std, compute, tiling), card


def measure(
    network: Network,
    samples: Iterable[Sample],
    batch_size: int,
    images: Iterable[NDArray[np.uint8]] | None = None,
    meter: Meter | None = None,
) -> Iterator[tuple[Sample, Prediction, Confusion]]:
    """Predict samples and count every pixel of their masks at full size, in `meter` too if there is one.

    `images`: their images at the network's size, uint8 (h, w, 3), if they are decoded already.
    """
    samples = list(samples)
    resized = iter(images if images is not None else (load_image(sample, network.size_hw) for sample in samples))
    for start in range(0, len(samples), batch_size):
        chunk = samples[start : start + batch_size]
        batch = np.stack(list(islice(resized, len(chunk))))
        decisions = network.decide(batch, [(sample.height, sample.width) for sample in chunk])
        for sample, decision in zip(chunk, decisions, strict=True):
            actual = torch.from_numpy(load_mask(sample)).to(network.compute.device)
            if meter:
                meter.update(actual, *decision)
            confusion = confusion_counts(actual, decision[0], len(sample.class_pixels))
            yield sample, Prediction.of(decision), confusion.cpu().numpy()
