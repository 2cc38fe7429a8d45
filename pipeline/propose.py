"""Proposers pre-label an image with masks that have no class yet. A new one is a class and a line of PROPOSERS."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from skimage.segmentation import felzenszwalb

from connectors.sam_pickle import Prelabel
from schemas.errors import ParamsError
from schemas.params import PrelabelParams


class Proposer(Protocol):
    """Finds the masks of an image; the same image and parameters give the same pre-labels in the same order."""

    name: str

    def propose(self, image: NDArray[np.uint8]) -> list[Prelabel]:
        """Pre-labels of an RGB image, uint8 (H, W, 3) in [0, 255]."""
        ...


class Felzenszwalb:
    """Groups pixels by colour alone, no weights (Felzenszwalb & Huttenlocher, IJCV 2004). Largest masks first.

    The masks tile the image: they neither overlap nor nest. Nothing estimates their quality, so both scores are 0.
    """

    name = "felzenszwalb"

    def __init__(self, params: PrelabelParams) -> None:
        self._params = params

    def propose(self, image: NDArray[np.uint8]) -> list[Prelabel]:
        """See Proposer."""
        segments: NDArray[np.int64] = felzenszwalb(
            image,
            scale=self._params.scale,
            sigma=self._params.sigma,
            min_size=self._params.min_mask_region_area,
            channel_axis=-1,
        )
        prelabels = [
            prelabel for prelabel in _of_segments(segments) if prelabel.area >= self._params.min_mask_region_area
        ]
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


PROPOSERS: dict[str, Callable[[PrelabelParams], Proposer]] = {
    Felzenszwalb.name: Felzenszwalb,
}


def make_proposer(params: PrelabelParams) -> Proposer:
    """The proposer that `params.model` names. Raises ParamsError listing the known ones."""
    constructor = PROPOSERS.get(params.model)
    if constructor is None:
        raise ParamsError(
            f"prelabel.model is {params.model!r}, expected one of: {', '.join(sorted(PROPOSERS))}",
            "Name one of them in params.yaml.",
        )
    return constructor(params)
