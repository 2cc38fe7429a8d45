"""What `prelabel.model` may say when it means Segment Anything."""

from __future__ import annotations

from pathlib import Path

EXAMPLES = "a hub id such as facebook/sam-vit-base, a folder, or a checkpoint such as sam_vit_b_01ec64.pth"
CHECKPOINT_SUFFIXES = (".pth", ".pt")


def is_checkpoint(model: str) -> bool:
    """Whether it names an original checkpoint."""
    return model.endswith(CHECKPOINT_SUFFIXES)


def is_sam(model: str) -> bool:
    """Whether it is a hub id, a path, or a checkpoint."""
    return "/" in model or is_checkpoint(model) or Path(model).is_dir()
