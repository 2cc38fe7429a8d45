"""A Label Studio `result` of nothing but plain polygons, read by compiled code: about 15 times as fast as in general.

`connectors.label_studio_json.parse_regions` says what a result means. `read_polygons` reads the same out of the results
that almost all are: JSON without escapes, every region a polygon with one known label and no meta, all on one image
of the expected size. At anything else, were it only a space too many numbers, it gives up and the general way decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from connectors.compiled import compiled
from connectors.json_scan import (
    CLOSE_LIST,
    CLOSE_OBJECT,
    COMMA,
    OPEN_LIST,
    OPEN_OBJECT,
    Bytes,
    after,
    after_integer,
    after_scalar,
    after_word,
    blanks,
    constant,
    equals,
    next_is,
    next_key,
    number,
    string_end,
)
from connectors.label_studio_shapes import SLACK_PCT

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


TYPE, VALUE, TO_NAME = constant("type"), constant("value"), constant("to_name")
WIDTH, HEIGHT = constant("original_width"), constant("original_height")
META, ITEM_INDEX = constant("meta"), constant("item_index")
POINTS, POLYGON_LABELS = constant("points"), constant("polygonlabels")
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
        for place, start, end in doubts[:doubtful].tolist():
            points.flat[place] = float(result[start:end])
        if regions and not (points.min() >= -SLACK_PCT and points.max() <= 100 + SLACK_PCT):
            return None
        return Polygons(points, starts[: regions + 1], labels[:regions])


@compiled
def _read_points(text: Bytes, at: int, points: Floats, count: int, doubts: Ints, doubtful: int) -> tuple[int, int, int]:
    """Read `[[x, y], …]`: position after it (-1 if it is none), the points and the doubtful numbers there are then."""
    at = after(text, at, OPEN_LIST)
    while at >= 0:
        at = after(text, at, OPEN_LIST)
        for axis in range(2):
            if at < 0:
                return -1, 0, 0
            end, value, certain = number(text, at)
            if end < 0 or (not certain and doubtful == doubts.shape[0]):
                return -1, 0, 0
            points[count, axis] = value
            if not certain:
                doubts[doubtful, 0], doubts[doubtful, 1], doubts[doubtful, 2] = 2 * count + axis, at, end
                doubtful += 1
            at = after(text, blanks(text, end), CLOSE_LIST if axis else COMMA)
        count += 1
        if not next_is(text, at, COMMA):
            break
        at = after(text, at, COMMA)
    return after(text, at, CLOSE_LIST), count, doubtful


@compiled
def _read_label(text: Bytes, at: int, names: Bytes, name_starts: Ints) -> tuple[int, int]:
    """Read `["label"]`: position after it, and the label's number; -1 if it is no list of one known label."""
    at = after(text, at, OPEN_LIST)
    end = string_end(text, at)
    if end < 0:
        return -1, -1
    for label in range(name_starts.size - 1):
        if equals(text, at + 1, end, names[name_starts[label] : name_starts[label + 1]]):
            return after(text, blanks(text, end + 1), CLOSE_LIST), label
    return -1, -1


@compiled
def _read_value(
    text: Bytes, at: int, names: Bytes, name_starts: Ints, points: Floats, count: int, doubts: Ints, doubtful: int
) -> tuple[int, int, int, int]:
    """Read a polygon's `value`: position after it (-1 if it is none), points, doubtful numbers, and its label."""
    first, label = count, -1
    at = after(text, at, OPEN_OBJECT)
    while at >= 0:
        start, end, at = next_key(text, at)
        if at < 0:
            break
        if equals(text, start, end, POINTS):
            if count > first:
                return -1, 0, 0, -1
            at, count, doubtful = _read_points(text, at, points, count, doubts, doubtful)
        elif equals(text, start, end, POLYGON_LABELS):
            if label >= 0:
                return -1, 0, 0, -1
            at, label = _read_label(text, at, names, name_starts)
        else:
            at = after_scalar(text, at)
            at = blanks(text, at) if at >= 0 else -1
        if not next_is(text, at, COMMA):
            break
        at = after(text, at, COMMA)
    if label < 0 or count - first < 3:
        return -1, 0, 0, -1
    return after(text, at, CLOSE_OBJECT), count, doubtful, label


@compiled
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
    at = after(text, blanks(text, 0), OPEN_LIST)
    if next_is(text, at, CLOSE_LIST):
        return (0 if after(text, at, CLOSE_LIST) == text.size else -1), 0
    while at >= 0:
        seen, label = 0, -1
        at = after(text, at, OPEN_OBJECT)
        while at >= 0:
            start, end, at = next_key(text, at)
            if at < 0 or equals(text, start, end, META) or equals(text, start, end, ITEM_INDEX):
                return -1, 0
            found = 0
            if equals(text, start, end, TYPE):
                at, found = after_word(text, at, POLYGON_LABELS), SEEN_TYPE
            elif equals(text, start, end, WIDTH):
                at, found = after_integer(text, at, size_hw[1]), SEEN_WIDTH
            elif equals(text, start, end, HEIGHT):
                at, found = after_integer(text, at, size_hw[0]), SEEN_HEIGHT
            elif equals(text, start, end, VALUE):
                at, count, doubtful, label = _read_value(text, at, names, name_starts, points, count, doubts, doubtful)
                found = SEEN_VALUE
            elif to_name.size and equals(text, start, end, TO_NAME):
                at, found = after_word(text, at, to_name), SEEN_TO_NAME
            else:
                at = after_scalar(text, at)
            if at < 0 or seen & found:
                return -1, 0
            seen |= found
            at = blanks(text, at)
            if not next_is(text, at, COMMA):
                break
            at = after(text, at, COMMA)
        at = after(text, at, CLOSE_OBJECT)
        if at < 0 or seen != needed:
            return -1, 0
        labels[regions] = label
        regions += 1
        starts[regions] = count
        if not next_is(text, at, COMMA):
            break
        at = after(text, at, COMMA)
    return (regions if after(text, at, CLOSE_LIST) == text.size else -1), doubtful
