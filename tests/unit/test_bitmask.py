import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from pipeline.bitmask import PNG_START, decode_bitmask
from schemas.errors import RegionError

SIZE_HW = (5, 7)


def png(alpha: NDArray[np.uint8], mode: str = "RGBA", **options: Any) -> bytes:
    """An image with this alpha, uint8 (H, W), as a browser's canvas writes it."""
    file = io.BytesIO()
    Image.fromarray(np.dstack([np.zeros_like(alpha)] * 3 + [alpha])).convert(mode).save(file, "PNG", **options)
    return file.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def test_alpha_over_127():
    alpha = np.random.default_rng(0).integers(0, 256, SIZE_HW, dtype=np.uint8)
    alpha[0, :2] = 127, 128
    np.testing.assert_array_equal(decode_bitmask(png(alpha), SIZE_HW), alpha > 127)


def bomb(size_hw: tuple[int, int]) -> bytes:
    """A PNG of this size whose data unpack to 100 MB."""
    header = struct.pack(">IIBBBBB", size_hw[1], size_hw[0], 8, 6, 0, 0, 0)
    data = zlib.compress(bytes(100_000_000), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


OPAQUE = np.full(SIZE_HW, 255, np.uint8)


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"", "no PNG"),
        (b"GIF89a" + bytes(40), "no PNG"),
        (PNG_START, "no PNG"),
        (png(OPAQUE)[:-30], "decoded"),
        (png(OPAQUE)[:45], "decoded"),
        (png(np.full((7, 5), 255, np.uint8)), "expected 7 × 5"),
        (png(OPAQUE, "RGB"), "colour type 2"),
        (png(OPAQUE, "L"), "colour type 0"),
        (png(OPAQUE, "LA"), "colour type 4"),
        (png(OPAQUE, "P"), "colour type 3"),
        (bomb((60_000, 60_000)), "is 60000 × 60000 pixels"),
    ],
)
def test_what_is_refused(data: bytes, found: str):
    with pytest.raises(RegionError, match=found) as caught:
        decode_bitmask(data, SIZE_HW)
    assert caught.value.reason == "bad_bitmask"


def test_data_beyond_the_image_are_not_unpacked():
    assert not decode_bitmask(bomb(SIZE_HW), SIZE_HW).any()


def test_any_byte_may_be_wrong():
    whole = png(np.eye(5, 7, dtype=np.uint8) * 255)
    rng = np.random.default_rng(1)
    for _ in range(400):
        data = bytearray(whole)
        data[rng.integers(len(data))] = rng.integers(256)
        try:
            assert decode_bitmask(bytes(data), SIZE_HW).shape == SIZE_HW
        except RegionError as error:
            assert error.reason == "bad_bitmask"
