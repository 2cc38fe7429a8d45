"""Folders of images and masks: what belongs together, which classes there are, and which values mean void."""

from pathlib import Path

import numpy as np
import pytest

from connectors.format_files import read_class_mask, read_classes
from connectors.mask_folder import pairs
from connectors.masks import write_mask
from schemas.errors import DataError, ParamsError


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    images, masks = tmp_path / "images", tmp_path / "masks"
    images.mkdir()
    masks.mkdir()
    return images, masks


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).touch()


def test_images_find_their_masks_by_name(folders: tuple[Path, Path]):
    images, masks = folders
    touch(images, "b.jpg", "a.PNG", "notes.txt", "c.d.webp")
    touch(masks, "a.png", "b.png", "c.d.png", "readme.md")
    assert [(image.name, mask.name) for image, mask in pairs(images, masks)] == [
        ("a.PNG", "a.png"),
        ("b.jpg", "b.png"),
        ("c.d.webp", "c.d.png"),
    ]


@pytest.mark.parametrize(
    ("in_images", "in_masks", "said"),
    [
        (["a.png", "b.png"], ["a.png"], "1 files have no partner of the same name: b"),
        (["a.png"], ["a.png", "z.png"], "1 files have no partner of the same name: z"),
        (["a.png", "a.jpg"], ["a.png"], r"two images of one name: a\.jpg"),
        ([], [], "holds no image"),
        (["a.tiff"], [], "holds no image"),
    ],
)
def test_what_has_no_partner_is_named(folders: tuple[Path, Path], in_images, in_masks, said: str):
    images, masks = folders
    touch(images, *in_images)
    touch(masks, *in_masks)
    with pytest.raises(DataError, match=said):
        pairs(images, masks)


def test_a_missing_folder_is_named(folders: tuple[Path, Path]):
    images, masks = folders
    with pytest.raises(DataError, match="nowhere is no folder"):
        pairs(images, masks / "nowhere")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("classes.txt", "road\ntraffic sign\n"),
        ("classes.txt", "road\r\n traffic sign \r\n\r\n"),
        ("classes.yaml", "- road\n- traffic sign\n"),
        ("classes.yaml", "[{name: road}, {name: traffic sign, color: '#ff0000'}]"),
        ("params.yaml", "source: {kind: label_studio, project: 3}\nclasses: [{name: road}, {name: traffic sign}]"),
    ],
)
def test_classes_from_every_form(tmp_path: Path, name: str, content: str):
    (tmp_path / name).write_bytes(content.encode())
    assert [entry.name for entry in read_classes(tmp_path / name)] == ["road", "traffic sign"]


def test_colours_and_priorities_are_kept(tmp_path: Path):
    (tmp_path / "c.yaml").write_text("[{name: road, color: '#ff0000', priority: 2}, car]")
    road, car = read_classes(tmp_path / "c.yaml")
    assert (road.color, road.priority, car.priority) == ("#ff0000", 2, 0)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("classes.txt", None, "can't be read"),
        ("classes.txt", b"\xff\xfe", "can't be read"),
        ("classes.yaml", b"a: [", "can't be read"),
        ("classes.yaml", b"names: [road]", "holds no list of classes"),
        ("classes.yaml", b"road", "holds no list of classes"),
        ("classes.txt", b"", "`classes`"),
        ("classes.txt", b"road\nroad\n", "listed twice: road"),
        ("classes.txt", b"road\nvoid\n", "`void`"),
        ("classes.yaml", b"[{name: road, colour: red}]", "did you mean `color`"),
        ("classes.yaml", b"[1, 2]", "classes.0"),
    ],
)
def test_a_wrong_class_file_is_one_line_that_names_it(tmp_path: Path, name: str, content: bytes | None, said: str):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ParamsError, match=said) as caught:
        read_classes(tmp_path / name)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("void", "expected"),
    [({11}, [[0, 1, 255], [255, 1, 0]]), ({1, 11}, [[0, 255, 255], [255, 255, 0]])],
)
def test_void_values_become_255(tmp_path: Path, void: set[int], expected: list[list[int]]):
    write_mask(tmp_path / "m.png", np.array([[0, 1, 11], [255, 1, 0]], np.uint8))
    np.testing.assert_array_equal(read_class_mask(tmp_path / "m.png", 2, frozenset(void)), expected)


def test_other_values_are_named_with_the_file(tmp_path: Path):
    write_mask(tmp_path / "m.png", np.array([[0, 1, 2], [255, 11, 0]], np.uint8))
    with pytest.raises(DataError, match=r"m\.png holds the values \[2, 11\], expected 0\.\.1 or void"):
        read_class_mask(tmp_path / "m.png", 2, frozenset())
