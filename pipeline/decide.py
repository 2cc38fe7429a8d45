"""From logits to classes at an image's full size, class by class, so that memory holds a few planes rather than C."""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor

STRIP_ROWS = 256

Decision = tuple[Tensor, Tensor]
"""Class index, uint8 (H, W), and its probability (softmax), float32 (H, W) in 0..1."""


def decide(logits: Tensor, size_hw: tuple[int, int]) -> Decision:
    """Decision on logits, float32 (C, h, w), brought to `size_hw` bilinearly."""
    return _largest(F.interpolate(plane[None, None], size_hw, mode="bilinear")[0, 0] for plane in logits)


def decide_bands(bands: Iterable[Tensor], band_rows: int, size_hw: tuple[int, int]) -> Decision:
    """`decide` on logits that come in bands from the top, float32 (C, rows, w), `band_rows` rows in all.

    Beside a band and the decision, memory holds a few planes of STRIP_ROWS × W floats.
    """
    height = size_hw[0]
    parts: list[Decision] = []
    kept: Tensor | None = None
    top = bottom = done = 0  # rows of the logits that are held, and rows of the decision
    for band in bands:
        kept = band if kept is None else torch.cat([kept, band], dim=1)
        bottom += band.shape[1]
        ready = height if bottom == band_rows else _rows_above(bottom - 1, band_rows, height)
        while done < ready:
            until = min(done + STRIP_ROWS, ready)
            parts.append(_decide_strip(kept, top, band_rows, range(done, until), size_hw))
            done = until
        needed = min(int(_source(torch.tensor([min(done, height - 1)]), band_rows, height)), bottom)
        kept, top = kept[:, needed - top :].clone(), needed
    masks, confidences = zip(*parts, strict=True)
    return torch.cat(masks), torch.cat(confidences)


def _decide_strip(kept: Tensor, top: int, rows: int, strip: range, size_hw: tuple[int, int]) -> Decision:
    """Decision on some rows of the full size; `kept`: logits from row `top` on."""
    height, width = size_hw
    place = _source(torch.arange(strip.start, strip.stop, device=kept.device), rows, height)
    above = place.floor().long()
    below = (above + 1).clamp_max(top + kept.shape[1] - 1)  # never beyond what counts
    share = (place - above).float()[:, None]

    def full(plane: Tensor) -> Tensor:
        lines = torch.lerp(plane[above - top], plane[below - top], share)
        return F.interpolate(lines[None, None], (len(strip), width), mode="bilinear")[0, 0]

    return _largest(full(plane) for plane in kept)


def _source(rows: Tensor, count: int, height: int) -> Tensor:
    """Which row of `count`, a fraction, the centre of a row of `height` falls on, float64."""
    return ((rows.double() + 0.5) * count / height - 0.5).clamp(0, count - 1)


def _rows_above(row: int, count: int, height: int) -> int:
    """How many rows of `height` lie above row `row` of `count`, so that they don't need what comes after it."""
    places = _source(torch.arange(height), count, height)
    return int((places <= row).sum())


def _largest(planes: Iterable[Tensor]) -> Decision:
    best = total = mask = torch.empty(0)
    for index, plane in enumerate(planes):
        if index == 0:
            best, total, mask = plane.clone(), plane.clone(), torch.zeros_like(plane, dtype=torch.uint8)
            continue
        mask.masked_fill_(plane > best, index)
        torch.maximum(best, plane, out=best)
        torch.logaddexp(total, plane, out=total)  # logarithm of the summed exponentials
    return mask, torch.exp(best - total)
