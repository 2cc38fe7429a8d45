"""segment_anything as the reference, which imports torchvision: stand-ins for the four functions that it calls."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from PIL import Image

from tests.tiny_sam import randomise


def box_area(boxes: torch.Tensor) -> torch.Tensor:
    """As torchvision's."""
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def batched_nms(
    boxes: torch.Tensor, scores: torch.Tensor, categories: torch.Tensor, iou_threshold: float
) -> torch.Tensor:
    """As torchvision's, for a single category, by the whole table of IoU."""
    order = torch.argsort(scores, descending=True, stable=True)
    boxes = boxes[order]
    size = (torch.minimum(boxes[:, None, 2:], boxes[:, 2:]) - torch.maximum(boxes[:, None, :2], boxes[:, :2])).clamp(0)
    shared = size[..., 0] * size[..., 1]
    area = box_area(boxes)
    close = shared / (area[:, None] + area - shared) > iou_threshold
    kept: list[int] = []
    for index in range(len(boxes)):
        if not close[index, kept].any():
            kept.append(index)
    return order[kept]


def resize(image: Image.Image, size_hw: tuple[int, int]) -> Image.Image:
    """As torchvision's, of a PIL image."""
    return image.resize((size_hw[1], size_hw[0]), Image.Resampling.BILINEAR)


STAND_INS: dict[str, dict[str, Any]] = {
    "torchvision": {},
    "torchvision.ops": {},
    "torchvision.ops.boxes": {"batched_nms": batched_nms, "box_area": box_area},
    "torchvision.transforms": {},
    "torchvision.transforms.functional": {"resize": resize, "to_pil_image": Image.fromarray},
}


@contextmanager
def stand_ins() -> Iterator[None]:
    """`import torchvision` finds the stand-ins, and afterwards what it found before."""
    before = {name: sys.modules.get(name) for name in STAND_INS}
    for name, members in STAND_INS.items():
        sys.modules[name] = ModuleType(name)
        vars(sys.modules[name]).update(members)
    try:
        yield
    finally:
        for name, module in before.items():
            del sys.modules[name]
            if module is not None:
                sys.modules[name] = module


with stand_ins():
    from segment_anything import SamAutomaticMaskGenerator, SamPredictor
    from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer

__all__ = ["SamAutomaticMaskGenerator", "SamPredictor", "original_sam"]


def original_sam(
    checkpoint: Path, side: int, width: int, embedded: int, layers: int = 2, seed: int = 0, depth: float = 30.0
) -> Sam:
    """A small random SAM of the original implementation, whose weights are saved as `checkpoint`.

    `side`: px of its input; `width`, `embedded`: channels of encoder and decoder; `depth`: see `randomise`.
    """
    grid = side // 16
    torch.manual_seed(seed)
    sam = Sam(
        image_encoder=ImageEncoderViT(
            depth=layers,
            embed_dim=width,
            img_size=side,
            norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
            num_heads=2,
            qkv_bias=True,
            use_rel_pos=True,
            global_attn_indexes=(layers - 1,),
            window_size=3,
            out_chans=embedded,
        ),
        prompt_encoder=PromptEncoder(embedded, (grid, grid), (side, side), 16),
        mask_decoder=MaskDecoder(
            transformer_dim=embedded,
            transformer=TwoWayTransformer(2, embedded, 8, 2 * embedded),
            iou_head_hidden_dim=32,
        ),
    )
    randomise(sam, seed, depth)
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    torch.save(sam.state_dict(), checkpoint)
    return sam
