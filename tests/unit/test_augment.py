"""Augmentation: seeded, validated, and never inventing a class."""

import numpy as np
import pytest

from pipeline.augment import Augmenter
from schemas.errors import ParamsError
from schemas.params import TrainParams

SIZE_HW = (48, 64)
GEOMETRIC = [
    {"HorizontalFlip": {}},
    {"RandomScale": {"scale_limit": [-0.6, 0.7], "p": 1.0}},
    {"Affine": {"rotate": [-30, 30], "shear": [-10, 10], "p": 1.0}},
    {"ElasticTransform": {"p": 1.0}},
    {"Perspective": {"p": 1.0}},
    {"CoarseDropout": {"p": 1.0}},
    {"GaussianBlur": {"p": 1.0}},
]


def sample():
    random = np.random.default_rng(0)
    mask = np.kron(random.choice(np.array([1, 9, 200], np.uint8), (8, 8)), np.ones((10, 10), np.uint8))
    return random.integers(0, 256, (80, 80, 3), np.uint8), mask


@pytest.mark.parametrize("augment", [TrainParams().augment, GEOMETRIC, []])
def test_no_new_index_appears_in_masks(augment):
    image, mask = sample()
    augmenter = Augmenter(augment, SIZE_HW)
    seen = set()
    for seed in range(50):
        new_image, new_mask = augmenter(image, mask, seed)
        assert new_image.shape == (*SIZE_HW, 3)
        assert new_mask.shape == SIZE_HW
        assert new_image.dtype == new_mask.dtype == np.uint8
        seen |= set(np.unique(new_mask).tolist())
    assert seen - {255} == {1, 9, 200}


def test_what_lies_outside_the_image_is_void():
    image, mask = np.full((20, 20, 3), 200, np.uint8), np.zeros((20, 20), np.uint8)
    for augment in ([], [{"Affine": {"scale": 0.5, "p": 1.0}}]):
        new_image, new_mask = Augmenter(augment, SIZE_HW)(image, mask, 0)
        assert (new_mask == 255).any()
        assert (new_mask[new_image[..., 0] == 200] == 0).all()
        assert (new_mask[new_image[..., 0] == 0] == 255).all()


def test_the_seed_alone_decides():
    image, mask = sample()
    augmenter = Augmenter(GEOMETRIC, SIZE_HW)
    first = augmenter(image, mask, 7)
    other = augmenter(image, mask, 8)
    again = Augmenter(GEOMETRIC, SIZE_HW)(image, mask, 7)
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert not np.array_equal(first[0], other[0])


@pytest.mark.parametrize(
    ("augment", "message"),
    [
        ([{"HorizontalFlop": {}}], "unknown transform `HorizontalFlop` (did you mean `HorizontalFlip`?)"),
        ([{"Compose": {}}], "unknown transform `Compose`"),
        ([{"RandomScale": {"scale_limits": 0.1}}], "no argument `scale_limits` (did you mean `scale_limit`?)"),
        ([{"RandomScale": {"scale_limit": "big"}}], "`RandomScale`"),
        ([{"RandomScale": {"p": 2}}], "`RandomScale`"),
        ([{"Affine": {"rotate": 9, "mask_interpolation": 1}}], "invents classes"),
    ],
)
def test_wrong_transforms_are_named(augment, message):
    with pytest.raises(ParamsError) as caught:
        Augmenter(augment, SIZE_HW)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
