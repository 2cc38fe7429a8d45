"""Cards of models that no test trains."""

from typing import Any

from pipeline.checkpoint import ModelCard
from schemas.labels import ClassMap

SMALL_UNET = {"width": 4, "depth": 2}


def model_card(class_map: ClassMap, size_hw: tuple[int, int] = (32, 48), **changes: Any) -> ModelCard:
    """Of a small U-Net, unless `changes` say otherwise."""
    fields: dict[str, Any] = {
        "architecture": "unet",
        "architecture_options": SMALL_UNET,
        "mean": (0.5, 0.5, 0.5),
        "std": (0.2, 0.2, 0.2),
        "data_sha256": "0" * 64,
        "seed": 0,
        "epoch": 1,
        "val_mean_iu": None,
    }
    classes = {"classes": class_map.names, "class_map_digest": class_map.digest()}
    return ModelCard(**fields | classes | {"size_hw": size_hw} | changes)
