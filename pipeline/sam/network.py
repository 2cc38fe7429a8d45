"""`SamModel` and `Sam2Model` of transformers as a `Segmenter`; no torchvision."""

from __future__ import annotations

import hashlib
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from transformers import Sam2Model, SamModel

from pipeline.sam.model import Answer, Embedding, Prompt
from pipeline.sam.names import is_checkpoint
from pipeline.sam.original import load_original
from pipeline.sam.pretrained import load_pretrained
from schemas.errors import ParamsError

MEAN = np.array(
    (0.485, 0.456, 0.406), np.float32
)  # ImageNet's, as all published checkpoints of SAM and SAM 2 expect, of values in 0..1
STD = np.array((0.229, 0.224, 0.225), np.float32)
ARCHITECTURES: dict[str, Any] = {"sam": SamModel, "sam2": Sam2Model, "sam2_video": Sam2Model}
UPSCALING = 4  # of the decoder: logits are that much finer than the embedding
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True, slots=True)
class Compute:
    """Where and how a network runs: the device, and the dtype its matrix products are taken in."""

    device: torch.device
    dtype: torch.dtype

    @classmethod
    def choose(cls, device: str, precision: str) -> Compute:
        """What is asked for; `auto` is a GPU if there is one, bfloat16 if that has it, float32 elsewhere.

        Raises ParamsError if CUDA is asked for and absent, or the precision unknown.
        """
        has_cuda = torch.cuda.is_available()
        if device == "cuda" and not has_cuda:
            raise ParamsError("prelabel.device is `cuda`, but torch finds no GPU", "Set it to `auto` or `cpu`.")
        chosen = torch.device("cuda" if has_cuda and device != "cpu" else "cpu")
        if precision == "auto":
            fast = chosen.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
            return cls(chosen, torch.bfloat16 if fast else torch.float32)
        if precision not in DTYPES:
            raise ParamsError(f"prelabel.precision is {precision!r}, expected auto, {', '.join(DTYPES)}")
        return cls(chosen, DTYPES[precision])

    def autocast(self) -> AbstractContextManager[None]:
        """The context in which a forward pass runs."""
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)


class SamSegmenter:
    """See `Segmenter`. SAM pads the resized image to its square input, SAM 2 stretches it."""

    def __init__(self, model: Any, compute: Compute, name: str) -> None:
        """Of a `SamModel` or `Sam2Model`."""
        self._model = model
        self._model.eval().requires_grad_(False)
        self._model.to(compute.device)
        self._compute = compute
        self.device = compute.device
        self._pads = isinstance(model, SamModel)
        self._side = int(self._model.config.prompt_encoder_config.image_size)
        self._positions: Tensor = self._model.get_image_wide_positional_embeddings()
        precision = "" if compute.dtype == torch.float32 else f"-{str(compute.dtype).removeprefix('torch.')}"
        self.version = f"{name}-{_digest(model)[:12]}{precision}"

    @torch.inference_mode()
    def embed(self, image: NDArray[np.uint8]) -> Embedding:
        """See Segmenter."""
        size_hw = (image.shape[0], image.shape[1])
        pixels = torch.from_numpy(self._input(image)).to(self.device)
        with self._compute.autocast():
            features = self._model.get_image_embeddings(pixels)
        features = (features,) if isinstance(features, Tensor) else tuple(features)
        return Embedding(tuple(feature.float() for feature in features), size_hw)

    def segment(self, embedding: Embedding, prompt: Prompt) -> Answer:
        """See Segmenter."""
        logits, scores = self.logits(embedding, prompt)
        return Answer(np.stack([self.mask(plane, embedding.size_hw) for plane in logits]), scores, logits)

    def logits(self, embedding: Embedding, prompt: Prompt) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """See Segmenter."""
        if not len(prompt.points_xy) and prompt.box_xyxy is None and prompt.mask_logits is None:
            raise ParamsError("the prompt is empty", "Give at least one point or a box.")
        points = len(prompt.points_xy) > 0
        logits, scores = self.decode(
            embedding,
            torch.from_numpy(np.asarray(prompt.points_xy, np.float64))[None] if points else None,
            torch.from_numpy(np.asarray(prompt.positive, np.bool_))[None] if points else None,
            None if prompt.box_xyxy is None else torch.tensor([prompt.box_xyxy], dtype=torch.float64),
            None if prompt.mask_logits is None else torch.from_numpy(prompt.mask_logits)[None],
            ambiguous=prompt.ambiguous,
        )
        best_first = scores[0].argsort(descending=True, stable=True)
        return logits[0, best_first].cpu().numpy(), scores[0, best_first].cpu().numpy()

    def mask(self, logits: NDArray[np.float32], size_hw: tuple[int, int]) -> NDArray[np.bool_]:
        """See Segmenter. For a whole image it is ten times as fast as the products of `resampling`."""
        height, width = size_hw
        if self._pads:
            inside_height, inside_width = self._input_hw(size_hw)
            logits = _resized(logits, self._side, self._side)[:inside_height, :inside_width]
        mask: NDArray[np.bool_] = _resized(logits, height, width) > 0
        return mask

    @torch.inference_mode()
    def decode(
        self,
        embedding: Embedding,
        points_xy: Tensor | None = None,
        positive: Tensor | None = None,
        boxes_xyxy: Tensor | None = None,
        mask_logits: Tensor | None = None,
        ambiguous: bool = True,
    ) -> tuple[Tensor, Tensor]:
        """See Segmenter."""
        if points_xy is None and boxes_xyxy is None:  # only a mask: a point that says nothing, as SAM 2 does it
            points_xy = torch.zeros(1, 1, 2)
            labels = torch.full((1, 1), -1, dtype=torch.int32)
        elif points_xy is not None:
            assert positive is not None
            labels = positive.to(torch.int32)
        device = self.device
        sparse, dense = self._model.get_prompt_embeddings(
            input_points=None if points_xy is None else self._to_input(points_xy, embedding.size_hw)[None],
            input_labels=None if points_xy is None else labels[None].to(device),
            input_boxes=None if boxes_xyxy is None else self._boxes(boxes_xyxy, embedding.size_hw)[None],
            input_masks=None if mask_logits is None else self._masks(mask_logits)[:, None],
        )
        extra = {} if self._pads else {"high_resolution_features": list(embedding.features[:-1])}
        with self._compute.autocast():
            logits, scores, *_ = self._model.mask_decoder(
                image_embeddings=embedding.features[-1],
                image_positional_embeddings=self._positions,
                sparse_prompt_embeddings=sparse,
                dense_prompt_embeddings=dense,
                multimask_output=ambiguous,
                **extra,
            )
        return logits[0].float(), scores[0].float()

    def resampling(self, size_hw: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """See Segmenter."""
        rows, columns = (
            self._axis(inside, length) for inside, length in zip(self._input_hw(size_hw), size_hw, strict=True)
        )
        return rows, columns

    def _axis(self, inside: int, length: int) -> Tensor:
        """The interpolation of SAM's and SAM 2's own postprocessing along one axis, (length, logits' side)."""
        steps = torch.eye(self._positions.shape[-1] * UPSCALING, device=self.device)[None]
        if self._pads:  # SAM goes through its padded input, and leaves the padding there
            steps = F.interpolate(steps, self._side, mode="linear", align_corners=False)[..., :inside]
        return F.interpolate(steps, length, mode="linear", align_corners=False)[0].T.contiguous()

    def _input_hw(self, size_hw: tuple[int, int]) -> tuple[int, int]:
        """Size of an image within the square input."""
        if not self._pads:
            return self._side, self._side
        scale = self._side / max(size_hw)
        return int(size_hw[0] * scale + 0.5), int(size_hw[1] * scale + 0.5)

    def _input(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """An image as the encoder wants it, float32 (1, 3, side, side)."""
        height, width = self._input_hw((image.shape[0], image.shape[1]))
        resized = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))
        square = np.zeros((1, 3, self._side, self._side), np.float32)
        normal = (resized.astype(np.float32) / 255 - MEAN) / STD
        square[0, :, :height, :width] = normal.transpose(2, 0, 1)
        return square

    def _to_input(self, points_xy: Tensor, size_hw: tuple[int, int]) -> Tensor:
        """Pixels of the image → pixels of the input, float64 on the device, for coordinates in the last axis."""
        height, width = self._input_hw(size_hw)
        scale = torch.tensor([width / size_hw[1], height / size_hw[0]], dtype=torch.float64)
        return (points_xy * scale).to(self.device)

    def _boxes(self, boxes_xyxy: Tensor, size_hw: tuple[int, int]) -> Tensor:
        return self._to_input(boxes_xyxy.reshape(-1, 2, 2), size_hw).reshape(-1, 4)

    def _masks(self, mask_logits: Tensor) -> Tensor:
        expected = self._positions.shape[-1] * UPSCALING
        if tuple(mask_logits.shape[1:]) != (expected, expected):
            found = "x".join(str(length) for length in mask_logits.shape[1:])
            raise ParamsError(f"the mask of the prompt is {found}, expected logits of an answer, {expected}x{expected}")
        return mask_logits.to(self.device, torch.float32)


def _resized(values: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """Bilinear, pixel centres on pixel centres, as `F.interpolate` with `align_corners=False`."""
    return cv2.resize(values, (width, height), interpolation=cv2.INTER_LINEAR).astype(np.float32, copy=False)


def load(model: str, device: str, precision: str) -> SamSegmenter:
    """See `pipeline.sam.model.load_segmenter`."""
    compute = Compute.choose(device, precision)
    path = Path(model)
    if is_checkpoint(model):
        if not path.is_file():
            raise ParamsError(f"prelabel.model: {path} does not exist", "Give the path of a checkpoint of SAM.")
        return SamSegmenter(load_original(path), compute, path.stem)
    _, network = load_pretrained(model, ARCHITECTURES, "prelabel.model")
    return SamSegmenter(network, compute, path.name)


def _digest(model: SamModel | Sam2Model) -> str:
    """SHA-256 over the names and bytes of all weights, in hex."""
    digest = hashlib.sha256()
    for key, value in sorted(model.state_dict().items()):
        digest.update(key.encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()
