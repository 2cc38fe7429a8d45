"""Reading pickles of plain numbers without running any of them.

A pickle is a program. This one is run by a machine of ours (`pickle_machine`), where the few numpy globals that a file
of arrays names stand for constructors that accept numbers and booleans and nothing else; any other is refused by name.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from connectors.pickle_machine import Constructor, PickleMachine
from schemas.errors import DataError

REMEDY = "Delete it and run `dvc repro`; save files of your own with protocol 4, numbers and booleans only."

MAX_BYTES = 4 * 2**30

MALFORMED = (ArithmeticError, AttributeError, LookupError, MemoryError, TypeError, ValueError, struct.error)
"""What the pickle machine, or a reader of its result, raises on content that is not what it should be."""


def load_numeric_pickle(path: Path) -> Any:
    """Load a pickle of containers, text and numbers, with arrays as PlainArray and numpy scalars as PlainScalar.

    Reads what Python 3 and numpy 1 or 2 write, protocols 0 to 5. Raises DataError if the file is missing, corrupt,
    larger than MAX_BYTES, or has more in it than that; runs no code of it.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise DataError(f"it has {path.stat().st_size} bytes, expected at most {MAX_BYTES}")
        return PickleMachine(path.read_bytes(), _CONSTRUCTORS).load()
    except FileNotFoundError:
        raise DataError(f"{path} does not exist", "Run `dvc repro`.") from None
    except DataError as error:
        raise DataError(f"{path}: {error}", REMEDY) from None
    except MALFORMED as error:
        raise DataError(f"{path} is no readable pickle: {type(error).__name__}: {error}", REMEDY) from None


class _Dtype:
    """Stands in for `numpy.dtype`; the state holds the byte order."""

    __slots__ = ("value",)

    def __init__(self, code: Any, align: Any = False, copy: Any = False) -> None:
        if not (isinstance(code, str) and re.fullmatch(r"b1|[iu][1248]|f[248]", code)):
            found = code if isinstance(code, str) else type(code).__name__
            raise DataError(f"it holds an array of dtype {found:.40}, expected numbers or booleans")
        self.value = np.dtype(code)

    def build(self, state: Any) -> None:
        """Take the byte order of `dtype.__reduce__`'s state."""
        _, byte_order, subarray, names, fields, *_ = state
        if not (subarray is names is fields is None and byte_order in ("<", ">", "|", "=")):
            raise DataError("it holds a structured array, expected numbers or booleans")
        self.value = self.value.newbyteorder(byte_order)


class PlainArray:
    """Stands in for `numpy.ndarray`; `value` is a read-only array."""

    __slots__ = ("value",)
    value: NDArray[Any]

    def build(self, state: Any) -> None:
        """Take the data of `ndarray.__reduce__`'s state."""
        _, shape, dtype, fortran, raw = state
        self._fill(raw, dtype, shape, "F" if fortran is True else "C")

    @classmethod
    def from_buffer(cls, raw: Any, dtype: Any, shape: Any, order: Any, axes: Any = None) -> PlainArray:
        """`numpy._core.numeric._frombuffer`, which protocol 5 calls. Of order K, `axes` says how C is transposed."""
        array = cls()
        array._fill(raw, dtype, shape, "F" if order == "F" else "C")
        if axes is not None:
            array.value = array.value.transpose(axes)
        return array

    def _fill(self, raw: Any, dtype: Any, shape: Any, order: str) -> None:
        if not (isinstance(dtype, _Dtype) and isinstance(raw, bytes)):
            raise DataError("it holds an array of objects, expected numbers or booleans")
        if not (isinstance(shape, tuple) and all(type(length) is int and length >= 0 for length in shape)):
            raise DataError("it holds an array whose shape is no tuple of lengths")
        values = np.frombuffer(raw, np.uint8) != 0 if dtype.value == np.bool_ else np.frombuffer(raw, dtype.value)
        self.value = values.reshape(shape, order="F" if order == "F" else "C")
        self.value.flags.writeable = False


class PlainScalar:
    """Stands in for a numpy scalar; `value` is a Python number."""

    __slots__ = ("value",)

    def __init__(self, dtype: Any, raw: Any) -> None:
        if not (isinstance(dtype, _Dtype) and isinstance(raw, bytes)):
            raise DataError("it holds a scalar of objects, expected a number")
        (self.value,) = np.frombuffer(raw, dtype.value).tolist()


def _reconstruct(subtype: Any, shape: Any, code: Any) -> PlainArray:
    """`numpy._core.multiarray._reconstruct(ndarray, (0,), b"b")`: an array that its state fills."""
    if subtype is not _NDARRAY:
        raise DataError("an array type other than numpy.ndarray is built")
    return PlainArray()


def _refuse(*arguments: Any) -> None:
    raise DataError("it calls numpy.ndarray, expected an array as numpy saves it")


def _encode(text: Any, encoding: Any) -> bytes:
    """`_codecs.encode(text, "latin1")`, which is how protocol 2 and older write bytes."""
    if not (isinstance(text, str) and encoding in ("latin1", "latin-1")):
        raise DataError("bytes are made in another way than from latin1")
    return text.encode("latin-1")


_NDARRAY = Constructor("numpy.ndarray", _refuse)


def _constructors() -> dict[tuple[str, str], Constructor]:
    """The globals that a pickle of numbers may name. numpy 1 and 2 spell its inner modules differently."""
    in_core: dict[tuple[str, str], Callable[..., Any]] = {
        ("multiarray", "_reconstruct"): _reconstruct,
        ("multiarray", "scalar"): PlainScalar,
        ("numeric", "_frombuffer"): PlainArray.from_buffer,
    }
    named = {
        (f"{core}.{module}", name): Constructor(f"{core}.{module}.{name}", make)
        for core in ("numpy.core", "numpy._core")
        for (module, name), make in in_core.items()
    }
    return named | {
        ("numpy", "dtype"): Constructor("numpy.dtype", _Dtype),
        ("numpy", "ndarray"): _NDARRAY,
        ("_codecs", "encode"): Constructor("_codecs.encode", _encode),
    }


_CONSTRUCTORS = _constructors()
