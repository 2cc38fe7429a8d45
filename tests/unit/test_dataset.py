"""Samples from the manifest, decoding, and seeded batches."""

import numpy as np
import pytest
import torch
from PIL import Image

from connectors.masks import write_mask
from pipeline.dataset import (
    TrainingBatches,
    digest,
    load_image,
    load_mask,
    load_mask_resized,
    normalise,
    read_samples,
    require,
)
from schemas.errors import DataError, ImageError, ParamsError
from schemas.manifest import IMAGES_DIR, MASKS_DIR
from tests.unit.drawn_project import draw_project, drawn_params


def batches(n, workers=0, share=0, shares=1, **train):
    images = np.arange(n, dtype=np.uint8)[:, None, None, None] * np.ones((1, 40, 56, 3), np.uint8)
    masks = np.zeros((n, 40, 56), np.uint8)
    pairs = list(zip(images, masks, strict=True))
    params = drawn_params(**{"size_hw": [40, 56], "augment": [], **train}).train
    return TrainingBatches(pairs, params, workers, False, share, shares)


def test_each_sample_comes_once_an_epoch_in_an_order_of_its_own():
    source = batches(8, batch_size=4)
    orders = [[int(image[0, 0, 0]) for images, _ in source.epoch(epoch) for image in images] for epoch in (0, 1)]
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(8))
    assert orders[0] != orders[1]


def test_all_batches_are_full():
    for n, size, steps in ((5, 2, 3), (1, 4, 1), (8, 4, 2)):
        source = batches(n, batch_size=size)
        found = list(source.epoch(0))
        assert len(found) == source.steps == steps
        assert all(len(images) == len(masks) == size for images, masks in found)


def test_an_epoch_depends_on_its_number_not_on_what_was_drawn_before():
    augment = [{"RandomScale": {"scale_limit": [-0.5, 0.5], "p": 1.0}}, {"GaussNoise": {"p": 1.0}}]
    params = {"augment": augment, "crop_hw": [32, 32]}
    source = batches(4, **params)
    straight = [batch for epoch in range(3) for batch in source.epoch(epoch)][-2:]
    alone = list(batches(4, **params).epoch(2))
    for (images, masks), (images_alone, masks_alone) in zip(straight, alone, strict=True):
        assert images.shape == (2, 32, 32, 3)
        assert torch.equal(images, images_alone)
        assert torch.equal(masks, masks_alone)


def test_the_shares_of_processes_are_the_batch():
    augment = [{"RandomScale": {"scale_limit": [-0.5, 0.5], "p": 1.0}}]
    whole, *shares = (batches(9, share=i, shares=n, batch_size=4, augment=augment) for i, n in ((0, 1), (0, 2), (1, 2)))
    for batch, first, second in zip(whole.epoch(2), *(each.epoch(2) for each in shares), strict=True):
        for tensor, *parts in zip(batch, first, second, strict=True):
            assert torch.equal(tensor, torch.cat(parts))


def test_a_batch_that_processes_cant_share_is_said():
    with pytest.raises(ParamsError, match="batch_size is 6, which 2 processes") as caught:
        batches(9, shares=2, batch_size=6, accumulate=2)
    assert caught.value.remedy == "Make `train.batch_size` a multiple of 4."


def test_an_epoch_begins_where_it_is_told_to():
    source = batches(9, batch_size=2, augment=[{"HorizontalFlip": {"p": 0.5}}])
    for (images, _), (images_later, _) in zip([*source.epoch(1)][3:], source.epoch(1, 3), strict=True):
        assert torch.equal(images, images_later)


@pytest.mark.parametrize("augment", [[{"RandomScale": {"p": 1.0}}], [{"Affine": {"rotate": 20, "p": 1.0}}]])
def test_threads_change_nothing(augment):
    alone, helped = (batches(9, workers, augment=augment, batch_size=2) for workers in (0, 3))
    for (images, masks), (images_helped, masks_helped) in zip(alone.epoch(3), helped.epoch(3), strict=True):
        assert torch.equal(images, images_helped)
        assert torch.equal(masks, masks_helped)


def test_images_are_turned_as_exif_says(tmp_path):
    draw_project(tmp_path, {"train": 1})
    sample = read_samples(tmp_path, 3)["train"][0]
    exif = Image.Exif()
    exif[0x0112] = 6  # the browser turns it by 90° clockwise
    upright = Image.new("RGB", (30, 20))
    upright.paste((255, 0, 0), (0, 0, 15, 20))
    upright.save(sample.image.with_suffix(".jpg"), exif=exif, quality=95)
    sample.image.unlink()
    sample.image.with_suffix(".jpg").rename(sample.image)
    image = load_image(sample, (30, 20))
    assert image.shape == (30, 20, 3)
    assert image[:12, :, 0].min() > 200  # the red half is on top now
    assert image[18:, :, 0].max() < 50


def test_masks_are_shrunk_without_inventing_a_class(tmp_path):
    draw_project(tmp_path, {"train": 3}, size_hw=(97, 131))
    for sample in read_samples(tmp_path, 3)["train"]:
        mask = load_mask_resized(sample, (32, 48))
        assert mask.shape == (32, 48)
        assert set(np.unique(mask).tolist()) <= {0, 1, 255}


def test_a_mask_with_an_impossible_value_is_named(tmp_path):
    draw_project(tmp_path, {"train": 1})
    write_mask(tmp_path / MASKS_DIR / "1.png", np.full((40, 60), 77, np.uint8))
    with pytest.raises(DataError, match=r"1\.png holds the value 77, expected 0\.\.2 or 255"):
        load_mask(read_samples(tmp_path, 3)["train"][0])


def test_a_mask_of_another_size_is_named(tmp_path):
    draw_project(tmp_path, {"train": 1})
    write_mask(tmp_path / MASKS_DIR / "1.png", np.zeros((40, 59), np.uint8))
    with pytest.raises(DataError, match=r"1\.png is 40x59, expected 40x60"):
        load_mask(read_samples(tmp_path, 3)["train"][0])


def test_a_manifest_of_other_classes_is_refused(tmp_path):
    draw_project(tmp_path, {"train": 1})
    with pytest.raises(DataError, match=r"was made for 3 classes, params\.yaml has 4"):
        read_samples(tmp_path, 4)


def test_too_little_data_says_what_was_found_and_what_helps(tmp_path):
    draw_project(tmp_path, {"train": 3, "test": 1})
    with pytest.raises(DataError) as caught:
        require(read_samples(tmp_path, 3), ("train", "val"))
    assert str(caught.value) == "there is no sample in the val split (samples found: 3 in train, 0 in val, 1 in test)"
    assert "split" in caught.value.remedy


def test_the_digest_sees_content_and_split(tmp_path):
    for name, splits in {"a": {"train": 2, "val": 1}, "b": {"train": 2, "val": 1}, "c": {"train": 1, "val": 2}}.items():
        draw_project(tmp_path / name, splits)
    digests = [digest(read_samples(tmp_path / name, 3)) for name in "abc"]
    assert digests[0] == digests[1] != digests[2]


def test_normalise_is_channels_first_and_standardised():
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 5, 7, 3), np.uint8))
    result = normalise(images, (0.5, 0.4, 0.3), (0.2, 0.25, 0.1))
    expected = (images.double() / 255 - torch.tensor([0.5, 0.4, 0.3])) / torch.tensor([0.2, 0.25, 0.1])
    torch.testing.assert_close(result.double(), expected.permute(0, 3, 1, 2), rtol=1e-5, atol=1e-5)
    assert result.is_contiguous(memory_format=torch.channels_last)


def test_a_missing_image_is_named(tmp_path):
    draw_project(tmp_path, {"train": 1})
    (tmp_path / IMAGES_DIR / "1.png").unlink()
    with pytest.raises(ImageError, match=r"1\.png does not exist"):
        load_image(read_samples(tmp_path, 3)["train"][0], (32, 32))


def test_samples_without_a_labelled_pixel_are_too_little_data(tmp_path):
    draw_project(tmp_path, {"train": 1, "val": 1}, size_hw=(2, 60))
    with pytest.raises(DataError, match="no labelled pixel in the train split"):
        require(read_samples(tmp_path, 3), ("train",))
