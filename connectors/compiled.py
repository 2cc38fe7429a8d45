"""The decorator of all functions that numba compiles, with a cache that no change of the code leaves stale.

Numba keeps a function's machine code, with that of the functions it calls, for as long as the function's own file stays
the same. Here the cache is a folder named by the hash of every file that holds compiled functions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
from numba.core.types import unliteral

Function = TypeVar("Function", bound=Callable[..., Any])

HERE = Path(__file__).parent
PACKAGES = (HERE, HERE.with_name("pipeline"))
MARK = b"\n@compiled\n"

OPTIONS: dict[str, Any] = {"cache": True, "nogil": True, "no_cfunc_wrapper": True}


def sources_digest(packages: Iterable[Path]) -> str:
    """Hash of the modules in some folders, and those below, that hold compiled functions."""
    sources = (path.read_bytes() for package in packages for path in sorted(package.rglob("*.py")))
    return hashlib.sha256(b"".join(source for source in sources if MARK in source)).hexdigest()[:16]


cache = Path(numba.config.CACHE_DIR or HERE / "__pycache__")  # type: ignore[attr-defined]
numba.config.CACHE_DIR = str(cache / f"numba-{sources_digest(PACKAGES)}")  # type: ignore[attr-defined]


def compiled(function: Function) -> Function:
    """Compile a function when it is first called, or take it from the cache. It runs without the interpreter's lock.

    Once for each combination of argument types, but not, as numba does, for each constant that compiled code passes;
    and without an entry point for C.
    """
    dispatcher: Any = numba.njit(**OPTIONS)(function)
    compile_for = dispatcher.compile
    dispatcher.compile = lambda types: compile_for(tuple(map(unliteral, types)))
    return cast(Function, dispatcher)
