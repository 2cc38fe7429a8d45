"""Image files: decoding with the orientation that a browser shows."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from schemas.errors import ImageError

EXTENSIONS = {
    "JPEG": ".jpg",
    "PNG": ".png",
    "WEBP": ".webp",
    "BMP": ".bmp",
    "GIF": ".gif",
    "TIFF": ".tif",
    "MPO": ".jpg",
}


def inspect(content: bytes) -> tuple[str, tuple[int, int]]:
    """File extension by content and (height, width) as displayed, after decoding the whole image.

    Raises ImageError `image_corrupt` if the bytes are no complete image of a kind that browsers show.
    """
    kind, image = _decode(content, "the image")
    extension = EXTENSIONS.get(kind)
    if extension is None:
        raise ImageError("image_corrupt", f"the image is a {kind}, which browsers do not show", "Convert it to PNG.")
    return extension, (image.height, image.width)


def open_rgb(path: Path) -> NDArray[np.uint8]:
    """Decode an image file to RGB, uint8 (H, W, 3) in [0, 255], EXIF orientation applied, transparency dropped.

    Raises ImageError `image_missing` or `image_corrupt`.
    """
    if not path.is_file():
        raise ImageError("image_missing", f"{path} does not exist", "Run `dvc repro` to pull it again.")
    return decode_rgb(path.read_bytes(), str(path))


def decode_rgb(content: bytes, name: str) -> NDArray[np.uint8]:
    """Decode an image's bytes as `open_rgb` does; `name` goes into the error. Raises ImageError `image_corrupt`."""
    _, image = _decode(content, name)
    image.info.pop("transparency", None)  # Pillow warns of it
    if image.mode.startswith("I;16"):  # Pillow would clip where browsers scale
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    return np.asarray(image.convert("RGB"))


def _decode(content: bytes, name: str) -> tuple[str, Image.Image]:
    """Format, in Pillow's words, and image as displayed."""
    try:
        with Image.open(io.BytesIO(content)) as image:
            return image.format or "", ImageOps.exif_transpose(image)
    except UnidentifiedImageError as error:
        raise ImageError("image_corrupt", f"{name} is no image", "Replace the file.") from error
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise ImageError("image_corrupt", f"{name} can't be decoded: {error}", "Replace the file.") from error
