"""The fast path of augmentation: cut the window out of the sample, then scale, flip and colour those pixels alone."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from schemas.labels import VOID_INDEX

LUMA = np.array([0.299, 0.587, 0.114])
RGB_TO_YIQ = np.array([LUMA, [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])
YIQ_TO_RGB = np.linalg.inv(RGB_TO_YIQ)

Range = tuple[float, float]


@dataclass(frozen=True, slots=True)
class CropFirst:
    """A random window of `window_hw` pixels, seen at a random scale, flipped and coloured.

    It draws from the same distributions as albumentations' RandomScale, flips and ColorJitter and a random crop; the
    colours differ in that brightness, contrast, saturation and hue (a turn in YIQ) are one matrix, clipped once.
    `…_p` are probabilities; `brightness`, `contrast` and `saturation` factors; `hue` is in turns, −0.5..0.5.
    """

    window_hw: tuple[int, int]
    scale_p: float
    scale: Range
    mirror_p: float
    overturn_p: float
    colour_p: float
    brightness: Range
    contrast: Range
    saturation: Range
    hue: Range

    def __call__(
        self, image: NDArray[np.uint8], mask: NDArray[np.uint8], seed: int
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Augment an image, uint8 (H, W, 3), with its mask, uint8 (H, W); the same seed gives the same result."""
        random = np.random.default_rng(seed)
        scale = random.uniform(*self.scale) if random.random() < self.scale_p else 1.0
        axes = [_place(size, window, scale, random) for size, window in zip(mask.shape, self.window_hw, strict=True)]
        source = axes[0][0], axes[1][0]
        target = axes[0][1], axes[1][1]
        pixels, labels = np.asarray(image[source]), np.asarray(mask[source])
        size_wh = (target[1].stop - target[1].start, target[0].stop - target[0].start)
        if labels.shape != size_wh[::-1]:
            pixels = cv2.resize(pixels, size_wh, interpolation=cv2.INTER_LINEAR).astype(np.uint8, copy=False)
            labels = cv2.resize(labels, size_wh, interpolation=cv2.INTER_NEAREST_EXACT).astype(np.uint8, copy=False)
        if random.random() < self.colour_p:
            pixels = cv2.transform(pixels, self._colours(pixels, random)).astype(np.uint8, copy=False)
        mirror, overturn = random.random() < self.mirror_p, random.random() < self.overturn_p
        window = np.zeros((*self.window_hw, 3), np.uint8)
        labelled = np.full(self.window_hw, VOID_INDEX, np.uint8)
        window[target], labelled[target] = pixels, labels
        flip = slice(None, None, -1 if overturn else 1), slice(None, None, -1 if mirror else 1)
        return window[flip], labelled[flip]

    def _colours(self, pixels: NDArray[np.uint8], random: Generator) -> NDArray[np.float64]:
        """Colour matrix, float64 (3, 4), for RGB in [0, 255]; its last column is added."""
        brightness, contrast = random.uniform(*self.brightness), random.uniform(*self.contrast)
        saturation, turn = random.uniform(*self.saturation), 2 * math.pi * random.uniform(*self.hue)
        cosine, sine = math.cos(turn), math.sin(turn)
        chroma = saturation * np.array([[cosine, -sine], [sine, cosine]])
        matrix = np.zeros((3, 4))
        yiq = np.eye(3)
        yiq[1:, 1:] = chroma
        matrix[:, :3] = brightness * contrast * (YIQ_TO_RGB @ yiq @ RGB_TO_YIQ)
        matrix[:, 3] = brightness * (1 - contrast) * (LUMA @ np.array(cv2.mean(pixels))[:3])
        return matrix


def _place(size: int, window: int, scale: float, random: Generator) -> tuple[slice, slice]:
    """Along one axis: which pixels of the sample come into the window, and where in the window they land."""
    wanted = max(1, round(window / scale))
    if wanted <= size:
        start = int(random.integers(0, size - wanted + 1))
        return slice(start, start + wanted), slice(0, window)
    filled = min(window, max(1, round(size * scale)))
    start = int(random.integers(0, window - filled + 1))
    return slice(0, size), slice(start, start + filled)
