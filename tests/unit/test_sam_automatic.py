"""The automatic mask generator: what it shares with segment_anything's, and its parts."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from connectors.coco_rle import decode
from pipeline.sam.automatic import AutomaticOptions, MaskGenerator, crops, point_grid
from pipeline.sam.model import Embedding, load_segmenter
from pipeline.sam.network import SamSegmenter
from pipeline.sam.resampling import Resampling, column_runs, stability
from pipeline.sam.specks import without_specks
from pipeline.sam.suppression import suppress
from tests.original_sam import SamAutomaticMaskGenerator, batched_nms, original_sam
from tests.tiny_sam import write_tiny_sam

IMAGE = np.kron(np.random.default_rng(0).integers(0, 256, (6, 8, 3)), np.ones((40, 40, 1))).astype(np.uint8)
LENIENT = {"points_per_side": 8, "pred_iou_thresh": 0.0, "stability_score_thresh": 0.4}
"""A random network is sure of nothing."""

CROPS = {"crop_n_layers": 2, "crop_n_points_downscale_factor": 2, "crop_overlap_ratio": 0.1}


@pytest.mark.parametrize(
    ("seed", "options", "at_least"),
    [
        (0, {"box_nms_thresh": 1.0, "points_per_batch": 7}, 100),
        (0, {"points_per_side": 12}, 20),
        (4, {"box_nms_thresh": 0.9, "pred_iou_thresh": 0.2, "stability_score_offset": 0.5}, 5),
        (2, {"box_nms_thresh": 0.95, "crop_nms_thresh": 0.95, "min_mask_region_area": 400}, 10),
        (3, CROPS | {"box_nms_thresh": 1.0, "crop_nms_thresh": 1.0}, 60),
        (3, CROPS | {"min_mask_region_area": 100}, 10),
    ],
    ids=["all", "suppressed", "good ones", "tidied", "crops", "crops, tidied"],
)
@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")  # segment_anything's
def test_masks_are_those_of_segment_anything(
    tmp_path: Path, seed: int, options: dict[str, float], at_least: int
) -> None:
    checkpoint = tmp_path / "tiny.pth"
    reference = original_sam(checkpoint, 128, 32, 64, seed=seed)
    expected = SamAutomaticMaskGenerator(reference, **LENIENT | options).generate(IMAGE)
    generator = MaskGenerator(load_segmenter(str(checkpoint), "cpu"), AutomaticOptions(**LENIENT | options))
    found = generator.generate(IMAGE)
    assert len(found) == len(expected) >= at_least
    for ours, theirs in zip(found, expected, strict=True):
        mask = ours.mask(IMAGE.shape[:2])
        assert (mask ^ theirs["segmentation"]).sum() <= max(1, 0.001 * (mask | theirs["segmentation"]).sum())
        assert np.allclose(ours.point_coords, theirs["point_coords"])
        assert math.isclose(ours.predicted_iou, theirs["predicted_iou"], abs_tol=1e-3)
        assert math.isclose(ours.stability_score, theirs["stability_score"], abs_tol=1e-2)
        assert list(ours.crop_box) == theirs["crop_box"]
        assert (ours.bbox[2] - 1, ours.bbox[3] - 1) == tuple(theirs["bbox"][2:]) or theirs["area"] != ours.area
    if "crop_n_layers" in options:
        assert len({ours.crop_box for ours in found}) > 1


def test_defaults_are_segment_anything_s() -> None:
    theirs = SamAutomaticMaskGenerator.__init__.__defaults__
    assert theirs is not None
    names = SamAutomaticMaskGenerator.__init__.__code__.co_varnames[2 : 2 + len(theirs)]
    defaults = dict(zip(names, theirs, strict=True))
    options = AutomaticOptions()
    for name in AutomaticOptions.__slots__:
        assert getattr(options, name) == defaults[name], name


@pytest.mark.parametrize("kind", ["sam", "sam2"])
def test_batches_shrink_until_they_fit(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    segmenter = load_segmenter(str(write_tiny_sam(tmp_path / "tiny", kind)), "cpu")
    options = AutomaticOptions(**LENIENT | {"box_nms_thresh": 1.0})
    expected = MaskGenerator(segmenter, options).generate(IMAGE)
    decode_all, sizes = SamSegmenter.decode, []

    def decode_few(self: SamSegmenter, embedding: Embedding, points: torch.Tensor, positive: torch.Tensor) -> object:
        if len(points) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        sizes.append(len(points))
        return decode_all(self, embedding, points, positive)

    monkeypatch.setattr(SamSegmenter, "decode", decode_few)
    generator = MaskGenerator(segmenter, options)
    found = generator.generate(IMAGE)
    assert sizes == [1] * 64
    assert [item.point_coords for item in found] == [item.point_coords for item in expected] and found
    generator.generate(IMAGE)
    assert sizes == [1] * 128, "the size that fits is kept"


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_windows_hold_all_that_is_over_the_threshold(height: int, width: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows, columns = (
        torch.nn.functional.interpolate(torch.eye(8)[None], length, mode="linear")[0].T for length in (height, width)
    )
    logits = torch.from_numpy(rng.normal(-2.0, 2.0, (3, 8, 8)).astype(np.float32))
    whole = rows @ logits @ columns.T
    for plane, window in zip(whole, Resampling(rows, columns).windows(logits, -1.0), strict=True):
        inside = torch.full_like(plane, -10.0)
        below, right = window.top + window.values.shape[0], window.left + window.values.shape[1]
        inside[window.top : below, window.left : right] = window.values
        assert torch.equal(inside > -1.0, (plane > -1.0))
        assert stability(window, 1.0) == pytest.approx(
            int((plane > 1).sum()) / max(int((plane > -1).sum()), 1), abs=1e-6
        )


@given(arrays(np.bool_, st.tuples(st.integers(1, 6), st.integers(1, 6))), st.integers(0, 3), st.integers(0, 3))
def test_column_runs_decode_to_the_mask(mask: np.ndarray, top: int, left: int) -> None:
    for more in (0, 2):
        size_hw = (top + mask.shape[0] + more, left + mask.shape[1] + more)
        whole = np.zeros(size_hw, np.bool_)
        whole[top : top + mask.shape[0], left : left + mask.shape[1]] = mask
        runs = column_runs(mask, top, left, size_hw)
        assert np.array_equal(decode(runs, size_hw), whole) and 0 not in runs[1:]


@pytest.mark.parametrize("seed", range(5))
def test_suppression_is_torchvision_s(seed: int) -> None:
    rng = np.random.default_rng(seed)
    corners = rng.integers(0, 30, (200, 2, 2))
    boxes = np.concatenate([corners.min(axis=1), corners.max(axis=1) + 1], axis=1).astype(np.float32)
    scores = rng.integers(0, 20, 200).astype(np.float32) / 20  # with ties
    expected = batched_nms(torch.from_numpy(boxes), torch.from_numpy(scores), torch.zeros(200), 0.5)
    kept = suppress(boxes, scores, 0.5)
    assert np.array_equal(kept, expected.numpy()) and 1 < len(kept) < 200
    assert len(suppress(np.empty((0, 4), np.float32), np.empty(0, np.float32), 0.5)) == 0


def test_specks_go_and_holes_are_filled() -> None:
    mask = np.zeros((12, 20), np.bool_)
    mask[1:9, 1:9] = True
    mask[3:5, 3:5] = False  # a hole of 4 px
    mask[11, 19] = True  # a speck
    tidy, changed = without_specks(mask, 5)
    assert changed and tidy.sum() == 64 and tidy[1:9, 1:9].all()
    assert without_specks(tidy, 5)[1] is False
    smallest, changed = without_specks(mask & (np.arange(20) > 9), 5)
    assert smallest.sum() == 1 and changed is True, "the largest island stays"


def test_points_and_crops_lie_as_in_segment_anything() -> None:
    assert point_grid(2).tolist() == [[0.25, 0.25], [0.75, 0.25], [0.25, 0.75], [0.75, 0.75]]
    boxes = list(crops((100, 200), 1, 0.2))
    assert boxes[0] == (0, (0, 0, 200, 100))
    assert [box for _, box in boxes[1:]] == [
        (0, 0, 110, 60),
        (0, 40, 110, 100),
        (90, 0, 200, 60),
        (90, 40, 200, 100),
    ]
