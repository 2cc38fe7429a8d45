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
    image = _decode(io.BytesIO(content), "the image")
    extension = EXTENSIONS.get(image.format or "")
    if extension is None:
        raise ImageError(
            "image_corrupt", f"the image is a {image.format}, which browsers do not show", "Convert it to PNG."
        )
    turned = ImageOps.exif_transpose(image)
    return extension, (turned.height, turned.width)


def open_rgb(path: Path) -> NDArray[np.uint8]:
    """Decode an image file to RGB, uint8 (H, W, 3) in [0, 255], EXIF orientation applied.

    Raises ImageError `image_missing` or `image_corrupt`.
    """
    if not path.is_file():
        raise ImageError("image_missing", f"{path} does not exist", "Run `dvc repro` to pull it again.")
    image = _decode(path, str(path))
    return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))


def _decode(source: Path | io.BytesIO, name: str) -> Image.Image:
    try:
        image = Image.open(source)
        image.load()
    except UnidentifiedImageError as error:
        raise ImageError("image_corrupt", f"{name} is no image", "Replace the file.") from error
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise ImageError("image_corrupt", f"{name} can't be decoded: {error}", "Replace the file.") from error
    return image
