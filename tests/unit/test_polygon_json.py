"""The compiled reader reads what the general one reads, to the last bit, or gives up."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import orjson
import pytest

from connectors.label_studio_json import parse_regions
from connectors.polygon_json import PolygonReader
from schemas.regions import Polygon, Region
from tests.conformance import run
from tests.conftest import WHOLE, polygon

SIZE_HW = (10, 20)
LABELS = ["car", "road", "tree", "void", "süß", "car2"]
READER = PolygonReader(LABELS)
TRIANGLE = [[0, 0], [50.5, 1e1], [12.345678901234567, 100]]


def read_as_in_general(reader: PolygonReader, text: bytes, to_name: str | None = None) -> bool:
    """Assert that what the reader reads is what is defined. Returns whether it read it."""
    found = reader.read(text, SIZE_HW)
    if found is None:
        return False
    regions = list(parse_regions(text, to_name))
    assert all(isinstance(region, Region) and isinstance(region.shape, Polygon) for region in regions)
    assert all(region.size_hw == SIZE_HW and not region.holes for region in regions)
    assert [LABELS[label] for label in found.labels] == [region.label for region in regions]
    assert found.starts.tolist() == np.cumsum([0, *(len(region.shape.points_pct) for region in regions)]).tolist()
    points = np.concatenate([np.empty((0, 2)), *(region.shape.points_pct for region in regions)])
    np.testing.assert_array_equal(found.points_pct, points)  # the general one turns -0 into 0
    return True


def as_bytes(*results: Any) -> bytes:
    return json.dumps(results, ensure_ascii=False).encode()


@pytest.mark.parametrize("encode", [as_bytes, lambda *results: orjson.dumps(results)], ids=["json", "orjson"])
def test_plain_polygons_are_read(encode):
    results = [polygon(TRIANGLE, label, f"r{label}") | {"score": 0.5, "hidden": False} for label in LABELS]
    assert read_as_in_general(READER, encode(*results))
    assert read_as_in_general(READER, encode())
    assert read_as_in_general(READER, b" [ ] \n")
    assert read_as_in_general(READER, json.dumps(results, indent="\t", ensure_ascii=False).encode())


def numbers() -> list[str]:
    random = np.random.default_rng(0)
    values = [*random.uniform(0, 100, 4000), *10.0 ** random.uniform(-30, 2, 1000), *random.integers(0, 101, 50)]
    digits = [f"{random.integers(0, 100)}.{random.integers(0, 10**9)}{random.integers(0, 10**9)}" for _ in range(2000)]
    halves = [f"{odd * 2.0**-47:.47f}"[:20] for odd in random.integers(2**52, 2**53, 500).tolist()]
    ties = ["9007199254740993e-14", "9007199254740995e-15", "0.5000000000000000277555756156289135105907917022705078125"]
    odd = [
        "0",
        "-0.0",
        "-0",
        "1e2",
        "1E+1",
        "0.1e-5",
        "5.684341886080802e-14",
        "0e400",
        "0.000000000000000000000000001",
    ]
    return [*map(repr, map(float, values)), *digits, *halves, *ties, *odd]


def test_every_number_is_the_nearest_float():
    found = numbers()
    for start in range(0, len(found) - 200, 200):
        pairs = ",".join(f"[{x},{y}]" for x, y in zip(found[start::2][:100], found[start + 1 :: 2][:100], strict=True))
        text = orjson.dumps([polygon([], "car")]).replace(b'"points":[]', f'"points":[{pairs}]'.encode())
        read = READER.read(text, SIZE_HW)
        assert read is not None
        expected = [float(number) for number in found[start : start + 200]]
        assert read.points_pct.ravel().tobytes() == np.array(expected).tobytes()


def test_numbers_that_float64_can_barely_tell_apart():
    text = "".join(f"[{number},{number}]," for number in numbers()[-20:])[:-1]
    assert read_as_in_general(READER, orjson.dumps([polygon([], "car")]).replace(b"[]", f"[{text}]".encode(), 1))


PLAIN = as_bytes(polygon(TRIANGLE, "car"), polygon(WHOLE, "tree", "r2")).decode()


@pytest.mark.parametrize(
    "result",
    [
        polygon(TRIANGLE, "lake"),
        polygon(TRIANGLE, "ca"),
        polygon(TRIANGLE, 'quote"'),
        polygon(TRIANGLE[:2]),
        polygon([]),
        polygon([[1, 2], [3, 4], [5, 6, 7]]),
        polygon([[1, 2, 3], [4, 5], [6]]),
        polygon([1, 2, 3, 4, 5, 6]),
        polygon([["1", 2], [3, 4], [5, 6]]),
        polygon([[0, 0], [1, float("nan")], [5, 6]]),
        polygon([[0, 0], [1, -0.1], [5, 6]]),
        polygon([[0, 0], [1, 100.1], [5, 6]]),
        polygon([[0, 0], [1, 1e400], [5, 6]]),
        polygon(TRIANGLE, size_wh=(20, 11)),
        polygon(TRIANGLE) | {"original_width": 20.0},
        polygon(TRIANGLE) | {"original_width": True},
        polygon(TRIANGLE) | {"original_width": None},
        polygon(TRIANGLE) | {"type": "polygon"},
        polygon(TRIANGLE) | {"type": "brushlabels"},
        polygon(TRIANGLE) | {"item_index": 1},
        polygon(TRIANGLE) | {"meta": {"text": ["hole"]}, "parentID": "r1"},
        polygon(TRIANGLE) | {"value": {"points": TRIANGLE, "polygonlabels": ["car", "tree"]}},
        polygon(TRIANGLE) | {"value": {"points": TRIANGLE, "polygonlabels": []}},
        polygon(TRIANGLE) | {"value": {"points": TRIANGLE, "polygonlabels": "car"}},
        polygon(TRIANGLE) | {"value": {"points": TRIANGLE, "labels": ["car"]}},
        polygon(TRIANGLE) | {"value": None},
        {"type": "choices", "value": {"choices": ["a"]}},
        {"type": "relation", "from_id": "a", "to_id": "b"},
        {},
        [],
        7,
    ],
    ids=str,
)
def test_at_anything_else_it_gives_up(result: Any):
    assert READER.read(as_bytes(polygon(TRIANGLE), result), SIZE_HW) is None


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("", ""),
        ('"original_width": 20', '"original_width": 20, "original_width": 21'),
        ('"original_width": 20', '"original_width": 020'),
        ('"original_width": 20', '"original_width": 20.0'),
        ('"original_width": 20', '"original_width": 2e1'),
        ('"points": ', '"points": [[1,1],[2,2],[3,1]], "points": '),
        ('"points"', '"p\\u006fints"'),
        ('"car"', '"c\\u0061r"'),
        ("50.5", "50."),
        ("50.5", ".5"),
        ("50.5", "+50.5"),
        ("50.5", "050.5"),
        ("50.5", "50.5e"),
        ("50.5", "--1"),
        ("50.5", "Infinity"),
        ("50.5", "50 .5"),
        ("50.5,", "50.5,,"),
        ("50.5", "50.5]"),
        ("}]", "},]"),
        ("}]", "}"),
        ("}]", "}] x"),
        ("}]", "}]]"),
        ("[{", "{"),
        ('"id": "r1"', '"id": r1'),
        ('"id": "r1"', '"id": "r\n1"'),
        ('"id": "r1"', '"id": truely'),
        ('"id": "r1"', '"id": [1]'),
        ('"id": "r1"', '"id"'),
        ('"id": "r1"', '"id": "r1" "a": 1'),
    ],
    ids=str,
)
def test_text_that_is_no_plain_json(old: str, new: str):
    assert old in PLAIN
    assert read_as_in_general(READER, PLAIN.replace(old, new, 1).encode()) == (old == new)


def test_texts_with_a_byte_changed_or_cut_off():
    random = np.random.default_rng(1)
    plain = PLAIN.encode()
    read = 0
    for _ in range(4000):
        text = bytearray(plain)
        for place in random.integers(0, len(text), random.integers(1, 3)).tolist():
            text[place] = random.choice(list(b'0123456789.,:[]{}"-+eE \\atr'))
        changed = bytes(text[: random.integers(1, len(text))] if random.random() < 0.1 else text)
        read += READER.read(changed, SIZE_HW) is not None and read_as_in_general(READER, changed)
    assert read > 100


def test_another_image_tag_is_not_read():
    on_left, on_right = polygon(TRIANGLE) | {"to_name": "left"}, polygon(TRIANGLE) | {"to_name": "right"}
    reader = PolygonReader(LABELS, "left")
    assert read_as_in_general(reader, as_bytes(on_left), "left")
    for results in ([on_right], [on_left, on_right], [{key: on_left[key] for key in on_left if key != "to_name"}]):
        assert reader.read(as_bytes(*results), SIZE_HW) is None


@pytest.mark.parametrize("name", run.names())
def test_conformance_cases(name: str):
    case, _ = run.load(name)
    for work in case["task"]["annotations"]:
        read_as_in_general(READER, as_bytes(*work["result"]))
