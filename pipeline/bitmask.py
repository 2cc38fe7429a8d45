"""Label Studio's bitmasks: RGBA PNG → mask."""

from __future__ import annotations

import io
import struct

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from schemas.errors import RegionError

PNG_START = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"
RGBA_8_BIT = (8, 6)
"""Bit depth and colour type that a browser's canvas writes."""


def decode_bitmask(png: bytes, size_hw: tuple[int, int]) -> NDArray[np.bool_]:
    """Pixels whose alpha is over 127; bool (H, W). The size is checked before anything is decoded.

    Raises RegionError `bad_bitmask` if the PNG is corrupt, not 8-bit RGBA, or of an image of another size.
    """
    header = png[len(PNG_START) : len(PNG_START) + 10]
    if not png.startswith(PNG_START) or len(header) < 10:
        raise _bad_bitmask("is no PNG")
    width, height, *kind = struct.unpack(">IIBB", header)
    if tuple(kind) != RGBA_8_BIT:
        raise _bad_bitmask(f"has bit depth {kind[0]} and colour type {kind[1]}, expected 8-bit RGBA")
    if (height, width) != size_hw:
        raise _bad_bitmask(f"is {width} × {height} pixels, expected {size_hw[1]} × {size_hw[0]}")
    try:
        with Image.open(io.BytesIO(png), formats=["PNG"]) as image:
            alpha = np.asarray(image.getchannel("A"))
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError) as error:
        raise _bad_bitmask(f"can't be decoded: {error}") from error
    return alpha > 127


def _bad_bitmask(defect: str) -> RegionError:
    return RegionError("bad_bitmask", f"the bitmask {defect}", "Draw it again.")
