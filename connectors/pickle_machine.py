"""The pickle machine for plain data: containers, text, bytes and numbers (PEP 307, PEP 3154, PEP 574).

`pickle.Unpickler` calls what a file names, reserves what it announces, and hashes whatever it makes a key. This machine
knows the opcodes that plain data are written with and no other; a global is an entry of the table that it is given or
an error; and what it builds is bounded by the length of the file and by the limits below.
"""

from __future__ import annotations

import pickletools
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from schemas.errors import DataError

MAX_DEPTH = 32
MAX_STEPS = 20_000_000
MAX_CONTAINERS = 1_000_000
MAX_DIGITS = 20
MAX_INTEGER_BYTES = 16


@dataclass(frozen=True, slots=True)
class Constructor:
    """What a global stands for: `make` is called with the arguments that REDUCE finds, and must not trust them."""

    name: str
    make: Callable[..., Any]


class Buildable(Protocol):
    """Something made by a Constructor that may take the state that BUILD finds, and must not trust it."""

    def build(self, state: Any) -> None:
        """Take the state."""
        ...


class PickleMachine:
    """Runs one pickle. `constructors`: by (module, name), the globals that it may name."""

    def __init__(self, content: bytes, constructors: Mapping[tuple[str, str], Constructor]) -> None:
        self._content = content
        self._constructors = constructors
        self._at = 0
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}
        self._containers: dict[int, tuple[Any, int]] = {}  # by id: itself, which keeps the id its own, and its depth
        self._finished: set[int] = set()  # ids of containers that lie in another one

    def load(self) -> Any:
        """The object that the pickle describes.

        Raises DataError for an opcode or a global that is not allowed, for lengths beyond the file and for more than
        the limits; IndexError, KeyError, TypeError, ValueError or struct.error where the file is torn.
        """
        for _ in range(MAX_STEPS):
            opcode = self._content[self._at]
            if opcode == STOP:
                return self._stack[-1]
            self._at += 1
            step = _STEPS.get(opcode)
            if step is None:
                raise DataError(f"it uses the opcode {_NAMES.get(opcode, hex(opcode))}, which is not allowed")
            step(self)
        raise DataError(f"it has more than {MAX_STEPS} opcodes")

    def _take(self, count: int) -> bytes:
        end = self._at + count
        if not 0 <= count <= len(self._content) - self._at:
            raise DataError(f"it announces {count} bytes where {len(self._content) - self._at} are left")
        taken = self._content[self._at : end]
        self._at = end
        return taken

    def _line(self) -> bytes:
        end = self._content.index(b"\n", self._at)
        line = self._content[self._at : end]
        self._at = end + 1
        return line

    def _number(self, layout: struct.Struct) -> Any:
        (value,) = layout.unpack(self._take(layout.size))
        return value

    def _since_mark(self) -> list[Any]:
        start = self._marks.pop()
        items = self._stack[start:]
        del self._stack[start:]
        return items

    def _push_container(self, container: Any, items: list[Any]) -> None:
        if len(self._containers) == MAX_CONTAINERS:
            raise DataError(f"it holds more than {MAX_CONTAINERS} containers")
        self._stack.append(container)
        self._containers[id(container)] = (container, self._depth(items))

    def _fill(self, container: Any, items: list[Any]) -> None:
        deepest = max(self._containers[id(container)][1], self._depth(items))
        if id(container) in self._finished:
            raise DataError("a container is changed after it was put into another one, or into itself")
        self._containers[id(container)] = (container, deepest)

    def _depth(self, items: list[Any]) -> int:
        """Depth of a container of `items`. Those that are containers are finished, so that theirs are final."""
        inner = [id(item) for item in items if id(item) in self._containers]
        self._finished.update(inner)
        depth = 1 + max((self._containers[item][1] for item in inner), default=0)
        if depth > MAX_DEPTH:
            raise DataError(f"it is nested more than {MAX_DEPTH} deep")
        return depth

    def _skip_frame(self) -> None:
        length = self._number(_U64)
        if length > len(self._content) - self._at:
            raise DataError(f"it announces a frame of {length} bytes where {len(self._content) - self._at} are left")

    def _text_integer(self) -> None:
        line = self._line().removesuffix(b"L")
        if line in (b"00", b"01"):
            self._stack.append(line == b"01")
            return
        self._check_integer(len(line), MAX_DIGITS, "digits")
        self._stack.append(int(line))

    def _integer(self, length: int) -> None:
        self._check_integer(length, MAX_INTEGER_BYTES, "bytes")
        self._stack.append(int.from_bytes(self._take(length), "little", signed=True))

    def _check_integer(self, length: int, limit: int, unit: str) -> None:
        if length > limit:
            raise DataError(f"it holds an integer of {length} {unit}, expected at most {limit}")

    def _text(self, length: int) -> None:
        self._stack.append(self._take(length).decode("utf-8", "surrogatepass"))

    def _append(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if type(target) is not list:
            raise TypeError(f"items are appended to {type(target).__name__}")
        target.extend(items)
        self._fill(target, items)

    def _set_items(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if type(target) is not dict:
            raise TypeError(f"keys are set on {type(target).__name__}")
        keys, values = items[::2], items[1::2]
        for key in keys:
            if type(key) is not str:
                raise DataError(f"it has a key of type {type(key).__name__}, expected text")
        target.update(zip(keys, values, strict=True))
        self._fill(target, values)

    def _take_last(self, count: int) -> list[Any]:
        if len(self._stack) < count:
            raise IndexError("the stack is empty")
        items = self._stack[-count:]
        del self._stack[-count:]
        return items

    def _push_tuple(self, items: list[Any]) -> None:
        self._push_container(tuple(items), items)

    def _push_list(self) -> None:
        items = self._since_mark()
        self._push_container(items, items)

    def _push_dict(self) -> None:
        items = self._since_mark()
        self._push_container({}, [])
        self._set_items(items)

    def _push_global(self, module: Any, name: Any) -> None:
        if not (isinstance(module, str) and isinstance(name, str)):
            raise DataError("it names a global by something else than text")
        constructor = self._constructors.get((module, name))
        if constructor is None:
            raise DataError(f"it names the global {module}.{name}, which is not allowed")
        self._stack.append(constructor)

    def _reduce(self) -> None:
        constructor, arguments = self._take_last(2)
        if not isinstance(constructor, Constructor):
            raise DataError(f"it calls {type(constructor).__name__}, which is no global")
        if type(arguments) is not tuple:
            raise TypeError(f"{constructor.name} is called with {type(arguments).__name__}")
        self._stack.append(constructor.make(*arguments))

    def _build(self) -> None:
        target, state = self._take_last(2)
        build = getattr(type(target), "build", None)
        if build is None:
            raise DataError(f"a state is set on {type(target).__name__}, which has none")
        build(target, state)
        self._stack.append(target)


_U8, _U16, _U32, _U64 = (struct.Struct(layout) for layout in ("<B", "<H", "<I", "<Q"))
_I32, _F64 = struct.Struct("<i"), struct.Struct(">d")

STOP = ord(".")
_NAMES = {ord(opcode.code): opcode.name for opcode in pickletools.opcodes}

_STEPS: dict[int, Callable[[PickleMachine], Any]] = {
    ord(code): step
    for code, step in {
        "\x80": lambda m: m._take(1),  # PROTO
        "\x95": lambda m: m._skip_frame(),  # FRAME
        "(": lambda m: m._marks.append(len(m._stack)),  # MARK
        "N": lambda m: m._stack.append(None),  # NONE
        "\x88": lambda m: m._stack.append(True),  # NEWTRUE
        "\x89": lambda m: m._stack.append(False),  # NEWFALSE
        "I": lambda m: m._text_integer(),  # INT
        "L": lambda m: m._text_integer(),  # LONG
        "J": lambda m: m._stack.append(m._number(_I32)),  # BININT
        "K": lambda m: m._stack.append(m._number(_U8)),  # BININT1
        "M": lambda m: m._stack.append(m._number(_U16)),  # BININT2
        "\x8a": lambda m: m._integer(m._number(_U8)),  # LONG1
        "\x8b": lambda m: m._integer(m._number(_U32)),  # LONG4
        "F": lambda m: m._stack.append(float(m._line())),  # FLOAT
        "G": lambda m: m._stack.append(m._number(_F64)),  # BINFLOAT
        "V": lambda m: m._stack.append(m._line().decode("raw-unicode-escape")),  # UNICODE
        "X": lambda m: m._text(m._number(_U32)),  # BINUNICODE
        "\x8c": lambda m: m._text(m._number(_U8)),  # SHORT_BINUNICODE
        "\x8d": lambda m: m._text(m._number(_U64)),  # BINUNICODE8
        "B": lambda m: m._stack.append(m._take(m._number(_U32))),  # BINBYTES
        "C": lambda m: m._stack.append(m._take(m._number(_U8))),  # SHORT_BINBYTES
        "\x8e": lambda m: m._stack.append(m._take(m._number(_U64))),  # BINBYTES8
        "\x96": lambda m: m._stack.append(m._take(m._number(_U64))),  # BYTEARRAY8
        "]": lambda m: m._push_container([], []),  # EMPTY_LIST
        "a": lambda m: m._append(m._take_last(1)),  # APPEND
        "e": lambda m: m._append(m._since_mark()),  # APPENDS
        "l": lambda m: m._push_list(),  # LIST
        ")": lambda m: m._push_tuple([]),  # EMPTY_TUPLE
        "\x85": lambda m: m._push_tuple(m._take_last(1)),  # TUPLE1
        "\x86": lambda m: m._push_tuple(m._take_last(2)),  # TUPLE2
        "\x87": lambda m: m._push_tuple(m._take_last(3)),  # TUPLE3
        "t": lambda m: m._push_tuple(m._since_mark()),  # TUPLE
        "}": lambda m: m._push_container({}, []),  # EMPTY_DICT
        "s": lambda m: m._set_items(m._take_last(2)),  # SETITEM
        "u": lambda m: m._set_items(m._since_mark()),  # SETITEMS
        "d": lambda m: m._push_dict(),  # DICT
        "p": lambda m: m._memo.__setitem__(int(m._line()), m._stack[-1]),  # PUT
        "q": lambda m: m._memo.__setitem__(m._number(_U8), m._stack[-1]),  # BINPUT
        "r": lambda m: m._memo.__setitem__(m._number(_U32), m._stack[-1]),  # LONG_BINPUT
        "\x94": lambda m: m._memo.__setitem__(len(m._memo), m._stack[-1]),  # MEMOIZE
        "g": lambda m: m._stack.append(m._memo[int(m._line())]),  # GET
        "h": lambda m: m._stack.append(m._memo[m._number(_U8)]),  # BINGET
        "j": lambda m: m._stack.append(m._memo[m._number(_U32)]),  # LONG_BINGET
        "c": lambda m: m._push_global(m._line().decode(), m._line().decode()),  # GLOBAL
        "\x93": lambda m: m._push_global(*m._take_last(2)),  # STACK_GLOBAL
        "R": lambda m: m._reduce(),  # REDUCE
        "b": lambda m: m._build(),  # BUILD
    }.items()
}
