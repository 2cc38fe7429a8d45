"""Label Studio's brush RLE against the SDK's own encoder and decoder."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from label_studio_sdk.converter import brush

from pipeline.rle import decode_brush, encode_brush
from schemas.errors import RegionError


def random_mask(seed: int) -> np.ndarray:
    """Noise, smooth blobs, long runs, or one value only."""
    rng = np.random.default_rng(seed)
    height, width = rng.integers(1, 60, 2)
    density = rng.choice([0.0, 0.01, 0.5, 0.99, 1.0])
    mask = rng.random((height, width)) < density
    return np.repeat(mask, rng.integers(1, 20), axis=1)


@pytest.mark.parametrize("seed", range(240))
def test_encodes_byte_for_byte_as_the_sdk(seed):
    mask = random_mask(seed)
    expected = bytes(brush.mask2rle(mask.astype(np.uint8) * 255))
    assert encode_brush(mask) == expected
    np.testing.assert_array_equal(decode_brush(expected, mask.shape), mask)


@pytest.mark.parametrize("pixels", [16383, 16384, 16385, 32768, 50001])
def test_runs_longer_than_a_packet_can_say(pixels):
    mask = np.ones((1, pixels), bool)
    mask[0, -1] = False
    encoded = encode_brush(mask)
    assert encoded == bytes(brush.mask2rle(mask.astype(np.uint8) * 255))
    np.testing.assert_array_equal(decode_brush(encoded, mask.shape), mask)


def test_an_anti_aliased_stroke_is_what_is_over_127():
    alpha = np.random.default_rng(0).integers(0, 256, (31, 47)).astype(np.uint8)
    alpha[5:20, 5:40] = 255
    encoded = bytes(brush.mask2rle(alpha))
    expected = brush.decode_rle(list(encoded)).reshape(31, 47, 4)[:, :, 3] > 127
    np.testing.assert_array_equal(decode_brush(encoded, (31, 47)), expected)
    np.testing.assert_array_equal(expected, alpha > 127)


def test_only_the_alpha_channel_counts():
    rgba = np.zeros((3, 5, 4), np.uint8)
    rgba[:, :, :3] = 255
    rgba[1, 2] = (0, 0, 0, 128)
    encoded = bytes(brush.encode_rle(rgba.ravel()))
    assert np.argwhere(decode_brush(encoded, (3, 5))).tolist() == [[1, 2]]


def literal_stream(values: list[int]) -> bytes:
    """One literal packet, as the browser writes single pixels; the SDK never writes one."""
    bits = f"{len(values):032b}{7:05b}" + "".join(f"{size - 1:04b}" for size in (3, 4, 8, 16))
    bits += "011" + f"{len(values) - 1:016b}" + "".join(f"{value:08b}" for value in values)
    bits += "0" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big")


def test_literal_packets():
    stream = literal_stream([0, 0, 0, 200, 9, 9, 9, 127, 0, 0, 0, 128])
    assert decode_brush(stream, (1, 3)).tolist() == [[True, False, True]]


GOOD = encode_brush(np.eye(9, dtype=bool))


@pytest.mark.parametrize(
    "stream, size_hw, says",
    [
        (b"", (9, 9), "0 bytes"),
        (GOOD[:6], (9, 9), "6 bytes"),
        (GOOD[:-4], (9, 9), "ends before"),
        (GOOD, (9, 8), "expected 9 × 8 × 4"),
        (b"\xff\xff\xff\xff" + GOOD[4:], (9, 9), "4294967295 values"),
        (GOOD[:4] + b"\xff" + GOOD[5:], (9, 9), "words of 32 bits"),
        ((4).to_bytes(4, "big") + encode_brush(np.ones((9, 9), bool))[4:], (1, 1), "beyond the image"),
    ],
)
def test_a_bad_stream_is_a_region_error(stream, size_hw, says):
    with pytest.raises(RegionError, match=says) as caught:
        decode_brush(stream, size_hw)
    assert caught.value.reason == "bad_rle"


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=80), st.integers(1, 12), st.integers(1, 12), st.booleans())
def test_no_bytes_crash_the_decoder(tail, height, width, with_header):
    header = (height * width * 4).to_bytes(4, "big") + GOOD[4:7] if with_header else b""
    try:
        mask = decode_brush(header + tail, (height, width))
    except RegionError as error:
        assert error.reason == "bad_rle"
    else:
        assert mask.shape == (height, width)
