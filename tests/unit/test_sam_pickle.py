"""SAM-format pickles: all three mask forms, deterministic bytes, and hostile files that run nothing."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco

from connectors.sam_pickle import ImagePrelabels, Prelabel, read_sam_pickle, write_sam_pickle
from schemas.errors import DataError

SIZE_HW = (5, 7)
MASK = np.zeros(SIZE_HW, dtype=bool)
MASK[1:4, 2:6] = True
MASK[2, 3] = False


def image_prelabels() -> ImagePrelabels:
    prelabels = (Prelabel.from_mask(MASK, ((2, 1),)), Prelabel.from_mask(~MASK, ((0.5, 0.5),), 0.9, 0.8))
    return ImagePrelabels("ab12", SIZE_HW, "felzenszwalb", "cd34", prelabels)


def sam_content(segmentation: object, **changes: object) -> dict[str, object]:
    """A pickle's content as segment_anything produces it, numpy scalars and all."""
    record = {
        "segmentation": segmentation,
        "area": np.int64(11),
        "bbox": [2, 1, 4, 3],
        "predicted_iou": np.float32(0.5),
        "point_coords": [[2.0, 1.0]],
        "stability_score": 0.75,
        "crop_box": [0, 0, 7, 5],
    }
    return {"image_sha256": "ab12", "size_hw": SIZE_HW, "model": "sam_vit_b", "masks": [record]} | changes


def save(path: Path, content: object, protocol: int = 4) -> Path:
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    return path


def respell(path: Path, core: str) -> None:
    """Name numpy's inner modules as numpy 1 (`numpy.core`) or 2 (`numpy._core`) does; an ordinary reader agrees."""
    content = path.read_bytes()
    for module in ("multiarray", "numeric"):
        old, new = f"numpy._core.{module}".encode(), f"{core}.{module}".encode()
        content = content.replace(b"c" + old, b"c" + new).replace(bytes([len(old)]) + old, bytes([len(new)]) + new)
    if content[2:3] == b"\x95":  # the one frame has another length now
        content = content[:3] + (len(content) - 11).to_bytes(8, "little") + content[11:]
    path.write_bytes(content)
    pickle.loads(content)


def uncompressed(mask: np.ndarray) -> dict[str, object]:
    flat = mask.T.ravel()
    edges = np.flatnonzero(np.diff(flat, prepend=False)).tolist()
    return {"size": list(mask.shape), "counts": np.diff([0, *edges, flat.size]).tolist()}


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "ab12.pkl"
    assert write_sam_pickle(path, image_prelabels())
    assert read_sam_pickle(path) == image_prelabels()
    assert np.array_equal(read_sam_pickle(path).prelabels[0].mask(SIZE_HW), MASK)


def test_a_pre_label_describes_its_mask() -> None:
    prelabel = Prelabel.from_mask(MASK, ((2, 1),))
    assert (prelabel.area, prelabel.bbox, prelabel.crop_box) == (11, (2, 1, 4, 3), (0, 0, 7, 5))
    assert (prelabel.predicted_iou, prelabel.stability_score) == (0.0, 0.0)  # nobody estimated them


def test_runs_and_mask_give_the_same_pre_label() -> None:
    runs = uncompressed(MASK)["counts"]
    assert Prelabel.from_runs(runs, SIZE_HW, ((2, 1),)) == Prelabel.from_mask(MASK, ((2, 1),))


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools with numpy 2
def test_the_file_has_the_keys_and_types_that_readers_of_sam_expect(tmp_path: Path) -> None:
    path = tmp_path / "ab12.pkl"
    write_sam_pickle(path, image_prelabels())
    content = pickle.loads(path.read_bytes())  # plain containers: an ordinary reader needs nothing of ours
    assert set(content) == {"image_sha256", "size_hw", "model", "params_sha256", "masks"}
    record = content["masks"][0]
    assert list(record) == [
        "segmentation", "area", "bbox", "predicted_iou", "point_coords", "stability_score", "crop_box",
    ]  # fmt: skip
    assert np.array_equal(coco.decode(record["segmentation"]), MASK)
    assert isinstance(record["predicted_iou"], float)
    assert record["point_coords"] == [[2.0, 1.0]]


def test_the_same_pre_labels_give_the_same_bytes_and_no_second_write(tmp_path: Path) -> None:
    first, second = tmp_path / "first.pkl", tmp_path / "second.pkl"
    write_sam_pickle(first, image_prelabels())
    write_sam_pickle(second, read_sam_pickle(first))
    assert first.read_bytes() == second.read_bytes()
    assert first.read_bytes()[:2] == b"\x80\x04"
    assert not write_sam_pickle(first, image_prelabels())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first.pkl", "second.pkl"]


FORMS = ["bool C", "bool F", "bool strided", "uncompressed", "uncompressed array", "compressed", "compressed text"]


@pytest.mark.filterwarnings("ignore:numpy.core:DeprecationWarning")
@pytest.mark.parametrize("spelling", ["numpy._core", "numpy.core"])
@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize("form", FORMS)
def test_every_mask_form_is_read(tmp_path: Path, form: str, protocol: int, spelling: str) -> None:
    compressed = coco.encode(np.asfortranarray(MASK, dtype=np.uint8))
    segmentation = {
        "bool C": MASK,
        "bool F": np.asfortranarray(MASK),
        "bool strided": np.repeat(MASK, 2, axis=0)[::2],
        "uncompressed": uncompressed(MASK),
        "uncompressed array": uncompressed(MASK) | {"counts": np.array(uncompressed(MASK)["counts"], np.uint32)},
        "compressed": compressed,
        "compressed text": compressed | {"counts": compressed["counts"].decode()},
    }[form]
    path = save(tmp_path / "a.pkl", sam_content(segmentation), protocol)
    respell(path, spelling)
    image = read_sam_pickle(path)
    (prelabel,) = image.prelabels
    assert np.array_equal(prelabel.mask(SIZE_HW), MASK)
    assert (prelabel.area, prelabel.predicted_iou, image.params_sha256) == (11, 0.5, "")


@pytest.mark.filterwarnings("ignore:numpy.core:DeprecationWarning")
@pytest.mark.parametrize("spelling", ["numpy._core", "numpy.core"])
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_the_classical_form_is_read(tmp_path: Path, protocol: int, spelling: str) -> None:
    photo = np.random.default_rng(0).integers(0, 256, (*SIZE_HW, 3), np.uint8)
    path = save(tmp_path / "a.pkl", {"image": photo, "masks": sam_content(MASK)["masks"]}, protocol)
    respell(path, spelling)
    image = read_sam_pickle(path)
    assert (image.size_hw, image.image_sha256, image.model) == (SIZE_HW, "", "")
    assert image.image is not None and np.array_equal(image.image, photo)
    assert np.array_equal(image.prelabels[0].mask(SIZE_HW), MASK)


def test_a_bare_list_of_masks_is_read(tmp_path: Path) -> None:
    records = sam_content(MASK)["masks"]
    assert read_sam_pickle(save(tmp_path / "a.pkl", records)).size_hw == SIZE_HW


def test_booleans_other_than_0_and_1_are_true(tmp_path: Path) -> None:
    odd = (MASK * np.uint8(7)).view(np.bool_)
    image = read_sam_pickle(save(tmp_path / "a.pkl", sam_content(odd)))
    assert np.array_equal(image.prelabels[0].mask(SIZE_HW), MASK)


def test_the_image_travels_along_where_it_is_given(tmp_path: Path) -> None:
    photo = np.random.default_rng(0).integers(0, 256, (*SIZE_HW, 3), np.uint8)
    path = tmp_path / "ab12.pkl"
    write_sam_pickle(path, replace(image_prelabels(), image=photo))
    content = pickle.loads(path.read_bytes())
    assert content["image"].dtype == np.uint8 and np.array_equal(content["image"], photo)
    read = read_sam_pickle(path)
    assert read.image is not None and np.array_equal(read.image, photo)


def test_a_detected_label_is_kept(tmp_path: Path) -> None:
    labelled = replace(image_prelabels().prelabels[0], label="car", label_score=0.6)
    write_sam_pickle(tmp_path / "a.pkl", replace(image_prelabels(), prelabels=(labelled,)))
    assert read_sam_pickle(tmp_path / "a.pkl").prelabels == (labelled,)


@pytest.mark.parametrize("seed", range(5))
def test_compressed_run_lengths_of_random_masks_are_read(tmp_path: Path, seed: int) -> None:
    mask = np.random.default_rng(seed).random((97, 131)) < 0.1 * (seed + 1)
    content = sam_content(coco.encode(np.asfortranarray(mask, dtype=np.uint8)), size_hw=mask.shape)
    assert np.array_equal(read_sam_pickle(save(tmp_path / "a.pkl", content)).prelabels[0].mask(mask.shape), mask)


MALFORMED: dict[str, tuple[object, str]] = {
    "a list": ([1, 2], "is no dict"),
    "no size": ({"masks": []}, "size_hw"),
    "empty image": (sam_content(MASK, size_hw=(0, 7)), "size_hw is 0x7"),
    "huge image": (sam_content(MASK, size_hw=(10**9, 10**9)), "size_hw is"),
    "fractional size": (sam_content(MASK, size_hw=(5, 7.5)), "whole number"),
    "image of another size": (sam_content(MASK, image=np.zeros((5, 8, 3), np.uint8)), "5x8 pixels, but size_hw is 5x7"),
    "image of one channel": (sam_content(MASK, image=np.zeros((5, 7), np.uint8)), r"expected uint8 \(H, W, 3\)"),
    "image of floats": (sam_content(MASK, image=np.zeros((5, 7, 3))), "float64 array"),
    "image as text": (sam_content(MASK, image="a.png"), "the image is str"),
    "mask of another size": (sam_content(MASK[:4]), r"shape \(4, 7\)"),
    "mask of numbers": (sam_content(MASK.astype(np.uint8)), "uint8 array"),
    "run lengths of another size": (sam_content({"size": [7, 5], "counts": [35]}), r"\(7, 5\)"),
    "run lengths too long": (sam_content({"size": [5, 7], "counts": [30, 6]}), "sum up to 36 px, expected 35"),
    "negative run length": (sam_content({"size": [5, 7], "counts": [40, -5]}), "sum up to 35 px|expected"),
    "compressed, broken off": (sam_content({"size": [5, 7], "counts": b"o"}), "break off"),
    "compressed, other characters": (sam_content({"size": [5, 7], "counts": b"\x00\xff"}), "corrupt"),
    "compressed, endless": (sam_content({"size": [5, 7], "counts": b"o" * 99 + b"1"}), "corrupt"),
    "compressed, too long": (sam_content({"size": [5, 7], "counts": b"o" * 6 + b"1"}), "sum up to"),
    "no mask": (sam_content(None), "no SAM pickle: TypeError"),
    "a name that is a number": (sam_content(MASK, model=3), "found int, expected text"),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_file_is_one_clear_line(tmp_path: Path, name: str) -> None:
    content, expected = MALFORMED[name]
    with pytest.raises(DataError, match=expected):
        read_sam_pickle(save(tmp_path / "a.pkl", content))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "no readable pickle"),
        (b"\x80\x04", "no readable pickle"),
        (b"not a pickle", "opcode 0x6e"),
        (pickle.dumps([1])[:-3], "announces a frame of 6 bytes"),
        (b"\x80\x63.", "no readable pickle"),
    ],
)
def test_bytes_that_are_no_pickle_are_refused(tmp_path: Path, content: bytes, expected: str) -> None:
    path = tmp_path / "a.pkl"
    path.write_bytes(content)
    with pytest.raises(DataError, match=expected):
        read_sam_pickle(path)


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        read_sam_pickle(tmp_path / "none.pkl")
