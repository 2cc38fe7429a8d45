"""Text → boxes: an open-vocabulary detector of transformers looks for the classes by name.

OWLv2 (Minderer et al., "Scaling Open-Vocabulary Object Detection", 2023) and its elder OWL-ViT, and Grounding DINO
(Liu et al., 2023).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import (
    AutoProcessor,
    GroundingDinoForObjectDetection,
    Owlv2ForObjectDetection,
    OwlViTForObjectDetection,
)

from pipeline.sam.outlining import Detection
from pipeline.sam.pretrained import load_pretrained, reported
from pipeline.sam.suppression import suppress
from schemas.errors import ParamsError

ARCHITECTURES = {
    "owlvit": OwlViTForObjectDetection,
    "owlv2": Owlv2ForObjectDetection,
    "grounding-dino": GroundingDinoForObjectDetection,
}
OWL_PROMPT = "a photo of a {}"  # what it was trained with
DUPLICATE_IOU = 0.7  # of two boxes over it the one with the lower score goes, whatever their classes


class Detector:
    """Finds objects of the classes. `phrases`: (what to look for, its label), the class names and their synonyms."""

    def __init__(
        self, model: str, phrases: Sequence[tuple[str, str]], threshold: float, device: torch.device | str = "cpu"
    ) -> None:
        """Load a hub id or a folder. Raises ParamsError if it is unknown or out of reach, DataError if corrupt."""
        self._kind, network = load_pretrained(model, ARCHITECTURES, "prelabel.detector")
        with reported(model, "prelabel.detector"):
            self._processor: Any = AutoProcessor.from_pretrained(model)  # type: ignore[no-untyped-call]
        self._model = network.to(device).eval()
        self._device = device
        self._threshold = threshold
        self._labels = [label for _, label in phrases]
        self._phrases = [" ".join(phrase.lower().replace(".", " ").split()) for phrase, _ in phrases]

    def detect(self, image: NDArray[np.uint8]) -> list[Detection]:
        """Objects in an RGB image, uint8 (H, W, 3) in [0, 255], with scores over the threshold, best first."""
        scores, boxes_cxcywh = self._owl(image) if self._kind.startswith("owl") else self._grounding_dino(image)
        best, phrase = scores.max(dim=1)
        over = torch.nonzero(best > self._threshold)[:, 0]
        boxes = self._in_pixels(boxes_cxcywh[over], image.shape[0], image.shape[1])
        kept = suppress(boxes, best[over].numpy(), DUPLICATE_IOU)
        found = []
        for index in kept:
            left, top, right, bottom = boxes[index].tolist()
            if left < right and top < bottom:
                label = self._labels[int(phrase[over[index]])]
                found.append(Detection(label, float(best[over[index]]), (left, top, right, bottom)))
        return found

    @torch.inference_mode()
    def _owl(self, image: NDArray[np.uint8]) -> tuple[Tensor, Tensor]:
        """Scores, float32 (Q, phrases), and boxes, float32 (Q, 4), of one query for each patch of the image."""
        text = [OWL_PROMPT.format(phrase) for phrase in self._phrases]
        inputs = self._processor(text=[text], images=image, return_tensors="pt", truncation=True).to(self._device)
        outputs = self._model(**inputs)
        return outputs.logits[0].sigmoid().float().cpu(), outputs.pred_boxes[0].float().cpu()

    @torch.inference_mode()
    def _grounding_dino(self, image: NDArray[np.uint8]) -> tuple[Tensor, Tensor]:
        """The same of its queries; a phrase scores as its best token does, as in the original's demo."""
        text, spans = _sentence(self._phrases)
        tokens = self._processor.tokenizer(text, return_offsets_mapping=True)["offset_mapping"]
        longest = self._model.config.max_text_len
        if len(tokens) > longest:
            raise ParamsError(
                f"the class names and synonyms make {len(tokens)} tokens, and prelabel.detector takes {longest}",
                "Leave some synonyms out.",
            )
        inputs = self._processor(text=text, images=image, return_tensors="pt").to(self._device)
        outputs = self._model(**inputs)
        by_token = outputs.logits[0].sigmoid().float().cpu()
        scores = [
            by_token[:, [begin <= start < stop <= end for start, stop in tokens] + [False] * (longest - len(tokens))]
            for begin, end in spans
        ]
        return torch.stack([each.amax(dim=1) for each in scores], dim=1), outputs.pred_boxes[0].float().cpu()

    def _in_pixels(self, boxes_cxcywh: Tensor, height: int, width: int) -> NDArray[np.float32]:
        """Boxes as shares of what the network saw → x0, y0, x1, y1 within the image, float32 (N, 4)."""
        seen_wh = (max(height, width),) * 2 if self._kind == "owlv2" else (width, height)
        middle, half = boxes_cxcywh[:, :2], boxes_cxcywh[:, 2:] / 2
        corners = torch.cat([middle - half, middle + half], dim=1) * torch.tensor(seen_wh * 2)
        inside = torch.minimum(corners.clamp(min=0), torch.tensor([width, height] * 2))
        return inside.to(torch.float32).numpy()


def _sentence(phrases: Sequence[str]) -> tuple[str, list[tuple[int, int]]]:
    """The phrases as Grounding DINO wants them, "car. traffic sign.", and where each begins and ends."""
    text, spans = "", []
    for phrase in phrases:
        spans.append((len(text), len(text) + len(phrase)))
        text += f"{phrase}. "
    return text.rstrip(), spans
