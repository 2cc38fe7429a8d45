"""Images as a browser shows them: orientation, transparency, depth; and what is no image."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from connectors.images import inspect, open_rgb
from schemas.errors import ImageError

ORIENTATION = 0x0112
SHOWN = {  # EXIF orientation → how the stored pixels are turned for display (EXIF 2.32, table 6)
    1: lambda pixels: pixels,
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: np.rot90(pixels, 2).swapaxes(0, 1),
    8: lambda pixels: np.rot90(pixels),
}
PIXELS = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def saved(folder: Path, content: bytes) -> Path:
    (folder / "image").write_bytes(content)
    return folder / "image"


@pytest.mark.parametrize("orientation", SHOWN)
def test_exif_orientations(tmp_path: Path, orientation: int):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    content = encoded(Image.fromarray(PIXELS), "PNG", exif=exif)
    expected = SHOWN[orientation](PIXELS)
    assert inspect(content) == (".png", expected.shape[:2])
    np.testing.assert_array_equal(open_rgb(saved(tmp_path, content)), expected)


@pytest.mark.parametrize(
    ("kind", "extension"),
    [("JPEG", ".jpg"), ("PNG", ".png"), ("WEBP", ".webp"), ("BMP", ".bmp"), ("GIF", ".gif"), ("TIFF", ".tif")],
)
def test_the_extension_goes_by_the_content(kind: str, extension: str):
    assert inspect(encoded(Image.fromarray(PIXELS), kind)) == (extension, (6, 9))


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "WEBP", "MPO"])
def test_of_several_frames_the_first_is_shown(tmp_path: Path, kind: str):
    first, second = Image.new("RGB", (9, 6), "white"), Image.new("RGB", (9, 6), "black")
    content = encoded(first, kind, save_all=True, append_images=[second])
    assert (open_rgb(saved(tmp_path, content)) == 255).all()


GREY = np.arange(54, dtype=np.uint8).reshape(6, 9) * 4
OTHER_MODES = {
    "grey": (Image.fromarray(GREY), {}),
    "16 bits": (Image.fromarray(GREY.astype(np.uint16) * 257), {}),
    "with alpha": (Image.merge("LA", [Image.fromarray(GREY), Image.new("L", (9, 6), 7)]), {}),
    "palette with alpha": (Image.fromarray(GREY).convert("P"), {"transparency": bytes(range(256))}),
}


@pytest.mark.parametrize("mode", OTHER_MODES)
def test_other_modes_become_rgb(tmp_path: Path, mode: str):
    image, options = OTHER_MODES[mode]
    found = open_rgb(saved(tmp_path, encoded(image, "PNG", **options)))
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, np.repeat(GREY[..., None], 3, axis=2))


PNG = encoded(Image.fromarray(PIXELS), "PNG")
JPEG = encoded(Image.fromarray(np.kron(PIXELS, np.ones((9, 9, 1), np.uint8))), "JPEG")
BROKEN = {
    "empty": b"",
    "text": b"<!doctype html><title>404</title>",
    "half a PNG": PNG[: len(PNG) // 2],
    "the head of a PNG": PNG[:20],
    "half a JPEG": JPEG[: len(JPEG) // 2],
    "half a GIF": encoded(Image.fromarray(PIXELS), "GIF")[:-30],
    "EXIF that is none": encoded(Image.fromarray(PIXELS), "WEBP", exif=b"Exif\0\0XX\0*\0\0\0\x08\0\0"),
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
def test_what_is_no_whole_image_is_refused(tmp_path: Path, content: bytes):
    for read in (lambda: inspect(content), lambda: open_rgb(saved(tmp_path, content))):
        with pytest.raises(ImageError) as caught:
            read()
        assert caught.value.reason == "image_corrupt"
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["PPM", "TGA", "ICO"])
def test_what_browsers_do_not_show_is_refused(kind: str):
    with pytest.raises(ImageError, match=f"is a {kind}, which browsers do not show"):
        inspect(encoded(Image.new("RGB", (16, 16)), kind))


def test_a_missing_file(tmp_path: Path):
    with pytest.raises(ImageError, match=r"gone\.png does not exist") as caught:
        open_rgb(tmp_path / "gone.png")
    assert caught.value.reason == "image_missing"
