"""`maskloop export-model`: a trained network as one file that runs without maskloop.

Input `images`: RGB, uint8 (N, h, w, 3) in [0, 255], h × w the model's own size, any N; normalisation is inside. Output
`logits`: float32 (N, C, h, w), C in the order of `classes`, which the file's metadata names beside the model version.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from connectors.storage import replacing
from pipeline.checkpoint import ModelCard, load
from pipeline.dataset import normalise
from pipeline.models.base import Segmenter
from schemas.errors import DataError
from schemas.labels import ClassMap

METADATA = "maskloop.json"


class Exported(nn.Module):
    """A network with its normalisation."""

    def __init__(self, model: Segmenter, card: ModelCard) -> None:
        super().__init__()
        self._model, self._mean, self._std = model, card.mean, card.std

    def forward(self, images: Tensor) -> Tensor:
        """Logits, float32 (N, C, h, w), of RGB images, uint8 (N, h, w, 3)."""
        logits: Tensor = self._model(normalise(images, self._mean, self._std))
        return logits


def export_model(folder: Path, class_map: ClassMap, path: Path, file_format: str) -> str:
    """Write the model of `folder` to `path` in a format of FORMATS. Returns a line that says what was written.

    Raises what `checkpoint.load` raises, and DataError for ONNX without the packages that write it.
    """
    model, card = load(folder, class_map)
    metadata: dict[str, object] = {
        "model_version": card.model_version,
        "classes": card.classes,
        "size_hw": card.size_hw,
    }
    with replacing(path) as temporary:
        FORMATS[file_format](Exported(model, card).eval(), card.size_hw, metadata, temporary)
    return f"{card.model_version} written to {path}: uint8 (N, {card.size_hw[0]}, {card.size_hw[1]}, 3) to logits"


def _write_torch_export(model: nn.Module, size_hw: tuple[int, int], metadata: dict[str, object], path: Path) -> None:
    torch.export.save(_program(model, size_hw), path, extra_files={METADATA: json.dumps(metadata)})


def _write_onnx(model: nn.Module, size_hw: tuple[int, int], metadata: dict[str, object], path: Path) -> None:
    try:
        with _quietly():
            program = torch.onnx.export(
                _program(model, size_hw), dynamo=True, input_names=["images"], output_names=["logits"], verbose=False
            )
    except ModuleNotFoundError as error:
        raise DataError(f"ONNX needs the package {error.name}", "Install maskloop with the extra `onnx`.") from None
    except torch.onnx.OnnxExporterError as error:
        problem = str(error).strip().splitlines()[-1] if str(error).strip() else "no reason given"
        raise DataError(f"torch can't turn this network into ONNX: {problem}", "Use --format torch-export.") from error
    assert program is not None  # as it is with dynamo=True
    program.model.metadata_props.update({key: json.dumps(value) for key, value in metadata.items()})
    program.save(path, external_data=False)


FORMATS: dict[str, Callable[[nn.Module, tuple[int, int], dict[str, object], Path], None]] = {
    "onnx": _write_onnx,
    "torch-export": _write_torch_export,
}


def _program(model: nn.Module, size_hw: tuple[int, int]) -> torch.export.ExportedProgram:
    images = torch.zeros((2, *size_hw, 3), dtype=torch.uint8)
    with torch.no_grad():
        return torch.export.export(model, (images,), dynamic_shapes=({0: torch.export.Dim("batch")},))


@contextmanager
def _quietly() -> Iterator[None]:
    """Without what torch 2.13's exporter says of itself: a FutureWarning, and that torchvision is absent."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        logger.setLevel(level)
