"""`maskloop segment`: one image, one prompt, and what SAM makes of it, as files to look at and to go on with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from connectors.images import open_rgb
from connectors.sam_pickle import ImagePrelabels, Prelabel, write_sam_pickle
from connectors.storage import replacing, sha256_file, write_json
from pipeline.sam.embeddings import EmbeddingCache
from pipeline.sam.model import Answer, Prompt, Segmenter
from schemas.errors import ParamsError

MASK_COLOUR = np.array((30, 144, 255), np.float32)
POSITIVE, NEGATIVE, BOX = (0, 200, 0), (220, 0, 0), (255, 200, 0)
MARK_RADIUS_PX = 4


def make_prompt(
    points_xy: Sequence[tuple[float, float]],
    not_points_xy: Sequence[tuple[float, float]],
    box_xyxy: tuple[float, float, float, float] | None,
    logits_path: Path | None = None,
) -> Prompt:
    """A prompt of points on the object, points that are not, and a box around it, in pixels of the image.

    `logits_path`: an earlier answer's `logits-1.npy`, float32 (h, w), to refine. Raises ParamsError if it is none.
    """
    points = np.array([*points_xy, *not_points_xy], np.float64).reshape(-1, 2)
    positive = np.arange(len(points)) < len(points_xy)
    return Prompt(points, positive, box_xyxy, None if logits_path is None else _read_logits(logits_path))


def _read_logits(path: Path) -> NDArray[np.float32]:
    remedy = "Give a file logits-….npy that `maskloop segment` wrote."
    try:
        logits = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ParamsError(f"the previous mask {path} can't be read: {type(error).__name__}: {error}", remedy) from None
    if not isinstance(logits, np.ndarray) or logits.dtype != np.float32 or logits.ndim != 2:
        found = f"{logits.dtype} {logits.shape}" if isinstance(logits, np.ndarray) else "an archive"
        raise ParamsError(f"the previous mask {path} holds {found}, expected float32 (h, w)", remedy)
    return logits


def segment_image(image_path: Path, prompt: Prompt, segmenter: Segmenter, cache: EmbeddingCache, out: Path) -> Answer:
    """Write each mask as `mask-1.png` (0 and 255), best first, with `masks.json`, `masks.pkl` and `overlay.png`.

    Its `logits-1.npy` go into another prompt that refines it.

    Raises ImageError if the image can't be read, ParamsError if the prompt is empty or lies beside it.
    """
    image = open_rgb(image_path)
    _must_lie_within(prompt, image.shape[0], image.shape[1])
    image_sha256 = sha256_file(image_path)
    answer = segmenter.segment(cache.embedding(image_sha256, lambda: image), prompt)
    prelabels = [
        Prelabel.from_mask(mask, [(float(x), float(y)) for x, y in prompt.points_xy], float(score))
        for mask, score in zip(answer.masks, answer.predicted_iou, strict=True)
    ]
    for earlier in [*out.glob("mask-*.png"), *out.glob("logits-*.npy")]:
        earlier.unlink()
    for number, (mask, logits) in enumerate(zip(answer.masks, answer.logits, strict=True), start=1):
        _write_png(out / f"mask-{number}.png", mask.astype(np.uint8) * 255)
        with replacing(out / f"logits-{number}.npy") as temporary, temporary.open("wb") as stream:
            np.save(stream, logits)
    _write_png(out / "overlay.png", _overlay(image, prompt, answer))
    size_hw = (image.shape[0], image.shape[1])
    write_sam_pickle(out / "masks.pkl", ImagePrelabels(image_sha256, size_hw, segmenter.version, "", tuple(prelabels)))
    write_json(
        out / "masks.json",
        {
            "image": str(image_path),
            "image_sha256": image_sha256,
            "model": segmenter.version,
            "prompt": {
                "points": prompt.points_xy[prompt.positive].tolist(),
                "not_points": prompt.points_xy[~prompt.positive].tolist(),
                "box": prompt.box_xyxy,
                "refines_a_mask": prompt.mask_logits is not None,
            },
            "masks": [
                {
                    "file": f"mask-{number}.png",
                    "predicted_iou": prelabel.predicted_iou,
                    "area": prelabel.area,
                    "bbox": prelabel.bbox,
                }
                for number, prelabel in enumerate(prelabels, start=1)
            ],
        },
    )
    return answer


def _must_lie_within(prompt: Prompt, height: int, width: int) -> None:
    corners = [] if prompt.box_xyxy is None else [prompt.box_xyxy[:2], prompt.box_xyxy[2:]]
    for x, y in [*prompt.points_xy.tolist(), *corners]:
        if not (0 <= x <= width and 0 <= y <= height):
            raise ParamsError(
                f"the point {x:g},{y:g} lies outside of the image, which is {width} px wide and {height} px high",
                "Count pixels from its top left corner.",
            )
    if prompt.box_xyxy is not None:
        left, top, right, bottom = prompt.box_xyxy
        if left >= right or top >= bottom:
            raise ParamsError(
                f"the box {left:g},{top:g},{right:g},{bottom:g} is empty", "Give left, top, right and bottom."
            )


def _overlay(image: NDArray[np.uint8], prompt: Prompt, answer: Answer) -> NDArray[np.uint8]:
    """The masks side by side on the image, with the prompt and the predicted IoU."""
    panels = []
    for mask, score in zip(answer.masks, answer.predicted_iou, strict=True):
        shaded = image.astype(np.float32) * 0.6
        shaded[mask] = 0.5 * image[mask] + 0.5 * MASK_COLOUR
        panel = Image.fromarray(shaded.round().astype(np.uint8))
        draw = ImageDraw.Draw(panel)
        if prompt.box_xyxy is not None:
            draw.rectangle(prompt.box_xyxy, outline=BOX, width=2)
        for (x, y), positive in zip(prompt.points_xy.tolist(), prompt.positive, strict=True):
            draw.circle((x, y), MARK_RADIUS_PX, fill=POSITIVE if positive else NEGATIVE, outline=(255, 255, 255))
        draw.text((4, 4), f"predicted IoU {score:.2f}", fill=(255, 255, 255), stroke_width=1, stroke_fill=(0, 0, 0))
        panels.append(np.asarray(panel))
    return np.concatenate(panels, axis=1)


def _write_png(path: Path, pixels: NDArray[np.uint8]) -> None:
    with replacing(path) as temporary:
        Image.fromarray(pixels).save(temporary, format="PNG")
