"""SAM-format pickles: all three mask forms, deterministic bytes, and hostile files that run nothing."""

from __future__ import annotations

import _codecs
import builtins
import os
import pickle
import subprocess
from pathlib import Path

import numpy as np
import pytest
from numpy._core import multiarray
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


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("form", ["bool C", "bool F", "uncompressed", "compressed", "compressed text"])
def test_every_mask_form_is_read(tmp_path: Path, form: str, protocol: int) -> None:
    compressed = coco.encode(np.asfortranarray(MASK, dtype=np.uint8))
    segmentation = {
        "bool C": MASK,
        "bool F": np.asfortranarray(MASK),
        "uncompressed": uncompressed(MASK),
        "compressed": compressed,
        "compressed text": compressed | {"counts": compressed["counts"].decode()},
    }[form]
    image = read_sam_pickle(save(tmp_path / "a.pkl", sam_content(segmentation), protocol))
    (prelabel,) = image.prelabels
    assert np.array_equal(prelabel.mask(SIZE_HW), MASK)
    assert (prelabel.area, prelabel.predicted_iou, image.params_sha256) == (11, 0.5, "")


def test_the_older_spelling_of_numpys_modules_is_read(tmp_path: Path) -> None:
    content = pickle.dumps(sam_content(MASK), protocol=2)
    path = tmp_path / "a.pkl"
    path.write_bytes(content.replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n"))
    assert b"numpy._core" not in path.read_bytes()
    assert read_sam_pickle(path).prelabels[0].area == 11


@pytest.mark.parametrize("seed", range(5))
def test_compressed_run_lengths_of_random_masks_are_read(tmp_path: Path, seed: int) -> None:
    mask = np.random.default_rng(seed).random((97, 131)) < 0.1 * (seed + 1)
    content = sam_content(coco.encode(np.asfortranarray(mask, dtype=np.uint8)), size_hw=mask.shape)
    assert np.array_equal(read_sam_pickle(save(tmp_path / "a.pkl", content)).prelabels[0].mask(mask.shape), mask)


class Call:
    """Pickles as a call, which an ordinary reader would make."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.call: tuple[object, ...] = (function, arguments)

    def __reduce__(self) -> tuple[object, ...]:
        return self.call

    def __call__(self) -> None:
        raise AssertionError("only its pickle is wanted")


class State(Call):
    """Pickles as a call followed by a state that is set on its result."""

    def __init__(self, function: object, arguments: tuple[object, ...], state: object) -> None:
        self.call = (function, arguments, state)


HOSTILE: dict[str, tuple[object, str]] = {
    "os.system": (Call(os.system, "touch ran"), r"\w+\.system"),
    "eval": (Call(eval, "open('ran', 'w')"), "builtins.eval"),
    "exec": (Call(exec, "open('ran', 'w')"), "builtins.exec"),
    "open": (Call(open, "ran", "w"), "_?io.open"),
    "import": (Call(builtins.__import__, "antigravity"), "builtins.__import__"),
    "getattr chain": (Call(Call(getattr, Call(builtins.__import__, "os"), "system"), "touch ran"), "builtins.getattr"),
    "getattr of an allowed global": (Call(getattr, np.ndarray, "tofile"), "builtins.getattr"),
    "subprocess": (Call(subprocess.Popen, ["touch", "ran"]), "subprocess.Popen"),
    "nested pickle": (Call(pickle.loads, pickle.dumps(1)), "pickle.loads"),
    "a numpy loader": (Call(np.load, "ran.npy"), "numpy.load"),
    "object array": (np.array([{"a": 1}], dtype=object), "dtype 'O8'|dtype O8"),
    "object array with a call inside": (np.array([Call(os.system, "touch ran")], dtype=object), "system|O8"),
    "structured array": (np.zeros(2, dtype=[("a", "f8")]), "dtype V8"),
    "text array": (np.array(["a"]), "dtype U1"),
    "dates": (np.zeros(1, dtype="M8[s]"), "dtype M8"),
    "dtype of another type": (Call(np.dtype, ["O"]), "dtype list"),
    "object through a dtype's state": (
        State(np.dtype, ("f8", False, True), (3, "<", None, ("a",), {"a": (1, 0)}, 8, 1, 0)), "structured array",
    ),
    "array filled with objects": (
        State(multiarray._reconstruct, (np.ndarray, (0,), b"b"), (1, (1,), np.dtype("f8"), False, [1])), "of objects",
    ),
    "another array type": (Call(multiarray._reconstruct, np.dtype, (0,), b"b"), "other than numpy.ndarray"),
    "scalar of an object": (Call(multiarray.scalar, np.dtype("f8"), "x"), "scalar of objects"),
    "any codec": (Call(_codecs.encode, b"x", "zlib"), "latin1"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_pickle_is_refused_and_runs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    payload, expected = HOSTILE[name]
    path = save(tmp_path / "hostile.pkl", sam_content(MASK, extra=payload))
    with pytest.raises(DataError, match=expected) as caught:
        read_sam_pickle(path)
    assert "hostile.pkl" in str(caught.value)
    assert caught.value.remedy
    assert os.listdir(tmp_path) == ["hostile.pkl"]  # noqa: PTH208


def test_the_older_instance_opcode_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "inst.pkl"
    path.write_bytes(b"(S'touch ran'\nios\nsystem\n.")
    with pytest.raises(DataError, match=r"os\.system"):
        read_sam_pickle(path)


@pytest.mark.parametrize("target", [b"cnumpy\nndarray\n", b"c_codecs\nencode\n", b"cnumpy\ndtype\n"])
def test_a_pickle_cant_change_what_the_next_one_is_read_with(tmp_path: Path, target: bytes) -> None:
    path = tmp_path / "a.pkl"
    # GLOBAL, None, {"__setstate__": 1}, TUPLE2, BUILD: set an attribute of the class itself
    path.write_bytes(b"\x80\x02" + target + b"N}X\x0c\x00\x00\x00__setstate__K\x01s\x86b.")
    with pytest.raises(DataError, match="TypeError"):
        read_sam_pickle(path)
    assert read_sam_pickle(save(path, sam_content(MASK))).prelabels[0].area == 11


MALFORMED: dict[str, tuple[object, str]] = {
    "a list": ([1, 2], "expected a dict"),
    "no size": ({"masks": []}, "size_hw"),
    "empty image": (sam_content(MASK, size_hw=(0, 7)), "size_hw is 0x7"),
    "huge image": (sam_content(MASK, size_hw=(10**9, 10**9)), "size_hw is"),
    "fractional size": (sam_content(MASK, size_hw=(5, 7.5)), "whole number"),
    "mask of another size": (sam_content(MASK[:4]), r"shape \(4, 7\)"),
    "mask of numbers": (sam_content(MASK.astype(np.uint8)), "uint8 array"),
    "run lengths of another size": (sam_content({"size": [7, 5], "counts": [35]}), r"\(7, 5\)"),
    "run lengths too long": (sam_content({"size": [5, 7], "counts": [30, 6]}), "sum up to 36 px, expected 35"),
    "negative run length": (sam_content({"size": [5, 7], "counts": [40, -5]}), "sum up to 35 px|expected"),
    "compressed, broken off": (sam_content({"size": [5, 7], "counts": b"o"}), "break off"),
    "compressed, other characters": (sam_content({"size": [5, 7], "counts": b"\x00\xff"}), "corrupt"),
    "compressed, endless": (sam_content({"size": [5, 7], "counts": b"o" * 99}), "corrupt"),
    "compressed, too long": (sam_content({"size": [5, 7], "counts": b"o" * 6 + b"1"}), "sum up to"),
    "no mask": (sam_content(None), "no SAM pickle: TypeError"),
    "a name that is a number": (sam_content(MASK, model=3), "found int, expected text"),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_file_is_one_clear_line(tmp_path: Path, name: str) -> None:
    content, expected = MALFORMED[name]
    with pytest.raises(DataError, match=expected):
        read_sam_pickle(save(tmp_path / "a.pkl", content))


@pytest.mark.parametrize("content", [b"", b"\x80\x04", b"not a pickle", pickle.dumps([1])[:-3], b"\x80\x63."])
def test_bytes_that_are_no_pickle_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.pkl"
    path.write_bytes(content)
    with pytest.raises(DataError, match="no readable pickle"):
        read_sam_pickle(path)


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        read_sam_pickle(tmp_path / "none.pkl")
