"""Pascal VOC's segmentation layout (Everingham et al., "The PASCAL Visual Object Classes Challenge", IJCV 88, 2010).

`JPEGImages/NAME.jpg`, `SegmentationClass/NAME.png` (palette PNG of class indices, 255 void), and the names of each
split in `ImageSets/Segmentation/<split>.txt`. `classes.txt`, which VOC itself has not, names the classes. Images that
are no JPEG become one, of quality 95; masks are kept bit for bit.
"""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from connectors.format_files import existing_folder, labelled_by_mask, read_classes, write_classes, write_image
from connectors.labelled import Labelled, Mask, Sample
from connectors.storage import write_bytes
from schemas.errors import DataError
from schemas.labels import VOID_INDEX, ClassMap
from schemas.params import ClassParams

JPEG = frozenset({".jpg"})
VOID_RGB = (224, 224, 192)
"""VOC's own colour of void."""

IMAGES, MASKS, SETS = Path("JPEGImages"), Path("SegmentationClass"), Path("ImageSets/Segmentation")


class PascalVoc:
    """One folder of images, one of masks, and lists of names."""

    def write(self, samples: Iterable[Sample], class_map: ClassMap, folder: Path) -> Iterator[Path]:
        """See `Format.write`."""
        palette = palette_of(class_map)
        names: dict[str, list[str]] = defaultdict(list)
        for sample in samples:
            names[sample.split].append(sample.name)
            yield write_image(sample, folder / IMAGES / sample.name, JPEG)
            path = folder / MASKS / f"{sample.name}.png"
            write_bytes(path, encode_palette_png(sample.mask, palette))
            yield path
        for split, found in names.items():
            path = folder / SETS / f"{split}.txt"
            write_bytes(path, "".join(f"{name}\n" for name in found).encode())
            yield path
        yield write_classes(folder / "classes.txt", class_map.names)

    def classes(self, folder: Path) -> tuple[ClassParams, ...]:
        """See `Format.classes`: classes.txt."""
        return read_classes(folder / "classes.txt")

    def read(self, folder: Path, classes: Sequence[str], void: frozenset[int]) -> Iterator[Labelled]:
        """See `Format.read`. Names in no list are passed over; `trainval` repeats others, so it is too."""
        split_of: dict[str, str] = {}
        for path in sorted(existing_folder(folder / SETS, "VOC").glob("*.txt")):
            for name in _names(path) if path.stem != "trainval" else ():
                if split_of.setdefault(name, path.stem) != path.stem:
                    raise DataError(f"{path}: {name} is in {split_of[name]}.txt, too", "A sample has one split.")
        if not split_of:
            raise DataError(f"{folder / SETS} lists no name", "Expected are train.txt, val.txt or test.txt.")
        for name, split in split_of.items():
            mask = folder / MASKS / f"{name}.png"
            yield labelled_by_mask(folder / IMAGES / f"{name}.jpg", mask, len(classes), void, split)


VOC = PascalVoc()


def _names(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} can't be read: {error}", "Replace the file.") from error


def palette_of(class_map: ClassMap) -> Mask:
    """Colours of all mask values, uint8 (256, 3)."""
    palette = np.zeros((VOID_INDEX + 1, 3), np.uint8)
    palette[: len(class_map)] = [class_map.color_rgb(index) for index in range(len(class_map))]
    palette[VOID_INDEX] = VOID_RGB
    return palette


def encode_palette_png(mask: Mask, palette: Mask) -> bytes:
    """A mask, uint8 (H, W), as palette PNG."""
    image = Image.fromarray(mask)
    image.putpalette(palette.tobytes())
    sink = io.BytesIO()
    image.save(sink, "PNG")
    return sink.getvalue()
