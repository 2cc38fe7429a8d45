"""Reading pickles of plain numbers without running any of them.

A pickle is a program. The few numpy globals that a file of arrays names are answered by inert stand-ins, which accept
numeric and boolean data and nothing else; any other global is refused by name.
"""

from __future__ import annotations

import io
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.errors import DataError

REMEDY = "Delete it and run `dvc repro`; save files of your own with protocol 4, numbers and booleans only."

MALFORMED = (
    pickle.UnpicklingError,
    ArithmeticError,
    AttributeError,
    EOFError,
    ImportError,
    LookupError,
    MemoryError,
    RecursionError,
    TypeError,
    ValueError,
)
"""What the unpickler, or a reader of its result, raises on content that is not what it should be."""


def load_numeric_pickle(path: Path) -> Any:
    """Load a pickle of containers, text and numbers, with arrays as PlainArray and numpy scalars as PlainScalar.

    Raises DataError if the file is missing, corrupt, or names a global that is not allowed; runs no code of it.
    """
    try:
        return _Unpickler(io.BytesIO(path.read_bytes())).load()
    except FileNotFoundError:
        raise DataError(f"{path} does not exist", "Run `dvc repro`.") from None
    except DataError as error:
        raise DataError(f"{path}: {error}", REMEDY) from None
    except MALFORMED as error:
        raise DataError(f"{path} is no readable pickle: {type(error).__name__}: {error}", REMEDY) from None


class _Inert:
    """Base of the stand-ins. `__setstate__` on each keeps the BUILD opcode from setting attributes of the class."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        raise DataError(f"a state is set on {type(self).__name__}, which has none")


class _Dtype(_Inert):
    """Stands in for `numpy.dtype(code, align, copy)`; the state holds the byte order."""

    __slots__ = ("value",)

    def __init__(self, code: str, align: bool = False, copy: bool = False) -> None:
        if not (isinstance(code, str) and re.fullmatch(r"b1|[iu][1248]|f[248]", code)):
            found = code if isinstance(code, str) else type(code).__name__
            raise DataError(f"it holds an array of dtype {found:.40}, expected numbers or booleans")
        self.value = np.dtype(code)

    def __setstate__(self, state: Any) -> None:
        _, byte_order, subarray, names, fields, *_ = state
        if (subarray, names, fields) != (None, None, None) or byte_order not in ("<", ">", "|", "="):
            raise DataError("it holds a structured array, expected numbers or booleans")
        self.value = self.value.newbyteorder(byte_order)


class PlainArray(_Inert):
    """Stands in for `numpy.ndarray`, filled by its state; `value` is a read-only array."""

    __slots__ = ("value",)
    value: NDArray[Any]

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, fortran, raw = state
        if not (isinstance(dtype, _Dtype) and isinstance(raw, bytes)):
            raise DataError("it holds an array of objects, expected numbers or booleans")
        self.value = np.frombuffer(raw, dtype.value).reshape(shape, order="F" if fortran else "C")


class _Reconstruct(_Inert):
    """Stands in for `numpy._core.multiarray._reconstruct(ndarray, (0,), b"b")`."""

    __slots__ = ()

    def __new__(cls, subtype: Any, shape: Any, code: Any) -> Any:
        if subtype is not PlainArray:
            raise DataError("an array type other than numpy.ndarray is built")
        return PlainArray()


class PlainScalar(_Inert):
    """Stands in for `numpy._core.multiarray.scalar(dtype, bytes)`; `value` is a Python number."""

    __slots__ = ("value",)

    def __init__(self, dtype: _Dtype, raw: bytes) -> None:
        if not (isinstance(dtype, _Dtype) and isinstance(raw, bytes)):
            raise DataError("it holds a scalar of objects, expected a number")
        (self.value,) = np.frombuffer(raw, dtype.value).tolist()


class _Encode(_Inert):
    """Stands in for `_codecs.encode(text, "latin1")`, which is how protocol 2 and older write bytes."""

    __slots__ = ()

    def __new__(cls, text: str, encoding: str) -> Any:
        if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
            raise DataError("bytes are made in another way than from latin1")
        return text.encode("latin-1")


_ALLOWED: dict[tuple[str, str], type[_Inert]] = {
    ("numpy", "dtype"): _Dtype,
    ("numpy", "ndarray"): PlainArray,
    ("numpy.core.multiarray", "_reconstruct"): _Reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _Reconstruct,
    ("numpy.core.multiarray", "scalar"): PlainScalar,
    ("numpy._core.multiarray", "scalar"): PlainScalar,
    ("_codecs", "encode"): _Encode,
}


class _Unpickler(pickle.Unpickler):
    """Knows the globals of `_ALLOWED` and no other."""

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise DataError(f"it names the global {module}.{name}, which is not allowed") from None
