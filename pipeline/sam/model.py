"""Segment Anything behind one interface: an image is embedded once, then answers any number of prompts.

Kirillov et al., "Segment Anything", ICCV 2023, and Ravi et al., "SAM 2", 2024.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from schemas.errors import ParamsError


@dataclass(frozen=True, slots=True)
class Embedding:
    """What the encoder made of one image, on the model's device. `size_hw`: height and width of the image in pixels."""

    features: tuple[torch.Tensor, ...]
    size_hw: tuple[int, int]


def _no_points() -> NDArray[np.float64]:
    return np.empty((0, 2), np.float64)


def _no_signs() -> NDArray[np.bool_]:
    return np.empty(0, np.bool_)


@dataclass(frozen=True, slots=True)
class Prompt:
    """What the user points at, in pixels of the image; x right, y down, pixel (row r, column c) at x = c, y = r.

    `points_xy`: float64 (N, 2), N ≥ 0. `positive`: bool (N,), False for a point that is not on the object. `box_xyxy`:
    a box around the object. `mask_logits`: float32 (h, w), logits of an earlier answer to refine.
    """

    points_xy: NDArray[np.float64] = field(default_factory=_no_points)
    positive: NDArray[np.bool_] = field(default_factory=_no_signs)
    box_xyxy: tuple[float, float, float, float] | None = None
    mask_logits: NDArray[np.float32] | None = None

    @property
    def ambiguous(self) -> bool:
        """Whether it may mean a part, a whole or what is around it: a single point with nothing else."""
        return len(self.points_xy) == 1 and self.box_xyxy is None and self.mask_logits is None


@dataclass(frozen=True, slots=True)
class Answer:
    """Masks for a prompt, best predicted IoU first: M = 3 for an ambiguous prompt, else 1.

    `masks`: bool (M, H, W). `predicted_iou`: float32 (M,), about 0..1. `logits`: float32 (M, h, w), the network's own
    resolution, over 0 inside.
    """

    masks: NDArray[np.bool_]
    predicted_iou: NDArray[np.float32]
    logits: NDArray[np.float32]


class Segmenter(Protocol):
    """A promptable network. `version` names its weights and precision: the same version embeds an image the same."""

    version: str
    device: torch.device

    def embed(self, image: NDArray[np.uint8]) -> Embedding:
        """The embedding of an RGB image, uint8 (H, W, 3) in [0, 255]."""
        ...

    def segment(self, embedding: Embedding, prompt: Prompt) -> Answer:
        """What the prompt means in the embedded image. Raises ParamsError for an empty or malformed prompt."""
        ...

    def logits(self, embedding: Embedding, prompt: Prompt) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """`logits` and `predicted_iou` of what `segment` answers, which is the network's part of it."""
        ...

    def mask(self, logits: NDArray[np.float32], size_hw: tuple[int, int]) -> NDArray[np.bool_]:
        """Where logits (h, w), brought to the size of an image, are over 0: bool (H, W)."""
        ...

    def decode(
        self,
        embedding: Embedding,
        points_xy: torch.Tensor | None = None,
        positive: torch.Tensor | None = None,
        boxes_xyxy: torch.Tensor | None = None,
        mask_logits: torch.Tensor | None = None,
        ambiguous: bool = True,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Answer B prompts about one image together, all of the same kind.

        `points_xy` (B, N, 2) and `positive` (B, N), `boxes_xyxy` (B, 4), pixels of the image; `mask_logits` (B, h, w).
        Returns logits, float32 (B, M, h, w), and predicted IoU, float32 (B, M); M = 3 if `ambiguous`, else 1.
        """
        ...

    def resampling(self, size_hw: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
        """How logits (h, w) are brought to the size of an image: `rows @ logits @ columns.T`.

        Float32 `rows` (H, h) and `columns` (W, w) on the model's device; each of their rows averages neighbours.
        """
        ...


def load_segmenter(model: str, device: str = "auto", precision: str = "auto") -> Segmenter:
    """Load SAM or SAM 2.

    `model`: a hub id (`facebook/sam-vit-base`, `facebook/sam2.1-hiera-tiny`), a folder written by `save_pretrained`, or
    an original checkpoint of SAM (`sam_vit_b_01ec64.pth`). `device`: auto, cpu or cuda. `precision`: auto, float32,
    bfloat16 or float16; auto is bfloat16 on a GPU that has it, float32 elsewhere.

    Raises ParamsError if the extra is not installed, the model unknown or out of reach, or the device absent, and
    DataError if its files are corrupt or hold other weights.
    """
    try:
        from pipeline.sam.network import load
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("transformers"):
            raise
        raise ParamsError(
            f"prelabel.model is {model!r}, and the package transformers, which runs it, is not installed",
            "Install it: pip install 'maskloop[sam]'",
        ) from None
    return load(model, device, precision)
