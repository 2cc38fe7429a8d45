"""Label Studio's brush RLE: bytes ⇄ mask. It is not COCO's.

The format is that of @thi.ng/rle-pack (https://github.com/thi-ng/umbrella/tree/develop/packages/rle-pack), bits from
the most significant one: 32 bits number of words, 5 bits word size − 1, four times 4 bits run-length size − 1; then
packets of 1 bit (repeat or literal), 2 bits (which run-length size), the run length − 1, and one word or as many as the
run is long. The words are the H·W·4 bytes of an RGBA image with four equal channels, anti-aliased: 0..255.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from connectors.compiled import compiled
from schemas.errors import RegionError

CHANNELS = 4
ALPHA = 3
HEADER_BITS = 32 + 5 + 4 * 4
WORD_BITS = 8
RUN_BITS = (3, 4, 8, 16)
LONGEST_RUN = 1 << RUN_BITS[-1]

EIGHT, ALL_ONE = 8, np.uint64(0x0101010101010101)

Bytes = NDArray[np.uint8]

TRUNCATED, OVERRUN = 1, 2
DEFECTS = {TRUNCATED: "ends before the image is full", OVERRUN: "has a run that goes beyond the image"}


def decode_brush(rle: bytes, size_hw: tuple[int, int]) -> NDArray[np.bool_]:
    """Pixels whose alpha is over 127; bool (H, W).

    Raises RegionError `bad_rle` if the stream is truncated, corrupt, or of an image of another size.
    """
    height, width = size_hw
    data = np.frombuffer(rle, np.uint8)
    if data.size * 8 < HEADER_BITS:
        raise _bad_rle(f"has {data.size} bytes, too few for its header")
    words, word_bits = int(_take(data, 0, 32)), int(_take(data, 32, 5)) + 1
    if words != height * width * CHANNELS:
        raise _bad_rle(f"says it holds {words} values, expected {height} × {width} × {CHANNELS}")
    if word_bits != WORD_BITS:
        raise _bad_rle(f"has words of {word_bits} bits, expected {WORD_BITS}")
    mask = np.zeros(height * width, np.uint8)
    defect = _decode(data, mask)
    if defect:
        raise _bad_rle(DEFECTS[defect])
    return mask.view(np.bool_).reshape(size_hw)


def encode_brush(mask: NDArray[np.bool_]) -> bytes:
    """Mask, bool (H, W) → brush RLE with 255 where it is true, byte for byte what Label Studio's SDK writes."""
    flat = np.ascontiguousarray(mask, np.bool_).ravel().view(np.uint8)
    data = _encode(flat, _run_ends(flat, flat[: flat.size // EIGHT * EIGHT].view(np.uint64)))
    return data.tobytes()


def _bad_rle(defect: str) -> RegionError:
    return RegionError("bad_rle", f"the brush stroke's RLE {defect}", "Draw the stroke again.")


@compiled
def _take(data: Bytes, position: int, bits: int) -> int:
    """Unsigned number in the `bits` bits at bit `position`."""
    value, end = 0, position + bits
    while position < end:
        offset = position % 8
        taken = min(8 - offset, end - position)
        value = value << taken | (data[position // 8] >> (8 - offset - taken)) & ((1 << taken) - 1)
        position += taken
    return value


@compiled
def _put(data: Bytes, position: int, value: int, bits: int) -> int:
    """Write `value` as `bits` bits at bit `position` of zeroed data; return the position behind it."""
    for bit in range(bits - 1, -1, -1):
        data[position // 8] |= ((value >> bit) & 1) << (7 - position % 8)
        position += 1
    return position


@compiled
def _decode(data: Bytes, mask: Bytes) -> int:
    """Set `mask`, zeros of length H·W, to 1 where alpha is over 127. Returns 0, TRUNCATED or OVERRUN."""
    words, end = mask.size * CHANNELS, data.size * 8
    position, word = HEADER_BITS, 0
    while word < words:
        if position + 3 > end:
            return TRUNCATED
        repeat, kind = _take(data, position, 1), _take(data, position + 1, 2)
        run_bits = _take(data, 37 + 4 * kind, 4) + 1
        position += 3
        if position + run_bits > end:
            return TRUNCATED
        run = _take(data, position, run_bits) + 1
        position += run_bits
        if word + run > words:
            return OVERRUN
        if position + (WORD_BITS if repeat else run * WORD_BITS) > end:
            return TRUNCATED
        if repeat:
            if _take(data, position, WORD_BITS) > 127:
                mask[word // CHANNELS : (word + run) // CHANNELS] = 1  # pixels whose alpha word lies in the run
            position += WORD_BITS
        else:
            for literal in range(word, word + run):
                if literal % CHANNELS == ALPHA and _take(data, position, WORD_BITS) > 127:
                    mask[literal // CHANNELS] = 1
                position += WORD_BITS
        word += run
    return 0


@compiled
def _run_ends(mask: Bytes, eights: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Where each run of equal pixels ends in a mask of 0 and 1, not empty; `eights` are its pixels, eight at a time."""
    ends: NDArray[np.int64] = np.empty(1024, np.int64)
    count, value = 0, mask[0]
    for i in range(eights.size + 1):
        if i < eights.size and eights[i] == ALL_ONE * np.uint64(value):
            continue
        for pixel in range(EIGHT * i, min(EIGHT * (i + 1), mask.size)):
            if mask[pixel] != value:
                if count + 1 == ends.size:
                    larger: NDArray[np.int64] = np.empty(2 * ends.size, np.int64)
                    for k in range(count):
                        larger[k] = ends[k]
                    ends = larger
                ends[count], value = pixel, mask[pixel]
                count += 1
    ends[count] = mask.size
    return ends[: count + 1]


@compiled
def _encode(mask: Bytes, ends: NDArray[np.int64]) -> Bytes:
    """RLE of a mask of 0 and 1 with the given ends of runs, each pixel four words of 0 or 255."""
    words = mask.size * CHANNELS
    packets = ends.size + words // LONGEST_RUN
    data = np.zeros((HEADER_BITS + packets * (3 + RUN_BITS[-1] + WORD_BITS)) // 8 + 1, np.uint8)
    position = _put(data, 0, words, 32)
    position = _put(data, position, WORD_BITS - 1, 5)
    for bits in RUN_BITS:
        position = _put(data, position, bits - 1, 4)
    start = 0
    for end in ends:
        left = (end - start) * CHANNELS
        kind = 0 if left <= 8 else 1 if left <= 16 else 2 if left <= 256 else 3
        while left > 0:
            run = min(left, LONGEST_RUN)
            position = _put(data, position, 4 | kind, 3)
            position = _put(data, position, run - 1, RUN_BITS[kind])
            position = _put(data, position, 255 * mask[start], WORD_BITS)
            left -= run
        start = end
    return data[: position // 8 + 1]  # the SDK pads with zeros, a whole byte of them where none is needed
