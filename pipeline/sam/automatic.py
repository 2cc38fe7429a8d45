"""Masks for everything in an image: SAM's automatic mask generator, without torchvision.

The same masks in the same order as segment_anything's `SamAutomaticMaskGenerator` on the same weights. It does less to
get there: masks are filtered by predicted IoU before they are brought to the image's size, each is made only within the
window where it can be, and becomes run lengths at once; and on a CPU prompts come in batches that its caches hold.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from connectors.coco_rle import decode
from connectors.sam_pickle import Prelabel
from pipeline.sam.model import Embedding, Segmenter
from pipeline.sam.resampling import Resampling, Window, column_runs, stability
from pipeline.sam.specks import without_specks
from pipeline.sam.suppression import suppress

CPU_BATCH = 2  # a processor's caches hold no more, and it is 1.6× as fast as 16
CROP_EDGE_PX = 20.0  # how near to a crop's edge a box counts as cut off by it

Image = NDArray[np.uint8]
BoxXyxy = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class AutomaticOptions:
    """Names, meaning and defaults of `SamAutomaticMaskGenerator`'s.

    `points_per_side`² points are prompted, at most `points_per_batch` together. A mask stays if its predicted IoU is
    over `pred_iou_thresh` (0 lets all pass) and its stability, the IoU of its thresholds at ±
    `stability_score_offset`, at least `stability_score_thresh`; of boxes with an IoU over `box_nms_thresh` the best one
    stays. `crop_n_layers`: layer i looks at 4^i crops with their sides overlapping by `crop_overlap_ratio` and their
    points per side divided by `crop_n_points_downscale_factor`^i, duplicates among crops by `crop_nms_thresh`.
    `min_mask_region_area`: smaller specks and holes go, in pixels.
    """

    points_per_side: int = 32
    points_per_batch: int = 64
    pred_iou_thresh: float = 0.88
    stability_score_thresh: float = 0.95
    stability_score_offset: float = 1.0
    box_nms_thresh: float = 0.7
    crop_n_layers: int = 0
    crop_nms_thresh: float = 0.7
    crop_overlap_ratio: float = 512 / 1500
    crop_n_points_downscale_factor: int = 1
    min_mask_region_area: int = 0


@dataclass(frozen=True, slots=True)
class Candidate:
    """A mask that passed the filters. `runs`: of the whole image; `box_xyxy`: first and last column and row."""

    runs: list[int]
    box_xyxy: BoxXyxy
    point_xy: tuple[float, float]
    predicted_iou: float
    stability_score: float
    crop_xyxy: BoxXyxy


class MaskGenerator:
    """Proposes the masks of one image after the other. `points_per_batch` falls when memory does not hold a batch."""

    def __init__(self, segmenter: Segmenter, options: AutomaticOptions | None = None) -> None:
        self._segmenter = segmenter
        self._options = options or AutomaticOptions()
        largest = CPU_BATCH if segmenter.device.type == "cpu" else self._options.points_per_batch
        self._batch = min(self._options.points_per_batch, largest)

    def generate(self, image: Image, embed: Callable[[Image], Embedding] | None = None) -> list[Prelabel]:
        """Masks of an RGB image, uint8 (H, W, 3) in [0, 255]; boxes and points in its pixels.

        `embed`: where the embedding of the whole image comes from, if not straight from the segmenter.
        """
        size_hw = (image.shape[0], image.shape[1])
        found: list[Candidate] = []
        for layer, crop in crops(size_hw, self._options.crop_n_layers, self._options.crop_overlap_ratio):
            found += self._of_crop(image, crop, layer, embed if embed and layer == 0 else self._segmenter.embed)
        if self._options.crop_n_layers:
            smallest_crop_first = [1 / _area(candidate.crop_xyxy) for candidate in found]
            found = _distinct(found, smallest_crop_first, self._options.crop_nms_thresh)
        if self._options.min_mask_region_area:
            thresh = max(self._options.box_nms_thresh, self._options.crop_nms_thresh)
            found = _tidied(found, size_hw, self._options.min_mask_region_area, thresh)
        return [_prelabel(candidate, size_hw) for candidate in found]

    def _of_crop(self, image: Image, crop: BoxXyxy, layer: int, embed: Callable[[Image], Embedding]) -> list[Candidate]:
        """What stays of the points of one crop."""
        left, top, right, bottom = crop
        size_hw = (image.shape[0], image.shape[1])
        embedding = embed(np.ascontiguousarray(image[top:bottom, left:right]))
        resampling = Resampling(*self._segmenter.resampling(embedding.size_hw))
        per_side = int(self._options.points_per_side / self._options.crop_n_points_downscale_factor**layer)
        points_xy = point_grid(per_side) * [right - left, bottom - top]
        found: list[Candidate] = []
        for points, logits, scores in self._answers(embedding, points_xy):
            for index, window, stable in self._stable(logits, scores, resampling):
                mask = (window.values > 0).cpu().numpy()
                corner = (top + window.top, left + window.left)
                box = _box(mask, *corner)
                if box is None or _is_cut_off(box, crop, size_hw):
                    continue
                x, y = (points[index // logits.shape[1]] + [left, top]).tolist()
                score = float(scores.flatten()[index])
                found.append(Candidate(column_runs(mask, *corner, size_hw), box, (x, y), score, stable, crop))
        return _distinct(found, [candidate.predicted_iou for candidate in found], self._options.box_nms_thresh)

    def _answers(
        self, embedding: Embedding, points_xy: NDArray[np.float64]
    ) -> Iterator[tuple[NDArray[np.float64], Tensor, Tensor]]:
        """Batches of points with their logits (B, 3, h, w) and predicted IoU (B, 3), this on the CPU."""
        done = 0
        while done < len(points_xy):
            points = points_xy[done : done + self._batch]
            prompts = torch.from_numpy(points)[:, None]
            try:
                logits, scores = self._segmenter.decode(embedding, prompts, torch.ones(prompts.shape[:2]))
            except RuntimeError as error:
                if not _is_out_of_memory(error) or self._batch == 1:
                    raise
                self._batch //= 2
                torch.cuda.empty_cache()
                continue
            yield points, logits, scores.cpu()
            done += len(points)

    def _stable(self, logits: Tensor, scores: Tensor, resampling: Resampling) -> Iterator[tuple[int, Window, float]]:
        """Index among the B·3 masks, window and stability of those that pass both filters."""
        options = self._options
        least = options.pred_iou_thresh if options.pred_iou_thresh > 0 else -math.inf  # scores can be under 0
        good = torch.nonzero(scores.flatten() > least)[:, 0]
        windows = resampling.windows(logits.flatten(0, 1)[good.to(logits.device)], -options.stability_score_offset)
        for index, window in zip(good.tolist(), windows, strict=True):
            stable = stability(window, options.stability_score_offset)
            if stable >= options.stability_score_thresh:
                yield index, window, stable


def point_grid(per_side: int) -> NDArray[np.float64]:
    """The middles of `per_side`² equal cells of the unit square, float64 (N, 2), x and y, row by row."""
    offset = 1 / (2 * per_side)
    steps = np.linspace(offset, 1 - offset, per_side)
    return np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2)


def crops(size_hw: tuple[int, int], layers: int, overlap_ratio: float) -> Iterator[tuple[int, BoxXyxy]]:
    """(layer, box) of the whole image, layer 0, and of the 4^i overlapping crops of each layer i, column by column."""
    height, width = size_hw
    yield 0, (0, 0, width, height)
    for layer in range(1, layers + 1):
        per_side = 2**layer
        overlap = int(overlap_ratio * min(size_hw) * (2 / per_side))
        crop_height, crop_width = (math.ceil((overlap * (per_side - 1) + length) / per_side) for length in size_hw)
        for column in range(per_side):
            left = (crop_width - overlap) * column
            for row in range(per_side):
                top = (crop_height - overlap) * row
                yield layer, (left, top, min(left + crop_width, width), min(top + crop_height, height))


def _distinct(found: list[Candidate], scores: list[float], iou_threshold: float) -> list[Candidate]:
    boxes = np.array([candidate.box_xyxy for candidate in found], np.float32).reshape(-1, 4)
    return [found[index] for index in suppress(boxes, np.array(scores, np.float32), iou_threshold)]


def _tidied(found: list[Candidate], size_hw: tuple[int, int], min_area: int, iou_threshold: float) -> list[Candidate]:
    """Without specks and holes; of duplicates that arise the untouched ones stay, as segment_anything has it."""
    tidied, untouched = [], []
    for candidate in found:
        mask, changed = without_specks(decode(candidate.runs, size_hw), min_area)
        if changed:
            box = _box(mask, 0, 0) or candidate.box_xyxy
            candidate = replace(candidate, runs=column_runs(mask, 0, 0, size_hw), box_xyxy=box)
        tidied.append(candidate)
        untouched.append(float(not changed))
    return _distinct(tidied, untouched, iou_threshold)


def _prelabel(candidate: Candidate, size_hw: tuple[int, int]) -> Prelabel:
    prelabel = Prelabel.from_runs(
        candidate.runs, size_hw, (candidate.point_xy,), candidate.predicted_iou, candidate.stability_score
    )
    left, top, right, bottom = candidate.crop_xyxy
    return replace(prelabel, crop_box=(left, top, right - left, bottom - top))


def _box(mask: NDArray[np.bool_], top: int, left: int) -> BoxXyxy | None:
    """First and last column and row of a mask with its corner at (top, left), as SAM counts them; None if empty."""
    columns, rows = np.flatnonzero(mask.any(axis=0)) + left, np.flatnonzero(mask.any(axis=1)) + top
    return (int(columns[0]), int(rows[0]), int(columns[-1]), int(rows[-1])) if len(columns) else None


def _is_cut_off(box: BoxXyxy, crop: BoxXyxy, size_hw: tuple[int, int]) -> bool:
    """Whether a side of the box is at an edge of the crop that isn't one of the image."""
    whole = (0, 0, size_hw[1], size_hw[0])
    return any(
        abs(side - edge) <= CROP_EDGE_PX < abs(side - border)
        for side, edge, border in zip(box, crop, whole, strict=True)
    )


def _area(box: BoxXyxy) -> int:
    return (box[2] - box[0]) * (box[3] - box[1])


def _is_out_of_memory(error: RuntimeError) -> bool:
    """Whether torch ran out of a GPU's memory, or of the machine's."""
    return isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)
