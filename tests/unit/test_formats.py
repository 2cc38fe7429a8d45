"""Every format of the registry keeps one contract: what is written is read back, and what is wrong is said in one line.

The masks hold what formats lose: holes within holes, void holes, diagonal neighbours, noise, one class, nothing.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from connectors.formats import FORMATS, known_format, open_format
from connectors.labelled import Labelled, Sample
from connectors.masks import write_mask
from pipeline.components import components
from pipeline.import_dataset import result
from schemas.errors import DataError, MaskloopError, ParamsError
from schemas.labels import ClassEntry, ClassMap
from tests.unit.test_outlines import MASKS, painted

CLASS_MAP = ClassMap(
    [ClassEntry("road", "#804080"), ClassEntry("car", "#00008e"), ClassEntry("traffic sign", "#dcdc00")]
)
NONE: frozenset[int] = frozenset()
SPLIT_OF = ("train", "val", "train", "test")
IMAGE_SUFFIXES = (".png", ".jpg", ".webp", ".bmp")


@pytest.fixture(params=FORMATS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    folder = tmp_path_factory.mktemp("images")
    random = np.random.default_rng(0)
    found = []
    for number, mask in enumerate(MASKS.values()):
        pixels = random.integers(0, 256, (*mask.shape, 3), np.uint8)
        path = folder / f"{number}{IMAGE_SUFFIXES[number % 4]}"
        Image.fromarray(pixels).save(path)
        found.append(Sample(7 * number + 3, path, mask, SPLIT_OF[number % 4], partial(components, mask)))
    return found


def written(name: str, samples: list[Sample], folder: Path) -> list[Path]:
    return list(open_format(name).write(samples, CLASS_MAP, folder))


def read(name: str, folder: Path, void: frozenset[int] = NONE) -> list[Labelled]:
    return list(open_format(name).read(folder, CLASS_MAP.names, void))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def task_id(labelled: Labelled) -> int:
    """Which sample an image was, by the name that the format gave it."""
    return int(labelled.image.stem.removeprefix("maskloop_").removesuffix("_000000_leftImg8bit"))


def test_what_is_written_is_read_back_bit_for_bit(name: str, samples: list[Sample], tmp_path: Path):
    written(name, samples, tmp_path)
    found = {task_id(labelled): labelled for labelled in read(name, tmp_path)}
    assert found.keys() == {sample.task_id for sample in samples}
    for sample in samples:
        labelled = found[sample.task_id]
        assert labelled.split == sample.split
        assert labelled.size_hw == sample.mask.shape
        np.testing.assert_array_equal(painted(result(labelled, CLASS_MAP), sample.mask.shape), sample.mask)
        if isinstance(labelled.content, np.ndarray):
            np.testing.assert_array_equal(labelled.content, sample.mask)


def test_images_are_kept(name: str, samples: list[Sample], tmp_path: Path):
    written(name, samples, tmp_path)
    image_of = {sample.task_id: sample.image for sample in samples}
    for labelled in read(name, tmp_path):
        before, after = (
            np.asarray(Image.open(path).convert("RGB")) for path in (image_of[task_id(labelled)], labelled.image)
        )
        if name == "voc" and image_of[task_id(labelled)].suffix != ".jpg":  # JPEG loses a little, of noise more
            assert np.abs(before.astype(int) - after).mean() < 8
        else:
            np.testing.assert_array_equal(before, after)


def test_the_same_samples_give_the_same_bytes_and_nothing_is_written_twice(
    name: str, samples: list[Sample], tmp_path: Path
):
    listed = written(name, samples, tmp_path / "a")
    assert len(listed) == len(set(listed))
    assert set(contents(tmp_path / "a")) == {str(path.relative_to(tmp_path / "a")) for path in listed}
    times = {path: path.stat().st_mtime_ns for path in listed}
    written(name, samples, tmp_path / "a")
    assert {path: path.stat().st_mtime_ns for path in listed} == times
    written(name, samples, tmp_path / "b")
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_the_class_names_are_in_the_data_set(name: str, samples: list[Sample], tmp_path: Path):
    written(name, samples, tmp_path)
    assert tuple(entry.name for entry in open_format(name).classes(tmp_path)) == CLASS_MAP.names


def test_a_turned_image_is_written_as_it_shows(name: str, tmp_path: Path):
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = np.zeros((6, 9, 3), np.uint8)
    pixels[:, :3] = 255
    Image.fromarray(pixels).save(tmp_path / "turned.jpg", exif=exif, quality=95)
    mask = np.zeros((9, 6), np.uint8)
    written(name, [Sample(1, tmp_path / "turned.jpg", mask, "train", partial(components, mask))], tmp_path / "out")
    (labelled,) = read(name, tmp_path / "out")
    with Image.open(labelled.image) as image:  # as a reader sees it that ignores EXIF
        assert image.size == (6, 9)
        assert np.asarray(image.convert("L"))[0].mean() > 200 > 50 > np.asarray(image.convert("L"))[-1].mean()


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda image: image.unlink(), "a.png does not exist"),
        (lambda image: image.write_bytes(b"text"), "a.png: the image is no image"),
        (lambda image: Image.new("RGB", (3, 4)).save(image), "a.png shows as 3×4, its mask is 4×3"),
    ],
)
def test_an_image_that_does_not_fit_its_mask_is_not_written(name: str, tmp_path: Path, damage, said: str):
    Image.new("RGB", (4, 3)).save(tmp_path / "a.png")
    damage(tmp_path / "a.png")
    mask = np.zeros((3, 4), np.uint8)
    with pytest.raises(DataError, match=said):
        written(name, [Sample(1, tmp_path / "a.png", mask, "train", partial(components, mask))], tmp_path / "out")


@pytest.fixture
def dataset(name: str, tmp_path: Path) -> Path:
    """One sample, task 5 of `train`, half road and half sign."""
    Image.new("RGB", (8, 6)).save(tmp_path / "a.jpg")
    mask = np.zeros((6, 8), np.uint8)
    mask[:, 4:] = 2
    written(name, [Sample(5, tmp_path / "a.jpg", mask, "train", partial(components, mask))], tmp_path / "data")
    return tmp_path / "data"


def test_a_missing_data_set_is_one_line(name: str, tmp_path: Path):
    with pytest.raises(DataError, match="nowhere"):
        read(name, tmp_path / "nowhere")
    with pytest.raises(MaskloopError, match="nowhere"):
        open_format(name).classes(tmp_path / "nowhere")


def test_a_missing_image_is_named(name: str, dataset: Path):
    (labelled,) = read(name, dataset)
    labelled.image.unlink()
    if name == "yolo-seg":  # the images are the list of samples
        assert read(name, dataset) == []
    else:
        with pytest.raises(DataError, match=r"5\.jpg|no partner|leftImg8bit holds no|holds no image"):
            read(name, dataset)


def test_an_image_of_another_size_is_named(name: str, dataset: Path):
    (labelled,) = read(name, dataset)
    Image.new("RGB", (6, 8)).save(labelled.image)
    if name == "yolo-seg":  # shares of the image fit every size
        assert read(name, dataset)[0].size_hw == (8, 6)
    else:
        with pytest.raises(DataError, match=r"is 8×6, .* shows as 6×8"):
            read(name, dataset)


def test_a_class_that_is_not_asked_for_is_foreign_unless_void(name: str, dataset: Path):
    found = open_format(name)
    with pytest.raises(DataError, match=r"neither a class's nor void|holds the values \[2\]"):
        list(found.read(dataset, CLASS_MAP.names[:2], NONE))
    value = 3 if name.startswith("coco") else 2
    (labelled,) = found.read(dataset, CLASS_MAP.names[:2], frozenset({value}))
    expected = np.full((6, 8), 255, np.uint8)
    expected[:, :4] = 0
    np.testing.assert_array_equal(painted(result(labelled, CLASS_MAP), (6, 8)), expected)


@pytest.mark.parametrize("name", ["coco", "coco-rle", "coco-panoptic", "yolo-seg"])  # the others hold indices
def test_classes_in_another_order_are_found_by_name(name: str, dataset: Path):
    (labelled,) = open_format(name).read(dataset, ("traffic sign", "road"), NONE)
    there = ClassMap([ClassEntry("traffic sign", "#000000"), ClassEntry("road", "#000000")])
    mask = painted(result(labelled, there), (6, 8))  # by label
    assert mask[0].tolist() == [0] * 4 + [2] * 4


def edited(path: Path, change: Any) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


INSTANCES, PANOPTIC = "annotations/instances_train.json", "annotations/panoptic_train.json"
SEGMENTS = "annotations/panoptic_train/5.png"
RLE = {"size": [6, 8], "counts": [48]}


def first(key: str, **values: Any) -> Any:
    return lambda content: content[key][0].update(values)


def gone(key: str, *fields: str) -> Any:
    return lambda content: [content[key][0].pop(field) for field in fields]


DAMAGE: list[tuple[str, str, Any, str]] = [
    ("coco", INSTANCES, b"{", r"instances_train\.json is not valid JSON"),
    ("coco", INSTANCES, b"[]", r"instances_train\.json holds a JSON list, expected an object"),
    ("coco", INSTANCES, b"{}", "`categories` of the file is missing"),
    ("coco", INSTANCES, b'{"categories":[1],"images":[],"annotations":[]}', "`categories` holds a int"),
    ("coco", INSTANCES, gone("images", "file_name"), "`file_name` of image 5 is missing"),
    ("coco", INSTANCES, first("images", width="8"), "`width` of image 5 is str, expected int"),
    ("coco", INSTANCES, lambda content: content["images"].append(content["images"][0]), "`images` has the id 5 twice"),
    ("coco", INSTANCES, first("annotations", image_id=6), "an annotation is of image 6, which is not listed"),
    ("coco", INSTANCES, first("annotations", category_id=9), r"annotation 1 \(image 5\): the category id 9 is neither"),
    ("coco", INSTANCES, first("annotations", segmentation=[]), r"annotation 1 \(image 5\): there is no segmentation"),
    ("coco", INSTANCES, first("annotations", segmentation=[[1, 2, 3, 4]]), "no list of at least three pairs"),
    ("coco", INSTANCES, first("annotations", segmentation=[["a"] * 6]), "ValueError: could not convert"),
    ("coco", INSTANCES, first("annotations", segmentation=[1]), "no list of at least three pairs"),
    (
        "coco",
        INSTANCES,
        first("annotations", segmentation=RLE | {"size": [8, 6]}),
        r"size is \[8, 6\], the image's \[6, 8\]",
    ),
    ("coco", INSTANCES, first("annotations", segmentation=RLE | {"counts": [47]}), "sum up to 47 px, expected 48"),
    ("coco", INSTANCES, first("annotations", segmentation=RLE | {"counts": "~~~"}), "are corrupt"),
    ("coco", INSTANCES, first("annotations", segmentation=RLE | {"counts": "ü"}), "are corrupt"),
    ("coco", INSTANCES, first("annotations", segmentation=RLE | {"counts": None}), "TypeError"),
    ("coco", INSTANCES, first("annotations", segmentation={"size": [6, 8]}), "KeyError: 'counts'"),
    ("coco-panoptic", PANOPTIC, b"", r"panoptic_train\.json is not valid JSON"),
    (
        "coco-panoptic",
        PANOPTIC,
        lambda content: content["annotations"].clear(),
        "image 5 has 0 annotations, expected 1",
    ),
    (
        "coco-panoptic",
        PANOPTIC,
        gone("annotations", "segments_info"),
        "`segments_info` of the annotation of image 5 is",
    ),
    (
        "coco-panoptic",
        PANOPTIC,
        first("annotations", segments_info=[]),
        r"5\.png holds segments that .* not list: \[1, 3\]",
    ),
    ("coco-panoptic", PANOPTIC, first("annotations", file_name="6.png"), r"panoptic_train/6\.png does not exist"),
    ("coco-panoptic", SEGMENTS, b"text", r"5\.png can't be decoded"),
    ("coco-panoptic", SEGMENTS, Image.new("L", (8, 6)), r"5\.png has mode L, expected RGB"),
    ("coco-panoptic", SEGMENTS, Image.new("RGB", (6, 8)), r"5\.png is 6×8, its image 8×6"),
    ("yolo-seg", "data.yaml", b"names: [a", r"data\.yaml can't be read"),
    ("yolo-seg", "data.yaml", b"names: [road]", r"data\.yaml names no split"),
    ("yolo-seg", "data.yaml", b"train: images/train", r"data\.yaml holds no `names`"),
    ("yolo-seg", "data.yaml", b"train: elsewhere\nnames: [road]", "elsewhere is no folder"),
    ("yolo-seg", "labels/train/5.txt", b"\n0 0 0 1 1 0 1\n3 0 0 1 1 0 1\n", r"5\.txt:3: the class 3 is neither"),
    ("yolo-seg", "labels/train/5.txt", b"0 0.5 0.5 1 1", r"5\.txt:1: 4 numbers are no polygon"),
    ("yolo-seg", "labels/train/5.txt", b"0 0 0 1 1 0 1.2", r"5\.txt:1: a coordinate is outside 0\.\.1"),
    ("yolo-seg", "labels/train/5.txt", b"0 0 0 1 1 0 nan", r"5\.txt:1: a coordinate is outside 0\.\.1"),
    ("yolo-seg", "labels/train/5.txt", b"road 0 0 1 1 0 1", r"5\.txt:1: invalid literal"),
    ("yolo-seg", "labels/train/5.txt", b"\xff", r"5\.txt can't be read"),
    ("voc", "SegmentationClass/5.png", None, r"the mask .*5\.png of .*5\.jpg does not exist"),
    (
        "voc",
        "SegmentationClass/5.png",
        Image.new("RGB", (8, 6)),
        r"5\.png has mode RGB, expected 8-bit grey or palette",
    ),
    ("voc", "ImageSets/Segmentation/train.txt", b"", "Segmentation lists no name"),
    ("voc", "ImageSets/Segmentation/train.txt", b"\xff", r"train\.txt can't be read"),
    ("voc", "ImageSets/Segmentation/val.txt", b"5\n", r"val\.txt: 5 is in train\.txt, too"),
    ("cityscapes", "gtFine/train/maskloop/maskloop_000005_000000_gtFine_labelIds.png", None, "does not exist"),
    ("mask-folder", "train/masks/5.png", None, "1 files have no partner of the same name: 5"),
]


@pytest.mark.parametrize(("name", "file", "damage", "said"), DAMAGE)
def test_what_is_wrong_is_one_line_that_names_the_file(name: str, dataset: Path, file: str, damage: Any, said: str):
    path = dataset / file
    if damage is None:
        path.unlink()
    elif isinstance(damage, bytes):
        path.write_bytes(damage)
    elif isinstance(damage, Image.Image):
        damage.save(path)
    else:
        edited(path, damage)
    with pytest.raises(DataError, match=said) as caught:
        read(name, dataset)
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("asked", "nearest"), [("yolo", "yolo-seg"), ("COCO", "coco"), ("pascal-voc", "voc"), ("citiscapes", "cityscapes")]
)
def test_the_nearest_format_is_named(asked: str, nearest: str):
    with pytest.raises(ParamsError, match=f"no format `{asked}`, did you mean `{nearest}`") as caught:
        known_format(asked)
    assert all(name in caught.value.remedy for name in FORMATS)


# COCO


@pytest.fixture(params=["coco", "coco-rle"])
def coco(request: pytest.FixtureRequest, samples: list[Sample], tmp_path: Path) -> Iterator[tuple[COCO, list[Sample]]]:
    """The train split as pycocotools loads it."""
    written(request.param, samples, tmp_path)
    with contextlib.redirect_stdout(io.StringIO()):
        yield COCO(str(tmp_path / INSTANCES)), [sample for sample in samples if sample.split == "train"]


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools with numpy 2
def test_pycocotools_decodes_the_very_pixels(coco: tuple[COCO, list[Sample]]):
    loaded, samples = coco
    for sample in samples:
        mask = np.full_like(sample.mask, 255)
        for annotation in loaded.imgToAnns[sample.task_id]:
            pixels = loaded.annToMask(annotation).astype(bool)
            rows, columns = np.nonzero(pixels)
            assert (mask[pixels] == 255).all()  # instances do not overlap
            assert annotation["area"] == pixels.sum()
            box = [columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1]
            assert annotation["bbox"] == box
            mask[pixels] = annotation["category_id"] - 1
        np.testing.assert_array_equal(mask, sample.mask)


@pytest.mark.parametrize("kind", ["segm", "bbox"])
def test_cocoeval_scores_it_against_itself_at_1(coco: tuple[COCO, list[Sample]], kind: str):
    truth, _ = coco
    answers = truth.loadRes([annotation | {"score": 1.0} for annotation in truth.dataset["annotations"]])
    judge = COCOeval(truth, answers, kind)
    judge.params.maxDets = [1, 10, 10_000]  # the noise has more than COCO's 100 instances
    judge.evaluate()
    judge.accumulate()
    precision = judge.eval["precision"][..., 0, -1]  # every size, every detection
    assert precision[precision >= 0].min() == 1.0
    assert (precision.max(axis=(0, 1)) == 1.0).all()  # every class was there


def test_crowds_lie_below_and_small_instances_above(tmp_path: Path):
    (tmp_path / "annotations").mkdir()
    (tmp_path / "val2017").mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "val2017/000000000007.jpg")
    box = [[0, 0, 2, 0, 2, 2, 0, 2]]
    entries = [
        {
            "id": 1,
            "image_id": 7,
            "category_id": 90,
            "iscrowd": 0,
            "area": 1,
            "segmentation": [[0, 0, 1, 0, 1, 1, 0, 1]],
        },
        {"id": 2, "image_id": 7, "category_id": 18, "iscrowd": 0, "area": 4, "segmentation": box},
        {
            "id": 3,
            "image_id": 7,
            "category_id": 1,
            "iscrowd": 1,
            "area": 1,
            "segmentation": {"size": [4, 4], "counts": [0, 15, 1]},
        },
    ]
    content = {
        "images": [{"id": 7, "file_name": "000000000007.jpg", "width": 4, "height": 4}],
        "categories": [{"id": 90, "name": "traffic sign"}, {"id": 1, "name": "road"}, {"id": 18, "name": "car"}],
        "annotations": entries,
    }
    (tmp_path / "annotations/instances_val2017.json").write_text(json.dumps(content))
    (labelled,) = read("coco", tmp_path)
    assert labelled.split == "val"
    expected = [[2, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 255]]
    np.testing.assert_array_equal(painted(result(labelled, CLASS_MAP), (4, 4)), expected)
    assert [entry.name for entry in open_format("coco").classes(tmp_path)] == ["road", "car", "traffic sign"]


def test_panoptic_ids_are_of_three_bytes(tmp_path: Path):
    ids = np.array([[0, 1, 256], [65536, 65793, 65793]])
    pixels = np.stack([ids % 256, ids // 256 % 256, ids // 65536], axis=-1).astype(np.uint8)
    (tmp_path / "annotations/panoptic_train").mkdir(parents=True)
    (tmp_path / "train").mkdir()
    Image.fromarray(pixels).save(tmp_path / "annotations/panoptic_train/a.png")
    Image.new("RGB", (3, 2)).save(tmp_path / "train/a.png")
    category_of = {1: 4, 256: 4, 65536: 9, 65793: 5}
    content = {
        "images": [{"id": 1, "file_name": "a.png", "width": 3, "height": 2}],
        "categories": [
            {"id": 4, "name": "road"},
            {"id": 5, "name": "car", "color": [0, 0, 142]},
            {"id": 9, "name": "void"},
        ],
        "annotations": [
            {
                "image_id": 1,
                "file_name": "a.png",
                "segments_info": [{"id": number, "category_id": of} for number, of in category_of.items()],
            }
        ],
    }
    (tmp_path / PANOPTIC).write_text(json.dumps(content))
    (labelled,) = read("coco-panoptic", tmp_path)
    np.testing.assert_array_equal(labelled.content, [[255, 0, 0], [255, 1, 1]])
    classes = open_format("coco-panoptic").classes(tmp_path)
    assert [(entry.name, entry.color) for entry in classes] == [("road", "#808080"), ("car", "#00008e")]


def test_panoptic_segments_are_what_the_png_holds(samples: list[Sample], tmp_path: Path):
    written("coco-panoptic", samples, tmp_path)
    content = json.loads((tmp_path / PANOPTIC).read_text())
    assert {category["isthing"] for category in content["categories"]} == {0}
    assert content["categories"][0]["color"] == [128, 64, 128]
    for annotation in content["annotations"]:
        pixels = np.asarray(Image.open(tmp_path / "annotations/panoptic_train" / annotation["file_name"])).astype(int)
        ids = pixels[..., 0] + 256 * pixels[..., 1] + 256**2 * pixels[..., 2]
        assert {segment["id"] for segment in annotation["segments_info"]} == set(np.unique(ids)) - {0}
        for segment in annotation["segments_info"]:
            rows, columns = np.nonzero(ids == segment["id"])
            assert segment["area"] == rows.size
            assert segment["bbox"] == [columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1]


# The others


def test_yolo_lines_are_shares_and_the_largest_component_comes_first(samples: list[Sample], tmp_path: Path):
    written("yolo-seg", samples, tmp_path)
    index = yaml.safe_load((tmp_path / "data.yaml").read_text())
    assert index == {
        "train": "images/train",
        "val": "images/val",
        "test": "images/test",
        "names": {0: "road", 1: "car", 2: "traffic sign"},
    }
    for sample in samples:
        text = (tmp_path / "labels" / sample.split / f"{sample.name}.txt").read_text()
        lines = [[float(word) for word in line.split()] for line in text.splitlines()]
        parts = sample.components()
        assert [line[0] for line in lines] == [component.class_index for component in parts]
        assert all(0 <= number <= 1 for line in lines for number in line[1:])
        sizes = [component.pixels.sum() for component in parts]
        assert sizes == sorted(sizes, reverse=True)


def test_a_yolo_image_without_text_has_no_objects(tmp_path: Path):
    (tmp_path / "train/images").mkdir(parents=True)
    Image.new("RGB", (8, 6)).save(tmp_path / "train/images/a.jpg")
    (tmp_path / "data.yaml").write_text("path: .\ntrain: [train/images]\nval:\nnames: [road]\n")
    (labelled,) = read("yolo-seg", tmp_path)
    assert (labelled.content, labelled.labels) == ([], tmp_path / "train/labels/a.txt")


def test_voc_masks_have_the_palette_of_the_classes(samples: list[Sample], tmp_path: Path):
    written("voc", samples, tmp_path)
    for sample in samples:
        with Image.open(tmp_path / f"SegmentationClass/{sample.name}.png") as image:
            assert image.mode == "P"
            palette = np.array(image.getpalette()).reshape(-1, 3)
            colors = np.asarray(image.convert("RGB"))
        assert palette[2].tolist() == [0xDC, 0xDC, 0]
        if (sample.mask == 255).any():
            assert colors[sample.mask == 255][0].tolist() == [224, 224, 192]
        with Image.open(tmp_path / f"JPEGImages/{sample.name}.jpg") as image:
            assert image.format == "JPEG"
    trained = [sample.name for sample in samples if sample.split == "train"]
    assert (tmp_path / "ImageSets/Segmentation/train.txt").read_text().split() == trained


def test_cityscapes_colours_are_those_of_the_classes(samples: list[Sample], tmp_path: Path):
    written("cityscapes", samples, tmp_path)
    colors = np.zeros((256, 3), np.uint8)
    colors[:3] = [[128, 64, 128], [0, 0, 142], [220, 220, 0]]
    for sample in samples:
        stem = f"maskloop_{sample.task_id:06d}_000000"
        with Image.open(tmp_path / f"gtFine/{sample.split}/maskloop/{stem}_gtFine_color.png") as image:
            np.testing.assert_array_equal(np.asarray(image), colors[sample.mask])
        with Image.open(tmp_path / f"leftImg8bit/{sample.split}/maskloop/{stem}_leftImg8bit.png") as image:
            assert image.format == "PNG"


def test_masks_of_other_data_sets_may_have_their_own_void(tmp_path: Path):
    Image.new("RGB", (2, 1)).save(tmp_path / "a.png")
    images, masks = tmp_path / "train/images", tmp_path / "train/masks"
    images.mkdir(parents=True)
    (tmp_path / "a.png").rename(images / "a.png")
    write_mask(masks / "a.png", np.array([[1, 11]], np.uint8))
    (labelled,) = read("mask-folder", tmp_path, frozenset({11}))
    np.testing.assert_array_equal(labelled.content, [[1, 255]])
