"""Masks as PNG: any reader gives the class indices back, and what is no mask is refused."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from connectors.masks import encode_png, read_mask, write_mask
from schemas.errors import DataError


def random_mask(size_hw: tuple[int, int]) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, size_hw, dtype=np.uint8)


@pytest.mark.parametrize("size_hw", [(1, 1), (1, 300), (300, 1), (37, 53)])
def test_every_reader_gives_the_indices_back(tmp_path: Path, size_hw: tuple[int, int]):
    mask = random_mask(size_hw)
    path = tmp_path / "mask.png"
    path.write_bytes(encode_png(mask))
    with Image.open(path) as image:
        assert image.mode == "L"
        np.testing.assert_array_equal(np.asarray(image), mask)
    np.testing.assert_array_equal(cv2.imread(str(path), cv2.IMREAD_UNCHANGED), mask)
    np.testing.assert_array_equal(read_mask(path), mask)


def test_a_view_of_a_mask_is_encoded_like_its_copy():
    mask = random_mask((40, 60))
    for view in (mask.T, mask[::2, ::3], mask[:, ::-1]):
        assert encode_png(view) == encode_png(view.copy())


def test_the_same_mask_is_not_written_again(tmp_path: Path):
    mask = random_mask((8, 8))
    assert write_mask(tmp_path / "m.png", mask)
    before = (tmp_path / "m.png").stat().st_mtime_ns
    assert not write_mask(tmp_path / "m.png", mask.copy())
    assert (tmp_path / "m.png").stat().st_mtime_ns == before


def test_what_is_read_may_be_changed(tmp_path: Path):
    write_mask(tmp_path / "m.png", random_mask((8, 8)))
    read_mask(tmp_path / "m.png")[:] = 0


def test_a_palette_png_gives_its_indices(tmp_path: Path):
    mask = random_mask((20, 30)) % 3
    image = Image.fromarray(mask)
    image.putpalette([0, 0, 0, 128, 64, 128, 0, 0, 142])
    image.save(tmp_path / "m.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "m.png"), mask)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "1", "I;16"])
def test_other_than_8_bits_of_grey_is_refused(tmp_path: Path, mode: str):
    Image.new(mode, (4, 3)).save(tmp_path / "m.png")
    with pytest.raises(DataError, match=rf"m\.png has mode {mode}, expected 8-bit grey or palette"):
        read_mask(tmp_path / "m.png")


@pytest.mark.parametrize("length", [0, 7, 30, 60, -200])
def test_a_truncated_file_is_refused(tmp_path: Path, length: int):
    (tmp_path / "m.png").write_bytes(encode_png(random_mask((100, 100)))[:length])
    with pytest.raises(DataError, match=r"m\.png can't be decoded") as caught:
        read_mask(tmp_path / "m.png")
    assert "\n" not in str(caught.value)


def test_a_header_that_promises_too_much_is_refused(tmp_path: Path):
    (tmp_path / "m.png").write_bytes(b"P5 60000 60000 255\n\x00")
    with pytest.raises(DataError, match="can't be decoded"):
        read_mask(tmp_path / "m.png")


def test_a_missing_file_is_said(tmp_path: Path):
    with pytest.raises(DataError, match=r"m\.png does not exist"):
        read_mask(tmp_path / "m.png")
