"""A folder of images with a folder of class-index masks of the same names, as CamVid and many others are published.

A whole data set is `<split>/images/`, `<split>/masks/` and `classes.txt`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from connectors.format_files import IMAGE_SUFFIXES, labelled_by_mask, read_classes, write_classes, write_image
from connectors.labelled import Labelled, Sample
from connectors.masks import write_mask
from schemas.errors import DataError
from schemas.labels import ClassMap
from schemas.manifest import SPLITS
from schemas.params import ClassParams


class MaskFolder:
    """Images, grey PNGs, and a list of class names."""

    def write(self, samples: Iterable[Sample], class_map: ClassMap, folder: Path) -> Iterator[Path]:
        """See `Format.write`."""
        for sample in samples:
            yield write_image(sample, folder / sample.split / "images" / sample.name)
            path = folder / sample.split / "masks" / f"{sample.name}.png"
            write_mask(path, sample.mask)
            yield path
        yield write_classes(folder / "classes.txt", class_map.names)

    def classes(self, folder: Path) -> tuple[ClassParams, ...]:
        """See `Format.classes`: classes.txt."""
        return read_classes(folder / "classes.txt")

    def read(self, folder: Path, classes: Sequence[str], void: frozenset[int]) -> Iterator[Labelled]:
        """See `Format.read`."""
        splits = [split for split in SPLITS if (folder / split).is_dir()]
        if not splits:
            raise DataError(f"{folder} holds none of the folders {', '.join(SPLITS)}", "Name images and masks instead.")
        for split in splits:
            yield from read_pairs(folder / split / "images", folder / split / "masks", len(classes), void, split)


MASK_FOLDER = MaskFolder()


def read_pairs(
    images: Path, masks: Path, classes: int, void: frozenset[int], split: str | None = None
) -> Iterator[Labelled]:
    """The images of one folder with the masks of another, by name. Raises DataError, see `pairs` and `Format.read`."""
    for image, mask in pairs(images, masks):
        yield labelled_by_mask(image, mask, classes, void, split)


def pairs(images: Path, masks: Path) -> list[tuple[Path, Path]]:
    """Images with their masks, by name. Raises DataError naming what has no partner, or that there is nothing."""
    for folder in (images, masks):
        if not folder.is_dir():
            raise DataError(f"{folder} is no folder", "Name the folders of the images and of the masks.")
    found = [path for path in sorted(images.iterdir()) if path.suffix.lower() in IMAGE_SUFFIXES]
    image_of = {path.stem: path for path in found}
    doubled = [path.name for path in found if image_of[path.stem] != path]
    if doubled:
        raise DataError(f"{images} holds two images of one name: {', '.join(doubled[:5])}", "Rename or remove one.")
    mask_of = {path.stem: path for path in sorted(masks.iterdir()) if path.suffix.lower() == ".png"}
    alone = sorted(set(image_of) ^ set(mask_of))
    if alone:
        raise DataError(
            f"{len(alone)} files have no partner of the same name: {', '.join(alone[:5])}",
            "Every image needs a PNG mask with its name.",
        )
    if not image_of:
        raise DataError(f"{images} holds no image", f"Known are {', '.join(sorted(IMAGE_SUFFIXES))}.")
    return [(path, mask_of[stem]) for stem, path in image_of.items()]
