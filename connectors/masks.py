"""Class-index masks as PNG: 8-bit grey, unfiltered, quick to write and to read."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray
from PIL import Image

from connectors.storage import write_bytes
from schemas.errors import DataError

SIGNATURE = b"\x89PNG\r\n\x1a\n"
UNFILTERED = 0


def write_mask(path: Path, mask: NDArray[np.uint8]) -> bool:
    """Write a mask, uint8 (H, W), as grey PNG. Returns whether the file changed."""
    return write_bytes(path, encode_png(mask))


def encode_png(mask: NDArray[np.uint8]) -> bytes:
    """A mask, uint8 (H, W), as an unfiltered 8-bit grey PNG (PNG specification, third edition)."""
    height, width = mask.shape
    rows = np.empty((height, width + 1), dtype=np.uint8)
    rows[:, 0] = UNFILTERED
    rows[:, 1:] = mask
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    data = isal_zlib.compress(rows.data, level=1)
    return SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def read_mask(path: Path) -> NDArray[np.uint8]:
    """Read a class-index mask, uint8 (H, W); palette PNGs give their indices.

    Raises DataError if the file is missing, corrupt, or has colour channels.
    """
    try:
        with Image.open(path) as image:
            if image.mode not in ("L", "P"):
                raise DataError(
                    f"{path} has mode {image.mode}, expected 8-bit grey or palette", "Save class indices, not colours."
                )
            return np.asarray(image).copy()
    except FileNotFoundError:
        raise DataError(f"{path} does not exist", "Run `dvc repro`.") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{path} can't be decoded: {error}", "Replace the file.") from error


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
