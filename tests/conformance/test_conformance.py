"""Every stored case through the real path, with not one pixel different; and the stored cases are the reference's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.conformance import run
from tests.conformance.build import FOLDER, stored
from tests.conformance.cases import cases


@pytest.mark.parametrize("name", run.names())
def test_the_mask_is_right_in_every_pixel(name: str, tmp_path: Path):
    case, expected = run.load(name)
    made = run.make(case, tmp_path)
    np.testing.assert_array_equal(made.mask, expected)
    assert made.rejects == sorted(case["rejects"])


def test_there_are_cases():
    assert len(run.names()) >= 60
    assert sorted(case["name"] for case in cases()) == run.names()


@pytest.mark.parametrize("case", cases(), ids=lambda case: case["name"])
def test_what_is_stored_is_the_reference_s(case):
    text, png = stored(case)
    assert (FOLDER / f"{case['name']}.json").read_text() == text
    assert (FOLDER / f"{case['name']}.png").read_bytes() == png
