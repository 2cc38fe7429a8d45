"""Values of a numeric pickle, each checked for its kind before anything is done with it. All raise DataError."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from connectors.numeric_pickle import PlainArray, PlainScalar
from schemas.errors import DataError


def as_number(value: Any) -> float:
    """A finite number."""
    value = value.value if isinstance(value, PlainScalar) else value
    if not isinstance(value, int | float):
        raise DataError(f"found {type(value).__name__}, expected a number")
    if not math.isfinite(value):
        raise DataError(f"found {value}, expected a finite number")
    return float(value)


def as_whole(value: Any) -> int:
    """A whole number, such as 3 or 3.0."""
    number = as_number(value)
    if number != int(number):
        raise DataError(f"found {number:g}, expected a whole number")
    return int(number)


def as_text(value: Any) -> str:
    """Text."""
    if not isinstance(value, str):
        raise DataError(f"found {type(value).__name__}, expected text")
    return value


def as_items(value: Any, count: int | None = None) -> list[Any]:
    """Items of a list, tuple or array, `count` of them if that is given."""
    if not isinstance(value, list | tuple | PlainArray):
        raise DataError(f"found {type(value).__name__}, expected a list")
    items = value.value if isinstance(value, PlainArray) else value
    if count is not None and len(items) != count:
        raise DataError(f"found a list of {len(items)}, expected {count} numbers")
    return items.tolist() if isinstance(items, np.ndarray) else list(items)


def as_pair(value: Any) -> tuple[int, int]:
    """Two whole numbers, such as a size [H, W]."""
    first, second = (as_whole(item) for item in as_items(value, 2))
    return first, second


def as_point(value: Any) -> tuple[float, float]:
    """A point [x, y]."""
    x, y = (as_number(item) for item in as_items(value, 2))
    return x, y


def as_box(value: Any) -> tuple[int, int, int, int]:
    """A box [x, y, w, h], rounded to pixels."""
    x, y, width, height = (round(as_number(item)) for item in as_items(value, 4))
    return x, y, width, height
