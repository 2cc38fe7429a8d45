"""What data set formats write and read, and what each of them must offer: see `connectors.formats`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from schemas.labels import ClassMap
from schemas.params import ClassParams

Mask = NDArray[np.uint8]
"""Class indices, uint8 (H, W), 255 is void."""

Outline = NDArray[np.float64]
"""A ring: float64 (N, 2), N ≥ 3, columns x, y in pixels, where pixel (0, 0) covers [0, 1)². Even-odd."""


@dataclass(frozen=True, slots=True)
class Component:
    """A 4-connected component of one class.

    `box_xywh`: the pixels' bounding box. `pixels`: which of the box are its own, bool (h, w). `outline`: of the whole
    image; a hole is cut by a slit of no width, so that one ring describes the component.
    """

    class_index: int
    box_xywh: tuple[int, int, int, int]
    pixels: NDArray[np.bool_]
    outline: Outline


@dataclass(frozen=True, slots=True)
class Sample:
    """An image with its mask on the way out. `components` computes those of the mask, the largest first."""

    task_id: int
    image: Path
    mask: Mask
    split: str
    components: Callable[[], list[Component]]

    @property
    def name(self) -> str:
        """Stem of the sample's files: unique, and the same in every export."""
        return str(self.task_id)


@dataclass(frozen=True, slots=True)
class Instance:
    """Pixels of one class (255: void): what `outline` encloses, or where `pixels`, bool (H, W), is set."""

    class_index: int
    outline: Outline | None = None
    pixels: NDArray[np.bool_] | None = None


@dataclass(frozen=True, slots=True)
class Labelled:
    """An image with its labels as a data set holds them: a mask, or instances, later ones on top.

    `labels` is the file they are from, `size_hw` what it says or implies of the image's height and width in pixels.
    """

    image: Path
    labels: Path
    size_hw: tuple[int, int]
    content: Mask | list[Instance]
    split: str | None = None


class Format(Protocol):
    """A well-known way to lay out a data set in a folder."""

    def write(self, samples: Iterable[Sample], class_map: ClassMap, folder: Path) -> Iterator[Path]:
        """Write the samples; yields each file once it is there. The same samples give the same bytes.

        Raises DataError naming the image that is missing, is no image, or has another size than its mask.
        """
        ...

    def classes(self, folder: Path) -> tuple[ClassParams, ...]:
        """The classes that the data set names, in index order. Raises DataError or ParamsError if it names none."""
        ...

    def read(self, folder: Path, classes: Sequence[str], void: frozenset[int]) -> Iterator[Labelled]:
        """Yield the images with their labels. `classes`: labels in index order. `void`: values without a class.

        A value is the format's own: a mask's value, COCO's category id, YOLO's class number. Raises DataError naming
        the file that is missing, malformed, or holds a value that is neither a class's nor void.
        """
        ...
