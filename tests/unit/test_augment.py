"""Augmentation: seeded, validated, and never inventing a class."""

import numpy as np
import pytest

from pipeline.augment import Augmenter, transform_names
from pipeline.crop_first import CropFirst
from schemas.errors import ParamsError
from schemas.params import TrainParams

SIZE_HW = (48, 64)
IMAGE_HW = (80, 80)
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
    augmenter = Augmenter(augment, IMAGE_HW, SIZE_HW)
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
        new_image, new_mask = Augmenter(augment, (20, 20), SIZE_HW)(image, mask, 0)
        assert (new_mask == 255).any()
        assert (new_mask[new_image[..., 0] == 200] == 0).all()
        assert (new_mask[new_image[..., 0] == 0] == 255).all()


def test_the_seed_alone_decides():
    image, mask = sample()
    augmenter = Augmenter(GEOMETRIC, IMAGE_HW, SIZE_HW)
    first = augmenter(image, mask, 7)
    other = augmenter(image, mask, 8)
    again = Augmenter(GEOMETRIC, IMAGE_HW, SIZE_HW)(image, mask, 7)
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
        ([{"Normalize": {}}], "`Normalize` hands on float32"),
        ([{"ToFloat": {"p": 0.01}}], "`ToFloat` hands on float32"),
        (
            [{"XYMasking": {"num_masks_x": 2, "mask_x_length": 9, "fill_mask": 7}}],
            "`XYMasking` would write class index 7",
        ),
        ([{"BBoxSafeRandomCrop": {}}], "`BBoxSafeRandomCrop` can't be applied to an image with its mask"),
        ([{"RandomCrop": {"height": 500, "width": 500}}], "`RandomCrop` can't be applied"),
        ([{"CenterCrop3D": {"size": [2, 2, 2]}}], "`CenterCrop3D` can't be applied"),
    ],
)
def test_wrong_transforms_are_named(augment, message):
    with pytest.raises(ParamsError) as caught:
        Augmenter(augment, IMAGE_HW, SIZE_HW)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


ARGUMENTS = {
    "AtLeastOneBBoxRandomCrop": {"height": 40, "width": 40},
    "CenterCrop": {"height": 40, "width": 40},
    "Crop": {"x_max": 40, "y_max": 40},
    "CropAndPad": {"px": 5},
    "CropNonEmptyMaskIfExists": {"height": 40, "width": 40},
    "GridElasticDeform": {"num_grid_xy": [4, 4], "magnitude": 5},
    "LongestMaxSize": {"max_size": 60},
    "RandomCrop": {"height": 40, "width": 40},
    "RandomResizedCrop": {"size": [50, 50]},
    "RandomSizedCrop": {"min_max_height": [30, 60], "size": [50, 50]},
    "Resize": {"height": 50, "width": 70},
    "SmallestMaxSize": {"max_size": 60},
}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", transform_names())
def test_every_transform_is_refused_or_keeps_the_classes(name):
    """Whatever albumentations has: what is let through never shows an index that was not there."""
    try:
        augmenter = Augmenter([{name: {**ARGUMENTS.get(name, {}), "p": 1.0}}], IMAGE_HW, SIZE_HW)
    except ParamsError as error:
        assert f"`{name}`" in str(error)
        assert name not in ARGUMENTS or "BBox" in name
        return
    image, mask = sample()
    for seed in range(10):
        new_image, new_mask = augmenter(image, mask, seed)
        assert new_image.dtype == new_mask.dtype == np.uint8
        assert new_image.shape == (*SIZE_HW, 3)
        assert set(np.unique(new_mask).tolist()) <= {1, 9, 200, 255}


def test_most_transforms_are_let_through():
    """Guards the test above against refusing everything."""
    for name in ("Affine", "ElasticTransform", "GaussNoise", "CoarseDropout", "RandomRotate90", "CLAHE", "Perspective"):
        Augmenter([{name: {}}], IMAGE_HW, SIZE_HW)


def test_the_defaults_take_the_fast_path_and_others_do_not():
    assert Augmenter(TrainParams().augment, IMAGE_HW, SIZE_HW).is_crop_first
    assert Augmenter([], IMAGE_HW, SIZE_HW).is_crop_first
    assert not Augmenter([*TrainParams().augment, {"Blur": {}}], IMAGE_HW, SIZE_HW).is_crop_first
    assert not Augmenter([{"RandomScale": {"interpolation": 2}}], IMAGE_HW, SIZE_HW).is_crop_first
    assert not Augmenter([{"HorizontalFlip": {}}, {"HorizontalFlip": {}}], IMAGE_HW, SIZE_HW).is_crop_first


def test_an_order_that_fails_on_a_sample_is_said():
    shrink = [{"Resize": {"height": 30, "width": 30}}, {"RandomCrop": {"height": 60, "width": 60, "p": 1.0}}]
    with pytest.raises(ParamsError, match="can't be applied in this order"):
        Augmenter(shrink, IMAGE_HW, SIZE_HW)(*sample(), 0)


def crop_first(**changes):
    nothing = {"scale_p": 0.0, "scale": (1.0, 1.0), "mirror_p": 0.0, "overturn_p": 0.0, "colour_p": 0.0}
    plain = {"brightness": (1.0, 1.0), "contrast": (1.0, 1.0), "saturation": (1.0, 1.0), "hue": (0.0, 0.0)}
    return CropFirst(**{"window_hw": SIZE_HW, **nothing, **plain, **changes})


def test_the_fast_path_cuts_the_sample_itself():
    image, mask = sample()
    new_image, new_mask = crop_first()(image, mask, 3)
    places = [
        (y, x)
        for y in range(80 - 48 + 1)
        for x in range(80 - 64 + 1)
        if np.array_equal(image[y : y + 48, x : x + 64], new_image)
    ]
    assert len(places) == 1
    y, x = places[0]
    np.testing.assert_array_equal(new_mask, mask[y : y + 48, x : x + 64])
    mirrored, overturned = (crop_first(**{p: 1.0})(image, mask, 3) for p in ("mirror_p", "overturn_p"))
    np.testing.assert_array_equal(mirrored[0], new_image[:, ::-1])
    np.testing.assert_array_equal(mirrored[1], new_mask[:, ::-1])
    np.testing.assert_array_equal(overturned[0], new_image[::-1])


def test_image_and_mask_stay_on_each_other_at_every_scale():
    """The image shows the mask's index as its grey value."""
    mask = np.kron(np.random.default_rng(1).choice(np.array([20, 220], np.uint8), (4, 4)), np.ones((20, 20), np.uint8))
    image = np.repeat(mask[..., None], 3, axis=2)
    augmenter = crop_first(scale_p=1.0, scale=(0.4, 2.0), mirror_p=0.5)
    for seed in range(40):
        new_image, new_mask = augmenter(image, mask, seed)
        labelled = new_mask != 255
        agreeing = (new_image[..., 0] > 120) == (new_mask == 220)
        assert agreeing[labelled].mean() > 0.97
        assert (new_image[~labelled] == 0).all()


def test_colours_are_what_they_say():
    image = np.full((80, 80, 3), (100, 50, 20), np.uint8)
    mask = np.zeros((80, 80), np.uint8)

    def colour(**changes):
        return crop_first(colour_p=1.0, **changes)(image, mask, 0)[0][0, 0].astype(float)

    grey = 0.299 * 100 + 0.587 * 50 + 0.114 * 20
    np.testing.assert_allclose(colour(), [100, 50, 20], atol=1)
    np.testing.assert_allclose(colour(brightness=(1.5, 1.5)), [150, 75, 30], atol=1)
    np.testing.assert_allclose(colour(saturation=(0.0, 0.0)), [grey] * 3, atol=1)
    np.testing.assert_allclose(colour(contrast=(0.5, 0.5)), (np.array([100, 50, 20]) + grey) / 2, atol=1)
    turned = colour(hue=(0.1, 0.1))
    assert turned @ [0.299, 0.587, 0.114] == pytest.approx(grey, abs=1)
    assert abs(turned - [100, 50, 20]).max() > 5
