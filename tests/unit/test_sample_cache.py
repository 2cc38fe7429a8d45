"""The decoded cache: right, built once, bounded, and whole or absent."""

import os

import numpy as np
import pytest
from PIL import Image

from pipeline import sample_cache
from pipeline.dataset import load_image, load_mask_resized, read_samples
from pipeline.progress import Silent
from pipeline.sample_cache import CACHE_DIR, CachedSamples, UncachedSamples, decoded
from schemas.errors import ImageError
from schemas.manifest import IMAGES_DIR
from tests.unit.drawn_project import draw_project

SIZE_HW = (32, 48)
BYTES = 32 * 48 * 4


class Counted(Silent):
    """Counts the samples that were brought into a cache; raises KeyboardInterrupt at `stop_at`."""

    def __init__(self, stop_at=None):
        self.count, self.stop_at, self.lines = 0, stop_at, []

    def track(self, items, total, what):
        for item in items:
            if self.count == self.stop_at:
                raise KeyboardInterrupt
            self.count += 1
            yield item

    def say(self, text):
        self.lines.append(text)


def parts(folder):
    samples = read_samples(folder, 3)
    return [samples["train"], samples["val"]]


def caches(folder):
    return sorted(path for path in (folder / CACHE_DIR).iterdir())


def assert_right(found, expected):
    for pairs, samples in zip(found, expected, strict=True):
        assert len(pairs) == len(samples)
        for index, sample in enumerate(samples):
            image, mask = pairs[index]
            np.testing.assert_array_equal(image, load_image(sample, SIZE_HW))
            np.testing.assert_array_equal(mask, load_mask_resized(sample, SIZE_HW))


@pytest.mark.parametrize("limit_gb", [1, 0])
def test_it_holds_what_decoding_gives(tmp_path, limit_gb):
    draw_project(tmp_path, {"train": 3, "val": 2})
    found = decoded(tmp_path, parts(tmp_path), SIZE_HW, limit_gb, Silent())
    assert all(isinstance(each, CachedSamples if limit_gb else UncachedSamples) for each in found)
    assert_right(found, parts(tmp_path))


def test_it_is_built_once_and_needs_no_image_then(tmp_path):
    draw_project(tmp_path, {"train": 3, "val": 2})
    first, second = Counted(), Counted()
    expected = [pairs[0][0].copy() for pairs in decoded(tmp_path, parts(tmp_path), SIZE_HW, 1, first)]
    (tmp_path / IMAGES_DIR / "1.png").unlink()
    found = [pairs[0][0] for pairs in decoded(tmp_path, parts(tmp_path), SIZE_HW, 1, second)]
    assert (first.count, second.count) == (5, 0)
    np.testing.assert_array_equal(found, expected)


def test_another_split_of_the_same_samples_is_the_same_cache(tmp_path):
    draw_project(tmp_path, {"train": 3, "val": 2})
    train, val = parts(tmp_path)
    decoded(tmp_path, [train, val], SIZE_HW, 1, Silent())
    again = Counted()
    resplit = [[val[1], train[0]], [train[2], train[1], val[0]]]
    assert_right(decoded(tmp_path, resplit, SIZE_HW, 1, again), resplit)
    assert again.count == 0


def test_changed_content_is_decoded_anew_and_the_rest_is_copied(tmp_path, monkeypatch):
    draw_project(tmp_path, {"train": 3, "val": 2})
    decoded(tmp_path, parts(tmp_path), SIZE_HW, 1, Silent())
    draw_project(tmp_path, {"train": 4, "val": 2})  # the first five are as before
    read = []
    monkeypatch.setattr(
        sample_cache, "load_image", lambda sample, size: read.append(sample) or load_image(sample, size)
    )
    assert_right(decoded(tmp_path, parts(tmp_path), SIZE_HW, 1, Silent()), parts(tmp_path))
    assert [sample.task_id for sample in read] == [6]
    read.clear()
    decoded(tmp_path, parts(tmp_path), (32, 32), 1, Silent())
    assert len(read) == 6  # another size shares nothing


def test_caches_stay_below_the_limit_and_the_oldest_goes_first(tmp_path):
    draw_project(tmp_path, {"train": 3, "val": 2})
    limit_gb = 2.5 * 5 * BYTES / 1e9
    names = []
    for seconds, size_hw in enumerate([(32, 48), (48, 32), (32, 48), (24, 64)]):
        decoded(tmp_path, parts(tmp_path), size_hw, limit_gb, Silent())
        new = [path for path in caches(tmp_path) if path not in names]
        names += new
        used = new[0] if new else names[0]
        os.utime(used, (seconds, seconds))
    first, second, third = names
    assert caches(tmp_path) == sorted([first, third])
    assert not second.exists()
    assert sum(file.stat().st_size for path in caches(tmp_path) for file in path.iterdir()) < limit_gb * 1e9


def test_samples_beyond_the_limit_are_decoded_each_time_and_it_is_said(tmp_path):
    draw_project(tmp_path, {"train": 3})
    said = Counted()
    (pairs,) = decoded(tmp_path, parts(tmp_path)[:1], SIZE_HW, 2.5 * BYTES / 1e9, said)
    assert isinstance(pairs, UncachedSamples)
    assert "train.cache_gb" in said.lines[0]
    assert not (tmp_path / CACHE_DIR).exists()


def test_a_killed_build_is_done_again(tmp_path):
    draw_project(tmp_path, {"train": 3, "val": 2})
    with pytest.raises(KeyboardInterrupt):
        decoded(tmp_path, parts(tmp_path), SIZE_HW, 1, Counted(stop_at=3))
    assert caches(tmp_path) == []
    stale = tmp_path / CACHE_DIR / ".tmp-killed"  # kill -9 tidies nothing up
    stale.mkdir()
    (stale / "images.npy").write_bytes(b"half")
    assert_right(decoded(tmp_path, parts(tmp_path), SIZE_HW, 1, Silent()), parts(tmp_path))
    assert not stale.exists()
    assert len(caches(tmp_path)) == 1


@pytest.mark.parametrize("damage", ["cut", "empty", "gone"])
def test_a_damaged_cache_is_built_anew(tmp_path, damage):
    draw_project(tmp_path, {"train": 3, "val": 2})
    decoded(tmp_path, parts(tmp_path), SIZE_HW, 1, Silent())
    path = caches(tmp_path)[0] / "images.npy"
    content = path.read_bytes()
    path.unlink() if damage == "gone" else path.write_bytes(content[: {"cut": 5000, "empty": 0}[damage]])
    assert_right(decoded(tmp_path, parts(tmp_path), SIZE_HW, 1, Silent()), parts(tmp_path))


def test_an_unreadable_image_is_named_and_leaves_no_cache(tmp_path):
    draw_project(tmp_path, {"train": 3})
    (tmp_path / IMAGES_DIR / "2.png").write_bytes(b"no image")
    with pytest.raises(ImageError, match=r"2\.png"):
        decoded(tmp_path, parts(tmp_path)[:1], SIZE_HW, 1, Silent())
    assert caches(tmp_path) == []


def test_the_cache_cant_be_written_through(tmp_path):
    draw_project(tmp_path, {"train": 1})
    (pairs,) = decoded(tmp_path, parts(tmp_path)[:1], SIZE_HW, 1, Silent())
    with pytest.raises(ValueError, match="read-only"):
        pairs[0][0][0, 0] = 0
    assert Image.fromarray(pairs[0][0]).size == SIZE_HW[::-1]
