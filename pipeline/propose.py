"""Proposers pre-label an image with masks. A new one is a class and a line of PROPOSERS."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from skimage.segmentation import felzenszwalb

from connectors.sam_pickle import Prelabel
from pipeline.sam.names import EXAMPLES, is_sam
from schemas.errors import ParamsError
from schemas.params import Params

MIN_AREA_PX = 200  # of Felzenszwalb's, where params.yaml does not say


class Proposer(Protocol):
    """Finds the masks of an image; the same image and parameters give the same pre-labels in the same order.

    `in_parallel`: whether a process for each core is faster than one, which a network that uses them all is not.
    """

    in_parallel: bool

    @property
    def name(self) -> str:
        """What made the pre-labels, with its version."""
        ...

    def propose(self, image: NDArray[np.uint8], image_sha256: str) -> list[Prelabel]:
        """Pre-labels of an RGB image, uint8 (H, W, 3) in [0, 255], whose file has that hash."""
        ...


class Felzenszwalb:
    """Groups pixels by colour alone, no weights (Felzenszwalb & Huttenlocher, IJCV 2004). Largest masks first.

    The masks tile the image: they neither overlap nor nest. Nothing estimates their quality, so both scores are 0.
    """

    name = "felzenszwalb"
    in_parallel = True

    def __init__(self, params: Params, folder: Path) -> None:
        self._params = params.prelabel
        asked = params.prelabel.min_mask_region_area
        self._min_area_px = MIN_AREA_PX if asked is None else asked

    def propose(self, image: NDArray[np.uint8], image_sha256: str) -> list[Prelabel]:
        """See Proposer."""
        segments: NDArray[np.int64] = felzenszwalb(
            image,
            scale=self._params.scale,
            sigma=self._params.sigma,
            min_size=self._min_area_px,
            channel_axis=-1,
        )
        prelabels = [prelabel for prelabel in _of_segments(segments) if prelabel.area >= self._min_area_px]
        return sorted(prelabels, key=lambda prelabel: -prelabel.area)


def _of_segments(segments: NDArray[np.int64]) -> list[Prelabel]:
    """One pre-label per value of an int (H, W) array, by value; the point is the middle of the longest run.

    One pass over the column-major runs of all values together, so the cost does not grow with their number.
    """
    height, width = segments.shape
    column_major = segments.T.ravel()
    starts = np.flatnonzero(np.diff(column_major, prepend=column_major[0] - 1))
    lengths = np.diff(starts, append=column_major.size)
    by_value = np.argsort(column_major[starts], kind="stable")
    firsts = np.flatnonzero(np.diff(column_major[starts][by_value])) + 1
    prelabels = []
    for runs in np.split(by_value, firsts):
        start, length = starts[runs], lengths[runs]
        gaps = start - np.concatenate(([0], (start + length)[:-1]))
        rest = column_major.size - start[-1] - length[-1]
        counts = [*np.stack((gaps, length), axis=1).ravel().tolist(), *([int(rest)] if rest else [])]
        longest = length.argmax()
        x, y = divmod(int(start[longest] + length[longest] // 2), height)
        prelabels.append(Prelabel.from_runs(counts, (height, width), points_xy=((x, y),)))
    return prelabels


PROPOSERS: dict[str, Callable[[Params, Path], Proposer]] = {
    Felzenszwalb.name: Felzenszwalb,
}


def make_proposer(params: Params, folder: Path) -> Proposer:
    """The proposer that `prelabel.model` names, for the project in `folder`; a path or hub id is Segment Anything.

    Raises ParamsError listing the known ones.
    """
    model = params.prelabel.model
    if model in PROPOSERS:
        return PROPOSERS[model](params, folder)
    if not is_sam(model):
        raise ParamsError(
            f"prelabel.model is {model!r}, expected one of: {', '.join(sorted(PROPOSERS))}, or SAM: {EXAMPLES}",
            "Name one of them in params.yaml.",
        )
    from pipeline.sam.proposer import SamProposer  # torch takes a second, which the others' processes can do without

    return SamProposer(params, folder)
