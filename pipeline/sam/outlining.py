"""Boxes → masks: SAM outlines what the detector found, and the better detection gets the pixels that two claim."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from connectors.sam_pickle import Prelabel
from pipeline.sam.model import Embedding, Segmenter
from pipeline.sam.resampling import Resampling, column_runs, stability

BOXES_AT_ONCE = 16
STABILITY_OFFSET = 1.0


@dataclass(frozen=True, slots=True)
class Detection:
    """One object. `label`: its class; `score`: 0..1; `box_xyxy`: pixels of the image."""

    label: str
    score: float
    box_xyxy: tuple[float, float, float, float]


def outline(segmenter: Segmenter, embedding: Embedding, detections: Sequence[Detection]) -> list[Prelabel]:
    """A pre-label with label and score for each detection, best first; they don't overlap.

    One that better ones cover wholly, or where SAM finds nothing, is left out. The prompt point in the record is the
    middle of the box.
    """
    resampling = Resampling(*segmenter.resampling(embedding.size_hw))
    free = np.ones(embedding.size_hw, np.bool_)
    found = []
    ranked = sorted(detections, key=lambda detection: -detection.score)
    for start in range(0, len(ranked), BOXES_AT_ONCE):
        chunk = ranked[start : start + BOXES_AT_ONCE]
        boxes = torch.tensor([detection.box_xyxy for detection in chunk], dtype=torch.float64)
        logits, scores = segmenter.decode(embedding, boxes_xyxy=boxes, ambiguous=False)
        windows = resampling.windows(logits[:, 0], -STABILITY_OFFSET)
        for detection, window, score in zip(chunk, windows, scores[:, 0].tolist(), strict=True):
            mask = (window.values > 0).cpu().numpy()
            height, width = mask.shape
            place = free[window.top : window.top + height, window.left : window.left + width]
            mask &= place
            if not mask.any():
                continue
            place &= ~mask
            left, top, right, bottom = detection.box_xyxy
            prelabel = Prelabel.from_runs(
                column_runs(mask, window.top, window.left, embedding.size_hw),
                embedding.size_hw,
                [((left + right) / 2, (top + bottom) / 2)],
                score,
                stability(window, STABILITY_OFFSET),
            )
            found.append(replace(prelabel, label=detection.label, label_score=detection.score))
    return found
