"""Prediction in overlapping tiles, blended, with memory for one row of tiles at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from schemas.params import PredictParams

TILES_AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class Tiling:
    """How an image at the network's size is cut: tiles of `tile_hw` pixels (None: none), that share at least `overlap`
    (0..1) of their length with the next; `flips`: whether logits are averaged with those of the mirror image.
    """

    tile_hw: tuple[int, int] | None = None
    overlap: float = 0.25
    flips: bool = False

    @classmethod
    def of(cls, params: PredictParams) -> Tiling:
        """What the `predict` section asks for."""
        return cls(params.tile_hw, params.overlap, params.flips)

    def cuts(self, size_hw: tuple[int, int]) -> bool:
        """Whether images of `size_hw` are more than one tile."""
        return self.tile_hw is not None and (self.tile_hw[0] < size_hw[0] or self.tile_hw[1] < size_hw[1])


WHOLE = Tiling()


def blended_bands(logits_of: Callable[[Tensor], Tensor], image: Tensor, tiling: Tiling) -> Iterator[Tensor]:
    """Logits of an image, uint8 (h, w, 3), from its top to its bottom: bands, float32 (C, rows, w), h rows in all.

    `logits_of`: uint8 (N, th, tw, 3) → float32 (N, C, th, tw). Where tiles overlap, each counts the more the farther
    its edge is, in a line. With `decide_bands` behind it, memory holds at most 4 · C × th × w floats beside what
    `logits_of` takes for 4 tiles.
    """
    height, width = image.shape[:2]
    tile_h, tile_w = (
        min(tile, size) for tile, size in zip(tiling.tile_hw or (height, width), (height, width), strict=True)
    )
    tops, lefts = (starts(size, tile, tiling.overlap) for size, tile in ((height, tile_h), (width, tile_w)))
    weights_y, weights_x = blending(tops, tile_h).to(image.device), blending(lefts, tile_w).to(image.device)
    band: Tensor | None = None
    for row, top in enumerate(tops):
        for first in range(0, len(lefts), TILES_AT_ONCE):
            chunk = range(first, min(first + TILES_AT_ONCE, len(lefts)))
            tiles = torch.stack([image[top : top + tile_h, lefts[i] : lefts[i] + tile_w] for i in chunk])
            for i, logits in zip(chunk, logits_of(tiles), strict=True):
                if band is None:
                    band = logits.new_zeros((len(logits), tile_h, width))
                band[..., lefts[i] : lefts[i] + tile_w] += logits * weights_y[row][:, None] * weights_x[i]
        if band is not None:
            done = tops[row + 1] - top if row + 1 < len(tops) else tile_h
            yield band[:, :done]
            band = torch.cat([band[:, done:], torch.zeros_like(band[:, :done])], dim=1)


def starts(size: int, tile: int, overlap: float) -> list[int]:
    """Where tiles start along an axis: as few as cover it, evenly spread, sharing at least `overlap` of a tile."""
    if tile >= size:
        return [0]
    step = max(1, math.floor(tile * (1 - overlap)))
    count = math.ceil((size - tile) / step) + 1
    return [round(index * (size - tile) / (count - 1)) for index in range(count)]


def blending(begins: list[int], tile: int) -> Tensor:
    """Weight of each tile at each of its pixels along an axis, float32 (tiles, tile): they add up to 1 everywhere."""
    place = torch.arange(tile, dtype=torch.float64) + 0.5
    ramp = torch.minimum(place, tile - place)
    total = torch.zeros(begins[-1] + tile, dtype=torch.float64)
    for begin in begins:
        total[begin : begin + tile] += ramp
    return torch.stack([ramp / total[begin : begin + tile] for begin in begins]).float()
