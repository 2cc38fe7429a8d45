"""COCO's JSON files, `annotations/<kind>_<split>.json`, as instances and panoptic share them."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import orjson

from connectors.format_files import Values, check_size, existing_folder, parse_classes
from connectors.labelled import Sample
from connectors.storage import write_bytes
from schemas.errors import DataError
from schemas.labels import VOID_LABEL, ClassMap
from schemas.params import ClassParams

YEAR = re.compile(r"(?<=.)20\d\d$")
"""COCO's own splits bear one: `instances_val2017.json` is of split `val`, its images lie in `val2017/`."""

T = TypeVar("T")
Entry = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Dataset:
    """One JSON file. `folder`: the whole data set's. `name_of`: category id → name. `images`: by image id."""

    path: Path
    folder: Path
    split_folder: str
    split: str
    name_of: dict[int, str]
    colors: dict[str, str]
    images: dict[int, Entry]
    annotations: dict[int, list[Entry]]

    def image(self, image_id: int) -> tuple[Path, tuple[int, int]]:
        """Path, and (height, width) as the JSON says. Raises DataError if either is missing."""
        entry, what = self.images[image_id], f"image {image_id}"
        path = self.folder / self.split_folder / field(entry, "file_name", str, self.path, what)
        size_hw = (field(entry, "height", int, self.path, what), field(entry, "width", int, self.path, what))
        check_size(path, size_hw, f"{self.path}: {what}")
        return path, size_hw


def read_datasets(folder: Path, kind: str) -> list[Dataset]:
    """Every split of a data set; `kind` is `instances` or `panoptic`. Raises DataError naming the file at fault."""
    annotations = existing_folder(folder / "annotations", f"COCO ({kind})")
    found = sorted(annotations.glob(f"{kind}_?*.json"))
    if not found:
        raise DataError(f"{annotations} holds no {kind}_<split>.json", "Name the data set's folder.")
    return [_read_dataset(folder, kind, path) for path in found]


@dataclass(frozen=True, slots=True)
class Annotated:
    """One image with its annotations. `values`: its data set's category ids to class indices."""

    dataset: Dataset
    values: Values
    image_id: int
    image: Path
    size_hw: tuple[int, int]
    annotations: list[Entry]


def read_annotated(folder: Path, kind: str, classes: Sequence[str], void: frozenset[int]) -> Iterator[Annotated]:
    """Every image of every split, in order of id. Raises DataError naming the file at fault, and what `Values` does."""
    for dataset in read_datasets(folder, kind):
        values = Values(dataset.name_of, classes, void)
        for image_id in sorted(dataset.images):
            annotations = dataset.annotations.get(image_id, [])
            yield Annotated(dataset, values, image_id, *dataset.image(image_id), annotations)


def _read_dataset(folder: Path, kind: str, path: Path) -> Dataset:
    content = _read_object(path)
    split_folder = path.stem.removeprefix(f"{kind}_")
    categories = _by_id(content, "categories", path)
    images = _by_id(content, "images", path)
    annotations: dict[int, list[Entry]] = defaultdict(list)
    for entry in _entries(content, "annotations", path):
        image_id = field(entry, "image_id", int, path, "an annotation")
        if image_id not in images:
            raise DataError(f"{path}: an annotation is of image {image_id}, which is not listed", "Take it out.")
        annotations[image_id].append(entry)
    name_of = {number: field(entry, "name", str, path, f"category {number}") for number, entry in categories.items()}
    colors = {entry["name"]: _hex(entry["color"]) for entry in categories.values() if "color" in entry}
    return Dataset(path, folder, split_folder, YEAR.sub("", split_folder), name_of, colors, images, annotations)


def _read_object(path: Path) -> Entry:
    try:
        value = orjson.loads(path.read_bytes())
    except orjson.JSONDecodeError as error:
        raise DataError(f"{path} is not valid JSON: {error}", "Replace the file.") from error
    if not isinstance(value, dict):
        raise DataError(f"{path} holds a JSON {type(value).__name__}, expected an object", "Replace the file.")
    return value


def _entries(content: Entry, key: str, path: Path) -> list[Entry]:
    entries = field(content, key, list, path, "the file")
    for entry in entries:
        if not isinstance(entry, dict):
            raise DataError(f"{path}: `{key}` holds a {type(entry).__name__}, expected objects", "Replace the file.")
    return entries


def _by_id(content: Entry, key: str, path: Path) -> dict[int, Entry]:
    found: dict[int, Entry] = {}
    for entry in _entries(content, key, path):
        number = field(entry, "id", int, path, f"an entry of `{key}`")
        if number in found:
            raise DataError(f"{path}: `{key}` has the id {number} twice", "Ids must be unique.")
        found[number] = entry
    return found


def field(entry: Entry, key: str, kind: type[T], path: Path, what: str) -> T:
    """`entry[key]`. Raises DataError naming file and entry if it is missing or of another type."""
    value = entry.get(key)
    if not isinstance(value, kind):
        found = "missing" if key not in entry else f"{type(value).__name__}, expected {kind.__name__}"
        raise DataError(f"{path}: `{key}` of {what} is {found}", "Replace the file.")
    return value


def read_categories(folder: Path, kind: str) -> tuple[ClassParams, ...]:
    """The categories of all splits in order of id, as classes. Raises DataError or ParamsError."""
    name_of: dict[int, str] = {}
    colors: dict[str, str] = {}
    path = folder
    for dataset in read_datasets(folder, kind):
        path = dataset.path
        for number, name in dataset.name_of.items():
            if name_of.setdefault(number, name) != name:
                raise DataError(f"{path}: category {number} is {name!r}, in another split {name_of[number]!r}")
        colors |= dataset.colors
    names = [name_of[number] for number in sorted(name_of) if name_of[number] != VOID_LABEL]
    return parse_classes([{"name": name} | ({"color": colors[name]} if name in colors else {}) for name in names], path)


def _hex(color: Any) -> str:
    """`#rrggbb` of COCO's [r, g, b]; anything else as text, for the class's own check to refuse."""
    is_rgb = isinstance(color, list) and len(color) == 3 and all(isinstance(value, int) for value in color)
    return "#{:02x}{:02x}{:02x}".format(*color) if is_rgb else str(color)


def write_dataset(
    folder: Path, kind: str, split: str, images: list[Entry], annotations: Iterable[bytes], class_map: ClassMap
) -> Path:
    """Write one split's JSON; `annotations` are JSON already. Returns the path."""
    head = orjson.dumps({"info": {"description": "maskloop"}, "licenses": [], "images": images})
    categories = orjson.dumps([_category(index, class_map, kind) for index in range(len(class_map))])
    content = (
        head[:-1] + b',\n"annotations":[\n' + b",\n".join(annotations) + b'\n],\n"categories":' + categories + b"}\n"
    )
    path = folder / "annotations" / f"{kind}_{split}.json"
    write_bytes(path, content)
    return path


def _category(index: int, class_map: ClassMap, kind: str) -> Entry:
    label = class_map.label(index)
    category = {"id": index + 1, "name": label, "supercategory": label}
    return category if kind == "instances" else category | {"isthing": 0, "color": class_map.color_rgb(index)}


def image_entry(sample: Sample, path: Path) -> Entry:
    """A sample's entry in `images`: its id is the task's."""
    height, width = sample.mask.shape
    return {"id": sample.task_id, "file_name": path.name, "width": width, "height": height}
