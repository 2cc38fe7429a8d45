"""Tiles: they cover the image, blend without a seam, and take little memory."""

import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from pipeline.decide import decide, decide_bands
from pipeline.inference import Compute, Network
from pipeline.models import build
from pipeline.tiles import Tiling, blended_bands, blending, starts

PLAIN = Compute(torch.device("cpu"))


@pytest.mark.parametrize("size", [32, 33, 100, 257])
@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.9])
def test_tiles_cover_an_axis_and_their_weights_add_up_to_one(size, overlap):
    tile = 32
    begins = starts(size, tile, overlap)
    assert begins[0] == 0
    assert begins[-1] + tile == size
    assert all(after - before <= max(1, tile * (1 - overlap)) for before, after in pairwise(begins))
    total = np.zeros(size)
    for begin, weights in zip(begins, blending(begins, tile), strict=True):
        assert (weights > 0).all()
        total[begin : begin + tile] += weights.numpy()
    np.testing.assert_allclose(total, 1, rtol=1e-6)


@pytest.mark.parametrize("tile_hw", [(32, 32), (40, 64), (90, 32), (500, 500), None])
def test_blending_what_depends_on_the_pixel_alone_changes_nothing(tile_hw):
    image = torch.randint(0, 256, (90, 130, 3), dtype=torch.uint8)

    def logits_of(tiles):
        return tiles.permute(0, 3, 1, 2).float() / 50

    bands = list(blended_bands(logits_of, image, Tiling(tile_hw, 0.3)))
    torch.testing.assert_close(torch.cat(bands, dim=1), logits_of(image[None])[0])


@pytest.mark.parametrize("size_hw", [(50, 70), (25, 35), (51, 71), (500, 211), (700, 40), (7, 9)])
@pytest.mark.parametrize("cuts", [[50], [7, 20, 23], [1] * 50])
def test_bands_are_decided_as_the_whole(size_hw, cuts):
    torch.manual_seed(0)
    logits = F.interpolate(torch.randn(1, 5, 9, 9), (50, 70), mode="bilinear")[0] * 4
    mask, confidence = decide(logits, size_hw)
    found_mask, found_confidence = decide_bands(logits.split(cuts, dim=1), 50, size_hw)
    assert found_mask.shape == found_confidence.shape == size_hw
    assert (found_mask != mask).float().mean() < 1e-3  # ties, by rounding
    torch.testing.assert_close(found_confidence, confidence, rtol=1e-4, atol=1e-5)


def test_the_decision_is_softmaxs():
    logits = torch.randn(4, 20, 30)
    mask, confidence = decide(logits, (45, 61))
    full = F.interpolate(logits[None], (45, 61), mode="bilinear")[0].softmax(0)
    assert torch.equal(mask.long(), full.argmax(0))
    torch.testing.assert_close(confidence, full.max(0).values)


class Local(nn.Module):
    """A network that sees 3×3 pixels."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 6, 3, padding=1)

    def forward(self, images):
        return self.conv(images)


def network(tiling, model=None, size_hw=(96, 128)):
    return Network(model or Local().eval(), size_hw, (0.5,) * 3, (0.25,) * 3, PLAIN, tiling)


def image_of(size_hw):
    return np.random.default_rng(0).integers(0, 256, (*size_hw, 3), np.uint8)


@pytest.mark.parametrize("size_hw", [(96, 128), (150, 111), (31, 40)])
def test_tiled_prediction_is_the_whole_one_where_context_does_not_matter(size_hw):
    image = image_of(size_hw)
    (whole,) = network(Tiling()).predict([image])
    (tiled,) = network(Tiling((40, 48), 0.5)).predict([image])
    assert tiled.mask.shape == size_hw
    assert (tiled.mask == whole.mask).mean() > 0.97  # not at the tiles' edges, where the convolution sees padding
    assert np.abs(tiled.confidence - whole.confidence).mean() < 0.01


def test_a_tile_as_large_as_the_image_is_no_tile():
    image = image_of((70, 90))
    (whole,), (tiled,) = (network(Tiling(tile)).predict([image]) for tile in (None, (96, 128)))
    np.testing.assert_array_equal(whole.mask, tiled.mask)
    np.testing.assert_array_equal(whole.confidence, tiled.confidence)


@pytest.mark.parametrize("tile_hw", [None, (40, 48)])
def test_with_flips_the_mirror_image_gives_the_mirrored_prediction(tile_hw):
    image = image_of((96, 128))
    (one,), (other,) = (network(Tiling(tile_hw, flips=True)).predict([each]) for each in (image, image[:, ::-1].copy()))
    assert (one.mask == other.mask[:, ::-1]).mean() > 0.999
    (plain,) = network(Tiling(tile_hw)).predict([image])
    assert not np.array_equal(plain.mask, one.mask)


def test_a_real_network_agrees_with_itself_in_tiles():
    torch.manual_seed(0)
    model = build("unet", 3, {"width": 4, "depth": 2}).eval()
    image = image_of((96, 128)) // 4 + np.linspace(0, 190, 128, dtype=np.uint8)[:, None]
    (whole,), (tiled,) = (network(Tiling(tile, 0.5), model).predict([image]) for tile in (None, (64, 64)))
    assert (whole.mask == tiled.mask).mean() > 0.9


MEMORY = """
import resource
import numpy as np, torch
from torch import nn
from pipeline.inference import Compute, Network
from pipeline.tiles import Tiling

def peak_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

torch.set_num_threads(1)
size_hw, compute = (3000, 4000), Compute(torch.device("cpu"))
network = Network(nn.Conv2d(3, 21, 1), size_hw, (0.5,) * 3, (0.25,) * 3, compute, Tiling((256, 256), 0.1))
image = np.random.default_rng(0).integers(0, 256, (*size_hw, 3), np.uint8)
before = peak_mb()
prediction, = network.predict([image])
assert prediction.mask.shape == size_hw
print(peak_mb() - before)
"""


def test_12_megapixels_take_bounded_memory():
    """21 × 3000 × 4000 logits alone would be 1008 MB; four bands of tiles are 344 MB, image and prediction 100 MB."""
    run = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True)
    assert int(run.stdout) < 550
