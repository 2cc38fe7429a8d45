"""A Label Studio `result` of nothing but plain polygons, read by compiled code: about 15 times as fast as in general.

`connectors.label_studio_json.parse_regions` says what a result means. `read_polygons` reads the same out of the results
that almost all are: JSON without escapes, every region a polygon with one known label and no meta, all on one image
of the expected size. At anything else, were it only a space too many numbers, it gives up and the general way decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from connectors.error_free import two_product
from connectors.label_studio_shapes import SLACK_PCT

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def _constant(text: str) -> Bytes:
    return np.frombuffer(text.encode(), np.uint8)


TYPE, VALUE, TO_NAME = _constant("type"), _constant("value"), _constant("to_name")
WIDTH, HEIGHT = _constant("original_width"), _constant("original_height")
META, ITEM_INDEX = _constant("meta"), _constant("item_index")
POINTS, POLYGON_LABELS = _constant("points"), _constant("polygonlabels")
TRUE, FALSE, NULL = _constant("true"), _constant("false"), _constant("null")
QUOTE, COMMA, COLON, BACKSLASH, MINUS, PLUS, POINT, ZERO, NINE, SMALL_E = map(int, b'",:\\-+.09e')
OPEN_LIST, CLOSE_LIST, OPEN_OBJECT, CLOSE_OBJECT, BLANK = map(int, b"[]{} ")

POWERS_OF_TEN = np.array([float(10**exponent) for exponent in range(23)])
"""Those that float64 holds exactly."""

MOST_DIGITS = 18
"""Numbers of more digits are left to Python."""

SEEN_TYPE, SEEN_VALUE, SEEN_WIDTH, SEEN_HEIGHT, SEEN_TO_NAME = 1, 2, 4, 8, 16
NEEDED = SEEN_TYPE | SEEN_VALUE | SEEN_WIDTH | SEEN_HEIGHT

SHORTEST_POINT, SHORTEST_REGION = len("[0,0],"), len('{"type":"polygonlabels","value":{"points":[]}}')
MOST_DOUBTS = 256


@dataclass(frozen=True, slots=True)
class Polygons:
    """The polygons of one annotation, in stacking order (later on top).

    `points_pct`: float64 (N, 2), x and y in percent, one polygon after the other. `starts`: int64 (G + 1,), polygon g
    has the points starts[g] .. starts[g + 1]. `labels`: int64 (G,), positions in the labels that were asked for.
    """

    points_pct: Floats
    starts: Ints
    labels: Ints


class PolygonReader:
    """Reads polygons with some labels; with a `to_name`, only those drawn on that image tag."""

    def __init__(self, labels: Sequence[str], to_name: str | None = None) -> None:
        encoded = [label.encode() for label in labels]
        self._names = np.frombuffer(b"".join(encoded), np.uint8)
        self._name_starts = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
        self._to_name = np.frombuffer((to_name or "").encode(), np.uint8)

    def read(self, result: bytes, size_hw: tuple[int, int]) -> Polygons | None:
        """The polygons of `result` (UTF-8), or None if it holds anything else than plain polygons of that size."""
        text = np.frombuffer(result, np.uint8)
        points: Floats = np.empty((text.size // SHORTEST_POINT + 1, 2))
        starts = np.zeros(text.size // SHORTEST_REGION + 2, np.int64)
        labels, doubts = np.empty_like(starts), np.empty((MOST_DOUBTS, 3), np.int64)
        regions, doubtful = _read_result(
            text, self._names, self._name_starts, self._to_name, size_hw, points, starts, labels, doubts
        )
        if regions < 0:
            return None
        points = points[: starts[regions]]
        for number, start, end in doubts[:doubtful].tolist():
            points.flat[number] = float(result[start:end])
        if regions and not (points.min() >= -SLACK_PCT and points.max() <= 100 + SLACK_PCT):
            return None
        return Polygons(points, starts[: regions + 1], labels[:regions])


@njit(cache=True, nogil=True)
def _blanks(text: Bytes, at: int) -> int:
    """Position after blanks."""
    while at < text.size and (text[at] == BLANK or 9 <= text[at] <= 10 or text[at] == 13):
        at += 1
    return at


@njit(cache=True, nogil=True)
def _next_is(text: Bytes, at: int, character: int) -> bool:
    return 0 <= at < text.size and text[at] == character


@njit(cache=True, nogil=True)
def _after(text: Bytes, at: int, character: int) -> int:
    """Position after `character` and the blanks that follow it, -1 if it is not there."""
    return _blanks(text, at + 1) if _next_is(text, at, character) else -1


@njit(cache=True, nogil=True)
def _string_end(text: Bytes, at: int) -> int:
    """Position of the closing quote of the string that starts at `at`, -1 if there is none or it holds an escape."""
    if not _next_is(text, at, QUOTE):
        return -1
    at += 1
    while at < text.size and text[at] != QUOTE:
        if text[at] == BACKSLASH or text[at] < BLANK:
            return -1
        at += 1
    return at if at < text.size else -1


@njit(cache=True, nogil=True)
def _is(text: Bytes, start: int, end: int, word: Bytes) -> bool:
    if end - start != word.size:
        return False
    for i in range(word.size):  # noqa: SIM110 - numba compiles no generators
        if text[start + i] != word[i]:
            return False
    return True


@njit(cache=True, nogil=True)
def _digits(text: Bytes, at: int, mantissa: int) -> tuple[int, int]:
    """Position after digits, and the mantissa with them appended; meaningless after more than MOST_DIGITS."""
    while at < text.size and ZERO <= text[at] <= NINE:
        mantissa = mantissa * 10 + (int(text[at]) - ZERO)
        at += 1
    return at, mantissa


@njit(cache=True, nogil=True)
def _number(text: Bytes, at: int) -> tuple[int, float, bool]:
    """Position after a JSON number (-1 if there is none), the float64 nearest to it, and whether that is certain."""
    negative = _next_is(text, at, MINUS)
    first = at + 1 if negative else at
    at, mantissa = _digits(text, first, 0)
    digits, scale = at - first, 0
    if digits == 0 or (text[first] == ZERO and digits > 1):
        return -1, 0.0, False
    if _next_is(text, at, POINT):
        first = at + 1
        at, mantissa = _digits(text, first, mantissa)
        scale = at - first
        digits += scale
        if scale == 0:
            return -1, 0.0, False
    if at < text.size and text[at] | 32 == SMALL_E:
        at += 1
        sign = -1 if _next_is(text, at, MINUS) else 1
        first = at + 1 if sign < 0 or _next_is(text, at, PLUS) else at
        at, exponent = _digits(text, first, 0)
        if at == first:
            return -1, 0.0, False
        digits = max(digits, at - first)
        scale -= sign * exponent
    if digits > MOST_DIGITS or not 0 <= scale < POWERS_OF_TEN.size:
        return at, 0.0, False
    value, certain = _divided(mantissa, POWERS_OF_TEN[scale])
    return at, -value if negative else value, certain


@njit(cache=True, nogil=True)
def _divided(mantissa: int, power: float) -> tuple[float, bool]:
    """The float64 nearest to mantissa / power (mantissa < 2⁶⁰, power ≤ 10²²), and whether it certainly is that one.

    What the quotient of the rounded mantissa leaves is divided too; the sum is certain if it stays the same when that
    second quotient, which is good to 2⁻⁵², is off by 2⁻⁵⁰.
    """
    whole = float(mantissa)
    quotient = whole / power
    product, error = two_product(quotient, power)
    rest = ((whole - product) - error + float(mantissa - int(whole))) / power
    slack = abs(rest) * 2.0**-50
    low, high = quotient + (rest - slack), quotient + (rest + slack)
    return low, low == high


@njit(cache=True, nogil=True)
def _after_scalar(text: Bytes, at: int) -> int:
    """Position after a string without escapes, a number or a literal, -1 for anything else."""
    if _next_is(text, at, QUOTE):
        end = _string_end(text, at)
        return end + 1 if end >= 0 else -1
    for word in (TRUE, FALSE, NULL):
        if at + word.size <= text.size and _is(text, at, at + word.size, word):
            return at + word.size
    end, _, _ = _number(text, at)
    return end


@njit(cache=True, nogil=True)
def _read_points(text: Bytes, at: int, points: Floats, count: int, doubts: Ints, doubtful: int) -> tuple[int, int, int]:
    """Read `[[x, y], …]`: position after it (-1 if it is none), the points and the doubtful numbers there are then."""
    at = _after(text, at, OPEN_LIST)
    while at >= 0:
        at = _after(text, at, OPEN_LIST)
        for axis in range(2):
            if at < 0:
                return -1, 0, 0
            end, value, certain = _number(text, at)
            if end < 0 or (not certain and doubtful == doubts.shape[0]):
                return -1, 0, 0
            points[count, axis] = value
            if not certain:
                doubts[doubtful, 0], doubts[doubtful, 1], doubts[doubtful, 2] = 2 * count + axis, at, end
                doubtful += 1
            at = _after(text, _blanks(text, end), CLOSE_LIST if axis else COMMA)
        count += 1
        if not _next_is(text, at, COMMA):
            break
        at = _after(text, at, COMMA)
    return _after(text, at, CLOSE_LIST), count, doubtful


@njit(cache=True, nogil=True)
def _read_label(text: Bytes, at: int, names: Bytes, name_starts: Ints) -> tuple[int, int]:
    """Read `["label"]`: position after it, and the label's number; -1 if it is no list of one known label."""
    at = _after(text, at, OPEN_LIST)
    end = _string_end(text, at)
    if end < 0:
        return -1, -1
    for label in range(name_starts.size - 1):
        if _is(text, at + 1, end, names[name_starts[label] : name_starts[label + 1]]):
            return _after(text, _blanks(text, end + 1), CLOSE_LIST), label
    return -1, -1


@njit(cache=True, nogil=True)
def _next_key(text: Bytes, at: int) -> tuple[int, int, int]:
    """First and last position + 1 of a key, and the position of its value, -1 if there is no plain key."""
    end = _string_end(text, at)
    return at + 1, end, _after(text, _blanks(text, end + 1), COLON) if end >= 0 else -1


@njit(cache=True, nogil=True)
def _read_value(
    text: Bytes, at: int, names: Bytes, name_starts: Ints, points: Floats, count: int, doubts: Ints, doubtful: int
) -> tuple[int, int, int, int]:
    """Read a polygon's `value`: position after it (-1 if it is none), points, doubtful numbers, and its label."""
    first, label = count, -1
    at = _after(text, at, OPEN_OBJECT)
    while at >= 0:
        start, end, at = _next_key(text, at)
        if at < 0:
            break
        if _is(text, start, end, POINTS):
            if count > first:
                return -1, 0, 0, -1
            at, count, doubtful = _read_points(text, at, points, count, doubts, doubtful)
        elif _is(text, start, end, POLYGON_LABELS):
            if label >= 0:
                return -1, 0, 0, -1
            at, label = _read_label(text, at, names, name_starts)
        else:
            at = _after_scalar(text, at)
            at = _blanks(text, at) if at >= 0 else -1
        if not _next_is(text, at, COMMA):
            break
        at = _after(text, at, COMMA)
    if label < 0 or count - first < 3:
        return -1, 0, 0, -1
    return _after(text, at, CLOSE_OBJECT), count, doubtful, label


@njit(cache=True, nogil=True)
def _read_size(text: Bytes, at: int, expected: int) -> int:
    """Position after a plain positive integer, -1 if it is not the expected one."""
    end, found = _digits(text, at, 0)
    is_integer = 0 < end - at <= MOST_DIGITS and text[at] != ZERO and not _next_is(text, end, POINT)
    is_integer = is_integer and not (end < text.size and text[end] | 32 == SMALL_E)
    return end if is_integer and found == expected else -1


@njit(cache=True, nogil=True)
def _read_word(text: Bytes, at: int, word: Bytes) -> int:
    """Position after the string `word`, -1 if it is another."""
    end = _string_end(text, at)
    return end + 1 if end >= 0 and _is(text, at + 1, end, word) else -1


@njit(cache=True, nogil=True)
def _read_result(
    text: Bytes,
    names: Bytes,
    name_starts: Ints,
    to_name: Bytes,
    size_hw: tuple[int, int],
    points: Floats,
    starts: Ints,
    labels: Ints,
    doubts: Ints,
) -> tuple[int, int]:
    """Fill in points, starts and labels. Returns the number of regions, -1 to give up, and of `doubts`.

    A row of `doubts` names a number that was not read: its place in the flat points, and the text's start and end.
    """
    needed = NEEDED | (SEEN_TO_NAME if to_name.size else 0)
    regions, count, doubtful = 0, 0, 0
    at = _after(text, _blanks(text, 0), OPEN_LIST)
    if _next_is(text, at, CLOSE_LIST):
        return (0 if _after(text, at, CLOSE_LIST) == text.size else -1), 0
    while at >= 0:
        seen, label = 0, -1
        at = _after(text, at, OPEN_OBJECT)
        while at >= 0:
            start, end, at = _next_key(text, at)
            if at < 0 or _is(text, start, end, META) or _is(text, start, end, ITEM_INDEX):
                return -1, 0
            found = 0
            if _is(text, start, end, TYPE):
                at, found = _read_word(text, at, POLYGON_LABELS), SEEN_TYPE
            elif _is(text, start, end, WIDTH):
                at, found = _read_size(text, at, size_hw[1]), SEEN_WIDTH
            elif _is(text, start, end, HEIGHT):
                at, found = _read_size(text, at, size_hw[0]), SEEN_HEIGHT
            elif _is(text, start, end, VALUE):
                at, count, doubtful, label = _read_value(text, at, names, name_starts, points, count, doubts, doubtful)
                found = SEEN_VALUE
            elif to_name.size and _is(text, start, end, TO_NAME):
                at, found = _read_word(text, at, to_name), SEEN_TO_NAME
            else:
                at = _after_scalar(text, at)
            if at < 0 or seen & found:
                return -1, 0
            seen |= found
            at = _blanks(text, at)
            if not _next_is(text, at, COMMA):
                break
            at = _after(text, at, COMMA)
        at = _after(text, at, CLOSE_OBJECT)
        if at < 0 or seen != needed:
            return -1, 0
        labels[regions] = label
        regions += 1
        starts[regions] = count
        if not _next_is(text, at, COMMA):
            break
        at = _after(text, at, COMMA)
    return (regions if _after(text, at, CLOSE_LIST) == text.size else -1), doubtful
